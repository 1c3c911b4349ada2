//! The library as WebAssembly in pages of headless Chromium and Firefox, with the `p2pt` program, with other such pages,
//! and with JavaScript's p2pt in Node and in pages, through both trackers.

use p2pt_tests::interop::{
    a_closed_lid_is_opened_again, a_crashed_browser_is_noticed, a_frozen_page_comes_back, a_hidden_page_goes_on,
    a_killed_rust_peer_is_noticed, a_page_that_goes_leaves, a_silent_tracker_is_noticed, a_surplus_channel_closes,
    everything, fifty_swarms, rust_node_and_a_browser_all_meet, sixteen_megabytes, trackers_come_and_go,
};
use p2pt_tests::js::{Kind, TrackerKind};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::ChromiumWasm, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn native_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::Rust, Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::ChromiumWasm, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn native_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn two_pages() {
    everything(TrackerKind::Ours, Kind::ChromiumWasm, Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_and_javascript_in_node() {
    everything(TrackerKind::Npm, Kind::ChromiumWasm, Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_and_a_page_of_javascript() {
    everything(TrackerKind::Npm, Kind::Chromium, Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_in_firefox_and_native() {
    everything(TrackerKind::Npm, Kind::Rust, Kind::FirefoxWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_in_firefox_and_one_in_chromium() {
    everything(TrackerKind::Ours, Kind::FirefoxWasm, Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_in_firefox_and_javascript_in_node() {
    everything(TrackerKind::Npm, Kind::NodeRoamhq, Kind::FirefoxWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_in_firefox_and_a_page_of_javascript() {
    everything(TrackerKind::Npm, Kind::FirefoxWasm, Kind::Firefox).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn trackers_come_and_go_and_peers_stay() {
    trackers_come_and_go(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_crash_is_noticed() {
    a_crashed_browser_is_noticed(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_notices_a_killed_peer() {
    a_killed_rust_peer_is_noticed(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_in_firefox_notices_a_killed_peer() {
    a_killed_rust_peer_is_noticed(Kind::FirefoxWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn native_node_and_a_page_all_meet() {
    rust_node_and_a_browser_all_meet(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_that_goes_to_another_leaves() {
    a_page_that_goes_leaves(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_in_firefox_that_goes_to_another_leaves() {
    a_page_that_goes_leaves(Kind::FirefoxWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn sixteen_megabytes_to_and_from_native() {
    sixteen_megabytes(Kind::Rust, Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn sixteen_megabytes_between_pages() {
    sixteen_megabytes(Kind::ChromiumWasm, Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn fifty_swarms_are_joined_and_left() {
    fifty_swarms(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_lid_is_closed_for_a_minute() {
    a_closed_lid_is_opened_again(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_tracker_that_dies_silently_is_noticed() {
    a_silent_tracker_is_noticed(Kind::ChromiumWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_is_frozen_for_a_minute() {
    a_frozen_page_comes_back(Kind::ChromiumTabWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_page_is_hidden_for_a_minute() {
    a_hidden_page_goes_on(Kind::ChromiumTabWasm).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_wasm -- --ignored"]
async fn a_surplus_channel_closes_unnoticed() {
    a_surplus_channel_closes(Kind::ChromiumWasm).await;
}
