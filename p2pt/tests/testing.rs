//! Worlds of `p2pt::testing`: the same seed, the same events; and what can happen to nodes.
#![cfg(feature = "testing")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2pt::testing::{Conditions, World};
use p2pt::{Event, Events, Swarm};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down every event of a node, with its time and the ids in it, and answers messages.
fn record(node: usize, mut events: Events, log: Log) {
    let start = Instant::now();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::PeerConnected(peer) = &event {
                let _ = peer.queue(format!("hello from {node}"));
            }
            log.lock().expect("no panic").push(format!("{:?} {node}: {event:?}", start.elapsed()));
        }
        log.lock().expect("no panic").push(format!("{:?} {node}: the end", start.elapsed()));
    });
}

/// What the nodes of a world with trouble hear, as text.
async fn history(seed: u64) -> Vec<String> {
    let world = World::new(seed);
    let jitter = 40 * SECOND / 1000;
    world.network().set_conditions(Conditions { jitter, ..Conditions::default() });
    let log = Log::default();
    let mut swarms = Vec::new();
    for node in 0..6 {
        let (swarm, events) = world.join("room").await;
        record(node, events, log.clone());
        swarms.push(swarm);
        world.advance(SECOND).await;
    }
    world.advance(20 * SECOND).await;
    world.kill(&swarms[0]);
    world.stop_tracker(World::TRACKER);
    world.advance(20 * SECOND).await;
    world.start_tracker(World::TRACKER);
    swarms[1].shutdown().await;
    world.advance(60 * SECOND).await;
    std::mem::take(&mut *log.lock().expect("no panic"))
}

#[tokio::test]
async fn the_same_seed_has_the_same_events_in_the_same_order() {
    let (once, again, otherwise) = tokio::join!(history(7), history(7), history(8));
    assert!(once.len() > 60, "{}", once.len());
    for (line, (one, other)) in once.iter().zip(&again).enumerate() {
        assert_eq!(one, other, "line {line}");
    }
    assert_eq!(once.len(), again.len());
    assert_ne!(once, otherwise);
}

fn sees(swarm: &Swarm, other: &Swarm) -> bool {
    swarm.peer(&other.peer_id()).is_some()
}

async fn pair(world: &World) -> [(Swarm, Events); 2] {
    let pair = [world.join("room").await, world.join("room").await];
    let [(one, _), (other, _)] = &pair;
    world.until(10 * SECOND, || sees(one, other) && sees(other, one)).await.expect("they meet");
    pair
}

#[tokio::test]
async fn a_killed_node_is_missed_and_its_stream_ends() {
    let world = World::new(1);
    let [(alice, _alice_events), (bob, mut bob_events)] = pair(&world).await;
    world.kill(&bob);
    let noticed = world.until(60 * SECOND, || !sees(&alice, &bob)).await.expect("a death is noticed");
    assert!(noticed > 3 * SECOND, "as a silence, not as a farewell: {noticed:?}");
    let to_the_end = async { while bob_events.next().await.is_some() {} };
    timeout(60 * SECOND, to_the_end).await.expect("its stream ends");
}

#[tokio::test]
async fn a_node_without_a_network_is_missed_and_comes_back() {
    let world = World::new(1);
    let [(alice, _alice_events), (bob, _bob_events)] = pair(&world).await;
    world.unplug(&bob);
    let (carol, _carol_events) = world.join("room").await;
    world.until(60 * SECOND, || !sees(&alice, &bob) && !sees(&bob, &alice)).await.expect("both notice");
    world.unplug(&carol);
    world.advance(60 * SECOND).await;
    world.plug_in(&bob);
    world.until(180 * SECOND, || sees(&alice, &bob)).await.expect("it is met again");
    assert!(!sees(&bob, &carol), "that one is unplugged");
    world.plug_in(&carol);
    world.until(180 * SECOND, || sees(&bob, &carol)).await.expect("it is met");
}

#[tokio::test]
async fn a_stopped_node_goes_on_as_if_nothing_had_been() {
    let world = World::new(1);
    let [(alice, _alice_events), (bob, mut bob_events)] = pair(&world).await;
    world.freeze(&bob);
    world.advance(2 * SECOND).await;
    let _ = alice.queue_all("hello");
    world.thaw(&bob);
    loop {
        match timeout(60 * SECOND, bob_events.next()).await.expect("in time").expect("the stream goes on") {
            Event::Message(message) => break assert_eq!(message.text(), Some("hello")),
            Event::PeerClosed(closed) => panic!("{closed:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_tracker_that_is_down_brings_nobody_together() {
    let world = World::new(1);
    world.stop_tracker(World::TRACKER);
    let (alice, _alice_events) = world.join("room").await;
    let (bob, _bob_events) = world.join("room").await;
    assert_eq!(world.until(600 * SECOND, || sees(&alice, &bob)).await, None);
    world.start_tracker(World::TRACKER);
    world.until(120 * SECOND, || sees(&alice, &bob)).await.expect("they meet");
}

#[tokio::test]
async fn nodes_meet_at_the_trackers_they_know() {
    let world = World::new(1);
    let spare = "ws://spare.test/announce";
    world.start_tracker(spare);
    let at = async |url: &str| world.builder_at([url]).join("room").await.expect("a node");
    let (alice, _alice_events) = at(World::TRACKER).await;
    let (bob, _bob_events) = at(spare).await;
    assert_eq!(world.until(600 * SECOND, || sees(&alice, &bob)).await, None);
    alice.node().add_tracker(spare).await.expect("a tracker");
    world.until(60 * SECOND, || sees(&alice, &bob)).await.expect("they meet");
}

#[tokio::test]
#[should_panic(expected = "is not of this world")]
async fn a_node_of_another_world_is_refused() {
    let (swarm, _events) = World::new(1).join("room").await;
    World::new(1).kill(&swarm);
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "a runtime of one thread")]
async fn a_runtime_whose_time_cannot_be_paused_is_refused() {
    World::new(1);
}

#[test]
#[should_panic(expected = "within a tokio runtime")]
fn a_world_outside_a_runtime_is_refused() {
    World::new(1);
}

#[tokio::test(start_paused = true)]
async fn time_that_is_paused_already_stays_so() {
    let world = World::new(1);
    let start = Instant::now();
    world.advance(3600 * SECOND).await;
    assert_eq!(start.elapsed(), 3600 * SECOND);
}
