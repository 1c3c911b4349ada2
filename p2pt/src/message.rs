//! A received message.

use std::fmt;

use bytes::Bytes;
use p2pt_messaging::{IntoPayload, Json, Message as Body, MessageId, Payload};

use crate::send_queue::ToSend;
use crate::{Peer, QueueError, Request, SendError};

/// A complete message from a peer: a new one, or the response to a request.
///
/// Its `Debug` says how large the content is and of which kind, and does not print it.
#[derive(Clone)]
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

    /// Its content: text, JSON or bytes.
    pub fn payload(&self) -> &Payload {
        &self.body.payload
    }

    /// Its content, without a copy.
    pub fn into_payload(self) -> Payload {
        self.body.payload
    }

    /// The text, if it was sent as text. [`json`](Self::json) reads text, too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, _bob_events) = world.join("room").await;
    /// # bob.wait_for_peer().await?.queue_json(&serde_json::json!({ "city": "Ghent" }))?;
    /// # let message = loop {
    /// #     if let Some(p2pt::Event::Message(message)) = events.next().await {
    /// #         break message;
    /// #     }
    /// # };
    /// // What came was JSON, and no text.
    /// assert_eq!(message.text(), None);
    /// assert_eq!(message.as_json().map(|json| json.as_str()), Some(r#"{"city":"Ghent"}"#));
    /// # Ok(())
    /// # }
    /// ```
    pub fn text(&self) -> Option<&str> {
        self.body.payload.text()
    }

    /// The JSON as it was sent, unread, if it was sent as JSON. [`json`](Self::json) reads it.
    pub fn as_json(&self) -> Option<&Json> {
        self.body.payload.as_json()
    }

    /// The bytes, if it was sent as bytes.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.body.payload.as_bytes()
    }

    /// Responds, without waiting for a response to the response.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, _bob_events) = world.join("room").await;
    /// # bob.wait_for_peer().await?.queue_json(&serde_json::json!({ "city": "Ghent" }))?;
    /// # let message = loop {
    /// #     if let Some(p2pt::Event::Message(message)) = events.next().await {
    /// #         break message;
    /// #     }
    /// # };
    /// message.respond("nineteen degrees").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`], for the reasons for which [`Peer::send`] fails.
    pub async fn respond(&self, payload: impl IntoPayload) -> Result<(), SendError> {
        self.peer.send_with_id(&self.body.id, ToSend::response(payload.into_payload())).await
    }

    /// Queues a response, and never waits; see [`Peer::queue`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, _bob_events) = world.join("room").await;
    /// # bob.wait_for_peer().await?.queue_json(&serde_json::json!({ "city": "Ghent" }))?;
    /// # let message = loop {
    /// #     if let Some(p2pt::Event::Message(message)) = events.next().await {
    /// #         break message;
    /// #     }
    /// # };
    /// // In the event loop, which must not wait.
    /// message.queue_response("nineteen degrees")?;
    /// # Ok(())
    /// # }
    /// ```
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

    /// Of which kind the content is, and how many bytes of it there are, for what is shown without it.
    pub(crate) fn kind_and_bytes(&self) -> (&'static str, usize) {
        match self.payload() {
            Payload::Text(text) => ("text", text.len()),
            Payload::Json(json) => ("JSON", json.as_str().len()),
            payload => ("bytes", payload.len()),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = self.kind_and_bytes();
        f.debug_struct("Message")
            .field("peer", &self.peer)
            .field("id", &self.body.id)
            .field("kind", &format_args!("{kind}"))
            .field("bytes", &bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use p2pt_proto::PeerId;

    use super::*;
    use crate::Event;
    use crate::settings::Settings;

    #[test]
    fn its_debug_has_the_kind_and_the_size_but_not_the_content() {
        let peer = Peer::new(PeerId::from([0xab; 20]), None, Arc::new(Settings::alone(1000)));
        let message = |payload| Message::new(peer.clone(), Body { id: "7".parse().expect("an id"), payload });
        for (payload, kind, bytes) in [
            (Payload::from("secret"), "kind: text", "bytes: 6"),
            (Payload::json("secret").expect("JSON"), "kind: JSON", "bytes: 8"),
        ] {
            let message = message(payload);
            for shown in [format!("{message:?}"), format!("{:?}", Event::Message(message.clone()))] {
                assert!(!shown.contains("secret"), "{shown}");
                assert!(shown.contains(kind) && shown.contains(bytes) && shown.contains("abab"), "{shown}");
            }
        }
    }
}
