//! The npm package of this workspace in pages, with its class in the place of npm p2pt's and nothing else changed, with the
//! `p2pt` program, with npm p2pt and with itself; and the message flows of apps on it.

use p2pt_tests::interop::{
    a_crashed_browser_is_noticed, a_killed_rust_peer_is_noticed, a_page_that_goes_leaves, everything,
    sixteen_megabytes, trackers_come_and_go,
};
use p2pt_tests::js::{Kind, Tracker, TrackerKind, javascript};
use p2pt_tests::pipe::LineProcess;
use p2pt_tests::program::Program;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::ChromiumPackage, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn native_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn two_pages() {
    everything(TrackerKind::Ours, Kind::ChromiumPackage, Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_and_npm_p2pt_in_node() {
    everything(TrackerKind::Npm, Kind::NodeRoamhq, Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_and_a_page_of_npm_p2pt() {
    everything(TrackerKind::Npm, Kind::ChromiumPackage, Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_in_firefox_and_native() {
    everything(TrackerKind::Ours, Kind::FirefoxPackage, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_in_firefox_and_a_page_of_npm_p2pt() {
    everything(TrackerKind::Npm, Kind::Firefox, Kind::FirefoxPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_in_firefox_and_one_in_chromium() {
    everything(TrackerKind::Ours, Kind::FirefoxPackage, Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn trackers_come_and_go_and_peers_stay() {
    trackers_come_and_go(Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_crash_is_noticed() {
    a_crashed_browser_is_noticed(Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_notices_a_killed_peer() {
    a_killed_rust_peer_is_noticed(Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn a_page_that_goes_to_another_leaves() {
    a_page_that_goes_leaves(Kind::ChromiumPackage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn sixteen_megabytes_to_and_from_native() {
    sixteen_megabytes(Kind::Rust, Kind::ChromiumPackage).await;
}

async fn page(identifier: &str, url: &str, bundle: &str) -> LineProcess {
    let command = javascript("browser.mjs", &[identifier, "--bundle", bundle, "--tracker", url]);
    let mut page = LineProcess::spawn(format!("the page of {identifier}"), command);
    page.expect("ready", |_| true).await;
    page
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn p2chat_runs_on_it_and_talks_to_itself_and_to_the_terminal() {
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let mut ours = page("p2chatgeneral", tracker.url(), "apps-package").await;
    let mut npm = page("p2chatgeneral", tracker.url(), "apps").await;
    for page in [&mut ours, &mut npm] {
        page.expect("peer_connected", |_| true).await;
    }
    let mut terminal = Program::start("p2chat", &["general", "Ferris", tracker.url()]);
    terminal.says("2 members besides you").await;
    ours.expect("peer_connected", |_| true).await;
    npm.expect("peer_connected", |_| true).await;

    ours.command(&json!({ "say": { "username": "Ann", "message": "who is there? 🦀" } })).await;
    terminal.says("Ann: who is there? 🦀").await;
    npm.expect("said", |said| said["username"] == "Ann" && said["message"] == "who is there? 🦀").await;
    npm.command(&json!({ "say": { "username": "Bob", "message": "me" } })).await;
    ours.expect("said", |said| said["username"] == "Bob" && said["message"] == "me").await;
    terminal.says("Bob: me").await;
    terminal.write("and me").await;
    ours.expect("said", |said| said["username"] == "Ferris" && said["message"] == "and me").await;

    terminal.ends().await;
    ours.end().await;
    npm.end().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_package -- --ignored"]
async fn webdrop_runs_on_it_and_hands_files_to_a_page_of_npm_p2pt() {
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let text = |seed: u32| (0..40_000).map(|number| format!("{} ", number * seed)).collect::<String>();
    let mut ours = page("webdroproom", tracker.url(), "apps-package").await;
    ours.command(&json!({ "share": { "name": "ours.txt", "text": text(2) } })).await;
    let mut npm = page("webdroproom", tracker.url(), "apps").await;
    let received = npm.expect("received", |_| true).await;
    assert_eq!(received["name"], "ours.txt");
    assert!(received["text"] == text(2), "the page has something else");
    ours.expect("sent", |_| true).await;
    // The app asks for what others share that have more than it has itself; what is new is announced to all.
    npm.command(&json!({ "share": { "name": "theirs.txt", "text": text(3) } })).await;
    let received = ours.expect("received", |_| true).await;
    assert_eq!(received["name"], "theirs.txt");
    assert!(received["text"] == text(3), "the page has something else");
    ours.end().await;
    npm.end().await;
    tracker.stop().await;
}
