//! The transport over real sockets on loopback.

use std::{future::Future, time::Duration};

use super::*;
use crate::{Channel, Frame};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn connect(a: &WebRtc, b: &WebRtc) -> (Channel, Channel) {
    let offer = within(a.offer()).await.expect("an offer");
    let answer = within(b.answer(offer.sdp())).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    (a.expect("open"), b.expect("open"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transports_talk() {
    let new = || WebRtc::new(WebRtcConfig::loopback()).expect("a transport");
    let (alice, bob) = (new(), new());
    let (a, mut b) = connect(&alice, &bob).await;
    within(a.sender.send(Frame::text("hello"))).await.expect("accepted");
    assert_eq!(within(b.receiver.recv()).await, Ok(Frame::text("hello")));
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}
