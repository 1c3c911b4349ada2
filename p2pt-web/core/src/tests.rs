use std::future::Future;
use std::time::Duration;

use p2pt::testing::World;
use p2pt::{Event, Frame};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Content, Fault, Item, Node, Received, Swarm};

/// Virtual time, after which a wait has failed.
const GUARD: Duration = Duration::from_secs(60);

async fn soon<T>(wait: impl Future<Output = T>) -> T {
    timeout(GUARD, wait).await.expect("it takes less than a minute")
}

#[path = "session_tests.rs"]
mod session;

struct Member {
    node: Node,
    swarm: Swarm,
}

impl Member {
    async fn join(world: &World, options: &str) -> Self {
        let node = Node::start_over(world.builder(), options).await.expect("a node");
        let swarm = node.join("room".into(), "identifier", None).await.expect("a swarm");
        Self { node, swarm }
    }

    async fn join_room(world: &World, room: &str) -> Self {
        let node = Node::start_over(world.builder(), "{}").await.expect("a node");
        let swarm = node.join(room.into(), "identifier", None).await.expect("a swarm");
        Self { node, swarm }
    }

    /// The number of a peer, once there is one.
    async fn meet(&self) -> u32 {
        let peer = soon(self.swarm.wait_for_peer(None)).await.expect("a peer");
        serde_json::from_str::<(u32, String, Option<String>)>(&peer).expect("a number, an id and a key").0
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

fn said(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn words(message: &Received) -> String {
    match &message.content {
        Content::Text(text) | Content::Json(text) => text.clone(),
        Content::Bytes(bytes) => format!("{bytes:?}"),
    }
}

#[tokio::test]
async fn a_peer_comes_talks_and_goes() {
    let world = World::new(1);
    let alice = Member::join(&world, r#"{"peerId":"aa00000000000000000000000000000000000000"}"#).await;
    let bob = Member::join(&world, "{}").await;
    assert_eq!(alice.node.peer_id(), format!("aa{}", "0".repeat(38)));
    assert_eq!(
        bob.event("peerConnected").await,
        json!({
            "type": "peerConnected",
            "peer": 1,
            "id": alice.node.peer_id(),
            "publicKey": null,
            "trust": {"level": "unsigned"},
            "safetyCode": null,
        })
    );
    let peer = alice.meet().await;
    assert_eq!(alice.swarm.peers(), json!([[peer, bob.node.peer_id(), null]]).to_string());

    alice.node.send(peer, said("hello"), None).expect("room").await.expect("sent");
    let (from, message) = bob.message().await;
    assert_eq!((from, &message.content), (1, &said("hello")));
    bob.node.send(from, Content::Json(text(r#"{"a":1}"#)), Some(&message.id)).expect("room").await.expect("sent");
    let (_, response) = alice.message().await;
    assert_eq!(response, Received { content: Content::Json(text(r#"{"a":1}"#)), id: message.id });

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
        sending.push(alice.node.send(peer, said(&number.to_string()), None).expect("room"));
    }
    assert!(alice.node.buffered(peer) > 400_000, "nothing has left yet: {}", alice.node.buffered(peer));
    let mut expected = 0;
    bob.until(|item| {
        if let Item::Message { message, .. } = item {
            assert_eq!(message.content, said(&expected.to_string()));
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
    let first = alice.node.send(peer, said(&large), None).expect("room");
    let second = alice.node.send_frame(peer, Frame::binary(vec![7, 8])).expect("room");
    let asking = alice.node.request(peer, said("?"), None, None, None);
    let last = alice.node.send(peer, said("end"), None).expect("room");
    let mut seen = Vec::new();
    let question = bob
        .until(|item| {
            match item {
                Item::Message { message, .. } if message.content.len() > 3 => seen.push(text("large")),
                Item::Message { message, .. } if message.content == said("end") => return Some(seen.clone()),
                Item::Message { peer, message } => {
                    seen.push(words(&message));
                    drop(bob.node.send(peer, said("!"), Some(&message.id)).expect("room"));
                }
                Item::Data { frame, .. } => seen.push(format!("{:?}", frame.bytes().as_ref())),
                _ => {}
            }
            None
        })
        .await;
    assert_eq!(question, ["large", "[7, 8]", "?"]);
    assert_eq!(soon(asking).await.expect("a response").content, said("!"));
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
    // The session with the peer takes some of it out of the queue at once.
    let mut taken = Vec::new();
    let refused = loop {
        match alice.node.send(peer, said(&megabyte), None) {
            Ok(sending) => taken.push(sending),
            Err(fault) => break fault,
        }
        assert!(taken.len() < 100, "it takes whatever it is given");
    };
    assert_eq!(refused.code(), "queue_full");
    for sending in taken {
        soon(sending).await.expect("sent");
    }
    alice.node.send(peer, said("after"), None).expect("room again").await.expect("sent");
    bob.until(|item| matches!(item, Item::Message { message, .. } if message.content == said("after")).then_some(()))
        .await;
}

#[tokio::test]
async fn errors_have_codes() {
    let world = World::new(5);
    let alice = Member::join(&world, r#"{"maxMessageBytes":1000000}"#).await;
    let bob = Member::join(&world, "{}").await;
    let peer = alice.meet().await;
    let send = |content, id| code(alice.node.send(peer, content, id));
    assert_eq!(send(Content::Json(text("{")), None), "invalid_json");
    assert_eq!(send(said(""), Some("{")), "invalid_id");
    assert_eq!(send(said(&"x".repeat(1_000_001)), None), "too_large");
    assert_eq!(code(alice.node.send_frame(peer, Frame::text(r#"^{"id":1,"msg":"","c":0}"#))), "looks_like_message");
    assert_eq!(code(alice.node.send(7, said(""), None)), "peer_gone");
    assert_eq!(code(alice.node.messages(7)), "peer_gone");
    assert_eq!(code(alice.node.join("room".into(), "identifier", None).await), "already_joined");
    assert_eq!(code(alice.node.join("room".into(), "infoHash", None).await), "invalid_id");
    assert_eq!(code(alice.node.add_tracker("http://a.test").await), "invalid_announce_url");
    assert_eq!(code(alice.node.ban("bob").await), "invalid_id");
    assert_eq!(code(soon(alice.node.request(peer, said("?"), None, Some(-1.0), None)).await), "invalid_option");
    let asked = alice.node.request(peer, said("?"), None, Some(1500.0), None);
    assert_eq!(code(soon(asked).await), "request_timeout");
    let asked = alice.node.request(peer, said("?"), None, None, None);
    bob.node.shutdown().await;
    assert_eq!(code(soon(asked).await), "peer_gone");
    alice.node.shutdown().await;
    assert_eq!(code(alice.node.join("another".into(), "identifier", None).await), "stopped");
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
    let asking = alice.node.request(peer, said("?"), None, None, Some(2));
    assert_eq!(code(soon(async { tokio::join!(asking, async { alice.node.cancel(2) }).0 }).await), "aborted");
    // Before it is first polled, as JavaScript does that aborts in the same turn.
    let asking = alice.node.request(peer, said("?"), None, None, Some(3));
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
        soon(alice.node.send(to_bob, said(content), None).expect("room")).await.expect("sent");
    };
    send("one").await;
    assert_eq!(soon(messages.next()).await.map(|message| message.content), Some(said("one")));
    let waiting = messages.clone();
    let (none, ()) = soon(async { tokio::join!(waiting.next(), async { messages.close() }) }).await;
    assert_eq!(none, None);
    assert_eq!(soon(messages.next()).await, None);
    send("two").await;
    assert_eq!(bob.message().await.1.content, said("two"));
}

#[tokio::test]
async fn all_peers_are_sent_to_at_once() {
    let world = World::new(8);
    let alice = Member::join(&world, "{}").await;
    let (bob, carol) = (Member::join(&world, "{}").await, Member::join(&world, "{}").await);
    world.until(GUARD, || alice.swarm.peers().matches("],[").count() == 1).await.expect("two peers");
    assert_eq!(alice.swarm.broadcast(Content::Json(text("7"))), Ok(text("[]")));
    for member in [bob, carol] {
        assert_eq!(member.message().await.1.content, Content::Json(text("7")));
    }
    assert_eq!(code(alice.swarm.broadcast(Content::Json(text("{")))), "invalid_json");
}

#[tokio::test]
async fn a_broadcast_says_who_had_no_room() {
    let world = World::new(18);
    let alice = Member::join(&world, r#"{"sendQueueBytes":1000}"#).await;
    let bob = Member::join(&world, "{}").await;
    world.until(GUARD, || alice.swarm.peers() != "[]").await.expect("a peer");
    // Of whom no event has been read.
    // The session with the peer takes some of it out of the queue at once.
    let broadcasts = (0..10_000).map(|_| alice.swarm.broadcast(said(&"x".repeat(900))).expect("a text"));
    let refused = broadcasts.into_iter().find(|refused| refused != "[]").expect("the queue is bounded");
    let [(peer, id, key, error)] =
        serde_json::from_str::<[(u32, String, Option<String>, String); 1]>(&refused).expect("one was refused");
    assert_eq!(id, bob.node.peer_id());
    assert!(error.starts_with("queue_full: "), "{error}");
    let connected = alice.event("peerConnected").await;
    assert_eq!(
        (&connected["peer"], &connected["id"], &connected["publicKey"]),
        (&json!(peer), &json!(id), &json!(key))
    );
}

#[tokio::test]
async fn the_peers_of_a_swarm_that_nothing_reads_are_forgotten_with_it() {
    let world = World::new(19);
    let alice = Member::join(&world, "{}").await;
    let bob = Member::join(&world, "{}").await;
    alice.meet().await;
    let other = Member::join_room(&world, "other").await;
    let swarm = alice.node.join("other".into(), "identifier", None).await.expect("another swarm");
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
    soon(alice.node.send(peer, said("hello"), None).expect("room")).await.expect("sent");
    assert!(parse(&soon(alice.node.stats(peer)).await)[0]["bytesSent"].as_u64() > Some(5));
    assert_eq!(alice.node.connection_count(peer), 1);
    soon(alice.node.leave(peer, 0.0, String::new())).await;
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
    alice.swarm.set_identifier("another".into(), "identifier", None).await.expect("it goes on");
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

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn known(member: &Member, peer: u32) -> Value {
    parse(&member.node.known(peer).expect("it is there"))
}

#[tokio::test]
async fn peers_know_each_other_by_their_keys_and_a_pin_is_told_of() {
    let world = World::new(20);
    let key = crate::generate_key();
    let public = crate::public_key_of(&key).expect("a key");
    let alice = Member::join(&world, &json!({"key": key}).to_string()).await;
    let bob = Member::join(&world, "{}").await;
    assert_eq!(alice.node.public_key().as_ref(), Some(&public));
    let (at_alice, at_bob) = (alice.meet().await, bob.meet().await);
    assert_eq!(bob.swarm.peers(), json!([[at_bob, alice.node.peer_id(), public]]).to_string());
    let seen = known(&bob, at_bob);
    assert_eq!((&seen["publicKey"], &seen["trust"]), (&json!(public), &json!({"level": "first_use", "through": 1})));
    assert_eq!(seen["safetyCode"], known(&alice, at_alice)["safetyCode"]);
    assert_eq!(seen["safetyCode"]["words"].as_array().map(Vec::len), Some(3));
    assert_eq!(seen["safetyCode"]["emojiNames"].as_array().map(Vec::len), Some(5));
    let connected = bob.event("peerConnected").await;
    assert_eq!((&connected["publicKey"], &connected["safetyCode"]), (&seen["publicKey"], &seen["safetyCode"]));

    bob.node.pin("alice", &public).await.expect("it is pinned");
    let changed = bob.event("trustChanged").await;
    assert_eq!(
        changed,
        json!({
            "type": "trustChanged",
            "peer": at_bob,
            "was": {"level": "first_use", "through": 1},
            "now": {"level": "pinned", "name": "alice"},
        })
    );
    assert_eq!(bob.node.pins(), json!({"alice": public}).to_string());
    let carol = crate::public_key_of(&crate::generate_key()).expect("a key");
    assert_eq!(code(bob.node.pin("alice", &carol).await), "already_pinned");
    assert_eq!(code(bob.node.pin("", &carol).await), "invalid_option");
    assert_eq!(code(bob.node.pin("carol", "nobody").await), "invalid_key");
    bob.node.pin("carol", &carol).await.expect("it is pinned");
    let changed = json!({"level": "changed", "name": "carol", "was": carol, "now": public});
    assert_eq!(bob.node.trust_as(at_bob, "carol").as_deref().map(parse), Some(changed));
    assert_eq!(bob.node.unpin("alice").await, Ok(Some(public)));
    assert_eq!(bob.event("trustChanged").await["now"]["level"], "first_use");
    assert_eq!((bob.node.known(99), bob.node.trust_as(99, "carol")), (None, None));
}

#[tokio::test]
async fn pins_are_given_at_the_start() {
    let world = World::new(21);
    let key = crate::generate_key();
    let alice = Member::join(&world, &json!({"key": key}).to_string()).await;
    let pins = json!({"pins": {"alice": alice.node.public_key()}});
    let bob = Member::join(&world, &pins.to_string()).await;
    let peer = bob.meet().await;
    assert_eq!(known(&bob, peer)["trust"], json!({"level": "pinned", "name": "alice"}));
    assert_eq!(parse(&bob.node.pins()), pins["pins"]);
}

#[tokio::test]
async fn who_is_turned_away_is_told_with_a_code() {
    let world = World::new(22);
    let unsigned = r#"{"peerId":"aa00000000000000000000000000000000000000"}"#;
    let friend = crate::generate_key();
    let only = json!({"policy": {"only": [crate::public_key_of(&friend).expect("a key")]}}).to_string();
    for (options, other, reason) in
        [(r#"{"policy":"signed"}"#, unsigned, "unsigned"), (&only, unsigned, "unsigned"), (&only, "{}", "wrong_key")]
    {
        let strict = Member::join(&world, options).await;
        let other = Member::join(&world, other).await;
        let rejected = strict.event("connectionRejected").await;
        assert_eq!((&rejected["code"], &rejected["isForgery"]), (&json!(reason), &json!(false)));
        let friend = Member::join(&world, &json!({"key": friend}).to_string()).await;
        assert_eq!(strict.event("peerConnected").await["id"], friend.node.peer_id());
        for member in [strict, other, friend] {
            member.node.shutdown().await;
        }
    }
    let both = Node::start_over(world.builder(), &json!({"key": friend, "peerId": "aa".repeat(20)}).to_string()).await;
    assert_eq!(code(both), "invalid_option");
    let agreeing = Member::join(&world, r#"{"requireAgreement":2}"#).await;
    let _other = Member::join(&world, "{}").await;
    // The node waits for as long as a guard.
    let rejected = timeout(3 * GUARD, async {
        loop {
            for item in agreeing.swarm.next().await {
                match item {
                    Item::Other(line) if line.contains("not_vouched") => return parse(&line),
                    _ => {}
                }
            }
        }
    });
    let rejected = rejected.await.expect("it is turned away");
    assert_eq!((&rejected["seen"], &rejected["wanted"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn rooms_are_joined_by_a_link_and_by_a_passphrase() {
    let world = World::new(23);
    let start = || Node::start_over(world.builder(), "{}");
    let (alice, bob, carol) = tokio::join!(start(), start(), start());
    let (alice, bob, carol) = (alice.expect("a node"), bob.expect("a node"), carol.expect("a node"));
    let link = crate::new_room_link("our table");
    let passphrase = crate::new_passphrase();
    for (key, kind, secret) in [
        (link.as_str(), "sealed", None),
        (link.as_str(), "hidden", None),
        ("our table", "sealed", Some(passphrase.clone())),
        ("our table", "hidden", Some(passphrase.clone())),
    ] {
        let joined = async |node: &Node| node.join(key.to_owned(), kind, secret.clone()).await.expect("a room");
        let (at_alice, at_bob) = (joined(&alice).await, joined(&bob).await);
        let met = soon(at_alice.wait_for_peer(None)).await.expect("a peer");
        assert!(met.contains(&bob.peer_id()), "{met}");
        let name = at_alice.identifier().expect("a name");
        assert!(name.starts_with("p2pt1-") && at_bob.identifier() == Some(name.clone()), "{name}");
        // A node that is given the name alone, as a JavaScript peer may be.
        let guest = carol.join(name, "identifier", None).await.expect("a swarm");
        let member = Member { node: alice.clone(), swarm: at_alice };
        if kind == "sealed" {
            assert_eq!(member.event("connectionRejected").await["code"], "wrong_room");
        } else {
            let carol = carol.peer_id();
            member.until(|item| matches!(item, Item::Other(line) if line.contains(&carol)).then_some(())).await;
        }
        for swarm in [member.swarm, at_bob, guest] {
            swarm.leave().await.expect("it was joined");
        }
    }
    for (key, kind, secret) in
        [("our table", "sealed", None), ("our table", "sealed", Some("short")), ("four words it is", "types", None)]
    {
        let joined = alice.join(key.into(), kind, secret.map(text)).await;
        assert_eq!(code(joined.map(|_| ())), "invalid_secret", "{key} {kind} {secret:?}");
    }
    assert_eq!(code(alice.join("x".into(), "elsewhere", None).await.map(|_| ())), "unsupported");
}

#[tokio::test]
async fn two_meet_by_a_code() {
    let world = World::new(24);
    let code = crate::new_code();
    let shows = Node::start_over(world.builder(), "{}").await.expect("a node");
    let types = Node::start_over(world.builder(), "{}").await.expect("a node");
    let shown = shows.join(code.clone(), "shows", None).await.expect("a swarm");
    let typed = types.join(code.to_uppercase().replace('-', " "), "types", None).await.expect("a swarm");
    let peer = soon(shown.wait_for_peer(None)).await.expect("a peer");
    assert!(peer.contains(&types.public_key().expect("a key")), "{peer}");
    soon(typed.wait_for_peer(None)).await.expect("a peer");
    let unsigned = Node::start_over(world.builder(), r#"{"peerId":"aa00000000000000000000000000000000000000"}"#);
    let joined = unsigned.await.expect("a node").join(code, "types", None).await;
    assert_eq!(self::code(joined.map(|_| ())), "no_key");
}
