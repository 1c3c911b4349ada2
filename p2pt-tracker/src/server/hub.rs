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

use super::{
    ServerConfig, ServerStats,
    addresses::Addresses,
    refusals::Refusals,
    send_queue::SendQueue,
    throttle::{AddressThrottle, Bucket, Rate},
};
use crate::swarms::{ConnectionId, Swarms, SwarmsInput, SwarmsOutput, owner};

/// This many bytes cost as much as a message. An announce with five offers has a little more.
const BYTES_PER_MESSAGE: usize = 4 * 1024;

/// The swarms, and the send queues that their outputs go to.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) config: ServerConfig,
    connection_rate: Rate,
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
    addresses: AddressThrottle,
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
    /// What stands for the address it comes from.
    owner: Option<IpAddr>,
    bucket: Bucket,
    /// When the next message may be read.
    pub(super) readable_at: Instant,
}

impl Registration {
    /// Hands in a message. It costs the connection and its address as many messages as it made to be sent, at least one,
    /// and another for all [`BYTES_PER_MESSAGE`] of either direction.
    pub(super) fn received(&mut self, frame: &[u8]) {
        let sent = self.hub.input(SwarmsInput::Received { conn: self.conn, frame });
        let cost = sent.messages.max(1) + (frame.len() + sent.bytes) / BYTES_PER_MESSAGE;
        self.spend(u32::try_from(cost).unwrap_or(u32::MAX));
    }

    /// Reports that the connection lives, by something that costs a message.
    pub(super) fn alive(&mut self) {
        self.hub.input(SwarmsInput::Alive { conn: self.conn });
        self.spend(1);
    }

    fn spend(&mut self, messages: u32) {
        let mut state = self.hub.lock();
        let now = Instant::now().into_std();
        let rate = self.hub.connection_rate;
        self.bucket.spend(rate, now, messages);
        let own = self.bucket.wait_until(rate, now);
        let together = self.owner.and_then(|owner| state.addresses.spend(now, owner, messages));
        let held = own.max(together);
        state.pause(now, self.conn, held);
        self.readable_at = held.unwrap_or(now).into();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.send_queues.remove(&self.conn);
        if let Some(owner) = self.owner {
            state.addresses.closed(Instant::now().into_std(), owner);
        }
        drop(state);
        self.hub.input(SwarmsInput::Closed { conn: self.conn });
    }
}

impl Hub {
    pub(super) fn new(config: ServerConfig) -> Self {
        let swarms = Swarms::new(config.swarms.clone(), config.seed.unwrap_or_else(rand::random));
        let addresses = AddressThrottle::new(config.address_rate());
        Self {
            places: Addresses::new(config.max_connections_per_address),
            connection_rate: config.connection_rate(),
            config,
            stopping: CancellationToken::new(),
            state: Mutex::new(State { swarms, send_queues: HashMap::new(), addresses, opened: 0 }),
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
        let now = Instant::now();
        state.handle(now.into_std(), SwarmsInput::Opened { conn, address });
        let owner = address.map(owner);
        let held = owner.and_then(|owner| state.addresses.opened(now.into_std(), owner));
        state.pause(now.into_std(), conn, held);
        drop(state);
        let (bucket, readable_at) = (Bucket::new(now.into_std()), held.map_or(now, Instant::from));
        Some(Registration { hub: Arc::clone(self), conn, send_queue, owner, bucket, readable_at })
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
    /// Lets the swarms know that a connection is not read until then.
    fn pause(&mut self, now: std::time::Instant, conn: ConnectionId, until: Option<std::time::Instant>) {
        if let Some(until) = until {
            self.handle(now, SwarmsInput::Paused { conn, until });
        }
    }

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
