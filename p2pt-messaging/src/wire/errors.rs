//! Errors of a session.

use super::{FrameKind, MAX_PACKET, WireError};

/// The other side has broken the protocol. The session has ended with it, and the peer is to be closed; what was not
/// acknowledged can still be taken out of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A packet is larger than packets may be.
    #[error("a packet has {bytes} bytes, which is more than {MAX_PACKET}")]
    PacketTooLarge {
        /// Bytes that it has.
        bytes: usize,
    },
    /// A packet does not consist of frames.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The body of a frame is not what its kind has.
    #[error("the body of a frame of kind {} is malformed", kind.0)]
    Malformed {
        /// The kind.
        kind: FrameKind,
    },
    /// A sequenced frame without a number before it, or one behind a number that is not sequenced.
    #[error("a frame of kind {} is on the wrong side of the packet's number", kind.0)]
    Misplaced {
        /// The kind.
        kind: FrameKind,
    },
    /// Packets are missing, which cannot be if each channel keeps its order.
    #[error("packet {got} came where {expected} was next")]
    Gap {
        /// Which was next.
        expected: u64,
        /// Which came.
        got: u64,
    },
    /// Packets are acknowledged that were not sent.
    #[error("packets before {next} are acknowledged, and only those before {sent} were sent")]
    Acknowledged {
        /// What is said to be next.
        next: u64,
        /// What is next.
        sent: u64,
    },
    /// More messages came than were granted.
    #[error("{received} bytes of messages came, and {granted} were granted")]
    MessageWindow {
        /// How many came.
        received: u64,
        /// How many may have come.
        granted: u64,
    },
    /// A message is larger than messages may be.
    #[error("a message has {bytes} bytes, which is more than {max}")]
    MessageTooLarge {
        /// Its size.
        bytes: u64,
        /// The largest.
        max: usize,
    },
    /// More messages are incomplete at a time than there is room for.
    #[error("incomplete messages are to have {bytes} bytes together, and there is room for {max}")]
    Reassembly {
        /// What they are to have.
        bytes: u64,
        /// The room.
        max: usize,
    },
    /// A fragment follows no other, or begins a message where another one is on its way, or its message has not the length
    /// that was said.
    #[error("a fragment is out of its place in a message")]
    Fragment,
    /// A message is refused that is not on its way.
    #[error("a message is refused that is not on its way")]
    Refusal,
    /// More streams were opened than were granted.
    #[error("stream {id} was opened, and {granted} were granted")]
    TooManyStreams {
        /// The stream's number.
        id: u64,
        /// How many may have been opened.
        granted: u64,
    },
    /// A stream was not opened in its turn.
    #[error("stream {id} was opened where {expected} was next")]
    StreamOrder {
        /// The stream's number.
        id: u64,
        /// Which was next.
        expected: u64,
    },
    /// A frame is about a stream that was not opened.
    #[error("a frame is about a stream that was never opened")]
    UnknownStream,
    /// More came on a stream than was granted.
    #[error("{received} bytes came on a stream, and {granted} were granted")]
    StreamWindow {
        /// How many came.
        received: u64,
        /// How many may have come.
        granted: u64,
    },
    /// Something came on a stream behind its end.
    #[error("something came on a stream behind its end")]
    StreamEnded,
    /// A packet came behind the one with which the other side left.
    #[error("a packet came behind the end of the session")]
    AfterBye,
}

/// A message is larger than what the other side takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes is larger than {max}, the most that the other side takes")]
#[non_exhaustive]
pub struct TooLarge {
    /// The message's size.
    pub bytes: usize,
    /// The other side's largest.
    pub max: usize,
}

/// A stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There are as many streams as there may be. [`StreamsAvailable`](super::SessionEvent::StreamsAvailable) says when one
    /// can be opened.
    #[error("there are as many streams as there may be, {limit}")]
    TooMany {
        /// How many of this side's there may be at a time.
        limit: usize,
    },
    /// The metadata is too long.
    #[error("the metadata of a stream has {bytes} bytes, which is more than {max}")]
    Metadata {
        /// Its length.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// The session has ended, or is about to.
    #[error("the session has ended")]
    Ended,
}

/// Nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing is there yet; [`Readable`](super::SessionEvent::Readable) says when something is.
    #[error("nothing has come on the stream yet")]
    Blocked,
    /// The other side ended its half, with this code; what was not read is lost.
    #[error("the other side has reset the stream with code {0}")]
    Reset(u64),
    /// This side has stopped the stream.
    #[error("reading was stopped by this side")]
    Stopped,
    /// The session has ended, and nothing more can come.
    #[error("the session has ended")]
    Ended,
    /// There is no such stream, or none any more: both halves have ended, and the reader has seen it.
    #[error("there is no such stream")]
    Unknown,
}

/// Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no room; [`Writable`](super::SessionEvent::Writable) says when there is.
    #[error("the stream has no room")]
    Blocked,
    /// The other side wants no more, and gave this code. What it had not got was dropped.
    #[error("the other side has stopped the stream with code {0}")]
    Stopped(u64),
    /// This side has finished or reset its half.
    #[error("writing was ended by this side")]
    Finished,
    /// The session has ended, or is about to.
    #[error("the session has ended")]
    Ended,
    /// There is no such stream, or none any more.
    #[error("there is no such stream")]
    Unknown,
}
