//! The `p2pt` program and JavaScript's p2pt in a page of headless Chromium, through both trackers, whoever comes first.

use std::time::Duration;

use p2pt_tests::interop::{Pair, connected, echo, everything, trackers_come_and_go, turn};
use p2pt_tests::js::{Kind, Tracker, TrackerKind};
use serde_json::json;

/// A peer of ours notices a vanished one after about 5 s.
const NOTICED_BY_RUST: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn chromium_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::Chromium, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn rust_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::Rust, Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn chromium_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Chromium, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn rust_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn chromium_that_shows_its_addresses() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::ChromiumPlain).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn trackers_come_and_go_and_peers_stay() {
    trackers_come_and_go(Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn a_crashed_browser_is_noticed() {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: mut page } =
        Pair::meet(TrackerKind::Npm, Kind::Rust, Kind::Chromium).await;
    page.process().command(&json!({"crash": true})).await;
    assert!(!page.process().wait().await.success());
    rust.process().expect_within(NOTICED_BY_RUST, "peer_closed", |event| event["peer"] == page.id()).await;
    rust.stop().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn chromium_notices_a_killed_rust_peer() {
    let _turn = turn().await;
    let Pair { tracker, first: mut page, second: rust } =
        Pair::meet(TrackerKind::Npm, Kind::Chromium, Kind::Rust).await;
    let rust_id = rust.id().to_owned();
    rust.kill().await;
    page.about("peer_closed", &rust_id).await;
    page.stop().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn rust_node_and_chromium_all_meet() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let mut node = Kind::NodeRoamhq.start("three", &[tracker.url()]).await;
    node.tracker_connected(tracker.url()).await;
    let mut rust = Kind::Rust.start("three", &[tracker.url()]).await;
    connected(&mut node, &mut rust).await;
    let mut page = Kind::Chromium.start("three", &[tracker.url()]).await;
    connected(&mut page, &mut node).await;
    connected(&mut page, &mut rust).await;
    echo(&mut page, &mut rust, &json!("from the page")).await;
    echo(&mut rust, &mut node, &json!("from Rust")).await;
    echo(&mut node, &mut page, &json!("from Node")).await;
    for peer in [page, rust, node] {
        peer.stop().await;
    }
    tracker.stop().await;
}
