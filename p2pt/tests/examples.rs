//! The examples, run as a user would: each in processes of its own that meet copies of themselves at a real tracker, over
//! real WebRTC.
#![cfg(all(feature = "webrtc", feature = "server", feature = "testing"))]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

/// An example that runs.
struct Program {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(name: &'static str, arguments: &[&str]) -> Self {
        let test = std::env::current_exe().expect("a test has a path");
        let profile = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps");
        let path: PathBuf = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        assert!(path.exists(), "{} is missing: `cargo test -p p2pt` builds it", path.display());
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the example starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { name, input: child.stdin.take(), child, lines }
    }

    /// The next line that holds this text.
    async fn says(&mut self, text: &str) -> String {
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

    async fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("the example reads");
    }

    /// Closes its input, on which it ends by itself.
    async fn ends(mut self) {
        drop(self.input.take());
        let status = timeout(DEADLINE, self.child.wait()).await.expect("in time").expect("it ends");
        assert!(status.success(), "{}: {status}", self.name);
    }
}

async fn tracker() -> (TrackerServer, String) {
    let tracker = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let url = tracker.url().to_string();
    (tracker, url)
}

/// Two copies with the same arguments, which both live until each has said this.
async fn both_say(name: &'static str, arguments: &[&str], text: &str) {
    let [mut one, mut other] = [(); 2].map(|()| Program::start(name, arguments));
    tokio::join!(one.says(text), other.says(text));
}

#[tokio::test]
async fn hello_talks_to_a_copy_of_itself() {
    let (_tracker, url) = tracker().await;
    both_say("hello", &[&url], r#" answers Some("nice to meet you")"#).await;
}

#[tokio::test]
async fn two_people_chat_by_name() {
    let (_tracker, url) = tracker().await;
    let mut alice = Program::start("chat", &["room", "Alice", &url]);
    let mut bob = Program::start("chat", &["room", "Bob \u{1b}[31m", &url]);
    // Without the control character.
    alice.says("* Bob [31m is here").await;
    bob.says("* Alice is here").await;
    alice.write("hello, Bob").await;
    bob.says("Alice: hello, Bob").await;
    alice.ends().await;
    bob.says("* Alice has left").await;
    bob.ends().await;
}

#[tokio::test]
async fn requests_have_types() {
    let (_tracker, url) = tracker().await;
    both_say("typed_requests", &[&url], "says 5 °C").await;
}

#[tokio::test]
async fn one_node_is_in_several_rooms() {
    let (_tracker, url) = tracker().await;
    let mut one = Program::start("rooms", &["red", "blue", "--tracker", &url]);
    let mut other = Program::start("rooms", &["blue", "green", "--tracker", &url]);
    one.says(r#"[blue] "#).await;
    other.says(r#"says Some("welcome to blue")"#).await;
}

#[tokio::test]
async fn a_filter_is_asked_about_each_peer() {
    let (_tracker, url) = tracker().await;
    both_say("admission", &[&url], "is in; ").await;
}

#[tokio::test]
async fn a_game_loop_sees_the_other_players() {
    let (_tracker, url) = tracker().await;
    both_say("game_loop", &[&url], "is at Position").await;
}

#[tokio::test]
async fn the_example_with_a_tracker_meets_itself() {
    let mut program = Program::start("tracker", &[]);
    program.says("has met").await;
    program.ends().await;
}

#[tokio::test]
async fn the_example_in_memory_runs() {
    let mut program = Program::start("memory_test", &[]);
    program.says("seed 4: 20 greetings").await;
    program.ends().await;
}

#[tokio::test]
async fn p2chat_talks_to_a_copy_of_itself() {
    let (_tracker, url) = tracker().await;
    let mut alice = Program::start("p2chat", &["general", "Alice", &url]);
    let mut bob = Program::start("p2chat", &["general", "Bob", &url]);
    // What is said before anybody is there goes nowhere, as in the page: so it is said until it is heard.
    let heard = async {
        loop {
            alice.write("hello").await;
            tokio::select! {
                line = bob.lines.next_line() => break line.expect("readable").expect("it goes on"),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
    };
    assert_eq!(timeout(DEADLINE, heard).await.expect("in time"), "Alice: hello");
    alice.ends().await;
    bob.ends().await;
}

#[tokio::test]
async fn webdrop_hands_a_copy_of_itself_a_file() {
    let (_tracker, url) = tracker().await;
    let folder = std::env::temp_dir().join(format!("p2pt-webdrop-{}", std::process::id()));
    let (from, to) = (folder.join("from"), folder.join("to"));
    std::fs::create_dir_all(&from).and_then(|()| std::fs::create_dir_all(&to)).expect("folders");
    let contents: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
    let file = from.join("picture.bin");
    std::fs::write(&file, &contents).expect("a file");
    let [from, to, file] = [&from, &to, &file].map(|path| path.to_str().expect("text"));

    let mut sender = Program::start("webdrop", &["room", from, file, "--tracker", &url]);
    let mut receiver = Program::start("webdrop", &["room", to, "--tracker", &url]);
    receiver.says("received ").await;
    sender.says("sent picture.bin (300000 bytes)").await;
    assert!(std::fs::read(PathBuf::from(to).join("picture.bin")).expect("a file") == contents, "the contents differ");
    std::fs::remove_dir_all(&folder).expect("removed");
}
