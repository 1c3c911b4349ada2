use std::collections::HashMap;
use std::sync::Arc;

use p2pt_messaging::{Message as Body, MessageId, Payload};
use p2pt_transport::Role;
use proptest::prelude::*;

use super::*;
use crate::RejectReason;
use crate::inbox::ITEM_OVERHEAD;
use crate::inbox::Inbound;
use crate::settings::Settings;

pub(crate) const REASON: ChannelClosed = ChannelClosed::Remote;

fn new_peer(n: u8, inbox_bytes: usize) -> Peer {
    Peer::new(PeerId::from([n; 20]), None, Arc::new(Settings::alone(inbox_bytes)))
}

pub(crate) fn connect(queue: &EventQueue, n: u8) -> Peer {
    let peer = queue.entry((PeerId::from([n; 20]), None), || new_peer(n, 4 * (ITEM_OVERHEAD + 4)));
    queue.connect(&peer);
    peer
}

pub(crate) fn message(n: u64) -> Inbound {
    Inbound::Message(Body { id: MessageId::from(n), payload: Payload::from("text") })
}

fn poll(queue: &EventQueue) -> Option<Event> {
    match queue.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    }
}

/// Events as short texts: `+1` connected, `1:7` message 7, `-1` closed.
pub(crate) fn drain(queue: &EventQueue) -> Vec<String> {
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
fn a_peer_is_connected_then_its_messages_come_then_it_is_closed() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    queue.try_push(&peer, message(8)).expect("room");
    queue.close(&peer, REASON, 3);
    assert_eq!(drain(&queue), ["+1", "1:7", "1:8", "-1"]);
    assert!(lock(&queue.peers).is_empty());
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

#[test]
fn the_stream_ends_after_what_is_queued() {
    let queue = EventQueue::new();
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    queue.close(&peer, REASON, 0);
    queue.end();
    let mut events = Vec::new();
    loop {
        match queue.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(Some(event)) => events.push(describe(&event)),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("the stream must end"),
        }
    }
    assert_eq!(events, ["+1", "1:7", "-1"]);
}

#[test]
fn of_each_tracker_the_latest_event_of_each_kind_is_kept() {
    let queue = EventQueue::new();
    let url: AnnounceUrl = "ws://127.0.0.1:1".parse().expect("a URL");
    for n in 0..1000 {
        let event = TrackerConnected { tracker: url.clone(), connected: n, total: 1000 };
        queue.tracker_connected(event);
        queue.tracker_warning(url.clone(), TrackerWarning::ScrapeFailed { info_hashes: vec![] }, 0);
        queue.tracker_warning(url.clone(), TrackerWarning::BadFrame { reason: n.to_string() }, 1);
    }
    let events: Vec<Event> = std::iter::from_fn(|| poll(&queue)).collect();
    assert_eq!(events.len(), 3, "one of each kind");
    let missed = |event: &Event| if let Event::TrackerWarning { missed, .. } = event { *missed } else { 0 };
    assert_eq!([&events[1], &events[2]].map(missed), [999, 999 + 1000], "with those that they count");
    assert!(events[2].to_string().ends_with(" (1999 more since)"), "{}", events[2]);
    assert!(matches!(&events[0], Event::TrackerConnected(event) if event.connected == 999), "{events:?}");
}

#[test]
fn a_tracker_that_gives_trouble_without_end_delays_no_peer_and_no_tracker() {
    let queue = EventQueue::new();
    let [one, two]: [AnnounceUrl; 2] = ["ws://a.test", "ws://b.test"].map(|url| url.parse().expect("a URL"));
    let trouble = |reason: &str| TrackerWarning::BadFrame { reason: reason.to_owned() };
    let peer = connect(&queue, 1);
    queue.try_push(&peer, message(7)).expect("room");
    queue.tracker_warning(two, trouble("once"), 0);
    let mut events = Vec::new();
    for _ in 0..8 {
        queue.tracker_warning(one.clone(), trouble("again"), 0);
        queue.offer_failed(TransportError::NoCandidate);
        let event = poll(&queue).expect("an event");
        events.push(match &event {
            Event::TrackerWarning { tracker, .. } => tracker.to_string(),
            Event::OfferFailed(_) => "no offer".to_owned(),
            event => describe(event),
        });
    }
    for due in ["+1", "1:7", "ws://b.test", "no offer"] {
        assert!(events.iter().any(|event| event.starts_with(due)), "{due} in {events:?}");
    }
}

#[test]
fn the_news_of_a_tracker_come_in_their_order() {
    let queue = EventQueue::new();
    let url: AnnounceUrl = "ws://127.0.0.1:1".parse().expect("a URL");
    queue.tracker_connected(TrackerConnected { tracker: url.clone(), connected: 1, total: 1 });
    queue.tracker_warning(url, TrackerWarning::BadFrame { reason: String::new() }, 0);
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
        let mut reported: HashMap<u8, bool> = HashMap::new();
        let mut next = 0;
        let mut check = |event: Event, expected: &mut HashMap<u8, VecDeque<u64>>| -> Result<(), TestCaseError> {
            match &event {
                Event::PeerConnected(peer) => {
                    prop_assert!(reported.insert(peer.id().as_bytes()[0], true) != Some(true));
                }
                Event::Message(message) => {
                    let n = message.peer().id().as_bytes()[0];
                    prop_assert_eq!(reported.get(&n), Some(&true));
                    let due = expected.entry(n).or_default().pop_front().map(|n| n.to_string());
                    prop_assert_eq!(Some(message.id().to_string()), due);
                }
                Event::PeerClosed(closed) => {
                    let n = closed.peer.id().as_bytes()[0];
                    prop_assert_eq!(reported.insert(n, false), Some(true));
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
        prop_assert!(reported.values().all(|reported| !reported), "an end was not reported");
        prop_assert!(lock(&queue.peers).is_empty());
    }
}

#[test]
fn the_latest_attempts_of_each_tracker_are_kept_and_the_others_counted() {
    let queue = EventQueue::new();
    let tracker = |name: &str| -> AnnounceUrl { format!("ws://{name}.test").parse().expect("a URL") };
    let report = |name: &str, n: u8| {
        let (peer_id, tracker) = (PeerId::from([n; 20]), tracker(name));
        if n.is_multiple_of(2) {
            let error = Arc::new(TransportError::ClosedEarly);
            queue.connection_failed(ConnectionFailed { peer_id, tracker, role: Role::Offerer, error, missed: 0 });
        } else {
            let (role, reason) = (Role::Answerer, RejectReason::Busy);
            queue.connection_rejected(ConnectionRejected { peer_id, tracker, role, reason, missed: 0 });
        }
    };
    report("good", 200);
    for n in 0..100 {
        report("liar", n);
        queue.tracker_warning(tracker("liar"), TrackerWarning::BadFrame { reason: n.to_string() }, 0);
    }
    report("good", 201);
    let (mut good, mut liar, mut warnings) = (Vec::new(), Vec::new(), 0);
    while let Some(event) = poll(&queue) {
        let (tracker, peer_id, missed) = match event {
            Event::ConnectionFailed(failed) => (failed.tracker, failed.peer_id, failed.missed),
            Event::ConnectionRejected(rejected) => (rejected.tracker, rejected.peer_id, rejected.missed),
            Event::TrackerWarning { .. } => {
                warnings += 1;
                continue;
            }
            other => panic!("{other:?}"),
        };
        let attempts = if tracker.as_str().contains("good") { &mut good } else { &mut liar };
        attempts.push((peer_id.as_bytes()[0], missed));
    }
    assert_eq!((good, warnings), (vec![(200, 0), (201, 0)], 1));
    let kept = 100 - MAX_ATTEMPTS as u8..100;
    let expected: Vec<_> = kept.clone().map(|n| (n, if n == kept.start { kept.start.into() } else { 0 })).collect();
    assert_eq!(liar, expected);
}

/// The peer under an id to whose key the id belongs.
fn connect_signed(queue: &EventQueue, n: u8) -> Peer {
    let (id, key) = (PeerId::from([n; 20]), Some(p2pt_trust::NodeKey::from_bytes(&[n; 32]).public_key()));
    let peer = queue.entry((id, key), || Peer::new(id, key, Arc::new(Settings::alone(1000))));
    queue.connect(&peer);
    peer
}

#[test]
fn what_a_stranger_sent_under_an_id_never_comes_after_the_peer_that_the_id_is_of() {
    for (is_reported, is_handed_out, expected) in [
        (true, false, vec!["-1", "+1", "1:9"]),
        (false, false, vec!["+1", "1:9"]),
        (false, true, vec!["+1", "-1", "+1", "1:9"]),
    ] {
        let queue = EventQueue::new();
        let stranger = connect(&queue, 1);
        if is_reported {
            assert_eq!(drain(&queue), ["+1"]);
        }
        if is_handed_out {
            stranger.shared().inbox.hand_out();
        }
        (0..3).for_each(|n| queue.try_push(&stranger, message(n)).expect("room"));
        queue.close(&stranger, REASON, 0);
        let owner = connect_signed(&queue, 1);
        queue.try_push(&owner, message(9)).expect("room");
        assert_eq!(drain(&queue), expected);
        let known: Vec<_> = lock(&queue.peers).values().cloned().collect();
        assert_eq!(known, [owner]);
    }
}

#[test]
fn a_stranger_makes_no_peer_with_a_key_give_way() {
    let queue = EventQueue::new();
    let owner = connect_signed(&queue, 1);
    queue.try_push(&owner, message(9)).expect("room");
    queue.close(&owner, REASON, 0);
    connect(&queue, 1);
    let reported = drain(&queue);
    assert!(reported.contains(&"1:9".to_owned()), "{reported:?}");
}
