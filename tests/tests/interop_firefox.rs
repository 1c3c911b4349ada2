//! The `p2pt` program and JavaScript's p2pt in a page of headless Firefox ESR, through both trackers, in either order.

use p2pt_tests::interop::{
    a_crashed_browser_is_noticed, a_killed_rust_peer_is_noticed, everything, rust_node_and_a_browser_all_meet,
    trackers_come_and_go,
};
use p2pt_tests::js::{Kind, TrackerKind};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn firefox_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::Firefox, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn rust_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::Rust, Kind::Firefox).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn firefox_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Firefox, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn firefox_that_shows_its_addresses() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::FirefoxPlain).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn trackers_come_and_go_and_peers_stay() {
    trackers_come_and_go(Kind::Firefox).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn a_crash_is_noticed() {
    a_crashed_browser_is_noticed(Kind::Firefox).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn firefox_notices_a_killed_rust_peer() {
    a_killed_rust_peer_is_noticed(Kind::Firefox).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_firefox -- --ignored"]
async fn rust_node_and_firefox_all_meet() {
    rust_node_and_a_browser_all_meet(Kind::Firefox).await;
}
