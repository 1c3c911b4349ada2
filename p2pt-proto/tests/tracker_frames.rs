//! What a peer reads: frames that trackers really send, and what hostile trackers and peers make of them.

use std::time::Duration;

use p2pt_proto::{
    AnnounceReply, Failure, ForwardedAnswer, ForwardedOffer, InfoHash, OfferId, PeerId, ScrapeReply, ScrapeStats,
    TrackerMessage,
};
use serde_json::{Value, json};

const HASH: &str = "hhhhhhhhhhhhhhhhhhhh";
const PEER: &str = "pppppppppppppppppppp";
const OFFER: &str = "oooooooooooooooooooo";

fn info_hash() -> InfoHash {
    InfoHash::from([b'h'; 20])
}

fn with(mut frame: Value, fields: Value) -> String {
    frame.as_object_mut().expect("an object").append(&mut fields.as_object().expect("an object").clone());
    frame.to_string()
}

/// A reply to an announce with these fields added or replaced.
fn reply(fields: Value) -> String {
    with(json!({"action": "announce", "info_hash": HASH}), fields)
}

/// A frame with the ids of a signal and these fields added or replaced.
fn signal(fields: Value) -> String {
    with(json!({"action": "announce", "info_hash": HASH, "peer_id": PEER, "offer_id": OFFER}), fields)
}

fn decoded(frame: &str) -> TrackerMessage {
    TrackerMessage::decode(frame).unwrap_or_else(|error| panic!("{frame}: {error}"))
}

fn announced(fields: Value) -> AnnounceReply {
    match decoded(&reply(fields)) {
        TrackerMessage::Announced(reply) => reply,
        other => panic!("not read as a reply: {other:?}"),
    }
}

fn refused(frame: &str) -> String {
    TrackerMessage::decode(frame).expect_err(frame).to_string()
}

fn answer(sdp: &str) -> TrackerMessage {
    TrackerMessage::Answer(ForwardedAnswer::new(info_hash(), PeerId::from([b'p'; 20]), OfferId::from([b'o'; 20]), sdp))
}

fn offer(sdp: &str) -> TrackerMessage {
    TrackerMessage::Offer(ForwardedOffer::new(info_hash(), PeerId::from([b'p'; 20]), OfferId::from([b'o'; 20]), sdp))
}

#[test]
fn a_reply_with_everything() {
    let full = AnnounceReply::new(info_hash())
        .interval(Duration::from_secs(120))
        .min_interval(Duration::from_millis(1500))
        .tracker_id("t")
        .complete(1)
        .incomplete(2)
        .warning("slow down");
    let frame = json!({
        "action": "announce", "info_hash": HASH, "interval": 120, "min interval": 1.5, "tracker id": "t",
        "complete": 1, "incomplete": 2, "warning message": "slow down",
    });
    assert_eq!(decoded(&frame.to_string()), TrackerMessage::Announced(full.clone()));
    assert_eq!(serde_json::from_str::<Value>(&TrackerMessage::Announced(full).encode()).unwrap(), frame);
}

#[test]
fn what_is_absent_is_omitted_and_null_is_absent() {
    let bare = AnnounceReply::new(info_hash());
    assert_eq!(
        TrackerMessage::Announced(bare.clone()).encode(),
        format!(r#"{{"action":"announce","info_hash":"{HASH}"}}"#)
    );
    let nulls = json!({
        "interval": null, "min interval": null, "tracker id": null, "complete": null, "incomplete": null,
        "warning message": null, "failure reason": null, "peer_id": null, "offer_id": null, "files": null,
    });
    assert_eq!(announced(nulls), bare);
}

#[test]
fn intervals_may_be_absurd() {
    for (interval, expected) in [
        (json!(0), Duration::ZERO),
        (json!(-5), Duration::ZERO),
        (json!(-0.001), Duration::ZERO),
        (json!(0.001), Duration::from_millis(1)),
        (json!(1e-300), Duration::ZERO),
        (json!(u64::MAX), Duration::from_secs(u64::MAX)),
        (json!(1e19), Duration::from_secs(10_000_000_000_000_000_000)),
        (json!(1e300), Duration::MAX),
        (json!(i64::MIN), Duration::ZERO),
    ] {
        assert_eq!(announced(json!({"interval": interval})).interval, Some(expected), "{interval}");
    }
    assert!(TrackerMessage::decode(reply(json!({})).replace('}', r#","interval":1e999}"#)).is_err());
}

#[test]
fn a_signal_is_a_signal_whatever_else_it_carries() {
    let injected = json!({
        "interval": 0.001, "min interval": 0, "failure reason": "go away", "warning message": [1, [2], {}], "complete": -1,
        "tracker id": {"a": {"b": 1}, "c": 2}, "files": 5, "flags": [], "action": "scrape",
    });
    let answered = signal(json!({"answer": {"type": "answer", "sdp": "any text"}}));
    assert_eq!(decoded(&answered), answer("any text"));
    let offered = signal(json!({"offer": {"type": "offer", "sdp": ""}}));
    assert_eq!(decoded(&offered), offer(""));
    for (clean, message) in [(answered, answer("any text")), (offered, offer(""))] {
        for (key, value) in injected.as_object().unwrap() {
            let frame = with(serde_json::from_str(&clean).unwrap(), json!({key: value}));
            assert_eq!(decoded(&frame), message);
        }
        let frame = with(serde_json::from_str(&clean).unwrap(), injected.clone());
        assert_eq!(decoded(&frame), message);
    }
    let both = signal(json!({"answer": {"type": "answer", "sdp": "a"}, "offer": 7}));
    assert_eq!(decoded(&both), answer("a"));
}

#[test]
fn an_unusable_signal_is_an_error_and_nothing_else() {
    for (fields, expected) in [
        (json!({"answer": null, "interval": 0.001}), "answer: expected an object, found null"),
        (json!({"offer": null, "failure reason": "x"}), "offer: expected an object, found null"),
        (json!({"answer": "v=0"}), "answer: expected an object, found a string"),
        (json!({"answer": {"type": "answer"}}), "answer.sdp: missing"),
        (json!({"answer": {"type": "answer", "sdp": 1}}), "answer.sdp: expected a string, found a number"),
        (json!({"answer": {"type": "offer", "sdp": ""}}), "answer.type: expected answer, found \"offer\""),
        (
            json!({"offer": {"type": "rollback", "sdp": ""}}),
            "offer.type: expected \"offer\" or \"answer\", found \"rollback\"",
        ),
        (json!({"offer": {"type": "offer", "sdp": {}}}), "offer.sdp: expected a string, found an object"),
        (json!({"offer": {"type": "offer", "sdp": ""}, "offer_id": "x"}), "offer_id: expected 20 code points, found 1"),
        (
            json!({"offer": {"type": "offer", "sdp": ""}, "peer_id": null}),
            "peer_id: expected a string of 20 code points, found null",
        ),
    ] {
        let frame = signal(fields);
        assert_eq!(refused(&frame), expected);
        let error = TrackerMessage::decode(&frame).unwrap_err();
        assert_eq!((error.action(), error.info_hash()), (Some("announce"), Some(info_hash())));
    }
}

#[test]
fn a_failure_may_come_with_nothing_else() {
    let failure = |action: Option<&str>, info_hash| {
        let mut failure = Failure::new("no");
        (failure.action, failure.info_hash) = (action.map(Into::into), info_hash);
        TrackerMessage::Failure(failure)
    };
    for (frame, message) in [
        (json!({"failure reason": "no"}), failure(None, None)),
        (json!({"failure reason": "no", "action": "scrape"}), failure(Some("scrape"), None)),
        (
            json!({"failure reason": "no", "action": "announce", "info_hash": HASH}),
            failure(Some("announce"), Some(info_hash())),
        ),
        (json!({"failure reason": "no", "action": "dance"}), failure(Some("dance"), None)),
    ] {
        assert_eq!(decoded(&frame.to_string()), message);
        assert_eq!(serde_json::from_str::<Value>(&message.encode()).unwrap(), frame);
    }
    let odd = json!({"failure reason": "no", "action": 5, "info_hash": 5, "interval": "x"});
    assert_eq!(decoded(&odd.to_string()), failure(None, None));
}

#[test]
fn a_scrape_reply_of_each_tracker() {
    let stats = |complete, incomplete, downloaded| ScrapeStats::new(complete, incomplete, downloaded);
    let mut expected = ScrapeReply::default();
    assert_eq!(decoded(r#"{"action":"scrape","files":{}}"#), TrackerMessage::Scrape(expected.clone()));

    let second = "é".repeat(20);
    let frame = json!({
        "action": "scrape",
        "files": {
            HASH: {"complete": 1, "incomplete": 2, "downloaded": 1},
            second: {"complete": 0, "incomplete": 5e9},
        },
        "flags": {"min_request_interval": 600},
    });
    expected.files.insert(info_hash(), stats(1, 2, 1));
    expected.files.insert(InfoHash::from([0xe9; 20]), stats(0, u32::MAX, 0));
    expected.min_request_interval = Some(Duration::from_secs(600));
    assert_eq!(decoded(&frame.to_string()), TrackerMessage::Scrape(expected));
}

#[test]
fn a_bad_scrape_reply_names_the_entry() {
    let good = json!({"complete": 1});
    let files = |entries: &[(&str, &str)]| {
        let entries: Vec<_> = entries.iter().map(|(key, stats)| format!(r#""{key}":{stats}"#)).collect();
        format!(r#"{{"action":"scrape","files":{{{}}}}}"#, entries.join(","))
    };
    let good = good.to_string();
    for (frame, expected) in [
        (r#"{"action":"scrape"}"#.to_owned(), "files: missing"),
        (r#"{"action":"scrape","files":[]}"#.to_owned(), "files: expected an object, found an array"),
        (files(&[(HASH, &good), ("x", &good)]), "files[1]: expected 20 code points, found 1"),
    ] {
        assert_eq!(refused(&frame), expected);
    }
}

#[test]
fn unknown_objects_are_data() {
    for frame in [
        json!({}),
        json!({"action": "dance", "info_hash": 5, "peers": [1, null, {"a": "b"}]}),
        json!({"action": null, "interval": 5}),
        json!({"action": ["announce"]}),
        json!({"warning message": "hm"}),
    ] {
        assert_eq!(decoded(&frame.to_string()), TrackerMessage::Unknown(frame.clone()));
        assert_eq!(serde_json::from_str::<Value>(&TrackerMessage::Unknown(frame.clone()).encode()).unwrap(), frame);
    }
    for (frame, expected) in [("null", "null"), ("[1]", "an array"), ("true", "a boolean")] {
        assert_eq!(refused(frame), format!("expected an object, found {expected}"));
    }
}

#[test]
fn broken_json_is_an_error() {
    for frame in ["", "{", r#"{"action":"announce"}}"#, "\u{feff}\u{feff}{}", "{}\u{feff}", "{\"a\":\"\n\"}"] {
        assert!(refused(frame).starts_with("bad JSON: "), "{frame}");
    }
    let lone = signal(json!({"answer": {"type": "answer", "sdp": "SDP"}})).replace("SDP", r"\udc00");
    assert!(refused(&lone).starts_with("bad JSON: "));
    assert!(TrackerMessage::decode(b"{\"action\":\"\xc3\"}").is_err(), "invalid UTF-8");
}

#[test]
fn deep_nesting_is_no_danger() {
    let (opened, closed) = ("[".repeat(500_000), "]".repeat(500_000));
    let value = format!("{opened}{closed}");
    for frame in [
        opened.clone(),
        value.clone(),
        format!(r#"{{"x":{value}}}"#),
        format!(r#"{{"offer":{value}}}"#),
        format!(r#"{{"action":"scrape","files":{value}}}"#),
    ] {
        assert!(TrackerMessage::decode(frame).is_err());
    }
    // A frame that does not need the value does not mind it.
    for key in ["x", "interval", "tracker id"] {
        let frame = format!(r#"{{"action":"announce","info_hash":"{HASH}","{key}":{value}}}"#);
        assert_eq!(decoded(&frame), TrackerMessage::Announced(AnnounceReply::new(info_hash())));
    }
    let frame = format!(r#"{{"action":"scrape","files":{{"{HASH}":{value}}}}}"#);
    assert_eq!(decoded(&frame), TrackerMessage::Scrape(ScrapeReply::default()));
}
