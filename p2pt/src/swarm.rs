//! A swarm: the peers under one identifier, as this node sees them.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::future::{join_all, poll_fn};
use p2pt_messaging::IntoPayload;
use p2pt_proto::{InfoHash, PeerId};
use p2pt_rt::{Instant, timeout};
use p2pt_trust::{Code, RoomSecret, Side};

use crate::counters::Counters;
use crate::engine::{Command, MembershipId};
use crate::node::NodeHandle;
use crate::queue::{EventQueue, lock};
use crate::send_queue::{Outgoing, ToSend};
use crate::trust::{Descriptions, NodeTrust, Pairing, Room};
use crate::{Event, Node, NodeError, Peer, QueueError, Responses, SendError, TryNextError};

/// What the members of a swarm share: an identifier, the info hash alone where that is all that is known, or a secret.
///
/// Strings are identifiers; the forty hex digits of a hash are parsed as an [`InfoHash`] first.
///
/// A [`RoomSecret`] makes a swarm that is found and joined with it alone: trackers see a name from which nothing
/// follows, and descriptions that they cannot read. Peers without the secret are not let in, JavaScript peers among them;
/// [`hidden`](Self::hidden) is for those.
///
/// ```
/// use p2pt::trust::{RoomLink, RoomSecret};
/// use p2pt::SwarmKey;
///
/// let link = RoomLink::draw("our table", &mut rand::rng());
/// let key = SwarmKey::from(link.secret());
/// assert_ne!(key.identifier(), Some("our table")); // which is what trackers would see
/// // What a guest does with the text of the link.
/// assert_eq!(SwarmKey::from(RoomLink::parse(&link.reveal())?.secret()), key);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SwarmKey {
    identifier: Option<String>,
    info_hash: InfoHash,
    room: Option<Arc<Room>>,
    code: Option<(Side, Code)>,
}

/// What the names of rooms and of codes begin with. Who has such a name can join a room that is merely hidden.
const HIDDEN: &str = "p2pt1-";

impl fmt::Debug for SwarmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwarmKey")
            .field("identifier", &self.shown())
            .field("info_hash", &self.info_hash)
            .field("sealed", &self.is_sealed())
            .finish_non_exhaustive()
    }
}

impl PartialEq for SwarmKey {
    fn eq(&self, other: &Self) -> bool {
        self.identifier == other.identifier && self.is_as_good_as(other)
    }
}

impl Eq for SwarmKey {}

impl SwarmKey {
    /// The identifier, unless only its hash is known.
    pub fn identifier(&self) -> Option<&str> {
        self.identifier.as_deref()
    }

    /// The identifier, for `Debug`: the name of a hidden room is not to be found in a log.
    fn shown(&self) -> Option<&str> {
        self.identifier().map(|identifier| if identifier.starts_with(HIDDEN) { "p2pt1-…" } else { identifier })
    }

    /// The SHA-1 of the identifier.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// The swarm of a secret whose descriptions trackers can read: it is found by the secret, or by its
    /// [identifier](Self::identifier), with which a JavaScript p2pt joins it. Trackers learn the hash of that, as of any, by
    /// which they can join.
    pub fn hidden(secret: &RoomSecret) -> Self {
        Self::room(secret, false)
    }

    /// Whether it is a room whose descriptions are sealed.
    pub fn is_sealed(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room.is_sealed())
    }

    /// The swarm in which two nodes meet by a code of four words, which one of them shows and the other types; each
    /// [side](Side) is one of the two. The first peer that proves the code is the only one: from
    /// then on its key is known, and [pinned](crate::Node::pin) if the application wants.
    ///
    /// The code holds for ten minutes from the join. A peer that does not have it can try one guess in each of three
    /// attempts, and each is told by [`WrongCode`](crate::RejectReason::WrongCode).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use p2pt::SwarmKey;
    /// use p2pt::trust::{Code, Side};
    ///
    /// let code = Code::draw(&mut rand::rng());
    /// let told = code.reveal(); // as in "apple-bridge-canyon-lemon", which one person reads to another
    /// let (alice, _events) = world.join(SwarmKey::code(code, Side::Shows)).await;
    /// let (bob, _events) = world.join(SwarmKey::code(Code::parse(&told)?, Side::Types)).await;
    /// assert_eq!(alice.wait_for_peer().await?.public_key(), bob.node().public_key());
    /// # Ok(())
    /// # }
    /// ```
    pub fn code(code: Code, side: Side) -> Self {
        let identifier = code.hidden_identifier();
        Self { code: Some((side, code)), ..identifier.into() }
    }

    /// This node's side of the code by which the swarm is named, if it is; a node without a key has none.
    pub(crate) fn pairing(&self, trust: &NodeTrust, now: Instant) -> Option<Pairing> {
        let key = trust.identity()?.key().clone();
        self.code.as_ref().map(|code| Pairing::new(code, key, now))
    }

    /// Whether it names the same swarm, with the same peers let in: under one name a room may be hidden, sealed or neither.
    pub(crate) fn is_as_good_as(&self, other: &Self) -> bool {
        // A room's name is as good as its secret, from which it follows.
        let mode = |key: &Self| key.room.as_ref().map(|room| room.is_sealed());
        self.info_hash == other.info_hash && mode(self) == mode(other) && self.code == other.code
    }

    /// Whether a key is needed to join.
    pub(crate) fn needs_key(&self) -> bool {
        self.code.is_some()
    }

    fn room(secret: &RoomSecret, is_sealed: bool) -> Self {
        Self { room: Some(Arc::new(Room::new(secret, is_sealed))), ..secret.hidden_identifier().into() }
    }

    /// How this node's descriptions are written in the swarm, and those of others read.
    pub(crate) fn descriptions(&self, own: PeerId, trust: &NodeTrust) -> Descriptions {
        Descriptions::new(self.info_hash, own, trust.identity().cloned(), self.room.clone())
    }
}

impl From<&RoomSecret> for SwarmKey {
    fn from(secret: &RoomSecret) -> Self {
        Self::room(secret, true)
    }
}

impl From<RoomSecret> for SwarmKey {
    fn from(secret: RoomSecret) -> Self {
        Self::from(&secret)
    }
}

impl From<String> for SwarmKey {
    fn from(identifier: String) -> Self {
        Self { info_hash: InfoHash::of(&identifier), identifier: Some(identifier), room: None, code: None }
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
        Self { identifier: None, info_hash, room: None, code: None }
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
#[derive(Clone)]
pub struct Swarm {
    pub(crate) shared: Arc<SwarmShared>,
    pub(crate) node: NodeHandle,
}

impl fmt::Debug for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.shared.identity().key;
        let (info_hash, peers) = (key.info_hash(), self.shared.queue.peers().len());
        f.debug_struct("Swarm")
            .field("identifier", &key.shown())
            .field("info_hash", &info_hash)
            .field("peers", &peers)
            .finish_non_exhaustive()
    }
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

    /// The key by which it was joined, and can be joined again.
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
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// for peer in swarm.peers() {
    ///     println!("{} is here", peer.id());
    /// }
    /// # assert_eq!(swarm.peers().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.queue.hand_out_peers()
    }

    /// A connected peer by its id.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// assert!(swarm.peer(&bob.peer_id()).is_some());
    /// assert!(swarm.peer(&swarm.peer_id()).is_none(), "a node is no peer of its own");
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer(&self, id: &PeerId) -> Option<Peer> {
        self.shared.queue.hand_out_peer(id)
    }

    /// Sends a message to every connected peer at the same time, and says how it went with each.
    ///
    /// No peer waits for another, but the call returns when the slowest one has taken the message, or has taken nothing
    /// for as long as the node's [send timeout](crate::Builder::send_timeout). A program that sends to all peers again
    /// and again has two other ways: [`Peer::try_send`] on each of the [`peers`](Self::peers) leaves a slow peer out,
    /// and [`queue_all`](Self::queue_all) neither waits nor leaves a peer out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// for (peer, result) in swarm.broadcast("the game begins").await {
    ///     if let Err(error) = result {
    ///         eprintln!("{} does not know: {error}", peer.id());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "it says which peers the message did not reach"]
    pub async fn broadcast(&self, payload: impl IntoPayload) -> Vec<(Peer, Result<(), SendError>)> {
        let message = &Outgoing::alone(payload.into_payload());
        let sends = self.peers().into_iter().map(|peer| async move {
            let result = peer.send_with_id(&peer.shared().new_id(), ToSend::Shared(message)).await;
            (peer, result)
        });
        join_all(sends).await
    }

    /// [Queues](Peer::queue) a message for every connected peer, never waits, and says for whom it was not queued, and
    /// why. Results that arrive later are events.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// for (peer, error) in swarm.queue_all("the game begins") {
    ///     eprintln!("{} does not know: {error}", peer.id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "it says for which peers there was no room"]
    pub fn queue_all(&self, payload: impl IntoPayload) -> Vec<(Peer, QueueError<()>)> {
        let peers = self.peers();
        let Some(first) = peers.first() else { return Vec::new() };
        let message = Arc::new(Outgoing::shared(payload.into_payload(), &peers, first));
        let queue = |peer: Peer| {
            let error = peer.queue_with_id(peer.shared().new_id(), message.clone()).err()?;
            Some((peer, error.map(drop)))
        };
        peers.into_iter().filter_map(queue).collect()
    }

    /// Asks every connected peer the same, and hands out the responses as they come.
    ///
    /// The requests are [queued](crate::Request::queue) when the first response is asked for, for the peers that were
    /// connected when this was called; a peer that takes nothing delays no other. Peers that connect later are not
    /// asked. Read the responses in a task of their own, not where events are read. A swarm without peers, as after
    /// [`leave`](Self::leave), has no responses. For a value of a type of one's own, ask
    /// `request_many(Payload::json(&question)?)`, and read each response with [`Message::json`](crate::Message::json).
    ///
    /// ```no_run
    /// # async fn example(swarm: p2pt::Swarm) {
    /// let mut responses = swarm.request_many("what time is it?");
    /// while let Some((peer, response)) = responses.next().await {
    ///     match response {
    ///         Ok(message) => println!("{}: {:?}", peer.id(), message.text()),
    ///         Err(error) => println!("{}: {error}", peer.id()),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn request_many(&self, payload: impl IntoPayload) -> Responses {
        Responses::new(self.peers(), payload.into_payload())
    }

    /// Waits until a peer is connected, and hands out one that is: at once if there is one already. It takes no event
    /// out of the stream, so [`Event::PeerConnected`] comes there all the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// let (alice, _events) = world.join("room").await;
    /// let (bob, _events) = world.join("room").await;
    /// let peer = alice.wait_for_peer().await?;
    /// assert_eq!(peer.id(), bob.peer_id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NodeError::Stopped`]: the swarm was left or the node shut down, before or meanwhile.
    pub async fn wait_for_peer(&self) -> Result<Peer, NodeError> {
        self.shared.queue.wait_for_peer().await.ok_or(NodeError::Stopped)
    }

    /// Announces to every tracker now, to meet more peers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// // Announces now, rather than within the tracker's interval.
    /// swarm.request_more_peers().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub async fn request_more_peers(&self) -> Result<(), NodeError> {
        let swarm = self.shared.clone();
        self.node.command(|reply| Command::RequestMorePeers { swarm, reply }).await
    }

    /// Announces the swarm under another identifier from now on, as JavaScript's `setIdentifier` does: connected peers
    /// stay connected and go on talking, and members under the new identifier are met beside them.
    /// [`move_to`](Self::move_to) leaves the peers, too.
    ///
    /// - Trackers learn at once that this node has left the old swarm (`stopped`), and that it is in the new one.
    ///   JavaScript sends neither: its next announce, whenever that is, is under the new identifier.
    /// - Connected peers keep their places: they count for [`max_peers`](crate::Builder::max_peers), and can be
    ///   [disconnected](Peer::disconnect) to make room. They are not asked for admission again, nor for the secret of a room or for a code; for new peers the
    ///   [`PeerRequest`](crate::PeerRequest) has the new info hash.
    /// - Attempts to connect that are under way come to nothing, so that every peer that connects after this returns
    ///   is under the new identifier.
    /// - A peer that changes to the same identifier keeps its one connection.
    /// - A peer that stays under the old identifier keeps its connection, too, but is not met again in this swarm once
    ///   that connection has ended. Until then the peer counts this node as connected. So it does not connect again when
    ///   this node enters another swarm under the old identifier: there it is met only after the connection has ended.
    ///
    /// Setting the identifier that the swarm has changes nothing.
    ///
    /// # Errors
    /// [`NodeError::AlreadyJoined`] if this node is under the new identifier with another swarm,
    /// [`NodeError::Stopped`].
    pub async fn set_identifier(&self, key: impl Into<SwarmKey>) -> Result<(), NodeError> {
        let (swarm, key) = (self.shared.clone(), key.into());
        self.node.command(|reply| Command::SetIdentifier { swarm, key, reply }).await
    }

    /// Moves to another identifier: leaves all peers here, and meets those under the new one. The handle and the event
    /// stream go on. [`set_identifier`](Self::set_identifier) keeps the peers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// swarm.move_to("another room").await?;
    /// assert_eq!(swarm.identifier().as_deref(), Some("another room"));
    /// assert!(swarm.peers().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NodeError::AlreadyJoined`] if this node is under the new identifier already, with another swarm or with this one,
    /// [`NodeError::Stopped`].
    pub async fn move_to(&self, key: impl Into<SwarmKey>) -> Result<(), NodeError> {
        let (swarm, key) = (self.shared.clone(), key.into());
        self.node.command(|reply| Command::MoveTo { swarm, key, reply }).await
    }

    /// Leaves: lets what is queued for peers leave (for at most [as long as
    /// configured](crate::Builder::flush_timeout)), announces to the trackers that it leaves, closes every channel, and
    /// ends the event stream. Other swarms of the node go on, and the swarm can be joined again at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// swarm.leave().await?;
    /// // What was left to say has been said; then the events end.
    /// while let Some(event) = events.next().await {
    ///     println!("{event}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
/// Reading late loses nothing: each peer's unread messages are bounded in bytes, and a full inbox stalls its own sender
/// only. The stream keeps the node alive as every handle does. Dropping it throws away what is unread and what comes,
/// and the node goes on while there is another handle.
pub struct Events {
    shared: Arc<SwarmShared>,
    _node: NodeHandle,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("info_hash", &self.shared.identity().key.info_hash()).finish_non_exhaustive()
    }
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

impl Events {
    /// The next event if there is one now; never waits. For loops that do other work in turn, such as a game's, in
    /// tokio's runtime or outside it:
    ///
    /// ```no_run
    /// # fn example(mut events: p2pt::Events) {
    /// # fn draw() {}
    /// use p2pt::TryNextError;
    ///
    /// loop {
    ///     let error = loop {
    ///         match events.try_next() {
    ///             Ok(event) => println!("{event}"),
    ///             Err(error) => break error,
    ///         }
    ///     };
    ///     if error == TryNextError::Ended {
    ///         break;
    ///     }
    ///     draw();
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TryNextError::Empty`]: there is none now. [`TryNextError::Ended`]: there will be none any more.
    pub fn try_next(&mut self) -> Result<Event, TryNextError> {
        match self.shared.queue.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(event)) => Ok(event),
            Poll::Ready(None) => Err(TryNextError::Ended),
            Poll::Pending => Err(TryNextError::Empty),
        }
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
