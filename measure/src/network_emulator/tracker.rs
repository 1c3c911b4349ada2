//! A tracker whose peers reach each other over emulated paths.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{EmulatedPath, PathConditions};
use crate::relay::{Handler, RelayedTracker};

/// Paths there may be. Each takes two sockets.
const MAX_PATHS: usize = 256;

/// This workspace's tracker, behind a relay that puts an [`EmulatedPath`] between any two peers that meet. The tracker
/// itself is reached without a delay: only what peers send each other takes the path.
///
/// It changes what peers say to each other, so that nodes that sign turn each other away: a node needs a
/// [peer id](p2pt::Builder::peer_id) of its own here, with which it does not sign.
#[derive(Debug)]
pub struct EmulatedPathTracker(RelayedTracker);

impl EmulatedPathTracker {
    /// Starts one on a free port of the loopback interface.
    ///
    /// # Errors
    /// If there is no such port.
    pub async fn start(conditions: PathConditions) -> io::Result<Self> {
        let paths = Paths { conditions, by_offer_id: Mutex::default() };
        Ok(Self(RelayedTracker::start(Ipv4Addr::LOCALHOST, Arc::new(paths)).await?))
    }

    /// Its announce URL.
    pub fn url(&self) -> &str {
        self.0.url()
    }
}

struct Paths {
    conditions: PathConditions,
    by_offer_id: Mutex<HashMap<String, EmulatedPath>>,
}

impl Handler for Paths {
    fn sent_by_tracker(&self, message: Message) -> Option<Message> {
        let Message::Text(text) = message else { return None };
        self.rewritten(&text).map(Message::text)
    }
}

impl Paths {
    /// What the tracker sends, with the addresses of a path in it; nothing, if no path can be had.
    fn rewritten(&self, text: &str) -> Option<String> {
        let Ok(mut frame) = serde_json::from_str::<Value>(text) else { return Some(text.to_owned()) };
        let id = frame["offer_id"].as_str().unwrap_or_default().to_owned();
        let mut paths = self.by_offer_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(offer) = frame["offer"]["sdp"].as_str() {
            if paths.len() >= MAX_PATHS {
                return None;
            }
            let (path, moved) = EmulatedPath::begin(offer, self.conditions).ok()?;
            paths.insert(id, path);
            frame["offer"]["sdp"] = moved.into();
        } else if let Some(answer) = frame["answer"]["sdp"].as_str() {
            frame["answer"]["sdp"] = paths.get(&id)?.complete(answer).into();
        } else {
            return Some(text.to_owned());
        }
        Some(frame.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2pt::{Event, P2pt, PeerId};
    use p2pt_transport::webrtc::WebRtcConfig;
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread")]
    async fn peers_that_meet_there_have_the_delay_of_the_path() {
        let conditions = PathConditions { delay: Duration::from_millis(20), loss_percent: 0.0 };
        let tracker = EmulatedPathTracker::start(conditions).await.unwrap();
        let node = |id| {
            P2pt::builder().tracker(tracker.url()).webrtc(WebRtcConfig::loopback()).peer_id(PeerId::from([id; 20]))
        };
        let (one, mut events) = node(1).join("delayed").await.unwrap();
        let (other, mut others_events) = node(2).join("delayed").await.unwrap();
        let other_id = other.peer_id();
        let echo = tokio::spawn(async move {
            while let Some(event) = others_events.next().await {
                if let Event::Message(message) = event {
                    message.respond("and back").await.unwrap();
                }
            }
        });
        let met = async {
            loop {
                if let Some(Event::PeerConnected(peer)) = events.next().await {
                    return peer;
                }
            }
        };
        let peer = timeout(PATIENCE, met).await.unwrap();
        assert_eq!(peer.id(), other_id);
        let begin = Instant::now();
        timeout(PATIENCE, peer.request("there")).await.unwrap().unwrap();
        assert!(begin.elapsed() > conditions.delay, "there and back in {:?}", begin.elapsed());
        timeout(PATIENCE, async { tokio::join!(one.shutdown(), other.shutdown()) }).await.unwrap();
        echo.await.unwrap();
    }
}
