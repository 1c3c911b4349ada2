//! What nodes cost trackers, counted there: no more offers than are of use, and none twice.

use std::time::Duration;

use p2pt_tests::sim::{Sim, until};
use p2pt_tests::tracker_profile::{Log, TrackerProfile};
use tokio::time::sleep;

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// An hour of so many nodes that have settled: announces and offers of each.
async fn idle_hour(what: &str, profile: &TrackerProfile, nodes: usize, max_peers: usize, peers: usize) -> (f64, f64) {
    let sim = Sim::new(41);
    let tracker = sim.start_profile(A, profile.clone());
    let nodes = sim.start_all(nodes, "room", &[A], |node| node.max_peers(max_peers)).await;
    let settled = until(HOUR, || nodes.iter().all(|node| node.p2pt.peers().len() >= peers)).await;
    assert!(settled.is_some(), "{what} at {}: not settled", profile.name);
    sleep(300 * SECOND).await;
    let before = tracker.log();
    sleep(HOUR).await;
    let log = tracker.log();
    check(&log);
    let each = |count: u64| count as f64 / nodes.len() as f64;
    let (announces, offers) = (each(log.announces - before.announces), each(log.offers - before.offers));
    println!("{what} at {}: {announces} announces and {offers} offers for each node and hour", profile.name);
    (announces, offers)
}

/// What holds at any time.
fn check(log: &Log) {
    assert!(log.most_offers <= 10, "{log:?}");
    assert_eq!((log.offers_repeated, log.second_ids, log.bad_inputs, log.dropped), (0, 0, 0, 0), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_met_all_peers_or_is_full_or_alone_makes_no_offers() {
    for profile in TrackerProfile::all() {
        // No node announces more often than the tracker asks for.
        let most = 3600.0 / profile.interval.as_secs_f64() + 1.0;
        for (what, nodes, max_peers, peers) in [
            ("one alone", 1, 100, 0),
            ("an idle pair", 2, 100, 1),
            ("an idle mesh of ten", 10, 100, 9),
            ("four that are full", 4, 1, 1),
        ] {
            let (announces, offers) = idle_hour(what, &profile, nodes, max_peers, peers).await;
            assert_eq!(offers, 0.0, "{what} at {}", profile.name);
            assert!((most / 2.0..=most).contains(&announces), "{what} at {}: {announces}", profile.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_second_tracker_a_pair_makes_one_offer_at_most_with_each_announce() {
    let sim = Sim::new(42);
    let trackers = [A, B].map(|url| sim.start_profile(url, TrackerProfile::bittorrent_tracker()));
    let nodes = sim.start_all(2, "room", &[A, B], |node| node).await;
    assert!(until(60 * SECOND, || nodes.iter().all(|node| node.p2pt.peers().len() == 1)).await.is_some());
    sleep(300 * SECOND).await;
    let before = trackers.each_ref().map(|tracker| tracker.log());
    sleep(HOUR).await;
    let after = trackers.each_ref().map(|tracker| tracker.log());
    let mut quiet = 0;
    for (before, after) in before.iter().zip(&after) {
        check(after);
        let (announces, offers) = (after.announces - before.announces, after.offers - before.offers);
        println!("an idle pair at one of two trackers: {announces} announces and {offers} offers in an hour");
        assert!(offers <= announces && announces <= 2 * 31, "{announces} announces, {offers} offers");
        quiet += u32::from(offers == 0);
    }
    assert!(quiet >= 1, "where they have met each other they know that no peer is missing");
}

#[tokio::test(start_paused = true)]
async fn trackers_are_asked_often_only_while_unknown_peers_remain() {
    for profile in [TrackerProfile::bittorrent_tracker(), TrackerProfile::aquatic()] {
        let sim = Sim::new(43);
        let tracker = sim.start_profile(A, profile.clone());
        sim.network.refuse(1.0);
        let nodes = sim.start_all(2, "room", &[A], |node| node).await;
        // Two that cannot meet ask at the start, after 15, 30 and 60 s, and from then on when the tracker says.
        sleep(1200 * SECOND).await;
        let first = tracker.log();
        check(&first);
        sleep(HOUR).await;
        let log = tracker.log();
        check(&log);
        let announces = log.announces - first.announces;
        let answers = log.answers_forwarded;
        println!(
            "two that never meet at {}: {first:?}, then {announces} announces in an hour, {answers} answers",
            profile.name
        );
        // An answer is an announce to aquatic, but is not counted as one here.
        assert!((2 * 28..=2 * 32).contains(&announces), "{}: {announces} in an hour", profile.name);
        drop(nodes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_wants_an_announce_each_second_gets_one_in_ten() {
    let sim = Sim::new(44);
    let tracker = sim.start_profile(A, TrackerProfile { interval: SECOND, ..TrackerProfile::bittorrent_tracker() });
    let nodes = sim.start_all(1, "room", &[A], |node| node).await;
    sleep(600 * SECOND).await;
    let announces = tracker.log().announces;
    assert!((55..=62).contains(&announces), "{announces} announces in ten minutes");
    drop(nodes);
}
