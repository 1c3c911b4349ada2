//! Optional fields of trackers' frames that do not hold what they should: they cost themselves at most, and are named.

use std::time::Duration;

use p2pt_proto::{
    AnnounceReply, Failure, FieldProblem, InfoHash, OddField, Oddity, ScrapeReply, ScrapeStats, TrackerMessage,
};
use serde_json::{Value, json};

const HASH: &str = "hhhhhhhhhhhhhhhhhhhh";
const OTHER_HASH: &str = "pppppppppppppppppppp";

fn info_hash() -> InfoHash {
    InfoHash::from([b'h'; 20])
}

/// The message of a frame, and what is said of its odd fields.
fn noted(frame: &str) -> (TrackerMessage, Vec<String>) {
    let (message, odd) = TrackerMessage::decode_noting(frame).unwrap_or_else(|error| panic!("{frame}: {error}"));
    assert_eq!(TrackerMessage::decode(frame).expect("it decodes as before"), message, "{frame}");
    let (again, none) = TrackerMessage::decode_noting(message.encode()).expect("what was encoded decodes");
    assert_eq!((again, none), (message.clone(), vec![]), "what is encoded is not odd");
    (message, odd.iter().map(OddField::to_string).collect())
}

/// The reply with this field, and what is said of it.
fn reply(key: &str, value: &Value) -> (AnnounceReply, Vec<String>) {
    match noted(&json!({"action": "announce", "info_hash": HASH, key: value}).to_string()) {
        (TrackerMessage::Announced(reply), odd) => (reply, odd),
        other => panic!("not read as a reply: {other:?}"),
    }
}

fn plain() -> AnnounceReply {
    AnnounceReply::new(info_hash())
}

#[test]
fn intervals_are_read_as_javascript_reads_them() {
    for (value, interval, said) in [
        (json!("120"), Some(120_000), "expected a number of seconds, found a string, which was converted"),
        (json!(" 1.5 "), Some(1500), "expected a number of seconds, found a string, which was converted"),
        (json!("1e2"), Some(100_000), "expected a number of seconds, found a string, which was converted"),
        (json!("-5"), Some(0), "expected a number of seconds, found a string, which was converted"),
        (json!(-5), Some(0), "expected a number not below zero, found -5, which was converted"),
        (json!(-0.5), Some(0), "expected a number not below zero, found -0.5, which was converted"),
        (json!(""), None, "expected a number of seconds, found a string, which was passed over"),
        (json!("soon"), None, "expected a number of seconds, found a string, which was passed over"),
        (json!("inf"), None, "expected a number of seconds, found a string, which was passed over"),
        (json!("1e999"), None, "expected a number of seconds, found a string, which was passed over"),
        (json!(true), None, "expected a number of seconds, found a boolean, which was passed over"),
        (json!([120]), None, "expected a number of seconds, found an array, which was passed over"),
        (json!({"s": 120}), None, "expected a number of seconds, found an object, which was passed over"),
    ] {
        let interval = interval.map(Duration::from_millis);
        let mut expected = plain();
        expected.interval = interval;
        assert_eq!(reply("interval", &value), (expected, vec![format!("interval: {said}")]), "{value}");
        let mut expected = plain();
        expected.min_interval = interval;
        assert_eq!(reply("min interval", &value), (expected, vec![format!("min interval: {said}")]), "{value}");
    }
}

#[test]
fn counts_are_whole_numbers_or_nothing() {
    for (value, count, said) in [
        (json!("7"), Some(7), "expected a number, found a string, which was converted"),
        (json!("7.9"), Some(7), "expected a number, found a string, which was converted"),
        (json!("99999999999"), Some(u32::MAX), "expected a number, found a string, which was converted"),
        (json!(2.5), Some(2), "expected a whole number not below zero, found 2.5, which was converted"),
        (json!(-1), None, "expected a whole number not below zero, found -1, which was passed over"),
        (json!(-1.5), None, "expected a whole number not below zero, found -1.5, which was passed over"),
        (json!("-1"), None, "expected a number, found a string, which was passed over"),
        (json!("many"), None, "expected a number, found a string, which was passed over"),
        (json!(false), None, "expected a number, found a boolean, which was passed over"),
        (json!([]), None, "expected a number, found an array, which was passed over"),
    ] {
        for key in ["complete", "incomplete"] {
            let mut expected = plain();
            *(if key == "complete" { &mut expected.complete } else { &mut expected.incomplete }) = count;
            assert_eq!(reply(key, &value), (expected, vec![format!("{key}: {said}")]), "{value}");
        }
    }
}

#[test]
fn texts_may_be_numbers() {
    for (value, text, found) in [
        (json!(7), Some("7"), "a number"),
        (json!(-7.5), Some("-7.5"), "a number"),
        (json!(true), Some("true"), "a boolean"),
        (json!(0), None, "a number"),
        (json!(0.0), None, "a number"),
        (json!(false), None, "a boolean"),
        (json!([1]), None, "an array"),
        (json!({}), None, "an object"),
    ] {
        let what = if text.is_some() { "converted" } else { "passed over" };
        let said = format!("expected a string, found {found}, which was {what}");
        let mut expected = plain();
        expected.tracker_id = text.map(str::to_owned);
        assert_eq!(reply("tracker id", &value), (expected, vec![format!("tracker id: {said}")]), "{value}");
        let (read, odd) = reply("warning message", &value);
        assert_eq!((read.warning.as_deref(), odd), (text, vec![format!("warning message: {said}")]), "{value}");
    }
}

#[test]
fn a_failure_is_one_whatever_its_reason_is() {
    let said = |found, what| vec![format!("failure reason: expected a string, found {found}, which was {what}")];
    for (value, reason, found) in [
        (json!(404), "404", "a number"),
        (json!(true), "true", "a boolean"),
        (json!(["no"]), "no reason that is a text", "an array"),
        (json!({"code": 1}), "no reason that is a text", "an object"),
    ] {
        let expected = (TrackerMessage::Failure(Failure::new(reason)), said(found, "converted"));
        assert_eq!(noted(&json!({"failure reason": value}).to_string()), expected);
    }
    // As JavaScript has it, these are no failures.
    for (value, found) in [(json!(false), "a boolean"), (json!(0), "a number")] {
        assert_eq!(reply("failure reason", &value), (plain(), said(found, "passed over")));
    }
}

#[test]
fn of_a_doubled_key_the_last_one_counts() {
    let frame = format!(
        r#"{{"action":"dance","action":"announce","interval":[],"interval":null,"complete":1,"info_hash":"{HASH}","interval":5,"complete":"2"}}"#
    );
    let expected = plain().interval(Duration::from_secs(5)).complete(2);
    let said =
        ["action", "interval", "complete"].map(|key| format!("{key}: given more than once, and the last one counts"));
    let said = [&said[..], &["complete: expected a number, found a string, which was converted".to_owned()]].concat();
    assert_eq!(noted(&frame), (TrackerMessage::Announced(expected), said));
}

#[test]
fn a_doubled_id_or_description_is_an_error_where_it_is_needed() {
    let ids = format!(r#""peer_id":"{HASH}","offer_id":"{HASH}","info_hash":"{HASH}""#);
    let sdp = r#"{"type":"offer","sdp":""}"#;
    for (frame, expected) in [
        (format!(r#"{{"action":"announce","info_hash":"{HASH}","info_hash":"{HASH}"}}"#), "info_hash: given twice"),
        (format!(r#"{{{ids},"offer":{sdp},"peer_id":"{OTHER_HASH}"}}"#), "peer_id: given twice"),
        (format!(r#"{{{ids},"offer":{sdp},"offer_id":null}}"#), "offer_id: given twice"),
        (format!(r#"{{{ids},"offer":{sdp},"offer":{sdp}}}"#), "offer: given twice"),
        (format!(r#"{{{ids},"answer":null,"answer":{sdp}}}"#), "answer: given twice"),
    ] {
        assert_eq!(TrackerMessage::decode(&frame).unwrap_err().to_string(), expected, "{frame}");
    }
    let frame = format!(r#"{{{ids},"offer":{{"type":"offer","sdp":"","sdp":""}}}}"#);
    assert!(TrackerMessage::decode(&frame).unwrap_err().to_string().starts_with("bad JSON: duplicate field `sdp`"));
    let frame = format!(r#"{{"failure reason":"no","info_hash":"{HASH}","info_hash":"{HASH}"}}"#);
    assert_eq!(noted(&frame), (TrackerMessage::Failure(Failure::new("no")), vec![]));
}

#[test]
fn a_scrape_reply_keeps_what_can_be_used() {
    let frame = format!(
        r#"{{"action":"scrape","files":{{"{OTHER_HASH}":null,"{HASH}":{{"complete":5}},
        "{HASH}":{{"complete":"1","incomplete":-2,"downloaded":3,"downloaded":4}}}},
        "flags":{{"min_request_interval":"600"}}}}"#
    );
    let expected =
        ScrapeReply::new([(info_hash(), ScrapeStats::new(1, 0, 4))]).min_request_interval(Duration::from_secs(600));
    let said = [
        "files[0]: expected an object, found null, which was passed over",
        "files[2].downloaded: given more than once, and the last one counts",
        "files[2].complete: expected a number, found a string, which was converted",
        "files[2].incomplete: expected a whole number not below zero, found -2, which was passed over",
        "files[2]: given more than once, and the last one counts",
        "flags.min_request_interval: expected a number of seconds, found a string, which was converted",
    ];
    assert_eq!(noted(&frame), (TrackerMessage::Scrape(expected), said.map(str::to_owned).to_vec()));
    let frame = r#"{"action":"scrape","files":{},"flags":7}"#;
    let said = "flags: expected an object, found a number, which was passed over".to_owned();
    assert_eq!(noted(frame), (TrackerMessage::Scrape(ScrapeReply::default()), vec![said]));
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let said = vec!["the frame begins with a byte order mark, which was passed over".to_owned()];
    let frame = format!("\u{feff}{}", json!({"action": "announce", "info_hash": HASH}));
    assert_eq!(noted(&frame), (TrackerMessage::Announced(plain()), said.clone()));
    assert_eq!(noted("\u{feff}{}"), (TrackerMessage::Unknown(json!({})), said));
    let odd = TrackerMessage::decode_noting("\u{feff}{}").unwrap().1;
    assert_eq!((odd[0].field.as_str(), &odd[0].oddity), ("", &Oddity::ByteOrderMark));
}

#[test]
fn what_a_signal_carries_besides_is_not_noted() {
    let ids = json!({"info_hash": HASH, "peer_id": HASH, "offer_id": HASH, "interval": "x", "complete": -1});
    let mut frame = ids;
    frame["offer"] = json!({"type": "offer", "sdp": "v=0"});
    let frame = frame.to_string().replace("{\"complete", "{\"interval\":1,\"complete");
    assert_eq!(TrackerMessage::decode_noting(frame).unwrap().1, vec![]);
}

#[test]
fn few_are_noted_and_each_is_short() {
    let files: Vec<_> = (0..100_u8)
        .map(|n| format!(r#""{}":{{"complete":"x"}}"#, "a".repeat(19) + &char::from(n + 128).to_string()))
        .collect();
    let frame = format!(r#"{{"action":"scrape","files":{{{}}}}}"#, files.join(","));
    let (message, odd) = TrackerMessage::decode_noting(frame).unwrap();
    assert!(matches!(message, TrackerMessage::Scrape(reply) if reply.files.len() == 100));
    assert_eq!(odd.len(), 8);
    // As many digits as a number may have.
    let long = format!(r#"{{"action":"announce","info_hash":"{HASH}","interval":-1{}}}"#, "0".repeat(300));
    let (_, odd) = TrackerMessage::decode_noting(long).unwrap();
    assert!(
        matches!(&odd[..], [OddField { oddity: Oddity::Converted(FieldProblem::Negative { found }), .. }] if found.len() < 50)
    );
}
