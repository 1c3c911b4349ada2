//! A node and its trackers as they are added, removed and lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use p2pt::AnnounceUrl;
use p2pt::tracker::{ConnectError, Connector, Family, ServerConfig, Socket, TrackerService};
use p2pt_proto::{AnnounceReply, ClientMessage, TrackerMessage};
use p2pt_tests::sim::{Sim, until};
use p2pt_tests::tracker_profile::TrackerProfile;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

const A: &str = "ws://a.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// Takes the first announce, and nothing after it: not even the closing handshake.
async fn serve_once(stream: DuplexStream) {
    let mut socket = accept_async(stream).await.expect("a handshake");
    let frame = socket.next().await.expect("a frame").expect("a sound frame");
    let Ok(ClientMessage::Announce(announce)) = ClientMessage::decode(frame.into_text().expect("text")) else {
        panic!("not an announce")
    };
    let reply = TrackerMessage::Announced(AnnounceReply::new(announce.info_hash));
    socket.send(Message::text(reply.encode())).await.expect("a reply");
    std::future::pending().await
}

/// Leads to a tracker that takes one announce, and ever after to a good one.
#[derive(Debug)]
struct FirstIsStuck {
    sockets: AtomicUsize,
    good: TrackerService,
}

#[async_trait]
impl Connector for FirstIsStuck {
    async fn connect(&self, url: &AnnounceUrl, _family: Option<Family>) -> Result<Socket, ConnectError> {
        let (near, far) = tokio::io::duplex(64 << 10);
        if self.sockets.fetch_add(1, Ordering::Relaxed) == 0 {
            tokio::spawn(serve_once(far));
        } else {
            tokio::spawn(self.good.serve(far));
        }
        Socket::handshake(url, near).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_tracker_removed_and_added_again_at_once_is_not_taken_for_the_one_before() {
    let sim = Sim::new(61);
    let connector = FirstIsStuck { sockets: AtomicUsize::new(0), good: TrackerService::new(ServerConfig::default()) };
    let node = sim.start_with("room", &[A], |node| node.connector(Arc::new(connector))).await.p2pt;
    let reached = || node.node().tracker_stats().connected == 1;
    assert!(until(5 * SECOND, reached).await.is_some());
    let removed = Instant::now();
    assert!(node.node().remove_tracker(A).await.expect("a URL"));
    node.node().add_tracker(A).await.expect("added");
    assert!(until(SECOND, reached).await.is_some(), "the new one");
    // The old one's socket does not close, and is given up after two seconds.
    sleep(3 * SECOND - removed.elapsed()).await;
    assert!(reached(), "the end of the old one was taken for that of the new one");
}

#[tokio::test(start_paused = true)]
async fn a_tracker_removed_just_before_shutdown_hears_of_it() {
    let sim = Sim::new(62);
    let tracker = sim.start_profile(A, TrackerProfile::aquatic());
    let node = sim.start("room", &[A]).await;
    assert!(until(5 * SECOND, || tracker.members() == 1).await.is_some());
    // The way to the tracker takes a second.
    sim.freeze(node.node);
    assert!(node.p2pt.node().remove_tracker(A).await.expect("a URL"));
    let way = async {
        sleep(SECOND).await;
        sim.thaw(node.node);
    };
    tokio::join!(node.p2pt.shutdown(), way);
    assert_eq!(tracker.log().stopped, 1);
}
