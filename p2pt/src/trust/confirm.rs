//! The first frame of each side on a channel between two peers that sign: each proves that it is the author of its
//! description.

use std::time::Duration;

use bytes::Bytes;
use p2pt_messaging::wire::{Frame as WireFrame, FrameKind, Frames, Hello};
use p2pt_rt::timeout;
use p2pt_transport::{Channel, Frame};
use p2pt_trust::{Confirmation, ConfirmationError, Expected, Features, PublicKey, Role, SafetyCode, Transcript};
use tracing::debug;

use super::descriptions::Proof;
use crate::RejectReason;
use crate::mux::{Greeting, SessionName};

/// How long the other side may take to prove itself: the frame follows the opening at once, so that this is for a line on
/// which it is lost several times.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(10);

/// What the other end of a channel has proven.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    pub(crate) key: PublicKey,
    pub(crate) safety_code: SafetyCode,
    /// Names the connection.
    pub(crate) transcript: Transcript,
    /// The channel's, which both ends see.
    pub(crate) label: Box<str>,
    /// What both sides say of their session, if both speak p2pt/2.
    pub(crate) greeting: Option<Box<Greeting>>,
}

/// Proves to the other end of a channel who this node is, and has it prove the same. Nothing that comes after its proof is
/// taken from the channel.
///
/// # Errors
/// Why it is not to be believed. The channel is to be closed then.
pub(crate) async fn confirm(channel: &mut Channel, proof: Proof, hello: Option<Hello>) -> Result<Proven, RejectReason> {
    let exchange = async {
        // That the channel has closed is seen by what is received, too.
        let _ = channel.sender.send(Frame::Binary(proof.frame(hello.as_ref()))).await;
        channel.receiver.recv().await
    };
    let frame = match timeout(CONFIRMATION_TIMEOUT, exchange).await {
        Ok(Ok(frame)) => frame,
        Ok(Err(reason)) => {
            debug!(%reason, "the channel closed before the peer had proven its key");
            return Err(RejectReason::NotConfirmed);
        }
        Err(_) => {
            debug!(after = ?CONFIRMATION_TIMEOUT, "the peer has not proven its key in time");
            return Err(RejectReason::NotConfirmed);
        }
    };
    let own = hello.and_then(|hello| hello.session_name);
    proof.verify(&frame, &channel.info.label, own)
}

impl Proof {
    /// This side's proof, and what it can.
    fn frame(&self, hello: Option<&Hello>) -> Bytes {
        let member = self.room.as_ref().map(|room| room.member_key());
        let confirmation = Confirmation::new(self.identity.key(), self.role, &self.transcript, &self.nonce, member);
        let mut bytes = Vec::with_capacity(160);
        let plain = || Hello { features: Features::AUTH.to_owned(), ..Hello::default() };
        let hello = hello.cloned().unwrap_or_else(plain).encode().unwrap_or_default();
        let frames = [(FrameKind::AUTH, confirmation.encode()), (FrameKind::HELLO, hello)];
        for (kind, body) in &frames {
            // It fails for kinds that are no integers of the wire alone.
            let encoded = WireFrame { kind: *kind, body }.encode(&mut bytes);
            debug_assert!(encoded.is_ok());
        }
        bytes.into()
    }

    /// Whether the other side's first frame proves that it is the author of its description.
    fn verify(&self, frame: &Frame, label: &str, own: Option<SessionName>) -> Result<Proven, RejectReason> {
        let Frame::Binary(bytes) = frame else {
            debug!("the peer's first frame is text, and should be the proof of its key");
            return Err(RejectReason::NotConfirmed);
        };
        let mut frames = Frames::new(bytes);
        let Some(Ok(WireFrame { kind: FrameKind::AUTH, body })) = frames.next() else {
            debug!("the peer's first frame is not the proof of its key");
            return Err(RejectReason::NotConfirmed);
        };
        let mut hello = Hello::default();
        for frame in frames {
            let is_well = match frame {
                Ok(frame) if frame.kind == FrameKind::HELLO => {
                    Hello::decode(frame.body).map(|theirs| hello = theirs).is_ok()
                }
                // What a later version says behind it.
                Ok(_) => true,
                Err(_) => false,
            };
            if !is_well {
                debug!("what stands behind the proof of the peer's key is malformed");
                return Err(RejectReason::NotConfirmed);
            }
        }
        // A room that can be joined without its secret asks for no proof of it.
        let room = self.room.as_ref().filter(|room| room.is_sealed()).map(|room| room.member_key());
        let expected = Expected {
            key: &self.theirs.key,
            commitment: &self.theirs.commitment,
            role: self.role.other(),
            transcript: &self.transcript,
            room,
        };
        let verified = Confirmation::decode(body).and_then(|confirmation| confirmation.verify(&expected));
        let nonce = verified.map_err(|error| {
            debug!(%error, "the peer does not prove its key");
            match error {
                ConfirmationError::NotAMember { .. } => RejectReason::WrongRoom,
                ConfirmationError::Length { .. } => RejectReason::NotConfirmed,
                _ => RejectReason::BadSignature,
            }
        })?;
        let (offerer, answerer) = match self.role {
            Role::Offer => (&self.nonce, &nonce),
            Role::Answer => (&nonce, &self.nonce),
        };
        let safety_code = SafetyCode::new(&self.transcript, offerer, answerer);
        let greeting = own.and_then(|own| Greeting::new(own, hello)).map(Box::new);
        let (key, transcript, label) = (self.theirs.key, self.transcript, label.into());
        Ok(Proven { key, safety_code, transcript, label, greeting })
    }
}
