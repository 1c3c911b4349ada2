//! Several swarms on one node: sockets are shared, everything else is not.

use std::time::Duration;

use futures_util::future::join_all;
use p2pt::{Event, Events, InfoHash, Swarm};
use p2pt_tests::sim::{Sim, SimNode, Underlay, until};
use p2pt_tests::tracker_profile::{ProfiledTracker, TrackerProfile};
use tokio::time::{sleep, timeout};

const A: &str = "ws://a.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// The others may hold the first offers back for two seconds, and the next ones come after 15 s.
const REJOINED_WITHIN: Duration = Duration::from_secs(20);

const ROOMS: [&str; 4] = ["red", "green", "blue", "room"];

struct Harness<N: Underlay> {
    sim: Sim<N>,
    tracker: ProfiledTracker,
    nodes: Vec<SimNode<N>>,
    /// For each node, its swarms beside the first.
    swarms: Vec<Vec<(Swarm, Events)>>,
}

impl<N: Underlay> Harness<N> {
    /// So many nodes, each in every room.
    async fn new(over: fn(u64) -> N, profile: TrackerProfile, nodes: usize) -> Self {
        let sim = Sim::over(over(51), 51);
        let tracker = sim.start_profile(A, profile);
        let mut harness = Self { sim, tracker, nodes: Vec::new(), swarms: Vec::new() };
        for _ in 0..nodes {
            let node = harness.sim.start(ROOMS[3], &[A]).await;
            let mut swarms = Vec::new();
            for room in &ROOMS[..3] {
                swarms.push(node.p2pt.node().join(*room).await.expect("joined"));
            }
            harness.nodes.push(node);
            harness.swarms.push(swarms);
        }
        let met = until(60 * SECOND, || harness.is_whole()).await;
        assert!(met.is_some(), "they meet in every room");
        harness
    }

    fn is_whole(&self) -> bool {
        let others = self.nodes.len() - 1;
        let first = self.nodes.iter().all(|node| node.p2pt.peers().len() == others);
        first && self.swarms.iter().flatten().all(|(swarm, _)| swarm.peers().len() == others)
    }
}

/// What was heard of peers in a swarm.
async fn heard(events: &mut Events) -> Vec<Event> {
    let mut heard = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::ZERO, events.next()).await {
        if matches!(event, Event::PeerConnected(_) | Event::PeerClosed(_) | Event::Message(_)) {
            heard.push(event);
        }
    }
    heard
}

async fn leaving_one_leaves_the_others_alone_and_sockets_are_shared<N: Underlay>(
    over: fn(u64) -> N,
    profile: TrackerProfile,
) {
    let name = profile.name;
    let mut harness = Harness::new(over, profile, 3).await;
    assert_eq!((harness.tracker.log().connections, harness.tracker.members()), (3, 3 * 4), "{name}");
    for (_, events) in harness.swarms.iter_mut().flatten() {
        assert_eq!(heard(events).await.len(), 2, "{name}: each is heard of once in each room");
    }
    let (red, mut end) = harness.swarms[0].remove(0);
    red.leave().await.expect("left");
    assert_eq!(heard(&mut end).await.len(), 2, "{name}: they are said to have gone");
    assert!(end.next().await.is_none(), "{name}");
    sleep(600 * SECOND).await;
    assert_eq!(harness.tracker.members(), 3 * 4 - 1, "{name}");
    assert_eq!((harness.tracker.log().stopped, harness.tracker.log().connections), (1, 3), "{name}");
    for (n, (swarm, events)) in harness.swarms[0].iter_mut().enumerate() {
        assert_eq!((swarm.peers().len(), heard(events).await.len()), (2, 0), "{name}: room {n} was disturbed");
    }
    for swarms in &mut harness.swarms[1..] {
        let (swarm, events) = &mut swarms[0];
        let heard = heard(events).await;
        assert!(matches!(heard[..], [Event::PeerClosed(_)]) && swarm.peers().len() == 1, "{name}: {heard:?}");
    }
    // What is sent in one room is heard in that room alone.
    let _ = harness.swarms[1][2].0.broadcast("blue").await;
    sleep(SECOND).await;
    for (n, swarms) in harness.swarms.iter_mut().enumerate() {
        for (swarm, events) in swarms {
            let expected = usize::from(n != 1 && swarm.info_hash() == InfoHash::of("blue"));
            assert_eq!(heard(events).await.len(), expected, "{name}: {:?} of node {n}", swarm.identifier());
        }
    }
}

/// Users of trystero cannot.
async fn rejoining_works_at_once_and_always_also_when_everybody_does<N: Underlay>(
    over: fn(u64) -> N,
    profile: TrackerProfile,
) {
    let name = profile.name;
    let mut harness = Harness::new(over, profile, 3).await;
    for turn in 0..10 {
        // One of them, then two, then all, in one or more rooms.
        let leavers = 1 + turn % 3;
        let rooms = 1 + turn % 2;
        let again = harness.swarms[..leavers].iter_mut().zip(&harness.nodes).map(|(swarms, node)| async move {
            for (swarm, events) in &mut swarms[..rooms] {
                let room = swarm.key();
                swarm.leave().await.expect("left");
                (*swarm, *events) = node.p2pt.node().join(room).await.expect("joined at once");
            }
        });
        join_all(again).await;
        let back = until(REJOINED_WITHIN, || harness.is_whole()).await;
        assert!(back.is_some(), "{name}: not back in turn {turn}");
    }
    let log = harness.tracker.log();
    assert_eq!((log.connections, log.bad_inputs, log.second_ids), (3, 0, 0), "{name}: {log:?}");
    assert_eq!(harness.tracker.members(), 3 * 4, "{name}");
    assert!(
        until(60 * SECOND, || harness.sim.network.open_channels().is_none_or(|ends| ends == 4 * 3 * 2)).await.is_some(),
        "{name}"
    );
}

p2pt_tests::over_both_networks!(
    leaving_one_leaves_the_others_alone_and_sockets_are_shared,
    rejoining_works_at_once_and_always_also_when_everybody_does,
);
