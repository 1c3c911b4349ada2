//! A tracker played by a test, at the other end of in-memory streams with real WebSocket framing.

#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{SinkExt as _, StreamExt as _};
use p2pt_proto::{Announce, AnnounceReply, ClientMessage, InfoHash, Offer, OfferId, PeerId, TrackerMessage};
use p2pt_tracker::{
    AnnounceUrl, ClientConfig, ConnectError, Connector, Family, Socket, TrackerClient, TrackerEvent, TrackerState,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Nothing in these tests takes this long, in virtual time either, unless it hangs.
pub(crate) const GUARD: Duration = Duration::from_secs(600);

/// Comes with each event.
const KEY: &str = "this client";

pub(crate) fn url() -> AnnounceUrl {
    AnnounceUrl::parse("ws://tracker.test/announce").expect("a sound URL")
}

pub(crate) fn swarm() -> InfoHash {
    InfoHash::of("swarm")
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

pub(crate) fn offer_id(n: u8) -> OfferId {
    OfferId::from([n; 20])
}

pub(crate) fn offers(numbers: impl IntoIterator<Item = u8>) -> Vec<Offer> {
    numbers.into_iter().map(|n| Offer::new(offer_id(n), format!("offer {n}"))).collect()
}

pub(crate) fn reply(members: u32) -> TrackerMessage {
    let mut reply = AnnounceReply::new(swarm());
    reply.interval = Some(Duration::from_secs(120));
    reply.complete = Some(0);
    reply.incomplete = Some(members);
    TrackerMessage::Announced(reply)
}

/// Hands the far ends of its sockets to the test.
#[derive(Debug)]
pub(crate) struct Streams {
    far_ends: mpsc::Sender<DuplexStream>,
    /// How many attempts are still refused.
    refusals: AtomicUsize,
    capacity_bytes: usize,
}

#[async_trait]
impl Connector for Streams {
    async fn connect(&self, url: &AnnounceUrl, _family: Option<Family>) -> Result<Socket, ConnectError> {
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.fetch_sub(1, Ordering::Relaxed);
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
        }
        let (near, far) = tokio::io::duplex(self.capacity_bytes);
        self.far_ends.send(far).await.expect("the test is still there");
        Socket::handshake(url, near).await
    }
}

/// A client under test, and the network around it.
pub(crate) struct Harness {
    pub(crate) client: TrackerClient,
    pub(crate) far_ends: mpsc::Receiver<DuplexStream>,
    pub(crate) events: mpsc::Receiver<(&'static str, TrackerEvent)>,
    pub(crate) start: Instant,
}

pub(crate) struct Setup {
    pub(crate) config: ClientConfig,
    pub(crate) refusals: usize,
    pub(crate) capacity_bytes: usize,
    pub(crate) events: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { config: ClientConfig::default(), refusals: 0, capacity_bytes: 64 * 1024, events: 64 }
    }
}

impl Setup {
    pub(crate) fn start(self) -> Harness {
        let (events_tx, events) = mpsc::channel(self.events);
        let (client, far_ends) = self.start_as(KEY, events_tx);
        Harness { client, far_ends, events, start: Instant::now() }
    }

    /// A client whose events have this key and go there, and the far ends of its sockets.
    pub(crate) fn start_as<K: Clone + Send + Sync + 'static>(
        self,
        key: K,
        events: mpsc::Sender<(K, TrackerEvent)>,
    ) -> (TrackerClient, mpsc::Receiver<DuplexStream>) {
        let (far_ends_tx, far_ends) = mpsc::channel(16);
        let connector = Arc::new(Streams {
            far_ends: far_ends_tx,
            refusals: AtomicUsize::new(self.refusals),
            capacity_bytes: self.capacity_bytes,
        });
        (TrackerClient::start(url(), peer(1), self.config, connector, key, events), far_ends)
    }
}

impl Harness {
    /// The next event; after the end of events, `None`.
    pub(crate) async fn event(&mut self) -> Option<TrackerEvent> {
        let event = timeout(GUARD, self.events.recv()).await.expect("an event in time");
        event.map(|(from, event)| {
            assert_eq!(from, KEY);
            event
        })
    }

    /// Reads events until one is of interest, and returns that.
    pub(crate) async fn event_where(&mut self, interesting: impl Fn(&TrackerEvent) -> bool) -> TrackerEvent {
        loop {
            let event = self.event().await.expect("more events");
            if interesting(&event) {
                return event;
            }
        }
    }

    /// The tracker's end of the next socket.
    pub(crate) async fn stream(&mut self) -> DuplexStream {
        timeout(GUARD, self.far_ends.recv()).await.expect("an attempt to connect").expect("the connector")
    }

    /// Accepts the next socket.
    pub(crate) async fn accept(&mut self) -> Tracker {
        let stream = self.stream().await;
        let socket = timeout(GUARD, accept_async(stream)).await.expect("a handshake in time").expect("a handshake");
        Tracker { socket, pings: Vec::new() }
    }

    /// Joins [`swarm`] and hands in offers 1 to 5 when asked; returns the tracker once it has read the announce.
    pub(crate) async fn announced(&mut self) -> Tracker {
        self.client.join(swarm());
        let mut tracker = self.accept().await;
        self.event_where(|event| matches!(event, TrackerEvent::OffersWanted { count: 5, .. })).await;
        self.client.offers(swarm(), offers(1..=5));
        let announce = tracker.announce().await;
        assert_eq!(announce.offers, Some(offers(1..=5)));
        tracker
    }

    pub(crate) fn state(&self) -> TrackerState {
        self.client.state()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The tracker's end of a socket.
pub(crate) struct Tracker {
    pub(crate) socket: WebSocketStream<DuplexStream>,
    /// When pings arrived.
    pub(crate) pings: Vec<Instant>,
}

impl Tracker {
    /// The next frame; `None` when the socket was closed. Pings are answered.
    pub(crate) async fn next(&mut self) -> Option<ClientMessage> {
        loop {
            match timeout(GUARD, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Some(ClientMessage::decode(&text).expect("a sound frame")),
                Some(Ok(Message::Ping(_))) => self.pings.push(Instant::now()),
                // Reading on sends the reply to it.
                Some(Ok(Message::Close(_))) => {}
                None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) => return None,
            }
        }
    }

    pub(crate) async fn announce(&mut self) -> Announce {
        match self.next().await {
            Some(ClientMessage::Announce(announce)) => announce,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, message: TrackerMessage) {
        let sent = timeout(GUARD, self.socket.send(Message::text(message.encode()))).await;
        sent.expect("room in time").expect("an open socket");
    }
}
