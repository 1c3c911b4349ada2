//! Processes that measure or are measured. Each is killed with its handle. When this process is killed itself, those of
//! JavaScript and the partners learn it from their input, which ends; the others are [`mortal`].

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What a measurer prints.
pub(crate) type Figures = Map<String, Value>;

/// How long a partner may take to be there: a browser on a busy machine.
const STARTING: Duration = Duration::from_secs(60);

/// How long all of a pair may take; every step of it has a deadline of its own.
const MEASURING: Duration = Duration::from_secs(900);

/// How long a process may take to end by itself.
const ENDING: Duration = Duration::from_secs(10);

const MAX_OUTPUT: u64 = 1 << 20;
const KEPT_LINES: usize = 20;
const MAX_REASON: usize = 200;

/// A program that the system kills when this one has ended. `setpriv` is in the package util-linux.
pub(crate) fn mortal(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    complaints: JoinHandle<VecDeque<String>>,
}

impl Process {
    fn start(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("{command:?} does not start: {error}"))?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let complaints = tokio::spawn(last_lines(child.stderr.take().expect("it is piped")));
        Ok(Self { child, stdin, stdout, complaints })
    }

    /// Lets it end, or kills it; returns what it complained of last.
    async fn end(self) -> VecDeque<String> {
        let Self { mut child, stdin, complaints, .. } = self;
        drop(stdin);
        if timeout(ENDING, child.wait()).await.is_err() {
            // One that hangs is no reason to hang.
            let _ = timeout(ENDING, child.kill()).await;
        }
        timeout(ENDING, complaints).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Ends it, and says why it failed.
    async fn fail(self, what: &str) -> String {
        let lines = self.end().await;
        // A stack trace is below the error that it belongs to.
        let telling = lines.iter().rev().find(|line| line.contains("rror: ")).or(lines.back());
        let reason = telling.map_or_else(|| "it says nothing".to_owned(), |line| line.trim().to_owned());
        format!("{what}: {}", reason.chars().take(MAX_REASON).collect::<String>())
    }
}

/// A partner that serves until it is ended.
pub(crate) struct Partner(Process);

impl Partner {
    /// Starts one, and waits until it says that it is there.
    pub(crate) async fn start(command: Command) -> Result<Self, String> {
        let mut process = Process::start(command)?;
        let mut line = String::new();
        let said = timeout(STARTING, (&mut process.stdout).take(MAX_OUTPUT).read_line(&mut line)).await;
        match said {
            Ok(Ok(1..)) => Ok(Self(process)),
            Ok(_) => Err(process.fail("the partner does not come up").await),
            Err(_) => Err(process.fail(&format!("the partner is not there after {STARTING:?}")).await),
        }
    }

    pub(crate) async fn end(self) {
        self.0.end().await;
    }
}

/// What a measurer prints, which is one JSON object.
pub(crate) async fn figures(command: Command) -> Result<Figures, String> {
    let mut process = Process::start(command)?;
    let mut output = String::new();
    let all = async {
        (&mut process.stdout).take(MAX_OUTPUT).read_to_string(&mut output).await?;
        process.child.wait().await
    };
    match timeout(MEASURING, all).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => return Err(process.fail(&format!("it ended with {status}")).await),
        Ok(Err(error)) => return Err(process.fail(&error.to_string()).await),
        Err(_) => return Err(process.fail(&format!("not done after {MEASURING:?}")).await),
    }
    match serde_json::from_str(&output) {
        Ok(figures) => Ok(figures),
        Err(error) => Err(process.fail(&format!("it printed no JSON ({error})")).await),
    }
}

async fn last_lines(stderr: impl AsyncRead + Unpin) -> VecDeque<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut last = VecDeque::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if last.len() == KEPT_LINES {
            last.pop_front();
        }
        if !line.trim().is_empty() {
            last.push_back(line);
        }
    }
    last
}
