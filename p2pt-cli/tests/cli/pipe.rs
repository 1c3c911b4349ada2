//! `p2pt pipe` against `p2pt pipe`, through `p2pt tracker`.

use std::process::Stdio;

use p2pt_tests::interop::{announce_again, assert_undisturbed, connected, converse, echo};
use p2pt_tests::pipe::PipePeer;
#[cfg(unix)]
use p2pt_tests::pipe::signal;
use serde_json::{Value, json};

use crate::program::{Tracker, exit_code, line, run, stdout, text};

/// An id that no peer has.
const NOBODY: &str = "0000000000000000000000000000000000000000";

async fn error(peer: &mut PipePeer, tag: Option<&str>) -> String {
    let error = peer.process().expect("error", |error| error.get("tag").and_then(Value::as_str) == tag).await;
    error["error"].as_str().expect("an error says what is wrong").to_owned()
}

#[tokio::test]
async fn two_pipes_say_everything_to_each_other() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    converse(&mut ann, &mut ben).await;
    announce_again(&mut ann, &mut ben).await;

    ann.process().command(&json!({"peers": true})).await;
    let peers = ann.process().expect("peers", |_| true).await;
    let [peer] = peers["peers"].as_array().expect("a list").as_slice() else { panic!("{peers}") };
    assert_eq!((&peer["peer"], &peer["connections"]), (&json!(ben.id()), &json!(1)));

    for (field, content) in [("text", "raw ✓ text"), ("base64", "AP8AgA==")] {
        ann.process().command(&json!({"send_frame": {"peer": ben.id(), field: content}})).await;
        assert_eq!(ben.about("data", ann.id()).await[field], content);
    }
    assert_undisturbed(&mut ann, &mut ben);

    let ann_id = ann.id().to_owned();
    ann.stop().await;
    ben.about("peer_closed", &ann_id).await;
    ben.stop().await;
}

#[tokio::test]
async fn a_message_to_everyone_is_answered_by_each() {
    let tracker = Tracker::start().await;
    let mut ann = tracker.pipe("ann", &[]).await;
    let mut others = Vec::new();
    for name in ["ben", "cem", "dot"] {
        let mut other = tracker.pipe(name, &[]).await;
        connected(&mut ann, &mut other).await;
        others.push(other);
    }
    ann.process().command(&json!({"send": {"peer": "*", "message": {"who": "?"}, "tag": "who"}})).await;
    for other in &mut others {
        let received = other.about("message", ann.id()).await;
        assert_eq!(received["message"], json!({"who": "?"}));
        other.close_with(&received, &json!("me")).await;
    }
    for other in others {
        let id = other.id().to_owned();
        let answer = ann.process().expect("response", |answer| answer["tag"] == "who" && answer["peer"] == id).await;
        assert_eq!(answer["message"], "me");
        other.stop().await;
    }
    ann.stop().await;
}

#[tokio::test]
async fn trackers_come_and_go() {
    let (first, second) = (Tracker::start().await, Tracker::start().await);
    let (mut ann, mut ben) = (first.pipe("ann", &[]).await, second.pipe("ben", &[]).await);
    ann.process().command(&json!({"add_tracker": second.url})).await;
    let reached = ann.process().expect("tracker_connected", |event| event["tracker"] == second.url).await;
    assert_eq!(reached["total"], 2);
    connected(&mut ann, &mut ben).await;
    ann.process().command(&json!({"remove_tracker": second.url})).await;
    echo(&mut ann, &mut ben, &json!("still connected")).await;

    for (command, problem) in [
        (json!({"remove_tracker": second.url}), "no such tracker"),
        (json!({"add_tracker": "http://example.org"}), "ws:// or wss://"),
    ] {
        ann.process().command(&command).await;
        let error = error(&mut ann, None).await;
        assert!(error.contains(problem), "{error}");
    }
    let (url, lost) = (first.url.clone(), first);
    drop(lost);
    let warning = ann.process().expect("tracker_warning", |warning| warning["tracker"] == url).await;
    assert!(warning["error"].as_str().is_some_and(|error| !error.is_empty()), "{warning}");
    echo(&mut ben, &mut ann, &json!("and without any tracker")).await;
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn bad_lines_are_answered_and_do_no_harm() {
    let tracker = Tracker::start().await;
    let mut ann = tracker.pipe("ann", &[]).await;
    for (bad, tag, complaint) in [
        ("hello", None, "not a command"),
        (r#"{"sned":{"tag":"a"}}"#, Some("a"), "unknown variant `sned`"),
        (r#"{"send":{"peer":"xyz","message":1,"tag":"b"}}"#, Some("b"), "is no id"),
        (r#"{"send":{"peer":"NOBODY","message":1,"tag":"c"}}"#, Some("c"), "is not connected"),
        (r#"{"respond":{"peer":"NOBODY","id":5,"message":1}}"#, None, "is not connected"),
        (r#"{"send":{"peer":"*","message":1,"tag":"d"}}"#, Some("d"), "no peer is connected"),
        (r#"{"send_frame":{"peer":"*"}}"#, None, "`text` or `base64`"),
        (r#"{"send_frame":{"peer":"*","base64":"!","tag":"e"}}"#, Some("e"), "not base64"),
    ] {
        ann.process().line(&bad.replace("NOBODY", NOBODY)).await;
        let error = error(&mut ann, tag).await;
        assert!(error.contains(complaint), "{bad}: {error}");
    }
    // That there is no peer to send to is no error if no response is wanted; nor is an empty line.
    ann.process().command(&json!({"send": {"peer": "*", "message": 1}})).await;
    ann.process().line("").await;
    ann.process().command(&json!({"peers": true})).await;
    assert_eq!(ann.process().expect("peers", |_| true).await["peers"], json!([]));
    ann.process().assert_unsaid("error");
    ann.stop().await;
}

#[tokio::test]
async fn a_tag_always_hears_what_became_of_it() {
    let tracker = Tracker::start().await;
    let mut ann = tracker.pipe("ann", &["--request-timeout", "0.3"]).await;
    let mut ben = tracker.pipe("ben", &[]).await;
    connected(&mut ann, &mut ben).await;

    let unanswered = ann.ask(ben.id(), &json!("?")).await;
    let problem = error(&mut ann, Some(&unanswered)).await;
    assert!(problem.contains("no response within 300ms"), "{problem}");

    let abandoned = ben.ask(ann.id(), &json!("?")).await;
    ann.about("message", ben.id()).await;
    ann.stop().await;
    let problem = error(&mut ben, Some(&abandoned)).await;
    assert!(problem.contains("the peer went"), "{problem}");
    ben.stop().await;
}

#[tokio::test]
async fn what_was_commanded_before_the_stop_arrives_in_order() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    // More than what fits into the buffers on the way.
    let megabyte = "x".repeat(1_000_000);
    for number in 0..20 {
        let message = json!({"number": number, "text": megabyte});
        ann.process().command(&json!({"send": {"peer": ben.id(), "message": message}})).await;
        ann.process().command(&json!({"send": {"peer": ben.id(), "message": number}})).await;
    }
    let ann_id = ann.id().to_owned();
    let stopping = ann.stop();
    let receiving = async {
        for number in 0..20 {
            assert_eq!(ben.about("message", &ann_id).await["message"]["number"], number);
            assert_eq!(ben.about("message", &ann_id).await["message"], number);
        }
        ben.about("peer_closed", &ann_id).await;
        ben.stop().await;
    };
    tokio::join!(stopping, receiving);
}

#[tokio::test]
async fn the_end_of_the_input_stops_it() {
    let output = run(&["pipe", "alone", "--loopback", "--no-default-trackers"]).await;
    let events: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warnings: Vec<_> = text(&output.stderr).lines().map(str::to_owned).collect();
    assert!(output.status.success() && warnings.len() == 1, "{output:?}");
    assert!(warnings[0].contains("the node has no tracker"), "{warnings:?}");
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0]["event"], "ready");
    assert_eq!(events[0]["peer_id"].as_str().map(str::len), Some(40));
    // The SHA-1 of the identifier.
    assert_eq!(events[0]["info_hash"], "1b05d637f0409cc99b4dd0b5023e421c52d9b764");
    assert_eq!(events[1], json!({"event": "stopped"}));
}

#[cfg(unix)]
#[tokio::test]
async fn signals_stop_it() {
    let tracker = Tracker::start().await;
    for name in ["INT", "TERM"] {
        let mut command = tracker.pipe_command(&[]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut from = stdout(&mut child);
        assert!(line(&mut from).await.contains("ready"));
        signal(&child, name).await;
        let mut last = String::new();
        loop {
            match line(&mut from).await {
                said if said.is_empty() => break,
                said => last = said,
            }
        }
        assert_eq!(last, r#"{"event":"stopped"}"#);
        assert_eq!(exit_code(child).await, Some(0));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_peer_that_is_not_read_stalls_nobody_but_itself() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    // What this one says after the first line is not read.
    let mut command = tracker.pipe_command(&[]);
    let mut stalled = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut from_stalled = stdout(&mut stalled);
    let ready: Value = serde_json::from_str(&line(&mut from_stalled).await).unwrap();
    let stalled_id = ready["peer_id"].as_str().unwrap();
    for peer in [&mut ann, &mut ben] {
        peer.about("peer_connected", stalled_id).await;
    }

    // More than all the buffers on the way hold, so that the queue for it overflows at last, and says so.
    let megabyte = "x".repeat(1 << 20);
    for number in 0..120 {
        let tag = format!("megabyte {number}");
        ann.process().command(&json!({"send": {"peer": stalled_id, "message": megabyte, "tag": tag}})).await;
    }
    let full = ann.process().expect("error", |error| error["tag"].is_string()).await;
    let said = full["error"].as_str().unwrap();
    assert!(said.starts_with(&format!("peer {stalled_id}: the peer's send queue is full")), "{said}");
    echo(&mut ann, &mut ben, &json!("we go on")).await;
    echo(&mut ben, &mut ann, &json!("so we do")).await;

    // It is stopped although it cannot say so.
    signal(&stalled, "TERM").await;
    assert_eq!(exit_code(stalled).await, Some(1));
    for peer in [&mut ann, &mut ben] {
        peer.about("peer_closed", stalled_id).await;
    }
    ann.stop().await;
    ben.stop().await;
}
