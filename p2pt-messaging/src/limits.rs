//! How much a remote peer may make us hold.

use std::time::Duration;

/// Bounds of a [`Reassembler`](crate::Reassembler), each per channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest message, in bytes of its text as UTF-8. Default 64 MiB: twice what JavaScript in Node was seen to
    /// send in one message, four times what Chromium can.
    pub max_message_bytes: usize,
    /// Messages incomplete at the same time; a further one is rejected. Default 64: a JavaScript peer sends the
    /// chunks of a message in one go, so more than one is rare.
    pub max_in_flight_messages: usize,
    /// Memory of all incomplete messages, book-keeping included. Default 80 MiB: one message of the largest size
    /// and 16 MiB for others.
    pub max_held_bytes: usize,
    /// Chunks of one message; an index from here on is rejected. Default 65536: the largest message in chunks of
    /// 1 KiB, a sixteenth of what JavaScript cuts.
    pub max_chunks: u32,
    /// Largest frame that may be a chunk, in bytes as received. Default 256 KiB: what WebRTC stacks announce as the
    /// largest data-channel message; JavaScript's chunks reach 96 KB.
    pub max_frame_bytes: usize,
    /// How long after its latest chunk an incomplete message is dropped, not counting time in which the reader is
    /// paused. Default 30 s, longer than a channel without traffic takes to be declared dead.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 << 20,
            max_in_flight_messages: 64,
            max_held_bytes: 80 << 20,
            max_chunks: 1 << 16,
            max_frame_bytes: 256 << 10,
            idle_timeout: Duration::from_secs(30),
        }
    }
}
