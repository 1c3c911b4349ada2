//! The transport over real sockets on loopback.

use std::{
    future::Future,
    sync::{OnceLock, Weak},
    time::Duration,
};

use super::{
    wrapped_socket::{Intercept, Wrapped},
    *,
};
use crate::{Channel, Frame, IceServer};

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

/// A tracker that reflects offers would make a node meet itself: its own certificate is refused, in an offer and in an answer,
/// whatever the case of its digits.
#[tokio::test]
async fn a_description_of_its_own_is_refused() {
    let new = || WebRtc::new(WebRtcConfig::loopback()).expect("a transport");
    let (alice, bob) = (new(), new());
    let offer = within(alice.offer()).await.expect("an offer");
    let (sdp, lower) = (offer.sdp().to_owned(), offer.sdp().replace(&alice.node.fingerprint.to_string(), "{}"));
    assert_ne!(sdp, lower, "the fingerprint stands in it");
    let lower = lower.replace("{}", &alice.node.fingerprint.to_string().to_lowercase());
    for sdp in [&sdp, &lower] {
        let refused = within(alice.answer(sdp)).await.err();
        assert!(matches!(&refused, Some(TransportError::InvalidSdp(why)) if why.contains("itself")), "{refused:?}");
        assert!(within(bob.answer(sdp)).await.is_ok());
    }
    let refused = within(offer.open(&sdp)).await.err();
    assert!(matches!(&refused, Some(TransportError::InvalidSdp(why)) if why.contains("itself")), "{refused:?}");
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Looks at a transport whenever that asks how much a socket holds.
#[derive(Debug, Default)]
struct Watching {
    watched: OnceLock<Weak<Node>>,
    asked: AtomicBool,
}

impl Intercept for Watching {
    fn before_buffer_bytes(&self) {
        let node = self.watched.get().and_then(Weak::upgrade).expect("the transport lives");
        self.asked.store(true, Ordering::Relaxed);
        // What another call could do now.
        if let Ok(sets) = node.shared.sets.try_lock() {
            let window = lock(&node.shared.core).endpoint.window();
            assert!(
                window > 0 || sets.sockets().next().is_none(),
                "sockets to be had while no window is fitted to them"
            );
        }
    }
}

/// Two offers at once, by two trackers, are the usual beginning. One that found the sockets of the other before its window was
/// known made a connection with a window of nothing: it opened, and large messages from the other side never came.
#[tokio::test]
async fn no_connection_can_be_made_before_its_window_is_known() {
    let watching = Arc::new(Watching::default());
    let network = Arc::new(Wrapped(watching.clone()));
    let transport = WebRtc::with_network(WebRtcConfig::loopback(), network).expect("a transport");
    watching.watched.set(Arc::downgrade(&transport.node)).expect("one transport");
    let offer = within(transport.offer()).await.expect("an offer");
    assert!(watching.asked.load(Ordering::Relaxed), "nothing was looked at");
    drop(offer);
    within(transport.shutdown()).await;
}

/// A server that does not answer.
async fn silent() -> (tokio::net::UdpSocket, IceServer) {
    let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
    let server = IceServer::stun(format!("stun:{}", socket.local_addr().expect("an address")));
    (socket, server)
}

/// Offers that wait for the same servers at the same time fill their sets as those do that come one after the other: a node
/// that is met in many swarms has four sets to answer them from.
#[tokio::test]
async fn offers_that_are_made_together_can_all_be_answered_by_one_node() {
    let (_silent, server) = silent().await;
    let alice = WebRtc::new(WebRtcConfig::loopback().ice_servers([server])).expect("a transport");
    let bob = WebRtc::new(WebRtcConfig::loopback()).expect("a transport");
    let mut making: Vec<_> = (0..16).map(|_| alice.offer()).collect();
    let mut offers = Vec::new();
    within(std::future::poll_fn(|cx| {
        making.retain_mut(|offer| match offer.as_mut().poll(cx) {
            std::task::Poll::Ready(offer) => {
                offers.push(offer.expect("an offer"));
                false
            }
            std::task::Poll::Pending => true,
        });
        if making.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    }))
    .await;
    let mut opening = tokio::task::JoinSet::new();
    let mut answers = Vec::new();
    for offer in &offers {
        answers.push(within(bob.answer(offer.sdp())).await.expect("an answer"));
    }
    for (offer, answer) in offers.into_iter().zip(answers) {
        let sdp = answer.sdp().to_owned();
        opening.spawn(async move { offer.open(&sdp).await });
        opening.spawn(answer.open());
    }
    for opened in within(opening.join_all()).await {
        assert!(opened.is_ok(), "{opened:?}");
    }
    // One that is given up counts no longer.
    let _ = tokio::time::timeout(Duration::ZERO, alice.offer()).await;
    assert_eq!(lock(&alice.node.shared.core).endpoint.reserved(), 0);
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Answers that wait for the same servers at the same time: each leaves from a set of its own.
#[tokio::test(flavor = "multi_thread")]
async fn offers_of_one_node_that_are_answered_together_open() {
    let (_silent, server) = silent().await;
    let alice = WebRtc::new(WebRtcConfig::loopback()).expect("a transport");
    let bob = WebRtc::new(WebRtcConfig::loopback().ice_servers([server])).expect("a transport");
    let (one, two) = (within(alice.offer()).await.expect("an offer"), within(alice.offer()).await.expect("an offer"));
    let (first, second) = within(async { tokio::join!(bob.answer(one.sdp()), bob.answer(two.sdp())) }).await;
    let (first, second) = (first.expect("an answer"), second.expect("an answer"));
    let sdps = [first.sdp().to_owned(), second.sdp().to_owned()];
    let opened =
        within(async { tokio::join!(one.open(&sdps[0]), first.open(), two.open(&sdps[1]), second.open()) }).await;
    assert!(opened.0.is_ok() && opened.1.is_ok() && opened.2.is_ok() && opened.3.is_ok(), "{opened:?}");
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}
