use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const OURS: bool = true;
const JS: bool = false;

struct Bench {
    mesh: Mesh<&'static str>,
    now: Instant,
}

impl Bench {
    fn new(links_per_peer: usize, max_peers: usize) -> Self {
        let now = tokio::time::Instant::now().into_std();
        Self { mesh: Mesh::new(MeshConfig { links_per_peer, max_peers }), now }
    }

    fn input(&mut self, input: Input<&'static str>) -> Vec<Output<&'static str>> {
        self.mesh.handle_input(self.now, input);
        std::iter::from_fn(|| self.mesh.poll_output()).collect()
    }

    fn offer(&mut self, from: u8, ours: bool) -> Vec<Output<&'static str>> {
        let offer = RemoteOffer { via: "t", sdp: String::new(), ours };
        self.input(Input::Offer { from: peer(from), offer })
    }

    /// Takes an offer through to an open link.
    fn connect(&mut self, from: u8, ours: bool, label: &str) -> (LinkId, Vec<Output<&'static str>>) {
        let attempt = match self.offer(from, ours).as_slice() {
            [Output::Answer { attempt, .. }] => *attempt,
            other => panic!("not answered: {other:?}"),
        };
        self.open(attempt, label)
    }

    /// Takes the answer to an offer of ours through to an open link.
    fn accept(&mut self, from: u8, ours: bool, label: &str) -> (LinkId, Vec<Output<&'static str>>) {
        let attempt = match self.input(Input::Answer { from: peer(from), ours }).as_slice() {
            [Output::Accept { attempt, .. }] => *attempt,
            other => panic!("not accepted: {other:?}"),
        };
        self.open(attempt, label)
    }

    fn open(&mut self, attempt: AttemptId, label: &str) -> (LinkId, Vec<Output<&'static str>>) {
        let outputs = self.input(Input::Opened { attempt, label: label.into() });
        let link = outputs.iter().find_map(|output| match output {
            Output::LinkOpened { link, .. } => Some(*link),
            _ => None,
        });
        (link.expect("a link opens"), outputs)
    }

    fn advance(&mut self, by: Duration) -> Vec<Output<&'static str>> {
        self.now += by;
        self.input(Input::Timeout)
    }
}

fn peer(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

#[test]
fn a_peer_connects_once_and_closes_with_its_last_link() {
    let mut bench = Bench::new(2, 10);
    let (first, outputs) = bench.connect(1, OURS, "a");
    assert!(matches!(outputs[..], [Output::PeerConnected { .. }, Output::LinkOpened { .. }]));
    let (second, outputs) = bench.connect(1, OURS, "b");
    assert!(matches!(outputs[..], [Output::LinkOpened { .. }]));
    assert_eq!(bench.input(Input::Closed { link: first }), []);
    assert_eq!(bench.input(Input::Closed { link: second }), [Output::PeerClosed { peer: peer(1) }]);
    assert_eq!(bench.input(Input::Closed { link: second }), []);
}

#[test]
fn an_offer_from_a_connected_peer_is_declined() {
    let mut bench = Bench::new(1, 10);
    bench.connect(1, JS, "a");
    assert_eq!(bench.offer(1, JS), []);
    let declined = [Output::Declined { peer: peer(1), why: Declined::Duplicate }];
    assert_eq!(bench.advance(REJOIN_GRACE), declined);
    assert_eq!(bench.mesh.poll_timeout(), None);
}

#[test]
fn a_peer_that_comes_back_before_its_old_link_has_closed_is_answered_when_it_does() {
    let mut bench = Bench::new(1, 10);
    let (link, _) = bench.connect(1, OURS, "a");
    assert_eq!(bench.offer(1, OURS), []);
    let outputs = bench.input(Input::Closed { link });
    assert!(matches!(outputs[..], [Output::PeerClosed { .. }, Output::Answer { .. }]), "{outputs:?}");
}

#[test]
fn an_offer_that_comes_during_an_attempt_gets_its_chance_when_that_fails() {
    let mut bench = Bench::new(1, 10);
    let outputs = bench.offer(1, OURS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(bench.offer(1, OURS), []);
    let outputs = bench.input(Input::Failed { attempt });
    assert!(matches!(outputs[..], [Output::Answer { .. }]), "{outputs:?}");
}

#[test]
fn parting_ends_attempts_and_forgets_what_was_offered() {
    let mut bench = Bench::new(2, 10);
    let (link, _) = bench.connect(1, OURS, "a");
    let outputs = bench.offer(1, OURS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(bench.offer(1, OURS), [], "held");
    assert_eq!(bench.input(Input::Parted { peer: peer(1) }), []);
    assert_eq!(bench.mesh.poll_timeout(), None);
    assert_eq!(bench.input(Input::Opened { attempt, label: "b".into() }), []);
    assert_eq!(bench.input(Input::Closed { link }), [Output::PeerClosed { peer: peer(1) }]);
    assert!(!bench.mesh.knows(&peer(1)));
    // It may come back, also one with whom there was nothing but an attempt.
    let [Output::Answer { attempt, .. }] = bench.offer(1, OURS)[..] else { panic!("not answered") };
    assert_eq!(bench.input(Input::Parted { peer: peer(1) }), []);
    assert!(!bench.mesh.knows(&peer(1)));
    assert_eq!(bench.input(Input::Failed { attempt }), []);
    bench.connect(1, OURS, "c");
}

#[test]
fn a_held_offer_expires() {
    let mut bench = Bench::new(1, 10);
    let outputs = bench.offer(1, OURS);
    let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
    bench.offer(1, OURS);
    assert_eq!(bench.mesh.poll_timeout(), Some(bench.now + HELD_OFFER_LIFETIME));
    bench.advance(HELD_OFFER_LIFETIME);
    assert_eq!(bench.mesh.poll_timeout(), None);
    assert_eq!(bench.input(Input::Failed { attempt }), []);
}

#[test]
fn two_of_ours_keep_the_same_link_whatever_the_order() {
    for labels in [["a", "b"], ["b", "a"]] {
        let mut bench = Bench::new(1, 10);
        // Both sides answered each other's offers.
        let attempt = match bench.offer(1, OURS).as_slice() {
            [Output::Answer { attempt, .. }] => *attempt,
            other => panic!("{other:?}"),
        };
        let (accepted, _) = bench.accept(1, OURS, labels[0]);
        let (answered, outputs) = bench.open(attempt, labels[1]);
        let loser = if labels[0] == "b" { accepted } else { answered };
        assert_eq!(outputs.last(), Some(&Output::Retire { peer: peer(1), link: loser }));
    }
}

#[test]
fn a_link_to_a_javascript_peer_is_left_alone_for_ten_seconds() {
    let mut bench = Bench::new(1, 10);
    let attempt = match bench.offer(1, JS).as_slice() {
        [Output::Answer { attempt, .. }] => *attempt,
        other => panic!("{other:?}"),
    };
    bench.accept(1, JS, "z");
    bench.now += Duration::from_secs(3);
    let (younger, outputs) = bench.open(attempt, "a");
    assert!(matches!(outputs[..], [Output::LinkOpened { .. }]));
    assert_eq!(bench.mesh.poll_timeout(), Some(bench.now + JS_SETTLE));
    assert_eq!(bench.advance(JS_SETTLE - Duration::from_millis(1)), []);
    assert_eq!(bench.advance(Duration::from_millis(1)), [Output::Retire { peer: peer(1), link: younger }]);
    assert_eq!(bench.mesh.poll_timeout(), None);
}

#[test]
fn the_answer_of_a_javascript_peer_is_taken_up_while_its_first_link_is_young() {
    let mut bench = Bench::new(1, 10);
    bench.connect(1, JS, "a");
    let outputs = bench.input(Input::Answer { from: peer(1), ours: JS });
    assert!(matches!(outputs[..], [Output::Accept { .. }]));

    let mut bench = Bench::new(1, 10);
    bench.connect(1, JS, "a");
    bench.now += JS_SETTLE;
    let outputs = bench.input(Input::Answer { from: peer(1), ours: JS });
    assert_eq!(outputs, [Output::Discard { peer: peer(1), why: Declined::Duplicate }]);
}

#[test]
fn a_full_swarm_neither_answers_nor_wants_more() {
    let mut bench = Bench::new(1, 1);
    let (link, _) = bench.connect(1, OURS, "a");
    assert_eq!(bench.mesh.vacancies(), 0);
    assert_eq!(bench.offer(2, OURS), [Output::Declined { peer: peer(2), why: Declined::Full }]);
    let answered = bench.input(Input::Answer { from: peer(2), ours: OURS });
    assert_eq!(answered, [Output::Discard { peer: peer(2), why: Declined::Full }]);
    bench.input(Input::Closed { link });
    assert_eq!(bench.mesh.vacancies(), 1);
}

#[test]
fn peers_that_linger_take_the_place_of_others() {
    let mut bench = Bench::new(1, 2);
    bench.mesh.set_lingering(1);
    bench.connect(1, OURS, "a");
    bench.mesh.set_lingering(2);
    assert_eq!(bench.mesh.vacancies(), 0);
    assert_eq!(bench.offer(2, OURS), [Output::Declined { peer: peer(2), why: Declined::Full }]);
    bench.mesh.set_lingering(1);
    bench.connect(2, OURS, "b");
}

#[test]
fn a_peer_that_keeps_its_retired_links_gets_no_more_than_a_few() {
    for ours in [OURS, JS] {
        let mut bench = Bench::new(1, 10);
        // Two links at a time; the one that is not retired closes, and so on.
        let mut most = 0;
        for n in 0..100 {
            let Some(Output::Answer { attempt, .. }) = bench.offer(1, ours).pop() else { break };
            let Some(Output::Accept { attempt: second, .. }) = bench.input(Input::Answer { from: peer(1), ours }).pop()
            else {
                break;
            };
            bench.open(attempt, &format!("{n} a"));
            bench.open(second, &format!("{n} b"));
            bench.advance(JS_SETTLE);
            let links = &bench.mesh.peers[&peer(1)].links;
            most = most.max(links.len());
            let live: Vec<LinkId> = links.iter().filter(|link| !link.retiring).map(|link| link.id).collect();
            assert_eq!(live.len(), 1);
            bench.input(Input::Closed { link: live[0] });
        }
        assert!((MAX_SURPLUS..=1 + MAX_SURPLUS).contains(&most), "{most} links");
    }
}

#[test]
fn a_flood_of_offers_is_bounded() {
    let mut bench = Bench::new(1, 1000);
    let answered = (0..=255u8).filter(|n| matches!(bench.offer(*n, JS)[..], [Output::Answer { .. }])).count();
    assert_eq!(answered, MAX_ATTEMPTS);
}

/// What may happen to a mesh, with ids taken modulo what exists.
#[derive(Debug, Clone)]
enum Op {
    Offer(u8, bool),
    Answer(u8, bool),
    Open(usize, u8),
    Fail(usize),
    Close(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..4u8, any::<bool>()).prop_map(|(p, ours)| Op::Offer(p, ours)),
        (0..4u8, any::<bool>()).prop_map(|(p, ours)| Op::Answer(p, ours)),
        (any::<usize>(), any::<u8>()).prop_map(|(i, label)| Op::Open(i, label)),
        any::<usize>().prop_map(Op::Fail),
        any::<usize>().prop_map(Op::Close),
        (0..20_000u64).prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_rules(
        ops in prop::collection::vec(op(), 0..120), links_per_peer in 1..3usize, max_peers in 1..4usize,
    ) {
        let mut bench = Bench::new(links_per_peer, max_peers);
        let mut attempts: Vec<AttemptId> = Vec::new();
        let mut links: BTreeMap<LinkId, PeerId> = BTreeMap::new();
        let mut retired = BTreeSet::new();
        let mut connected = BTreeSet::new();
        for op in ops {
            let outputs = match op {
                Op::Offer(p, ours) => bench.offer(p, ours),
                Op::Answer(p, ours) => bench.input(Input::Answer { from: peer(p), ours }),
                Op::Open(i, label) if !attempts.is_empty() => {
                    let attempt = attempts.swap_remove(i % attempts.len());
                    bench.input(Input::Opened { attempt, label: format!("{label}") })
                }
                Op::Fail(i) if !attempts.is_empty() => {
                    let attempt = attempts.swap_remove(i % attempts.len());
                    bench.input(Input::Failed { attempt })
                }
                Op::Close(i) if !links.is_empty() => {
                    let link = *links.keys().nth(i % links.len()).expect("in range");
                    links.remove(&link);
                    bench.input(Input::Closed { link })
                }
                Op::Wait(ms) => bench.advance(Duration::from_millis(ms)),
                _ => continue,
            };
            for output in outputs {
                match output {
                    Output::Answer { attempt, .. } | Output::Accept { attempt, .. } => attempts.push(attempt),
                    Output::PeerConnected { peer } => prop_assert!(connected.insert(peer), "connected twice"),
                    Output::LinkOpened { peer, link, .. } => {
                        prop_assert!(connected.contains(&peer));
                        links.insert(link, peer);
                    }
                    Output::Retire { peer, link } => {
                        prop_assert!(retired.insert(link), "retired twice");
                        let rest = links.iter().filter(|(l, p)| **p == peer && !retired.contains(l)).count();
                        prop_assert!(rest >= links_per_peer, "too much was retired");
                    }
                    Output::PeerClosed { peer } => {
                        prop_assert!(connected.remove(&peer), "closed but not connected");
                        prop_assert!(links.values().all(|p| *p != peer), "closed with a link open");
                    }
                    Output::Discard { .. } | Output::Declined { .. } => {}
                }
            }
            prop_assert!(bench.mesh.peers.len() <= max_peers, "more peers than allowed");
            let most = bench.mesh.peers.values().map(|entry| entry.links.len() + entry.attempts).max();
            prop_assert!(most.is_none_or(|most| most <= links_per_peer + MAX_SURPLUS), "too many links to one peer");
            prop_assert!(bench.mesh.poll_timeout().is_none_or(|at| at > bench.now), "a timeout is overdue");
            prop_assert_eq!(links.values().collect::<BTreeSet<_>>(), connected.iter().collect::<BTreeSet<_>>());
        }
    }
}
