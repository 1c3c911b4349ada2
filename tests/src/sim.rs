//! Swarms in one process under paused time: real nodes, the real tracker over in-memory streams with real WebSocket
//! framing, and a seeded network in place of WebRTC.

mod emulated;
mod gate;
mod mesh;
mod underlay;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use p2pt::tracker::{ConnectError, Connector, Route, ServerConfig, Socket, TrackerService};
use p2pt::{AnnounceUrl, Builder, Events, P2pt, Swarm};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use crate::tracker_profile::{Family, ProfiledTracker, TrackerProfile};
use gate::{Gate, Gated};

pub use emulated::{Emulated, EmulatedNode};
pub use mesh::{GLANCE, is_full_mesh, is_mesh, is_one_graph, open_channels, tasks, until};
pub use p2pt_transport::memory::MemoryNetwork;
pub use underlay::Underlay;

/// Runs each scenario over both networks: the one in memory with every tracker profile, and WebRTC in an emulated one.
#[macro_export]
macro_rules! over_both_networks {
    ($($scenario:ident),+ $(,)?) => {
        mod memory {
            $(#[::tokio::test(start_paused = true)]
            async fn $scenario() {
                for profile in $crate::tracker_profile::TrackerProfile::all() {
                    super::$scenario($crate::sim::MemoryNetwork::new, profile).await;
                }
            })+
        }

        mod full_stack {
            $(#[::tokio::test(start_paused = true)]
            async fn $scenario() {
                super::$scenario($crate::sim::Emulated::usual, $crate::tracker_profile::TrackerProfile::aquatic()).await;
            })+
        }
    };
}

/// How much a stream to a tracker buffers, in bytes.
const STREAM_BYTES: usize = 64 << 10;

/// One network with any number of trackers and nodes.
#[derive(Debug)]
pub struct Sim<N: Underlay = MemoryNetwork> {
    /// The network between the nodes, where faults are set.
    pub network: N,
    trackers: Arc<Trackers>,
    gates: Mutex<BTreeMap<N::Node, Gate>>,
    rng: Mutex<StdRng>,
}

/// One node under one identifier.
#[derive(Debug)]
pub struct SimNode<N: Underlay = MemoryNetwork> {
    /// Its handle.
    pub p2pt: Swarm,
    /// Its events.
    pub events: Events,
    /// Its name in the network.
    pub node: N::Node,
}

impl Sim {
    /// A simulation without trackers and nodes; the same seed draws the same ids and delays.
    pub fn new(seed: u64) -> Self {
        Self::over(MemoryNetwork::new(seed), seed)
    }
}

impl<N: Underlay> Sim<N> {
    /// A simulation without trackers and nodes over another network; the same seed draws the same ids.
    pub fn over(network: N, seed: u64) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        Self { network, trackers: Arc::default(), gates: Mutex::default(), rng }
    }

    /// Starts a tracker at `url`, or starts it again with its memory lost.
    pub fn start_tracker(&self, url: &str) -> TrackerService {
        let mut config = ServerConfig::default();
        config.seed = Some(self.random());
        let service = TrackerService::new(config);
        self.serve(url, Server::Ours(service.clone()));
        service
    }

    /// Starts a tracker that behaves as another one does, or starts it again with its memory lost.
    pub fn start_profile(&self, url: &str, profile: TrackerProfile) -> ProfiledTracker {
        let tracker = ProfiledTracker::new(profile, self.random());
        self.serve(url, Server::Profiled(tracker.clone()));
        tracker
    }

    fn serve(&self, url: &str, server: Server) {
        self.crash_tracker(url);
        let url: AnnounceUrl = url.parse().expect("an announce URL");
        lock(&self.trackers.0).insert(url, Service { server, streams: Vec::new() });
    }

    /// Ends a tracker abruptly, as a crash does: its sockets just end.
    pub fn crash_tracker(&self, url: &str) {
        let url: AnnounceUrl = url.parse().expect("an announce URL");
        if let Some(service) = lock(&self.trackers.0).remove(&url) {
            service.streams.iter().for_each(|(_, stream)| stream.abort());
        }
    }

    /// How many sockets all trackers hold, each with a task of its own; some trackers never let go.
    pub fn sockets(&self) -> usize {
        let trackers = lock(&self.trackers.0);
        let sockets = trackers.values().flat_map(|service| &service.streams);
        sockets.filter(|(_, stream)| !stream.is_finished()).count()
    }

    /// Kills a node as `kill -9` does: its channels die silently, its sockets to trackers just end. Drop its handle too.
    pub fn kill(&self, node: N::Node) {
        self.gate(node).set_shut(true);
        self.network.kill(node);
        let gate = self.gate(node);
        for service in lock(&self.trackers.0).values() {
            let own = service.streams.iter().filter(|(of, _)| *of == gate);
            own.for_each(|(_, stream)| stream.abort());
        }
    }

    /// Stops a node as `kill -STOP` does: nothing passes between it and its peers and trackers.
    pub fn freeze(&self, node: N::Node) {
        self.gate(node).set_shut(true);
        self.network.freeze(node);
    }

    /// Lets a stopped node go on.
    pub fn thaw(&self, node: N::Node) {
        self.gate(node).set_shut(false);
        self.network.thaw(node);
    }

    /// Takes every network from a node: its channels and its sockets to trackers fall silent, and new sockets fail at
    /// once. Its timers run.
    pub fn unplug(&self, node: N::Node) {
        self.gate(node).set_offline(true);
        for other in self.others(node) {
            self.network.cut_from(node, other);
            self.network.cut_from(other, node);
        }
    }

    /// Gives it its networks back.
    pub fn plug_in(&self, node: N::Node) {
        self.gate(node).set_offline(false);
        for other in self.others(node) {
            self.network.mend_from(node, other);
            self.network.mend_from(other, node);
        }
    }

    /// Gives a node another network address, as moving to another network does: its sockets to trackers break when it
    /// next writes, and the trackers do not learn of it. Channels survive.
    pub fn change_address(&self, node: N::Node) {
        self.gate(node).change_address();
    }

    fn others(&self, node: N::Node) -> impl Iterator<Item = N::Node> {
        let all: Vec<_> = lock(&self.gates).keys().copied().filter(|other| *other != node).collect();
        all.into_iter()
    }

    fn gate(&self, node: N::Node) -> Gate {
        lock(&self.gates).entry(node).or_default().clone()
    }

    /// Starts a node with one swarm.
    pub async fn start(&self, identifier: &str, trackers: &[&str]) -> SimNode<N> {
        self.start_with(identifier, trackers, |builder| builder).await
    }

    /// Starts a node with settings of its own.
    pub async fn start_with(
        &self,
        identifier: &str,
        trackers: &[&str],
        change: impl FnOnce(Builder) -> Builder,
    ) -> SimNode<N> {
        self.start_from(&[Family::V4], identifier, trackers, change).await
    }

    /// Starts so many nodes in the same swarm, with settings of their own, one after the other and at the same time.
    pub async fn start_all(
        &self,
        count: usize,
        identifier: &str,
        trackers: &[&str],
        change: impl Fn(Builder) -> Builder,
    ) -> Vec<SimNode<N>> {
        let mut nodes = Vec::with_capacity(count);
        for _ in 0..count {
            nodes.push(self.start_with(identifier, trackers, &change).await);
        }
        nodes
    }

    /// Starts a node whose host has these address families, the preferred one first.
    pub async fn start_from(
        &self,
        families: &[Family],
        identifier: &str,
        trackers: &[&str],
        change: impl FnOnce(Builder) -> Builder,
    ) -> SimNode<N> {
        let (node, transport) = self.network.join();
        let seed = self.random();
        let families = families.to_vec();
        let connector = SimConnector { trackers: self.trackers.clone(), families, gate: self.gate(node) };
        let builder = P2pt::builder().trackers(trackers.iter().copied()).transport(transport);
        let builder = change(builder.connector(Arc::new(connector)).seed(seed));
        let (p2pt, events) = builder.join(identifier).await.expect("a node starts");
        SimNode { p2pt, events, node }
    }

    fn random<T>(&self) -> T
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        lock(&self.rng).random()
    }
}

#[derive(Debug)]
enum Server {
    Ours(TrackerService),
    Profiled(ProfiledTracker),
}

#[derive(Debug)]
struct Service {
    server: Server,
    /// Each with the gate that it passes.
    streams: Vec<(Gate, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Trackers(Mutex<BTreeMap<AnnounceUrl, Service>>);

#[derive(Debug)]
struct SimConnector {
    trackers: Arc<Trackers>,
    families: Vec<Family>,
    gate: Gate,
}

#[async_trait]
impl Connector for SimConnector {
    async fn connect(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError> {
        self.gate.passed().await?;
        let no_address = || ConnectError::Lookup(format!("no address for {family:?}"));
        let mut families = self.families.iter().copied();
        let family = families.find(|own| family.is_none_or(|family| family == *own)).ok_or_else(no_address)?;
        let stream = {
            let mut trackers = lock(&self.trackers.0);
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            let service = trackers.get_mut(url).ok_or(refused)?;
            let (stream, trackers_end) = tokio::io::duplex(STREAM_BYTES);
            let serving = match &service.server {
                Server::Ours(tracker) => tokio::spawn(tracker.serve(trackers_end)),
                Server::Profiled(tracker) => tokio::spawn(tracker.serve(trackers_end, family)),
            };
            service.streams.retain(|(_, stream)| !stream.is_finished());
            service.streams.push((self.gate.clone(), serving));
            Gated::new(stream, self.gate.clone())
        };
        let route = Route::new(family, self.families.len() > 1);
        Ok(Socket::handshake(url, stream).await?.with_route(route))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
