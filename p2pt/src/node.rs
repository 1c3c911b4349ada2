//! The handle of a node.

use std::fmt;
use std::sync::{Arc, Mutex};

use p2pt_mesh::{FewMap, TrackerId};
use p2pt_proto::PeerId;
use p2pt_tracker::{AnnounceUrl, TrackerClient, TrackerState};
use p2pt_trust::{PublicKey, TrustStore};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admission::Admission;
use crate::counters::{Counters, NodeMetrics};
use crate::engine::Command;
use crate::queue::lock;
use crate::trust::NodeTrust;
use crate::{Events, NodeError, PinError, Swarm, SwarmKey};

/// What the engine and the handles share.
#[derive(Debug)]
pub(crate) struct NodeShared {
    pub(crate) peer_id: PeerId,
    pub(crate) trackers: Mutex<FewMap<TrackerId, Tracker>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) trust: Arc<NodeTrust>,
    pub(crate) pins: Option<Arc<dyn TrustStore>>,
    pub(crate) counters: Arc<Counters>,
    /// The engine is to stop.
    pub(crate) stop: CancellationToken,
    /// The engine has stopped.
    pub(crate) stopped: CancellationToken,
    /// Where it is in a world of tests, if it is in one.
    #[cfg(feature = "testing")]
    pub(crate) place: Option<Arc<crate::testing::Place>>,
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

    /// Sends a command and waits for its result; the engine answers without awaiting anything but its own work.
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
/// Clones mean the same node. Every handle keeps it alive: a [`Node`], a [`Swarm`] or its [`Events`]. When the last one
/// is dropped the node shuts down by itself in the background; [`shutdown`](Self::shutdown) waits for it.
#[derive(Clone)]
pub struct Node {
    pub(crate) handle: NodeHandle,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}

impl Node {
    /// This node's id, drawn for this run.
    pub fn peer_id(&self) -> PeerId {
        self.handle.shared.peer_id
    }

    /// This node's key, by which others know it from run to run; `None` if it has a
    /// [peer id](crate::Builder::peer_id) that was given to it.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.handle.shared.trust.public_key()
    }

    /// Joins the swarm of an identifier, or of an info hash; meeting its members begins at once.
    ///
    /// Each swarm has peers of its own: a member of two swarms of this node is two [`Peer`](crate::Peer)s that are not
    /// equal, with a connection each. What tells that they are the same node is [`Peer::id`](crate::Peer::id).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// let node = world.builder().start().await?;
    /// let (room, _events) = node.join("room").await?;
    /// // By info hash, for those to whom the identifier is not known.
    /// let (same, _events) = node.join(p2pt::InfoHash::of("another")).await?;
    /// assert_eq!((room.identifier().as_deref(), same.identifier()), (Some("room"), None));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NodeError::AlreadyJoined`], [`NodeError::Stopped`].
    pub async fn join(&self, key: impl Into<SwarmKey>) -> Result<(Swarm, Events), NodeError> {
        let key = key.into();
        let shared = self.handle.command(|reply| Command::Join { key, reply }).await?;
        let events = Events::new(shared.clone(), self.handle.clone());
        Ok((Swarm { shared, node: self.handle.clone() }, events))
    }

    /// Adds a tracker, for every swarm. Adding one again changes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// swarm.node().add_tracker("wss://tracker.webtorrent.dev").await?;
    /// assert_eq!(swarm.node().tracker_stats().total, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NodeError::AnnounceUrl`], [`NodeError::Stopped`].
    pub async fn add_tracker(&self, url: impl Into<String>) -> Result<(), NodeError> {
        let url = announce_url(url.into())?;
        self.handle.command(|reply| Command::AddTracker { url, reply }).await
    }

    /// Leaves a tracker, for every swarm; the peers met there stay. Returns whether the node had it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// assert!(swarm.node().remove_tracker(p2pt::testing::World::TRACKER).await?);
    /// // Peers stay.
    /// assert!(peer.is_connected());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NodeError::AnnounceUrl`], [`NodeError::Stopped`].
    pub async fn remove_tracker(&self, url: impl Into<String>) -> Result<bool, NodeError> {
        let url = announce_url(url.into())?;
        self.handle.command(|reply| Command::RemoveTracker { url, reply }).await
    }

    /// Keeps a peer away: in every swarm its offers and answers are ignored from this call on. The future closes its
    /// channels as [`Peer::disconnect`](crate::Peer::disconnect) does, and waits until they are closed.
    ///
    /// A peer id is a claim, drawn for each run: a ban keeps away a peer that misbehaves by mistake, while one that
    /// means to comes back under a new id. Applications that must keep unknown peers out let peers prove their identity
    /// in messages. The list lives as long as the node, and is as long as the application makes it.
    ///
    /// A banned peer that stays in the swarm goes on to be introduced by trackers: each of its offers and answers is a
    /// [`ConnectionRejected`](crate::ConnectionRejected) with the reason `Banned`, of which the latest 32 for each
    /// tracker are kept and `missed` counts the others. The peer is not told. It sees attempts of its own fail: no
    /// answer comes to its offers, and after its answers no path is found (`TransportError::IceFailed`).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// swarm.node().ban(peer.id()).await?;
    /// assert!(!peer.is_connected());
    /// assert_eq!(swarm.node().banned(), [bob.peer_id()]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub fn ban(&self, peer: PeerId) -> impl Future<Output = Result<(), NodeError>> + Send + 'static {
        // First, so that it cannot come back while its channels are closed.
        self.handle.shared.admission.ban(peer);
        let handle = self.handle.clone();
        async move { handle.command(|reply| Command::Ban { peer, reply }).await }
    }

    /// Lifts a ban; returns whether there was one. The peer is met again at one of the next announces.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// swarm.node().ban(peer.id()).await?;
    /// assert!(swarm.node().unban(&peer.id()));
    /// assert!(!swarm.node().unban(&peer.id()), "it is not banned any more");
    /// # Ok(())
    /// # }
    /// ```
    pub fn unban(&self, peer: &PeerId) -> bool {
        self.handle.shared.admission.unban(peer)
    }

    /// The banned peers, in the order of their ids.
    pub fn banned(&self) -> Vec<PeerId> {
        self.handle.shared.admission.banned()
    }

    /// Pins a key under a name in the node's [store](crate::Builder::trust_store), once somebody has recognised it: peers with
    /// the key are [`Trust::Pinned`](crate::trust::Trust::Pinned) from now on. The store writes while this is polled, a few
    /// kilobytes where pins are in a file.
    ///
    /// # Errors
    /// [`PinError`]; what was pinned before is still pinned.
    pub async fn pin(&self, name: &str, key: &PublicKey) -> Result<(), PinError> {
        self.pins()?.pin(name, key)?;
        self.pins_changed().await
    }

    /// Takes the pin of a name away, and says which key it had.
    ///
    /// # Errors
    /// [`PinError`]; what was pinned before is still pinned.
    pub async fn unpin(&self, name: &str) -> Result<Option<PublicKey>, PinError> {
        let was = self.pins()?.unpin(name)?;
        self.pins_changed().await?;
        Ok(was)
    }

    fn pins(&self) -> Result<&Arc<dyn TrustStore>, PinError> {
        self.handle.shared.pins.as_ref().ok_or(PinError::NoStore)
    }

    async fn pins_changed(&self) -> Result<(), PinError> {
        let told = self.handle.command(|reply| Command::PinsChanged { reply }).await;
        told.map_err(|_| PinError::Stopped)
    }

    /// The trackers as they are now.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// let stats = swarm.node().tracker_stats();
    /// assert_eq!((stats.connected, stats.total), (1, 1));
    /// for tracker in &stats.trackers {
    ///     let members = tracker.swarms[&swarm.info_hash()].members();
    ///     println!("{}: {:?}, {members:?} members", tracker.url, tracker.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn tracker_stats(&self) -> TrackerStats {
        let trackers = lock(&self.handle.shared.trackers);
        let mut by_url = FewMap::new();
        for tracker in trackers.values() {
            by_url.insert(&tracker.url, tracker);
        }
        TrackerStats {
            connected: trackers.values().filter(|tracker| tracker.reached).count(),
            total: trackers.len(),
            trackers: by_url.values().map(|tracker| tracker.client.state()).collect(),
        }
    }

    /// What the node has done since its start, and holds now, in all its swarms. Cheap: reads atomics, and asks each
    /// tracker's client for its counters.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// let metrics = swarm.node().metrics();
    /// assert_eq!((metrics.peers_connected, metrics.connections_opened), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn metrics(&self) -> NodeMetrics {
        self.handle.shared.metrics()
    }

    /// Ends the node in order: takes nothing new, lets what is queued for peers leave, leaves the trackers, closes
    /// every channel gracefully, ends the event streams. Every step has a deadline; together at most a few seconds
    /// beside the flush, usually milliseconds. Idempotent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// peer.queue("goodbye")?;
    /// // Lets it leave, and tells peers and trackers.
    /// swarm.node().shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self) {
        self.handle.shared.stop.cancel();
        self.handle.shared.stopped.cancelled().await;
    }
}

fn announce_url(url: String) -> Result<AnnounceUrl, NodeError> {
    url.parse().map_err(|error| NodeError::AnnounceUrl { url, error })
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
