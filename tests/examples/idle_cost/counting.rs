//! A tracker that counts what it is told, whoever talks.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{SinkExt as _, StreamExt as _};
use p2pt_tracker::{ServerConfig, TrackerServer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, client_async};

/// What has passed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Announces.
    pub(crate) announces: u64,
    /// Offers in them.
    pub(crate) offers: u64,
    /// Bytes of messages, both ways.
    pub(crate) bytes: u64,
}

type Shared = Arc<Mutex<Counts>>;

/// This workspace's tracker with its usual interval of 120 s, behind a relay that counts.
pub(crate) struct CountingTracker {
    url: String,
    counts: Shared,
    _relay: JoinSet<()>,
}

impl CountingTracker {
    /// Starts one on a free port of this address.
    pub(crate) async fn start(address: Ipv4Addr) -> Self {
        let server = TrackerServer::bind((Ipv4Addr::LOCALHOST, 0), ServerConfig::default()).await.expect("a free port");
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("it is bound"));
        let counts = Shared::default();
        let mut relay = JoinSet::new();
        let shared = Arc::clone(&counts);
        relay.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let tracker = TcpStream::connect(server.local_addr()).await.expect("the tracker is here");
                let shared = Arc::clone(&shared);
                connections.spawn(async move { relay_one(client, tracker, &shared).await.err() });
            }
        });
        Self { url, counts, _relay: relay }
    }

    /// Its announce URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What has passed until now.
    pub(crate) fn counts(&self) -> Counts {
        *lock(&self.counts)
    }
}

/// Passes messages on, in both directions, until one side ends.
async fn relay_one(client: TcpStream, tracker: TcpStream, counts: &Shared) -> Result<(), Error> {
    let client = accept_async(client).await?;
    let (tracker, _) = client_async("ws://tracker/", tracker).await?;
    let (mut to_client, mut from_client) = client.split();
    let (mut to_tracker, mut from_tracker) = tracker.split();
    loop {
        tokio::select! {
            message = from_client.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                count(&message, counts);
                if message.is_text() { to_tracker.send(message).await?; }
            }
            message = from_tracker.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                lock(counts).bytes += message.len() as u64;
                if message.is_text() { to_client.send(message).await?; }
            }
        }
    }
}

fn count(message: &Message, counts: &Shared) {
    let mut counts = lock(counts);
    counts.bytes += message.len() as u64;
    let Message::Text(text) = message else { return };
    let Ok(said) = serde_json::from_str::<Value>(text) else { return };
    // An answer is an announce in name only.
    if said["action"] == "announce" && said.get("answer").is_none() {
        counts.announces += 1;
        counts.offers += said["offers"].as_array().map_or(0, |offers| offers.len() as u64);
    }
}

fn lock(counts: &Shared) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}
