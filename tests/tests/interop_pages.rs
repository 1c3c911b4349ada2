//! The chat of `examples/web/rust-chat` in headless Chromium and Firefox, used as people use it, with `p2pt chat` and `p2pt pipe` as
//! those it talks to.

use std::path::PathBuf;

use p2pt_tests::interop::turn;
use p2pt_tests::js::{Kind, Tracker, TrackerKind, p2pt_binary};
use p2pt_tests::page::Page;
use p2pt_tests::program::Program;
use serde_json::json;
use tokio::process::Command;

const ROOM: &str = "Küche & <b>Bad</b>";

/// A name that would be an element, and run, if it were taken for markup.
const MARKUP: &str = "<img src=/ onerror=alert(1)>";

async fn open(browser: &str, arguments: &[&str]) -> Page {
    Page::open(browser, "rust-chat", arguments).await
}

async fn join(page: &mut Page, name: &str, tracker: &Tracker) {
    page.act(json!({ "join": { "identifier": ROOM, "name": name, "tracker": tracker.url() } })).await;
    page.shows("#title", ROOM).await;
}

fn chat(name: &str, tracker: &Tracker) -> Program {
    let mut command = Command::new(p2pt_binary());
    command.args(["chat", ROOM, "--no-default-stun", "--name", name, "--tracker", tracker.url()]);
    Program::spawn("p2pt chat", command)
}

/// A directory for screenshots, in the temporary one of this machine.
fn screenshots(test: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("p2pt-screenshots-{test}"));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

async fn a_page_chats_with_the_terminal(browser: &str) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let screenshots = screenshots(browser);
    let mut terminal = chat("Ferris", &tracker);
    terminal.says("is reached").await;

    let mut page = open(browser, &[]).await;
    join(&mut page, "Ann", &tracker).await;
    assert_eq!(page.shows("#own-name", "Ann").await, "Ann");
    let id = page.shows("#own-id", "").await;

    // Each learns of the other.
    page.shows("#log", "is Ferris").await;
    terminal.says(&format!("{} is Ann", &id[..8])).await;
    page.shows("#count", "1 peer").await;
    let peer = page.shows("#peers li.up", " ms").await;
    assert!(peer.starts_with("Ferris") && peer.contains("direct"), "{peer}");
    let state = page.shows("#trackers li.up", "2 members").await;
    assert!(state.contains(tracker.url()) && state.contains("connected"), "{state}");

    page.say("who is there? <b>🦀</b>").await;
    page.shows("#log .own p", "who is there? <b>🦀</b>").await;
    terminal.says("Ann: who is there? <b>🦀</b>").await;
    terminal.write("me, \"Ferris\" <i>عربي</i>").await;
    assert_eq!(page.shows("#log .line:not(.own) p", "me").await, "me, \"Ferris\" <i>عربي</i>");

    // A peer whose name and lines would be markup.
    let mut stranger = Kind::Rust.start(ROOM, &[tracker.url()]).await;
    stranger.about("peer_connected", &id).await;
    for message in [json!({ "name": MARKUP }), json!(format!("{MARKUP}<script>alert(2)</script>"))] {
        stranger.process().command(&json!({ "send": { "peer": id, "message": message } })).await;
    }
    page.shows("#log", "<script>alert(2)</script>").await;
    page.shows("#peers li", MARKUP).await;
    page.shows("#count", "2 peers").await;
    assert_eq!(page.count("#room img, #room script, #room b, #room i").await, 0, "what peers say is text");

    page.screenshot(&screenshots.join("wide.png"), 1280, 800).await;
    page.screenshot(&screenshots.join("phone.png"), 390, 844).await;

    stranger.stop().await;
    page.shows("#count", "1 peer").await;
    terminal.ends().await;
    page.shows("#log", "Ferris has left").await;
    page.shows("#alone", "No other peer").await;
    page.end().await;
    tracker.stop().await;
}

async fn two_pages_chat(browser: &str) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let screenshots = screenshots(browser);
    let mut ann = open(browser, &["--dark"]).await;
    ann.screenshot(&screenshots.join("welcome-dark.png"), 1280, 800).await;
    join(&mut ann, "Ann", &tracker).await;
    ann.shows("#alone", "No other peer").await;
    // The other follows the link, and says only who it is.
    let search = format!("?identifier={}&tracker={}", "K%C3%BCche+%26+%3Cb%3EBad%3C%2Fb%3E", tracker.url());
    let mut bob = open(browser, &["--search", &search]).await;
    bob.act(json!({ "join": { "name": "Bob" } })).await;
    ann.shows("#log", "is Bob").await;
    bob.shows("#log", "is Ann").await;
    for (speaker, line) in [(0, "hello"), (1, "good evening"), (0, "fine weather"), (1, "indeed")] {
        let (one, other) = if speaker == 0 { (&mut ann, &mut bob) } else { (&mut bob, &mut ann) };
        one.say(line).await;
        other.shows("#log .line:not(.own) p", line).await;
    }
    ann.screenshot(&screenshots.join("dark.png"), 1280, 800).await;

    // A page that leaves may come back, and is met as another peer.
    bob.act(json!({ "click": "#leave" })).await;
    ann.shows("#log", "Bob has left (closed by the other side)").await;
    bob.shows("#welcome", "Your name").await;
    join(&mut bob, "Bobby", &tracker).await;
    ann.shows("#log", "is Bobby").await;
    bob.shows("#count", "1 peer").await;
    bob.say("back again").await;
    ann.shows("#log .line:not(.own) p", "back again").await;
    for page in [ann, bob] {
        page.end().await;
    }
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_pages -- --ignored"]
async fn a_page_in_chromium_chats_with_the_terminal() {
    a_page_chats_with_the_terminal("chromium").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_pages -- --ignored"]
async fn a_page_in_firefox_chats_with_the_terminal() {
    a_page_chats_with_the_terminal("firefox").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_pages -- --ignored"]
async fn two_pages_in_chromium_chat() {
    two_pages_chat("chromium").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_pages -- --ignored"]
async fn two_pages_in_firefox_chat() {
    two_pages_chat("firefox").await;
}
