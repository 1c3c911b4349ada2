//! How long nodes take to find all the others at one tracker that draws the recipients of offers at random, and what
//! that costs.

use std::time::Duration;

use p2pt_tests::sim::{Sim, is_full_mesh, is_mesh, until};
use p2pt_tests::tracker_profile::{Log, ProfiledTracker, TrackerProfile};
use tokio::time::sleep;

const A: &str = "ws://a.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// How long 99 of 100 pairs took to meet, and all of them.
async fn pairs(profile: TrackerProfile, count: usize, seed: u64) -> (Duration, Duration, Log) {
    let sim = Sim::new(seed);
    let tracker = sim.start_profile(A, profile);
    let nodes = sim.start_all(count, "room", &[A], |node| node.max_peers(100)).await;
    let pairs = count * (count - 1);
    let met = |share: usize| nodes.iter().map(|node| node.p2pt.peers().len()).sum::<usize>() * 100 >= pairs * share;
    let most = until(3600 * SECOND, || met(99)).await.expect("most pairs meet");
    let all = most + until(3600 * SECOND, || met(100)).await.expect("all pairs meet");
    (most, all, tracker.log())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(start_paused = true)]
async fn forty_nodes_at_one_tracker_form_a_mesh_in_a_minute() {
    for profile in [TrackerProfile::bittorrent_tracker(), TrackerProfile::aquatic(), TrackerProfile::wt_tracker()] {
        let (mut most, mut all) = (Vec::new(), Vec::new());
        for seed in 1..6 {
            let (these, every, log) = pairs(profile.clone(), 40, seed).await;
            println!("{}, seed {seed}: {these:?}, {every:?}, {log:?}", profile.name);
            assert!(every <= 300 * SECOND, "{every:?}");
            assert!(log.announces <= 40 * 25 && log.offers <= 40 * 200 && log.most_offers <= 10, "{log:?}");
            most.push(these);
            all.push(every);
        }
        let (most, all) = (median(most), median(all));
        assert!(most <= 45 * SECOND && all <= 75 * SECOND, "{}: {most:?}, {all:?}", profile.name);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_nodes_that_start_one_after_the_other_form_a_mesh_in_ten_seconds() {
    for profile in [TrackerProfile::bittorrent_tracker(), TrackerProfile::aquatic(), TrackerProfile::wt_tracker()] {
        let mut times = Vec::new();
        for seed in 1..6 {
            let sim = Sim::new(seed);
            let _tracker = sim.start_profile(A, profile.clone());
            let mut nodes = Vec::new();
            for _ in 0..10 {
                nodes.push(sim.start("room", &[A]).await);
                sleep(Duration::from_millis(150)).await;
            }
            let took = until(600 * SECOND, || is_mesh(&nodes)).await;
            times.push(took.expect("a mesh"));
        }
        println!("{}: {times:?}", profile.name);
        let time = median(times);
        assert!(time <= 10 * SECOND, "{}: {time:?}", profile.name);
    }
}

/// One knows that it was alone, and so does the other, when the first comes back to the tracker.
#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_to_a_tracker_meets_its_members_at_once() {
    for seed in 1..6 {
        let sim = Sim::new(seed);
        let tracker = sim.start_profile(A, TrackerProfile::bittorrent_tracker());
        let one = sim.start("room", &[A]).await;
        sleep(10 * SECOND).await;
        sim.crash_tracker(A);
        // The time between its attempts has become long enough for the other to learn that it is alone.
        sleep(25 * SECOND).await;
        drop(tracker);
        let tracker = sim.start_profile(A, TrackerProfile::bittorrent_tracker());
        let two = sim.start("room", &[A]).await;
        let is_back = || tracker.log().connections == 2;
        assert!(until(60 * SECOND, is_back).await.is_some_and(|took| took > SECOND), "seed {seed}: the other is alone");
        let took = until(60 * SECOND, || is_full_mesh([&one.p2pt, &two.p2pt].into_iter())).await;
        assert!(took.is_some_and(|took| took <= 2 * SECOND), "seed {seed}: {took:?}");
    }
}

/// What is announced by all in an hour.
async fn an_hour(tracker: &ProfiledTracker) -> (u64, u64) {
    let before = tracker.log();
    sleep(3600 * SECOND).await;
    let log = tracker.log();
    (log.announces - before.announces, log.offers - before.offers)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_or_has_all_peers_or_is_full_does_not_announce_more_often() {
    // So many nodes, of which each keeps so many peers.
    for (count, max_peers) in [(1, 100), (6, 100), (4, 1)] {
        let sim = Sim::new(1);
        let tracker = sim.start_profile(A, TrackerProfile::bittorrent_tracker());
        let nodes = sim.start_all(count, "room", &[A], |node| node.max_peers(max_peers)).await;
        let all = max_peers.min(count - 1);
        let done = || nodes.iter().all(|node| node.p2pt.peers().len() == all);
        assert!(until(900 * SECOND, done).await.is_some(), "{count} nodes with up to {max_peers} peers");
        sleep(120 * SECOND).await;
        let (announces, offers) = an_hour(&tracker).await;
        assert_eq!((announces, offers), (30 * count as u64, 0), "{count} nodes with up to {max_peers} peers");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_peer_that_cannot_be_reached_is_not_looked_for_for_ever() {
    let sim = Sim::new(1);
    let tracker = sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    let ghost = sim.start("room", &[]).await;
    let nodes = sim.start_all(19, "room", &[A], |node| node.max_peers(100)).await;
    for node in &nodes {
        sim.network.refuse_between(ghost.node, node.node);
    }
    ghost.p2pt.node().add_tracker(A).await.expect("added");
    let (announces, _) = an_hour(&tracker).await;
    assert!(announces <= 20 * 60, "{announces} announces in the first hour");
    assert!(is_mesh(&nodes));
    let (announces, offers) = an_hour(&tracker).await;
    // Every two minutes, with up to ten offers.
    assert_eq!(announces, 30 * 20);
    assert!(offers <= 10 * announces, "{offers} offers");
}

#[tokio::test(start_paused = true)]
async fn a_second_channel_is_not_sought_for_ever_of_a_peer_that_keeps_one() {
    let sim = Sim::new(1);
    let tracker = sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    let two = sim.start_with("room", &[A], |node| node.connections_per_peer(2)).await;
    let one = sim.start("room", &[A]).await;
    sleep(900 * SECOND).await;
    let (announces, offers) = an_hour(&tracker).await;
    assert_eq!((announces, offers), (2 * 30, 0));
    assert_eq!(one.p2pt.peers().len(), 1);
    assert_eq!(two.p2pt.peers().iter().map(|peer| peer.connection_count()).collect::<Vec<_>>(), [1]);
}
