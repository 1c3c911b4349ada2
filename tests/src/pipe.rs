//! Processes that speak JSON Lines: one command a line in, one event a line out.
//!
//! `p2pt pipe` is such a process and so are the JavaScript peers, hence a test drives any two peers through one type.
//! Every failure panics with what the process last said, on both of its outputs. A process is killed when its
//! handle is dropped.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How long a process may take to say what is awaited. A guard, far above what anything takes: a JavaScript peer needs
/// 30 s to notice that another has vanished, everything else is a matter of seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The name of the event that stands for a line which is not JSON; it fails whatever is awaited.
const NOT_JSON: &str = "not JSON";

const MAX_LINE_BYTES: u64 = 32 << 20;
const MAX_QUEUED_EVENTS: usize = 256;
const MAX_UNCLAIMED_EVENTS: usize = 4096;
const MAX_STDERR_LINES: usize = 60;
const SHOWN_EVENTS: usize = 20;
const SHOWN_CHARS: usize = 300;

type StderrTail = Arc<Mutex<VecDeque<String>>>;

/// A child process that reads commands and writes events, each a JSON value on a line.
#[derive(Debug)]
pub struct LineProcess {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    events: mpsc::Receiver<Value>,
    unclaimed: VecDeque<Value>,
    stderr: StderrTail,
    readers: JoinSet<()>,
}

impl LineProcess {
    /// Starts `command`; `name` is what failures call it.
    pub fn spawn(name: impl Into<String>, mut command: Command) -> Self {
        let name = name.into();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {command:?} does not start: {error}"));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, events) = mpsc::channel(MAX_QUEUED_EVENTS);
        let tail = StderrTail::default();
        let mut readers = JoinSet::new();
        readers.spawn(read_events(stdout.expect("stdout is piped"), sender));
        readers.spawn(keep_tail(stderr.expect("stderr is piped"), Arc::clone(&tail)));
        Self { name, child, stdin, events, unclaimed: VecDeque::new(), stderr: tail, readers }
    }

    /// Sends one command.
    pub async fn command(&mut self, command: &Value) {
        self.line(&command.to_string()).await;
    }

    /// Sends one line as it is, for what a [`Value`] cannot say.
    pub async fn line(&mut self, line: &str) {
        let Some(stdin) = &mut self.stdin else { panic!("{}: its input is closed already", self.name) };
        let written = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.write_all(b"\n").await?;
            stdin.flush().await
        };
        match timeout_at(Instant::now() + PATIENCE, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(&format!("takes no command: {error}")),
            Err(_) => self.fail("does not read its input"),
        }
    }

    /// The first event of this name that `matches` and that no earlier call has returned; others are kept for later calls.
    pub async fn expect(&mut self, event: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.expect_within(PATIENCE, event, matches).await
    }

    /// As [`LineProcess::expect`], with less patience.
    pub async fn expect_within(&mut self, patience: Duration, event: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let wanted = |candidate: &Value| candidate["event"] == event && matches(candidate);
        if let Some(found) = self.unclaimed.iter().position(wanted) {
            return self.unclaimed.remove(found).expect("its place has just been found");
        }
        let deadline = Instant::now() + patience;
        loop {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(candidate)) if wanted(&candidate) => return candidate,
                Ok(Some(other)) => self.keep(other),
                Ok(None) => {
                    self.read_to_end().await;
                    self.fail(&format!("ended before the expected {event}"));
                }
                Err(_) => self.fail(&format!("did not say the expected {event} within {patience:?}")),
            }
        }
    }

    /// Fails if it has said an event of this name that no call has returned.
    pub fn assert_unsaid(&mut self, event: &str) {
        self.unclaimed = self.take_said().into();
        if self.unclaimed.iter().any(|said| said["event"] == event) {
            self.fail(&format!("said an unexpected {event}"));
        }
    }

    /// Everything it has said that no call has returned.
    pub fn take_said(&mut self) -> Vec<Value> {
        while let Ok(said) = self.events.try_recv() {
            self.keep(said);
        }
        self.unclaimed.drain(..).collect()
    }

    /// Its process id.
    pub fn pid(&mut self) -> u32 {
        match self.child.id() {
            Some(pid) => pid,
            None => self.fail("has ended"),
        }
    }

    /// Closes its input and waits for it to end well.
    pub async fn end(mut self) {
        self.stdin = None;
        let status = self.wait().await;
        if !status.success() {
            self.fail(&format!("ended badly: {status}"));
        }
    }

    /// Waits for its end, good or bad.
    pub async fn wait(&mut self) -> ExitStatus {
        self.read_to_end().await;
        match timeout_at(Instant::now() + PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => self.fail(&format!("cannot be waited for: {error}")),
            Err(_) => self.fail("did not end"),
        }
    }

    /// Sends it a signal by its name: `STOP` freezes it, `CONT` lets it go on.
    #[cfg(unix)]
    pub async fn signal(&self, name: &str) {
        signal(&self.child, name).await;
    }

    /// Kills it with SIGKILL, as a crash would, and waits until it is gone.
    pub async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            self.fail(&format!("cannot be killed: {error}"));
        }
    }

    /// Panics with `problem` and what the process has said.
    pub fn fail(&mut self, problem: &str) -> ! {
        let mut report = format!("{} {problem}\n", self.name);
        if let Ok(Some(status)) = self.child.try_wait() {
            let _ = writeln!(report, "it has ended with {status}");
        }
        let _ = writeln!(report, "its last events that no call has returned:");
        for event in self.unclaimed.iter().skip(self.unclaimed.len().saturating_sub(SHOWN_EVENTS)) {
            let _ = writeln!(report, "  {}", excerpt(&event.to_string()));
        }
        let _ = writeln!(report, "the end of its standard error:");
        for line in self.stderr.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(report, "  {}", excerpt(line));
        }
        panic!("{report}");
    }

    /// Reads what it still says until it closes its outputs. Unread, it might block on a full pipe and never end.
    async fn read_to_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(Some(event)) = timeout_at(deadline, self.events.recv()).await {
            self.keep(event);
        }
        while let Ok(Some(_)) = timeout_at(deadline, self.readers.join_next()).await {}
    }

    fn keep(&mut self, event: Value) {
        let is_json = event["event"] != NOT_JSON;
        self.unclaimed.push_back(event);
        if !is_json {
            self.fail("said something that is not JSON");
        }
        if self.unclaimed.len() > MAX_UNCLAIMED_EVENTS {
            self.fail("said far more than was asked for");
        }
    }
}

/// Sends a signal by its name to a process that has not been waited for.
#[cfg(unix)]
pub async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it still runs").to_string();
    let status = Command::new("kill").args(["-s", name, &id]).status().await.expect("kill starts");
    assert!(status.success(), "kill -s {name} {id}: {status}");
}

async fn read_events(stdout: impl AsyncRead + Unpin, events: mpsc::Sender<Value>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while matches!((&mut stdout).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        let event = serde_json::from_slice(&line).unwrap_or_else(|error| {
            let line = excerpt(&String::from_utf8_lossy(&line));
            json!({"event": NOT_JSON, "error": error.to_string(), "line": line})
        });
        if events.send(event).await.is_err() {
            return;
        }
        line.clear();
    }
}

async fn keep_tail(stderr: impl AsyncRead + Unpin, tail: StderrTail) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while matches!((&mut stderr).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == MAX_STDERR_LINES {
            tail.pop_front();
        }
        tail.push_back(excerpt(String::from_utf8_lossy(&line).trim_end()));
        line.clear();
    }
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// A peer in a process of its own: `p2pt pipe`, or JavaScript's p2pt behind the same protocol.
#[derive(Debug)]
pub struct PipePeer {
    process: LineProcess,
    id: String,
    public_key: Option<String>,
    tags: u64,
}

impl PipePeer {
    /// Starts `command` and waits until it says who it is.
    pub async fn spawn(name: impl Into<String>, command: Command) -> Self {
        let mut process = LineProcess::spawn(name, command);
        let ready = process.expect("ready", |_| true).await;
        let Some(id) = ready["peer_id"].as_str().map(str::to_owned) else { process.fail("has no peer id") };
        let public_key = ready["public_key"].as_str().map(str::to_owned);
        Self { process, id, public_key, tags: 0 }
    }

    /// Its peer id in hex.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its public key, if it says one.
    pub fn public_key(&self) -> Option<&str> {
        self.public_key.as_deref()
    }

    /// The process behind it, to send any command and await any event.
    pub fn process(&mut self) -> &mut LineProcess {
        &mut self.process
    }

    /// Waits until it has connected to `tracker`.
    pub async fn tracker_connected(&mut self, tracker: &str) {
        // A tracker's URL may be normalised on the way: nothing but a slash at its end.
        let same = |event: &Value| {
            event["tracker"].as_str().map(|url| url.trim_end_matches('/')) == Some(tracker.trim_end_matches('/'))
        };
        self.process.expect("tracker_connected", same).await;
    }

    /// Waits for an event about `peer`.
    pub async fn about(&mut self, event: &str, peer: &str) -> Value {
        self.process.expect(event, |event| event["peer"] == peer).await
    }

    /// Sends a message and asks for the response; returns the tag to await it by.
    pub async fn ask(&mut self, peer: &str, message: &Value) -> String {
        let tag = self.next_tag();
        self.process.command(&json!({"send": {"peer": peer, "message": message, "tag": tag}})).await;
        tag
    }

    /// Responds to a message and asks for the response to that; returns the tag to await it by.
    pub async fn answer(&mut self, received: &Value, message: &Value) -> String {
        let tag = self.next_tag();
        let respond = json!({"peer": received["peer"], "id": received["id"], "message": message, "tag": tag});
        self.process.command(&json!({"respond": respond})).await;
        tag
    }

    /// Responds to a message and asks for nothing.
    pub async fn close_with(&mut self, received: &Value, message: &Value) {
        let respond = json!({"peer": received["peer"], "id": received["id"], "message": message});
        self.process.command(&json!({"respond": respond})).await;
    }

    /// Waits for the response that was asked for with `tag`.
    pub async fn response(&mut self, tag: &str) -> Value {
        self.process.expect("response", |event| event["tag"] == tag).await
    }

    /// Stops it politely and checks that it says so and ends well.
    pub async fn stop(mut self) {
        self.process.command(&json!({"stop": true})).await;
        self.process.expect("stopped", |_| true).await;
        self.process.end().await;
    }

    /// Kills it with SIGKILL.
    pub async fn kill(self) {
        self.process.kill().await;
    }

    fn next_tag(&mut self) -> String {
        self.tags += 1;
        format!("tag {}", self.tags)
    }
}
