//! Swarms in one process under paused time: real nodes, the real tracker over in-memory streams with real WebSocket
//! framing, and a seeded network in place of WebRTC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use p2pt::tracker::{ConnectError, Connector, ServerConfig, Socket, TrackerService};
use p2pt::{AnnounceUrl, Builder, Events, NodeBuilder, P2pt};
use p2pt_transport::memory::{MemoryNetwork, NodeId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

/// How much a stream to a tracker buffers, in bytes.
const STREAM_BYTES: usize = 64 << 10;

/// A world: one network, any number of trackers and nodes.
#[derive(Debug)]
pub struct Sim {
    /// The network between the nodes, where faults are set.
    pub network: MemoryNetwork,
    trackers: Arc<Trackers>,
    rng: Mutex<StdRng>,
}

/// One node under one identifier.
#[derive(Debug)]
pub struct SimNode {
    /// Its handle.
    pub p2pt: P2pt,
    /// Its events.
    pub events: Events,
    /// Its name in the network.
    pub node: NodeId,
}

impl Sim {
    /// A world without trackers and nodes; the same seed draws the same ids and delays.
    pub fn new(seed: u64) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        Self { network: MemoryNetwork::new(seed), trackers: Arc::default(), rng }
    }

    /// Starts a tracker at `url`, or starts it again with its memory lost.
    pub fn start_tracker(&self, url: &str) -> TrackerService {
        let url: AnnounceUrl = url.parse().expect("an announce URL");
        let mut config = ServerConfig::default();
        config.seed = Some(self.random());
        let service = TrackerService::new(config);
        lock(&self.trackers.0).insert(url, (service.clone(), Vec::new()));
        service
    }

    /// Ends a tracker abruptly, as a crash does: its sockets just end.
    pub fn crash_tracker(&self, url: &str) {
        let url: AnnounceUrl = url.parse().expect("an announce URL");
        if let Some((_, streams)) = lock(&self.trackers.0).remove(&url) {
            streams.iter().for_each(JoinHandle::abort);
        }
    }

    /// Starts a node with one swarm.
    pub async fn start(&self, identifier: &str, trackers: &[&str]) -> SimNode {
        self.start_with(identifier, trackers, |builder| builder).await
    }

    /// Starts a node with settings of its own.
    pub async fn start_with(
        &self,
        identifier: &str,
        trackers: &[&str],
        change: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> SimNode {
        let transport = self.network.transport();
        let node = transport.node();
        let id = self.random::<[u8; 20]>().into();
        let connector = SimConnector(self.trackers.clone());
        let builder: Builder = P2pt::builder(identifier).trackers(trackers.iter().copied()).transport(transport);
        let builder = builder.configure(|node| change(node.connector(Arc::new(connector)).peer_id(id)));
        let (p2pt, events) = builder.start().await.expect("a node starts");
        SimNode { p2pt, events, node }
    }

    fn random<T>(&self) -> T
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        lock(&self.rng).random()
    }
}

type Service = (TrackerService, Vec<JoinHandle<()>>);

#[derive(Debug, Default)]
struct Trackers(Mutex<HashMap<AnnounceUrl, Service>>);

#[derive(Debug)]
struct SimConnector(Arc<Trackers>);

#[async_trait]
impl Connector for SimConnector {
    async fn connect(&self, url: &AnnounceUrl) -> Result<Socket, ConnectError> {
        let stream = {
            let mut trackers = lock(&self.0.0);
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            let (service, streams) = trackers.get_mut(url).ok_or(refused)?;
            let (near, far) = tokio::io::duplex(STREAM_BYTES);
            streams.retain(|stream| !stream.is_finished());
            streams.push(tokio::spawn(service.serve(far)));
            near
        };
        Socket::handshake(url, stream).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
