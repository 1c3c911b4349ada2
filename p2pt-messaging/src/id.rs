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
    /// What nearly all peers send. An integer that fits is always kept like this, so equality is that of the texts.
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
        if let Some(id) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
            return Ok(Self(Repr::Integer(id)));
        }
        let text = compact(value);
        if text.len() > Self::MAX_BYTES {
            return Err(MessageIdError::TooLong);
        }
        let text = text::into_text(text).ok_or(MessageIdError::NotJson)?;
        Ok(Self(Repr::Other(text.into())))
    }

    /// The id as an integer, if it is one: what a message of p2pt/2 has.
    pub fn as_integer(&self) -> Option<u64> {
        match &self.0 {
            Repr::Integer(id) => Some(*id),
            Repr::Other(_) => None,
        }
    }

    /// Length of its JSON text in bytes.
    pub(crate) fn json_len(&self) -> usize {
        match &self.0 {
            Repr::Integer(id) => id.checked_ilog10().map_or(1, |log| log as usize + 1),
            Repr::Other(text) => text.len(),
        }
    }

    /// Bytes of its own that the id keeps on the heap, at most [`MAX_BYTES`](Self::MAX_BYTES): none for an integer.
    pub fn heap_bytes(&self) -> usize {
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
        Self::from_json(json.trim().as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_safe_integers_no_javascript_peer_draws() {
        for random in [0, 1, 199_999, END_OWN - FIRST_OWN - 1, END_OWN - 1, END_OWN, u64::MAX] {
            let MessageId(Repr::Integer(id)) = MessageId::random(|| random) else { panic!("not an integer") };
            assert!((FIRST_OWN..END_OWN).contains(&id), "{random} gave {id}");
        }
    }

    #[test]
    fn ids_are_equal_if_their_texts_are() {
        let id = |json: &str| json.parse::<MessageId>().unwrap();
        assert_eq!(id(" 7\n"), MessageId::from(7));
        assert_eq!(id("18446744073709551615"), MessageId::from(u64::MAX));
        assert_eq!(id("[ 1, \"a \\\" b\" ]"), id("[1,\"a \\\" b\"]"));
        assert_ne!(id("7.0"), id("7"));
        assert_ne!(id("\"7\""), id("7"));
        assert_ne!(id("\"a b\""), id("\"ab\""));
    }

    #[test]
    fn the_length_of_an_id_is_that_of_its_text() {
        for json in ["0", "9", "10", "18446744073709551615", "18446744073709551616", "\"é\"", "[1,2]"] {
            assert_eq!(json.parse::<MessageId>().unwrap().json_len(), json.len(), "{json}");
        }
    }

    #[test]
    fn an_id_is_one_short_json_value() {
        for text in ["", "+7", "07", "1 2", "id", "\"", "{"] {
            assert_eq!(text.parse::<MessageId>(), Err(MessageIdError::NotJson), "{text}");
        }
        let quoted = |len: usize| format!("\"{}\"", "x".repeat(len - 2)).parse::<MessageId>();
        assert_eq!(quoted(MessageId::MAX_BYTES).unwrap().heap_bytes(), MessageId::MAX_BYTES);
        assert_eq!(quoted(MessageId::MAX_BYTES + 1), Err(MessageIdError::TooLong));
    }
}
