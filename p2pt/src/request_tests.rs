use std::task::{Context, Poll, Waker};

use p2pt_proto::PeerId;

use super::*;
use crate::SendError;
use crate::settings::Settings;

fn waiters() -> Waiters {
    Waiters::new(1000)
}

fn id(n: u64) -> MessageId {
    MessageId::from(n)
}

fn body(n: u64, bytes: usize) -> Body {
    Body { id: id(n), payload: Payload::from("x".repeat(bytes)) }
}

fn peer() -> Peer {
    Peer::new(PeerId::from([1; 20]), None, Arc::new(Settings::alone(1000)))
}

/// Short names for what became of a message.
fn route(waiters: &Waiters, now: Instant, n: u64) -> &'static str {
    match waiters.route(now, body(n, 10), None) {
        Routed::Response => "response",
        Routed::Late => "late",
        Routed::Wait(..) => "wait",
        Routed::Message(..) => "message",
    }
}

#[test]
fn the_debug_of_a_request_has_the_size_of_its_message_but_not_the_message() {
    let peer = peer();
    let many = crate::Responses::new(vec![peer.clone()], "secret".into());
    for shown in [format!("{:?}", peer.request("secret")), format!("{many:?}")] {
        assert!(!shown.contains("secret") && shown.contains("bytes: 6"), "{shown}");
    }
}

#[test]
fn a_response_finds_its_request_once() {
    let (waiters, now) = (waiters(), crate::now());
    let (_, mut response) = waiters.register(id(1)).expect("room");
    assert_eq!(route(&waiters, now, 2), "message");
    assert_eq!(route(&waiters, now, 1), "response");
    assert_eq!(response.try_recv().expect("it came").expect("from the peer").0, body(1, 10));
    assert_eq!(route(&waiters, now, 1), "message");
}

#[test]
fn a_response_to_an_ended_request_is_counted_for_minutes() {
    let (waiters, now) = (waiters(), crate::now());
    let (number, _response) = waiters.register(id(1)).expect("room");
    waiters.end(now, id(1), number);
    assert_eq!(route(&waiters, now + ENDED_LIFETIME - Duration::from_millis(1), 1), "late");
    assert_eq!(waiters.late(), 1);
    assert_eq!(route(&waiters, now + ENDED_LIFETIME, 1), "message");
    assert_eq!(waiters.late(), 1);
}

#[test]
fn an_id_that_ended_can_be_used_again_and_ends_again() {
    let (waiters, now) = (waiters(), crate::now());
    let minute = Duration::from_secs(60);
    let (number, _response) = waiters.register(id(1)).expect("room");
    waiters.end(now, id(1), number);
    let (number, _response) = waiters.register(id(1)).expect("room");
    assert_eq!(route(&waiters, now, 1), "response");
    assert_eq!(route(&waiters, now, 1), "message", "an answered request is not an ended one");
    waiters.end(now, id(1), number);

    let (number, _response) = waiters.register(id(1)).expect("room");
    waiters.end(now + minute, id(1), number);
    // Remembered from the later end on.
    assert_eq!(route(&waiters, now + ENDED_LIFETIME, 1), "late");
    assert_eq!(route(&waiters, now + ENDED_LIFETIME + minute, 1), "message");
}

#[test]
fn the_oldest_ended_requests_are_forgotten_first() {
    let (waiters, now) = (waiters(), crate::now());
    let most = u64::try_from(MAX_ENDED).expect("small");
    for n in 0..=most {
        let (number, _response) = waiters.register(id(n)).expect("room");
        waiters.end(now, id(n), number);
    }
    assert_eq!(route(&waiters, now, 0), "message");
    assert_eq!(route(&waiters, now, 1), "late");
    assert_eq!(route(&waiters, now, most), "late");

    // The same id over and over takes the room of others, but no more than there is.
    for _ in 0..10 * MAX_ENDED {
        let (number, _response) = waiters.register(id(7)).expect("room");
        waiters.end(now, id(7), number);
    }
    assert_eq!(route(&waiters, now, 7), "late");
    assert!(lock(&waiters.state).ended.order.len() <= MAX_ENDED);
    assert!(lock(&waiters.state).ended.numbers.len() <= MAX_ENDED);
}

#[test]
fn a_later_request_with_the_same_id_takes_the_place_of_the_first() {
    let (waiters, now) = (waiters(), crate::now());
    let (first, mut replaced) = waiters.register(id(1)).expect("room");
    let (_, mut response) = waiters.register(id(1)).expect("room");
    assert!(matches!(replaced.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    // Its end is not the other's.
    waiters.end(now, id(1), first);
    assert_eq!(route(&waiters, now, 1), "response");
    assert!(response.try_recv().is_ok());
}

#[test]
fn as_many_requests_as_allowed_wait_and_no_more() {
    let (waiters, now) = (waiters(), crate::now());
    let most = u64::try_from(MAX_WAITING).expect("small");
    let waiting: Vec<_> = (0..most).map(|n| waiters.register(id(n)).expect("room")).collect();
    assert!(waiters.register(id(most)).is_none());
    waiters.end(now, id(0), waiting[0].0);
    assert!(waiters.register(id(most)).is_some());
}

#[test]
fn responses_wait_for_room_and_one_larger_than_all_of_it_comes_alone() {
    let (waiters, now) = (waiters(), crate::now());
    let (_, mut first) = waiters.register(id(1)).expect("room");
    let (_, mut second) = waiters.register(id(2)).expect("room");
    assert!(matches!(waiters.route(now, body(1, 5000), None), Routed::Response));
    let Routed::Wait(back, _) = waiters.route(now, body(2, 1), None) else { panic!("there is no room") };
    let mut room = std::pin::pin!(waiters.room_for(&back));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(room.as_mut().poll(&mut context), Poll::Pending);
    drop(first.try_recv().expect("it came"));
    assert_eq!(room.as_mut().poll(&mut context), Poll::Ready(()));
    assert!(matches!(waiters.route(now, body(2, 1), None), Routed::Response));
    assert!(second.try_recv().is_ok());
}

#[test]
fn requests_end_with_their_peer_and_their_late_responses_are_no_messages() {
    let (waiters, now) = (waiters(), crate::now());
    let (_, mut response) = waiters.register(id(1)).expect("room");
    waiters.fail_all(now, &ChannelClosed::Remote);
    assert_eq!(response.try_recv().expect("ended").expect_err("gone"), NoReply::PeerGone(ChannelClosed::Remote));
    assert_eq!(route(&waiters, now, 1), "late");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_leaves_nothing_behind() {
    let peer = peer();
    let error = peer.request("?").await.expect_err("no channel was ever open");
    assert!(matches!(error, RequestError::Send(SendError::PeerGone(_))), "{error:?}");
    let error = peer.request_in_response_to(id(9), "?").send().await.expect_err("no channel was ever open");
    assert!(matches!(error, RequestError::Send(SendError::PeerGone(_))), "{error:?}");
    let state = lock(&peer.shared().waiters.state);
    assert!(state.waiting.is_empty());
    assert!(state.ended.contains(&id(9)));
}

#[tokio::test(start_paused = true)]
async fn a_response_can_be_dropped_replaced_or_late() {
    let peer = peer();
    let waiters = &peer.shared().waiters;
    let wait = |n: u64| {
        let (number, body) = waiters.register(id(n)).expect("room");
        let (after, began) = (Duration::from_secs(5), crate::now());
        Waiting { peer: peer.clone(), id: id(n), response: false, number, body, after, began, sent: Sent::NotYet }
    };
    drop(wait(1));
    assert_eq!(route(waiters, crate::now(), 1), "late");

    let (replaced, response) = (wait(2), wait(2));
    assert_eq!(replaced.response().await.expect_err("replaced"), RequestError::Replaced);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(route(waiters, crate::now(), 2), "response");
    // It is there, however late it is asked for.
    assert_eq!(response.response().await.expect("it came").payload(), &body(2, 10).payload);

    let began = crate::now();
    let late = wait(3).response().await.expect_err("no response came");
    assert_eq!(
        late,
        RequestError::Timeout {
            after: Duration::from_secs(5),
            sending: Duration::from_secs(5),
            sent: false,
            channel: None,
            round_trip: None
        }
    );
    assert_eq!(crate::now() - began, Duration::from_secs(5));
    assert_eq!(route(waiters, crate::now(), 3), "late");
}
