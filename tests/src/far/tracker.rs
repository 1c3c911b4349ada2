//! A tracker whose peers are far from each other.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt as _, StreamExt as _};
use p2pt_tracker::{ServerConfig, TrackerServer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, client_async};

use super::{Distance, Road};

/// Roads there may be. Each takes two sockets.
const MAX_ROADS: usize = 256;

/// The roads by the ids of the offers that they were built for.
type Roads = Arc<Mutex<HashMap<String, Road>>>;

/// This workspace's tracker, behind a relay that puts a [`Road`] between any two peers that meet. Near it is itself:
/// only what peers say to each other takes the road.
#[derive(Debug)]
pub struct FarTracker {
    url: String,
    _relay: JoinSet<()>,
}

impl FarTracker {
    /// Starts one on a free port of the loopback interface.
    ///
    /// # Errors
    /// If there is no such port.
    pub async fn start(distance: Distance) -> std::io::Result<Self> {
        let server = TrackerServer::bind((Ipv4Addr::LOCALHOST, 0), ServerConfig::default()).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let roads = Roads::default();
        let mut relay = JoinSet::new();
        relay.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(tracker) = TcpStream::connect(server.local_addr()).await else { return };
                let roads = Arc::clone(&roads);
                connections.spawn(async move { relay_one(client, tracker, &roads, distance).await.err() });
            }
        });
        Ok(Self { url, _relay: relay })
    }

    /// Its announce URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Passes messages on, in both directions, until one side ends.
async fn relay_one(client: TcpStream, tracker: TcpStream, roads: &Roads, distance: Distance) -> Result<(), Error> {
    let client = accept_async(client).await?;
    let (tracker, _) = client_async("ws://tracker/", tracker).await?;
    let (mut to_client, mut from_client) = client.split();
    let (mut to_tracker, mut from_tracker) = tracker.split();
    loop {
        tokio::select! {
            message = from_client.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                if message.is_text() { to_tracker.send(message).await?; }
            }
            message = from_tracker.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let Message::Text(text) = message else { continue };
                if let Some(text) = on_the_road(&text, roads, distance) {
                    to_client.send(Message::text(text)).await?;
                }
            }
        }
    }
}

/// What the tracker says, with the road's addresses in it; nothing, if there is no road to be had.
fn on_the_road(text: &str, roads: &Roads, distance: Distance) -> Option<String> {
    let Ok(mut said) = serde_json::from_str::<Value>(text) else { return Some(text.to_owned()) };
    let id = said["offer_id"].as_str().unwrap_or_default().to_owned();
    let mut roads = roads.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(offer) = said["offer"]["sdp"].as_str() {
        if roads.len() >= MAX_ROADS {
            return None;
        }
        let (road, moved) = Road::begin(offer, distance).ok()?;
        roads.insert(id, road);
        said["offer"]["sdp"] = moved.into();
    } else if let Some(answer) = said["answer"]["sdp"].as_str() {
        said["answer"]["sdp"] = roads.get(&id)?.complete(answer).into();
    } else {
        return Some(text.to_owned());
    }
    Some(said.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2pt::{Event, P2pt};
    use p2pt_transport::webrtc::WebRtcConfig;
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread")]
    async fn peers_that_meet_there_are_far_from_each_other() {
        let distance = Distance { delay: Duration::from_millis(20), loss_percent: 0.0 };
        let tracker = FarTracker::start(distance).await.unwrap();
        let node = || P2pt::builder().tracker(tracker.url()).webrtc(WebRtcConfig::loopback());
        let (one, mut events) = node().join("far").await.unwrap();
        let (other, mut others_events) = node().join("far").await.unwrap();
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
        assert!(begin.elapsed() > distance.delay, "there and back in {:?}", begin.elapsed());
        timeout(PATIENCE, async { tokio::join!(one.shutdown(), other.shutdown()) }).await.unwrap();
        echo.await.unwrap();
    }
}
