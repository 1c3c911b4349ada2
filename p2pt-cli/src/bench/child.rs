//! Further processes of this program: the partner, and the hub whose memory is measured.
//!
//! A child ends with its standard input, so none outlives the process that started it, however that ends. It says when it is
//! there, in a line of JSON, and the hub answers each line it reads with another.

use std::process::Stdio;
use std::time::Duration;

use p2pt::{AnnounceUrl, Event, Events, Swarm};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::serve::Partner;
use super::{BenchError, usage};
use crate::args::{Child, NetworkArgs, PROXY_VARIABLE};
use crate::lines::{Line, Lines};
use crate::signals::StopSignals;
use crate::terminal::Terminal;

/// The longest line that either side writes.
const MAX_LINE_BYTES: usize = 1 << 12;

/// How long a child may take to say something, or to end.
const CHILD_DEADLINE: Duration = Duration::from_secs(30);

/// How long a child has to leave politely.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// A child is there: it has reached the tracker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Here {
    pub(super) peer_id: String,
}

/// What a hub has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Holds {
    pub(super) peers: usize,
    pub(super) resident_kb: u64,
}

/// A process that this one has started.
#[derive(Debug)]
pub(super) struct ChildProcess {
    child: tokio::process::Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl ChildProcess {
    /// Starts this program again, and waits until it is there.
    pub(super) async fn start(
        part: Child,
        identifier: &str,
        tracker: &AnnounceUrl,
    ) -> Result<(Self, Here), BenchError> {
        let part = match part {
            Child::Partner => "partner",
            Child::Hub => "hub",
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", identifier, "--child", part, "--loopback", "--tracker", tracker.as_str()]);
        // The tracker is on this machine, whatever the way to others is.
        command.env_remove(PROXY_VARIABLE);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut child = Self { child, stdin, stdout: Lines::new(stdout, MAX_LINE_BYTES) };
        let here = child.line().await?;
        Ok((child, here))
    }

    /// The next line it writes.
    async fn line<T: DeserializeOwned>(&mut self) -> Result<T, BenchError> {
        let line = timeout(CHILD_DEADLINE, self.stdout.next()).await.map_err(|_| BenchError::Child)??;
        match line {
            Some(Line::Whole(line)) => serde_json::from_slice(&line).map_err(|_| BenchError::Child),
            Some(Line::TooLong) | None => Err(BenchError::Child),
        }
    }

    /// What a hub has now.
    pub(super) async fn holds(&mut self) -> Result<Holds, BenchError> {
        self.stdin.write_all(b"\n").await?;
        self.line().await
    }

    /// Lets it leave.
    pub(super) async fn end(mut self) {
        drop(self.stdin);
        if timeout(END_DEADLINE, self.child.wait()).await.is_err() {
            // Dropped, it is killed.
            tracing::warn!("a child process did not end by itself");
        }
    }
}

/// Is the child that a process of this program has started, until standard input ends.
pub(super) async fn run(part: Child, identifier: &str, network: NetworkArgs) -> Result<(), BenchError> {
    let mut signals = StopSignals::new()?;
    let (swarm, events) = network.builder()?.join(identifier).await?;
    let lines = Lines::new(BufReader::new(tokio::io::stdin()), MAX_LINE_BYTES);
    let ended = tokio::select! {
        ended = act(part, &swarm, events, network) => ended,
        ended = answer(&swarm, lines) => ended,
        () = signals.next() => Ok(()),
    };
    swarm.shutdown().await;
    ended
}

async fn act(part: Child, swarm: &Swarm, mut events: Events, network: NetworkArgs) -> Result<(), BenchError> {
    // A measurer that looks for it after that meets it at once.
    while !matches!(events.next().await, Some(Event::TrackerConnected(_)) | None) {}
    say(&Here { peer_id: swarm.peer_id().to_string() })?;
    match part {
        Child::Partner => Partner::new().starting_nodes(network).run(events).await?,
        Child::Hub => while events.next().await.is_some() {},
    }
    Ok(())
}

/// Answers each line with what this process has, until there are no more.
async fn answer(swarm: &Swarm, mut lines: Lines<impl AsyncBufRead + Unpin>) -> Result<(), BenchError> {
    while lines.next().await?.is_some() {
        let resident_kb = usage::resident_kb().unwrap_or_default();
        say(&Holds { peers: swarm.peers().len(), resident_kb })?;
    }
    Ok(())
}

fn say(what: &impl Serialize) -> Result<(), BenchError> {
    Ok(Terminal::stdout().line(serde_json::to_string(what).map_err(std::io::Error::from)?)?)
}
