use std::pin::Pin;

use super::*;
use crate::queue::EventQueue;
use crate::queue::tests::{REASON, connect, drain, message};
use crate::{RequestError, SendError};

#[test]
fn a_peer_that_came_and_went_while_nothing_was_read_is_not_reported() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.close(&peer, REASON, 0);
    assert!(drain(&queue).is_empty());
    assert_eq!(queue.known(), 0);
}

#[test]
fn a_peer_whose_handle_was_given_out_is_reported_however_short_it_was_connected() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    peer.shared().inbox.hand_out();
    queue.close(&peer, REASON, 0);
    assert_eq!(drain(&queue), ["+1", "-1"]);
    assert_eq!(queue.known(), 0);
}

#[test]
fn a_peer_that_comes_back_before_its_end_is_reported_never_left() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    assert_eq!(drain(&queue), ["+1"]);
    queue.close(&peer, REASON, 0);
    let again = connect(&queue, 1);
    assert_eq!(peer, again);
    queue.try_push(&again, message(9)).expect("room");
    assert_eq!(drain(&queue), ["1:9"]);
}

#[test]
fn a_peer_that_comes_back_later_is_connected_again() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(1)).expect("room");
    queue.close(&peer, REASON, 0);
    assert_eq!(drain(&queue), ["+1", "1:1", "-1"]);
    connect(&queue, 1);
    assert_eq!(drain(&queue), ["+1"]);
}

#[test]
fn a_peer_found_just_before_its_end_is_reported_never_left() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    assert_eq!(drain(&queue), ["+1"]);
    queue.close(&peer, REASON, 0);
    let found = queue.entry(peer.who(), || panic!("it is known"));
    assert!(drain(&queue).is_empty());
    queue.connect(&found);
    queue.try_push(&found, message(9)).expect("room");
    assert_eq!(drain(&queue), ["1:9"]);
    let mut closed = std::pin::pin!(found.closed());
    assert!(closed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it is connected");
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_makes_its_own_sender_wait_and_no_other() {
    let queue = EventQueue::new();
    let (one, two) = (connect(&queue, 1), connect(&queue, 2));
    for n in 0..4 {
        queue.try_push(&one, message(n)).expect("room");
    }
    assert!(queue.try_push(&one, message(4)).is_err());
    queue.try_push(&two, message(0)).expect("the other has room");
    let mut push = std::pin::pin!(queue.push(&one, message(4)));
    let waited = tokio::time::timeout(Duration::from_secs(60), push.as_mut()).await;
    assert!(waited.is_err() && one.shared().inbox.is_blocked());
    assert_eq!(drain(&queue).len(), 2 + 5);
    push.await;
    assert!(!one.shared().inbox.is_blocked());
    assert_eq!(drain(&queue), ["1:4"]);
}

#[tokio::test(start_paused = true)]
async fn what_another_channel_brings_does_not_overtake_what_waits_for_room() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    let large = |id: u64| Body { id: MessageId::from(id), payload: "x".repeat(200).into() };
    queue.try_push(&peer, Inbound::Message(large(1))).expect("room");
    let mut given_up = Box::pin(queue.push(&peer, Inbound::Message(large(7))));
    let mut waiting = Box::pin(queue.push(&peer, Inbound::Message(large(2))));
    assert!(futures_util::poll!(given_up.as_mut()).is_pending() && futures_util::poll!(waiting.as_mut()).is_pending());
    queue.try_push(&peer, message(3)).expect_err("it is small enough, and would overtake");
    let mut next = Box::pin(queue.push(&peer, message(3)));
    assert!(futures_util::poll!(next.as_mut()).is_pending());
    drop(given_up);
    assert_eq!(drain(&queue), ["+1", "1:1"]);
    // However late the first one looks.
    assert!(futures_util::poll!(next.as_mut()).is_pending());
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(waiting, next) }).await.expect("both have room");
    assert_eq!(drain(&queue), ["1:2", "1:3"]);
    queue.try_push(&peer, message(4)).expect("nothing waits");
}

#[tokio::test]
async fn one_message_larger_than_the_inbox_is_delivered_alone() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    let large = Inbound::Data(Frame::binary(vec![0; 100_000]));
    queue.try_push(&peer, large).expect("an empty inbox takes anything");
    assert!(queue.try_push(&peer, message(1)).is_err());
}

#[tokio::test]
async fn nothing_waits_for_an_application_that_reads_no_more() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    while queue.try_push(&peer, message(1)).is_ok() {}
    let push = queue.push(&peer, message(2));
    let give_up = async { queue.abandon() };
    tokio::join!(push, give_up);
    queue.try_push(&peer, message(3)).expect("thrown away");
    assert!(drain(&queue).is_empty());
    queue.close(&peer, REASON, 0);
    assert_eq!(queue.known(), 0);
}

fn take(messages: &mut crate::Messages) -> Option<String> {
    use futures_util::Stream as _;
    let mut context = Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(messages).poll_next(&mut context) {
        Poll::Ready(message) => Some(message.map_or("end".to_owned(), |message| message.id().to_string())),
        Poll::Pending => None,
    }
}

#[test]
fn the_messages_of_a_peer_are_taken_out_of_the_stream_and_given_back() {
    let queue = EventQueue::new();
    let (peer, other) = (connect(&queue, 1), connect(&queue, 2));
    queue.try_push(&peer, message(7)).expect("room");
    queue.try_push(&other, message(8)).expect("room");
    let mut messages = peer.messages();
    queue.try_push(&peer, Inbound::Data(Frame::text("raw"))).expect("room");
    queue.try_push(&peer, message(9)).expect("room");
    queue.try_push(&peer, message(10)).expect("room");
    let events = drain(&queue);
    assert!(events.len() == 4 && events.contains(&"2:8".to_owned()), "{events:?}");
    assert!(!events.iter().any(|event| event.starts_with("1:")), "{events:?}");
    assert_eq!(take(&mut messages).as_deref(), Some("7"));
    drop(messages);
    queue.try_push(&peer, message(11)).expect("room");
    assert_eq!(drain(&queue), ["1:9", "1:10", "1:11"]);
}

#[test]
fn a_peers_end_comes_after_its_taken_messages() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    let (mut replaced, mut messages) = (peer.messages(), peer.messages());
    assert_eq!(take(&mut replaced).as_deref(), Some("end"), "they were taken again");
    drop(replaced);
    queue.try_push(&peer, message(7)).expect("room");
    queue.close(&peer, REASON, 3);
    assert_eq!(drain(&queue), ["+1"]);
    assert_eq!((take(&mut messages).as_deref(), take(&mut messages).as_deref()), (Some("7"), Some("end")));
    let mut closed = Box::pin(peer.closed());
    assert!(closed.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    assert_eq!(drain(&queue), ["-1"]);
    let Poll::Ready(closed) = closed.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) else {
        panic!("it has closed");
    };
    assert_eq!((closed.reason, closed.unacknowledged_bytes), (REASON, 3));
}

#[tokio::test(start_paused = true)]
async fn taken_messages_end_with_the_connection_before_its_close_is_read() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    assert_eq!(drain(&queue), ["+1"]);
    let mut messages = peer.messages();
    let reading = tokio::spawn(async move {
        assert_eq!(messages.next().await.expect("a message").id().to_string(), "1");
        assert!(messages.next().await.is_none(), "its last message was taken");
        messages
    });
    queue.try_push(&peer, message(1)).expect("room");
    tokio::task::yield_now().await;
    queue.close(&peer, REASON, 0);
    let ended = tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it is woken");
    let mut messages = ended.expect("no panic");
    // Should it come back before its close is read, its messages are events again.
    let again = connect(&queue, 1);
    queue.try_push(&again, message(2)).expect("room");
    assert_eq!(drain(&queue), ["1:2"]);
    assert_eq!(take(&mut messages).as_deref(), Some("end"));
}

#[test]
fn a_taker_wakes_for_its_messages_and_makes_room() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    let mut messages = peer.messages();
    for n in 0..4 {
        queue.try_push(&peer, message(n)).expect("room");
    }
    queue.try_push(&peer, message(4)).expect_err("no room");
    assert_eq!(take(&mut messages).as_deref(), Some("0"));
    queue.try_push(&peer, message(4)).expect("room");
    // Without a reader of events the messages are still there for it.
    queue.abandon();
    queue.try_push(&peer, message(5)).expect_err("no room");
    assert_eq!(std::iter::from_fn(|| take(&mut messages)).take(2).collect::<Vec<_>>(), ["1", "2"]);
    drop(messages);
    for n in 5..20 {
        queue.try_push(&peer, message(n)).expect("what has no reader at all waits for none");
    }
}

#[test]
fn the_stream_does_not_end_before_the_close_of_a_peer_whose_messages_were_taken() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    let mut messages = peer.messages();
    queue.close(&peer, REASON, 0);
    queue.end();
    assert_eq!(drain(&queue), ["+1"]);
    assert!(!has_ended(&queue), "the end of the peer is still to come");
    let mut next = std::pin::pin!(messages.next());
    let next = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(next, Poll::Ready(Some(_))));
    assert_eq!(drain(&queue), ["-1"]);
    assert!(has_ended(&queue));
}

#[test]
fn a_stream_that_waits_for_messages_taken_out_of_it_goes_on_when_they_are_given_back() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    let messages = peer.messages();
    queue.close(&peer, REASON, 0);
    queue.end();
    assert_eq!(drain(&queue), ["+1"]);
    drop(messages);
    assert_eq!(drain(&queue), ["1:7", "-1"]);
    assert!(has_ended(&queue));
}

fn has_ended(queue: &EventQueue) -> bool {
    matches!(queue.poll_next(&mut Context::from_waker(Waker::noop())), Poll::Ready(None))
}

#[tokio::test(start_paused = true)]
async fn a_request_queued_before_the_close_is_read_ends_with_it() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    assert_eq!(drain(&queue), ["+1"]);
    queue.close(&peer, REASON, 0);
    let mut response = peer.request("?").queue().expect("the peer may come back");
    assert_eq!(drain(&queue), ["-1"]);
    let mut polled = || Pin::new(&mut response).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled().map(|response| response.map(drop)), Poll::Ready(Err(RequestError::PeerGone(REASON))));
}

#[test]
fn what_comes_after_the_end_of_a_peer_keeps_nothing() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    assert_eq!(drain(&queue), ["+1"]);
    queue.close(&peer, REASON, 0);
    assert_eq!(drain(&queue), ["-1"]);
    let settings = Arc::downgrade(&peer.shared().settings);
    let failed = SendFailed { peer: peer.clone(), id: None, error: SendError::PeerGone(REASON), missed: 0 };
    queue.send_failed(&peer, failed);
    queue.try_push(&peer, message(7)).expect("it is dropped");
    assert!(drain(&queue).is_empty() && lock(&peer.shared().inbox.state).items.is_empty());
    drop(peer);
    assert!(settings.upgrade().is_none(), "the peer holds itself");
}
