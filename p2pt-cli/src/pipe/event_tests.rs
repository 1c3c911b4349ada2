//! Events are printed as PIPE.md says.

use p2pt::Json;

use super::*;

const PEER: [u8; 20] = [0xa1; 20];
const HEX: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";

fn line(event: &Event<'_>) -> String {
    let line = String::from_utf8(event.to_line(None).unwrap()).unwrap();
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line, ended");
    line.trim_end().to_owned()
}

fn message(payload: impl Into<Payload>, id: &str) -> String {
    let payload = payload.into();
    line(&Event::Message { peer: PEER.into(), id: &id.parse().unwrap(), content: (&payload).into() })
}

#[test]
fn events_are_as_documented() {
    let tracker: AnnounceUrl = "ws://127.0.0.1:8000".parse().unwrap();
    let peer = PeerId::from(PEER);
    assert_eq!(
        line(&Event::TrackerConnected { tracker: &tracker, connected: 1, total: 2 }),
        r#"{"event":"tracker_connected","tracker":"ws://127.0.0.1:8000","connected":1,"total":2}"#
    );
    assert_eq!(
        line(&Event::TrackerWarning { tracker: &tracker, error: "down".into(), missed: 2 }),
        r#"{"event":"tracker_warning","tracker":"ws://127.0.0.1:8000","error":"down","missed":2}"#
    );
    let who = Who { public_key: None, trust: KnownTrust::Unsigned, safety_code: None };
    assert_eq!(
        line(&Event::PeerConnected { peer, who }),
        format!(r#"{{"event":"peer_connected","peer":"{HEX}","trust":{{"level":"unsigned"}}}}"#)
    );
    assert_eq!(
        line(&Event::PeerClosed {
            peer,
            reason: "silence".into(),
            unacknowledged_bytes: 7,
            unsent_messages: 1,
            unsent_bytes: 9,
            left: None,
            returned: Vec::new(),
        }),
        format!(
            r#"{{"event":"peer_closed","peer":"{HEX}","reason":"silence","unacknowledged_bytes":7,"unsent_messages":1,"unsent_bytes":9,"returned":[]}}"#
        )
    );
    let banned = Event::Banned { peers: vec![HEX.into()] };
    assert_eq!(line(&banned), format!(r#"{{"event":"banned","peers":["{HEX}"]}}"#));
    let (error, reason) = ("no path".into(), "it is banned".into());
    let (role, advice) = (Role::Offerer.into(), None);
    let failed = Event::ConnectionFailed { peer, tracker: &tracker, role, error, advice, missed: 0 };
    assert_eq!(
        line(&failed),
        format!(
            r#"{{"event":"connection_failed","peer":"{HEX}","tracker":"ws://127.0.0.1:8000","role":"offerer","error":"no path","missed":0}}"#
        )
    );
    let refused = Event::ConnectionRejected {
        peer,
        tracker: &tracker,
        role: Role::Answerer.into(),
        reason,
        code: "banned",
        forgery: false,
        missed: 3,
    };
    assert_eq!(
        line(&refused),
        format!(
            r#"{{"event":"connection_rejected","peer":"{HEX}","tracker":"ws://127.0.0.1:8000","role":"answerer","reason":"it is banned","code":"banned","forgery":false,"missed":3}}"#
        )
    );
    assert_eq!(line(&Event::Stopped {}), r#"{"event":"stopped"}"#);
}

#[test]
fn an_event_names_its_swarm_and_keeps_its_message_as_it_came() {
    let payload: Payload = Json::from_text("{\"z\":1.0000000000000000001,\"a\":1e400}").unwrap().into();
    let event = Event::Message { peer: PEER.into(), id: &7.into(), content: (&payload).into() };
    let line = String::from_utf8(event.to_line(Some(PEER.into())).unwrap()).unwrap();
    let message = r#"{"z":1.0000000000000000001,"a":1e400}"#;
    let expected = format!(r#"{{"event":"message","peer":"{HEX}","id":7,"message":{message},"swarm":"{HEX}"}}"#);
    assert_eq!(line, expected + "\n");
}

#[test]
fn a_tag_is_there_only_if_one_was_given() {
    let error = |tag| line(&Event::Error { tag, peer: None, code: None, error: "reason".into() });
    assert_eq!(error(None), r#"{"event":"error","error":"reason"}"#);
    assert_eq!(error(Some("t".into())), r#"{"event":"error","tag":"t","error":"reason"}"#);
    let of_peer = line(&Event::Error { tag: None, peer: Some(PEER.into()), code: None, error: "reason".into() });
    assert_eq!(of_peer, format!(r#"{{"event":"error","peer":"{HEX}","error":"reason"}}"#));
    let payload = Payload::from("yes");
    let response = Event::Response { peer: PEER.into(), id: &7.into(), tag: "t", content: (&payload).into() };
    assert_eq!(line(&response), format!(r#"{{"event":"response","peer":"{HEX}","id":7,"tag":"t","message":"yes"}}"#));
}

#[test]
fn text_is_a_string_and_json_is_itself() {
    let of = |content: &str, id: &str| format!(r#"{{"event":"message","peer":"{HEX}","id":{id},"message":{content}}}"#);
    assert_eq!(message("say \"hi\"\n", "5"), of(r#""say \"hi\"\n""#, "5"));
    assert_eq!(message("{}", "\"a b\""), of(r#""{}""#, "\"a b\""));
    // Numbers no double can hold, order and doubled names stay as they came.
    let odd = r#"{"z":1.0000000000000000001,"a":1e400,"a":[ ]}"#;
    assert_eq!(message(Json::from_text(odd).unwrap(), "null"), of(odd, "null"));
    let broken = Json::from_text("{\n\"a\":\r\n\"\\n\"}").unwrap();
    assert_eq!(message(broken, "[1]"), of("{ \"a\":  \"\\n\"}", "[1]"));
}

#[test]
fn frames_are_text_or_base64() {
    let data = |frame: &Frame| line(&Event::Data { peer: PEER.into(), frame: frame.into() });
    assert_eq!(data(&Frame::text("raw ✓")), format!(r#"{{"event":"data","peer":"{HEX}","text":"raw ✓"}}"#));
    let binary = Frame::binary(&b"\x00\xff\x00\x80"[..]);
    assert_eq!(data(&binary), format!(r#"{{"event":"data","peer":"{HEX}","base64":"AP8AgA=="}}"#));
}
