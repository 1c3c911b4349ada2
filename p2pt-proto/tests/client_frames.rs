//! What a tracker reads: frames that clients really send, and frames that none should.

use p2pt_proto::{
    Announce, AnnounceEvent, AnswerRequest, ClientMessage, DecodeErrorKind, InfoHash, Offer, OfferId, PeerId,
    ScrapeRequest,
};
use serde_json::{Value, json};

const HASH: &str = "hhhhhhhhhhhhhhhhhhhh";
const PEER: &str = "pppppppppppppppppppp";
const OTHER: &str = "qqqqqqqqqqqqqqqqqqqq";
const OFFER: &str = "oooooooooooooooooooo";

fn info_hash() -> InfoHash {
    InfoHash::from([b'h'; 20])
}

/// An announce with these fields added or replaced.
fn announce(fields: Value) -> String {
    let mut frame = json!({"action": "announce", "info_hash": HASH, "peer_id": PEER});
    frame.as_object_mut().expect("an object").append(&mut fields.as_object().expect("an object").clone());
    frame.to_string()
}

fn decoded(frame: &str) -> Announce {
    match ClientMessage::decode(frame) {
        Ok(ClientMessage::Announce(announce)) => announce,
        other => panic!("{frame} is not read as an announce: {other:?}"),
    }
}

/// The error's text, whose beginning is the path of the field.
fn refused(frame: &str) -> String {
    let error = ClientMessage::decode(frame).expect_err(frame);
    let text = error.to_string();
    match error.field() {
        Some(field) => assert!(text.starts_with(&format!("{field}: ")), "{text}"),
        None => assert!(matches!(error.kind(), DecodeErrorKind::Json(_) | DecodeErrorKind::NotAnObject { .. })),
    }
    text
}

#[test]
fn what_is_absent_is_omitted() {
    let bare = Announce::new(info_hash(), PeerId::from([b'p'; 20]));
    let frame = ClientMessage::Announce(bare.clone()).encode();
    assert_eq!(frame, format!(r#"{{"action":"announce","info_hash":"{HASH}","peer_id":"{PEER}"}}"#));
    assert_eq!(decoded(&frame), bare);
}

#[test]
fn the_room_for_a_frame_is_made_at_once() {
    let sdp = "a=candidate:1 1 udp 2113939711 192.0.2.1 51472 typ host\r\n".repeat(20);
    let mut announce = Announce::new(info_hash(), PeerId::from([0xff; 20]));
    announce.offers = Some((0..5).map(|n| Offer::new(OfferId::from([0xff - n; 20]), sdp.clone())).collect());
    let (to_peer_id, offer_id) = (PeerId::from([0xfe; 20]), OfferId::from([0xfd; 20]));
    let answer = AnswerRequest::new(info_hash(), announce.peer_id, to_peer_id, offer_id, sdp);
    for message in [ClientMessage::Announce(announce), ClientMessage::Answer(answer)] {
        assert_eq!(allocation_counter::measure(|| drop(message.encode())).count_total, 1);
    }
}

#[test]
fn null_is_absent() {
    let frame = announce(json!({
        "event": null, "numwant": null, "uploaded": null, "downloaded": null, "left": null, "trackerid": null,
        "offers": null, "answer": null, "to_peer_id": null, "offer_id": null,
    }));
    assert_eq!(decoded(&frame), Announce::new(info_hash(), PeerId::from([b'p'; 20])));
    assert_eq!(
        refused(&announce(json!({"peer_id": null}))),
        "peer_id: expected a string of 20 code points, found null"
    );
}

#[test]
fn every_event_is_read_and_the_empty_one_is_none() {
    for (text, event) in [
        ("started", Some(AnnounceEvent::Started)),
        ("stopped", Some(AnnounceEvent::Stopped)),
        ("completed", Some(AnnounceEvent::Completed)),
        ("update", Some(AnnounceEvent::Update)),
        ("paused", Some(AnnounceEvent::Paused)),
        ("", None),
    ] {
        assert_eq!(decoded(&announce(json!({"event": text}))).event, event);
        assert_eq!(event.map_or("", AnnounceEvent::as_str), text);
    }
    assert_eq!(refused(&announce(json!({"event": "Started"}))), "event: expected an announce event, found \"Started\"");
}

#[test]
fn counts_are_whole_saturate_and_are_not_negative() {
    let counts = decoded(&announce(json!({"numwant": 5e9, "left": 3.0, "uploaded": 1e300})));
    assert_eq!((counts.numwant, counts.left, counts.uploaded), (Some(u32::MAX), Some(3), Some(u64::MAX)));
    for (left, found) in [(json!(-1), "-1"), (json!(0.5), "0.5"), (json!(-0.5), "-0.5")] {
        assert_eq!(
            refused(&announce(json!({"left": left}))),
            format!("left: expected a whole number not below zero, found {found}")
        );
    }
    assert_eq!(refused(&announce(json!({"left": "3"}))), "left: expected a number, found a string");
}

#[test]
fn errors_name_the_field() {
    let good = json!({"offer": {"type": "offer", "sdp": ""}, "offer_id": OFFER});
    let with_third = |third: Value| announce(json!({"offers": [good, good, third]}));
    for (third, expected) in [
        (json!({"offer_id": OFFER}), "offers[2].offer: missing"),
        (json!({"offer": {"type": "offer", "sdp": ""}}), "offers[2].offer_id: missing"),
        (json!({"offer": {"type": "offer"}, "offer_id": OFFER}), "offers[2].offer.sdp: missing"),
        (
            json!({"offer": {"type": "offer", "sdp": [1]}, "offer_id": OFFER}),
            "offers[2].offer.sdp: expected a string, found an array",
        ),
        (json!({"offer": {"sdp": ""}, "offer_id": OFFER}), "offers[2].offer.type: missing"),
        (
            json!({"offer": {"type": "answer", "sdp": ""}, "offer_id": OFFER}),
            "offers[2].offer.type: expected offer, found \"answer\"",
        ),
        (json!({"offer": "v=0", "offer_id": OFFER}), "offers[2].offer: expected an object, found a string"),
        (json!({"offer": ["offer", ""], "offer_id": OFFER}), "offers[2].offer: expected an object, found an array"),
        (
            json!({"offer": {"type": "offer", "sdp": ""}, "offer_id": "short"}),
            "offers[2].offer_id: expected 20 code points, found 5",
        ),
        (json!(null), "offers[2]: expected an object, found null"),
        (json!(true), "offers[2]: expected an object, found a boolean"),
    ] {
        assert_eq!(refused(&with_third(third)), expected);
    }
    for (fields, expected) in [
        (json!({"info_hash": [HASH]}), "info_hash: expected a string of 20 code points, found an array"),
        (json!({"info_hash": "é".repeat(21)}), "info_hash: expected 20 code points, found 21"),
        (json!({"peer_id": 7}), "peer_id: expected a string of 20 code points, found a number"),
        (json!({"offers": {}}), "offers: expected an array, found an object"),
        (json!({"action": 1}), "action: expected a string, found a number"),
        (json!({"action": "ANNOUNCE"}), "action: unknown action \"ANNOUNCE\""),
    ] {
        assert_eq!(refused(&announce(fields)), expected);
    }
    assert_eq!(refused("{}"), "action: missing");
}

#[test]
fn an_error_keeps_what_the_reply_needs() {
    let error = ClientMessage::decode(announce(json!({"event": "gone"}))).unwrap_err();
    assert_eq!((error.action(), error.info_hash()), (Some("announce"), Some(info_hash())));
    let error = ClientMessage::decode(announce(json!({"action": "x".repeat(100)}))).unwrap_err();
    assert_eq!((error.action().map(str::len), error.info_hash()), (Some(100), Some(info_hash())));
    assert_eq!(error.field(), Some("action"));
    assert!(error.to_string().len() < 100, "a long text is not repeated: {error}");
    let error = ClientMessage::decode(r#"{"action":"scrape","info_hash":"short"}"#).unwrap_err();
    assert_eq!((error.action(), error.info_hash()), (Some("scrape"), None));
}

#[test]
fn an_announce_with_an_answer_is_an_answer() {
    let fields = json!({
        "to_peer_id": OTHER, "offer_id": OFFER, "answer": {"type": "answer", "sdp": "blob"},
        "event": "nonsense", "offers": 5, "left": "x",
    });
    let answer = AnswerRequest::new(
        info_hash(),
        PeerId::from([b'p'; 20]),
        PeerId::from([b'q'; 20]),
        OfferId::from([b'o'; 20]),
        "blob",
    );
    assert_eq!(ClientMessage::decode(announce(fields.clone())).unwrap(), ClientMessage::Answer(answer));
    for field in ["to_peer_id", "offer_id"] {
        let mut fields = fields.clone();
        fields.as_object_mut().unwrap().remove(field);
        assert_eq!(refused(&announce(fields)), format!("{field}: missing"));
    }
    let mut fields = fields;
    fields["answer"] = json!(false);
    assert_eq!(refused(&announce(fields)), "answer: expected an object, found a boolean");
}

#[test]
fn a_scrape_keeps_its_form() {
    let scrape = |hashes: &[InfoHash]| ClientMessage::Scrape(ScrapeRequest::new(hashes.to_vec()));
    let (one, two) = (info_hash(), InfoHash::from([b'i'; 20]));
    let second = "i".repeat(20);
    for (message, frame) in [
        (scrape(&[]), json!({"action": "scrape"})),
        (scrape(&[one]), json!({"action": "scrape", "info_hash": HASH})),
        (scrape(&[one, two]), json!({"action": "scrape", "info_hash": [HASH, second]})),
    ] {
        assert_eq!(serde_json::from_str::<Value>(&message.encode()).unwrap(), frame);
        assert_eq!(ClientMessage::decode(frame.to_string()).unwrap(), message);
    }
    let array_of_one = json!({"action": "scrape", "info_hash": [HASH]}).to_string();
    assert_eq!(ClientMessage::decode(array_of_one).unwrap(), scrape(&[one]));
    let null = r#"{"action":"scrape","info_hash":null}"#;
    assert_eq!(ClientMessage::decode(null).unwrap(), scrape(&[]));
    for (hashes, expected) in [
        (json!([]), "info_hash: the list is empty"),
        (json!([7, "x", HASH]), "info_hash[0]: expected a string of 20 code points, found a number"),
        (json!([HASH, 7]), "info_hash[1]: expected a string of 20 code points, found a number"),
        (json!([HASH, "x"]), "info_hash[1]: expected 20 code points, found 1"),
        (json!(7), "info_hash: expected an info hash or an array of them, found a number"),
        (json!({"a": 1, "b": [2]}), "info_hash: expected an info hash or an array of them, found an object"),
    ] {
        assert_eq!(refused(&json!({"action": "scrape", "info_hash": hashes}).to_string()), expected);
    }
}

#[test]
fn a_frame_is_one_object_of_valid_json() {
    for (frame, expected) in [
        ("null", "expected an object, found null"),
        ("7", "expected an object, found a number"),
        (r#"["announce"]"#, "expected an object, found an array"),
        (r#""announce""#, "expected an object, found a string"),
        ("", "bad JSON: EOF while parsing a value at line 1 column 0"),
        (r#"{"action":"scrape"} x"#, "bad JSON: trailing characters at line 1 column 21"),
        (r#"{"action":"scrape","action":"scrape"}"#, "bad JSON: duplicate field `action` at line 1 column 27"),
    ] {
        assert_eq!(refused(frame), expected);
    }
    assert!(ClientMessage::decode(b"{\"action\":\"\xff\"}").is_err(), "invalid UTF-8");
    assert!(
        ClientMessage::decode(announce(json!({"other": {"deep": [1, 2.5, {}]}}))).is_ok(),
        "other keys are ignored"
    );
}

#[test]
fn a_lone_surrogate_is_an_error() {
    let frame = |sdp: &str| {
        let sdp = format!(r#"{{"type":"offer","sdp":"{sdp}"}}"#);
        let ids = format!(r#""info_hash":"{HASH}","peer_id":"{PEER}""#);
        format!(r#"{{"action":"announce",{ids},"offers":[{{"offer":{sdp},"offer_id":"{OFFER}"}}]}}"#)
    };
    let pair = decoded(&frame(r"\ud83d\ude00"));
    let offer = Offer::new(OfferId::from([b'o'; 20]), "😀");
    assert_eq!(pair.offers, Some(vec![offer]));
    for lone in [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\ud83d"] {
        assert!(refused(&frame(lone)).starts_with("bad JSON: "));
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    let deep = "[".repeat(1_000_000);
    let deep_object = r#"{"a":"#.repeat(300_000);
    for start in [
        "",
        r#"{"x":"#,
        r#"{"action":"#,
        r#"{"left":"#,
        r#"{"offers":"#,
        r#"{"offers":[{"offer":"#,
        r#"{"offers":[{"offer":{"sdp":"#,
        r#"{"info_hash":["#,
    ] {
        assert!(ClientMessage::decode(format!("{start}{deep}")).is_err());
        assert!(ClientMessage::decode(format!("{start}{deep_object}")).is_err());
    }
}
