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

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use p2pt_proto::PeerId;

/// How long two links to a JavaScript peer are left alone before the younger may be closed.
pub(crate) const JS_SETTLE: Duration = Duration::from_secs(10);

/// How long an offer is kept while another attempt with its sender is under way: the time for which JavaScript keeps
/// an offer alive (50 s).
const HELD_OFFER_LIFETIME: Duration = Duration::from_secs(50);

/// How long an offer is kept while its sender has all its links: one who leaves and comes back at once offers a moment
/// before its old links close here.
const REJOIN_GRACE: Duration = Duration::from_secs(2);

/// Links to one peer beyond those kept, with attempts counted in: room for glare at several trackers. A peer that keeps
/// its retired links busy gets no more than these.
const MAX_SURPLUS: usize = 16;

/// Attempts under way at once. Each costs a WebRTC connection, and offers come from strangers.
const MAX_ATTEMPTS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AttemptId(pub(crate) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

#[derive(Debug, Clone, Copy)]
pub(crate) struct MeshConfig {
    /// Links kept to each peer; at least 1.
    pub(crate) links_per_peer: usize,
    /// Peers kept; offers are neither made nor answered above it.
    pub(crate) max_peers: usize,
}

/// What the driver must do to answer a stranger's offer; opaque here. `T` names the tracker it came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteOffer<T> {
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
    Accept { attempt: AttemptId, peer: PeerId },
    /// Drop the offer that was just answered: another link does, or the swarm is full.
    Discard { peer: PeerId, why: Declined },
    /// An offer was not answered.
    Declined { peer: PeerId, why: Declined },
    /// A first link to this peer is open.
    PeerConnected { peer: PeerId },
    /// The attempt's channel is now this link. Comes after `PeerConnected`.
    LinkOpened { peer: PeerId, attempt: AttemptId, link: LinkId },
    /// Send over other links as soon as order allows, and close this one when it is quiet.
    Retire { peer: PeerId, link: LinkId },
    /// The last link is gone.
    PeerClosed { peer: PeerId },
}

/// Why an offer, or an answer to one of ours, was not taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declined {
    /// The peer has its links already.
    Duplicate,
    /// The swarm has its peers already.
    Full,
    /// Too many attempts are under way.
    Busy,
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
    attempts: usize,
    /// The newest offer that may still be answered, and until when.
    held: Option<(Instant, RemoteOffer<T>)>,
    /// Every link and attempt so far was with a peer of this library.
    ours: bool,
}

#[derive(Debug)]
struct Attempt {
    peer: PeerId,
}

#[derive(Debug)]
pub(crate) struct Mesh<T> {
    config: MeshConfig,
    peers: BTreeMap<PeerId, Entry<T>>,
    attempts: HashMap<AttemptId, Attempt>,
    /// See [`set_lingering`](Mesh::set_lingering).
    lingering: usize,
    next_id: u64,
    outputs: VecDeque<Output<T>>,
}

impl<T> Mesh<T> {
    pub(crate) fn new(config: MeshConfig) -> Self {
        let (peers, attempts, outputs) = (BTreeMap::new(), HashMap::new(), VecDeque::new());
        Self { config, peers, attempts, lingering: 0, next_id: 0, outputs }
    }

    /// Peers with at least one link.
    pub(crate) fn connected(&self) -> usize {
        self.peers.values().filter(|entry| !entry.links.is_empty()).count()
    }

    /// Peers that want no further link: connected as often as configured.
    pub(crate) fn satisfied(&self) -> impl Iterator<Item = &PeerId> {
        let wanted = self.config.links_per_peer;
        self.peers.iter().filter(move |(_, entry)| entry.live() >= wanted).map(|(peer, _)| peer)
    }

    /// Whether there is a link to this peer, or an attempt with it.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Says how many peers have gone but still hold memory, because the application has not heard all of them. As many
    /// of those as peers are allowed, and no further peer is welcome.
    pub(crate) fn set_lingering(&mut self, lingering: usize) {
        self.lingering = lingering;
    }

    /// How many more peers would be welcome.
    pub(crate) fn vacancies(&self) -> usize {
        let max = self.config.max_peers;
        if self.lingering < max { max.saturating_sub(self.peers.len()) } else { 0 }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let expiry = self.peers.values().filter_map(|entry| entry.held.as_ref()).map(|(until, _)| *until);
        let settle = self.peers.values().filter_map(|entry| entry.settled_at(self.config.links_per_peer));
        expiry.chain(settle).min()
    }

    pub(crate) fn handle_input(&mut self, now: Instant, input: Input<T>) {
        match input {
            Input::Offer { from, offer } => self.handle_offer(now, from, offer),
            Input::Answer { from, ours } => self.handle_answer(now, from, ours),
            Input::Opened { attempt, label } => self.handle_opened(now, attempt, label),
            Input::Failed { attempt } => {
                let Some(Attempt { peer }) = self.attempts.remove(&attempt) else { return };
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.attempts -= 1;
                }
                self.settle(now, peer);
            }
            Input::Closed { link } => {
                let found = self.peers.iter_mut().find_map(|(peer, entry)| {
                    let index = entry.links.iter().position(|l| l.id == link)?;
                    entry.links.remove(index);
                    Some((*peer, entry.links.is_empty()))
                });
                let Some((peer, last)) = found else { return };
                if last {
                    self.outputs.push_back(Output::PeerClosed { peer });
                }
                self.settle(now, peer);
            }
            Input::Parted { peer } => {
                self.attempts.retain(|_, attempt| attempt.peer != peer);
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.attempts = 0;
                    entry.held = None;
                }
                self.settle(now, peer);
            }
            Input::Timeout => {
                for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                    self.settle(now, peer);
                }
            }
        }
    }

    fn handle_offer(&mut self, now: Instant, from: PeerId, offer: RemoteOffer<T>) {
        let (wanted, vacancies) = (self.config.links_per_peer, self.vacancies());
        let verdict = match self.peers.get_mut(&from) {
            Some(entry) if entry.is_crowded(wanted) => Some(Declined::Duplicate),
            Some(entry) if entry.live() >= wanted => {
                entry.held = Some((now + REJOIN_GRACE, offer));
                return;
            }
            Some(entry) if entry.live() + entry.attempts >= wanted => {
                // The attempt under way may fail: keep the newest offer for that case.
                entry.held = Some((now + HELD_OFFER_LIFETIME, offer));
                return;
            }
            None if vacancies == 0 => Some(Declined::Full),
            _ if self.attempts.len() >= MAX_ATTEMPTS => Some(Declined::Busy),
            _ => None,
        };
        match verdict {
            Some(why) => self.outputs.push_back(Output::Declined { peer: from, why }),
            None => self.answer(from, offer),
        }
    }

    fn answer(&mut self, peer: PeerId, offer: RemoteOffer<T>) {
        let attempt = self.begin(peer, offer.ours);
        self.outputs.push_back(Output::Answer { attempt, peer, offer });
    }

    fn handle_answer(&mut self, now: Instant, from: PeerId, ours: bool) {
        let wanted = self.config.links_per_peer;
        let verdict = match self.peers.get(&from) {
            Some(entry) if entry.is_crowded(wanted) => Some(Declined::Duplicate),
            // A JavaScript peer that answers has begun to count on this link, and may not have seen the other yet.
            Some(entry) if entry.live() >= wanted => {
                let settled = entry.links.iter().any(|l| !l.retiring && now >= l.opened + JS_SETTLE);
                (ours || settled).then_some(Declined::Duplicate)
            }
            Some(_) => None,
            None => (self.vacancies() == 0).then_some(Declined::Full),
        };
        // Not limited by MAX_ATTEMPTS: these are bounded by the offers we made.
        match verdict {
            Some(why) => self.outputs.push_back(Output::Discard { peer: from, why }),
            None => {
                let attempt = self.begin(from, ours);
                self.outputs.push_back(Output::Accept { attempt, peer: from });
            }
        }
    }

    fn begin(&mut self, peer: PeerId, ours: bool) -> AttemptId {
        let attempt = AttemptId(self.next_id);
        self.next_id += 1;
        self.attempts.insert(attempt, Attempt { peer });
        let entry = self.peers.entry(peer).or_insert(Entry { links: Vec::new(), attempts: 0, held: None, ours: true });
        entry.attempts += 1;
        entry.ours &= ours;
        attempt
    }

    fn handle_opened(&mut self, now: Instant, attempt: AttemptId, label: String) {
        let Some(Attempt { peer }) = self.attempts.remove(&attempt) else { return };
        let link = LinkId(self.next_id);
        self.next_id += 1;
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.attempts -= 1;
        if entry.links.is_empty() {
            self.outputs.push_back(Output::PeerConnected { peer });
        }
        entry.links.push(Link { id: link, label, opened: now, retiring: false });
        self.outputs.push_back(Output::LinkOpened { peer, attempt, link });
        self.settle(now, peer);
    }

    /// Brings one peer in order after anything changed: surplus links retire, a held offer gets its chance or expires,
    /// and a peer with nothing left is forgotten.
    fn settle(&mut self, now: Instant, peer: PeerId) {
        let wanted = self.config.links_per_peer;
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        for link in entry.retire_surplus(now, wanted) {
            self.outputs.push_back(Output::Retire { peer, link });
        }
        if entry.live() >= wanted
            && let Some((until, _)) = &mut entry.held
        {
            *until = (*until).min(now + REJOIN_GRACE);
        }
        if entry.held.take_if(|(until, _)| now >= *until).is_some() {
            self.outputs.push_back(Output::Declined { peer, why: Declined::Duplicate });
        }
        if entry.live() + entry.attempts < wanted
            && !entry.is_crowded(wanted)
            && let Some((_, offer)) = entry.held.take()
        {
            self.answer(peer, offer);
        } else if entry.links.is_empty() && entry.attempts == 0 {
            self.peers.remove(&peer);
        }
    }
}

impl<T> Entry<T> {
    /// Links that may carry new messages.
    fn live(&self) -> usize {
        self.links.iter().filter(|link| !link.retiring).count()
    }

    /// Whether there are as many links and attempts as one peer may have, whatever they are for.
    fn is_crowded(&self, wanted: usize) -> bool {
        self.links.len() + self.attempts >= wanted + MAX_SURPLUS
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
