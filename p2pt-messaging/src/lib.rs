#![doc = include_str!("../README.md")]

mod chunks;
mod convert;
mod envelope;
mod error;
mod id;
mod json;
mod limits;
mod partial;
mod payload;
mod reassembler;
mod rejected;
mod text;
pub mod wire;

pub use chunks::{Chunks, DEFAULT_BUDGET, MIN_BUDGET};
pub use convert::IntoPayload;
pub use envelope::may_be_taken_for_a_chunk;
pub use error::{
    BudgetTooSmall, ChunksError, DecodeError, EncodeError, FrameError, InvalidMessage, JsonError, MessageIdError,
    NotAChunk,
};
pub use id::MessageId;
pub use limits::Limits;
pub use payload::{Json, Message, Payload};
pub use reassembler::{Chunk, Expired, Progress, Reassembler, TextFrame};

/// The clock of the callers; one line to change where there is another.
use web_time::Instant;
