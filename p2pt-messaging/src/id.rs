//! Message ids.

use std::{fmt, str::FromStr, sync::Arc};

use serde::de::IgnoredAny;

use crate::{MessageIdError, text};

/// Own ids start here: JavaScript peers draw theirs from 100000..200000 and mistake a message whose id they have
/// drawn before for a response.
const FIRST_OWN: u64 = 200_000;

/// JavaScript's integers are exact below 2^53.
const END_OWN: u64 = 1 << 53;

/// Identifies a message and its responses, which bear the same id.
///
/// JavaScript applications may choose any JSON value, so an id is the compact JSON text of one, echoed as it came.
/// Two ids are equal if their texts are; nothing should be concluded from the range of a received id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageId(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// What nearly everybody sends; a number that fits is always kept like this, so equality is that of the texts.
    Integer(u64),
    Other(Arc<str>),
}

impl MessageId {
    /// The longest id accepted, in bytes of JSON: seven times a UUID.
    pub const MAX_BYTES: usize = 256;

    /// Draws an id from 200000..2^53, where no JavaScript peer draws its own, out of 64 random bits.
    pub fn random(mut random: impl FnMut() -> u64) -> Self {
        Self::from(FIRST_OWN + random() % (END_OWN - FIRST_OWN))
    }

    /// Takes the bytes of one JSON value, already checked, without surrounding white space.
    pub(crate) fn from_json(value: &[u8]) -> Result<Self, MessageIdError> {
        let text = compact(value);
        if text.len() > Self::MAX_BYTES {
            return Err(MessageIdError::TooLong);
        }
        let text = text::into_text(text).ok_or(MessageIdError::NotJson)?;
        // `parse` would also take a sign and leading zeros; JSON has no `+` and no `00`.
        Ok(Self(text.parse().map_or_else(|_| Repr::Other(text.into()), Repr::Integer)))
    }

    /// Bytes of its own that the id keeps on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Integer(_) => 0,
            Repr::Other(text) => text.len(),
        }
    }
}

/// Removes the white space outside strings.
fn compact(json: &[u8]) -> Vec<u8> {
    let mut in_string = false;
    let mut escaped = false;
    let outside_or_ink = |&byte: &u8| {
        let keep = in_string || !byte.is_ascii_whitespace();
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
        keep
    };
    json.iter().copied().filter(outside_or_ink).collect()
}

impl From<u64> for MessageId {
    fn from(id: u64) -> Self {
        Self(Repr::Integer(id))
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    /// Parses the JSON text of an id.
    fn from_str(json: &str) -> Result<Self, MessageIdError> {
        serde_json::from_str::<IgnoredAny>(json).map_err(|_| MessageIdError::NotJson)?;
        Self::from_json(json.as_bytes())
    }
}

/// The id's JSON text.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Integer(id) => id.fmt(f),
            Repr::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}
