//! Another peer under the id of one that is connected.

use super::attempts::PATIENCE;
use super::tests::*;
use super::*;

/// The peer with id 1 is connected, by tracker A, and another peer comes under its id, by tracker B.
const OTHERS: [(Identity, Identity); 4] = [(OURS, JS), (OURS, ours(2)), (OURS, NO_CERTIFICATE), (JS, OURS)];

/// A node of this library over a transport without certificates.
const NO_CERTIFICATE: Identity = Identity { library: Library::Ours, fingerprint: None, key: None };

fn not_the_same(role: Role) -> Out {
    Output::Rejected { peer: peer(1), tracker: B, role, reason: RejectReason::NotTheSamePeer }
}

fn connected(identity: Identity, connections_per_peer: usize) -> (Harness, ChannelId) {
    let mut harness = Harness::new(connections_per_peer, 10);
    let outputs = harness.offer_by(A, 1, identity);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let channel = harness.open(attempt, "m").0;
    (harness, channel)
}

#[test]
fn an_offer_of_another_peer_is_not_answered() {
    for (connected_as, other) in [OTHERS[0], OTHERS[1], OTHERS[3]] {
        for connections_per_peer in [1, 2] {
            let (mut harness, _) = connected(connected_as, connections_per_peer);
            assert_eq!(harness.offer_by(B, 1, other), [], "{other:?}");
            assert_eq!(harness.advance(REJOIN_GRACE), [not_the_same(Role::Answerer)], "{other:?}");
            // One that offers without end is told of, and not kept for longer.
            assert_eq!(harness.offer_by(B, 1, other), []);
            assert_eq!(harness.offer_by(B, 1, other), [not_the_same(Role::Answerer)]);
        }
    }
}

#[test]
fn an_answer_of_another_peer_is_not_taken() {
    for (connected_as, other) in [OTHERS[0], OTHERS[1], OTHERS[3]] {
        let (mut harness, _) = connected(connected_as, 1);
        assert_eq!(harness.answer_by(B, 1, other), [not_the_same(Role::Offerer)], "{other:?}");
    }
}

/// What a description claims may be a lie, or nothing.
#[test]
fn a_channel_that_was_secured_with_another_certificate_is_dropped() {
    for claimed in [OURS, NO_CERTIFICATE] {
        for shown in [ours(2).fingerprint, None] {
            let (mut harness, channel) = connected(OURS, 2);
            let outputs = harness.offer_by(B, 1, claimed);
            let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
            assert_eq!(harness.succeed(attempt, "a", shown), [not_the_same(Role::Answerer)]);
            assert_eq!(harness.input(Input::ChannelClosed(channel)), [Output::PeerClosed(peer(1))]);
        }
    }
}

#[test]
fn attempts_with_another_peer_are_given_up_when_one_connects() {
    for (first, other) in [OTHERS[0], OTHERS[1], OTHERS[3]] {
        let mut harness = Harness::new(1, 10);
        let outputs = harness.answer_by(B, 1, other);
        let [Output::Accept { attempt: late, .. }] = outputs[..] else { panic!("{outputs:?}") };
        let outputs = harness.answer_by(A, 1, first);
        let [Output::Accept { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
        let (_, outputs) = harness.open(attempt, "z");
        assert!(
            outputs.contains(&Output::GiveUp(late)) && outputs.contains(&not_the_same(Role::Offerer)),
            "{outputs:?}"
        );
        assert_eq!(harness.succeed(late, "a", other.fingerprint), [], "it was open already, and is dropped");
        assert_eq!(harness.mesh.connected(), 1);
    }
}

#[test]
fn an_offer_that_was_held_is_rejected_when_another_peer_connects() {
    let mut harness = Harness::new(2, 10);
    let outputs = harness.offer_by(A, 1, OURS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let outputs = harness.offer_by(B, 1, OURS);
    assert!(matches!(outputs[..], [Output::Answer { .. }]), "{outputs:?}");
    assert_eq!(harness.offer_by(B, 1, ours(2)), [], "as many attempts as channels are kept");
    harness.open(attempt, "a");
    assert_eq!(harness.advance(REJOIN_GRACE), [not_the_same(Role::Answerer)]);
}

/// A node that was killed and started anew under its id has another certificate.
#[test]
fn another_peer_is_met_once_the_first_has_gone() {
    for (first, next) in OTHERS {
        let (mut harness, channel) = connected(first, 1);
        assert_eq!(harness.offer_by(B, 1, next), []);
        let outputs = harness.input(Input::ChannelClosed(channel));
        let [Output::PeerClosed(_), Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
        let (_, outputs) = harness.open(attempt, "a");
        assert!(matches!(outputs[..], [Output::PeerConnected { .. }, Output::ChannelOpened { .. }]), "{outputs:?}");
        // From now on it is the first that is another one.
        if first != NO_CERTIFICATE && next != NO_CERTIFICATE {
            assert_eq!(harness.answer_by(B, 1, first), [not_the_same(Role::Offerer)]);
        }
    }
}

#[test]
fn javascript_peers_have_a_certificate_for_each_connection() {
    let javascript = |n| Identity { library: Library::JavaScript, fingerprint: Some(Fingerprint([n; 32])), key: None };
    let (mut harness, _) = connected(javascript(1), 2);
    let outputs = harness.answer_by(B, 1, javascript(2));
    let [Output::Accept { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let (_, outputs) = harness.open(attempt, "b");
    assert!(matches!(outputs[..], [Output::ChannelOpened { .. }]), "{outputs:?}");
}

/// Where the transport has no certificates the mark alone is compared.
#[test]
fn peers_without_certificates_are_the_same() {
    let (mut harness, _) = connected(NO_CERTIFICATE, 2);
    let outputs = harness.offer_by(B, 1, NO_CERTIFICATE);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let (_, outputs) = harness.open(attempt, "b");
    assert!(matches!(outputs[..], [Output::ChannelOpened { .. }]), "{outputs:?}");
}

/// The node with the key from which the id follows.
const KEYED: Identity = Identity { key: Some(PeerKey([7; 32])), ..OURS };

fn unsigned(tracker: TrackerId, role: Role) -> Out {
    Output::Rejected { peer: peer(1), tracker, role, reason: RejectReason::Unsigned }
}

#[test]
fn the_id_of_a_key_is_not_taken_by_peers_without_one() {
    for stranger in [OURS, JS, ours(2), NO_CERTIFICATE] {
        let (mut harness, _) = connected(KEYED, 2);
        assert_eq!(harness.offer_by(B, 1, stranger), [unsigned(B, Role::Answerer)]);
        assert_eq!(harness.answer_by(B, 1, stranger), [unsigned(B, Role::Offerer)]);
        assert_eq!(harness.mesh.connected(), 1);
    }
}

#[test]
fn a_stranger_that_came_first_yields_to_the_peer_with_the_key() {
    for stranger in [OURS, JS, ours(2), NO_CERTIFICATE] {
        for connections_per_peer in [1, 2] {
            let (mut harness, channel) = connected(stranger, connections_per_peer);
            let outputs = harness.offer_by(B, 1, KEYED);
            let [Output::PeerDisplaced(gone), Output::Answer { attempt, .. }] = outputs[..] else {
                panic!("{outputs:?}")
            };
            assert_eq!(gone, peer(1));
            assert_eq!(harness.input(Input::ChannelClosed(channel)), [], "it is gone already");
            let (_, outputs) = harness.open(attempt, "z");
            let [Output::PeerConnected { key, .. }, Output::ChannelOpened { .. }] = outputs[..] else {
                panic!("{outputs:?}")
            };
            assert_eq!(key, KEYED.key);
            assert_eq!(harness.answer_by(A, 1, stranger), [unsigned(A, Role::Offerer)]);
        }
    }
}

#[test]
fn the_answer_of_the_peer_with_the_key_displaces_as_well() {
    let (mut harness, _) = connected(JS, 1);
    let outputs = harness.answer_by(B, 1, KEYED);
    assert!(matches!(outputs[..], [Output::PeerDisplaced(_), Output::Accept { .. }]), "{outputs:?}");
}

#[test]
fn what_is_under_way_with_a_stranger_ends_for_the_peer_with_the_key() {
    let mut harness = Harness::new(1, 10);
    let outputs = harness.offer_by(A, 1, JS);
    let [Output::Answer { attempt: strangers, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(harness.offer_by(B, 1, JS), [], "it is held");
    let outputs = harness.offer_by(C, 1, KEYED);
    let [held, Output::GiveUp(given_up), rejected, Output::Answer { .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(*given_up, strangers);
    assert_eq!((held, rejected), (&unsigned(B, Role::Answerer), &unsigned(A, Role::Answerer)));
}

/// A place that a stranger had is the peer's, also in a full swarm.
#[test]
fn a_stranger_leaves_its_place() {
    let mut harness = Harness::new(1, 1);
    let outputs = harness.offer_by(A, 1, JS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    harness.open(attempt, "a");
    let outputs = harness.offer_by(B, 1, KEYED);
    assert!(matches!(outputs[..], [Output::PeerDisplaced(_), Output::Answer { .. }]), "{outputs:?}");
}

#[test]
fn an_offer_of_a_peer_that_has_its_channels_is_handed_back() {
    let (mut harness, _) = connected(KEYED, 1);
    assert_eq!(harness.offer_by(B, 1, KEYED), [], "it is held: the peer may come back");
    let offer = RemoteOffer { tracker: B, identity: KEYED, offer: () };
    let outputs = harness.raw(REJOIN_GRACE);
    assert!(outputs.contains(&Output::MetAlready { peer: peer(1), offer }), "{outputs:?}");
}

#[test]
fn a_stranger_does_not_overtake_the_peer_with_the_key_on_its_way() {
    for stranger in [OURS, JS, ours(2), NO_CERTIFICATE] {
        let mut harness = Harness::new(1, 10);
        let outputs = harness.offer_by(A, 1, KEYED);
        let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(harness.answer_by(B, 1, stranger), [unsigned(B, Role::Offerer)]);
        harness.advance(PATIENCE);
        assert_eq!(harness.offer_by(B, 1, stranger), [unsigned(B, Role::Answerer)], "nor while it takes its time");
        let (_, outputs) = harness.open(attempt, "z");
        assert!(matches!(outputs[..], [Output::PeerConnected { .. }, Output::ChannelOpened { .. }]), "{outputs:?}");
    }
}

#[test]
fn a_stranger_does_not_overtake_the_peer_with_the_key_that_waits_for_its_turn() {
    let mut harness = Harness::new(1, 1);
    let outputs = harness.offer_by(A, 2, OURS);
    assert!(matches!(outputs[..], [Output::Answer { .. }]), "{outputs:?}");
    assert_eq!(harness.offer_by(A, 1, KEYED), [], "it is held");
    assert_eq!(harness.answer_by(B, 1, JS), [unsigned(B, Role::Offerer)]);
    assert_eq!(harness.offer_by(B, 1, JS), [unsigned(B, Role::Answerer)]);
}
