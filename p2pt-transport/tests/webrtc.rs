//! The WebRTC backend over real sockets on loopback.
#![cfg(feature = "webrtc")]

use std::{future::Future, time::Duration};

use p2pt_transport::{
    Channel, Frame, Transport,
    webrtc::{WebRtc, WebRtcConfig},
};

/// A guard, not an expectation.
const GUARD: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("in time")
}

fn transport() -> WebRtc {
    WebRtc::new(WebRtcConfig::loopback()).unwrap()
}

async fn connect(offerer: &dyn Transport, answerer: &dyn Transport) -> (Channel, Channel) {
    within(async {
        let offer = offerer.offer().await.unwrap();
        let answer = answerer.answer(offer.sdp()).await.unwrap();
        let answer_sdp = answer.sdp().to_owned();
        let (a, b) = tokio::join!(offer.open(&answer_sdp), answer.open());
        (a.unwrap(), b.unwrap())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_both_kinds_and_any_size_go_both_ways() {
    let (alice, bob) = (transport(), transport());
    let (mut a, mut b) = connect(&alice, &bob).await;
    for frame in [Frame::text("héllo"), Frame::text(""), Frame::binary(vec![]), Frame::binary(vec![7; 262_144])] {
        within(a.sender.send(frame.clone())).await.unwrap();
        assert_eq!(within(b.receiver.recv()).await.unwrap(), frame);
        within(b.sender.send(frame.clone())).await.unwrap();
        assert_eq!(within(a.receiver.recv()).await.unwrap(), frame);
    }
    println!("{:?} {:?}", a.sender.stats().await, a.info);
    let t = std::time::Instant::now();
    within(a.sender.close()).await;
    println!("closed {:?} {:?} {:?}", t.elapsed(), a.receiver.recv().await, within(b.receiver.recv()).await);
    within(alice.shutdown()).await;
    within(bob.shutdown()).await;
    println!("shutdown {:?}", t.elapsed());
}
