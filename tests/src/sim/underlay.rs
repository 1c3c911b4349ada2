//! What carries the channels of a simulation, and can break.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use p2pt_transport::Transport;
use p2pt_transport::memory::{Conditions, MemoryNetwork, NodeId};

/// A network between nodes, each of which has a transport of its own. Clones are the same network.
pub trait Underlay: Clone + fmt::Debug + Send + Sync + 'static {
    /// The name of a node.
    type Node: Copy + Ord + fmt::Debug + fmt::Display + Send + Sync + 'static;

    /// A new node and its transport.
    fn join(&self) -> (Self::Node, Arc<dyn Transport>);

    /// Kills a node: nothing more of it reaches the others.
    fn kill(&self, node: Self::Node);

    /// Stops a node: the network carries nothing to it or from it.
    fn freeze(&self, node: Self::Node);

    /// Lets a stopped node go on.
    fn thaw(&self, node: Self::Node);

    /// Lets nothing from one node arrive at another.
    fn cut_from(&self, from: Self::Node, to: Self::Node);

    /// Mends one way.
    fn mend_from(&self, from: Self::Node, to: Self::Node);

    /// Cuts these nodes off from all others.
    fn partition(&self, nodes: &[Self::Node]);

    /// Ends every partition and mends every cut.
    fn heal(&self);

    /// Makes everything from one node to another take this much longer.
    fn slow_from(&self, from: Self::Node, to: Self::Node, delay: Duration);

    /// Sets how long one way takes between all nodes, and what is added at random at most; `None` is as at first.
    fn set_latency(&self, latency_and_jitter: Option<(Duration, Duration)>);

    /// Lets this share of new connections fail, 0 to 1. A network that cannot do that ignores it.
    fn refuse(&self, share: f64);

    /// Ends of channels that are open, if the network knows.
    fn open_channels(&self) -> Option<usize>;

    /// Offers and answers that wait for the other side, if the network knows.
    fn pending(&self) -> Option<usize>;
}

impl Underlay for MemoryNetwork {
    type Node = NodeId;

    fn join(&self) -> (NodeId, Arc<dyn Transport>) {
        let transport = self.transport();
        (transport.node(), transport)
    }

    fn kill(&self, node: NodeId) {
        self.kill(node);
    }

    fn freeze(&self, node: NodeId) {
        self.freeze(node);
    }

    fn thaw(&self, node: NodeId) {
        self.thaw(node);
    }

    fn cut_from(&self, from: NodeId, to: NodeId) {
        self.cut_from(from, to);
    }

    fn mend_from(&self, from: NodeId, to: NodeId) {
        self.mend_from(from, to);
    }

    fn partition(&self, nodes: &[NodeId]) {
        self.partition(nodes);
    }

    fn heal(&self) {
        self.heal();
    }

    fn slow_from(&self, from: NodeId, to: NodeId, delay: Duration) {
        self.slow_from(from, to, delay);
    }

    fn set_latency(&self, latency_and_jitter: Option<(Duration, Duration)>) {
        let latent = |(latency, jitter)| Conditions { latency, jitter, ..Conditions::default() };
        self.set_conditions(latency_and_jitter.map_or_else(Conditions::default, latent));
    }

    fn refuse(&self, share: f64) {
        self.refuse(share);
    }

    fn open_channels(&self) -> Option<usize> {
        Some(self.open_channels())
    }

    fn pending(&self) -> Option<usize> {
        Some(self.pending())
    }
}
