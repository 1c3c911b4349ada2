//! When to announce at each tracker of one swarm, and how many offers each should be given.
//!
//! The driver feeds what trackers report, and what the [mesh](crate::mesh) reports of places and peers, with
//! [`Discovery::handle_input`], then performs every [`Discovery::poll_output`], and feeds [`Input::Timeout`] when
//! [`Discovery::poll_timeout`] is due.
//!
//! Trackers hand offers to members drawn at random, so an unknown peer may have got none. While a tracker knows unknown
//! peers, announcing there again finds them sooner than its interval would. So announces come in bursts: one every three
//! to four seconds while the last two were of avail, which are those after which a peer was met or the number of members
//! grew; then after twice the time each, until the tracker's own interval does the asking. A burst is bounded, and so is
//! how soon there may be another, because a tracker may claim any number of members.

mod tracker;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use p2pt_proto::PeerId;
use rand::Rng;

use crate::{FewMap, Instant, TrackerId};
use tracker::{SLOW_SPACING, Tracker};

/// After a connection was lost without a graceful close, trackers are asked again after this time: if the peer lives,
/// its side has noticed by then and asks too. [`SLOW_SPACING`] if that happened before within [`LOSSES_APART`].
const REANNOUNCE_AFTER_LOSS: Duration = Duration::from_secs(2);

/// See [`REANNOUNCE_AFTER_LOSS`].
const LOSSES_APART: Duration = Duration::from_secs(60);

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A tracker was added.
    TrackerAdded(TrackerId),
    /// A tracker was removed.
    TrackerRemoved(TrackerId),
    /// The socket to a tracker is gone: how many members it will know when it is back is open.
    TrackerDisconnected(TrackerId),
    /// A tracker counts other members from now on, and knows none of those that were seen there.
    TrackerReset(TrackerId),
    /// A tracker has replied to an announce.
    AnnounceReply {
        /// Which tracker.
        tracker: TrackerId,
        /// How many members it knows, this node included.
        members: usize,
    },
    /// An offer or an answer of a peer that the mesh knows came by this tracker, so the peer is a member there.
    PeerSeen {
        /// Which peer.
        peer: PeerId,
        /// By which tracker.
        tracker: TrackerId,
    },
    /// A first channel to a peer is open, to which this tracker led.
    PeerMet(TrackerId),
    /// Whether further channels to a connected peer are sought.
    Sought {
        /// Which peer.
        peer: PeerId,
        /// Whether further channels are sought.
        sought: bool,
    },
    /// A peer has no channel any more.
    PeerClosed(PeerId),
    /// The mesh knows nothing of a peer any more.
    PeerForgotten(PeerId),
    /// A channel broke or fell silent; the peer may well be there.
    ConnectionLost,
    /// The application asks for more peers.
    MorePeersRequested,
    /// The swarm has another identifier from now on, and is announced anew. No connected peer is known to be a member
    /// under it until it is [seen](Input::PeerSeen) there.
    IdentifierChanged,
    /// For how many more peers there are places.
    Places(usize),
    /// With how many more peers an attempt may begin that this tracker leads to.
    Vacancies {
        /// Which tracker.
        tracker: TrackerId,
        /// How many.
        vacancies: usize,
    },
    /// The time of [`Discovery::poll_timeout`] has come.
    Timeout,
}

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Announce at this tracker now.
    Announce(TrackerId),
    /// From now on, announces at this tracker should carry so many offers.
    Offers {
        /// Which tracker.
        tracker: TrackerId,
        /// How many.
        offers: usize,
    },
}

/// What is known of one peer that the mesh knows.
#[derive(Debug, Default)]
struct Peer {
    /// Where it is a member.
    seen: Vec<TrackerId>,
    /// Whether further channels are sought, while it is connected.
    sought: Option<bool>,
    /// It was met under an earlier identifier, and was not seen under the present one.
    is_elsewhere: bool,
}

impl Peer {
    /// Whether it is a member to which offers are of no use.
    fn is_satisfied(&self) -> bool {
        self.sought == Some(false) && !self.is_elsewhere
    }

    /// Whether it is a member to which further channels are sought.
    fn is_lacking(&self) -> bool {
        self.sought == Some(true) && !self.is_elsewhere
    }
}

/// Decides when to announce at each tracker of one swarm, and with how many offers.
#[derive(Debug)]
pub struct Discovery {
    trackers: FewMap<TrackerId, Tracker>,
    peers: BTreeMap<PeerId, Peer>,
    places: usize,
    /// When trackers were last asked soon because a connection was lost.
    lost: Option<Instant>,
    announces: VecDeque<TrackerId>,
    /// How many offers are wanted, where that is to be reported.
    offers: VecDeque<(TrackerId, usize)>,
    /// Something has changed that decides how many offers are wanted.
    is_changed: bool,
}

impl Discovery {
    /// For a swarm with so many places, without trackers and peers.
    pub fn new(places: usize) -> Self {
        let (trackers, peers) = (FewMap::new(), BTreeMap::new());
        let (announces, offers) = (VecDeque::new(), VecDeque::new());
        Self { trackers, peers, places, lost: None, announces, offers, is_changed: false }
    }

    /// Takes in what happened. `now` must not go backwards; `rng` decides what is left to chance.
    pub fn handle_input(&mut self, now: Instant, rng: &mut impl Rng, input: Input) {
        self.is_changed |= input != Input::Timeout;
        match input {
            Input::TrackerAdded(tracker) => drop(self.trackers.get_or_insert_with(tracker, Tracker::default)),
            Input::TrackerRemoved(tracker) => {
                self.trackers.remove(&tracker);
                self.unsee(tracker);
            }
            Input::TrackerDisconnected(tracker) => {
                if let Some(state) = self.trackers.get_mut(&tracker) {
                    state.reset();
                }
            }
            Input::TrackerReset(tracker) => {
                if let Some(state) = self.trackers.get_mut(&tracker) {
                    state.reset();
                    self.unsee(tracker);
                }
            }
            Input::AnnounceReply { tracker, members } => {
                let known = self.satisfied();
                if let Some(state) = self.trackers.get_mut(&tracker) {
                    state.on_reply(now, rng, members, known);
                }
            }
            Input::PeerSeen { peer, tracker } => {
                if self.trackers.get(&tracker).is_some() {
                    let peer = self.peers.entry(peer).or_default();
                    if !peer.seen.contains(&tracker) {
                        peer.seen.push(tracker);
                    }
                    peer.is_elsewhere = false;
                }
            }
            Input::PeerMet(tracker) => {
                if let Some(state) = self.trackers.get_mut(&tracker).filter(|_| self.places > 0) {
                    state.on_met(now, rng);
                }
            }
            Input::Sought { peer, sought } => self.peers.entry(peer).or_default().sought = Some(sought),
            Input::PeerClosed(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.sought = None;
                }
            }
            Input::PeerForgotten(peer) => drop(self.peers.remove(&peer)),
            Input::ConnectionLost => self.on_loss(now),
            Input::MorePeersRequested => self.trackers.values_mut().for_each(|state| state.on_request(now)),
            Input::IdentifierChanged => {
                self.announces.clear();
                self.offers.clear();
                self.trackers.values_mut().for_each(|state| state.begin_anew(now));
                for peer in self.peers.values_mut() {
                    peer.seen.clear();
                    peer.is_elsewhere = true;
                }
            }
            Input::Places(places) => self.places = places,
            Input::Vacancies { tracker, vacancies } => {
                if let Some(state) = self.trackers.get_mut(&tracker) {
                    state.vacancies = vacancies;
                }
            }
            Input::Timeout => {
                let due = self.trackers.iter_mut().filter_map(|(id, state)| state.take_due(now).then_some(id));
                self.announces.extend(due);
            }
        }
    }

    /// The next thing to be done, if there is any; to be called until there is none. How many offers are wanted comes
    /// first, so that an announce goes by it.
    #[must_use = "what is polled and not carried out is lost"]
    pub fn poll_output(&mut self) -> Option<Output> {
        if std::mem::take(&mut self.is_changed) {
            self.decide_offers();
        }
        let offers = self.offers.pop_front().map(|(tracker, offers)| Output::Offers { tracker, offers });
        offers.or_else(|| self.announces.pop_front().map(Output::Announce))
    }

    fn decide_offers(&mut self) {
        let satisfied = self.satisfied();
        let lacking = self.peers.values().filter(|peer| peer.is_lacking()).count();
        self.trackers.values_mut().for_each(|state| state.satisfied_here = 0);
        for tracker in self.peers.values().filter(|peer| peer.is_satisfied()).flat_map(|peer| &peer.seen) {
            if let Some(state) = self.trackers.get_mut(tracker) {
                state.satisfied_here += 1;
            }
        }
        for (id, state) in self.trackers.iter_mut() {
            self.offers.extend(state.report_offers(satisfied, lacking).map(|offers| (id, offers)));
        }
    }

    /// When [`Input::Timeout`] is due, unless another input comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.trackers.values().filter_map(|state| state.announce_at).min()
    }

    /// Whether the number of offers last reported for this tracker is another than none.
    pub fn wants_offers(&self, tracker: TrackerId) -> bool {
        self.trackers.get(&tracker).and_then(|state| state.offers) != Some(0)
    }

    /// How many members need no offer.
    fn satisfied(&self) -> usize {
        self.peers.values().filter(|peer| peer.is_satisfied()).count()
    }

    /// No peer is known to be a member at this tracker.
    fn unsee(&mut self, tracker: TrackerId) {
        for peer in self.peers.values_mut() {
            peer.seen.retain(|seen| *seen != tracker);
        }
    }

    fn on_loss(&mut self, now: Instant) {
        if self.places == 0 {
            return;
        }
        let often = self.lost.is_some_and(|lost| now < lost + LOSSES_APART);
        if !often {
            self.lost = Some(now);
        }
        let at = now + if often { SLOW_SPACING } else { REANNOUNCE_AFTER_LOSS };
        for state in self.trackers.values_mut() {
            state.has_news(now);
            state.ask_by(at);
        }
    }
}

#[cfg(test)]
mod tests;
