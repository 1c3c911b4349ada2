//! Panics in the turn of one connection, and in what all share.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    WebRtc, WebRtcConfig,
    buffers::lock,
    contain::DEFECT,
    peer::{Stage, Turn},
    wrapped_socket::{Intercept, Wrapped},
};
use crate::{Channel, ChannelClosed, Frame, PendingOffer, Transport, TransportError};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

fn transport() -> WebRtc {
    WebRtc::new(WebRtcConfig::loopback().idle_timeout(Duration::from_secs(1))).expect("a transport")
}

async fn open(offer: Box<dyn PendingOffer>, b: &WebRtc) -> (Result<Channel, TransportError>, Channel) {
    let answer = within(b.answer(offer.sdp())).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    (a, b.expect("open"))
}

async fn connect(a: &WebRtc, b: &WebRtc) -> (Channel, Channel) {
    let (a, b) = open(within(a.offer()).await.expect("an offer"), b).await;
    (a.expect("open"), b)
}

/// Has every connection that `is_one` holds of panic in this turn.
fn set_trap(of: &WebRtc, turn: Turn, is_one: impl Fn(Stage) -> bool) {
    let mut core = lock(&of.node.shared.core);
    for key in core.endpoint.keys() {
        if let Some(peer) = core.endpoint.peer(key).filter(|peer| is_one(peer.stage())) {
            peer.panics_in = Some(turn);
        }
    }
}

async fn talk(a: &Channel, b: &mut Channel) {
    within(a.sender.send(Frame::text("hello"))).await.expect("accepted");
    assert_eq!(within(b.receiver.recv()).await, Ok(Frame::text("hello")));
}

fn defect() -> ChannelClosed {
    ChannelClosed::Failed(DEFECT.to_owned())
}

#[tokio::test]
async fn a_panic_in_the_turn_of_a_connection_ends_this_one_and_no_other() {
    for turn in [Turn::Check, Turn::Record, Turn::Timeout, Turn::Transmit, Turn::Receive] {
        let (alice, bob, carol) = (transport(), transport(), transport());
        let (mut doomed, other_end) = connect(&alice, &bob).await;
        talk(&other_end, &mut doomed).await;
        set_trap(&alice, turn, |_| true);
        let (mut stays, mut carols) = connect(&alice, &carol).await;
        // What comes, what is due, and what goes: one of them is the turn in question.
        let _ = within(other_end.sender.send(Frame::text("more"))).await;
        let _ = within(doomed.sender.send(Frame::text("and back"))).await;
        assert_eq!(within(doomed.sender.closed()).await, defect(), "{turn:?}");
        while within(doomed.receiver.recv()).await != Err(defect()) {}
        within(doomed.sender.close()).await;
        talk(&stays, &mut carols).await;
        talk(&carols, &mut stays).await;
        let (again, mut bobs) = connect(&alice, &bob).await;
        talk(&again, &mut bobs).await;
        assert!(matches!(within(other_end.sender.closed()).await, ChannelClosed::Timeout(_)), "{turn:?}");
        within(async { tokio::join!(alice.shutdown(), bob.shutdown(), carol.shutdown()) }).await;
    }
}

#[tokio::test]
async fn a_panic_where_the_application_asks_is_none_of_its() {
    let (alice, bob) = (transport(), transport());
    let (a, _b) = connect(&alice, &bob).await;
    // Before the driver looks at it, which does not run on this thread meanwhile.
    set_trap(&alice, Turn::Outstanding, |_| true);
    a.sender.unacknowledged_bytes();
    assert_eq!(within(a.sender.closed()).await, defect());
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

#[tokio::test]
async fn an_opening_that_panics_says_so() {
    let (alice, bob) = (transport(), transport());
    let is_defect =
        |result: &TransportError| matches!(result, TransportError::Backend(error) if error.to_string() == DEFECT);
    for turn in [Turn::Remote, Turn::Check, Turn::Transmit] {
        let offer = within(alice.offer()).await.expect("an offer");
        let answer = within(bob.answer(offer.sdp())).await.expect("an answer");
        set_trap(&alice, turn, |stage| stage == Stage::Waiting);
        let opened = within(offer.open(answer.sdp())).await;
        assert!(matches!(&opened, Err(error) if is_defect(error)), "{turn:?}: {opened:?}");
    }
    let (a, mut b) = connect(&alice, &bob).await;
    talk(&a, &mut b).await;
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Has a socket panic on request.
#[derive(Debug, Default)]
struct Faulty {
    panics: AtomicBool,
}

impl Intercept for Faulty {
    fn before_receive(&self) {
        assert!(!self.panics.swap(false, Ordering::AcqRel), "as a test wants it");
    }
}

#[tokio::test]
async fn a_panic_that_no_connection_accounts_for_ends_all_of_them_and_the_transport_goes_on() {
    let faulty = Arc::new(Faulty::default());
    let network = Arc::new(Wrapped(faulty.clone()));
    let alice = WebRtc::with_network(WebRtcConfig::loopback(), network).expect("a transport");
    let bob = transport();
    let (mut one, _bobs_one) = connect(&alice, &bob).await;
    let (two, _bobs_two) = connect(&bob, &alice).await;
    let waits = within(alice.offer()).await.expect("an offer");
    let pending = within(alice.answer(within(bob.offer()).await.expect("an offer").sdp())).await.expect("an answer");
    faulty.panics.store(true, Ordering::Release);
    within(one.sender.send(Frame::text("wakes the driver"))).await.expect("accepted");
    assert_eq!(within(one.sender.closed()).await, defect());
    assert_eq!(within(one.receiver.recv()).await, Err(defect()));
    let opened = within(pending.open()).await;
    assert!(matches!(&opened, Err(TransportError::Backend(why)) if why.to_string() == DEFECT), "{opened:?}");
    drop((waits, two));
    let (a, mut b) = connect(&alice, &bob).await;
    talk(&a, &mut b).await;
    let (mut b, a) = connect(&bob, &alice).await;
    talk(&a, &mut b).await;
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
    assert!(matches!(within(alice.offer()).await.err(), Some(TransportError::ShutDown)));
}
