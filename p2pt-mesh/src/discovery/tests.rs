use super::tracker::{MAX_OFFERS, MAX_REPEATS, PROBES};
use super::*;

const A: TrackerId = TrackerId(1);
const B: TrackerId = TrackerId(2);

struct Bench {
    discovery: Discovery,
    now: Instant,
    offers: BTreeMap<TrackerId, usize>,
}

impl Bench {
    /// Two trackers, each of which may cause so many attempts.
    fn new(places: usize) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the state machine only adds to it")]
        let now = Instant::now();
        let mut bench = Self { discovery: Discovery::new(places), now, offers: BTreeMap::new() };
        for tracker in [A, B] {
            bench.input(Input::TrackerAdded(tracker));
            bench.input(Input::Vacancies { tracker, vacancies: places });
        }
        bench
    }

    /// Where it is announced now.
    fn input(&mut self, input: Input) -> Vec<TrackerId> {
        self.discovery.handle_input(self.now, input);
        let mut announces = Vec::new();
        while let Some(output) = self.discovery.poll_output() {
            match output {
                Output::Announce(tracker) => announces.push(tracker),
                Output::Offers { tracker, offers } => {
                    assert!(announces.is_empty(), "offers come first");
                    assert_ne!(self.offers.insert(tracker, offers), Some(offers), "reported again");
                }
            }
        }
        announces
    }

    fn reply(&mut self, tracker: TrackerId, members: usize) {
        self.input(Input::AnnounceReply { tracker, members });
    }

    /// A peer is met by a tracker, and wants no further channel.
    fn meet(&mut self, peer: u8, tracker: TrackerId) {
        let places = self.discovery.places - 1;
        self.input(Input::Places(places));
        self.input(Input::PeerMet(tracker));
        let peer = PeerId::from([peer; 20]);
        self.input(Input::Sought { peer, sought: false });
        self.input(Input::PeerSeen { peer, tracker });
        for tracker in [A, B] {
            self.input(Input::Vacancies { tracker, vacancies: places });
        }
    }

    /// Lets the time pass that remains until the next timeout; whether an announce follows, and after how long.
    fn next_announce(&mut self) -> Option<Duration> {
        let due = self.discovery.poll_timeout()?;
        let after = due - self.now;
        self.now = due;
        (!self.input(Input::Timeout).is_empty()).then_some(after)
    }
}

#[test]
fn offers_are_wanted_while_a_tracker_knows_unknown_peers() {
    let mut bench = Bench::new(100);
    assert_eq!(bench.offers, [(A, MAX_OFFERS), (B, MAX_OFFERS)].into());
    for (members, offers) in [(1, 0), (3, 2), (50, MAX_OFFERS), (2, 1)] {
        bench.reply(A, members);
        assert_eq!(bench.offers[&A], offers, "of {members}");
    }
    bench.meet(1, A);
    assert_eq!(bench.offers[&A], 0);
    // The same peer may be the one member of another tracker, or not.
    bench.reply(B, 2);
    assert_eq!(bench.offers[&B], PROBES);
    bench.input(Input::PeerSeen { peer: PeerId::from([1; 20]), tracker: B });
    assert_eq!(bench.offers[&B], 0);
    // A tracker that counts others begins anew.
    bench.input(Input::TrackerReset(B));
    assert_eq!(bench.offers[&B], MAX_OFFERS);
}

#[test]
fn a_full_swarm_wants_offers_only_for_missing_channels() {
    let mut bench = Bench::new(1);
    bench.reply(A, 10);
    assert_eq!(bench.offers[&A], 1);
    bench.meet(1, A);
    assert_eq!(bench.offers[&A], 0);
    bench.input(Input::Sought { peer: PeerId::from([1; 20]), sought: true });
    assert_eq!(bench.offers[&A], 1);
    bench.input(Input::PeerClosed(PeerId::from([1; 20])));
    assert_eq!(bench.offers[&A], 0);
}

#[test]
fn a_tracker_with_unknown_peers_is_asked_again_for_a_while() {
    let mut bench = Bench::new(100);
    bench.reply(A, 1);
    assert_eq!(bench.discovery.poll_timeout(), None);
    for seconds in [15, 30, 60] {
        bench.reply(A, 2);
        assert_eq!(bench.next_announce(), Some(Duration::from_secs(seconds)));
        assert_eq!(bench.discovery.poll_timeout(), None, "once for each reply");
    }
    bench.reply(A, 2);
    assert_eq!(bench.discovery.poll_timeout(), None, "from here on the interval asks");
    // They left; others came.
    bench.reply(A, 1);
    bench.reply(A, 3);
    assert_eq!(bench.next_announce(), Some(Duration::from_secs(15)));
    // One was met; the other is looked for anew.
    bench.meet(1, A);
    bench.reply(A, 3);
    assert_eq!(bench.next_announce(), Some(Duration::from_secs(15)));
}

#[test]
fn the_more_members_a_tracker_knows_the_longer_it_is_asked() {
    // Members, and how often each time between two announces is kept to.
    for (members, each) in [(6, 2), (40, 14), (1_000_000, MAX_REPEATS)] {
        let mut bench = Bench::new(100);
        for seconds in [15, 30, 60] {
            for n in 0..each {
                bench.reply(A, members);
                assert_eq!(bench.next_announce(), Some(Duration::from_secs(seconds)), "{n} of {members}");
            }
        }
        bench.reply(A, members);
        assert_eq!(bench.discovery.poll_timeout(), None);
    }
}

#[test]
fn a_peer_met_has_its_tracker_alone_asked_sooner() {
    let mut bench = Bench::new(100);
    for tracker in [A, B] {
        for _ in 0..2 {
            bench.reply(tracker, 3);
            bench.next_announce();
        }
        bench.reply(tracker, 3);
    }
    let at = |bench: &Bench, tracker| bench.discovery.trackers[&tracker].announce_at.map(|at| at - bench.now);
    let before = at(&bench, B);
    bench.meet(1, A);
    assert_eq!((at(&bench, A), at(&bench, B)), (Some(REANNOUNCE_FIRST), before));
    assert!(before > Some(REANNOUNCE_FIRST));
}

#[test]
fn a_swarm_without_places_asks_no_tracker_again() {
    let mut bench = Bench::new(0);
    bench.reply(A, 2);
    assert_eq!(bench.next_announce(), None);
}

#[test]
fn after_a_loss_trackers_are_asked_soon_but_not_over_and_over() {
    let mut bench = Bench::new(100);
    let mut asked = Vec::new();
    for _ in 0..2 {
        bench.reply(A, 1);
        bench.input(Input::ConnectionLost);
        asked.push(bench.next_announce());
    }
    assert_eq!(asked, [REANNOUNCE_AFTER_LOSS, REANNOUNCE_FIRST].map(Some));
    bench.now += LOSSES_APART;
    bench.input(Input::ConnectionLost);
    assert_eq!(bench.next_announce(), Some(REANNOUNCE_AFTER_LOSS));
}

#[test]
fn what_was_removed_is_forgotten() {
    let mut bench = Bench::new(100);
    bench.reply(A, 5);
    bench.meet(1, A);
    bench.discovery.handle_input(bench.now, Input::ConnectionLost);
    bench.input(Input::TrackerRemoved(A));
    bench.input(Input::PeerForgotten(PeerId::from([1; 20])));
    assert_eq!((bench.discovery.trackers.len(), bench.discovery.peers.len()), (1, 0));
    bench.reply(A, 7);
    bench.input(Input::PeerSeen { peer: PeerId::from([2; 20]), tracker: A });
    bench.input(Input::PeerMet(A));
    assert_eq!((bench.discovery.trackers.len(), bench.discovery.peers.len()), (1, 0));
}
