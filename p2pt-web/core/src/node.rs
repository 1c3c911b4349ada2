//! A node.

use std::sync::Arc;

use bytes::Bytes;
use p2pt::trust::{MemoryStore, TrustStore as _};
use p2pt::{AnnounceUrl, Frame, InfoHash};

use crate::cancel::Cancels;
use crate::content::message_id;
use crate::options::{Options, peer_id, time};
use crate::peers::{Known, Peers};
use crate::sending::urgency;
use crate::stream::code;
use crate::trust::{public_key, swarm_key};
use crate::{Content, Fault, Messages, Outgoing, Received, Sending, Stream, Swarm, state, trust};

/// A node: one peer id, one socket to each tracker, and any number of swarms. Clones mean the same node.
#[derive(Debug, Clone)]
pub struct Node {
    node: p2pt::Node,
    peers: Arc<Peers>,
    cancels: Cancels,
    pins: Arc<MemoryStore>,
}

impl Node {
    /// Starts a node with these settings ([`Options::from_json`]).
    ///
    /// # Errors
    /// `invalid_option`, `invalid_announce_url`, `invalid_id`, `invalid_key`; `start_failed`: there is no transport here,
    /// such as in a worker of a browser.
    pub async fn start(options: &str) -> Result<Self, Fault> {
        Self::start_with(Options::from_json(options)?.into_builder()).await
    }

    async fn start_with((builder, pins): (p2pt::Builder, Arc<MemoryStore>)) -> Result<Self, Fault> {
        Ok(Self { node: builder.start().await?, peers: Arc::default(), cancels: Cancels::default(), pins })
    }

    /// The node's id, 40 hexadecimal digits.
    pub fn peer_id(&self) -> String {
        self.node.peer_id().to_string()
    }

    /// The node's public key, 52 letters; `None` if it was given a peer id.
    pub fn public_key(&self) -> Option<String> {
        self.node.public_key().map(|key| key.to_string())
    }

    /// Joins a swarm. What names it depends on the kind: with `identifier` the key is an identifier; with `infoHash` it is 40
    /// hexadecimal digits; with `sealed` and `hidden` it is the link to a room, or with a secret, which is a passphrase, the
    /// room's identifier; with `shows` and `types` it is a code. To stretch a passphrase takes some hundred milliseconds.
    ///
    /// # Errors
    /// `already_joined`, `stopped`; `invalid_id`: that is no info hash; `invalid_secret`: it is no link, passphrase or code;
    /// `no_key`: a code takes a key, and the node was given a peer id.
    pub async fn join(&self, key: String, kind: &str, secret: Option<String>) -> Result<Swarm, Fault> {
        let (swarm, events) = self.node.join(swarm_key(key, kind, secret).await?).await?;
        Ok(Swarm::new(swarm, events, self.peers.clone(), self.cancels.clone()))
    }

    /// Adds a tracker, for all swarms, and returns its URL as events and [`trackers`](Self::trackers) have it: several ways
    /// to write one mean the same tracker.
    ///
    /// # Errors
    /// `invalid_announce_url`, `stopped`.
    pub async fn add_tracker(&self, url: &str) -> Result<String, Fault> {
        self.node.add_tracker(url).await?;
        Ok(url.parse().map_or_else(|_| url.to_owned(), |url: AnnounceUrl| url.to_string()))
    }

    /// Leaves a tracker; says whether the node had it.
    ///
    /// # Errors
    /// `invalid_announce_url`, `stopped`.
    pub async fn remove_tracker(&self, url: &str) -> Result<bool, Fault> {
        Ok(self.node.remove_tracker(url).await?)
    }

    /// The trackers and their states, as JSON.
    pub fn trackers(&self) -> String {
        state::trackers(&self.node)
    }

    /// What the node has counted, as JSON.
    pub fn metrics(&self) -> String {
        state::metrics(&self.node)
    }

    /// Keeps a peer away, by its id.
    ///
    /// # Errors
    /// `invalid_id`, `stopped`.
    pub async fn ban(&self, id: &str) -> Result<(), Fault> {
        Ok(self.node.ban(peer_id(id)?).await?)
    }

    /// Lifts a ban; says whether there was one.
    ///
    /// # Errors
    /// `invalid_id`.
    pub fn unban(&self, id: &str) -> Result<bool, Fault> {
        Ok(self.node.unban(&peer_id(id)?))
    }

    /// Pins a public key under a name.
    ///
    /// # Errors
    /// `invalid_key`; `already_pinned`: the name has another key or the key another name; `invalid_option`: the name is empty,
    /// too long or has control characters; `stopped`.
    pub async fn pin(&self, name: &str, key: &str) -> Result<(), Fault> {
        Ok(self.node.pin(name, &public_key(key)?).await?)
    }

    /// Takes the pin of a name away, and says which key it had.
    ///
    /// # Errors
    /// `stopped`.
    pub async fn unpin(&self, name: &str) -> Result<Option<String>, Fault> {
        Ok(self.node.unpin(name).await?.map(|key| key.to_string()))
    }

    /// The pins, as JSON: an object of public keys by name.
    pub fn pins(&self) -> String {
        let pins = self.pins.pins().into_iter().map(|pin| (pin.name, pin.key.to_string().into()));
        state::text(&pins.collect::<serde_json::Map<_, _>>())
    }

    /// Who a peer is, as JSON: its `publicKey`, its `trust` and its `safetyCode`. `None`, if it is gone.
    pub fn known(&self, peer: u32) -> Option<String> {
        self.peers.get(peer).ok().map(|known| trust::known(&known.peer))
    }

    /// How far a peer is known as the one that is pinned under a name, as JSON. `None`, if it is gone.
    pub fn trust_as(&self, peer: u32, name: &str) -> Option<String> {
        self.peers.get(peer).ok().map(|known| trust::trust_as(&known.peer, name))
    }

    /// Ends the node in order.
    pub async fn shutdown(&self) {
        self.node.shutdown().await;
    }

    /// Ends a wait that was begun with this ticket, which fails with `aborted` if it is not over.
    pub fn cancel(&self, ticket: u32) {
        self.cancels.cancel(ticket);
    }

    /// Sends a message to a peer. What was sent to it before leaves first. With the id of another message it is the response
    /// to that.
    ///
    /// # Errors
    /// `peer_gone`, `queue_full`, `node_full`, `too_large`; `invalid_json` and `invalid_id`: what was given as JSON is
    /// none. What fails later is an error of the [`Sending`], such as `no_bytes`: the peer takes no messages of bytes.
    pub fn send(&self, peer: u32, content: Content, id: Option<&str>) -> Result<Sending, Fault> {
        let known = self.peers.get(peer)?;
        let bytes = content.len();
        let payload = content.into_payload()?;
        let pending = match id {
            Some(id) => known.peer.queue_response_confirmed(message_id(id)?, payload)?,
            None => known.peer.queue_confirmed(payload)?,
        };
        Ok(Sending::new(pending, known, bytes))
    }

    /// Sends a message as [`send`](Self::send) does, to be watched and taken back, and perhaps to be acknowledged; with an
    /// urgency, 0 (the most urgent) to 7, unless it is a response.
    ///
    /// # Errors
    /// Those of `send`; `invalid_option`: there is no such urgency.
    pub fn post(
        &self,
        peer: u32,
        content: Content,
        id: Option<&str>,
        urgency_number: Option<u8>,
        acknowledged: bool,
    ) -> Result<Outgoing, Fault> {
        let urgency = urgency(urgency_number)?;
        let known = self.peers.get(peer)?;
        let bytes = content.len();
        let payload = content.into_payload()?;
        let pending = match id {
            Some(id) => known.peer.queue_response_confirmed(message_id(id)?, payload)?,
            None => known.peer.message(payload).urgency(urgency).queue()?,
        };
        let sending = Sending::new(pending, known, bytes);
        Ok(Outgoing::new(sending, bytes, acknowledged))
    }

    /// Sends one frame as it is, in its turn.
    ///
    /// # Errors
    /// `peer_gone`, `queue_full`, `node_full`, `looks_like_message`.
    pub fn send_frame(&self, peer: u32, frame: Frame) -> Result<Sending, Fault> {
        let known = self.peers.get(peer)?;
        let bytes = frame.len();
        Ok(Sending::new(known.peer.queue_frame_confirmed(frame)?, known, bytes))
    }

    /// Asks a peer, in its turn, and waits for the response. With the id of another message the question is the response
    /// to that. The deadline in milliseconds is that of the node's settings unless given.
    ///
    /// # Errors
    /// Those of [`send`](Self::send), `request_timeout`, `inbox_full`, `replaced`, `too_many_requests`, `aborted`.
    pub fn request(
        &self,
        peer: u32,
        content: Content,
        id: Option<&str>,
        timeout: Option<f64>,
        ticket: Option<u32>,
    ) -> impl Future<Output = Result<Received, Fault>> + Send + 'static {
        // Queued by now, so that the order is that of the calls.
        let pending = self.ask(peer, content, id, timeout);
        let cancellable = self.cancels.register(ticket);
        async move {
            let pending = pending?;
            cancellable.wait(async { Ok(Received::new(pending.await?)) }).await
        }
    }

    fn ask(
        &self,
        peer: u32,
        content: Content,
        id: Option<&str>,
        timeout: Option<f64>,
    ) -> Result<p2pt::PendingResponse, Fault> {
        let known = self.peers.get(peer)?;
        let payload = content.into_payload()?;
        let mut request = match id {
            Some(id) => known.peer.request_in_response_to(message_id(id)?, payload),
            None => known.peer.request(payload),
        };
        if let Some(millis) = timeout {
            request = request.timeout(time("timeout", millis)?);
        }
        Ok(request.queue()?)
    }

    /// How many bytes were sent to a peer that no channel has taken yet. Nothing, if the peer is gone.
    pub fn buffered(&self, peer: u32) -> usize {
        self.peers.get(peer).map_or(0, |known| known.buffered())
    }

    /// How many connections to a peer are open.
    pub fn connection_count(&self, peer: u32) -> usize {
        self.peers.get(peer).map_or(0, |known| known.peer.connection_count())
    }

    /// The connections to a peer, as JSON: none if it is gone.
    pub fn stats(&self, peer: u32) -> impl Future<Output = String> + Send + 'static {
        let known = self.peers.get(peer);
        async move {
            match known {
                Ok(known) => state::connections(known.peer.connection_stats().await),
                Err(_) => "[]".to_owned(),
            }
        }
    }

    /// Lets what was sent leave, and ends all connections to a peer, which is told the code and the text. Does nothing if it
    /// is gone.
    pub fn leave(&self, peer: u32, number: f64, text: String) -> impl Future<Output = ()> + Send + 'static {
        let known = self.peers.get(peer);
        async move {
            if let Ok(known) = known {
                known.peer.leave(code(number), &text).await;
            }
        }
    }

    /// Opens a stream to a peer, with bytes that say what it is and an urgency, 0 to 7. Waits while as many are open as may
    /// be.
    ///
    /// # Errors
    /// `no_streams`: the peer has none; `metadata_too_large`, `invalid_option`, `peer_gone`, `aborted`.
    pub fn open_stream(
        &self,
        peer: u32,
        metadata: Bytes,
        urgency_number: Option<u8>,
        ticket: Option<u32>,
    ) -> impl Future<Output = Result<Stream, Fault>> + Send + 'static {
        let known = self.peers.get(peer);
        let cancellable = self.cancels.register(ticket);
        async move {
            let (known, urgency) = (known?, urgency(urgency_number)?);
            let open = async { known.peer.open_stream_with(metadata, urgency).await.map_err(Fault::from) };
            cancellable.wait(open).await.map(Stream::new)
        }
    }

    /// Takes the messages of a peer out of the events of its swarm.
    ///
    /// # Errors
    /// `peer_gone`.
    pub fn messages(&self, peer: u32) -> Result<Messages, Fault> {
        let known: Arc<Known> = self.peers.get(peer)?;
        Ok(Messages::new(peer, known.peer.messages()))
    }

    /// Starts a node with the transport of a builder, for tests.
    #[cfg(test)]
    pub(crate) async fn start_over(builder: p2pt::Builder, options: &str) -> Result<Self, Fault> {
        Self::start_with(Options::over(builder, options)?.into_plain_builder()).await
    }

    #[cfg(test)]
    pub(crate) fn known_peers(&self) -> usize {
        self.peers.len()
    }
}

/// The info hash of an identifier, 40 hexadecimal digits.
pub fn info_hash_of(identifier: &str) -> String {
    InfoHash::of(identifier).to_string()
}
