//! Nodes at trackers that behave as each of the known servers, and at trackers that misbehave.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use p2pt::tracker::{ConnectError, SocketEnd};
use p2pt::{Builder, Event, TrackerWarning};
use p2pt_tests::sim::{Sim, SimNode, is_mesh, tasks, until};
use p2pt_tests::tracker_profile::{Family, Misbehaviour, TrackerProfile};
use p2pt_transport::memory::MemoryTransport;
use p2pt_transport::{Channel, PendingAnswer, PendingOffer, Transport, TransportError};
use tokio::time::{Instant, sleep, timeout_at};

const A: &str = "ws://a.test/announce";
const BAD: &str = "ws://bad.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// Ten minutes: five announce intervals of the slowest, and three times as long as the most forgetful remembers.
const LONG: Duration = Duration::from_secs(600);

/// The others decline the first offers of a node that has just left, if its old links are not quite gone there; the
/// next ones come after 15 s.
const REJOINED_WITHIN: Duration = Duration::from_secs(20);

/// Waits for a full mesh and says how long it took.
async fn meet(what: &str, nodes: &[SimNode], within: Duration) -> Duration {
    let met = until(within, || is_mesh(nodes)).await;
    met.unwrap_or_else(|| {
        let peers: Vec<_> = nodes.iter().map(|node| node.p2pt.peers().len()).collect();
        panic!("{what}: no full mesh within {within:?}: {peers:?}")
    })
}

async fn shut_down(what: &str, nodes: &[SimNode]) {
    for node in nodes {
        let started = Instant::now();
        node.p2pt.shutdown().await;
        assert!(started.elapsed() < 5 * SECOND, "{what}: shutdown took {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn at_each_tracker_nodes_meet_stay_members_and_waste_nothing() {
    for profile in TrackerProfile::all() {
        let (sim, name) = (Sim::new(21), profile.name);
        let tracker = sim.start_profile(A, profile);
        let nodes = sim.start_all(6, "room", &[A], |node| node).await;
        meet(name, &nodes, 60 * SECOND).await;
        // One interval later every tracker's last reply has reported to all nodes that there are no unknown peers.
        sleep(125 * SECOND).await;
        let met = tracker.log();
        sleep(LONG).await;
        let log = tracker.log();
        assert_eq!(tracker.members(), 6, "{name}");
        assert_eq!((log.connections, log.bad_inputs, log.expired, log.ignored, log.dropped), (6, 0, 0, 0, 0), "{name}");
        assert_eq!((log.second_ids, log.offers_repeated, log.stray_answers), (0, 0, 0), "{name}");
        assert_eq!(log.most_offers, 5, "{name}");
        assert!(log.announces > met.announces, "{name}: no node announces");
        assert_eq!(log.offers, met.offers, "{name}: offers although there are no unknown peers");
        assert_eq!(sim.network.open_channels(), 6 * 5, "{name}: one channel for each pair");
        assert_eq!(sim.network.pending(), 0, "{name}");

        let leaver = nodes[0].p2pt.peer_id();
        let left = Instant::now();
        nodes[0].p2pt.shutdown().await;
        let gone = until(SECOND, || nodes[1..].iter().all(|node| node.p2pt.peer(&leaver).is_none())).await;
        assert!(gone.is_some() && left.elapsed() <= SECOND, "{name}: leaving was not seen at once");
        assert_eq!((tracker.members(), tracker.log().stopped), (5, 1), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_each_tracker_a_swarm_is_left_and_joined_again() {
    for profile in TrackerProfile::all() {
        let (sim, name) = (Sim::new(22), profile.name);
        let tracker = sim.start_profile(A, profile);
        let nodes = sim.start_all(3, "room", &[A], |node| node).await;
        meet(name, &nodes, 60 * SECOND).await;
        let node = nodes[0].p2pt.node().clone();
        let mut swarm = nodes[0].p2pt.clone();
        for _ in 0..5 {
            swarm.leave().await.expect("left");
            let (joined, _events) = node.join("room").await.expect("joined again");
            swarm = joined;
            let back = || swarm.peers().len() == 2 && nodes[1..].iter().all(|node| node.p2pt.peers().len() == 2);
            assert!(until(REJOINED_WITHIN, back).await.is_some(), "{name}: {} met again", swarm.peers().len());
        }
        assert_eq!((tracker.log().connections, tracker.log().bad_inputs), (3, 0), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_tracker_may_restart_with_its_memory_lost() {
    for profile in TrackerProfile::all() {
        let (sim, name) = (Sim::new(23), profile.name);
        sim.start_profile(A, profile.clone());
        let mut nodes = sim.start_all(5, "room", &[A], |node| node).await;
        meet(name, &nodes, 60 * SECOND).await;
        for outage in [Duration::ZERO, 300 * SECOND] {
            sim.crash_tracker(A);
            sleep(outage).await;
            let tracker = sim.start_profile(A, profile.clone());
            // The longest back-off is a minute.
            let back = until(61 * SECOND, || tracker.members() == nodes.len()).await;
            assert!(back.is_some(), "{name}: {} came back", tracker.members());
            nodes.push(sim.start("room", &[A]).await);
            meet(name, &nodes, 180 * SECOND).await;
            assert_eq!(tracker.log().bad_inputs, 0, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_peers_are_asked_for_again_long_before_the_interval_is_over() {
    let sim = Sim::new(29);
    sim.start_profile(A, TrackerProfile::bittorrent_tracker());
    sim.network.refuse(1.0);
    let nodes = sim.start_all(2, "room", &[A], |node| node).await;
    // The first announces and those 15 s later lead to nothing; the next are due 30 s after those.
    sleep(42 * SECOND).await;
    sim.network.refuse(0.0);
    meet("bittorrent-tracker", &nodes, 20 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_id_that_a_dead_connection_holds_comes_back() {
    // bittorrent-tracker is not among them: there no node comes back before the dead connection ends, but for the run
    // that lost it and knows.
    for profile in [TrackerProfile::aquatic(), TrackerProfile::wt_tracker(), TrackerProfile::open_web_torrent()] {
        let (sim, name) = (Sim::new(24), profile.name);
        let tracker = sim.start_profile(A, profile);
        let id = [7u8; 20].into();
        let ghost = sim.start_with("room", &[A], |node| node.peer_id(id)).await;
        assert!(until(10 * SECOND, || tracker.members() == 1).await.is_some(), "{name}");
        sim.freeze(ghost.node);
        let nodes = [sim.start_with("room", &[A], |node| node.peer_id(id)).await, sim.start("room", &[A]).await];
        let took = meet(name, &nodes, 240 * SECOND).await;
        assert_eq!(tracker.log().ignored > 0, name == "aquatic_ws", "{name}: {took:?}");
    }
}

/// A node whose sockets break without its trackers' knowledge, so that they still know its peer id by a dead socket.
/// It notices when it next answers an offer or pings, within 30 s, and is back 3 s later. aquatic ignores it until the dead
/// socket has been without replies for 180 s or its record is 210 s old, and closes its new socket after 180 s, too; it
/// is asked every 30 s. bittorrent-tracker would never forget
/// the dead socket of a peer that goes on announcing, were it not for `stopped`.
#[tokio::test(start_paused = true)]
async fn a_node_cut_off_without_a_word_is_back_in_time() {
    for (profile, within) in TrackerProfile::all().into_iter().zip([60, 270, 60, 60]) {
        let (sim, name) = (Sim::new(30), profile.name);
        let tracker = sim.start_profile(A, profile);
        let mut nodes = sim.start_all(2, "room", &[A], |node| node).await;
        meet(name, &nodes, 60 * SECOND).await;
        sleep(125 * SECOND).await;
        sim.change_address(nodes[0].node);
        let cut = Instant::now();
        nodes.push(sim.start("room", &[A]).await);
        let took = meet(name, &nodes, within * SECOND).await;
        println!("{name}: a third node met after {took:?}");
        let confirmed = || {
            let stats = nodes[0].p2pt.node().tracker_stats();
            stats.connected == 1 && stats.trackers[0].counters.connects > 1
        };
        assert!(until(within * SECOND - cut.elapsed(), confirmed).await.is_some(), "{name}: not announced again");
        println!("{name}: announced again after {:?}", cut.elapsed());
        assert_eq!(tracker.log().ignored > 0, name == "aquatic_ws", "{name}");
        use TrackerWarning::{Disconnected, Slow, Timeout};
        let silent = matches!(last_error(&nodes[0], A), Some(Timeout { .. } | Slow { .. }));
        let closed = matches!(last_error(&nodes[0], A), Some(Disconnected { .. }));
        assert!(silent == (name == "aquatic_ws") || closed, "{name}: {:?}", last_error(&nodes[0], A));
        assert_eq!(sim.network.open_channels(), 3 * 2, "{name}: no channel was lost");
    }
}

#[tokio::test(start_paused = true)]
async fn aquatic_keeps_address_families_apart_and_a_second_tracker_joins_them() {
    let sim = Sim::new(25);
    let tracker = sim.start_profile(A, TrackerProfile::aquatic());
    let nodes = [
        sim.start_from(&[Family::V4], "room", &[A], |node| node).await,
        sim.start_from(&[Family::V6], "room", &[A], |node| node).await,
    ];
    sleep(LONG).await;
    assert!(nodes.iter().all(|node| node.p2pt.peers().is_empty()));
    assert_eq!((tracker.members(), tracker.log().offers_forwarded), (2, 0));
    const B: &str = "ws://b.test/announce";
    sim.start_profile(B, TrackerProfile::open_web_torrent());
    for node in &nodes {
        node.p2pt.node().add_tracker(B).await.expect("added");
    }
    meet("two trackers", &nodes, 10 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn large_offers_reach_aquatic_in_frames_it_takes() {
    let sim = Sim::new(26);
    let tracker = sim.start_profile(A, TrackerProfile::aquatic());
    let padded = |node: Builder| node.transport(Arc::new(Padded(sim.network.transport())));
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(sim.start_with("room", &[A], padded).await);
    }
    meet("aquatic", &nodes, 180 * SECOND).await;
    let log = tracker.log();
    assert!((8 << 10..16 << 10).contains(&log.longest), "{log:?}");
    assert_eq!((log.connections, log.bad_inputs), (6, 0), "{log:?}");
}

/// Bounds on what two nodes hold at two trackers, whatever the trackers do: for each node, the offers that may be
/// alive at each tracker, and the attempts that may be under way, each with an offer or answer of its own.
const PENDING_MAX: usize = 2 * (2 * 250 + 2 * 32);

/// Whether that is what is wrong with such a tracker. That a crowd does not exist cannot be noticed.
fn names(misbehaviour: Misbehaviour, warning: &TrackerWarning) -> bool {
    use SocketEnd::{Broken, Closed, DoesNotAnswer, DoesNotRead};
    use TrackerWarning::*;
    match misbehaviour {
        Misbehaviour::Intervals => matches!(warning, AbsurdInterval { .. } | BadFrame { .. }),
        Misbehaviour::Crowds => false,
        Misbehaviour::ForeignHashes => matches!(warning, ForeignSwarm { .. }),
        Misbehaviour::ForgedAnswers => matches!(warning, StrayAnswers { .. }),
        // Some trackers close the socket on an answer to such an offer before there were too many.
        Misbehaviour::OfferFlood => matches!(warning, OfferFlood { .. } | Disconnected { .. }),
        Misbehaviour::Oversized => matches!(warning, Disconnected { end: SocketEnd::Oversized, .. }),
        Misbehaviour::Garbage => matches!(warning, BadFrame { .. }),
        Misbehaviour::Refusal => matches!(warning, Failure { .. }),
        Misbehaviour::Silence => matches!(warning, Timeout { .. }),
        Misbehaviour::Deafness => matches!(warning, Disconnected { end: DoesNotAnswer | DoesNotRead, .. }),
        Misbehaviour::NoHandshake => matches!(warning, ConnectFailed { error: ConnectError::Timeout(_), .. }),
        Misbehaviour::HangUp => matches!(warning, Disconnected { end: Closed { .. } | Broken(_), .. }),
        Misbehaviour::Slowness => matches!(warning, Slow { .. }),
    }
}

/// What went wrong last at a tracker.
fn last_error(node: &SimNode, url: &str) -> Option<TrackerWarning> {
    let trackers = node.p2pt.node().tracker_stats().trackers;
    let tracker = trackers.into_iter().find(|tracker| tracker.url.as_str() == url).expect("it is one of the node's");
    Some(tracker.last_error?.warning)
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_misbehaves_harms_no_other() {
    for misbehaviour in Misbehaviour::ALL {
        for profile in [TrackerProfile::bittorrent_tracker(), TrackerProfile::wt_tracker()] {
            let before = tasks();
            let (sim, what) = (Sim::new(27), format!("{misbehaviour:?} of {}", profile.name));
            {
                let bad = sim.start_profile(BAD, profile.misbehaving(misbehaviour));
                let good = sim.start_profile(A, TrackerProfile::bittorrent_tracker());
                let mut nodes = sim.start_all(2, "room", &[BAD, A], |node| node).await;
                let took = meet(&what, &nodes, 5 * SECOND).await;
                println!("{what}: met after {took:?}");
                let (mut pending, mut named) = (0, [false; 2]);
                let streams = nodes.iter_mut().map(|node| &mut node.events).enumerate();
                let mut heard = select_all(streams.map(|(n, events)| events.map(move |event| (n, event))));
                let end = Instant::now() + LONG;
                while Instant::now() < end {
                    pending = pending.max(sim.network.pending());
                    let next = Instant::now() + SECOND;
                    while let Ok(Some((n, event))) = timeout_at(next, heard.next()).await {
                        if let Event::TrackerWarning { tracker, warning, .. } = event {
                            assert_eq!(tracker.as_str(), BAD, "{what}: the good tracker is blamed: {warning}");
                            named[n] |= names(misbehaviour, &warning);
                        }
                    }
                }
                drop(heard);
                assert!(pending <= PENDING_MAX, "{what}: {pending} connections pending");
                assert!(is_mesh(&nodes), "{what}");
                assert_eq!(sim.network.open_channels(), 2, "{what}");
                assert_eq!(good.log().connections, 2, "{what}: the good tracker was left");
                if misbehaviour == Misbehaviour::Intervals {
                    // Each node once in two minutes at least and once in ten seconds at most, whatever it says.
                    let announces = bad.log().announces;
                    assert!((10..=140).contains(&announces), "{what}: {announces} announces in ten minutes");
                }
                for node in &nodes {
                    assert_eq!(last_error(node, A), None, "{what}: the good tracker is blamed");
                }
                assert_eq!(
                    named,
                    [misbehaviour != Misbehaviour::Crowds; 2],
                    "{what}: {:?}",
                    last_error(&nodes[0], BAD)
                );
                assert!(tasks() - before < 200, "{what}: {} tasks", tasks() - before);

                nodes.push(sim.start("room", &[BAD, A]).await);
                meet(&what, &nodes, 30 * SECOND).await;
                shut_down(&what, &nodes).await;
                assert_eq!((sim.network.open_channels(), sim.network.pending()), (0, 0), "{what}");
                assert_eq!(good.members(), 0, "{what}");
            }
            sim.crash_tracker(BAD);
            sim.crash_tracker(A);
            assert!(until(SECOND, || tasks() == before).await.is_some(), "{what}: {} tasks left", tasks() - before);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_nothing_but_a_misbehaving_tracker_a_node_starts_and_ends_as_ever() {
    for misbehaviour in Misbehaviour::ALL {
        let (sim, what) = (Sim::new(28), format!("{misbehaviour:?}"));
        sim.start_profile(BAD, TrackerProfile::bittorrent_tracker().misbehaving(misbehaviour));
        let started = Instant::now();
        let nodes = sim.start_all(2, "room", &[BAD], |node| node).await;
        assert_eq!(started.elapsed(), Duration::ZERO, "{what}");
        // At once, and with everything under way.
        shut_down(&what, &nodes[..1]).await;
        sleep(LONG / 4).await;
        shut_down(&what, &nodes).await;
        assert_eq!(sim.network.pending(), 0, "{what}");
    }
}

/// SDPs as long as those of hosts with many addresses.
#[derive(Debug)]
struct Padded(Arc<MemoryTransport>);

#[derive(Debug)]
struct PaddedOffer(Box<dyn PendingOffer>, String);

#[async_trait]
impl Transport for Padded {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        let offer = self.0.offer().await?;
        let sdp = format!("{}a=x-padding:{}\r\n", offer.sdp(), "0".repeat(5_000));
        Ok(Box::new(PaddedOffer(offer, sdp)))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        self.0.answer(offer_sdp).await
    }

    async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}

#[async_trait]
impl PendingOffer for PaddedOffer {
    fn sdp(&self) -> &str {
        &self.1
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        self.0.open(answer_sdp).await
    }
}
