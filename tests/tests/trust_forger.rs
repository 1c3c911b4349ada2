//! A malicious tracker against nodes over real WebRTC: what it can do to peers that sign nothing, and what it cannot do to
//! those that do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use p2pt::RejectReason::{BadSignature, NotConfirmed, Replayed, Unsigned, WrongKey, WrongRoom};
use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::transport::Role::{self, Answerer, Offerer};
use p2pt::transport::webrtc::{WebRtc, WebRtcConfig};
use p2pt::trust::{Code, MemoryStore, NodeKey, Policy, PublicKey, RoomLink, Side, Trust};
use p2pt::{Builder, Event, Events, P2pt, Peer, PeerId, RejectReason, Swarm, SwarmKey};
use p2pt_tests::events::{connected, message};
use p2pt_tests::forger::{Added, Edit, Forger, ForgerServer, GREETING, Guise, Name, OnAnswer, OnOffer, Plan};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

const ROOM: &str = "room";

/// Attacks that are tried beside each other: each has three transports.
const AT_ONCE: usize = 4;

/// How long an attempt lasts of which nothing comes where an attack is tried; until then its peer is not offered another.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(3);

/// How often two nodes make offers again where one was not enough.
const AGAIN: Duration = Duration::from_millis(500);

async fn forger(plan: Plan) -> ForgerServer {
    let transport = WebRtc::new(WebRtcConfig::loopback()).expect("a transport");
    let forger = Forger::new(plan, Arc::new(transport), 1).rewriting("Alice", "Mallory");
    ForgerServer::bind(forger).await.expect("a free port")
}

fn builder(tracker: &ForgerServer) -> Builder {
    P2pt::builder().tracker(tracker.url()).webrtc(WebRtcConfig::loopback())
}

async fn join(builder: Builder, key: impl Into<SwarmKey>) -> (Swarm, Events) {
    builder.join(key).await.expect("a node starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn between_peers_that_sign_nothing_a_tracker_reads_and_changes_what_they_say_and_neither_notices() {
    let tracker = forger(Plan::offers(OnOffer::Between(Guise::Unsigned))).await;
    let unsigned = |id: u8| builder(&tracker).peer_id(PeerId::from([id; 20]));
    let (alice, mut alice_events) = join(unsigned(1), ROOM).await;
    let (bob, mut bob_events) = join(unsigned(2), ROOM).await;
    let to_bob = connected(&mut alice_events, DEADLINE).await;
    let to_alice = connected(&mut bob_events, DEADLINE).await;
    // Each is to the other who it says it is.
    assert_eq!((to_bob.id(), to_alice.id()), (bob.peer_id(), alice.peer_id()));

    let asking = tokio::spawn(to_bob.request("Pay 5 to Alice").into_future());
    let said = message(&mut bob_events, DEADLINE).await;
    assert_eq!((said.text(), said.peer().id()), (Some("Pay 5 to Mallory"), alice.peer_id()));
    said.respond("Alice is paid").await.expect("sent");
    let response = asking.await.expect("no panic").expect("a response");
    assert_eq!(response.text(), Some("Mallory is paid"));
    to_alice.send("Thank you, Alice").await.expect("sent");
    let said = message(&mut alice_events, DEADLINE).await;
    assert_eq!((said.text(), said.peer().id()), (Some("Thank you, Mallory"), bob.peer_id()));

    let heard = tracker.forger.heard_text();
    assert!(heard.contains("Pay 5 to Alice") && heard.contains("Thank you, Alice"), "{heard}");
    for events in [&mut alice_events, &mut bob_events] {
        while let Ok(event) = events.try_next() {
            assert!(!matches!(event, Event::ConnectionRejected(_) | Event::ConnectionFailed(_)), "noticed: {event:?}");
        }
    }
    alice.shutdown().await;
    bob.shutdown().await;
}

/// What is to be seen of an attack: this node's part, and the reason.
type Sight = (Role, RejectReason);

/// Whom two nodes admit that have these keys.
type Admit = fn([PublicKey; 2]) -> Policy;

/// Anyone, which is the default.
const ANYONE: Admit = |_| Policy::Open;
/// Anyone with a key.
const SIGNED: Admit = |_| Policy::Signed;
/// Each other.
const FRIENDS: Admit = |keys| Policy::Only(keys.into());

/// Has two nodes that sign, with this policy and in these swarms, meet at a tracker with this plan alone, until all of this
/// was seen of the attack by either. Nothing else may come of it: no peer, and no byte for an application.
async fn refused(plan: Plan, admit: Admit, swarms: [SwarmKey; 2], wanted: &[Sight]) {
    let tracker = forger(plan.clone()).await;
    let keys = [NodeKey::random(), NodeKey::random()];
    let policy = admit([keys[0].public_key(), keys[1].public_key()]);
    let config = WebRtcConfig::loopback().connect_timeout(GIVEN_UP_AFTER);
    let start = |number: usize| {
        let node = builder(&tracker).webrtc(config.clone()).key(keys[number].clone()).policy(policy.clone());
        join(node, swarms[number].clone())
    };
    let ((one, mut one_events), (two, mut two_events)) = (start(0).await, start(1).await);
    let mut missing: BTreeSet<String> = wanted.iter().map(|sight| format!("{sight:?}")).collect();
    let mut seen = Vec::new();
    let mut again = tokio::time::interval(AGAIN);
    let watching = async {
        while !missing.is_empty() {
            let event = tokio::select! {
                event = one_events.next() => event,
                event = two_events.next() => event,
                _ = again.tick() => {
                    for swarm in [&one, &two] {
                        swarm.request_more_peers().await.expect("running");
                    }
                    continue;
                }
            };
            match event.expect("the events go on") {
                Event::ConnectionRejected(rejected) => {
                    assert_eq!(rejected.tracker.as_str(), tracker.url(), "{plan:?}");
                    let sight = format!("{:?}", (rejected.role, rejected.reason));
                    missing.remove(&sight);
                    seen.push(sight);
                }
                Event::TrackerConnected(_) | Event::TrackerWarning { .. } | Event::ConnectionFailed(_) => {}
                other => panic!("{plan:?}: {other:?}"),
            }
        }
    };
    let in_time = timeout(DEADLINE, watching).await;
    assert!(in_time.is_ok(), "{plan:?}: {missing:?} were not seen, but {seen:?}");
    for swarm in [&one, &two] {
        assert_eq!(swarm.peers(), [], "{plan:?}");
    }
    assert_eq!(tracker.forger.heard_text(), "", "{plan:?}");
    one.shutdown().await;
    two.shutdown().await;
    for events in [&mut one_events, &mut two_events] {
        while let Some(event) = events.next().await {
            let is_harmless = !matches!(event, Event::PeerConnected(_) | Event::Message(_) | Event::Data(_));
            assert!(is_harmless, "{plan:?}: {event:?}");
        }
    }
}

/// [`refused`] for each of these, some at a time.
async fn all_refused(attacks: impl IntoIterator<Item = (Plan, Admit, Vec<Sight>)>, key: impl Into<SwarmKey>) {
    let (mut attempts, key) = (JoinSet::new(), key.into());
    for (plan, admit, wanted) in attacks {
        if attempts.len() >= AT_ONCE {
            attempts.join_next().await.expect("one at least").expect("refused");
        }
        let key = key.clone();
        attempts.spawn(async move { refused(plan, admit, [key.clone(), key], &wanted).await });
    }
    while let Some(attempt) = attempts.join_next().await {
        attempt.expect("refused");
    }
}

/// What comes of a changed description, and with which policy: without its signature a peer is one without a key, which
/// the default admits.
fn of_edit(edit: Edit) -> (Admit, RejectReason) {
    match edit {
        Edit::Strip | Edit::Downgrade => (SIGNED, Unsigned),
        Edit::Seal => (ANYONE, WrongRoom),
        _ => (ANYONE, BadSignature),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_that_are_changed_are_refused() {
    let attacks = Edit::ALL.into_iter().flat_map(|edit| {
        let (admit, reason) = of_edit(edit);
        let offers = (Plan::offers(OnOffer::Edit(edit)), admit, vec![(Answerer, reason)]);
        let answers = (Plan::answers(OnAnswer::Edit(edit)), admit, vec![(Offerer, reason)]);
        [offers, answers]
    });
    all_refused(attacks, ROOM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_man_in_the_middle_is_refused_in_every_guise_but_that_of_a_peer_of_its_own() {
    // Whom they admit, and why each guise is refused between the two and where it answers for itself.
    let guises = [
        (Guise::Unsigned, SIGNED, [Unsigned; 2]),
        (Guise::JavaScript, SIGNED, [Unsigned; 2]),
        (Guise::Pasted, ANYONE, [BadSignature; 2]),
        (Guise::SignedUnder, ANYONE, [BadSignature; 2]),
        (Guise::OtherRoom, ANYONE, [WrongRoom; 2]),
        (Guise::Own, FRIENDS, [WrongKey; 2]),
        // Between the two it carries the proof of another peer. For itself it says something else.
        (Guise::Unproven, ANYONE, [BadSignature, NotConfirmed]),
        (Guise::Echo, ANYONE, [BadSignature; 2]),
    ];
    assert_eq!(
        guises.map(|(guise, ..)| format!("{guise:?}")).into_iter().collect::<BTreeSet<_>>().len(),
        Guise::ALL.len()
    );
    let attacks = guises.into_iter().flat_map(|(guise, admit, [between, answers])| {
        let between = (Plan::offers(OnOffer::Between(guise)), admit, vec![(Answerer, between)]);
        let answers = (Plan::offers(OnOffer::AnswerItself(guise)), admit, vec![(Offerer, answers)]);
        [between, answers]
    });
    all_refused(attacks, ROOM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_in_another_place_are_refused() {
    let offers = [OnOffer::Under(Name::Own), OnOffer::Under(Name::New), OnOffer::Reflect];
    let offers = offers.map(|attack| (Plan::offers(attack), ANYONE, vec![(Answerer, BadSignature)]));
    let answers = [OnAnswer::Under(Name::Own), OnAnswer::Under(Name::New), OnAnswer::Mix, OnAnswer::Reflect];
    let answers = answers.map(|attack| (Plan::answers(attack), ANYONE, vec![(Offerer, BadSignature)]));
    all_refused(offers.into_iter().chain(answers), ROOM).await;
    // In a swarm that is another one.
    let elsewhere = Plan::offers(OnOffer::Elsewhere);
    refused(elsewhere, ANYONE, [ROOM.into(), "another".into()], &[(Answerer, BadSignature)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_before_is_refused() {
    let plan = |offers: &[OnOffer], answers: &[OnAnswer]| Plan {
        offers: offers.to_vec(),
        answers: answers.to_vec(),
        ..Plan::default()
    };
    let attacks = [
        (plan(&[OnOffer::Repeat], &[OnAnswer::Hide]), (Answerer, Replayed)),
        (plan(&[OnOffer::Relay, OnOffer::Replay], &[OnAnswer::Hide]), (Answerer, Replayed)),
        // An old offer that its recipient has not seen is answered, and is not the one that its author made it in place of.
        (plan(&[OnOffer::Hide, OnOffer::Replay], &[]), (Offerer, BadSignature)),
        (plan(&[], &[OnAnswer::Hide, OnAnswer::Replay]), (Offerer, BadSignature)),
    ];
    all_refused(attacks.map(|(plan, sight)| (plan, ANYONE, vec![sight])), ROOM).await;
}

/// The unknown key share of RFC 8844: both descriptions are the peers' own, signed again by the tracker as its peer's. The
/// two would be connected with each other, and each would take the other for the tracker's peer.
#[tokio::test(flavor = "multi_thread")]
async fn descriptions_that_a_tracker_makes_its_own_lead_to_nothing() {
    let plan = Plan { answers: vec![OnAnswer::Adopt], ..Plan::offers(OnOffer::Adopt) };
    all_refused([(plan, ANYONE, vec![(Answerer, BadSignature), (Offerer, BadSignature)])], ROOM).await;
    // Each of the two alone.
    let offers = Plan::offers(OnOffer::Adopt);
    all_refused([(offers, ANYONE, vec![(Offerer, BadSignature)])], ROOM).await;
    let answers = Plan::answers(OnAnswer::Adopt);
    all_refused([(answers, ANYONE, vec![(Offerer, BadSignature), (Answerer, BadSignature)])], ROOM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_room_what_is_not_of_its_secret_is_refused() {
    let key = SwarmKey::from(RoomLink::draw(ROOM, &mut rand::rng()).secret());
    let mut attacks = vec![
        (Plan::offers(OnOffer::Edit(Edit::Seal)), Answerer, WrongRoom),
        (Plan::answers(OnAnswer::Edit(Edit::Seal)), Offerer, WrongRoom),
        (Plan::offers(OnOffer::Adopt), Answerer, WrongRoom),
        (Plan::offers(OnOffer::Under(Name::New)), Answerer, WrongRoom),
        (Plan::answers(OnAnswer::Under(Name::New)), Offerer, WrongRoom),
        (Plan::answers(OnAnswer::Mix), Offerer, WrongRoom),
        (Plan::answers(OnAnswer::Reflect), Offerer, WrongRoom),
        (Plan::offers(OnOffer::Reflect), Answerer, WrongRoom),
        (Plan { offers: vec![OnOffer::Repeat], ..Plan::answers(OnAnswer::Hide) }, Answerer, Replayed),
    ];
    for guise in Guise::ALL {
        // Its own peer cannot read what it would stand between; it can make offers.
        let added = [Added::ToAnnouncer(Name::Other, guise), Added::ToOthers(Name::Other, guise)];
        let mut plan = Plan::adding(added);
        plan.offers = vec![OnOffer::Hide];
        attacks.push((plan, Answerer, WrongRoom));
    }
    let attacks = attacks.into_iter().map(|(plan, role, reason)| (plan, ANYONE, vec![(role, reason)]));
    all_refused(attacks, key).await;
}

/// The reasons for which an event stream tells that peers were turned away, until one of them is this.
async fn until_rejected(events: &mut Events, reason: RejectReason) {
    let rejected = async {
        loop {
            match events.next().await.expect("the events go on") {
                Event::ConnectionRejected(rejected) if rejected.reason == reason => return,
                Event::PeerConnected(peer) => panic!("{peer:?} connects"),
                Event::Message(message) => panic!("{message:?}"),
                Event::Data(data) => panic!("{data:?}"),
                _ => {}
            }
        }
    };
    assert!(timeout(DEADLINE, rejected).await.is_ok(), "{reason:?} was not seen");
}

/// With a key of its own a man in the middle is one more peer. It is that to everybody: never one of the two, never with
/// the safety code that the two would have.
#[tokio::test(flavor = "multi_thread")]
async fn a_man_in_the_middle_under_its_own_key_is_a_peer_of_its_own() {
    let tracker = forger(Plan::offers(OnOffer::Between(Guise::Own))).await;
    let store = Arc::new(MemoryStore::new());
    let (alice, mut alice_events) = join(builder(&tracker).trust_store(store), ROOM).await;
    let (bob, mut bob_events) = join(builder(&tracker), ROOM).await;
    let (at_alice, at_bob) = (connected(&mut alice_events, DEADLINE).await, connected(&mut bob_events, DEADLINE).await);
    for peer in [&at_alice, &at_bob] {
        assert_eq!((peer.id(), peer.public_key()), (tracker.forger.peer_id(), Some(tracker.forger.key())));
    }
    // The key that is pinned for Bob tells the two apart, too.
    let bobs = bob.node().public_key().expect("a key");
    alice.node().pin("bob", &bobs).await.expect("pinned");
    let changed = Trust::Changed { name: "bob".to_owned(), was: bobs, now: Some(tracker.forger.key()) };
    assert_eq!((at_alice.trust_as("bob"), at_alice.trust()), (changed, Trust::FirstUse { through: 1 }));
    let codes = [at_alice.safety_code().expect("a code"), at_bob.safety_code().expect("a code")];
    assert_ne!(codes[0], codes[1]);
    // What it is told, it may tell others.
    at_alice.send("Pay 5 to Alice").await.expect("sent");
    let said = message(&mut bob_events, DEADLINE).await;
    assert_eq!((said.text(), said.peer().public_key()), (Some("Pay 5 to Mallory"), Some(tracker.forger.key())));
    alice.shutdown().await;
    bob.shutdown().await;
}

/// Between the two sides of a code a man in the middle can carry the exchange on, and not take part in it: it is bound to
/// the channel, which is another on each side. It costs both sides one of three attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_man_in_the_middle_does_not_get_past_a_code() {
    let tracker = forger(Plan::offers(OnOffer::Between(Guise::Own))).await;
    let code = Code::draw(&mut rand::rng());
    let (alice, mut alice_events) = join(builder(&tracker), SwarmKey::code(code.clone(), Side::Shows)).await;
    let (bob, mut bob_events) = join(builder(&tracker), SwarmKey::code(code, Side::Types)).await;
    let reason = RejectReason::WrongCode { left: 2 };
    tokio::join!(until_rejected(&mut alice_events, reason), until_rejected(&mut bob_events, reason));
    assert_eq!([alice.peers(), bob.peers()], [Vec::new(), Vec::new()]);
    // It has carried both sides' parts of it.
    let carried = |of: &Swarm| tracker.forger.heard().iter().filter(|heard| heard.from == of.peer_id()).count();
    assert!(carried(&alice) > 1 && carried(&bob) > 1, "{:?}", tracker.forger.heard());
    alice.shutdown().await;
    bob.shutdown().await;
}

async fn honest() -> TrackerServer {
    TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port")
}

/// The peer with this key, once it is connected, and how many without a key are gone by then. Others with a key there are
/// none.
async fn until_connected(events: &mut Events, key: PublicKey) -> (Peer, usize) {
    let mut gone = 0;
    let peer = async {
        loop {
            match events.next().await.expect("the events go on") {
                Event::PeerConnected(peer) if peer.public_key() == Some(key) => return peer,
                Event::PeerConnected(peer) => assert_eq!(peer.public_key(), None, "{peer:?}"),
                Event::PeerClosed(closed) => {
                    assert_eq!(closed.peer.public_key(), None, "{closed:?}");
                    gone += 1;
                }
                _ => {}
            }
        }
    };
    let peer = timeout(DEADLINE, peer).await.expect("the peer connects");
    (peer, gone)
}

/// A tracker that takes the signatures away gets its peer in where peers without a key are admitted. It is seen as what it
/// is, and gives way as soon as any honest way leads to the peer whose id it has.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_took_an_id_first_yields_to_its_key_and_does_not_come_back() {
    for guise in [Guise::Unsigned, Guise::JavaScript] {
        yields_to_its_key(guise).await;
    }
}

async fn yields_to_its_key(guise: Guise) {
    let (evil, good) = (forger(Plan::offers(OnOffer::Between(guise))).await, honest().await);
    let (alice, mut alice_events) = join(builder(&evil), ROOM).await;
    let (bob, mut bob_events) = join(builder(&evil), ROOM).await;
    let (at_alice, at_bob) = (connected(&mut alice_events, DEADLINE).await, connected(&mut bob_events, DEADLINE).await);
    for (peer, whose) in [(&at_alice, &bob), (&at_bob, &alice)] {
        assert_eq!((peer.id(), peer.public_key(), peer.safety_code()), (whose.peer_id(), None, None));
    }
    for swarm in [&alice, &bob] {
        swarm.node().add_tracker(good.url().as_str()).await.expect("running");
    }
    let key = |swarm: &Swarm| swarm.node().public_key().expect("a key");
    let (to_bob, gone_at_alice) = until_connected(&mut alice_events, key(&bob)).await;
    let (to_alice, gone_at_bob) = until_connected(&mut bob_events, key(&alice)).await;
    assert!(gone_at_alice > 0 && gone_at_bob > 0, "the strangers are gone");
    assert_eq!((to_bob.id(), to_alice.id()), (bob.peer_id(), alice.peer_id()));
    assert_eq!(to_bob.safety_code(), to_alice.safety_code());
    to_bob.send("Pay 5 to Alice").await.expect("sent");
    assert_eq!(message(&mut bob_events, DEADLINE).await.text(), Some("Pay 5 to Alice"));
    assert!(!evil.forger.heard_text().contains("Pay 5"), "{}", evil.forger.heard_text());

    // From now on the ids are known.
    evil.forger.relay(|relay| {
        relay.set_plan(Plan::adding([Added::ToAnnouncer(Name::Other, guise)]));
    });
    alice.request_more_peers().await.expect("running");
    until_rejected(&mut alice_events, Unsigned).await;
    assert_eq!(alice.peers().iter().map(Peer::public_key).collect::<Vec<_>>(), [Some(key(&bob))]);
    alice.shutdown().await;
    bob.shutdown().await;
}

/// A tracker can add peers and hide others. Those that it adds are not those that it hides.
#[tokio::test(flavor = "multi_thread")]
async fn peers_that_a_tracker_adds_are_its_own_and_those_it_hides_meet_elsewhere() {
    let mut plan = Plan::adding([Added::ToAnnouncer(Name::Own, Guise::Own)]);
    plan.offers = vec![OnOffer::Hide];
    let (evil, good) = (forger(plan).await, honest().await);
    let both = |key: &NodeKey| builder(&evil).tracker(good.url().to_string()).key(key.clone());
    let keys = [NodeKey::random(), NodeKey::random()];
    let (alice, mut alice_events) = join(both(&keys[0]), ROOM).await;
    let added = connected(&mut alice_events, DEADLINE).await;
    assert_eq!((added.id(), added.public_key()), (evil.forger.peer_id(), Some(evil.forger.key())));
    let said = message(&mut alice_events, DEADLINE).await;
    assert_eq!((said.text(), said.peer().public_key()), (Some(GREETING), Some(evil.forger.key())));

    let (bob, mut bob_events) = join(both(&keys[1]).policy(Policy::Only([keys[0].public_key()].into())), ROOM).await;
    assert_eq!(connected(&mut alice_events, DEADLINE).await.public_key(), Some(keys[1].public_key()));
    assert_eq!(connected(&mut bob_events, DEADLINE).await.public_key(), Some(keys[0].public_key()));
    assert_eq!(bob.peers().len(), 1);
    alice.shutdown().await;
    bob.shutdown().await;
}
