//! The connections of one swarm: what the mesh and discovery decide, turned into peers, channels and events.

mod incoming;
mod peers;
mod sessions;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use p2pt_mesh::discovery::{self, Discovery};
use p2pt_mesh::mesh::{self, AttemptId, ChannelId, Input, Mesh, MeshConfig, Output, PeerKey};
use p2pt_mesh::{FewMap, TrackerId};
use p2pt_proto::{OfferId, PeerId};
use p2pt_rt::Instant;
use p2pt_tracker::{AnnounceUrl, TrackerClient};
use p2pt_transport::{Channel, ChannelClosed, Fingerprint, FrameReceiver, PendingOffer, Role, TransportError};
use p2pt_trust::{PublicKey, TrackerHost, Vouchers};
use rand::rngs::StdRng;
use tracing::{Span, debug, error_span};

use crate::admission::Admission;
use crate::candidates::{Candidate, Candidates};
use crate::channel::PeerChannel;
use crate::counters::{Counted, count};
use crate::mux::Mux;
use crate::settings::Settings;
use crate::swarm::SwarmShared;
use crate::trust::{Descriptions, NodeTrust, OwnDescription, Pairing, Proven, ReadDescription};
use crate::{ConnectionFailed, Peer, RejectReason};
use sessions::Sessions;

/// A peer's offer, with the way back to it.
#[derive(Debug)]
pub(crate) struct IncomingOffer {
    pub(crate) client: Arc<TrackerClient>,
    pub(crate) offer_id: OfferId,
    pub(crate) description: ReadDescription,
}

/// An offer of this side, with the answer to it.
#[derive(Debug)]
pub(crate) struct AnsweredOffer {
    pub(crate) pending: Box<dyn PendingOffer>,
    pub(crate) own: OwnDescription,
    pub(crate) answer: ReadDescription,
}

/// A channel that an attempt has led to, and what its other end has proven.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) channel: Channel,
    pub(crate) proven: Option<Proven>,
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum AttemptError {
    Transport(TransportError),
    /// The other end is not to be believed.
    Refused(RejectReason),
}

impl From<TransportError> for AttemptError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

/// What the mesh carries.
#[derive(Debug)]
struct Objects;

impl mesh::Objects for Objects {
    type Offer = IncomingOffer;
    type Answer = AnsweredOffer;
    type Channel = Opened;
    type Error = AttemptError;
}

/// What the engine has to do.
pub(crate) enum Action {
    Announce {
        tracker: TrackerId,
    },
    SetWanted {
        tracker: TrackerId,
        offers: usize,
    },
    Answer {
        attempt: AttemptId,
        peer: PeerId,
        offer: IncomingOffer,
    },
    Accept {
        attempt: AttemptId,
        peer: PeerId,
        answer: AnsweredOffer,
    },
    GiveUp {
        attempt: AttemptId,
    },
    Run {
        peer: Peer,
        channel: Arc<PeerChannel>,
        receiver: Box<dyn FrameReceiver>,
        mux: Option<Arc<Mux>>,
    },
    /// Deliver what comes by a session that has begun.
    Deliver {
        peer: Peer,
        mux: Arc<Mux>,
    },
    Retire {
        channel: Arc<PeerChannel>,
    },
    Close {
        channel: Arc<PeerChannel>,
    },
    /// Report when the channel closes, of which nothing is read yet.
    Watch {
        channel: Arc<PeerChannel>,
    },
    /// Let a peer know that it is met already, through the tracker by which its offer came.
    Sight {
        peer: PeerId,
        offer: IncomingOffer,
        tracker: TrackerHost,
    },
}

pub(crate) struct Connections {
    mesh: Mesh<Objects>,
    discovery: Discovery,
    rng: StdRng,
    shared: Arc<SwarmShared>,
    settings: Arc<Settings>,
    admission: Arc<Admission>,
    trust: Arc<NodeTrust>,
    /// This node's peer id.
    own: PeerId,
    descriptions: Descriptions,
    pairing: Option<Arc<Pairing>>,
    slots: BTreeMap<PeerId, Slot>,
    sessions: Sessions,
    /// Peers that are connected and not let in yet.
    candidates: Candidates,
    /// Which trackers show the keys of peers that the mesh knows.
    vouchers: BTreeMap<PeerId, Vouchers>,
    actions: VecDeque<Action>,
    /// The trackers' URLs, also of those that were removed, for as long as the mesh may name them.
    urls: FewMap<TrackerId, AnnounceUrl>,
    /// The trackers that were removed.
    removed: Vec<TrackerId>,
    /// See [`Input::Lingering`].
    lingering: usize,
    span: Span,
}

struct Slot {
    peer: Peer,
    /// Channels whose readers have not delivered everything yet.
    readers: usize,
    /// The last channel is gone; how, and what may be lost.
    gone: Option<(ChannelClosed, u64)>,
    _counted: Counted,
}

impl Connections {
    pub(crate) fn new(
        config: MeshConfig,
        shared: Arc<SwarmShared>,
        settings: Arc<Settings>,
        (admission, trust): (Arc<Admission>, Arc<NodeTrust>),
        own: PeerId,
        rng: StdRng,
    ) -> Self {
        let span = span_of(&shared);
        let key = shared.identity().key;
        let descriptions = key.descriptions(own, &trust);
        let pairing = key.pairing(&trust, crate::now()).map(Arc::new);
        Self {
            mesh: Mesh::new(config),
            discovery: Discovery::new(config.max_peers),
            rng,
            shared,
            settings,
            admission,
            trust,
            own,
            descriptions,
            pairing,
            slots: BTreeMap::new(),
            sessions: Sessions::default(),
            candidates: Candidates::default(),
            vouchers: BTreeMap::new(),
            actions: VecDeque::new(),
            urls: FewMap::new(),
            removed: Vec::new(),
            lingering: 0,
            span,
        }
    }

    /// The swarm's span, in which its tasks run.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// How descriptions are written and read here.
    pub(crate) fn descriptions(&self) -> &Descriptions {
        &self.descriptions
    }

    /// This node's side of the swarm's code, if it has one.
    pub(crate) fn pairing(&self) -> Option<&Arc<Pairing>> {
        self.pairing.as_ref()
    }

    /// What to do next, if anything.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front().or_else(|| {
            Some(match self.discovery.poll_output()? {
                discovery::Output::Announce(tracker) => Action::Announce { tracker },
                discovery::Output::Offers { tracker, offers } => Action::SetWanted { tracker, offers },
            })
        })
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waits = [self.candidates.poll_timeout(), self.sessions.poll_timeout()];
        let timeouts = [self.discovery.poll_timeout(), self.mesh.poll_timeout()];
        waits.into_iter().chain(timeouts).flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.discover(now, discovery::Input::Timeout);
        self.step(now, Input::Timeout);
        while let Some((peer, candidate)) = self.candidates.take_expired(now) {
            let seen = self.vouchers.get(&peer).map_or(0, Vouchers::through);
            let reason = RejectReason::NotVouched { seen, wanted: self.trust.agreement() };
            self.rejected(peer, candidate.tracker, candidate.role, reason);
            self.close(now, &candidate);
        }
        while let Some(peer) = self.sessions.take_expired(now) {
            debug!(parent: &self.span, %peer, "the peer has not come back, and its session ends");
            self.end_session(&peer);
            self.finish(peer);
        }
    }

    fn close(&mut self, now: Instant, candidate: &Candidate) {
        for channel in candidate.channels() {
            self.actions.push_back(Action::Close { channel: channel.clone() });
            self.step(now, Input::ChannelClosed(channel.id));
        }
    }

    /// Takes notice of what the application has read.
    pub(crate) fn refresh(&mut self, now: Instant) {
        let let_in = self.mesh.connected().saturating_sub(self.candidates.len());
        let lingering = self.shared.queue.known().saturating_sub(let_in);
        if std::mem::replace(&mut self.lingering, lingering) != lingering {
            debug!(parent: &self.span, lingering, "so many peers have gone whose end was not read");
            self.mesh.handle_input(now, Input::Lingering(lingering));
            self.perform(now);
        }
    }

    /// Whether there is no place because the application has not read the last events of peers that have gone.
    pub(crate) fn waits_for_application(&self) -> bool {
        self.mesh.is_held_up()
    }

    pub(crate) fn add_tracker(&mut self, now: Instant, tracker: TrackerId, url: AnnounceUrl) {
        self.urls.insert(tracker, url);
        self.discover(now, discovery::Input::TrackerAdded(tracker));
        self.step(now, Input::TrackerAdded(tracker));
    }

    pub(crate) fn remove_tracker(&mut self, now: Instant, tracker: TrackerId) {
        self.removed.push(tracker);
        self.discover(now, discovery::Input::TrackerRemoved(tracker));
        self.step(now, Input::TrackerRemoved(tracker));
    }

    /// A tracker counts other members from now on.
    pub(crate) fn reset_tracker(&mut self, now: Instant, tracker: TrackerId) {
        self.discover(now, discovery::Input::TrackerReset(tracker));
        self.step(now, Input::TrackerRemoved(tracker));
        self.step(now, Input::TrackerAdded(tracker));
    }

    /// There is no socket to a tracker any more, so the members it counted are no longer known.
    pub(crate) fn disconnected(&mut self, now: Instant, tracker: TrackerId) {
        self.discover(now, discovery::Input::TrackerDisconnected(tracker));
    }

    /// A tracker has replied to an announce: how many members it knows, this node included.
    pub(crate) fn announced(&mut self, now: Instant, tracker: TrackerId, members: usize) {
        self.discover(now, discovery::Input::AnnounceReply { tracker, members });
    }

    /// The application asks for more peers.
    pub(crate) fn request_more_peers(&mut self, now: Instant) {
        self.discover(now, discovery::Input::MorePeersRequested);
    }

    /// The swarm is announced under another identifier from now on: channels stay open, attempts come to nothing.
    pub(crate) fn change_identifier(&mut self, now: Instant) {
        let _span = span_of(&self.shared);
        debug!(parent: &self.span, to = %self.shared.identity().key.info_hash(), "the swarm's identifier changes");
        self.span = span_of(&self.shared);
        let key = self.shared.identity().key;
        self.descriptions = key.descriptions(self.own, &self.trust);
        self.pairing = key.pairing(&self.trust, now).map(Arc::new);
        self.step(now, Input::IdentifierChanged);
        // They are attempts, too, and what is to be agreed upon was met elsewhere.
        self.candidates.take_all().for_each(|candidate| self.close(now, &candidate));
        self.discover(now, discovery::Input::IdentifierChanged);
    }

    /// Whether discovery wants this tracker to have offers.
    pub(crate) fn wants_offers(&self, tracker: TrackerId) -> bool {
        self.discovery.wants_offers(tracker)
    }

    pub(crate) fn attempt_ended(&mut self, now: Instant, attempt: AttemptId, result: Result<Opened, AttemptError>) {
        match result {
            Ok(opened) => {
                debug!(parent: &self.span, attempt = attempt.0, "an attempt to connect has opened a channel");
                let label = opened.channel.info.label.clone();
                let fingerprint = opened.channel.info.remote_fingerprint.map(fingerprint_of);
                self.step(now, Input::AttemptSucceeded { attempt, label, fingerprint, channel: opened });
            }
            Err(error) => {
                debug!(parent: &self.span, attempt = attempt.0, error = %error.logged(), "an attempt to connect has failed");
                self.step(
                    now,
                    match error {
                        AttemptError::Transport(_) => Input::AttemptFailed { attempt, error },
                        AttemptError::Refused(_) => Input::AttemptRefused { attempt, error },
                    },
                );
            }
        }
    }

    pub(crate) fn channel_closed(&mut self, now: Instant, channel: ChannelId, reason: ChannelClosed) {
        let removed = self.slots.values_mut().find_map(|slot| {
            let removed = slot.peer.shared().remove_channel(channel, reason.clone())?;
            self.settings.counters.closed(&reason);
            let unacknowledged = removed.unacknowledged_bytes();
            debug!(parent: removed.span(), %reason, unacknowledged, "the channel has closed");
            let shared = slot.peer.shared();
            let in_session = shared.mux().map(|mux| {
                mux.close_link(&shared.send_queue, channel);
                mux.unacknowledged_bytes()
            });
            if !slot.peer.is_connected() {
                slot.gone = Some((reason.clone(), in_session.unwrap_or(unacknowledged)));
            }
            Some(())
        });
        if removed.is_some() || self.candidates.channel_closed(channel) {
            self.step(now, Input::ChannelClosed(channel));
            if matches!(reason, ChannelClosed::Timeout(_) | ChannelClosed::Failed(_)) {
                self.discover(now, discovery::Input::ConnectionLost);
            }
        }
    }

    /// A reader has delivered everything its channel brought.
    pub(crate) fn reader_ended(&mut self, peer: &Peer) {
        if let Some(slot) = self.slots.get_mut(&peer.id()).filter(|slot| slot.peer == *peer) {
            slot.readers -= 1;
            self.finish(peer.id());
        }
    }

    /// Parts with a peer: requests to it end, attempts to connect to it are given up, and its channels are handed out
    /// to be closed. [`channel_closed`](Self::channel_closed) ends each of them.
    pub(crate) fn part(&mut self, now: Instant, peer: PeerId) -> Vec<Arc<PeerChannel>> {
        self.step(now, Input::Disconnect(peer));
        // It may wait to be let in again before what it sent has been read.
        let mut channels = self.candidates.channels_of(&peer);
        if let Some(slot) = self.slots.get(&peer) {
            slot.peer.shared().waiters.fail_all(now, &ChannelClosed::Local);
            channels.extend(slot.peer.shared().channels());
            slot.peer.shared().say_goodbye();
            if channels.is_empty() {
                // It was waited for, and is not any more.
                self.end_session(&peer);
                self.finish(peer);
            }
        }
        channels
    }

    /// Whether this is the handle of a peer that is connected here.
    pub(crate) fn has(&self, peer: &Peer) -> bool {
        self.slots.get(&peer.id()).is_some_and(|slot| slot.peer == *peer)
    }

    /// Ends every connection for the application, and hands out the channels, still open, to be closed.
    pub(crate) fn leave(&mut self) -> Vec<Arc<PeerChannel>> {
        let (slots, candidates) = (std::mem::take(&mut self.slots), std::mem::take(&mut self.candidates));
        let let_in = slots.into_values().flat_map(|slot| self.end_now(slot));
        let_in.chain(candidates.into_channels()).collect()
    }

    fn discover(&mut self, now: Instant, input: discovery::Input) {
        self.discovery.handle_input(now, &mut self.rng, input);
    }

    fn step(&mut self, now: Instant, input: Input<Objects>) {
        self.refresh(now);
        self.mesh.handle_input(now, input);
        self.perform(now);
        let (urls, mesh) = (&mut self.urls, &self.mesh);
        self.removed.retain(|tracker| {
            let is_named = mesh.names(*tracker);
            if !is_named {
                urls.remove(tracker);
            }
            is_named
        });
    }

    /// Does what the mesh has decided, and lets discovery know.
    fn perform(&mut self, now: Instant) {
        while let Some(output) = self.mesh.poll_output() {
            match output {
                Output::Answer { attempt, peer, offer } => {
                    debug!(parent: &self.span, attempt = attempt.0, %peer, "an attempt begins: the offer is answered");
                    self.actions.push_back(Action::Answer { attempt, peer, offer: offer.offer });
                }
                Output::Accept { attempt, peer, answer, .. } => {
                    debug!(parent: &self.span, attempt = attempt.0, %peer, "an attempt begins: the answer is accepted");
                    self.actions.push_back(Action::Accept { attempt, peer, answer });
                }
                Output::GiveUp(attempt) => {
                    debug!(parent: &self.span, attempt = attempt.0, "an attempt to connect is given up");
                    self.actions.push_back(Action::GiveUp { attempt });
                }
                Output::Rejected { peer, tracker, role, reason } => {
                    self.rejected(peer, tracker, role_of(role), reason_of(reason));
                }
                Output::AttemptFailed { peer, tracker, role, error: AttemptError::Refused(reason) } => {
                    self.rejected(peer, tracker, role_of(role), reason);
                }
                Output::AttemptFailed { peer: peer_id, tracker, role, error: AttemptError::Transport(error) } => {
                    count(&self.settings.counters.connections_failed);
                    debug!(parent: &self.span, peer = %peer_id, ?role, "no connection to a peer came about");
                    if let Some(tracker) = self.urls.get(&tracker).cloned() {
                        let (role, error) = (role_of(role), Arc::new(error));
                        let failed = ConnectionFailed { peer_id, tracker, role, error, missed: 0 };
                        self.shared.queue.connection_failed(failed);
                    }
                }
                Output::PeerConnected { peer, key, tracker } => {
                    self.discover(now, discovery::Input::PeerMet(tracker));
                    if key.is_some()
                        && let Some(host) = self.host(tracker)
                    {
                        self.vouchers.entry(peer).or_default().vouch(host);
                    }
                    // It was verified as a key.
                    let key = key.and_then(|PeerKey(bytes)| PublicKey::from_bytes(bytes).ok());
                    if self.slots.get(&peer).is_some_and(|slot| slot.peer.public_key() != key) {
                        // Another peer had the id before, and what it sent has not been read.
                        self.displace(&peer);
                    }
                    if self.agreed(&peer) {
                        self.admit(peer, key);
                    } else {
                        debug!(parent: &self.span, %peer, "the peer waits until further trackers show its key");
                        self.candidates.insert(peer, Candidate::new(key, tracker, now));
                    }
                }
                Output::MetAlready { peer, offer } => {
                    // To strangers it is not said who is here.
                    let key = self.slots.get(&peer).and_then(|slot| slot.peer.public_key());
                    if key.is_some()
                        && key.as_ref() == offer.offer.description.key()
                        && let Some(tracker) = self.host(offer.tracker)
                    {
                        self.actions.push_back(Action::Sight { peer, offer: offer.offer, tracker });
                    }
                }
                Output::ChannelOpened { peer, id, channel } => self.open(peer, id, channel),
                Output::Retire { peer, channel } => {
                    if let Some(candidate) = self.candidates.get_mut(&peer) {
                        candidate.retired.push(channel);
                        continue;
                    }
                    let channels = self.slots.get(&peer).map(|slot| slot.peer.shared().channels()).unwrap_or_default();
                    let retired = channels.into_iter().filter(|open| open.id == channel);
                    self.actions.extend(retired.map(|channel| Action::Retire { channel }));
                    self.retire_link(&peer, channel);
                }
                Output::PeerClosed(peer) => {
                    self.discover(now, discovery::Input::PeerClosed(peer));
                    self.peer_closed(now, peer);
                }
                Output::PeerDisplaced(peer) => {
                    self.discover(now, discovery::Input::PeerClosed(peer));
                    self.displace(&peer);
                }
                Output::PeerForgotten(peer) => {
                    self.vouchers.remove(&peer);
                    self.sessions.forget(&peer);
                    self.discover(now, discovery::Input::PeerForgotten(peer));
                }
                Output::Sought { peer, sought } => {
                    self.discover(now, discovery::Input::Sought { peer, sought });
                }
                Output::Places(places) => self.discover(now, discovery::Input::Places(places)),
                Output::Vacancies { tracker, vacancies } => {
                    self.discover(now, discovery::Input::Vacancies { tracker, vacancies });
                }
            }
        }
    }
}

impl AttemptError {
    /// As the log has it, which never quotes a description.
    fn logged(&self) -> &dyn std::fmt::Display {
        match self {
            Self::Transport(TransportError::InvalidSdp(_)) => &"unusable SDP",
            Self::Transport(error) => error,
            Self::Refused(reason) => reason,
        }
    }
}

fn span_of(shared: &SwarmShared) -> Span {
    error_span!("swarm", info_hash = %shared.identity().key.info_hash())
}

fn fingerprint_of(Fingerprint(bytes): Fingerprint) -> mesh::Fingerprint {
    mesh::Fingerprint(bytes)
}

fn role_of(role: mesh::Role) -> Role {
    match role {
        mesh::Role::Offerer => Role::Offerer,
        mesh::Role::Answerer => Role::Answerer,
    }
}

fn reason_of(reason: mesh::RejectReason) -> RejectReason {
    match reason {
        mesh::RejectReason::Full => RejectReason::Full,
        mesh::RejectReason::Duplicate => RejectReason::Duplicate,
        mesh::RejectReason::Busy => RejectReason::Busy,
        mesh::RejectReason::NotTheSamePeer => RejectReason::NotTheSamePeer,
        mesh::RejectReason::Unsigned => RejectReason::Unsigned,
    }
}

#[cfg(all(test, feature = "memory"))]
#[path = "connections_tests.rs"]
mod tests;
