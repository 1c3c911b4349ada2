//! Lines: commands that come in and events that go out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt::{Data, Frame, Json, Payload, PeerId};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// One line of input; those of `p2pt pipe` that tests use.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    Send(Message),
    Respond(Message),
    SendFrame(RawFrame),
    Join(String),
    Leave(String),
    AddTracker(String),
    RemoveTracker(String),
    RequestMorePeers(IgnoredAny),
    Peers(IgnoredAny),
    Held(IgnoredAny),
    Stop(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) peer: To,
    /// What is responded to.
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) message: Content,
    pub(crate) tag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFrame {
    pub(crate) peer: To,
    text: Option<String>,
    base64: Option<String>,
}

impl RawFrame {
    pub(crate) fn frame(&self) -> Result<Frame, String> {
        match (&self.text, &self.base64) {
            (Some(text), None) => Ok(Frame::text(text.clone())),
            (None, Some(base64)) => STANDARD.decode(base64).map(Frame::binary).map_err(|error| error.to_string()),
            _ => Err("a frame is either `text` or `base64`".to_owned()),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum To {
    Everyone,
    Peer(PeerId),
}

impl<'de> Deserialize<'de> for To {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "*" { Ok(Self::Everyone) } else { text.parse().map(Self::Peer).map_err(serde::de::Error::custom) }
    }
}

/// A JSON string is text, everything else the JSON that it is.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Content(Box<RawValue>);

impl Content {
    pub(crate) fn payload(&self) -> Payload {
        let json = self.0.get();
        match serde_json::from_str::<String>(json) {
            Ok(text) => text.into(),
            Err(_) => Json::from_text(json).expect("it was read as JSON").into(),
        }
    }
}

/// One line of output.
#[derive(Serialize, Default)]
pub(crate) struct Line {
    pub(crate) event: &'static str,
    /// When it was written, in milliseconds since 1970.
    pub(crate) at: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tracker: Option<String>,
    /// Connections and handlers of events that the page holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
}

impl Line {
    pub(crate) fn new(event: &'static str) -> Self {
        Self { event, ..Self::default() }
    }

    pub(crate) fn message(event: &'static str, message: &p2pt::Message) -> Self {
        let content = match message.payload() {
            Payload::Text(text) => serde_json::to_string(text).expect("a text is JSON"),
            Payload::Json(json) => json.as_str().to_owned(),
            bytes => format!("{{\"bytes\":{}}}", bytes.len()),
        };
        let raw = |text| RawValue::from_string(text).expect("it is JSON");
        Self {
            peer: Some(message.peer().id().to_string()),
            id: Some(raw(message.id().to_string())),
            message: Some(raw(content)),
            ..Self::new(event)
        }
    }

    pub(crate) fn data(data: &Data) -> Self {
        let (text, base64) = match &data.frame {
            Frame::Text(_) => (Some(data.frame.to_text().into_owned()), None),
            Frame::Binary(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self { peer: Some(data.peer.id().to_string()), text, base64, ..Self::new("data") }
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("strings and JSON are JSON")
    }
}
