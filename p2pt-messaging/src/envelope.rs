//! One chunk frame, read.

use serde::de::IgnoredAny;

use crate::{MessageId, MessageIdError, NotAChunk, text::RawText};

/// The fields of a chunk, borrowing its text from the frame.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) id: MessageId,
    pub(crate) msg: RawText<'a>,
    /// Saturated: more than can be held is rejected whatever the number.
    pub(crate) index: u64,
    pub(crate) is_json: bool,
    pub(crate) is_last: bool,
}

/// Whether a peer may take this text frame for a part of a message: it is a `^` and one JSON object.
///
/// A [`Reassembler`](crate::Reassembler) takes fewer frames for chunks, but the JavaScript library takes every object for
/// one, whatever fields it has. A program sends such a text as a message or as a binary frame.
pub fn may_be_taken_for_a_chunk(text: &[u8]) -> bool {
    let Some(json) = text.strip_prefix(b"^") else { return false };
    Cursor { rest: json }.object(|cursor, _| cursor.value().map(drop)).is_ok()
}

impl<'a> Envelope<'a> {
    /// Reads a text frame: keys in any order, unknown ones skipped, of one given twice the later value, as JavaScript
    /// does. `o` and `last` count if JavaScript would take them for true. The outer error is that the frame is no chunk,
    /// the inner one that it is one with an id that is too long.
    pub(crate) fn read(text: &'a [u8]) -> Result<Result<Self, MessageIdError>, NotAChunk> {
        let json = text.strip_prefix(b"^").ok_or(NotAChunk::NoMark)?;
        let (mut id, mut msg, mut index) = (None, None, None);
        let (mut is_json, mut is_last) = (false, false);
        let mut cursor = Cursor { rest: json };
        cursor.object(|cursor, key| {
            if key.is("msg") {
                msg = Some(cursor.string().ok_or(NotAChunk::WrongType("msg"))?);
                return Ok(());
            }
            let value = cursor.value()?;
            if key.is("id") {
                id = Some(MessageId::from_json(value));
            } else if key.is("c") {
                index = Some(chunk_index(value).ok_or(NotAChunk::WrongType("c"))?);
            } else if key.is("o") {
                is_json = is_truthy(value);
            } else if key.is("last") {
                is_last = is_truthy(value);
            }
            Ok(())
        })?;
        let id = id.ok_or(NotAChunk::Missing("id"))?;
        let msg = msg.ok_or(NotAChunk::Missing("msg"))?;
        let index = index.ok_or(NotAChunk::Missing("c"))?;
        match id {
            Ok(id) => Ok(Ok(Self { id, msg, index, is_json, is_last })),
            Err(MessageIdError::NotJson) => Err(NotAChunk::WrongType("id")),
            Err(too_long) => Ok(Err(too_long)),
        }
    }
}

fn chunk_index(value: &[u8]) -> Option<u64> {
    let integer = value.iter().all(u8::is_ascii_digit);
    let digit = |index: u64, digit: &u8| index.saturating_mul(10).saturating_add((digit - b'0').into());
    integer.then(|| value.iter().fold(0, digit))
}

/// Whether JavaScript takes the JSON value for true.
fn is_truthy(value: &[u8]) -> bool {
    match value {
        b"false" | b"null" | b"\"\"" => false,
        [b'-' | b'0'..=b'9', ..] => serde_json::from_slice::<f64>(value).map_or(true, |number| number != 0.0),
        _ => true,
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Reads one object and nothing after it; `field` reads each value.
    fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, RawText<'a>) -> Result<(), NotAChunk>,
    ) -> Result<(), NotAChunk> {
        self.take(b'{').ok_or(NotAChunk::NotAnObject)?;
        if self.take(b'}').is_none() {
            loop {
                let key = self.string().ok_or(NotAChunk::NotAnObject)?;
                self.take(b':').ok_or(NotAChunk::NotAnObject)?;
                field(self, key)?;
                if self.take(b',').is_none() {
                    self.take(b'}').ok_or(NotAChunk::NotAnObject)?;
                    break;
                }
            }
        }
        self.skip_white_space();
        if self.rest.is_empty() { Ok(()) } else { Err(NotAChunk::NotAnObject) }
    }

    fn skip_white_space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Consumes `byte` if it comes next.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_white_space();
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn string(&mut self) -> Option<RawText<'a>> {
        self.take(b'"')?;
        let (text, rest) = RawText::read(self.rest)?;
        self.rest = rest;
        Some(text)
    }

    /// Consumes one value of any kind, checked, without recursion.
    fn value(&mut self) -> Result<&'a [u8], NotAChunk> {
        self.skip_white_space();
        let mut values = serde_json::Deserializer::from_slice(self.rest).into_iter::<IgnoredAny>();
        values.next().and_then(Result::ok).ok_or(NotAChunk::NotAnObject)?;
        let (value, rest) = self.rest.split_at(values.byte_offset());
        self.rest = rest;
        Ok(value)
    }
}
