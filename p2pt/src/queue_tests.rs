use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use p2pt_messaging::{MessageId, Payload};
use p2pt_transport::Role;
use proptest::prelude::*;

use super::*;
use crate::RejectReason;
use crate::peer::Settings;

const REASON: ChannelClosed = ChannelClosed::Remote;

fn new_peer(n: u8, inbox_bytes: usize) -> Peer {
    Peer::new(PeerId::from([n; 20]), Arc::new(Settings::alone(inbox_bytes)))
}

fn connect(queue: &EventQueue, n: u8) -> Peer {
    let peer = queue.entry(PeerId::from([n; 20]), || new_peer(n, 4 * (ITEM_OVERHEAD + 4)));
    queue.connect(&peer);
    peer
}

fn message(n: u64) -> Inbound {
    Inbound::Message(Body { id: MessageId::from(n), payload: Payload::from("text") })
}

fn poll(queue: &EventQueue) -> Option<Event> {
    match queue.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    }
}

/// Events as short texts: `+1` connected, `1:7` message 7, `-1` closed.
fn drain(queue: &EventQueue) -> Vec<String> {
    std::iter::from_fn(|| poll(queue)).map(|event| describe(&event)).collect()
}

fn describe(event: &Event) -> String {
    let n = |peer: &Peer| peer.id().as_bytes()[0];
    match event {
        Event::PeerConnected(peer) => format!("+{}", n(peer)),
        Event::Message(message) => format!("{}:{}", n(message.peer()), message.id()),
        Event::PeerClosed(closed) => format!("-{}", n(&closed.peer)),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_peer_is_connected_then_heard_then_closed() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    queue.try_push(&peer, message(8)).expect("room");
    queue.close(&peer, REASON, 3);
    assert_eq!(drain(&queue), ["+1", "1:7", "1:8", "-1"]);
    assert!(lock(&queue.peers).is_empty());
}

#[test]
fn a_peer_that_came_and_went_unheard_is_not_mentioned() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.close(&peer, REASON, 0);
    assert!(drain(&queue).is_empty());
    assert!(lock(&queue.peers).is_empty());
}

#[test]
fn a_peer_that_comes_back_before_its_end_was_heard_never_left() {
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
fn a_handle_found_just_before_its_end_is_heard_begins_anew() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    assert_eq!(drain(&queue), ["+1"]);
    queue.close(&peer, REASON, 0);
    let found = queue.entry(peer.id(), || panic!("it is known"));
    assert_eq!(drain(&queue), ["-1"]);
    queue.connect(&found);
    assert_eq!(drain(&queue), ["+1"]);
}

#[test]
fn a_chatty_peer_takes_turns_with_the_others() {
    let queue = EventQueue::new();
    let (one, two) = (connect(&queue, 1), connect(&queue, 2));
    for n in 0..3 {
        queue.try_push(&one, message(n)).expect("room");
    }
    queue.try_push(&two, message(9)).expect("room");
    assert_eq!(drain(&queue), ["+1", "+2", "1:0", "2:9", "1:1", "1:2"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_makes_its_sender_wait_and_nobody_else() {
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

#[tokio::test]
async fn one_message_larger_than_the_inbox_is_delivered_alone() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    let large = Inbound::Data(Frame::binary(vec![0; 100_000]));
    queue.try_push(&peer, large).expect("an empty inbox takes anything");
    assert!(queue.try_push(&peer, message(1)).is_err());
}

#[tokio::test]
async fn nobody_waits_for_an_application_that_reads_no_more() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    while queue.try_push(&peer, message(1)).is_ok() {}
    let push = queue.push(&peer, message(2));
    let give_up = async { queue.abandon() };
    tokio::join!(push, give_up);
    queue.try_push(&peer, message(3)).expect("thrown away");
    assert!(drain(&queue).is_empty());
    queue.close(&peer, REASON, 0);
    assert!(lock(&queue.peers).is_empty());
}

#[test]
fn the_stream_ends_after_what_is_queued() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    queue.close(&peer, REASON, 0);
    queue.end();
    let mut heard = Vec::new();
    loop {
        match queue.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(Some(event)) => heard.push(describe(&event)),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("the stream must end"),
        }
    }
    assert_eq!(heard, ["+1", "1:7", "-1"]);
}

#[test]
fn trackers_are_heard_with_their_latest_news_only() {
    let queue = EventQueue::new();
    let url: AnnounceUrl = "ws://127.0.0.1:1".parse().expect("a URL");
    for n in 0..1000 {
        let event = TrackerConnected { tracker: url.clone(), connected: n, total: 1000 };
        queue.tracker_connected(event);
        queue.tracker_warning(url.clone(), TrackerWarning::ScrapeFailed { info_hashes: vec![] });
        queue.tracker_warning(url.clone(), TrackerWarning::BadFrame { reason: n.to_string() });
    }
    let events: Vec<Event> = std::iter::from_fn(|| poll(&queue)).collect();
    assert_eq!(events.len(), 3, "one of each kind");
    assert!(matches!(&events[0], Event::TrackerConnected(event) if event.connected == 999), "{events:?}");
}

#[test]
fn a_tracker_that_gives_trouble_without_end_keeps_nobody_from_being_heard() {
    let queue = EventQueue::new();
    let [one, two]: [AnnounceUrl; 2] = ["ws://a.test", "ws://b.test"].map(|url| url.parse().expect("a URL"));
    let trouble = |reason: &str| TrackerWarning::BadFrame { reason: reason.to_owned() };
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    queue.tracker_warning(two, trouble("once"));
    let mut heard = Vec::new();
    for _ in 0..8 {
        queue.tracker_warning(one.clone(), trouble("again"));
        queue.offer_failed(TransportError::NoCandidate);
        let event = poll(&queue).expect("an event");
        heard.push(match &event {
            Event::TrackerWarning { tracker, .. } => tracker.to_string(),
            Event::OfferFailed(_) => "no offer".to_owned(),
            event => describe(event),
        });
    }
    for due in ["+1", "1:7", "ws://b.test", "no offer"] {
        assert!(heard.iter().any(|event| event.starts_with(due)), "{due} in {heard:?}");
    }
}

#[test]
fn the_news_of_a_tracker_come_in_their_order() {
    let queue = EventQueue::new();
    let url: AnnounceUrl = "ws://127.0.0.1:1".parse().expect("a URL");
    queue.tracker_connected(TrackerConnected { tracker: url.clone(), connected: 1, total: 1 });
    queue.tracker_warning(url, TrackerWarning::BadFrame { reason: String::new() });
    assert!(matches!(poll(&queue), Some(Event::TrackerConnected(_))));
    assert!(matches!(poll(&queue), Some(Event::TrackerWarning { .. })));
    assert!(poll(&queue).is_none());
}

#[derive(Debug, Clone)]
enum Op {
    Connect(u8),
    Close(u8),
    Push(u8),
    Poll,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..3u8).prop_map(Op::Connect),
        (0..3u8).prop_map(Op::Close),
        (0..3u8).prop_map(Op::Push),
        Just(Op::Poll),
        Just(Op::Poll),
    ]
}

proptest! {
    /// For each peer: connected, its messages in order and none lost, closed; never otherwise, never twice.
    #[test]
    fn any_sequence_keeps_the_order_of_events(ops in prop::collection::vec(op(), 0..200)) {
        let queue = EventQueue::new();
        let mut live: HashMap<u8, Peer> = HashMap::new();
        let mut expected: HashMap<u8, VecDeque<u64>> = HashMap::new();
        let mut told: HashMap<u8, bool> = HashMap::new();
        let mut next = 0;
        let mut check = |event: Event, expected: &mut HashMap<u8, VecDeque<u64>>| -> Result<(), TestCaseError> {
            match &event {
                Event::PeerConnected(peer) => {
                    prop_assert!(told.insert(peer.id().as_bytes()[0], true) != Some(true));
                }
                Event::Message(message) => {
                    let n = message.peer().id().as_bytes()[0];
                    prop_assert_eq!(told.get(&n), Some(&true));
                    let due = expected.entry(n).or_default().pop_front().map(|n| n.to_string());
                    prop_assert_eq!(Some(message.id().to_string()), due);
                }
                Event::PeerClosed(closed) => {
                    let n = closed.peer.id().as_bytes()[0];
                    prop_assert_eq!(told.insert(n, false), Some(true));
                    prop_assert!(expected.get(&n).is_none_or(VecDeque::is_empty), "closed before its messages");
                }
                other => prop_assert!(false, "{other:?}"),
            }
            Ok(())
        };
        for op in ops {
            match op {
                Op::Connect(n) => {
                    live.entry(n).or_insert_with(|| connect(&queue, n));
                }
                Op::Close(n) => {
                    if let Some(peer) = live.remove(&n) {
                        queue.close(&peer, REASON, 0);
                    }
                }
                Op::Push(n) => {
                    if let Some(peer) = live.get(&n) && queue.try_push(peer, message(next)).is_ok() {
                        expected.entry(n).or_default().push_back(next);
                        next += 1;
                    }
                }
                Op::Poll => {
                    if let Some(event) = poll(&queue) {
                        check(event, &mut expected)?;
                    }
                }
            }
        }
        for (_, peer) in live.drain() {
            queue.close(&peer, REASON, 0);
        }
        while let Some(event) = poll(&queue) {
            check(event, &mut expected)?;
        }
        prop_assert!(expected.values().all(VecDeque::is_empty), "messages were lost");
        prop_assert!(told.values().all(|told| !told), "an end was not told");
        prop_assert!(lock(&queue.peers).is_empty());
    }
}

#[test]
fn the_latest_attempts_of_each_tracker_are_told_and_the_others_counted() {
    let queue = EventQueue::new();
    let tracker = |name: &str| -> AnnounceUrl { format!("ws://{name}.test").parse().expect("a URL") };
    let tell = |name: &str, n: u8| {
        let (peer_id, tracker) = (PeerId::from([n; 20]), tracker(name));
        if n.is_multiple_of(2) {
            let error = Arc::new(TransportError::ClosedEarly);
            queue.connection_failed(ConnectionFailed { peer_id, tracker, role: Role::Offerer, error, missed: 0 });
        } else {
            let (role, reason) = (Role::Answerer, RejectReason::Busy);
            queue.connection_rejected(ConnectionRejected { peer_id, tracker, role, reason, missed: 0 });
        }
    };
    tell("good", 200);
    for n in 0..100 {
        tell("liar", n);
        queue.tracker_warning(tracker("liar"), TrackerWarning::BadFrame { reason: n.to_string() });
    }
    tell("good", 201);
    let (mut good, mut liar, mut warnings) = (Vec::new(), Vec::new(), 0);
    while let Some(event) = poll(&queue) {
        let (tracker, peer_id, missed) = match event {
            Event::ConnectionFailed(failed) => (failed.tracker, failed.peer_id, failed.missed),
            Event::ConnectionRejected(refused) => (refused.tracker, refused.peer_id, refused.missed),
            Event::TrackerWarning { .. } => {
                warnings += 1;
                continue;
            }
            other => panic!("{other:?}"),
        };
        let told = if tracker.as_str().contains("good") { &mut good } else { &mut liar };
        told.push((peer_id.as_bytes()[0], missed));
    }
    assert_eq!((good, warnings), (vec![(200, 0), (201, 0)], 1));
    let kept = 100 - MAX_ATTEMPTS_TOLD as u8..100;
    let expected: Vec<_> = kept.clone().map(|n| (n, if n == kept.start { kept.start.into() } else { 0 })).collect();
    assert_eq!(liar, expected);
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
    let heard = drain(&queue);
    assert!(heard.len() == 4 && heard.contains(&"2:8".to_owned()), "{heard:?}");
    assert!(!heard.iter().any(|event| event.starts_with("1:")), "{heard:?}");
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
    assert_eq!((take(&mut messages).as_deref(), take(&mut messages)), (Some("7"), None));
    let mut closed = Box::pin(peer.closed());
    assert!(closed.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    assert_eq!(drain(&queue), ["-1"]);
    assert_eq!(take(&mut messages).as_deref(), Some("end"));
    let Poll::Ready(closed) = closed.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) else {
        panic!("it has closed");
    };
    assert_eq!((closed.reason, closed.unacknowledged_bytes), (REASON, 3));
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
