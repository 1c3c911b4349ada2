//! Frames of a data channel, in any order and at any time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use arbitrary::Arbitrary;
use p2pt_messaging::{
    FrameError, InvalidMessage, Limits, Message, MessageId, NotAChunk, Payload, Progress, Reassembler,
};

#[derive(Debug, Arbitrary)]
struct Input {
    /// `None` for the default limits.
    limits: Option<TightLimits>,
    ops: Vec<Op>,
}

#[derive(Debug, Arbitrary)]
struct TightLimits {
    held_bytes: u16,
    message_bytes: u16,
    in_flight: u8,
    chunks: u8,
}

impl TightLimits {
    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_held_bytes = (self.held_bytes % 6000).into();
        limits.max_message_bytes = (self.message_bytes % 1500).into();
        limits.max_in_flight_messages = (self.in_flight % 5).into();
        limits.max_chunks = (self.chunks % 9).into();
        limits.max_frame_bytes = 600;
        limits
    }
}

#[derive(Debug, Arbitrary)]
enum Op {
    Chunk {
        id: Id,
        index: Index,
        text: Text,
        json: bool,
        last: bool,
    },
    /// The latest chunk again, with one byte changed.
    Damaged {
        at: u16,
        byte: u8,
        cut: bool,
    },
    Raw(Vec<u8>),
    Wait(u8),
    Pause,
    Resume,
}

#[derive(Debug, Arbitrary)]
enum Id {
    Number(u8),
    Text(u8),
}

impl Id {
    fn json(&self) -> String {
        match self {
            Self::Number(n) => (n % 8).to_string(),
            Self::Text(n) => format!("\"{}\"", "i".repeat((n % 4) as usize * 80)),
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Index {
    Small(u8),
    Any(u64),
}

impl Index {
    fn number(&self) -> u64 {
        match self {
            Self::Small(index) => u64::from(index % 10),
            Self::Any(index) => *index,
        }
    }
}

/// What a JavaScript string holds: UTF-16 units, lone surrogates among them.
#[derive(Debug, Arbitrary)]
enum Text {
    Units(Vec<u16>),
    Ascii(String),
    /// A run of one character.
    Long(u8, u16),
}

impl Text {
    fn units(&self) -> Vec<u16> {
        match self {
            Self::Units(units) => units.clone(),
            Self::Ascii(text) => text.encode_utf16().collect(),
            Self::Long(unit, times) => vec![u16::from(*unit); (times % 700).into()],
        }
    }
}

/// `JSON.stringify` of a JavaScript string, with more escapes than it needs.
fn stringify(units: &[u16]) -> String {
    let escape = |unit: &u16| match u8::try_from(*unit) {
        Ok(byte @ 0x20..0x7f) if !b"\"\\".contains(&byte) => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    units.iter().map(escape).collect()
}

/// Bytes of the text in WTF-8, where surrogates of different chunks are not paired yet.
fn wtf8_len(units: &[u16]) -> usize {
    char::decode_utf16(units.iter().copied()).map(|unit| unit.map_or(3, char::len_utf8)).sum()
}

/// One message as the sender wrote it.
#[derive(Debug, Default)]
struct Held {
    chunks: BTreeMap<u64, Vec<u16>>,
    last: Option<(u64, bool)>,
    latest: Duration,
}

impl Held {
    fn bytes(&self) -> usize {
        self.chunks.values().map(|units| wtf8_len(units)).sum()
    }

    fn is_complete(&self) -> bool {
        self.last.is_some_and(|(last, _)| self.chunks.len() as u64 == last + 1)
    }
}

/// What the reassembler should make of chunks, told without regard to memory.
#[derive(Debug, Default)]
struct Model {
    messages: BTreeMap<String, Held>,
    refused: BTreeSet<String>,
    /// Time in which the reader was not paused.
    clock: Duration,
}

impl Model {
    fn chunk(
        &mut self,
        limits: &Limits,
        (id, index, units): (&str, u64, Vec<u16>),
        (json, last): (bool, bool),
        result: &Result<Progress, FrameError>,
    ) {
        if index == 0 && last {
            self.messages.remove(id);
            self.refused.remove(id);
            let held = Held { chunks: [(0, units)].into(), last: Some((0, json)), latest: self.clock };
            return self.check_end(limits, id, held, last, result);
        }
        if let Err(FrameError::InvalidMessage { reason: InvalidMessage::AlreadyRejected, .. }) = result {
            assert!(self.refused.contains(id), "refused for nothing");
            if last {
                self.refused.remove(id);
            }
            return;
        }
        self.refused.remove(id);
        let in_flight = self.messages.len();
        let known = self.messages.remove(id);
        let is_new = known.is_none();
        let mut held = known.unwrap_or_default();
        let behind = held.last.is_some_and(|(last, _)| index > last);
        if last {
            held.last = Some((index, json));
            held.chunks.retain(|other, _| *other < index);
        }
        held.chunks.insert(index, units);
        held.latest = self.clock;
        let refusal = if index >= limits.max_chunks.into() {
            Some(InvalidMessage::TooManyChunks { limit: limits.max_chunks })
        } else if is_new && in_flight >= limits.max_in_flight_messages {
            Some(InvalidMessage::TooManyInFlight { limit: limits.max_in_flight_messages })
        } else if behind {
            Some(InvalidMessage::ChunkAfterLast)
        } else {
            None
        };
        match (refusal, result) {
            (Some(expected), Err(FrameError::InvalidMessage { reason, .. })) if expected == *reason => {}
            (Some(expected), other) => panic!("{other:?} instead of {expected:?}"),
            (None, Err(FrameError::InvalidMessage { reason: InvalidMessage::TooManyBytesHeld { limit }, .. })) => {
                // Room doubles, and each chunk and message has an overhead; but nothing is refused for no reason.
                let most = |held: &Held| 2 * held.bytes() + 160 * held.chunks.len() + 2048;
                let needed = self.messages.values().map(most).sum::<usize>() + most(&held);
                assert!(needed > *limit, "{needed} bytes at most would have fitted into {limit}");
            }
            (None, Ok(Progress::Partial)) => {
                assert!(!held.is_complete(), "the message is complete");
                assert!(held.bytes() <= limits.max_message_bytes);
                self.messages.insert(id.to_owned(), held);
                return;
            }
            (None, result) => return self.check_end(limits, id, held, last, result),
        }
        if !last {
            self.refused.insert(id.to_owned());
        }
    }

    /// The message came to an end: it is too large, whole, or whole and useless.
    fn check_end(&mut self, limits: &Limits, id: &str, held: Held, last: bool, result: &Result<Progress, FrameError>) {
        match result {
            Ok(Progress::Complete(message)) => {
                assert!(held.is_complete());
                assert!(held.bytes() <= limits.max_message_bytes);
                assert_eq!(message.id.to_string(), id);
                let units: Vec<u16> = held.chunks.values().flatten().copied().collect();
                let text = String::from_utf16_lossy(&units);
                match &message.payload {
                    Payload::Text(received) => assert_eq!(*received, text),
                    // Escapes of lone surrogates inside it are mended; without any it is the same.
                    Payload::Json(json) if !text.contains("\\u") => assert_eq!(json.as_str(), text),
                    Payload::Json(json) => {
                        assert_eq!(p2pt_messaging::Json::from_text(json.as_str()).ok().as_ref(), Some(json))
                    }
                    other => panic!("a message of p2pt/1 is {other:?}"),
                }
            }
            Err(FrameError::InvalidMessage { reason: InvalidMessage::TooLarge { limit }, .. }) => {
                assert!(held.bytes() > *limit, "refused for nothing");
                if !last {
                    self.refused.insert(id.to_owned());
                }
            }
            Err(FrameError::InvalidMessage { reason: InvalidMessage::NotJson(_), .. }) => {
                assert!(held.is_complete() && held.last.is_some_and(|(_, json)| json));
            }
            other => panic!("{other:?} for {held:?}"),
        }
    }

    fn wait(&mut self, expired: &[(String, usize)], idle: Duration) {
        let clock = self.clock;
        let late = self.messages.extract_if(.., |_, held| held.latest + idle <= clock);
        let late: BTreeSet<_> = late.map(|(id, held)| (id, held.chunks.len())).collect();
        assert_eq!(expired.iter().cloned().collect::<BTreeSet<_>>(), late);
    }
}

/// Whatever comes, memory stays within the limits; and what was sent is received, unless a limit forbids it.
pub fn data_frames(data: &[u8]) {
    let Some(Input { limits, ops }) = crate::read(data) else { return };
    let limits = limits.map_or_else(Limits::default, |limits| limits.limits());
    let mut reassembler = Reassembler::new(limits.clone());
    let mut now = crate::base();
    let mut paused = false;
    // None once bytes came of which the model cannot know what they mean.
    let mut model = Some(Model::default());
    let mut latest = b"^{}".to_vec();
    for op in ops {
        match op {
            Op::Chunk { id, index, text, json, last } => {
                let (id, index, units) = (id.json(), index.number(), text.units());
                let (o, end) = (if json { ",\"o\":1" } else { "" }, if last { ",\"last\":true" } else { "" });
                latest = format!("^{{\"id\":{id},\"msg\":\"{}\"{o},\"c\":{index}{end}}}", stringify(&units)).into();
                let result = reassembler.push(now, &latest);
                check_frame(&limits, &latest, &result);
                if let Err(FrameError::TooLarge { bytes, limit }) = result {
                    assert!(bytes > limit);
                } else if let Some(model) = &mut model {
                    model.chunk(&limits, (&id, index, units), (json, last), &result);
                }
            }
            Op::Damaged { at, byte, cut } => {
                let mut frame = latest.clone();
                let at = usize::from(at) % frame.len();
                frame[at] = byte;
                frame.truncate(if cut { at } else { frame.len() });
                let result = reassembler.push(now, &frame);
                check_frame(&limits, &frame, &result);
                model = model.filter(|_| is_without_effect(&result));
            }
            Op::Raw(bytes) => {
                let frame = [b"^", bytes.as_slice()].concat();
                let result = reassembler.push(now, &frame);
                check_frame(&limits, &frame, &result);
                model = model.filter(|_| is_without_effect(&result));
            }
            Op::Wait(seconds) => {
                let by = Duration::from_secs((seconds % 40).into());
                now += by;
                let due = reassembler.poll_timeout().is_some_and(|due| due <= now);
                let expired = reassembler.handle_timeout(now);
                assert_eq!(due, !expired.is_empty());
                if let Some(model) = &mut model {
                    model.clock += if paused { Duration::ZERO } else { by };
                    let expired: Vec<_> = expired.iter().map(|gone| (gone.id.to_string(), gone.chunks)).collect();
                    model.wait(&expired, limits.idle_timeout);
                }
            }
            Op::Pause => {
                paused = true;
                reassembler.pause(now);
            }
            Op::Resume => {
                paused = false;
                reassembler.resume(now);
            }
        }
        assert!(reassembler.held_bytes() <= limits.max_held_bytes);
        assert!(reassembler.in_flight() <= limits.max_in_flight_messages);
        assert_eq!(reassembler.held_bytes() == 0, reassembler.in_flight() == 0);
        assert_eq!(reassembler.poll_timeout().is_some(), reassembler.in_flight() > 0 && !paused);
        if let Some(model) = &model {
            assert_eq!(reassembler.in_flight(), model.messages.len());
        }
    }
    reassembler.resume(now);
    drop(reassembler.handle_timeout(now + limits.idle_timeout));
    assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
}

fn is_without_effect(result: &Result<Progress, FrameError>) -> bool {
    matches!(result, Ok(Progress::Foreign(_)) | Err(FrameError::IdTooLong { .. } | FrameError::TooLarge { .. }))
}

fn check_frame(limits: &Limits, frame: &[u8], result: &Result<Progress, FrameError>) {
    let no_mark = matches!(result, Ok(Progress::Foreign(NotAChunk::NoMark)));
    assert_eq!(no_mark, frame.first() != Some(&b'^'));
    assert!(!matches!(result, Ok(Progress::NeedsRoom { .. })), "there is room without end");
    if let Ok(Progress::Complete(Message { id, payload })) = result {
        assert!(payload.len() <= limits.max_message_bytes);
        assert!(id.to_string().len() <= MessageId::MAX_BYTES);
    }
}
