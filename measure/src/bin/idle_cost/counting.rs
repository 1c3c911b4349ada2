//! A tracker that counts what its clients send and receive, whatever they are written in.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pt_measure::relay::{Handler, RelayedTracker};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

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

/// This workspace's tracker with its usual interval of 120 s, behind a relay that counts.
pub(crate) struct CountingTracker {
    relayed: RelayedTracker,
    counter: Arc<Counter>,
}

impl CountingTracker {
    /// Starts one on a free port of this address.
    pub(crate) async fn start(address: Ipv4Addr) -> Self {
        let counter = Arc::<Counter>::default();
        let relayed = RelayedTracker::start(address, Arc::clone(&counter)).await.expect("a free port");
        Self { relayed, counter }
    }

    /// Its announce URL.
    pub(crate) fn url(&self) -> &str {
        self.relayed.url()
    }

    /// What has passed until now.
    pub(crate) fn counts(&self) -> Counts {
        *self.counter.counts()
    }
}

#[derive(Default)]
struct Counter(Mutex<Counts>);

impl Counter {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Counter {
    fn sent_by_client(&self, message: &Message) {
        let mut counts = self.counts();
        counts.bytes += message.len() as u64;
        let Message::Text(text) = message else { return };
        let Ok(frame) = serde_json::from_str::<Value>(text) else { return };
        // An answer is an announce in name only.
        if frame["action"] == "announce" && frame.get("answer").is_none() {
            counts.announces += 1;
            counts.offers += frame["offers"].as_array().map_or(0, |offers| offers.len() as u64);
        }
    }

    fn sent_by_tracker(&self, message: Message) -> Option<Message> {
        self.counts().bytes += message.len() as u64;
        message.is_text().then_some(message)
    }
}
