//! Packets: what is in the frames that follow the exchange of HELLO, and how packets are filled.

use super::{
    Frame, FrameKind, MAX_METADATA, MAX_VARINT, MessageKey, MessageKind, SessionError, StreamKey, Urgency, read_varint,
    write_varint,
};

/// Bits of the first byte of a MSG.
const URGENCY_BITS: u8 = 0b111;
const FIRST: u8 = 1 << 3;
const LAST: u8 = 1 << 4;
const KIND_SHIFT: u8 = 5;
const RESPONSE: u8 = 1 << 7;

/// The only flag of a DATA.
const FIN: u8 = 1;

/// Most bytes of the text of a BYE.
pub(super) const MAX_BYE_TEXT: usize = 1024;

/// What the first fragment of a message says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageHead {
    pub(super) id: u64,
    /// How many bytes the message has; unsaid where the first fragment is also the last one.
    pub(super) total: Option<u64>,
}

/// The body of a MSG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    pub(super) urgency: Urgency,
    pub(super) kind: MessageKind,
    pub(super) response: bool,
    /// There in the first fragment alone.
    pub(super) head: Option<MessageHead>,
    pub(super) is_last: bool,
    pub(super) bytes: &'a [u8],
}

/// A frame, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Sequence(u64),
    Ack(u64),
    Ping(u64),
    Pong(u64),
    Sequenced(Sequenced<'a>),
    /// Of a kind that is not known, or that has its place before the session.
    Other,
}

/// A sequenced frame, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequenced<'a> {
    Message(Fragment<'a>),
    Cancel(Urgency),
    Refuse { urgency: Urgency, ordinal: u64 },
    MaxMessages(u64),
    Open { id: u64, urgency: Urgency, metadata: &'a [u8] },
    Data { stream: StreamKey, fin: bool, bytes: &'a [u8] },
    MaxData { stream: StreamKey, limit: u64 },
    Reset { stream: StreamKey, code: u64 },
    Stop { stream: StreamKey, code: u64 },
    MaxStreams(u64),
    Bye { code: u64, text: &'a str },
}

impl<'a> Content<'a> {
    pub(super) fn read(frame: Frame<'a>) -> Result<Self, SessionError> {
        Body(frame.body).content(frame.kind).ok_or(SessionError::Malformed { kind: frame.kind })
    }
}

/// What is left of a body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn content(mut self, kind: FrameKind) -> Option<Content<'a>> {
        use Sequenced::*;
        let sequenced = match kind {
            FrameKind::SEQ => return self.only_number().map(Content::Sequence),
            FrameKind::ACK => return self.only_number().map(Content::Ack),
            FrameKind::PING => return self.only_number().map(Content::Ping),
            FrameKind::PONG => return self.only_number().map(Content::Pong),
            FrameKind::MSG => Message(self.fragment()?),
            FrameKind::CANCEL => {
                let urgency = self.urgency()?;
                self.end(Cancel(urgency))?
            }
            FrameKind::REFUSE => Refuse { urgency: self.urgency()?, ordinal: self.only_number()? },
            FrameKind::MAX_MSG => MaxMessages(self.only_number()?),
            FrameKind::OPEN => {
                let (id, urgency) = (self.number()?, self.urgency()?);
                Open { id, urgency, metadata: Some(self.0).filter(|metadata| metadata.len() <= MAX_METADATA)? }
            }
            FrameKind::DATA => {
                let (stream, flags) = (self.stream()?, self.byte()?);
                Data { stream, fin: flags == FIN, bytes: Some(self.0).filter(|_| flags & !FIN == 0)? }
            }
            FrameKind::MAX_DATA => MaxData { stream: self.stream()?, limit: self.only_number()? },
            FrameKind::RESET => Reset { stream: self.stream()?, code: self.only_number()? },
            FrameKind::STOP => Stop { stream: self.stream()?, code: self.only_number()? },
            FrameKind::MAX_STREAMS => MaxStreams(self.only_number()?),
            FrameKind::BYE => {
                let code = self.number()?;
                let text = Some(self.0).filter(|text| text.len() <= MAX_BYE_TEXT)?;
                Bye { code, text: std::str::from_utf8(text).ok()? }
            }
            _ => return Some(Content::Other),
        };
        Some(Content::Sequenced(sequenced))
    }

    fn fragment(&mut self) -> Option<Fragment<'a>> {
        let header = self.byte()?;
        let is_last = header & LAST != 0;
        let head = match header & FIRST {
            0 => None,
            _ if is_last => Some(MessageHead { id: self.number()?, total: None }),
            _ => Some(MessageHead { id: self.number()?, total: Some(self.number()?) }),
        };
        let kind = match header >> KIND_SHIFT & 0b11 {
            0 => MessageKind::Text,
            1 => MessageKind::Json,
            2 => MessageKind::Bytes,
            _ => MessageKind::Raw,
        };
        let urgency = Urgency::new(header & URGENCY_BITS)?;
        Some(Fragment { urgency, kind, response: header & RESPONSE != 0, head, is_last, bytes: self.0 })
    }

    fn number(&mut self) -> Option<u64> {
        read_varint(&mut self.0).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn urgency(&mut self) -> Option<Urgency> {
        Urgency::new(self.byte()?)
    }

    fn stream(&mut self) -> Option<StreamKey> {
        self.number().map(StreamKey::referred)
    }

    /// The number with which the body ends.
    fn only_number(&mut self) -> Option<u64> {
        let number = self.number()?;
        self.end(number)
    }

    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// How many bytes an integer takes.
pub(super) fn varint_len(number: u64) -> usize {
    match number {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// What is to be known of a sequenced frame when its packet is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A fragment of a message.
    Fragment { key: MessageKey, urgency: Urgency, bytes: u32, is_last: bool },
    /// The end of a message that was cancelled.
    Cancelled(Urgency),
    /// A refusal.
    Refusal,
    /// Bytes of a stream, and maybe its end, which a reset is too.
    Stream { key: StreamKey, bytes: u32, is_end: bool },
}

/// Fills a packet: unsequenced frames first, then the number of the packet, which the first sequenced frame brings with it,
/// then sequenced frames.
#[derive(Debug)]
pub(super) struct PacketWriter {
    out: Vec<u8>,
    budget: usize,
    number: u64,
    /// Where the packet's number stands.
    sequence: Option<usize>,
    parts: Vec<Part>,
}

impl PacketWriter {
    /// For a packet of at most `budget` bytes with this number. `parts` is empty, and has room from an earlier packet.
    pub(super) fn new(budget: usize, number: u64, parts: Vec<Part>) -> Self {
        Self { out: Vec::new(), budget, number, sequence: None, parts }
    }

    /// Writes an unsequenced frame of one number. The least budget has room for all of them.
    pub(super) fn unsequenced(&mut self, kind: FrameKind, number: u64) {
        self.header(kind, varint_len(number));
        self.put(number);
    }

    /// How many bytes the body of a sequenced frame may have; 0 if there is no room for one.
    pub(super) fn room(&self) -> usize {
        self.room_within(self.budget)
    }

    fn room_within(&self, budget: usize) -> usize {
        let sequence = if self.sequence.is_some() { 0 } else { 2 + varint_len(self.number) };
        let left = budget.saturating_sub(self.out.len() + sequence);
        left.saturating_sub(1 + varint_len(left as u64))
    }

    /// Whether it has no sequenced frame yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.sequence.is_none()
    }

    /// Writes a sequenced frame of numbers, if it has room.
    #[must_use]
    pub(super) fn control(&mut self, kind: FrameKind, numbers: &[u64]) -> bool {
        self.control_with(kind, numbers, &[])
    }

    /// The same, with bytes behind the numbers. As the first in its packet such a frame may exceed the budget.
    #[must_use]
    pub(super) fn control_with(&mut self, kind: FrameKind, numbers: &[u64], bytes: &[u8]) -> bool {
        let length = numbers.iter().map(|number| varint_len(*number)).sum::<usize>() + bytes.len();
        if length > self.room() && !self.is_fresh() {
            return false;
        }
        self.begin(kind, length);
        numbers.iter().for_each(|number| self.put(*number));
        self.out.extend_from_slice(bytes);
        true
    }

    /// How many bytes stand in a MSG before those of the message.
    pub(super) fn fragment_overhead(head: Option<MessageHead>) -> usize {
        1 + head.map_or(0, |head| varint_len(head.id) + head.total.map_or(0, varint_len))
    }

    /// Writes a MSG, for which there is [`room`](Self::room).
    pub(super) fn fragment(&mut self, fragment: &Fragment<'_>) {
        self.begin(FrameKind::MSG, Self::fragment_overhead(fragment.head) + fragment.bytes.len());
        let kind = match fragment.kind {
            MessageKind::Text => 0,
            MessageKind::Json => 1,
            MessageKind::Bytes => 2,
            MessageKind::Raw => 3,
        };
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(fragment.head.is_some(), FIRST) | flag(fragment.is_last, LAST);
        self.out.push(fragment.urgency.get() | flags | kind << KIND_SHIFT | flag(fragment.response, RESPONSE));
        if let Some(head) = fragment.head {
            self.put(head.id);
            head.total.into_iter().for_each(|total| self.put(total));
        }
        self.out.extend_from_slice(fragment.bytes);
    }

    /// How many bytes stand in a DATA before those of the stream.
    pub(super) fn data_overhead(stream: StreamKey) -> usize {
        varint_len(stream.reference()) + 1
    }

    /// Writes a DATA with `length` bytes, for which there is [`room`](Self::room), from `bytes`.
    pub(super) fn data(&mut self, stream: StreamKey, fin: bool, length: usize, bytes: impl FnOnce(&mut Vec<u8>)) {
        self.begin(FrameKind::DATA, Self::data_overhead(stream) + length);
        self.put(stream.reference());
        self.out.push(if fin { FIN } else { 0 });
        bytes(&mut self.out);
    }

    /// Notes what the latest frame has in it.
    pub(super) fn note(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// The packet, the part of it that is to be retained (from where on), and what is in it.
    pub(super) fn finish(self) -> (Vec<u8>, Option<usize>, Vec<Part>) {
        (self.out, self.sequence, self.parts)
    }

    /// Begins a sequenced frame.
    fn begin(&mut self, kind: FrameKind, length: usize) {
        if self.sequence.is_none() {
            self.sequence = Some(self.out.len());
            self.out.reserve(2 + 8 + 2 + 8 + length);
            self.header(FrameKind::SEQ, varint_len(self.number));
            self.put(self.number);
        }
        self.header(kind, length);
        self.out.reserve(length);
    }

    fn header(&mut self, kind: FrameKind, length: usize) {
        self.put(kind.0);
        self.put(length as u64);
    }

    /// Writes a number, which is one of the session's own, or was cut to what an integer of the wire can be.
    fn put(&mut self, number: u64) {
        let is_written = write_varint(number, &mut self.out);
        debug_assert!(is_written.is_ok(), "{number} is beyond {MAX_VARINT}");
    }
}
