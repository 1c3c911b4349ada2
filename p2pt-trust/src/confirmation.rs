//! The proof that the other end of a channel is the author of a description.

use std::fmt;

use hmac::{Hmac, Mac};
use rand::CryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::context::{Role, SdpHash};
use crate::encoding::{HASH_BYTES, fields, hash, sha256};
use crate::key::{NodeKey, PublicKey, SIGNATURE_BYTES};
use crate::room::MemberKey;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 32;

/// Names a connection: the two descriptions that made it, each exactly as a tracker carried it from its author.
///
/// Two ends have the same one only if nothing on the way has changed either description, so what is signed or agreed upon
/// over it holds for this connection alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transcript(pub(crate) [u8; HASH_BYTES]);

impl Transcript {
    /// The transcript of an offer and the answer to it.
    pub fn new(offer: &SdpHash, answer: &SdpHash) -> Self {
        Self(sha256(&[&offer.0, &answer.0]))
    }

    /// The transcript's bytes.
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Transcript({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// Random bytes that a side binds itself to in its description and reveals once both descriptions are known.
///
/// Both sides' nonces make the [`SafetyCode`](crate::SafetyCode). Since each was bound to before the other was known, no
/// side, and no peer between them, can look for one that makes two codes alike. It is drawn anew for each description,
/// secret until it is revealed, shown nowhere and erased when dropped.
#[derive(Clone)]
pub struct Nonce(pub(crate) Zeroizing<[u8; NONCE_BYTES]>);

impl Nonce {
    /// A new nonce.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut nonce = Self(Zeroizing::new([0; NONCE_BYTES]));
        rng.fill_bytes(&mut *nonce.0);
        nonce
    }

    /// What binds to the nonce and does not give it away.
    pub fn commitment(&self) -> Commitment {
        Commitment(hash("p2pt/commitment/1", &[&*self.0]))
    }
}

impl From<[u8; NONCE_BYTES]> for Nonce {
    fn from(bytes: [u8; NONCE_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl PartialEq for Nonce {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for Nonce {}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// Binds the author of a description to a [`Nonce`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment(pub(crate) [u8; HASH_BYTES]);

impl Commitment {
    /// The commitment's bytes.
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

/// The other end of a channel has not proven what it should. The channel is to be closed, and nothing of what came over it
/// to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmationError {
    /// The bytes are no confirmation.
    #[error("a confirmation has 96 bytes, or 128 in a room with a secret, and this one has {found}")]
    Length {
        /// Bytes there are.
        found: usize,
    },
    /// The nonce is not the one that the description binds to.
    #[error("the nonce of the confirmation is not the one that the description of {key} is bound to")]
    OtherNonce {
        /// The key in the description.
        key: PublicKey,
    },
    /// The other end has not the key of the description, or it saw other descriptions than this side did: another
    /// peer stands between the two.
    #[error("the other end did not prove the key {key} for this connection: somebody may stand between")]
    BadSignature {
        /// The key in the description.
        key: PublicKey,
    },
    /// The other end does not prove that it knows the room's secret.
    #[error("the other end ({key}) does not know the secret of the room")]
    NotAMember {
        /// The key in the description.
        key: PublicKey,
    },
}

/// What a confirmation is verified against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The key in the other side's description.
    pub key: &'a PublicKey,
    /// The commitment in the other side's description.
    pub commitment: &'a Commitment,
    /// The other side's role.
    pub role: Role,
    /// The transcript as this side knows it.
    pub transcript: &'a Transcript,
    /// The room's, if the swarm has a secret.
    pub room: Option<&'a MemberKey>,
}

/// The first frame of each side on an open channel: proof that it is the author of its description, on this connection.
///
/// Without it a signed description could be signed anew by another peer as its own, and the two authentic ends of the
/// connection would each believe that they speak with that one (RFC 8844). It takes no round trip of its own: each side
/// sends it at once.
#[derive(Clone, PartialEq, Eq)]
pub struct Confirmation {
    signature: [u8; SIGNATURE_BYTES],
    nonce: Nonce,
    membership: Option<[u8; HASH_BYTES]>,
}

impl Confirmation {
    /// Proves that this side is the author of its description.
    pub fn new(key: &NodeKey, role: Role, transcript: &Transcript, nonce: &Nonce, room: Option<&MemberKey>) -> Self {
        let signature = key.sign(&fields("p2pt/auth/1", &[role.word(), &transcript.0]));
        let membership = room.map(|room| membership(room, role, transcript).finalize().into_bytes().into());
        Self { signature, nonce: nonce.clone(), membership }
    }

    /// Whether the other side has proven all that is expected; the nonce that it has revealed.
    ///
    /// What a side proves beyond that does not matter: in a room that is merely hidden, one may prove its membership and the
    /// other not ask for it.
    pub fn verify(&self, expected: &Expected<'_>) -> Result<Nonce, ConfirmationError> {
        let Expected { key, commitment, role, transcript, room } = *expected;
        if self.nonce.commitment() != *commitment {
            return Err(ConfirmationError::OtherNonce { key: *key });
        }
        if !key.verifies(&fields("p2pt/auth/1", &[role.word(), &transcript.0]), &self.signature) {
            return Err(ConfirmationError::BadSignature { key: *key });
        }
        if let Some(room) = room {
            let proof = self.membership.ok_or(ConfirmationError::NotAMember { key: *key })?;
            let proven = membership(room, role, transcript).verify_slice(&proof);
            proven.map_err(|_| ConfirmationError::NotAMember { key: *key })?;
        }
        Ok(self.nonce.clone())
    }

    /// The bytes of the frame: signature, nonce and, in a room with a secret, the proof of membership.
    pub fn encode(&self) -> Vec<u8> {
        let membership = self.membership.iter().flatten();
        self.signature.iter().chain(&*self.nonce.0).chain(membership).copied().collect()
    }

    /// Reads what [`encode`](Self::encode) writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfirmationError> {
        let wrong = ConfirmationError::Length { found: bytes.len() };
        let (signature, rest) = bytes.split_first_chunk().ok_or(wrong)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(wrong)?;
        let membership = match rest.len() {
            0 => None,
            HASH_BYTES => Some(rest.try_into().map_err(|_| wrong)?),
            _ => return Err(wrong),
        };
        Ok(Self { signature: *signature, nonce: Nonce::from(*nonce), membership })
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation").field("membership", &self.membership.is_some()).finish_non_exhaustive()
    }
}

/// Proves the knowledge of a room's secret, on this connection and for this side.
fn membership(room: &MemberKey, role: Role, transcript: &Transcript) -> Hmac<Sha256> {
    let mut mac = room.mac();
    mac.update(&fields("p2pt/member/1", &[role.word(), &transcript.0]));
    mac
}

#[cfg(test)]
#[path = "confirmation_tests.rs"]
mod tests;
