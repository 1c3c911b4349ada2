//! The binary frames of p2pt/2, between peers whose descriptions both say `a=p2pt:2`.
//!
//! A binary frame of the channel holds one or more frames, one after the other:
//!
//! ```text
//! kind (varint) | bytes in the body (varint) | body
//! ```
//!
//! Integers are those of QUIC (RFC 9000, section 16): the two highest bits of the first byte say whether the integer has 1,
//! 2, 4 or 8 bytes, the rest is the number, the highest byte first. Each frame says how long it is, so that one of a kind
//! that is not known can be passed over.
//!
//! [`FrameKind::AUTH`] is the first frame on a channel, its body is the confirmation of `p2pt-trust`; that of
//! [`FrameKind::HELLO`] is [`Hello`]. What follows them belongs to a [`Session`]. `docs/p2pt2.md` of the repository is the
//! specification, and `docs/p2pt2-vectors.json` has examples.
//!
//! ```
//! use p2pt_messaging::wire::{Frame, FrameKind, Frames};
//!
//! let mut bytes = Vec::new();
//! Frame { kind: FrameKind::AUTH, body: b"proof" }.encode(&mut bytes)?;
//! Frame { kind: FrameKind::HELLO, body: b"" }.encode(&mut bytes)?;
//! assert_eq!(bytes, b"\x01\x05proof\x02\x00");
//!
//! let mut frames = Frames::new(&bytes);
//! assert_eq!(frames.next(), Some(Ok(Frame { kind: FrameKind::AUTH, body: b"proof" })));
//! assert_eq!(frames.next(), Some(Ok(Frame { kind: FrameKind::HELLO, body: b"" })));
//! assert_eq!(frames.next(), None);
//! # Ok::<(), p2pt_messaging::wire::WireError>(())
//! ```

mod byte_queue;
mod config;
mod errors;
mod events;
mod halves;
mod hello;
mod incoming;
mod links;
mod outgoing;
mod packet;
#[cfg(test)]
mod pair;
mod retention;
mod schedule;
mod session;
mod streams;
mod values;

#[cfg(test)]
mod vectors_tests;

pub use config::SessionConfig;
pub use errors::{OpenError, ReadError, SessionError, TooLarge, WriteError};
pub use events::SessionEvent;
pub use hello::{Hello, HelloError};
pub use session::Session;
pub use values::{
    Accepted, GivenUp, InMessage, LinkId, MessageKey, MessageKind, OutMessage, Progress, StreamKey, Urgency,
};

/// Most bytes of a packet, which is what a binary frame of the channel is called: 64 KiB, what WebRTC stacks take.
pub const MAX_PACKET: usize = 65_536;

/// The least bytes that a packet may be limited to.
const MIN_PACKET: usize = 1024;

/// Most bytes of the metadata of a stream: 16 KiB.
pub const MAX_METADATA: usize = 16 << 10;

/// What a message counts beyond its bytes: about the memory of what is kept of it.
const MESSAGE_CHARGE: u64 = 64;

/// The largest number that a varint holds: 2^62 - 1.
pub const MAX_VARINT: u64 = (1 << 62) - 1;

/// Bytes are no frames of p2pt/2, or a number does not fit into one. A peer that sends such bytes breaks the protocol; the
/// channel is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// An integer is cut off.
    #[error("an integer of a p2pt/2 frame is cut off")]
    Varint,
    /// A frame says that its body is longer than what is left.
    #[error("a p2pt/2 frame says that its body has {said} bytes, and {left} are left")]
    Body {
        /// Bytes that it says.
        said: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A number is larger than 2^62 - 1.
    #[error("{number} is larger than an integer of a p2pt/2 frame can be")]
    TooLarge {
        /// The number.
        number: u64,
    },
}

/// Writes an integer in the fewest bytes.
pub fn write_varint(number: u64, out: &mut Vec<u8>) -> Result<(), WireError> {
    match number {
        0..0x40 => out.push(number as u8),
        0x40..0x4000 => out.extend((number as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend((number as u32 | 0x8000_0000).to_be_bytes()),
        0x4000_0000..=MAX_VARINT => out.extend((number | 0xc000_0000_0000_0000).to_be_bytes()),
        _ => return Err(WireError::TooLarge { number }),
    }
    Ok(())
}

/// Takes an integer from the front of `bytes`. As in QUIC it may have more bytes than it needs.
pub fn read_varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let first = *bytes.first().ok_or(WireError::Varint)?;
    let (number, rest) = bytes.split_at_checked(1 << (first >> 6)).ok_or(WireError::Varint)?;
    *bytes = rest;
    Ok(number[1..].iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte)))
}

/// What a frame is. A kind that is not known is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameKind(pub u64);

impl FrameKind {
    /// The proof of who the sender is: the first frame on a channel, and in no other place.
    pub const AUTH: Self = Self(1);
    /// What the sender can and grants, behind [`AUTH`](Self::AUTH).
    pub const HELLO: Self = Self(2);
    /// A step of the exchange by which two nodes prove to each other that they have the same code.
    pub const CODE: Self = Self(3);
    /// The number of the packet, whose frames behind it are sequenced.
    pub const SEQ: Self = Self(4);
    /// The number of the next packet that is expected: all before it were taken.
    pub const ACK: Self = Self(5);
    /// Asks for a [`PONG`](Self::PONG) with the same number.
    pub const PING: Self = Self(6);
    /// A sign of life.
    pub const PONG: Self = Self(7);
    /// A message, or a fragment of one.
    pub const MSG: Self = Self(8);
    /// The message on its way ends here, and was none.
    pub const CANCEL: Self = Self(9);
    /// There is no room for a message.
    pub const REFUSE: Self = Self(10);
    /// How many bytes of messages may come in all.
    pub const MAX_MSG: Self = Self(11);
    /// Opens a stream.
    pub const OPEN: Self = Self(12);
    /// Bytes of a stream.
    pub const DATA: Self = Self(13);
    /// How many bytes of a stream may come in all.
    pub const MAX_DATA: Self = Self(14);
    /// The sender of a stream's bytes ends them; what was not read is dropped.
    pub const RESET: Self = Self(15);
    /// The reader of a stream's bytes wants no more.
    pub const STOP: Self = Self(16);
    /// How many streams may be opened in all.
    pub const MAX_STREAMS: Self = Self(17);
    /// The session ends.
    pub const BYE: Self = Self(18);
}

/// One frame of p2pt/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: FrameKind,
    /// What is in it.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Writes the frame behind what is in `out`. It fails for a kind beyond [`MAX_VARINT`] alone, and writes nothing then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        write_varint(self.kind.0, out)?;
        write_varint(self.body.len() as u64, out)?;
        out.extend(self.body);
        Ok(())
    }
}

/// The frames of p2pt/2 in one binary frame of the channel. It ends with the first error, and what stands behind that is
/// nothing.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Reads from a binary frame of the channel.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<Frame<'a>, WireError> {
        let kind = FrameKind(read_varint(&mut self.rest)?);
        let said = read_varint(&mut self.rest)?;
        let split = usize::try_from(said).ok().and_then(|length| self.rest.split_at_checked(length));
        let (body, rest) = split.ok_or(WireError::Body { said, left: self.rest.len() })?;
        self.rest = rest;
        Ok(Frame { kind, body })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let frame = self.read();
        if frame.is_err() {
            self.rest = &[];
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_varint(number, &mut bytes).unwrap();
        bytes
    }

    /// The examples of RFC 9000, appendix A.1.
    #[test]
    fn integers_are_those_of_quic() {
        let examples: [(u64, &[u8]); 4] = [
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
        ];
        for (number, bytes) in examples {
            assert_eq!(varint(number), bytes);
            assert_eq!(read_varint(&mut &*bytes), Ok(number));
        }
        assert_eq!(read_varint(&mut &[0x40, 0x25][..]), Ok(37));
    }

    #[test]
    fn an_integer_has_the_fewest_bytes() {
        let lengths =
            [(0x3f, 1), (0x40, 2), (0x3fff, 2), (0x4000, 4), (0x3fff_ffff, 4), (0x4000_0000, 8), (MAX_VARINT, 8)];
        for (number, length) in lengths {
            let bytes = varint(number);
            assert_eq!(bytes.len(), length, "{number}");
            assert_eq!(read_varint(&mut &*bytes), Ok(number));
            for cut in 0..length {
                assert_eq!(read_varint(&mut &bytes[..cut]), Err(WireError::Varint), "{number}");
            }
        }
        let number = MAX_VARINT + 1;
        assert_eq!(write_varint(number, &mut Vec::new()), Err(WireError::TooLarge { number }));
    }

    #[test]
    fn a_body_is_within_what_is_there() {
        assert_eq!(Frames::new(b"").next(), None);
        let mut frames = Frames::new(b"\x07\x02abx");
        assert_eq!(frames.next(), Some(Ok(Frame { kind: FrameKind(7), body: b"ab" })));
        assert_eq!(frames.next(), Some(Err(WireError::Varint)));
        assert_eq!(frames.next(), None);
        let read = |bytes: &'static [u8]| Frames::new(bytes).next().unwrap();
        assert_eq!(read(b"\x01\x03ab"), Err(WireError::Body { said: 3, left: 2 }));
        assert_eq!(read(b"\x01"), Err(WireError::Varint));
        assert_eq!(
            read(&[1, 0xff, 255, 255, 255, 255, 255, 255, 255]),
            Err(WireError::Body { said: MAX_VARINT, left: 0 })
        );
    }

    #[test]
    fn a_kind_that_does_not_fit_writes_nothing() {
        let mut out = vec![1];
        let frame = Frame { kind: FrameKind(u64::MAX), body: b"x" };
        assert_eq!(frame.encode(&mut out), Err(WireError::TooLarge { number: u64::MAX }));
        assert_eq!(out, [1]);
    }
}
