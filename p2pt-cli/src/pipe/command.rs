//! Commands: what comes in, one JSON object a line.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt::{Frame, Json, MessageId, Payload, PeerId};
use serde::de::{Error as _, IgnoredAny, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One line of input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    Send(SendMessage),
    Respond(Respond),
    SendFrame(SendFrame),
    AddTracker(String),
    RemoveTracker(String),
    Trackers(True),
    RequestMorePeers(True),
    Peers(True),
    #[serde(deserialize_with = "peer_id")]
    Stats(PeerId),
    #[serde(deserialize_with = "peer_id")]
    Disconnect(PeerId),
    #[serde(deserialize_with = "peer_id")]
    Ban(PeerId),
    #[serde(deserialize_with = "peer_id")]
    Unban(PeerId),
    Banned(True),
    Stop(True),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    pub(super) peer: To,
    #[serde(deserialize_with = "payload")]
    pub(super) message: Payload,
    pub(super) tag: Option<String>,
    #[serde(default = "wait")]
    pub(super) wait: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Respond {
    #[serde(deserialize_with = "peer_id")]
    pub(super) peer: PeerId,
    #[serde(deserialize_with = "message_id")]
    pub(super) id: MessageId,
    #[serde(deserialize_with = "payload")]
    pub(super) message: Payload,
    pub(super) tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendFrame {
    pub(super) peer: To,
    text: Option<String>,
    base64: Option<String>,
    pub(super) tag: Option<String>,
}

/// What a message does unless it says otherwise.
fn wait() -> bool {
    true
}

/// The receivers of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Everyone,
    Peer(PeerId),
}

/// `true`, the only thing a command without arguments takes.
#[derive(Debug)]
pub(super) struct True;

/// A line that is no command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// The tag it carries all the same.
    pub(super) tag: Option<String>,
    pub(super) error: String,
}

impl Command {
    /// Reads a line; `None` for one with nothing on it.
    pub(super) fn parse(line: &[u8]) -> Result<Option<Self>, BadLine> {
        let bad = |error: String| BadLine { tag: None, error };
        let text = std::str::from_utf8(line).map_err(|error| bad(format!("the line is not UTF-8: {error}")))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| BadLine { tag: tag(text), error: format!("not a command: {error}") })
    }
}

impl SendFrame {
    /// The frame to send.
    pub(super) fn frame(&mut self) -> Result<Frame, String> {
        match (self.text.take(), self.base64.take()) {
            (Some(text), None) => Ok(Frame::text(text)),
            (None, Some(base64)) => {
                STANDARD.decode(base64).map(Frame::binary).map_err(|error| format!("not base64: {error}"))
            }
            _ => Err("a frame is either `text` or `base64`".to_owned()),
        }
    }
}

/// The tag of a line that is JSON but no command.
fn tag(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Arguments {
        Tagged { tag: String },
        Other(IgnoredAny),
    }
    let line: BTreeMap<String, Arguments> = serde_json::from_str(line).ok()?;
    line.into_values().find_map(|arguments| match arguments {
        Arguments::Tagged { tag } => Some(tag),
        Arguments::Other(_) => None,
    })
}

impl<'de> Deserialize<'de> for To {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "*" { Ok(Self::Everyone) } else { parse_peer_id(&text).map(Self::Peer) }
    }
}

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match bool::deserialize(deserializer)? {
            true => Ok(Self),
            false => Err(D::Error::invalid_value(Unexpected::Bool(false), &"true")),
        }
    }
}

fn peer_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PeerId, D::Error> {
    parse_peer_id(&String::deserialize(deserializer)?)
}

fn parse_peer_id<E: serde::de::Error>(text: &str) -> Result<PeerId, E> {
    text.parse().map_err(|error| E::custom(format_args!("peer id: {error}")))
}

fn message_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MessageId, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    raw.get().parse().map_err(|error| D::Error::custom(format_args!("message id: {error}")))
}

/// A JSON string is sent as text, everything else as the JSON it is. Lone surrogates become U+FFFD.
fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    let json = Json::from_text(raw.get()).map_err(D::Error::custom)?;
    if raw.get().starts_with('"') { json.parse().map(Payload::Text).map_err(D::Error::custom) } else { Ok(json.into()) }
}

#[cfg(test)]
mod tests {
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
            Command::Send(SendMessage { peer: To::Everyone, message, tag: None, wait: true }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_are_as_documented() {
        let Command::Send(send) = parse(r#" {"send":{"peer":"HEX","message":"hi","tag":"t"}} "#) else { panic!() };
        assert_eq!(send.peer, To::Peer(HEX.parse().unwrap()));
        assert_eq!((send.message, send.tag.as_deref(), send.wait), ("hi".into(), Some("t"), true));
        let Command::Send(send) = parse(r#"{"send":{"peer":"*","message":"hi","wait":false}}"#) else { panic!() };
        assert!(!send.wait);
        let Command::Respond(respond) = parse(r#"{"respond":{"peer":"HEX","id":7,"message":null}}"#) else { panic!() };
        assert_eq!((respond.peer, respond.id, respond.tag), (HEX.parse().unwrap(), 7.into(), None));
        assert!(matches!(parse(r#"{"add_tracker":"ws://x"}"#), Command::AddTracker(url) if url == "ws://x"));
        assert!(matches!(parse(r#"{"remove_tracker":"ws://x"}"#), Command::RemoveTracker(url) if url == "ws://x"));
        assert!(matches!(parse(r#"{"request_more_peers":true}"#), Command::RequestMorePeers(True)));
        assert!(matches!(parse(r#"{"trackers":true}"#), Command::Trackers(True)));
        assert!(matches!(parse(r#"{"peers":true}"#), Command::Peers(True)));
        let id: PeerId = HEX.parse().unwrap();
        assert!(matches!(parse(r#"{"stats":"HEX"}"#), Command::Stats(peer) if peer == id));
        assert!(matches!(parse(r#"{"disconnect":"HEX"}"#), Command::Disconnect(peer) if peer == id));
        assert!(matches!(parse(r#"{"ban":"HEX"}"#), Command::Ban(peer) if peer == id));
        assert!(matches!(parse(r#"{"unban":"HEX"}"#), Command::Unban(peer) if peer == id));
        assert!(matches!(parse(r#"{"banned":true}"#), Command::Banned(True)));
        assert!(matches!(parse(r#"{"stop":true}"#), Command::Stop(True)));
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
        assert_eq!(sent(r#"["\udc00"]"#).as_str(), r#"["\ufffd"]"#);
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
            (r#"{"send":{"peer":"*"}}"#, "missing field `message`"),
            (r#"{"send":{"message":1}}"#, "missing field `peer`"),
            (r#"{"send":{"peer":"*","message":1,"tags":"x"}}"#, "unknown field `tags`"),
            (r#"{"send":{"peer":"a1","message":1}}"#, "peer id"),
            (r#"{"respond":{"peer":"*","id":1,"message":1}}"#, "peer id"),
            (r#"{"respond":{"peer":"HEX","message":1}}"#, "missing field `id`"),
            (r#"{"ban":"*"}"#, "peer id"),
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
}
