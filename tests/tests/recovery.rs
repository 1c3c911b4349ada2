//! Networks that go and come back, and nodes that sleep: everything is found again without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use p2pt::tracker::{AnnounceUrl, ConnectError, Connector, Family, Socket, TrackerStatus};
use p2pt_tests::sim::{Sim, SimNode, Underlay, is_mesh, open_channels, until};
use p2pt_tests::tracker_profile::TrackerProfile;
use tokio::time::sleep;

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// The liveness time of the simulated network is 5 s; this is what noticing a death may take.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// The longest back-off between attempts to connect to a tracker.
const RECONNECTED_WITHIN: Duration = Duration::from_secs(61);

/// From the return of the network to a full mesh of a few nodes, as the page `failures` of the guide says: the back-off,
/// and an announce or two.
const BACK_WITHIN: Duration = Duration::from_secs(65);

/// Where the only tracker keeps address families apart, and the nodes have both: that, and a look over the other family.
const BACK_ACROSS_FAMILIES: Duration = Duration::from_secs(100);

/// [`BACK_WITHIN`], and one burst of announces, in case an offer met a channel that was not known to be dead yet.
const BACK_WITHIN_A_BURST: Duration = Duration::from_secs(80);

/// So many nodes that have met, and to which every tracker's last reply has reported that there is no unknown peer.
async fn start_met<N: Underlay>(sim: &Sim<N>, count: usize, trackers: &[&str]) -> Vec<SimNode<N>> {
    let nodes = sim.start_all(count, "room", trackers, |node| node).await;
    let met = until(60 * SECOND, || is_mesh(&nodes)).await;
    assert!(met.is_some(), "they meet");
    sleep(130 * SECOND).await;
    nodes
}

fn connected<N: Underlay>(node: &SimNode<N>) -> usize {
    node.p2pt.node().tracker_stats().connected
}

fn channels<N: Underlay>(sim: &Sim<N>, nodes: &[SimNode<N>]) -> usize {
    open_channels(&sim.network, nodes.iter().map(|node| &node.p2pt))
}

async fn a_node_without_any_network_for_ten_minutes_comes_back<N: Underlay>(
    over: fn(u64) -> N,
    profile: TrackerProfile,
) {
    for outage in [30, 600] {
        let (sim, what) = (Sim::over(over(31), 31), format!("{outage} s at {}", profile.name));
        sim.start_profile(A, profile.clone());
        sim.start_profile(B, TrackerProfile::bittorrent_tracker());
        let nodes = start_met(&sim, 4, &[A, B]).await;
        let peers = |n: usize| nodes[n].p2pt.peers().len();
        sim.unplug(nodes[0].node);
        let noticed = until(NOTICED_WITHIN, || peers(0) == 0 && (1..4).all(|n| peers(n) == 2)).await;
        assert!(noticed.is_some(), "{what}: dead links are left");
        sleep(outage * SECOND - noticed.unwrap_or_default()).await;
        if outage > 60 {
            for tracker in nodes[0].p2pt.node().tracker_stats().trackers {
                let TrackerStatus::WaitingToReconnect { retry_in } = tracker.status else {
                    panic!("{what}: {tracker:?}")
                };
                assert!(retry_in <= RECONNECTED_WITHIN && tracker.last_error.is_some(), "{what}: {tracker:?}");
            }
        }
        sim.plug_in(nodes[0].node);
        let back = until(BACK_WITHIN_A_BURST, || is_mesh(&nodes)).await;
        let reached = until(RECONNECTED_WITHIN, || connected(&nodes[0]) == 2).await;
        println!("{what}: whole again after {back:?}, all trackers another {reached:?} later");
        assert!(back.is_some() && reached.is_some(), "{what}: {back:?} {reached:?} {:?}", peers(0));
        assert_eq!(channels(&sim, &nodes), 4 * 3, "{what}");
    }
}

async fn when_all_networks_of_all_nodes_fail_everything_comes_back<N: Underlay>(
    over: fn(u64) -> N,
    profile: TrackerProfile,
) {
    let (sim, name) = (Sim::over(over(32), 32), profile.name);
    sim.start_profile(A, profile);
    sim.start_profile(B, TrackerProfile::wt_tracker());
    let nodes = start_met(&sim, 6, &[A, B]).await;
    nodes.iter().for_each(|node| sim.unplug(node.node));
    let alone = until(NOTICED_WITHIN, || nodes.iter().all(|node| node.p2pt.peers().is_empty())).await;
    assert!(alone.is_some(), "{name}: dead links are left");
    sleep(600 * SECOND).await;
    assert_eq!(sim.network.pending().unwrap_or(0), 0, "{name}: offers for no unknown peer");
    nodes.iter().for_each(|node| sim.plug_in(node.node));
    let back = until(BACK_WITHIN_A_BURST * 2, || is_mesh(&nodes)).await;
    println!("{name}: six nodes whole again after {back:?}");
    assert!(back.is_some(), "{name}");
    assert!(until(RECONNECTED_WITHIN, || nodes.iter().all(|node| connected(node) == 2)).await.is_some(), "{name}");
}

async fn a_node_that_slept_for_eight_hours_comes_back<N: Underlay>(over: fn(u64) -> N, profile: TrackerProfile) {
    let (sim, name) = (Sim::over(over(33), 33), profile.name);
    let tracker = sim.start_profile(A, profile);
    let nodes = start_met(&sim, 4, &[A]).await;
    sim.freeze(nodes[0].node);
    sleep(8 * 3600 * SECOND).await;
    assert_eq!(tracker.members(), 3, "{name}");
    assert!(nodes[1..].iter().all(|node| node.p2pt.peers().len() == 2), "{name}");
    sim.thaw(nodes[0].node);
    let back = until(BACK_WITHIN_A_BURST, || is_mesh(&nodes)).await;
    println!("{name}: back after {back:?}");
    assert!(back.is_some(), "{name}");
    assert_eq!((tracker.members(), channels(&sim, &nodes)), (4, 4 * 3), "{name}");
}

/// All timers of eight hours are due at once.
async fn when_everybody_has_slept_for_eight_hours_nothing_is_lost_for_long<N: Underlay>(
    over: fn(u64) -> N,
    profile: TrackerProfile,
) {
    let (sim, name) = (Sim::over(over(34), 34), profile.name);
    let tracker = sim.start_profile(A, profile);
    let nodes = start_met(&sim, 4, &[A]).await;
    tokio::time::advance(8 * 3600 * SECOND).await;
    let back = until(BACK_WITHIN_A_BURST, || is_mesh(&nodes) && tracker.members() == 4).await;
    println!("{name}: back after {back:?}");
    assert!(back.is_some(), "{name}: {} members", tracker.members());
    assert!(nodes.iter().all(|node| connected(node) == 1), "{name}");
}

/// As when an address translation is lost: the sockets to trackers live, and no peer is missing there.
async fn two_that_lose_each_other_meet_again_soon<N: Underlay>(over: fn(u64) -> N, profile: TrackerProfile) {
    for count in [2, 6] {
        let (sim, what) = (Sim::over(over(35), 35), format!("{count} at {}", profile.name));
        sim.start_profile(A, profile.clone());
        let nodes = start_met(&sim, count, &[A]).await;
        let [one, two] = [nodes[0].node, nodes[1].node];
        sim.network.cut_from(one, two);
        sim.network.cut_from(two, one);
        let noticed = until(NOTICED_WITHIN, || nodes[..2].iter().all(|node| node.p2pt.peers().len() == count - 2));
        assert!(noticed.await.is_some(), "{what}");
        sim.network.mend_from(one, two);
        sim.network.mend_from(two, one);
        let back = until(300 * SECOND, || is_mesh(&nodes)).await;
        println!("{what}: met again after {back:?}");
        assert!(back.is_some_and(|back| back <= 20 * SECOND), "{what}: {back:?}");
    }
}

/// What a node connects to trackers with on a network that swallows what is sent: attempts meet silence, and those that
/// have begun do not come to life when the network does.
#[derive(Debug)]
struct Swallowed {
    inner: Arc<dyn Connector>,
    is_cut: Arc<AtomicBool>,
}

#[async_trait]
impl Connector for Swallowed {
    async fn connect(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError> {
        if self.is_cut.load(Ordering::Relaxed) {
            std::future::pending().await
        } else {
            self.inner.connect(url, family).await
        }
    }
}

/// How long these nodes take to meet again after an hour without any network for so many of them. Attempts to connect fail
/// at once, or meet silence.
async fn back_after_an_hour(seed: u64, trackers: &[&str], [count, cut]: [usize; 2], silently: bool) -> Duration {
    let (sim, is_cut) = (Sim::new(seed), Arc::new(AtomicBool::new(false)));
    trackers.iter().for_each(|url| drop(sim.start_tracker(url)));
    let mut nodes = Vec::new();
    // The ways of the nodes to the trackers, apart from those to each other.
    let mut ways = Vec::new();
    for n in 0..count {
        let way = sim.network.transport().node();
        let is_cut = if silently && n < cut { is_cut.clone() } else { Arc::default() };
        let connector = Arc::new(Swallowed { inner: sim.connector(way), is_cut });
        nodes.push(sim.start_with("room", trackers, |node| node.connector(connector)).await);
        ways.push(way);
    }
    assert!(until(60 * SECOND, || is_mesh(&nodes)).await.is_some(), "seed {seed}: they meet");
    // So that the network comes back at any moment of a wait.
    sleep(130 * SECOND + Duration::from_millis(977) * u32::try_from(seed % 61).expect("few")).await;
    let unplugged = || nodes[..cut].iter().map(|node| node.node).chain(ways[..cut].iter().copied());
    is_cut.store(true, Ordering::Relaxed);
    unplugged().for_each(|node| sim.unplug(node));
    sleep(3600 * SECOND).await;
    is_cut.store(false, Ordering::Relaxed);
    unplugged().for_each(|node| sim.plug_in(node));
    until(600 * SECOND, || is_mesh(&nodes)).await.unwrap_or(600 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn after_an_hour_without_a_network_nodes_meet_again_as_soon_as_promised() {
    let mut slowest = Duration::ZERO;
    for seed in 0..16 {
        for trackers in [&[A][..], &[A, B]] {
            for counts in [[2, 2], [2, 1], [4, 4]] {
                for silently in [false, true] {
                    let back = back_after_an_hour(seed * 7 + 1000, trackers, counts, silently).await;
                    let what = format!("seed {seed}, {} trackers, {counts:?}, {silently}", trackers.len());
                    assert!(back <= BACK_WITHIN, "{what}: {back:?}");
                    slowest = slowest.max(back);
                }
            }
        }
    }
    println!("the slowest took {slowest:?}");
}

/// The only tracker keeps the address families apart, and nodes that are alone there look over both.
#[tokio::test(start_paused = true)]
async fn after_an_hour_nodes_find_each_other_across_address_families_too() {
    let mut slowest = Duration::ZERO;
    for seed in 0..16 {
        for [count, cut] in [[2, 2], [2, 1], [4, 4]] {
            let sim = Sim::new(seed * 7 + 1000);
            sim.start_profile(A, TrackerProfile::aquatic());
            let mut nodes = Vec::new();
            for _ in 0..count {
                nodes.push(sim.start_from(&[Family::V6, Family::V4], "room", &[A], |node| node).await);
            }
            assert!(until(60 * SECOND, || is_mesh(&nodes)).await.is_some(), "seed {seed}: they meet");
            sleep(130 * SECOND).await;
            nodes[..cut].iter().for_each(|node| sim.unplug(node.node));
            sleep(3600 * SECOND + Duration::from_millis(977) * u32::try_from(seed).expect("few")).await;
            nodes[..cut].iter().for_each(|node| sim.plug_in(node.node));
            let back = until(600 * SECOND, || is_mesh(&nodes)).await;
            assert!(back.is_some_and(|back| back <= BACK_ACROSS_FAMILIES), "seed {seed}, {cut} of {count}: {back:?}");
            slowest = slowest.max(back.unwrap_or_default());
        }
    }
    println!("the slowest took {slowest:?}");
}

/// One of a node's trackers was found to be there again: the other need not wait until it is its time.
#[tokio::test(start_paused = true)]
async fn two_trackers_make_a_return_faster_than_one() {
    let mut medians = Vec::new();
    for trackers in [&[A][..], &[A, B]] {
        let mut times = Vec::new();
        for seed in 0..21 {
            times.push(back_after_an_hour(seed * 7 + 1000, trackers, [4, 4], false).await);
        }
        times.sort();
        medians.push(times[times.len() / 2]);
    }
    println!("medians {medians:?}");
    assert!(medians[1] * 4 < medians[0] * 3, "{medians:?}");
}

p2pt_tests::over_both_networks!(
    a_node_without_any_network_for_ten_minutes_comes_back,
    when_all_networks_of_all_nodes_fail_everything_comes_back,
    a_node_that_slept_for_eight_hours_comes_back,
    when_everybody_has_slept_for_eight_hours_nothing_is_lost_for_long,
    two_that_lose_each_other_meet_again_soon,
);
