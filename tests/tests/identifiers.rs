//! Swarms whose identifier changes while they go on: who stays, who is met, and who takes a place.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use p2pt::{ChannelClosed, Event, InfoHash, NodeError, Peer, PeerId, RejectReason};
use p2pt_tests::sim::{Sim, SimNode};
use p2pt_transport::memory::{Break, Conditions};
use p2pt_transport::{PendingAnswer, PendingOffer, Transport, TransportError};
use tokio::time::{sleep, timeout};

const A: &str = "ws://a.test/announce";

/// Virtual time in which whatever is to happen here has happened: two announce intervals and some.
const SOON: Duration = Duration::from_secs(300);

/// Virtual time in which peers at one tracker meet.
const MEETING: Duration = Duration::from_secs(20);

/// The next event that is not about trackers or attempts.
async fn event_of_peers(node: &mut SimNode) -> Event {
    loop {
        match timeout(SOON, node.events.next()).await.expect("an event in time").expect("the stream goes on") {
            Event::TrackerConnected(_) | Event::TrackerWarning { .. } => {}
            Event::ConnectionFailed(_) | Event::ConnectionRejected(_) => {}
            event => return event,
        }
    }
}

async fn connected(node: &mut SimNode) -> Peer {
    match event_of_peers(node).await {
        Event::PeerConnected(peer) => peer,
        other => panic!("not a connection: {other:?}"),
    }
}

/// What has happened with peers until now.
fn lines(node: &mut SimNode) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(event) = node.events.try_next() {
        if matches!(event, Event::PeerConnected(_) | Event::PeerClosed(_)) {
            lines.push(event.to_string());
        }
    }
    lines
}

/// Two nodes that have met, each with its handle of the other.
async fn pair(sim: &Sim) -> (SimNode, Peer, SimNode, Peer) {
    let (mut one, mut two) = (sim.start("room", &[A]).await, sim.start("room", &[A]).await);
    let (to_two, to_one) = (connected(&mut one).await, connected(&mut two).await);
    (one, to_two, two, to_one)
}

/// The connection between two nodes breaks, with the next message on it.
async fn lose(sim: &Sim, one: &SimNode, to_two: &Peer, two: &SimNode) {
    sim.network.break_after(one.node, two.node, Break::AfterFrames(0));
    // Whether it fails or is lost is of no matter.
    let _ = to_two.send("lost").await;
}

/// A message each way.
async fn talk(one: &mut SimNode, to_two: &Peer, two: &mut SimNode, to_one: &Peer) {
    to_two.send("there").await.expect("sent");
    to_one.send("back").await.expect("sent");
    for (node, text) in [(two, "there"), (one, "back")] {
        match event_of_peers(node).await {
            Event::Message(message) => assert_eq!(message.text(), Some(text)),
            other => panic!("not a message: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn peers_stay_when_the_identifier_changes_and_others_are_met_under_the_new_one() {
    let sim = Sim::new(1);
    let tracker = sim.start_tracker(A);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (asked_of, mut one) = (asked.clone(), {
        let asked = asked.clone();
        let record = move |request: &p2pt::PeerRequest| {
            asked.lock().expect("no panic").push((request.peer_id, request.info_hash));
            true
        };
        sim.start_with("room", &[A], |node| node.admit(record)).await
    });
    let mut two = sim.start("room", &[A]).await;
    let (to_two, to_one) = (connected(&mut one).await, connected(&mut two).await);
    one.p2pt.set_identifier("elsewhere").await.expect("set");
    assert_eq!(
        (one.p2pt.identifier().as_deref(), one.p2pt.info_hash()),
        (Some("elsewhere"), InfoHash::of("elsewhere"))
    );
    talk(&mut one, &to_two, &mut two, &to_one).await;

    // It is met under the new identifier, and no longer under the old one.
    let mut three = sim.start("elsewhere", &[A]).await;
    let mut four = sim.start("room", &[A]).await;
    let met = timeout(MEETING, async { (connected(&mut three).await, connected(&mut four).await) });
    let (to_one_too, to_two_too) = met.await.expect("in time");
    assert_eq!((to_one_too.id(), to_two_too.id()), (one.p2pt.peer_id(), two.p2pt.peer_id()));
    sleep(SOON).await;
    let ids = |node: &SimNode| node.p2pt.peers().iter().map(Peer::id).collect::<Vec<PeerId>>();
    let mut both = [two.p2pt.peer_id(), three.p2pt.peer_id()];
    both.sort_unstable();
    assert_eq!(ids(&one), both);
    assert_eq!((ids(&three), ids(&four)), (vec![one.p2pt.peer_id()], vec![two.p2pt.peer_id()]));
    assert_eq!(lines(&mut one), [format!("peer {} connected", three.p2pt.peer_id())]);
    let asked_for = |peer: PeerId| asked_of.lock().expect("no panic").iter().rfind(|(of, _)| *of == peer).copied();
    assert_eq!(asked_for(two.p2pt.peer_id()).map(|(_, hash)| hash), Some(InfoHash::of("room")));
    assert_eq!(asked_for(three.p2pt.peer_id()).map(|(_, hash)| hash), Some(InfoHash::of("elsewhere")));
    // The tracker counts the old stay no more.
    assert_eq!(tracker.stats().swarms.peers, 4);

    // One that was met under the old identifier is not sought when it is lost.
    lose(&sim, &one, &to_two, &two).await;
    sleep(SOON).await;
    assert_eq!((ids(&one), ids(&two)), (vec![three.p2pt.peer_id()], vec![four.p2pt.peer_id()]));
}

#[tokio::test(start_paused = true)]
async fn peers_that_change_together_keep_their_one_connection_and_meet_again_when_it_breaks() {
    let sim = Sim::new(2);
    sim.start_tracker(A);
    let (mut one, to_two, mut two, to_one) = pair(&sim).await;
    for node in [&one, &two] {
        node.p2pt.set_identifier("elsewhere").await.expect("set");
        node.p2pt.set_identifier("elsewhere").await.expect("it is set already");
    }
    sleep(SOON).await;
    talk(&mut one, &to_two, &mut two, &to_one).await;
    assert_eq!((to_two.connection_count(), to_one.connection_count()), (1, 1));
    assert_eq!((lines(&mut one), lines(&mut two)), (vec![], vec![]));

    // They meet again before either is reported closed, and what was sent when the connection broke arrives.
    sim.network.break_after(one.node, two.node, Break::AfterFrames(0));
    let lost = to_two.send("not lost");
    let heard = async {
        match event_of_peers(&mut two).await {
            Event::Message(message) => message.text().map(str::to_owned),
            other => panic!("not a message: {other:?}"),
        }
    };
    let (sent, heard) = timeout(MEETING, async { tokio::join!(lost, heard) }).await.expect("in time");
    assert_eq!((sent, heard.as_deref()), (Ok(()), Some("not lost")));
    talk(&mut one, &to_two, &mut two, &to_one).await;
}

#[tokio::test(start_paused = true)]
async fn peers_of_the_old_identifier_keep_their_places() {
    let sim = Sim::new(3);
    sim.start_tracker(A);
    let mut one = sim.start_with("room", &[A], |node| node.max_peers(1)).await;
    let mut two = sim.start("room", &[A]).await;
    let (to_two, _) = (connected(&mut one).await, connected(&mut two).await);
    one.p2pt.set_identifier("elsewhere").await.expect("set");
    let three = sim.start("elsewhere", &[A]).await;
    sleep(SOON).await;
    assert_eq!((one.p2pt.peers(), three.p2pt.peers().len()), (vec![to_two.clone()], 0));
    let mut rejected = Vec::new();
    while let Ok(event) = one.events.try_next() {
        if let Event::ConnectionRejected(event) = event {
            rejected.push((event.peer_id, event.reason));
        }
    }
    assert!(rejected.contains(&(three.p2pt.peer_id(), RejectReason::Full)), "{rejected:?}");

    to_two.disconnect().await;
    match event_of_peers(&mut one).await {
        Event::PeerClosed(closed) => assert_eq!(closed.reason, ChannelClosed::Local),
        other => panic!("not a close: {other:?}"),
    }
    assert_eq!(connected(&mut one).await.id(), three.p2pt.peer_id());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_under_way_comes_to_nothing() {
    let sim = Sim::new(4);
    sim.start_tracker(A);
    let mut one = sim.start("room", &[A]).await;
    sleep(MEETING).await;
    let slow = Conditions { latency: Duration::from_secs(2), ..Default::default() };
    sim.network.set_conditions(slow);
    let _two = sim.start("room", &[A]).await;
    // Their attempt takes seconds, and is under way after one.
    sleep(Duration::from_secs(1)).await;
    one.p2pt.set_identifier("elsewhere").await.expect("set");
    sleep(SOON).await;
    assert_eq!((lines(&mut one), one.p2pt.peers()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_identifier_is_that_of_one_swarm_of_a_node() {
    let sim = Sim::new(5);
    sim.start_tracker(A);
    let (mut one, to_two, mut two, to_one) = pair(&sim).await;
    let node = one.p2pt.node();
    let (_red, _red_events) = node.join("red").await.expect("joined");
    assert!(matches!(one.p2pt.set_identifier("red").await, Err(NodeError::AlreadyJoined)));
    assert_eq!(one.p2pt.identifier().as_deref(), Some("room"));
    talk(&mut one, &to_two, &mut two, &to_one).await;
    // The old one is free for another swarm of the node, which meets others than those that still have the node there.
    one.p2pt.set_identifier("blue").await.expect("set");
    let (room, _events) = node.join("room").await.expect("joined");
    let mut three = sim.start("room", &[A]).await;
    let met = timeout(MEETING, room.wait_for_peer()).await.expect("in time").expect("running");
    assert_eq!(met.id(), three.p2pt.peer_id());
    let met = [connected(&mut three).await.id(), connected(&mut three).await.id()];
    assert!(met.contains(&node.peer_id()) && met.contains(&two.p2pt.peer_id()));
}

/// A transport whose offers take a while, as those that ask a STUN server do.
#[derive(Debug)]
struct Slow(Arc<dyn Transport>);

const GATHERING: Duration = Duration::from_millis(100);

#[async_trait]
impl Transport for Slow {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        sleep(GATHERING).await;
        self.0.offer().await
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        self.0.answer(offer_sdp).await
    }

    async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_identifier_that_changes_back_has_no_more_offers_than_one_that_stays() {
    let made = async |changes: bool| {
        let sim = Sim::new(6);
        let _tracker = sim.start_tracker(A);
        let slow = Arc::new(Slow(sim.network.transport()));
        let node = sim.start_with("room", &[A], |node| node.transport(slow)).await;
        sleep(GATHERING / 2).await;
        if changes {
            node.p2pt.set_identifier("other room").await.expect("it changes");
            node.p2pt.set_identifier("room").await.expect("it changes back");
        }
        sleep(10 * GATHERING).await;
        node.p2pt.node().metrics().offers_made
    };
    assert_eq!(made(true).await, made(false).await);
}
