//! Swarms that everything happens to, and what must hold afterwards.

use std::time::Duration;

use p2pt::Builder;
use p2pt_tests::plan::{self, Fault, Plan, Step};
use p2pt_tests::sim::{Sim, SimNode, is_one_graph, tasks, until};
use p2pt_tests::tracker_profile::{Misbehaviour, TrackerProfile};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// Cases by default; more with `PROPTEST_CASES`.
const CASES: u32 = 16;

proptest! {
    #![proptest_config(plan::cases(CASES, 200))]

    /// To run a plan again: `P2PT_PLAN='{…}' cargo test -p p2pt-tests --test failures a_given_plan`.
    #[test]
    fn after_any_plan_a_swarm_is_whole_again(plan in Plan::any(12)) {
        let outcome = plan.run();
        println!("{plan}\n{outcome:?}");
    }
}

#[test]
fn a_given_plan_can_be_run_again() {
    let plan = Plan {
        seed: 1,
        nodes: 5,
        trackers: vec![1],
        steps: vec![Step {
            at: 20,
            lasts: 60,
            fault: Fault::Misbehaviour { tracker: 0, misbehaviour: Misbehaviour::HangUp },
        }],
    };
    let printed = plan.to_string();
    assert_eq!(printed.parse::<Plan>().expect("what was printed"), plan);
    let given = std::env::var("P2PT_PLAN").unwrap_or(printed);
    let plan: Plan = given.parse().expect("a plan in JSON");
    println!("{plan}\n{:?}", plan.run());
}

/// With the same seed, the same is reported to every application at the same times.
#[test]
fn a_plan_run_twice_goes_the_same_way() {
    let step = |at, lasts, fault| Step { at, lasts, fault };
    let plan = Plan {
        seed: 7,
        nodes: 8,
        trackers: vec![0, 1],
        steps: vec![
            step(10, 100, Fault::Slow { millis: 300 }),
            step(15, 20, Fault::Outage { tracker: 0 }),
            step(20, 40, Fault::Misbehaviour { tracker: 1, misbehaviour: Misbehaviour::ForgedAnswers }),
            step(30, 30, Fault::Freeze { node: 2 }),
            step(40, 20, Fault::Unplug { nodes: 0b1010 }),
            step(70, 0, Fault::Kill { node: 5 }),
            step(80, 30, Fault::CutFrom { from: 0, to: 1 }),
        ],
    };
    let [first, second] = [plan.trace(), plan.trace()];
    for (n, (one, two)) in first.1.iter().zip(&second.1).enumerate() {
        assert_eq!(one, two, "event {n} of {}", first.1.len());
    }
    assert_eq!(first, second);
}

/// Everything at once, to as many nodes as a full mesh is for.
#[test]
fn after_the_worst_forty_nodes_form_a_full_mesh() {
    let step = |at, fault| Step { at, lasts: 180 - at, fault };
    let plan = Plan {
        seed: 40,
        nodes: 40,
        trackers: vec![0, 2],
        steps: vec![
            step(10, Fault::Slow { millis: 700 }),
            step(30, Fault::Partition { nodes: 0x00ff_0f0f }),
            step(40, Fault::Kill { node: 3 }),
            step(40, Fault::Kill { node: 17 }),
            step(50, Fault::Freeze { node: 5 }),
            step(50, Fault::Freeze { node: 6 }),
            step(60, Fault::Outage { tracker: 0 }),
            step(70, Fault::Misbehaviour { tracker: 1, misbehaviour: Misbehaviour::OfferFlood }),
            step(80, Fault::Refuse { percent: 50 }),
            step(90, Fault::Cut { a: 1, b: 2 }),
            step(95, Fault::CutFrom { from: 4, to: 8 }),
            step(95, Fault::SlowFrom { from: 9, to: 10, millis: 7000 }),
            step(100, Fault::SlowTracker { tracker: 0, millis: 5000 }),
            step(120, Fault::Unplug { nodes: u64::MAX }),
            step(179, Fault::Kill { node: 30 }),
        ],
    };
    let outcome = plan.run();
    println!("{outcome:?}");
    assert_eq!(outcome.alive, 37);
}

const LIMIT: usize = 12;

/// Measured: less than a second. Each node that starts draws up to five members, which makes one graph almost surely.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

/// Lets time pass, and sees that no node has more peers than it may after any step of the network, which takes 10 ms.
async fn watch_limit(nodes: &[SimNode], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(nodes.iter().all(|node| node.p2pt.peers().len() <= LIMIT), "more peers than there may be");
        sleep(Duration::from_millis(10)).await;
    }
}

fn is_whole(nodes: &[SimNode]) -> bool {
    assert!(nodes.iter().all(|node| node.p2pt.peers().len() <= LIMIT), "more peers than there may be");
    is_one_graph(nodes)
}

#[tokio::test(start_paused = true)]
async fn three_hundred_nodes_that_keep_twelve_peers_form_one_graph() {
    let sim = Sim::new(300);
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    sim.start_profile(B, TrackerProfile::aquatic());
    let mut nodes = Vec::new();
    for _ in 0..300 {
        nodes.push(sim.start_with("room", &[A, B], |node| node.max_peers(LIMIT)).await);
    }
    watch_limit(&nodes, SECOND).await;
    let took = until(CONNECTED_WITHIN, || is_whole(&nodes)).await.expect("one graph");
    // A third of them dies, a tracker loses its memory, and the rest is one graph still or again.
    for dead in nodes.drain(..100) {
        sim.kill(dead.node);
    }
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    watch_limit(&nodes, 10 * SECOND).await;
    let again = until(CONNECTED_WITHIN, || is_whole(&nodes)).await.expect("one graph again");
    println!("one graph after {took:?}, and {again:?} after the dead were gone");
    sleep(240 * SECOND).await;
    assert!(is_whole(&nodes));
    let peers: Vec<_> = nodes.iter().map(|node| node.p2pt.peers().len()).collect();
    let sum: usize = peers.iter().sum();
    println!("peers: {:?} to {:?}, {sum} in all", peers.iter().min(), peers.iter().max());
    assert!(sum >= nodes.len() * LIMIT * 8 / 10, "{sum} of {} places taken", nodes.len() * LIMIT);
}

/// Fewer, so that it stays quick, and more of everything else that could bring a node above its limit.
#[tokio::test(start_paused = true)]
async fn no_node_goes_above_its_limit_while_others_come_and_go_and_a_tracker_misbehaves() {
    for (misbehaviour, links) in
        [(Misbehaviour::OfferFlood, 1), (Misbehaviour::ForgedAnswers, 2), (Misbehaviour::Crowds, 2)]
    {
        let sim = Sim::new(301);
        sim.start_profile(A, TrackerProfile::bittorrent_tracker());
        sim.start_profile(B, TrackerProfile::wt_tracker().misbehaving(misbehaviour));
        let mut nodes = Vec::new();
        for turn in 0..60 {
            if turn >= 40 {
                let gone: SimNode = nodes.remove(turn % 40);
                sim.kill(gone.node);
            }
            let settings = |node: Builder| node.max_peers(LIMIT).connections_per_peer(links);
            nodes.push(sim.start_with("room", &[B, A], settings).await);
            watch_limit(&nodes, SECOND / 5).await;
        }
        watch_limit(&nodes, 20 * SECOND).await;
        assert!(until(CONNECTED_WITHIN, || is_whole(&nodes)).await.is_some(), "{misbehaviour:?}: one graph");
        let surplus = || nodes.iter().flat_map(|node| node.p2pt.peers()).any(|peer| peer.connection_count() > links);
        assert!(until(120 * SECOND, || !surplus()).await.is_some(), "{misbehaviour:?}: surplus channels are left");
    }
}

#[tokio::test(start_paused = true)]
async fn hours_of_coming_and_going_leave_nothing_behind() {
    let sim = Sim::new(6);
    sim.start_profile(A, TrackerProfile::aquatic());
    sim.start_profile(B, TrackerProfile::wt_tracker().misbehaving(Misbehaviour::ForgedAnswers));
    let mut nodes = Vec::new();
    let mut after_each_hour = Vec::new();
    for hour in 0..6u64 {
        for turn in 0..12 {
            if nodes.len() == 6 {
                let gone: SimNode = nodes.remove(0);
                match turn % 3 {
                    0 => gone.p2pt.shutdown().await,
                    1 => sim.kill(gone.node),
                    _ => drop(gone),
                }
            }
            nodes.push(sim.start("room", &[A, B]).await);
            sleep(240 * SECOND).await;
        }
        if hour % 2 == 1 {
            sim.start_profile(A, TrackerProfile::aquatic());
        }
        let start = Instant::now();
        // Until offers, sockets to the dead and bursts of announces have come to their ends.
        sleep(720 * SECOND).await;
        let met = until(3600 * SECOND, || nodes.iter().all(|node| node.p2pt.peers().len() == 5)).await;
        assert!(met.is_some(), "no full mesh after {:?}", start.elapsed());
        after_each_hour.push((tasks(), sim.network.open_channels()));
    }
    println!("tasks and ends of channels after each hour: {after_each_hour:?}");
    let (most, least) = (after_each_hour.iter().max(), after_each_hour.iter().min());
    assert!(most.zip(least).is_some_and(|(most, least)| most.0 - least.0 < 40), "{after_each_hour:?}");
    assert!(after_each_hour.iter().all(|(_, ends)| *ends == 6 * 5), "{after_each_hour:?}");
}
