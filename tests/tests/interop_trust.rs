//! Who is who between native nodes, pages with the npm package of this workspace, and npm p2pt, which has no keys: keys and
//! safety codes agree on both sides, rooms are joined with their secret alone, and a page meets a native node by a code.

use p2pt::trust::{Code, MemoryStore, NodeKey, RoomLink, Side, TrustLevel};
use p2pt::{Event, Events, P2pt, Peer, RejectReason, Swarm, SwarmKey, WebRtcConfig};
use p2pt_tests::interop::{connected, converse, echo, turn};
use p2pt_tests::js::{Kind, Tracker, TrackerKind};
use p2pt_tests::pipe::{PATIENCE, PipePeer};
use serde_json::{Value, json};
use tokio::time::timeout;

/// A native node in this process.
struct Native {
    swarm: Swarm,
    events: Events,
}

impl Native {
    async fn join(tracker: &Tracker, key: impl Into<SwarmKey>) -> Self {
        let builder = P2pt::builder()
            .tracker(tracker.url())
            .webrtc(WebRtcConfig::default().without_ice_servers())
            .trust_store(std::sync::Arc::new(MemoryStore::new()));
        let (swarm, events) = builder.key(NodeKey::random()).join(key).await.expect("a node");
        Self { swarm, events }
    }

    fn id(&self) -> String {
        self.swarm.peer_id().to_string()
    }

    fn public_key(&self) -> String {
        self.swarm.node().public_key().expect("a key").to_string()
    }

    /// The next event that is sought.
    async fn until<T>(&mut self, what: &str, mut seek: impl FnMut(Event) -> Option<T>) -> T {
        let sought = async {
            loop {
                let event = self.events.next().await.expect("the node runs");
                if let Some(found) = seek(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, sought).await.unwrap_or_else(|_| panic!("no {what} came"))
    }

    async fn meets(&mut self, id: &str) -> Peer {
        self.until(id, |event| match event {
            Event::PeerConnected(peer) if peer.id().to_string() == id => Some(peer),
            _ => None,
        })
        .await
    }

    /// Talks with a peer of the class of the package or of npm p2pt: it asks and is asked.
    async fn talks(&mut self, with: &mut PipePeer) {
        let peer = self.swarm.peer(&with.id().parse().expect("an id")).expect("it is there");
        let own = self.id();
        let asking = peer.request(p2pt::Json::from_text(r#"{"from":"native ✓"}"#.to_owned()).expect("JSON")).send();
        let pending = asking.await.expect("it is sent");
        let received = with.about("message", &own).await;
        assert_eq!(received["message"], json!({"from": "native ✓"}));
        with.close_with(&received, &json!("heard ✓")).await;
        let response = timeout(PATIENCE, pending).await.expect("in time").expect("a response");
        assert_eq!(response.text(), Some("heard ✓"));

        let tag = with.ask(&own, &json!("who are you?")).await;
        let message = self
            .until("question", |event| match event {
                Event::Message(message) if message.peer() == &peer => Some(message),
                _ => None,
            })
            .await;
        assert_eq!(message.text(), Some("who are you?"));
        message.queue_response("a native node").expect("room");
        assert_eq!(with.response(&tag).await["message"], "a native node");
    }
}

/// What a page says when it meets a peer, once that is so.
async fn met(page: &mut PipePeer, id: &str) -> Value {
    page.about("peer_connected", id).await
}

fn safety_code(of: &Peer) -> Value {
    let code = of.safety_code().expect("it has a key");
    let emoji = code.emoji();
    json!({
        "words": code.words(),
        "emoji": emoji.map(|emoji| emoji.symbol),
        "emojiNames": emoji.map(|emoji| emoji.name),
    })
}

/// Checks that a native node and a page know each other's keys, and see one safety code.
async fn know_each_other(native: &mut Native, page: &mut PipePeer) {
    let seen = met(page, &native.id()).await;
    let peer = native.meets(page.id()).await;
    assert_eq!(seen["public_key"], native.public_key());
    assert_eq!(peer.public_key().map(|key| key.to_string()).as_deref(), page.public_key());
    assert_eq!(seen["safety_code"], safety_code(&peer));
    assert_eq!(seen["trust"]["level"], "first_use");
    assert_eq!(peer.trust().level(), TrustLevel::FirstUse);
}

async fn page(kind: Kind, identifier: &str, tracker: &Tracker, options: &Value) -> PipePeer {
    kind.start_with(identifier, &[tracker.url()], &["--options", &options.to_string()]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_trust -- --ignored"]
async fn a_native_node_pages_and_npm_p2pt_in_one_swarm() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let mut native = Native::join(&tracker, "mixed ✓").await;
    let mut chromium = page(Kind::ChromiumPackage, "mixed ✓", &tracker, &json!({})).await;
    know_each_other(&mut native, &mut chromium).await;
    let mut firefox = page(Kind::FirefoxPackage, "mixed ✓", &tracker, &json!({})).await;
    know_each_other(&mut native, &mut firefox).await;
    let (in_chromium, in_firefox) = (chromium.id().to_owned(), firefox.id().to_owned());
    let (at_chromium, at_firefox) = (met(&mut chromium, &in_firefox).await, met(&mut firefox, &in_chromium).await);
    assert_eq!(at_chromium["public_key"].as_str(), firefox.public_key());
    assert_eq!(at_firefox["public_key"].as_str(), chromium.public_key());
    assert!(at_chromium["safety_code"].is_object(), "{at_chromium}");
    assert_eq!(at_chromium["safety_code"], at_firefox["safety_code"]);

    let mut npm = Kind::NodeRoamhq.start("mixed ✓", &[tracker.url()]).await;
    let peer = native.meets(npm.id()).await;
    assert_eq!((peer.public_key(), peer.trust().level()), (None, TrustLevel::Unsigned));
    for page in [&mut chromium, &mut firefox] {
        let seen = met(page, npm.id()).await;
        assert_eq!(seen["trust"], json!({"level": "unsigned"}));
        assert_eq!((&seen["public_key"], &seen["safety_code"]), (&Value::Null, &Value::Null));
        met(&mut npm, page.id()).await;
    }
    met(&mut npm, &native.id()).await;
    // All kinds of messages, between each two.
    for peer in [&mut chromium, &mut firefox, &mut npm] {
        native.talks(peer).await;
    }
    converse(&mut chromium, &mut firefox).await;
    converse(&mut chromium, &mut npm).await;
    converse(&mut firefox, &mut npm).await;
    for peer in [chromium, firefox, npm] {
        peer.stop().await;
    }
    native.swarm.shutdown().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_trust -- --ignored"]
async fn pages_and_native_nodes_in_rooms() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let link = RoomLink::draw("our table ✓", &mut rand::rng());
    let mut native = Native::join(&tracker, link.secret()).await;
    let name = native.swarm.identifier().expect("a name");
    for kind in [Kind::ChromiumPackage, Kind::FirefoxPackage] {
        let mut page = page(kind, "", &tracker, &json!({"secret": &*link.reveal()})).await;
        know_each_other(&mut native, &mut page).await;
        native.talks(&mut page).await;
        page.stop().await;
    }
    // Given the name alone, npm p2pt is turned away where descriptions are sealed.
    let npm = Kind::NodeRoamhq.start(&name, &[tracker.url()]).await;
    let rejected = native
        .until("rejection", |event| match event {
            Event::ConnectionRejected(event) if event.reason != RejectReason::Duplicate => Some(event),
            Event::PeerConnected(peer) => panic!("{peer:?} has come in"),
            _ => None,
        })
        .await;
    assert_eq!((rejected.peer_id.to_string().as_str(), rejected.reason), (npm.id(), RejectReason::WrongRoom));
    npm.stop().await;
    native.swarm.shutdown().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_trust -- --ignored"]
async fn a_room_with_a_passphrase_whose_name_alone_is_hidden() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let passphrase = "correct horse battery staple ✓";
    let secret = p2pt::trust::RoomSecret::from_passphrase(
        "our table",
        &p2pt::trust::Passphrase::new(passphrase).expect("a passphrase"),
    );
    let key = SwarmKey::hidden(&secret.expect("19 MiB"));
    let name = key.identifier().expect("a name").to_owned();
    let mut native = Native::join(&tracker, key).await;
    let options = json!({"secret": passphrase, "hidden": true});
    let mut page = page(Kind::ChromiumPackage, "our table", &tracker, &options).await;
    know_each_other(&mut native, &mut page).await;
    let mut npm = Kind::NodeRoamhq.start(&name, &[tracker.url()]).await;
    connected(&mut page, &mut npm).await;
    echo(&mut npm, &mut page, &json!("let in by the name")).await;
    native.meets(npm.id()).await;
    native.talks(&mut npm).await;
    for peer in [page, npm] {
        peer.stop().await;
    }
    native.swarm.shutdown().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_trust -- --ignored"]
async fn a_page_and_a_native_node_meet_by_a_code() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    for (kind, side, word) in
        [(Kind::ChromiumPackage, Side::Shows, "types"), (Kind::FirefoxPackage, Side::Types, "shows")]
    {
        let code = Code::draw(&mut rand::rng());
        let told = code.reveal();
        let mut native = Native::join(&tracker, SwarmKey::code(code, side)).await;
        // Whoever has the first two words finds the swarm, and has to guess the others.
        let wrong = told
            .rsplit_once('-')
            .map(|(begin, last)| format!("{begin}-{}", if last == "able" { "acid" } else { "able" }));
        if side == Side::Shows {
            let options = json!({"code": wrong.expect("words"), "side": word});
            let mallory = page(kind, "", &tracker, &options).await;
            let left = native
                .until("guess", |event| match event {
                    Event::ConnectionRejected(event) => match event.reason {
                        RejectReason::WrongCode { left } => Some(left),
                        _ => None,
                    },
                    Event::PeerConnected(peer) => panic!("{peer:?} has guessed it"),
                    _ => None,
                })
                .await;
            assert_eq!(left, 2);
            mallory.stop().await;
        }
        let options = json!({"code": &*told, "side": word});
        let mut page = page(kind, "", &tracker, &options).await;
        know_each_other(&mut native, &mut page).await;
        native.talks(&mut page).await;
        page.stop().await;
        native.swarm.shutdown().await;
    }
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_trust -- --ignored"]
async fn a_page_that_wants_keys_turns_npm_p2pt_away() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Npm).await;
    let key = NodeKey::random();
    let options = json!({"policy": {"only": [key.public_key().to_string()]}});
    let mut page = page(Kind::ChromiumPackage, "friends", &tracker, &options).await;
    page.tracker_connected(tracker.url()).await;
    let npm = Kind::NodeRoamhq.start("friends", &[tracker.url()]).await;
    assert_eq!(page.about("peer_rejected", npm.id()).await["code"], "unsigned");
    let other = Native::join(&tracker, "friends").await;
    let other_id = other.id();
    assert_eq!(page.about("peer_rejected", &other_id).await["code"], "wrong_key");
    let builder = P2pt::builder()
        .tracker(tracker.url())
        .webrtc(WebRtcConfig::default().without_ice_servers())
        .key(key)
        .join("friends");
    let (friend, _friend_events) = builder.await.expect("a node");
    page.about("peer_connected", &friend.peer_id().to_string()).await;
    for peer in [page, npm] {
        peer.stop().await;
    }
    for swarm in [friend, other.swarm] {
        swarm.shutdown().await;
    }
    tracker.stop().await;
}
