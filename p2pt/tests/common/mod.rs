//! Two nodes in memory: a tracker behind in-memory streams, and the memory transport.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use p2pt::{AnnounceUrl, Builder, Event, Events, P2pt, Peer, PeerId, Swarm, Transport};
use p2pt_tracker::{ConnectError, Connector, Family, ServerConfig, Socket, TrackerService};
use p2pt_transport::memory::{MemoryNetwork, MemoryTransport};
use tokio::time::timeout;

/// A guard against hanging, not a measurement.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Where the tracker is.
pub(crate) const TRACKER: &str = "ws://tracker.test";

/// How much a stream to the tracker buffers, in bytes.
const STREAM_BYTES: usize = 64 << 10;

#[derive(Debug)]
struct InMemory(TrackerService);

#[async_trait]
impl Connector for InMemory {
    async fn connect(&self, url: &AnnounceUrl, _family: Option<Family>) -> Result<Socket, ConnectError> {
        let (near, far) = tokio::io::duplex(STREAM_BYTES);
        tokio::spawn(self.0.serve(far));
        Socket::handshake(url, near).await
    }
}

/// A tracker and a network.
#[derive(Debug)]
pub(crate) struct Place {
    tracker: TrackerService,
    network: MemoryNetwork,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { tracker: TrackerService::new(ServerConfig::default()), network: MemoryNetwork::new(1) }
    }

    pub(crate) fn transport(&self) -> Arc<MemoryTransport> {
        self.network.transport()
    }

    /// A node with this id and transport.
    pub(crate) fn builder(&self, id: u8, transport: Arc<dyn Transport>) -> Builder {
        let connector = Arc::new(InMemory(self.tracker.clone()));
        P2pt::builder().peer_id(PeerId::from([id; 20])).tracker(TRACKER).transport(transport).connector(connector)
    }

    /// Two nodes, with the ids 1 and 2, that have met.
    pub(crate) async fn pair(&self) -> (Member, Member) {
        let [one, two] = [1, 2].map(|id| self.builder(id, self.transport()).join("room"));
        let (one, two) = (one.await.expect("a node starts"), two.await.expect("a node starts"));
        let met = async { tokio::join!(Member::met(one), Member::met(two)) };
        timeout(DEADLINE, met).await.expect("they meet")
    }
}

/// A node that has met a peer.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) swarm: Swarm,
    pub(crate) events: Events,
    /// The other one.
    pub(crate) peer: Peer,
}

impl Member {
    pub(crate) async fn met((swarm, mut events): (Swarm, Events)) -> Self {
        loop {
            if let Event::PeerConnected(peer) = events.next().await.expect("the node lives") {
                return Self { swarm, events, peer };
            }
        }
    }
}
