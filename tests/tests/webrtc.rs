//! Nodes over real WebRTC on loopback, through the embedded tracker.

use std::collections::BTreeSet;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::transport::webrtc::WebRtcConfig;
use p2pt::{Builder, ChannelClosed, Event, Events, P2pt, Peer, RequestError, Swarm};
use tokio::time::timeout;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

struct Node {
    p2pt: Swarm,
    events: Events,
}

async fn tracker() -> TrackerServer {
    TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port")
}

async fn start(trackers: &[&TrackerServer]) -> Node {
    start_with(trackers, |node| node).await
}

async fn start_with(trackers: &[&TrackerServer], change: impl FnOnce(Builder) -> Builder) -> Node {
    let urls = trackers.iter().map(|tracker| tracker.url().to_string());
    let builder = P2pt::builder().trackers(urls).webrtc(WebRtcConfig::loopback());
    let (p2pt, events) = change(builder).join("room").await.expect("a node starts");
    Node { p2pt, events }
}

impl Node {
    async fn next(&mut self) -> Event {
        loop {
            let event = timeout(DEADLINE, self.events.next()).await.expect("an event in time");
            match event.expect("the stream goes on") {
                Event::TrackerConnected(_) => {}
                event => return event,
            }
        }
    }

    async fn connected(&mut self) -> Peer {
        match self.next().await {
            Event::PeerConnected(peer) => peer,
            other => panic!("not a connection: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_meet_exchange_a_large_message_and_part() {
    let tracker = tracker().await;
    let (mut one, mut two) = (start(&[&tracker]).await, start(&[&tracker]).await);
    let (to_two, _) = (one.connected().await, two.connected().await);

    // 5 MB with characters of one to four bytes, so that chunks end everywhere.
    let text: String = "aé漢😀\u{1}\"\\".chars().cycle().take(2_000_000).collect();
    let echo = tokio::spawn(async move {
        loop {
            if let Event::Message(message) = two.next().await {
                let payload = message.payload().clone();
                message.respond(payload).await.expect("sent");
                return two;
            }
        }
    });
    let reply = timeout(DEADLINE, to_two.request(text.as_str())).await.expect("in time").expect("a response");
    assert!(reply.text() == Some(text.as_str()), "the text came back changed");
    let stats = to_two.stats().await.expect("a link is open");
    assert!(stats.bytes_sent as usize > text.len() && stats.bytes_received as usize > text.len(), "{stats:?}");
    assert_eq!(stats.local_candidate.as_deref(), Some("host"));

    let two = echo.await.expect("no panic");
    two.p2pt.shutdown().await;
    match one.next().await {
        Event::PeerClosed(closed) => assert_eq!(closed.reason, ChannelClosed::Remote),
        other => panic!("{other:?}"),
    }
    one.p2pt.shutdown().await;
    tracker.shutdown().await;
}

#[derive(Debug, Clone, Copy)]
enum Leave {
    Shutdown,
    Dropped,
    SwarmLeft,
    Moved,
    Disconnected,
}

/// With a silence timeout so long that only a graceful close can be what is reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_close_is_reported_however_it_is_made() {
    let tracker = tracker().await;
    for leave in [Leave::Shutdown, Leave::Dropped, Leave::SwarmLeft, Leave::Moved, Leave::Disconnected] {
        let patient = |node: Builder| node.webrtc(WebRtcConfig::loopback().idle_timeout(DEADLINE * 10));
        let mut stays = start_with(&[&tracker], patient).await;
        let mut goes = start_with(&[&tracker], patient).await;
        let (to_goes, to_stays) = (stays.connected().await, goes.connected().await);
        let unanswered = tokio::spawn(to_goes.request("?").into_future());
        assert!(matches!(goes.next().await, Event::Message(_)));
        let leaving = tokio::spawn(async move {
            match leave {
                Leave::Shutdown => goes.p2pt.shutdown().await,
                Leave::Dropped => drop((goes, to_stays)),
                Leave::SwarmLeft => goes.p2pt.leave().await.expect("running"),
                Leave::Moved => goes.p2pt.move_to("another room").await.expect("running"),
                Leave::Disconnected => to_stays.disconnect().await,
            }
        });
        match stays.next().await {
            Event::PeerClosed(closed) => assert_eq!(closed.reason, ChannelClosed::Remote, "{leave:?}"),
            other => panic!("{leave:?}: {other:?}"),
        }
        let error = timeout(DEADLINE, unanswered).await.expect("in time").expect("no panic").expect_err("it has gone");
        assert_eq!(error, RequestError::PeerGone(ChannelClosed::Remote), "{leave:?}");
        timeout(DEADLINE, leaving).await.expect("in time").expect("no panic");
        stays.p2pt.shutdown().await;
    }
    tracker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn six_nodes_at_two_trackers_form_a_mesh_and_leave_nothing_behind() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // Once before counting: some descriptors are opened once and kept.
    for round in 0..3 {
        let before = (tasks(), descriptors());
        let (a, b) = (tracker().await, tracker().await);
        let mut nodes = Vec::new();
        for _ in 0..6 {
            nodes.push(start(&[&a, &b]).await);
        }
        let all: BTreeSet<_> = nodes.iter().map(|node| node.p2pt.peer_id()).collect();
        for node in &mut nodes {
            let mut met = BTreeSet::from([node.p2pt.peer_id()]);
            while met != all {
                assert!(met.insert(node.connected().await.id()), "connected twice");
            }
        }
        // Half of them leave in order, the others are just dropped.
        let dropped = nodes.split_off(3);
        for node in &nodes {
            node.p2pt.shutdown().await;
        }
        drop(dropped);
        a.shutdown().await;
        b.shutdown().await;
        drop(nodes);
        let settled = async {
            while tasks() > before.0 || (round > 0 && descriptors() > before.1) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(DEADLINE, settled).await.is_err() {
            panic!("tasks and descriptors: {before:?} before, {:?} after", (tasks(), descriptors()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_goes_takes_no_channel_with_it() {
    let (a, b) = (tracker().await, tracker().await);
    let two_links = |node: Builder| node.connections_per_peer(2);
    let mut one = start_with(&[&a, &b], two_links).await;
    let mut two = start_with(&[&a, &b], two_links).await;
    let (to_two, to_one) = (one.connected().await, two.connected().await);
    let both = async {
        while to_two.connection_count() < 2 || to_one.connection_count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, both).await.expect("a second link in time");
    assert!(one.p2pt.node().remove_tracker(a.url().as_str()).await.expect("running"));
    a.shutdown().await;
    to_two.send("still here").await.expect("sent");
    loop {
        match two.next().await {
            Event::Message(message) => break assert_eq!(message.text(), Some("still here")),
            Event::TrackerWarning { .. } | Event::ConnectionRejected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(to_one.connection_count(), 2);
    one.p2pt.shutdown().await;
    two.p2pt.shutdown().await;
    b.shutdown().await;
}
