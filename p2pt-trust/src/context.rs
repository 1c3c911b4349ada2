//! Where a description belongs.

use std::fmt;

use p2pt_proto::{InfoHash, PeerId};

use crate::encoding::{HASH_BYTES, sha256};

/// Which of two descriptions one is, and so who its author is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The offer, and who made it.
    Offer,
    /// The answer, and who made it.
    Answer,
}

impl Role {
    /// The word for it in what is hashed and signed.
    pub(crate) fn word(self) -> &'static [u8] {
        match self {
            Self::Offer => b"offer",
            Self::Answer => b"answer",
        }
    }

    /// The role of the other side.
    pub fn other(self) -> Self {
        match self {
            Self::Offer => Self::Answer,
            Self::Answer => Self::Offer,
        }
    }
}

/// Names a description: the SHA-256 of its text, exactly as trackers carry it, sealed or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SdpHash(pub(crate) [u8; HASH_BYTES]);

impl SdpHash {
    /// The hash of what stands in an `sdp` field.
    pub fn of(sdp: &str) -> Self {
        Self(sha256(&[sdp.as_bytes()]))
    }

    /// The hash's bytes.
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl From<[u8; HASH_BYTES]> for SdpHash {
    fn from(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SdpHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "SdpHash({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// Where a description belongs: a swarm, its author's peer id and, of an answer, the offer that it answers.
///
/// Both sides know all of it from the frames of the tracker. A signature and a seal hold in one context only, so that a
/// description is worth nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub(crate) swarm: InfoHash,
    pub(crate) author: PeerId,
    answers: Option<(SdpHash, PeerId)>,
}

impl Context {
    /// An offer of `author` in this swarm.
    pub fn offer(swarm: InfoHash, author: PeerId) -> Self {
        Self { swarm, author, answers: None }
    }

    /// The answer of `author` to this offer of `offerer`.
    pub fn answer(swarm: InfoHash, author: PeerId, offer: SdpHash, offerer: PeerId) -> Self {
        Self { swarm, author, answers: Some((offer, offerer)) }
    }

    /// Which of the two descriptions it is about.
    pub fn role(&self) -> Role {
        if self.answers.is_some() { Role::Answer } else { Role::Offer }
    }

    /// The peer id under which the description came, or goes.
    pub fn author(&self) -> PeerId {
        self.author
    }

    /// The offer that is answered and who made it; `None` for an offer.
    pub(crate) fn answered(&self) -> Option<(SdpHash, PeerId)> {
        self.answers
    }

    /// Its fields in what is signed and sealed: role, swarm and author, and of an answer the offer's hash and offerer.
    pub(crate) fn fields(&self) -> Vec<&[u8]> {
        let mut fields: Vec<&[u8]> = vec![self.role().word(), self.swarm.as_bytes(), self.author.as_bytes()];
        if let Some((offer, offerer)) = &self.answers {
            fields.extend([&offer.0[..], offerer.as_bytes()]);
        }
        fields
    }
}
