//! Descriptions that trackers carry and cannot read.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::CryptoRng;

use crate::context::Context;
use crate::encoding::{Letters, fields};
use crate::room::SealKey;

/// What a sealed description begins with.
const PREFIX: &str = "p2pt:e1:";

/// Bytes of the nonce before the sealed text.
const NONCE_BYTES: usize = 24;

/// Bytes of the tag behind it.
const TAG_BYTES: usize = 16;

/// Bytes of the length in front of the text.
const LENGTH_BYTES: usize = 2;

/// The sealed text is filled up to a multiple of this, so that its length does not tell how many addresses a peer has.
const BLOCK: usize = 256;

/// Most bytes of a description that can be sealed: more than a tracker's frame holds.
pub const MAX_SEALED_SDP: usize = 32_000;

/// A description is too long to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a description of {found} bytes is too long to be sealed: at most {MAX_SEALED_SDP}")]
pub struct SealError {
    /// Bytes it has.
    pub found: usize,
}

/// A description could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not sealed: its author does not have the secret or keeps the room merely hidden.
    #[error("the description is not sealed: its author does not know that the room has a secret")]
    NotSealed,
    /// It is sealed in a way that this version does not know.
    #[error("the description is sealed in a way that this version does not know")]
    Version,
    /// It says that it is sealed and is too short, too long, or no base64.
    #[error("the sealed description is malformed")]
    Malformed,
    /// The key does not open it: its author has another secret, or it was changed, or it was sealed for another swarm, peer
    /// or offer.
    #[error("the description was sealed with another secret, was changed on its way, or is not for this place")]
    WrongKey,
}

/// Whether a description says that it is sealed, in any version.
pub fn is_sealed(sdp: &str) -> bool {
    sdp.strip_prefix("p2pt:e").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// Seals a description for its place; what comes out is put in its stead, as `sdp`.
pub fn seal(sdp: &str, context: &Context, key: &SealKey, rng: &mut impl CryptoRng) -> Result<String, SealError> {
    let too_long = SealError { found: sdp.len() };
    let length = u16::try_from(sdp.len()).ok().filter(|_| sdp.len() <= MAX_SEALED_SDP).ok_or(too_long)?;
    let mut text = Vec::with_capacity((LENGTH_BYTES + sdp.len()).next_multiple_of(BLOCK));
    text.extend(length.to_be_bytes());
    text.extend(sdp.as_bytes());
    text.resize(text.len().next_multiple_of(BLOCK), 0);

    let mut sealed = vec![0; NONCE_BYTES];
    rng.fill_bytes(&mut sealed);
    let mut nonce = XNonce::default();
    nonce.copy_from_slice(&sealed);
    let payload = Payload { msg: &text, aad: &additional(context) };
    // Only texts of gigabytes fail.
    sealed.extend(XChaCha20Poly1305::new((&*key.0).into()).encrypt(&nonce, payload).map_err(|_| too_long)?);
    let mut out = String::with_capacity(PREFIX.len() + Letters::Base64.count(sealed.len()));
    out.push_str(PREFIX);
    Letters::Base64.write(&sealed, &mut out);
    Ok(out)
}

/// Opens a sealed description. That it opens proves that its author had the room's secret and wrote it for this place.
pub fn open(sealed: &str, context: &Context, key: &SealKey) -> Result<String, OpenError> {
    let missing = if is_sealed(sealed) { OpenError::Version } else { OpenError::NotSealed };
    let text = sealed.strip_prefix(PREFIX).ok_or(missing)?;
    // Two blocks more than the longest takes, so that nothing is done for what is longer.
    if text.len() > Letters::Base64.count(MAX_SEALED_SDP + 2 * BLOCK) {
        return Err(OpenError::Malformed);
    }
    let bytes = Letters::Base64.read(text).ok_or(OpenError::Malformed)?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Malformed)?;
    if sealed.len() < TAG_BYTES + BLOCK || !(sealed.len() - TAG_BYTES).is_multiple_of(BLOCK) {
        return Err(OpenError::Malformed);
    }
    let mut xnonce = XNonce::default();
    xnonce.copy_from_slice(nonce);
    let payload = Payload { msg: sealed, aad: &additional(context) };
    let opened = XChaCha20Poly1305::new((&*key.0).into()).decrypt(&xnonce, payload);
    unpad(opened.map_err(|_| OpenError::WrongKey)?).ok_or(OpenError::Malformed)
}

/// What is sealed with the text without being in it: where it belongs.
fn additional(context: &Context) -> Vec<u8> {
    fields("p2pt/seal/1", &context.fields())
}

/// The text in a padded one, if the padding is all zeros and not more than it has to be.
fn unpad(mut padded: Vec<u8>) -> Option<String> {
    let (length, text) = padded.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (_, padding) = text.split_at_checked(length)?;
    if padding.len() >= BLOCK || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    padded.truncate(LENGTH_BYTES + length);
    padded.drain(..LENGTH_BYTES);
    String::from_utf8(padded).ok()
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
