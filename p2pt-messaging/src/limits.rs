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

impl Limits {
    /// Sets [`max_message_bytes`](Self#structfield.max_message_bytes).
    #[must_use]
    pub fn max_message_bytes(self, max_message_bytes: usize) -> Self {
        Self { max_message_bytes, ..self }
    }

    /// Sets [`max_in_flight_messages`](Self#structfield.max_in_flight_messages).
    #[must_use]
    pub fn max_in_flight_messages(self, max_in_flight_messages: usize) -> Self {
        Self { max_in_flight_messages, ..self }
    }

    /// Sets [`max_held_bytes`](Self#structfield.max_held_bytes).
    #[must_use]
    pub fn max_held_bytes(self, max_held_bytes: usize) -> Self {
        Self { max_held_bytes, ..self }
    }

    /// Sets [`max_chunks`](Self#structfield.max_chunks).
    #[must_use]
    pub fn max_chunks(self, max_chunks: u32) -> Self {
        Self { max_chunks, ..self }
    }

    /// Sets [`max_frame_bytes`](Self#structfield.max_frame_bytes).
    #[must_use]
    pub fn max_frame_bytes(self, max_frame_bytes: usize) -> Self {
        Self { max_frame_bytes, ..self }
    }

    /// Sets [`idle_timeout`](Self#structfield.idle_timeout).
    #[must_use]
    pub fn idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }
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
