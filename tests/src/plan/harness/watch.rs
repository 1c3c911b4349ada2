//! What is seen of the nodes while a plan runs, and what must never be seen.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p2pt::{Event, Events, RequestError, SendError, Swarm};
use tokio::time::{Instant, sleep};

use super::{Most, REQUEST_TIMEOUT, Requests, SEND_TIMEOUT};
use crate::plan::Plan;
use crate::sim::{Underlay, tasks};

/// Notes what happens. Clones share one notebook.
#[derive(Debug, Clone)]
pub(super) struct Watch<N> {
    network: N,
    nodes: usize,
    bounds: Most,
    start: Instant,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Debug, Default)]
struct Notes {
    requests: Requests,
    most: Most,
    trace: Vec<String>,
}

impl<N: Underlay> Watch<N> {
    pub(super) fn new(network: N, plan: &Plan) -> Self {
        let (nodes, trackers) = (plan.nodes, plan.trackers.len());
        // For each node: a channel to each other one, and as many more as two of them make when each tracker brings both
        // together at once; the offers that may be alive at each tracker, and an answer for each attempt under way.
        let channels = (nodes - 1) * (1 + 2 * trackers);
        let pending = 250 * trackers + 32;
        // The engine, a client and its socket at the tracker for each tracker, reader and asker of this test; for each
        // channel and attempt one; and what makes offers.
        let tasks = 10 + 4 * trackers + channels + 2 * 32;
        let bounds = Most { channels, pending, tasks };
        Self { network, nodes, bounds, start: Instant::now(), notes: Arc::default() }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> (Requests, Most, Vec<String>) {
        let notes = std::mem::take(&mut *self.notes());
        (notes.requests, notes.most, notes.trace)
    }

    fn note(&self, node: usize, what: fmt::Arguments<'_>) {
        let at = self.start.elapsed().as_secs_f64();
        self.notes().trace.push(format!("{at:.3} node {node}: {what}"));
    }

    /// Looks at everything that could grow, each second.
    pub(super) async fn measure(self) {
        loop {
            let each = |count: usize| count.div_ceil(self.nodes);
            let now = Most {
                channels: each(self.network.open_channels().unwrap_or(0)),
                pending: each(self.network.pending().unwrap_or(0)),
                tasks: each(tasks()),
            };
            {
                let most = &mut self.notes().most;
                most.channels = most.channels.max(now.channels);
                most.pending = most.pending.max(now.pending);
                most.tasks = most.tasks.max(now.tasks);
            }
            let Most { channels, pending, tasks } = self.bounds;
            let is_bounded = now.channels <= channels && now.pending <= pending && now.tasks <= tasks;
            assert!(is_bounded, "{now:?} for each node, more than {:?}", self.bounds);
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn request_ended(&self, error: Option<RequestError>) {
        let mut notes = self.notes();
        let requests = &mut notes.requests;
        match error {
            None => requests.answered += 1,
            Some(RequestError::Timeout { .. }) => requests.late += 1,
            Some(RequestError::PeerGone(_) | RequestError::Send(SendError::PeerGone(_))) => requests.gone += 1,
            Some(RequestError::Send(SendError::Timeout(_))) => requests.stalled += 1,
            Some(error) => panic!("no reason for a request to end: {error}"),
        }
    }
}

/// Reads a node's events to their end, and answers messages. For each peer: connected, messages, closed.
pub(super) async fn read<N: Underlay>(node: usize, mut events: Events, watch: Watch<N>) {
    let mut connected = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => {
                assert!(connected.insert(peer.id()), "connected twice");
                watch.note(node, format_args!("connected {}", peer.id()));
            }
            Event::PeerClosed(closed) => {
                assert!(connected.remove(&closed.peer.id()), "closed, but not connected");
                watch.note(node, format_args!("closed {}: {}", closed.peer.id(), closed.reason));
            }
            Event::Message(message) => {
                let from = message.peer().id();
                assert!(connected.contains(&from), "a message before its sender");
                watch.note(node, format_args!("message of {from}"));
                // It may have gone meanwhile.
                let _ = message.respond("pong").await;
            }
            Event::TrustChanged(changed) => {
                assert!(connected.contains(&changed.peer.id()), "trust in a peer that is not there");
                watch.note(node, format_args!("{} is {}", changed.peer.id(), changed.now));
            }
            Event::TrackerConnected(event) => watch.note(node, format_args!("reached {}", event.tracker)),
            Event::TrackerWarning { tracker, warning, .. } => watch.note(node, format_args!("{tracker}: {warning}")),
            Event::ConnectionFailed(failed) => {
                watch.note(node, format_args!("not connected to {}: {}", failed.peer_id, failed.error));
            }
            Event::ConnectionRejected(refused) => {
                watch.note(node, format_args!("refused {}: {}", refused.peer_id, refused.reason));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(connected.is_empty(), "{} peers never closed", connected.len());
}

/// Asks one peer after the other for as long as the node runs. Every request must end in time, with a reason.
pub(super) async fn ask<N: Underlay>(p2pt: Swarm, watch: Watch<N>) {
    let mut turn = 0;
    while p2pt.node().tracker_stats().total > 0 {
        sleep(Duration::from_secs(5)).await;
        let peers = p2pt.peers();
        turn += 1;
        let Some(peer) = peers.get(turn % peers.len().max(1)) else { continue };
        let asked = Instant::now();
        let response = peer.request("ping").await;
        assert!(asked.elapsed() <= SEND_TIMEOUT + REQUEST_TIMEOUT, "a request took {:?}", asked.elapsed());
        watch.request_ended(response.err());
    }
}
