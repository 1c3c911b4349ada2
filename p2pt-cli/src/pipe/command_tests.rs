//! Commands are read as PIPE.md says.

use super::*;

const HEX: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";

fn parse(line: &str) -> Command {
    Command::parse(&line.replace("HEX", HEX).into_bytes()).unwrap().unwrap()
}

fn bad(line: &str) -> BadLine {
    Command::parse(&line.replace("HEX", HEX).into_bytes()).unwrap_err()
}

fn sent(message: &str) -> Payload {
    match parse(&format!(r#"{{"send":{{"peer":"*","message":{message}}}}}"#)) {
        Command::Send(mut send) if send.peer == To::Everyone && send.tag.is_none() && send.wait => {
            send.content().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_are_as_documented() {
    let Command::Send(mut send) = parse(r#" {"send":{"peer":"HEX","message":"hi","tag":"t"}} "#) else { panic!() };
    assert_eq!(send.peer, To::Peer(HEX.parse().unwrap()));
    assert_eq!((send.content(), send.tag.as_deref(), send.wait), (Ok("hi".into()), Some("t"), true));
    let Command::Send(send) = parse(r#"{"send":{"peer":"*","message":"hi","wait":false}}"#) else { panic!() };
    assert!(!send.wait);
    let Command::Respond(respond) = parse(r#"{"respond":{"peer":"HEX","id":7,"message":null}}"#) else { panic!() };
    assert_eq!((respond.peer, respond.id, respond.tag), (HEX.parse().unwrap(), 7.into(), None));
    assert!(matches!(parse(r#"{"add_tracker":"ws://x"}"#), Command::AddTracker(url) if url == "ws://x"));
    assert!(matches!(parse(r#"{"remove_tracker":"ws://x"}"#), Command::RemoveTracker(url) if url == "ws://x"));
    assert!(matches!(parse(r#"{"request_more_peers":true}"#), Command::RequestMorePeers(InSwarm { swarm: None })));
    assert!(matches!(parse(r#"{"trackers":true}"#), Command::Trackers(InSwarm { swarm: None })));
    assert!(matches!(parse(r#"{"peers":true}"#), Command::Peers(InSwarm { swarm: None })));
    let id: PeerId = HEX.parse().unwrap();
    let one = OnePeer { peer: id, swarm: None };
    assert!(matches!(parse(r#"{"stats":"HEX"}"#), Command::Stats(peer) if peer == one));
    assert!(matches!(parse(r#"{"disconnect":"HEX"}"#), Command::Disconnect(farewell)
            if farewell == Farewell { peer: id, code: 0, text: String::new(), swarm: None }));
    assert!(matches!(parse(r#"{"ban":"HEX"}"#), Command::Ban(peer) if peer == id));
    assert!(matches!(parse(r#"{"unban":"HEX"}"#), Command::Unban(peer) if peer == id));
    assert!(matches!(parse(r#"{"banned":true}"#), Command::Banned(True)));
    assert!(matches!(parse(r#"{"stop":true}"#), Command::Stop(True)));
}

#[test]
fn a_command_is_about_the_first_swarm_or_about_one_that_it_names() {
    let swarm = Some(InfoHash::from([0xa1; 20]));
    assert!(matches!(parse(r#"{"join":"two"}"#), Command::Join(new) if new.identifier == "two"));
    assert!(matches!(parse(r#"{"leave":{"swarm":"HEX"}}"#), Command::Leave(InSwarm { swarm: of }) if of == swarm));
    assert!(matches!(parse(r#"{"peers":{"swarm":"HEX"}}"#), Command::Peers(InSwarm { swarm: of }) if of == swarm));
    let peer = HEX.parse().unwrap();
    for (line, of) in [
        (r#"{"stats":{"peer":"HEX","swarm":"HEX"}}"#, swarm),
        (r#"{"stats":{"peer":"HEX"}}"#, None),
        (r#"{"stats":"HEX"}"#, None),
    ] {
        assert!(matches!(parse(line), Command::Stats(one) if one == OnePeer { peer, swarm: of }), "{line}");
    }
    for (line, of) in
        [(r#"{"set_identifier":{"identifier":"new","swarm":"HEX"}}"#, swarm), (r#"{"set_identifier":"new"}"#, None)]
    {
        let Command::SetIdentifier(said) = parse(line) else { panic!("{line}") };
        assert_eq!((said.identifier.as_str(), said.swarm, said.secret.is_some()), ("new", of, false), "{line}");
    }
    let Command::Send(send) = parse(r#"{"send":{"peer":"*","message":1,"swarm":"HEX"}}"#) else { panic!() };
    assert_eq!(send.swarm, swarm);
}

#[test]
fn commands_about_trust_are_as_documented() {
    let (peer, swarm) = (PeerId::from([0xa1; 20]), Some(InfoHash::from([0xa1; 20])));
    for (line, asked) in [
        (r#"{"trust":"HEX"}"#, AskedTrust { peer, name: None, swarm: None }),
        (
            r#"{"trust":{"peer":"HEX","name":"ann","swarm":"HEX"}}"#,
            AskedTrust { peer, name: Some("ann".into()), swarm },
        ),
    ] {
        assert!(matches!(parse(line), Command::Trust(said) if said == asked), "{line}");
    }
    let key = p2pt::trust::NodeKey::from_bytes(&[1; 32]);
    let line = format!(r#"{{"pin":{{"name":"ann","public_key":"{}"}}}}"#, key.public_key());
    assert!(
        matches!(parse(&line), Command::Pin(pin) if pin.public_key == Some(key.public_key()) && pin.peer.is_none())
    );
    assert!(matches!(parse(r#"{"unpin":"ann"}"#), Command::Unpin(name) if name == "ann"));
    let line = format!(r#"{{"pin":{{"name":"ann","public_key":"{}"}}}}"#, *key.reveal());
    let complaint = bad(&line).error;
    assert!(complaint.contains("this is a secret key") && !complaint.contains(&key.reveal()[20..]), "{complaint}");
    let line = r#"{"join":{"identifier":"table","secret":"chance-lemon-bridge-otter-violin","hidden_name":true}}"#;
    let Command::Join(new) = parse(line) else { panic!() };
    assert!(new.hidden_name && new.secret.is_some() && !format!("{new:?}").contains("lemon"));
}

#[test]
fn a_send_says_what_confirms_it() {
    let confirm = |value: &str| {
        let line = format!(r#"{{"send":{{"peer":"*","message":1,"tag":"t","confirm":{value}}}}}"#);
        match Command::parse(line.as_bytes()) {
            Ok(Some(Command::Send(send))) => Ok(send.confirm),
            Ok(other) => panic!("{other:?}"),
            Err(bad) => Err(bad),
        }
    };
    assert_eq!(confirm(r#""accepted""#), Ok(Some(Confirm::Accepted)));
    assert_eq!(confirm(r#""response""#), Ok(Some(Confirm::Response)));
    let BadLine { tag, error } = confirm(r#""delivered""#).unwrap_err();
    assert_eq!(tag.as_deref(), Some("t"));
    assert!(
        error.contains("unknown variant `delivered`, expected one of `accepted`, `acknowledged`, `response`"),
        "{error}"
    );
    let BadLine { error, .. } = bad(r#"{"send_frame":{"peer":"*","text":"x","tag":"t","confirm":"response"}}"#);
    assert!(error.contains("unknown variant `response`, expected `accepted`"), "{error}");
}

#[test]
fn bytes_are_base64_and_stand_for_the_message() {
    let content = |fields: &str| {
        let (send, respond) = (r#"{"send":{"peer":"HEX""#, r#"{"respond":{"peer":"HEX","id":7"#);
        let Command::Send(mut send) = parse(&format!("{send}{fields}}}}}")) else { panic!() };
        let Command::Respond(mut respond) = parse(&format!("{respond}{fields}}}}}")) else { panic!() };
        let content = send.content();
        assert_eq!(content, respond.content());
        content
    };
    assert_eq!(content(r#","bytes":"AP8AgA==""#), Ok(vec![0, 255, 0, 128].into()));
    assert_eq!(content(r#","bytes":null,"message":null"#).unwrap().as_str(), Some("null"));
    assert!(content("").is_err());
    assert!(content(r#","bytes":"","message":"""#).is_err());
}

#[test]
fn commands_of_p2pt_2_are_as_documented() {
    let peer: PeerId = HEX.parse().unwrap();
    let Command::Send(send) = parse(r#"{"send":{"peer":"*","message":1,"urgency":0,"progress":true}}"#) else {
        panic!()
    };
    assert_eq!((send.urgency, send.progress), (Some(Urgency::URGENT), true));
    let line = r#"{"disconnect":{"peer":"HEX","code":7,"text":"bye"}}"#;
    let farewell = Farewell { peer, code: 7, text: "bye".into(), swarm: None };
    assert!(matches!(parse(line), Command::Disconnect(said) if said == farewell));
    for line in [r#"{"cancel":"t"}"#, r#"{"cancel":{"of":"t"}}"#] {
        assert!(matches!(parse(line), Command::Cancel(said) if said == TakeBack { of: "t".into(), swarm: None }));
    }
    let Command::OpenStream(open) = parse(r#"{"open_stream":{"peer":"HEX","metadata":{"a":1}}}"#) else { panic!() };
    assert_eq!((open.peer, open.metadata.unwrap().as_str(), open.urgency), (peer, Some(r#"{"a":1}"#), None));
    let written = |fields: &str| match parse(&format!(r#"{{"write_stream":{{"stream":5{fields}}}}}"#)) {
        Command::WriteStream(mut write) if write.stream == 5 => write.content(),
        other => panic!("{other:?}"),
    };
    assert_eq!(written(r#","text":"é""#), Ok("é".into()));
    assert_eq!(written(r#","base64":"AP8=""#), Ok(vec![0, 255]));
    assert!(written("").is_err() && written(r#","text":"","base64":"""#).is_err());
    let finish = parse(r#"{"finish_stream":{"stream":5,"tag":"t"}}"#);
    assert_eq!(finish.tag(), Some("t"));
    for (line, code) in [(r#"{"reset_stream":{"stream":5,"code":7}}"#, 7), (r#"{"reset_stream":{"stream":5}}"#, 0)] {
        assert!(matches!(parse(line), Command::ResetStream(end) if (end.stream, end.code) == (5, code)));
    }
}

#[test]
fn a_string_is_text_and_everything_else_the_json_it_is() {
    assert_eq!(sent(r#""\u00e9\n\"""#), Payload::from("é\n\""));
    assert_eq!(sent(r#""""#), Payload::from(""));
    for json in ["null", "true", "-0.0", "1e400", "[ 1 , 2 ]", r#"{"z":1.0000000000000000001,"a":"\u00e9"}"#] {
        assert_eq!(sent(json).as_json().map(Json::as_str), Some(json));
    }
}

#[test]
fn half_a_surrogate_pair_is_replaced() {
    assert_eq!(sent(r#""a \ud83d b""#), Payload::from("a \u{fffd} b"));
    assert_eq!(sent(r#"["\udc00"]"#).as_str(), Some(r#"["\ufffd"]"#));
}

#[test]
fn any_json_value_can_be_an_id() {
    for id in ["5", "-5", "\"x y\"", "null", "[1,{}]"] {
        let line = format!(r#"{{"respond":{{"peer":"HEX","id":{id},"message":1}}}}"#);
        let Command::Respond(respond) = parse(&line) else { panic!() };
        assert_eq!(respond.id.to_string(), id);
    }
}

#[test]
fn frames_are_text_or_base64() {
    let frame = |arguments: &str| match parse(&format!(r#"{{"send_frame":{{"peer":"HEX"{arguments}}}}}"#)) {
        Command::SendFrame(mut send) => send.frame(),
        other => panic!("{other:?}"),
    };
    assert_eq!(frame(r#","text":"raw""#), Ok(Frame::text("raw")));
    assert_eq!(frame(r#","base64":"AP8AgA==""#), Ok(Frame::binary(&b"\x00\xff\x00\x80"[..])));
    assert!(frame(r#","base64":"?""#).unwrap_err().starts_with("not base64"));
    assert_eq!(frame(""), frame(r#","text":"a","base64":"AA==""#));
    assert!(frame("").is_err());
}

#[test]
fn nothing_on_a_line_is_nothing() {
    for line in ["", " ", "\r", "\t \r"] {
        assert!(Command::parse(line.as_bytes()).unwrap().is_none());
    }
}

#[test]
fn bad_lines_say_what_is_wrong() {
    for (line, complaint) in [
        ("hello", "not a command"),
        (r#"{"send":"#, "not a command"),
        ("[]", "not a command"),
        ("{}", "not a command"),
        (r#"{"sned":{}}"#, "unknown variant `sned`"),
        (r#"{"stop":false}"#, "expected true"),
        (r#"{"stop":true,"peers":true}"#, "not a command"),
        (r#"{"send":{"message":1}}"#, "missing field `peer`"),
        (r#"{"send":{"peer":"*","message":1,"tags":"x"}}"#, "unknown field `tags`"),
        (r#"{"send":{"peer":"a1","message":1}}"#, "\"a1\" is no id"),
        (r#"{"respond":{"peer":"*","id":1,"message":1}}"#, "is no id"),
        (r#"{"peers":{"swarm":"a1"}}"#, "\"a1\" is no id"),
        (r#"{"peers":{}}"#, "missing field `swarm`"),
        (r#"{"send":{"peer":"*","message":1,"urgency":8}}"#, "an urgency is 0 to 7"),
        (r#"{"send":{"peer":"*","bytes":"?"}}"#, "not base64"),
        (r#"{"stop_stream":{"stream":1,"code":4611686018427387904}}"#, "a code is 4611686018427387903 at most"),
        (r#"{"write_stream":{"text":"x"}}"#, "missing field `stream`"),
        (r#"{"cancel":true}"#, "expected a string"),
        (r#"{"disconnect":{"swarm":"HEX"}}"#, "missing field `peer`"),
        (r#"{"leave":false}"#, "expected true"),
        (r#"{"respond":{"peer":"HEX","message":1}}"#, "missing field `id`"),
        (r#"{"ban":"*"}"#, "is no id"),
        (r#"{"pin":{"peer":"HEX"}}"#, "missing field `name`"),
        (r#"{"pin":{"name":"ann","public_key":"HEX"}}"#, "a public key has 52 letters"),
        (r#"{"unpin":true}"#, "expected a string"),
        (r#"{"trust":{"name":"ann"}}"#, "missing field `peer`"),
        (r#"{"join":{"secret":"s"}}"#, "missing field `identifier`"),
        (r#"{"send":{"peer":"*","message":1,"wait":"no"}}"#, "expected a boolean"),
    ] {
        let BadLine { tag, error } = bad(line);
        assert!(error.contains(complaint) && tag.is_none(), "{line}: {tag:?} {error}");
    }
    assert!(Command::parse(b"\xff{}").unwrap_err().error.contains("not UTF-8"));
    let long_id = format!(r#"{{"respond":{{"peer":"HEX","id":"{}","message":1}}}}"#, "x".repeat(300));
    assert!(bad(&long_id).error.contains("256 bytes"));
}

#[test]
fn a_bad_line_keeps_its_tag() {
    for line in
        [r#"{"send":{"peer":"a1","message":1,"tag":"t"}}"#, r#"{"sned":{"tag":"t"}}"#, r#"{"respond":{"tag":"t"}}"#]
    {
        assert_eq!(bad(line).tag.as_deref(), Some("t"), "{line}");
    }
    assert_eq!(bad(r#"{"send":{"peer":"*","message":1,"tag":5}}"#).tag, None);
}
