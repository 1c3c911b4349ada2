//! A swarm's members as this node has them: the [`Mesh`]'s decisions turned into peers, links and events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pt_proto::PeerId;
use p2pt_tracker::AnnounceUrl;
use p2pt_transport::{Channel, ChannelClosed, FrameReceiver, PendingOffer, Role, TransportError};
use tracing::debug;

use crate::admission::{Admission, PeerRequest};
use crate::engine::Via;
use crate::link::Link;
use crate::mesh::{AttemptId, Input, LinkId, Mesh, MeshConfig, Output, RemoteOffer};
use crate::peer::Settings;
use crate::swarm::SwarmShared;
use crate::{ConnectionFailed, ConnectionRejected, Peer, RejectReason};

/// Offers made at most with one announce, and as long as a tracker has not said how many members it knows: as many as
/// JavaScript makes.
const MOST_OFFERS: usize = 5;

/// Offers made while a tracker knows more members than were met there, but no more than were met in all: some of them
/// may be strangers, more likely they are peers met elsewhere.
const PROBES: usize = 1;

/// While a tracker knows strangers, it is asked again after this time: recipients of offers are drawn at random, so the
/// strangers may have got none. After twice as long when it was asked so often that each stranger has most likely got
/// two offers, and nobody was met there; and so on.
const HUNT_FIRST: Duration = Duration::from_secs(15);

/// After a link was lost without a farewell, trackers are asked again after this time: if it lives, its side has
/// noticed by then and asks too. [`HUNT_FIRST`] if that happened before within [`LOSSES_APART`].
const LOSS_HUNT: Duration = Duration::from_secs(2);

/// See [`LOSS_HUNT`].
const LOSSES_APART: Duration = Duration::from_secs(60);

/// From here on, the tracker's own interval does the asking.
const HUNT_LAST: Duration = Duration::from_secs(120);

/// How often a tracker is asked at most before the time between is doubled; as often as in a swarm of 40. A tracker may
/// claim any number of members.
const MOST_HUNTS: u32 = 15;

/// What the engine has to do.
pub(crate) enum Action {
    Announce { tracker: AnnounceUrl },
    Answer { attempt: AttemptId, peer: PeerId, offer: RemoteOffer<Via> },
    Accept { attempt: AttemptId, pending: Box<dyn PendingOffer>, sdp: String },
    GiveUp { attempt: AttemptId },
    Run { peer: Peer, link: Arc<Link>, channel: Box<dyn FrameReceiver> },
    Retire { link: Arc<Link> },
}

pub(crate) struct Members {
    mesh: Mesh<Via>,
    shared: Arc<SwarmShared>,
    settings: Arc<Settings>,
    admission: Arc<Admission>,
    slots: BTreeMap<PeerId, Slot>,
    actions: VecDeque<Action>,
    trackers: BTreeMap<AnnounceUrl, Counts>,
    /// The trackers at which a peer is known to be a member.
    seen: BTreeMap<PeerId, BTreeSet<AnnounceUrl>>,
    /// When trackers were last asked soon because a link was lost.
    lost: Option<Instant>,
    concerned: Concerned,
}

/// The trackers that may have to be told how many offers are wanted from now on.
#[derive(Debug, PartialEq, Eq)]
enum Concerned {
    All,
    These(BTreeSet<AnnounceUrl>),
}

impl Concerned {
    fn add(&mut self, tracker: &AnnounceUrl) {
        if let Self::These(trackers) = self {
            trackers.insert(tracker.clone());
        }
    }
}

/// What the driver holds of an input, for the output it may lead to.
enum With {
    Answered(Box<dyn PendingOffer>, String),
    Channel(Channel),
    Error(TransportError),
}

struct Slot {
    peer: Peer,
    /// Links whose readers have not delivered everything yet.
    readers: usize,
    /// The last link is gone; how, and what may be lost.
    gone: Option<(ChannelClosed, u64)>,
}

/// What one tracker says and was told.
#[derive(Default)]
struct Counts {
    members: Option<usize>,
    wanted: Option<usize>,
    /// When it is asked again before its interval is over.
    hunt: Option<Instant>,
    /// Somebody was met there since it said how many members it knows: by now it may know more.
    stale: bool,
    /// How often it has been asked again since somebody was met there.
    hunts: u32,
}

impl Counts {
    /// There is reason to ask, at this time at the latest, and as patiently as for somebody new.
    fn hunt_anew(&mut self, at: Instant) {
        self.hunts = 0;
        self.stale = true;
        self.hunt = Some(self.hunt.map_or(at, |hunt| hunt.min(at)));
    }

    /// How long to wait before it is asked again, unless its interval does.
    fn patience(&self) -> Option<Duration> {
        let others = self.members.unwrap_or_default().saturating_sub(1);
        let each = u32::try_from(2 * (others / MOST_OFFERS)).unwrap_or(u32::MAX).clamp(1, MOST_HUNTS);
        Some(HUNT_FIRST * 2u32.saturating_pow(self.hunts / each)).filter(|delay| *delay < HUNT_LAST)
    }
}

impl Members {
    pub(crate) fn new(
        config: MeshConfig,
        shared: Arc<SwarmShared>,
        settings: Arc<Settings>,
        admission: Arc<Admission>,
    ) -> Self {
        Self {
            mesh: Mesh::new(config),
            shared,
            settings,
            admission,
            slots: BTreeMap::new(),
            actions: VecDeque::new(),
            trackers: BTreeMap::new(),
            seen: BTreeMap::new(),
            lost: None,
            concerned: Concerned::All,
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.trackers.values().filter_map(|counts| counts.hunt).chain(self.mesh.poll_timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (tracker, counts) in &mut self.trackers {
            if counts.hunt.is_some_and(|at| now >= at) {
                counts.hunt = None;
                if counts.wanted != Some(0) || counts.stale {
                    counts.hunts += 1;
                    self.actions.push_back(Action::Announce { tracker: tracker.clone() });
                }
            }
        }
        self.step(now, Input::Timeout, None);
    }

    /// A tracker said how many members it knows, this node included.
    pub(crate) fn count(&mut self, now: Instant, tracker: AnnounceUrl, members: usize) {
        let strangers = members.saturating_sub(1 + self.mesh.satisfied(now).count());
        self.concerned.add(&tracker);
        let counts = self.trackers.entry(tracker).or_default();
        counts.members = Some(members);
        counts.stale = false;
        if strangers == 0 {
            counts.hunts = 0;
        }
        counts.hunt = counts.patience().filter(|_| strangers > 0).map(|patience| now + patience);
    }

    /// There is a tracker more.
    pub(crate) fn add_tracker(&mut self, tracker: &AnnounceUrl) {
        self.concerned.add(tracker);
    }

    pub(crate) fn forget_tracker(&mut self, tracker: &AnnounceUrl) {
        self.concerned.add(tracker);
        self.trackers.remove(tracker);
        self.mesh.forget_tracker(tracker);
        self.seen.values_mut().for_each(|trackers| {
            trackers.remove(tracker);
        });
    }

    /// Those of `trackers` for which something has changed since the last call that
    /// [`poll_wanted`](Self::poll_wanted) goes by.
    pub(crate) fn take_concerned<'a>(
        &mut self,
        trackers: impl Iterator<Item = &'a AnnounceUrl>,
    ) -> BTreeSet<AnnounceUrl> {
        self.count_lingering();
        match std::mem::replace(&mut self.concerned, Concerned::These(BTreeSet::new())) {
            Concerned::All => trackers.cloned().collect(),
            Concerned::These(concerned) => concerned,
        }
    }

    /// Whether there is no place because the application has not heard yet of peers that have gone.
    pub(crate) fn waits_for_application(&self) -> bool {
        self.mesh.is_held_up()
    }

    /// How many offers a tracker should be given from now on, if that has changed: some while it may know strangers,
    /// none when the swarm is full.
    pub(crate) fn poll_wanted(&mut self, now: Instant, tracker: &AnnounceUrl) -> Option<usize> {
        self.count_lingering();
        let met = self.mesh.satisfied(now).count();
        let met_there = self.mesh.satisfied(now).filter(|peer| self.is_member(peer, tracker)).count();
        // What an offer could lead to at most: a new peer, or a further link to one that lacks it.
        let limit = self.mesh.vacancies(tracker) + self.mesh.connected() - met;
        let counts = match self.trackers.get_mut(tracker) {
            Some(counts) => counts,
            None => self.trackers.entry(tracker.clone()).or_default(),
        };
        let useful = match counts.members.map(|members| members.saturating_sub(1)) {
            // Recipients are drawn from all members, so more offers than strangers reach them sooner.
            Some(others) if others > met => others.min(MOST_OFFERS),
            Some(others) if others > met_there => PROBES,
            Some(_) => 0,
            None => MOST_OFFERS,
        };
        let wanted = useful.min(limit);
        (counts.wanted.replace(wanted) != Some(wanted)).then_some(wanted)
    }

    /// Whether this tracker was last told that offers are wanted.
    pub(crate) fn wants_offers(&self, tracker: &AnnounceUrl) -> bool {
        self.trackers.get(tracker).and_then(|counts| counts.wanted) != Some(0)
    }

    fn is_member(&self, peer: &PeerId, tracker: &AnnounceUrl) -> bool {
        self.seen.get(peer).is_some_and(|trackers| trackers.contains(tracker))
    }

    /// Something of a peer came by a tracker. Remembered of those only with whom there is more than words.
    fn saw(&mut self, peer: PeerId, tracker: AnnounceUrl) {
        if self.mesh.knows(&peer) && !self.is_member(&peer, &tracker) {
            self.concerned.add(&tracker);
            self.seen.retain(|peer, _| self.mesh.knows(peer));
            self.seen.entry(peer).or_default().insert(tracker);
        }
    }

    fn count_lingering(&mut self) {
        let places = self.mesh.places();
        self.mesh.set_lingering(self.shared.queue.known().saturating_sub(self.mesh.connected()));
        if self.mesh.places() != places {
            self.concerned = Concerned::All;
        }
    }

    pub(crate) fn offer(&mut self, now: Instant, from: PeerId, offer: RemoteOffer<Via>) {
        let tracker = offer.tracker.clone();
        if !self.admits(from, &tracker, Role::Answerer) {
            return;
        }
        self.step(now, Input::Offer { from, offer }, None);
        self.saw(from, tracker);
    }

    /// One of our offers was answered by way of this tracker; `ours` as in [`RemoteOffer`].
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        from: PeerId,
        tracker: AnnounceUrl,
        ours: bool,
        pending: Box<dyn PendingOffer>,
        sdp: String,
    ) {
        if !self.admits(from, &tracker, Role::Offerer) {
            return;
        }
        let input = Input::Answer { from, tracker: tracker.clone(), ours };
        self.step(now, input, Some(With::Answered(pending, sdp)));
        self.saw(from, tracker);
    }

    fn admits(&self, peer_id: PeerId, tracker: &AnnounceUrl, role: Role) -> bool {
        let (info_hash, tracker) = (self.shared.identity().key.info_hash(), tracker.clone());
        let candidate = PeerRequest { peer_id, info_hash, tracker, role };
        let checked = self.admission.check(&candidate);
        checked.inspect_err(|reason| self.rejected(peer_id, candidate.tracker, role, *reason)).is_ok()
    }

    pub(crate) fn attempt_ended(&mut self, now: Instant, attempt: AttemptId, result: Result<Channel, TransportError>) {
        match result {
            Ok(channel) => {
                let label = channel.info.label.clone();
                self.step(now, Input::Opened { attempt, label }, Some(With::Channel(channel)));
            }
            Err(error) => {
                debug!(?attempt, %error, "an attempt to connect failed");
                self.step(now, Input::Failed { attempt }, Some(With::Error(error)));
            }
        }
    }

    pub(crate) fn link_closed(&mut self, now: Instant, link: LinkId, reason: ChannelClosed) {
        let removed = self.slots.values_mut().find_map(|slot| {
            let removed = slot.peer.shared().remove_link(link, reason.clone())?;
            debug!(peer = %slot.peer.id(), %reason, "a link closed");
            if !slot.peer.is_connected() {
                slot.gone = Some((reason.clone(), removed.unacknowledged_bytes()));
            }
            Some(())
        });
        if removed.is_some() {
            self.concerned = Concerned::All;
            self.step(now, Input::Closed { link }, None);
            if matches!(reason, ChannelClosed::Timeout(_) | ChannelClosed::Failed(_)) {
                self.lost_peer(now);
            }
        }
    }

    /// A reader has delivered everything its link brought.
    pub(crate) fn reader_ended(&mut self, peer: PeerId) {
        if let Some(slot) = self.slots.get_mut(&peer) {
            slot.readers -= 1;
            self.finish(peer);
        }
    }

    /// Parts with a peer: requests to it end, attempts with it come to nothing, and its links are handed out to be
    /// closed. [`link_closed`](Self::link_closed) ends each of them.
    pub(crate) fn part(&mut self, now: Instant, peer: PeerId) -> Vec<Arc<Link>> {
        self.step(now, Input::Parted { peer }, None);
        let Some(slot) = self.slots.get(&peer) else { return Vec::new() };
        slot.peer.shared().waiters.fail_all(now, &ChannelClosed::Local);
        slot.peer.shared().links()
    }

    /// Whether this is the handle of a peer that is connected here.
    pub(crate) fn has(&self, peer: &Peer) -> bool {
        self.slots.get(&peer.id()).is_some_and(|slot| slot.peer == *peer)
    }

    /// Ends it all for the application, and hands out the links, still open, to be closed.
    pub(crate) fn leave(&mut self) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        for slot in std::mem::take(&mut self.slots).into_values() {
            let mut unacknowledged = 0;
            for link in slot.peer.shared().links() {
                slot.peer.shared().remove_link(link.id, ChannelClosed::Local);
                unacknowledged = link.unacknowledged_bytes();
                links.push(link);
            }
            let (reason, unacknowledged) = slot.gone.unwrap_or((ChannelClosed::Local, unacknowledged));
            end(&self.shared, &slot.peer, reason, unacknowledged);
        }
        links
    }

    fn step(&mut self, now: Instant, input: Input<Via>, mut with: Option<With>) {
        self.count_lingering();
        self.mesh.handle_input(now, input);
        while let Some(output) = self.mesh.poll_output() {
            self.note(&output);
            match output {
                Output::Answer { attempt, peer, offer } => {
                    self.actions.push_back(Action::Answer { attempt, peer, offer });
                }
                Output::Accept { attempt, .. } => {
                    if let Some(With::Answered(pending, sdp)) = with.take() {
                        self.actions.push_back(Action::Accept { attempt, pending, sdp });
                    }
                }
                Output::GiveUp { attempt } => self.actions.push_back(Action::GiveUp { attempt }),
                Output::Rejected { peer, tracker, role, reason } => self.rejected(peer, tracker, role, reason),
                Output::Failed { peer, tracker, role } => {
                    if let Some(With::Error(error)) = with.take() {
                        let error = Arc::new(error);
                        let failed = ConnectionFailed { peer_id: peer, tracker, role, error, missed: 0 };
                        self.shared.queue.connection_failed(failed);
                    }
                }
                Output::PeerConnected { peer: id, tracker } => {
                    self.met_by(now, tracker);
                    let slot = self.slots.entry(id).or_insert_with(|| {
                        let peer = self.shared.queue.entry(id, || Peer::new(id, self.settings.clone()));
                        Slot { peer, readers: 0, gone: None }
                    });
                    slot.gone = None;
                }
                Output::LinkOpened { peer, link, .. } => {
                    if let Some(With::Channel(channel)) = with.take() {
                        self.open(peer, link, channel);
                    }
                }
                Output::Retire { peer, link } => {
                    let links = self.slots.get(&peer).map(|slot| slot.peer.shared().links()).unwrap_or_default();
                    self.actions.extend(links.into_iter().filter(|l| l.id == link).map(|link| Action::Retire { link }));
                }
                Output::Satisfied { .. } => {}
                Output::PeerClosed { peer } => self.finish(peer),
            }
        }
    }

    /// Notes for which trackers an output changes how many offers are wanted: what begins or ends an attempt does for the
    /// tracker that led to it, what changes the links for all.
    fn note(&mut self, output: &Output<Via>) {
        match output {
            Output::Answer { offer: RemoteOffer { tracker, .. }, .. }
            | Output::Accept { tracker, .. }
            | Output::Failed { tracker, .. } => self.concerned.add(tracker),
            Output::GiveUp { .. }
            | Output::PeerConnected { .. }
            | Output::LinkOpened { .. }
            | Output::Satisfied { .. }
            | Output::PeerClosed { .. } => self.concerned = Concerned::All,
            Output::Rejected { .. } | Output::Retire { .. } => {}
        }
    }

    fn rejected(&self, peer_id: PeerId, tracker: AnnounceUrl, role: Role, reason: RejectReason) {
        debug!(peer = %peer_id, ?role, %reason, "an offer or answer was not taken up");
        self.shared.queue.connection_rejected(ConnectionRejected { peer_id, tracker, role, reason, missed: 0 });
    }

    /// Somebody was met by a tracker: asking there is of use.
    fn met_by(&mut self, now: Instant, tracker: AnnounceUrl) {
        if let Some(counts) = self.trackers.get_mut(&tracker)
            && self.mesh.places() > 0
        {
            counts.hunt_anew(now + HUNT_FIRST);
        }
    }

    /// A link broke or fell silent; the peer may well be there.
    fn lost_peer(&mut self, now: Instant) {
        if self.mesh.places() == 0 {
            return;
        }
        let often = self.lost.is_some_and(|lost| now < lost + LOSSES_APART);
        if !often {
            self.lost = Some(now);
        }
        let soon = now + if often { HUNT_FIRST } else { LOSS_HUNT };
        self.trackers.values_mut().for_each(|counts| counts.hunt_anew(soon));
    }

    fn open(&mut self, peer: PeerId, id: LinkId, channel: Channel) {
        let Some(slot) = self.slots.get_mut(&peer) else { return };
        let link = Arc::new(Link::new(id, channel.sender, channel.info.good_frame_bytes));
        slot.peer.shared().add_link(link.clone());
        slot.readers += 1;
        debug!(%peer, label = channel.info.label, role = ?channel.info.role, "a link opened");
        // Told after the link is there, so that the application can send at once.
        self.shared.queue.connect(&slot.peer);
        self.actions.push_back(Action::Run { peer: slot.peer.clone(), link, channel: channel.receiver });
    }

    /// Says that a peer has closed once its last link is gone and everything it sent has been delivered.
    fn finish(&mut self, peer: PeerId) {
        if self.slots.get(&peer).is_some_and(|slot| slot.readers == 0 && slot.gone.is_some())
            && let Some(Slot { peer, gone: Some((reason, unacknowledged)), .. }) = self.slots.remove(&peer)
        {
            end(&self.shared, &peer, reason, unacknowledged);
        }
    }
}

fn end(shared: &SwarmShared, peer: &Peer, reason: ChannelClosed, unacknowledged_bytes: u64) {
    // Not before everything was delivered: a response may have been among it.
    peer.shared().waiters.fail_all(crate::now(), &reason);
    shared.queue.close(peer, reason, unacknowledged_bytes);
}

#[cfg(all(test, feature = "memory"))]
#[path = "members_tests.rs"]
mod tests;
