//! A test of one's own application, in memory: `cargo test -p p2pt --example memory_test`, or `cargo run` to watch it.
//!
//! The application takes a [`Builder`](p2pt::Builder) or a swarm and its events, and so does not know whether its peers are
//! real. In a `World` (feature `testing`) time is virtual: half an hour of peers that come and go takes milliseconds, and
//! each seed is the same every time.

use std::time::Duration;

use p2pt::testing::World;
use p2pt::{Event, Events, Swarm};

/// The application: counts how many peers have said hello.
async fn count_greetings(events: &mut Events, wanted: usize) -> usize {
    let mut greeted = 0;
    while greeted < wanted {
        match events.next().await {
            Some(Event::PeerConnected(peer)) => drop(peer.queue("hello")),
            Some(Event::Message(message)) if message.text() == Some("hello") => greeted += 1,
            Some(_) => {}
            None => break,
        }
    }
    greeted
}

async fn five_nodes_greet(seed: u64) -> (usize, Duration) {
    let world = World::new(seed);
    let began = tokio::time::Instant::now();
    let mut nodes: Vec<(Swarm, Events)> = Vec::new();
    for _ in 0..5 {
        nodes.push(world.join("room").await);
    }
    let (mut first, others) = (nodes.remove(0), nodes);
    // The others run in tasks of their own, as five programs would.
    let tasks: Vec<_> = others
        .into_iter()
        .map(|(swarm, mut events)| {
            tokio::spawn(async move {
                let greeted = count_greetings(&mut events, 4).await;
                (swarm, events, greeted)
            })
        })
        .collect();
    let mut greeted = count_greetings(&mut first.1, 4).await;
    for task in tasks {
        greeted += task.await.expect("the task ends").2;
    }
    (greeted, began.elapsed())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for seed in 0..5 {
        let (greeted, after) = five_nodes_greet(seed).await;
        println!("seed {seed}: {greeted} greetings after {after:?} of virtual time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_node_greets_every_other() {
        let (greeted, after) = five_nodes_greet(7).await;
        assert_eq!(greeted, 5 * 4);
        assert!(after < Duration::from_secs(60), "{after:?}");
    }

    #[tokio::test]
    async fn a_peer_that_loses_its_network_is_missed() {
        let world = World::new(7);
        let (alice, _alice_events) = world.join("room").await;
        let (bob, _bob_events) = world.join("room").await;
        let sees = |one: &Swarm, other: &Swarm| one.peer(&other.peer_id()).is_some();
        world.until(Duration::from_secs(30), || sees(&alice, &bob)).await.expect("they meet");
        world.unplug(&bob);
        world.until(Duration::from_secs(60), || !sees(&alice, &bob)).await.expect("the loss is noticed");
    }
}
