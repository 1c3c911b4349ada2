//! Random schedules in simulated swarms under paused time: nodes start, send, leave and die, paths are cut and mended,
//! channels break, and the rules hold.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use p2pt::{Event, Events, PeerId, Swarm};
use p2pt_tests::sim::Sim;
use p2pt_transport::memory::{Break, Conditions, NodeId};
use proptest::prelude::*;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";

/// Virtual time in which all members of a small swarm have met.
const SOON: Duration = Duration::from_secs(3600);

/// Something that happens; nodes are taken modulo how many there are.
#[derive(Debug, Clone)]
enum Op {
    Start,
    Leave(usize),
    Kill(usize),
    /// Sends this many messages to every peer.
    Send(usize, u8),
    Break(usize, usize, u8),
    Cut(usize, usize),
    Heal,
    MorePeers(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let node = || any::<usize>();
    prop_oneof![
        2 => Just(Op::Start),
        1 => node().prop_map(Op::Leave),
        1 => node().prop_map(Op::Kill),
        6 => (node(), 1..20u8).prop_map(|(n, count)| Op::Send(n, count)),
        2 => (node(), node(), 0..20u8).prop_map(|(n, m, frames)| Op::Break(n, m, frames)),
        1 => (node(), node()).prop_map(|(n, m)| Op::Cut(n, m)),
        1 => Just(Op::Heal),
        1 => node().prop_map(Op::MorePeers),
        2 => (0..100u64).prop_map(Op::Wait),
        2 => (0..30_000u64).prop_map(Op::Wait),
    ]
}

struct Running {
    p2pt: Swarm,
    node: NodeId,
    hearing: JoinHandle<()>,
}

/// Reads events to the end of the stream: for each peer connected, its messages in order and none twice, closed.
async fn hear(mut events: Events) {
    let mut connected = HashSet::new();
    let mut last: HashMap<PeerId, u64> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => assert!(connected.insert(peer.id()), "connected twice"),
            Event::PeerClosed(closed) => assert!(connected.remove(&closed.peer.id()), "closed, but not connected"),
            Event::Message(message) => {
                let from = message.peer().id();
                assert!(connected.contains(&from), "a message of a peer that is not connected");
                let number = message.json::<u64>().expect("a number");
                let before = last.insert(from, number);
                assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
            }
            Event::TrackerConnected(_) | Event::TrackerWarning { .. } => {}
            Event::ConnectionFailed(_) | Event::ConnectionRejected(_) | Event::TrustChanged(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(connected.is_empty(), "an end was not reported");
}

async fn run(seed: u64, connections_per_peer: usize, ops: Vec<Op>) {
    let sim = Sim::new(seed);
    sim.network.set_conditions(Conditions { jitter: Duration::from_millis(100), ..Conditions::default() });
    sim.start_tracker(A);
    sim.start_tracker(B);
    let mut nodes: Vec<Running> = Vec::new();
    let mut ended = Vec::new();
    let mut number = 0u64;
    for op in ops {
        let count = nodes.len();
        match op {
            Op::Start if count < 5 => {
                let started =
                    sim.start_with("room", &[A, B], |node| node.connections_per_peer(connections_per_peer)).await;
                let hearing = tokio::spawn(hear(started.events));
                nodes.push(Running { p2pt: started.p2pt, node: started.node, hearing });
            }
            Op::Wait(ms) => sleep(Duration::from_millis(ms)).await,
            Op::Heal => sim.network.heal(),
            _ if count == 0 => {}
            Op::Start => {}
            Op::Leave(n) => {
                let node = nodes.swap_remove(n % count);
                node.p2pt.shutdown().await;
                ended.push(node.hearing);
            }
            Op::Kill(n) => {
                let node = nodes.swap_remove(n % count);
                sim.network.kill(node.node);
                // Its events are still read, which alone would keep it going.
                tokio::spawn(async move { node.p2pt.shutdown().await });
                ended.push(node.hearing);
            }
            Op::Send(n, messages) => {
                for _ in 0..messages {
                    number += 1;
                    // Peers that are gone by now get none.
                    let _ = nodes[n % count].p2pt.broadcast(json!(number)).await;
                }
            }
            Op::Break(n, m, frames) => {
                let (from, to) = (nodes[n % count].node, nodes[m % count].node);
                sim.network.break_after(from, to, Break::AfterFrames(frames.into()));
            }
            Op::Cut(n, m) => sim.network.cut(nodes[n % count].node, nodes[m % count].node),
            Op::MorePeers(n) => nodes[n % count].p2pt.request_more_peers().await.expect("running"),
        }
    }

    // Those who remain find each other, whatever happened.
    sim.network.heal();
    let deadline = Instant::now() + SOON;
    let all: HashSet<PeerId> = nodes.iter().map(|node| node.p2pt.peer_id()).collect();
    for node in &nodes {
        loop {
            let met: HashSet<PeerId> = node.p2pt.peers().iter().map(|peer| peer.id()).collect();
            if all.iter().all(|id| met.contains(id) || *id == node.p2pt.peer_id()) {
                break;
            }
            assert!(Instant::now() < deadline, "they did not meet again");
            sleep(Duration::from_secs(5)).await;
        }
    }
    for node in nodes {
        node.p2pt.shutdown().await;
        ended.push(node.hearing);
    }
    for hearing in ended {
        timeout(SOON, hearing).await.expect("the stream ends").expect("the rules hold");
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!((sim.network.open_channels(), sim.network.pending()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_keeps_the_rules(
        seed in any::<u64>(), connections_per_peer in 1..3usize, ops in prop::collection::vec(op(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(run(seed, connections_per_peer, ops));
    }
}
