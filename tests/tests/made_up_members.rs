//! Members that a few hosts make up at the embedded tracker, so that offers go to them in place of honest peers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use p2pt::PeerId;
use p2pt::tracker::TrackerService;
use p2pt_proto::{Announce, ClientMessage, InfoHash};
use p2pt_tests::sim::{Sim, is_mesh, until};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

const A: &str = "ws://a.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// The addresses of the hosts, each with as many sockets, each with as many members: 80 members on 20 sockets.
const HOSTS: u8 = 4;
const SOCKETS: u8 = 5;
const MEMBERS: u8 = 4;

/// How long two honest nodes may take to meet: less than the three seconds until a second announce, so that the first one
/// must suffice. It carries more offers than there are addresses, each of which is given one.
///
/// Measured with twenty seeds: 0.1 s. With recipients drawn by member alone, 11 s in the median and 40 s at most.
const MET_WITHIN: Duration = Duration::from_secs(2);

/// One socket whose members stay in the swarm, and neither make offers nor answer any.
async fn make_up(tracker: TrackerService, host: u8, socket: u8, info_hash: InfoHash) {
    let (stream, trackers_end) = tokio::io::duplex(64 << 10);
    let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, host));
    let _serving = tokio::spawn(tracker.serve_from(address, trackers_end));
    let (mut socket_of_members, _) = client_async("ws://a.test/announce", stream).await.expect("a handshake");
    for member in 0..MEMBERS {
        let mut id = [0xee; 20];
        id[..3].copy_from_slice(&[host, socket, member]);
        let announce = ClientMessage::Announce(Announce::new(info_hash, PeerId::from(id)));
        socket_of_members.send(Message::text(announce.encode())).await.expect("the tracker reads");
    }
    // Pings are answered by reading.
    while socket_of_members.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn eighty_made_up_members_at_a_few_addresses_keep_two_honest_nodes_apart_for_no_more_than_a_moment() {
    for seed in 1..=20 {
        let sim = Sim::new(seed);
        let tracker = sim.start_tracker(A);
        let info_hash = InfoHash::of("room");
        let mut made_up = JoinSet::new();
        for host in 0..HOSTS {
            for socket in 0..SOCKETS {
                made_up.spawn(make_up(tracker.clone(), host, socket, info_hash));
            }
        }
        let all = usize::from(HOSTS) * usize::from(SOCKETS) * usize::from(MEMBERS);
        let are_there = until(SECOND, || tracker.stats().swarms.peers == all).await;
        assert!(are_there.is_some(), "{} of {all} members", tracker.stats().swarms.peers);
        // The first honest node has long made offers to all it was given by then.
        let mut nodes = sim.start_all(1, "room", &[A], |node| node).await;
        sleep(30 * SECOND).await;
        nodes.push(sim.start("room", &[A]).await);
        let met = until(300 * SECOND, || is_mesh(&nodes)).await;
        println!("seed {seed}: met after {met:?}");
        assert!(met.is_some_and(|met| met <= MET_WITHIN), "seed {seed}: {met:?}");
    }
}
