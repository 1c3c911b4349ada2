//! A malicious tracker against nodes over real WebRTC: what it can do to peers that sign nothing, and what it cannot do to
//! those that do.

use std::sync::Arc;
use std::time::Duration;

use p2pt::transport::webrtc::{WebRtc, WebRtcConfig};
use p2pt::{Builder, Event, P2pt, PeerId};
use p2pt_tests::events::{connected, message};
use p2pt_tests::forger::{Forger, ForgerServer, Guise, OnOffer, Plan};

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

const ROOM: &str = "room";

async fn forger(plan: Plan) -> ForgerServer {
    let transport = WebRtc::new(WebRtcConfig::loopback()).expect("a transport");
    let forger = Forger::new(plan, Arc::new(transport), 1).rewriting("Alice", "Mallory");
    ForgerServer::bind(forger).await.expect("a free port")
}

fn builder(tracker: &ForgerServer) -> Builder {
    P2pt::builder().tracker(tracker.url()).webrtc(WebRtcConfig::loopback())
}

/// A node that signs nothing.
fn unsigned(tracker: &ForgerServer, id: u8) -> Builder {
    builder(tracker).peer_id(PeerId::from([id; 20]))
}

#[tokio::test(flavor = "multi_thread")]
async fn between_peers_that_sign_nothing_a_tracker_reads_and_changes_what_they_say_and_neither_notices() {
    let tracker = forger(Plan::offers(OnOffer::Between(Guise::Unsigned))).await;
    let (alice, mut alice_events) = unsigned(&tracker, 1).join(ROOM).await.expect("a node starts");
    let (bob, mut bob_events) = unsigned(&tracker, 2).join(ROOM).await.expect("a node starts");
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
