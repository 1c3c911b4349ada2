//! Swarms of real nodes under paused time: real trackers and WebSocket framing over in-memory streams, and a seeded
//! network in place of WebRTC.

use std::collections::BTreeSet;
use std::time::Duration;

use p2pt::{ChannelClosed, Event, Frame, NodeError, Peer, PeerId, RequestError, SendError};
use p2pt_tests::events::{closed, connected, message, next_of_peers};
use p2pt_tests::sim::{Sim, SimNode};
use p2pt_transport::memory::Break;
use serde_json::json;
use tokio::time::{Instant, timeout};

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";

/// Virtual time in which anything expected here has happened: two announce intervals and some.
const SOON: Duration = Duration::from_secs(300);

async fn next(node: &mut SimNode) -> Event {
    timeout(SOON, node.events.next()).await.expect("an event in time").expect("the stream goes on")
}

/// No event about peers for a long while.
async fn quiet(node: &mut SimNode) {
    let event_of_peers = async {
        loop {
            match node.events.next().await {
                Some(Event::TrackerConnected(_) | Event::TrackerWarning { .. }) => {}
                Some(Event::ConnectionFailed(_) | Event::ConnectionRejected(_) | Event::TrustChanged(_)) => {}
                event => return event,
            }
        }
    };
    if let Ok(event) = timeout(SOON, event_of_peers).await {
        panic!("unexpected: {event:?}");
    }
}

/// Two nodes that have met at tracker A.
async fn pair(sim: &Sim) -> (SimNode, Peer, SimNode, Peer) {
    sim.start_tracker(A);
    let mut one = sim.start("room", &[A]).await;
    let mut two = sim.start("room", &[A]).await;
    let (to_two, to_one) = (connected(&mut one.events, SOON).await, connected(&mut two.events, SOON).await);
    (one, to_two, two, to_one)
}

#[tokio::test(start_paused = true)]
async fn two_peers_meet_talk_and_part() {
    let sim = Sim::new(1);
    let (mut one, to_two, mut two, to_one) = pair(&sim).await;
    assert_eq!((to_two.id(), to_one.id()), (two.p2pt.peer_id(), one.p2pt.peer_id()));

    to_two.send("hello").await.expect("sent");
    let hello = message(&mut two.events, SOON).await;
    assert_eq!((hello.text(), hello.peer()), (Some("hello"), &to_one));

    // A chain: request, response, response to the response, and a last one.
    let asking = tokio::spawn(async move {
        let hi = to_two.request("are you there?").await?;
        assert_eq!(hi.text(), Some("yes"));
        let fine = hi.request(json!({"how": ["are", "you", null]})).await?;
        fine.respond("bye").await?;
        Ok::<_, RequestError>(fine.json::<u64>().expect("a number"))
    });
    let question = message(&mut two.events, SOON).await;
    let how = question.request("yes").await.expect("a response to the response");
    assert_eq!(how.json::<serde_json::Value>().expect("JSON"), json!({"how": ["are", "you", null]}));
    let bye = how.request(json!(42)).await.expect("the last one");
    assert_eq!(bye.text(), Some("bye"));
    assert_eq!(asking.await.expect("no panic").expect("the chain held"), 42);

    to_one.send_frame(Frame::binary(vec![1, 2, 3])).await.expect("sent");
    match next_of_peers(&mut one.events, SOON).await {
        Event::Data(data) => assert_eq!(data.frame, Frame::binary(vec![1, 2, 3])),
        other => panic!("{other:?}"),
    }

    two.p2pt.shutdown().await;
    assert_eq!(closed(&mut one.events, SOON).await.reason, ChannelClosed::Remote);
    assert!(matches!(to_one.send("too late").await, Err(SendError::PeerGone(ChannelClosed::Local))));
    one.p2pt.shutdown().await;
    assert!(one.events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dozen_peers_at_two_trackers_form_one_mesh_of_single_channels() {
    let sim = Sim::new(2);
    sim.start_tracker(A);
    sim.start_tracker(B);
    let mut nodes = Vec::new();
    for n in 0..12 {
        let trackers: &[&str] = if n % 3 == 0 { &[B, A] } else { &[A, B] };
        nodes.push(sim.start("room", trackers).await);
    }
    let all: BTreeSet<PeerId> = nodes.iter().map(|node| node.p2pt.peer_id()).collect();
    for node in &mut nodes {
        let mut met = BTreeSet::from([node.p2pt.peer_id()]);
        while met != all {
            assert!(met.insert(connected(&mut node.events, SOON).await.id()), "connected twice");
        }
    }
    // Glare and second trackers made surplus links; after a while there is one for each pair.
    for node in &mut nodes {
        quiet(node).await;
    }
    for node in &nodes {
        assert!(node.p2pt.peers().iter().all(|peer| peer.connection_count() == 1));
    }
    assert_eq!(sim.network.open_channels(), 12 * 11);
}

#[tokio::test(start_paused = true)]
async fn a_message_cut_off_with_its_channel_arrives_whole_and_once_over_the_other() {
    let sim = Sim::new(3);
    sim.start_tracker(A);
    sim.start_tracker(B);
    let mut one = sim.start_with("room", &[A, B], |node| node.connections_per_peer(2)).await;
    let mut two = sim.start_with("room", &[A, B], |node| node.connections_per_peer(2)).await;
    let (to_two, _) = (connected(&mut one.events, SOON).await, connected(&mut two.events, SOON).await);
    let deadline = Instant::now() + SOON;
    while to_two.connection_count() < 2 {
        assert!(Instant::now() < deadline, "no second link");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    sim.network.break_after(one.node, two.node, Break::AfterFrames(5));
    // Larger than a link's send buffer: not wholly handed over when the link breaks.
    let text = "0123456789".repeat(1_000_000);
    to_two.send(text.as_str()).await.expect("sent over the other link");
    assert_eq!(message(&mut two.events, SOON).await.text(), Some(text.as_str()));
    // Losing one link of two is no event; the messages go on.
    to_two.send("and another").await.expect("sent");
    assert_eq!(message(&mut two.events, SOON).await.text(), Some("and another"));
}

#[tokio::test(start_paused = true)]
async fn a_chatty_peer_that_is_not_read_stalls_only_itself() {
    let sim = Sim::new(4);
    sim.start_tracker(A);
    let mut reader = sim.start("room", &[A]).await;
    let mut chatty = sim.start_with("room", &[A], |node| node.send_timeout(Duration::from_secs(20))).await;
    let (_, to_reader) = (connected(&mut reader.events, SOON).await, connected(&mut chatty.events, SOON).await);

    let mut sent = 0u64;
    let stalled = loop {
        match to_reader.send("x".repeat(100_000)).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 1000, "memory without bound");
    };
    assert_eq!(stalled, SendError::Timeout(Duration::from_secs(20)));

    // Others connect and are heard meanwhile, between the messages of the chatty one.
    let mut third = sim.start("room", &[A]).await;
    let to_reader_from_third = loop {
        let peer = connected(&mut third.events, SOON).await;
        if peer.id() == reader.p2pt.peer_id() {
            break peer;
        }
    };
    to_reader_from_third.send("let me in").await.expect("sent");
    // Virtual time in which the frame crosses the network.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut heard = 0;
    loop {
        match next_of_peers(&mut reader.events, SOON).await {
            Event::Message(message) if message.text() == Some("let me in") => break,
            Event::Message(_) => heard += 1,
            Event::PeerConnected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(heard < sent, "the third waited behind everything");
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_deadline_and_its_late_response_is_counted() {
    let sim = Sim::new(5);
    let (mut one, to_two, mut two, _) = pair(&sim).await;
    let error = to_two.request("slow").timeout(Duration::from_secs(2)).await.expect_err("no peer responded");
    let RequestError::Timeout { after, sending, sent, .. } = error else { panic!("{error:?}") };
    assert_eq!((after, sending, sent), (Duration::from_secs(2), Duration::ZERO, true));
    message(&mut two.events, SOON).await.respond("late").await.expect("sent");
    to_two.request("quick").timeout(Duration::from_secs(2)).await.expect_err("no peer responded");
    assert_eq!(to_two.late_responses(), 1);
    quiet(&mut one).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_response_waits_behind_unread_messages_says_so() {
    let sim = Sim::new(6);
    sim.start_tracker(A);
    let mut one = sim.start_with("room", &[A], |node| node.inbox_bytes(1000)).await;
    let mut two = sim.start("room", &[A]).await;
    let (to_two, to_one) = (connected(&mut one.events, SOON).await, connected(&mut two.events, SOON).await);
    to_one.send("x".repeat(2000)).await.expect("sent");
    to_one.send("x".repeat(2000)).await.expect("sent");
    let answering = async { message(&mut two.events, SOON).await.respond("there").await };
    let began = tokio::time::Instant::now();
    let (answer, response) = tokio::join!(answering, to_two.request("?"));
    answer.expect("sent");
    assert_eq!(response.expect_err("it waits"), RequestError::InboxFull);
    let after = began.elapsed();
    assert!(after >= Duration::from_secs(1) && after < Duration::from_secs(3), "{after:?}");
    // While the application reads, however slowly, the response may come.
    let answering = async { message(&mut two.events, SOON).await.respond("there").await.expect("sent") };
    let reading = async {
        loop {
            tokio::time::sleep(Duration::from_millis(900)).await;
            let _ = tokio::time::timeout(Duration::ZERO, one.events.next()).await;
        }
    };
    let asking = async { tokio::join!(to_two.request("?").into_future(), answering).0 };
    tokio::select! {
        response = asking => assert_eq!(response.expect("it came").text(), Some("there")),
        () = reading => {}
    }
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_not_taken_hold_bounded_memory_and_none_is_lost() {
    let sim = Sim::new(15);
    sim.start_tracker(A);
    let mut one = sim.start_with("room", &[A], |node| node.inbox_bytes(1_000_000)).await;
    let mut two = sim.start_with("room", &[A], |node| node.send_timeout(Duration::from_secs(20))).await;
    let (to_two, _) = (connected(&mut one.events, SOON).await, connected(&mut two.events, SOON).await);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(to_two.request("a lot, please").timeout(SOON * 2).send().await.expect("sent"));
    }
    let mut answered = 0;
    let stalled = loop {
        match message(&mut two.events, SOON).await.respond("x".repeat(500_000)).await {
            Ok(()) => answered += 1,
            Err(error) => break error,
        }
        assert!(answered < 20, "memory without bound");
    };
    assert_eq!(stalled, SendError::Timeout(Duration::from_secs(20)));
    for response in waiting.drain(..answered) {
        assert_eq!(response.await.expect("it came").text().map(str::len), Some(500_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_peer_is_noticed_and_its_requests_end() {
    let sim = Sim::new(7);
    let (mut one, to_two, two, _) = pair(&sim).await;
    let asking = tokio::spawn(async move { to_two.request("anyone?").timeout(SOON).await });
    tokio::task::yield_now().await;
    sim.network.kill(two.node);
    let started = Instant::now();
    let gone = closed(&mut one.events, SOON).await;
    assert!(matches!(gone.reason, ChannelClosed::Timeout(_)), "{gone:?}");
    // It is noticed within 10 s, and may come back for 5 s more.
    assert!(started.elapsed() < Duration::from_secs(15), "noticed after {:?}", started.elapsed());
    let error = asking.await.expect("no panic").expect_err("the peer was killed");
    assert!(matches!(error, RequestError::PeerGone(ChannelClosed::Timeout(_))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn trackers_come_and_go_and_the_peers_stay() {
    let sim = Sim::new(8);
    let (mut one, to_two, mut two, _) = pair(&sim).await;
    let tracker_b = sim.start_tracker(B);
    assert!(one.p2pt.node().remove_tracker(A).await.expect("running"));
    assert!(!one.p2pt.node().remove_tracker(A).await.expect("running"));
    sim.crash_tracker(A);
    to_two.send("still here").await.expect("sent");
    assert_eq!(message(&mut two.events, SOON).await.text(), Some("still here"));

    one.p2pt.node().add_tracker(B).await.expect("added");
    two.p2pt.node().add_tracker(B).await.expect("added");
    assert!(
        matches!(one.p2pt.node().add_tracker("http://b.test").await, Err(NodeError::AnnounceUrl { url, .. }) if url == "http://b.test")
    );
    quiet(&mut one).await;
    assert_eq!(tracker_b.stats().swarms.peers, 2);
    assert_eq!((one.p2pt.node().tracker_stats().connected, one.p2pt.node().tracker_stats().total), (1, 1));
    assert_eq!((two.p2pt.node().tracker_stats().connected, two.p2pt.node().tracker_stats().total), (1, 2));

    // A third meets both at the new tracker.
    let mut three = sim.start("room", &[B]).await;
    let met =
        BTreeSet::from([connected(&mut three.events, SOON).await.id(), connected(&mut three.events, SOON).await.id()]);
    assert_eq!(met, BTreeSet::from([one.p2pt.peer_id(), two.p2pt.peer_id()]));
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_restarts_with_its_memory_lost_is_found_again() {
    let sim = Sim::new(9);
    sim.start_tracker(A);
    let mut one = sim.start("room", &[A]).await;
    quiet(&mut one).await;
    sim.crash_tracker(A);
    let warned = loop {
        if let Event::TrackerWarning { warning, .. } = next(&mut one).await {
            break warning;
        }
    };
    assert!(!warned.to_string().is_empty());
    sim.start_tracker(A);
    let mut two = sim.start("room", &[A]).await;
    connected(&mut two.events, SOON).await;
    connected(&mut one.events, SOON).await;
}

#[tokio::test(start_paused = true)]
async fn one_node_is_in_several_swarms_and_leaves_and_rejoins_at_once() {
    let sim = Sim::new(10);
    let (mut one, _, mut two, _) = pair(&sim).await;
    let node = one.p2pt.node().clone();
    let (red, mut red_events) = node.join("red").await.expect("joined");
    assert!(matches!(node.join("red").await, Err(NodeError::AlreadyJoined)));
    let mut other = sim.start("red", &[A]).await;
    assert_eq!(connected(&mut other.events, SOON).await.id(), node.peer_id());
    red.leave().await.expect("left");
    assert_eq!(closed(&mut other.events, SOON).await.reason, ChannelClosed::Remote);
    while red_events.next().await.is_some() {}

    let rejoined = Instant::now();
    let (_red, _red_events) = node.join("red").await.expect("rejoined at once");
    assert_eq!(connected(&mut other.events, SOON).await.id(), node.peer_id());
    assert!(rejoined.elapsed() < Duration::from_secs(5), "met again after {:?}", rejoined.elapsed());
    quiet(&mut one).await;
    quiet(&mut two).await;
}

#[tokio::test(start_paused = true)]
async fn moving_to_another_swarm_leaves_all_peers_and_the_events_go_on() {
    let sim = Sim::new(11);
    let (mut one, to_two, mut two, _) = pair(&sim).await;
    one.p2pt.move_to("elsewhere").await.expect("moved");
    assert_eq!(closed(&mut one.events, SOON).await.peer, to_two);
    closed(&mut two.events, SOON).await;
    let mut three = sim.start("elsewhere", &[A]).await;
    assert_eq!(connected(&mut three.events, SOON).await.id(), one.p2pt.peer_id());
    assert_eq!(connected(&mut one.events, SOON).await.id(), three.p2pt.peer_id());
    quiet(&mut two).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_swarm_takes_no_more_peers() {
    let sim = Sim::new(12);
    sim.start_tracker(A);
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(sim.start_with("room", &[A], |node| node.max_peers(2)).await);
    }
    for node in &mut nodes {
        connected(&mut node.events, SOON).await;
    }
    tokio::time::sleep(SOON).await;
    for node in &nodes {
        assert!((1..=2).contains(&node.p2pt.peers().len()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_every_peer_but_the_one_that_left() {
    let sim = Sim::new(13);
    sim.start_tracker(A);
    let mut one = sim.start("room", &[A]).await;
    let mut others = [sim.start("room", &[A]).await, sim.start("room", &[A]).await];
    for _ in 0..2 {
        connected(&mut one.events, SOON).await;
    }
    let results = one.p2pt.broadcast("to all").await;
    assert!(results.len() == 2 && results.iter().all(|(_, result)| result.is_ok()), "{results:?}");
    for other in &mut others {
        loop {
            if let Event::Message(message) = next(other).await {
                assert_eq!(message.text(), Some("to all"));
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_remains_when_nodes_are_shut_down_or_dropped() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    {
        let sim = Sim::new(14);
        let tracker = sim.start_tracker(A);
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(sim.start("room", &[A]).await);
        }
        for node in &mut nodes {
            connected(&mut node.events, SOON).await;
        }
        let dropped = nodes.split_off(4);
        drop(dropped);
        let started = Instant::now();
        for node in &nodes {
            node.p2pt.shutdown().await;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "shutdown took {:?}", started.elapsed());
        tokio::time::sleep(SOON).await;
        assert_eq!((sim.network.open_channels(), sim.network.pending()), (0, 0));
        assert_eq!(tracker.stats().swarms.peers, 0);
        tracker.stop();
    }
    tokio::time::sleep(SOON).await;
    assert_eq!(tasks(), before);
}
