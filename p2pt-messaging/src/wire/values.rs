//! Values of the session's interface.

use bytes::Bytes;

/// How soon something is to be sent, from 0, the most urgent, to 7, as in RFC 9218: what is more urgent goes first, and what
/// is equally urgent takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Urgency(u8);

impl Urgency {
    /// How many there are.
    pub(super) const COUNT: usize = 8;

    /// The most urgent: 0.
    pub const URGENT: Self = Self(0);
    /// What is used where nothing is said: 3.
    pub const DEFAULT: Self = Self(3);
    /// The least urgent: 7.
    pub const BACKGROUND: Self = Self(7);

    /// From a number, if it is 0 to 7.
    pub const fn new(number: u8) -> Option<Self> {
        if number <= 7 { Some(Self(number)) } else { None }
    }

    /// The number, 0 to 7.
    pub const fn get(self) -> u8 {
        self.0
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The bit of this urgency in a set of urgencies.
    pub(super) fn bit(self) -> u8 {
        1 << self.0
    }

    /// All, the most urgent first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=7).map(Self)
    }
}

impl Default for Urgency {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the bytes of a message are. The session carries them as they are; whether they are what is said is for the reader to
/// check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Text as UTF-8.
    Text,
    /// JSON as UTF-8.
    Json,
    /// A message of bytes.
    Bytes,
    /// A binary frame of the application's own, outside of messages and responses.
    Raw,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutMessage {
    /// The number by which a response names it; for a response, the number of the message that it responds to. At most
    /// 2^62 - 1; beyond that, the highest two bits are dropped.
    pub id: u64,
    /// Whether it is a response.
    pub response: bool,
    /// What its bytes are.
    pub kind: MessageKind,
    /// How soon it is to be sent.
    pub urgency: Urgency,
    /// What is in it.
    pub bytes: Bytes,
}

/// A message that has come whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InMessage {
    /// The number by which a response names it; for a response, the number of this side's message that it responds to.
    pub id: u64,
    /// Whether it is a response.
    pub response: bool,
    /// What its bytes are said to be.
    pub kind: MessageKind,
    /// How urgent it is to its sender.
    pub urgency: Urgency,
    /// What is in it.
    pub bytes: Bytes,
}

/// Names a message that was given to [`Session::send`](super::Session::send), within its session. In the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey(pub(super) u64);

/// Names a stream within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    pub(super) id: u64,
    pub(super) opened_here: bool,
}

impl StreamKey {
    /// Whether this side opened it.
    pub fn opened_here(self) -> bool {
        self.opened_here
    }

    /// How a frame that this side sends refers to the stream.
    pub(super) fn reference(self) -> u64 {
        self.id << 1 | u64::from(!self.opened_here)
    }

    /// The stream that a frame from the other side refers to.
    pub(super) fn referred(reference: u64) -> Self {
        Self { id: reference >> 1, opened_here: reference & 1 == 1 }
    }
}

/// Names a channel; the driver chooses the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// How far a message has come, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Handed to [`Session::poll_transmit`](super::Session::poll_transmit).
    pub sent: usize,
    /// Acknowledged: taken by the other side's session.
    pub acknowledged: usize,
    /// All there are.
    pub total: usize,
}

/// An incomplete message from the other side that was given up, for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenUp {
    /// The message's number.
    pub id: u64,
    /// Whether it was a response.
    pub response: bool,
    /// How urgent it was.
    pub urgency: Urgency,
    /// How many bytes of it had come and are free now.
    pub bytes: usize,
    /// How many bytes it was going to have.
    pub total: usize,
}

/// A stream that the other side has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// Names the stream.
    pub key: StreamKey,
    /// What the other side says about it; 16 KiB at most.
    pub metadata: Bytes,
    /// How urgent it is, in both directions.
    pub urgency: Urgency,
}
