//! [`Swarms`] by hand, and over any sequence of inputs.

mod claims;
mod limits;
mod properties;

use std::time::Duration;

use p2pt_proto::{Offer, OfferId};

use super::*;

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);

/// Swarms and a clock that is moved by hand.
struct Harness {
    swarms: Swarms,
    now: Instant,
}

impl Harness {
    fn new(config: SwarmsConfig, connections: impl IntoIterator<Item = ConnectionId>) -> Self {
        let mut harness = Self { swarms: Swarms::new(config, 7), now: tokio::time::Instant::now().into_std() };
        for conn in connections {
            assert_eq!(harness.input(SwarmsInput::Opened { conn, address: None }), []);
        }
        harness
    }

    fn input(&mut self, input: SwarmsInput<'_>) -> Vec<SwarmsOutput> {
        self.swarms.handle_input(self.now, input);
        std::iter::from_fn(|| self.swarms.poll_output()).collect()
    }

    /// Sends raw text; the outputs must all be messages.
    fn text(&mut self, conn: ConnectionId, text: &str) -> Vec<(ConnectionId, TrackerMessage)> {
        sent(self.input(SwarmsInput::Received { conn, frame: text.as_bytes() }))
    }

    fn announce(&mut self, conn: ConnectionId, announce: Announce) -> Vec<(ConnectionId, TrackerMessage)> {
        self.text(conn, &ClientMessage::Announce(announce).encode())
    }

    fn answer(&mut self, conn: ConnectionId, from: u8, to: u8, offer: u8) -> Vec<(ConnectionId, TrackerMessage)> {
        self.text(conn, &answer(from, to, offer).encode())
    }

    fn advance(&mut self, time: Duration) -> Vec<SwarmsOutput> {
        self.now += time;
        self.input(SwarmsInput::Timeout)
    }

    fn counts(&mut self, conn: ConnectionId) -> ScrapeStats {
        let scrape = ClientMessage::Scrape(ScrapeRequest::new([hash(1)])).encode();
        match self.text(conn, &scrape).as_slice() {
            [(to, TrackerMessage::Scrape(reply))] if *to == conn => reply.files[&hash(1)],
            other => panic!("no scrape reply: {other:?}"),
        }
    }
}

fn sent(outputs: Vec<SwarmsOutput>) -> Vec<(ConnectionId, TrackerMessage)> {
    let message = |output| match output {
        SwarmsOutput::Send { conn, text } => (conn, TrackerMessage::decode(&text).expect("we encoded it")),
        other => panic!("not a message: {other:?}"),
    };
    outputs.into_iter().map(message).collect()
}

fn hash(n: u8) -> InfoHash {
    InfoHash::from([n; 20])
}

fn peer(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

fn offer_id(n: u8) -> OfferId {
    OfferId::from([n; 20])
}

/// An announce of peer `n` in swarm 1.
fn announce(n: u8) -> Announce {
    Announce::new(hash(1), peer(n))
}

fn with_offers(n: u8, offers: impl IntoIterator<Item = u8>) -> Announce {
    let offers = offers.into_iter().map(|id| Offer::new(offer_id(id), format!("offer {id}"))).collect();
    let mut announce = announce(n);
    announce.offers = Some(offers);
    announce
}

fn stopped(n: u8) -> Announce {
    let mut announce = announce(n);
    announce.event = Some(AnnounceEvent::Stopped);
    announce
}

fn answer(from: u8, to: u8, offer: u8) -> ClientMessage {
    ClientMessage::Answer(AnswerRequest::new(hash(1), peer(from), peer(to), offer_id(offer), format!("answer {offer}")))
}

fn replied(messages: &[(ConnectionId, TrackerMessage)], to: ConnectionId) -> bool {
    matches!(messages.first(), Some((conn, TrackerMessage::Announced(_))) if *conn == to)
}

/// The only message, which must be a failure for `to`.
fn failure(messages: &[(ConnectionId, TrackerMessage)], to: ConnectionId) -> &Failure {
    match messages {
        [(conn, TrackerMessage::Failure(failure))] if *conn == to => failure,
        other => panic!("no failure for {to:?}: {other:?}"),
    }
}

fn offers(messages: &[(ConnectionId, TrackerMessage)]) -> Vec<(ConnectionId, OfferId)> {
    let offer = |(conn, message): &(ConnectionId, TrackerMessage)| match message {
        TrackerMessage::Offer(offer) => Some((*conn, offer.offer_id)),
        _ => None,
    };
    messages.iter().filter_map(offer).collect()
}

#[test]
fn a_reply_says_what_a_javascript_client_reads() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A]);
    let outputs = harness
        .input(SwarmsInput::Received { conn: A, frame: ClientMessage::Announce(announce(1)).encode().as_bytes() });
    let [SwarmsOutput::Send { conn: A, text }] = outputs.as_slice() else { panic!("{outputs:?}") };
    let reply: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let expected = serde_json::json!({
        "action": "announce", "info_hash": hash(1).to_wire(), "interval": 120, "complete": 0, "incomplete": 1,
    });
    assert_eq!(reply, expected);
}

#[test]
fn each_other_member_gets_at_most_one_offer() {
    let mut harness = Harness::new(SwarmsConfig::default(), (1..=4).map(ConnectionId));
    for n in 1..=4 {
        assert!(replied(&harness.announce(ConnectionId(n.into()), announce(n)), ConnectionId(n.into())));
    }
    let messages = harness.announce(A, with_offers(1, 10..15));
    assert!(replied(&messages, A));
    let forwarded = offers(&messages);
    let receivers: BTreeSet<ConnectionId> = forwarded.iter().map(|(conn, _)| *conn).collect();
    assert_eq!(receivers, (2..=4).map(ConnectionId).collect());
    // The surplus vanishes from the end.
    let ids: Vec<OfferId> = forwarded.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids, [offer_id(10), offer_id(11), offer_id(12)]);
    for (_, message) in &messages[1..] {
        let TrackerMessage::Offer(offer) = message else { panic!("{message:?}") };
        assert_eq!((offer.info_hash, offer.peer_id), (hash(1), peer(1)));
        assert_eq!(offer.sdp, format!("offer {}", offer.offer_id.as_bytes()[0]));
    }
}

#[test]
fn every_member_gets_offers_in_the_long_run() {
    let mut harness = Harness::new(SwarmsConfig::default(), (1..=5).map(ConnectionId));
    for n in 2..=5 {
        harness.announce(ConnectionId(n.into()), announce(n));
    }
    let mut receivers = BTreeSet::new();
    for id in 0..60 {
        receivers.extend(offers(&harness.announce(A, with_offers(1, [id]))).iter().map(|(conn, _)| *conn));
    }
    assert_eq!(receivers, (2..=5).map(ConnectionId).collect());
}

#[test]
fn numwant_bounds_the_offers_when_given() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B, C]);
    harness.announce(B, announce(2));
    harness.announce(C, announce(3));
    for (numwant, expected) in [(Some(0), 0), (Some(1), 1), (Some(50), 2), (None, 2)] {
        let first = numwant.map_or(0, |numwant| 10 + 3 * numwant as u8);
        let mut announce = with_offers(1, first..first + 3);
        announce.numwant = numwant;
        assert_eq!(offers(&harness.announce(A, announce)).len(), expected, "numwant {numwant:?}");
    }
}

#[test]
fn an_offer_is_forwarded_once() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B, C]);
    harness.announce(B, announce(2));
    harness.announce(C, announce(3));
    let forwarded = offers(&harness.announce(A, with_offers(1, [1, 1])));
    let [(receiver, _)] = forwarded[..] else { panic!("{forwarded:?}") };
    assert_eq!(offers(&harness.announce(A, with_offers(1, [1]))), []);
    let answered = harness.answer(receiver, if receiver == B { 2 } else { 3 }, 1, 1);
    assert!(matches!(answered[..], [(A, TrackerMessage::Answer(_))]));
    assert_eq!(offers(&harness.announce(A, with_offers(1, [1]))), [], "not after the answer either");
}

#[test]
fn an_awaited_answer_reaches_the_offerer() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(B, announce(2));
    harness.announce(A, with_offers(1, [9]));
    let messages = harness.answer(B, 2, 1, 9);
    let [(to, TrackerMessage::Answer(answer))] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(*to, A);
    assert_eq!((answer.info_hash, answer.peer_id, answer.offer_id), (hash(1), peer(2), offer_id(9)));
    assert_eq!(answer.sdp, "answer 9");
}

#[test]
fn other_answers_fail_with_a_reason() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B, C]);
    harness.announce(B, announce(2));
    harness.announce(A, with_offers(1, [9]));
    harness.announce(C, announce(3));
    let refused = |harness: &mut Harness, conn, from, to, offer, reason: &str| {
        let messages = harness.answer(conn, from, to, offer);
        let failure = failure(&messages, conn);
        assert!(failure.reason.contains(reason), "{:?} does not say {reason:?}", failure.reason);
        assert_eq!((failure.action.as_deref(), failure.info_hash), (Some("announce"), Some(hash(1))));
    };
    refused(&mut harness, C, 3, 1, 9, "awaiting an answer");
    refused(&mut harness, B, 2, 1, 8, "awaiting an answer");
    refused(&mut harness, C, 2, 1, 9, "announce before answering");
    refused(&mut harness, B, 4, 1, 9, "announce before answering");
    refused(&mut harness, B, 2, 4, 9, "has left");
    assert_eq!(harness.answer(B, 2, 1, 9)[0].0, A, "none of these used up the offer");
    refused(&mut harness, B, 2, 1, 9, "answered before");
    harness.announce(A, stopped(1));
    refused(&mut harness, B, 2, 1, 9, "has left");
}

#[test]
fn an_offer_expires() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(B, announce(2));
    harness.announce(A, with_offers(1, [1, 2]));
    harness.announce(A, with_offers(1, [3]));
    assert_eq!(harness.advance(Duration::from_millis(119_999)), []);
    assert_eq!(harness.answer(B, 2, 1, 1)[0].0, A);
    assert_eq!(harness.advance(Duration::from_millis(1)), []);
    let messages = harness.answer(B, 2, 1, 3);
    assert!(failure(&messages, B).reason.contains("more than 120 s ago"));
}

#[test]
fn stopped_is_answered_and_ends_the_membership() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(A, announce(1));
    harness.announce(B, announce(2));
    let messages = harness.announce(B, stopped(2));
    let [(B, TrackerMessage::Announced(reply))] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((reply.complete, reply.incomplete), (Some(0), Some(1)));
    assert_eq!(offers(&harness.announce(A, with_offers(1, [1]))), []);
    // Again, or of a swarm without members: the same reply, and no swarm comes of it.
    assert!(replied(&harness.announce(B, stopped(2)), B));
    let mut elsewhere = stopped(2);
    elsewhere.info_hash = hash(2);
    assert!(replied(&harness.announce(B, elsewhere), B));
    assert_eq!(harness.swarms.stats().swarms, 1);
}

#[test]
fn nobody_stops_another_connections_membership() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(A, announce(1));
    assert!(replied(&harness.announce(B, stopped(1)), B));
    assert_eq!(harness.counts(B).incomplete, 1);
}

#[test]
fn closing_ends_all_memberships() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(A, announce(1));
    harness.announce(A, Announce::new(hash(2), peer(3)));
    harness.announce(B, announce(2));
    assert_eq!(harness.input(SwarmsInput::Closed { conn: A }), []);
    let stats = harness.swarms.stats();
    assert_eq!((stats.connections, stats.swarms, stats.peers), (1, 1, 1));
    assert_eq!(harness.text(A, &ClientMessage::Announce(announce(1)).encode()), [], "a closed connection is ignored");
}

#[test]
fn a_silent_member_expires_and_may_come_back() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(A, announce(1));
    assert_eq!(harness.swarms.poll_timeout(), Some(harness.now + Duration::from_secs(300)));
    harness.advance(Duration::from_secs(200));
    harness.announce(B, announce(2));
    harness.advance(Duration::from_secs(100));
    assert_eq!(harness.counts(B).incomplete, 1);
    assert_eq!(harness.swarms.stats().peers_expired, 1);
    assert!(replied(&harness.announce(A, announce(1)), A));
    assert_eq!(harness.counts(B).incomplete, 2);
}

#[test]
fn announces_and_answers_put_off_expiry() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(B, announce(2));
    for round in 0..10 {
        harness.advance(Duration::from_secs(100));
        harness.announce(A, with_offers(1, [round]));
        assert_eq!(harness.answer(B, 2, 1, round)[0].0, A);
    }
}

#[test]
fn who_has_it_all_counts_as_complete() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    let left = |n, left: Option<u64>| match left {
        Some(left) => announce(n).left(left),
        None => announce(n),
    };
    harness.announce(A, left(1, Some(0)));
    harness.announce(B, left(2, Some(5)));
    assert_eq!((harness.counts(A).complete, harness.counts(A).incomplete, harness.counts(A).downloaded), (1, 1, 1));
    harness.announce(B, announce(2).event(AnnounceEvent::Completed));
    harness.announce(A, left(1, None));
    assert_eq!((harness.counts(A).complete, harness.counts(A).incomplete), (2, 0), "silence changes nothing");
    harness.announce(A, left(1, Some(1)));
    assert_eq!((harness.counts(A).complete, harness.swarms.stats().seeders), (1, 1));
    harness.input(SwarmsInput::Closed { conn: B });
    assert_eq!((harness.counts(A).complete, harness.swarms.stats().seeders), (0, 0));
}

#[test]
fn scrape_knows_named_unknown_and_all_swarms() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A]);
    harness.announce(A, announce(1));
    let mut scrape = |frame: serde_json::Value| match harness.text(A, &frame.to_string()).pop() {
        Some((A, TrackerMessage::Scrape(reply))) => {
            assert_eq!(reply.min_request_interval, Some(Duration::from_secs(600)));
            reply.files.into_iter().map(|(hash, stats)| (hash, stats.incomplete)).collect::<Vec<_>>()
        }
        other => panic!("no scrape reply: {other:?}"),
    };
    let wire = |n| hash(n).to_wire();
    assert_eq!(scrape(serde_json::json!({"action": "scrape", "info_hash": wire(1)})), [(hash(1), 1)]);
    let both = serde_json::json!({"action": "scrape", "info_hash": [wire(2), wire(1)]});
    assert_eq!(scrape(both), [(hash(1), 1), (hash(2), 0)]);
    assert_eq!(scrape(serde_json::json!({"action": "scrape"})), [(hash(1), 1)]);
}

#[test]
fn two_peers_may_share_a_connection() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
    harness.announce(A, announce(1));
    harness.announce(A, announce(2));
    assert_eq!(harness.counts(A).incomplete, 2);
    assert_eq!(offers(&harness.announce(A, with_offers(1, [1, 2]))), [(A, offer_id(1))], "to the other one");
    assert_eq!(harness.answer(A, 2, 1, 1)[0].0, A);
    harness.announce(A, stopped(1));
    assert_eq!(harness.counts(A).incomplete, 1);
}

#[test]
fn a_bad_frame_is_answered_with_what_is_wrong() {
    let mut harness = Harness::new(SwarmsConfig::default(), [A]);
    let wire = hash(1).to_wire();
    for (frame, reason, action, info_hash) in [
        ("{".to_owned(), "bad JSON", None, None),
        ("null".to_owned(), "expected an object", None, None),
        (serde_json::json!({"action": "fly", "info_hash": wire}).to_string(), "fly", Some("fly"), Some(hash(1))),
        (
            serde_json::json!({"action": "announce", "info_hash": wire, "peer_id": 7}).to_string(),
            "peer_id",
            Some("announce"),
            Some(hash(1)),
        ),
        (
            serde_json::json!({"action": "announce", "info_hash": "x", "peer_id": peer(1).to_wire()}).to_string(),
            "info_hash",
            Some("announce"),
            None,
        ),
        (
            serde_json::json!({
                "action": "announce", "info_hash": wire, "peer_id": peer(1).to_wire(), "offers": [null],
            })
            .to_string(),
            "offers[0]",
            Some("announce"),
            Some(hash(1)),
        ),
    ] {
        let messages = harness.text(A, &frame);
        let failure = failure(&messages, A);
        assert!(failure.reason.contains(reason), "{:?} does not say {reason:?}", failure.reason);
        assert_eq!((failure.action.as_deref(), failure.info_hash), (action, info_hash), "{frame}");
    }
    assert!(replied(&harness.announce(A, announce(1)), A), "the connection is as good as before");
}

#[test]
fn garbage_again_and_again_closes_the_connection() {
    let config = SwarmsConfig { max_bad_frames: 3, ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, [A]);
    let garbage = SwarmsInput::Received { conn: A, frame: b"\xff\x00" };
    for _ in 0..2 {
        assert_eq!(harness.input(garbage).len(), 1);
    }
    harness.announce(A, announce(1));
    for _ in 0..2 {
        assert_eq!(harness.input(garbage).len(), 1, "a good frame in between forgives");
    }
    let outputs = harness.input(garbage);
    assert!(matches!(outputs[0], SwarmsOutput::Send { conn: A, .. }));
    assert_eq!(outputs[1..], [SwarmsOutput::Close { conn: A, reason: CloseReason::BadFrames }]);
    assert_eq!((harness.swarms.stats().connections, harness.swarms.stats().peers), (0, 0));
}
