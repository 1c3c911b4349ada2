//! Which peers and links a swarm has: duplicates, glare, limits, and when a peer is gone. Sans-I/O.
//!
//! The driver feeds what trackers and transports say with [`Mesh::handle_input`], then performs every
//! [`Mesh::poll_output`], and feeds [`Input::Timeout`] when [`Mesh::poll_timeout`] is due.
//!
//! A link is an open data channel. An attempt is a connection on its way to become one: an offer of ours that was
//! answered, or an answer of ours. Between two peers of this library both sides keep the links with the smallest
//! labels, which both can see, so they agree without a word. A link that a JavaScript peer takes part in is closed as
//! a duplicate only when it and an older one have both been open for [`JS_SETTLE`]: JavaScript registers links late,
//! reports only the first one it sees, and breaks if that one goes first.
//!
//! Attempts with strangers may be more than there are places, so that no tracker takes them all (see [`attempts`]). When
//! the last place is taken, those that are left are given up before their channels open, as far as that can be helped.

mod attempts;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use p2pt_proto::PeerId;
use p2pt_tracker::AnnounceUrl;
use p2pt_transport::Role;

use crate::RejectReason;
use attempts::{Attempt, Attempts};

/// How long two links to a JavaScript peer are left alone before the younger may be closed.
pub(crate) const JS_SETTLE: Duration = Duration::from_secs(10);

/// How long an offer is kept while another attempt with its sender is under way, or while its tracker may cause no more:
/// the time for which JavaScript keeps an offer alive (50 s).
const HELD_OFFER_LIFETIME: Duration = Duration::from_secs(50);

/// How long an offer is kept while its sender has all its links: one who leaves and comes back at once offers a moment
/// before its old links close here.
const REJOIN_GRACE: Duration = Duration::from_secs(2);

/// Strangers' offers kept for each tracker while it may cause no more attempts.
const MOST_WAITING: usize = 8;

/// How long further links to a peer are sought, where more than one is kept, and again when one of that age is gone. A
/// peer that keeps fewer closes them or declines, and does not say so.
pub(crate) const LINKS_SOUGHT: Duration = Duration::from_secs(600);

/// Links to one peer beyond those kept, with attempts counted in: room for glare at several trackers. A peer that keeps
/// its retired links busy gets no more than these.
const MAX_SURPLUS: usize = 16;

/// Attempts under way at once by one tracker, while the others cause none: each costs a WebRTC connection, and offers
/// come from strangers. Several trackers share them.
const MAX_ATTEMPTS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AttemptId(pub(crate) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

#[derive(Debug, Clone, Copy)]
pub(crate) struct MeshConfig {
    /// Links kept to each peer; at least 1.
    pub(crate) connections_per_peer: usize,
    /// Peers kept; offers are neither made nor answered above it.
    pub(crate) max_peers: usize,
}

/// A stranger's offer. `T` is what the driver needs to answer it; opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteOffer<T> {
    /// By which it came.
    pub(crate) tracker: AnnounceUrl,
    pub(crate) via: T,
    pub(crate) sdp: String,
    /// Made by this library, not by the JavaScript one.
    pub(crate) ours: bool,
}

#[derive(Debug)]
pub(crate) enum Input<T> {
    /// A stranger's offer arrived.
    Offer {
        from: PeerId,
        offer: RemoteOffer<T>,
    },
    /// One of our offers was answered; `ours` as in [`RemoteOffer`].
    Answer {
        from: PeerId,
        tracker: AnnounceUrl,
        ours: bool,
    },
    Opened {
        attempt: AttemptId,
        label: String,
    },
    Failed {
        attempt: AttemptId,
    },
    Closed {
        link: LinkId,
    },
    /// The application has parted with this peer: attempts with it come to nothing, and what it offered is forgotten.
    /// The driver closes its links.
    Parted {
        peer: PeerId,
    },
    Timeout,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<T> {
    /// Answer this offer and open the channel.
    Answer { attempt: AttemptId, peer: PeerId, offer: RemoteOffer<T> },
    /// Apply the answer just reported to its offer and open the channel.
    Accept { attempt: AttemptId, peer: PeerId, tracker: AnnounceUrl },
    /// An offer was not answered, or the answer to one of ours that was just reported is not taken up.
    Rejected { peer: PeerId, tracker: AnnounceUrl, role: Role, reason: RejectReason },
    /// An attempt has failed.
    Failed { peer: PeerId, tracker: AnnounceUrl, role: Role },
    /// End this attempt.
    GiveUp { attempt: AttemptId },
    /// A first link to this peer is open, to which this tracker led.
    PeerConnected { peer: PeerId, tracker: AnnounceUrl },
    /// The attempt's channel is now this link. Comes after `PeerConnected`.
    LinkOpened { peer: PeerId, attempt: AttemptId, link: LinkId },
    /// Send over other links as soon as order allows, and close this one when it is quiet.
    Retire { peer: PeerId, link: LinkId },
    /// No further link to this peer is sought any more, though there are fewer than configured.
    Satisfied { peer: PeerId },
    /// The last link is gone.
    PeerClosed { peer: PeerId },
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    label: String,
    opened: Instant,
    retiring: bool,
}

#[derive(Debug)]
struct Entry<T> {
    links: Vec<Link>,
    /// Until when further links are sought, once there is one.
    sought_until: Option<Instant>,
    /// By each tracker the newest offer that may still be answered, and until when.
    held: Vec<(Instant, RemoteOffer<T>)>,
    /// Every link and attempt so far was with a peer of this library.
    ours: bool,
}

#[derive(Debug)]
pub(crate) struct Mesh<T> {
    config: MeshConfig,
    peers: BTreeMap<PeerId, Entry<T>>,
    attempts: Attempts,
    /// See [`set_lingering`](Mesh::set_lingering).
    lingering: usize,
    next_id: u64,
    outputs: VecDeque<Output<T>>,
}

impl<T> Mesh<T> {
    pub(crate) fn new(config: MeshConfig) -> Self {
        let (peers, attempts, outputs) = (BTreeMap::new(), Attempts::default(), VecDeque::new());
        Self { config, peers, attempts, lingering: 0, next_id: 0, outputs }
    }

    /// Peers with at least one link.
    pub(crate) fn connected(&self) -> usize {
        self.peers.values().filter(|entry| !entry.links.is_empty()).count()
    }

    /// Peers of which no further link is sought: connected as often as configured, or as often as they like, it seems.
    pub(crate) fn satisfied(&self, now: Instant) -> impl Iterator<Item = &PeerId> {
        let wanted = self.config.connections_per_peer;
        let is_sought = move |entry: &Entry<T>| entry.sought_until.is_some_and(|until| now < until);
        let is_satisfied =
            move |entry: &Entry<T>| entry.live() >= wanted || !entry.links.is_empty() && !is_sought(entry);
        self.peers.iter().filter(move |(_, entry)| is_satisfied(entry)).map(|(peer, _)| peer)
    }

    /// Whether there is a link to this peer, an attempt with it, or an offer of it that is kept.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Says how many peers have gone but still hold memory, because the application has not heard all of them. As many
    /// of those as peers are allowed, and no further peer is welcome.
    pub(crate) fn set_lingering(&mut self, lingering: usize) {
        self.lingering = lingering;
    }

    pub(crate) fn forget_tracker(&mut self, tracker: &AnnounceUrl) {
        self.attempts.forget_tracker(tracker);
    }

    /// How many more peers there are places for.
    pub(crate) fn places(&self) -> usize {
        if self.is_held_up() { 0 } else { self.config.max_peers.saturating_sub(self.connected()) }
    }

    /// Whether so many peers linger that no further one is welcome.
    pub(crate) fn is_held_up(&self) -> bool {
        self.lingering > 0 && self.lingering >= self.config.max_peers
    }

    /// With how many more peers that this tracker introduces an attempt may begin.
    pub(crate) fn vacancies(&self, tracker: &AnnounceUrl) -> usize {
        self.attempts.own_room(tracker, self.places(), |attempt| self.is_stranger(&attempt.peer))
    }

    fn is_stranger(&self, peer: &PeerId) -> bool {
        is_stranger(&self.peers, peer)
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let holds_back = |attempt: &Attempt| {
            let entry = self.peers.get(&attempt.peer);
            entry.is_some_and(|entry| entry.held.iter().any(|(_, offer)| offer.tracker != attempt.tracker))
        };
        let expiry = self.peers.values().flat_map(|entry| &entry.held).map(|(until, _)| *until);
        let settle = self.peers.values().filter_map(|entry| entry.settled_at(self.config.connections_per_peer));
        let sought = self.peers.values().filter_map(|entry| entry.sought_until(self.config.connections_per_peer));
        expiry.chain(settle).chain(sought).chain(self.attempts.slow_at(holds_back)).min()
    }

    pub(crate) fn handle_input(&mut self, now: Instant, input: Input<T>) {
        match input {
            Input::Offer { from, offer } => return self.handle_offer(now, from, offer),
            Input::Answer { from, tracker, ours } => return self.handle_answer(now, from, tracker, ours),
            Input::Opened { attempt, label } => self.handle_opened(now, attempt, label),
            Input::Failed { attempt } => self.handle_failed(now, attempt),
            Input::Closed { link } => self.handle_closed(now, link),
            Input::Parted { peer } => self.handle_parted(now, peer),
            Input::Timeout => {
                self.attempts.age(now);
                self.stop_seeking(now);
                for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                    self.settle(now, peer);
                }
            }
        }
        self.settle_held(now);
    }

    fn stop_seeking(&mut self, now: Instant) {
        let wanted = self.config.connections_per_peer;
        for (peer, entry) in &mut self.peers {
            if entry.sought_until(wanted).is_some_and(|until| now >= until) {
                entry.sought_until = None;
                self.outputs.push_back(Output::Satisfied { peer: *peer });
            }
        }
    }

    fn handle_closed(&mut self, now: Instant, link: LinkId) {
        let found = self.peers.iter_mut().find_map(|(peer, entry)| {
            let index = entry.links.iter().position(|l| l.id == link)?;
            if now >= entry.links.remove(index).opened + LINKS_SOUGHT {
                entry.sought_until = Some(now + LINKS_SOUGHT);
            }
            Some((*peer, entry.links.is_empty()))
        });
        let Some((peer, last)) = found else { return };
        if last {
            self.outputs.push_back(Output::PeerClosed { peer });
        }
        self.settle(now, peer);
    }

    fn handle_parted(&mut self, now: Instant, peer: PeerId) {
        for (attempt, _) in self.attempts.remove_with(|other| *other == peer) {
            self.outputs.push_back(Output::GiveUp { attempt });
        }
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.held.clear();
        }
        self.settle(now, peer);
    }

    fn handle_offer(&mut self, now: Instant, from: PeerId, offer: RemoteOffer<T>) {
        let wanted = self.config.connections_per_peer;
        let before = self.attempts.before(&from, &offer.tracker);
        let is_crowded = self.is_crowded(&from);
        match self.peers.get_mut(&from) {
            Some(_) if is_crowded => self.reject(from, offer.tracker, Role::Answerer, RejectReason::Duplicate),
            Some(entry) if entry.live() >= wanted => entry.hold(now + REJOIN_GRACE, offer),
            // The attempt under way may fail: keep the newest offer for that case.
            Some(entry) if entry.live() + before >= wanted => entry.hold(now + HELD_OFFER_LIFETIME, offer),
            _ => match self.admits(&from, &offer.tracker) {
                Ok(()) => self.answer(now, from, offer),
                Err(RejectReason::Busy) if self.waiting(&offer.tracker) < MOST_WAITING => {
                    self.peers.entry(from).or_insert_with(Entry::new).hold(now + HELD_OFFER_LIFETIME, offer);
                }
                Err(reason) => self.reject(from, offer.tracker, Role::Answerer, reason),
            },
        }
    }

    /// Whether there is room for an attempt with this peer to which an offer by this tracker leads.
    fn admits(&self, peer: &PeerId, tracker: &AnnounceUrl) -> Result<(), RejectReason> {
        let takes_place = |attempt: &Attempt| self.is_stranger(&attempt.peer);
        let places = self.places();
        if self.is_stranger(peer) && places == 0 {
            return Err(RejectReason::Full);
        }
        let is_busy = self.is_stranger(peer) && self.attempts.shared_room(tracker, places, takes_place) == 0
            || self.attempts.shared_room(tracker, MAX_ATTEMPTS, |_| true) == 0;
        if is_busy { Err(RejectReason::Busy) } else { Ok(()) }
    }

    /// How many strangers' offers by this tracker are kept.
    fn waiting(&self, tracker: &AnnounceUrl) -> usize {
        let strangers = self.peers.values().filter(|entry| entry.links.is_empty());
        strangers.filter(|entry| entry.held.iter().any(|(_, offer)| offer.tracker == *tracker)).count()
    }

    fn answer(&mut self, now: Instant, peer: PeerId, offer: RemoteOffer<T>) {
        let attempt = self.begin(now, peer, &offer.tracker, Role::Answerer, offer.ours);
        self.outputs.push_back(Output::Answer { attempt, peer, offer });
    }

    fn reject(&mut self, peer: PeerId, tracker: AnnounceUrl, role: Role, reason: RejectReason) {
        self.outputs.push_back(Output::Rejected { peer, tracker, role, reason });
    }

    fn handle_answer(&mut self, now: Instant, from: PeerId, tracker: AnnounceUrl, ours: bool) {
        let wanted = self.config.connections_per_peer;
        let duplicate = match self.peers.get(&from) {
            Some(_) if self.is_crowded(&from) => true,
            // A JavaScript peer that answers has begun to count on this link, and may not have seen the other yet.
            Some(entry) if entry.live() >= wanted => {
                ours || entry.links.iter().any(|l| !l.retiring && now >= l.opened + JS_SETTLE)
            }
            _ => false,
        };
        // Not limited by what other trackers cause: these are bounded by the offers we made, and cannot wait.
        let reason = if duplicate {
            RejectReason::Duplicate
        } else if self.is_stranger(&from) && self.places() == 0 {
            RejectReason::Full
        } else if self.is_stranger(&from) && self.vacancies(&tracker) == 0 {
            RejectReason::Busy
        } else {
            let attempt = self.begin(now, from, &tracker, Role::Offerer, ours);
            self.outputs.push_back(Output::Accept { attempt, peer: from, tracker });
            return;
        };
        self.reject(from, tracker, Role::Offerer, reason);
    }

    fn begin(&mut self, now: Instant, peer: PeerId, tracker: &AnnounceUrl, role: Role, ours: bool) -> AttemptId {
        let attempt = AttemptId(self.next_id);
        self.next_id += 1;
        self.attempts.begin(now, attempt, peer, tracker.clone(), role);
        self.peers.entry(peer).or_insert_with(Entry::new).ours &= ours;
        attempt
    }

    fn handle_opened(&mut self, now: Instant, attempt: AttemptId, label: String) {
        let Some(Attempt { peer, tracker, .. }) = self.attempts.remove(attempt) else { return };
        self.attempts.succeeded(&tracker);
        let link = LinkId(self.next_id);
        self.next_id += 1;
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let first = entry.links.is_empty();
        entry.links.push(Link { id: link, label, opened: now, retiring: false });
        if first {
            entry.sought_until = Some(now + LINKS_SOUGHT);
            self.outputs.push_back(Output::PeerConnected { peer, tracker });
        }
        self.outputs.push_back(Output::LinkOpened { peer, attempt, link });
        if self.connected() >= self.config.max_peers {
            self.give_up_strangers();
        }
        self.settle(now, peer);
    }

    fn handle_failed(&mut self, now: Instant, attempt: AttemptId) {
        let Some(Attempt { peer, tracker, role, .. }) = self.attempts.remove(attempt) else { return };
        // One to a peer that has a link tells nothing about the tracker.
        if self.is_stranger(&peer) {
            self.attempts.failed(tracker.clone());
        }
        self.outputs.push_back(Output::Failed { peer, tracker, role });
        self.settle(now, peer);
    }

    /// The last place is taken: whoever is on the way must not get there and be turned away.
    fn give_up_strangers(&mut self) {
        let peers = &self.peers;
        let given_up = self.attempts.remove_with(|peer| is_stranger(peers, peer));
        for (attempt, Attempt { peer, tracker, role, .. }) in given_up {
            self.outputs.push_back(Output::GiveUp { attempt });
            self.reject(peer, tracker, role, RejectReason::Full);
        }
        for (peer, entry) in std::mem::take(&mut self.peers) {
            if !entry.links.is_empty() {
                self.peers.insert(peer, entry);
                continue;
            }
            for (_, offer) in entry.held {
                self.reject(peer, offer.tracker, Role::Answerer, RejectReason::Full);
            }
        }
    }

    /// Gives every offer that is kept its chance.
    fn settle_held(&mut self, now: Instant) {
        let holding = self.peers.iter().filter(|(_, entry)| !entry.held.is_empty());
        for peer in holding.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.settle(now, peer);
        }
    }

    /// Brings one peer in order after anything changed: surplus links retire, a held offer gets its chance or expires,
    /// and a peer with nothing left is forgotten.
    fn settle(&mut self, now: Instant, peer: PeerId) {
        let wanted = self.config.connections_per_peer;
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        for link in entry.retire_surplus(now, wanted) {
            self.outputs.push_back(Output::Retire { peer, link });
        }
        if entry.live() >= wanted {
            entry.held.iter_mut().for_each(|(until, _)| *until = (*until).min(now + REJOIN_GRACE));
        }
        let is_waiting = entry.links.is_empty() && self.attempts.with(&peer) == 0;
        for (_, offer) in entry.held.extract_if(.., |(until, _)| now >= *until).collect::<Vec<_>>() {
            let reason = if is_waiting { RejectReason::Busy } else { RejectReason::Duplicate };
            self.reject(peer, offer.tracker, Role::Answerer, reason);
        }
        while let Some(offer) = self.next_held(&peer) {
            self.answer(now, peer, offer);
        }
        let is_over = |entry: &Entry<T>| entry.links.is_empty() && entry.held.is_empty();
        if self.peers.get(&peer).is_some_and(is_over) && self.attempts.with(&peer) == 0 {
            self.peers.remove(&peer);
        }
    }

    /// Takes out a held offer that need not wait any more, the newest first.
    fn next_held(&mut self, peer: &PeerId) -> Option<RemoteOffer<T>> {
        let entry = self.peers.get(peer).filter(|_| !self.is_crowded(peer))?;
        let is_ready = |(_, offer): &(_, RemoteOffer<T>)| {
            entry.live() + self.attempts.before(peer, &offer.tracker) < self.config.connections_per_peer
                && self.admits(peer, &offer.tracker).is_ok()
        };
        let index = entry.held.iter().rposition(is_ready)?;
        Some(self.peers.get_mut(peer)?.held.remove(index).1)
    }

    /// Whether there are as many links and attempts as one peer may have, whatever they are for.
    fn is_crowded(&self, peer: &PeerId) -> bool {
        let links = self.peers.get(peer).map_or(0, |entry| entry.links.len());
        links + self.attempts.with(peer) >= self.config.connections_per_peer + MAX_SURPLUS
    }
}

/// Whether there is no link to this peer.
fn is_stranger<T>(peers: &BTreeMap<PeerId, Entry<T>>, peer: &PeerId) -> bool {
    peers.get(peer).is_none_or(|entry| entry.links.is_empty())
}

impl<T> Entry<T> {
    fn new() -> Self {
        Self { links: Vec::new(), sought_until: None, held: Vec::new(), ours: true }
    }

    /// Links that may carry new messages.
    fn live(&self) -> usize {
        self.links.iter().filter(|link| !link.retiring).count()
    }

    /// Until when further links are sought to a peer that has fewer than `wanted`.
    fn sought_until(&self, wanted: usize) -> Option<Instant> {
        self.sought_until.filter(|_| !self.links.is_empty() && self.live() < wanted)
    }

    /// Keeps an offer in place of an older one by the same tracker.
    fn hold(&mut self, until: Instant, offer: RemoteOffer<T>) {
        self.held.retain(|(_, older)| older.tracker != offer.tracker);
        self.held.push((until, offer));
    }

    /// When the next link to a JavaScript peer becomes surplus.
    fn settled_at(&self, wanted: usize) -> Option<Instant> {
        if self.ours || self.live() <= wanted {
            return None;
        }
        // Links are in the order they opened; the first surplus one settles first.
        self.links.iter().filter(|link| !link.retiring).nth(wanted).map(|link| link.opened + JS_SETTLE)
    }

    fn retire_surplus(&mut self, now: Instant, wanted: usize) -> Vec<LinkId> {
        let mut live: Vec<&mut Link> = self.links.iter_mut().filter(|link| !link.retiring).collect();
        if self.ours {
            live.sort_by(|a, b| a.label.cmp(&b.label));
        }
        let surplus = live.into_iter().skip(wanted);
        let retired = surplus.filter(|link| self.ours || now >= link.opened + JS_SETTLE);
        retired
            .map(|link| {
                link.retiring = true;
                link.id
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "mesh_pair_tests.rs"]
mod pair_tests;
