//! Swarms that only those find and join who have a secret.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use hkdf::Hkdf;
use hmac::Hmac;
use rand::CryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::encoding::{Letters, hash, hmac, to_base64};
use crate::passphrase::Passphrase;

/// Bytes of every secret here.
const SECRET_BYTES: usize = 32;

/// Memory that stretching a passphrase takes, in KiB: 19 MiB, the least that OWASP recommends for two passes, since a phone
/// is to open a room as well.
const STRETCH_KIB: u32 = 19 * 1024;

/// Passes over that memory.
const STRETCH_PASSES: u32 = 2;

/// What stands before the name of a hidden swarm.
pub(crate) const HIDDEN: &str = "p2pt1-";

/// The random key of a room, which travels in a link: 32 bytes.
///
/// It is erased when it is dropped, and shown nowhere; comparing takes the same time whatever the keys are.
#[derive(Clone)]
pub struct RoomKey(Zeroizing<[u8; SECRET_BYTES]>);

impl RoomKey {
    /// A new key.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut key = Self(Zeroizing::new([0; SECRET_BYTES]));
        rng.fill_bytes(&mut *key.0);
        key
    }
}

impl From<[u8; SECRET_BYTES]> for RoomKey {
    fn from(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl PartialEq for RoomKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for RoomKey {}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomKey(…)")
    }
}

/// A passphrase could not be stretched: there are not 19 MiB of memory for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a room's passphrase could not be stretched, which takes 19 MiB of memory: {0}")]
pub struct StretchError(argon2::Error);

/// The secret of a room: what its members have, and no other peer.
///
/// From the room's identifier and its secret follow the name under which trackers know the swarm, the key that seals
/// descriptions, and the key with which members prove that they are. The three say nothing of each other, nor of the
/// secret. What trackers still see: how many members there are, their addresses, and who answers whom.
///
/// A guess can be tested against the hidden name without a word to any peer. That is why a passphrase is stretched, and why it
/// should still be five random words at least.
#[derive(Clone)]
pub struct RoomSecret {
    pub(crate) root: Zeroizing<[u8; SECRET_BYTES]>,
}

impl RoomSecret {
    /// The secret that follows from a passphrase, by Argon2id.
    ///
    /// This takes some tens of milliseconds of computing and 19 MiB, so a program with an event loop calls it elsewhere.
    pub fn from_passphrase(identifier: &str, passphrase: &Passphrase) -> Result<Self, StretchError> {
        let params = Params::new(STRETCH_KIB, STRETCH_PASSES, 1, Some(SECRET_BYTES)).map_err(StretchError)?;
        let mut root = Zeroizing::new([0; SECRET_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.reveal().as_bytes(), &salt(identifier), &mut *root)
            .map_err(StretchError)?;
        Ok(Self { root })
    }

    /// The secret that follows from a random key. There is nothing to stretch.
    pub fn from_key(identifier: &str, key: &RoomKey) -> Self {
        let (mut extracted, _) = Hkdf::<Sha256>::extract(Some(&salt(identifier)), &*key.0);
        let mut root = Zeroizing::new([0; SECRET_BYTES]);
        root.copy_from_slice(&extracted);
        extracted.as_mut_slice().zeroize();
        Self { root }
    }

    /// The identifier under which the room's swarm is joined, `p2pt1-` and 43 letters: trackers get its SHA-1, as of any.
    ///
    /// A JavaScript p2pt that is given this text joins the same swarm.
    pub fn hidden_identifier(&self) -> String {
        format!("{HIDDEN}{}", to_base64(&*self.derive(b"p2pt/room/1/name")))
    }

    /// The key that seals descriptions on their way through trackers.
    pub fn seal_key(&self) -> SealKey {
        SealKey(self.derive(b"p2pt/room/1/sdp"))
    }

    /// The key with which members prove in their confirmation that they are.
    pub fn member_key(&self) -> MemberKey {
        MemberKey(self.derive(b"p2pt/room/1/member"))
    }

    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; SECRET_BYTES]> {
        let mut key = Zeroizing::new([0; SECRET_BYTES]);
        // The root has the length of a hash, which is all that is asked for; only a shorter one fails.
        let expanded = Hkdf::<Sha256>::from_prk(&*self.root).map(|hkdf| hkdf.expand(label, &mut *key));
        debug_assert!(matches!(expanded, Ok(Ok(()))));
        key
    }
}

impl fmt::Debug for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSecret(…)")
    }
}

fn salt(identifier: &str) -> [u8; SECRET_BYTES] {
    hash("p2pt/room/1", &[identifier.as_bytes()])
}

/// Seals descriptions, see [`seal()`](crate::seal()).
#[derive(Clone)]
pub struct SealKey(pub(crate) Zeroizing<[u8; SECRET_BYTES]>);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Proves membership in a room, see [`Confirmation`](crate::Confirmation).
#[derive(Clone)]
pub struct MemberKey(pub(crate) Zeroizing<[u8; SECRET_BYTES]>);

impl MemberKey {
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        hmac(&self.0)
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKey(…)")
    }
}

/// What stands before every link to a room.
const LINK: &str = "p2pt:";

/// Most bytes of an identifier in a link.
const MAX_IDENTIFIER: usize = 1024;

/// Text is no link to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It does not begin with `p2pt:`.
    #[error("a link to a room begins with \"p2pt:\"")]
    Scheme,
    /// There is no `#`.
    #[error("the link has no key: behind the name of the room, a \"#\" and 43 letters should follow")]
    NoKey,
    /// What stands behind the `#` is no key.
    #[error("the key behind the \"#\" is not 43 letters that make a key: part of the link may be missing")]
    Key,
    /// What stands before the `#` is no identifier: empty, too long, or with a `%` that is not followed by two digits.
    #[error("the name of the room in the link is empty, longer than 1024 bytes, or not percent-encoded UTF-8")]
    Identifier,
}

/// A link to a room, `p2pt:my-room#…`: its identifier and its key. A person who has the link can join.
///
/// It is shown by [`reveal`](Self::reveal) alone; `Debug` leaves out the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomLink {
    /// The room's identifier.
    pub identifier: String,
    /// The room's key.
    pub key: RoomKey,
}

impl RoomLink {
    /// A link to a new room with this identifier.
    pub fn draw(identifier: &str, rng: &mut impl CryptoRng) -> Self {
        Self { identifier: identifier.to_owned(), key: RoomKey::draw(rng) }
    }

    /// The secret of the room.
    pub fn secret(&self) -> RoomSecret {
        RoomSecret::from_key(&self.identifier, &self.key)
    }

    /// The link as text. What browsers and servers do not send on stands behind the `#`.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut link = Zeroizing::new(String::with_capacity(LINK.len() + 3 * self.identifier.len() + 1 + 43));
        link.push_str(LINK);
        for byte in self.identifier.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => link.push(byte.into()),
                _ => link.push_str(&format!("%{byte:02X}")),
            }
        }
        link.push('#');
        Letters::Base64.write(&*self.key.0, &mut link);
        link
    }

    /// Reads a link; spaces and line breaks around it do not matter.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let rest = text.trim().strip_prefix(LINK).ok_or(LinkError::Scheme)?;
        let (identifier, key) = rest.split_once('#').ok_or(LinkError::NoKey)?;
        let key = crate::encoding::from_base64(key).map(RoomKey::from).ok_or(LinkError::Key)?;
        let identifier = decode_percent(identifier).ok_or(LinkError::Identifier)?;
        Ok(Self { identifier, key })
    }
}

fn decode_percent(text: &str) -> Option<String> {
    let (mut rest, mut bytes) = (text.as_bytes(), Vec::new());
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        let decoded = if byte == b'%' {
            let (digits, more) = rest.split_at_checked(2)?;
            rest = more;
            let digit = |digit: u8| char::from(digit).to_digit(16);
            u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?
        } else {
            byte
        };
        if bytes.len() == MAX_IDENTIFIER {
            return None;
        }
        bytes.push(decoded);
    }
    String::from_utf8(bytes).ok().filter(|identifier| !identifier.is_empty())
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
