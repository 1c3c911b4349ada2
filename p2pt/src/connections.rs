//! The connections of one swarm: what the mesh and discovery decide, turned into peers, channels and events.

use p2pt_rt::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use p2pt_mesh::discovery::{self, Discovery};
use p2pt_mesh::mesh::{
    self, AttemptId, ChannelId, Identity, Input, Library, Mesh, MeshConfig, Output, PeerKey, RemoteOffer,
};
use p2pt_mesh::{FewMap, TrackerId};
use p2pt_proto::{OfferId, PeerId};
use p2pt_tracker::{AnnounceUrl, TrackerClient};
use p2pt_transport::{Channel, ChannelClosed, Fingerprint, FrameReceiver, PendingOffer, Role, TransportError};
use p2pt_trust::{PublicKey, TrackerHost, Vouchers};
use rand::rngs::StdRng;
use tracing::{Span, debug, error_span};

use crate::admission::{Admission, PeerRequest};
use crate::candidates::{Candidate, Candidates};
use crate::channel::PeerChannel;
use crate::counters::{Counted, count};
use crate::settings::Settings;
use crate::swarm::SwarmShared;
use crate::trust::{Author, Descriptions, NodeTrust, OwnDescription, Pairing, Proven, ReadAnswer, ReadDescription};
use crate::{ConnectionFailed, ConnectionRejected, Peer, RejectReason, TrustChanged};

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
        let timeouts = [self.discovery.poll_timeout(), self.mesh.poll_timeout(), self.candidates.poll_timeout()];
        timeouts.into_iter().flatten().min()
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

    /// A peer's offer came by a tracker.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        from: PeerId,
        tracker: TrackerId,
        (client, offer_id, sdp): (Arc<TrackerClient>, OfferId, String),
    ) {
        let read = self.descriptions.read_offer(sdp, from).and_then(|read| {
            let is_replayed = matches!(read.author, Author::Signed(_)) && !self.trust.is_new(now, read.hash);
            if is_replayed { Err(RejectReason::Replayed) } else { Ok(read) }
        });
        if let Some(description) = self.admitted(from, tracker, Role::Answerer, read) {
            let identity = claimed(&description);
            let offer = IncomingOffer { client, offer_id, description };
            self.step(now, Input::Offer { from, offer: RemoteOffer { tracker, identity, offer } });
            self.saw(now, from, tracker, identity.key.is_some());
        }
    }

    /// The answer to an offer of this side came by a tracker.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        from: PeerId,
        tracker: TrackerId,
        (pending, own, sdp): (Box<dyn PendingOffer>, OwnDescription, String),
    ) {
        let Some(host) = self.host(tracker) else { return };
        let answer = match self.descriptions.read_answer(sdp, from, own.hash(), host) {
            Ok(ReadAnswer::Answer(answer)) => Ok(answer),
            Ok(ReadAnswer::Sighting) => {
                debug!(parent: &self.span, peer = %from, "a peer says that it is met already");
                self.saw(now, from, tracker, true);
                return;
            }
            Err(reason) => Err(reason),
        };
        if let Some(answer) = self.admitted(from, tracker, Role::Offerer, answer) {
            let identity = claimed(&answer);
            let answer = AnsweredOffer { pending, own, answer };
            self.step(now, Input::Answer { from, tracker, identity, answer });
            self.saw(now, from, tracker, identity.key.is_some());
        }
    }

    /// An offer or answer of a peer came by a tracker. Discovery learns of it only if the mesh knows the peer.
    fn saw(&mut self, now: Instant, peer: PeerId, tracker: TrackerId, is_signed: bool) {
        if !self.mesh.knows(&peer) {
            return;
        }
        self.discover(now, discovery::Input::PeerSeen { peer, tracker });
        if is_signed && let Some(host) = self.host(tracker) {
            // Another key cannot be shown under the id.
            self.vouchers.entry(peer).or_default().vouch(host);
            self.look_at_trust(&peer);
            if self.agreed(&peer) {
                self.let_in(peer);
            }
        }
    }

    fn host(&self, tracker: TrackerId) -> Option<TrackerHost> {
        self.urls.get(&tracker).map(|url| TrackerHost::of(url.host()))
    }

    /// Whether as many trackers show a peer's key as should.
    fn agreed(&self, peer: &PeerId) -> bool {
        let wanted = self.trust.agreement();
        wanted <= 1 || self.vouchers.get(peer).is_some_and(|vouchers| vouchers.through() >= wanted)
    }

    /// Tells the application if a connected peer is known better or less than before.
    fn look_at_trust(&self, peer: &PeerId) {
        let Some(slot) = self.slots.get(peer) else { return };
        if let Some(vouchers) = self.vouchers.get(peer) {
            let mut vouchers = vouchers.clone();
            let is_there = |tracker: &TrackerId| !self.removed.contains(tracker);
            self.urls
                .iter()
                .filter(|(id, _)| is_there(id))
                .for_each(|(_, url)| vouchers.ask(TrackerHost::of(url.host())));
            slot.peer.shared().trust.set_vouchers(&vouchers);
        }
        if let Some((was, now)) = slot.peer.trust_change() {
            self.shared.queue.trust_changed(&slot.peer, TrustChanged { peer: slot.peer.clone(), was, now });
        }
    }

    /// A key was pinned or is not pinned any more.
    pub(crate) fn pins_changed(&self) {
        self.slots.keys().for_each(|peer| self.look_at_trust(peer));
    }

    /// The description, unless it does not hold or its author is not welcome, which is reported.
    fn admitted(
        &self,
        peer_id: PeerId,
        tracker: TrackerId,
        role: Role,
        read: Result<ReadDescription, RejectReason>,
    ) -> Option<ReadDescription> {
        let url = self.urls.get(&tracker)?.clone();
        let welcome = read.and_then(|description| {
            let public_key = description.key().copied();
            self.trust.admits(&peer_id, public_key.as_ref())?;
            let info_hash = self.shared.identity().key.info_hash();
            self.admission.check(&PeerRequest { peer_id, public_key, info_hash, tracker: url, role })?;
            Ok(description)
        });
        match welcome {
            Ok(description) => {
                debug!(parent: &self.span, peer = %peer_id, ?role, "a peer is admitted");
                Some(description)
            }
            Err(reason) => {
                self.rejected(peer_id, tracker, role, reason);
                None
            }
        }
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
                self.step(now, Input::AttemptFailed { attempt, error });
            }
        }
    }

    pub(crate) fn channel_closed(&mut self, now: Instant, channel: ChannelId, reason: ChannelClosed) {
        let removed = self.slots.values_mut().find_map(|slot| {
            let removed = slot.peer.shared().remove_channel(channel, reason.clone())?;
            self.settings.counters.closed(&reason);
            let unacknowledged = removed.unacknowledged_bytes();
            debug!(parent: removed.span(), %reason, unacknowledged, "the channel has closed");
            if !slot.peer.is_connected() {
                slot.gone = Some((reason.clone(), unacknowledged));
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

    /// Ends a peer for the application, whatever was not read, and hands out its channels, still open, to be closed.
    fn end_now(&self, slot: Slot) -> Vec<Arc<PeerChannel>> {
        let (channels, mut unacknowledged) = (slot.peer.shared().channels(), 0);
        for channel in &channels {
            slot.peer.shared().remove_channel(channel.id, ChannelClosed::Local);
            self.settings.counters.closed(&ChannelClosed::Local);
            unacknowledged = channel.unacknowledged_bytes();
        }
        let (reason, unacknowledged) = slot.gone.unwrap_or((ChannelClosed::Local, unacknowledged));
        end(&self.shared, &slot.peer, reason, unacknowledged);
        channels
    }

    /// Ends the peer that was connected under an id, which is another one's.
    fn displace(&mut self, id: &PeerId) {
        let Some(slot) = self.slots.remove(id) else { return };
        debug!(parent: slot.peer.span(), "the peer gives way to the one that its id belongs to");
        for channel in self.end_now(slot) {
            channel.cut();
            self.actions.push_back(Action::Close { channel });
        }
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
                }
                Output::PeerClosed(peer) => {
                    self.discover(now, discovery::Input::PeerClosed(peer));
                    self.finish(peer);
                }
                Output::PeerDisplaced(peer) => {
                    self.discover(now, discovery::Input::PeerClosed(peer));
                    self.displace(&peer);
                }
                Output::PeerForgotten(peer) => {
                    self.vouchers.remove(&peer);
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

    fn rejected(&self, peer_id: PeerId, tracker: TrackerId, role: Role, reason: RejectReason) {
        self.settings.counters.rejected(reason);
        debug!(parent: &self.span, peer = %peer_id, ?role, %reason, "a peer is rejected");
        if let Some(tracker) = self.urls.get(&tracker).cloned() {
            self.shared.queue.connection_rejected(ConnectionRejected { peer_id, tracker, role, reason, missed: 0 });
        }
    }

    /// Makes a peer one of the application's.
    fn admit(&mut self, id: PeerId, key: Option<PublicKey>) {
        let slot = self.slots.entry(id).or_insert_with(|| {
            let make = || self.span.in_scope(|| Peer::new(id, key, self.settings.clone()));
            let peer = self.shared.queue.entry((id, key), make);
            let counted = Counted::new(self.settings.counters.clone(), |counters| &counters.peers);
            Slot { peer, readers: 0, gone: None, _counted: counted }
        });
        slot.gone = None;
        count(&self.settings.counters.peers_connected);
        self.look_at_trust(&id);
    }

    /// Lets a peer in that has waited for that.
    fn let_in(&mut self, peer: PeerId) {
        let Some(candidate) = self.candidates.remove(&peer) else { return };
        debug!(parent: &self.span, %peer, "as many trackers as should show the peer's key");
        self.admit(peer, candidate.key);
        for (channel, receiver, proven) in candidate.opened {
            let is_retired = candidate.retired.contains(&channel.id);
            self.run(peer, channel.clone(), receiver, proven.as_ref());
            if is_retired {
                self.actions.push_back(Action::Retire { channel });
            }
        }
    }

    fn open(&mut self, peer: PeerId, id: ChannelId, opened: Opened) {
        let Opened { channel: Channel { sender, receiver, info }, proven } = opened;
        if let Some(proven) = &proven {
            self.trust.met(peer, proven.key);
        }
        let span = self.slots.get(&peer).map_or(&self.span, |slot| slot.peer.span());
        let channel = Arc::new(span.in_scope(|| PeerChannel::new(id, sender, info.good_frame_bytes)));
        count(&self.settings.counters.connections_opened);
        debug!(parent: channel.span(), label = info.label, role = ?info.role, "a channel has opened");
        match self.candidates.get_mut(&peer) {
            Some(candidate) => {
                candidate.role = info.role;
                candidate.opened.push((channel.clone(), receiver, proven));
                self.actions.push_back(Action::Watch { channel });
            }
            None => self.run(peer, channel, receiver, proven.as_ref()),
        }
    }

    /// Has the application use a channel.
    fn run(
        &mut self,
        peer: PeerId,
        channel: Arc<PeerChannel>,
        receiver: Box<dyn FrameReceiver>,
        proven: Option<&Proven>,
    ) {
        let Some(slot) = self.slots.get_mut(&peer) else { return };
        slot.peer.shared().add_channel(channel.clone(), proven);
        slot.readers += 1;
        // Reported after the channel is there, so that the application can send at once.
        self.shared.queue.connect(&slot.peer);
        self.actions.push_back(Action::Run { peer: slot.peer.clone(), channel, receiver });
    }

    /// Says that a peer has closed once its last channel is gone and everything it sent has been delivered.
    fn finish(&mut self, peer: PeerId) {
        if self.slots.get(&peer).is_some_and(|slot| slot.readers == 0 && slot.gone.is_some())
            && let Some(Slot { peer, gone: Some((reason, unacknowledged)), .. }) = self.slots.remove(&peer)
        {
            end(&self.shared, &peer, reason, unacknowledged);
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

/// What a description says of its maker.
fn claimed(description: &ReadDescription) -> Identity {
    let is_ours = description.author != Author::JavaScript;
    let library = if is_ours { Library::Ours } else { Library::JavaScript };
    let key = description.key().map(|key| PeerKey(*key.as_bytes()));
    Identity { library, fingerprint: Fingerprint::from_sdp(&description.sdp).map(fingerprint_of), key }
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

fn end(shared: &SwarmShared, peer: &Peer, reason: ChannelClosed, unacknowledged_bytes: u64) {
    // Not before everything was delivered: a response may have been among it.
    peer.shared().waiters.fail_all(crate::now(), &reason);
    debug!(parent: peer.span(), %reason, unacknowledged_bytes, "the connection to the peer is over");
    shared.queue.close(peer, reason, unacknowledged_bytes);
}

#[cfg(all(test, feature = "memory"))]
#[path = "connections_tests.rs"]
mod tests;
