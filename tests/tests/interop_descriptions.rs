//! Descriptions as others write them, between this library and libwebrtc in Node: each row of the table is a change made
//! to descriptions on their way, under which the two still connect and a message goes each way.

use std::time::Duration;

use p2pt_tests::interop::turn;
use p2pt_tests::js::javascript;
use p2pt_tests::pipe::{LineProcess, PATIENCE};
use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};
use p2pt_transport::{Channel, Frame, Transport, TransportError};
use serde_json::json;
use tokio::time::{Instant, timeout};

/// What is said of the change to descriptions that libwebrtc reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// libwebrtc reads changed descriptions too.
    Both,
    /// libwebrtc refuses such a description, or would connect to nothing by it, so that only what this side reads is changed.
    OnlyWe,
}

/// Which of two descriptions is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Offer,
    Answer,
}

struct Row {
    what: &'static str,
    reads: Reads,
    /// The descriptions that are changed.
    kinds: &'static [Kind],
    change: fn(&str) -> String,
}

/// The row that shows the others to be at fault.
const AS_THEY_ARE: &str = "as they are";

const ALL: &[Kind] = &[Kind::Offer, Kind::Answer];

/// A digest of so many bytes that no certificate has.
fn other_digest(bytes: usize) -> String {
    vec!["A7"; bytes].join(":")
}

/// `sdp` with `lines` before its first line that begins with `start`.
fn before(sdp: &str, start: &str, lines: &str) -> String {
    let at = sdp.find(start).unwrap_or_else(|| panic!("{start} is in {sdp}"));
    format!("{}{lines}{}", &sdp[..at], &sdp[at..])
}

/// `sdp` without its lines that begin with `start`.
fn without(sdp: &str, start: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| !line.starts_with(start)).collect()
}

fn with_setup(sdp: &str, setup: &str) -> String {
    before(&without(sdp, "a=setup:"), "a=fingerprint:", &format!("a=setup:{setup}\r\n"))
}

const TABLE: &[Row] = &[
    Row { what: AS_THEY_ARE, reads: Reads::Both, kinds: ALL, change: str::to_owned },
    Row {
        // libwebrtc refuses a description for one of these.
        what: "candidates of unknown kinds",
        reads: Reads::OnlyWe,
        kinds: ALL,
        change: |sdp| {
            let odd = "a=candidate:\r\na=candidate:1 1 udp x 10.0.0.1 9 typ host\r\n\
                a=candidate:1 1 udp 1 10.0.0.1 99999 typ host\r\na=candidate:1 1 sctp 1 10.0.0.1 9 typ host\r\n\
                a=candidate:1 1 udp 1 10.0.0.1 9 typ future\r\n";
            before(sdp, "a=candidate:", odd)
        },
    },
    Row {
        what: "candidates of other kinds",
        reads: Reads::Both,
        kinds: ALL,
        change: |sdp| {
            let odd = "a=candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype active\r\n\
                a=candidate:2 2 udp 1 10.0.0.1 9 typ host\r\n\
                a=candidate:3 1 UDP 1 6b8e2c1a-9d3b-4f0e-8c52-0d7a4e5f6a7b.local 9 typ host generation 0\r\n";
            before(sdp, "a=candidate:", odd)
        },
    },
    Row {
        what: "hash names in capitals",
        reads: Reads::Both,
        kinds: ALL,
        change: |sdp| sdp.replace("a=fingerprint:sha-256", "a=fingerprint:SHA-256"),
    },
    Row {
        what: "a fingerprint by a weaker function first",
        reads: Reads::Both,
        kinds: ALL,
        change: |sdp| before(sdp, "a=fingerprint:", &format!("a=fingerprint:sha-1 {}\r\n", other_digest(20))),
    },
    Row {
        // libwebrtc takes the last of them.
        what: "fingerprints after that of the certificate",
        reads: Reads::OnlyWe,
        kinds: ALL,
        change: |sdp| {
            let (weak, second) = (other_digest(20), other_digest(32));
            before(sdp, "a=setup:", &format!("a=fingerprint:sha-1 {weak}\r\na=fingerprint:SHA-256 {second}\r\n"))
        },
    },
    Row { what: "no BUNDLE group", reads: Reads::Both, kinds: ALL, change: |sdp| without(sdp, "a=group:BUNDLE") },
    Row {
        what: "no mid",
        reads: Reads::Both,
        kinds: ALL,
        change: |sdp| without(&without(sdp, "a=group:BUNDLE"), "a=mid:"),
    },
    Row {
        what: "the old syntax",
        reads: Reads::Both,
        kinds: ALL,
        change: |sdp| {
            if !sdp.contains("webrtc-datachannel\r\nc=") {
                return sdp.to_owned();
            }
            let old = without(sdp, "a=sctp-port:").replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000");
            before(&old, "a=ice-ufrag:", "a=sctpmap:5000 webrtc-datachannel 1024\r\n")
        },
    },
    Row {
        // What answers an offer that leaves no choice says the other role of itself.
        what: "an offer that is active",
        reads: Reads::Both,
        kinds: &[Kind::Offer],
        change: |sdp| with_setup(sdp, "active"),
    },
    Row {
        what: "an offer that is passive",
        reads: Reads::Both,
        kinds: &[Kind::Offer],
        change: |sdp| with_setup(sdp, "passive"),
    },
    Row {
        what: "a session id beyond 64 bits",
        reads: Reads::Both,
        kinds: ALL,
        change: |sdp| {
            let (head, tail) = sdp.split_once("o=- ").expect("an origin");
            let (_, tail) = tail.split_once(' ').expect("a session id");
            format!("{head}o=- 257124673091267542900000 {tail}")
        },
    },
];

impl Row {
    fn changed(&self, kind: Kind, sdp: &str) -> String {
        if self.kinds.contains(&kind) { (self.change)(sdp) } else { sdp.to_owned() }
    }

    /// What this side reads of a description by libwebrtc.
    fn to_us(&self, kind: Kind, sdp: &str) -> String {
        let changed = self.changed(kind, sdp);
        let is_to_change = self.kinds.contains(&kind) && self.what != AS_THEY_ARE;
        // An answer may be in the form of the changed offer already.
        assert!(!is_to_change || changed != sdp || kind == Kind::Answer, "{}: nothing changed in {sdp}", self.what);
        changed
    }

    /// What libwebrtc reads of one by this side.
    fn to_libwebrtc(&self, kind: Kind, sdp: &str) -> String {
        if self.reads == Reads::Both { self.changed(kind, sdp) } else { sdp.to_owned() }
    }
}

async fn described(node: &mut LineProcess) -> String {
    let described = node.expect("description", |_| true).await;
    described["sdp"].as_str().expect("a description").to_owned()
}

/// libwebrtc offers.
async fn we_answer(row: &Row, transport: &WebRtc, node: &mut LineProcess) -> Channel {
    node.command(&json!({"offer": true})).await;
    let offer = row.to_us(Kind::Offer, &described(node).await);
    let answer = transport.answer(&offer).await.expect("an answer");
    let sdp = row.to_libwebrtc(Kind::Answer, answer.sdp());
    node.command(&json!({"accept": sdp})).await;
    answer.open().await.expect("a channel")
}

/// libwebrtc answers.
async fn we_offer(row: &Row, transport: &WebRtc, node: &mut LineProcess) -> Channel {
    let offer = transport.offer().await.expect("an offer");
    node.command(&json!({"answer": row.to_libwebrtc(Kind::Offer, offer.sdp())})).await;
    let answer = row.to_us(Kind::Answer, &described(node).await);
    offer.open(&answer).await.expect("a channel")
}

/// A message goes each way.
async fn talk(what: &str, channel: &mut Channel, node: &mut LineProcess) {
    node.expect("open", |_| true).await;
    let text = format!("{what} ✓");
    channel.sender.send(Frame::text(text.clone())).await.expect("an open channel");
    node.expect("message", |event| event["text"] == text).await;
    node.command(&json!({"send": text})).await;
    let received = timeout(PATIENCE, channel.receiver.recv()).await.expect("a message");
    assert_eq!(received.expect("an open channel"), Frame::text(text));
    node.assert_unsaid("error");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_descriptions -- --ignored"]
async fn changed_descriptions_connect() {
    let _turn = turn().await;
    let transport = WebRtc::new(WebRtcConfig::default().without_ice_servers()).expect("a certificate");
    let mut node = LineProcess::spawn("libwebrtc", javascript("rtc.mjs", &["--webrtc", "roamhq"]));
    let mut slowest = Duration::ZERO;
    for row in TABLE {
        for we_begin in [false, true] {
            let what = format!("{}, {} offers", row.what, if we_begin { "this side" } else { "libwebrtc" });
            println!("{what}");
            let began = Instant::now();
            let opened = async {
                if we_begin {
                    we_offer(row, &transport, &mut node).await
                } else {
                    we_answer(row, &transport, &mut node).await
                }
            };
            let mut channel = timeout(PATIENCE, opened).await.unwrap_or_else(|_| panic!("{what}: no channel"));
            talk(&what, &mut channel, &mut node).await;
            slowest = slowest.max(began.elapsed());
        }
    }
    println!("the slowest took {slowest:?}");
    node.command(&json!({"stop": true})).await;
    node.expect("stopped", |_| true).await;
    node.end().await;
    transport.shutdown().await;
}

/// Its answers repeat lines of a section that it does not know.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_descriptions -- --ignored"]
async fn libdatachannel_does_not_repeat_what_this_side_says_of_itself() {
    let _turn = turn().await;
    let transport = WebRtc::new(WebRtcConfig::default().without_ice_servers()).expect("a certificate");
    let mut node = LineProcess::spawn("libdatachannel", javascript("rtc.mjs", &["--webrtc", "ndc"]));
    let offer = transport.offer().await.expect("an offer");
    assert!(offer.sdp().contains("a=p2pt-close:reset") && offer.sdp().contains("a=p2pt-window:"));
    node.command(&json!({"answer": offer.sdp()})).await;
    let answer = described(&mut node).await;
    assert!(!answer.contains("a=p2pt"), "{answer}");
    node.command(&json!({"stop": true})).await;
    node.expect("stopped", |_| true).await;
    node.end().await;
    transport.shutdown().await;
}

/// How many channels libdatachannel offers.
const OFFERS: usize = 200;

/// Within what time a channel opens whose first flight was not left to the timer, which says it again after 250 ms.
const WITHOUT_A_WAIT: Duration = Duration::from_millis(200);

/// The first flight of the handshake reaches libdatachannel before the answer does, since its agent answers checks without one.
/// libdatachannel 0.24.5 keeps the flight, but reads it too early in 4 to 80 of 100 connections, and then not before something more
/// comes. That is the flight once more, which this side says at once, and not only when its timer says so.
///
/// A channel may fail, by a fault of libdatachannel that is worst where both processors are busy (up to 13 of 100): it gives the answer
/// to its agent before it keeps it, and a handshake that has come to the certificate in between finds no fingerprint to
/// compare it with. libdatachannel ends it with an alert (*unknown CA*) and the connection is over, so nothing that
/// this side could do afterwards helps. Offers without candidates would avoid that, but no flight would be early then; that
/// each of those connects is asserted in `interop_signed_descriptions`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_descriptions -- --ignored"]
async fn a_channel_that_libdatachannel_offers_opens_without_a_wait() {
    let _turn = turn().await;
    let transport = WebRtc::new(WebRtcConfig::default().without_ice_servers()).expect("a certificate");
    let mut node = LineProcess::spawn("libdatachannel", javascript("rtc.mjs", &["--webrtc", "ndc"]));
    let mut took = Vec::new();
    for _ in 0..OFFERS {
        node.command(&json!({"offer": true})).await;
        let offer = described(&mut node).await;
        let pending = transport.answer(&offer).await.expect("an answer");
        let began = Instant::now();
        node.command(&json!({"accept": pending.sdp()})).await;
        match timeout(PATIENCE, pending.open()).await.expect("in time") {
            Ok(_) => took.push(began.elapsed()),
            // The second is how a session is called that fails before the path is nominated.
            Err(error) => {
                assert!(matches!(error, TransportError::SessionFailed | TransportError::ClosedEarly), "{error:?}");
            }
        }
        drop(node.take_said());
    }
    took.sort_unstable();
    let opened = took.len();
    assert!(opened > OFFERS / 2, "{opened} of {OFFERS} channels opened");
    let slow = took.iter().filter(|took| **took >= WITHOUT_A_WAIT).count();
    println!("{opened} of {OFFERS} opened, {slow} slowly, in the median after {:?}", took[opened / 2]);
    // A loaded machine may take longer, but not often.
    assert!(slow * 50 < opened, "{slow} of {opened} channels opened slowly: {took:?}");
    node.command(&json!({"stop": true})).await;
    node.expect("stopped", |_| true).await;
    node.end().await;
    transport.shutdown().await;
}
