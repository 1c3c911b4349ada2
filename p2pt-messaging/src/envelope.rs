//! One chunk frame, read.

use serde::de::IgnoredAny;

use crate::{Malformed, MessageId, text::RawText};

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

impl<'a> Envelope<'a> {
    /// Reads what follows the `^`: keys in any order, unknown ones skipped, of one given twice the later value, as
    /// JavaScript does. `o` and `last` count if JavaScript would take them for true.
    pub(crate) fn read(json: &'a [u8]) -> Result<Self, Malformed> {
        let (mut id, mut msg, mut index) = (None, None, None);
        let (mut is_json, mut is_last) = (false, false);
        let mut cursor = Cursor { rest: json };
        cursor.object(|cursor, key| {
            if key.is("msg") {
                msg = Some(cursor.string().ok_or(Malformed::WrongType("msg"))?);
                return Ok(());
            }
            let value = cursor.value()?;
            if key.is("id") {
                id = Some(MessageId::from_json(value)?);
            } else if key.is("c") {
                index = Some(chunk_index(value).ok_or(Malformed::WrongType("c"))?);
            } else if key.is("o") {
                is_json = is_truthy(value);
            } else if key.is("last") {
                is_last = is_truthy(value);
            }
            Ok(())
        })?;
        Ok(Self {
            id: id.ok_or(Malformed::Missing("id"))?,
            msg: msg.ok_or(Malformed::Missing("msg"))?,
            index: index.ok_or(Malformed::Missing("c"))?,
            is_json,
            is_last,
        })
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
        mut field: impl FnMut(&mut Self, RawText<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.take(b'{').ok_or(Malformed::NotAnObject)?;
        if self.take(b'}').is_none() {
            loop {
                let key = self.string().ok_or(Malformed::NotAnObject)?;
                self.take(b':').ok_or(Malformed::NotAnObject)?;
                field(self, key)?;
                if self.take(b',').is_none() {
                    self.take(b'}').ok_or(Malformed::NotAnObject)?;
                    break;
                }
            }
        }
        self.skip_white_space();
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::NotAnObject) }
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
    fn value(&mut self) -> Result<&'a [u8], Malformed> {
        self.skip_white_space();
        let mut values = serde_json::Deserializer::from_slice(self.rest).into_iter::<IgnoredAny>();
        values.next().and_then(Result::ok).ok_or(Malformed::NotAnObject)?;
        let (value, rest) = self.rest.split_at(values.byte_offset());
        self.rest = rest;
        Ok(value)
    }
}
