//! Processes that are killed or frozen, and what the others report: real WebRTC, real signals.

use std::time::Duration;

use p2pt_tests::interop::{connected, echo};
use p2pt_tests::pipe::PipePeer;
use serde_json::{Value, json};

use crate::program::Tracker;

/// `peer` reports that another, silent one is gone, and that its request will get no response.
async fn notices(peer: &mut PipePeer, gone: &str, unanswered: &str) {
    let error = peer.process().expect("error", |error| error["tag"] == unanswered).await;
    assert!(error["error"].as_str().is_some_and(|reason| reason.contains("silent for 4s")), "{error}");
    peer.about("peer_closed", gone).await;
}

#[tokio::test]
async fn a_killed_process_is_noticed() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    let ben_id = ben.id().to_owned();
    let unanswered = ann.ask(&ben_id, &json!("?")).await;
    ben.about("message", ann.id()).await;
    ben.kill().await;
    notices(&mut ann, &ben_id, &unanswered).await;
    ann.stop().await;
}

/// Freezes one of three until the others have noticed, and for so long; when it goes on, all are as before.
async fn freeze_and_thaw(lasts: Duration) {
    let tracker = Tracker::start().await;
    let mut ann = tracker.pipe("ann", &["--request-timeout", "3600"]).await;
    let mut ben = tracker.pipe("ben", &["--request-timeout", "3600"]).await;
    connected(&mut ann, &mut ben).await;
    let mut cem = tracker.pipe("cem", &[]).await;
    connected(&mut ann, &mut cem).await;
    connected(&mut ben, &mut cem).await;
    let ben_id = ben.id().to_owned();
    let unanswered = ann.ask(&ben_id, &json!("?")).await;
    let asked = ben.ask(ann.id(), &json!("?")).await;
    ben.about("message", ann.id()).await;
    ann.about("message", &ben_id).await;

    ben.process().signal("STOP").await;
    notices(&mut ann, &ben_id, &unanswered).await;
    cem.about("peer_closed", &ben_id).await;
    tokio::time::sleep(lasts).await;
    ben.process().signal("CONT").await;

    // It finds its own channels dead too.
    for other in [&ann, &cem] {
        ben.about("peer_closed", other.id()).await;
    }
    let error = ben.process().expect("error", |error| error.get("tag").and_then(Value::as_str) == Some(&asked)).await;
    assert!(error["error"].as_str().is_some_and(|reason| reason.contains("the peer went")), "{error}");
    for other in [&mut ann, &mut cem] {
        connected(&mut ben, other).await;
        echo(&mut ben, other, &json!("here again")).await;
    }
    ann.process().assert_unsaid("peer_closed");
    for peer in [ann, ben, cem] {
        peer.stop().await;
    }
}

#[tokio::test]
async fn a_frozen_process_is_noticed_and_comes_back() {
    freeze_and_thaw(Duration::ZERO).await;
}

/// As after the sleep of a machine: longer than any wait of one peer for another.
#[tokio::test]
#[ignore = "takes more than half a minute: cargo test -p p2pt-cli --test cli process_death -- --ignored"]
async fn a_process_that_was_frozen_for_long_comes_back() {
    freeze_and_thaw(Duration::from_secs(30)).await;
}
