//! What can go wrong, per operation.

use crate::MessageId;

/// A value could not be written as JSON, because its `Serialize` failed or it has a map key JSON cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as JSON: {0}")]
pub struct EncodeError(#[source] pub(crate) serde_json::Error);

/// Text is not JSON, or the JSON in it does not fit the type it is read into.
#[derive(Debug, thiserror::Error)]
#[error("{problem}: {error}")]
pub struct JsonError {
    problem: &'static str,
    #[source]
    error: serde_json::Error,
}

impl JsonError {
    pub(crate) fn syntax(error: serde_json::Error) -> Self {
        Self { problem: "not JSON", error }
    }

    pub(crate) fn shape(error: serde_json::Error) -> Self {
        Self { problem: "JSON of another shape", error }
    }
}

/// A budget too small to hold every envelope and one character, see [`MIN_BUDGET`](crate::MIN_BUDGET).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a budget of {budget} bytes a frame is below the minimum of {min}", min = crate::MIN_BUDGET)]
pub struct BudgetTooSmall {
    /// The budget asked for, in bytes.
    pub budget: usize,
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

/// A received frame that begins like a chunk was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is larger than [`Limits::max_frame_bytes`](crate::Limits::max_frame_bytes) and was not looked into.
    #[error("a chunk of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Size of the frame.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The frame is not a chunk.
    #[error("the frame is not a chunk: {0}")]
    Malformed(#[from] Malformed),
    /// The chunk was understood, but its message is not taken; what was held of it has been freed.
    #[error("message {id} rejected: {reason}")]
    InvalidMessage {
        /// The message.
        id: MessageId,
        /// Why.
        reason: InvalidMessage,
    },
}

/// Why a frame that begins with `^` is not a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// What follows `^` is not one JSON object.
    #[error("no JSON object after the ^")]
    NotAnObject,
    /// A field is missing: `id`, `msg` or `c`.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has the wrong type: `msg` is a string, `c` an integer from 0.
    #[error("{0} has the wrong type")]
    WrongType(&'static str),
    /// The id cannot be kept.
    #[error(transparent)]
    Id(#[from] MessageIdError),
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
