//! The three kinds of 20-byte ids, as bytes, as hexadecimal for people, and as strings on the wire.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

use crate::error::{IdParseError, IdWireError};

/// Bytes in an id.
const ID_BYTES: usize = 20;

#[cfg(feature = "rand")]
impl PeerId {
    /// A peer id of 20 random bytes (feature `rand`).
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl InfoHash {
    /// The swarm of all peers that share `identifier`: the SHA-1 of its UTF-8.
    pub fn of(identifier: &str) -> Self {
        Self(Sha1::digest(identifier).into())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Display` and `FromStr` use 40 hexadecimal digits, `Debug` the first eight.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// The id's bytes.
            pub fn as_bytes(&self) -> &[u8; ID_BYTES] {
                &self.0
            }

            /// The id as it travels in a frame: each byte one code point, U+0000 to U+00FF.
            pub fn to_wire(&self) -> String {
                self.0.iter().copied().map(char::from).collect()
            }

            /// The id that travels as `text`, which must be exactly 20 code points, none above U+00FF.
            pub fn from_wire(text: &str) -> Result<Self, IdWireError> {
                bytes_from_wire(text).map(Self)
            }
        }

        impl From<[u8; ID_BYTES]> for $name {
            fn from(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8; ID_BYTES]> for $name {
            fn as_ref(&self) -> &[u8; ID_BYTES] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                write_hex(f, &self.0[..4])?;
                f.write_str("…)")
            }
        }

        /// Forty hexadecimal digits in human-readable formats such as JSON, 20 bytes in others.
        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        /// Forty hexadecimal digits in human-readable formats such as JSON, 20 bytes in others.
        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; ID_BYTES]>::deserialize(deserializer).map(Self)
                }
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, IdParseError> {
                bytes_from_hex(text).map(Self)
            }
        }
    };
}

id! {
    /// Identifies a swarm.
    InfoHash
}
id! {
    /// Identifies a peer: 20 bytes that the peer chose itself, at random or not. Trackers do not verify it.
    PeerId
}
id! {
    /// Identifies an offer, so that its answer can be distinguished from others; the offerer chooses it.
    OfferId
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn bytes_from_hex(text: &str) -> Result<[u8; ID_BYTES], IdParseError> {
    let found = text.chars().count();
    if found != 2 * ID_BYTES {
        return Err(IdParseError::Length { found });
    }
    let mut bytes = [0; ID_BYTES];
    for (position, found) in text.chars().enumerate() {
        let digit = found.to_digit(16).ok_or(IdParseError::Digit { found, position })?;
        let byte = &mut bytes[position / 2];
        *byte = (*byte << 4) | digit as u8;
    }
    Ok(bytes)
}

fn bytes_from_wire(text: &str) -> Result<[u8; ID_BYTES], IdWireError> {
    let mut bytes = [0; ID_BYTES];
    let mut chars = text.chars();
    for (position, byte) in bytes.iter_mut().enumerate() {
        let found = chars.next().ok_or(IdWireError::Length { found: position })?;
        *byte = u8::try_from(found).map_err(|_| IdWireError::CodePoint { found, position })?;
    }
    match chars.count() {
        0 => Ok(bytes),
        more => Err(IdWireError::Length { found: ID_BYTES + more }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_hash_is_the_sha1_of_the_identifier() {
        assert_eq!(InfoHash::of("capture-room").to_string(), "feb5740e8bd90021936384035e5f5e38eb97a08a");
        assert_eq!(InfoHash::of("").to_string(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        // UTF-8, not UTF-16 and not Latin-1.
        assert_eq!(InfoHash::of("é").to_string(), "bf15be717ac1b080b4f1c456692825891ff5073d");
    }

    #[test]
    fn people_read_hexadecimal() {
        let id = PeerId::from(*b"0123456789abcdefghi\xff");
        assert_eq!(id.to_string(), "30313233343536373839616263646566676869ff");
        assert_eq!(format!("{id:?}"), "PeerId(30313233…)");
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        assert_eq!("ff".parse::<PeerId>(), Err(IdParseError::Length { found: 2 }));
        assert_eq!("é".repeat(20).parse::<PeerId>(), Err(IdParseError::Length { found: 20 }));
        let wrong = format!("+{}", "0".repeat(39));
        assert_eq!(wrong.parse::<PeerId>(), Err(IdParseError::Digit { found: '+', position: 0 }));
    }

    #[test]
    fn a_byte_is_a_code_point_on_the_wire() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        for window in bytes.windows(ID_BYTES) {
            let id = OfferId::from(<[u8; ID_BYTES]>::try_from(window).unwrap());
            let wire = id.to_wire();
            assert_eq!(
                wire.chars().map(u32::from).collect::<Vec<_>>(),
                window.iter().map(|&b| b.into()).collect::<Vec<u32>>()
            );
            assert_eq!(OfferId::from_wire(&wire), Ok(id));
        }
    }

    #[test]
    fn nothing_is_truncated_or_wrapped() {
        assert_eq!(PeerId::from_wire(&"a".repeat(19)), Err(IdWireError::Length { found: 19 }));
        assert_eq!(PeerId::from_wire(&"é".repeat(21)), Err(IdWireError::Length { found: 21 }));
        assert_eq!(PeerId::from_wire(""), Err(IdWireError::Length { found: 0 }));
        let wide = format!("{}Ā", "a".repeat(19));
        let error = PeerId::from_wire(&wide).unwrap_err();
        assert_eq!(error, IdWireError::CodePoint { found: 'Ā', position: 19 });
        assert_eq!(error.to_string(), "code point U+0100 at position 19 is above U+00FF");
    }
}
