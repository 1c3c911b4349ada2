//! The `webrtc` crate as it comes, against the conformance suite and against the other backend.
#![cfg(all(feature = "webrtc-crate", feature = "conformance"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{future::Future, sync::Arc, time::Duration};

use p2pt_transport::{
    Channel, ChannelClosed, Frame, Transport,
    conformance::{Check, Settings},
    webrtc_crate::{WebRtcCrate, WebRtcCrateConfig},
};

/// A guard, not an expectation.
const GUARD: Duration = Duration::from_secs(120);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("in time")
}

/// The checks that it cannot pass, with what each says, and why.
const KNOWN_FAILURES: [(Check, &str, &str); 1] = [(
    Check::AcknowledgedAtClose,
    "acknowledging what was received just before the close",
    "the crate delays acknowledgements by up to 200 ms, and tells nothing of a channel that has been closed",
)];

/// What went other than it should.
async fn outcome(check: Check) -> Option<String> {
    let known = KNOWN_FAILURES.iter().find(|(fails, ..)| *fails == check);
    let mut settings = Settings::default();
    if known.is_some() {
        settings.deadline = Duration::from_secs(3);
    }
    // Some wait for a connection that must fail.
    let config = WebRtcCrateConfig::default().connect_timeout(Duration::from_secs(5));
    let make = || Arc::new(WebRtcCrate::with_config(config.clone()));
    let (a, b) = (make(), make());
    let result = tokio::time::timeout(GUARD, check.run(a.clone(), b.clone(), &settings)).await;
    within(async { tokio::join!(a.shutdown(), b.shutdown()) }).await;
    match (result, known) {
        (Ok(Ok(())), None) => None,
        (Ok(Err(failure)), Some((_, says, _))) if failure.to_string().contains(says) => None,
        (Ok(Err(failure)), _) => Some(format!("{failure:?}")),
        (Ok(Ok(())), Some((.., reason))) => Some(format!("{check} passes, although {reason}")),
        (Err(_), _) => Some(format!("{check} hangs")),
    }
}

#[test]
fn keeps_the_promises_it_can() {
    /// Most of the checks' time is waiting, so a few go at a time.
    const AT_A_TIME: usize = 4;

    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let lane = |lane| {
            let checks = Check::ALL.iter().skip(lane).step_by(AT_A_TIME);
            scope.spawn(move || checks.filter_map(|check| runtime().block_on(outcome(*check))).collect::<Vec<_>>())
        };
        let lanes: Vec<_> = (0..AT_A_TIME).map(lane).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn connect(offerer: &dyn Transport, answerer: &dyn Transport) -> (Channel, Channel) {
    within(async {
        let offer = offerer.offer().await.unwrap();
        let answer = answerer.answer(offer.sdp()).await.unwrap();
        let sdp = answer.sdp().to_owned();
        tokio::try_join!(offer.open(&sdp), answer.open()).unwrap()
    })
    .await
}

async fn pass(from: &Channel, to: &mut Channel, frame: Frame) {
    within(from.sender.send(frame.clone())).await.unwrap();
    assert_eq!(within(to.receiver.recv()).await, Ok(frame));
}

/// Everything a channel does between this workspace's backend and an implementation that shares none of its code above
/// the protocols: whichever side offers, and whichever closes.
#[cfg(feature = "webrtc")]
#[tokio::test(flavor = "multi_thread")]
async fn meets_the_other_backend() {
    use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};

    let ours: Arc<dyn Transport> = Arc::new(WebRtc::new(WebRtcConfig::loopback()).unwrap());
    let crates: Arc<dyn Transport> = Arc::new(WebRtcCrate::new());
    for (offerer, answerer) in [(&ours, &crates), (&crates, &ours)] {
        for offerer_closes in [true, false] {
            let (mut a, mut b) = connect(&**offerer, &**answerer).await;
            assert_eq!(a.info.label, b.info.label);
            assert_eq!(a.info.local_fingerprint, b.info.remote_fingerprint);
            assert_eq!(a.info.remote_fingerprint, b.info.local_fingerprint);
            assert_eq!((a.info.max_frame_bytes, b.info.max_frame_bytes), (65_536, 65_536));
            for frame in [
                Frame::text("text, \u{1F600}"),
                Frame::binary(vec![0, 255, 254, 128]),
                Frame::text(""),
                Frame::binary(""),
                Frame::binary((0..65_536_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>()),
                Frame::text("x".repeat(65_536)),
            ] {
                pass(&a, &mut b, frame.clone()).await;
                pass(&b, &mut a, frame).await;
            }
            let (closing, mut other) = if offerer_closes { (a, b) } else { (b, a) };
            for number in 0..100 {
                within(closing.sender.send(Frame::text(number.to_string()))).await.unwrap();
            }
            let reading = async {
                for number in 0..100 {
                    assert_eq!(within(other.receiver.recv()).await, Ok(Frame::text(number.to_string())));
                }
                within(other.receiver.recv()).await
            };
            let ((), end) = tokio::join!(within(closing.sender.close()), reading);
            assert_eq!(end, Err(ChannelClosed::Remote));
            assert_eq!(closing.sender.unacknowledged_bytes(), 0);
        }
    }
    within(async { tokio::join!(ours.shutdown(), crates.shutdown()) }).await;
}

/// Several times what both sides hold, into a side that reads none of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_gives_up_on_a_side_that_takes_nothing() {
    let config = || WebRtcCrateConfig::default().close_timeout(Duration::from_millis(200));
    let (alice, bob) = (WebRtcCrate::with_config(config()), WebRtcCrate::with_config(config()));
    let (a, _b) = connect(&alice, &bob).await;
    let frame = Frame::binary(vec![0; 65_536]);
    // Until nothing more is accepted for three seconds, which is longer than the stalls of the crate.
    while let Ok(sent) = tokio::time::timeout(Duration::from_secs(3), a.sender.send(frame.clone())).await {
        sent.unwrap();
    }
    let closed = tokio::time::timeout(Duration::from_secs(15), a.sender.close()).await;
    assert!(closed.is_ok(), "the close waits for a reader");
    assert!(a.sender.unacknowledged_bytes() > 0);
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}
