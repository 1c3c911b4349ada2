//! Building a node.

mod trust;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(feature = "webrtc")]
use crate::platform::{WebRtc, WebRtcConfig};
#[cfg(feature = "metrics")]
use futures_util::FutureExt as _;
use p2pt_mesh::mesh::MeshConfig;
use p2pt_messaging::Limits;
use p2pt_proto::PeerId;
use p2pt_tracker::{AnnounceUrl, ClientConfig, Connector, WebSocketConnector};
use p2pt_transport::Transport;
use p2pt_trust::{NodeIdentity, NodeKey, Policy};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error_span};

use crate::accounts::{Accounts, Memory};
use crate::admission::{Admission, Filters};
use crate::counters::Counters;
use crate::engine::{Engine, Parts};
use crate::handshake::Handshake;
use crate::node::{NodeHandle, NodeShared};
use crate::settings::{PeerConfig, Settings};
use crate::trust::{NodeTrust, TrustConfig};
use crate::{Events, Node, NodeError, PeerRequest, StartError, Swarm, SwarmKey};

/// Peers kept in each swarm unless configured: a browser holds some hundred connections, and each costs some 30 KB.
const MAX_PEERS: usize = 100;

/// What is counted for a message besides its text and the places of its chunks, at most.
const MESSAGE_OVERHEAD: usize = 4096;

/// Where every program starts: [`P2pt::builder`] configures a node, and [starts](Builder::start) it or [joins a
/// swarm](Builder::join) with it at once.
#[derive(Debug)]
pub enum P2pt {}

impl P2pt {
    /// Starts to build a node.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// Configures a node, and starts it.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    trackers: Vec<String>,
    transport: Option<Arc<dyn Transport>>,
    #[cfg(feature = "webrtc")]
    webrtc: WebRtcConfig,
    connector: Arc<dyn Connector>,
    client: ClientConfig,
    peer_id: Option<PeerId>,
    trust: TrustConfig,
    seed: Option<u64>,
    mesh: MeshConfig,
    filters: Filters,
    handshake: Option<Handshake>,
    peers: PeerConfig,
    #[cfg(feature = "testing")]
    pub(crate) place: Option<Arc<crate::testing::Place>>,
}

impl Builder {
    fn new() -> Self {
        Self {
            trackers: Vec::new(),
            transport: None,
            #[cfg(feature = "webrtc")]
            webrtc: WebRtcConfig::default(),
            connector: Arc::new(WebSocketConnector::default()),
            client: ClientConfig::default(),
            peer_id: None,
            trust: TrustConfig::default(),
            seed: None,
            mesh: MeshConfig { connections_per_peer: 1, max_peers: MAX_PEERS },
            filters: Filters::default(),
            handshake: None,
            peers: PeerConfig::default(),
            #[cfg(feature = "testing")]
            place: None,
        }
    }

    /// Adds a tracker by its announce URL, `ws://…` or `wss://…`.
    ///
    /// No tracker is built in. A node without one starts all the same, and meets no peer until one is
    /// [added](Node::add_tracker); the log warns of it when such a node joins a swarm.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// let (_swarm, _events) = p2pt::P2pt::builder()
    ///     .tracker("wss://tracker.openwebtorrent.com")
    ///     .tracker("wss://tracker.webtorrent.dev") // peers meet at any that they share
    /// # .transport(world.network().transport())
    ///     .join("my-app")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tracker(mut self, url: impl Into<String>) -> Self {
        self.trackers.push(url.into());
        self
    }

    /// Adds several trackers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// const TRACKERS: [&str; 2] = ["wss://tracker.openwebtorrent.com", "wss://tracker.webtorrent.dev"];
    /// let builder = p2pt::P2pt::builder().trackers(TRACKERS);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trackers<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.trackers.extend(urls.into_iter().map(Into::into));
        self
    }

    /// Uses another transport than WebRTC. The node shuts it down when it ends, so give each node its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// // Another transport than WebRTC: here the one in memory.
    /// let network = p2pt::transport::memory::MemoryNetwork::new(7);
    /// let builder = p2pt::P2pt::builder().transport(network.transport());
    /// # Ok(())
    /// # }
    /// ```
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Configures the WebRTC transport; without effect if [`transport`](Self::transport) is used.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use p2pt::{IceServer, WebRtcConfig};
    ///
    /// let webrtc = WebRtcConfig::default()
    ///     .ice_servers([IceServer::stun("stun:stun.example"), IceServer::turn("turn:turn.example", "me", "secret")])
    ///     .port(40_000); // and the seven after it, for a firewall
    /// let builder = p2pt::P2pt::builder().webrtc(webrtc);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "webrtc")]
    pub fn webrtc(mut self, config: WebRtcConfig) -> Self {
        self.webrtc = config;
        self
    }

    /// Reaches trackers another way: by a [`WebSocketConnector`] with headers (`Origin`), a proxy or root certificates, or
    /// one that follows redirects, or in tests without a network.
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// Configures how trackers are talked to.
    pub fn client_config(mut self, config: ClientConfig) -> Self {
        self.client = config;
        self
    }

    /// Uses this id instead of the one that follows from the node's key. Such a node signs nothing, and others see it as a
    /// peer without a key. Two live nodes must never share one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// // For tests; otherwise each run draws its own, and no two nodes may have the same.
    /// let (swarm, _events) = world.builder().peer_id(p2pt::PeerId::from([7; 20])).join("room").await?;
    /// assert_eq!(swarm.peer_id().to_string(), "07".repeat(20));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_id(mut self, peer_id: PeerId) -> Self {
        self.peer_id = Some(peer_id);
        self
    }

    /// Decides everything the node leaves to chance - its peer id, the ids of offers and messages, and the times of its
    /// trackers' clients, unless these are set - so that a simulation can be repeated as nearly as its runtime allows.
    /// Drawn at random unless configured. Two live nodes must never share one, and ids are only as hard to guess as it. So are
    /// its key, unless that is given, and what protects rooms, codes and safety codes: a seed is for simulations alone.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Connections kept to each peer, at least 1, which is the default. With two, messages go on over the other when one
    /// fails; a peer that allows fewer keeps fewer, and is asked for more only in its first ten minutes.
    pub fn connections_per_peer(mut self, channels: usize) -> Self {
        self.mesh.connections_per_peer = channels.max(1);
        self
    }

    /// Peers kept in each swarm (100 unless configured). Above it, offers are neither made nor answered; nor are they
    /// while as many peers have gone again whose `PeerClosed` was not read. The transport bounds the connections of all
    /// swarms together; with WebRTC that is `WebRtcConfig::max_connections`, 256 unless configured.
    ///
    /// Offers that wait for their answers take no place of a connection, in however many swarms and at however many
    /// trackers they wait. Where the transport holds no more of them, those for trackers without a socket give way,
    /// then those of swarms that want none, and the swarms share what is left.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// let (_swarm, _events) = world.builder().max_peers(20).join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.mesh.max_peers = peers;
        self
    }

    /// Asks the application about each peer before it is connected to, in every swarm of the node: before an offer is
    /// answered, and when one of this node's has been answered. A peer that is not admitted learns nothing of it. With
    /// several filters all must agree; a [ban](Node::ban) comes before them.
    ///
    /// The node waits for the filter with everything but messages, so it must be quick and must not block. One that
    /// panics has not admitted its peer; the panic goes no further, and an error is logged.
    ///
    /// A peer id is that of the request's key if there is one, which the peer has yet to prove; without a key it is a claim
    /// that nothing proves. [`PeerRequest::public_key`] says which.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// // WebTorrent clients begin their ids so; they seek files.
    /// let builder = world.builder().admit(|request| !request.peer_id.as_bytes().starts_with(b"-WW"));
    /// let (_swarm, _events) = builder.join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn admit(mut self, filter: impl Fn(&PeerRequest) -> bool + Send + Sync + 'static) -> Self {
        self.filters.add(Arc::new(filter));
        self
    }

    /// [Admits](Self::admit) the peers with these ids only. An id of a node with a key is another one in each run, and one that is
    /// [given](Self::peer_id) proves nothing: peers that are known are admitted by key, with a [policy](Self::policy).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// let friends: Vec<p2pt::PeerId> = vec!["77e0".repeat(10).parse()?];
    /// let (_swarm, _events) = world.builder().allow(friends).join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow(self, peers: impl IntoIterator<Item = PeerId>) -> Self {
        let allowed: BTreeSet<PeerId> = peers.into_iter().collect();
        self.admit(move |request| allowed.contains(&request.peer_id))
    }

    /// Bytes of unread messages kept for each peer (1 MiB unless configured), and again of responses that the application
    /// has not taken. A peer that sends more waits; a single larger message is still delivered, alone. See
    /// [`receive_memory`](Self::receive_memory) for all peers together.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// // For many peers on a small machine: 256 KiB each.
    /// let (_swarm, _events) = world.builder().inbox_bytes(256 << 10).join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.peers.inbox_bytes = bytes;
        self
    }

    /// How long a request waits for its response (30 s unless configured); a single request can override it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use std::time::Duration;
    ///
    /// let (_swarm, _events) = world.builder().request_timeout(Duration::from_secs(5)).join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_timeout(mut self, deadline: Duration) -> Self {
        self.peers.request_timeout = deadline;
        self
    }

    /// How long a send waits while the other side takes nothing at all (30 s unless configured).
    pub fn send_timeout(mut self, deadline: Duration) -> Self {
        self.peers.send_timeout = deadline;
        self
    }

    /// Bytes that may be queued for each peer by [`Peer::queue`](crate::Peer::queue) and wait for its channel (8 MiB
    /// unless configured); a single larger message is still queued, alone. See [`send_memory`](Self::send_memory) for all
    /// peers together.
    pub fn send_queue_bytes(mut self, bytes: usize) -> Self {
        self.peers.send_queue_bytes = bytes;
        self
    }

    /// Bytes of memory that all peers of the node together may make it hold of what they send: incomplete messages,
    /// unread ones, and responses that were not taken (256 MiB unless configured, which takes two messages of the largest
    /// size beside the inboxes of 100 peers).
    ///
    /// Half of it is shared out among [`max_peers`](Self::max_peers) peers, and what one peer holds never takes from the
    /// share of another. The other half is for what is beyond the shares. When it is used up, the greediest peer pays, the
    /// one that holds most beyond its share: its largest incomplete message is given up
    /// ([`ReceiveError::NodeFull`](crate::ReceiveError::NodeFull)). Where none is to be given up, what comes waits until
    /// the application has read. The peer learns of neither.
    ///
    /// In several swarms, a node may meet more peers than there are shares; those that come later have none.
    pub fn receive_memory(mut self, bytes: usize) -> Self {
        self.peers.receive_memory = bytes;
        self
    }

    /// Bytes that may be [queued](crate::Peer::queue) for all peers of the node together (256 MiB unless configured). Half
    /// of it is shared out, as of [`receive_memory`](Self::receive_memory); when the other half is used up, a peer that
    /// has queued its share gets no more queued ([`QueueError::NodeFull`](crate::QueueError::NodeFull)). What
    /// [`Swarm::queue_all`](crate::Swarm::queue_all) queues counts once, for as long as any peer has not taken it.
    pub fn send_memory(mut self, bytes: usize) -> Self {
        self.peers.send_memory = bytes;
        self
    }

    /// How long what is queued may take to leave when a peer is disconnected, a swarm left, or the node shut down (5 s
    /// unless configured).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use std::time::Duration;
    ///
    /// // What is queued is not worth waiting for.
    /// let (_swarm, _events) = world.builder().flush_timeout(Duration::ZERO).join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.peers.flush_timeout = timeout;
        self
    }

    /// How long a peer that speaks p2pt/2 may take to come back when its last connection has failed, before it is reported
    /// [closed](crate::Event::PeerClosed) (5 s unless configured; with zero at once). Messages, requests and streams go on with
    /// the next connection as if nothing had been, and what is sent meanwhile waits. A peer that leaves, or whose program
    /// ends in order, is reported at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use std::time::Duration;
    ///
    /// // Phones that change networks.
    /// let (_swarm, _events) = world.builder().reconnect_within(Duration::from_secs(30)).join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconnect_within(mut self, time: Duration) -> Self {
        self.peers.reconnect_within = time;
        self
    }

    /// Whether p2pt/2 is spoken with peers that speak it, too (yes unless configured): messages of bytes, acknowledgements,
    /// urgency and streams. Without it, peers are spoken to as the JavaScript p2pt does.
    pub fn p2pt2(mut self, is_spoken: bool) -> Self {
        self.peers.p2pt2 = is_spoken;
        self
    }

    /// Bounds on what a peer's incoming messages may take: those of the codec hold for each of its channels, and
    /// [`max_held_bytes`](Limits#structfield.max_held_bytes) for all of them together. The largest message holds for
    /// sending too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use p2pt::Limits;
    ///
    /// // No message of this application is longer than a page.
    /// let limits = Limits::default().max_message_bytes(4 << 10);
    /// let (_swarm, _events) = world.builder().limits(limits).join("room").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.peers.limits = limits;
        self
    }

    /// Starts the node, in no swarm yet. Must be called within a tokio runtime; returns at once, trackers are reached
    /// in the background.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// let node = world.builder().start().await?;
    /// let (red, _red_events) = node.join("red").await?;
    /// let (blue, _blue_events) = node.join("blue").await?;
    /// assert_eq!(red.peer_id(), blue.peer_id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    #[expect(clippy::unused_async, reason = "being async says that it needs a runtime, and leaves room to wait")]
    pub async fn start(self) -> Result<Node, StartError> {
        if !p2pt_rt::is_running() {
            return Err(StartError::NoRuntime);
        }
        let mut urls = Vec::with_capacity(self.trackers.len());
        for url in &self.trackers {
            let parsed: Result<AnnounceUrl, _> = url.parse();
            urls.push(parsed.map_err(|error| StartError::AnnounceUrl { url: url.clone(), error })?);
        }
        self.check_memory()?;
        let TrustConfig { key, policy, agreement } = self.trust;
        if self.peer_id.is_some() && (key.is_some() || policy != Policy::Open || agreement > 1) {
            return Err(StartError::PeerIdWithKey);
        }
        let transport = match self.transport {
            Some(transport) => transport,
            #[cfg(feature = "webrtc")]
            None => Arc::new(WebRtc::new(self.webrtc)?),
            #[cfg(not(feature = "webrtc"))]
            None => return Err(StartError::NoTransport),
        };
        let mut rng: StdRng = self.seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        let (peer_id, identity) = match self.peer_id {
            Some(peer_id) => (peer_id, None),
            None => {
                let identity = NodeIdentity::new(key.unwrap_or_else(|| NodeKey::draw(&mut rng)), &mut rng);
                (identity.peer_id(), Some(identity))
            }
        };
        let (sender, commands) = mpsc::channel(64);
        let message_ids = Mutex::new(StdRng::from_rng(&mut rng));
        let (events_taken, counters) = (AtomicU64::new(0), Arc::<Counters>::default());
        let pins = self.peers.pins.clone();
        let settings = Settings {
            accounts: Accounts::new(&self.peers, self.mesh.max_peers, &counters),
            config: self.peers,
            message_ids,
            events_taken,
            counters: counters.clone(),
            commands: sender.clone(),
        };
        let shared = Arc::new(NodeShared {
            peer_id,
            trackers: Default::default(),
            admission: Arc::new(Admission::new(self.filters)),
            trust: Arc::new(NodeTrust::new(identity, policy, agreement)),
            pins,
            counters,
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            #[cfg(feature = "testing")]
            place: self.place,
        });
        let parts = Parts {
            shared: shared.clone(),
            transport,
            connector: self.connector,
            client_config: self.client,
            mesh: self.mesh,
            handshake: self.handshake,
            settings: Arc::new(settings),
            rng,
        };
        let span = error_span!("node", id = %shared.peer_id);
        let engine = span.in_scope(|| {
            debug!(trackers = urls.len(), "the node starts");
            let mut engine = Engine::new(parts, commands);
            urls.into_iter().for_each(|url| engine.add_tracker(url));
            engine
        });
        let run = engine.run();
        #[cfg(feature = "metrics")]
        let run = futures_util::future::join(run, crate::counters::publish::run(shared.clone())).map(drop);
        p2pt_rt::spawn(run.instrument(span));
        Ok(Node { handle: NodeHandle::new(shared, sender) })
    }

    /// Whether a message of the largest size, and a frame, can be held beside the shares of all peers.
    fn check_memory(&self) -> Result<(), StartError> {
        let limits = &self.peers.limits;
        // The places of chunks double as the text does.
        let book_keeping = 2 * size_of::<usize>() * limits.max_chunks as usize + MESSAGE_OVERHEAD;
        let message = limits.max_message_bytes.max(limits.max_frame_bytes).saturating_add(MESSAGE_OVERHEAD);
        let settings = [
            ("receive_memory", self.peers.receive_memory, message.saturating_add(book_keeping)),
            ("send_memory", self.peers.send_memory, message),
        ];
        for (setting, bytes, largest) in settings {
            if Memory::for_all(bytes, self.mesh.max_peers) < largest {
                return Err(StartError::Memory { setting, bytes, least: largest.saturating_mul(2) });
            }
        }
        Ok(())
    }

    /// Starts the node and joins a swarm, in one expression: what a program with one swarm needs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// let (swarm, mut events) = world.builder().join("my-app").await?;
    /// # let (_other, _other_events) = world.join("my-app").await;
    /// while let Some(event) = events.next().await {
    ///     if let p2pt::Event::PeerConnected(peer) = event {
    ///         peer.queue("hello")?;
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn join(self, key: impl Into<SwarmKey>) -> Result<(Swarm, Events), StartError> {
        self.start().await?.join(key).await.map_err(|error| match error {
            NodeError::NoKey => StartError::PeerIdWithKey,
            // A node that has just been started is in no swarm, so it can only have stopped.
            _ => StartError::Stopped,
        })
    }
}
