//! Offers that wait for answers keep no peer out, in however many swarms and at however many trackers they wait. Over the
//! whole WebRTC stack under paused time.

use std::sync::Arc;
use std::time::Duration;

use p2pt::{Events, Swarm};
use p2pt_tests::sim::{Emulated, Sim, SimNode, until};
use p2pt_transport::Transport;
use p2pt_transport::emulator::{Host, Internet, Path};
use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};
use tokio::time::sleep;

const LIVE: &str = "ws://live.test/announce";

const ROOM: &str = "room";

/// An announce and its reply, and the offer and the answer after them, take less.
const ROUND_TRIP: Duration = Duration::from_millis(200);

/// A guard.
const GIVEN_UP: Duration = Duration::from_secs(300);

/// In how many swarms beside the room a node is, and at how many trackers, of which one lives.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    swarms: usize,
    trackers: usize,
}

const ALONE: Crowd = Crowd { swarms: 0, trackers: 1 };

struct Node {
    node: SimNode<Emulated>,
    room: Swarm,
    _others: Vec<(Swarm, Events)>,
}

/// A simulation whose nodes run WebRTC with these settings.
fn simulation(config: &WebRtcConfig) -> Sim<Emulated> {
    let config = config.clone();
    let place = |internet: &Internet, _| internet.host(Path::default()).expect("an address");
    let make = move |host: &Host| -> Arc<dyn Transport> {
        Arc::new(WebRtc::with_network(config.clone(), host.network()).expect("a certificate"))
    };
    let sim = Sim::over(Emulated::new(Internet::new(7), Path::default(), place, make), 7);
    sim.start_tracker(LIVE);
    sim
}

fn settings() -> WebRtcConfig {
    WebRtcConfig::default().without_ice_servers()
}

/// A node that is in swarms of its own, and then in the room.
async fn enter(sim: &Sim<Emulated>, name: &str, crowd: Crowd) -> Node {
    let dead: Vec<String> = (1..crowd.trackers).map(|n| format!("ws://dead{n}.test/announce")).collect();
    let trackers: Vec<&str> = dead.iter().map(String::as_str).chain([LIVE]).collect();
    let node = sim.start(&format!("of {name}"), &trackers).await;
    let mut others = Vec::new();
    for n in 1..crowd.swarms {
        others.push(node.p2pt.node().join(format!("{n} of {name}")).await.expect("joined"));
    }
    let (room, events) = node.p2pt.node().join(ROOM).await.expect("joined");
    others.push((room.clone(), events));
    Node { node, room, _others: others }
}

/// How long a newcomer takes to meet a node that has been there for a while.
async fn meeting(config: &WebRtcConfig, resident: Crowd, after: Duration, newcomer: Crowd) -> Duration {
    let sim = simulation(config);
    let resident = enter(&sim, "the resident", resident).await;
    sleep(after).await;
    let newcomer = enter(&sim, "the newcomer", newcomer).await;
    let met = until(GIVEN_UP, || newcomer.room.peers().len() == 1 && resident.room.peers().len() == 1).await;
    newcomer.node.p2pt.shutdown().await;
    resident.node.p2pt.shutdown().await;
    met.expect("they meet")
}

/// What a node holds for others keeps no newcomer waiting, when it has just come and later.
async fn is_no_hindrance(config: &WebRtcConfig, resident: Crowd, newcomer: Crowd) {
    for after in [0, 1, 30, 75, 105] {
        let after = Duration::from_secs(after);
        let usual = meeting(config, ALONE, after, ALONE).await;
        let met = meeting(config, resident, after, newcomer).await;
        assert!(met <= usual + ROUND_TRIP, "{resident:?}, {newcomer:?}, after {after:?}: {met:?}, alone {usual:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_in_120_swarms_is_met_as_fast_as_one_in_a_single_swarm() {
    is_no_hindrance(&settings(), Crowd { swarms: 119, trackers: 1 }, ALONE).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_at_60_trackers_of_which_one_lives_is_met_as_fast_as_one_at_a_single_tracker() {
    is_no_hindrance(&settings(), Crowd { swarms: 0, trackers: 60 }, ALONE).await;
}

/// Neither has room for all its offers: those for dead trackers give way.
#[tokio::test(start_paused = true)]
async fn offers_for_dead_trackers_give_way() {
    let crowd = Crowd { swarms: 10, trackers: 20 };
    is_no_hindrance(&settings().max_offers(200), crowd, crowd).await;
}

/// Neither has room for all its offers: each swarm has its part.
#[tokio::test(start_paused = true)]
async fn swarms_share_what_there_is_for_offers() {
    let crowd = Crowd { swarms: 100, trackers: 1 };
    is_no_hindrance(&settings().max_offers(200), crowd, crowd).await;
}
