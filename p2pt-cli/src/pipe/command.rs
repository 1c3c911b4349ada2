//! Commands: what comes in, one JSON object a line.

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt::trust::PublicKey;
use p2pt::{Frame, IdParseError, InfoHash, Json, MessageId, Payload, PeerId};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::args::Secret;

/// One line of input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    Send(SendMessage),
    Respond(Respond),
    SendFrame(SendFrame),
    Join(NewIdentifier),
    Leave(InSwarm),
    SetIdentifier(NewIdentifier),
    Swarms(True),
    AddTracker(String),
    RemoveTracker(String),
    Trackers(InSwarm),
    RequestMorePeers(InSwarm),
    Peers(InSwarm),
    Stats(OnePeer),
    Disconnect(OnePeer),
    #[serde(deserialize_with = "hex")]
    Ban(PeerId),
    #[serde(deserialize_with = "hex")]
    Unban(PeerId),
    Banned(True),
    Trust(AskedTrust),
    Pin(PinKey),
    Unpin(String),
    Pins(True),
    Stop(True),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    pub(super) peer: To,
    #[serde(deserialize_with = "payload")]
    pub(super) message: Payload,
    pub(super) tag: Option<String>,
    pub(super) confirm: Option<Confirm>,
    #[serde(default = "wait")]
    pub(super) wait: bool,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Respond {
    #[serde(deserialize_with = "hex")]
    pub(super) peer: PeerId,
    #[serde(deserialize_with = "message_id")]
    pub(super) id: MessageId,
    #[serde(deserialize_with = "payload")]
    pub(super) message: Payload,
    pub(super) tag: Option<String>,
    pub(super) confirm: Option<Confirm>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendFrame {
    pub(super) peer: To,
    text: Option<String>,
    base64: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) confirm: Option<FrameConfirm>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

/// What ends a message with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Confirm {
    /// That a channel has taken it.
    Accepted,
    /// The response to it.
    Response,
}

/// What ends a frame with a tag; it has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FrameConfirm {
    /// That a channel has taken it.
    Accepted,
}

/// The swarm that a command is about: `true` is the first one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InSwarm {
    pub(super) swarm: Option<InfoHash>,
}

/// A peer of a swarm: an id alone is a peer of the first one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OnePeer {
    pub(super) peer: PeerId,
    pub(super) swarm: Option<InfoHash>,
}

/// What a swarm is to be called from now on: text alone is meant for the first one.
#[derive(Debug)]
pub(super) struct NewIdentifier {
    /// Or a link to a room.
    pub(super) identifier: String,
    pub(super) secret: Option<Secret>,
    pub(super) hidden_name: bool,
    pub(super) swarm: Option<InfoHash>,
}

/// A peer, and whether it is the one that is pinned under a name: an id alone is a peer of the first swarm.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AskedTrust {
    pub(super) peer: PeerId,
    pub(super) name: Option<String>,
    pub(super) swarm: Option<InfoHash>,
}

/// A key to pin under a name: that of a connected peer, or one that is known otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinKey {
    pub(super) name: String,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) peer: Option<PeerId>,
    #[serde(default, deserialize_with = "some_key")]
    pub(super) public_key: Option<PublicKey>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
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

impl Command {
    /// What its answer bears.
    pub(super) fn tag(&self) -> Option<&str> {
        match self {
            Self::Send(send) => send.tag.as_deref(),
            Self::Respond(respond) => respond.tag.as_deref(),
            Self::SendFrame(send) => send.tag.as_deref(),
            _ => None,
        }
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
        if text == "*" { Ok(Self::Everyone) } else { parse_hex(&text).map(Self::Peer) }
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

impl<'de> Deserialize<'de> for InSwarm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "hex")]
            swarm: InfoHash,
        }
        short_or_full(deserializer, |True| Self { swarm: None }, |full: Full| Self { swarm: Some(full.swarm) })
    }
}

impl<'de> Deserialize<'de> for OnePeer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "hex")]
            peer: PeerId,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        let short = |Hex(peer)| Self { peer, swarm: None };
        short_or_full(deserializer, short, |full: Full| Self { peer: full.peer, swarm: full.swarm })
    }
}

impl<'de> Deserialize<'de> for NewIdentifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            identifier: String,
            secret: Option<String>,
            #[serde(default)]
            hidden_name: bool,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        let short = |identifier| Self { identifier, secret: None, hidden_name: false, swarm: None };
        short_or_full(deserializer, short, |full: Full| {
            let Full { identifier, secret, hidden_name, swarm } = full;
            Self { identifier, secret: secret.map(|text| Secret(text.into())), hidden_name, swarm }
        })
    }
}

impl<'de> Deserialize<'de> for AskedTrust {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "hex")]
            peer: PeerId,
            name: Option<String>,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        let short = |Hex(peer)| Self { peer, name: None, swarm: None };
        short_or_full(deserializer, short, |Full { peer, name, swarm }| Self { peer, name, swarm })
    }
}

/// Reads an object with all there is to say, or the one thing that must be said.
fn short_or_full<'de, D: Deserializer<'de>, S: DeserializeOwned, F: DeserializeOwned, T>(
    deserializer: D,
    from_short: impl FnOnce(S) -> T,
    from_full: impl FnOnce(F) -> T,
) -> Result<T, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    let read = if raw.starts_with('{') {
        serde_json::from_str(raw).map(from_full)
    } else {
        serde_json::from_str(raw).map(from_short)
    };
    read.map_err(D::Error::custom)
}

/// An id in hexadecimal digits.
struct Hex<T>(T);

impl<'de, T: FromStr<Err = IdParseError>> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_hex(&String::deserialize(deserializer)?).map(Self)
    }
}

fn hex<'de, D: Deserializer<'de>, T: FromStr<Err = IdParseError>>(deserializer: D) -> Result<T, D::Error> {
    Hex::deserialize(deserializer).map(|Hex(id)| id)
}

fn some_hex<'de, D: Deserializer<'de>, T: FromStr<Err = IdParseError>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Hex(id)| id))
}

/// A public key. What is none may be a secret one, and is not repeated.
fn some_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PublicKey>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

fn parse_hex<E: serde::de::Error, T: FromStr<Err = IdParseError>>(text: &str) -> Result<T, E> {
    text.parse().map_err(|error| E::custom(format_args!("{text:?} is no id: {error}")))
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
            Command::Send(SendMessage { peer: To::Everyone, message, tag: None, wait: true, .. }) => message,
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
        assert!(matches!(parse(r#"{"request_more_peers":true}"#), Command::RequestMorePeers(InSwarm { swarm: None })));
        assert!(matches!(parse(r#"{"trackers":true}"#), Command::Trackers(InSwarm { swarm: None })));
        assert!(matches!(parse(r#"{"peers":true}"#), Command::Peers(InSwarm { swarm: None })));
        let id: PeerId = HEX.parse().unwrap();
        let one = OnePeer { peer: id, swarm: None };
        assert!(matches!(parse(r#"{"stats":"HEX"}"#), Command::Stats(peer) if peer == one));
        assert!(matches!(parse(r#"{"disconnect":"HEX"}"#), Command::Disconnect(peer) if peer == one));
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
        assert!(error.contains("unknown variant `delivered`, expected `accepted` or `response`"), "{error}");
        let BadLine { error, .. } = bad(r#"{"send_frame":{"peer":"*","text":"x","tag":"t","confirm":"response"}}"#);
        assert!(error.contains("unknown variant `response`, expected `accepted`"), "{error}");
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
            (r#"{"send":{"peer":"a1","message":1}}"#, "\"a1\" is no id"),
            (r#"{"respond":{"peer":"*","id":1,"message":1}}"#, "is no id"),
            (r#"{"peers":{"swarm":"a1"}}"#, "\"a1\" is no id"),
            (r#"{"peers":{}}"#, "missing field `swarm`"),
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
}
