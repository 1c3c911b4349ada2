//! A peer id that another connection holds.

use super::*;

/// A holds peer 1, C is a bystander, B has just claimed peer 1 with an offer.
fn contested() -> Harness {
    let mut harness = Harness::new(SwarmsConfig::default(), [A, B, C]);
    harness.announce(A, announce(1));
    harness.announce(C, announce(3));
    assert_eq!(claim(&mut harness, B), [SwarmsOutput::Ping { conn: A }]);
    assert_eq!(harness.swarms.poll_timeout(), Some(harness.now + Duration::from_secs(5)));
    harness
}

fn claim(harness: &mut Harness, conn: ConnectionId) -> Vec<SwarmsOutput> {
    let frame = ClientMessage::Announce(with_offers(1, [7])).encode();
    harness.input(SwarmsInput::Received { conn, frame: frame.as_bytes() })
}

/// B is in as if its announce had just come: a reply, and its offer on its way.
fn assert_admitted(messages: &[(ConnectionId, TrackerMessage)]) {
    assert!(replied(messages, B), "{messages:?}");
    assert_eq!(offers(messages), [(C, offer_id(7))]);
}

#[test]
fn a_dead_holder_is_evicted_and_the_newcomer_let_in() {
    let mut harness = contested();
    assert_eq!(harness.advance(Duration::from_millis(4999)), []);
    let mut outputs = harness.advance(Duration::from_millis(1));
    assert_eq!(outputs.remove(0), SwarmsOutput::Close { conn: A, reason: CloseReason::Unresponsive });
    assert_admitted(&sent(outputs));
    let stats = harness.swarms.stats();
    assert_eq!((stats.connections, stats.peers, stats.connections_evicted), (2, 2, 1));
}

#[test]
fn a_holder_that_is_not_read_has_the_whole_time_once_it_is_read_again() {
    for paused_first in [true, false] {
        let mut harness = Harness::new(SwarmsConfig::default(), [A, B]);
        harness.announce(A, announce(1));
        let until = harness.now + Duration::from_secs(7);
        if paused_first {
            harness.input(SwarmsInput::Paused { conn: A, until });
        }
        assert_eq!(claim(&mut harness, B), [SwarmsOutput::Ping { conn: A }]);
        if !paused_first {
            harness.input(SwarmsInput::Paused { conn: A, until });
        }
        assert_eq!(harness.swarms.poll_timeout(), Some(until + Duration::from_secs(5)));
        assert_eq!(harness.advance(Duration::from_millis(11_999)), []);
        let outputs = harness.advance(Duration::from_millis(1));
        assert_eq!(outputs[0], SwarmsOutput::Close { conn: A, reason: CloseReason::Unresponsive });
        // What is long past puts nothing off.
        let until = harness.now - Duration::from_secs(1);
        harness.input(SwarmsInput::Paused { conn: B, until });
        harness.input(SwarmsInput::Opened { conn: C, address: None });
        claim(&mut harness, C);
        assert_eq!(harness.swarms.poll_timeout(), Some(harness.now + Duration::from_secs(5)));
    }
}

#[test]
fn an_offer_may_be_answered_over_the_next_connection() {
    let mut harness = contested();
    harness.announce(C, with_offers(3, [1]));
    harness.advance(Duration::from_secs(5));
    let messages = harness.answer(B, 1, 3, 1);
    assert!(matches!(messages[..], [(C, TrackerMessage::Answer(_))]), "{messages:?}");
}

#[test]
fn a_holder_that_closes_makes_way_at_once() {
    let mut harness = contested();
    assert_admitted(&sent(harness.input(SwarmsInput::Closed { conn: A })));
}

#[test]
fn a_holder_that_stops_makes_way_at_once() {
    let mut harness = contested();
    let messages = harness.announce(A, stopped(1));
    assert!(replied(&messages, A));
    assert_admitted(&messages[1..]);
}

#[test]
fn a_living_holder_keeps_its_peer_id() {
    for by_message in [false, true] {
        let mut harness = contested();
        let messages = if by_message {
            harness.announce(A, with_offers(1, []))
        } else {
            sent(harness.input(SwarmsInput::Alive { conn: A }))
        };
        let failure = failure(&messages[usize::from(by_message)..], B);
        assert!(failure.reason.contains("in use"), "{failure:?}");
        assert_eq!((failure.action.as_deref(), failure.info_hash), (Some("announce"), Some(hash(1))));
        assert_eq!(harness.advance(Duration::from_secs(6)), []);
        // Offers to peer 1 still go to its holder.
        assert_eq!(offers(&harness.announce(C, with_offers(3, [1]))), [(A, offer_id(1))]);
        // Another try is another ping.
        assert_eq!(claim(&mut harness, B), [SwarmsOutput::Ping { conn: A }]);
    }
}

#[test]
fn only_the_first_newcomer_waits() {
    let mut harness = contested();
    assert_eq!(claim(&mut harness, B), [], "the same one may repeat itself");
    let messages = sent(claim(&mut harness, C));
    assert!(failure(&messages, C).reason.contains("in use"));
    assert_eq!(harness.input(SwarmsInput::Closed { conn: B }), []);
    assert_eq!(claim(&mut harness, C), [], "the ping is already under way");
    let outputs = harness.advance(Duration::from_secs(5));
    assert_eq!(outputs[0], SwarmsOutput::Close { conn: A, reason: CloseReason::Unresponsive });
    assert!(replied(&sent(outputs[1..].to_vec()), C));
}

#[test]
fn a_newcomer_that_stops_waits_no_longer() {
    let mut harness = contested();
    assert!(replied(&harness.announce(B, stopped(1)), B));
    assert_eq!(harness.input(SwarmsInput::Closed { conn: A }), []);
    assert_eq!(harness.counts(B).incomplete, 1);
}

#[test]
fn an_evicted_holder_makes_way_in_all_its_swarms() {
    let mut harness = contested();
    harness.announce(B, Announce::new(hash(2), peer(2)));
    let second = ClientMessage::Announce(Announce::new(hash(2), peer(1))).encode();
    assert!(replied(&harness.text(C, &second), C));
    harness.input(SwarmsInput::Closed { conn: C });
    // C is gone, so no connection holds peer 1 in swarm 2 and A takes it without a claim.
    assert!(matches!(
        harness.text(A, &second).as_slice(),
        [(A, TrackerMessage::Announced(_)), (B, TrackerMessage::Failure(_))]
    ));
    assert_eq!(claim(&mut harness, B), [SwarmsOutput::Ping { conn: A }]);
    assert_eq!(harness.text(B, &second), []);
    let outputs = harness.advance(Duration::from_secs(5));
    assert_eq!(outputs[0], SwarmsOutput::Close { conn: A, reason: CloseReason::Unresponsive });
    let replies = sent(outputs[1..].to_vec());
    assert!(replies.iter().all(|(conn, reply)| *conn == B && matches!(reply, TrackerMessage::Announced(_))));
    assert_eq!(replies.len(), 2);
}

#[test]
fn an_expired_member_makes_way_without_its_connection_closing() {
    let config = SwarmsConfig { peer_expiry: Some(Duration::from_secs(3)), ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, [A, B]);
    harness.announce(A, announce(1));
    assert_eq!(claim(&mut harness, B), [SwarmsOutput::Ping { conn: A }]);
    let messages = sent(harness.advance(Duration::from_secs(3)));
    assert!(replied(&messages, B));
    assert_eq!(sent(harness.input(SwarmsInput::Alive { conn: A })), []);
    assert_eq!(harness.swarms.stats().connections, 2);
}
