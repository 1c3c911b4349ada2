use std::future::Future;
use std::time::Duration;

use p2pt::testing::World;
use p2pt::{Event, Frame};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Fault, Item, Node, Received, Swarm};

/// Virtual time, after which a wait has failed.
const GUARD: Duration = Duration::from_secs(60);

async fn soon<T>(wait: impl Future<Output = T>) -> T {
    timeout(GUARD, wait).await.expect("it takes less than a minute")
}

struct Member {
    node: Node,
    swarm: Swarm,
}

impl Member {
    async fn join(world: &World, options: &str) -> Self {
        let node = Node::start_over(world.builder(), options).await.expect("a node");
        let swarm = node.join("room", false).await.expect("a swarm");
        Self { node, swarm }
    }

    async fn join_room(world: &World, room: &str) -> Self {
        let node = Node::start_over(world.builder(), "{}").await.expect("a node");
        let swarm = node.join(room, false).await.expect("a swarm");
        Self { node, swarm }
    }

    /// The number of a peer, once there is one.
    async fn meet(&self) -> u32 {
        let peer = soon(self.swarm.wait_for_peer(None)).await.expect("a peer");
        serde_json::from_str::<(u32, String)>(&peer).expect("a number and an id").0
    }

    /// The next events until one says what is sought.
    async fn until<T>(&self, mut seek: impl FnMut(Item) -> Option<T>) -> T {
        soon(async {
            loop {
                let batch = self.swarm.next().await;
                assert!(!batch.is_empty(), "the events have ended");
                if let Some(found) = batch.into_iter().find_map(&mut seek) {
                    return found;
                }
            }
        })
        .await
    }

    async fn message(&self) -> (u32, Received) {
        self.until(|item| match item {
            Item::Message { peer, message } => Some((peer, message)),
            _ => None,
        })
        .await
    }

    async fn event(&self, kind: &str) -> Value {
        self.until(|item| {
            let Item::Other(line) = item else { return None };
            let event: Value = serde_json::from_str(&line).expect("a line of JSON");
            (event["type"] == kind).then_some(event)
        })
        .await
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Fault>) -> &'static str {
    result.expect_err("it fails").code()
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn a_peer_comes_talks_and_goes() {
    let world = World::new(1);
    let alice = Member::join(&world, r#"{"peerId":"aa00000000000000000000000000000000000000"}"#).await;
    let bob = Member::join(&world, "{}").await;
    assert_eq!(alice.node.peer_id(), format!("aa{}", "0".repeat(38)));
    assert_eq!(
        bob.event("peerConnected").await,
        json!({"type": "peerConnected", "peer": 1, "id": alice.node.peer_id()})
    );
    let peer = alice.meet().await;
    assert_eq!(alice.swarm.peers(), json!([[peer, bob.node.peer_id()]]).to_string());

    alice.node.send(peer, text("hello"), false, None).expect("room").await.expect("sent");
    let (from, message) = bob.message().await;
    assert_eq!((from, message.text.as_str(), message.is_json), (1, "hello", false));
    bob.node.send(from, text(r#"{"a":1}"#), true, Some(&message.id)).expect("room").await.expect("sent");
    let (_, response) = alice.message().await;
    assert_eq!(response, Received { text: text(r#"{"a":1}"#), is_json: true, id: message.id });

    alice.node.shutdown().await;
    let closed = bob.event("peerClosed").await;
    assert_eq!((&closed["peer"], &closed["code"]), (&json!(1), &json!("remote")));
    assert_eq!(bob.node.known_peers(), 0);
    assert!(alice.until_the_end().await);
}

impl Member {
    async fn until_the_end(&self) -> bool {
        soon(async { while !self.swarm.next().await.is_empty() {} }).await;
        self.swarm.next().await.is_empty()
    }
}

#[tokio::test]
async fn what_was_not_awaited_arrives_in_order() {
    const MESSAGES: usize = 100_000;
    let world = World::new(2);
    let (alice, bob) = (Member::join(&world, "{}").await, Member::join(&world, "{}").await);
    let peer = alice.meet().await;
    let mut sending = Vec::with_capacity(MESSAGES);
    for number in 0..MESSAGES {
        sending.push(alice.node.send(peer, number.to_string(), false, None).expect("room"));
    }
    assert!(alice.node.buffered(peer) > 400_000, "nothing has left yet: {}", alice.node.buffered(peer));
    let mut expected = 0;
    bob.until(|item| {
        if let Item::Message { message, .. } = item {
            assert_eq!(message.text, expected.to_string());
            expected += 1;
        }
        (expected == MESSAGES).then_some(())
    })
    .await;
    for sent in sending {
        soon(sent).await.expect("sent");
    }
    assert_eq!(alice.node.buffered(peer), 0);
}

#[tokio::test]
async fn messages_frames_and_requests_keep_their_order() {
    let world = World::new(3);
    let (alice, bob) = (Member::join(&world, "{}").await, Member::join(&world, "{}").await);
    let peer = alice.meet().await;
    let large = "x".repeat(1 << 20);
    let first = alice.node.send(peer, large.clone(), false, None).expect("room");
    let second = alice.node.send_frame(peer, Frame::binary(vec![7, 8])).expect("room");
    let asking = alice.node.request(peer, text("?"), false, None, None, None);
    let last = alice.node.send(peer, text("end"), false, None).expect("room");
    let mut seen = Vec::new();
    let question = bob
        .until(|item| {
            match item {
                Item::Message { message, .. } if message.text.len() > 3 => seen.push(text("large")),
                Item::Message { message, .. } if message.text == "end" => return Some(seen.clone()),
                Item::Message { peer, message } => {
                    seen.push(message.text);
                    drop(bob.node.send(peer, text("!"), false, Some(&message.id)).expect("room"));
                }
                Item::Data { frame, .. } => seen.push(format!("{:?}", frame.bytes().as_ref())),
                Item::Other(_) => {}
            }
            None
        })
        .await;
    assert_eq!(question, ["large", "[7, 8]", "?"]);
    assert_eq!(soon(asking).await.expect("a response").text, "!");
    for sent in [first, second, last] {
        soon(sent).await.expect("sent");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let world = World::new(4);
    let alice = Member::join(&world, r#"{"sendQueueBytes":2000000,"flushTimeout":0}"#).await;
    let bob = Member::join(&world, "{}").await;
    let peer = alice.meet().await;
    let megabyte = "x".repeat(1 << 20);
    let first = alice.node.send(peer, megabyte.clone(), false, None).expect("room");
    let refused = alice.node.send(peer, megabyte, false, None);
    assert_eq!(code(refused), "queue_full");
    soon(first).await.expect("sent");
    alice.node.send(peer, text("after"), false, None).expect("room again").await.expect("sent");
    bob.until(|item| matches!(item, Item::Message { message, .. } if message.text == "after").then_some(())).await;
}

#[tokio::test]
async fn errors_have_codes() {
    let world = World::new(5);
    let alice = Member::join(&world, r#"{"maxMessageBytes":1000000}"#).await;
    let bob = Member::join(&world, "{}").await;
    let peer = alice.meet().await;
    let send = |content: &str, is_json, id| code(alice.node.send(peer, text(content), is_json, id));
    assert_eq!(send("{", true, None), "invalid_json");
    assert_eq!(send("", false, Some("{")), "invalid_id");
    assert_eq!(send(&"x".repeat(1_000_001), false, None), "too_large");
    assert_eq!(code(alice.node.send_frame(peer, Frame::text(r#"^{"id":1,"msg":"","c":0}"#))), "looks_like_message");
    assert_eq!(code(alice.node.send(7, text(""), false, None)), "peer_gone");
    assert_eq!(code(alice.node.messages(7)), "peer_gone");
    assert_eq!(code(alice.node.join("room", false).await), "already_joined");
    assert_eq!(code(alice.node.join("room", true).await), "invalid_id");
    assert_eq!(code(alice.node.add_tracker("http://a.test").await), "invalid_announce_url");
    assert_eq!(code(alice.node.ban("bob").await), "invalid_id");
    assert_eq!(code(soon(alice.node.request(peer, text("?"), false, None, Some(-1.0), None)).await), "invalid_option");
    let asked = alice.node.request(peer, text("?"), false, None, Some(1500.0), None);
    assert_eq!(code(soon(asked).await), "request_timeout");
    let asked = alice.node.request(peer, text("?"), false, None, None, None);
    bob.node.shutdown().await;
    assert_eq!(code(soon(asked).await), "peer_gone");
    alice.node.shutdown().await;
    assert_eq!(code(alice.node.join("another", false).await), "stopped");
    assert_eq!(code(alice.swarm.leave().await), "stopped");
}

#[tokio::test]
async fn a_wait_can_be_cancelled() {
    let world = World::new(6);
    let alice = Member::join(&world, "{}").await;
    let waiting = alice.swarm.wait_for_peer(Some(1));
    let cancelling = async { alice.node.cancel(1) };
    assert_eq!(code(soon(async { tokio::join!(waiting, cancelling).0 }).await), "aborted");
    let _bob = Member::join(&world, "{}").await;
    let peer = alice.meet().await;
    let asking = alice.node.request(peer, text("?"), false, None, None, Some(2));
    assert_eq!(code(soon(async { tokio::join!(asking, async { alice.node.cancel(2) }).0 }).await), "aborted");
    // Before it is first polled, as JavaScript does that aborts in the same turn.
    let asking = alice.node.request(peer, text("?"), false, None, None, Some(3));
    alice.node.cancel(3);
    assert_eq!(code(soon(asking).await), "aborted");
    let carol = Member::join_room(&world, "another").await;
    let waiting = carol.swarm.wait_for_peer(Some(1));
    carol.node.cancel(1);
    assert_eq!(code(soon(waiting).await), "aborted");
    // A ticket whose wait is over means nothing.
    alice.node.cancel(2);
    assert_eq!(soon(alice.swarm.wait_for_peer(Some(2))).await.map(|peer| peer.starts_with('[')), Ok(true));
}

#[tokio::test]
async fn messages_of_one_peer_are_taken_and_given_back() {
    let world = World::new(7);
    let (alice, bob) = (Member::join(&world, "{}").await, Member::join(&world, "{}").await);
    let (to_bob, to_alice) = (alice.meet().await, bob.meet().await);
    let messages = bob.node.messages(to_alice).expect("bob is there");
    let send = async |content: &str| {
        soon(alice.node.send(to_bob, text(content), false, None).expect("room")).await.expect("sent");
    };
    send("one").await;
    assert_eq!(soon(messages.next()).await.map(|message| message.text), Some(text("one")));
    let waiting = messages.clone();
    let (none, ()) = soon(async { tokio::join!(waiting.next(), async { messages.close() }) }).await;
    assert_eq!(none, None);
    assert_eq!(soon(messages.next()).await, None);
    send("two").await;
    assert_eq!(bob.message().await.1.text, "two");
}

#[tokio::test]
async fn all_peers_are_sent_to_at_once() {
    let world = World::new(8);
    let alice = Member::join(&world, "{}").await;
    let (bob, carol) = (Member::join(&world, "{}").await, Member::join(&world, "{}").await);
    world.until(GUARD, || alice.swarm.peers().matches("],[").count() == 1).await.expect("two peers");
    assert_eq!(alice.swarm.broadcast(text("7"), true), Ok(text("[]")));
    for member in [bob, carol] {
        assert_eq!(member.message().await.1.text, "7");
    }
    assert_eq!(code(alice.swarm.broadcast(text("{"), true)), "invalid_json");
}

#[tokio::test]
async fn a_broadcast_says_who_had_no_room() {
    let world = World::new(18);
    let alice = Member::join(&world, r#"{"sendQueueBytes":1000}"#).await;
    let bob = Member::join(&world, "{}").await;
    world.until(GUARD, || alice.swarm.peers() != "[]").await.expect("a peer");
    // Of whom no event has been read.
    assert_eq!(alice.swarm.broadcast("x".repeat(900), false), Ok(text("[]")));
    let refused = alice.swarm.broadcast("x".repeat(900), false).expect("a text");
    let [(peer, id, error)] = serde_json::from_str::<[(u32, String, String); 1]>(&refused).expect("one was refused");
    assert_eq!(id, bob.node.peer_id());
    assert!(error.starts_with("queue_full: "), "{error}");
    assert_eq!(alice.event("peerConnected").await, json!({"type": "peerConnected", "peer": peer, "id": id}));
}

#[tokio::test]
async fn the_peers_of_a_swarm_that_nothing_reads_are_forgotten_with_it() {
    let world = World::new(19);
    let alice = Member::join(&world, "{}").await;
    let bob = Member::join(&world, "{}").await;
    alice.meet().await;
    let other = Member::join_room(&world, "other").await;
    let swarm = alice.node.join("other", false).await.expect("another swarm");
    soon(swarm.wait_for_peer(None)).await.expect("a peer");
    assert_eq!(alice.node.known_peers(), 2);
    swarm.leave().await.expect("it was joined");
    // What is left to be read may be read yet.
    assert_eq!(alice.node.known_peers(), 2);
    drop(swarm);
    assert_eq!(alice.node.known_peers(), 1);
    drop((bob, other));
}

#[tokio::test]
async fn states_are_json() {
    let world = World::new(9);
    let (alice, _bob) = (Member::join(&world, "{}").await, Member::join(&world, "{}").await);
    let peer = alice.meet().await;
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let trackers = parse(&alice.node.trackers());
    assert_eq!((&trackers["connected"], &trackers["total"]), (&json!(1), &json!(1)));
    let tracker = &trackers["trackers"][0];
    assert_eq!((&tracker["url"], &tracker["status"]), (&json!(World::TRACKER), &json!("connected")));
    assert_eq!(tracker["swarms"][0]["infoHash"], alice.swarm.info_hash());
    assert_eq!(parse(&alice.node.metrics())["peersConnected"], 1);
    soon(alice.node.send(peer, text("hello"), false, None).expect("room")).await.expect("sent");
    assert!(parse(&soon(alice.node.stats(peer)).await)[0]["bytesSent"].as_u64() > Some(5));
    assert_eq!(alice.node.connection_count(peer), 1);
    soon(alice.node.disconnect(peer)).await;
    let closed = alice.event("peerClosed").await;
    assert_eq!(closed["code"], "local");
    assert_eq!((alice.node.buffered(peer), alice.node.connection_count(peer)), (0, 0));
    assert_eq!(soon(alice.node.stats(peer)).await, "[]");
}

#[tokio::test]
async fn trackers_and_identifiers_change() {
    let world = World::new(10);
    let alice = Member::join(&world, "{}").await;
    let (swarm, mut events) = world.join("another").await;
    alice.swarm.set_identifier("another", false).await.expect("it goes on");
    assert_eq!(alice.swarm.identifier().as_deref(), Some("another"));
    assert_eq!(alice.swarm.info_hash(), swarm.info_hash().to_string());
    assert_eq!(crate::info_hash_of("another"), alice.swarm.info_hash());
    let met = async { while !matches!(events.next().await, Some(Event::PeerConnected(_))) {} };
    soon(met).await;
    assert_eq!(alice.node.add_tracker("WS://spare.test:80/").await, Ok(text("ws://spare.test")));
    assert_eq!(alice.node.remove_tracker("ws://spare.test").await, Ok(true));
    assert_eq!(alice.node.remove_tracker("ws://spare.test").await, Ok(false));
    alice.swarm.request_more_peers().await.expect("it goes on");
    alice.node.ban(&swarm.peer_id().to_string()).await.expect("it goes on");
    assert_eq!(alice.node.unban(&swarm.peer_id().to_string()), Ok(true));
    alice.swarm.leave().await.expect("it goes on");
    assert!(alice.until_the_end().await);
}
