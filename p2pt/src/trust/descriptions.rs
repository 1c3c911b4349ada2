//! Descriptions on their way through trackers: signed and sealed on the way out, opened and verified on the way in.

use std::sync::Arc;

use p2pt_proto::{InfoHash, PeerId};
use p2pt_transport::TransportError;
use p2pt_trust::{
    Context, Described, Features, NodeIdentity, Nonce, PublicKey, Role, SdpHash, Signed, Transcript, is_sealed,
    mark_description, open, seal, sign_description, verify_description,
};
use rand::CryptoRng;
use tracing::debug;

use super::room::Room;
use crate::RejectReason;

/// How descriptions of one swarm are written and read.
#[derive(Debug, Clone)]
pub(crate) struct Descriptions {
    swarm: InfoHash,
    own: PeerId,
    identity: Option<Arc<NodeIdentity>>,
    room: Option<Arc<Room>>,
}

/// A description of this node, as trackers carry it.
#[derive(Debug)]
pub(crate) struct OwnDescription {
    pub(crate) sdp: String,
    hash: SdpHash,
    nonce: Nonce,
}

impl OwnDescription {
    /// What an answer to it, or its author, knows it by.
    pub(crate) fn hash(&self) -> SdpHash {
        self.hash
    }
}

/// Who made a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Author {
    /// Another library, or it looks so.
    JavaScript,
    /// A node of this library of which nothing is proven.
    Unsigned,
    /// The holder of a key, which it proves once more when the channel is open.
    Signed(Signed),
}

/// A description of another peer.
#[derive(Debug)]
pub(crate) struct ReadDescription {
    /// The text for the transport.
    pub(crate) sdp: String,
    pub(crate) hash: SdpHash,
    pub(crate) author: Author,
}

impl ReadDescription {
    /// The author's key, if the description is signed.
    pub(crate) fn key(&self) -> Option<&PublicKey> {
        match &self.author {
            Author::Signed(signed) => Some(&signed.key),
            _ => None,
        }
    }
}

/// What both ends of an open channel have to prove to each other.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) role: Role,
    pub(super) transcript: Transcript,
    pub(super) nonce: Nonce,
    pub(super) theirs: Signed,
    pub(super) room: Option<Arc<Room>>,
}

impl Descriptions {
    pub(crate) fn new(
        swarm: InfoHash,
        own: PeerId,
        identity: Option<Arc<NodeIdentity>>,
        room: Option<Arc<Room>>,
    ) -> Self {
        Self { swarm, own, identity, room }
    }

    /// Makes an offer ready for trackers.
    pub(crate) fn offer(&self, sdp: &str, rng: &mut impl CryptoRng) -> Result<OwnDescription, TransportError> {
        self.write(sdp, &Context::offer(self.swarm, self.own), rng)
    }

    /// Makes the answer to an offer ready for trackers.
    pub(crate) fn answer(
        &self,
        sdp: &str,
        (offer, offerer): (SdpHash, PeerId),
        rng: &mut impl CryptoRng,
    ) -> Result<OwnDescription, TransportError> {
        self.write(sdp, &Context::answer(self.swarm, self.own, offer, offerer), rng)
    }

    fn write(&self, sdp: &str, context: &Context, rng: &mut impl CryptoRng) -> Result<OwnDescription, TransportError> {
        let nonce = Nonce::draw(rng);
        let mut text = match &self.identity {
            Some(identity) => {
                let features = Features::of([Features::AUTH]);
                sign_description(sdp, context, identity, &features, &nonce.commitment())
                    .map_err(|error| TransportError::Backend(error.into()))?
            }
            None => mark_description(sdp),
        };
        if let Some(room) = self.room.as_ref().filter(|room| room.is_sealed()) {
            text = seal(&text, context, room.seal_key(), rng).map_err(|error| TransportError::Backend(error.into()))?;
        }
        Ok(OwnDescription { hash: SdpHash::of(&text), sdp: text, nonce })
    }

    /// Reads an offer of another peer.
    pub(crate) fn read_offer(&self, sdp: String, from: PeerId) -> Result<ReadDescription, RejectReason> {
        self.read(sdp, &Context::offer(self.swarm, from))
    }

    /// Reads another peer's answer to an offer of this node.
    pub(crate) fn read_answer(
        &self,
        sdp: String,
        from: PeerId,
        offer: SdpHash,
    ) -> Result<ReadDescription, RejectReason> {
        self.read(sdp, &Context::answer(self.swarm, from, offer, self.own))
    }

    fn read(&self, sdp: String, context: &Context) -> Result<ReadDescription, RejectReason> {
        let hash = SdpHash::of(&sdp);
        let sdp = match &self.room {
            Some(room) if room.is_sealed() || is_sealed(&sdp) => {
                open(&sdp, context, room.seal_key()).map_err(|error| {
                    debug!(%error, "a description is not one of this room");
                    RejectReason::WrongRoom
                })?
            }
            None if is_sealed(&sdp) => return Err(RejectReason::WrongRoom),
            _ => sdp,
        };
        let author = match verify_description(&sdp, context) {
            Ok(Described::Signed(signed)) if self.identity.is_some() => Author::Signed(signed),
            Ok(Described::Signed(_) | Described::Unsigned { mark: Some(_) }) => Author::Unsigned,
            Ok(_) => Author::JavaScript,
            Err(error) => {
                debug!(%error, "a description does not hold");
                return Err(RejectReason::BadSignature);
            }
        };
        Ok(ReadDescription { sdp, hash, author })
    }

    /// What is to be proven on the channel that an offer and an answer lead to; nothing if one side does not sign.
    pub(crate) fn proof(&self, own: &OwnDescription, role: Role, theirs: &SdpHash, author: &Author) -> Option<Proof> {
        let (Author::Signed(signed), Some(identity)) = (author, &self.identity) else { return None };
        let transcript = match role {
            Role::Offer => Transcript::new(&own.hash, theirs),
            Role::Answer => Transcript::new(theirs, &own.hash),
        };
        Some(Proof {
            identity: identity.clone(),
            role,
            transcript,
            nonce: own.nonce.clone(),
            theirs: signed.clone(),
            room: self.room.clone(),
        })
    }
}
