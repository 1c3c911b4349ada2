//! A peer: the application's handle, and the state its channels share.

use std::hash::{Hash, Hasher};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fmt, ptr};

use futures_util::future::join_all;
use p2pt_messaging::{IntoPayload, Limits, MessageId, Payload, may_be_taken_for_a_chunk};
use p2pt_proto::PeerId;
use p2pt_transport::{ChannelClosed, ChannelStats, Frame};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Span, debug, error_span};

use crate::accounts::{Account, Accounts};
use crate::channel::{ChannelError, PeerChannel, TryChannelError};
use crate::counters::{Counters, add, count};
use crate::engine::Command;
use crate::inbox::Inbox;
use crate::queue::lock;
use crate::request::Waiters;
use crate::send_queue::{Awaited, Behind, Content, Outgoing, Pushed, SendQueue, Sent, ToSend};
use crate::{Messages, PeerClosed, QueueError, Request, SendError, TrySendError};
use p2pt_mesh::mesh::ChannelId;

/// Bytes of unread messages kept for each peer unless configured; a larger message is kept alone.
const INBOX_BYTES: usize = 1 << 20;

/// Bytes that may be queued for each peer unless configured; a larger message is queued alone.
const SEND_QUEUE_BYTES: usize = 8 << 20;

/// What all peers of a node together may make it hold of what they send, and what may be queued for all of them, each in
/// bytes and unless configured: half is shared out, which is 1.3 MiB for each of 100 peers, more than an inbox holds, and
/// the other half takes two messages of the largest size.
const NODE_MEMORY: usize = 256 << 20;

/// How long what is queued may take to leave when a connection is ended, unless configured.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request waits for its response unless configured.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// When the peer's inbox is full and nothing is read for this long, what waits behind it is given up.
const HELD_UP: Duration = Duration::from_secs(1);

/// How long a send waits for a channel that takes nothing unless configured.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What the application sets for every peer of a node.
#[derive(Debug, Clone)]
pub(crate) struct PeerConfig {
    pub(crate) limits: Limits,
    pub(crate) inbox_bytes: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) send_queue_bytes: usize,
    pub(crate) flush_timeout: Duration,
    pub(crate) receive_memory: usize,
    pub(crate) send_memory: usize,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            inbox_bytes: INBOX_BYTES,
            request_timeout: REQUEST_TIMEOUT,
            send_timeout: SEND_TIMEOUT,
            send_queue_bytes: SEND_QUEUE_BYTES,
            flush_timeout: FLUSH_TIMEOUT,
            receive_memory: NODE_MEMORY,
            send_memory: NODE_MEMORY,
        }
    }
}

/// What every peer of a node has in common.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: PeerConfig,
    pub(crate) message_ids: Mutex<StdRng>,
    /// How many events about peers the application has taken.
    pub(crate) events_taken: AtomicU64,
    pub(crate) counters: Arc<Counters>,
    /// What all peers may make the node hold.
    pub(crate) accounts: Accounts,
    /// The way to the engine, which it does not keep running.
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Settings {
    /// For peers without an engine.
    #[cfg(test)]
    pub(crate) fn alone(inbox_bytes: usize) -> Self {
        Self::sharing(PeerConfig { inbox_bytes, ..PeerConfig::default() }, 1)
    }

    /// For so many peers without an engine.
    #[cfg(test)]
    pub(crate) fn sharing(config: PeerConfig, max_peers: usize) -> Self {
        let counters = Arc::<Counters>::default();
        Self {
            accounts: Accounts::new(&config, max_peers, &counters),
            config,
            message_ids: Mutex::new(rand::make_rng()),
            events_taken: AtomicU64::new(0),
            counters,
            commands: mpsc::channel(1).0,
        }
    }
}

/// A peer of a swarm, from its `PeerConnected` to its `PeerClosed`.
///
/// The handle is cheap to clone, and keeps nothing alive: when the node or the connection goes, sends fail.
///
/// A node that is met in two swarms is two `Peer`s, with a connection each, and handles are equal only if they mean the
/// same of them. Compare [`id`](Self::id) to tell whether two peers are the same node.
#[derive(Clone)]
pub struct Peer(Arc<PeerShared>);

#[derive(Debug)]
pub(crate) struct PeerShared {
    id: PeerId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) inbox: Inbox,
    pub(crate) waiters: Waiters,
    pub(crate) send_queue: SendQueue,
    /// What the node holds of what the peer has sent.
    pub(crate) received: Arc<Account>,
    channels: Mutex<Channels>,
    span: Span,
}

#[derive(Debug)]
struct Channels {
    /// In the order they opened.
    open: Vec<Arc<PeerChannel>>,
    /// How the last one ended; meaningful while none is open.
    ended: ChannelClosed,
}

impl Peer {
    pub(crate) fn new(id: PeerId, settings: Arc<Settings>) -> Self {
        let accounts = &settings.accounts;
        let queued = Account::new(accounts.queued.clone(), usize::MAX);
        Self(Arc::new(PeerShared {
            id,
            received: Account::new(accounts.received.clone(), settings.config.limits.max_held_bytes),
            inbox: Inbox::new(settings.config.inbox_bytes),
            waiters: Waiters::new(settings.config.inbox_bytes),
            send_queue: SendQueue::new(settings.config.send_queue_bytes, queued, accounts.shared.clone()),
            settings,
            channels: Mutex::new(Channels { open: Vec::new(), ended: ChannelClosed::Remote }),
            span: error_span!("peer", id = %id),
        }))
    }

    /// The peer's span, in that of its swarm.
    pub(crate) fn span(&self) -> &Span {
        &self.0.span
    }

    pub(crate) fn shared(&self) -> &PeerShared {
        &self.0
    }

    /// Its id, which it draws for each run.
    pub fn id(&self) -> PeerId {
        self.0.id
    }

    /// Whether a channel to it is open.
    pub fn is_connected(&self) -> bool {
        self.connection_count() > 0
    }

    /// How many channels to it are open.
    pub fn connection_count(&self) -> usize {
        lock(&self.0.channels).open.len()
    }

    /// Queues a message for this peer, and never waits: what most programs send with.
    ///
    /// The tasks of the peer's channels hand over what is queued, in order, and [`send`](Self::send) takes its turn
    /// behind it. If the channel fails half-way the message starts again on the peer's next one. A peer that takes
    /// nothing fills its own queue and no other (8 MiB unless [configured](crate::Builder::send_queue_bytes)). What
    /// goes wrong later is an event: [`SendFailed`](crate::Event::SendFailed), or
    /// [`PeerClosed`](crate::Event::PeerClosed), which says how much was never handed to a channel. What is queued for
    /// a peer after its `PeerClosed` is dropped.
    ///
    /// A queue that is full gives the message back, and [`send`](Self::send) waits its turn with it, where waiting is
    /// possible:
    ///
    /// ```no_run
    /// # async fn example(peer: p2pt::Peer) -> Result<(), Box<dyn std::error::Error>> {
    /// # use p2pt::QueueError;
    /// match peer.queue("hello") {
    ///     // Waits behind all that is queued.
    ///     Err(QueueError::Full(back)) => peer.send(back).await?,
    ///     queued => queued?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`QueueError`]: the message is too large, or there is no room for it, and it comes back.
    pub fn queue(&self, payload: impl IntoPayload) -> Result<(), QueueError> {
        self.queue_with_id(self.0.new_id(), Outgoing::alone(payload.into_payload()))
            .map_err(|error| error.map(given_back))
    }

    /// Queues a response to a message of which only the id is at hand;
    /// [`Message::queue_response`](crate::Message::queue_response) otherwise.
    ///
    /// # Errors
    /// [`QueueError`]: the response is too large, or there is no room for it, and it comes back.
    pub fn queue_response_to(&self, id: MessageId, payload: impl IntoPayload) -> Result<(), QueueError> {
        self.queue_with_id(id, Outgoing::alone(payload.into_payload())).map_err(|error| error.map(given_back))
    }

    /// Queues one frame as it is, outside the message format, as [`send_frame`](Self::send_frame) sends it.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::NodeFull`], [`QueueError::LooksLikeMessage`]. A frame that is too large for the channel is an event.
    pub fn queue_frame(&self, frame: Frame) -> Result<(), QueueError<Frame>> {
        self.enqueue_frame(frame, None)
    }

    pub(crate) fn enqueue_frame(&self, frame: Frame, awaited: Option<Awaited>) -> Result<(), QueueError<Frame>> {
        if looks_like_message(&frame) {
            return Err(QueueError::LooksLikeMessage(frame));
        }
        match self.0.enqueue(Content::Frame(frame), awaited) {
            Pushed::Full(Content::Frame(frame)) => Err(QueueError::Full(frame)),
            Pushed::NodeFull(Content::Frame(frame)) => Err(QueueError::NodeFull(frame)),
            _ => Ok(()),
        }
    }

    pub(crate) fn queue_with_id(&self, id: MessageId, message: Arc<Outgoing>) -> Result<(), QueueError<Arc<Outgoing>>> {
        self.enqueue_message(id, message, None)
    }

    pub(crate) fn enqueue_message(
        &self,
        id: MessageId,
        message: Arc<Outgoing>,
        awaited: Option<Awaited>,
    ) -> Result<(), QueueError<Arc<Outgoing>>> {
        if let Some((bytes, max)) = self.0.too_large(&message.payload) {
            return Err(QueueError::TooLarge { bytes, max });
        }
        match self.0.enqueue(Content::Message(id, message), awaited) {
            Pushed::Full(Content::Message(_, message)) => Err(QueueError::Full(message)),
            Pushed::NodeFull(Content::Message(_, message)) => Err(QueueError::NodeFull(message)),
            _ => Ok(()),
        }
    }

    /// Waits until what has been queued so far has left, or the peer has no open channel.
    pub(crate) async fn flush(&self) {
        let Some(ticket) = self.0.send_queue.ticket() else { return };
        loop {
            let mut changed = pin!(self.0.send_queue.changed());
            changed.as_mut().enable();
            if !self.0.send_queue.has_before(ticket) || self.0.channel().is_err() {
                return;
            }
            changed.await;
        }
    }

    /// Sends a message and does not wait for a response.
    ///
    /// `Ok` means that a channel accepted all of it, in order, not that it was delivered: the wire format has no
    /// acknowledgements. If the channel fails half-way the message starts again on the peer's next one. Waits behind
    /// what was [queued](Self::queue) before it, and while the channel's send buffer is full; what is queued while it
    /// waits for its turn comes after it. A future dropped half-way leaves a message that never completes at the other
    /// side, or one that is sent whole, if it had waited for its turn.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// peer.send("a text").await?;
    /// peer.send(42).await?;
    /// // A whole album, at the peer's pace: it waits while the channel is full.
    /// peer.send("♪".repeat(1_000_000)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, payload: impl IntoPayload) -> Result<(), SendError> {
        self.send_with_id(&self.0.new_id(), ToSend::Owned(payload.into_payload())).await
    }

    /// Sends a message if that takes no waiting: if the channel's send buffer has room for all of it now, and nothing that
    /// was [queued](Self::queue) is still ahead of it. Never sends a part.
    ///
    /// For what is worthless when late, and for sending to many peers without a task for each. `Ok` means what it means
    /// for [`send`](Self::send), and messages sent by turns with both keep their order.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// use p2pt::TrySendError;
    ///
    /// // A position is worthless when late.
    /// match peer.try_send("x=3 y=4") {
    ///     Ok(()) | Err(TrySendError::Full(_)) => {}
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TrySendError`]; the message comes back if it would have to wait: for room, or for what was queued before it.
    pub fn try_send(&self, payload: impl IntoPayload) -> Result<(), TrySendError> {
        let (id, payload) = (self.0.new_id(), payload.into_payload());
        self.0.check_size(&payload)?;
        if !self.0.send_queue.is_empty() {
            // It must not overtake what waits.
            self.0.channel()?;
            return Err(TrySendError::Full(payload));
        }
        loop {
            let channel = self.0.channel()?;
            if channel.is_ending() {
                return Err(TrySendError::Full(payload));
            }
            match channel.try_send_message(&id, &payload) {
                Ok(()) => {
                    self.0.sent(&payload);
                    return Ok(());
                }
                Err(TryChannelError::Full) => return Err(TrySendError::Full(payload)),
                Err(TryChannelError::NeverFits) => return Err(TrySendError::NeverFits(payload)),
                Err(TryChannelError::Channel(ChannelError::Closed)) => {}
                Err(TryChannelError::Channel(error)) => return Err(SendError::from(error).into()),
            }
        }
    }

    /// Sends a message and waits for its response, with a deadline: `peer.request("hello").await?`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (_bob, mut bob_events) = world.join("room").await;
    /// # tokio::spawn(async move {
    /// #     while let Some(event) = bob_events.next().await {
    /// #         if let p2pt::Event::Message(message) = event {
    /// #             let _ = message.queue_response("fine, thanks");
    /// #         }
    /// #     }
    /// # });
    /// # let peer = swarm.wait_for_peer().await?;
    /// let response = peer.request("how are you?").await?;
    /// assert_eq!(response.text(), Some("fine, thanks"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(&self, payload: impl IntoPayload) -> Request {
        Request::new(self.clone(), None, payload.into_payload())
    }

    /// Responds to a message of which only the id is at hand; [`Message::respond`](crate::Message::respond) otherwise.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, _bob_events) = world.join("room").await;
    /// # bob.wait_for_peer().await?.queue_json(&serde_json::json!({ "city": "Ghent" }))?;
    /// # let message = loop {
    /// #     if let Some(p2pt::Event::Message(message)) = events.next().await {
    /// #         break message;
    /// #     }
    /// # };
    /// let (peer, id) = (message.peer().clone(), message.id().clone());
    /// // Later, when only these two are at hand:
    /// peer.respond_to(id, "nineteen degrees").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`], for the reasons for which [`send`](Self::send) fails.
    pub async fn respond_to(&self, id: MessageId, payload: impl IntoPayload) -> Result<(), SendError> {
        self.send_with_id(&id, ToSend::Owned(payload.into_payload())).await
    }

    /// Responds as [`respond_to`](Self::respond_to) does, and waits for the response to that.
    pub fn request_in_response_to(&self, id: MessageId, payload: impl IntoPayload) -> Request {
        Request::new(self.clone(), Some(id), payload.into_payload())
    }

    /// Sends one frame as it is, outside the message format: JavaScript's `peer.send`. The other side sees it as
    /// [`Event::Data`](crate::Event::Data), whatever it is: binary frames are never messages, and a text frame that may
    /// be taken for a part of one, a `^` and a JSON object, is not sent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// use p2pt::{Event, Frame};
    ///
    /// peer.send_frame(Frame::binary(vec![0, 159, 146, 150])).await?;
    /// let data = loop {
    ///     if let Some(Event::Data(data)) = bob_events.next().await {
    ///         break data;
    ///     }
    /// };
    /// assert_eq!(data.frame.bytes()[..], [0, 159, 146, 150]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_frame(&self, frame: Frame) -> Result<(), SendError> {
        if looks_like_message(&frame) {
            return Err(SendError::LooksLikeMessage);
        }
        match self.0.send_queue.push_behind(frame, Content::Frame) {
            Ok(behind) => self.0.sent_behind(behind).await.map(drop),
            Err(frame) => self.0.hand_over_frame(&frame).await.map(drop),
        }
    }

    /// The numbers of the connection that messages take, if there is one: candidate types, round-trip time, bytes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// if let Some(stats) = peer.stats().await {
    ///     println!("{:?} over {:?}", stats.round_trip, stats.local_candidate);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Option<ChannelStats> {
        let channel = self.0.channel().ok()?;
        Some(channel.stats().await)
    }

    /// The numbers of every connection to the peer, in the order they opened.
    pub async fn connection_stats(&self) -> Vec<ChannelStats> {
        join_all(self.0.channels().iter().map(|channel| channel.stats())).await
    }

    /// Ends the connection: lets what is queued leave, closes every channel to this peer once it has sent what it had
    /// accepted, and waits until they are closed.
    ///
    /// What is queued has as long as [configured](crate::Builder::flush_timeout) (5 s). What channels have accepted is
    /// still sent, for at most as long as the transport gives a close (2 s without progress unless configured). Sends
    /// and requests under way end with `PeerGone(Local)`, and [`Event::PeerClosed`](crate::Event::PeerClosed) comes
    /// with the reason `Local` after what the peer had sent. Attempts to connect that were under way come to nothing.
    ///
    /// The peer may come back at any time, as a new [`Peer`]; [`Node::ban`](crate::Node::ban) keeps it away.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// peer.queue("that is all")?;
    /// peer.disconnect().await;
    /// assert!(!peer.is_connected());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn disconnect(&self) {
        // What has not left by then is counted in `PeerClosed`.
        let _ = timeout(self.0.settings.config.flush_timeout, self.flush()).await;
        let (reply, done) = oneshot::channel();
        // An engine that has stopped has closed every channel.
        if self.0.settings.commands.send(Command::Disconnect { peer: self.clone(), reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Takes this peer's messages out of the [event stream](crate::Events) while the result lives: for a task per peer.
    ///
    /// Messages that are unread come first, in order. Dropping it gives the unread and later ones back to the event
    /// stream. Everything else about the peer stays there; its `PeerClosed` comes after the last message was taken.
    /// When taken again, the earlier taker has no more.
    ///
    /// The messages end when the connection has ended, whether its `PeerClosed` was read or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// # bob.wait_for_peer().await?.queue("one")?;
    /// # let bob_node = bob.clone();
    /// # tokio::spawn(async move { tokio::time::sleep(std::time::Duration::from_secs(5)).await; bob_node.shutdown().await });
    /// let mut messages = peer.messages();
    /// let conversation = tokio::spawn(async move {
    ///     let mut count = 0;
    ///     while let Some(message) = messages.next().await {
    ///         println!("{:?}", message.text());
    ///         count += 1;
    ///     }
    ///     count
    /// });
    /// # tokio::spawn(async move { while events.next().await.is_some() {} });
    /// assert_eq!(conversation.await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn messages(&self) -> Messages {
        Messages::start(self)
    }

    /// Waits until the peer is gone and its [`PeerClosed`](crate::Event::PeerClosed) has been taken from the event
    /// stream, or the stream was dropped; says the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// # tokio::spawn(async move { while events.next().await.is_some() {} });
    /// bob.shutdown().await;
    /// let closed = peer.closed().await;
    /// println!("{} has gone: {}, {} bytes may be lost", peer.id(), closed.reason, closed.unacknowledged_bytes);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn closed(&self) -> PeerClosed {
        self.0.inbox.ended().await.event(self.clone())
    }

    /// Responses that came after their request had ended, and were dropped.
    pub fn late_responses(&self) -> u64 {
        self.0.waiters.late()
    }

    pub(crate) async fn send_with_id(&self, id: &MessageId, message: ToSend<'_>) -> Result<(), SendError> {
        self.hand_over(id, message).await.map(drop)
    }

    /// Sends a message in its turn, and says which channel took it.
    pub(crate) async fn hand_over(&self, id: &MessageId, message: ToSend<'_>) -> Sent {
        self.0.check_size(message.payload())?;
        let content = |message: ToSend<'_>| Content::Message(id.clone(), message.outgoing());
        match self.0.send_queue.push_behind(message, content) {
            // In a box, so that a send that does not wait does not carry it.
            Ok(behind) => Box::pin(self.0.sent_behind(behind)).await,
            Err(message) => self.0.hand_over(id, message.payload()).await,
        }
    }
}

impl PeerShared {
    pub(crate) fn new_id(&self) -> MessageId {
        let mut rng = lock(&self.settings.message_ids);
        MessageId::random(|| rng.random())
    }

    /// Queues something to be handed over.
    pub(crate) fn enqueue(&self, content: Content, awaited: Option<Awaited>) -> Pushed {
        let pushed = self.send_queue.push(content, awaited);
        if matches!(pushed, Pushed::Full(_) | Pushed::NodeFull(_)) {
            let node = matches!(pushed, Pushed::NodeFull(_));
            count(&self.settings.counters.queue_full);
            debug!(parent: &self.span, queued_bytes = self.send_queue.weight(), node, "the send queue is full");
        }
        pushed
    }

    /// Waits until it is certain that the full inbox of this peer, or responses that were not taken, hold back what it sends.
    pub(crate) async fn held_up(&self) {
        let events_taken = || self.settings.events_taken.load(Ordering::Relaxed);
        let blocked_at = || [self.inbox.is_blocked().then(events_taken), self.waiters.blocked_at()];
        self.inbox.held_up(HELD_UP, blocked_at).await;
    }

    /// The size of a message that is too large, and the limit.
    pub(crate) fn too_large(&self, payload: &Payload) -> Option<(usize, usize)> {
        let (bytes, max) = (payload.as_str().len(), self.settings.config.limits.max_message_bytes);
        (bytes > max).then_some((bytes, max))
    }

    fn check_size(&self, payload: &Payload) -> Result<(), SendError> {
        match self.too_large(payload) {
            Some((bytes, max)) => Err(SendError::TooLarge { bytes, max }),
            None => Ok(()),
        }
    }

    /// Waits until what a send has put behind what was queued is sent.
    async fn sent_behind(&self, mut behind: Behind<'_>) -> Sent {
        let stall = self.settings.config.send_timeout;
        let (mut since, mut before) = (Instant::now(), None);
        loop {
            let mut changed = pin!(self.send_queue.changed());
            changed.as_mut().enable();
            let sent = match behind.sent.try_recv() {
                Ok(sent) => return sent,
                Err(TryRecvError::Closed) => return Err(SendError::PeerGone(self.ended())),
                Err(TryRecvError::Empty) => &mut behind.sent,
            };
            let taken = Some(self.channel()?.frames_taken());
            if std::mem::replace(&mut before, taken) != taken {
                since = Instant::now();
            }
            let stalled = tokio::select! {
                biased;
                sent = sent => return sent.unwrap_or_else(|_| Err(SendError::PeerGone(self.ended()))),
                waited = timeout_at(since + stall, changed) => waited.is_err(),
            };
            if stalled && Some(self.channel()?.frames_taken()) == taken {
                return Err(SendError::Timeout(stall));
            }
        }
    }

    /// Sends a message over the best channel, and again over the next if that one closes. Says which took it.
    pub(crate) async fn hand_over(&self, id: &MessageId, payload: &Payload) -> Sent {
        loop {
            let channel = self.channel_in_turn().await?;
            match channel.send_message(id, payload, self.settings.config.send_timeout).await {
                // The whole message starts again on the next channel, under the same id.
                Err(ChannelError::Closed) => {
                    debug!(parent: channel.span(), message = %id, "the channel closed in the midst of a message");
                }
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.sent(payload);
                    return Ok(channel.id);
                }
            }
        }
    }

    pub(crate) async fn hand_over_frame(&self, frame: &Frame) -> Sent {
        loop {
            let channel = self.channel_in_turn().await?;
            match channel.send(frame.clone(), self.settings.config.send_timeout).await {
                Err(ChannelError::Closed) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    add(&self.settings.counters.bytes_sent, frame.len());
                    return Ok(channel.id);
                }
            }
        }
    }

    fn sent(&self, payload: &Payload) {
        count(&self.settings.counters.messages_sent);
        add(&self.settings.counters.bytes_sent, payload.as_str().len());
    }

    pub(crate) fn add_channel(&self, channel: Arc<PeerChannel>) {
        lock(&self.channels).open.push(channel);
    }

    /// Takes a channel out; `ended` is why it closed.
    pub(crate) fn remove_channel(&self, id: ChannelId, ended: ChannelClosed) -> Option<Arc<PeerChannel>> {
        let mut channels = lock(&self.channels);
        let index = channels.open.iter().position(|channel| channel.id == id)?;
        channels.ended = ended;
        let removed = channels.open.remove(index);
        drop(channels);
        self.send_queue.wake();
        Some(removed)
    }

    /// How the last channel ended.
    pub(crate) fn ended(&self) -> ChannelClosed {
        lock(&self.channels).ended.clone()
    }

    pub(crate) fn channels(&self) -> Vec<Arc<PeerChannel>> {
        lock(&self.channels).open.clone()
    }

    /// The channel that a new message takes, once no earlier one is under way on a channel that is about to be closed.
    async fn channel_in_turn(&self) -> Result<Arc<PeerChannel>, SendError> {
        loop {
            let channel = self.channel()?;
            if !channel.is_ending() {
                return Ok(channel);
            }
            channel.has_ended().await;
        }
    }

    /// The channel new messages take: the oldest that is not about to be closed. As long as that one is the same,
    /// messages arrive in order.
    fn channel(&self) -> Result<Arc<PeerChannel>, SendError> {
        let channels = lock(&self.channels);
        let usable = |channel: &&Arc<PeerChannel>| !channel.is_closed();
        let best = channels.open.iter().filter(usable).find(|channel| !channel.is_leaving());
        match best.or_else(|| channels.open.iter().find(usable)) {
            Some(channel) => Ok(channel.clone()),
            None => {
                let newest = channels.open.last().and_then(|channel| channel.reason());
                Err(SendError::PeerGone(newest.unwrap_or_else(|| channels.ended.clone())))
            }
        }
    }
}

/// The payload of a message that was not queued.
pub(crate) fn given_back(message: Arc<Outgoing>) -> Payload {
    match Arc::try_unwrap(message) {
        Ok(message) => message.payload,
        Err(shared) => shared.payload.clone(),
    }
}

/// Whether the other side may take the frame for a part of a message.
fn looks_like_message(frame: &Frame) -> bool {
    matches!(frame, Frame::Text(text) if may_be_taken_for_a_chunk(text))
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.0.id)
    }
}

/// Handles are equal if they mean the same connection to the same peer.
impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(Arc::as_ptr(&self.0), state);
    }
}

impl From<ChannelError> for SendError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::PeerGone(ChannelClosed::Remote),
            ChannelError::Timeout(after) => Self::Timeout(after),
            ChannelError::Frame(error) => Self::Frame(error),
            ChannelError::Budget(error) => Self::Budget(error),
        }
    }
}
