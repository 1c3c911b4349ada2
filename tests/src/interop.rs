//! What any two peers must be able to do with each other, whatever each is written in.

use std::time::Duration;

use p2pt::ChannelClosed;
use p2pt_tracker::SocketEnd;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::js::{Kind, Tracker, TrackerKind};
use crate::pipe::{PATIENCE, PipePeer};

/// JavaScript's p2pt cuts text into chunks of so many UTF-16 code units.
const JS_CHUNK: usize = 16_000;

/// The size of the biggest text here, in bytes.
pub const BIG: usize = 1_000_000;

/// A peer of ours notices a vanished one after about 5 s.
pub const NOTICED_BY_RUST: Duration = Duration::from_secs(20);

/// How long the first channel that a peer on libdatachannel offers is waited for. It offers after five seconds.
const FIRST_OFFER: Duration = Duration::from_secs(20);

/// How many peers on libdatachannel may come until one connects.
const LIBDATACHANNEL_COMES: u32 = 3;

/// How long pages and browsers stand still.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Waits for this test's turn: two at a time, so that browsers on a small machine do not starve each other.
pub async fn turn() -> SemaphorePermit<'static> {
    static TURNS: Semaphore = Semaphore::const_new(2);
    TURNS.acquire().await.expect("the semaphore is never closed")
}

/// Two peers that have met, and the tracker where they did.
#[derive(Debug)]
pub struct Pair {
    /// The tracker.
    pub tracker: Tracker,
    /// The peer that was there first.
    pub first: PipePeer,
    /// The peer that came second.
    pub second: PipePeer,
}

impl Pair {
    /// Starts `first`, and when it has announced itself `second`, and waits until each has reported the other as
    /// connected. Their identifier is [`Pair::identifier`].
    pub async fn meet(tracker: TrackerKind, first: Kind, second: Kind) -> Self {
        let tracker = Tracker::start(tracker).await;
        let identifier = Self::identifier(first, second);
        let mut first = first.start(&identifier, &[tracker.url()]).await;
        first.tracker_connected(tracker.url()).await;
        let second = match second {
            Kind::NodeNdc => libdatachannel_comes(&mut first, &identifier, &tracker).await,
            _ => {
                let mut second = second.start(&identifier, &[tracker.url()]).await;
                connected(&mut first, &mut second).await;
                second
            }
        };
        Self { tracker, first, second }
    }

    /// The identifier under which peers of these kinds meet.
    pub fn identifier(first: Kind, second: Kind) -> String {
        format!("{first:?} trifft {second:?} ✓")
    }

    /// Stops both politely, the second first, and checks that the first reports it.
    pub async fn part(self) {
        let Self { tracker, mut first, second } = self;
        let second_id = second.id().to_owned();
        second.stop().await;
        first.about("peer_closed", &second_id).await;
        first.stop().await;
        tracker.stop().await;
    }
}

/// Waits until each of two peers has said that the other is there.
pub async fn connected(one: &mut PipePeer, other: &mut PipePeer) {
    one.about("peer_connected", other.id()).await;
    other.about("peer_connected", one.id()).await;
}

/// A peer on libdatachannel that has come second, and so offers, and that is connected with `first`.
///
/// libdatachannel 0.24.5 fails some handshakes that it has offered, on a busy machine: the certificate may come before it keeps
/// the answer with the fingerprint. Its next offer is later than a test waits, so another peer comes in its place.
async fn libdatachannel_comes(first: &mut PipePeer, identifier: &str, tracker: &Tracker) -> PipePeer {
    for _ in 0..LIBDATACHANNEL_COMES {
        let mut second = Kind::NodeNdc.start(identifier, &[tracker.url()]).await;
        if timeout(FIRST_OFFER, first.about("peer_connected", second.id())).await.is_ok() {
            second.about("peer_connected", first.id()).await;
            return second;
        }
        second.stop().await;
    }
    panic!("none of {LIBDATACHANNEL_COMES} peers on libdatachannel has connected")
}

/// Checks that two connected peers have reported no peer that came or went, and no error.
pub fn assert_undisturbed(one: &mut PipePeer, other: &mut PipePeer) {
    for peer in [one, other] {
        for event in ["peer_connected", "peer_closed", "error"] {
            peer.process().assert_unsaid(event);
        }
    }
}

/// `from` sends `message` and `to` responds with the same: both must arrive as they were sent.
pub async fn echo(from: &mut PipePeer, to: &mut PipePeer, message: &Value) {
    let tag = from.ask(to.id(), message).await;
    let received = to.about("message", from.id()).await;
    assert_same(&received["message"], message);
    to.close_with(&received, message).await;
    let response = from.response(&tag).await;
    assert_eq!(response["peer"], to.id());
    assert_same(&response["message"], message);
}

/// `from` sends `message`, of a kind that JavaScript's p2pt can receive but not send, so `to` responds with text.
pub async fn tell(from: &mut PipePeer, to: &mut PipePeer, message: &Value) {
    let tag = from.ask(to.id(), message).await;
    let received = to.about("message", from.id()).await;
    assert_same(&received["message"], message);
    to.close_with(&received, &json!("received")).await;
    assert_eq!(from.response(&tag).await["message"], "received");
}

/// `from` asks, `to` responds, `from` responds to the response, and so on: all under one message id.
pub async fn chain(from: &mut PipePeer, to: &mut PipePeer) {
    let mut tag = from.ask(to.id(), &json!("link 0")).await;
    let mut received = to.about("message", from.id()).await;
    assert_eq!(received["message"], "link 0");
    let (mut speaker, mut listener) = (to, from);
    for link in 1..8 {
        let said = json!({"link": link});
        let next = speaker.answer(&received, &said).await;
        received = listener.response(&tag).await;
        assert_same(&received["message"], &said);
        tag = next;
        (speaker, listener) = (listener, speaker);
    }
    speaker.close_with(&received, &json!("end")).await;
    assert_eq!(listener.response(&tag).await["message"], "end");
}

/// Several questions are asked before the first is answered, and answered in reverse.
pub async fn crossed(from: &mut PipePeer, to: &mut PipePeer) {
    let mut asked = Vec::new();
    for number in 0..10 {
        let question = json!({"question": number});
        let tag = from.ask(to.id(), &question).await;
        let received = to.about("message", from.id()).await;
        assert_same(&received["message"], &question);
        asked.push((number, tag, received));
    }
    for (number, _, received) in asked.iter().rev() {
        to.close_with(received, &json!({"answer": number})).await;
    }
    for (number, tag, _) in &asked {
        assert_same(&from.response(tag).await["message"], &json!({"answer": number}));
    }
}

/// What only JavaScript does to us: half a surrogate pair, frames past p2pt's own, a frame that is broken.
pub async fn hear_javascript(js: &mut PipePeer, other: &mut PipePeer) {
    let half_a_pair = r#""before \ud83d after, \udc00""#;
    let ask = format!(r#"{{"send":{{"peer":"{}","message":{half_a_pair},"tag":"half"}}}}"#, other.id());
    js.process().line(&ask).await;
    let received = other.about("message", js.id()).await;
    assert_eq!(received["message"], "before \u{fffd} after, \u{fffd}");

    let raw = |frame: Value| json!({"send_raw": frame});
    js.process().command(&raw(json!({"peer": other.id(), "text": "raw ✓ text"}))).await;
    assert_eq!(other.about("data", js.id()).await["text"], "raw ✓ text");
    js.process().command(&raw(json!({"peer": other.id(), "base64": "AP8AgA=="}))).await;
    assert_eq!(other.about("data", js.id()).await["base64"], "AP8AgA==");
    assert_undisturbed(js, other);

    js.process().command(&raw(json!({"peer": other.id(), "text": "^{\"id\":1,"}))).await;
    echo(js, other, &json!("all is well")).await;
}

/// Both announce once more, which makes JavaScript offer another channel: no peer comes or goes by it.
pub async fn announce_again(one: &mut PipePeer, other: &mut PipePeer) {
    let mut turns = (one, other);
    for _ in 0..2 {
        let (one, other) = turns;
        one.process().command(&json!({"request_more_peers": true})).await;
        echo(one, other, &json!("still here")).await;
        echo(other, one, &json!("so am I")).await;
        assert_undisturbed(one, other);
        turns = (other, one);
    }
}

/// Messages that every peer can send and receive.
pub fn messages() -> Vec<Value> {
    let odd_characters = ['\u{7f}', '\u{80}', '\u{a0}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{ffff}'];
    let control_characters = (0..32).map(char::from).chain(odd_characters).collect::<String>();
    let names = json!({"": "no name", "__proto__": "harmless", "ключ": "значение", "\"": "\\", "id": 1, "o": 1});
    let numbered = (0..20_000).map(|number| json!({"number": number})).collect::<Vec<_>>();
    vec![
        json!("hello"),
        json!("^ is how a frame begins, and this is no frame: ^{\"id\":1}"),
        json!("{\"id\":150000,\"msg\":\"text that looks like JSON\",\"c\":0,\"last\":true}"),
        json!("quotes \" backslashes \\ \\\\ \\u0041 slashes / new\nlines\r\n tabs\t"),
        json!(control_characters),
        json!("漢字かな交じり文、한국어, العربية, עברית, Ω≈ç√, e\u{301}, 👩\u{200d}👩\u{200d}👧, \u{10ffff}"),
        json!(null),
        json!([]),
        json!({}),
        json!([null, true, false, 0, -1, 0.5, 1e-7, 9_007_199_254_740_991_i64, "", "text", [], {}]),
        json!({"a": {"b": {"c": [{"d": [[[["deep"]]]]}]}}, "names": names}),
        json!("x".repeat(JS_CHUNK)),
        json!("x".repeat(JS_CHUNK + 1)),
        json!(format!("{}😀{}", "x".repeat(JS_CHUNK - 1), "an emoji on the cut")),
        json!(format!("x{}", "😀".repeat(3 * JS_CHUNK))),
        json!({"emoji": "😀".repeat(JS_CHUNK)}),
        json!("\u{1}".repeat(3 * JS_CHUNK)),
        json!("\"\\".repeat(JS_CHUNK)),
        json!("漢字".repeat(JS_CHUNK)),
        json!(big_text()),
        json!({"list": numbered}),
    ]
}

/// Messages that JavaScript's p2pt can receive but never sends. (It cannot receive an empty text from JavaScript, as
/// that is never sent.)
pub fn messages_to_javascript() -> Vec<Value> {
    vec![json!(""), json!(7), json!(-0.25), json!(0), json!(true), json!(false)]
}

/// [`BIG`] bytes of text with no two stretches alike, so that a chunk lost, doubled or displaced shows.
pub fn big_text() -> String {
    let mut text: String = (0..BIG / 2).map(|number| format!("{number} ")).take(BIG / 5).collect();
    text.truncate(BIG);
    assert_eq!(text.len(), BIG);
    text
}

/// Everything two peers can do from their meeting to their parting.
pub async fn everything(tracker: TrackerKind, first: Kind, second: Kind) {
    let _turn = turn().await;
    let mut pair = Pair::meet(tracker, first, second).await;
    converse(&mut pair.first, &mut pair.second).await;
    announce_again(&mut pair.first, &mut pair.second).await;
    match (first.is_javascript(), second.is_javascript()) {
        (false, false) => hear_each_other(&mut pair.first, &mut pair.second).await,
        (true, false) => hear_and_tell_javascript(&mut pair.first, &mut pair.second).await,
        (false, true) => hear_and_tell_javascript(&mut pair.second, &mut pair.first).await,
        (true, true) => hear_javascript(&mut pair.first, &mut pair.second).await,
    }
    pair.part().await;
}

/// What two peers of this library can say to each other and JavaScript cannot: all of JSON, frames of both kinds.
pub async fn hear_each_other(one: &mut PipePeer, other: &mut PipePeer) {
    let mut turns = (one, other);
    for _ in 0..2 {
        let (one, other) = turns;
        for message in messages_to_javascript() {
            echo(one, other, &message).await;
        }
        let raw = |frame: Value| json!({"send_frame": frame});
        one.process().command(&raw(json!({"peer": other.id(), "text": "raw ✓ text"}))).await;
        assert_eq!(other.about("data", one.id()).await["text"], "raw ✓ text");
        one.process().command(&raw(json!({"peer": other.id(), "base64": "AP8AgA=="}))).await;
        assert_eq!(other.about("data", one.id()).await["base64"], "AP8AgA==");
        assert_undisturbed(one, other);
        turns = (other, one);
    }
}

async fn hear_and_tell_javascript(js: &mut PipePeer, ours: &mut PipePeer) {
    for message in messages_to_javascript() {
        tell(ours, js, &message).await;
    }
    hear_javascript(js, ours).await;
}

/// Every kind of message there is, both ways, and then every kind of conversation.
pub async fn converse(one: &mut PipePeer, other: &mut PipePeer) {
    for message in messages() {
        echo(one, other, &message).await;
        echo(other, one, &message).await;
    }
    chain(one, other).await;
    chain(other, one).await;
    crossed(one, other).await;
    crossed(other, one).await;
    assert_undisturbed(one, other);
}

/// A Rust and a JavaScript peer move from one tracker to another, keep talking, and meet a newcomer at the new one.
pub async fn trackers_come_and_go(kind: Kind) {
    let _turn = turn().await;
    let Pair { tracker: old, first: mut rust, second: mut js } = Pair::meet(TrackerKind::Npm, Kind::Rust, kind).await;
    let new = Tracker::start(TrackerKind::Ours).await;
    for peer in [&mut rust, &mut js] {
        peer.process().command(&json!({"add_tracker": new.url()})).await;
        peer.tracker_connected(new.url()).await;
    }
    echo(&mut rust, &mut js, &json!("two trackers")).await;
    for peer in [&mut rust, &mut js] {
        peer.process().command(&json!({"remove_tracker": old.url()})).await;
    }
    echo(&mut js, &mut rust, &json!("one tracker")).await;
    old.stop().await;
    echo(&mut rust, &mut js, &json!(big_text())).await;
    chain(&mut js, &mut rust).await;
    assert_undisturbed(&mut rust, &mut js);

    let mut newcomer = kind.start(&Pair::identifier(Kind::Rust, kind), &[new.url()]).await;
    connected(&mut newcomer, &mut rust).await;
    connected(&mut newcomer, &mut js).await;
    echo(&mut newcomer, &mut rust, &json!("hello")).await;
    echo(&mut newcomer, &mut js, &json!("hello")).await;
    assert_undisturbed(&mut rust, &mut js);
    for peer in [newcomer, js, rust] {
        peer.stop().await;
    }
    new.stop().await;
}

/// A Rust peer notices that the browser of the other has crashed.
pub async fn a_crashed_browser_is_noticed(browser: Kind) {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: mut page } = Pair::meet(TrackerKind::Npm, Kind::Rust, browser).await;
    page.process().command(&json!({"crash": true})).await;
    assert!(!page.process().wait().await.success());
    rust.process().expect_within(NOTICED_BY_RUST, "peer_closed", |event| event["peer"] == page.id()).await;
    rust.stop().await;
    tracker.stop().await;
}

/// A Rust peer is killed, and the JavaScript peer notices.
pub async fn a_killed_rust_peer_is_noticed(kind: Kind) {
    let _turn = turn().await;
    let Pair { tracker, first: mut js, second: mut rust } = Pair::meet(TrackerKind::Npm, kind, Kind::Rust).await;
    // Settled, and not amid the choice of addresses: it is an established connection that is to be missed.
    echo(&mut rust, &mut js, &json!("here I am")).await;
    echo(&mut js, &mut rust, &json!("here am I")).await;
    let rust_id = rust.id().to_owned();
    rust.kill().await;
    js.about("peer_closed", &rust_id).await;
    js.stop().await;
    tracker.stop().await;
}

/// A Rust peer, one in Node and one in a browser all meet and talk.
pub async fn rust_node_and_a_browser_all_meet(browser: Kind) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let mut node = Kind::NodeRoamhq.start("three", &[tracker.url()]).await;
    node.tracker_connected(tracker.url()).await;
    let mut rust = Kind::Rust.start("three", &[tracker.url()]).await;
    connected(&mut node, &mut rust).await;
    let mut page = browser.start("three", &[tracker.url()]).await;
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

/// 16 MB as one text, both ways.
pub async fn sixteen_megabytes(first: Kind, second: Kind) {
    let _turn = turn().await;
    let mut pair = Pair::meet(TrackerKind::Ours, first, second).await;
    let text = json!(big_text().repeat(16));
    let read = |received: Value| received["message"].as_str().map(str::to_owned);
    for turn in 0..2 {
        let (one, other) =
            if turn == 0 { (&mut pair.first, &mut pair.second) } else { (&mut pair.second, &mut pair.first) };
        one.process().command(&json!({"send": {"peer": other.id(), "message": text}})).await;
        assert_same(&json!(read(other.about("message", one.id()).await)), &text);
    }
    pair.part().await;
}

/// A page that goes to another one leaves: its peer learns it at once, and the tracker forgets it.
pub async fn a_page_that_goes_leaves(page: Kind) {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: mut page } = Pair::meet(TrackerKind::Ours, Kind::Rust, page).await;
    echo(&mut page, &mut rust, &json!("about to go")).await;
    page.process().command(&json!({"leave_page": true})).await;
    let closed = rust.about("peer_closed", page.id()).await;
    assert_eq!(closed["reason"], ChannelClosed::Remote.to_string(), "and not by its silence");
    has_members(&tracker, 1).await;
    page.kill().await;
    rust.stop().await;
    tracker.stop().await;
}

/// Waits until a tracker of ours has so many members.
async fn has_members(tracker: &Tracker, members: usize) {
    let Tracker::Ours(server, _) = tracker else { unreachable!("it is ours") };
    let reached = async {
        while server.stats().swarms.peers != members {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "the tracker has {} members and not {members}", server.stats().swarms.peers);
}

/// 50 swarms are joined, met in and left by a page and a native peer; the page holds no more afterwards than before.
pub async fn fifty_swarms(page: Kind) {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: mut page } = Pair::meet(TrackerKind::Ours, Kind::Rust, page).await;
    for number in 0..50 {
        let name = format!("swarm {number}");
        for peer in [&mut rust, &mut page] {
            peer.process().command(&json!({"join": name})).await;
        }
        let joined = rust.process().expect("joined", |event| event["identifier"] == name.as_str()).await;
        let swarm = joined["swarm"].as_str().expect("it says which").to_owned();
        let page_id = page.id().to_owned();
        let in_it = |event: &Value| event["peer"] == page_id.as_str() && event["swarm"] == swarm.as_str();
        rust.process().expect("peer_connected", in_it).await;
        page.process().command(&json!({"leave": name})).await;
        page.process().expect("left", |event| event["identifier"] == name.as_str()).await;
        rust.process().expect("peer_closed", in_it).await;
        rust.process().command(&json!({"leave": {"swarm": swarm}})).await;
        rust.process().expect("left", |event| event["swarm"] == swarm.as_str()).await;
    }
    // What was offered in the last swarm may still be closing.
    let settled = async {
        loop {
            page.process().command(&json!({"held": true})).await;
            let held = page.process().expect("held", |_| true).await;
            // One open connection and the offers of one swarm, each with its six handlers and the page's one.
            if held["held"][0].as_u64() <= Some(11) && held["held"][1].as_u64() <= Some(11 * 10) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("connections that are over are let go");
    echo(&mut page, &mut rust, &json!("still here")).await;
    for peer in [page, rust] {
        peer.stop().await;
    }
    tracker.stop().await;
}

/// A browser stands still for a minute, as when a lid is closed: its peer gives it up, and they meet again afterwards.
pub async fn a_closed_lid_is_opened_again(page: Kind) {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: mut page } = Pair::meet(TrackerKind::Ours, Kind::Rust, page).await;
    page.process().command(&json!({"suspend": A_MINUTE.as_millis()})).await;
    rust.process().expect_within(NOTICED_BY_RUST, "peer_closed", |event| event["peer"] == page.id()).await;
    rust.process().expect_within(A_MINUTE + PATIENCE, "peer_connected", |event| event["peer"] == page.id()).await;
    echo(&mut rust, &mut page, &json!("good morning")).await;
    for peer in [page, rust] {
        peer.stop().await;
    }
    tracker.stop().await;
}

/// The scripts of a page stand still for a minute. The browser goes on to show that the connection lives, so that what is
/// sent meanwhile is read afterwards, all of it and in order, and the peer is not given up. Chromium closes the socket to
/// the tracker, which is opened anew.
pub async fn a_frozen_page_comes_back(page: Kind) {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: mut page } = Pair::meet(TrackerKind::Ours, Kind::Rust, page).await;
    echo(&mut rust, &mut page, &json!("good night")).await;
    page.process().command(&json!({"freeze": A_MINUTE.as_millis()})).await;
    page.process().expect("frozen", |_| true).await;
    let frozen = Instant::now();
    // 18 MB: more than the receive buffer of a channel holds.
    let messages = (0..900).map(|number| json!(format!("{number} {}", "x".repeat(20_000)))).collect::<Vec<_>>();
    for message in &messages {
        rust.process().command(&json!({"send": {"peer": page.id(), "message": message}})).await;
    }
    for message in &messages {
        let sent_by_rust = |event: &Value| event["peer"] == rust.id();
        let received = page.process().expect_within(A_MINUTE + PATIENCE, "message", sent_by_rust).await;
        assert_same(&received["message"], message);
        assert!(frozen.elapsed() > A_MINUTE / 2, "it does not stand still");
    }
    echo(&mut page, &mut rust, &json!("good morning")).await;
    assert_undisturbed(&mut rust, &mut page);
    for said in page.process().take_said() {
        let error = said["error"].as_str().unwrap_or_default();
        assert!(!error.contains(&SocketEnd::Silent.to_string()), "{said}");
    }
    has_members(&tracker, 2).await;
    for peer in [page, rust] {
        peer.stop().await;
    }
    tracker.stop().await;
}

/// A page that is hidden for a minute talks on, and is still there when nothing was said in it for a while.
pub async fn a_hidden_page_goes_on(page: Kind) {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: mut page } = Pair::meet(TrackerKind::Ours, Kind::Rust, page).await;
    page.process().command(&json!({"hide": A_MINUTE.as_millis()})).await;
    page.process().expect("hidden", |_| true).await;
    for number in 0..50 {
        echo(&mut rust, &mut page, &json!({"number": number})).await;
        echo(&mut page, &mut rust, &json!({"number": number})).await;
    }
    echo(&mut rust, &mut page, &json!(big_text())).await;
    echo(&mut page, &mut rust, &json!(big_text())).await;
    page.process().assert_unsaid("visible");
    page.process().expect_within(A_MINUTE + PATIENCE, "visible", |_| true).await;
    echo(&mut page, &mut rust, &json!("seen again")).await;
    assert_undisturbed(&mut rust, &mut page);
    page.process().assert_unsaid("tracker_warning");
    for peer in [page, rust] {
        peer.stop().await;
    }
    tracker.stop().await;
}

/// A tracker that has died silently is noticed by a page, which cannot send pings.
pub async fn a_silent_tracker_is_noticed(page: Kind) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let mut page = page.start("silence", &[tracker.url()]).await;
    page.tracker_connected(tracker.url()).await;
    let Tracker::Npm(process, _) = &tracker else { unreachable!("it is npm's") };
    process.signal("STOP").await;
    page.process().command(&json!({"request_more_peers": true})).await;
    // It announces at once or when the last one is some seconds old, and waits for 50 s.
    let silent =
        |event: &Value| event["error"].as_str().is_some_and(|error| error.contains(&SocketEnd::Silent.to_string()));
    page.process().expect_within(PATIENCE * 2, "tracker_warning", silent).await;
    process.signal("CONT").await;
    page.tracker_connected(tracker.url()).await;
    page.stop().await;
    tracker.stop().await;
}

/// A peer of this library and one in Node meet at two trackers, and the channel too many that this makes closes unnoticed.
pub async fn a_surplus_channel_closes(ours: Kind) {
    let _turn = turn().await;
    let trackers = [Tracker::start(TrackerKind::Npm).await, Tracker::start(TrackerKind::Ours).await];
    let urls = trackers.each_ref().map(Tracker::url);
    let mut node = Kind::NodeRoamhq.start("two trackers", &urls).await;
    for url in urls {
        node.tracker_connected(url).await;
    }
    let mut peer = ours.start("two trackers", &urls).await;
    connected(&mut peer, &mut node).await;
    for url in urls {
        peer.tracker_connected(url).await;
    }
    loop {
        echo(&mut peer, &mut node, &json!("one channel is enough")).await;
        echo(&mut node, &mut peer, &json!("for me too")).await;
        if channels(&mut node, &peer).await == 1 {
            break;
        }
        node.about("channel_closed", peer.id()).await;
    }
    echo(&mut peer, &mut node, &json!("one channel is left")).await;
    assert_undisturbed(&mut peer, &mut node);
    node.stop().await;
    peer.stop().await;
    for tracker in trackers {
        tracker.stop().await;
    }
}

/// How many channels to `other` the JavaScript peer `js` has.
async fn channels(js: &mut PipePeer, other: &PipePeer) -> u64 {
    js.process().command(&json!({"peers": true})).await;
    let answer = js.process().expect("peers", |_| true).await;
    let peers = answer["peers"].as_array().cloned().unwrap_or_default();
    peers.iter().filter(|peer| peer["peer"] == other.id()).filter_map(|peer| peer["channels"].as_u64()).sum()
}

/// As `assert_eq!`, but does not print a megabyte.
fn assert_same(received: &Value, sent: &Value) {
    if received != sent {
        let (received, sent) = (received.to_string(), sent.to_string());
        let at = received.chars().zip(sent.chars()).take_while(|(one, other)| one == other).count();
        let around = |text: &str| text.chars().skip(at.saturating_sub(20)).take(60).collect::<String>();
        panic!(
            "{} bytes were sent and {} received, different from character {at} on:\n  sent     …{}\n  received …{}",
            sent.len(),
            received.len(),
            around(&sent),
            around(&received)
        );
    }
}
