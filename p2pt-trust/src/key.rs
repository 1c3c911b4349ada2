//! The keys by which nodes are known, and the peer ids that follow from them.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use p2pt_proto::PeerId;
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::encoding::{Letters, hash};

/// Bytes of a key, secret or public.
pub(crate) const KEY_BYTES: usize = 32;

/// Bytes of a signature.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// Bytes of a salt.
pub(crate) const SALT_BYTES: usize = 16;

/// Letters that 32 bytes take in base32.
const KEY_LETTERS: usize = 52;

/// What stands before the letters of a secret key, so that it is not given away for a public one by mistake.
const SECRET_PREFIX: &str = "p2pt-secret-";

/// Text or bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not as long as a key.
    #[error("a public key has 52 letters and digits, and this text has {found} characters")]
    Length {
        /// Characters there are.
        found: usize,
    },
    /// The text has a character that is none of `a` to `z` and `2` to `7`, or a last one that no key ends with.
    #[error("a key is written with the letters a to z and the digits 2 to 7, and ends with a, or with q")]
    Alphabet,
    /// The bytes are no point of the curve, or one for which signatures can be made without a secret.
    #[error("these are 32 bytes, but nobody can have this key: there is a mistake in it")]
    NoKey,
    /// The text is no secret key.
    #[error("a secret key begins with \"p2pt-secret-\", and 52 letters and digits follow")]
    NoSecret,
    /// The text is a secret key where a public one belongs.
    #[error("this is a secret key, which nobody else should see; the public key belongs here")]
    Secret,
}

/// The secret key of a node: Ed25519.
///
/// It is drawn once and kept, or drawn for each run. It is erased from memory when it is dropped, and shown nowhere;
/// comparing takes the same time whatever the keys are.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// A new key.
    pub fn random() -> Self {
        Self::draw(&mut rand::rng())
    }

    /// A new key of this source of randomness.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(&bytes)
    }

    /// The key with these 32 bytes, which are the seed of RFC 8032.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The 32 bytes of the key. A program that has them is this node.
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The key as text for a file: `p2pt-secret-` and 52 letters.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SECRET_PREFIX.len() + KEY_LETTERS));
        text.push_str(SECRET_PREFIX);
        Letters::Base32.write(&*self.to_bytes(), &mut text);
        text
    }

    /// Reads what [`reveal`](Self::reveal) writes; spaces and line breaks around it do not matter.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let letters = text.trim().strip_prefix(SECRET_PREFIX).ok_or(KeyError::NoSecret)?;
        let bytes = Zeroizing::new(from_letters(letters).map_err(|_| KeyError::NoSecret)?);
        Ok(Self::from_bytes(&bytes))
    }

    /// The public key, by which others know the node.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl PartialEq for NodeKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for NodeKey {}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeKey").field(&self.public_key()).finish()
    }
}

/// The public key of a node: who it is, from run to run.
///
/// `Display` and `FromStr` use 52 letters and digits (base32 of RFC 4648, in lower case, without padding), `Debug` the first
/// eight. Reading takes capitals too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// The key with these bytes, if it is one that a node can have: a point of the curve, in its one encoding, and not of
    /// the few for which signatures can be made without a secret.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::NoKey)?;
        if key.is_weak() || !is_canonical(&bytes) { Err(KeyError::NoKey) } else { Ok(Self(bytes)) }
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The peer id that a node with this key has with this salt.
    pub fn peer_id(&self, salt: &Salt) -> PeerId {
        let hash = hash("p2pt/peer-id/1", &[&self.0, &salt.0]);
        let mut id = [0; 20];
        id.copy_from_slice(&hash[..20]);
        PeerId::from(id)
    }

    /// Whether the signature is one of this key under this message, by the strict rules that leave one answer.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

/// Whether the coordinate is below the prime 2^255 - 19, so that no second run of bytes is the same point.
fn is_canonical(bytes: &[u8; KEY_BYTES]) -> bool {
    bytes[0] < 0xed || bytes[1..31].iter().any(|byte| *byte != 0xff) || bytes[31] & 0x7f != 0x7f
}

fn from_letters(text: &str) -> Result<[u8; KEY_BYTES], KeyError> {
    let found = text.chars().count();
    if found != KEY_LETTERS {
        return Err(KeyError::Length { found });
    }
    let bytes = Zeroizing::new(Letters::Base32.read(text).ok_or(KeyError::Alphabet)?);
    bytes.as_slice().try_into().map_err(|_| KeyError::Alphabet)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = String::with_capacity(KEY_LETTERS);
        Letters::Base32.write(&self.0, &mut letters);
        f.pad(&letters)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self:.8}…)")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(SECRET_PREFIX) {
            return Err(KeyError::Secret);
        }
        Self::from_bytes(from_letters(text)?)
    }
}

/// Fifty-two letters in human-readable formats such as JSON, 32 bytes in others.
#[cfg(feature = "serde")]
impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

/// Fifty-two letters in human-readable formats such as JSON, 32 bytes in others.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = if deserializer.is_human_readable() {
            std::borrow::Cow::<str>::deserialize(deserializer)?.parse()
        } else {
            Self::from_bytes(<[u8; KEY_BYTES]>::deserialize(deserializer)?)
        };
        key.map_err(serde::de::Error::custom)
    }
}

/// What makes one key's peer ids differ from run to run: 16 random bytes, public.
///
/// A tracker holds one socket for each id, so that a node with the same id in two processes, or one that is started anew
/// before its old socket is gone, would not be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt(pub(crate) [u8; SALT_BYTES]);

impl Salt {
    /// A new salt.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; SALT_BYTES];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The salt's bytes.
    pub fn as_bytes(&self) -> &[u8; SALT_BYTES] {
        &self.0
    }
}

impl From<[u8; SALT_BYTES]> for Salt {
    fn from(bytes: [u8; SALT_BYTES]) -> Self {
        Self(bytes)
    }
}

/// A node for one run: its key, a salt and the peer id that follows from both.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    key: NodeKey,
    salt: Salt,
    peer_id: PeerId,
}

impl NodeIdentity {
    /// The node with this key, under a peer id that it never had.
    pub fn new(key: NodeKey, rng: &mut impl CryptoRng) -> Self {
        Self::with_salt(key, Salt::draw(rng))
    }

    /// The node with this key and this salt.
    pub fn with_salt(key: NodeKey, salt: Salt) -> Self {
        let peer_id = key.public_key().peer_id(&salt);
        Self { key, salt, peer_id }
    }

    /// The secret key.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The salt of this run.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// The id under which the node announces itself to trackers.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
