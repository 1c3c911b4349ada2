//! The event queue of one swarm: which peers have something to report, and what trackers and attempts to connect have
//! led to.
//!
//! Peers' own events lie in their [inboxes](crate::inbox), from which the queue takes one at a time, in turn, so that a
//! peer that sends much delays no other. What is not about a connected peer is bounded by keeping the latest of each
//! kind.
//!
//! Locks, in this order and never across an await: the peer table, an inbox, the ready list.

use std::collections::{BTreeMap, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use p2pt_proto::PeerId;
use p2pt_tracker::{AnnounceUrl, TrackerWarning};
use p2pt_transport::{ChannelClosed, ServerWarning, TransportError};
use p2pt_trust::PublicKey;
use tokio::sync::Notify;

use crate::counters::{Counters, add};
use crate::inbox::{Item, Taken};
use crate::{ConnectionFailed, ConnectionRejected, Event, Peer, SendFailed, TrackerConnected, TrustChanged};

/// Trackers of which unread events are kept; more than a node can sensibly use.
const MAX_SOURCES: usize = 64;

/// Attempts to connect whose end is kept for each tracker while it is unread.
const MAX_ATTEMPTS: usize = 32;

/// Locks, ignoring poison: no code path panics while it holds one of these locks with state half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The events of one swarm.
#[derive(Debug)]
pub(crate) struct EventQueue {
    /// Peers that are connected, or whose end is not reported yet. Under an id there are several if another peer came before
    /// the end of the first was read.
    peers: Mutex<BTreeMap<Who, Peer>>,
    ready: Arc<ReadyList>,
    counters: Arc<Counters>,
}

/// A peer's id and its key, if it has one.
type Who = (PeerId, Option<PublicKey>);

/// What there is to report, and which task is to be woken for it.
#[derive(Debug, Default)]
pub(crate) struct ReadyList {
    ready: Mutex<Ready>,
    waker: AtomicWaker,
    /// The application dropped its [`Events`](crate::Events).
    abandoned: AtomicBool,
    /// A peer has connected, or no further event will come.
    arrival: Notify,
}

impl ReadyList {
    /// Whether nothing reads the events any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Adds a peer that has something to report: behind the others, or before them.
    pub(crate) fn push(&self, peer: Peer, is_next: bool) {
        let mut ready = lock(&self.ready);
        if !self.is_abandoned() {
            if is_next {
                ready.peers.push_front(peer)
            } else {
                ready.peers.push_back(peer)
            }
            drop(ready);
            self.waker.wake();
        }
    }
}

#[derive(Debug, Default)]
struct Ready {
    peers: VecDeque<Peer>,
    /// Events that are not about connected peers, by the tracker they came from, in turn: of each tracker the latest
    /// event of each kind, and the latest attempts, in the order they happened.
    news: VecDeque<(Option<AnnounceUrl>, Vec<Event>)>,
    /// A peer is next, so that a tracker that makes news without end delays no peer.
    peers_turn: bool,
    /// No further event will be queued.
    ended: bool,
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
    /// For events that no node counts.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::counting(Arc::default())
    }

    pub(crate) fn counting(counters: Arc<Counters>) -> Self {
        Self { peers: Mutex::new(BTreeMap::new()), ready: Arc::default(), counters }
    }

    /// The handle for a peer about to connect: the one that the application has, if the end of that is not reported,
    /// which it is not any more then: a handle is not used again after its `PeerClosed`.
    pub(crate) fn entry(&self, who: Who, make: impl FnOnce() -> Peer) -> Peer {
        let mut peers = lock(&self.peers);
        if let (id, Some(_)) = who {
            // The id is that of the key. What a peer without it has sent under the id is not to come after this one's
            // `PeerConnected`, and to be taken for this one's by an application that goes by ids.
            let other = (id, None);
            if peers.get(&other).is_some_and(|peer| peer.shared().inbox.give_way(peer, &self.ready)) {
                peers.remove(&other);
            }
        }
        let peer = peers.entry(who).or_insert_with(make);
        peer.shared().inbox.reopen();
        peer.clone()
    }

    /// A peer has a channel.
    pub(crate) fn connect(&self, peer: &Peer) {
        let mut peers = lock(&self.peers);
        peers.entry(peer.who()).or_insert_with(|| peer.clone());
        peer.shared().inbox.connected(peer, &self.ready);
        self.ready.arrival.notify_waiters();
    }

    /// A connected peer as soon as there is one; `None` if no further event will come.
    pub(crate) async fn wait_for_peer(&self) -> Option<Peer> {
        loop {
            let mut arrival = std::pin::pin!(self.ready.arrival.notified());
            arrival.as_mut().enable();
            if let Some(peer) = lock(&self.peers).values().find(|peer| peer.is_connected()) {
                return Some(handed_out(peer));
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
        if peer.shared().inbox.closed(peer, &self.ready, reason, unacknowledged_bytes) {
            peers.remove(&peer.who());
        }
    }

    /// How many peers are connected, or closed and not reported so.
    pub(crate) fn known(&self) -> usize {
        lock(&self.peers).len()
    }

    /// The connected peers.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        lock(&self.peers).values().filter(|peer| peer.is_connected()).cloned().collect()
    }

    /// The connected peers, for the application.
    pub(crate) fn hand_out_peers(&self) -> Vec<Peer> {
        lock(&self.peers).values().filter(|peer| peer.is_connected()).map(handed_out).collect()
    }

    /// A connected peer, for the application.
    pub(crate) fn hand_out_peer(&self, id: &PeerId) -> Option<Peer> {
        lock(&self.peers).values().find(|peer| peer.id() == *id && peer.is_connected()).map(handed_out)
    }

    /// Queues what a peer sent if its inbox has room, which an empty one always has; gives it back otherwise.
    pub(crate) fn try_push(&self, peer: &Peer, item: impl Into<Item>) -> Result<(), Item> {
        peer.shared().inbox.try_push(peer, &self.ready, item.into())
    }

    /// Queues what a peer sent, waiting while its inbox is full.
    pub(crate) async fn push(&self, peer: &Peer, item: impl Into<Item>) {
        peer.shared().inbox.push(peer, &self.ready, item.into()).await;
    }

    /// Queues that something queued for a peer was not sent, however full its inbox is.
    pub(crate) fn send_failed(&self, peer: &Peer, failed: SendFailed) {
        peer.shared().inbox.send_failed(peer, &self.ready, failed);
    }

    /// Queues that a peer is known better or less than before, however full its inbox is.
    pub(crate) fn trust_changed(&self, peer: &Peer, changed: TrustChanged) {
        peer.shared().inbox.trust_changed(peer, &self.ready, changed);
    }

    pub(crate) fn tracker_connected(&self, event: TrackerConnected) {
        self.report(Some(event.tracker.clone()), Event::TrackerConnected(event));
    }

    pub(crate) fn tracker_warning(&self, tracker: AnnounceUrl, warning: TrackerWarning, missed: u64) {
        self.report(Some(tracker.clone()), Event::TrackerWarning { tracker, warning, missed });
    }

    pub(crate) fn connection_failed(&self, event: ConnectionFailed) {
        self.report(Some(event.tracker.clone()), Event::ConnectionFailed(event));
    }

    pub(crate) fn connection_rejected(&self, event: ConnectionRejected) {
        self.report(Some(event.tracker.clone()), Event::ConnectionRejected(event));
    }

    pub(crate) fn offer_failed(&self, error: TransportError) {
        self.report(None, Event::OfferFailed(Arc::new(error)));
    }

    pub(crate) fn server_warning(&self, warning: ServerWarning) {
        self.report(None, Event::ServerWarning(warning));
    }

    /// Queues an event that is not about a connected peer, in place of an unread one of the same kind.
    fn report(&self, source: Option<AnnounceUrl>, mut event: Event) {
        let mut ready = lock(&self.ready.ready);
        if self.ready.is_abandoned() {
            return;
        }
        if let Some((_, events)) = ready.news.iter_mut().find(|(waiting, _)| *waiting == source) {
            let before = events.len();
            match missed(&mut event) {
                Some(_) => make_room_for_attempt(events),
                None => {
                    // Warnings of servers are each of another one, and as many as are configured.
                    let replaces = !matches!(event, Event::ServerWarning(_));
                    if replaces && let Some(older) = events.iter().position(|older| kind(older) == kind(&event)) {
                        count_replaced(&mut event, &events.remove(older));
                    }
                }
            }
            add(&self.counters.events_dropped, before - events.len());
            events.push(event);
        } else if ready.news.len() < MAX_SOURCES {
            ready.news.push_back((source, vec![event]));
        } else {
            add(&self.counters.events_dropped, 1);
        }
        drop(ready);
        self.ready.waker.wake();
    }

    /// No further event will come: what is queued is still delivered, then the stream ends.
    pub(crate) fn end(&self) {
        lock(&self.ready.ready).ended = true;
        self.ready.waker.wake();
        self.ready.arrival.notify_waiters();
    }

    /// The application reads no more: inboxes empty themselves, so that nothing waits for it.
    pub(crate) fn abandon(&self) {
        // Set first: what takes an inbox's lock after this sees it.
        self.ready.abandoned.store(true, Ordering::Release);
        let peers: Vec<Peer> = lock(&self.peers).values().cloned().collect();
        {
            let mut ready = lock(&self.ready.ready);
            ready.peers.clear();
            ready.news.clear();
        }
        for peer in peers {
            peer.shared().inbox.abandon(&peer);
            if !peer.is_connected() {
                lock(&self.peers).remove(&peer.who());
            }
        }
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.ready.waker.register(cx.waker());
        loop {
            let mut peers = lock(&self.peers);
            let peer = {
                let mut ready = lock(&self.ready.ready);
                if let Some(event) = ready.next_news() {
                    return Poll::Ready(Some(event));
                }
                match ready.peers.pop_front() {
                    Some(peer) => peer,
                    // The end of a peer comes after the messages that were taken out of the stream.
                    None if ready.ended && peers.is_empty() => return Poll::Ready(None),
                    None => return Poll::Pending,
                }
            };
            match peer.shared().inbox.take_event(&peer, &self.ready) {
                Taken::Nothing => {}
                Taken::Event(event) => return Poll::Ready(Some(event)),
                Taken::Closed(event) => {
                    peers.remove(&peer.who());
                    return Poll::Ready(Some(event));
                }
            }
        }
    }
}

/// Notes that the application gets the handle. Called while the peer table is locked, so that no close comes between.
fn handed_out(peer: &Peer) -> Peer {
    peer.shared().inbox.hand_out();
    peer.clone()
}

/// How many attempts before this one were dropped, if the event is about an attempt to connect.
fn missed(event: &mut Event) -> Option<&mut u64> {
    match event {
        Event::ConnectionFailed(failed) => Some(&mut failed.missed),
        Event::ConnectionRejected(rejected) => Some(&mut rejected.missed),
        _ => None,
    }
}

/// Makes room for one more attempt: the oldest is dropped, and counted in the one after it.
fn make_room_for_attempt(events: &mut Vec<Event>) {
    if events.iter_mut().filter_map(missed).count() < MAX_ATTEMPTS {
        return;
    }
    let oldest = events.iter_mut().position(|event| missed(event).is_some());
    let dropped = oldest.and_then(|index| missed(&mut events.remove(index)).copied());
    if let (Some(dropped), Some(next)) = (dropped, events.iter_mut().find_map(missed)) {
        *next += dropped + 1;
    }
}

/// A warning takes the place of an unread one, which it counts as left out, with those that that one counts.
fn count_replaced(event: &mut Event, older: &Event) {
    if let (Event::TrackerWarning { missed, .. }, Event::TrackerWarning { missed: before, .. }) = (event, older) {
        *missed += before + 1;
    }
}

/// What replaces what: a warning only one of its own kind, so that a cause is not lost to what followed from it.
fn kind(event: &Event) -> (Discriminant<Event>, Option<Discriminant<TrackerWarning>>) {
    let warning = if let Event::TrackerWarning { warning, .. } = event { Some(discriminant(warning)) } else { None };
    (discriminant(event), warning)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
pub(crate) mod tests;
