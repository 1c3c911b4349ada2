//! JavaScript peers among themselves: proves our tracker, and the harness that the other interoperability tests stand on.

use std::time::Duration;

use p2pt_tests::interop::{Pair, everything, turn};
use p2pt_tests::js::{Kind, TrackerKind};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_js -- --ignored"]
async fn two_node_peers() {
    everything(TrackerKind::Npm, Kind::NodeRoamhq, Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_js -- --ignored"]
async fn two_node_peers_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::NodeRoamhq, Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_js -- --ignored"]
async fn node_and_chromium() {
    everything(TrackerKind::Npm, Kind::NodeRoamhq, Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_js -- --ignored"]
#[should_panic(expected = "did not say the expected message")]
async fn the_harness_notices_what_does_not_arrive() {
    let _turn = turn().await;
    let mut pair = Pair::meet(TrackerKind::Npm, Kind::NodeRoamhq, Kind::NodeRoamhq).await;
    let missing = |event: &serde_json::Value| event["message"] == "never sent";
    pair.first.process().expect_within(Duration::from_secs(1), "message", missing).await;
}
