//! What every peer of a node has in common.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2pt_messaging::Limits;
use p2pt_trust::TrustStore;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use crate::accounts::Accounts;
use crate::counters::Counters;
use crate::engine::Command;

/// Bytes of unread messages kept for each peer unless configured; a larger message is kept alone.
const INBOX_BYTES: usize = 1 << 20;

/// Bytes that may be queued for each peer unless configured; a larger message is queued alone.
const SEND_QUEUE_BYTES: usize = 8 << 20;

/// What all peers of a node together may make it hold of what they send, and what may be queued for all of them, each in
/// bytes and unless configured: half is shared out, which is 1.3 MiB for each of 100 peers, more than an inbox holds, and
/// the other half takes two messages of the largest size.
const NODE_MEMORY: usize = 256 << 20;

/// How long what is queued may take to leave when a connection is ended, unless configured.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a peer whose connection has failed may take to come back to its session, unless configured: peers mostly meet
/// again within two announces, and an application is to hear of a loss before its user notices.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a request waits for its response unless configured.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a send waits for a channel that takes nothing unless configured.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What the application sets for every peer of a node.
#[derive(Debug, Clone)]
pub(crate) struct PeerConfig {
    pub(crate) limits: Limits,
    pub(crate) inbox_bytes: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) send_queue_bytes: usize,
    pub(crate) flush_timeout: Duration,
    pub(crate) receive_memory: usize,
    pub(crate) send_memory: usize,
    /// Whether p2pt/2 is spoken with peers that speak it, too.
    pub(crate) p2pt2: bool,
    /// How long a peer whose connection has failed may take to come back to its session.
    pub(crate) reconnect_within: Duration,
    /// Names and the keys that are recognised as theirs.
    pub(crate) pins: Option<Arc<dyn TrustStore>>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            inbox_bytes: INBOX_BYTES,
            request_timeout: REQUEST_TIMEOUT,
            send_timeout: SEND_TIMEOUT,
            send_queue_bytes: SEND_QUEUE_BYTES,
            flush_timeout: FLUSH_TIMEOUT,
            receive_memory: NODE_MEMORY,
            send_memory: NODE_MEMORY,
            p2pt2: true,
            reconnect_within: RECONNECT_WITHIN,
            pins: None,
        }
    }
}

/// What every peer of a node has in common.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: PeerConfig,
    pub(crate) message_ids: Mutex<StdRng>,
    /// How many events about peers the application has taken.
    pub(crate) events_taken: AtomicU64,
    pub(crate) counters: Arc<Counters>,
    /// What all peers may make the node hold.
    pub(crate) accounts: Accounts,
    /// The way to the engine, which it does not keep running.
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Settings {
    /// For peers without an engine.
    #[cfg(test)]
    pub(crate) fn alone(inbox_bytes: usize) -> Self {
        Self::sharing(PeerConfig { inbox_bytes, ..PeerConfig::default() }, 1)
    }

    /// For so many peers without an engine.
    #[cfg(test)]
    pub(crate) fn sharing(config: PeerConfig, max_peers: usize) -> Self {
        let counters = Arc::<Counters>::default();
        Self {
            accounts: Accounts::new(&config, max_peers, &counters),
            config,
            message_ids: Mutex::new(rand::make_rng()),
            events_taken: AtomicU64::new(0),
            counters,
            commands: mpsc::channel(1).0,
        }
    }
}
