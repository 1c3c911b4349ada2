//! The examples, run as a user would: each in processes of its own that meet copies of themselves at a real tracker, over
//! real WebRTC.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use p2pt::tracker::WebSocketConnector;
use p2pt::{Event, P2pt};
use p2pt_tests::js::{Tracker, TrackerKind};
use p2pt_tests::program::Program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn tracker() -> (Tracker, String) {
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let url = tracker.url().to_owned();
    (tracker, url)
}

/// Two copies with the same arguments, which both live until each has said this.
async fn both_say(name: &'static str, arguments: &[&str], text: &str) {
    let [mut one, mut other] = [(); 2].map(|()| Program::start(name, arguments));
    tokio::join!(one.says(text), other.says(text));
}

#[tokio::test]
async fn the_least_there_is_says_hello() {
    let (_tracker, url) = tracker().await;
    both_say("start", &[&url], r#": Some("hello")"#).await;
}

#[tokio::test]
async fn hello_talks_to_a_copy_of_itself() {
    let (_tracker, url) = tracker().await;
    both_say("hello", &[&url], r#" answers Some("nice to meet you")"#).await;
}

#[tokio::test]
async fn two_people_chat_by_name() {
    let (_tracker, url) = tracker().await;
    let mut alice = Program::start("chat", &["room", "Alice", &url]);
    let mut bob = Program::start("chat", &["room", "Bob \u{1b}[31m", &url]);
    // Without the control character.
    alice.says("* Bob [31m is here").await;
    bob.says("* Alice is here").await;
    alice.write("hello, Bob").await;
    bob.says("Alice: hello, Bob").await;
    alice.ends().await;
    bob.says("* Alice has left").await;
    bob.ends().await;
}

#[tokio::test]
async fn requests_have_types() {
    let (_tracker, url) = tracker().await;
    both_say("typed_requests", &[&url], "says 5 °C").await;
}

#[tokio::test]
async fn one_node_is_in_several_rooms() {
    let (_tracker, url) = tracker().await;
    let mut one = Program::start("rooms", &["red", "blue", "--tracker", &url]);
    let mut other = Program::start("rooms", &["blue", "green", "--tracker", &url]);
    one.says(r#"[blue] "#).await;
    other.says(r#"says Some("welcome to blue")"#).await;
}

#[tokio::test]
async fn a_filter_is_asked_about_each_peer() {
    let (_tracker, url) = tracker().await;
    both_say("admission", &[&url], "is in; ").await;
}

#[tokio::test]
async fn a_game_loop_sees_the_other_players() {
    let (_tracker, url) = tracker().await;
    both_say("game_loop", &[&url], "is at Position").await;
}

#[tokio::test]
async fn the_example_with_a_tracker_meets_itself() {
    let mut program = Program::start("tracker", &[]);
    program.says("has met").await;
    program.ends().await;
}

/// Where peers announce, from the line in which a tracker says so.
async fn announce_url(tracker: &mut Program) -> String {
    let line = tracker.says("announce at ").await;
    line.trim_start_matches("announce at ").to_owned()
}

#[tokio::test]
async fn the_example_with_tls_meets_itself_over_a_certificate_that_it_makes() {
    let mut program = Program::start("tracker_tls", &[]);
    assert!(announce_url(&mut program).await.starts_with("wss://localhost:"));
    program.says("has met").await;
    program.ends().await;
}

#[tokio::test]
async fn the_example_with_tls_serves_others_with_the_certificate_of_files() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../p2pt-tracker/tests/certificates");
    let [certificate, key] = ["self-signed.pem", "self-signed.key"].map(|name| certificates.join(name));
    let [shown, secret] = [&certificate, &key].map(|path| path.to_str().expect("text"));
    let mut program = Program::start("tracker_tls", &["127.0.0.1:0", "localhost", shown, secret]);
    let url = announce_url(&mut program).await;
    // It goes on after its own nodes have met and gone.
    program.says("has met").await;

    let root = std::fs::read(&certificate).expect("a certificate");
    let connector = Arc::new(WebSocketConnector::new().with_root_certificate(&root).expect("a certificate"));
    let node = || P2pt::builder().tracker(&url).connector(connector.clone()).join("others");
    let (_one, mut events) = node().await.expect("it starts");
    let (_other, _other_events) = node().await.expect("it starts");
    let met = async { while !matches!(events.next().await.expect("it goes on"), Event::PeerConnected(_)) {} };
    timeout(Duration::from_secs(60), met).await.expect("they meet");
}

#[tokio::test]
async fn the_tracker_beside_pages_of_axum_introduces_peers() {
    let mut program = Program::start_of_tracker("axum", &["127.0.0.1:0"]);
    let url = announce_url(&mut program).await;
    both_say("start", &[&url], r#": Some("hello")"#).await;

    let address = url.trim_start_matches("ws://").trim_end_matches("/announce");
    let mut page = TcpStream::connect(address).await.expect("it listens");
    page.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("it reads");
    let mut answer = String::new();
    timeout(Duration::from_secs(60), page.read_to_string(&mut answer)).await.expect("in time").expect("text");
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("The tracker is at /announce.\n"), "{answer}");
}

#[tokio::test]
async fn the_example_in_memory_runs() {
    let mut program = Program::start("memory_test", &[]);
    program.says("seed 4: 20 greetings").await;
    program.ends().await;
}

#[tokio::test]
async fn p2chat_talks_to_a_copy_of_itself() {
    let (_tracker, url) = tracker().await;
    let mut alice = Program::start("p2chat", &["general", "Alice", &url]);
    let mut bob = Program::start("p2chat", &["general", "Bob", &url]);
    alice.says("1 member besides you").await;
    alice.write("hello").await;
    bob.says("Alice: hello").await;
    alice.ends().await;
    bob.ends().await;
}

#[tokio::test]
async fn webdrop_hands_a_copy_of_itself_a_file() {
    let (_tracker, url) = tracker().await;
    let folder = std::env::temp_dir().join(format!("p2pt-webdrop-{}", std::process::id()));
    let (from, to) = (folder.join("from"), folder.join("to"));
    std::fs::create_dir_all(&from).and_then(|()| std::fs::create_dir_all(&to)).expect("folders");
    let contents: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
    let file = from.join("picture.bin");
    std::fs::write(&file, &contents).expect("a file");
    let [from, to, file] = [&from, &to, &file].map(|path| path.to_str().expect("text"));

    let mut sender = Program::start("webdrop", &["room", from, file, "--tracker", &url]);
    let mut receiver = Program::start("webdrop", &["room", to, "--tracker", &url]);
    receiver.says("received ").await;
    sender.says("sent picture.bin (300000 bytes)").await;
    assert!(std::fs::read(PathBuf::from(to).join("picture.bin")).expect("a file") == contents, "the contents differ");
    std::fs::remove_dir_all(&folder).expect("removed");
}
