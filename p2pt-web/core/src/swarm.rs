//! A swarm, and where its events come from.

use std::fmt;
use std::sync::Arc;

use p2pt::{Events, Swarm as Joined, TryNextError};
use tokio::sync::Mutex;

use crate::cancel::Cancels;
use crate::item::item;
use crate::peers::{Members, Peers};
use crate::trust::swarm_key;
use crate::{Batch, Content, Fault, Item, Received, state};

/// How many events are handed out at a time at most. One call from JavaScript then costs little beside what it brings.
const MAX_BATCH: usize = 256;

/// How many bytes of messages and frames are handed out at a time, but for the last of them. What was handed out does not
/// hold the peer up any more, so this is kept as small as an inbox.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// A swarm that a node has joined. Clones mean the same swarm. With the last of them the numbers of its peers mean nothing any
/// more, so a binding keeps one for as long as it knows a peer.
#[derive(Clone)]
pub struct Swarm {
    swarm: Joined,
    /// One at a time waits for events.
    events: Arc<Mutex<Events>>,
    peers: Arc<Members>,
    cancels: Cancels,
}

impl fmt::Debug for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Swarm").field(&self.swarm).finish()
    }
}

impl Swarm {
    pub(crate) fn new(swarm: Joined, events: Events, peers: Arc<Peers>, cancels: Cancels) -> Self {
        let peers = Arc::new(Members::new(peers));
        Self { swarm, events: Arc::new(Mutex::new(events)), peers, cancels }
    }

    /// The swarm's info hash, 40 hexadecimal digits.
    pub fn info_hash(&self) -> String {
        self.swarm.info_hash().to_string()
    }

    /// What its members share, unless it was joined by its info hash.
    pub fn identifier(&self) -> Option<String> {
        self.swarm.identifier()
    }

    /// The next events: one at least, and as many more as are there. None after the last one, when the swarm was left or
    /// the node shut down. While this is not called, peers are held up that have sent as much as the node keeps for them.
    pub async fn next(&self) -> Batch {
        let mut events = self.events.lock().await;
        let Some(first) = events.next().await else { return Batch::new() };
        let first = item(first, &self.peers);
        let mut bytes = bytes_of(&first);
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            match events.try_next() {
                Ok(event) => {
                    let next = item(event, &self.peers);
                    bytes += bytes_of(&next);
                    batch.push(next);
                }
                Err(TryNextError::Empty | TryNextError::Ended) => break,
            }
        }
        batch
    }

    /// The peers connected now, as JSON: `[[number, id, public key or null], …]`.
    pub fn peers(&self) -> String {
        state::text(&self.swarm.peers().iter().map(|peer| self.peers.who(peer)).collect::<Vec<_>>())
    }

    /// Waits until a peer is connected, and returns one as JSON: `[number, id, public key or null]`.
    ///
    /// # Errors
    /// `stopped`, `aborted`.
    pub fn wait_for_peer(&self, ticket: Option<u32>) -> impl Future<Output = Result<String, Fault>> + Send + 'static {
        let (swarm, peers, cancellable) = (self.swarm.clone(), self.peers.clone(), self.cancels.register(ticket));
        async move {
            let wait = async {
                let peer = swarm.wait_for_peer().await?;
                Ok(state::text(&peers.who(&peer)))
            };
            cancellable.wait(wait).await
        }
    }

    /// Sends a message to all peers that are connected, and returns for which of them there was no room, as JSON:
    /// `[[number, id, public key or null, error], …]`: they may be peers of which no event has been read yet. It is held in memory once, however
    /// many they are.
    ///
    /// # Errors
    /// `invalid_json`.
    pub fn broadcast(&self, content: Content) -> Result<String, Fault> {
        let refused = self.swarm.queue_all(content.into_payload()?).into_iter();
        let refused = refused.map(|(peer, error)| {
            let (number, id, key) = self.peers.who(&peer);
            (number, id, key, Fault::from(error).to_string())
        });
        Ok(state::text(&refused.collect::<Vec<_>>()))
    }

    /// Announces to all trackers now.
    ///
    /// # Errors
    /// `stopped`.
    pub async fn request_more_peers(&self) -> Result<(), Fault> {
        Ok(self.swarm.request_more_peers().await?)
    }

    /// Announces the swarm under another name from now on, which is given as to [`Node::join`](crate::Node::join), and keeps
    /// its peers.
    ///
    /// # Errors
    /// `already_joined`, `stopped`, `invalid_id`, `invalid_secret`, `no_key`.
    pub async fn set_identifier(&self, key: String, kind: &str, secret: Option<String>) -> Result<(), Fault> {
        Ok(self.swarm.set_identifier(swarm_key(key, kind, secret).await?).await?)
    }

    /// Leaves in order; other swarms go on.
    ///
    /// # Errors
    /// `stopped`.
    pub async fn leave(&self) -> Result<(), Fault> {
        Ok(self.swarm.leave().await?)
    }
}

/// The messages of one peer, taken out of the events of its swarm. Clones mean the same.
#[derive(Debug, Clone)]
pub struct Messages {
    peer: u32,
    /// `None` once they were given back.
    messages: Arc<Mutex<Option<p2pt::Messages>>>,
    closed: Arc<tokio::sync::Notify>,
}

impl Messages {
    pub(crate) fn new(peer: u32, messages: p2pt::Messages) -> Self {
        Self { peer, messages: Arc::new(Mutex::new(Some(messages))), closed: Arc::default() }
    }

    /// The peer's number.
    pub fn peer(&self) -> u32 {
        self.peer
    }

    /// The next message; `None` after the last one, or when they were given back.
    pub async fn next(&self) -> Option<Received> {
        let mut messages = self.messages.lock().await;
        let next = tokio::select! {
            biased;
            () = self.closed.notified() => None,
            next = messages.as_mut()?.next() => next,
        };
        if next.is_none() {
            *messages = None;
        }
        next.map(Received::new)
    }

    /// Gives what comes from now on back to the events of the swarm.
    pub fn close(&self) {
        match self.messages.try_lock() {
            Ok(mut messages) => *messages = None,
            // A call waits for the next one, and gives them back.
            Err(_) => self.closed.notify_one(),
        }
    }
}

fn bytes_of(item: &Item) -> usize {
    match item {
        Item::Message { message, .. } => message.content.len(),
        Item::Data { frame, .. } => frame.len(),
        Item::Stream { stream, .. } => stream.metadata().len(),
        Item::Closed { line, .. } | Item::Other(line) => line.len(),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
