//! Why connections of the WebRTC backend do not open, each reason made to happen with the real stack. Those that need a
//! peer that breaks the protocol are beside the code.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "webrtc_faults/relay.rs"]
mod relay;

use std::{future::Future, time::Duration};

use p2pt_transport::{
    Channel, Fingerprint, PendingAnswer, PendingOffer, Transport, TransportError,
    webrtc::{WebRtc, WebRtcConfig},
};
use relay::{Relay, moved};
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep, timeout},
};

/// A guard, not an expectation.
const GUARD: Duration = Duration::from_secs(60);

/// Ten times as quick as the default to give up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("in time")
}

type Opened = Result<Channel, TransportError>;

struct Harness {
    alice: WebRtc,
    bob: WebRtc,
}

impl Harness {
    fn new() -> Self {
        Self::with(WebRtcConfig::loopback().connect_timeout(CONNECT_TIMEOUT))
    }

    fn with(config: WebRtcConfig) -> Self {
        let new = || WebRtc::new(config.clone()).unwrap();
        Self { alice: new(), bob: new() }
    }

    /// Opens with descriptions that were changed on their way.
    async fn open(&self, offer: impl Fn(&str) -> String, answer: impl Fn(&str) -> String) -> [Opened; 2] {
        let at_alice = within(self.alice.offer()).await.unwrap();
        let at_bob = within(self.bob.answer(&offer(at_alice.sdp()))).await.unwrap();
        let sdp = answer(at_bob.sdp());
        open(at_alice, &sdp, at_bob).await
    }

    async fn end(self) {
        within(async { tokio::join!(self.alice.shutdown(), self.bob.shutdown()) }).await;
    }
}

async fn open(offer: Box<dyn PendingOffer>, answer_sdp: &str, answer: Box<dyn PendingAnswer>) -> [Opened; 2] {
    within(async { tokio::join!(offer.open(answer_sdp), answer.open()) }).await.into()
}

fn with_line(sdp: &str, name: &str, value: &str) -> String {
    let change = |line: &str| if line.starts_with(name) { format!("{name}{value}\r\n") } else { format!("{line}\r\n") };
    sdp.lines().map(change).collect()
}

fn is_ice_failed(opened: &Opened) -> bool {
    matches!(opened, Err(TransportError::IceFailed { local, remote }) if local == "host" && remote == "host")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_ice() {
    let harness = Harness::new();
    let change = |sdp: &str| with_line(sdp, "a=ice-pwd:", "thirty-two-characters-of-guesses");
    let opened = harness.open(str::to_owned, change).await;
    assert!(opened.iter().all(is_ice_failed), "{opened:?}");
    harness.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_is_is_ice() {
    let harness = Harness::new();
    let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let away = |sdp: &str| moved(sdp, unused.local_addr().unwrap()).0;
    let opened = harness.open(away, away).await;
    assert!(opened.iter().all(is_ice_failed), "{opened:?}");
    harness.end().await;
}

/// A tracker that passes the SDP on can change it, but cannot pretend to be the other side.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_other_than_the_announced_one_is_the_session() {
    let same = str::to_owned as fn(&str) -> String;
    let forged: fn(&str) -> String =
        |sdp| with_line(sdp, "a=fingerprint:", &format!("sha-256 {}", Fingerprint([7; 32])));
    for (offer, answer) in [(same, forged), (forged, same)] {
        let harness = Harness::new();
        let opened = harness.open(offer, answer).await;
        let all = opened.iter().all(|opened| matches!(opened, Err(TransportError::SessionFailed)));
        assert!(all, "{opened:?}");
        harness.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_carries_nothing_but_checks_is_the_session() {
    let harness = Harness::new();
    let (relay, offer, answer) = within(Relay::between(&harness.alice, &harness.bob)).await;
    relay.there.only_checks();
    relay.back.only_checks();
    let opened = open(offer, &relay.answer_sdp, answer).await;
    let all = opened.iter().all(|opened| matches!(opened, Err(TransportError::SessionFailed)));
    assert!(all, "{opened:?}");
    harness.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_shuts_down_says_so() {
    let harness = Harness::new();
    let answer = within(async {
        let offer = harness.alice.offer().await.unwrap();
        harness.bob.answer(offer.sdp()).await.unwrap()
    });
    let answer = answer.await;
    let (opened, ()) = within(async { tokio::join!(answer.open(), harness.bob.shutdown()) }).await;
    assert!(matches!(opened, Err(TransportError::ShutDown)), "{opened:?}");
    harness.end().await;
}

/// The answerer begins before the offerer has the answer, which trackers pass on when they please.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_its_time_is_waited_for() {
    let harness = Harness::with(WebRtcConfig::loopback());
    let (relay, offer, answer) = within(Relay::between(&harness.alice, &harness.bob)).await;
    let late = async {
        sleep(Duration::from_secs(4)).await;
        offer.open(&relay.answer_sdp).await
    };
    let (a, b) = within(async { tokio::join!(late, answer.open()) }).await;
    drop(a.unwrap());
    drop(b.unwrap());
    harness.end().await;
}

/// Longer than the stack's own attempts would go on, at a round trip of a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_comes_late_and_is_slow_is_found() {
    let harness = Harness::with(WebRtcConfig::loopback());
    let (relay, offer, answer) = within(Relay::between(&harness.alice, &harness.bob)).await;
    for way in [&relay.there, &relay.back] {
        way.slow(Duration::from_millis(500), 25_000);
        way.cut(true);
    }
    let mended = async {
        sleep(Duration::from_secs(3)).await;
        relay.there.cut(false);
        relay.back.cut(false);
    };
    let start = Instant::now();
    let (opened, ()) = tokio::join!(open(offer, &relay.answer_sdp, answer), mended);
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    assert!(start.elapsed() > Duration::from_secs(3));
    harness.end().await;
}
