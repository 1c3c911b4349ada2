//! The examples that speak to web apps, and pages that speak what those apps do, in headless Chromium.

use p2pt_tests::js::{Tracker, TrackerKind, javascript};
use p2pt_tests::pipe::LineProcess;
use p2pt_tests::program::Program;
use serde_json::json;

async fn page(identifier: &str, url: &str) -> LineProcess {
    let command = javascript("browser.mjs", &[identifier, "--bundle", "apps", "--tracker", url]);
    let mut page = LineProcess::spawn(format!("the page of {identifier}"), command);
    page.expect("ready", |_| true).await;
    page
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_apps -- --ignored"]
async fn p2chat_chats_with_the_page() {
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let mut page = page("p2chatgeneral", tracker.url()).await;
    let mut terminal = Program::start("p2chat", &["general", "Ferris", tracker.url()]);
    page.expect("peer_connected", |_| true).await;
    terminal.says("1 member besides you").await;

    page.command(&json!({ "say": { "username": "Ann", "message": "who is there? \u{1b}[2J 🦀" } })).await;
    terminal.says("Ann: who is there? [2J 🦀").await;
    terminal.write("me, \"Ferris\"").await;
    page.expect("said", |said| said["username"] == "Ferris" && said["message"] == "me, \"Ferris\"").await;

    terminal.ends().await;
    page.end().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_apps -- --ignored"]
async fn webdrop_hands_files_to_the_page_and_takes_its_own() {
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let folder = std::env::temp_dir().join(format!("p2pt-webdrop-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    // More than one part each way.
    let ours: String = (0..40_000).map(|number| format!("{number} ")).collect();
    let theirs: String = (0..40_000).rev().map(|number| format!("{number} ")).collect();
    let file = folder.join("ours.txt");
    std::fs::write(&file, &ours).expect("a file");
    let into = folder.join("into");
    std::fs::create_dir(&into).expect("a folder");

    let mut page = page("webdroproom", tracker.url()).await;
    page.command(&json!({ "share": { "name": "../theirs.txt", "text": theirs } })).await;
    let [into_text, file] = [&into, &file].map(|path| path.to_str().expect("text"));
    let mut terminal = Program::start("webdrop", &["room", into_text, file, "--tracker", tracker.url()]);

    let received = page.expect("received", |_| true).await;
    assert_eq!(received["name"], "ours.txt");
    assert!(received["text"] == ours, "the page has something else");
    page.expect("sent", |_| true).await;
    terminal.says("received ").await;
    // The page names the file, and not the folder.
    assert!(std::fs::read_to_string(into.join("_theirs.txt")).expect("a file") == theirs, "the file is another");

    page.end().await;
    tracker.stop().await;
    std::fs::remove_dir_all(&folder).expect("removed");
}
