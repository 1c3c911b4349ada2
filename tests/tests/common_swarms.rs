//! Two nodes that have many swarms in common, in each of which they have a connection of its own. Over the whole WebRTC stack
//! under paused time.

use std::time::Duration;

use p2pt::{Event, Events, Swarm, TransportError};
use p2pt_tests::sim::{Emulated, Sim, SimNode, until};
use p2pt_transport::emulator::Path;
use tokio::time::{sleep, timeout};

const A: &str = "ws://a.test/announce";

/// As many connections as there can be between two nodes: 16 of the offers of each.
const MOST: usize = 32;

/// A node and all the swarms it is in.
struct Node {
    _node: SimNode<Emulated>,
    swarms: Vec<(Swarm, Events)>,
}

impl Node {
    async fn start(sim: &Sim<Emulated>, name: &str, swarms: usize) -> Self {
        let node = sim.start(&format!("of {name} alone"), &[A]).await;
        let mut joined = Vec::new();
        for n in 0..swarms {
            joined.push(node.p2pt.node().join(format!("room {n}")).await.expect("joined"));
        }
        Self { _node: node, swarms: joined }
    }

    fn met(&self) -> usize {
        self.swarms.iter().filter(|(swarm, _)| swarm.peers().len() == 1).count()
    }
}

/// Two nodes with so many swarms in common, one after the other.
async fn two(swarms: usize) -> (Sim<Emulated>, Node, Node) {
    let sim = Sim::over(Emulated::webrtc(7, Path::default(), &[None]), 7);
    sim.start_tracker(A);
    let one = Node::start(&sim, "one", swarms).await;
    let two = Node::start(&sim, "two", swarms).await;
    (sim, one, two)
}

/// Their offers come all at once, while sockets are still asked about at a server: no two connections may get the same
/// pair of addresses.
#[tokio::test(start_paused = true)]
async fn two_nodes_in_ten_swarms_meet_in_all_of_them_at_once() {
    let (_sim, one, two) = two(10).await;
    let met = until(Duration::from_secs(2), || one.met() == 10 && two.met() == 10).await;
    assert!(met.is_some(), "{} and {}", one.met(), two.met());
}

#[tokio::test(start_paused = true)]
async fn two_nodes_meet_in_as_many_swarms_as_there_can_be_connections_and_report_why_not_in_more() {
    let (_sim, one, mut two) = two(40).await;
    let full = until(Duration::from_secs(3600), || one.met() == MOST && two.met() == MOST).await;
    assert!(full.is_some(), "{} and {}", one.met(), two.met());
    sleep(Duration::from_secs(600)).await;
    assert_eq!((one.met(), two.met()), (MOST, MOST), "what there is stays");
    let mut reported = 0;
    for (swarm, events) in &mut two.swarms {
        while let Ok(Some(event)) = timeout(Duration::from_millis(1), events.next()).await {
            let Event::ConnectionFailed(failed) = event else { continue };
            let is_limit = matches!(*failed.error, TransportError::TooManyConnections { max: 16 });
            reported += usize::from(is_limit && swarm.peers().is_empty());
        }
    }
    assert!(reported > 0, "the limit is reported to the application");
}
