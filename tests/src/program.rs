//! Programs that people talk to: lines of plain text in and out.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::js::{example, tracker_example};

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

/// An example that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts an example of the facade.
    pub fn start(name: &'static str, arguments: &[&str]) -> Self {
        let mut command = Command::new(example(name));
        command.args(arguments);
        Self::spawn(name, command)
    }

    /// Starts an example of `p2pt-tracker`.
    pub fn start_of_tracker(name: &'static str, arguments: &[&str]) -> Self {
        let mut command = Command::new(tracker_example(name));
        command.args(arguments);
        Self::spawn(name, command)
    }

    /// Starts any program; `name` is what failures call it.
    pub fn spawn(name: &'static str, mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { name, input: child.stdin.take(), child, lines }
    }

    /// The next line that holds this text.
    ///
    /// # Panics
    /// If it ends before, or says nothing such in a minute.
    pub async fn says(&mut self, text: &str) -> String {
        let line = async {
            let mut before = Vec::new();
            loop {
                match self.lines.next_line().await.expect("readable") {
                    Some(line) if line.contains(text) => return line,
                    Some(line) => before.push(line),
                    None => panic!("{} ended before it said {text:?}; it said {before:#?}", self.name),
                }
            }
        };
        timeout(DEADLINE, line).await.unwrap_or_else(|_| panic!("{} did not say {text:?}", self.name))
    }

    /// Writes a line to it.
    pub async fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("the program reads");
    }

    /// Closes its input, on which it ends by itself.
    pub async fn ends(mut self) {
        drop(self.input.take());
        let status = timeout(DEADLINE, self.child.wait()).await.expect("in time").expect("it ends");
        assert!(status.success(), "{}: {status}", self.name);
    }
}
