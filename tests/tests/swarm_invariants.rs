//! What holds whatever happens, in simulated swarms under paused time.

use std::time::Duration;

use p2pt::{Event, NodeError, PeerId};
use p2pt_tests::events::next_of_peers;
use p2pt_tests::sim::{Sim, SimNode};
use p2pt_transport::memory::Conditions;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";
const C: &str = "ws://c.test/announce";

/// Virtual time in which anything expected here has happened.
const SOON: Duration = Duration::from_secs(900);

/// Waits until this node is connected to all of these.
async fn meet(node: &SimNode, others: &[&SimNode]) {
    let deadline = Instant::now() + SOON;
    let wanted: Vec<PeerId> = others.iter().map(|other| other.p2pt.peer_id()).collect();
    while wanted.iter().any(|id| node.p2pt.peer(id).is_none()) {
        assert!(Instant::now() < deadline, "they never met");
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_keep_their_order_while_surplus_channels_retire() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let slow = Duration::from_millis(300);
        sim.network.set_conditions(Conditions { jitter: slow, ..Conditions::default() });
        sim.start_tracker(A);
        let (mut one, mut two) = (sim.start("room", &[]).await, sim.start("room", &[]).await);
        sim.network.refuse_between(one.node, two.node);
        for node in [&one, &two] {
            node.p2pt.node().add_tracker(A).await.expect("added");
        }
        // Both know that there is an unknown peer, and invite each other at the same time.
        sleep(SOON).await;
        sim.network.accept_between(one.node, two.node);
        let (first, second) = tokio::join!(one.p2pt.request_more_peers(), two.p2pt.request_more_peers());
        first.and(second).expect("running");
        let Event::PeerConnected(to_two) = next_of_peers(&mut one.events, SOON).await else {
            panic!("not a connection")
        };
        let sending = async {
            for n in 0..100 {
                to_two.send(json!(n)).await.expect("sent");
                sleep(Duration::from_millis(20)).await;
            }
        };
        let hearing = async {
            let mut heard = Vec::new();
            while heard.len() < 100 {
                if let Event::Message(message) = next_of_peers(&mut two.events, SOON).await {
                    heard.push(message.json::<u64>().expect("a number"));
                }
            }
            heard
        };
        let (heard, ()) = tokio::join!(hearing, sending);
        assert_eq!(heard, (0..100).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_while_the_identifier_changes_leaves() {
    let sim = Sim::new(1);
    let tracker = sim.start_tracker(A);
    let mut node = sim.start("here", &[A]).await;
    let swarm = node.p2pt.clone();
    let (moved, again, left) = tokio::join!(swarm.set_identifier("there"), swarm.move_to("elsewhere"), swarm.leave());
    moved.expect("moved");
    again.expect("moved again");
    left.expect("left");
    while node.events.next().await.is_some() {}
    assert!(matches!(swarm.set_identifier("back").await, Err(NodeError::Stopped)));
    assert!(matches!(swarm.move_to("back").await, Err(NodeError::Stopped)));
    sleep(SOON).await;
    assert_eq!(tracker.stats().swarms.peers, 0);
}

#[tokio::test(start_paused = true)]
async fn peers_that_come_and_go_while_events_are_not_read_are_few() {
    let sim = Sim::new(2);
    sim.start_tracker(A);
    let mut reader = sim.start_with("room", &[A], |node| node.max_peers(3)).await;
    for _ in 0..20 {
        let visitor = sim.start("room", &[A]).await;
        let met = async {
            while visitor.p2pt.peers().is_empty() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        if timeout(SOON, met).await.is_ok() {
            visitor.p2pt.peers()[0].send("x".repeat(100_000)).await.expect("sent");
        }
        visitor.p2pt.shutdown().await;
        sleep(Duration::from_secs(10)).await;
    }
    // As many as may be connected, and as many again whose end was not reported yet.
    let mut heard = 0;
    while let Ok(event) = timeout(Duration::from_secs(1), reader.events.next()).await {
        heard += usize::from(matches!(event, Some(Event::PeerClosed(_))));
    }
    assert!((1..=6).contains(&heard), "{heard} closed peers were kept");
    // Once they are read, others are welcome again.
    let visitor = sim.start("room", &[A]).await;
    meet(&visitor, &[&reader]).await;
}

#[tokio::test(start_paused = true)]
async fn peers_met_elsewhere_do_not_hide_unknown_peers_at_a_tracker() {
    let sim = Sim::new(3);
    for url in [A, B, C] {
        sim.start_tracker(url);
    }
    let (one, two) = (sim.start("room", &[B]).await, sim.start("room", &[C]).await);
    sim.network.refuse_between(one.node, two.node);
    for node in [&one, &two] {
        node.p2pt.node().add_tracker(A).await.expect("added");
    }
    let near_one = [sim.start("room", &[B]).await, sim.start("room", &[B]).await];
    let near_two = [sim.start("room", &[C]).await, sim.start("room", &[C]).await];
    meet(&one, &[&near_one[0], &near_one[1]]).await;
    meet(&two, &[&near_two[0], &near_two[1]]).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(one.p2pt.peers().len(), 2);
    sim.network.accept_between(one.node, two.node);
    meet(&one, &[&two]).await;
}

#[tokio::test(start_paused = true)]
async fn peers_that_have_met_leave_each_other_alone() {
    let sim = Sim::new(4);
    let trackers = [sim.start_tracker(A), sim.start_tracker(B)];
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(sim.start("room", &[A, B]).await);
    }
    for node in &nodes {
        let others: Vec<&SimNode> = nodes.iter().filter(|other| other.node != node.node).collect();
        meet(node, &others).await;
    }
    sleep(SOON).await;
    let [before_a, before_b] = trackers.each_ref().map(|tracker| tracker.stats().swarms);
    sleep(SOON * 4).await;
    let [a, b] = trackers.each_ref().map(|tracker| tracker.stats().swarms);
    // At one tracker they know each other, at the other one they make sure now and then that they know all peers.
    let offers = [a.offers_forwarded - before_a.offers_forwarded, b.offers_forwarded - before_b.offers_forwarded];
    assert!(offers.contains(&0), "{offers:?}");
    let announces = b.announces - before_b.announces;
    assert!(offers.iter().all(|offers| *offers <= announces), "{offers:?} in {announces} announces");
    assert_eq!((a.answers_forwarded, b.answers_forwarded), (before_a.answers_forwarded, before_b.answers_forwarded));
}

#[tokio::test(start_paused = true)]
async fn a_tracker_removed_and_added_again_at_once_is_reached_again_once() {
    let sim = Sim::new(5);
    let tracker = sim.start_tracker(A);
    let mut node = sim.start("room", &[A]).await;
    sleep(SOON).await;
    while timeout(Duration::from_secs(1), node.events.next()).await.is_ok() {}
    assert!(node.p2pt.node().remove_tracker(A).await.expect("running"));
    node.p2pt.node().add_tracker(A).await.expect("added");
    let mut heard = Vec::new();
    while let Ok(event) = timeout(SOON, node.events.next()).await {
        heard.push(event.expect("the stream goes on"));
    }
    assert!(matches!(heard[..], [Event::TrackerConnected(_)]), "{heard:?}");
    let stats = node.p2pt.node().tracker_stats();
    assert_eq!((stats.connected, stats.total), (1, 1));
    assert_eq!(tracker.stats().swarms.peers, 1);
}
