//! The `p2pt` program and JavaScript's p2pt in a page of headless Chromium, through both trackers, in either order of coming.

use p2pt_tests::interop::{
    a_crashed_browser_is_noticed, a_killed_rust_peer_is_noticed, everything, rust_node_and_a_browser_all_meet,
    trackers_come_and_go,
};
use p2pt_tests::js::{Kind, TrackerKind};

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
async fn a_crash_is_noticed() {
    a_crashed_browser_is_noticed(Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn chromium_notices_a_killed_rust_peer() {
    a_killed_rust_peer_is_noticed(Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_chromium -- --ignored"]
async fn rust_node_and_chromium_all_meet() {
    rust_node_and_a_browser_all_meet(Kind::Chromium).await;
}
