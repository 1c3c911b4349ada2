//! A received message.

use p2pt_messaging::{IntoPayload, Json, Message as Body, MessageId, Payload};

use crate::{Peer, QueueError, Request, SendError};

/// A complete message from a peer: a new one, or the response to a request.
#[derive(Debug, Clone)]
pub struct Message {
    peer: Peer,
    body: Body,
}

impl Message {
    pub(crate) fn new(peer: Peer, body: Body) -> Self {
        Self { peer, body }
    }

    /// The peer that sent it.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Its id, which responses carry too.
    pub fn id(&self) -> &MessageId {
        &self.body.id
    }

    /// Its content: text or JSON.
    pub fn payload(&self) -> &Payload {
        &self.body.payload
    }

    /// Its content, without a copy.
    pub fn into_payload(self) -> Payload {
        self.body.payload
    }

    /// The text, if it was sent as text. [`json`](Self::json) reads text, too.
    pub fn text(&self) -> Option<&str> {
        self.body.payload.text()
    }

    /// The JSON as it was sent, unread, if it was sent as JSON. [`json`](Self::json) reads it.
    pub fn as_json(&self) -> Option<&Json> {
        self.body.payload.as_json()
    }

    /// Responds, without waiting for a response to the response.
    ///
    /// # Errors
    /// [`SendError`], for the reasons for which [`Peer::send`] fails.
    pub async fn respond(&self, payload: impl IntoPayload) -> Result<(), SendError> {
        self.peer.send_with_id(&self.body.id, &payload.into_payload()).await
    }

    /// Queues a response, and never waits; see [`Peer::queue`].
    ///
    /// # Errors
    /// [`QueueError`]: the response is too large, or there is no room for it, and it comes back.
    pub fn queue_response(&self, payload: impl IntoPayload) -> Result<(), QueueError> {
        self.peer.queue_response_to(self.body.id.clone(), payload)
    }

    /// Responds, and waits for the response to that: the next channel of a chain.
    pub fn request(&self, payload: impl IntoPayload) -> Request {
        Request::new(self.peer.clone(), Some(self.body.id.clone()), payload.into_payload())
    }
}
