//! Trackers that lie, beside a good one: nodes meet as fast as if the good one were alone.

use std::time::Duration;

use p2pt_tests::sim::{Sim, SimNode, is_full_mesh, until};
use p2pt_tests::tracker_profile::{Misbehaviour, TrackerProfile};

const A: &str = "ws://a.test/announce";
const BAD: &str = "ws://bad.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// What a lying tracker may cost: at each of two meetings the 3 s for which an attempt that it has led to holds back the
/// offers of the same peer by the good one.
const TOLERANCE: Duration = Duration::from_secs(7);

async fn start_all(sim: &Sim, count: usize, trackers: &[&str], max_peers: usize) -> Vec<SimNode> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(sim.start_with("room", trackers, |node| node.max_peers(max_peers)).await);
    }
    nodes
}

async fn meet(nodes: &[SimNode]) -> Option<Duration> {
    until(60 * SECOND, || is_full_mesh(nodes.iter().map(|node| &node.p2pt))).await
}

/// How long three nodes take to meet, and two more to meet them, with `max_peers` as little as leaves room for that.
async fn times(misbehaviour: Option<Misbehaviour>, trackers: &[&str], max_peers: usize) -> Option<Duration> {
    let sim = Sim::new(2);
    if let Some(misbehaviour) = misbehaviour {
        sim.start_profile(BAD, TrackerProfile::bittorrent_tracker().misbehaving(misbehaviour));
    }
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    let mut nodes = start_all(&sim, 3, trackers, max_peers).await;
    let first = meet(&nodes).await?;
    nodes.extend(start_all(&sim, 2, trackers, max_peers).await);
    Some(first + meet(&nodes).await?)
}

#[tokio::test(start_paused = true)]
async fn a_lie_beside_a_good_tracker_costs_no_time() {
    for max_peers in [4, 12, 100] {
        let alone = times(None, &[A], max_peers).await.expect("they meet at the good tracker");
        for trackers in [[BAD, A], [A, BAD]] {
            for misbehaviour in Misbehaviour::ALL {
                let took = times(Some(misbehaviour), &trackers, max_peers).await;
                let what =
                    format!("{misbehaviour:?}, {trackers:?}, max_peers {max_peers}: {took:?}, without {alone:?}");
                assert!(took.is_some_and(|took| took <= alone + TOLERANCE), "{what}");
            }
        }
    }
}
