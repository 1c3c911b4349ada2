//! Events: what goes out, one JSON object a line.

use std::borrow::Cow;
use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt::trust::PublicKey;
use p2pt::{AnnounceUrl, Frame, InfoHash, MessageId, Payload, PeerId, Returned, Role};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::failure::Failure;
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
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<LeftWith<'a>>,
        returned: Vec<GivenBack<'a>>,
    },
    Message {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(serialize_with = "as_json")]
        id: &'a MessageId,
        #[serde(flatten)]
        content: Content<'a>,
    },
    Response {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        #[serde(serialize_with = "as_json")]
        id: &'a MessageId,
        tag: &'a str,
        #[serde(flatten)]
        content: Content<'a>,
    },
    Accepted {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        tag: &'a str,
    },
    Acknowledged {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        tag: &'a str,
    },
    Progress {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        tag: &'a str,
        sent: usize,
        acknowledged: usize,
        total: usize,
    },
    Stream {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
        #[serde(flatten)]
        metadata: Metadata,
        urgency: u8,
    },
    StreamOpened {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<&'a str>,
    },
    StreamData {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
        #[serde(serialize_with = "as_base64")]
        base64: &'a [u8],
    },
    StreamEnd {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
    },
    StreamReset {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
        code: u64,
    },
    StreamStopped {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
        code: u64,
    },
    StreamFailed {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
        error: String,
    },
    StreamWritten {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
        tag: &'a str,
    },
    StreamAcknowledged {
        #[serde(serialize_with = "as_text")]
        peer: PeerId,
        stream: u64,
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
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'static str>,
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

/// A message's content: `"message":JSON` or `"bytes":BASE64`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content<'a> {
    Message(Value<'a>),
    Bytes(String),
}

impl<'a> From<&'a Payload> for Content<'a> {
    fn from(payload: &'a Payload) -> Self {
        match (payload.text(), payload.as_json()) {
            (Some(text), _) => Self::Message(Value::Text(text)),
            (_, Some(json)) => Self::Message(Value::Json(json.as_str())),
            // Shared, not copied.
            _ => Self::Bytes(STANDARD.encode(payload.clone().into_bytes())),
        }
    }
}

/// Text as a JSON string, JSON as it came.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Json(&'a str),
}

/// The code and the words with which a peer has left.
#[derive(Debug, Serialize)]
pub(super) struct LeftWith<'a> {
    pub(super) code: u64,
    pub(super) text: &'a str,
}

/// A message of which it is not known whether it has arrived.
#[derive(Debug, Serialize)]
pub(super) struct GivenBack<'a> {
    #[serde(serialize_with = "as_json")]
    pub(super) id: &'a MessageId,
    #[serde(flatten)]
    pub(super) content: Content<'a>,
}

impl<'a> From<&'a Returned> for GivenBack<'a> {
    fn from(returned: &'a Returned) -> Self {
        Self { id: &returned.id, content: (&returned.payload).into() }
    }
}

/// What a peer says about a stream: `"metadata":TEXT`, or `"metadata_base64":BASE64` where it is no text.
#[derive(Debug, Serialize)]
pub(super) enum Metadata {
    #[serde(rename = "metadata")]
    Text(String),
    #[serde(rename = "metadata_base64")]
    Base64(String),
}

impl From<&[u8]> for Metadata {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

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
    /// That something for a peer has come to nothing.
    pub(super) fn failed(peer: PeerId, tag: Option<String>, failure: Failure) -> Self {
        let Failure { code, error } = failure;
        Self::Error { tag, peer: Some(peer), code, error: format!("peer {peer}: {error}") }
    }

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
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Json(json) => verbatim(json, serializer),
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

fn as_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
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
#[path = "event_tests.rs"]
mod tests;
