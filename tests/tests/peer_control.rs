//! What an application decides about its peers: which are admitted, which are disconnected or banned, and what is sent without
//! waiting.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2pt::{Event, Peer, PeerClosed, PeerId, PeerRequest, RequestError, Role, SendError, Swarm, TrySendError};
use p2pt_tests::sim::{Sim, SimNode, until};
use p2pt_transport::ChannelClosed;
use tokio::time::{Instant, sleep, timeout};

const A: &str = "ws://a.test/announce";

/// Virtual time in which anything expected here has happened.
const SOON: Duration = Duration::from_secs(900);

/// Virtual time in which anything that must not happen would have.
const LONG: Duration = Duration::from_secs(3600);

async fn meet(swarm: &Swarm, other: PeerId) -> Peer {
    until(SOON, || swarm.peer(&other).is_some()).await.expect("they meet");
    swarm.peer(&other).expect("still there")
}

async fn event<T>(node: &mut SimNode, wanted: impl Fn(Event) -> Option<T>) -> T {
    let event = async {
        loop {
            if let Some(event) = wanted(node.events.next().await.expect("the stream goes on")) {
                return event;
            }
        }
    };
    timeout(SOON, event).await.expect("in time")
}

async fn closed(node: &mut SimNode) -> PeerClosed {
    event(node, |event| if let Event::PeerClosed(closed) = event { Some(closed) } else { None }).await
}

#[tokio::test(start_paused = true)]
async fn disconnecting_ends_a_connection_until_the_peer_comes_back() {
    let sim = Sim::new(1);
    sim.start_tracker(A);
    let two_links = |node: p2pt::Builder| node.connections_per_peer(2);
    let mut one = sim.start_with("room", &[A], two_links).await;
    let mut two = sim.start_with("room", &[A], two_links).await;
    let to_two = meet(&one.p2pt, two.p2pt.peer_id()).await;
    let to_one = meet(&two.p2pt, one.p2pt.peer_id()).await;
    until(SOON, || to_two.connection_count() == 2 && to_one.connection_count() == 2).await.expect("two links");

    let ours = to_two.request("never answered").send().await.expect("sent");
    let theirs = to_one.request("never answered").send().await.expect("sent");
    to_two.send("the last word").await.expect("sent");
    to_two.disconnect().await;
    assert!(!to_two.is_connected() && one.p2pt.peers().is_empty());
    assert_eq!(ours.await.unwrap_err(), RequestError::PeerGone(ChannelClosed::Local));
    assert_eq!(to_two.send("more").await, Err(SendError::PeerGone(ChannelClosed::Local)));
    // Once more, and it is as it was.
    to_two.disconnect().await;

    assert_eq!(closed(&mut one).await.reason, ChannelClosed::Local);
    let last = event(&mut two, |event| match event {
        Event::Message(message) if message.text() == Some("the last word") => Some(true),
        Event::PeerClosed(_) => Some(false),
        _ => None,
    });
    assert!(last.await, "what was sent before arrives");
    assert_eq!(theirs.await.unwrap_err(), RequestError::PeerGone(ChannelClosed::Remote));
    assert_eq!(closed(&mut two).await.reason, ChannelClosed::Remote);

    let back = meet(&one.p2pt, two.p2pt.peer_id()).await;
    assert_ne!(back, to_two);
    // The old handle ended; it does not end the new connection.
    to_two.disconnect().await;
    assert!(back.is_connected());
}

#[tokio::test(start_paused = true)]
async fn disconnecting_ends_what_is_under_way_and_says_why() {
    let sim = Sim::new(6);
    sim.start_tracker(A);
    // The second does not read its events: what it is sent fills its inbox and the link.
    let small = |node: p2pt::Builder| node.inbox_bytes(1000);
    let (one, two) = (sim.start("room", &[A]).await, sim.start_with("room", &[A], small).await);
    let to_two = meet(&one.p2pt, two.p2pt.peer_id()).await;
    let to_one = meet(&two.p2pt, one.p2pt.peer_id()).await;
    for text in ["x".repeat(1000), "y".repeat(1000)] {
        to_one.send(text.clone()).await.expect("sent");
        to_two.send(text).await.expect("sent");
    }
    let request = to_two.request("the response waits behind what was not read").send().await.expect("sent");
    let disconnecting = async {
        sleep(Duration::from_secs(5)).await;
        to_two.disconnect().await;
        assert!(!to_two.is_connected());
    };
    let sending = async {
        // The session takes what is below its window, and one more, which becomes whole.
        loop {
            if let Err(error) = to_two.send("z".repeat(5 << 20)).await {
                return Err::<(), _>(error);
            }
        }
    };
    let (sent, requested, ()) = tokio::join!(sending, request, disconnecting);
    assert_eq!(sent, Err(SendError::PeerGone(ChannelClosed::Local)));
    assert_eq!(requested.unwrap_err(), RequestError::PeerGone(ChannelClosed::Local));
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_not_connected_once_disconnecting_has_returned() {
    let sim = Sim::new(7);
    sim.start_tracker(A);
    let (one, two) = (sim.start("room", &[A]).await, sim.start("room", &[A]).await);
    // Which of several things the engine hears of first is left to chance, so one try would prove little.
    for _ in 0..20 {
        let to_two = meet(&one.p2pt, two.p2pt.peer_id()).await;
        to_two.disconnect().await;
        assert!(!to_two.is_connected() && one.p2pt.peers().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_banned_peer_is_gone_from_every_swarm_until_the_ban_is_lifted() {
    let sim = Sim::new(2);
    let tracker = sim.start_tracker(A);
    let mut one = sim.start("room", &[A]).await;
    let two = sim.start("room", &[A]).await;
    let three = sim.start("room", &[A]).await;
    let (lounge, _lounge_events) = one.p2pt.node().join("lounge").await.expect("joined");
    let (also_lounge, _also_lounge_events) = two.p2pt.node().join("lounge").await.expect("joined");
    let banned = two.p2pt.peer_id();
    meet(&one.p2pt, banned).await;
    meet(&lounge, banned).await;
    event(&mut one, |event| matches!(event, Event::PeerConnected(_)).then_some(())).await;

    one.p2pt.node().ban(banned).await.expect("running");
    assert!(one.p2pt.peer(&banned).is_none() && lounge.peers().is_empty());
    assert_eq!(one.p2pt.node().banned(), [banned]);
    assert_eq!(closed(&mut one).await.reason, ChannelClosed::Local);
    meet(&one.p2pt, three.p2pt.peer_id()).await;
    let answered = tracker.stats().swarms.answers_forwarded;
    let came_back = || one.p2pt.peer(&banned).is_some() || !lounge.peers().is_empty();
    assert_eq!(until(LONG, came_back).await, None);
    assert!(tracker.stats().swarms.offers_forwarded > 0 && also_lounge.peers().is_empty());
    assert!(tracker.stats().swarms.answers_forwarded > answered, "two goes on to answer, in vain");

    assert!(one.p2pt.node().unban(&banned));
    meet(&one.p2pt, banned).await;
    meet(&lounge, banned).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_admitted_stays_outside_whichever_side_makes_the_offer() {
    let sim = Sim::new(3);
    sim.start_tracker(A);
    let unwelcome = sim.start("room", &[A]).await;
    let asked: Arc<Mutex<Vec<PeerRequest>>> = Arc::default();
    let (log, unwelcome_id) = (asked.clone(), unwelcome.p2pt.peer_id());
    let one = sim
        .start_with("room", &[A], |node| {
            node.admit(move |request| {
                log.lock().unwrap().push(request.clone());
                request.peer_id != unwelcome_id
            })
        })
        .await;
    let welcome = sim.start("room", &[A]).await;
    meet(&one.p2pt, welcome.p2pt.peer_id()).await;
    meet(&unwelcome.p2pt, welcome.p2pt.peer_id()).await;
    assert_eq!(until(LONG, || one.p2pt.peer(&unwelcome_id).is_some()).await, None);
    assert!(unwelcome.p2pt.peer(&one.p2pt.peer_id()).is_none());
    let asked = asked.lock().unwrap();
    for role in [Role::Offerer, Role::Answerer] {
        assert!(asked.iter().any(|request| request.role == role && request.peer_id == unwelcome_id), "{role:?}");
    }
    assert!(asked.iter().all(|request| request.info_hash == one.p2pt.info_hash()));
    assert!(asked.iter().all(|request| request.tracker.as_str() == A));
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_panics_costs_its_peer_and_nothing_else() {
    let sim = Sim::new(4);
    sim.start_tracker(A);
    let feared = sim.start("room", &[A]).await;
    let feared_id = feared.p2pt.peer_id();
    let one = sim
        .start_with("room", &[A], |node| {
            node.admit(move |request| {
                assert_ne!(request.peer_id, feared_id, "this panic belongs to the test");
                true
            })
        })
        .await;
    let other = sim.start("room", &[A]).await;
    meet(&one.p2pt, other.p2pt.peer_id()).await;
    assert_eq!(until(LONG, || one.p2pt.peer(&feared_id).is_some()).await, None);
    assert!(one.p2pt.peer(&other.p2pt.peer_id()).is_some());
    one.p2pt.request_more_peers().await.expect("the node is well");
}

#[tokio::test(start_paused = true)]
async fn only_allowed_peers_are_met() {
    let sim = Sim::new(5);
    sim.start_tracker(A);
    let (friend, unknown) = (sim.start("room", &[A]).await, sim.start("room", &[A]).await);
    let friend_id = friend.p2pt.peer_id();
    let one = sim.start_with("room", &[A], |node| node.allow([friend_id])).await;
    meet(&one.p2pt, friend_id).await;
    meet(&unknown.p2pt, friend_id).await;
    sleep(LONG).await;
    assert_eq!(one.p2pt.peers().len(), 1);
}

/// What a peer says until it has been quiet for an hour.
async fn heard(node: &mut SimNode) -> Vec<String> {
    let mut heard = Vec::new();
    while let Ok(event) = timeout(LONG, node.events.next()).await {
        match event {
            Some(Event::Message(message)) => heard.push(message.text().expect("text").to_owned()),
            Some(Event::InvalidFrame(refused)) => panic!("half a message: {refused:?}"),
            _ => {}
        }
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_without_waiting_is_sent_whole_or_not_at_all() {
    let sim = Sim::new(8);
    sim.start_tracker(A);
    let (one, mut two) = (sim.start("room", &[A]).await, sim.start("room", &[A]).await);
    let to_two = meet(&one.p2pt, two.p2pt.peer_id()).await;
    let mut sent = Vec::new();
    // Two does not read yet. Each of these takes several frames.
    let refused = loop {
        let text = format!("{}{}", sent.len(), "x".repeat(200_000));
        match to_two.try_send(text.as_str()) {
            Ok(()) => sent.push(text),
            Err(TrySendError::Full(back)) => {
                assert_eq!(back.text(), Some(text.as_str()));
                // Perhaps only until the other side has taken some of it.
                sleep(SOON).await;
                match to_two.try_send(back) {
                    Ok(()) => sent.push(text),
                    Err(_) => break text,
                }
            }
            Err(other) => panic!("{other}"),
        }
        assert!(sent.len() < 100, "a peer that reads nothing takes no more");
    };
    let large = "x".repeat(2 << 20);
    let Err(TrySendError::NeverFits(back)) = to_two.try_send(large.as_str()) else { panic!("there is no such room") };
    let by_waiting = async {
        to_two.send(back).await.expect("sent by waiting");
        to_two.try_send("now there is room").expect("sent");
        to_two.send("in order").await.expect("sent");
    };
    let (heard, ()) = tokio::join!(heard(&mut two), by_waiting);
    sent.extend([large, "now there is room".into(), "in order".into()]);
    assert!(heard == sent, "{} of {} messages", heard.len(), sent.len());
    assert!(!heard.contains(&refused));

    to_two.disconnect().await;
    let gone = SendError::PeerGone(ChannelClosed::Local);
    assert_eq!(to_two.try_send("?"), Err(TrySendError::Refused(gone)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_keeps_a_broadcast_from_no_other() {
    let sim = Sim::new(9);
    sim.start_tracker(A);
    let one = sim.start_with("room", &[A], |node| node.send_timeout(SOON)).await;
    let (mut quick, slow) = (sim.start("room", &[A]).await, sim.start("room", &[A]).await);
    meet(&one.p2pt, quick.p2pt.peer_id()).await;
    meet(&one.p2pt, slow.p2pt.peer_id()).await;
    // Slow does not read: this many bytes fill its inbox, its session and all buffers on the way.
    let large = "x".repeat(5 << 20);
    let broadcasting = async {
        let mut stalled = Vec::new();
        for _ in 0..4 {
            let results = one.p2pt.broadcast(large.as_str()).await;
            assert_eq!(results.len(), 2);
            stalled.extend(results.into_iter().filter_map(|(peer, result)| Some((peer.id(), result.err()?))));
        }
        stalled
    };
    let hearing = async {
        let began = Instant::now();
        for _ in 0..4 {
            event(&mut quick, |event| matches!(event, Event::Message(_)).then_some(())).await;
        }
        began.elapsed()
    };
    let (stalled, after) = tokio::join!(broadcasting, hearing);
    assert_eq!(stalled, [(slow.p2pt.peer_id(), SendError::Timeout(SOON))]);
    assert!(after < SOON, "heard after {after:?}");
}
