//! How what is hashed and signed becomes bytes, and bytes become text.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a SHA-256.
pub(crate) const HASH_BYTES: usize = 32;

/// A label and fields as one run of bytes, which no other label and fields have: before each of them stands how many
/// bytes it has, as four bytes, the highest first.
pub(crate) fn fields(label: &str, fields: &[&[u8]]) -> Vec<u8> {
    let all = || std::iter::once(label.as_bytes()).chain(fields.iter().copied());
    let mut bytes = Vec::with_capacity(all().map(|field| 4 + field.len()).sum());
    for field in all() {
        // Nothing here is near 4 GiB, since all of it comes in frames; a longer field would count as that long.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(field);
    }
    bytes
}

/// The SHA-256 of a label and fields, see [`fields`].
pub(crate) fn hash(label: &str, parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    Sha256::digest(fields(label, parts)).into()
}

/// The SHA-256 of bytes as they are.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// HMAC-SHA-256 with this key.
pub(crate) fn hmac(key: &[u8; HASH_BYTES]) -> Hmac<Sha256> {
    // As HMAC itself fills a key up to a block.
    let mut block = Zeroizing::new([0; 64]);
    block[..HASH_BYTES].copy_from_slice(key);
    Hmac::new((&*block).into())
}

/// Base64 in the alphabet for URLs, without padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// The `N` bytes that stand in a text as base64; `None` if it is anything else, other spellings of the same bytes
/// included.
pub(crate) fn from_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Looked at first, so that nothing is allocated for what a peer made long.
    if text.len() != BASE64URL_NOPAD.encode_len(N) {
        return None;
    }
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_tell_fields_apart() {
        assert_eq!(fields("ab", &[b"c"]), b"\0\0\0\x02ab\0\0\0\x01c");
        assert_ne!(fields("ab", &[b"c", b""]), fields("ab", &[b"", b"c"]));
        assert_ne!(hash("a", &[b"bc"]), hash("ab", &[b"c"]));
    }

    #[test]
    fn bytes_have_one_spelling() {
        assert_eq!(from_base64::<1>("_w"), Some([255]));
        // The last four bits belong to no byte.
        assert_eq!(from_base64::<1>("_x"), None);
        assert_eq!(from_base64::<1>("_w=="), None);
        assert_eq!(from_base64::<1>("/w"), None);
        assert_eq!(from_base64::<2>("_w"), None);
    }
}
