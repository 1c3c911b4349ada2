//! What can go wrong, per operation.

use std::any::type_name;
use std::fmt;

use crate::MessageId;

/// Characters of serde's own words that a [`DecodeError`] repeats: these quote what the peer sent, at any length.
const DETAIL_CHARS: usize = 160;

/// A value could not be written as JSON, because its `Serialize` failed or it has a map key JSON cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as JSON: {0}")]
pub struct EncodeError(pub(crate) serde_json::Error);

/// Text offered as JSON is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("not JSON: {0}")]
pub struct JsonError(pub(crate) serde_json::Error);

/// A message is not of the type it was to be read as: it has another shape, lies deeper than serde_json goes (128
/// levels), or holds a number out of range.
///
/// Its text and `Debug` repeat at most a line of what serde says. The whole, which may quote all that the peer sent, is
/// behind [`serde_error`](Self::serde_error) and not among the sources, which programs print without a bound.
#[derive(thiserror::Error)]
#[error("the message is not of the type `{wanted}`: {}", detail(.error))]
pub struct DecodeError {
    wanted: &'static str,
    error: serde_json::Error,
}

impl DecodeError {
    pub(crate) fn of<T>(error: serde_json::Error) -> Self {
        Self { wanted: type_name::<T>(), error }
    }

    /// What serde says, at any length.
    pub fn serde_error(&self) -> &serde_json::Error {
        &self.error
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError").field("wanted", &self.wanted).field("detail", &detail(&self.error)).finish()
    }
}

fn detail(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    match whole.char_indices().nth(DETAIL_CHARS) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

/// A budget too small to hold every envelope and one character, see [`MIN_BUDGET`](crate::MIN_BUDGET).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a budget of {budget} bytes a frame is below the minimum of {min}", min = crate::MIN_BUDGET)]
pub struct BudgetTooSmall {
    /// The budget asked for, in bytes.
    pub budget: usize,
}

/// A message cannot be cut into frames of p2pt/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunksError {
    /// The frames would be too small.
    #[error(transparent)]
    Budget(#[from] BudgetTooSmall),
    /// The message is bytes, which travel between peers that both speak p2pt/2 alone.
    #[error("p2pt/1 has no messages of bytes: the other side speaks no p2pt/2")]
    Bytes,
}

/// Text is not usable as a [`MessageId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageIdError {
    /// It is not one JSON value.
    #[error("a message id is one JSON value")]
    NotJson,
    /// It is longer than [`MessageId::MAX_BYTES`].
    #[error("a message id is at most {max} bytes of JSON", max = MessageId::MAX_BYTES)]
    TooLong,
}

/// A received text frame is a chunk, or may be one, and was not taken, because it violates a limit or its message does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame begins with `^`, is larger than [`Limits::max_frame_bytes`](crate::Limits::max_frame_bytes) and was not
    /// looked into.
    #[error("a chunk of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Size of the frame.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The id of the chunk's message is longer than [`MessageId::MAX_BYTES`].
    #[error("a chunk whose message id is longer than the limit of {limit} bytes")]
    IdTooLong {
        /// The limit.
        limit: usize,
    },
    /// The chunk was understood, but its message is not taken; what was held of it has been freed.
    #[error("message {id} rejected: {reason}")]
    InvalidMessage {
        /// The message.
        id: MessageId,
        /// Why.
        reason: InvalidMessage,
    },
}

/// Why a text frame is not a chunk, and so is the application's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAChunk {
    /// It does not begin with `^`.
    #[error("no ^ at the beginning")]
    NoMark,
    /// What follows `^` is not one JSON object.
    #[error("no JSON object after the ^")]
    NotAnObject,
    /// A field is missing: `id`, `msg` or `c`.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has the wrong type: `msg` is a string, `c` an integer from 0, `id` is UTF-8.
    #[error("{0} has the wrong type")]
    WrongType(&'static str),
}

/// Why a message is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// It is larger than [`Limits::max_message_bytes`](crate::Limits::max_message_bytes).
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// [`Limits::max_in_flight_messages`](crate::Limits::max_in_flight_messages) others are incomplete.
    #[error("{limit} messages are incomplete already")]
    TooManyInFlight {
        /// The limit.
        limit: usize,
    },
    /// It would take more memory than [`Limits::max_held_bytes`](crate::Limits::max_held_bytes) leaves.
    #[error("incomplete messages may hold {limit} bytes")]
    TooManyBytesHeld {
        /// The limit.
        limit: usize,
    },
    /// A chunk index is not below [`Limits::max_chunks`](crate::Limits::max_chunks).
    #[error("more than {limit} chunks")]
    TooManyChunks {
        /// The limit.
        limit: u32,
    },
    /// A chunk lies behind the one marked as the last.
    #[error("a chunk after the last")]
    ChunkAfterLast,
    /// The joined text is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The message says it is JSON, but the joined text is not; holds where and how.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// An earlier chunk of it was rejected.
    #[error("an earlier chunk was rejected")]
    AlreadyRejected,
}
