//! Events: what goes out, one JSON object a line.

use std::borrow::Cow;
use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt::trust::PublicKey;
use p2pt::{AnnounceUrl, Frame, InfoHash, MessageId, Payload, PeerId, Role};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::known::{KnownConnection, KnownPeer, KnownSwarm, KnownTracker};
use super::who::{KnownPin, KnownTrust, Who};

/// One line of output.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    Ready {
        #[serde(serialize_with = "as_text")]
        peer_id: PeerId,
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_if_any")]
        public_key: Option<PublicKey>,
        #[serde(serialize_with = "as_text")]
        info_hash: InfoHash,
        version: &'static str,
        protocol: u32,
        limits: Limits,
    },
    Joined {
        identifier: &'a str,
    },
    IdentifierSet {
        identifier: &'a str,
        #[serde(serialize_with = "as_text")]
        was: InfoHash,
    },
    Left {},
    TrackerConnected {
        #[serde(serialize_with = "as_text")]
        tracker: &'a AnnounceUrl,
        connected: usize,
        total: usize,
    },
    TrackerWarning {
        #[serde(serialize_with = "as_text")]
        tracker: &'a AnnounceUrl,
        error: String,
        missed: u64,
    },
    ConnectionFailed {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(serialize_with = "as_text")]
        tracker: &'a AnnounceUrl,
        role: Side,
        error: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        advice: Option<&'static str>,
        missed: u64,
    },
    ServerWarning {
        server: &'a str,
        error: String,
        advice: &'static str,
    },
    ConnectionRejected {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(serialize_with = "as_text")]
        tracker: &'a AnnounceUrl,
        role: Side,
        reason: String,
        code: &'static str,
        forgery: bool,
        missed: u64,
    },
    PeerConnected {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(flatten)]
        who: Who,
    },
    TrustChanged {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        was: KnownTrust,
        now: KnownTrust,
    },
    PeerClosed {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        reason: String,
        unacknowledged_bytes: u64,
        unsent_messages: u64,
        unsent_bytes: u64,
    },
    Message {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(serialize_with = "as_json")]
        id: &'a MessageId,
        message: Value<'a>,
    },
    Response {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(serialize_with = "as_json")]
        id: &'a MessageId,
        tag: &'a str,
        message: Value<'a>,
    },
    Accepted {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        tag: &'a str,
    },
    Data {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(flatten)]
        frame: FrameText<'a>,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_if_any")]
        peer: Option<PeerId>,
        error: String,
    },
    Swarms {
        swarms: Vec<KnownSwarm>,
    },
    Peers {
        peers: Vec<KnownPeer>,
    },
    Stats {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        connections: Vec<KnownConnection>,
    },
    Trackers {
        connected: usize,
        total: usize,
        trackers: Vec<KnownTracker>,
    },
    Banned {
        peers: Vec<String>,
    },
    Trust {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(flatten)]
        who: Who,
    },
    Pinned {
        name: &'a str,
        #[serde(serialize_with = "as_text")]
        public_key: PublicKey,
    },
    Unpinned {
        name: &'a str,
        #[serde(serialize_with = "as_text")]
        public_key: PublicKey,
    },
    Pins {
        pins: Vec<KnownPin>,
    },
    Stopped {},
}

/// What the pipe takes at most.
#[derive(Debug, Serialize)]
pub(super) struct Limits {
    pub(super) line_bytes: usize,
    pub(super) message_bytes: usize,
    pub(super) frame_bytes: usize,
    pub(super) send_queue_bytes: usize,
    pub(super) receive_memory_bytes: usize,
    pub(super) send_memory_bytes: usize,
    pub(super) confirmations: usize,
    pub(super) peers: usize,
}

/// An event in a swarm.
#[derive(Debug, Serialize)]
struct InSwarm<'a> {
    #[serde(flatten)]
    event: &'a Event<'a>,
    #[serde(serialize_with = "as_text")]
    swarm: InfoHash,
}

/// Which side of an offer this is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    Offerer,
    Answerer,
}

impl From<Role> for Side {
    fn from(role: Role) -> Self {
        match role {
            Role::Offerer => Self::Offerer,
            Role::Answerer => Self::Answerer,
        }
    }
}

/// A message's content: text as a JSON string, JSON as it came.
#[derive(Debug)]
pub(super) struct Value<'a>(pub(super) &'a Payload);

/// A frame: `"text":TEXT` or `"base64":BASE64`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FrameText<'a> {
    Text(Cow<'a, str>),
    Base64(String),
}

impl<'a> From<&'a Frame> for FrameText<'a> {
    fn from(frame: &'a Frame) -> Self {
        match frame {
            Frame::Text(_) => Self::Text(frame.to_text()),
            Frame::Binary(bytes) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

impl Event<'_> {
    /// The event as a line, with its line feed; it names the swarm it is about, if it is about one.
    pub(super) fn to_line(&self, swarm: Option<InfoHash>) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = match swarm {
            Some(swarm) => serde_json::to_vec(&InSwarm { event: self, swarm })?,
            None => serde_json::to_vec(self)?,
        };
        line.push(b'\n');
        Ok(line)
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Payload::Text(text) => text.serialize(serializer),
            Payload::Json(json) => verbatim(json.as_str(), serializer),
        }
    }
}

pub(super) fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_text_if_any<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn as_json<S: Serializer>(id: &MessageId, serializer: S) -> Result<S::Ok, S::Error> {
    verbatim(&id.to_string(), serializer)
}

/// JSON text as it is, on one line: between its tokens a line break is as good as a space, and within strings there
/// is none.
fn verbatim<S: Serializer>(json: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let on_one_line = match json.contains(['\n', '\r']) {
        true => Cow::Owned(json.replace(['\n', '\r'], " ")),
        false => Cow::Borrowed(json),
    };
    let raw: &RawValue = serde_json::from_str(&on_one_line).map_err(serde::ser::Error::custom)?;
    raw.serialize(serializer)
}

#[cfg(test)]
mod tests {
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
        line(&Event::Message { peer: PEER.into(), id: &id.parse().unwrap(), message: Value(&payload) })
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
                unsent_bytes: 9
            }),
            format!(
                r#"{{"event":"peer_closed","peer":"{HEX}","reason":"silence","unacknowledged_bytes":7,"unsent_messages":1,"unsent_bytes":9}}"#
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
        let event = Event::Message { peer: PEER.into(), id: &7.into(), message: Value(&payload) };
        let line = String::from_utf8(event.to_line(Some(PEER.into())).unwrap()).unwrap();
        let message = r#"{"z":1.0000000000000000001,"a":1e400}"#;
        let expected = format!(r#"{{"event":"message","peer":"{HEX}","id":7,"message":{message},"swarm":"{HEX}"}}"#);
        assert_eq!(line, expected + "\n");
    }

    #[test]
    fn a_tag_is_there_only_if_one_was_given() {
        let error = |tag| line(&Event::Error { tag, peer: None, error: "reason".into() });
        assert_eq!(error(None), r#"{"event":"error","error":"reason"}"#);
        assert_eq!(error(Some("t".into())), r#"{"event":"error","tag":"t","error":"reason"}"#);
        let of_peer = line(&Event::Error { tag: None, peer: Some(PEER.into()), error: "reason".into() });
        assert_eq!(of_peer, format!(r#"{{"event":"error","peer":"{HEX}","error":"reason"}}"#));
        let payload = Payload::from("yes");
        let response = Event::Response { peer: PEER.into(), id: &7.into(), tag: "t", message: Value(&payload) };
        assert_eq!(
            line(&response),
            format!(r#"{{"event":"response","peer":"{HEX}","id":7,"tag":"t","message":"yes"}}"#)
        );
    }

    #[test]
    fn text_is_a_string_and_json_is_itself() {
        let of =
            |content: &str, id: &str| format!(r#"{{"event":"message","peer":"{HEX}","id":{id},"message":{content}}}"#);
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
}
