use std::collections::BTreeMap;

use super::attempts::{DOUBTED_AFTER, DOUBTED_ATTEMPTS, PATIENCE};
use super::*;

pub(super) const OURS: Identity = ours(1);
pub(super) const JS: Identity = Identity { library: Library::JavaScript, fingerprint: None, key: None };

/// A node of this library with another certificate for each number.
pub(super) const fn ours(n: u8) -> Identity {
    Identity { library: Library::Ours, fingerprint: Some(Fingerprint([n; 32])), key: None }
}

const T: TrackerId = TrackerId(0);
pub(super) const A: TrackerId = TrackerId(1);
pub(super) const B: TrackerId = TrackerId(2);
pub(super) const C: TrackerId = TrackerId(3);
const LIAR: TrackerId = A;
const GOOD: TrackerId = B;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nothing;

impl Objects for Nothing {
    type Offer = ();
    type Answer = ();
    type Channel = ();
    type Error = ();
}

pub(super) type In = Input<Nothing>;
pub(super) type Out = Output<Nothing>;

pub(super) struct Harness {
    pub(super) mesh: Mesh<Nothing>,
    now: Instant,
    /// What was reported beside what is to be done.
    places: usize,
    vacancies: BTreeMap<TrackerId, usize>,
    sought: BTreeMap<PeerId, bool>,
}

impl Harness {
    pub(super) fn new(connections_per_peer: usize, max_peers: usize) -> Self {
        let mut harness = Self {
            mesh: Mesh::new(MeshConfig { connections_per_peer, max_peers }),
            now: base(),
            places: max_peers,
            vacancies: BTreeMap::new(),
            sought: BTreeMap::new(),
        };
        for tracker in [T, A, B, C] {
            harness.input(Input::TrackerAdded(tracker));
        }
        harness
    }

    /// The outputs of which something is to be done; the others are checked and noted.
    pub(super) fn input(&mut self, input: In) -> Vec<Out> {
        self.mesh.handle_input(self.now, input);
        let outputs: Vec<Out> = std::iter::from_fn(|| self.mesh.poll_output()).collect();
        let mut to_do = Vec::new();
        for output in outputs {
            match output {
                Output::Places(places) => {
                    assert!(to_do.is_empty(), "places are reported first");
                    self.places = places;
                }
                // What is told of it comes behind.
                Output::MetAlready { peer, .. } => assert!(self.sought.contains_key(&peer), "it is not connected"),
                Output::Vacancies { tracker, vacancies } => drop(self.vacancies.insert(tracker, vacancies)),
                Output::Sought { peer, sought } => {
                    assert_ne!(self.sought.insert(peer, sought), Some(sought), "reported again");
                }
                Output::PeerForgotten(peer) => {
                    assert!(!self.mesh.knows(&peer) && !self.sought.contains_key(&peer));
                }
                Output::PeerClosed(peer) | Output::PeerDisplaced(peer) => {
                    self.sought.remove(&peer);
                    to_do.push(output);
                }
                output => to_do.push(output),
            }
        }
        assert_eq!(self.places, self.mesh.places());
        for (tracker, vacancies) in &self.vacancies {
            assert_eq!(*vacancies, self.mesh.vacancies(*tracker), "of {tracker:?}");
        }
        assert_eq!(self.sought.len(), self.mesh.connected());
        to_do
    }

    fn offer(&mut self, from: u8, identity: Identity) -> Vec<Out> {
        self.offer_by(T, from, identity)
    }

    pub(super) fn offer_by(&mut self, tracker: TrackerId, from: u8, identity: Identity) -> Vec<Out> {
        self.input(Input::Offer { from: peer(from), offer: RemoteOffer { tracker, identity, offer: () } })
    }

    fn answer(&mut self, from: u8, identity: Identity) -> Vec<Out> {
        self.answer_by(T, from, identity)
    }

    pub(super) fn answer_by(&mut self, tracker: TrackerId, from: u8, identity: Identity) -> Vec<Out> {
        self.input(Input::Answer { from: peer(from), tracker, identity, answer: () })
    }

    /// Takes an offer through to an open channel.
    fn connect(&mut self, from: u8, identity: Identity, label: &str) -> (ChannelId, Vec<Out>) {
        let attempt = match self.offer(from, identity).as_slice() {
            [Output::Answer { attempt, .. }] => *attempt,
            other => panic!("not answered: {other:?}"),
        };
        self.open(attempt, label)
    }

    /// Takes the answer to an offer of ours through to an open channel.
    fn accept(&mut self, from: u8, identity: Identity, label: &str) -> (ChannelId, Vec<Out>) {
        let attempt = match self.answer(from, identity).as_slice() {
            [Output::Accept { attempt, .. }] => *attempt,
            other => panic!("not accepted: {other:?}"),
        };
        self.open(attempt, label)
    }

    /// An attempt leads to the peer that it claims.
    pub(super) fn open(&mut self, attempt: AttemptId, label: &str) -> (ChannelId, Vec<Out>) {
        let fingerprint = self.mesh.attempts.get(attempt).and_then(|attempt| attempt.identity.fingerprint);
        let outputs = self.succeed(attempt, label, fingerprint);
        let channel = outputs.iter().find_map(|output| match output {
            Output::ChannelOpened { id, .. } => Some(*id),
            _ => None,
        });
        (channel.expect("a channel opens"), outputs)
    }

    pub(super) fn succeed(&mut self, attempt: AttemptId, label: &str, fingerprint: Option<Fingerprint>) -> Vec<Out> {
        self.input(Input::AttemptSucceeded { attempt, label: label.into(), fingerprint, channel: () })
    }

    /// All that comes of waiting.
    pub(super) fn raw(&mut self, by: Duration) -> Vec<Out> {
        self.mesh.handle_input(self.now + by, Input::Timeout);
        std::iter::from_fn(|| self.mesh.poll_output()).collect()
    }

    pub(super) fn advance(&mut self, by: Duration) -> Vec<Out> {
        self.now += by;
        self.input(Input::Timeout)
    }
}

pub(super) fn base() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "the mesh only adds to it")]
    Instant::now()
}

fn rejected(n: u8, role: Role, reason: RejectReason) -> Out {
    Output::Rejected { peer: peer(n), tracker: T, role, reason }
}

fn failed(n: u8, role: Role) -> Out {
    failed_by(T, n, role)
}

fn failed_by(tracker: TrackerId, n: u8, role: Role) -> Out {
    Output::AttemptFailed { peer: peer(n), tracker, role, error: () }
}

pub(super) fn peer(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

#[test]
fn a_peer_connects_once_and_closes_with_its_last_link() {
    let mut harness = Harness::new(2, 10);
    let (first, outputs) = harness.connect(1, OURS, "a");
    assert!(matches!(outputs[..], [Output::PeerConnected { .. }, Output::ChannelOpened { .. }]));
    let (second, outputs) = harness.connect(1, OURS, "b");
    assert!(matches!(outputs[..], [Output::ChannelOpened { .. }]));
    assert_eq!(harness.input(Input::ChannelClosed(first)), []);
    assert_eq!(harness.input(Input::ChannelClosed(second)), [Output::PeerClosed(peer(1))]);
    assert_eq!(harness.input(Input::ChannelClosed(second)), []);
}

#[test]
fn an_offer_from_a_connected_peer_is_declined() {
    let mut harness = Harness::new(1, 10);
    harness.connect(1, JS, "a");
    assert_eq!(harness.offer(1, JS), []);
    let declined = [rejected(1, Role::Answerer, RejectReason::Duplicate)];
    assert_eq!(harness.advance(REJOIN_GRACE), declined);
    assert_eq!(harness.mesh.poll_timeout(), None);
}

#[test]
fn a_peer_that_comes_back_before_its_old_link_has_closed_is_answered_when_it_does() {
    let mut harness = Harness::new(1, 10);
    let (channel, _) = harness.connect(1, OURS, "a");
    assert_eq!(harness.offer(1, OURS), []);
    let outputs = harness.input(Input::ChannelClosed(channel));
    assert!(matches!(outputs[..], [Output::PeerClosed(_), Output::Answer { .. }]), "{outputs:?}");
}

#[test]
fn an_offer_that_comes_during_an_attempt_gets_its_chance_when_that_fails() {
    let mut harness = Harness::new(1, 10);
    let outputs = harness.offer(1, OURS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(harness.offer(1, OURS), []);
    let outputs = harness.input(Input::AttemptFailed { attempt, error: () });
    assert!(matches!(outputs[..], [Output::AttemptFailed { .. }, Output::Answer { .. }]), "{outputs:?}");
}

#[test]
fn parting_ends_attempts_and_forgets_what_was_offered() {
    let mut harness = Harness::new(2, 10);
    let (channel, _) = harness.connect(1, OURS, "a");
    let outputs = harness.offer(1, OURS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(harness.offer(1, OURS), [], "held");
    assert_eq!(harness.input(Input::Disconnect(peer(1))), [Output::GiveUp(attempt)]);
    assert_eq!(
        harness.mesh.poll_timeout(),
        Some(harness.now + CHANNELS_SOUGHT),
        "another channel is sought, and no offer kept"
    );
    assert_eq!(harness.succeed(attempt, "b", OURS.fingerprint), []);
    assert_eq!(harness.input(Input::ChannelClosed(channel)), [Output::PeerClosed(peer(1))]);
    assert!(!harness.mesh.knows(&peer(1)));
    // It may come back, also one with whom there was nothing but an attempt.
    let [Output::Answer { attempt, .. }] = harness.offer(1, OURS)[..] else { panic!("not answered") };
    assert_eq!(harness.input(Input::Disconnect(peer(1))), [Output::GiveUp(attempt)]);
    assert!(!harness.mesh.knows(&peer(1)));
    assert_eq!(harness.input(Input::AttemptFailed { attempt, error: () }), []);
    harness.connect(1, OURS, "c");
}

#[test]
fn another_identifier_ends_what_is_under_way_and_leaves_channels_open() {
    let mut harness = Harness::new(1, 3);
    harness.connect(1, OURS, "a");
    let [Output::Answer { attempt, .. }] = harness.offer(2, OURS)[..] else { panic!("not answered") };
    assert_eq!(harness.offer(1, OURS).len() + harness.offer(2, OURS).len(), 0, "held");
    let outputs = harness.input(Input::IdentifierChanged);
    assert_eq!(outputs, [Output::GiveUp(attempt)]);
    assert!(harness.mesh.held().is_empty() && harness.mesh.knows(&peer(1)) && !harness.mesh.knows(&peer(2)));
    assert_eq!((harness.mesh.connected(), harness.mesh.places()), (1, 2), "its peer keeps its place");
}

#[test]
fn a_held_offer_expires() {
    let mut harness = Harness::new(1, 10);
    let outputs = harness.offer(1, OURS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    harness.offer(1, OURS);
    assert_eq!(harness.mesh.poll_timeout(), Some(harness.now + HELD_OFFER_LIFETIME));
    harness.advance(HELD_OFFER_LIFETIME);
    assert_eq!(harness.mesh.poll_timeout(), None);
    assert_eq!(harness.input(Input::AttemptFailed { attempt, error: () }), [failed(1, Role::Answerer)]);
}

#[test]
fn two_of_ours_keep_the_same_link_whatever_the_order() {
    for labels in [["a", "b"], ["b", "a"]] {
        let mut harness = Harness::new(1, 10);
        // Both sides answered each other's offers.
        let attempt = match harness.offer(1, OURS).as_slice() {
            [Output::Answer { attempt, .. }] => *attempt,
            other => panic!("{other:?}"),
        };
        let (accepted, _) = harness.accept(1, OURS, labels[0]);
        let (answered, outputs) = harness.open(attempt, labels[1]);
        let loser = if labels[0] == "b" { accepted } else { answered };
        assert_eq!(outputs.last(), Some(&Output::Retire { peer: peer(1), channel: loser }));
    }
}

#[test]
fn a_link_to_a_javascript_peer_is_left_alone_for_ten_seconds() {
    let mut harness = Harness::new(1, 10);
    let attempt = match harness.offer(1, JS).as_slice() {
        [Output::Answer { attempt, .. }] => *attempt,
        other => panic!("{other:?}"),
    };
    harness.accept(1, JS, "z");
    harness.now += Duration::from_secs(3);
    let (younger, outputs) = harness.open(attempt, "a");
    assert!(matches!(outputs[..], [Output::ChannelOpened { .. }]));
    assert_eq!(harness.mesh.poll_timeout(), Some(harness.now + JS_SETTLE));
    assert_eq!(harness.advance(JS_SETTLE - Duration::from_millis(1)), []);
    assert_eq!(harness.advance(Duration::from_millis(1)), [Output::Retire { peer: peer(1), channel: younger }]);
    assert_eq!(harness.mesh.poll_timeout(), None);
}

#[test]
fn the_answer_of_a_javascript_peer_is_taken_up_while_its_first_link_is_young() {
    let mut harness = Harness::new(1, 10);
    harness.connect(1, JS, "a");
    let outputs = harness.answer(1, JS);
    assert!(matches!(outputs[..], [Output::Accept { .. }]));

    let mut harness = Harness::new(1, 10);
    harness.connect(1, JS, "a");
    harness.now += JS_SETTLE;
    let outputs = harness.answer(1, JS);
    assert_eq!(outputs, [rejected(1, Role::Offerer, RejectReason::Duplicate)]);
}

#[test]
fn a_full_swarm_neither_answers_nor_wants_more() {
    let mut harness = Harness::new(1, 1);
    let (channel, _) = harness.connect(1, OURS, "a");
    assert_eq!(harness.mesh.places(), 0);
    assert_eq!(harness.offer(2, OURS), [rejected(2, Role::Answerer, RejectReason::Full)]);
    let answered = harness.answer(2, OURS);
    assert_eq!(answered, [rejected(2, Role::Offerer, RejectReason::Full)]);
    harness.input(Input::ChannelClosed(channel));
    assert_eq!(harness.mesh.places(), 1);
}

#[test]
fn peers_that_linger_take_the_place_of_others() {
    let mut harness = Harness::new(1, 2);
    harness.input(Input::Lingering(1));
    harness.connect(1, OURS, "a");
    harness.input(Input::Lingering(2));
    assert_eq!(harness.mesh.places(), 0);
    assert_eq!(harness.offer(2, OURS), [rejected(2, Role::Answerer, RejectReason::Full)]);
    harness.input(Input::Lingering(1));
    harness.connect(2, OURS, "b");
}

#[test]
fn a_peer_that_keeps_its_retired_links_gets_no_more_than_a_few() {
    for identity in [OURS, JS] {
        let mut harness = Harness::new(1, 10);
        // Two channels at a time; the one that is not retired closes, and so on.
        let mut most = 0;
        for n in 0..100 {
            let Some(Output::Answer { attempt, .. }) = harness.offer(1, identity).pop() else { break };
            let Some(Output::Accept { attempt: second, .. }) = harness.answer(1, identity).pop() else {
                break;
            };
            harness.open(attempt, &format!("{n} a"));
            harness.open(second, &format!("{n} b"));
            harness.advance(JS_SETTLE);
            let channels = &harness.mesh.peers[&peer(1)].channels;
            most = most.max(channels.len());
            let live: Vec<ChannelId> =
                channels.iter().filter(|channel| !channel.retiring).map(|channel| channel.id).collect();
            assert_eq!(live.len(), 1);
            harness.input(Input::ChannelClosed(live[0]));
        }
        assert!((MAX_SURPLUS..=1 + MAX_SURPLUS).contains(&most), "{most} channels");
    }
}

#[test]
fn a_flood_of_offers_is_bounded() {
    let mut harness = Harness::new(1, 1000);
    let answered = (0..=255u8).filter(|n| matches!(harness.offer(*n, JS)[..], [Output::Answer { .. }])).count();
    assert_eq!(answered, MAX_ATTEMPTS);
}

#[test]
fn what_one_tracker_makes_up_keeps_nobody_of_another_out() {
    for max_peers in [1, 2, 4, 1000] {
        let mut harness = Harness::new(1, max_peers);
        let made_up = (0..=199u8).filter(|n| matches!(harness.offer_by(LIAR, *n, JS)[..], [Output::Answer { .. }]));
        assert_eq!(made_up.count(), max_peers.min(MAX_ATTEMPTS));
        let real = max_peers.min(50);
        for n in 0..real {
            // Half of them answer our offers.
            let from = 200 + n as u8;
            let outputs = if n % 2 == 0 { harness.offer_by(GOOD, from, JS) } else { harness.answer_by(GOOD, from, JS) };
            let [Output::Answer { attempt, .. } | Output::Accept { attempt, .. }] = outputs[..] else {
                panic!("{n} of {max_peers}: {outputs:?}")
            };
            harness.open(attempt, "a");
        }
        assert_eq!(harness.mesh.connected(), real);
    }
}

#[test]
fn trackers_share_the_attempts() {
    let mut harness = Harness::new(1, 1000);
    let mut answered = |tracker: TrackerId, from: std::ops::Range<u8>| {
        from.filter(|n| matches!(harness.offer_by(tracker, *n, JS)[..], [Output::Answer { .. }])).count()
    };
    assert_eq!(answered(A, 0..10), 10);
    assert_eq!(answered(B, 50..100), MAX_ATTEMPTS - 10);
    assert_eq!(answered(A, 100..150), 6, "half of them are its own, always");
    assert_eq!(answered(C, 200..250), MAX_ATTEMPTS.div_ceil(3));
}

#[test]
fn those_on_the_way_are_given_up_when_the_last_place_is_taken() {
    let mut harness = Harness::new(1, 1);
    let outputs = harness.offer_by(A, 1, JS);
    let [Output::Answer { attempt: first, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let outputs = harness.answer(2, JS);
    let [Output::Accept { attempt: second, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let (_, outputs) = harness.open(first, "a");
    let [_, _, given_up, refusal] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(*given_up, Output::GiveUp(second));
    assert_eq!(*refusal, rejected(2, Role::Offerer, RejectReason::Full));
    // Its channel may have opened meanwhile.
    assert_eq!(harness.succeed(second, "b", OURS.fingerprint), []);
    assert_eq!(harness.mesh.connected(), 1);
}

#[test]
fn a_tracker_that_brings_only_failures_may_cause_few_attempts() {
    let mut harness = Harness::new(1, 1000);
    for n in 0..DOUBTED_AFTER as u8 {
        assert_eq!(harness.mesh.vacancies(T), 1000);
        let outputs = harness.offer(n, JS);
        let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(harness.input(Input::AttemptFailed { attempt, error: () }), [failed(n, Role::Answerer)]);
    }
    let (mut attempts, mut waiting) = (Vec::new(), 0);
    for n in 0..50 {
        match harness.offer(n, JS)[..] {
            [Output::Answer { attempt, .. }] => attempts.push(attempt),
            [] => waiting += 1,
            ref other => assert_eq!(other, [rejected(n, Role::Answerer, RejectReason::Busy)]),
        }
    }
    assert_eq!((attempts.len(), waiting), (DOUBTED_ATTEMPTS, MAX_WAITING));
    let (_, outputs) = harness.open(attempts[0], "a");
    let answered = outputs.iter().filter(|output| matches!(output, Output::Answer { .. })).count();
    assert_eq!(answered, MAX_WAITING, "it is believed again");
    assert_eq!(harness.mesh.vacancies(T), 1000 - 1 - (DOUBTED_ATTEMPTS - 1) - MAX_WAITING);
}

#[test]
fn peers_that_are_turned_away_do_not_speak_against_their_tracker() {
    let mut harness = Harness::new(1, 1000);
    for n in 0..=DOUBTED_AFTER as u8 {
        let outputs = harness.offer(n, OURS);
        let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(harness.input(Input::AttemptRefused { attempt, error: () }), [failed(n, Role::Answerer)]);
    }
    assert_eq!(harness.mesh.vacancies(T), 1000);
}

#[test]
fn an_offer_waits_while_its_tracker_has_its_share() {
    let mut harness = Harness::new(1, 2);
    harness.offer_by(LIAR, 1, JS);
    harness.offer_by(LIAR, 2, JS);
    let outputs = harness.offer(3, JS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(harness.offer(4, JS), []);
    let (_, outputs) = harness.open(attempt, "a");
    let Some(Output::Answer { peer: second, attempt, .. }) = outputs.last() else { panic!("{outputs:?}") };
    assert_eq!(*second, peer(4));
    // No offer is kept for a swarm that is full.
    assert_eq!(harness.offer(5, JS), []);
    let (_, outputs) = harness.open(*attempt, "b");
    assert!(outputs.contains(&rejected(5, Role::Answerer, RejectReason::Full)), "{outputs:?}");
    assert!(harness.mesh.peers.len() == 2 && harness.mesh.attempts.iter().next().is_none());
}

#[test]
fn an_offer_does_not_wait_longer_than_it_lives() {
    let mut harness = Harness::new(1, 1);
    let outputs = harness.offer(1, JS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(harness.offer(2, JS), []);
    assert_eq!(harness.advance(HELD_OFFER_LIFETIME), [rejected(2, Role::Answerer, RejectReason::Busy)]);
    harness.input(Input::AttemptFailed { attempt, error: () });
    assert!(harness.mesh.peers.is_empty());
    assert_eq!(harness.mesh.poll_timeout(), None);
}

#[test]
fn an_offer_in_the_name_of_a_peer_does_not_keep_that_peer_out() {
    let mut harness = Harness::new(1, 10);
    let outputs = harness.offer_by(LIAR, 1, OURS);
    let [Output::Answer { attempt: forged, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(harness.offer_by(GOOD, 1, OURS), []);
    assert_eq!(harness.offer_by(LIAR, 1, OURS), []);
    assert_eq!(harness.mesh.poll_timeout(), Some(harness.now + PATIENCE));
    let outputs = harness.advance(PATIENCE);
    let [Output::Answer { attempt, ref offer, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(offer.tracker, GOOD);
    let (_, outputs) = harness.open(attempt, "a");
    assert!(matches!(outputs[..], [Output::PeerConnected { .. }, Output::ChannelOpened { .. }]), "{outputs:?}");
    assert_eq!(
        harness.input(Input::AttemptFailed { attempt: forged, error: () }),
        [failed_by(LIAR, 1, Role::Answerer)]
    );
}

#[test]
fn further_links_are_sought_for_ten_minutes() {
    let mut harness = Harness::new(2, 10);
    let satisfied = |harness: &Harness| harness.sought.values().filter(|sought| !**sought).count();
    let (first, _) = harness.connect(1, OURS, "a");
    // The other side keeps one: a second opens and closes again and again.
    for _ in 0..10 {
        assert_eq!(satisfied(&harness), 0);
        harness.advance(CHANNELS_SOUGHT / 10);
        let (channel, _) = harness.connect(1, OURS, "b");
        harness.input(Input::ChannelClosed(channel));
    }
    assert_eq!(satisfied(&harness), 1);
    // A pair of old ones breaks.
    let (second, _) = harness.connect(1, OURS, "b");
    harness.advance(CHANNELS_SOUGHT);
    harness.input(Input::ChannelClosed(first));
    assert_eq!(satisfied(&harness), 0);
    harness.connect(1, OURS, "c");
    assert_eq!(satisfied(&harness), 1);
    harness.input(Input::ChannelClosed(second));
    assert_eq!(satisfied(&harness), 0);
}
