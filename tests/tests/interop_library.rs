//! The `p2pt` library and JavaScript's p2pt: what the `p2pt` program has no commands for.

use std::time::Duration;

use futures_util::future::join_all;
use p2pt::transport::webrtc::WebRtcConfig;
use p2pt::{Event, Events, Frame, P2pt, Peer, Swarm};
use p2pt_tests::events::{closed, connected, message, next_of_peers};
use p2pt_tests::interop::{big_text, turn};
use p2pt_tests::js::{Kind, Tracker, TrackerKind};
use p2pt_tests::pipe::{PATIENCE, PipePeer};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

/// A library peer that keeps so many channels to each peer.
async fn start(identifier: &str, trackers: &[&str], links: usize) -> (Swarm, Events) {
    P2pt::builder()
        .trackers(trackers.iter().copied())
        .webrtc(WebRtcConfig::default().without_ice_servers())
        .connections_per_peer(links)
        .join(identifier)
        .await
        .expect("the announce URLs are good")
}

/// Each asks the other a megabyte of a question.
async fn talk(peer: &Peer, events: &mut Events, js: &mut PipePeer, own_id: &str) {
    let text = big_text();
    let asked = tokio::spawn(peer.request(text.as_str()).timeout(PATIENCE).into_future());
    let received = js.about("message", own_id).await;
    assert!(received["message"] == text.as_str(), "the question arrived damaged");
    js.close_with(&received, &json!("from JavaScript")).await;
    let response = asked.await.expect("no panic").expect("a response");
    assert_eq!(response.text(), Some("from JavaScript"));

    let tag = js.ask(own_id, &json!(text)).await;
    let message = message(events, PATIENCE).await;
    assert!(message.text() == Some(&text), "the question arrived damaged");
    message.respond("from Rust").await.expect("a channel is open");
    assert_eq!(js.response(&tag).await["message"], "from Rust");
}

/// Through two trackers two channels open; JavaScript closes one of them.
async fn one_of_two_channels_closes(kind: Kind) {
    let _turn = turn().await;
    let trackers = [Tracker::start(TrackerKind::Npm).await, Tracker::start(TrackerKind::Ours).await];
    let urls = trackers.each_ref().map(Tracker::url);
    let mut js = kind.start("two links", &urls).await;
    for url in urls {
        js.tracker_connected(url).await;
    }
    let (p2pt, mut events) = start("two links", &urls, 2).await;
    let own_id = p2pt.peer_id().to_string();
    let peer = connected(&mut events, PATIENCE).await;
    assert_eq!(peer.id().to_string(), js.id());
    js.about("peer_connected", &own_id).await;
    js.process().expect("channel_opened", |event| event["peer"] == own_id && event["channels"] == 2).await;
    talk(&peer, &mut events, &mut js, &own_id).await;

    js.process().command(&json!({"close_channel": {"peer": own_id}})).await;
    js.process().expect("channel_closed", |event| event["peer"] == own_id && event["channels"] == 1).await;
    talk(&peer, &mut events, &mut js, &own_id).await;
    js.process().assert_unsaid("peer_closed");

    let js_id = js.id().to_owned();
    js.stop().await;
    assert_eq!(closed(&mut events, PATIENCE).await.peer.id().to_string(), js_id);
    p2pt.shutdown().await;
    for tracker in trackers {
        tracker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_library -- --ignored"]
async fn one_of_two_channels_to_node_closes_and_talk_goes_on() {
    one_of_two_channels_closes(Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_library -- --ignored"]
async fn one_of_two_channels_to_chromium_closes_and_talk_goes_on() {
    one_of_two_channels_closes(Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_library -- --ignored"]
async fn frames_that_are_not_p2pts_go_both_ways() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let (p2pt, mut events) = start("raw frames", &[tracker.url()], 1).await;
    let own_id = p2pt.peer_id().to_string();
    let mut node = Kind::NodeRoamhq.start("raw frames", &[tracker.url()]).await;
    let peer = connected(&mut events, PATIENCE).await;
    node.about("peer_connected", &own_id).await;

    peer.send_frame(Frame::text("raw ✓ text")).await.expect("a channel is open");
    assert_eq!(node.about("data", &own_id).await["text"], "raw ✓ text");
    peer.send_frame(Frame::Binary(vec![0, 255, 0, 128].into())).await.expect("a channel is open");
    assert_eq!(node.about("data", &own_id).await["base64"], "AP8AgA==");

    for raw in [json!({"peer": own_id, "text": "raw ✓ text"}), json!({"peer": own_id, "base64": "AP8AgA=="})] {
        node.process().command(&json!({"send_raw": raw})).await;
    }
    for expected in [Frame::text("raw ✓ text"), Frame::Binary(vec![0, 255, 0, 128].into())] {
        match next_of_peers(&mut events, PATIENCE).await {
            Event::Data(data) => assert_eq!(data.frame, expected),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    p2pt.shutdown().await;
    node.about("peer_closed", &own_id).await;
    node.stop().await;
    tracker.stop().await;
}

/// How many nodes start, one after the other.
const NODES: usize = 10;

/// Between two starts.
const APART: Duration = Duration::from_millis(150);

/// Ten nodes of this library, started one after the other, form a full mesh over real WebRTC; how long that took since
/// the first start, five times.
async fn ten_nodes_form_a_mesh(kind: TrackerKind) {
    let _turn = turn().await;
    let mut took = Vec::new();
    for round in 0..5 {
        let tracker = Tracker::start(kind).await;
        let began = Instant::now();
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(start(&format!("ten nodes {round}"), &[tracker.url()], 1).await);
            sleep(APART).await;
        }
        let meeting = join_all(nodes.iter_mut().map(|(_, events)| async {
            for _ in 1..NODES {
                connected(events, PATIENCE).await;
            }
        }));
        timeout(PATIENCE, meeting).await.expect("a full mesh in time");
        took.push(began.elapsed());
        join_all(nodes.iter().map(|(swarm, _)| swarm.shutdown())).await;
        tracker.stop().await;
    }
    took.sort_unstable();
    println!("{kind:?}: ten nodes formed a mesh after {took:?}, {:?} in the median", took[took.len() / 2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_library -- --ignored"]
async fn ten_nodes_form_a_mesh_at_the_npm_tracker() {
    ten_nodes_form_a_mesh(TrackerKind::Npm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, and belongs beside the same at the npm tracker: cargo test -p p2pt-tests --test interop_library -- --ignored"]
async fn ten_nodes_form_a_mesh_at_our_tracker() {
    ten_nodes_form_a_mesh(TrackerKind::Ours).await;
}
