//! Nodes whose hosts have IPv4, IPv6 or both, at a tracker that keeps the two apart.

use std::time::Duration;

use p2pt::tracker::{ClientConfig, Family};
use p2pt_tests::sim::{Sim, SimNode, is_full_mesh, until};
use p2pt_tests::tracker_profile::{ProfiledTracker, TrackerProfile};
use tokio::time::sleep;

use Family::{V4, V6};

const A: &str = "ws://a.test/announce";

const SECOND: Duration = Duration::from_secs(1);

async fn start(sim: &Sim, families: &[Family], seed: u64) -> SimNode {
    let mut config = ClientConfig::default();
    config.seed = Some(seed);
    sim.start_from(families, "room", &[A], |node| node.client_config(config)).await
}

async fn met(nodes: &[SimNode], within: Duration) -> Option<Duration> {
    until(within, || is_full_mesh(nodes.iter().map(|node| &node.p2pt))).await
}

fn changes(node: &SimNode) -> u64 {
    node.p2pt.node().tracker_stats().trackers[0].counters.families_changed
}

fn aquatic(sim: &Sim) -> ProfiledTracker {
    sim.start_profile(A, TrackerProfile::aquatic())
}

/// Two that start together over different families meet as soon as the first of them goes, after 15 to 30 s, unless
/// both go within a second.
#[tokio::test(start_paused = true)]
async fn two_nodes_that_start_over_different_families_meet() {
    let mut took = Vec::new();
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let tracker = aquatic(&sim);
        let nodes = [start(&sim, &[V4, V6], 2 * seed).await, start(&sim, &[V6, V4], 2 * seed + 1).await];
        took.push(met(&nodes, 200 * SECOND).await.unwrap_or_else(|| panic!("not met with seed {seed}")));
        let before = nodes.iter().map(changes).sum::<u64>();
        sleep(600 * SECOND).await;
        assert_eq!(nodes.iter().map(changes).sum::<u64>(), before, "a node that has met a peer stays");
        let log = tracker.log();
        assert_eq!((log.bad_inputs, log.ignored, tracker.members()), (0, 0, 2), "closed cleanly each time: {log:?}");
        assert!(is_full_mesh(nodes.iter().map(|node| &node.p2pt)));
    }
    took.sort();
    println!("met after {took:?}");
    assert!(took[0] >= 15 * SECOND && took[took.len() / 2] <= 25 * SECOND, "{took:?}");
    assert!(took[took.len() * 9 / 10] <= 31 * SECOND, "{took:?}");
}

/// A node with one family only cannot change: the others do, however long they have been alone before.
#[tokio::test(start_paused = true)]
async fn a_node_with_one_family_is_found() {
    let mut took = Vec::new();
    for seed in 0..20 {
        let sim = Sim::new(seed);
        aquatic(&sim);
        let mut nodes = vec![start(&sim, &[V6, V4], 2 * seed).await];
        sleep(Duration::from_secs(1000 + 20 * seed)).await;
        nodes.push(start(&sim, &[V4], 2 * seed + 1).await);
        took.push(met(&nodes, 300 * SECOND).await.unwrap_or_else(|| panic!("not met with seed {seed}")));
        assert_eq!(changes(&nodes[1]), 0);
        // A third one comes to where they are.
        nodes.push(start(&sim, &[V6, V4], 1000 + seed).await);
        assert!(met(&nodes, 60 * SECOND).await.is_some(), "the third one, with seed {seed}");
    }
    took.sort();
    println!("found after {took:?}");
    assert!(took.last().is_some_and(|longest| *longest <= 250 * SECOND), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn no_node_leaves_a_family_where_it_has_met_a_peer() {
    let sim = Sim::new(3);
    let tracker = aquatic(&sim);
    let mut nodes = Vec::new();
    for seed in 0..6 {
        nodes.push(start(&sim, &[V6, V4], seed).await);
    }
    assert!(met(&nodes, 60 * SECOND).await.is_some());
    sleep(3600 * SECOND).await;
    assert_eq!(nodes.iter().map(changes).sum::<u64>(), 0);
    assert_eq!((tracker.log().connections, tracker.members()), (6, 6));
    // The last one left is alone again, and looks elsewhere.
    for node in nodes.drain(1..) {
        node.p2pt.shutdown().await;
    }
    assert!(until(160 * SECOND, || changes(&nodes[0]) > 0).await.is_some());
    assert_eq!(
        nodes[0].p2pt.node().tracker_stats().connected,
        1,
        "to the application the tracker is reached all the time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_with_one_family_never_closes_its_socket() {
    let sim = Sim::new(4);
    let tracker = aquatic(&sim);
    let _nodes = [start(&sim, &[V4], 1).await, start(&sim, &[V6], 2).await];
    sleep(3600 * SECOND).await;
    assert_eq!(tracker.log().connections, 2);
}
