//! The WebRTC backend when peers and paths die, and when they are only busy or slow. In real time, because the stack
//! keeps to it; deadlines guard against hanging and are no measurements.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "webrtc_faults/relay.rs"]
mod relay;

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use p2pt_transport::{
    Channel, ChannelClosed, Frame, SendFrameError, Transport,
    webrtc::{WebRtc, WebRtcConfig},
};
use relay::Relay;
use tokio::time::{Instant, sleep, timeout};

/// A guard, not an expectation.
const GUARD: Duration = Duration::from_secs(60);

/// The shortest there is.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("in time")
}

/// Two transports that take a second's silence for death, and what connects them.
struct Harness {
    alice: WebRtc,
    bob: WebRtc,
    relay: Relay,
    a: Channel,
    b: Channel,
}

impl Harness {
    async fn new() -> Self {
        Self::with(WebRtcConfig::loopback().idle_timeout(IDLE_TIMEOUT)).await
    }

    async fn with(config: WebRtcConfig) -> Self {
        let (alice, bob) = (WebRtc::new(config.clone()).unwrap(), WebRtc::new(config).unwrap());
        let (relay, offer, answer) = within(Relay::between(&alice, &bob)).await;
        let (a, b) = within(async { tokio::join!(offer.open(&relay.answer_sdp), answer.open()) }).await;
        Self { a: a.unwrap(), b: b.unwrap(), alice, bob, relay }
    }

    async fn end(self) {
        within(async { tokio::join!(self.alice.shutdown(), self.bob.shutdown()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_path_is_noticed_by_both() {
    let mut harness = Harness::new().await;
    harness.relay.there.cut(true);
    harness.relay.back.cut(true);
    within(harness.a.sender.send(Frame::text("lost"))).await.unwrap();
    let ends = within(async { tokio::join!(harness.a.receiver.recv(), harness.b.receiver.recv()) }).await;
    let silent = ChannelClosed::Timeout(IDLE_TIMEOUT);
    assert_eq!(ends, (Err(silent.clone()), Err(silent)));
    assert_eq!(harness.a.sender.unacknowledged_bytes(), 4);
    assert_eq!(within(harness.a.sender.send(Frame::text("late"))).await, Err(SendFrameError::Closed));
    harness.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_cut_one_way_is_noticed_by_both() {
    for offerer_is_deaf in [true, false] {
        let mut harness = Harness::new().await;
        let way = if offerer_is_deaf { &harness.relay.back } else { &harness.relay.there };
        way.cut(true);
        let ends = within(async { tokio::join!(harness.a.receiver.recv(), harness.b.receiver.recv()) }).await;
        let (deaf, mute) = if offerer_is_deaf { ends } else { (ends.1, ends.0) };
        assert_eq!(deaf, Err(ChannelClosed::Timeout(IDLE_TIMEOUT)));
        assert_eq!(mute, Err(ChannelClosed::Remote));
        harness.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_interruption_loses_nothing() {
    let mut harness = Harness::with(WebRtcConfig::loopback()).await;
    for one_way in [false, true] {
        harness.relay.there.cut(true);
        harness.relay.back.cut(!one_way);
        for (from, text) in [(&harness.a, "from the offerer"), (&harness.b, "from the answerer")] {
            within(from.sender.send(Frame::text(text))).await.unwrap();
        }
        // Half of what it would take to give up.
        sleep(Duration::from_secs(2)).await;
        harness.relay.there.cut(false);
        harness.relay.back.cut(false);
        assert_eq!(within(harness.a.receiver.recv()).await, Ok(Frame::text("from the answerer")));
        assert_eq!(within(harness.b.receiver.recv()).await, Ok(Frame::text("from the offerer")));
    }
    harness.end().await;
}

/// Sends and reads on both sides for a while, and fails if anything ends or comes out of order.
async fn traffic(harness: &mut Harness, lasts: Duration, frame_bytes: usize) {
    async fn side(channel: &mut Channel, until: Instant, frame_bytes: usize) {
        let (sender, receiver) = (&channel.sender, &mut channel.receiver);
        let send = async {
            for number in 0u32.. {
                let last = Instant::now() >= until;
                let mut frame = vec![u8::from(last); frame_bytes];
                frame[..4].copy_from_slice(&number.to_be_bytes());
                within(sender.send(Frame::binary(frame))).await.expect("the channel lives");
                if last {
                    return;
                }
            }
        };
        let read = async {
            for number in 0u32.. {
                let frame = within(receiver.recv()).await.expect("the channel lives");
                assert_eq!(frame.bytes()[..4], number.to_be_bytes());
                if frame.bytes()[4] == 1 {
                    return;
                }
            }
        };
        tokio::join!(send, read);
    }
    let until = Instant::now() + lasts;
    tokio::join!(side(&mut harness.a, until, frame_bytes), side(&mut harness.b, until, frame_bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_link_is_not_dead() {
    // A round trip of a second, 200 kbit/s, and two seconds of buffer on the way: more than the whole idle timeout.
    let config = WebRtcConfig::loopback().idle_timeout(Duration::from_secs(2)).send_buffer_bytes(64 << 10);
    let mut harness = Harness::with(config).await;
    for way in [&harness.relay.there, &harness.relay.back] {
        way.slow(Duration::from_millis(500), 25_000);
    }
    traffic(&mut harness, Duration::from_secs(6), 4000).await;
    harness.end().await;
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_link_on_a_busy_machine_is_not_dead() {
    let mut harness = Harness::new().await;
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..2 * std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        // The others stop however this ends.
        let _stop = Stop(&busy);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(traffic(&mut harness, IDLE_TIMEOUT * 5, 65_536)));
    });
    harness.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_is_not_dead() {
    // As long as the shortest messages of p2pt: tens of thousands wait in the stack.
    let frame = |number: u32| Frame::text(format!("{number:050}"));
    let mut harness = Harness::new().await;
    let mut sent = 0;
    let send = async {
        loop {
            harness.a.sender.send(frame(sent)).await.expect("the channel lives");
            sent += 1;
        }
    };
    let _ = timeout(IDLE_TIMEOUT * 5, send).await;
    for number in 0..sent {
        assert_eq!(within(harness.b.receiver.recv()).await, Ok(frame(number)));
    }
    harness.end().await;
}

/// The stack would go on acknowledging them, and lose them.
#[tokio::test(flavor = "multi_thread")]
async fn tiny_frames_that_nobody_reads_end_the_link_in_the_end() {
    let mut harness = Harness::new().await;
    let sender = harness.a.sender.clone();
    let send = async { while sender.send(Frame::text("tiny")).await.is_ok() {} };
    let (flooded, ()) = within(async { tokio::join!(harness.b.sender.closed(), send) }).await;
    assert!(matches!(flooded, ChannelClosed::Failed(_)), "{flooded}");
    assert_eq!(within(harness.a.receiver.recv()).await, Err(ChannelClosed::Remote));
    for _ in 0..60_000 {
        assert_eq!(within(harness.b.receiver.recv()).await, Ok(Frame::text("tiny")));
    }
    harness.end().await;
}
