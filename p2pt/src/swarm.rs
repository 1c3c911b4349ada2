//! A swarm: everyone under one identifier, as this node sees it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::{join_all, poll_fn};
use p2pt_messaging::Payload;
use p2pt_proto::{InfoHash, PeerId};
use tokio::time::timeout;

use crate::counters::Counters;
use crate::engine::{Command, MembershipId};
use crate::node::NodeHandle;
use crate::queue::{EventQueue, lock};
use crate::{Event, Node, NodeError, Peer, QueueError, SendError};

/// What the members of a swarm share: an identifier, or the info hash alone where that is all that is known.
///
/// Strings are identifiers; the forty hex digits of a hash are parsed as an [`InfoHash`] first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmKey {
    identifier: Option<String>,
    info_hash: InfoHash,
}

impl SwarmKey {
    /// The identifier, unless only its hash is known.
    pub fn identifier(&self) -> Option<&str> {
        self.identifier.as_deref()
    }

    /// The SHA-1 of the identifier.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }
}

impl From<String> for SwarmKey {
    fn from(identifier: String) -> Self {
        Self { info_hash: InfoHash::of(&identifier), identifier: Some(identifier) }
    }
}

impl From<&str> for SwarmKey {
    fn from(identifier: &str) -> Self {
        identifier.to_owned().into()
    }
}

impl From<&String> for SwarmKey {
    fn from(identifier: &String) -> Self {
        identifier.clone().into()
    }
}

impl From<InfoHash> for SwarmKey {
    fn from(info_hash: InfoHash) -> Self {
        Self { identifier: None, info_hash }
    }
}

#[derive(Debug)]
pub(crate) struct SwarmShared {
    pub(crate) queue: EventQueue,
    identity: Mutex<Identity>,
}

#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) membership: MembershipId,
    pub(crate) key: SwarmKey,
}

impl SwarmShared {
    pub(crate) fn new(identity: Identity, counters: Arc<Counters>) -> Self {
        Self { queue: EventQueue::counting(counters), identity: Mutex::new(identity) }
    }

    pub(crate) fn identity(&self) -> Identity {
        lock(&self.identity).clone()
    }

    pub(crate) fn set_identity(&self, identity: Identity) {
        *lock(&self.identity) = identity;
    }
}

/// A swarm this node is in.
///
/// Clones mean the same swarm, and keep the [node](Self::node) alive, but not the node in the swarm: a program that no
/// longer wants to be a member [leaves](Self::leave).
#[derive(Debug, Clone)]
pub struct Swarm {
    pub(crate) shared: Arc<SwarmShared>,
    pub(crate) node: NodeHandle,
}

impl Swarm {
    /// The node it belongs to, for what concerns trackers, bans, and other swarms.
    pub fn node(&self) -> Node {
        Node { handle: self.node.clone() }
    }

    /// See [`Node::peer_id`].
    pub fn peer_id(&self) -> PeerId {
        self.node.shared.peer_id
    }

    /// Ends the whole node, as [`Node::shutdown`] does: what a program with one swarm calls last.
    pub async fn shutdown(&self) {
        self.node().shutdown().await;
    }

    /// What it was joined by, and can be joined by again.
    pub fn key(&self) -> SwarmKey {
        self.shared.identity().key
    }

    /// What its members share, unless the swarm was joined by its info hash.
    pub fn identifier(&self) -> Option<String> {
        self.shared.identity().key.identifier
    }

    /// The SHA-1 of the identifier, which is what trackers see.
    pub fn info_hash(&self) -> InfoHash {
        self.shared.identity().key.info_hash
    }

    /// The peers connected now, in the order of their ids.
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.queue.peers()
    }

    /// A connected peer by its id.
    pub fn peer(&self, id: &PeerId) -> Option<Peer> {
        self.shared.queue.peer(id)
    }

    /// Sends a message to every connected peer at the same time, and says how it went with each.
    ///
    /// No peer waits for another, but the call returns when the slowest one has taken the message, or has taken nothing
    /// for as long as the node's stall deadline. Whoever sends to everybody again and again, and would rather leave out
    /// a slow peer than wait for it, calls [`Peer::try_send`] on each of the [`peers`](Self::peers), and who would
    /// rather neither wait nor leave anyone out [`queue_all`](Self::queue_all).
    pub async fn broadcast(&self, payload: impl Into<Payload>) -> Vec<(Peer, Result<(), SendError>)> {
        let payload = &payload.into();
        let sends = self.peers().into_iter().map(|peer| async move {
            let result = peer.send_with_id(&peer.shared().new_id(), payload).await;
            (peer, result)
        });
        join_all(sends).await
    }

    /// [Queues](Peer::queue) a message for every connected peer, never waits, and says for whom it was not queued, and
    /// why. Results that arrive later are events.
    pub fn queue_all(&self, payload: impl Into<Payload>) -> Vec<(Peer, QueueError<()>)> {
        let payload = Arc::new(payload.into());
        let queue = |peer: Peer| {
            let error = peer.queue_with_id(peer.shared().new_id(), payload.clone()).err()?;
            Some((peer, error.map(drop)))
        };
        self.peers().into_iter().filter_map(queue).collect()
    }

    /// Announces to every tracker now, to meet more peers.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub async fn request_more_peers(&self) -> Result<(), NodeError> {
        let swarm = self.shared.clone();
        self.node.command(|reply| Command::RequestMorePeers { swarm, reply }).await
    }

    /// Moves to another identifier: leaves everyone here, and meets those under the new one. The event stream goes on.
    ///
    /// # Errors
    /// [`NodeError::AlreadyJoined`] if this node is under the new identifier already, [`NodeError::Stopped`].
    pub async fn set_identifier(&self, key: impl Into<SwarmKey>) -> Result<(), NodeError> {
        let (swarm, key) = (self.shared.clone(), key.into());
        self.node.command(|reply| Command::SetIdentifier { swarm, key, reply }).await
    }

    /// Leaves: lets what is queued for peers leave (for at most [as long as
    /// configured](crate::Builder::flush_timeout)), tells the trackers, closes every channel politely, and ends the
    /// event stream. Other swarms of the node go on, and the swarm can be joined again at once.
    ///
    /// # Errors
    /// [`NodeError::Stopped`] if it was left already.
    pub async fn leave(&self) -> Result<(), NodeError> {
        self.flush().await;
        let swarm = self.shared.clone();
        self.node.command(|reply| Command::Leave { swarm, reply }).await
    }
}

impl Swarm {
    /// Waits until what has been queued for each peer has left, for as long as it may take.
    async fn flush(&self) {
        let peers = self.peers();
        if let Some(within) = peers.first().map(|peer| peer.shared().settings.config.flush_timeout) {
            // What has not left by then is counted in `PeerClosed`.
            let _ = timeout(within, join_all(peers.iter().map(Peer::flush))).await;
        }
    }
}

/// The events of one swarm, in order; ends when the swarm has been left or the node shut down.
///
/// Nobody is lost by reading late: each peer's unread messages are bounded in bytes, and a full inbox stalls its own
/// sender only. It keeps the node alive as every handle does. Dropping it throws away what is unread and what comes,
/// and the node goes on while there is another handle.
#[derive(Debug)]
pub struct Events {
    shared: Arc<SwarmShared>,
    _node: NodeHandle,
}

impl Events {
    pub(crate) fn new(shared: Arc<SwarmShared>, node: NodeHandle) -> Self {
        Self { shared, _node: node }
    }

    /// The next event, or `None` after the last one. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.shared.queue.poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.shared.queue.poll_next(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.queue.abandon();
    }
}
