//! Whole nodes over ICE, DTLS and SCTP in an emulated network under paused time, with delay, loss and NATs: what the
//! suites over the memory network show, shown for representative swarms and plans over the real stack.

use std::time::Duration;

use p2pt::{ChannelClosed, Event, Peer};
use p2pt_tests::events::{closed, connected, next_of_peers};
use p2pt_tests::plan::{self, Fault, Plan, Step};
use p2pt_tests::sim::{Emulated, Sim, SimNode, is_mesh, is_one_graph, tasks, until};
use p2pt_tests::tracker_profile::{Misbehaviour, TrackerProfile};
use p2pt_transport::emulator::{NatKind, Path};
use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout_at};

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// Virtual time in which anything expected here has happened.
const SOON: Duration = Duration::from_secs(300);

/// The silence timeout, and what the round trip and the timers add.
const NOTICED_WITHIN: Duration = Duration::from_millis(4200);

/// How long a peer may take to come back before it is reported closed.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

type Node = SimNode<Emulated>;

/// Two nodes that have met.
async fn pair(sim: &Sim<Emulated>) -> (Node, Peer, Node, Peer) {
    sim.start_tracker(A);
    let mut one = sim.start("room", &[A]).await;
    let mut two = sim.start("room", &[A]).await;
    let (to_two, to_one) = (connected(&mut one.events, SOON).await, connected(&mut two.events, SOON).await);
    (one, to_two, two, to_one)
}

#[tokio::test(start_paused = true)]
async fn messages_of_any_size_and_requests_arrive() {
    let sim = Sim::over(Emulated::usual(1), 1);
    let (mut one, to_two, mut two, to_one) = pair(&sim).await;
    for bytes in [0, 1, 1000, 100_000, 2_000_000] {
        let text = "x".repeat(bytes);
        let (sent, event) = tokio::join!(to_one.send(text.as_str()), next_of_peers(&mut one.events, SOON));
        sent.expect("sent");
        let Event::Message(message) = event else { panic!("not a message: {event:?}") };
        assert!(message.text() == Some(text.as_str()), "{bytes} bytes");
    }
    let answering = async {
        let Event::Message(message) = next_of_peers(&mut two.events, SOON).await else { panic!("not a message") };
        message.respond("here").await.expect("sent");
    };
    let (response, ()) = tokio::join!(to_two.request("where?"), answering);
    assert_eq!(response.expect("a response").text(), Some("here"));
}

#[tokio::test(start_paused = true)]
async fn a_leave_is_seen_at_once_and_a_death_after_the_silence_time() {
    let sim = Sim::over(Emulated::usual(2), 2);
    let (mut one, to_two, two, _) = pair(&sim).await;
    let left = Instant::now();
    let (parted, ()) = tokio::join!(closed(&mut one.events, SOON), two.p2pt.shutdown());
    assert_eq!(parted.reason, ChannelClosed::Remote);
    assert!(left.elapsed() < SECOND, "seen after {:?}", left.elapsed());
    assert!(!to_two.is_connected());
    let dead = sim.start("room", &[A]).await;
    connected(&mut one.events, SOON).await;
    sim.kill(dead.node);
    drop(dead.p2pt);
    let died = Instant::now();
    assert!(matches!(closed(&mut one.events, SOON).await.reason, ChannelClosed::Timeout(_)));
    assert!(died.elapsed() <= NOTICED_WITHIN + RECONNECT_WITHIN, "noticed after {:?}", died.elapsed());
}

/// Most homes get a new address now and then, and with it all translations.
#[tokio::test(start_paused = true)]
async fn a_node_whose_nat_gets_another_address_meets_the_others_again() {
    let network = Emulated::webrtc(3, Path::default().loss(0.005), &[Some(NatKind::PortRestricted)]);
    let sim = Sim::over(network.clone(), 3);
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(sim.start("room", &[A]).await);
    }
    assert!(until(60 * SECOND, || is_mesh(&nodes)).await.is_some(), "they meet");
    sleep(200 * SECOND).await;
    for turn in 0..3 {
        network.nat(nodes[turn].node).expect("it is behind one").change_address().expect("a free address");
        sim.change_address(nodes[turn].node);
        let noticed = until(NOTICED_WITHIN * 2, || nodes[turn].p2pt.peers().is_empty()).await;
        let back = until(SOON, || is_mesh(&nodes)).await;
        println!("turn {turn}: alone after {noticed:?}, whole again {back:?} later");
        assert!(noticed.is_some() && back.is_some_and(|back| back <= 10 * SECOND), "{noticed:?} {back:?}");
        sleep(100 * SECOND).await;
    }
}

/// A laptop that goes from one network to another, and to a third.
#[tokio::test(start_paused = true)]
async fn a_node_that_changes_its_network_meets_the_others_again() {
    let sim = Sim::over(Emulated::usual(4), 4);
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(sim.start("room", &[A]).await);
    }
    assert!(until(60 * SECOND, || is_mesh(&nodes)).await.is_some(), "they meet");
    for turn in 0..2 {
        sleep(100 * SECOND).await;
        sim.network.host(nodes[turn].node).change_address().expect("a free address");
        sim.change_address(nodes[turn].node);
        let noticed = until(NOTICED_WITHIN * 2, || nodes[turn].p2pt.peers().is_empty()).await;
        let back = until(SOON, || is_mesh(&nodes)).await;
        println!("turn {turn}: alone after {noticed:?}, whole again {back:?} later");
        assert!(noticed.is_some() && back.is_some_and(|back| back <= 10 * SECOND), "{noticed:?} {back:?}");
    }
}

/// Where trackers are slow and delays long, all kinds of NAT are there and a tenth is lost.
#[tokio::test(start_paused = true)]
async fn a_bad_network_is_one_still() {
    const NATS: &[Option<NatKind>] = &[
        None,
        Some(NatKind::EndpointIndependent),
        Some(NatKind::AddressRestricted),
        Some(NatKind::PortRestricted),
        Some(NatKind::AddressRestricted),
        None,
    ];
    let network = Emulated::webrtc(5, Path::default().loss(0.05), NATS);
    let sim = Sim::over(network.clone(), 5);
    p2pt_tests::sim::Underlay::set_latency(&network, Some((Duration::from_millis(150), Duration::from_millis(100))));
    sim.start_profile(A, TrackerProfile::wt_tracker()).set_pace(SECOND);
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(sim.start("room", &[A]).await);
    }
    let met = until(SOON, || is_mesh(&nodes)).await;
    println!("a mesh after {met:?}");
    assert!(met.is_some_and(|met| met <= 60 * SECOND), "{met:?}");
}

const LIMIT: usize = 8;
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

fn is_whole(nodes: &[Node]) -> bool {
    assert!(nodes.iter().all(|node| node.p2pt.peers().len() <= LIMIT), "more peers than there may be");
    is_one_graph(nodes)
}

/// What this thread has used of its processor, which no other test disturbs.
#[cfg(target_os = "linux")]
fn cpu_seconds() -> f64 {
    p2pt_tests::machine::cpu_seconds("thread-self")
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> f64 {
    0.0
}

/// What the swarm below may cost, in seconds. It takes less than half of that.
const MOST_CPU: f64 = 10.0;

#[tokio::test(start_paused = true)]
async fn a_hundred_nodes_form_one_graph_and_messages_arrive() {
    let before = cpu_seconds();
    let sim = Sim::over(Emulated::usual(100), 100);
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    sim.start_profile(B, TrackerProfile::aquatic());
    let mut nodes = Vec::new();
    for _ in 0..100 {
        nodes.push(sim.start_with("room", &[A, B], |node| node.max_peers(LIMIT)).await);
    }
    let took = until(CONNECTED_WITHIN, || is_whole(&nodes)).await.expect("one graph");
    // A third of them dies, a tracker loses its memory, and the rest is one graph still or again.
    for dead in nodes.drain(..33) {
        sim.kill(dead.node);
    }
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    sleep(10 * SECOND).await;
    let again = until(CONNECTED_WITHIN, || is_whole(&nodes)).await.expect("one graph again");
    sleep(30 * SECOND).await;
    assert!(is_whole(&nodes));
    let places: usize = nodes.iter().map(|node| node.p2pt.peers().len()).sum();
    println!("one graph after {took:?}, and {again:?} after the dead were gone; {places} ends of connections");
    assert!(places >= nodes.len() * LIMIT * 8 / 10, "{places} of {} places taken", nodes.len() * LIMIT);
    let (mut sent, mut heard) = (0, 0);
    for node in &nodes {
        let results = node.p2pt.broadcast("x".repeat(2000)).await;
        sent += results.iter().filter(|(_, result)| result.is_ok()).count();
    }
    // A last packet that is lost comes again after a second at the least, and after three if it is lost again.
    let deadline = Instant::now() + CONNECTED_WITHIN;
    for node in &mut nodes {
        while let Ok(Some(event)) = timeout_at(deadline, node.events.next()).await {
            heard += usize::from(matches!(event, Event::Message(_)));
        }
    }
    assert!(sent == places && heard == sent, "{heard} of {sent} messages heard, {places} places");
    let used = cpu_seconds() - before;
    println!("{used:.1} s of CPU");
    assert!(used <= MOST_CPU, "{used} s");
}

#[tokio::test(start_paused = true)]
async fn coming_and_going_leave_nothing_behind() {
    let network = Emulated::usual(6);
    let sim = Sim::over(network.clone(), 6);
    sim.start_profile(A, TrackerProfile::aquatic());
    sim.start_profile(B, TrackerProfile::wt_tracker().misbehaving(Misbehaviour::ForgedAnswers));
    let mut nodes = Vec::new();
    let mut after_each_round = Vec::new();
    for _ in 0..3 {
        for turn in 0..12 {
            if nodes.len() == 6 {
                let gone: Node = nodes.remove(0);
                match turn % 3 {
                    0 => gone.p2pt.shutdown().await,
                    1 => sim.kill(gone.node),
                    _ => drop(gone),
                }
            }
            nodes.push(sim.start("room", &[A, B]).await);
            sleep(30 * SECOND).await;
        }
        // Until offers have come to their ends.
        sleep(180 * SECOND).await;
        let met = until(3600 * SECOND, || is_mesh(&nodes)).await;
        assert!(met.is_some(), "no full mesh");
        after_each_round.push((tasks(), network.internet.sockets()));
    }
    println!("tasks and sockets after each round: {after_each_round:?}");
    let (most, least) = (after_each_round.iter().max(), after_each_round.iter().min());
    assert!(most.zip(least).is_some_and(|(most, least)| most.0 - least.0 < 40), "{after_each_round:?}");
    // Each node has at most eight sockets.
    assert!(after_each_round.iter().all(|(_, sockets)| *sockets <= 6 * 8), "{after_each_round:?}");
    for node in nodes.drain(..) {
        node.p2pt.shutdown().await;
    }
    assert_eq!(network.internet.sockets(), 0);
}

fn step(at: u64, lasts: u64, fault: Fault) -> Step {
    Step { at, lasts, fault }
}

#[test]
fn after_much_that_can_break_a_swarm_is_whole_again() {
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
    println!("{:?}", plan.run_over(|| Emulated::usual(plan.seed)));
}

/// Everything at once.
#[test]
fn after_the_worst_twenty_nodes_form_a_full_mesh() {
    let step = |at, fault| Step { at, lasts: 180 - at, fault };
    let plan = Plan {
        seed: 40,
        nodes: 20,
        trackers: vec![0, 2],
        steps: vec![
            step(10, Fault::Slow { millis: 700 }),
            step(30, Fault::Partition { nodes: 0x000f_0f0f }),
            step(40, Fault::Kill { node: 3 }),
            step(40, Fault::Kill { node: 17 }),
            step(50, Fault::Freeze { node: 5 }),
            step(50, Fault::Freeze { node: 6 }),
            step(60, Fault::Outage { tracker: 0 }),
            step(70, Fault::Misbehaviour { tracker: 1, misbehaviour: Misbehaviour::OfferFlood }),
            step(90, Fault::Cut { a: 1, b: 2 }),
            step(95, Fault::CutFrom { from: 4, to: 8 }),
            step(95, Fault::SlowFrom { from: 9, to: 10, millis: 7000 }),
            step(100, Fault::SlowTracker { tracker: 0, millis: 5000 }),
            step(120, Fault::Unplug { nodes: u64::MAX }),
            step(179, Fault::Kill { node: 15 }),
        ],
    };
    let outcome = plan.run_over(|| Emulated::usual(plan.seed));
    println!("{outcome:?}");
    assert_eq!(outcome.alive, 17);
}

/// Cases by default; more with `PROPTEST_CASES`.
const CASES: u32 = 6;

proptest! {
    #![proptest_config(plan::cases(CASES, 50))]

    /// To run a plan again: `P2PT_PLAN='{…}' cargo test -p p2pt-tests --test full_stack a_given_plan`.
    #[test]
    fn after_any_plan_a_swarm_is_whole_again(plan in Plan::any(8)) {
        let outcome = plan.run_over(|| Emulated::usual(plan.seed));
        println!("{plan}\n{outcome:?}");
    }
}

#[test]
fn a_given_plan_can_be_run_again() {
    let Ok(given) = std::env::var("P2PT_PLAN") else { return };
    let plan: Plan = given.parse().expect("a plan in JSON");
    println!("{plan}\n{:?}", plan.run_over(|| Emulated::usual(plan.seed)));
}
