//! The way of messages and events to the application: one bounded inbox per peer, polled in turn.
//!
//! Lifecycle events are not queued but derived: each inbox remembers what the application has been told, so a peer
//! that comes and goes a thousand times while nobody reads costs one entry. A connection that ends and comes back
//! before the application heard of the end is one connection to it.
//!
//! Locks, in this order and never across an await: the peer table, an inbox, the ready list.

use std::collections::{BTreeMap, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use p2pt_messaging::Message as Body;
use p2pt_proto::PeerId;
use p2pt_tracker::{AnnounceUrl, TrackerWarning};
use p2pt_transport::{ChannelClosed, Frame, TransportError};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::{
    ConnectionFailed, ConnectionRejected, Data, Event, InvalidFrame, Message, Peer, PeerClosed, ReceiveError,
    SendFailed, TrackerConnected,
};

/// What every queued item is counted as besides its payload, so that empty ones fill an inbox too.
const ITEM_OVERHEAD: usize = 128;

/// Trackers whose unheard news are kept; more than a node can sensibly use.
const MAX_NEWS: usize = 64;

/// Attempts of which is told what became of them, kept for each tracker while nobody reads.
const MAX_ATTEMPTS_TOLD: usize = 32;

/// Queued messages that failed of which each peer's application is told while it does not read.
const MAX_SENDS_FAILED: usize = 32;

/// Locks, ignoring poison: no code path panics while it holds one of these locks with state half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something a peer sent, or what became of something queued for it.
#[derive(Debug)]
pub(crate) enum Inbound {
    SendFailed(Box<SendFailed>),
    Message(Body),
    Data(Frame),
    Invalid(ReceiveError),
}

impl Inbound {
    fn weight(&self) -> usize {
        ITEM_OVERHEAD
            + match self {
                Self::Message(body) => body.payload.as_str().len(),
                Self::Data(frame) => frame.len(),
                Self::Invalid(_) | Self::SendFailed(_) => 0,
            }
    }
}

/// What the application knows of a peer, and what is true.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Connected, and the application has not been told.
    New,
    /// Connected, and the application has been told.
    Told,
    /// Gone, and the application has not been told that; `told` says whether it knows of the peer at all.
    Closed { told: bool, reason: ChannelClosed, unacknowledged_bytes: u64 },
    /// Gone, and there is nothing more to say.
    Over,
}

/// How a connection ended, as the application is told.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) reason: ChannelClosed,
    pub(crate) unacknowledged_bytes: u64,
    pub(crate) unsent_messages: u64,
    pub(crate) unsent_bytes: u64,
}

impl Ended {
    pub(crate) fn event(self, peer: Peer) -> PeerClosed {
        let Self { reason, unacknowledged_bytes, unsent_messages, unsent_bytes } = self;
        PeerClosed { peer, reason, unacknowledged_bytes, unsent_messages, unsent_bytes }
    }
}

/// One peer's bounded inbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
    /// Room was made.
    room: Notify,
    /// Something the peer sent has begun to wait for room.
    full: Notify,
    /// How it ended, once the application has been told or there is no one to tell.
    ended: OnceLock<Ended>,
    over: Notify,
    /// The ready list of the swarm's events.
    ready: OnceLock<Weak<ReadyList>>,
    capacity_bytes: usize,
}

#[derive(Debug)]
struct InboxState {
    phase: Phase,
    items: VecDeque<Inbound>,
    bytes: usize,
    /// The peer is in the ready list.
    ready: bool,
    /// Readers that wait for room.
    blocked: usize,
    /// The latest [`Messages`](crate::Messages) of the peer, which has its messages while it lives.
    taker: Option<Taker>,
    takers: u64,
}

#[derive(Debug)]
struct Taker {
    number: u64,
    waker: Option<Waker>,
}

impl InboxState {
    /// Where the next item is that is for the event stream.
    fn next_event(&self) -> Option<usize> {
        match self.taker {
            None => (!self.items.is_empty()).then_some(0),
            Some(_) => self.items.iter().position(|item| !matches!(item, Inbound::Message(_))),
        }
    }

    /// Whether there is something to tell in the event stream.
    fn has_event(&self) -> bool {
        match self.phase {
            Phase::New => true,
            Phase::Told => self.next_event().is_some(),
            Phase::Closed { told, .. } => !told || self.items.is_empty() || self.next_event().is_some(),
            Phase::Over => false,
        }
    }

    fn wake_taker(&mut self) {
        if let Some(waker) = self.taker.as_mut().and_then(|taker| taker.waker.take()) {
            waker.wake();
        }
    }
}

impl Inbox {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        let state = InboxState {
            phase: Phase::New,
            items: VecDeque::new(),
            bytes: 0,
            ready: false,
            blocked: 0,
            taker: None,
            takers: 0,
        };
        Self {
            state: Mutex::new(state),
            room: Notify::new(),
            full: Notify::new(),
            ended: OnceLock::new(),
            over: Notify::new(),
            ready: OnceLock::new(),
            capacity_bytes,
        }
    }

    /// Takes the messages out of the event stream; an earlier taker has no more of them.
    pub(crate) fn start_taking(&self) -> u64 {
        let mut state = lock(&self.state);
        state.wake_taker();
        state.takers += 1;
        state.taker = Some(Taker { number: state.takers, waker: None });
        state.takers
    }

    /// Gives the messages back to the event stream, unless they were taken again.
    pub(crate) fn stop_taking(&self, peer: &Peer, number: u64) {
        let mut state = lock(&self.state);
        if state.taker.as_ref().is_some_and(|taker| taker.number == number) {
            state.taker = None;
            let is_read = self.ready.get().and_then(Weak::upgrade).is_some_and(|list| !lock(&list.ready).abandoned);
            if !is_read {
                // There is no stream to give them back to, and nothing is to wait for one.
                state.items.clear();
                state.bytes = 0;
                self.room.notify_waiters();
            }
            self.tell_ready(peer, &mut state);
        }
    }

    /// The next message for a taker; `None` when the connection is over or they were taken again.
    pub(crate) fn poll_taken(&self, peer: &Peer, number: u64, cx: &mut Context<'_>) -> Poll<Option<Body>> {
        let mut state = lock(&self.state);
        if state.taker.as_ref().is_none_or(|taker| taker.number != number) {
            return Poll::Ready(None);
        }
        let next = state.items.iter().position(|item| matches!(item, Inbound::Message(_)));
        if let Some(item) = next.and_then(|index| state.items.remove(index)) {
            state.bytes -= item.weight();
            peer.shared().settings.events_taken.fetch_add(1, Ordering::Relaxed);
            if state.blocked > 0 {
                self.room.notify_waiters();
            }
            self.tell_ready(peer, &mut state);
            if let Inbound::Message(body) = item {
                return Poll::Ready(Some(body));
            }
        }
        if state.phase == Phase::Over {
            return Poll::Ready(None);
        }
        if let Some(taker) = &mut state.taker {
            taker.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Has the event stream look at the peer if there is something to tell.
    fn tell_ready(&self, peer: &Peer, state: &mut InboxState) {
        if !state.ready
            && state.has_event()
            && let Some(ready) = self.ready.get().and_then(Weak::upgrade)
        {
            state.ready = true;
            ready.push(peer.clone());
        }
    }

    /// How the connection ended, once the application has been told.
    pub(crate) async fn ended(&self) -> Ended {
        loop {
            let mut over = std::pin::pin!(self.over.notified());
            over.as_mut().enable();
            if let Some(ended) = self.ended.get() {
                return ended.clone();
            }
            over.await;
        }
    }

    fn set_over(&self, state: &mut InboxState, ended: Ended) {
        state.phase = Phase::Over;
        state.wake_taker();
        // The first counts: a handle is not used again after it.
        let _ = self.ended.set(ended);
        self.over.notify_waiters();
    }

    /// Says, until the result is dropped, that something the peer sent waits for room.
    pub(crate) fn block(&self) -> Blocked<'_> {
        lock(&self.state).blocked += 1;
        self.full.notify_waiters();
        Blocked(self)
    }

    /// Whether something the peer sent waits for room.
    fn is_blocked(&self) -> bool {
        lock(&self.state).blocked > 0
    }

    /// Waits until something the peer sent has waited for room for so long in which `taken`, the number of events that
    /// the application has taken, did not change.
    pub(crate) async fn held_up(&self, during: Duration, taken: impl Fn() -> u64) {
        loop {
            let mut full = std::pin::pin!(self.full.notified());
            full.as_mut().enable();
            if !self.is_blocked() {
                full.await;
            }
            let before = taken();
            sleep(during).await;
            if self.is_blocked() && taken() == before {
                return;
            }
        }
    }
}

/// See [`Inbox::block`].
pub(crate) struct Blocked<'a>(&'a Inbox);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).blocked -= 1;
    }
}

/// The events of one swarm.
#[derive(Debug)]
pub(crate) struct EventQueue {
    /// Peers that are connected, or whose end the application has not heard of.
    peers: Mutex<BTreeMap<PeerId, Peer>>,
    ready: Arc<ReadyList>,
    /// The application dropped its [`Events`](crate::Events).
    abandoned: AtomicBool,
    /// A peer has connected, or no further event will come.
    arrival: Notify,
}

/// What there is to tell, and who is to be woken for it.
#[derive(Debug, Default)]
struct ReadyList {
    ready: Mutex<Ready>,
    waker: AtomicWaker,
}

impl ReadyList {
    fn push(&self, peer: Peer) {
        let mut ready = lock(&self.ready);
        if !ready.abandoned {
            ready.peers.push_back(peer);
            drop(ready);
            self.waker.wake();
        }
    }
}

#[derive(Debug, Default)]
struct Ready {
    peers: VecDeque<Peer>,
    /// What is not about connected peers, by the tracker it came from, each of which waits for its turn: the latest
    /// event of each kind, and the latest attempts, in the order they happened.
    news: VecDeque<(Option<AnnounceUrl>, Vec<Event>)>,
    /// It is the peers' turn: whoever makes news without end keeps no peer from being heard.
    peers_turn: bool,
    /// No further event will be queued.
    ended: bool,
    /// No one reads what is queued.
    abandoned: bool,
}

impl Ready {
    fn next_news(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.peers_turn) && !self.peers.is_empty() {
            return None;
        }
        let (source, mut events) = self.news.pop_front()?;
        let event = events.remove(0);
        if !events.is_empty() {
            self.news.push_back((source, events));
        }
        self.peers_turn = true;
        Some(event)
    }
}

impl EventQueue {
    pub(crate) fn new() -> Self {
        let (peers, abandoned) = (Mutex::new(BTreeMap::new()), AtomicBool::new(false));
        Self { peers, ready: Arc::default(), abandoned, arrival: Notify::new() }
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// The handle for a peer about to connect: the one the application knows, if it has not heard that it had gone.
    pub(crate) fn entry(&self, id: PeerId, make: impl FnOnce() -> Peer) -> Peer {
        lock(&self.peers).entry(id).or_insert_with(make).clone()
    }

    /// A peer has a channel.
    pub(crate) fn connect(&self, peer: &Peer) {
        let mut peers = lock(&self.peers);
        let mut inbox = lock(&peer.shared().inbox.state);
        inbox.phase = match inbox.phase {
            Phase::New | Phase::Over | Phase::Closed { told: false, .. } => Phase::New,
            Phase::Told | Phase::Closed { told: true, .. } => Phase::Told,
        };
        peers.entry(peer.id()).or_insert_with(|| peer.clone());
        peer.shared().inbox.ready.get_or_init(|| Arc::downgrade(&self.ready));
        peer.shared().send_queue.open();
        if inbox.phase == Phase::New {
            self.make_ready(peer, &mut inbox);
        }
        self.arrival.notify_waiters();
    }

    /// A connected peer as soon as there is one; `None` if no further event will come.
    pub(crate) async fn wait_for_peer(&self) -> Option<Peer> {
        loop {
            let mut arrival = std::pin::pin!(self.arrival.notified());
            arrival.as_mut().enable();
            if let Some(peer) = lock(&self.peers).values().find(|peer| peer.is_connected()) {
                return Some(peer.clone());
            }
            if lock(&self.ready.ready).ended {
                return None;
            }
            arrival.await;
        }
    }

    /// A peer has lost its last channel.
    pub(crate) fn close(&self, peer: &Peer, reason: ChannelClosed, unacknowledged_bytes: u64) {
        let mut peers = lock(&self.peers);
        let mut inbox = lock(&peer.shared().inbox.state);
        let told = match inbox.phase {
            Phase::New => !inbox.items.is_empty(),
            Phase::Told => true,
            Phase::Closed { .. } | Phase::Over => return,
        };
        if told && !self.is_abandoned() {
            let told = inbox.phase == Phase::Told;
            inbox.phase = Phase::Closed { told, reason, unacknowledged_bytes };
            self.make_ready(peer, &mut inbox);
        } else {
            // It came and went with nothing to tell.
            let (unsent_messages, unsent_bytes) = peer.shared().send_queue.close();
            let ended = Ended { reason, unacknowledged_bytes, unsent_messages, unsent_bytes };
            peer.shared().inbox.set_over(&mut inbox, ended);
            peers.remove(&peer.id());
        }
    }

    /// How many peers are connected, or not heard to their end.
    pub(crate) fn known(&self) -> usize {
        lock(&self.peers).len()
    }

    /// The connected peers.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        lock(&self.peers).values().filter(|peer| peer.is_connected()).cloned().collect()
    }

    pub(crate) fn peer(&self, id: &PeerId) -> Option<Peer> {
        lock(&self.peers).get(id).filter(|peer| peer.is_connected()).cloned()
    }

    /// Queues what a peer sent if its inbox has room, which an empty one always has; gives it back otherwise.
    pub(crate) fn try_push(&self, peer: &Peer, item: Inbound) -> Result<(), Inbound> {
        let inbox = &peer.shared().inbox;
        let mut state = lock(&inbox.state);
        if self.is_abandoned() && !(state.taker.is_some() && matches!(item, Inbound::Message(_))) {
            return Ok(());
        }
        let weight = item.weight();
        if !state.items.is_empty() && state.bytes + weight > inbox.capacity_bytes {
            return Err(item);
        }
        state.bytes += weight;
        state.items.push_back(item);
        state.wake_taker();
        if state.has_event() {
            self.make_ready(peer, &mut state);
        }
        Ok(())
    }

    /// Queues that something queued for a peer was not sent, however full its inbox is; beyond so many unread ones they
    /// are counted in the last.
    pub(crate) fn send_failed(&self, peer: &Peer, failed: SendFailed) {
        let mut state = lock(&peer.shared().inbox.state);
        if self.is_abandoned() {
            return;
        }
        let mut unread = state.items.iter_mut().filter_map(|item| match item {
            Inbound::SendFailed(failed) => Some(failed),
            _ => None,
        });
        if let Some(last) = unread.by_ref().nth(MAX_SENDS_FAILED - 1) {
            last.missed += 1;
            return;
        }
        let item = Inbound::SendFailed(Box::new(failed));
        state.bytes += item.weight();
        state.items.push_back(item);
        self.make_ready(peer, &mut state);
    }

    /// Queues what a peer sent, waiting while its inbox is full.
    pub(crate) async fn push(&self, peer: &Peer, mut item: Inbound) {
        let inbox = &peer.shared().inbox;
        let _blocked = inbox.block();
        loop {
            let mut room = std::pin::pin!(inbox.room.notified());
            room.as_mut().enable();
            match self.try_push(peer, item) {
                Ok(()) => break,
                Err(back) => item = back,
            }
            room.await;
        }
    }

    fn make_ready(&self, peer: &Peer, inbox: &mut InboxState) {
        if !inbox.ready && !self.is_abandoned() {
            inbox.ready = true;
            self.ready.push(peer.clone());
        }
    }

    pub(crate) fn tracker_connected(&self, event: TrackerConnected) {
        self.tell(Some(event.tracker.clone()), Event::TrackerConnected(event));
    }

    pub(crate) fn tracker_warning(&self, tracker: AnnounceUrl, warning: TrackerWarning) {
        self.tell(Some(tracker.clone()), Event::TrackerWarning { tracker, warning });
    }

    pub(crate) fn connection_failed(&self, event: ConnectionFailed) {
        self.tell(Some(event.tracker.clone()), Event::ConnectionFailed(event));
    }

    pub(crate) fn connection_rejected(&self, event: ConnectionRejected) {
        self.tell(Some(event.tracker.clone()), Event::ConnectionRejected(event));
    }

    pub(crate) fn offer_failed(&self, error: TransportError) {
        self.tell(None, Event::OfferFailed(Arc::new(error)));
    }

    /// Queues something that is not about a connected peer, in place of what was not heard of the same kind.
    fn tell(&self, source: Option<AnnounceUrl>, mut event: Event) {
        let mut ready = lock(&self.ready.ready);
        if self.is_abandoned() {
            return;
        }
        if let Some((_, events)) = ready.news.iter_mut().find(|(waiting, _)| *waiting == source) {
            match missed(&mut event) {
                Some(_) => make_room_for_attempt(events),
                None => events.retain(|older| kind(older) != kind(&event)),
            }
            events.push(event);
        } else if ready.news.len() < MAX_NEWS {
            ready.news.push_back((source, vec![event]));
        }
        drop(ready);
        self.ready.waker.wake();
    }

    /// No further event will come: what is queued is still delivered, then the stream ends.
    pub(crate) fn end(&self) {
        lock(&self.ready.ready).ended = true;
        self.ready.waker.wake();
        self.arrival.notify_waiters();
    }

    /// The application reads no more: inboxes empty themselves, so that nothing waits for it.
    pub(crate) fn abandon(&self) {
        // Set first: whoever takes an inbox's lock after us sees it.
        self.abandoned.store(true, Ordering::Release);
        let peers: Vec<Peer> = lock(&self.peers).values().cloned().collect();
        {
            let mut ready = lock(&self.ready.ready);
            ready.abandoned = true;
            ready.peers.clear();
            ready.news.clear();
        }
        for peer in peers {
            let inbox = &peer.shared().inbox;
            {
                let mut state = lock(&inbox.state);
                let taken = state.taker.is_some();
                state.items.retain(|item| taken && matches!(item, Inbound::Message(_)));
                state.bytes = state.items.iter().map(Inbound::weight).sum();
                if let Phase::Closed { reason, unacknowledged_bytes, .. } = state.phase.clone() {
                    let (unsent_messages, unsent_bytes) = peer.shared().send_queue.close();
                    let ended = Ended { reason, unacknowledged_bytes, unsent_messages, unsent_bytes };
                    inbox.set_over(&mut state, ended);
                }
            }
            inbox.room.notify_waiters();
            if !peer.is_connected() {
                lock(&self.peers).remove(&peer.id());
            }
        }
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.ready.waker.register(cx.waker());
        loop {
            let peer = {
                let mut ready = lock(&self.ready.ready);
                if let Some(event) = ready.next_news() {
                    return Poll::Ready(Some(event));
                }
                match ready.peers.pop_front() {
                    Some(peer) => peer,
                    None if ready.ended => return Poll::Ready(None),
                    None => return Poll::Pending,
                }
            };
            if let Some(event) = self.next_of(peer) {
                return Poll::Ready(Some(event));
            }
        }
    }

    /// The next event of a peer just taken off the ready list; puts it back behind the others if it has more.
    fn next_of(&self, peer: Peer) -> Option<Event> {
        let mut peers = lock(&self.peers);
        let inbox = &peer.shared().inbox;
        let mut state = lock(&inbox.state);
        state.ready = false;
        peer.shared().settings.events_taken.fetch_add(1, Ordering::Relaxed);
        let event = match &mut state.phase {
            phase @ Phase::New => {
                *phase = Phase::Told;
                Event::PeerConnected(peer.clone())
            }
            Phase::Closed { told: told @ false, .. } => {
                *told = true;
                Event::PeerConnected(peer.clone())
            }
            Phase::Over => return None,
            Phase::Told | Phase::Closed { .. } => {
                match state.next_event().and_then(|index| state.items.remove(index)) {
                    Some(item) => {
                        state.bytes -= item.weight();
                        // Who waits for room has said so first.
                        if state.blocked > 0 {
                            inbox.room.notify_waiters();
                        }
                        deliver(peer.clone(), item)
                    }
                    None => match state.phase.clone() {
                        Phase::Closed { reason, unacknowledged_bytes, .. } if state.items.is_empty() => {
                            peers.remove(&peer.id());
                            let (unsent_messages, unsent_bytes) = peer.shared().send_queue.close();
                            let ended = Ended { reason, unacknowledged_bytes, unsent_messages, unsent_bytes };
                            inbox.set_over(&mut state, ended.clone());
                            return Some(Event::PeerClosed(ended.event(peer.clone())));
                        }
                        // What is left is for its taker.
                        _ => return None,
                    },
                }
            }
        };
        if state.has_event() {
            self.make_ready(&peer, &mut state);
        }
        drop(state);
        Some(event)
    }
}

/// Counts the events before it that were dropped, if it tells what became of an attempt.
fn missed(event: &mut Event) -> Option<&mut u64> {
    match event {
        Event::ConnectionFailed(failed) => Some(&mut failed.missed),
        Event::ConnectionRejected(refused) => Some(&mut refused.missed),
        _ => None,
    }
}

/// Makes room for one more attempt: the oldest is dropped, and counted in the one after it.
fn make_room_for_attempt(events: &mut Vec<Event>) {
    if events.iter_mut().filter_map(missed).count() < MAX_ATTEMPTS_TOLD {
        return;
    }
    let oldest = events.iter_mut().position(|event| missed(event).is_some());
    let dropped = oldest.and_then(|index| missed(&mut events.remove(index)).copied());
    if let (Some(dropped), Some(next)) = (dropped, events.iter_mut().find_map(missed)) {
        *next += dropped + 1;
    }
}

/// What replaces what: a warning only one of its own kind, lest what matters be lost to what followed from it.
fn kind(event: &Event) -> (Discriminant<Event>, Option<Discriminant<TrackerWarning>>) {
    let warning = if let Event::TrackerWarning { warning, .. } = event { Some(discriminant(warning)) } else { None };
    (discriminant(event), warning)
}

fn deliver(peer: Peer, item: Inbound) -> Event {
    match item {
        Inbound::Message(body) => Event::Message(Message::new(peer, body)),
        Inbound::Data(frame) => Event::Data(Data { peer, frame }),
        Inbound::SendFailed(failed) => Event::SendFailed(*failed),
        Inbound::Invalid(error) => Event::InvalidFrame(InvalidFrame { peer, error }),
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
