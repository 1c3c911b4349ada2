//! `p2pt pipe` with what p2pt/2 has: bytes, acknowledgements, urgency, streams and words at parting.

use p2pt_tests::interop::connected;
use p2pt_tests::pipe::PipePeer;
use serde_json::json;

use crate::program::Tracker;

/// Bytes that are no UTF-8, in base64.
const BYTES: &str = "AP8AgA==";

async fn pair(more: &[&str]) -> (Tracker, PipePeer, PipePeer) {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", more).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    (tracker, ann, ben)
}

#[tokio::test]
async fn bytes_go_both_ways_and_are_acknowledged() {
    let (_tracker, mut ann, mut ben) = pair(&[]).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    ann.process().command(&json!({"send": {"peer": "*", "bytes": BYTES, "tag": "q"}})).await;
    let asked = ben.about("message", &ann_id).await;
    assert_eq!((&asked["bytes"], asked.get("message")), (&json!(BYTES), None));
    let answer = json!({"peer": ann_id, "id": asked["id"], "bytes": "AQI=", "tag": "a", "confirm": "acknowledged"});
    ben.process().command(&json!({"respond": answer})).await;
    assert_eq!(ann.response("q").await["bytes"], "AQI=");
    assert_eq!(ben.about("acknowledged", &ann_id).await["tag"], "a");

    let large = "x".repeat(8 << 20);
    let send = json!({"peer": ben_id, "message": large, "tag": "l", "confirm": "acknowledged", "urgency": 7, "progress": true});
    ann.process().command(&json!({"send": send})).await;
    let progress = ann.about("progress", &ben_id).await;
    assert_eq!((&progress["tag"], &progress["total"]), (&json!("l"), &json!(8 << 20)));
    assert_eq!(ann.about("acknowledged", &ben_id).await["tag"], "l");
    assert_eq!(ben.about("message", &ann_id).await["message"].as_str().map(str::len), Some(8 << 20));
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn a_send_is_taken_back_by_its_tag() {
    let (_tracker, mut ann, mut ben) = pair(&[]).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    let large = "x".repeat(60 << 20);
    let send = json!({"peer": ben_id, "message": large, "tag": "l", "confirm": "acknowledged"});
    ann.process().command(&json!({"send": send})).await;
    ann.process().command(&json!({"cancel": "l"})).await;
    let error = ann.process().expect("error", |error| error["tag"] == "l").await;
    assert_eq!(error["code"], "cancelled");
    ann.process().command(&json!({"cancel": "l"})).await;
    let error = ann.process().expect("error", |error| error.get("tag").is_none()).await;
    assert!(error["error"].as_str().is_some_and(|error| error.contains("bears the tag")), "{error}");
    ann.process().command(&json!({"send": {"peer": ben_id, "message": "after"}})).await;
    assert_eq!(ben.about("message", &ann_id).await["message"], "after");
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_and_ends_each_way() {
    let (_tracker, mut ann, mut ben) = pair(&[]).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    let open = json!({"peer": ben_id, "metadata": {"n": 1}, "urgency": 5, "tag": "o"});
    ann.process().command(&json!({"open_stream": open})).await;
    let near = ann.about("stream_opened", &ben_id).await["stream"].clone();
    let opened = ben.about("stream", &ann_id).await;
    assert_eq!((&opened["metadata"], &opened["urgency"]), (&json!(r#"{"n":1}"#), &json!(5)));
    let far = opened["stream"].clone();
    ann.process().command(&json!({"write_stream": {"stream": near, "base64": BYTES, "tag": "w"}})).await;
    ann.process().command(&json!({"finish_stream": {"stream": near, "tag": "e"}})).await;
    assert_eq!(ann.about("stream_written", &ben_id).await["tag"], "w");
    assert_eq!(ann.about("stream_acknowledged", &ben_id).await["tag"], "e");
    assert_eq!(ben.about("stream_data", &ann_id).await["base64"], BYTES);
    assert_eq!(ben.about("stream_end", &ann_id).await["stream"], far);
    ben.process().command(&json!({"reset_stream": {"stream": far, "code": 7}})).await;
    let reset = ann.about("stream_reset", &ben_id).await;
    assert_eq!((&reset["stream"], &reset["code"]), (&near, &json!(7)));
    ann.process().command(&json!({"write_stream": {"stream": 99, "text": "x", "tag": "n"}})).await;
    let error = ann.process().expect("error", |error| error["tag"] == "n").await;
    assert_eq!(error["code"], "no_such_stream");
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn words_are_left_with() {
    let (_tracker, mut ann, mut ben) = pair(&[]).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    let farewell = json!({"peer": ben_id, "code": 7, "text": "good night"});
    ann.process().command(&json!({"disconnect": farewell})).await;
    let closed = ben.about("peer_closed", &ann_id).await;
    assert_eq!((&closed["left"], &closed["returned"]), (&json!({"code": 7, "text": "good night"}), &json!([])));
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn a_peer_of_p2pt_1_is_told_apart() {
    // One with an id of its own choice has no key.
    let (_tracker, mut ann, mut ben) = pair(&["--peer-id", &"1".repeat(40)]).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    for (command, code) in [
        (json!({"send": {"peer": ben_id, "message": 1, "tag": "t", "confirm": "acknowledged"}}), "no_acknowledgements"),
        (json!({"send": {"peer": ben_id, "bytes": BYTES, "tag": "t", "confirm": "accepted"}}), "no_bytes"),
        (json!({"open_stream": {"peer": ben_id, "tag": "t"}}), "no_streams"),
    ] {
        ann.process().command(&command).await;
        let error = ann.process().expect("error", |error| error["tag"] == "t").await;
        assert_eq!(error["code"], code, "{error}");
    }
    // Nothing of it was sent.
    ann.process().command(&json!({"send": {"peer": ben_id, "message": "first", "urgency": 0}})).await;
    assert_eq!(ben.about("message", &ann_id).await["message"], "first");
    ann.stop().await;
    ben.stop().await;
}
