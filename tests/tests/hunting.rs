//! How long nodes take to find all the others at one tracker that draws the recipients of offers at random, and what
//! that costs.

use std::time::Duration;

use p2pt_tests::dialect::{Dialect, DialectTracker, Log};
use p2pt_tests::sim::{Sim, SimNode, is_full_mesh, until};
use tokio::time::sleep;

const A: &str = "ws://a.test/announce";

const SECOND: Duration = Duration::from_secs(1);

async fn start_all(sim: &Sim, count: usize, max_peers: usize) -> Vec<SimNode> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(sim.start_with("room", &[A], |node| node.max_peers(max_peers)).await);
    }
    nodes
}

async fn mesh(dialect: Dialect, count: usize, seed: u64, within: Duration) -> (Option<Duration>, Log) {
    let sim = Sim::new(seed);
    let tracker = sim.start_dialect(A, dialect);
    let nodes = start_all(&sim, count, 100).await;
    let took = until(within, || is_full_mesh(nodes.iter().map(|node| &node.p2pt))).await;
    (took, tracker.log())
}

/// Measured with eight seeds each: 5 to 8 min with an interval of two minutes, 5 to 10 min with one of twenty seconds,
/// with 15 to 32 announces and 71 to 87 offers for each node, about two for each peer it met.
#[tokio::test(start_paused = true)]
async fn forty_nodes_at_one_tracker_form_a_mesh_in_a_quarter_of_an_hour() {
    for dialect in [Dialect::bittorrent_tracker(), Dialect::wt_tracker()] {
        for seed in 1..4 {
            let (took, log) = mesh(dialect.clone(), 40, seed, 3600 * SECOND).await;
            let what = format!("{}, seed {seed}: {took:?}, {log:?}", dialect.name);
            assert!(took.is_some_and(|took| took <= 900 * SECOND), "{what}");
            assert!(log.announces <= 40 * 45 && log.offers <= 40 * 120, "{what}");
        }
    }
}

/// What is announced by all in an hour.
async fn an_hour(tracker: &DialectTracker) -> (u64, u64) {
    let before = tracker.log();
    sleep(3600 * SECOND).await;
    let log = tracker.log();
    (log.announces - before.announces, log.offers - before.offers)
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_or_has_everybody_or_is_full_does_not_hunt() {
    // So many nodes, of which each keeps so many peers.
    for (count, max_peers) in [(1, 100), (6, 100), (4, 1)] {
        let sim = Sim::new(1);
        let tracker = sim.start_dialect(A, Dialect::bittorrent_tracker());
        let nodes = start_all(&sim, count, max_peers).await;
        let everybody = max_peers.min(count - 1);
        let done = || nodes.iter().all(|node| node.p2pt.peers().len() == everybody);
        assert!(until(900 * SECOND, done).await.is_some(), "{count} nodes with up to {max_peers} peers");
        sleep(120 * SECOND).await;
        let (announces, offers) = an_hour(&tracker).await;
        assert_eq!((announces, offers), (30 * count as u64, 0), "{count} nodes with up to {max_peers} peers");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_cannot_be_reached_is_not_hunted_for_ever() {
    let sim = Sim::new(1);
    let tracker = sim.start_dialect(A, Dialect::bittorrent_tracker());
    let ghost = sim.start("room", &[]).await;
    let nodes = start_all(&sim, 19, 100).await;
    for node in &nodes {
        sim.network.refuse_between(ghost.node, node.node);
    }
    ghost.p2pt.node().add_tracker(A).await.expect("added");
    let (announces, _) = an_hour(&tracker).await;
    assert!(announces <= 20 * 60, "{announces} announces in the first hour");
    assert!(is_full_mesh(nodes.iter().map(|node| &node.p2pt)));
    let (announces, offers) = an_hour(&tracker).await;
    // Every two minutes, with up to five offers.
    assert_eq!(announces, 30 * 20);
    assert!(offers <= 5 * announces, "{offers} offers");
}

#[tokio::test(start_paused = true)]
async fn a_second_link_is_not_sought_for_ever_of_a_peer_that_keeps_one() {
    let sim = Sim::new(1);
    let tracker = sim.start_dialect(A, Dialect::bittorrent_tracker());
    let two = sim.start_with("room", &[A], |node| node.connections_per_peer(2)).await;
    let one = sim.start("room", &[A]).await;
    sleep(900 * SECOND).await;
    let (announces, offers) = an_hour(&tracker).await;
    assert_eq!((announces, offers), (2 * 30, 0));
    assert_eq!(one.p2pt.peers().len(), 1);
    assert_eq!(two.p2pt.peers().iter().map(|peer| peer.connection_count()).collect::<Vec<_>>(), [1]);
}
