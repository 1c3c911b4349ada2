use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::tracker::{
    BURST_AGAIN, BURST_ANNOUNCES, BURST_SPACING, FIRST_OFFERS, MAX_OFFERS, PROBES, REQUEST_SPACING, SHORTEST,
    SLOW_SPACING,
};
use super::*;

const A: TrackerId = TrackerId(1);
const B: TrackerId = TrackerId(2);

struct Harness {
    discovery: Discovery,
    rng: StdRng,
    now: Instant,
    offers: BTreeMap<TrackerId, usize>,
}

impl Harness {
    /// Two trackers, each of which may cause so many attempts.
    fn new(places: usize) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the state machine only adds to it")]
        let now = Instant::now();
        let mut harness =
            Self { discovery: Discovery::new(places), rng: StdRng::seed_from_u64(1), now, offers: BTreeMap::new() };
        for tracker in [A, B] {
            harness.input(Input::TrackerAdded(tracker));
            harness.input(Input::Vacancies { tracker, vacancies: places });
        }
        harness
    }

    /// Where it is announced now.
    fn input(&mut self, input: Input) -> Vec<TrackerId> {
        self.discovery.handle_input(self.now, &mut self.rng, input);
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
    let mut harness = Harness::new(100);
    assert_eq!(harness.offers, [(A, FIRST_OFFERS), (B, FIRST_OFFERS)].into());
    for (members, offers) in [(1, 0), (3, 2), (50, MAX_OFFERS), (2, 1)] {
        harness.reply(A, members);
        assert_eq!(harness.offers[&A], offers, "of {members}");
    }
    harness.meet(1, A);
    assert_eq!(harness.offers[&A], 0);
    // The same peer may be the one member of another tracker, or not.
    harness.reply(B, 2);
    assert_eq!(harness.offers[&B], PROBES);
    harness.input(Input::PeerSeen { peer: PeerId::from([1; 20]), tracker: B });
    assert_eq!(harness.offers[&B], 0);
    // A tracker that counts others begins anew.
    harness.input(Input::TrackerReset(B));
    assert_eq!(harness.offers[&B], FIRST_OFFERS);
}

#[test]
fn a_full_swarm_wants_offers_only_for_missing_channels() {
    let mut harness = Harness::new(1);
    harness.reply(A, 10);
    assert_eq!(harness.offers[&A], 1);
    harness.meet(1, A);
    assert_eq!(harness.offers[&A], 0);
    harness.input(Input::Sought { peer: PeerId::from([1; 20]), sought: true });
    assert_eq!(harness.offers[&A], 1);
    harness.input(Input::PeerClosed(PeerId::from([1; 20])));
    assert_eq!(harness.offers[&A], 0);
}

/// Whether this is the time between two announces in a burst, doubled so often.
fn is_spacing(after: Option<Duration>, doublings: u32) -> bool {
    let spacing = BURST_SPACING * 2u32.pow(doublings);
    after.is_some_and(|after| (spacing..=spacing * 4 / 3).contains(&after))
}

#[test]
fn a_tracker_with_an_unknown_peer_is_asked_less_and_less_often() {
    let mut harness = Harness::new(100);
    for doublings in [0, 0, 1, 2, 3, 4, 5] {
        harness.reply(A, 2);
        let after = harness.next_announce();
        assert!(is_spacing(after, doublings), "{after:?} after {doublings}");
        assert_eq!(harness.discovery.poll_timeout(), None, "once for each reply");
    }
    harness.reply(A, 2);
    assert_eq!(harness.discovery.poll_timeout(), None, "from here on the interval asks");
    harness.reply(A, 1);
    assert_eq!(harness.discovery.poll_timeout(), None);
}

#[test]
fn a_tracker_is_asked_often_while_that_is_of_avail_but_not_without_end() {
    // More and more members, or more and more peers met.
    for grows in [true, false] {
        let mut harness = Harness::new(1000);
        let (mut announces, began) = (1, harness.now);
        let mut slow = Vec::new();
        for n in 0..60 {
            harness.reply(A, if grows { 2 + usize::from(n) } else { 1000 });
            if !grows {
                harness.meet(n, A);
            }
            let after = harness.next_announce().expect("an announce");
            if is_spacing(Some(after), 0) {
                announces += 1;
            } else {
                slow.push(after);
            }
            if harness.now > began + BURST_AGAIN {
                break;
            }
        }
        assert!((18..=BURST_ANNOUNCES).contains(&announces), "{announces} announces");
        assert!(slow.iter().all(|after| *after >= SLOW_SPACING && *after < SLOW_SPACING * 4), "{slow:?}");
        assert!(harness.now > began + BURST_AGAIN && slow.len() < 20, "{slow:?}");
        // Another burst.
        harness.reply(A, 2000);
        let after = harness.next_announce();
        assert!(is_spacing(after, 0), "{after:?}");
    }
}

#[test]
fn in_a_large_swarm_it_is_asked_until_each_unknown_peer_has_most_likely_got_two_offers() {
    for (members, replies) in [(6, 2), (40, 8), (1_000_000, 18)] {
        let mut harness = Harness::new(100);
        for n in 0..replies {
            harness.reply(A, members);
            let after = harness.next_announce();
            assert!(is_spacing(after, 0), "{n} of {members}: {after:?}");
        }
        let mut announces = 0;
        for _ in 0..100 {
            harness.reply(A, members);
            announces += usize::from(harness.next_announce().is_some());
        }
        assert!((2..8).contains(&announces), "{announces} more announces with {members} members");
    }
}

#[test]
fn an_announce_without_offers_is_followed_by_one_with_offers_within_a_second() {
    let mut harness = Harness::new(100);
    harness.reply(A, 1);
    assert_eq!(harness.offers[&A], 0);
    harness.reply(A, 2);
    assert_eq!(harness.offers[&A], 1);
    assert!(harness.next_announce().is_some_and(|after| after <= Duration::from_secs(1)));
    harness.reply(A, 2);
    let after = harness.next_announce();
    assert!(is_spacing(after, 0), "{after:?}");
    // It cannot be of use where nothing more is wanted.
    harness.reply(A, 1);
    harness.input(Input::Vacancies { tracker: A, vacancies: 0 });
    harness.reply(A, 2);
    assert!(harness.next_announce().is_none());
}

#[test]
fn a_tracker_that_changes_its_mind_has_no_more_announces_made_than_others() {
    let mut harness = Harness::new(100);
    let (mut announces, began) = (0, harness.now);
    while harness.now < began + BURST_AGAIN {
        harness.reply(A, 1);
        harness.reply(A, 2);
        match harness.next_announce() {
            Some(_) => announces += 1,
            None => harness.now += Duration::from_secs(1),
        }
    }
    let slow = BURST_AGAIN.as_secs() / SLOW_SPACING.as_secs();
    assert!((BURST_ANNOUNCES..=BURST_ANNOUNCES + slow as u32).contains(&announces), "{announces} announces");
}

#[test]
fn a_tracker_that_comes_back_is_given_offers_with_the_first_announce() {
    let mut harness = Harness::new(100);
    harness.reply(A, 1);
    assert_eq!(harness.offers[&A], 0);
    harness.input(Input::TrackerDisconnected(A));
    assert_eq!((harness.offers[&A], harness.discovery.poll_timeout()), (FIRST_OFFERS, None));
}

#[test]
fn a_reply_to_something_else_does_not_put_an_announce_off() {
    let mut harness = Harness::new(100);
    harness.reply(A, 5);
    let due = harness.discovery.poll_timeout();
    harness.now += Duration::from_secs(2);
    harness.reply(A, 5);
    assert_eq!(harness.discovery.poll_timeout(), due);
    // A tracker that takes its time to reply is asked as often as others.
    harness.now = due.expect("an announce is due");
    harness.input(Input::Timeout);
    let asked = harness.now;
    harness.now += Duration::from_secs(2);
    harness.reply(A, 5);
    harness.next_announce();
    assert!(is_spacing(Some(harness.now - asked), 0), "{:?}", harness.now - asked);
}

#[test]
fn a_peer_met_has_its_tracker_alone_asked_sooner() {
    let mut harness = Harness::new(100);
    for tracker in [A, B] {
        for _ in 0..3 {
            harness.reply(tracker, 3);
            harness.next_announce();
        }
        harness.reply(tracker, 3);
    }
    let at = |harness: &Harness, tracker| {
        harness.discovery.trackers.get(&tracker).unwrap().announce_at.map(|at| at - harness.now)
    };
    let before = at(&harness, B);
    harness.meet(1, A);
    assert!(is_spacing(at(&harness, A), 0));
    assert_eq!(at(&harness, B), before);
}

#[test]
fn a_swarm_without_places_asks_no_tracker_again() {
    let mut harness = Harness::new(0);
    harness.reply(A, 2);
    assert_eq!(harness.next_announce(), None);
}

#[test]
fn after_a_loss_trackers_are_asked_soon_but_not_over_and_over() {
    let mut harness = Harness::new(100);
    let mut asked = Vec::new();
    for _ in 0..2 {
        harness.reply(A, 1);
        harness.input(Input::ConnectionLost);
        asked.push(harness.next_announce());
    }
    assert_eq!(asked, [REANNOUNCE_AFTER_LOSS, SLOW_SPACING].map(Some));
    harness.now += LOSSES_APART;
    harness.input(Input::ConnectionLost);
    assert_eq!(harness.next_announce(), Some(REANNOUNCE_AFTER_LOSS));
}

#[test]
fn an_application_that_asks_over_and_over_has_an_announce_made_at_once_and_then_every_five_seconds() {
    let mut harness = Harness::new(100);
    harness.reply(A, 1);
    harness.reply(B, 1);
    let mut announces = Vec::new();
    let began = harness.now;
    for n in 0..110 {
        harness.now = began + Duration::from_millis(100) * n;
        for input in [Input::MorePeersRequested, Input::MorePeersRequested, Input::Timeout] {
            announces.extend(harness.input(input).iter().filter(|tracker| **tracker == A).map(|_| harness.now - began));
        }
    }
    assert_eq!(announces, [0, 1, 2].map(|n| REQUEST_SPACING * n));
}

#[test]
fn what_was_removed_is_forgotten() {
    let mut harness = Harness::new(100);
    harness.reply(A, 5);
    harness.meet(1, A);
    harness.discovery.handle_input(harness.now, &mut harness.rng, Input::ConnectionLost);
    harness.input(Input::TrackerRemoved(A));
    harness.input(Input::PeerForgotten(PeerId::from([1; 20])));
    assert_eq!((harness.discovery.trackers.len(), harness.discovery.peers.len()), (1, 0));
    harness.reply(A, 7);
    harness.input(Input::PeerSeen { peer: PeerId::from([2; 20]), tracker: A });
    harness.input(Input::PeerMet(A));
    assert_eq!((harness.discovery.trackers.len(), harness.discovery.peers.len()), (1, 0));
}

#[test]
fn under_another_identifier_connected_peers_are_no_members_until_they_are_seen() {
    let mut harness = Harness::new(100);
    harness.reply(A, 3);
    harness.meet(1, A);
    harness.meet(2, A);
    harness.reply(A, 3);
    assert_eq!(harness.offers[&A], 0, "all have met");
    harness.offers.clear();
    harness.input(Input::IdentifierChanged);
    assert_eq!(harness.offers, [(A, FIRST_OFFERS), (B, FIRST_OFFERS)].into(), "as for any swarm that is new");

    harness.reply(A, 3);
    assert_eq!(harness.offers[&A], 2, "both members there are unknown");
    assert!(harness.next_announce().is_some_and(|after| after < 2 * BURST_SPACING), "a burst begins");
    harness.input(Input::PeerSeen { peer: PeerId::from([1; 20]), tracker: A });
    harness.reply(A, 2);
    assert_eq!(harness.offers[&A], 0, "the only other member is connected");
}

#[test]
fn a_new_identifier_brings_no_two_announces_at_once() {
    let mut harness = Harness::new(100);
    harness.input(Input::ConnectionLost);
    assert!(harness.next_announce().is_some());
    // First just after an announce, then where nothing was announced lately.
    for pause in [Duration::ZERO, Duration::from_secs(60)] {
        harness.now += pause;
        harness.offers.clear();
        harness.input(Input::IdentifierChanged);
        harness.input(Input::MorePeersRequested);
        assert_eq!(harness.next_announce(), Some(SHORTEST), "the swarm has been announced anew this very moment");
    }
}
