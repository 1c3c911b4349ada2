//! Discovery, and what a driver knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2pt_proto::PeerId;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{base, read};
use crate::discovery::{Discovery, Input, Output};
use crate::{Instant, TrackerId};

/// Offers that an announce carries at most.
const MAX_OFFERS: usize = 10;

/// No two announces at a tracker are closer.
const SHORTEST: Duration = Duration::from_millis(500);

/// The most announces at a tracker in this time, whatever happens: those of a burst, what follows it slowly or
/// after a loss, and one every five seconds for which the application asks.
const MOST: (usize, Duration) = (20 + 9 + 15, Duration::from_secs(75));

#[derive(Debug, Default)]
struct Tracker {
    offers: Option<usize>,
    vacancies: usize,
    announces: Vec<Instant>,
}

#[derive(Debug)]
struct Driver {
    discovery: Discovery,
    rng: SmallRng,
    now: Instant,
    trackers: BTreeMap<TrackerId, Tracker>,
    /// Peers to which further channels are sought.
    lacking: BTreeSet<PeerId>,
}

/// Reads operations and performs them.
///
/// # Panics
/// When a promise is broken.
pub fn discovery(data: &[u8]) {
    let (settings, operations) = read(data);
    let mut driver = Driver {
        discovery: Discovery::new(usize::from(settings)),
        rng: SmallRng::seed_from_u64(settings.into()),
        now: base(),
        trackers: BTreeMap::new(),
        lacking: BTreeSet::new(),
    };
    for operation in operations {
        driver.perform(operation);
    }
}

impl Driver {
    fn perform(&mut self, [kind, one, two, three]: [u8; 4]) {
        let (tracker, peer) = (TrackerId((one % 3).into()), PeerId::from([two % 8; 20]));
        match kind % 16 {
            0 => {
                self.trackers.entry(tracker).or_default();
                self.input(Input::TrackerAdded(tracker));
            }
            1 => {
                self.trackers.remove(&tracker);
                self.input(Input::TrackerRemoved(tracker));
            }
            2 => self.input(Input::TrackerDisconnected(tracker)),
            3 => self.input(Input::TrackerReset(tracker)),
            4 | 5 => {
                // Trackers claim what they like.
                let members = if three > 250 { usize::MAX - usize::from(two) } else { usize::from(two % 64) };
                self.input(Input::AnnounceReply { tracker, members });
            }
            6 => self.input(Input::PeerSeen { peer, tracker }),
            7 => self.input(Input::PeerMet(tracker)),
            8 => {
                let sought = three.is_multiple_of(2);
                if sought {
                    self.lacking.insert(peer)
                } else {
                    self.lacking.remove(&peer)
                };
                self.input(Input::Sought { peer, sought });
            }
            9 => {
                self.lacking.remove(&peer);
                self.input(Input::PeerClosed(peer));
            }
            10 => {
                self.lacking.remove(&peer);
                self.input(Input::PeerForgotten(peer));
            }
            11 if three == 0 => {
                for tracker in self.trackers.values_mut() {
                    // The swarm is announced as another one, for which the earlier announces count for nothing.
                    (tracker.offers, tracker.announces) = (None, vec![self.now]);
                }
                self.input(Input::IdentifierChanged);
            }
            11 if three.is_multiple_of(2) => self.input(Input::ConnectionLost),
            11 => self.input(Input::MorePeersRequested),
            12 => self.input(Input::Places(two.into())),
            13 => {
                let vacancies = usize::from(two);
                if let Some(tracker) = self.trackers.get_mut(&tracker) {
                    tracker.vacancies = vacancies;
                }
                self.input(Input::Vacancies { tracker, vacancies });
            }
            // Time passes, with each timeout when it is due.
            14 => {
                let until = self.now + Duration::from_millis(u64::from(one) * 200);
                while let Some(due) = self.discovery.poll_timeout().filter(|due| *due <= until) {
                    self.now = self.now.max(due);
                    self.input(Input::Timeout);
                    assert!(self.discovery.poll_timeout().is_none_or(|at| at > self.now), "a timeout is overdue");
                }
                self.now = until;
            }
            // Time passes unnoticed, as on a machine that sleeps.
            _ => {
                self.now += Duration::from_secs(u64::from(one));
                self.input(Input::Timeout);
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.discovery.handle_input(self.now, &mut self.rng, input);
        let mut has_announced = false;
        while let Some(output) = self.discovery.poll_output() {
            match output {
                Output::Offers { tracker, offers } => {
                    assert!(!has_announced, "an announce comes before what it goes by");
                    let state = self.trackers.get_mut(&tracker).expect("the tracker is there");
                    assert_ne!(state.offers.replace(offers), Some(offers), "reported again");
                }
                Output::Announce(tracker) => {
                    has_announced = true;
                    assert_eq!(input, Input::Timeout, "nothing but time has an announce made");
                    let state = self.trackers.get_mut(&tracker).expect("the tracker is there");
                    let last = state.announces.last();
                    assert!(last.is_none_or(|last| self.now >= *last + SHORTEST), "announces follow too close");
                    state.announces.push(self.now);
                    let (most, time) = MOST;
                    let recent = state.announces.iter().filter(|at| **at + time > self.now).count();
                    assert!(recent <= most, "{recent} announces in {time:?}");
                }
            }
        }
        for (id, state) in &self.trackers {
            let offers = state.offers.expect("it was reported how many offers a new tracker is given");
            assert!(offers <= MAX_OFFERS && offers <= state.vacancies + self.lacking.len(), "{offers} for {id:?}");
            assert_eq!(self.discovery.wants_offers(*id), offers > 0);
        }
    }
}
