//! Which peers and channels a swarm has: duplicates, glare, limits, and when a peer is gone.
//!
//! The driver feeds what trackers and transports report with [`Mesh::handle_input`], then performs every
//! [`Mesh::poll_output`], and feeds [`Input::Timeout`] when [`Mesh::poll_timeout`] is due.
//!
//! An attempt is a connection on its way to become an open channel: an offer of this side that was answered, or an answer
//! of this side. Between two peers of this library both sides keep the channels with the smallest labels, which both can
//! see, so they agree without a word. A channel that a JavaScript peer takes part in is closed as a duplicate only when
//! it and an older one have both been open for [`JS_SETTLE`]: JavaScript registers channels late, reports only the first
//! one it sees, and breaks if that one goes first.
//!
//! A node of this library has one certificate. So while a peer is connected, an offer or an answer under its id that is not
//! marked as this library's, or is with another certificate, is of another peer, which does not get in
//! ([`RejectReason::NotTheSamePeer`]): not before the first one has gone. A JavaScript peer does not become one of this
//! library, or the other way round. What a description claims is looked at before an attempt begins, and what the channel was
//! secured with when it is open.
//!
//! An id that follows from a key is that of the peer with the key alone. So a description that is signed with the key
//! displaces a peer without one that is connected under the id, and what is under way with it; and while the peer with the
//! key is on its way, no other one is let in.
//!
//! Attempts with unknown peers may be more than there are places, so that no tracker takes them all. When the last place
//! is taken, those that are left are given up before their channels open, as far as that can be helped.

mod attempts;
mod entry;
mod io;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use p2pt_proto::PeerId;

use crate::{FewMap, Instant, TrackerId};
use attempts::{Attempt, Attempts};
use entry::{Channel, Entry};

pub use io::{
    AttemptId, ChannelId, Fingerprint, Identity, Input, Library, Objects, Output, PeerKey, RejectReason, RemoteOffer,
    Role,
};

/// How long two channels to a JavaScript peer are left alone before the younger may be closed.
pub const JS_SETTLE: Duration = Duration::from_secs(10);

/// How long an offer is kept while another attempt with its sender is under way, or while its tracker may cause no more:
/// the time for which JavaScript keeps an offer alive (50 s).
const HELD_OFFER_LIFETIME: Duration = Duration::from_secs(50);

/// How long an offer is kept while its sender has all its channels: a peer that leaves and comes back at once offers a
/// moment before its old channels close here.
const REJOIN_GRACE: Duration = Duration::from_secs(2);

/// Offers of unknown peers kept for each tracker while it may cause no more attempts.
const MAX_WAITING: usize = 8;

/// How long further channels to a peer are sought, where more than one is kept, and again when one of that age is gone. A
/// peer that keeps fewer closes them or declines, and does not say so.
pub const CHANNELS_SOUGHT: Duration = Duration::from_secs(600);

/// Channels to one peer beyond those kept, with attempts counted in: room for glare at several trackers. A peer that keeps
/// its retired channels busy gets no more than these.
pub(crate) const MAX_SURPLUS: usize = 16;

/// Attempts under way at once by one tracker, while the others cause none: each costs a WebRTC connection, and offers
/// come from unknown peers. Several trackers share them.
pub(crate) const MAX_ATTEMPTS: usize = 32;

/// Limits of a [`Mesh`].
#[derive(Debug, Clone, Copy)]
pub struct MeshConfig {
    /// Channels kept to each peer; at least 1.
    pub connections_per_peer: usize,
    /// Peers kept; offers are neither made nor answered above it.
    pub max_peers: usize,
}

/// The peers and channels of one swarm.
#[derive(Debug)]
pub struct Mesh<T: Objects> {
    config: MeshConfig,
    peers: BTreeMap<PeerId, Entry<T::Offer>>,
    attempts: Attempts,
    /// See [`Input::Lingering`].
    lingering: usize,
    /// The places last reported.
    places: usize,
    /// The vacancies last reported of each tracker.
    vacancies: FewMap<TrackerId, Option<usize>>,
    next_id: u64,
    outputs: VecDeque<Output<T>>,
}

impl<T: Objects> Mesh<T> {
    /// A mesh without peers and trackers.
    pub fn new(config: MeshConfig) -> Self {
        Self {
            config,
            peers: BTreeMap::new(),
            attempts: Attempts::default(),
            lingering: 0,
            places: config.max_peers,
            vacancies: FewMap::new(),
            next_id: 0,
            outputs: VecDeque::new(),
        }
    }

    /// How many peers have a channel.
    pub fn connected(&self) -> usize {
        self.peers.values().filter(|entry| entry.is_connected()).count()
    }

    /// Whether there is a channel to this peer, an attempt with it, or an offer of it that is kept.
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether an output to come may name this tracker.
    pub fn names(&self, tracker: TrackerId) -> bool {
        let mut held = self.peers.values().flat_map(|entry| &entry.held);
        self.attempts.is_led_to_by(tracker) || held.any(|(_, offer)| offer.tracker == tracker)
    }

    /// For how many more peers there are places.
    pub fn places(&self) -> usize {
        if self.is_held_up() { 0 } else { self.config.max_peers.saturating_sub(self.connected()) }
    }

    /// Whether so many peers linger that no further one is welcome.
    pub fn is_held_up(&self) -> bool {
        self.lingering > 0 && self.lingering >= self.config.max_peers
    }

    /// With how many more peers that this tracker introduces an attempt may begin.
    pub fn vacancies(&self, tracker: TrackerId) -> usize {
        self.attempts.own_room(tracker, self.places(), |attempt| self.is_unknown(&attempt.peer))
    }

    fn is_unknown(&self, peer: &PeerId) -> bool {
        is_unknown(&self.peers, peer)
    }

    /// The next thing to be done or to be known, if there is any; to be called until there is none.
    #[must_use = "what is polled and not carried out is lost"]
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, unless another input comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let holds_back = |attempt: &Attempt| {
            let entry = self.peers.get(&attempt.peer);
            entry.is_some_and(|entry| entry.held.iter().any(|(_, offer)| offer.tracker != attempt.tracker))
        };
        let expiry = self.peers.values().flat_map(|entry| &entry.held).map(|(until, _)| *until);
        let settle = self.peers.values().filter_map(|entry| entry.settled_at(self.config.connections_per_peer));
        let sought = self.peers.values().filter_map(|entry| entry.sought_until(self.config.connections_per_peer));
        expiry.chain(settle).chain(sought).chain(self.attempts.slow_at(holds_back)).min()
    }

    /// Takes in what happened. `now` must not go backwards.
    pub fn handle_input(&mut self, now: Instant, input: Input<T>) {
        let first = self.outputs.len();
        let looks_at_held = !matches!(input, Input::Offer { .. } | Input::Answer { .. });
        match input {
            Input::TrackerAdded(tracker) => drop(self.vacancies.get_or_insert_with(tracker, || None)),
            Input::TrackerRemoved(tracker) => {
                self.attempts.forget_tracker(tracker);
                self.vacancies.remove(&tracker);
            }
            Input::Offer { from, offer } => self.handle_offer(now, from, offer),
            Input::Answer { from, tracker, identity, answer } => {
                self.handle_answer(now, from, tracker, identity, answer);
            }
            Input::AttemptSucceeded { attempt, label, fingerprint, channel } => {
                self.handle_success(now, attempt, label, fingerprint, channel);
            }
            Input::AttemptFailed { attempt, error } => self.handle_failure(now, attempt, error, true),
            Input::AttemptRefused { attempt, error } => self.handle_failure(now, attempt, error, false),
            Input::ChannelClosed(channel) => self.handle_closed(now, channel),
            Input::Disconnect(peer) => self.handle_disconnect(now, peer),
            Input::IdentifierChanged => {
                for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                    self.handle_disconnect(now, peer);
                }
            }
            Input::Lingering(lingering) => self.lingering = lingering,
            Input::Timeout => {
                self.attempts.age(now);
                self.stop_seeking(now);
                for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                    self.settle(now, peer);
                }
            }
        }
        if looks_at_held {
            self.settle_held(now);
        }
        self.report_room(first);
    }

    /// Reports places, in front of this input's other outputs, and vacancies, where they have changed.
    fn report_room(&mut self, first: usize) {
        let places = self.places();
        if std::mem::replace(&mut self.places, places) != places {
            self.outputs.insert(first, Output::Places(places));
        }
        let taken = self.attempts.by_tracker(|attempt| is_unknown(&self.peers, &attempt.peer));
        for (tracker, reported) in self.vacancies.iter_mut() {
            let taken = taken.get(&tracker).copied().unwrap_or_default();
            let vacancies = self.attempts.most(tracker, places).saturating_sub(taken);
            if reported.replace(vacancies) != Some(vacancies) {
                self.outputs.push_back(Output::Vacancies { tracker, vacancies });
            }
        }
    }

    fn stop_seeking(&mut self, now: Instant) {
        let wanted = self.config.connections_per_peer;
        for entry in self.peers.values_mut() {
            if entry.sought_until(wanted).is_some_and(|until| now >= until) {
                entry.sought_until = None;
            }
        }
    }

    fn handle_closed(&mut self, now: Instant, channel: ChannelId) {
        let found = self.peers.iter_mut().find_map(|(peer, entry)| {
            let index = entry.channels.iter().position(|c| c.id == channel)?;
            if now >= entry.channels.remove(index).opened + CHANNELS_SOUGHT {
                entry.sought_until = Some(now + CHANNELS_SOUGHT);
            }
            Some((*peer, !entry.is_connected()))
        });
        let Some((peer, last)) = found else { return };
        if last {
            self.outputs.push_back(Output::PeerClosed(peer));
        }
        self.settle(now, peer);
    }

    fn handle_disconnect(&mut self, now: Instant, peer: PeerId) {
        for (attempt, _) in self.attempts.remove_which(|attempt| attempt.peer == peer) {
            self.outputs.push_back(Output::GiveUp(attempt));
        }
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.held.clear();
        }
        self.settle(now, peer);
    }

    fn handle_offer(&mut self, now: Instant, from: PeerId, offer: RemoteOffer<T::Offer>) {
        let is_displaced = self.displace(from, &offer.identity);
        let wanted = self.config.connections_per_peer;
        let before = self.attempts.before(&from, offer.tracker);
        let is_crowded = self.is_crowded(&from);
        let is_of_key = self.is_of_key(&from);
        match self.peers.get_mut(&from) {
            Some(_) if is_crowded => self.reject(from, offer.tracker, Role::Answerer, RejectReason::Duplicate),
            Some(_) if is_of_key && offer.identity.key.is_none() => {
                self.reject(from, offer.tracker, Role::Answerer, RejectReason::Unsigned);
            }
            // It may be the same peer, started anew, whose old channels are about to end.
            Some(entry) if !entry.may_be(&offer.identity) => self.hold_another(now, from, offer),
            Some(entry) if entry.live() >= wanted => drop(entry.hold(now + REJOIN_GRACE, offer)),
            // The attempt under way may fail: keep the newest offer for that case.
            Some(entry) if entry.live() + before >= wanted => {
                drop(entry.hold(now + HELD_OFFER_LIFETIME, offer));
            }
            _ => match self.admits(&from, offer.tracker) {
                Ok(()) => self.answer(now, from, offer),
                Err(RejectReason::Busy) if self.waiting(offer.tracker) < MAX_WAITING => {
                    let entry = self.peers.entry(from).or_insert_with(Entry::new);
                    drop(entry.hold(now + HELD_OFFER_LIFETIME, offer));
                }
                Err(reason) => self.reject(from, offer.tracker, Role::Answerer, reason),
            },
        }
        if is_displaced {
            self.settle(now, from);
        }
    }

    /// Ends what there is with a peer without a key, if the description of another one proves that the id is that of its key.
    /// Says whether there was such a peer.
    fn displace(&mut self, peer: PeerId, identity: &Identity) -> bool {
        if identity.key.is_none() {
            return false;
        }
        let Some(entry) = self.peers.get_mut(&peer) else { return false };
        let is_displaced = entry.identity().is_some_and(|connected| connected.key.is_none());
        if is_displaced {
            entry.displace();
            self.outputs.push_back(Output::PeerDisplaced(peer));
        }
        let held = entry.held.extract_if(.., |(_, offer)| offer.identity.key.is_none()).collect::<Vec<_>>();
        for (_, offer) in held {
            self.reject(peer, offer.tracker, Role::Answerer, RejectReason::Unsigned);
        }
        self.give_up_others(&peer, identity);
        is_displaced
    }

    /// Keeps an offer of another peer than the one that is connected under this id, and rejects the one before.
    fn hold_another(&mut self, now: Instant, from: PeerId, offer: RemoteOffer<T::Offer>) {
        let Some(entry) = self.peers.get_mut(&from) else { return };
        let older = entry.hold(now + REJOIN_GRACE, offer);
        if let Some(older) = older.filter(|older| !entry.may_be(&older.identity)) {
            self.reject(from, older.tracker, Role::Answerer, RejectReason::NotTheSamePeer);
        }
    }

    /// Whether there is room for an attempt with this peer to which an offer by this tracker leads.
    fn admits(&self, peer: &PeerId, tracker: TrackerId) -> Result<(), RejectReason> {
        let takes_place = |attempt: &Attempt| self.is_unknown(&attempt.peer);
        let places = self.places();
        if self.is_unknown(peer) && places == 0 {
            return Err(RejectReason::Full);
        }
        let is_busy = self.is_unknown(peer) && self.attempts.shared_room(tracker, places, takes_place) == 0
            || self.attempts.shared_room(tracker, MAX_ATTEMPTS, |_| true) == 0;
        if is_busy { Err(RejectReason::Busy) } else { Ok(()) }
    }

    /// How many offers of unknown peers by this tracker are kept.
    fn waiting(&self, tracker: TrackerId) -> usize {
        let unknown = self.peers.values().filter(|entry| !entry.is_connected());
        unknown.filter(|entry| entry.held.iter().any(|(_, offer)| offer.tracker == tracker)).count()
    }

    fn answer(&mut self, now: Instant, peer: PeerId, offer: RemoteOffer<T::Offer>) {
        let attempt = self.begin(now, peer, offer.tracker, Role::Answerer, offer.identity);
        self.outputs.push_back(Output::Answer { attempt, peer, offer });
    }

    fn reject(&mut self, peer: PeerId, tracker: TrackerId, role: Role, reason: RejectReason) {
        self.outputs.push_back(Output::Rejected { peer, tracker, role, reason });
    }

    fn handle_answer(&mut self, now: Instant, from: PeerId, tracker: TrackerId, identity: Identity, answer: T::Answer) {
        let is_displaced = self.displace(from, &identity);
        let wanted = self.config.connections_per_peer;
        let library = identity.library;
        let is_another = self.peers.get(&from).is_some_and(|entry| !entry.may_be(&identity));
        let is_of_key = self.is_of_key(&from);
        let is_duplicate = match self.peers.get(&from) {
            Some(_) if self.is_crowded(&from) => true,
            // A JavaScript peer that answers has begun to count on this channel, and may not have seen the other yet.
            Some(entry) if entry.live() >= wanted => library == Library::Ours || entry.has_lasted(now, JS_SETTLE),
            _ => false,
        };
        // Not limited by what other trackers cause: these are bounded by the offers of this side, and cannot wait.
        let reason = if is_of_key && identity.key.is_none() {
            RejectReason::Unsigned
        } else if is_another {
            RejectReason::NotTheSamePeer
        } else if is_duplicate {
            RejectReason::Duplicate
        } else if self.is_unknown(&from) && self.places() == 0 {
            RejectReason::Full
        } else if self.is_unknown(&from) && self.vacancies(tracker) == 0 {
            RejectReason::Busy
        } else {
            let attempt = self.begin(now, from, tracker, Role::Offerer, identity);
            self.outputs.push_back(Output::Accept { attempt, peer: from, tracker, answer });
            return;
        };
        self.reject(from, tracker, Role::Offerer, reason);
        if is_displaced {
            self.settle(now, from);
        }
    }

    fn begin(&mut self, now: Instant, peer: PeerId, tracker: TrackerId, role: Role, identity: Identity) -> AttemptId {
        let attempt = AttemptId(self.next_id);
        self.next_id += 1;
        self.attempts.begin(now, attempt, peer, tracker, role, identity);
        self.peers.entry(peer).or_insert_with(Entry::new);
        attempt
    }

    fn handle_success(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        label: String,
        fingerprint: Option<Fingerprint>,
        channel: T::Channel,
    ) {
        let Some(Attempt { peer, tracker, role, identity, .. }) = self.attempts.remove(attempt) else { return };
        // What the channel was secured with counts, not what the description claimed.
        let identity = Identity { fingerprint, ..identity };
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if entry.identity().is_some_and(|connected| !identity.is(&connected)) {
            self.reject(peer, tracker, role, RejectReason::NotTheSamePeer);
            self.settle(now, peer);
            return;
        }
        self.attempts.succeeded(tracker);
        let id = ChannelId(self.next_id);
        self.next_id += 1;
        let is_first = !entry.is_connected();
        entry.open(Channel { id, label, opened: now, retiring: false }, identity);
        if is_first {
            entry.sought_until = Some(now + CHANNELS_SOUGHT);
            self.outputs.push_back(Output::PeerConnected { peer, key: identity.key, tracker });
            self.give_up_others(&peer, &identity);
        }
        self.outputs.push_back(Output::ChannelOpened { peer, id, channel });
        if self.connected() >= self.config.max_peers {
            self.give_up_unknown();
        }
        self.settle(now, peer);
    }

    fn handle_failure(&mut self, now: Instant, attempt: AttemptId, error: T::Error, counts: bool) {
        let Some(attempt) = self.attempts.remove(attempt) else { return };
        // The failure of one to a connected peer does not speak against the tracker.
        if counts && self.is_unknown(&attempt.peer) {
            self.attempts.failed(&attempt);
        }
        let Attempt { peer, tracker, role, .. } = attempt;
        self.outputs.push_back(Output::AttemptFailed { peer, tracker, role, error });
        self.settle(now, peer);
    }

    /// It is known who a peer is: under its id no other one gets there.
    fn give_up_others(&mut self, peer: &PeerId, known: &Identity) {
        let is_another = |attempt: &Attempt| attempt.peer == *peer && !attempt.identity.may_be(known);
        for (attempt, Attempt { tracker, role, identity, .. }) in self.attempts.remove_which(is_another) {
            self.outputs.push_back(Output::GiveUp(attempt));
            let is_unsigned = known.key.is_some() && identity.key.is_none();
            let reason = if is_unsigned { RejectReason::Unsigned } else { RejectReason::NotTheSamePeer };
            self.reject(*peer, tracker, role, reason);
        }
    }

    /// The last place is taken: peers on their way must not get here only to be turned away.
    fn give_up_unknown(&mut self) {
        let peers = &self.peers;
        let given_up = self.attempts.remove_which(|attempt| is_unknown(peers, &attempt.peer));
        for (attempt, Attempt { peer, tracker, role, .. }) in given_up {
            self.outputs.push_back(Output::GiveUp(attempt));
            self.reject(peer, tracker, role, RejectReason::Full);
        }
        for (peer, entry) in std::mem::take(&mut self.peers) {
            if entry.is_connected() {
                self.peers.insert(peer, entry);
                continue;
            }
            for (_, offer) in entry.held {
                self.reject(peer, offer.tracker, Role::Answerer, RejectReason::Full);
            }
            self.outputs.push_back(Output::PeerForgotten(peer));
        }
    }

    /// Gives every offer that is kept its chance.
    fn settle_held(&mut self, now: Instant) {
        let holding = self.peers.iter().filter(|(_, entry)| !entry.held.is_empty());
        for peer in holding.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.settle(now, peer);
        }
    }

    /// Brings one peer in order after anything changed: surplus channels retire, a held offer gets its chance or expires,
    /// and a peer with nothing left is forgotten.
    fn settle(&mut self, now: Instant, peer: PeerId) {
        let wanted = self.config.connections_per_peer;
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        for channel in entry.retire_surplus(now, wanted) {
            self.outputs.push_back(Output::Retire { peer, channel });
        }
        let sought = entry.is_sought(now, wanted);
        if std::mem::replace(&mut entry.reported_sought, sought) != sought
            && let Some(sought) = sought
        {
            self.outputs.push_back(Output::Sought { peer, sought });
        }
        let (identity, has_all) = (entry.identity(), entry.live() >= wanted);
        let is_another =
            |offer: &RemoteOffer<T::Offer>| identity.is_some_and(|connected| !offer.identity.may_be(&connected));
        for (until, offer) in &mut entry.held {
            if has_all || is_another(offer) {
                *until = (*until).min(now + REJOIN_GRACE);
            }
        }
        let is_waiting = !entry.is_connected() && self.attempts.with(&peer) == 0;
        for (_, offer) in entry.held.extract_if(.., |(until, _)| now >= *until).collect::<Vec<_>>() {
            let reason = if is_another(&offer) {
                RejectReason::NotTheSamePeer
            } else if is_waiting {
                RejectReason::Busy
            } else {
                RejectReason::Duplicate
            };
            let tracker = offer.tracker;
            if reason == RejectReason::Duplicate && identity.is_some() {
                self.outputs.push_back(Output::MetAlready { peer, offer });
            }
            self.reject(peer, tracker, Role::Answerer, reason);
        }
        while let Some(offer) = self.next_held(&peer) {
            self.answer(now, peer, offer);
        }
        let is_over = |entry: &Entry<T::Offer>| !entry.is_connected() && entry.held.is_empty();
        if self.peers.get(&peer).is_some_and(is_over) && self.attempts.with(&peer) == 0 {
            self.peers.remove(&peer);
            self.outputs.push_back(Output::PeerForgotten(peer));
        }
    }

    /// Takes out a held offer that need not wait any more, the newest first.
    fn next_held(&mut self, peer: &PeerId) -> Option<RemoteOffer<T::Offer>> {
        let entry = self.peers.get(peer).filter(|_| !self.is_crowded(peer))?;
        let is_ready = |(_, offer): &(_, RemoteOffer<T::Offer>)| {
            entry.may_be(&offer.identity)
                && entry.live() + self.attempts.before(peer, offer.tracker) < self.config.connections_per_peer
                && self.admits(peer, offer.tracker).is_ok()
        };
        let index = entry.held.iter().rposition(is_ready)?;
        Some(self.peers.get_mut(peer)?.held.remove(index).1)
    }

    /// Whether an id is known to be that of a key: the peer with the key is connected or on its way, or its offer is held.
    /// So no peer without it, whose channel may be the first to open, keeps that one out.
    fn is_of_key(&self, peer: &PeerId) -> bool {
        let of_entry = |entry: &Entry<T::Offer>| {
            entry.has_key() || entry.held.iter().any(|(_, offer)| offer.identity.key.is_some())
        };
        self.peers.get(peer).is_some_and(of_entry) || self.attempts.is_with_key(peer)
    }

    /// Whether there are as many channels and attempts as one peer may have, whatever they are for.
    fn is_crowded(&self, peer: &PeerId) -> bool {
        let channels = self.peers.get(peer).map_or(0, |entry| entry.channels.len());
        channels + self.attempts.with(peer) >= self.config.connections_per_peer + MAX_SURPLUS
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl<T: Objects> Mesh<T>
where
    T::Offer: Copy + Ord,
{
    /// The offers that are held.
    pub(crate) fn held(&self) -> std::collections::BTreeSet<T::Offer> {
        self.peers.values().flat_map(|entry| &entry.held).map(|(_, offer)| offer.offer).collect()
    }
}

/// Whether there is no channel to this peer.
fn is_unknown<O>(peers: &BTreeMap<PeerId, Entry<O>>, peer: &PeerId) -> bool {
    peers.get(peer).is_none_or(|entry| !entry.is_connected())
}

#[cfg(test)]
mod identity_tests;

#[cfg(test)]
mod pair_tests;

#[cfg(test)]
mod tests;
