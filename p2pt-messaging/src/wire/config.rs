//! What a session may take, hold and wait for.

use std::time::Duration;

use super::{Hello, MAX_PACKET, MIN_PACKET};

/// The largest window of a stream, in bytes: what a path of 400 Mbit/s and 80 ms holds.
pub(super) const MAX_STREAM_WINDOW: usize = 4 << 20;

/// The least a window may be, in bytes, so that a message can be begun and a stream read in more than single bytes.
const MIN_WINDOW: usize = 1024;

/// Bounds and times of a [`Session`](super::Session). What the other side may send follows from it, and is said to it by
/// [`hello`](Self::hello); the bounds of what is sent follow from the other side's HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How many bytes of messages, each with 64 more, may wait to be read before the other side has to stop. Default 1 MiB;
    /// at least 1 KiB.
    pub message_window: usize,
    /// Largest message that is taken, in bytes. Default 64 MiB, as over p2pt/1.
    pub max_message: usize,
    /// How many bytes all incomplete messages may be going to have together, unless there is only one. Default 80 MiB: one
    /// message of the largest size and 16 MiB for others.
    pub reassembly: usize,
    /// How many bytes may come on each half of a stream before its reader has read any. Default 16 KiB; at least 1 KiB. The
    /// window doubles while it is read, to 4 MiB at most.
    pub stream_window: usize,
    /// How many bytes may come on all streams together. Default 12 MiB: the first windows of all streams that either side
    /// may open, and 4 MiB by which windows may grow. No window grows with less than those first windows.
    pub stream_memory: usize,
    /// How many streams of one opener there may be at a time, for each of both openers. Default 256.
    pub max_streams: usize,
    /// How many bytes of packets are retained until they are acknowledged, before messages and streams have to wait.
    /// Default 4 MiB; at least 1 KiB.
    pub max_unacknowledged: usize,
    /// Largest packet that is sent, in bytes. Default 65,536, which is also the most; at least 1 KiB.
    pub max_frame: usize,
    /// After how long a silence of a channel it is asked for a sign of life. Default 15 s.
    pub ping_after: Duration,
    /// How long after that the channel is said to be dead. Default 15 s.
    pub dead_after: Duration,
}

macro_rules! setters {
    ($($name:ident: $kind:ty),*) => {
        $(
            #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
            #[must_use]
            pub fn $name(self, $name: $kind) -> Self {
                Self { $name, ..self }
            }
        )*
    };
}

impl SessionConfig {
    setters! {
        message_window: usize, max_message: usize, reassembly: usize, stream_window: usize, stream_memory: usize,
        max_streams: usize, max_unacknowledged: usize, max_frame: usize, ping_after: Duration, dead_after: Duration
    }

    /// What the other side is told of this configuration. `name` is drawn anew for each session, so that both sides see
    /// whether a further channel belongs to a session that they still have; `features` are names with commas between them.
    /// The hashes of the hosts of trackers are the caller's to add.
    pub fn hello(&self, name: [u8; 16], features: impl Into<String>) -> Hello {
        let config = self.clone().checked();
        Hello {
            features: features.into(),
            message_window: config.message_window as u64,
            stream_window: config.stream_window as u64,
            connection_window: config.stream_memory as u64,
            max_streams: config.max_streams as u64,
            trackers: Vec::new(),
            max_message: config.max_message as u64,
            reassembly: config.reassembly as u64,
            session_name: Some(name),
        }
    }

    /// The same, with each value within what is possible.
    pub(super) fn checked(self) -> Self {
        let stream_window = self.stream_window.clamp(MIN_WINDOW, MAX_STREAM_WINDOW);
        // Every number fits into an integer of the wire, and twice the product below into a `usize` of 32 bits.
        let max_streams = self.max_streams.min(256);
        Self {
            message_window: self.message_window.clamp(MIN_WINDOW, 1 << 30),
            max_message: self.max_message.min(1 << 30),
            reassembly: self.reassembly.min(1 << 30),
            stream_window,
            stream_memory: self.stream_memory.clamp(2 * max_streams * stream_window, 1 << 31),
            max_streams,
            max_unacknowledged: self.max_unacknowledged.max(MIN_WINDOW),
            max_frame: self.max_frame.clamp(MIN_PACKET, MAX_PACKET),
            ..self
        }
    }

    /// How many bytes windows of streams may grow by, together.
    pub(super) fn stream_pool(&self) -> usize {
        self.stream_memory - 2 * self.max_streams * self.stream_window
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            message_window: 1 << 20,
            max_message: 64 << 20,
            reassembly: 80 << 20,
            stream_window: 16 << 10,
            stream_memory: 12 << 20,
            max_streams: 256,
            max_unacknowledged: 4 << 20,
            max_frame: MAX_PACKET,
            ping_after: Duration::from_secs(15),
            dead_after: Duration::from_secs(15),
        }
    }
}
