//! What holds between the nodes of a simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2pt::{PeerId, Swarm};

use super::{SimNode, Underlay};

/// How often [`until`](p2pt::testing::until) looks, and so how exact it is.
pub const GLANCE: Duration = Duration::from_millis(100);

/// Whether each of these is connected to all the others, and to no other peer.
pub fn is_full_mesh<'a>(swarms: impl Iterator<Item = &'a Swarm> + Clone) -> bool {
    let all: BTreeSet<_> = swarms.clone().map(Swarm::peer_id).collect();
    swarms.into_iter().all(|swarm| {
        let peers = swarm.peers();
        peers.len() + 1 == all.len() && peers.iter().all(|peer| all.contains(&peer.id()))
    })
}

/// [`is_full_mesh`] of the nodes that were started.
pub fn is_mesh<N: Underlay>(nodes: &[SimNode<N>]) -> bool {
    is_full_mesh(nodes.iter().map(|node| &node.p2pt))
}

/// Whether each node has a peer, and reaches all the others over the peers of its peers.
pub fn is_one_graph<N: Underlay>(nodes: &[SimNode<N>]) -> bool {
    let peers = |node: &SimNode<N>| node.p2pt.peers().iter().map(|peer| peer.id()).collect::<Vec<_>>();
    let graph: BTreeMap<PeerId, Vec<PeerId>> = nodes.iter().map(|node| (node.p2pt.peer_id(), peers(node))).collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = graph.keys().copied().take(1).collect();
    while let Some(id) = next.pop() {
        if reached.insert(id) {
            next.extend(graph.get(&id).into_iter().flatten());
        }
    }
    graph.values().all(|peers| !peers.is_empty()) && reached.len() == nodes.len()
}

/// Ends of channels that are open: by the network's count, or by the nodes' where the network does not know.
pub fn open_channels<'a, N: Underlay>(network: &N, swarms: impl Iterator<Item = &'a Swarm>) -> usize {
    let of_nodes = || swarms.flat_map(Swarm::peers).map(|peer| peer.connection_count()).sum();
    network.open_channels().unwrap_or_else(of_nodes)
}

/// How many tasks live on this runtime.
pub fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
