//! The facade over a backend that is none of the workspace's: the example of `p2pt-transport`, over TCP.

use std::sync::Arc;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::{Event, Events, P2pt, Swarm};
use tokio::time::timeout;

#[path = "../../p2pt-transport/examples/tcp_backend/main.rs"]
#[allow(dead_code, reason = "its `main` puts the conformance suite to it")]
mod tcp_backend;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

async fn start(tracker: &TrackerServer) -> (Swarm, Events) {
    let backend = Arc::new(tcp_backend::Tcp::default());
    let builder = P2pt::builder().tracker(tracker.url().to_string()).transport(backend);
    builder.join("over TCP").await.expect("a node starts")
}

async fn next(events: &mut Events) -> Event {
    loop {
        match timeout(DEADLINE, events.next()).await.expect("in time").expect("the stream goes on") {
            Event::TrackerConnected(_) => {}
            event => return event,
        }
    }
}

#[tokio::test]
async fn two_nodes_meet_and_talk_over_tcp() {
    let tracker = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let (one, mut one_events) = start(&tracker).await;
    let (two, mut two_events) = start(&tracker).await;
    let Event::PeerConnected(to_two) = next(&mut one_events).await else { panic!("no connection") };
    let Event::PeerConnected(_) = next(&mut two_events).await else { panic!("no connection") };

    // More than one frame of this backend.
    let question = "over TCP ".repeat(20_000);
    let answering = async {
        let Event::Message(message) = next(&mut two_events).await else { panic!("no message") };
        assert!(message.text() == Some(question.as_str()), "the question came changed");
        message.respond("indeed").await.expect("sent");
    };
    let (reply, ()) = tokio::join!(to_two.request(question.as_str()).into_future(), answering);
    assert_eq!(reply.expect("a response").text(), Some("indeed"));

    two.shutdown().await;
    let Event::PeerClosed(closed) = next(&mut one_events).await else { panic!("not closed") };
    assert_eq!(closed.peer, to_two);
    one.shutdown().await;
    tracker.shutdown().await;
}
