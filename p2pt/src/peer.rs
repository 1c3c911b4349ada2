//! A peer: the application's handle.

mod over;
mod shared;
mod trust;

use std::hash::{Hash, Hasher};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::{fmt, ptr};

use futures_util::future::join_all;
use p2pt_messaging::wire::Urgency;
use p2pt_messaging::{IntoPayload, MessageId, Payload, may_be_taken_for_a_chunk};
use p2pt_proto::PeerId;
use p2pt_rt::timeout;
use p2pt_transport::{ChannelClosed, ChannelStats, Frame};
use p2pt_trust::PublicKey;
use tokio::sync::oneshot;
use tracing::{Span, error_span};

use crate::accounts::Account;
use crate::engine::Command;
use crate::inbox::Inbox;
use crate::mux;
use crate::queue::lock;
use crate::request::Waiters;
use crate::send_queue::{Awaited, Content, Outgoing, Pushed, SendQueue, Sent, ToSend};
use crate::settings::Settings;
use crate::{Messages, PeerClosed, QueueError, Request, SendError, TrySendError};

pub(crate) use shared::PeerShared;
use shared::{Channels, NotNow};
pub(crate) use trust::PeerTrust;

/// A peer of a swarm, from its `PeerConnected` to its `PeerClosed`.
///
/// The handle is cheap to clone, and keeps nothing alive: when the node or the connection goes, sends fail.
///
/// A node that is met in two swarms is two `Peer`s, with a connection each, and handles are equal only if they mean the
/// same of them. Compare [`id`](Self::id) to tell whether two peers are the same node.
#[derive(Clone)]
pub struct Peer(Arc<PeerShared>);

impl Peer {
    pub(crate) fn new(id: PeerId, key: Option<PublicKey>, settings: Arc<Settings>) -> Self {
        let accounts = &settings.accounts;
        let queued = Account::new(accounts.queued.clone(), usize::MAX);
        Self(Arc::new(PeerShared {
            id,
            trust: PeerTrust::new(key),
            received: Account::new(accounts.received.clone(), settings.config.limits.max_held_bytes),
            inbox: Inbox::new(settings.config.inbox_bytes),
            waiters: Waiters::new(settings.config.inbox_bytes),
            send_queue: SendQueue::new(settings.config.send_queue_bytes, queued, accounts.shared.clone()),
            settings,
            channels: Mutex::new(Channels { open: Vec::new(), ended: ChannelClosed::Remote }),
            mux: Mutex::default(),
            returned: Mutex::default(),
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
        self.queue_with_id(id, Outgoing::response(payload.into_payload())).map_err(|error| error.map(given_back))
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
        if let Some(mux) = self.0.mux() {
            loop {
                let mut changed = pin!(mux.changed());
                changed.as_mut().enable();
                if mux.has_ended() || self.0.send_queue.is_empty() && mux.is_idle() {
                    return;
                }
                changed.await;
            }
        }
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
    /// `Ok` means that a channel accepted all of it, in order, not that it was delivered, for which there is
    /// [`acknowledged`](crate::OutgoingMessage::acknowledged). If the channel fails, it goes on over the peer's next one.
    /// Waits behind what was [queued](Self::queue) before it, and while the channel's send buffer is full; what is queued
    /// while it waits for its turn comes after it. A future dropped half-way takes the message back from a peer that speaks
    /// p2pt/2; at any other it leaves one that never completes, or one that is sent whole, if it had waited for its turn.
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
        self.send_with_id(&self.0.new_id(), ToSend::message(payload.into_payload())).await
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
        let (id, message) = (self.0.new_id(), Outgoing::of(payload.into_payload(), Urgency::DEFAULT, false));
        self.0.check_size(&message.payload)?;
        self.0.hand_over_now(&id, &message).map_err(|not_now| match not_now {
            NotNow::Full => TrySendError::Full(message.payload),
            NotNow::NeverFits => TrySendError::NeverFits(message.payload),
            NotNow::Failed(error) => error.into(),
        })
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
        self.send_with_id(&id, ToSend::response(payload.into_payload())).await
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
        if let Some(mux) = self.0.mux() {
            return self.send_over(&mux, Content::Frame(frame)).await.map(drop);
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
        self.leave(mux::LEFT, "").await;
    }

    /// Ends the connection as [`disconnect`](Self::disconnect) does, and lets a peer that speaks p2pt/2 know why: it reads the
    /// code and the text, of which 1 KiB is sent, in [`PeerClosed::left`](crate::PeerClosed::left). The codes are the
    /// application's; 0 says no more than that it ends.
    pub async fn leave(&self, code: u64, text: &str) {
        // What has not left by then is counted in `PeerClosed`.
        let _ = timeout(self.0.settings.config.flush_timeout, self.flush()).await;
        if let Some(mux) = self.0.mux() {
            mux.leave(&self.0.send_queue, code, text);
        }
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
        if let Some(mux) = self.0.mux() {
            let (bytes, message) = (message.payload().len(), message.outgoing());
            let channel = self.send_over(&mux, Content::Message(id.clone(), message)).await?;
            self.0.sent(bytes);
            return Ok(channel);
        }
        let content = |message: ToSend<'_>| Content::Message(id.clone(), message.outgoing());
        match self.0.send_queue.push_behind(message, content) {
            // In a box, so that a send that does not wait does not carry it.
            Ok(behind) => Box::pin(self.0.sent_behind(behind)).await,
            Err(message) => self.0.hand_over(id, message.payload()).await,
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
pub(crate) fn looks_like_message(frame: &Frame) -> bool {
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
