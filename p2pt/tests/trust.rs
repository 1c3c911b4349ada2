//! Who a peer is: keys, policies, rooms with a secret.

use std::sync::Arc;
use std::time::Duration;

use p2pt::testing::World;
use p2pt::trust::{
    Code, MemoryStore, NodeKey, Pin, Policy, PublicKey, RoomLink, Side, StoreError, Trust, TrustLevel, TrustStore,
};
use p2pt::{
    Accepted, Candidate, Event, Events, HandshakeError, NodeError, Payload, Peer, PeerId, PinError, RejectReason,
    StartError, Swarm, SwarmKey,
};

/// In virtual time; longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn key(n: u8) -> NodeKey {
    NodeKey::from_bytes(&[n; 32])
}

/// The next peer that connects, and why others did not.
async fn next_peer(events: &mut Events) -> (Peer, Vec<RejectReason>) {
    let mut rejected = Vec::new();
    let peer = async {
        loop {
            match events.next().await.expect("the node runs") {
                Event::PeerConnected(peer) => return peer,
                Event::ConnectionRejected(event) => rejected.push(event.reason),
                _ => {}
            }
        }
    };
    let peer = tokio::time::timeout(PATIENCE, peer).await.expect("a peer connects");
    (peer, rejected)
}

/// The next reason for which a peer was turned away, and whether one had connected before.
async fn next_rejection(events: &mut Events) -> (RejectReason, bool) {
    let mut connected = false;
    let reason = async {
        loop {
            match events.next().await.expect("the node runs") {
                Event::PeerConnected(_) => connected = true,
                Event::ConnectionRejected(event) if event.reason != RejectReason::Duplicate => return event.reason,
                _ => {}
            }
        }
    };
    let reason = tokio::time::timeout(PATIENCE, reason).await.expect("a peer is turned away");
    (reason, connected)
}

/// The next message, before which no frame comes that is none.
async fn next_text(events: &mut Events) -> String {
    let text = async {
        loop {
            match events.next().await.expect("the node runs") {
                Event::Message(message) => return message.text().expect("a text").to_owned(),
                Event::Data(data) => panic!("{data}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, text).await.expect("a message")
}

#[tokio::test]
async fn nodes_know_each_other_by_their_keys_and_see_the_same_safety_code() {
    let world = World::new(1);
    let (alice, mut alice_events) = world.builder().key(key(1)).join("room").await.expect("a node");
    let (bob, mut bob_events) = world.builder().key(key(2)).join("room").await.expect("a node");
    let ((bob_at_alice, _), (alice_at_bob, _)) = (next_peer(&mut alice_events).await, next_peer(&mut bob_events).await);
    assert_eq!(bob_at_alice.public_key(), Some(key(2).public_key()));
    assert_eq!(alice_at_bob.public_key(), Some(key(1).public_key()));
    assert_eq!(
        (alice.node().public_key(), bob.node().public_key()),
        (alice_at_bob.public_key(), bob_at_alice.public_key())
    );
    assert!(bob_at_alice.safety_code().is_some());
    assert_eq!(bob_at_alice.safety_code(), alice_at_bob.safety_code());
    // What came first on the channel was no message.
    bob_at_alice.queue("hello").expect("room");
    assert_eq!(next_text(&mut bob_events).await, "hello");
}

#[tokio::test]
async fn a_key_is_drawn_for_each_run_and_an_id_follows_from_it() {
    let world = World::new(2);
    let (one, _one_events) = world.join("a").await;
    let (two, _two_events) = world.join("a").await;
    assert_ne!(one.node().public_key().expect("a key"), two.node().public_key().expect("a key"));
    let (again, _again_events) = world.builder().key(key(1)).join("b").await.expect("a node");
    let (and_again, _events) = world.builder().key(key(1)).join("b").await.expect("a node");
    assert_ne!(again.peer_id(), and_again.peer_id(), "one key in two processes has two ids");
}

#[tokio::test]
async fn a_node_with_a_peer_id_of_its_own_has_no_key() {
    let world = World::new(3);
    let own = PeerId::from([7; 20]);
    let (unsigned, mut unsigned_events) = world.builder().peer_id(own).join("room").await.expect("a node");
    let (_signed, mut signed_events) = world.join("room").await;
    assert_eq!((unsigned.peer_id(), unsigned.node().public_key()), (own, None));
    for (peer, _) in [next_peer(&mut unsigned_events).await, next_peer(&mut signed_events).await] {
        assert_eq!((peer.public_key(), peer.safety_code()), (None, None));
    }
    let both = world.builder().peer_id(own).key(key(1)).start().await;
    assert!(matches!(both, Err(StartError::PeerIdWithKey)), "{both:?}");
    let policy = world.builder().peer_id(own).policy(Policy::Signed).start().await;
    assert!(matches!(policy, Err(StartError::PeerIdWithKey)), "{policy:?}");
}

#[tokio::test]
async fn a_policy_turns_peers_away_by_their_keys() {
    let world = World::new(4);
    let only = Policy::Only([key(2).public_key()].into());
    for (policy, other, reason) in [
        (Policy::Signed, world.builder().peer_id(PeerId::from([7; 20])), RejectReason::Unsigned),
        (only.clone(), world.builder().peer_id(PeerId::from([7; 20])), RejectReason::Unsigned),
        (only, world.builder().key(key(3)), RejectReason::WrongKey),
    ] {
        let (strict, mut events) = world.builder().key(key(1)).policy(policy).join("room").await.expect("a node");
        let (other, _other_events) = other.join("room").await.expect("a node");
        assert_eq!(next_rejection(&mut events).await, (reason, false));
        let (friend, _friend_events) = world.builder().key(key(2)).join("room").await.expect("a node");
        assert_eq!(next_peer(&mut events).await.0.public_key(), Some(key(2).public_key()));
        for swarm in [strict, other, friend] {
            swarm.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_room_is_found_and_joined_by_those_who_have_its_secret() {
    let world = World::new(5);
    let (link, other) = (RoomLink::draw("our table", &mut rand::rng()), RoomLink::draw("our table", &mut rand::rng()));
    let (alice, mut events) = world.join(link.secret()).await;
    let (_stranger, _stranger_events) = world.join(other.secret()).await;
    let (_named, _named_events) = world.join("our table").await;
    let (bob, _bob_events) = world.join(link.secret()).await;
    assert_eq!(next_peer(&mut events).await.0.id(), bob.peer_id());
    assert!(alice.key().is_sealed() && alice.key() == bob.key());
    // Who has the name and not the secret is turned away.
    let (_hidden, _hidden_events) = world.join(SwarmKey::hidden(&link.secret())).await;
    assert_eq!(next_rejection(&mut events).await, (RejectReason::WrongRoom, false));
    let name = alice.identifier().expect("a name");
    let (_guest, mut guest_events) = world.join(name).await;
    assert_eq!(next_rejection(&mut guest_events).await.0, RejectReason::WrongRoom);
}

#[tokio::test]
async fn a_hidden_name_is_open_to_who_is_given_it() {
    let world = World::new(6);
    let secret = RoomLink::draw("our table", &mut rand::rng()).secret();
    let (_alice, mut events) = world.join(SwarmKey::hidden(&secret)).await;
    let (guest, _guest_events) = world.join(SwarmKey::hidden(&secret).identifier().expect("a name")).await;
    assert_eq!(next_peer(&mut events).await.0.id(), guest.peer_id());
}

const SECOND: &str = "ws://second.test/announce";

/// The next change of how far a peer is known.
async fn next_change(events: &mut Events) -> (TrustLevel, TrustLevel) {
    let change = async {
        loop {
            if let Event::TrustChanged(changed) = events.next().await.expect("the node runs") {
                assert_eq!(changed.now, changed.peer.trust());
                return (changed.was.level(), changed.now.level());
            }
        }
    };
    tokio::time::timeout(PATIENCE, change).await.expect("a peer is known better or less")
}

#[tokio::test]
async fn a_second_tracker_vouches_for_a_peer_that_is_met() {
    let world = World::new(7);
    world.start_tracker(SECOND);
    let (_alice, mut alice_events) = world.join("room").await;
    let (_bob, mut bob_events) = world.join("room").await;
    for events in [&mut alice_events, &mut bob_events] {
        let (peer, _) = next_peer(events).await;
        if peer.trust().level() == TrustLevel::FirstUse {
            assert_eq!(next_change(events).await, (TrustLevel::FirstUse, TrustLevel::Vouched));
        }
        assert_eq!(peer.trust(), Trust::Vouched { through: 2, of: 2 });
    }
}

#[tokio::test]
async fn a_peer_that_one_tracker_shows_is_not_let_in_where_two_should() {
    let world = World::new(8);
    world.start_tracker(SECOND);
    let (alice, mut events) = world.builder().require_agreement(2).join("room").await.expect("a node");
    let (_mallory, _mallory_events) = world.builder_at([SECOND]).join("room").await.expect("a node");
    assert_eq!(next_rejection(&mut events).await, (RejectReason::NotVouched { seen: 1, wanted: 2 }, false));
    let (bob, _bob_events) = world.join("room").await;
    assert_eq!(next_peer(&mut events).await.0.id(), bob.peer_id());
    let unsigned = world.builder().peer_id(PeerId::from([7; 20])).join("room").await.expect("a node");
    assert_eq!(next_rejection(&mut events).await.0, RejectReason::Unsigned);
    assert_eq!(alice.peers().len(), 1);
    drop(unsigned);
}

#[tokio::test]
async fn two_that_ask_for_agreement_meet() {
    let world = World::new(9);
    world.start_tracker(SECOND);
    let (alice, mut alice_events) = world.builder().require_agreement(2).join("room").await.expect("a node");
    let (bob, mut bob_events) = world.builder().require_agreement(2).join("room").await.expect("a node");
    assert_eq!(next_peer(&mut alice_events).await.0.id(), bob.peer_id());
    assert_eq!(next_peer(&mut bob_events).await.0.id(), alice.peer_id());
    bob.shutdown().await;
    let gone = async { while !matches!(alice_events.next().await, Some(Event::PeerClosed(_))) {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is told");
}

#[tokio::test]
async fn a_pin_is_told_of_and_can_be_taken_away() {
    let world = World::new(10);
    let store = Arc::new(MemoryStore::new());
    let (alice, mut events) = world.builder().trust_store(store).join("room").await.expect("a node");
    let (_bob, _bob_events) = world.builder().key(key(2)).join("room").await.expect("a node");
    let (peer, _) = next_peer(&mut events).await;
    let node = alice.node();
    node.pin("bob", &key(2).public_key()).await.expect("it is pinned");
    assert_eq!(next_change(&mut events).await, (TrustLevel::FirstUse, TrustLevel::Pinned));
    node.pin("carol", &key(3).public_key()).await.expect("it is pinned");
    let changed = Trust::Changed { name: "carol".into(), was: key(3).public_key(), now: Some(key(2).public_key()) };
    assert_eq!((peer.trust_as("carol"), peer.trust_as("bob")), (changed, Trust::Pinned { name: "bob".into() }));
    assert!(matches!(node.pin("bob", &key(4).public_key()).await, Err(PinError::Store(_))));
    assert_eq!(node.unpin("bob").await.expect("it was pinned"), Some(key(2).public_key()));
    assert_eq!(next_change(&mut events).await, (TrustLevel::Pinned, TrustLevel::FirstUse));
    let (bare, _bare_events) = world.join("elsewhere").await;
    assert!(matches!(bare.node().pin("bob", &key(2).public_key()).await, Err(PinError::NoStore)));
}

/// Shows a password, and accepts who shows the same.
async fn password(mut candidate: Candidate, password: &'static str) -> Result<Accepted, HandshakeError> {
    assert!(candidate.public_key().is_some() && candidate.safety_code().is_some());
    candidate.send(password).await?;
    match candidate.receive().await? {
        Payload::Text(text) if text == password => Ok(candidate.accept()),
        _ => Err(candidate.refuse("that is not the password")),
    }
}

const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_application_accepts_candidates_before_they_are_peers() {
    let world = World::new(11);
    let with = |word| world.builder().handshake(DEADLINE, move |candidate| password(candidate, word)).join("room");
    let (_alice, mut alice_events) = with("swordfish").await.expect("a node");
    let (_mallory, mut mallory_events) = with("guess").await.expect("a node");
    assert_eq!(next_rejection(&mut mallory_events).await, (RejectReason::Refused, false));
    let (bob, mut bob_events) = with("swordfish").await.expect("a node");
    let (peer, _) = next_peer(&mut alice_events).await;
    assert_eq!(peer.id(), bob.peer_id());
    // What is sent at once is no part of the handshake.
    peer.queue("hello").expect("room");
    assert_eq!(next_text(&mut bob_events).await, "hello");
}

#[tokio::test]
async fn a_candidate_that_says_nothing_or_too_much_is_turned_away() {
    let world = World::new(12);
    let shaking = |candidate: Candidate| password(candidate, "swordfish");
    for other in [0, 1, 2] {
        let (alice, mut events) = world.builder().handshake(DEADLINE, shaking).join("room").await.expect("a node");
        let other = world.builder().handshake(Duration::from_secs(60), move |mut candidate: Candidate| async move {
            match other {
                0 => std::future::pending().await,
                1 => {
                    let size = 64 << 10;
                    let error = candidate.send("x".repeat(size + 1)).await.expect_err("too large");
                    assert!(
                        matches!(error, HandshakeError::TooLarge { bytes, max } if bytes == size + 1 && max == size)
                    );
                    candidate.send("x".repeat(size)).await?;
                    Err(candidate.refuse("it was a test"))
                }
                _ => panic!("the application's own mistake"),
            }
        });
        let (other, _other_events) = other.join("room").await.expect("a node");
        assert_eq!(next_rejection(&mut events).await, (RejectReason::Refused, false));
        assert!(alice.peers().is_empty());
        for swarm in [alice, other] {
            swarm.shutdown().await;
        }
    }
}

#[tokio::test]
async fn two_people_meet_by_a_code_and_nobody_else_does() {
    let world = World::new(13);
    let code = Code::draw(&mut rand::rng());
    let told = code.reveal();
    // Whoever finds the first two words can try the others.
    let guess = |last: &str| {
        let mut words: Vec<&str> = told.split('-').collect();
        words[3] = last;
        Code::parse(&words.join("-"))
    };
    let wrong = ["able", "acid"].iter().find_map(|word| guess(word).ok().filter(|guess| *guess != code));
    let wrong = wrong.expect("one of them is a word of codes, and another");
    let (alice, mut events) = world.join(SwarmKey::code(code.clone(), Side::Shows)).await;
    let (unsigned, _unsigned_events) = world
        .builder()
        .peer_id(PeerId::from([7; 20]))
        .join(alice.identifier().expect("a name"))
        .await
        .expect("it has found the name");
    assert_eq!(next_rejection(&mut events).await, (RejectReason::Unsigned, false));
    unsigned.shutdown().await;
    let (mallory, mut mallory_events) = world.join(SwarmKey::code(wrong, Side::Types)).await;
    assert_eq!(next_rejection(&mut events).await, (RejectReason::WrongCode { left: 2 }, false));
    assert!(matches!(next_rejection(&mut mallory_events).await, (RejectReason::WrongCode { .. }, false)));
    mallory.shutdown().await;
    let (bob, mut bob_events) = world.join(SwarmKey::code(Code::parse(&told).expect("a code"), Side::Types)).await;
    let (peer, _) = next_peer(&mut events).await;
    assert_eq!(peer.public_key(), bob.node().public_key());
    assert_eq!(next_peer(&mut bob_events).await.0.public_key(), alice.node().public_key());
    // It has done its service.
    let (_late, mut late_events) = world.join(SwarmKey::code(code, Side::Types)).await;
    assert!(matches!(next_rejection(&mut late_events).await, (_, false)));
}

#[tokio::test]
async fn a_code_that_is_guessed_at_is_void_after_three_attempts() {
    let world = World::new(14);
    let code = Code::draw(&mut rand::rng());
    let (_alice, mut events) = world.join(SwarmKey::code(code.clone(), Side::Shows)).await;
    let told = code.reveal();
    let words: Vec<&str> = told.split('-').collect();
    let guesses =
        ["able", "acid", "actor", "adapt"].map(|last| Code::parse(&[words[0], words[1], words[2], last].join("-")));
    let mut lefts = Vec::new();
    for guess in guesses.into_iter().flatten().filter(|guess| *guess != code) {
        let (mallory, _mallory_events) = world.join(SwarmKey::code(guess, Side::Types)).await;
        match next_rejection(&mut events).await {
            (RejectReason::WrongCode { left }, false) => lefts.push(left),
            other => panic!("{other:?}"),
        }
        mallory.shutdown().await;
        if lefts.len() == 3 {
            break;
        }
    }
    assert_eq!(lefts, [2, 1, 0]);
    let (_bob, mut bob_events) = world.join(SwarmKey::code(code, Side::Types)).await;
    assert_eq!(next_rejection(&mut events).await, (RejectReason::CodeVoid, false));
    assert!(!next_rejection(&mut bob_events).await.1);
}

#[tokio::test]
async fn a_code_takes_a_key() {
    let world = World::new(15);
    let key = SwarmKey::code(Code::draw(&mut rand::rng()), Side::Shows);
    let joined = world.builder().peer_id(PeerId::from([7; 20])).join(key.clone()).await;
    assert!(matches!(joined, Err(StartError::PeerIdWithKey)), "{joined:?}");
    let node = world.builder().peer_id(PeerId::from([7; 20])).start().await.expect("a node");
    assert!(matches!(node.join(key).await, Err(NodeError::NoKey)));
}

/// Two nodes that offer to each other at once, each by the tracker at which the other is, so that two channels open.
async fn join_at_once(world: &World, keys: [SwarmKey; 2]) -> [(Swarm, Events); 2] {
    let [alices, bobs] = keys;
    let (alice, alice_events) = world.builder_at([World::TRACKER]).join(alices).await.expect("a node");
    let (bob, bob_events) = world.builder_at([SECOND]).join(bobs).await.expect("a node");
    world.advance(Duration::from_secs(1)).await;
    let (alice_node, bob_node) = (alice.node(), bob.node());
    let (one, two) = tokio::join!(alice_node.add_tracker(SECOND), bob_node.add_tracker(World::TRACKER));
    one.and(two).expect("the nodes run");
    [(alice, alice_events), (bob, bob_events)]
}

/// Runs for a minute, in which two nodes meet and settle on one channel; what they report but for trackers.
async fn settle(world: &World, events: &mut Events) -> Vec<String> {
    world.advance(Duration::from_secs(60)).await;
    let mut reported = Vec::new();
    while let Ok(event) = events.try_next() {
        match event {
            Event::PeerConnected(_) => reported.push("connected".to_owned()),
            Event::PeerClosed(closed) => reported.push(closed.to_string()),
            Event::ConnectionRejected(event) if event.reason == RejectReason::Duplicate => {}
            Event::ConnectionRejected(event) => reported.push(event.reason.to_string()),
            _ => {}
        }
    }
    reported
}

#[tokio::test]
async fn two_see_one_safety_code_however_many_channels_have_opened() {
    let mut several = 0;
    for seed in 0..4 {
        let world = World::new(seed);
        world.start_tracker(SECOND);
        let [(alice, mut alice_events), (bob, mut bob_events)] =
            join_at_once(&world, ["room".into(), "room".into()]).await;
        assert_eq!(settle(&world, &mut alice_events).await, ["connected"]);
        assert_eq!(settle(&world, &mut bob_events).await, ["connected"]);
        let (bob_at_alice, alice_at_bob) = (&alice.peers()[0], &bob.peers()[0]);
        assert!(bob_at_alice.safety_code().is_some());
        assert_eq!(bob_at_alice.safety_code(), alice_at_bob.safety_code(), "with seed {seed}");
        several += usize::from(alice.node().metrics().connections_opened > 1);
    }
    assert!(several > 0, "no two ever had two channels");
}

#[tokio::test]
async fn two_who_meet_by_a_code_twice_at_once_stay_connected() {
    let mut several = 0;
    for seed in 0..4 {
        let world = World::new(seed);
        world.start_tracker(SECOND);
        let code = Code::draw(&mut rand::rng());
        let sides = [SwarmKey::code(code.clone(), Side::Shows), SwarmKey::code(code, Side::Types)];
        let [(alice, mut alice_events), (bob, mut bob_events)] = join_at_once(&world, sides).await;
        for (swarm, events) in [(&alice, &mut alice_events), (&bob, &mut bob_events)] {
            assert_eq!(settle(&world, events).await, ["connected"], "with seed {seed}");
            assert_eq!(swarm.peers().len(), 1);
        }
        several += usize::from(alice.node().metrics().connections_opened > 1);
    }
    assert!(several > 0, "no two ever had two channels");
}

#[tokio::test]
async fn an_application_that_panics_before_its_handshake_begins_ends_that_attempt_alone() {
    let world = World::new(16);
    let mallory = key(3).public_key();
    let careless = move |candidate: Candidate| {
        assert_ne!(candidate.public_key(), Some(mallory), "the application's own mistake");
        async move { Ok(candidate.accept()) }
    };
    let (_alice, mut events) = world.builder().handshake(DEADLINE, careless).join("room").await.expect("a node");
    let (_mallory, _mallory_events) = world.builder().key(key(3)).join("room").await.expect("a node");
    assert_eq!(next_rejection(&mut events).await, (RejectReason::Refused, false));
    let (bob, _bob_events) = world.join("room").await;
    assert_eq!(next_peer(&mut events).await.0.id(), bob.peer_id());
}

#[tokio::test]
async fn a_room_that_was_hidden_is_sealed_when_it_is_told_to_be() {
    let world = World::new(17);
    let secret = RoomLink::draw("our table", &mut rand::rng()).secret();
    let (alice, mut events) = world.join(SwarmKey::hidden(&secret)).await;
    alice.set_identifier(&secret).await.expect("it has one name");
    assert!(alice.key().is_sealed());
    let (_guest, _guest_events) = world.join(SwarmKey::hidden(&secret).identifier().expect("a name")).await;
    assert_eq!(next_rejection(&mut events).await, (RejectReason::WrongRoom, false));
    let (bob, _bob_events) = world.join(&secret).await;
    assert_eq!(next_peer(&mut events).await.0.id(), bob.peer_id());
}

/// A store of an application that panics when it is asked.
#[derive(Debug)]
struct Careless;

impl TrustStore for Careless {
    fn key_of(&self, _: &str) -> Option<PublicKey> {
        None
    }

    fn name_of(&self, _: &PublicKey) -> Option<String> {
        panic!("the application's own mistake")
    }

    fn pins(&self) -> Vec<Pin> {
        Vec::new()
    }

    fn pin(&self, _: &str, _: &PublicKey) -> Result<(), StoreError> {
        Ok(())
    }

    fn unpin(&self, _: &str) -> Result<Option<PublicKey>, StoreError> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_store_that_panics_has_nothing_pinned() {
    let world = World::new(18);
    let (_alice, mut events) = world.builder().trust_store(Arc::new(Careless)).join("room").await.expect("a node");
    let (_bob, _bob_events) = world.join("room").await;
    let (peer, _) = next_peer(&mut events).await;
    assert_eq!(peer.trust(), Trust::FirstUse { through: 1 });
}

#[tokio::test]
async fn the_name_of_a_hidden_room_is_shown_to_no_log() {
    let world = World::new(19);
    let secret = RoomLink::draw("our table", &mut rand::rng()).secret();
    for key in [SwarmKey::hidden(&secret), SwarmKey::from(&secret), secret.hidden_identifier().into()] {
        let (swarm, _events) = world.join(key.clone()).await;
        let name = swarm.identifier().expect("a name");
        let shown = format!("{key:?} {swarm:?} {:?}", swarm.key());
        assert!(!shown.contains(&name) && shown.contains("p2pt1-…"), "{shown}");
    }
    assert!(format!("{:?}", SwarmKey::from("our table")).contains("our table"));
}

#[tokio::test]
async fn a_handshake_accepts_its_own_candidate_alone() {
    let world = World::new(30);
    let kept: Arc<std::sync::Mutex<Vec<Candidate>>> = Arc::default();
    let swap = move |candidate: Candidate| {
        let kept = kept.clone();
        async move {
            let mut kept = kept.lock().expect("no panic");
            kept.push(candidate);
            let other = if kept.len() > 1 { Some(kept.remove(0)) } else { None };
            other.map(Candidate::accept).ok_or(HandshakeError::Refused("the first is kept".to_owned()))
        }
    };
    let (alice, mut events) = world.builder().handshake(DEADLINE, swap).join("room").await.expect("a node");
    let (_bob, _bob_events) = world.join("room").await;
    let (_carol, _carol_events) = world.join("room").await;
    for _ in 0..2 {
        assert_eq!(next_rejection(&mut events).await, (RejectReason::Refused, false));
    }
    assert!(alice.peers().is_empty());
}
