//! What keeps a node alive, and what a start says when there is nothing to start in.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use p2pt::transport::memory::MemoryNetwork;
use p2pt::{Builder, Event, Events, InfoHash, Node, P2pt, StartError};
use tokio::time::timeout;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node that reaches no tracker, in memory.
fn builder() -> Builder {
    P2pt::builder().transport(MemoryNetwork::new(1).transport())
}

/// The end of the stream, which comes when the node has shut down.
async fn ended(events: &mut Events) -> bool {
    timeout(DEADLINE, async { while events.next().await.is_some() {} }).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_events_alone_keep_the_node_alive() {
    let (_, mut events) = builder().tracker("ws://127.0.0.1:9").join("room").await.expect("a node starts");
    // In a second the tracker was found to be out of reach, and is tried again: the node is at work.
    let warned = async { while !matches!(events.next().await.expect("it is alive"), Event::TrackerWarning { .. }) {} };
    timeout(DEADLINE, warned).await.expect("a node that is alive tries its tracker");
}

#[tokio::test(start_paused = true)]
async fn any_other_handle_keeps_the_node_alive_without_its_events() {
    let (swarm, events) = builder().join("room").await.expect("a node starts");
    drop(events);
    let node: Node = swarm.node();
    drop(swarm);
    let (other, events) = node.join("another room").await.expect("the node lives");
    drop((node, events));
    other.request_more_peers().await.expect("the node lives");
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_node() {
    let node = builder().start().await.expect("a node starts");
    let (first, first_events) = node.join("room").await.expect("joined");
    let transport = MemoryNetwork::new(1).transport();
    let weak = Arc::downgrade(&transport);
    let (swarm, events) = P2pt::builder().transport(transport).join("room").await.expect("a node starts");
    drop((first, first_events, node));
    drop(swarm);
    assert!(weak.upgrade().is_some(), "the events hold the node");
    drop(events);
    let gone = async {
        while weak.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the engine ends and lets its transport go");
}

#[tokio::test(start_paused = true)]
async fn a_join_that_was_given_up_can_be_repeated() {
    let node = builder().start().await.expect("a node starts");
    {
        let mut join = std::pin::pin!(node.join("room"));
        assert!(join.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "the engine has not run");
    }
    let (_swarm, _events) = node.join("room").await.expect("no handle means the swarm");
    assert_eq!(node.metrics().swarms, 1);
}

#[tokio::test(start_paused = true)]
async fn a_swarm_shuts_its_node_down() {
    let (swarm, mut events) = builder().join("room").await.expect("a node starts");
    let (_other, mut others_events) = swarm.node().join("another room").await.expect("joined");
    swarm.shutdown().await;
    assert!(ended(&mut events).await && ended(&mut others_events).await);
}

#[tokio::test(start_paused = true)]
async fn a_swarm_is_joined_by_its_identifier_or_by_its_info_hash() {
    let identifier = String::from("room");
    let (named, _events) = builder().join(&identifier).await.expect("a node starts");
    assert_eq!((named.identifier().as_deref(), named.info_hash()), (Some("room"), InfoHash::of("room")));
    let (hashed, _events) = builder().join(InfoHash::of("room")).await.expect("a node starts");
    assert_eq!((hashed.identifier(), hashed.info_hash()), (None, InfoHash::of("room")));
    assert!(hashed.node().join(identifier).await.is_err(), "it is the same swarm");
}

#[test]
fn a_start_without_a_runtime_is_an_error() {
    let mut start = std::pin::pin!(builder().join("room"));
    match start.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(StartError::NoRuntime)) => {}
        other => panic!("not an error that says so: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn trackers_are_named_as_people_have_them() {
    let url: p2pt::AnnounceUrl = "ws://127.0.0.1:9/announce".parse().expect("a URL");
    let text = String::from("ws://127.0.0.1:10");
    let named = builder().tracker(&url).tracker(&text).tracker(text.clone()).tracker(url.clone());
    let node = named.trackers([&url]).trackers([text.as_str()]).start().await.expect("a node starts");
    node.add_tracker(url.clone()).await.expect("it is there already");
    node.add_tracker("ws://127.0.0.1:11").await.expect("added");
    node.add_tracker(&text).await.expect("it is there already");
    // Other spellings of the same.
    node.add_tracker("WS://127.0.0.1:010/").await.expect("it is there already");
    node.add_tracker("ws://127.0.0.1:9/./announce").await.expect("it is there already");
    assert_eq!(node.tracker_stats().total, 3);
    assert!(node.remove_tracker(&url).await.expect("running"));
    assert!(node.remove_tracker(format!("{text}/")).await.expect("running"));
}

/// All that gives out the handle of a peer whose `PeerConnected` was not read has its close reported.
#[cfg(feature = "testing")]
#[tokio::test]
async fn a_peer_that_came_and_went_unread_is_reported_if_its_handle_was_given_out() {
    let world = p2pt::testing::World::new(3);
    for way in ["wait_for_peer", "peers", "peer"] {
        let (alice, mut events) = world.join(way).await;
        let (bob, _events) = world.join(way).await;
        match way {
            "wait_for_peer" => drop(alice.wait_for_peer().await.expect("they meet")),
            _ => {
                let connected = || match way {
                    "peers" => !alice.peers().is_empty(),
                    _ => alice.peer(&bob.peer_id()).is_some(),
                };
                world.until(Duration::from_secs(60), connected).await.expect("they meet");
            }
        }
        bob.shutdown().await;
        let reported = tokio::time::timeout(Duration::from_secs(60), async {
            let mut connected = false;
            loop {
                match events.next().await.expect("alice goes on") {
                    Event::PeerConnected(_) => connected = true,
                    Event::PeerClosed(_) => break connected,
                    _ => {}
                }
            }
        });
        assert!(reported.await.expect("it is reported"), "{way}");
    }
}

#[tokio::test]
async fn the_identifier_that_a_swarm_has_changes_nothing() {
    let (swarm, _events) = builder().join("room").await.expect("started");
    swarm.set_identifier(InfoHash::of("room")).await.expect("it has it");
    assert_eq!(swarm.identifier().as_deref(), Some("room"));
}
