//! A message that is to be sent with more than its content.

use std::fmt;

use p2pt_messaging::wire::Urgency;
use p2pt_messaging::{IntoPayload, MessageId, Payload};

use crate::send_queue::{Outgoing, ToSend};
use crate::{Message, Peer, PendingSend, QueueError, SendError};

/// A message that has not been sent yet, from [`Peer::message`]: with an urgency, or to be acknowledged.
///
/// Its `Debug` says how large it is, and does not print it.
#[must_use = "a message is sent by one of its methods"]
pub struct OutgoingMessage {
    peer: Peer,
    response_to: Option<MessageId>,
    payload: Payload,
    urgency: Urgency,
}

impl Peer {
    /// A message that is to be sent with an [urgency](OutgoingMessage::urgency), or to be
    /// [acknowledged](OutgoingMessage::acknowledged).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (_bob, mut bob_events) = world.join("room").await;
    /// # tokio::spawn(async move { while bob_events.next().await.is_some() {} });
    /// # let peer = swarm.wait_for_peer().await?;
    /// use p2pt::Urgency;
    ///
    /// // Bytes, which the other node has when this is done.
    /// peer.message(vec![0, 159, 146, 150]).acknowledged().await?;
    /// // It overtakes what is less urgent, also in the midst of a large message.
    /// peer.message("stop!").urgency(Urgency::URGENT).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn message(&self, payload: impl IntoPayload) -> OutgoingMessage {
        OutgoingMessage {
            peer: self.clone(),
            response_to: None,
            payload: payload.into_payload(),
            urgency: Urgency::DEFAULT,
        }
    }
}

impl Message {
    /// A response that is to be sent with an urgency, or to be acknowledged, as [`Peer::message`].
    pub fn response(&self, payload: impl IntoPayload) -> OutgoingMessage {
        OutgoingMessage { response_to: Some(self.id().clone()), ..self.peer().message(payload) }
    }
}

impl OutgoingMessage {
    /// How urgent it is: what is more urgent overtakes what is less, and order holds among what is equally urgent. Between
    /// peers of which one speaks p2pt/1 everything is equally urgent.
    pub fn urgency(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }

    fn parts(self) -> (Peer, MessageId, Outgoing) {
        let Self { peer, response_to, payload, urgency } = self;
        let response = response_to.is_some();
        let id = response_to.unwrap_or_else(|| peer.shared().new_id());
        (peer, id, Outgoing::of(payload, urgency, response))
    }

    /// Sends it as [`Peer::send`] does.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(self) -> Result<(), SendError> {
        let (peer, id, message) = self.parts();
        peer.send_with_id(&id, ToSend::Owned(message)).await
    }

    /// Sends it, and waits until the other side has it: until it is in the other node's inbox, or about to be. A future that
    /// is dropped before takes the message back, unless all of it was sent.
    ///
    /// # Errors
    /// [`SendError`]; [`SendError::PeerGone`] where it is not known whether the other side has it, in which case
    /// [`PeerClosed::returned`](crate::PeerClosed) has it too; [`SendError::NoAcknowledgements`] for a peer of p2pt/1, to
    /// which it is not sent.
    pub async fn acknowledged(self) -> Result<(), SendError> {
        let (peer, id, message) = self.parts();
        peer.send_acknowledged(id, message.into()).await
    }

    /// Queues it as [`Peer::queue_confirmed`] does. The [`PendingSend`] says how far it has come, and takes it back.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn queue(self) -> Result<PendingSend, QueueError> {
        let (peer, id, message) = self.parts();
        peer.confirmed(id, message.into())
    }
}

impl fmt::Debug for OutgoingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingMessage")
            .field("peer", &self.peer)
            .field("response_to", &self.response_to)
            .field("bytes", &self.payload.len())
            .field("urgency", &self.urgency)
            .finish()
    }
}
