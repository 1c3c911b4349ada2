//! What an application has queued for one peer: bounded in bytes, handed over in order by the tasks of the peer's
//! channels.
//!
//! One item is in flight at a time, whichever task hands it over, so that order holds with several channels too. A send
//! that finds something queued is [put behind it](SendQueue::push_behind), beyond the bound, since its caller waits: so it
//! neither overtakes what was queued before it nor is overtaken by what is queued later, however rarely it is polled.

mod drain;

use p2pt_rt::Instant;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use p2pt_mesh::mesh::ChannelId;
use p2pt_messaging::wire::Urgency;
use p2pt_messaging::{MessageId, Payload};
use p2pt_transport::Frame;
use tokio::sync::{Notify, oneshot};

use crate::accounts::{Account, Charge};
use crate::inbox::{ITEM_OVERHEAD, weight_of};
use crate::pending_send::Confirm;
use crate::queue::lock;
use crate::{Peer, Returned, SendError};
use drain::InFlight;

pub(crate) use drain::drain;

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
    pub(crate) urgency: Urgency,
    /// Its id is that of a message of the peer.
    pub(crate) response: bool,
    /// Its response is awaited, so that its sender hears of its end and it does not come back.
    pub(crate) request: bool,
    /// What all peers together are charged with for it once, if several share it.
    shared: Option<Charge>,
}

impl Outgoing {
    pub(crate) fn of(payload: Payload, urgency: Urgency, response: bool) -> Self {
        Self { payload, urgency, response, request: false, shared: None }
    }

    /// The same, of which a response is awaited.
    pub(crate) fn awaited(self) -> Self {
        Self { request: true, ..self }
    }

    /// For one peer.
    pub(crate) fn alone(payload: Payload) -> Arc<Self> {
        Self::of(payload, Urgency::DEFAULT, false).into()
    }

    /// For one peer, in response to a message of it.
    pub(crate) fn response(payload: Payload) -> Arc<Self> {
        Self::of(payload, Urgency::DEFAULT, true).into()
    }

    /// For several peers, which the node is to hold it for once. Where there is no room for that, each queue counts it by
    /// itself, and takes it or not.
    pub(crate) fn shared(payload: Payload, peers: &[Peer], one: &Peer) -> Self {
        let account = one.shared().send_queue.shared();
        let bytes = payload.len();
        let shared = (peers.len() > 1 && account.try_take(bytes)).then(|| Charge::taken(account, bytes));
        Self { shared, ..Self::of(payload, Urgency::DEFAULT, false) }
    }
}

/// A message to be sent, which is this send's own or shared with others.
#[derive(Debug)]
pub(crate) enum ToSend<'a> {
    Owned(Outgoing),
    Shared(&'a Arc<Outgoing>),
}

impl ToSend<'_> {
    /// A message of this send's own.
    pub(crate) fn message(payload: Payload) -> Self {
        Self::Owned(Outgoing::of(payload, Urgency::DEFAULT, false))
    }

    /// The same, in response to a message of the peer.
    pub(crate) fn response(payload: Payload) -> Self {
        Self::Owned(Outgoing::of(payload, Urgency::DEFAULT, true))
    }

    pub(crate) fn payload(&self) -> &Payload {
        match self {
            Self::Owned(message) => &message.payload,
            Self::Shared(message) => &message.payload,
        }
    }

    pub(crate) fn outgoing(self) -> Arc<Outgoing> {
        match self {
            Self::Owned(message) => message.into(),
            Self::Shared(message) => message.clone(),
        }
    }
}

impl Content {
    pub(crate) fn urgency(&self) -> Urgency {
        match self {
            Self::Message(_, message) => message.urgency,
            Self::Frame(_) => Urgency::DEFAULT,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Message(_, message) => message.payload.len(),
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
    /// Whose response is awaited.
    pub(crate) id: MessageId,
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

/// What something that has left the queue for a session still counts as, until it is [settled](SendQueue::settle).
#[derive(Debug)]
pub(crate) struct Queued {
    weight: usize,
    charged: usize,
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
        match &self.awaited {
            Some(Awaited::Send(_)) => true,
            Some(Awaited::Acceptance(confirm)) => confirm.is_waited_for(),
            Some(Awaited::Response(_)) | None => false,
        }
    }

    /// The message, unless it is a request, of which the caller hears.
    fn returned(self) -> Option<Returned> {
        match self.content {
            Content::Message(id, message) if !message.request => {
                Some(Returned { id, payload: crate::peer::given_back(message) })
            }
            _ => None,
        }
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
    /// How many of them there are of each urgency.
    waiting: [usize; 8],
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

    /// The most urgent item for which there is room, the oldest of those.
    fn next_for(&self, has_room: impl Fn(Urgency) -> bool) -> Option<usize> {
        let front = self.items.front()?.content.urgency();
        let urgent = (0..=7).filter_map(Urgency::new).filter(|urgency| self.waiting[usize::from(urgency.get())] > 0);
        let next = urgent.into_iter().find(|urgency| has_room(*urgency))?;
        if next == front {
            return Some(0);
        }
        self.items.iter().position(|item| item.content.urgency() == next)
    }

    fn push(&mut self, item: Item) {
        self.waiting[usize::from(item.content.urgency().get())] += 1;
        self.items.push_back(item);
    }

    fn remove(&mut self, index: usize) -> Option<Item> {
        let item = self.items.remove(index)?;
        self.waiting[usize::from(item.content.urgency().get())] -= 1;
        Some(item)
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
        state.push(item);
        self.note(state);
        Pushed::Queued
    }

    /// Puts what its caller waits for behind what is queued, if anything is, beyond the bound.
    pub(crate) fn push_waited_for(&self, content: Content, awaited: Awaited) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        let number = state.next;
        state.next += 1;
        state.push(Item { number, content, awaited: Some(awaited) });
        self.note(state);
        true
    }

    /// Takes the next item for a session that has room for some urgencies. It counts until it is [settled](Self::settle).
    pub(crate) fn take_for(&self, has_room: impl Fn(Urgency) -> bool) -> Option<(Content, Option<Awaited>, Queued)> {
        if self.is_empty() {
            return None;
        }
        let mut state = lock(&self.state);
        if state.in_flight.is_some() {
            return None;
        }
        let index = state.next_for(has_room)?;
        let item = state.remove(index)?;
        let queued = Queued { weight: item.weight(), charged: item.charged() };
        self.note(state);
        Some((item.content, item.awaited, queued))
    }

    /// Something that was taken for a session counts no more.
    pub(crate) fn settle(&self, queued: Queued) {
        if queued.weight > 0 || queued.charged > 0 {
            let mut state = lock(&self.state);
            self.uncount(&mut state, queued);
            self.note(state);
        }
    }

    /// Takes back the message whose sender is the one that is meant, if it is still queued.
    pub(crate) fn take_back(&self, is_meant: impl Fn(&Confirm) -> bool) -> Option<Payload> {
        let mut state = lock(&self.state);
        let is_of = |item: &Item| matches!(&item.awaited, Some(Awaited::Acceptance(confirm)) if is_meant(confirm));
        let index = state.items.iter().position(is_of)?;
        let item = state.remove(index)?;
        self.gone(&mut state, &item);
        self.note(state);
        match item.content {
            Content::Message(_, message) => Some(crate::peer::given_back(message)),
            Content::Frame(_) => None,
        }
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
        state.push(Item { number, content: content(to_send), awaited: Some(Awaited::Send(send)) });
        self.note(state);
        Ok(Behind { queue: self, number, sent })
    }

    /// A send is given up. One in flight goes on, but not over another channel.
    fn withdraw(&self, number: u64) {
        let mut state = lock(&self.state);
        if let Some(flight) = state.in_flight.as_mut().filter(|flight| flight.number == number) {
            flight.cancelled = true;
        } else if let Some(index) = state.items.iter().position(|item| item.number == number) {
            state.remove(index);
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
            if let Some(item) = state.remove(index) {
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

    /// It is reported that the peer is gone. Returns how many messages, and bytes of them, were never handed over, and those of
    /// them that are still there.
    pub(crate) fn close(&self) -> (u64, u64, Vec<Returned>) {
        let mut state = lock(&self.state);
        state.closed = true;
        let in_flight = state.in_flight.as_ref().and_then(|flight| flight.unsent);
        let unsent = state.items.iter().filter_map(Item::unsent).chain(in_flight);
        let (count, bytes) = unsent.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes as u64));
        let items = std::mem::take(&mut state.items);
        state.waiting = [0; 8];
        state.weight = 0;
        self.account.give_back(std::mem::take(&mut state.charged));
        self.account.retire();
        self.note(state);
        let returned = items.into_iter().filter_map(Item::returned).collect();
        (count, bytes, returned)
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
        let item = state.remove(0)?;
        let request = item.request();
        let (number, unsent) = (item.number, item.unsent());
        state.in_flight = Some(Flight { number, unsent, request, cancelled: false });
        Some(InFlight { queue: self, item: Some(item) })
    }

    /// An item is neither queued nor in flight any more.
    fn gone(&self, state: &mut State, item: &Item) {
        self.uncount(state, Queued { weight: item.weight(), charged: item.charged() });
    }

    fn uncount(&self, state: &mut State, Queued { weight, charged }: Queued) {
        state.weight = state.weight.saturating_sub(weight);
        // Nothing is left of what was charged after a close.
        let charged = charged.min(state.charged);
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

#[cfg(all(test, feature = "memory"))]
#[path = "send_queue_tests.rs"]
mod tests;
