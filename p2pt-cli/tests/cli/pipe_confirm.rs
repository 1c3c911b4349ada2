//! `p2pt pipe` tells when a data channel has taken what it sends, so that any language can pace itself.

use std::collections::BTreeSet;
use std::process::Stdio;

use p2pt_tests::interop::connected;
use p2pt_tests::pipe::PipePeer;
use serde_json::{Value, json};

use crate::program::{Tracker, line, stdout};

/// The tag of the next event that says how a tagged command ended, which must be an event of this name.
async fn next_tag(peer: &mut PipePeer, event: &str) -> String {
    let said = peer.process().expect(event, |event| event["tag"].is_string()).await;
    said["tag"].as_str().map(str::to_owned).expect("a tag is text")
}

#[tokio::test]
async fn what_a_channel_took_is_said_in_the_order_of_the_commands() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    // Large and small, so that one that is not queued with the others would overtake them.
    for number in 0..50 {
        let tag = format!("{number}");
        let text = "x".repeat(if number % 5 == 0 { 1_000_000 } else { 1 });
        let send = json!({"peer": ben_id, "message": [number, text], "tag": tag, "confirm": "accepted"});
        ann.process().command(&json!({"send": send})).await;
        ann.process().command(&json!({"send": {"peer": ben_id, "message": number}})).await;
    }
    for number in 0..50 {
        assert_eq!(ben.about("message", &ann_id).await["message"][0], number);
        assert_eq!(ben.about("message", &ann_id).await["message"], number);
        let accepted = ann.process().expect("accepted", |_| true).await;
        assert_eq!((&accepted["tag"], &accepted["peer"]), (&json!(number.to_string()), &json!(ben_id)));
    }
    ann.process().assert_unsaid("error");
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn every_kind_of_send_can_be_confirmed() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    let send = |more: Value| {
        let mut send = json!({"peer": ben_id, "message": "hello", "tag": "t", "confirm": "accepted"});
        send.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"send": send})
    };
    for (command, heard) in [
        (send(json!({})), "message"),
        (send(json!({"peer": "*"})), "message"),
        (send(json!({"wait": false})), "message"),
        (json!({"respond": {"peer": ben_id, "id": 7, "message": 1, "tag": "t", "confirm": "accepted"}}), "message"),
        (json!({"send_frame": {"peer": ben_id, "text": "raw", "tag": "t", "confirm": "accepted"}}), "data"),
    ] {
        ann.process().command(&command).await;
        assert_eq!(next_tag(&mut ann, "accepted").await, "t", "{command}");
        ben.about(heard, &ann_id).await;
    }

    // A request is ended by its response, as ever, and may say so.
    ann.process().command(&send(json!({"confirm": "response"}))).await;
    let asked = ben.about("message", &ann_id).await;
    ben.close_with(&asked, &json!("hello, too")).await;
    assert_eq!(ann.response("t").await["message"], "hello, too");

    for (command, complaint) in [
        (
            send(json!({"confirm": "delivered"})),
            "unknown variant `delivered`, expected one of `accepted`, `acknowledged`, `response`",
        ),
        (send(json!({"confirm": "response", "wait": false})), "contradict"),
        (send(json!({"peer": "0".repeat(40)})), "is not connected"),
        // Larger than a channel takes: it was queued, and refused in its turn.
        (
            json!({"send_frame": {"peer": ben_id, "text": "x".repeat(300_000), "tag": "t", "confirm": "accepted"}}),
            "frame",
        ),
        // Larger than the send buffer.
        (send(json!({"wait": false, "message": "x".repeat(3 << 20)})), "send buffer"),
    ] {
        ann.process().command(&command).await;
        let error = ann.process().expect("error", |error| error["tag"] == "t").await;
        assert!(error["error"].as_str().is_some_and(|error| error.contains(complaint)), "{error}");
    }
    ann.process().command(&send(json!({"tag": null}))).await;
    let error = ann.process().expect("error", |error| error.get("tag").is_none()).await;
    assert!(error["error"].as_str().is_some_and(|error| error.contains("needs a `tag`")), "{error}");
    ann.process().assert_unsaid("accepted");
    ben.stop().await;
    ann.about("peer_closed", &ben_id).await;
    ann.process().command(&send(json!({"peer": "*"}))).await;
    let error = ann.process().expect("error", |error| error["tag"] == "t").await;
    assert_eq!(error["error"], "no peer is connected");
    ann.stop().await;
}

/// Sends that wait for one peer, which ends while they do.
#[tokio::test]
async fn each_send_ends_once_and_no_more_wait_than_may() {
    let tracker = Tracker::start().await;
    let mut ann = tracker.pipe("ann", &[]).await;
    // What this one says after the first line is not read.
    let mut command = tracker.pipe_command(&[]);
    let mut stalled = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut from_stalled = stdout(&mut stalled);
    let ready: Value = serde_json::from_str(&line(&mut from_stalled).await).unwrap();
    let stalled_id = ready["peer_id"].as_str().unwrap();
    ann.about("peer_connected", stalled_id).await;

    // More than all the buffers on the way hold, and less than the queue does besides.
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..60 {
        ann.process().command(&json!({"send": {"peer": stalled_id, "message": megabyte}})).await;
    }
    let more = 10;
    for number in 0..4096 + more {
        let send = json!({"peer": stalled_id, "message": "small", "tag": number.to_string(), "confirm": "accepted"});
        ann.process().command(&json!({"send": send})).await;
    }
    let mut ended = BTreeSet::new();
    for _ in 0..more {
        let error = ann.process().expect("error", |error| error["tag"].is_string()).await;
        let said = error["error"].as_str().unwrap();
        assert_eq!(said, format!("peer {stalled_id}: 4096 sends wait to be confirmed already"));
        assert!(ended.insert(error["tag"].as_str().unwrap().to_owned()), "{error}");
    }
    ann.process().assert_unsaid("accepted");
    stalled.kill().await.expect("it runs");
    for _ in 0..4096 {
        let error = ann.process().expect("error", |error| error["tag"].is_string()).await;
        assert!(error["error"].as_str().is_some_and(|error| error.contains("is gone")), "{error}");
        assert!(ended.insert(error["tag"].as_str().unwrap().to_owned()), "{error}");
    }
    ann.about("peer_closed", stalled_id).await;
    ann.process().assert_unsaid("error");
    ann.process().assert_unsaid("accepted");
    ann.stop().await;
}
