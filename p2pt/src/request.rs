//! Requests: messages whose response is awaited.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use p2pt_rt::Instant;

use p2pt_messaging::wire::Urgency;
use p2pt_messaging::{Message as Body, MessageId, Payload};
use p2pt_rt::timeout;
use p2pt_transport::ChannelClosed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, warn};

use crate::accounts::Charge;
use crate::counters::{Counters, count};
use crate::inbox::weight_of;
use crate::queue::lock;
use crate::send_queue::{Asked, Awaited, Content, HandedOver, Outgoing, Pushed, ToSend};
use crate::{Message, Peer, RequestError, SendError};

/// Requests to one peer that may wait at the same time.
const MAX_WAITING: usize = 4096;

/// Ended requests remembered per peer, so that a late response is not taken for a new message.
const MAX_ENDED: usize = 1024;

/// How long an ended request is remembered.
const ENDED_LIFETIME: Duration = Duration::from_secs(300);

/// How long a channel may take to say its round-trip time when a request has timed out.
const STATS_TIMEOUT: Duration = Duration::from_millis(100);

/// The most that a semaphore's permits can count, on every platform.
const MAX_CAPACITY: u32 = u32::MAX >> 3;

/// What becomes of a complete message.
#[derive(Debug)]
pub(crate) enum Routed {
    /// It answered a waiting request.
    Response,
    /// It answered a request that had ended.
    Late,
    /// It answers a waiting request, but there is no [room](Waiters::room_for) for it.
    Wait(Body, Option<Charge>),
    /// It is a message of its own.
    Message(Body, Option<Charge>),
}

/// A response, with its part of what responses may hold that have not been taken yet, and what its peer is charged with
/// for it.
type Reply = Result<(Body, OwnedSemaphorePermit, Option<Charge>), NoReply>;

/// Why there is no response to a request that was registered.
#[derive(Debug, PartialEq, Eq)]
enum NoReply {
    PeerGone(ChannelClosed),
    NotSent(SendError),
}

/// The requests to one peer.
#[derive(Debug)]
pub(crate) struct Waiters {
    state: Mutex<State>,
    /// Bytes that responses may hold until they are taken; a larger one is held alone.
    room: Arc<Semaphore>,
    capacity_bytes: u32,
    /// Readers of channels that hold a response for which there is no room.
    blocked: AtomicUsize,
}

/// Says, while it lives, that a response waits for room.
pub(crate) struct Blocked<'a>(&'a AtomicUsize);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<MessageId, (u64, oneshot::Sender<Reply>)>,
    /// Responses that the application has taken.
    taken: u64,
    ended: Ended,
    next: u64,
    late: u64,
}

/// Requests that ended without a response. An id may end more than once; only its last end counts.
#[derive(Debug, Default)]
struct Ended {
    numbers: HashMap<MessageId, u64>,
    /// Every end, oldest first, also those that a later request with the same id made void.
    order: VecDeque<(Instant, MessageId, u64)>,
}

impl Ended {
    fn insert(&mut self, now: Instant, id: MessageId, number: u64) {
        self.forget(now);
        if self.order.len() == MAX_ENDED {
            self.pop();
        }
        self.numbers.insert(id.clone(), number);
        self.order.push_back((now, id, number));
    }

    fn remove(&mut self, id: &MessageId) {
        self.numbers.remove(id);
    }

    fn contains(&self, id: &MessageId) -> bool {
        self.numbers.contains_key(id)
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) >= ENDED_LIFETIME) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, id, number)) = self.order.pop_front()
            && self.numbers.get(&id) == Some(&number)
        {
            self.numbers.remove(&id);
        }
    }
}

impl Waiters {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        let capacity_bytes = u32::try_from(capacity_bytes).unwrap_or(u32::MAX).clamp(1, MAX_CAPACITY);
        let room = Arc::new(Semaphore::new(capacity_bytes as usize));
        Self { state: Mutex::default(), room, capacity_bytes, blocked: AtomicUsize::new(0) }
    }

    /// Registers a request. The waiter exists before the first frame leaves, so no response can be missed.
    fn register(&self, id: MessageId) -> Option<(u64, oneshot::Receiver<Reply>)> {
        let mut state = lock(&self.state);
        if state.waiting.len() >= MAX_WAITING {
            return None;
        }
        let (tx, rx) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.ended.remove(&id);
        state.waiting.insert(id, (number, tx));
        Some((number, rx))
    }

    fn end(&self, now: Instant, id: MessageId, number: u64) {
        let mut state = lock(&self.state);
        if state.waiting.get(&id).is_none_or(|(current, _)| *current != number) {
            return;
        }
        state.waiting.remove(&id);
        state.ended.insert(now, id, number);
    }

    /// Finds the request a message answers.
    pub(crate) fn route(&self, now: Instant, body: Body, charge: Option<Charge>) -> Routed {
        let mut state = lock(&self.state);
        if state.waiting.contains_key(&body.id) {
            let bytes = self.bytes(&body);
            return match self.room.clone().try_acquire_many_owned(bytes) {
                Ok(part) => state.respond(body, part, charge),
                Err(_) => Routed::Wait(body, charge),
            };
        }
        state.ended.forget(now);
        if state.ended.contains(&body.id) {
            state.late += 1;
            return Routed::Late;
        }
        Routed::Message(body, charge)
    }

    /// Waits until earlier responses have been taken and there is room for this one.
    pub(crate) async fn room_for(&self, body: &Body) {
        // Fails only when closed, which this semaphore never is.
        let _ = self.room.acquire_many(self.bytes(body)).await;
    }

    /// Says, until the result is dropped, that a response waits for room.
    pub(crate) fn block(&self) -> Blocked<'_> {
        self.blocked.fetch_add(1, Ordering::AcqRel);
        Blocked(&self.blocked)
    }

    /// How many responses the application has taken, while a further one waits for room.
    pub(crate) fn blocked_at(&self) -> Option<u64> {
        (self.blocked.load(Ordering::Acquire) > 0).then(|| lock(&self.state).taken)
    }

    fn took_response(&self) {
        lock(&self.state).taken += 1;
    }

    fn bytes(&self, body: &Body) -> u32 {
        let weight = weight_of(&body.id, body.payload.len());
        u32::try_from(weight).unwrap_or(u32::MAX).min(self.capacity_bytes)
    }

    /// The peer has gone: every request ends.
    pub(crate) fn fail_all(&self, now: Instant, reason: &ChannelClosed) {
        let mut state = lock(&self.state);
        for (id, (number, waiter)) in std::mem::take(&mut state.waiting) {
            // The peer may come back before the application learns that it went, and respond then.
            state.ended.insert(now, id, number);
            // A request dropped meanwhile needs no answer.
            let _ = waiter.send(Err(NoReply::PeerGone(reason.clone())));
        }
    }

    /// The message of a request was not sent.
    pub(crate) fn fail(&self, now: Instant, id: MessageId, number: u64, error: SendError) {
        let mut state = lock(&self.state);
        if state.waiting.get(&id).is_some_and(|(current, _)| *current == number)
            && let Some((_, waiter)) = state.waiting.remove(&id)
        {
            state.ended.insert(now, id, number);
            let _ = waiter.send(Err(NoReply::NotSent(error)));
        }
    }

    /// Responses that came after their request had ended.
    pub(crate) fn late(&self) -> u64 {
        lock(&self.state).late
    }
}

impl State {
    fn respond(&mut self, body: Body, part: OwnedSemaphorePermit, charge: Option<Charge>) -> Routed {
        let waiter = self.waiting.remove(&body.id);
        if waiter.is_some_and(|(_, waiter)| waiter.send(Ok((body, part, charge))).is_ok()) {
            return Routed::Response;
        }
        self.late += 1;
        Routed::Late
    }
}

/// A request that has not been sent yet: await it to send it and wait for the response.
///
/// Dropping it, or the future it becomes, frees all it holds; a response that comes later is counted, not delivered.
///
/// Its `Debug` says how large the message is, and does not print it.
#[must_use = "a request is sent when it is awaited"]
pub struct Request {
    peer: Peer,
    id: Option<MessageId>,
    payload: Payload,
    timeout: Duration,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("peer", &self.peer)
            .field("id", &self.id)
            .field("bytes", &self.payload.len())
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Request {
    pub(crate) fn new(peer: Peer, id: Option<MessageId>, payload: Payload) -> Self {
        let timeout = peer.shared().settings.config.request_timeout;
        Self { peer, id, payload, timeout }
    }

    /// How long to wait, from now on, until the response is there; covers sending too. The default is the node's
    /// (30 s unless configured).
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
    /// use std::time::Duration;
    ///
    /// let response = peer.request("how are you?").timeout(Duration::from_secs(2)).await?;
    /// assert_eq!(response.text(), Some("fine, thanks"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it now, and leaves only waiting to the [`PendingResponse`]: for a program that has more to send to the
    /// same peer, in order, before the response is there.
    ///
    /// # Errors
    /// [`RequestError`]: the request was not sent in time, or cannot be.
    pub async fn send(self) -> Result<PendingResponse, RequestError> {
        let (mut waiting, payload) = self.register()?;
        waiting.send(payload).await?;
        Ok(PendingResponse::new(waiting))
    }

    /// [Queues](Peer::queue) it, and never waits: what goes wrong later is the [`PendingResponse`]'s error, not an
    /// event. A request that ends while it is queued is not sent any more.
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
    /// // The first is on its way while the second is queued; neither call waits.
    /// let (one, other) = (peer.request("how are you?").queue()?, peer.request("and yours?").queue()?);
    /// assert_eq!((one.await?.text(), other.await?.text()), (Some("fine, thanks"), Some("fine, thanks")));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError::QueueFull`], [`RequestError::NodeFull`], [`RequestError::TooMany`], [`SendError::TooLarge`],
    /// [`SendError::PeerGone`]. The message does not come back with the error: keep a copy of what is to be asked again, or use
    /// [`send`](Self::send), which waits for room.
    pub fn queue(self) -> Result<PendingResponse, RequestError> {
        let (waiting, payload) = self.register()?;
        let message = waiting.message(payload);
        waiting.queue(message.into())
    }

    /// Queues a request of which others have the payload, too.
    pub(crate) fn queue_shared(
        peer: &Peer,
        payload: Arc<Outgoing>,
        timeout: Option<Duration>,
    ) -> Result<PendingResponse, RequestError> {
        let after = timeout.unwrap_or(peer.shared().settings.config.request_timeout);
        Waiting::register(peer.clone(), None, after)?.queue(payload)
    }

    fn register(self) -> Result<(Waiting, Payload), RequestError> {
        let Self { peer, id, payload, timeout } = self;
        Ok((Waiting::register(peer, id, timeout)?, payload))
    }
}

impl IntoFuture for Request {
    type Output = Result<Message, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async {
            let (mut waiting, payload) = self.register()?;
            waiting.send(payload).await?;
            waiting.response().await
        })
    }
}

/// The response to a request that has been sent or queued: a future. Dropping it ends the request.
#[must_use = "dropping it ends the request"]
pub struct PendingResponse {
    id: MessageId,
    response: Pin<Box<dyn Future<Output = Result<Message, RequestError>> + Send>>,
}

impl PendingResponse {
    fn new(waiting: Waiting) -> Self {
        Self { id: waiting.id.clone(), response: Box::pin(waiting.response()) }
    }

    /// The request's id, which the response has too.
    pub fn id(&self) -> &MessageId {
        &self.id
    }
}

impl Future for PendingResponse {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.response.as_mut().poll(cx)
    }
}

impl fmt::Debug for PendingResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingResponse").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A registered request.
#[derive(Debug)]
struct Waiting {
    peer: Peer,
    id: MessageId,
    /// The id is that of a message of the peer.
    response: bool,
    number: u64,
    body: oneshot::Receiver<Reply>,
    after: Duration,
    began: Instant,
    sent: Sent,
}

/// Whether a channel has taken all of a request.
#[derive(Debug)]
enum Sent {
    NotYet,
    Now(HandedOver),
    /// It was queued.
    Queued(Arc<OnceLock<HandedOver>>),
    /// What came of it is known, and was logged.
    Ended,
}

impl Waiting {
    fn register(peer: Peer, id: Option<MessageId>, after: Duration) -> Result<Self, RequestError> {
        let response = id.is_some();
        let id = id.unwrap_or_else(|| peer.shared().new_id());
        let Some((number, body)) = peer.shared().waiters.register(id.clone()) else {
            debug!(parent: peer.span(), limit = MAX_WAITING, "too many requests to the peer wait for responses");
            return Err(RequestError::TooMany(MAX_WAITING));
        };
        count(&peer.shared().settings.counters.requests_started);
        Ok(Self { peer, id, response, number, body, after, began: crate::now(), sent: Sent::NotYet })
    }

    fn message(&self, payload: Payload) -> Outgoing {
        Outgoing::of(payload, Urgency::DEFAULT, self.response).awaited()
    }

    fn queue(mut self, payload: Arc<Outgoing>) -> Result<PendingResponse, RequestError> {
        if let Some((bytes, max)) = self.peer.shared().too_large(&payload.payload) {
            return Err(self.failed(SendError::TooLarge { bytes, max }.into()));
        }
        let handed_over = Arc::<OnceLock<HandedOver>>::default();
        let asked =
            Awaited::Response(Asked { number: self.number, id: self.id.clone(), handed_over: handed_over.clone() });
        let error = match self.peer.shared().enqueue(Content::Message(self.id.clone(), payload), Some(asked)) {
            Pushed::Queued => {
                self.sent = Sent::Queued(handed_over);
                debug!(parent: self.peer.span(), request = %self.id, "a request is queued");
                return Ok(PendingResponse::new(self));
            }
            Pushed::Full(_) => RequestError::QueueFull,
            Pushed::NodeFull(_) => RequestError::NodeFull,
            Pushed::Closed => SendError::PeerGone(self.peer.shared().ended()).into(),
        };
        Err(self.failed(error))
    }

    fn left(&self) -> Duration {
        self.after.saturating_sub(crate::now().saturating_duration_since(self.began))
    }

    /// Since the request began.
    fn waited(&self) -> Duration {
        crate::now().saturating_duration_since(self.began)
    }

    fn handed_over(&self) -> Option<HandedOver> {
        match &self.sent {
            Sent::NotYet | Sent::Ended => None,
            Sent::Now(handed_over) => Some(*handed_over),
            Sent::Queued(handed_over) => handed_over.get().copied(),
        }
    }

    async fn send(&mut self, payload: Payload) -> Result<(), RequestError> {
        let message = ToSend::Owned(self.message(payload));
        let sent = tokio::select! {
            biased;
            sent = timeout(self.after, self.peer.hand_over(&self.id, message)) => sent,
            () = self.peer.shared().held_up() => return Err(self.failed(RequestError::InboxFull)),
        };
        match sent {
            Ok(Ok(channel)) => {
                self.sent = Sent::Now(HandedOver { at: crate::now(), channel });
                let (span, waited) = (self.peer.span(), self.waited());
                debug!(parent: span, request = %self.id, channel = channel.0, ?waited, "a request is sent");
                Ok(())
            }
            Ok(Err(error)) => Err(self.failed(error.into())),
            Err(_) => Err(self.late().await),
        }
    }

    /// Waits for the response, until the request's deadline.
    async fn response(mut self) -> Result<Message, RequestError> {
        let left = self.left();
        let replied = tokio::select! {
            biased;
            replied = timeout(left, &mut self.body) => replied,
            () = self.peer.shared().held_up() => return Err(self.failed(RequestError::InboxFull)),
        };
        match replied {
            Ok(Ok(Ok((body, ..)))) => {
                self.peer.shared().waiters.took_response();
                self.end(|counters| &counters.requests_answered);
                debug!(parent: self.peer.span(), request = %self.id, waited = ?self.waited(), "a request is answered");
                Ok(Message::new(self.peer.clone(), body))
            }
            Ok(Ok(Err(NoReply::PeerGone(reason)))) => Err(self.failed(RequestError::PeerGone(reason))),
            Ok(Ok(Err(NoReply::NotSent(error)))) => Err(self.failed(RequestError::Send(error))),
            Ok(Err(_)) => Err(self.failed(RequestError::Replaced)),
            Err(_) => Err(self.late().await),
        }
    }

    /// What comes of the request is known: it is counted, and not sent any more.
    fn end(&mut self, result: fn(&Counters) -> &AtomicU64) {
        count(result(&self.peer.shared().settings.counters));
        if matches!(std::mem::replace(&mut self.sent, Sent::Ended), Sent::Queued(_)) {
            self.peer.shared().send_queue.cancel(self.number);
        }
    }

    /// Logs that the request ends with this error, which comes back.
    fn failed(&mut self, error: RequestError) -> RequestError {
        let sent = self.handed_over().is_some();
        self.end(|counters| &counters.requests_failed);
        let (span, waited) = (self.peer.span(), self.waited());
        if error == RequestError::InboxFull {
            // The program is at fault, and does the same again.
            warn!(parent: span, request = %self.id, ?waited, sent, %error, "a request has failed");
        } else {
            debug!(parent: span, request = %self.id, ?waited, sent, %error, "a request has failed");
        }
        error
    }

    /// What a request ends with that has no response in time.
    async fn late(&mut self) -> RequestError {
        let now = crate::now();
        // In a box, so that a request that is answered does not carry it.
        let stats = Box::pin(timeout(STATS_TIMEOUT, self.peer.stats())).await;
        let round_trip = stats.ok().flatten().and_then(|stats| stats.round_trip);
        let handed_over = self.handed_over();
        let (sent, channel) = (handed_over.is_some(), handed_over.map(|handed_over| handed_over.channel.0));
        let sending = handed_over.map_or(now, |handed_over| handed_over.at).saturating_duration_since(self.began);
        let (shared, after) = (self.peer.shared(), self.after);
        let (queued_bytes, inbox_full) = (shared.send_queue.weight(), shared.inbox.is_blocked());
        debug!(
            parent: self.peer.span(), request = %self.id, ?after, ?sending, sent, channel, ?round_trip, queued_bytes,
            inbox_full, "a request has timed out"
        );
        self.end(|counters| &counters.requests_timed_out);
        RequestError::Timeout { after, sending, sent, channel, round_trip }
    }
}

/// Ends the request however its future ends.
impl Drop for Waiting {
    fn drop(&mut self) {
        if !matches!(self.sent, Sent::Ended) {
            debug!(parent: self.peer.span(), request = %self.id, waited = ?self.waited(), "a request is dropped");
            self.end(|counters| &counters.requests_dropped);
        }
        self.peer.shared().waiters.end(crate::now(), self.id.clone(), self.number);
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
