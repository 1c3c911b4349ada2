//! The control plane: one task that owns mesh and discovery of every swarm, and takes what trackers, connections and
//! handles report or ask.
//!
//! It never awaits the application, a tracker or a peer: what takes time runs as a task of its own in one of two `JoinSet`s and
//! reports back. Messages do not pass through here.

mod attempts;
mod memberships;
mod offers;
mod trackers;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use p2pt_mesh::mesh::{AttemptId, ChannelId, MeshConfig};
use p2pt_mesh::{FewMap, TrackerId};
use p2pt_proto::{InfoHash, OfferId, PeerId};
use p2pt_rt::{AbortHandle, JoinError, JoinSet};
use p2pt_rt::{sleep_until, timeout};
use p2pt_tracker::{AnnounceUrl, ClientConfig, Connector, TrackerEvent};
use p2pt_transport::{ChannelClosed, ServerWarning, Transport};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::channel::PeerChannel;
use crate::connections::{AttemptError, Connections, Opened};
use crate::counters::Counted;
use crate::handshake::Handshake;
use crate::node::{NodeShared, Tracker};
use crate::queue::lock;
use crate::settings::Settings;
use crate::swarm::{Identity, SwarmShared};
use crate::{NodeError, Peer, SwarmKey};

use memberships::Memberships;
use offers::{Made, Waiting};

/// The time all of an ordered shutdown may take. Each step has a shorter deadline of its own; this one is for bugs.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Identifies one join of a swarm; results that arrive late from an earlier join are discarded by this id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MembershipId(u64);

type Reply<T> = oneshot::Sender<Result<T, NodeError>>;

/// What handles ask for. They mean the swarm, in whatever membership it is when the command's turn comes.
#[derive(Debug)]
pub(crate) enum Command {
    Join { key: SwarmKey, reply: Reply<Arc<SwarmShared>> },
    Leave { swarm: Arc<SwarmShared>, reply: Reply<()> },
    SetIdentifier { swarm: Arc<SwarmShared>, key: SwarmKey, reply: Reply<()> },
    MoveTo { swarm: Arc<SwarmShared>, key: SwarmKey, reply: Reply<()> },
    AddTracker { url: AnnounceUrl, reply: Reply<()> },
    RemoveTracker { url: AnnounceUrl, reply: Reply<bool> },
    RequestMorePeers { swarm: Arc<SwarmShared>, reply: Reply<()> },
    Disconnect { peer: Peer, reply: Reply<()> },
    Ban { peer: PeerId, reply: Reply<()> },
    PinsChanged { reply: Reply<()> },
}

/// What an engine is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) shared: Arc<NodeShared>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) client_config: ClientConfig,
    pub(crate) mesh: MeshConfig,
    pub(crate) handshake: Option<Handshake>,
    pub(crate) settings: Arc<Settings>,
    /// Decides what is left to chance.
    pub(crate) rng: StdRng,
}

/// What tasks report when they end.
enum Done {
    Offers {
        swarm: MembershipId,
        /// How often its identifier had changed when they were asked for.
        renamed: u64,
        tracker: TrackerId,
        made: Vec<Made>,
        /// Others have given way to some of them.
        made_room: bool,
    },
    Attempt {
        swarm: MembershipId,
        attempt: AttemptId,
        result: Box<Result<Opened, AttemptError>>,
    },
    /// A channel's reader has delivered everything.
    Read {
        swarm: MembershipId,
        peer: Peer,
    },
    /// The channels of a peer with which the application parted have closed.
    Parted {
        channels: Vec<(MembershipId, ChannelId)>,
        reply: Reply<()>,
    },
    Nothing,
}

/// What tasks report while they run.
struct ChannelEnd {
    swarm: MembershipId,
    channel: ChannelId,
    reason: ChannelClosed,
}

pub(crate) struct Engine {
    parts: Parts,
    commands: mpsc::Receiver<Command>,
    tracker_events: mpsc::Receiver<(TrackerId, TrackerEvent)>,
    tracker_sender: mpsc::Sender<(TrackerId, TrackerEvent)>,
    next_tracker: u64,
    closings: mpsc::Receiver<ChannelEnd>,
    closing_sender: mpsc::Sender<ChannelEnd>,
    memberships: Memberships<SwarmMembership>,
    next_membership: u64,
    /// Offers made so far, which numbers them.
    offers_made: u64,
    /// The last offer could not be made, which was logged.
    offers_fail: bool,
    /// What the transport has warned of, for swarms that are joined later: one for each of its servers at most.
    server_warnings: Vec<ServerWarning>,
    tasks: JoinSet<Done>,
    /// Graceful closes of trackers and peers. They have deadlines of their own, and outlast the engine's loop.
    graceful: JoinSet<()>,
}

/// This node's membership in one swarm.
struct SwarmMembership {
    info_hash: InfoHash,
    /// How often the identifier has changed.
    renamed: u64,
    shared: Arc<SwarmShared>,
    connections: Connections,
    offers: BTreeMap<OfferId, Waiting>,
    /// The tasks of the attempts under way.
    attempts: FewMap<AttemptId, AbortHandle>,
    /// Ends the membership's tasks.
    token: CancellationToken,
    _counted: Counted,
}

impl Engine {
    pub(crate) fn new(parts: Parts, commands: mpsc::Receiver<Command>) -> Self {
        let (tracker_sender, tracker_events) = mpsc::channel(256);
        let (closing_sender, closings) = mpsc::channel(64);
        Self {
            parts,
            commands,
            tracker_events,
            tracker_sender,
            next_tracker: 0,
            closings,
            closing_sender,
            memberships: Memberships::new(),
            next_membership: 0,
            offers_made: 0,
            offers_fail: false,
            server_warnings: Vec::new(),
            tasks: JoinSet::new(),
            graceful: JoinSet::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let stop = self.parts.shared.stop.clone();
        let mut ending = pin!(p2pt_rt::ending());
        let transport = self.parts.transport.clone();
        let mut warning = transport.warning();
        loop {
            let due = self.memberships.next_due();
            let timer = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // In this order, so that a seeded simulation can be repeated; last what unknown peers can cause without
            // end.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = &mut ending => {
                    debug!("the page goes");
                    stop.cancel();
                    break;
                }
                () = timer => {
                    let now = crate::now();
                    for id in self.memberships.take_due(now) {
                        if let Some(membership) = self.memberships.touch(id) {
                            membership.connections.handle_timeout(now);
                        }
                    }
                }
                Some(closed) = self.closings.recv() => {
                    if let Some(membership) = self.memberships.touch(closed.swarm) {
                        membership.connections.channel_closed(crate::now(), closed.channel, closed.reason);
                    }
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Some(done) = report(ended) {
                        self.handle_done(done);
                    }
                }
                Some(ended) = self.graceful.join_next() => report(ended).unwrap_or_default(),
                server = &mut warning => {
                    warning = transport.warning();
                    for (_, membership) in self.memberships.iter() {
                        membership.shared.queue.server_warning(server.clone());
                    }
                    self.server_warnings.push(server);
                }
                Some(command) = self.commands.recv() => self.handle_command(command),
                Some((tracker, event)) = self.tracker_events.recv() => self.handle_tracker(tracker, event),
            }
            self.act();
        }
        let deadline = SHUTDOWN_DEADLINE + self.parts.settings.config.flush_timeout;
        if timeout(deadline, self.shut_down()).await.is_err() {
            warn!(?deadline, "the node has not shut down in time; what is left is dropped");
        }
        debug!("the node has stopped");
    }

    fn handle_command(&mut self, command: Command) {
        // A caller that no longer waits for the reply is no concern of ours.
        match command {
            Command::Join { key, reply } => {
                // A caller that has gone has no handle by which the swarm could be left.
                if let Err(Ok(swarm)) = reply.send(self.join(key)) {
                    debug!("the swarm is left again: the call that joined it was given up");
                    swarm.queue.abandon();
                    if let Some(membership) = self.memberships.remove(swarm.identity().membership) {
                        let closing = self.depart(membership, true);
                        self.graceful.spawn(closing);
                    }
                }
            }
            Command::Leave { swarm, reply } => match self.memberships.remove(swarm.identity().membership) {
                Some(membership) => {
                    let closing = self.depart(membership, true);
                    self.graceful.spawn(async move {
                        closing.await;
                        let _ = reply.send(Ok(()));
                    });
                }
                None => drop(reply.send(Err(NodeError::Stopped))),
            },
            Command::SetIdentifier { swarm, key, reply } => {
                let _ = reply.send(self.set_identifier(swarm.identity().membership, key));
            }
            Command::MoveTo { swarm, key, reply } => {
                let _ = reply.send(self.move_to(swarm.identity().membership, key));
            }
            Command::AddTracker { url, reply } => {
                self.add_tracker(url);
                let _ = reply.send(Ok(()));
            }
            Command::RemoveTracker { url, reply } => {
                let _ = reply.send(Ok(self.remove_tracker(&url)));
            }
            Command::RequestMorePeers { swarm, reply } => {
                let membership = self.memberships.touch(swarm.identity().membership).ok_or(NodeError::Stopped);
                let _ = reply.send(membership.map(|membership| {
                    membership.connections.request_more_peers(crate::now());
                }));
            }
            Command::Disconnect { peer, reply } => {
                debug!(parent: peer.span(), "the application disconnects");
                self.part(peer.id(), |connections| connections.has(&peer), reply);
            }
            Command::PinsChanged { reply } => {
                self.memberships.iter().for_each(|(_, membership)| membership.connections.pins_changed());
                let _ = reply.send(Ok(()));
            }
            Command::Ban { peer, reply } => {
                debug!(%peer, "the application bans a peer");
                self.part(peer, |_| true, reply);
            }
        }
    }

    /// Closes the channels of a peer, in the swarms that `from` picks, and then replies.
    fn part(&mut self, peer: PeerId, from: impl Fn(&Connections) -> bool, reply: Reply<()>) {
        let mut channels: Vec<(MembershipId, Arc<PeerChannel>)> = Vec::new();
        let concerned: Vec<MembershipId> = self
            .memberships
            .iter()
            .filter(|(_, membership)| from(&membership.connections))
            .map(|(swarm, _)| swarm)
            .collect();
        for swarm in concerned {
            let Some(membership) = self.memberships.touch(swarm) else { continue };
            channels
                .extend(membership.connections.part(crate::now(), peer).into_iter().map(|channel| (swarm, channel)));
        }
        self.tasks.spawn(async move {
            join_all(channels.iter().map(|(_, channel)| channel.close())).await;
            Done::Parted { channels: channels.into_iter().map(|(swarm, channel)| (swarm, channel.id)).collect(), reply }
        });
    }

    fn join(&mut self, key: SwarmKey) -> Result<Arc<SwarmShared>, NodeError> {
        let identity = self.identity(key)?;
        let shared = Arc::new(SwarmShared::new(identity.clone(), self.parts.shared.counters.clone()));
        self.enter(identity, shared.clone());
        Ok(shared)
    }

    fn identity(&mut self, key: SwarmKey) -> Result<Identity, NodeError> {
        self.check_key(&key)?;
        if self.memberships.id(key.info_hash()).is_some() {
            return Err(NodeError::AlreadyJoined);
        }
        self.next_membership += 1;
        Ok(Identity { membership: MembershipId(self.next_membership), key })
    }

    fn check_key(&self, key: &SwarmKey) -> Result<(), NodeError> {
        let lacks_key = key.needs_key() && self.parts.shared.trust.public_key().is_none();
        if lacks_key { Err(NodeError::NoKey) } else { Ok(()) }
    }

    fn enter(&mut self, identity: Identity, shared: Arc<SwarmShared>) {
        let (id, info_hash) = (identity.membership, identity.key.info_hash());
        let rng = StdRng::from_rng(&mut self.parts.rng);
        let Parts { mesh, settings, .. } = &self.parts;
        let node = &self.parts.shared;
        let rules = (node.admission.clone(), node.trust.clone());
        let mut connections = Connections::new(*mesh, shared.clone(), settings.clone(), rules, node.peer_id, rng);
        self.server_warnings.iter().for_each(|warning| shared.queue.server_warning(warning.clone()));
        debug!(parent: connections.span(), "joins the swarm");
        if lock(&self.parts.shared.trackers).is_empty() {
            warn!(parent: connections.span(), "the node has no tracker, so it meets no peer until one is added");
        }
        for (tracker, Tracker { url, client, .. }) in lock(&self.parts.shared.trackers).iter() {
            connections.add_tracker(crate::now(), tracker, url.clone());
            client.join(info_hash);
        }
        let token = CancellationToken::new();
        let (offers, attempts) = (BTreeMap::new(), FewMap::new());
        let counted = Counted::new(self.parts.shared.counters.clone(), |counters| &counters.swarms);
        let membership =
            SwarmMembership { info_hash, renamed: 0, shared, connections, offers, attempts, token, _counted: counted };
        self.memberships.insert(id, info_hash, membership);
    }

    /// Announces a swarm under another identifier. Its peers stay, and attempts that are under way end.
    fn set_identifier(&mut self, swarm: MembershipId, key: SwarmKey) -> Result<(), NodeError> {
        self.check_key(&key)?;
        let info_hash = key.info_hash();
        if self.memberships.id(info_hash).is_some_and(|other| other != swarm) {
            return Err(NodeError::AlreadyJoined);
        }
        let membership = self.memberships.rename(swarm, info_hash).ok_or(NodeError::Stopped)?;
        if membership.shared.identity().key.is_as_good_as(&key) {
            return Ok(());
        }
        let before = std::mem::replace(&mut membership.info_hash, info_hash);
        membership.renamed += 1;
        membership.shared.set_identity(Identity { membership: swarm, key });
        membership.offers.clear();
        membership.connections.change_identifier(crate::now());
        for tracker in lock(&self.parts.shared.trackers).values() {
            tracker.client.leave(before);
            tracker.client.join(info_hash);
        }
        Ok(())
    }

    /// Leaves a swarm and joins another with the same handle and event stream.
    fn move_to(&mut self, swarm: MembershipId, key: SwarmKey) -> Result<(), NodeError> {
        if self.memberships.get(swarm).is_none() {
            return Err(NodeError::Stopped);
        }
        let identity = self.identity(key)?;
        if let Some(membership) = self.memberships.remove(swarm) {
            let info_hash = identity.key.info_hash();
            debug!(parent: membership.connections.span(), %info_hash, "moves to another identifier");
            let shared = membership.shared.clone();
            let closing = self.depart(membership, false);
            self.graceful.spawn(closing);
            shared.set_identity(identity.clone());
            self.enter(identity, shared);
        }
        Ok(())
    }

    /// Ends a membership at once for the application, and returns what remains to be awaited: the graceful close of its
    /// channels.
    fn depart(&mut self, mut membership: SwarmMembership, end: bool) -> impl Future<Output = ()> + use<> {
        for tracker in lock(&self.parts.shared.trackers).values() {
            tracker.client.leave(membership.info_hash);
        }
        membership.token.cancel();
        let channels = membership.connections.leave();
        if end {
            membership.shared.queue.end();
        }
        let span = membership.connections.span().clone();
        debug!(parent: &span, channels = channels.len(), "leaves the swarm");
        async move {
            join_all(channels.iter().map(|channel| channel.close())).await;
            debug!(parent: &span, "has left the swarm");
        }
    }

    fn membership(&mut self, info_hash: InfoHash) -> Option<&mut SwarmMembership> {
        self.memberships.touch(self.memberships.id(info_hash)?)
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Offers { swarm, renamed, tracker, made, made_room } => {
                // Those that were asked for before the identifier changed are dropped, also where it has changed back.
                if self.memberships.get(swarm).is_some_and(|membership| membership.renamed == renamed) {
                    self.hand_in_offers(swarm, tracker, made, made_room);
                }
            }
            Done::Attempt { swarm, attempt, result } => {
                if let Some(membership) = self.memberships.touch(swarm) {
                    membership.attempts.remove(&attempt);
                    membership.connections.attempt_ended(crate::now(), attempt, *result);
                }
            }
            Done::Read { swarm, peer } => {
                if let Some(membership) = self.memberships.touch(swarm) {
                    membership.connections.reader_ended(&peer);
                }
            }
            Done::Parted { channels, reply } => {
                for (swarm, channel) in channels {
                    if let Some(membership) = self.memberships.touch(swarm) {
                        membership.connections.channel_closed(crate::now(), channel, ChannelClosed::Local);
                    }
                }
                let _ = reply.send(Ok(()));
            }
            Done::Nothing => {}
        }
    }

    async fn shut_down(&mut self) {
        self.commands.close();
        let peers: Vec<Peer> =
            self.memberships.iter().flat_map(|(_, membership)| membership.shared.queue.peers()).collect();
        debug!(peers = peers.len(), "shuts down: flushes what is queued");
        let flushed = join_all(peers.iter().map(Peer::flush));
        if timeout(self.parts.settings.config.flush_timeout, flushed).await.is_err() {
            // It is counted in `PeerClosed`.
            debug!("not all that was queued has left in time");
        }
        let memberships = self.memberships.take_all();
        let trackers = {
            let mut trackers = lock(&self.parts.shared.trackers);
            trackers.values().for_each(|tracker| self.parts.shared.counters.keep(tracker));
            std::mem::take(&mut *trackers)
        };
        let stopped = join_all(trackers.values().map(|tracker| tracker.client.stop()));
        let channels: Vec<_> = memberships
            .into_iter()
            .map(|mut membership| {
                membership.token.cancel();
                let channels = membership.connections.leave();
                membership.shared.queue.end();
                channels
            })
            .collect();
        let count = channels.iter().map(Vec::len).sum::<usize>();
        debug!(trackers = trackers.len(), channels = count, "shuts down: leaves trackers and closes channels");
        let closing = join_all(channels.iter().flatten().map(|channel| channel.close()));
        // Trackers may still send; their clients must not wait for the engine to take it.
        self.tracker_events.close();
        let begun_before = async { while self.graceful.join_next().await.is_some() {} };
        tokio::join!(stopped, closing, begun_before);
        debug!("shuts down: ends the transport");
        self.parts.transport.shutdown().await;
        self.tasks.shutdown().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // However the task ended, no caller waits for it in vain and no stream stays open.
        for mut membership in self.memberships.take_all() {
            membership.connections.leave();
            membership.shared.queue.end();
        }
        // After a panic there are trackers left, and nothing talks to them any more.
        let trackers = std::mem::take(&mut *lock(&self.parts.shared.trackers));
        trackers.values().for_each(|tracker| self.parts.shared.counters.keep(tracker));
        self.parts.shared.stop.cancel();
        self.parts.shared.stopped.cancel();
    }
}

/// What a task reports. A panic is a bug and must not pass unseen; everything else is a task we cancelled.
fn report<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
