//! The handles an application holds: [`Node`], and [`P2pt`] for a node with one swarm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use p2pt_mesh::TrackerId;
use p2pt_messaging::Payload;
use p2pt_proto::{InfoHash, PeerId};
use p2pt_tracker::{AnnounceUrl, TrackerClient, TrackerState};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admission::Admission;
use crate::engine::Command;
use crate::queue::lock;
use crate::{Builder, Events, NodeBuilder, NodeError, Peer, SendError, Swarm};

/// What the engine and the handles share.
#[derive(Debug)]
pub(crate) struct NodeShared {
    pub(crate) peer_id: PeerId,
    pub(crate) trackers: Mutex<BTreeMap<TrackerId, Tracker>>,
    pub(crate) admission: Arc<Admission>,
    /// The engine is to stop.
    pub(crate) stop: CancellationToken,
    /// The engine has stopped.
    pub(crate) stopped: CancellationToken,
}

#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) url: AnnounceUrl,
    pub(crate) client: Arc<TrackerClient>,
    /// There is a socket to it.
    pub(crate) connected: bool,
    /// It has answered an announce on its present connection.
    pub(crate) reached: bool,
}

impl NodeShared {
    /// How many trackers are reached, and how many there are.
    pub(crate) fn reached(&self) -> (usize, usize) {
        let trackers = lock(&self.trackers);
        (trackers.values().filter(|tracker| tracker.reached).count(), trackers.len())
    }
}

/// The way to the engine. The last one dropped stops it.
#[derive(Debug, Clone)]
pub(crate) struct NodeHandle {
    pub(crate) shared: Arc<NodeShared>,
    commands: mpsc::Sender<Command>,
    _stop: Arc<DropGuard>,
}

impl NodeHandle {
    pub(crate) fn new(shared: Arc<NodeShared>, commands: mpsc::Sender<Command>) -> Self {
        let stop = Arc::new(shared.stop.clone().drop_guard());
        Self { shared, commands, _stop: stop }
    }

    /// Sends a command and waits for what came of it; the engine answers without awaiting anything but its own work.
    pub(crate) async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, NodeError>>) -> Command,
    ) -> Result<T, NodeError> {
        let (tx, rx) = oneshot::channel();
        self.commands.send(command(tx)).await.map_err(|_| NodeError::Stopped)?;
        rx.await.unwrap_or(Err(NodeError::Stopped))
    }
}

/// A node: one peer id, one transport, one socket to each tracker, and any number of swarms.
///
/// Clones mean the same node. When the last handle, [`P2pt`], [`Node`] or [`Swarm`], is dropped, the node shuts down
/// by itself in the background; [`shutdown`](Self::shutdown) waits for it.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) handle: NodeHandle,
}

impl Node {
    /// Starts to build a node.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    /// This node's id, drawn for this run.
    pub fn peer_id(&self) -> PeerId {
        self.handle.shared.peer_id
    }

    /// Joins the swarm of an identifier; meeting its members begins at once.
    ///
    /// # Errors
    /// [`NodeError::AlreadyJoined`], [`NodeError::Stopped`].
    pub async fn join(&self, identifier: impl Into<String>) -> Result<(Swarm, Events), NodeError> {
        let identifier = identifier.into();
        let shared = self.handle.command(|reply| Command::Join { identifier, reply }).await?;
        let events = Events::new(shared.clone());
        Ok((Swarm { shared, node: self.handle.clone() }, events))
    }

    /// Adds a tracker, for every swarm. Adding one again changes nothing.
    ///
    /// # Errors
    /// [`NodeError::AnnounceUrl`], [`NodeError::Stopped`].
    pub async fn add_tracker(&self, url: &str) -> Result<(), NodeError> {
        let url: AnnounceUrl = url.parse()?;
        self.handle.command(|reply| Command::AddTracker { url, reply }).await
    }

    /// Leaves a tracker, for every swarm; the peers met there stay. Returns whether the node had it.
    ///
    /// # Errors
    /// [`NodeError::AnnounceUrl`], [`NodeError::Stopped`].
    pub async fn remove_tracker(&self, url: &str) -> Result<bool, NodeError> {
        let url: AnnounceUrl = url.parse()?;
        self.handle.command(|reply| Command::RemoveTracker { url, reply }).await
    }

    /// Keeps a peer away: in every swarm its offers and answers are ignored from this call on. The future closes its links
    /// as [`Peer::disconnect`] does, and waits until they are closed.
    ///
    /// A peer id is a claim, drawn for each run: a ban keeps away a peer that misbehaves by mistake, while one that means
    /// to comes back under a new id. Applications that must keep strangers out let peers prove who they are, in messages.
    /// The list lives as long as the node, and is as long as the application makes it.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub fn ban(&self, peer: PeerId) -> impl Future<Output = Result<(), NodeError>> + Send + 'static {
        // First, so that it cannot come back while its links are closed.
        self.handle.shared.admission.ban(peer);
        let handle = self.handle.clone();
        async move { handle.command(|reply| Command::Ban { peer, reply }).await }
    }

    /// Lifts a ban; returns whether there was one. The peer is met again at one of the next announces.
    pub fn unban(&self, peer: &PeerId) -> bool {
        self.handle.shared.admission.unban(peer)
    }

    /// The banned peers, in the order of their ids.
    pub fn banned(&self) -> Vec<PeerId> {
        self.handle.shared.admission.banned()
    }

    /// The trackers as they are now.
    pub fn tracker_stats(&self) -> TrackerStats {
        let trackers = lock(&self.handle.shared.trackers);
        let mut by_url: Vec<&Tracker> = trackers.values().collect();
        by_url.sort_by(|one, other| one.url.cmp(&other.url));
        TrackerStats {
            connected: trackers.values().filter(|tracker| tracker.reached).count(),
            total: trackers.len(),
            trackers: by_url.into_iter().map(|tracker| tracker.client.state()).collect(),
        }
    }

    /// Ends the node in order: takes nothing new, tells the trackers, closes every link politely, ends the event
    /// streams. Every step has a deadline; together at most a few seconds, usually milliseconds. Idempotent.
    pub async fn shutdown(&self) {
        self.handle.shared.stop.cancel();
        self.handle.shared.stopped.cancelled().await;
    }
}

/// A node's trackers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrackerStats {
    /// How many have answered an announce on their present connection.
    pub connected: usize,
    /// How many there are.
    pub total: usize,
    /// Each of them.
    pub trackers: Vec<TrackerState>,
}

/// A node with one swarm: what most programs need, and what the JavaScript class of this name is.
///
/// Clones mean the same node; see [`Node`] about dropping it.
#[derive(Debug, Clone)]
pub struct P2pt {
    node: Node,
    swarm: Swarm,
}

impl P2pt {
    /// Starts to build a peer under `identifier`.
    pub fn builder(identifier: impl Into<String>) -> Builder {
        Builder::new(identifier.into())
    }

    /// Starts to build a node for several swarms.
    pub fn node() -> NodeBuilder {
        NodeBuilder::new()
    }

    pub(crate) fn new(node: Node, swarm: Swarm) -> Self {
        Self { node, swarm }
    }

    /// The node, for what concerns all its swarms.
    pub fn as_node(&self) -> &Node {
        &self.node
    }

    /// The swarm.
    pub fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    /// See [`Node::peer_id`].
    pub fn peer_id(&self) -> PeerId {
        self.node.peer_id()
    }

    /// See [`Swarm::info_hash`].
    pub fn info_hash(&self) -> InfoHash {
        self.swarm.info_hash()
    }

    /// See [`Swarm::peers`].
    pub fn peers(&self) -> Vec<Peer> {
        self.swarm.peers()
    }

    /// See [`Swarm::peer`].
    pub fn peer(&self, id: &PeerId) -> Option<Peer> {
        self.swarm.peer(id)
    }

    /// See [`Swarm::broadcast`].
    pub async fn broadcast(&self, payload: impl Into<Payload>) -> Vec<(Peer, Result<(), SendError>)> {
        self.swarm.broadcast(payload).await
    }

    /// See [`Swarm::set_identifier`].
    ///
    /// # Errors
    /// As there.
    pub async fn set_identifier(&self, identifier: impl Into<String>) -> Result<(), NodeError> {
        self.swarm.set_identifier(identifier).await
    }

    /// See [`Swarm::request_more_peers`].
    ///
    /// # Errors
    /// As there.
    pub async fn request_more_peers(&self) -> Result<(), NodeError> {
        self.swarm.request_more_peers().await
    }

    /// See [`Node::add_tracker`].
    ///
    /// # Errors
    /// As there.
    pub async fn add_tracker(&self, url: &str) -> Result<(), NodeError> {
        self.node.add_tracker(url).await
    }

    /// See [`Node::remove_tracker`].
    ///
    /// # Errors
    /// As there.
    pub async fn remove_tracker(&self, url: &str) -> Result<bool, NodeError> {
        self.node.remove_tracker(url).await
    }

    /// See [`Node::ban`].
    ///
    /// # Errors
    /// As there.
    pub fn ban(&self, peer: PeerId) -> impl Future<Output = Result<(), NodeError>> + Send + 'static {
        self.node.ban(peer)
    }

    /// See [`Node::unban`].
    pub fn unban(&self, peer: &PeerId) -> bool {
        self.node.unban(peer)
    }

    /// See [`Node::banned`].
    pub fn banned(&self) -> Vec<PeerId> {
        self.node.banned()
    }

    /// See [`Node::tracker_stats`].
    pub fn tracker_stats(&self) -> TrackerStats {
        self.node.tracker_stats()
    }

    /// See [`Node::shutdown`].
    pub async fn shutdown(&self) {
        self.node.shutdown().await;
    }
}
