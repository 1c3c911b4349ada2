//! A leave of this library as JavaScript sees it: p2pt up to 1.6.1, the bundle that is published of 1.6.2, and most pages
//! in the wild learn only of the end of a connection, so that is what they get; soon, and after all that was sent.

use std::time::{Duration, SystemTime};

use p2pt::transport::webrtc::WebRtcConfig;
use p2pt::{Event, Events, P2pt, Peer, Swarm};
use p2pt_tests::interop::{BIG, big_text, turn};
use p2pt_tests::js::{Kind, Tracker, TrackerKind};
use p2pt_tests::pipe::{PATIENCE, PipePeer};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Within what time after all is acknowledged a leave is seen. This side waits a fifth of it.
const SEEN: Duration = Duration::from_millis(500);

/// SCTP's longest delay of an acknowledgement (RFC 9260 section 6.2): so much later than the message is all of it known to
/// have arrived.
const ACKNOWLEDGED: Duration = Duration::from_millis(200);

async fn start(identifier: &str, tracker: &Tracker) -> (Swarm, Events) {
    P2pt::builder()
        .tracker(tracker.url())
        .webrtc(WebRtcConfig::default().without_ice_servers())
        .join(identifier)
        .await
        .expect("the announce URL is good")
}

/// A peer of this library meets `js`.
async fn meet(identifier: &str, tracker: &Tracker, js: &mut PipePeer) -> (Swarm, Events, Peer) {
    let (p2pt, mut events) = start(identifier, tracker).await;
    let peer = loop {
        match timeout(PATIENCE, events.next()).await.expect("an event").expect("the node lives") {
            Event::PeerConnected(peer) => break peer,
            Event::PeerClosed(closed) => panic!("{closed:?}"),
            _ => {}
        }
    };
    js.about("peer_connected", &p2pt.peer_id().to_string()).await;
    (p2pt, events, peer)
}

/// The time since 1970.
#[expect(clippy::disallowed_methods, reason = "times of two processes are compared")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970")
}

/// When a JavaScript peer said something, in time since 1970.
fn at(event: &Value) -> Duration {
    Duration::from_millis(event["at"].as_u64().expect("a time"))
}

/// How long after `sent` the JavaScript peer has seen the leave.
async fn seen_after(sent: Duration, js: &mut PipePeer, id: &str) -> Duration {
    let closed = js.about("peer_closed", id).await;
    at(&closed).saturating_sub(sent)
}

/// When nothing is to be flushed, and after a message of 6 MB.
async fn leaves_are_seen(kind: Kind) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let identifier = format!("leaving {kind:?}");
    let mut js = kind.start(&identifier, &[tracker.url()]).await;
    js.tracker_connected(tracker.url()).await;

    let (p2pt, _events, peer) = meet(&identifier, &tracker, &mut js).await;
    let own_id = p2pt.peer_id().to_string();
    let asked = tokio::spawn(peer.request("a question").timeout(PATIENCE).into_future());
    let received = js.about("message", &own_id).await;
    js.close_with(&received, &json!("an answer")).await;
    asked.await.expect("no panic").expect("a response");
    let left = now();
    p2pt.shutdown().await;
    let idle = seen_after(left, &mut js, &own_id).await;

    let (p2pt, _events, peer) = meet(&identifier, &tracker, &mut js).await;
    let own_id = p2pt.peer_id().to_string();
    let text = big_text().repeat(6);
    assert_eq!(text.len(), 6 * BIG);
    peer.send(text.as_str()).await.expect("a connection is open");
    p2pt.shutdown().await;
    let received = js.about("message", &own_id).await;
    assert!(received["message"] == text.as_str(), "the message arrived damaged");
    let busy = seen_after(at(&received), &mut js, &own_id).await;

    println!("{kind:?} has seen the leave after {idle:?}, and {busy:?} after 6 MB were there");
    assert!(
        idle < SEEN && busy < ACKNOWLEDGED + SEEN,
        "{kind:?} saw the leave after {idle:?}, and {busy:?} after 6 MB were there"
    );
    js.stop().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_leave -- --ignored"]
async fn node_on_libwebrtc() {
    leaves_are_seen(Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_leave -- --ignored"]
async fn node_on_libdatachannel() {
    leaves_are_seen(Kind::NodeNdc).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_leave -- --ignored"]
async fn chromium() {
    leaves_are_seen(Kind::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_leave -- --ignored"]
async fn p2pt_1_6_1_in_chromium() {
    leaves_are_seen(Kind::Chromium161).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_leave -- --ignored"]
async fn the_published_bundle_in_chromium() {
    leaves_are_seen(Kind::ChromiumPublished).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_leave -- --ignored"]
async fn firefox() {
    leaves_are_seen(Kind::Firefox).await;
}
