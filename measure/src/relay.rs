//! This workspace's tracker behind a relay that sees, and may change, what goes through it.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use p2pt_tracker::{ServerConfig, TrackerServer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, client_async};

/// What a relay does with each message.
pub trait Handler: Send + Sync + 'static {
    /// Looks at a message of a client, which is then passed on if it is text.
    fn sent_by_client(&self, _message: &Message) {}

    /// Looks at a message of the tracker, and returns the text that its client gets in its place, if any.
    fn sent_by_tracker(&self, message: Message) -> Option<Message>;
}

/// A tracker with the settings of [`ServerConfig::default`], behind a relay. Both end when it is dropped.
#[derive(Debug)]
pub struct RelayedTracker {
    url: String,
    _relay: JoinSet<()>,
}

impl RelayedTracker {
    /// Starts one on a free port of this address.
    ///
    /// # Errors
    /// If there is no such port.
    pub async fn start(address: Ipv4Addr, handler: Arc<impl Handler>) -> io::Result<Self> {
        let server = TrackerServer::bind((Ipv4Addr::LOCALHOST, 0), ServerConfig::default()).await?;
        let listener = TcpListener::bind((address, 0)).await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let mut relay = JoinSet::new();
        relay.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(tracker) = TcpStream::connect(server.local_addr()).await else { return };
                let handler = Arc::clone(&handler);
                connections.spawn(async move { relay_one(client, tracker, &*handler).await.err() });
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
async fn relay_one(client: TcpStream, tracker: TcpStream, handler: &impl Handler) -> Result<(), Error> {
    let client = accept_async(client).await?;
    let (tracker, _) = client_async("ws://tracker/", tracker).await?;
    let (mut to_client, mut from_client) = client.split();
    let (mut to_tracker, mut from_tracker) = tracker.split();
    loop {
        tokio::select! {
            message = from_client.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                handler.sent_by_client(&message);
                if message.is_text() { to_tracker.send(message).await?; }
            }
            message = from_tracker.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                if let Some(message) = handler.sent_by_tracker(message) { to_client.send(message).await?; }
            }
        }
    }
}
