//! Messages as they cross.

use std::sync::Arc;

use bytes::Bytes;
use p2pt::{Json, Message, MessageId, Payload};

use crate::Fault;

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(String),
    /// JSON, which is not parsed yet.
    Json(String),
    /// Bytes.
    Bytes(Bytes),
}

impl Content {
    /// A text or JSON.
    pub fn written(text: String, is_json: bool) -> Self {
        if is_json { Self::Json(text) } else { Self::Text(text) }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// As the facade has it; `invalid_json`: what was given as JSON is none.
    pub(crate) fn into_payload(self) -> Result<Payload, Fault> {
        Ok(match self {
            Self::Text(text) => text.into(),
            Self::Json(json) => {
                Json::from_text(json).map_err(|error| Fault::new("invalid_json", error.to_string()))?.into()
            }
            Self::Bytes(bytes) => Payload::Bytes(bytes),
        })
    }
}

impl From<Payload> for Content {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Text(text) => Self::Text(text),
            Payload::Json(json) => Self::Json(json.into_string()),
            Payload::Bytes(bytes) => Self::Bytes(bytes),
            // What the facade may have one day is handed on as the bytes that it has by then.
            other => Self::Bytes(other.as_bytes().cloned().unwrap_or_default()),
        }
    }
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its content.
    pub content: Content,
    /// Its id, as JSON, which responses carry too.
    pub id: String,
}

impl Received {
    pub(crate) fn new(message: Message) -> Self {
        let id = message.id().to_string();
        Self { id, content: message.into_payload().into() }
    }
}

/// The messages of this side that a peer had not acknowledged when it closed. They stay where they are until they are asked
/// for, since they may be as much as the send queue holds.
#[derive(Debug, Clone)]
pub struct Returned(Arc<[p2pt::Returned]>);

impl Returned {
    /// `None` if there are none.
    pub(crate) fn new(returned: Arc<[p2pt::Returned]>) -> Option<Self> {
        (!returned.is_empty()).then_some(Self(returned))
    }

    /// In the order of sending, each with its id.
    pub fn messages(&self) -> Vec<Received> {
        let message = |returned: &p2pt::Returned| Received {
            id: returned.id.to_string(),
            content: returned.payload.clone().into(),
        };
        self.0.iter().map(message).collect()
    }
}

pub(crate) fn message_id(text: &str) -> Result<MessageId, Fault> {
    text.parse().map_err(|error| Fault::invalid_id(&format!("message id {text:?}"), &error))
}
