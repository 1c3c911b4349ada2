//! What all connections of a tracker share.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{ServerConfig, ServerStats, addresses::Addresses, refusals::Refusals, send_queue::SendQueue};
use crate::swarms::{ConnectionId, Swarms, SwarmsInput, SwarmsOutput};

/// This many bytes cost as much as a message. An announce with five offers has a little more.
const BYTES_PER_MESSAGE: usize = 4 * 1024;

/// The swarms, and the send queues that their outputs go to.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) config: ServerConfig,
    /// Cancelled when the tracker stops.
    pub(super) stopping: CancellationToken,
    state: Mutex<State>,
    /// The next timeout has moved forward.
    rescheduled: Notify,
    started: Instant,
    /// The sockets of each address.
    pub(super) places: Addresses,
    pub(super) refusals: Refusals,
    slow_readers: AtomicU64,
}

#[derive(Debug)]
struct State {
    swarms: Swarms,
    send_queues: HashMap<ConnectionId, Arc<SendQueue>>,
    opened: u64,
}

/// What an input made to be sent, to all connections together.
#[derive(Debug, Default)]
struct Sent {
    messages: usize,
    bytes: usize,
}

/// An open connection's place in the hub, given back on drop.
#[derive(Debug)]
pub(super) struct Registration {
    hub: Arc<Hub>,
    pub(super) conn: ConnectionId,
    pub(super) send_queue: Arc<SendQueue>,
}

impl Registration {
    /// Hands in a message. Returns what it costs, in messages: each that it made to be sent counts as one, and so do
    /// all [`BYTES_PER_MESSAGE`] of either direction.
    pub(super) fn received(&self, frame: &[u8]) -> u32 {
        let sent = self.hub.input(SwarmsInput::Received { conn: self.conn, frame });
        let cost = sent.messages.max(1) + (frame.len() + sent.bytes) / BYTES_PER_MESSAGE;
        u32::try_from(cost).unwrap_or(u32::MAX)
    }

    /// Reports that the connection lives.
    pub(super) fn alive(&self) {
        self.hub.input(SwarmsInput::Alive { conn: self.conn });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.lock().send_queues.remove(&self.conn);
        self.hub.input(SwarmsInput::Closed { conn: self.conn });
    }
}

impl Hub {
    pub(super) fn new(config: ServerConfig) -> Self {
        let swarms = Swarms::new(config.swarms.clone(), config.seed.unwrap_or_else(rand::random));
        Self {
            places: Addresses::new(config.max_connections_per_address),
            config,
            stopping: CancellationToken::new(),
            state: Mutex::new(State { swarms, send_queues: HashMap::new(), opened: 0 }),
            rescheduled: Notify::new(),
            started: Instant::now(),
            refusals: Refusals::new(),
            slow_readers: AtomicU64::new(0),
        }
    }

    /// Registers a connection unless there are too many.
    pub(super) fn open(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Registration> {
        let mut state = self.lock();
        if state.swarms.is_full() {
            return None;
        }
        state.opened += 1;
        let conn = ConnectionId(state.opened);
        let send_queue = Arc::new(SendQueue::new(self.config.max_queued_messages, self.config.max_queued_bytes));
        state.send_queues.insert(conn, Arc::clone(&send_queue));
        state.handle(Instant::now().into_std(), SwarmsInput::Opened { conn, address });
        drop(state);
        Some(Registration { hub: Arc::clone(self), conn, send_queue })
    }

    pub(super) fn count_slow_reader(&self) {
        self.slow_readers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> ServerStats {
        let state = self.lock();
        let refused = self.refusals.stats();
        ServerStats {
            swarms: state.swarms.stats(),
            connections_opened: state.opened,
            connections_refused: refused.sockets + refused.full + refused.per_address,
            refused,
            slow_readers_dropped: self.slow_readers.load(Ordering::Relaxed),
            uptime: self.started.elapsed(),
        }
    }

    /// Passes the time on to the swarms until the tracker stops.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let next = self.lock().swarms.poll_timeout();
            let due = async {
                match next {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.rescheduled.notified() => {}
                () = due => {
                    self.input(SwarmsInput::Timeout);
                }
            }
        }
    }

    fn input(&self, input: SwarmsInput<'_>) -> Sent {
        let mut state = self.lock();
        // Read under the lock, so that it never goes backwards.
        let now = Instant::now().into_std();
        let before = state.swarms.poll_timeout();
        let sent = state.handle(now, input);
        let after = state.swarms.poll_timeout();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.rescheduled.notify_one();
        }
        sent
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands the input to the swarms and their outputs to the send queues.
    fn handle(&mut self, now: std::time::Instant, input: SwarmsInput<'_>) -> Sent {
        self.swarms.handle_input(now, input);
        let mut sent = Sent::default();
        while let Some(output) = self.swarms.poll_output() {
            match output {
                SwarmsOutput::Send { conn, text } => {
                    sent.messages += 1;
                    sent.bytes += text.len();
                    if self.send_queues.get(&conn).is_some_and(|send_queue| !send_queue.push(text)) {
                        // Its task learns of it from the queue, and ends its memberships.
                        self.send_queues.remove(&conn);
                    }
                }
                SwarmsOutput::Ping { conn } => {
                    if let Some(send_queue) = self.send_queues.get(&conn) {
                        send_queue.ping();
                    }
                }
                SwarmsOutput::Close { conn, reason } => {
                    if let Some(send_queue) = self.send_queues.remove(&conn) {
                        send_queue.close(reason);
                    }
                }
            }
        }
        sent
    }
}
