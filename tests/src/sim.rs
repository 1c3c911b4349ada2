//! Swarms in one process under paused time: real nodes, the real tracker over in-memory streams with real WebSocket
//! framing, and a seeded network in place of WebRTC.

mod emulated;
mod mesh;
mod underlay;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use p2pt::testing::{Trackers, Uplink};
use p2pt::{Builder, Events, P2pt, Swarm, SwarmKey};
use p2pt_tracker::{Connector, ServerConfig, TrackerService};
use p2pt_transport::Transport;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::forger::{Forger, Plan};
use crate::tracker_profile::{Family, ProfiledTracker, TrackerProfile};

pub use emulated::{Emulated, EmulatedNode};
pub use mesh::{GLANCE, is_full_mesh, is_mesh, is_one_graph, open_channels, tasks};
pub use p2pt::testing::{MemoryNetwork, until};
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

/// One network with any number of trackers and nodes.
#[derive(Debug)]
pub struct Sim<N: Underlay = MemoryNetwork> {
    /// The network between the nodes, where faults are set.
    pub network: N,
    trackers: Trackers,
    uplinks: Mutex<BTreeMap<N::Node, Uplink>>,
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
        Self { network, trackers: Trackers::new(), uplinks: Mutex::default(), rng }
    }

    /// Starts a tracker at `url`, or starts it again with its memory lost.
    pub fn start_tracker(&self, url: &str) -> TrackerService {
        let mut config = ServerConfig::default();
        config.seed = Some(self.random());
        self.trackers.start(url, config)
    }

    /// Gives a tracker another URL.
    pub fn alias(&self, url: &str, tracker: &TrackerService) {
        let serving = tracker.clone();
        self.trackers.serve(url, move |stream, _| serving.serve(stream));
    }

    /// Starts a tracker that behaves as another one does, or starts it again with its memory lost.
    pub fn start_profile(&self, url: &str, profile: TrackerProfile) -> ProfiledTracker {
        let tracker = ProfiledTracker::new(profile, self.random());
        let serving = tracker.clone();
        self.trackers.serve(url, move |stream, family| serving.serve(stream, family));
        tracker
    }

    /// Starts a malicious tracker, whose own peer is on the network as one more node. With the same seed another one has the
    /// same key.
    pub fn start_forger(&self, url: &str, plan: Plan, seed: u64) -> Forger {
        let (_, transport) = self.network.join();
        let forger = Forger::new(plan, transport, seed);
        let serving = forger.clone();
        self.trackers.serve(url, move |stream, _| serving.serve(stream));
        forger
    }

    /// Ends a tracker abruptly, as a crash does: its sockets just end.
    pub fn crash_tracker(&self, url: &str) {
        self.trackers.crash(url);
    }

    /// How many sockets all trackers hold, each with a task of its own; some trackers never let go.
    pub fn sockets(&self) -> usize {
        self.trackers.sockets()
    }

    /// Kills a node as `kill -9` does: its channels die silently, its sockets to trackers just end. Drop its handle too.
    pub fn kill(&self, node: N::Node) {
        let uplink = self.uplink(node);
        uplink.shut();
        self.network.kill(node);
        self.trackers.drop_sockets(&uplink);
    }

    /// Stops a node as `kill -STOP` does: nothing passes between it and its peers and trackers.
    pub fn freeze(&self, node: N::Node) {
        self.uplink(node).shut();
        self.network.freeze(node);
    }

    /// Lets a stopped node go on.
    pub fn thaw(&self, node: N::Node) {
        self.uplink(node).open();
        self.network.thaw(node);
    }

    /// Takes every network from a node: its channels and its sockets to trackers fall silent, and new sockets fail at
    /// once. Its timers run.
    pub fn unplug(&self, node: N::Node) {
        self.uplink(node).unplug();
        for other in self.others(node) {
            self.network.cut_from(node, other);
            self.network.cut_from(other, node);
        }
    }

    /// Gives it its networks back.
    pub fn plug_in(&self, node: N::Node) {
        self.uplink(node).open();
        for other in self.others(node) {
            self.network.mend_from(node, other);
            self.network.mend_from(other, node);
        }
    }

    /// Gives a node another network address, as moving to another network does: its sockets to trackers break when it
    /// next writes, and the trackers do not learn of it. Channels survive.
    pub fn change_address(&self, node: N::Node) {
        self.uplink(node).change_address();
    }

    /// The way of a node to the trackers, for a client that a test drives itself.
    pub fn connector(&self, node: N::Node) -> Arc<dyn Connector> {
        self.trackers.connector(&[Family::V4], &self.uplink(node))
    }

    fn others(&self, node: N::Node) -> impl Iterator<Item = N::Node> {
        let all: Vec<_> = lock(&self.uplinks).keys().copied().filter(|other| *other != node).collect();
        all.into_iter()
    }

    fn uplink(&self, node: N::Node) -> Uplink {
        lock(&self.uplinks).entry(node).or_default().clone()
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

    /// Starts a node in any kind of swarm, with settings of its own.
    pub async fn start_in(
        &self,
        key: SwarmKey,
        trackers: &[&str],
        change: impl FnOnce(Builder) -> Builder,
    ) -> SimNode<N> {
        self.start_over(self.network.join(), key, trackers, change).await
    }

    /// As [`start_in`](Self::start_in), for a node that is on the network already.
    pub async fn start_over(
        &self,
        on: (N::Node, Arc<dyn Transport>),
        key: SwarmKey,
        trackers: &[&str],
        change: impl FnOnce(Builder) -> Builder,
    ) -> SimNode<N> {
        self.join(on, &[Family::V4], key, trackers, change).await
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
        self.join(self.network.join(), families, identifier.into(), trackers, change).await
    }

    async fn join(
        &self,
        (node, transport): (N::Node, Arc<dyn Transport>),
        families: &[Family],
        key: SwarmKey,
        trackers: &[&str],
        change: impl FnOnce(Builder) -> Builder,
    ) -> SimNode<N> {
        let seed = self.random();
        let connector = self.trackers.connector(families, &self.uplink(node));
        let builder = P2pt::builder().trackers(trackers.iter().copied()).transport(transport);
        let builder = change(builder.connector(connector).seed(seed));
        let (p2pt, events) = builder.join(key).await.expect("a node starts");
        SimNode { p2pt, events, node }
    }

    fn random<T>(&self) -> T
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        lock(&self.rng).random()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
