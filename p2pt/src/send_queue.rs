//! What an application has queued for one peer: bounded in bytes, handed over in order by the tasks of the peer's
//! channels.
//!
//! One item is in flight at a time, whichever task hands it over, so that order holds with several channels too. A send
//! that finds something queued is [put behind it](SendQueue::push_behind), beyond the bound, since its caller waits: so it
//! neither overtakes what was queued before it nor is overtaken by what is queued later, however rarely it is polled.

use p2pt_rt::Instant;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use p2pt_mesh::mesh::ChannelId;
use p2pt_messaging::{MessageId, Payload};
use p2pt_transport::Frame;
use tokio::sync::{Notify, oneshot};
use tracing::debug;

use crate::accounts::{Account, Charge};
use crate::channel::PeerChannel;
use crate::inbox::{ITEM_OVERHEAD, weight_of};
use crate::pending_send::Confirm;
use crate::queue::{EventQueue, lock};
use crate::{Peer, SendError, SendFailed};

/// What is to be handed over.
#[derive(Debug)]
pub(crate) enum Content {
    Message(MessageId, Arc<Outgoing>),
    Frame(Frame),
}

/// A message to be sent, to one peer or to several that share it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) payload: Payload,
    /// What all peers together are charged with for it once, if several share it.
    shared: Option<Charge>,
}

impl Outgoing {
    /// For one peer.
    pub(crate) fn alone(payload: Payload) -> Arc<Self> {
        Arc::new(Self { payload, shared: None })
    }

    /// For several peers, which the node is to hold it for once. Where there is no room for that, each queue counts it by
    /// itself, and takes it or not.
    pub(crate) fn shared(payload: Payload, peers: &[Peer], one: &Peer) -> Arc<Self> {
        let account = one.shared().send_queue.shared();
        let bytes = payload.as_str().len();
        let shared = (peers.len() > 1 && account.try_take(bytes)).then(|| Charge::taken(account, bytes));
        Arc::new(Self { payload, shared })
    }
}

/// A message to be sent, which is this send's own or shared with others.
#[derive(Debug)]
pub(crate) enum ToSend<'a> {
    Owned(Payload),
    Shared(&'a Arc<Outgoing>),
}

impl ToSend<'_> {
    pub(crate) fn payload(&self) -> &Payload {
        match self {
            Self::Owned(payload) => payload,
            Self::Shared(message) => &message.payload,
        }
    }

    pub(crate) fn outgoing(self) -> Arc<Outgoing> {
        match self {
            Self::Owned(payload) => Outgoing::alone(payload),
            Self::Shared(message) => message.clone(),
        }
    }
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(_, message) => message.payload.as_str().len(),
            Self::Frame(frame) => frame.len(),
        }
    }

    /// What its peer is charged with for it.
    fn charged(&self) -> usize {
        match self {
            Self::Message(_, message) if message.shared.is_some() => self.weight() - self.bytes(),
            _ => self.weight(),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Message(id, _) => weight_of(id, self.bytes()),
            Self::Frame(_) => ITEM_OVERHEAD + self.bytes(),
        }
    }
}

/// That a channel has taken all of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandedOver {
    pub(crate) at: Instant,
    pub(crate) channel: ChannelId,
}

/// The request that a queued message makes.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Distinguishes it from others with the same id.
    pub(crate) number: u64,
    /// Set once a channel has taken all of it.
    pub(crate) handed_over: Arc<OnceLock<HandedOver>>,
}

/// What became of a send: which channel has taken it.
pub(crate) type Sent = Result<ChannelId, SendError>;

/// What the application awaits of a queued item; of others it hears only if they fail, by an event.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// The response to it.
    Response(Asked),
    /// That a channel takes it.
    Acceptance(Confirm),
    /// The same, by a send that waits for it and keeps it in the place of the queue.
    Send(oneshot::Sender<Sent>),
}

#[derive(Debug)]
struct Item {
    number: u64,
    content: Content,
    awaited: Option<Awaited>,
}

impl Item {
    fn weight(&self) -> usize {
        if self.is_waited_for() { 0 } else { self.content.weight() }
    }

    fn charged(&self) -> usize {
        if self.is_waited_for() { 0 } else { self.content.charged() }
    }

    /// The bytes that were never handed over, should it not be.
    fn unsent(&self) -> Option<usize> {
        (!self.is_waited_for()).then(|| self.content.bytes())
    }

    /// Whether it is of a send, whose caller holds it and hears of it.
    fn is_waited_for(&self) -> bool {
        matches!(self.awaited, Some(Awaited::Send(_)))
    }

    /// The [number](Asked::number) of the request that it is.
    fn request(&self) -> Option<u64> {
        match &self.awaited {
            Some(Awaited::Response(asked)) => Some(asked.number),
            Some(Awaited::Acceptance(_) | Awaited::Send(_)) | None => None,
        }
    }
}

/// What became of something that was to be queued.
#[derive(Debug)]
pub(crate) enum Pushed {
    Queued,
    /// It was reported that the peer is gone.
    Closed,
    /// There is no room for it.
    Full(Content),
    /// There is none in what all peers of the node have together.
    NodeFull(Content),
}

#[derive(Debug)]
pub(crate) struct SendQueue {
    state: Mutex<State>,
    /// Items that are queued or in flight, to pass by the lock where there are none.
    waiting: AtomicUsize,
    /// Something was queued, handed over or given up, or a channel has closed.
    changed: Notify,
    capacity_bytes: usize,
    account: Arc<Account>,
    /// The account for what several peers share.
    shared: Arc<Account>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    in_flight: Option<Flight>,
    /// Weight of what is queued or in flight.
    weight: usize,
    /// How much of it the peer is charged with.
    charged: usize,
    next: u64,
    closed: bool,
}

/// What is known of the item in flight.
#[derive(Debug)]
struct Flight {
    number: u64,
    /// See [`Item::unsent`].
    unsent: Option<usize>,
    /// The [number](Asked::number) of the request that it is.
    request: Option<u64>,
    /// The request, or the send, has ended: should its channel fail, it is not sent again.
    cancelled: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.in_flight.is_none()
    }

    /// Whether something is left that was queued before this number.
    fn has_before(&self, number: u64) -> bool {
        let queued = self.items.front().map(|item| item.number);
        self.in_flight.as_ref().map(|flight| flight.number).into_iter().chain(queued).any(|left| left < number)
    }
}

impl SendQueue {
    pub(crate) fn new(capacity_bytes: usize, account: Arc<Account>, shared: Arc<Account>) -> Self {
        let (waiting, changed) = (AtomicUsize::new(0), Notify::new());
        Self { state: Mutex::default(), waiting, changed, capacity_bytes, account, shared }
    }

    fn shared(&self) -> &Arc<Account> {
        &self.shared
    }

    /// Queues something if there is room, which an empty queue always has.
    pub(crate) fn push(&self, content: Content, awaited: Option<Awaited>) -> Pushed {
        let mut state = lock(&self.state);
        let item = Item { number: state.next, content, awaited };
        if state.closed {
            return Pushed::Closed;
        }
        if !state.is_empty() && state.weight + item.weight() > self.capacity_bytes {
            return Pushed::Full(item.content);
        }
        if !self.account.try_take(item.charged()) {
            return Pushed::NodeFull(item.content);
        }
        state.next += 1;
        state.weight += item.weight();
        state.charged += item.charged();
        state.items.push_back(item);
        self.note(state);
        Pushed::Queued
    }

    /// Puts what a send waits for behind what is queued; gives it back if nothing is.
    pub(crate) fn push_behind<T>(&self, to_send: T, content: impl FnOnce(T) -> Content) -> Result<Behind<'_>, T> {
        if self.is_empty() {
            return Err(to_send);
        }
        let mut state = lock(&self.state);
        if state.is_empty() || state.closed {
            return Err(to_send);
        }
        let (send, sent) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.items.push_back(Item { number, content: content(to_send), awaited: Some(Awaited::Send(send)) });
        self.note(state);
        Ok(Behind { queue: self, number, sent })
    }

    /// A send is given up. One in flight goes on, but not over another channel.
    fn withdraw(&self, number: u64) {
        let mut state = lock(&self.state);
        if let Some(flight) = state.in_flight.as_mut().filter(|flight| flight.number == number) {
            flight.cancelled = true;
        } else if let Some(index) = state.items.iter().position(|item| item.number == number) {
            state.items.remove(index);
            self.note(state);
        }
    }

    /// The bytes that what is queued or in flight is counted as.
    pub(crate) fn weight(&self) -> usize {
        lock(&self.state).weight
    }

    /// Whether nothing is queued or in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Takes back the message of the request with this [number](Asked::number), unless it is gone. One in flight is not
    /// sent again if its channel fails.
    pub(crate) fn cancel(&self, request: u64) {
        let mut state = lock(&self.state);
        let is_of = |item: &Item| item.request() == Some(request);
        if let Some(index) = state.items.iter().position(is_of) {
            if let Some(item) = state.items.remove(index) {
                self.gone(&mut state, &item);
            }
            self.note(state);
        } else if let Some(flight) = state.in_flight.as_mut().filter(|flight| flight.request == Some(request)) {
            flight.cancelled = true;
        }
    }

    /// Wakes sends that wait for their turn and tasks that wait for an item: a channel has closed.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// It is reported that the peer is gone. Returns how many messages, and bytes of them, were never handed over.
    pub(crate) fn close(&self) -> (u64, u64) {
        let mut state = lock(&self.state);
        state.closed = true;
        let in_flight = state.in_flight.as_ref().and_then(|flight| flight.unsent);
        let unsent = state.items.iter().filter_map(Item::unsent).chain(in_flight);
        let (count, bytes) = unsent.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes as u64));
        let items = std::mem::take(&mut state.items);
        state.weight = 0;
        self.account.give_back(std::mem::take(&mut state.charged));
        self.account.retire();
        self.note(state);
        drop(items);
        (count, bytes)
    }

    /// The peer is connected, and it was not reported that it is gone.
    pub(crate) fn open(&self) {
        lock(&self.state).closed = false;
    }

    /// The number that what is queued next will have. `None` if nothing is before it.
    pub(crate) fn ticket(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let state = lock(&self.state);
        (!state.is_empty()).then_some(state.next)
    }

    /// Whether something is left that is before a ticket.
    pub(crate) fn has_before(&self, ticket: u64) -> bool {
        lock(&self.state).has_before(ticket)
    }

    /// Resolves when something has changed since this was first polled or enabled.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    fn take(&self) -> Option<InFlight<'_>> {
        let mut state = lock(&self.state);
        if state.in_flight.is_some() {
            return None;
        }
        let item = state.items.pop_front()?;
        let request = item.request();
        let (number, unsent) = (item.number, item.unsent());
        state.in_flight = Some(Flight { number, unsent, request, cancelled: false });
        Some(InFlight { queue: self, item: Some(item) })
    }

    /// An item is neither queued nor in flight any more.
    fn gone(&self, state: &mut State, item: &Item) {
        state.weight = state.weight.saturating_sub(item.weight());
        // Nothing is left of what was charged after a close.
        let charged = item.charged().min(state.charged);
        state.charged -= charged;
        self.account.give_back(charged);
    }

    fn note(&self, state: std::sync::MutexGuard<'_, State>) {
        self.waiting.store(state.items.len() + usize::from(state.in_flight.is_some()), Ordering::Release);
        drop(state);
        self.changed.notify_waiters();
    }
}

/// A send that waits behind what is queued; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Behind<'a> {
    queue: &'a SendQueue,
    number: u64,
    /// What became of it; ends without if it is reported that the peer is gone.
    pub(crate) sent: oneshot::Receiver<Sent>,
}

impl Drop for Behind<'_> {
    fn drop(&mut self) {
        self.queue.withdraw(self.number);
    }
}

/// The item in flight, which goes back to the front of the queue if it is dropped.
struct InFlight<'a> {
    queue: &'a SendQueue,
    item: Option<Item>,
}

impl InFlight<'_> {
    fn done(mut self) -> Option<Item> {
        let item = self.item.take()?;
        let mut state = lock(&self.queue.state);
        state.in_flight = None;
        self.queue.gone(&mut state, &item);
        self.queue.note(state);
        Some(item)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            let mut state = lock(&self.queue.state);
            let cancelled = state.in_flight.take().is_some_and(|flight| flight.cancelled);
            if cancelled {
                self.queue.gone(&mut state, &item);
            } else if !state.closed {
                state.items.push_front(item);
            }
            self.queue.note(state);
        }
    }
}

/// Hands over what is queued for a peer, until this channel of it closes.
pub(crate) async fn drain(channel: &PeerChannel, peer: &Peer, events: &EventQueue) {
    let queue = &peer.shared().send_queue;
    loop {
        let mut changed = pin!(queue.changed());
        changed.as_mut().enable();
        if channel.is_closed() {
            return;
        }
        let Some(item) = queue.take() else {
            changed.await;
            continue;
        };
        let handed_over = match item.item.as_ref().map(|item| &item.content) {
            Some(Content::Message(id, message)) => peer.shared().hand_over(id, &message.payload).await,
            Some(Content::Frame(frame)) => peer.shared().hand_over_frame(frame).await,
            None => return,
        };
        // No channel is open. The next one takes it, unless it is reported first that the peer is gone.
        if let Err(SendError::PeerGone(_)) = handed_over {
            return;
        }
        let Some(Item { content, awaited, .. }) = item.done() else { return };
        let id = match content {
            Content::Message(id, _) => Some(id),
            Content::Frame(_) => None,
        };
        match (handed_over, awaited, id) {
            // A send that was given up meanwhile is told nothing.
            (handed_over, Some(Awaited::Send(send)), _) => drop(send.send(handed_over)),
            (Ok(channel), Some(Awaited::Response(asked)), Some(id)) => {
                debug!(parent: peer.span(), request = %id, channel = channel.0, "the queued request is sent");
                let _ = asked.handed_over.set(HandedOver { at: crate::now(), channel });
            }
            // An application that no longer waits for it hears of failures alone.
            (Ok(_), Some(Awaited::Acceptance(confirm)), _) => drop(confirm.send(Ok(()))),
            (Ok(_), ..) => {}
            (Err(error), Some(Awaited::Response(asked)), Some(id)) => {
                peer.shared().waiters.fail(crate::now(), id, asked.number, error);
            }
            (Err(error), awaited, id) => {
                let unheard = match awaited {
                    Some(Awaited::Acceptance(confirm)) => confirm.send(Err(error)).err().and_then(Result::err),
                    _ => Some(error),
                };
                if let Some(error) = unheard {
                    events.send_failed(peer, SendFailed { peer: peer.clone(), id, error, missed: 0 });
                }
            }
        }
    }
}

#[cfg(all(test, feature = "memory"))]
#[path = "send_queue_tests.rs"]
mod tests;
