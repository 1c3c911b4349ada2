//! The program among other programs: readers that go away, full disks, hangups, marks, few descriptors.

use std::fs::File;
use std::process::Stdio;

use p2pt_tests::pipe::{PATIENCE, signal};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::program::{Tracker, exit_code, line, p2pt, stderr, stdout, text, until};

/// A command that waits for peers, and its input, which stays open.
fn waiting(command: &mut Command) -> (Child, ChildStdin) {
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let stdin = child.stdin.take().expect("it is piped");
    (child, stdin)
}

/// `p2pt chat` and `p2pt pipe`, which never hear of anything.
fn alone(command: &str) -> Command {
    p2pt(&[command, "alone", "--loopback", "--no-default-trackers"])
}

/// What a program has written to its standard error when it has ended.
async fn complaint(child: &mut Child) -> String {
    let mut said = String::new();
    let mut from = stderr(child);
    loop {
        match line(&mut from).await {
            end if end.is_empty() => return said,
            next => said = next,
        }
    }
}

#[tokio::test]
async fn it_leaves_when_its_reader_is_gone_though_nothing_happens() {
    let tracker = Tracker::start().await;
    let mut ben = tracker.pipe("ben", &[]).await;
    for command in ["pipe", "chat"] {
        let mut ann = p2pt(&[command, "p2pt-cli tests", "--loopback", "--tracker", &tracker.url]);
        let (mut ann, _input) = waiting(ann.stdout(Stdio::piped()));
        let mut from_ann = stdout(&mut ann);
        let connected = ben.process().expect("peer_connected", |_| true).await;
        let said = if command == "pipe" { "peer_connected" } else { "is here" };
        until(&mut from_ann, said).await;
        // From here on it has nothing to say.
        drop(from_ann);
        let closed = ben.process().expect("peer_closed", |event| event["peer"] == connected["peer"]).await;
        assert_eq!(closed["reason"], "closed by the other side");
        assert_eq!(complaint(&mut ann).await, "p2pt: standard output is closed: its reader is gone");
        assert_eq!(exit_code(ann).await, Some(1));
    }
    ben.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_called_that() {
    for command in [
        &["pipe", "alone", "--loopback", "--no-default-trackers"][..],
        &["chat", "alone", "--loopback", "--no-default-trackers"],
        &["demo"],
        &["tracker", "--listen", "127.0.0.1:0"],
        &["--help"],
    ] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let (mut child, _input) = waiting(p2pt(command).stdout(full));
        let said = complaint(&mut child).await;
        assert!(said.contains("the disk that standard output goes to is full"), "{command:?}: {said}");
        assert_eq!(exit_code(child).await, Some(1), "{command:?}");
    }
}

#[tokio::test]
async fn a_hangup_is_a_polite_leave() {
    let tracker = Tracker::start().await;
    let mut ben = tracker.pipe("ben", &[]).await;
    for command in ["pipe", "chat"] {
        // Whatever the shell that runs the tests does with hangups.
        let mut ann = Command::new("env");
        ann.arg("--default-signal=HUP").arg(env!("CARGO_BIN_EXE_p2pt")).kill_on_drop(true);
        ann.args([command, "p2pt-cli tests", "--loopback", "--tracker", &tracker.url]);
        let (mut ann, _input) = waiting(ann.stdout(Stdio::piped()));
        let _from_ann = stdout(&mut ann);
        let connected = ben.process().expect("peer_connected", |_| true).await;
        signal(&ann, "HUP").await;
        let closed = ben.process().expect("peer_closed", |event| event["peer"] == connected["peer"]).await;
        assert_eq!(closed["reason"], "closed by the other side");
        assert_eq!(exit_code(ann).await, Some(0));
    }
    ben.stop().await;
}

#[tokio::test]
async fn who_was_started_to_survive_a_hangup_does() {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP").arg(env!("CARGO_BIN_EXE_p2pt")).kill_on_drop(true);
    command.args(["pipe", "alone", "--loopback", "--no-default-trackers"]);
    let (mut child, mut input) = waiting(command.stdout(Stdio::piped()));
    let mut from = stdout(&mut child);
    assert!(line(&mut from).await.contains("ready"));
    signal(&child, "HUP").await;
    // Were it stopped, it would have stopped before it takes the second one.
    for _ in 0..2 {
        input.write_all(b"{\"peers\":true}\n").await.unwrap();
        assert!(line(&mut from).await.contains(r#""peers":[]"#));
    }
    drop(input);
    assert_eq!(exit_code(child).await, Some(0));
}

#[tokio::test]
async fn a_mark_before_the_first_line_is_passed_over() {
    let (mut child, mut input) = waiting(alone("pipe").stdout(Stdio::piped()));
    let mut from = stdout(&mut child);
    assert!(line(&mut from).await.contains("ready"));
    input.write_all(b"\xef\xbb\xbf{\"peers\":true}\n").await.unwrap();
    let answer: Value = serde_json::from_str(&line(&mut from).await).unwrap();
    assert_eq!(answer["event"], "peers", "{answer}");
    drop(input);
    assert_eq!(exit_code(child).await, Some(0));

    let (mut child, mut input) = waiting(alone("chat").stdout(Stdio::piped()));
    let mut from = stdout(&mut child);
    input.write_all(b"\xef\xbb\xbf/peers\n").await.unwrap();
    until(&mut from, "0 here besides you").await;
    drop(input);
    assert_eq!(exit_code(child).await, Some(0));
}

/// The limits below which the dynamic loader, which needs a descriptor, does not even start the program.
const UNLOADABLE: u32 = 4;

/// The first limit that is enough for every command, unless the test has inherited open descriptors.
const ENOUGH: u32 = 35;

/// A limit that is enough whatever was inherited.
const PLENTY: u32 = 60;

#[tokio::test]
async fn with_few_descriptors_every_command_says_so_and_none_panics() {
    for limit in 0..=64 {
        for arguments in [
            "demo",
            "pipe alone --loopback --no-default-trackers",
            "chat alone --loopback --no-default-trackers",
            "tracker --listen 127.0.0.1:0",
            "scrape ws://127.0.0.1:9 app",
        ] {
            let run = format!("ulimit -n {limit} && exec {} {arguments}", env!("CARGO_BIN_EXE_p2pt"));
            let mut command = Command::new("sh");
            command.args(["-c", &run]).env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
            if arguments.starts_with("tracker") && line(&mut stdout(&mut child)).await.starts_with("listening") {
                signal(&child, "TERM").await;
            }
            let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").unwrap();
            let (code, said) = (output.status.code(), text(&output.stderr));
            let context = format!("{limit}, {arguments}: {code:?} {said}");
            assert!(!said.contains("panicked"), "{context}");
            match limit {
                ..UNLOADABLE => assert!(code != Some(0), "{context}"),
                _ if limit < ENOUGH || limit < PLENTY && said.contains("too few") => {
                    assert!(said.starts_with("p2pt: too few file descriptors: 32 are needed"), "{context}");
                    assert!(code == Some(1) && said.contains("ulimit -n"), "{context}");
                }
                // Nothing listens there.
                _ if arguments.starts_with("scrape") => assert!(said.contains("cannot be reached"), "{context}"),
                _ => assert_eq!(code, Some(0), "{context}"),
            }
        }
    }
}

#[tokio::test]
async fn the_end_of_the_input_does_not_count_as_the_first_signal() {
    let tracker = Tracker::start().await;
    // What this one says after the first line is not read, so that what is sent to it waits.
    let (mut stalled, _input) = waiting(tracker.pipe_command(&[]).stdout(Stdio::piped()));
    let mut from_stalled = stdout(&mut stalled);
    let ready: Value = serde_json::from_str(&line(&mut from_stalled).await).unwrap();
    let (mut ann, mut input) = waiting(tracker.pipe_command(&[]).stdout(Stdio::piped()));
    let mut from_ann = stdout(&mut ann);
    until(&mut from_ann, "peer_connected").await;
    let (peer, text) = (ready["peer_id"].as_str().unwrap(), "x".repeat(1 << 20));
    for _ in 0..60 {
        let send = format!("{{\"send\":{{\"peer\":\"{peer}\",\"message\":\"{text}\"}}}}\n");
        input.write_all(send.as_bytes()).await.unwrap();
    }
    // So that the end of the input is all that is left to read.
    input.write_all(b"{\"peers\":true}\n").await.unwrap();
    until(&mut from_ann, "\"peers\"").await;
    drop(input);
    // It goes on sending for five seconds.
    signal(&ann, "TERM").await;
    until(&mut from_ann, "\"stopped\"").await;
    assert_eq!(exit_code(ann).await, Some(0));
}
