//! One peer's inbox: what the peer sent and the application has not taken yet, bounded in bytes, and what the
//! application knows of the peer.
//!
//! That a peer connected or closed is not queued but derived from the inbox's [`Phase`], so a peer that comes and goes
//! a thousand times while the application reads nothing costs one entry. A connection that ends and comes back before
//! its end was reported is one connection to the application.
//!
//! The [`EventQueue`](crate::queue::EventQueue) of the swarm takes from the inboxes in turn. A *taker*, which is a
//! [`Messages`](crate::Messages), has the messages of one peer instead of the event stream while it lives.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use p2pt_messaging::{Message as Body, MessageId};
use p2pt_rt::sleep;
use p2pt_transport::{ChannelClosed, Frame};
use tokio::sync::Notify;
use tracing::debug;

use crate::accounts::Charge;
use crate::counters::count;
use crate::queue::{ReadyList, lock};
use crate::{
    Data, Event, InvalidFrame, Message, Peer, PeerClosed, PeerStream, ReceiveError, Returned, SendFailed, TrustChanged,
};

/// What every queued item is counted as besides its payload and its id, so that empty ones fill an inbox too.
pub(crate) const ITEM_OVERHEAD: usize = 128;

/// What a message is counted as.
pub(crate) fn weight_of(id: &MessageId, bytes: usize) -> usize {
    ITEM_OVERHEAD + id.heap_bytes() + bytes
}

/// Failures of queued messages that are kept for each peer while they are unread.
const MAX_SENDS_FAILED: usize = 32;

/// Something a peer sent, or what became of something queued for it.
#[derive(Debug)]
pub(crate) enum Inbound {
    SendFailed(Box<SendFailed>),
    Message(Body),
    Data(Frame),
    Invalid(ReceiveError),
    TrustChanged(Box<TrustChanged>),
    Stream(Box<PeerStream>),
}

/// Something queued, and what it counts as.
#[derive(Debug)]
pub(crate) struct Item {
    inbound: Inbound,
    weight: usize,
    /// What its peer is charged with for it, until it is taken.
    _charge: Option<Charge>,
}

impl Item {
    pub(crate) fn new(inbound: Inbound, charge: Option<Charge>) -> Self {
        Self { weight: inbound.weight(), inbound, _charge: charge }
    }
}

impl From<Inbound> for Item {
    fn from(inbound: Inbound) -> Self {
        Self::new(inbound, None)
    }
}

impl Inbound {
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Message(body) => weight_of(&body.id, body.payload.len()),
            Self::Data(frame) => ITEM_OVERHEAD + frame.len(),
            Self::Invalid(error) => ITEM_OVERHEAD + error.heap_bytes(),
            Self::SendFailed(failed) => {
                ITEM_OVERHEAD + size_of::<SendFailed>() + failed.id.as_ref().map_or(0, MessageId::heap_bytes)
            }
            Self::TrustChanged(_) => ITEM_OVERHEAD + size_of::<TrustChanged>(),
            Self::Stream(stream) => ITEM_OVERHEAD + stream.metadata().len(),
        }
    }

    fn is_message(&self) -> bool {
        matches!(self, Self::Message(_))
    }

    fn event(self, peer: Peer) -> Event {
        match self {
            Self::Message(body) => Event::Message(Message::new(peer, body)),
            Self::Data(frame) => Event::Data(Data { peer, frame }),
            Self::SendFailed(failed) => Event::SendFailed(*failed),
            Self::Invalid(error) => Event::InvalidFrame(InvalidFrame { peer, error }),
            Self::TrustChanged(changed) => Event::TrustChanged(*changed),
            Self::Stream(stream) => Event::Stream(*stream),
        }
    }
}

/// Whether the peer is connected, and what of that was reported to the application.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Connected, which is not reported yet.
    Unreported,
    /// Connected, which is reported.
    Reported,
    /// Closed, which is not reported yet; `reported` says whether `PeerConnected` was.
    Closed { reported: bool, reason: ChannelClosed, unacknowledged_bytes: u64 },
    /// Closed, and there is nothing more to report.
    Over,
}

/// How a connection ended, as the application reads it in [`PeerClosed`].
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    reason: ChannelClosed,
    unacknowledged_bytes: u64,
    unsent_messages: u64,
    unsent_bytes: u64,
    returned: Arc<[Returned]>,
}

impl Ended {
    pub(crate) fn event(self, peer: Peer) -> PeerClosed {
        let Self { reason, unacknowledged_bytes, unsent_messages, unsent_bytes, returned } = self;
        let left = peer.shared().mux().and_then(|mux| mux.left());
        PeerClosed { peer, reason, left, unacknowledged_bytes, unsent_messages, unsent_bytes, returned }
    }
}

/// What the application is given when it takes from an inbox.
#[derive(Debug)]
pub(crate) enum Taken {
    /// There is nothing for the event stream.
    Nothing,
    Event(Event),
    /// The last event of this connection.
    Closed(Event),
}

/// One peer's bounded inbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Room was made.
    room: Notify,
    /// Something the peer sent has begun to wait for room.
    full: Notify,
    /// How the connection ended, once that is reported or will never be read.
    ended: OnceLock<Ended>,
    over: Notify,
    /// The ready list of the swarm's events.
    ready: OnceLock<Weak<ReadyList>>,
    capacity_bytes: usize,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    items: VecDeque<Item>,
    bytes: usize,
    /// The peer is in the ready list.
    ready: bool,
    /// Readers of channels that wait for room.
    blocked: usize,
    /// Which of them is next: what one channel of the peer brings does not overtake what waits of another.
    waiting: VecDeque<u64>,
    next_place: u64,
    /// The latest [`Messages`](crate::Messages) of the peer, which has its messages while it lives.
    taker: Option<Taker>,
    takers: u64,
    /// The application has the peer's handle without having read its `PeerConnected`.
    handed_out: bool,
}

#[derive(Debug)]
struct Taker {
    number: u64,
    waker: Option<Waker>,
}

impl State {
    /// Where the next item for the event stream is.
    fn next_event(&self) -> Option<usize> {
        match self.taker {
            None => (!self.items.is_empty()).then_some(0),
            Some(_) => self.items.iter().position(|item| !item.inbound.is_message()),
        }
    }

    /// Whether there is anything to report in the event stream.
    fn has_event(&self) -> bool {
        match self.phase {
            Phase::Unreported => true,
            Phase::Reported => self.next_event().is_some(),
            Phase::Closed { reported, .. } => !reported || self.items.is_empty() || self.next_event().is_some(),
            Phase::Over => false,
        }
    }

    fn wake_taker(&mut self) {
        if let Some(waker) = self.taker.as_mut().and_then(|taker| taker.waker.take()) {
            waker.wake();
        }
    }

    /// Puts the peer on the ready list, unless it is there. An end is next, so that no other peer under the id comes before
    /// it.
    fn make_ready(&mut self, peer: &Peer, list: &ReadyList) {
        if !self.ready && !list.is_abandoned() {
            self.ready = true;
            let is_end = matches!(self.phase, Phase::Closed { reported: true, .. }) && self.items.is_empty();
            list.push(peer.clone(), is_end);
        }
    }
}

impl Inbox {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        let state = State {
            phase: Phase::Unreported,
            items: VecDeque::new(),
            bytes: 0,
            ready: false,
            blocked: 0,
            waiting: VecDeque::new(),
            next_place: 0,
            taker: None,
            takers: 0,
            handed_out: false,
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

    /// The peer is about to have a channel again, so its end is not reported any more.
    pub(crate) fn reopen(&self) {
        let mut state = lock(&self.state);
        if let Phase::Closed { reported, .. } = state.phase {
            state.phase = if reported { Phase::Reported } else { Phase::Unreported };
        }
    }

    /// The peer has a channel.
    pub(crate) fn connected(&self, peer: &Peer, list: &Arc<ReadyList>) {
        self.reopen();
        let mut state = lock(&self.state);
        self.ready.get_or_init(|| Arc::downgrade(list));
        peer.shared().send_queue.open();
        if state.phase == Phase::Unreported {
            debug!(parent: peer.span(), "the peer is connected");
            state.make_ready(peer, list);
        }
    }

    /// The peer has lost its last channel. Returns whether nothing is left to report of it.
    pub(crate) fn closed(
        &self,
        peer: &Peer,
        list: &ReadyList,
        reason: ChannelClosed,
        unacknowledged_bytes: u64,
    ) -> bool {
        let mut state = lock(&self.state);
        let is_news = match state.phase {
            Phase::Unreported => state.handed_out || !state.items.is_empty(),
            Phase::Reported => true,
            Phase::Closed { .. } | Phase::Over => return false,
        };
        if is_news && !list.is_abandoned() {
            let reported = state.phase == Phase::Reported;
            state.phase = Phase::Closed { reported, reason, unacknowledged_bytes };
            state.wake_taker();
            state.make_ready(peer, list);
            return false;
        }
        self.set_over(&mut state, peer, reason, unacknowledged_bytes);
        true
    }

    /// Another peer comes, to which the id belongs: of this one, which has closed, nothing is reported any more but its end, if
    /// the application knows of it. Returns whether nothing is left to report.
    pub(crate) fn give_way(&self, peer: &Peer, list: &ReadyList) -> bool {
        let mut state = lock(&self.state);
        let Phase::Closed { reported, reason, unacknowledged_bytes } = state.phase.clone() else { return false };
        let items = std::mem::take(&mut state.items);
        debug!(parent: peer.span(), items = items.len(), "what was not read of the peer is dropped: its id is another's");
        state.bytes = 0;
        if reported || state.handed_out {
            state.wake_taker();
            state.make_ready(peer, list);
            return false;
        }
        self.set_over(&mut state, peer, reason, unacknowledged_bytes);
        true
    }

    /// Queues what the peer sent if there is room, which an empty inbox always has, and nothing waits for room before it;
    /// gives it back otherwise.
    pub(crate) fn try_push(&self, peer: &Peer, list: &ReadyList, item: Item) -> Result<(), Item> {
        self.put(peer, list, item, None)
    }

    /// Queues what the peer sent if its place is the first of those that wait.
    fn put(&self, peer: &Peer, list: &ReadyList, item: Item, place: Option<u64>) -> Result<(), Item> {
        let mut state = lock(&self.state);
        if state.phase == Phase::Over {
            // A reader that is not cancelled yet, when a swarm is left: nothing is read after `PeerClosed`.
            return Ok(());
        }
        if list.is_abandoned() && !(state.taker.is_some() && item.inbound.is_message()) {
            return Ok(());
        }
        let is_next = state.waiting.front() == place.as_ref();
        if !is_next || !state.items.is_empty() && state.bytes + item.weight > self.capacity_bytes {
            return Err(item);
        }
        state.bytes += item.weight;
        state.items.push_back(item);
        state.wake_taker();
        if state.has_event() {
            state.make_ready(peer, list);
        }
        Ok(())
    }

    /// Queues what the peer sent, waiting while the inbox is full.
    pub(crate) async fn push(&self, peer: &Peer, list: &ReadyList, mut item: Item) {
        let _blocked = self.block();
        let place = Place::take(self);
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            match self.put(peer, list, item, Some(place.number)) {
                Ok(()) => break,
                Err(back) => item = back,
            }
            room.await;
        }
    }

    /// Queues that something queued for the peer was not sent, however full the inbox is; beyond 32 unread failures
    /// further ones are counted in the last.
    pub(crate) fn send_failed(&self, peer: &Peer, list: &ReadyList, failed: SendFailed) {
        let mut state = lock(&self.state);
        debug!(parent: peer.span(), error = %failed.error, "something queued was not sent");
        if list.is_abandoned() || state.phase == Phase::Over {
            // It would never be taken, and has a handle of the peer, which so would keep itself.
            return;
        }
        let mut unread = state.items.iter_mut().filter_map(|item| match &mut item.inbound {
            Inbound::SendFailed(failed) => Some(failed),
            _ => None,
        });
        if let Some(last) = unread.by_ref().nth(MAX_SENDS_FAILED - 1) {
            last.missed += 1;
            count(&peer.shared().settings.counters.events_dropped);
            return;
        }
        let item = Item::from(Inbound::SendFailed(Box::new(failed)));
        state.bytes += item.weight;
        state.items.push_back(item);
        state.make_ready(peer, list);
    }

    /// Queues that the peer is known better or less than before, however full the inbox is; an unread change goes on with
    /// it, and is forgotten where nothing has changed in the end.
    pub(crate) fn trust_changed(&self, peer: &Peer, list: &ReadyList, changed: TrustChanged) {
        let mut state = lock(&self.state);
        if list.is_abandoned() || state.phase == Phase::Over {
            return;
        }
        let unread = state.items.iter().position(|item| matches!(item.inbound, Inbound::TrustChanged(_)));
        let before = unread.and_then(|index| state.items.remove(index));
        let was = match before {
            Some(Item { inbound: Inbound::TrustChanged(before), weight, .. }) => {
                state.bytes -= weight;
                before.was
            }
            _ => changed.was.clone(),
        };
        if was.level() != changed.now.level() {
            let item = Item::from(Inbound::TrustChanged(Box::new(TrustChanged { was, ..changed })));
            state.bytes += item.weight;
            state.items.push_back(item);
            state.make_ready(peer, list);
        }
    }

    /// The next event of a peer just taken off the ready list, which it is put on again if it has more.
    pub(crate) fn take_event(&self, peer: &Peer, list: &ReadyList) -> Taken {
        let mut state = lock(&self.state);
        state.ready = false;
        peer.shared().settings.events_taken.fetch_add(1, Ordering::Relaxed);
        let event = match &mut state.phase {
            phase @ Phase::Unreported => {
                *phase = Phase::Reported;
                Event::PeerConnected(peer.clone())
            }
            Phase::Closed { reported: reported @ false, .. } => {
                *reported = true;
                Event::PeerConnected(peer.clone())
            }
            Phase::Over => return Taken::Nothing,
            Phase::Reported | Phase::Closed { .. } => {
                let Some(item) = state.next_event().and_then(|index| state.items.remove(index)) else {
                    return match state.phase.clone() {
                        Phase::Closed { reason, unacknowledged_bytes, .. } if state.items.is_empty() => {
                            let ended = self.set_over(&mut state, peer, reason, unacknowledged_bytes);
                            Taken::Closed(Event::PeerClosed(ended.event(peer.clone())))
                        }
                        // What is left is for its taker.
                        _ => Taken::Nothing,
                    };
                };
                state.bytes -= item.weight;
                // A reader that waits for room has said so before it tried to queue.
                if state.blocked > 0 {
                    self.room.notify_waiters();
                }
                item.inbound.event(peer.clone())
            }
        };
        if state.has_event() {
            state.make_ready(peer, list);
        }
        Taken::Event(event)
    }

    /// The application dropped its event stream: only what a taker will have stays.
    pub(crate) fn abandon(&self, peer: &Peer) {
        {
            let mut state = lock(&self.state);
            let taken = state.taker.is_some();
            state.items.retain(|item| taken && item.inbound.is_message());
            state.bytes = state.items.iter().map(|item| item.weight).sum();
            if let Phase::Closed { reason, unacknowledged_bytes, .. } = state.phase.clone() {
                self.set_over(&mut state, peer, reason, unacknowledged_bytes);
            }
        }
        self.room.notify_waiters();
    }

    /// The application gets the peer's handle other than by an event: what becomes of the peer is reported from now on,
    /// however short the connection.
    pub(crate) fn hand_out(&self) {
        lock(&self.state).handed_out = true;
    }

    /// Takes the messages out of the event stream; an earlier taker gets no more of them.
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
            if self.list().is_none_or(|list| list.is_abandoned()) {
                // There is no stream to give them back to, and nothing is to wait for one.
                state.items.clear();
                state.bytes = 0;
                self.room.notify_waiters();
            }
            self.report(peer, &mut state);
        }
    }

    /// The next message for a taker; `None` when the connection has ended or the messages were taken again.
    pub(crate) fn poll_taken(&self, peer: &Peer, number: u64, cx: &mut Context<'_>) -> Poll<Option<Body>> {
        let mut state = lock(&self.state);
        if state.taker.as_ref().is_none_or(|taker| taker.number != number) {
            return Poll::Ready(None);
        }
        let next = state.items.iter().position(|item| item.inbound.is_message());
        if let Some(item) = next.and_then(|index| state.items.remove(index)) {
            state.bytes -= item.weight;
            peer.shared().settings.events_taken.fetch_add(1, Ordering::Relaxed);
            if state.blocked > 0 {
                self.room.notify_waiters();
            }
            self.report(peer, &mut state);
            if let Inbound::Message(body) = item.inbound {
                return Poll::Ready(Some(body));
            }
        }
        if matches!(state.phase, Phase::Closed { .. } | Phase::Over) {
            // Should the peer come back before its close is reported, its messages are for the event stream.
            state.taker = None;
            return Poll::Ready(None);
        }
        if let Some(taker) = &mut state.taker {
            taker.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn list(&self) -> Option<Arc<ReadyList>> {
        self.ready.get().and_then(Weak::upgrade)
    }

    /// Puts the peer on the ready list if there is anything to report of it.
    fn report(&self, peer: &Peer, state: &mut State) {
        if state.has_event()
            && let Some(list) = self.list()
        {
            state.make_ready(peer, &list);
        }
    }

    /// How the connection ended, once that is reported.
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

    fn set_over(&self, state: &mut State, peer: &Peer, reason: ChannelClosed, unacknowledged_bytes: u64) -> Ended {
        let mut returned = peer.shared().take_returned();
        let (unsent_messages, unsent_bytes, queued) = peer.shared().send_queue.close();
        returned.extend(queued);
        peer.shared().received.retire();
        // Those that were queued after the connection had ended: it was not known yet whether the peer comes back.
        peer.shared().waiters.fail_all(crate::now(), &reason);
        let span = peer.span();
        debug!(parent: span, %reason, unacknowledged_bytes, unsent_messages, unsent_bytes, "the peer is closed");
        let returned = returned.into();
        let ended = Ended { reason, unacknowledged_bytes, unsent_messages, unsent_bytes, returned };
        state.phase = Phase::Over;
        state.wake_taker();
        // The first counts: a handle is not used again after it.
        let _ = self.ended.set(ended.clone());
        self.over.notify_waiters();
        ended
    }

    /// Says, until the result is dropped, that something the peer sent waits for room.
    pub(crate) fn block(&self) -> Blocked<'_> {
        lock(&self.state).blocked += 1;
        self.full.notify_waiters();
        Blocked(self)
    }

    /// Whether something the peer sent waits for room.
    pub(crate) fn is_blocked(&self) -> bool {
        lock(&self.state).blocked > 0
    }

    /// Something the peer sent has begun to wait, here or elsewhere.
    pub(crate) fn announce_full(&self) {
        self.full.notify_waiters();
    }

    /// Waits until something the peer sent has waited for room for so long in which the application has taken nothing.
    /// `blocked_at` says of each place where something may wait how much the application has taken there, if one does.
    pub(crate) async fn held_up(&self, during: Duration, blocked_at: impl Fn() -> [Option<u64>; 2]) {
        loop {
            let mut full = std::pin::pin!(self.full.notified());
            full.as_mut().enable();
            if blocked_at() == [None; 2] {
                full.await;
            }
            let before = blocked_at();
            sleep(during).await;
            if before.iter().zip(blocked_at()).any(|(before, now)| now.is_some() && *before == now) {
                return;
            }
        }
    }
}

/// A place among those that wait for room, until it is dropped.
struct Place<'a> {
    inbox: &'a Inbox,
    number: u64,
}

impl<'a> Place<'a> {
    fn take(inbox: &'a Inbox) -> Self {
        let mut state = lock(&inbox.state);
        let number = state.next_place;
        state.next_place += 1;
        state.waiting.push_back(number);
        Self { inbox, number }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.inbox.state);
        state.waiting.retain(|number| *number != self.number);
        if !state.waiting.is_empty() {
            self.inbox.room.notify_waiters();
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

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
