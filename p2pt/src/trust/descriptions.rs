//! Descriptions on their way through trackers: signed and sealed on the way out, opened and verified on the way in.

use std::sync::Arc;

use p2pt_proto::{InfoHash, PeerId};
use p2pt_transport::TransportError;
use p2pt_trust::{
    Context, Described, Features, NodeIdentity, Nonce, PublicKey, Role, SdpHash, SealError, SightingContext, Signed,
    TrackerHost, Transcript, is_sealed, is_sighting, mark_description, open, seal, sight, sign_description,
    verify_description, verify_sighting,
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

/// What is kept of a description of this node.
#[derive(Debug)]
pub(crate) struct OwnDescription {
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

/// What has come in the place of an answer.
#[derive(Debug)]
pub(crate) enum ReadAnswer {
    Answer(ReadDescription),
    /// The holder of the key from which the id follows is connected already, and has seen the offer at the tracker.
    Sighting,
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

    /// An offer as trackers carry it.
    pub(crate) fn offer(
        &self,
        sdp: &str,
        rng: &mut impl CryptoRng,
    ) -> Result<(String, OwnDescription), TransportError> {
        self.write(sdp, &Context::offer(self.swarm, self.own), rng)
    }

    /// The answer to an offer as trackers carry it.
    pub(crate) fn answer(
        &self,
        sdp: &str,
        (offer, offerer): (SdpHash, PeerId),
        rng: &mut impl CryptoRng,
    ) -> Result<(String, OwnDescription), TransportError> {
        self.write(sdp, &Context::answer(self.swarm, self.own, offer, offerer), rng)
    }

    fn write(
        &self,
        sdp: &str,
        context: &Context,
        rng: &mut impl CryptoRng,
    ) -> Result<(String, OwnDescription), TransportError> {
        let nonce = Nonce::draw(rng);
        let text = match &self.identity {
            Some(identity) => {
                let features = Features::of([Features::AUTH]);
                sign_description(sdp, context, identity, &features, &nonce.commitment())
                    .map_err(|error| TransportError::Backend(error.into()))?
            }
            None => mark_description(sdp),
        };
        let text = self.sealed(text, context, rng).map_err(|error| TransportError::Backend(error.into()))?;
        let own = OwnDescription { hash: SdpHash::of(&text), nonce };
        Ok((text, own))
    }

    /// Reads an offer of another peer.
    pub(crate) fn read_offer(&self, sdp: String, from: PeerId) -> Result<ReadDescription, RejectReason> {
        let context = Context::offer(self.swarm, from);
        let (hash, sdp) = (SdpHash::of(&sdp), self.opened(sdp, &context)?);
        self.read(sdp, hash, &context)
    }

    /// Reads another peer's answer to an offer of this node, which came by this tracker.
    pub(crate) fn read_answer(
        &self,
        sdp: String,
        from: PeerId,
        offer: SdpHash,
        tracker: TrackerHost,
    ) -> Result<ReadAnswer, RejectReason> {
        let context = Context::answer(self.swarm, from, offer, self.own);
        let (hash, sdp) = (SdpHash::of(&sdp), self.opened(sdp, &context)?);
        match SightingContext::of_answer(&context, tracker).filter(|_| is_sighting(&sdp)) {
            Some(sighting) => verify_sighting(&sdp, &sighting).map(|_| ReadAnswer::Sighting).map_err(|error| {
                debug!(%error, "a sighting does not hold");
                RejectReason::BadSignature
            }),
            None => self.read(sdp, hash, &context).map(ReadAnswer::Answer),
        }
    }

    /// What is sent in the place of an answer to a peer that is connected already, and has made this offer, which came by
    /// this tracker; nothing for a node that does not sign.
    pub(crate) fn sighting(
        &self,
        (offer, offerer): (SdpHash, PeerId),
        tracker: TrackerHost,
        rng: &mut impl CryptoRng,
    ) -> Option<String> {
        let context = Context::answer(self.swarm, self.own, offer, offerer);
        let text = sight(&SightingContext::of_answer(&context, tracker)?, self.identity.as_ref()?);
        self.sealed(text, &context, rng).ok()
    }

    /// A text as the swarm's trackers carry it.
    fn sealed(&self, text: String, context: &Context, rng: &mut impl CryptoRng) -> Result<String, SealError> {
        match self.room.as_ref().filter(|room| room.is_sealed()) {
            Some(room) => seal(&text, context, room.seal_key(), rng),
            None => Ok(text),
        }
    }

    /// A text as its author wrote it.
    fn opened(&self, sdp: String, context: &Context) -> Result<String, RejectReason> {
        match &self.room {
            Some(room) if room.is_sealed() || is_sealed(&sdp) => {
                open(&sdp, context, room.seal_key()).map_err(|error| {
                    debug!(%error, "a description is not one of this room");
                    RejectReason::WrongRoom
                })
            }
            None if is_sealed(&sdp) => Err(RejectReason::WrongRoom),
            _ => Ok(sdp),
        }
    }

    fn read(&self, sdp: String, hash: SdpHash, context: &Context) -> Result<ReadDescription, RejectReason> {
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
