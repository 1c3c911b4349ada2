//! What the application and a candidate say to each other before the candidate is a peer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use p2pt_messaging::{Chunks, IntoPayload, Limits, MessageId, Payload, Progress, Reassembler};
use p2pt_proto::{InfoHash, PeerId};
use p2pt_rt::timeout;
use p2pt_transport::{Channel, ChannelClosed, Frame, Role};
use p2pt_trust::{PublicKey, SafetyCode};
use tracing::{debug, error};

use crate::RejectReason;
use crate::connections::Opened;

/// The largest message of a handshake, in bytes: proofs, invitations and names are far smaller.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Memory of what is incomplete, and of what came between the parts of a message.
const MAX_HELD_BYTES: usize = 256 << 10;

/// Who wants to be a peer: its channel is open, and its key is proven if it has one. For
/// [`Builder::handshake`](crate::Builder::handshake).
///
/// Messages are those of any peer, text or JSON, of 64 KiB at most. Each side must send as many as the other receives:
/// what is not received here comes as the peer's first messages.
#[derive(Debug)]
pub struct Candidate {
    peer_id: PeerId,
    info_hash: InfoHash,
    opened: Box<Opened>,
    reassembler: Reassembler,
    next_id: u64,
    /// Tells one candidate from another.
    token: Arc<()>,
}

/// That the application has accepted a candidate: what [`Candidate::accept`] makes.
#[derive(Debug)]
pub struct Accepted {
    opened: Box<Opened>,
    token: Arc<()>,
}

/// A handshake cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The channel has closed.
    #[error("the candidate has gone: {0}")]
    Gone(ChannelClosed),
    /// The message is larger than one of a handshake may be.
    #[error("{bytes} bytes are too many for a message of a handshake: at most {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// What the candidate sent is no message, or one that is too large.
    #[error("what the candidate sent is no message of a handshake: {0}")]
    Invalid(String),
    /// The application has turned the candidate away, for the reason given.
    #[error("{0}")]
    Refused(String),
}

impl Candidate {
    /// The id that it will have as a peer.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The swarm.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Its key, which it has proven; `None` as for a [`Peer`](crate::Peer::public_key).
    pub fn public_key(&self) -> Option<PublicKey> {
        self.opened.proven.as_ref().map(|proven| proven.key)
    }

    /// As that of a [`Peer`](crate::Peer::safety_code).
    pub fn safety_code(&self) -> Option<SafetyCode> {
        self.opened.proven.as_ref().map(|proven| proven.safety_code)
    }

    /// This node's side, by which the two know who begins.
    pub fn role(&self) -> Role {
        self.opened.channel.info.role
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`HandshakeError::Gone`], [`HandshakeError::TooLarge`].
    pub async fn send(&mut self, payload: impl IntoPayload) -> Result<(), HandshakeError> {
        let payload = payload.into_payload();
        let bytes = payload.len();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(HandshakeError::TooLarge { bytes, max: MAX_MESSAGE_BYTES });
        }
        self.next_id += 1;
        let (id, Channel { sender, info, .. }) = (MessageId::from(self.next_id), &self.opened.channel);
        let budget = p2pt_messaging::DEFAULT_BUDGET.min(info.good_frame_bytes);
        let chunks = Chunks::new(&id, &payload, budget).map_err(|error| HandshakeError::Invalid(error.to_string()))?;
        for frame in chunks {
            if sender.send(Frame::text(frame)).await.is_err() {
                return Err(HandshakeError::Gone(sender.closed().await));
            }
        }
        Ok(())
    }

    /// The candidate's next message.
    ///
    /// # Errors
    /// [`HandshakeError::Gone`], [`HandshakeError::Invalid`].
    pub async fn receive(&mut self) -> Result<Payload, HandshakeError> {
        loop {
            let frame = self.opened.channel.receiver.recv().await.map_err(HandshakeError::Gone)?;
            let Frame::Text(text) = &frame else {
                return Err(HandshakeError::Invalid("a binary frame".to_owned()));
            };
            match self.reassembler.push(crate::now(), text) {
                Ok(Progress::Complete(message)) => return Ok(message.payload),
                Ok(Progress::Foreign(why)) => return Err(HandshakeError::Invalid(why.to_string())),
                Ok(_) => {}
                Err(error) => return Err(HandshakeError::Invalid(error.to_string())),
            }
        }
    }

    /// Accepts it: what the function given to [`Builder::handshake`](crate::Builder::handshake) returns in the end.
    pub fn accept(self) -> Accepted {
        Accepted { opened: self.opened, token: self.token }
    }

    /// The error that turns it away. The candidate is told nothing but that the channel closes.
    pub fn refuse(&self, reason: impl Into<String>) -> HandshakeError {
        HandshakeError::Refused(reason.into())
    }
}

type Shaking = Pin<Box<dyn Future<Output = Result<Accepted, HandshakeError>> + Send>>;

/// What the application does with each candidate, and how long it may take.
#[derive(Clone)]
pub(crate) struct Handshake {
    shake: Arc<dyn Fn(Candidate) -> Shaking + Send + Sync>,
    deadline: Duration,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Handshake {
    pub(crate) fn new<F>(deadline: Duration, shake: impl Fn(Candidate) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Accepted, HandshakeError>> + Send + 'static,
    {
        Self { shake: Arc::new(move |candidate| Box::pin(shake(candidate))), deadline }
    }

    /// Has the application speak with the other end of a channel.
    pub(crate) async fn shake(
        &self,
        opened: Opened,
        info_hash: InfoHash,
        peer_id: PeerId,
    ) -> Result<Opened, RejectReason> {
        let limits = Limits::default().max_message_bytes(MAX_MESSAGE_BYTES).max_held_bytes(MAX_HELD_BYTES);
        let (reassembler, token) = (Reassembler::new(limits), Arc::new(()));
        let candidate =
            Candidate { peer_id, info_hash, opened: Box::new(opened), reassembler, next_id: 0, token: token.clone() };
        // In a task of its own, so that a panic of the application ends this attempt alone: also one before its future is made.
        let mut task = p2pt_rt::JoinSet::new();
        let shake = self.shake.clone();
        task.spawn(async move { shake(candidate).await });
        match timeout(self.deadline, task.join_next()).await {
            Ok(Some(Ok(Ok(accepted)))) if Arc::ptr_eq(&accepted.token, &token) => return Ok(*accepted.opened),
            Ok(Some(Ok(Ok(_)))) => error!("a handshake accepted another candidate than its own; both are turned away"),
            Ok(Some(Ok(Err(error)))) => debug!(%error, "the application has not accepted the candidate"),
            Ok(_) => error!("a handshake panicked; the candidate is turned away"),
            Err(_) => debug!(deadline = ?self.deadline, "the handshake has not ended in time"),
        }
        Err(RejectReason::Refused)
    }
}
