//! How what is hashed and signed becomes bytes, and bytes become text.

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

/// How bytes are written as letters, of which each stands for a few bits. There is no padding, and the bits of the last letter
/// that belong to no byte are zero, so that bytes have one spelling.
///
/// This is here because the crate `data-encoding`, against which it is tested, has 56 KB of code for it in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    /// RFC 4648's base32 in lower case; capitals are read too.
    Base32,
    /// RFC 4648's base64 for URLs.
    Base64,
}

impl Letters {
    const fn bits(self) -> usize {
        match self {
            Self::Base32 => 5,
            Self::Base64 => 6,
        }
    }

    /// Letters that so many bytes take.
    pub(crate) const fn count(self, bytes: usize) -> usize {
        (bytes * 8).div_ceil(self.bits())
    }

    fn letter(self, value: u8) -> char {
        let base32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let base64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        char::from(match self {
            Self::Base32 => base32[usize::from(value & 31)],
            Self::Base64 => base64[usize::from(value & 63)],
        })
    }

    fn value(self, letter: u8) -> Option<u8> {
        match (self, letter) {
            (Self::Base32, b'a'..=b'z') => Some(letter - b'a'),
            (Self::Base32, b'A'..=b'Z') | (Self::Base64, b'A'..=b'Z') => Some(letter - b'A'),
            (Self::Base32, b'2'..=b'7') => Some(letter - b'2' + 26),
            (Self::Base64, b'a'..=b'z') => Some(letter - b'a' + 26),
            (Self::Base64, b'0'..=b'9') => Some(letter - b'0' + 52),
            (Self::Base64, b'-') => Some(62),
            (Self::Base64, b'_') => Some(63),
            _ => None,
        }
    }

    /// Writes bytes behind a text. A text of a secret is made with its whole room before, as one that grows leaves what it
    /// was behind.
    pub(crate) fn write(self, bytes: &[u8], text: &mut String) {
        text.reserve(self.count(bytes.len()));
        let (mut held, mut holds) = (0_u32, 0);
        for byte in bytes {
            held = held << 8 | u32::from(*byte);
            holds += 8;
            while holds >= self.bits() {
                holds -= self.bits();
                text.push(self.letter((held >> holds) as u8));
            }
            // What was written has no place here, nor has it above.
            held &= (1 << holds) - 1;
        }
        if holds > 0 {
            text.push(self.letter((held << (self.bits() - holds)) as u8));
        }
    }

    /// The bytes of a text; `None` if a character is no letter, or if the text is another spelling of its bytes.
    pub(crate) fn read(self, text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(text.len() * self.bits() / 8);
        let (mut held, mut holds) = (0_u32, 0);
        for letter in text.bytes() {
            held = held << self.bits() | u32::from(self.value(letter)?);
            holds += self.bits();
            if holds >= 8 {
                holds -= 8;
                bytes.push((held >> holds) as u8);
                held &= (1 << holds) - 1;
            }
        }
        (holds < self.bits() && held == 0).then_some(bytes)
    }
}

/// Base64 in the alphabet for URLs, without padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    Letters::Base64.write(bytes, &mut text);
    text
}

/// The `N` bytes that stand in a text as base64; `None` if it is anything else, other spellings of the same bytes
/// included.
pub(crate) fn from_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Looked at first, so that nothing is allocated for what a peer made long.
    if text.len() != Letters::Base64.count(N) {
        return None;
    }
    Letters::Base64.read(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
    use proptest::prelude::*;

    use super::*;

    fn written(letters: Letters, bytes: &[u8]) -> String {
        let mut text = String::new();
        letters.write(bytes, &mut text);
        assert_eq!(text.len(), letters.count(bytes.len()));
        text
    }

    proptest! {
        #[test]
        fn letters_are_those_of_the_crate_for_them(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(written(Letters::Base64, &bytes), BASE64URL_NOPAD.encode(&bytes));
            let base32 = written(Letters::Base32, &bytes);
            prop_assert_eq!(base32.to_ascii_uppercase(), BASE32_NOPAD.encode(&bytes));
            prop_assert_eq!(Letters::Base32.read(&base32.to_ascii_uppercase()), Some(bytes.clone()));
            prop_assert_eq!(Letters::Base32.read(&base32), Some(bytes));
        }

        #[test]
        fn what_is_no_spelling_is_none_for_either(base64 in "[A-Za-z0-9_+/=-]{0,12}", base32 in "[A-Z0-9=]{0,12}") {
            prop_assert_eq!(Letters::Base64.read(&base64), BASE64URL_NOPAD.decode(base64.as_bytes()).ok());
            prop_assert_eq!(Letters::Base32.read(&base32), BASE32_NOPAD.decode(base32.as_bytes()).ok());
        }
    }

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
