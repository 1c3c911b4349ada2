//! Who peers are: pins, policies, agreement between trackers, and a tracker that forges.

use std::process::Stdio;

use futures_util::{SinkExt, StreamExt};
use p2pt_tests::interop::{connected, echo};
use p2pt_tests::pipe::PipePeer;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::program::{Folder, Tracker, p2pt, run, stdout, text, until};

/// A key in a file, and its public part.
async fn key(folder: &Folder, name: &str) -> (String, String) {
    let file = folder.path(name);
    let made = run(&["key", "new", &file]).await;
    assert!(made.status.success(), "{made:?}");
    (file, text(&made.stdout).trim_end().to_owned())
}

async fn error(peer: &mut PipePeer) -> String {
    let error = peer.process().expect("error", |_| true).await;
    error["error"].as_str().expect("an error says what is wrong").to_owned()
}

/// What a chat is typed to, its input and what it says.
fn chat(tracker: &str, arguments: &[&str]) -> (Child, ChildStdin, impl tokio::io::AsyncBufRead + Unpin + use<>) {
    let mut command = p2pt(&[&["chat", "p2pt-cli tests", "--loopback", "--tracker", tracker], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let (to, from) = (child.stdin.take().expect("it is piped"), stdout(&mut child));
    (child, to, from)
}

#[tokio::test]
async fn two_pipes_see_each_others_keys_and_the_same_safety_code() {
    let (tracker, folder) = (Tracker::start().await, Folder::new("trust-codes"));
    let (file, public_key) = key(&folder, "ann.key").await;
    let mut ann = tracker.pipe("ann", &["--key", &file]).await;
    let mut ben = tracker.pipe("ben", &[]).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    let (to_ann, to_ben) = (ben.about("peer_connected", &ann_id).await, ann.about("peer_connected", &ben_id).await);
    assert_eq!(to_ann["public_key"], json!(public_key));
    assert_eq!(to_ann["trust"], json!({"level": "first_use", "through": 1}));
    let code = &to_ann["safety_code"];
    assert!(code["words"][2].is_string() && code["emoji"][4].is_string(), "{code}");
    assert_eq!(*code, to_ben["safety_code"]);
    // Asked for, it is the same.
    ben.process().command(&json!({"trust": ann_id})).await;
    let asked = ben.about("trust", &ann_id).await;
    assert_eq!((&asked["public_key"], &asked["safety_code"]), (&to_ann["public_key"], code));
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn a_pinned_peer_is_known_again_and_another_of_its_name_is_not() {
    let (tracker, folder) = (Tracker::start().await, Folder::new("trust-pins"));
    let (ben_file, ben_key) = key(&folder, "ben.key").await;
    let (cem_file, cem_key) = key(&folder, "cem.key").await;
    let pins = folder.path("pins.json");
    let mut ann = tracker.pipe("ann", &["--known-peers", &pins]).await;
    let mut ben = tracker.pipe("ben", &["--key", &ben_file]).await;
    connected(&mut ann, &mut ben).await;
    let ben_id = ben.id().to_owned();
    ann.process().command(&json!({"pin": {"name": "ben", "peer": ben_id}})).await;
    assert_eq!(
        ann.process().expect("pinned", |_| true).await,
        json!({"event": "pinned", "name": "ben", "public_key": ben_key})
    );
    let changed = ann.about("trust_changed", &ben_id).await;
    assert_eq!(changed["was"], json!({"level": "first_use", "through": 1}));
    assert_eq!(changed["now"], json!({"level": "pinned", "name": "ben"}));
    for (pin, complaint) in [
        (json!({"name": "ben", "public_key": cem_key}), "another key is pinned as \"ben\""),
        (json!({"name": "benjamin", "public_key": ben_key}), "pinned as \"ben\" already"),
        (json!({"name": "ben"}), "either a `peer`"),
        (json!({"name": "ben", "peer": "00".repeat(20)}), "it is not connected"),
        (json!({"name": "", "public_key": cem_key}), "1 to 256 bytes"),
    ] {
        ann.process().command(&json!({"pin": pin})).await;
        let error = error(&mut ann).await;
        assert!(error.contains(complaint), "{pin}: {error}");
    }
    ann.stop().await;
    ben.stop().await;

    // In other runs, too.
    let mut ann = tracker.pipe("ann", &["--known-peers", &pins]).await;
    let mut ben = tracker.pipe("ben", &["--key", &ben_file]).await;
    let mut cem = tracker.pipe("cem", &["--key", &cem_file]).await;
    let mut dot = tracker.pipe("dot", &["--peer-id", &"d0".repeat(20)]).await;
    let (ben_id, cem_id, dot_id) = (ben.id().to_owned(), cem.id().to_owned(), dot.id().to_owned());
    assert_eq!(ann.about("peer_connected", &ben_id).await["trust"], json!({"level": "pinned", "name": "ben"}));
    for (id, now) in [(&cem_id, json!(cem_key)), (&dot_id, json!(null))] {
        ann.about("peer_connected", id).await;
        ann.process().command(&json!({"trust": {"peer": id, "name": "ben"}})).await;
        let trust = &ann.about("trust", id).await["trust"];
        assert_eq!(*trust, json!({"level": "changed", "name": "ben", "was": ben_key, "now": now}));
    }
    ann.process().command(&json!({"pin": {"name": "dot", "peer": dot_id}})).await;
    assert!(error(&mut ann).await.contains("it has no key"));
    ann.process().command(&json!({"pins": true})).await;
    assert_eq!(ann.process().expect("pins", |_| true).await["pins"], json!([{"name": "ben", "public_key": ben_key}]));
    ann.process().command(&json!({"unpin": "ben"})).await;
    assert_eq!(ann.process().expect("unpinned", |_| true).await["public_key"], json!(ben_key));
    assert_eq!(ann.about("trust_changed", &ben_id).await["now"], json!({"level": "first_use", "through": 1}));
    ann.process().command(&json!({"unpin": "ben"})).await;
    assert!(error(&mut ann).await.contains("no peer is pinned as \"ben\""));
    echo(&mut ann, &mut ben, &json!("all the same")).await;
    cem.process().assert_unsaid("error");
    dot.process().assert_unsaid("error");
    for peer in [ann, ben, cem, dot] {
        peer.stop().await;
    }
}

#[tokio::test]
async fn only_peers_with_a_key_or_with_some_keys_are_met_where_that_is_asked_for() {
    let (tracker, folder) = (Tracker::start().await, Folder::new("trust-policies"));
    let (ben_file, ben_key) = key(&folder, "ben.key").await;
    let pins = folder.path("pins.json");
    std::fs::write(&pins, json!({"version": 1, "pins": {"ben": ben_key}}).to_string()).unwrap();
    let mut dot = tracker.pipe("dot", &["--peer-id", &"d0".repeat(20)]).await;
    let mut cem = tracker.pipe("cem", &[]).await;
    let mut ben = tracker.pipe("ben", &["--key", &ben_file]).await;
    for (arguments, meets_cem) in [
        (&["--signed"][..], true),
        (&["--only", &ben_key], false),
        (&["--only", "ben", "--known-peers", &pins], false),
        (&["--require-agreement", "1", "--signed"], true),
    ] {
        let mut ann = tracker.pipe("ann", arguments).await;
        let (ben_id, cem_id, dot_id) = (ben.id().to_owned(), cem.id().to_owned(), dot.id().to_owned());
        ann.about("peer_connected", &ben_id).await;
        let rejected = ann.about("connection_rejected", &dot_id).await;
        assert_eq!((&rejected["code"], &rejected["forgery"]), (&json!("unsigned"), &json!(false)), "{arguments:?}");
        if meets_cem {
            ann.about("peer_connected", &cem_id).await;
        } else {
            assert_eq!(ann.about("connection_rejected", &cem_id).await["code"], "wrong_key", "{arguments:?}");
        }
        ann.stop().await;
    }
    for peer in [&mut ben, &mut cem, &mut dot] {
        peer.process().assert_unsaid("error");
    }
    let refused = run(&["pipe", "app", "--loopback", "--only", "ben"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("is no name of a peer that --known-peers has"), "{refused:?}");
    let secret = std::fs::read_to_string(&ben_file).unwrap();
    let refused = run(&["pipe", "app", "--loopback", "--only", secret.trim_end()]).await;
    let said = text(&refused.stderr);
    assert!(said.contains("this is a secret key") && !said.contains(secret[12..].trim_end()), "{said}");
    let malformed = folder.path("malformed.json");
    std::fs::write(&malformed, "{}").unwrap();
    let refused = run(&["pipe", "app", "--loopback", "--known-peers", &malformed]).await;
    assert!(text(&refused.stderr).contains("it has no version"), "{refused:?}");
    for peer in [ben, cem, dot] {
        peer.stop().await;
    }
}

#[tokio::test]
async fn a_peer_is_let_in_when_enough_trackers_show_its_key() {
    let (one, other) = (Tracker::start().await, Tracker::start().await);
    // Another host, as far as names go.
    let other = other.url.replace("127.0.0.1", "localhost");
    let mut ann = one.pipe("ann", &["--tracker", &other, "--require-agreement", "2"]).await;
    let ben = one.pipe("ben", &["--tracker", &other]).await;
    let mut dot = one.pipe("dot", &["--tracker", &other, "--peer-id", &"d0".repeat(20)]).await;
    let ben_id = ben.id().to_owned();
    let connected = ann.about("peer_connected", &ben_id).await;
    assert_eq!(connected["trust"], json!({"level": "vouched", "through": 2, "of": 2}));
    let dot_id = dot.id().to_owned();
    assert_eq!(ann.about("connection_rejected", &dot_id).await["code"], "unsigned");
    dot.process().assert_unsaid("error");
    for peer in [ann, ben, dot] {
        peer.stop().await;
    }
}

/// A tracker that puts a fingerprint of its own into each description that it passes on; what it passes on is from and to
/// another one. Its URL.
async fn forger(tracker: &Tracker) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let (target, address) = (tracker.url.clone(), tracker.url.strip_prefix("ws://").expect("a URL").to_owned());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (target, address) = (target.clone(), address.clone());
            tokio::spawn(async move {
                let victim = accept_async(socket).await.expect("a WebSocket");
                let behind = TcpStream::connect(address).await.expect("the tracker");
                let (behind, _) = client_async(target, behind).await.expect("a WebSocket");
                let ((mut to_victim, mut from_victim), (mut to_behind, mut from_behind)) =
                    (victim.split(), behind.split());
                let up = async {
                    while let Some(Ok(frame)) = from_victim.next().await
                        && to_behind.send(frame).await.is_ok()
                    {}
                };
                let down = async {
                    while let Some(Ok(frame)) = from_behind.next().await
                        && to_victim.send(forged(frame)).await.is_ok()
                    {}
                };
                tokio::join!(up, down);
            });
        }
    });
    url
}

fn forged(frame: Message) -> Message {
    const BEFORE: &str = "a=fingerprint:sha-256 ";
    let Message::Text(text) = &frame else { return frame };
    let Some((head, tail)) = text.split_once(BEFORE) else { return frame };
    let other = if tail.starts_with("00") { "11" } else { "00" };
    format!("{head}{BEFORE}{other}{}", &tail[2..]).into()
}

#[tokio::test]
async fn a_tracker_that_forges_is_named_and_nothing_of_it_is_let_in() {
    let tracker = Tracker::start().await;
    let url = forger(&tracker).await;
    let mut ann = PipePeer::spawn("ann", {
        let mut command = p2pt(&["pipe", "p2pt-cli tests", "--loopback", "--tracker", &url]);
        command.stdin(Stdio::piped());
        command
    })
    .await;
    let (mut chat, mut to_chat, mut from_chat) = chat(&url, &[]);
    let rejected = ann.process().expect("connection_rejected", |_| true).await;
    assert_eq!((&rejected["code"], &rejected["forgery"]), (&json!("bad_signature"), &json!(true)), "{rejected}");
    assert_eq!(rejected["tracker"].as_str().map(|said| said.trim_end_matches('/')), Some(&*url));
    let mut ben = PipePeer::spawn("ben", p2pt(&["pipe", "p2pt-cli tests", "--loopback", "--tracker", &url])).await;
    let warning = until(&mut from_chat, "may be forged").await;
    assert!(warning.starts_with("! ") && warning.contains(&url) && warning.contains("and was not let in"), "{warning}");
    for peer in [&mut ann, &mut ben] {
        peer.process().assert_unsaid("peer_connected");
    }
    to_chat.write_all(b"/quit\n").await.unwrap();
    chat.wait().await.unwrap();
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn a_chat_says_who_comes_and_knows_friends_again() {
    let (tracker, folder) = (Tracker::start().await, Folder::new("trust-chat"));
    let (ben_file, ben_key) = key(&folder, "ben.key").await;
    let pins = folder.path("pins.json");
    let (mut ann, mut to_ann, mut from_ann) = chat(&tracker.url, &["--known-peers", &pins]);
    until(&mut from_ann, "is reached").await;
    let (mut ben, mut to_ben, mut from_ben) = chat(&tracker.url, &["--key", &ben_file, "--name", "Ben"]);
    assert_eq!(until(&mut from_ben, "know you by").await, format!("* Others know you by the key {ben_key}"));
    let code = |line: &str| line.split_once("safety code: ").unwrap_or_else(|| panic!("{line}")).1.to_owned();
    let at_ann = until(&mut from_ann, "is here, known by its key alone").await;
    let at_ben = until(&mut from_ben, "is here, known by its key alone").await;
    assert_eq!(code(&at_ann), code(&at_ben));
    assert_eq!(code(&at_ann).split(' ').count(), 4, "three words and the pictures: {at_ann}");
    until(&mut from_ann, "compare it by voice").await;
    until(&mut from_ann, "is Ben").await;
    to_ann.write_all(b"/who\n/pin Benny Ben\n").await.unwrap();
    let who = until(&mut from_ann, "  Ben: ").await;
    assert!(who.contains(&code(&at_ann)) && who.ends_with(&format!("; key {ben_key}")), "{who}");
    assert_eq!(until(&mut from_ann, "pinned").await, "* Ben is pinned as \"Benny\" now");
    to_ben.write_all(b"/quit\n").await.unwrap();
    ben.wait().await.unwrap();
    until(&mut from_ann, "has left").await;

    let (mut ben, mut to_ben, _from_ben) = chat(&tracker.url, &["--key", &ben_file, "--name", "Ben"]);
    assert!(until(&mut from_ann, "is here").await.contains(": it is \"Benny\", whom you have pinned"));
    // Others may call themselves so, and do not get away with it.
    for (arguments, what) in [
        (&["--name", "benny"][..], "it has another key: ask, and not here"),
        (&["--name", "Benny", "--key", &key(&folder, "other.key").await.0], "it has another key"),
    ] {
        let (mut mallory, _to_mallory, _from_mallory) = chat(&tracker.url, arguments);
        let warning = until(&mut from_ann, "calls itself").await;
        assert!(
            warning.starts_with("! ") && warning.contains("is not the \"Benny\"") && warning.contains(what),
            "{warning}"
        );
        mallory.kill().await.unwrap();
    }
    let mut script = tracker.pipe("script", &["--peer-id", &"5c".repeat(20)]).await;
    assert!(until(&mut from_ann, "without a key").await.contains("who it is cannot be checked"));
    script.process().command(&json!({"send": {"peer": "*", "message": {"name": "Benny"}}})).await;
    assert!(until(&mut from_ann, "calls itself").await.ends_with("for it has no key"));
    to_ann.write_all(b"/pin script 5c5c\n/unpin Benny\n/unpin Benny\n").await.unwrap();
    until(&mut from_ann, "! Benny (5c5c5c5c) has no key").await;
    until(&mut from_ann, &format!("its key was {ben_key}")).await;
    until(&mut from_ann, "! no peer is pinned as \"Benny\"").await;
    to_ben.write_all(b"/quit\n").await.unwrap();
    ben.wait().await.unwrap();
    script.stop().await;
    to_ann.write_all(b"/quit\n").await.unwrap();
    ann.wait().await.unwrap();
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&pins).unwrap()).unwrap();
    assert_eq!(kept["pins"], json!({}));
}
