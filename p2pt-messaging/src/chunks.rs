//! Message to frames.

use std::fmt::Write as _;

use crate::{BudgetTooSmall, ChunksError, MessageId, Payload, text};

/// The smallest budget, in bytes a frame: enough for the longest id, the longest index and one character.
pub const MIN_BUDGET: usize = 512;

/// A good budget, in bytes a frame: what every WebRTC stack takes, also those that know no `max-message-size`.
pub const DEFAULT_BUDGET: usize = 64 * 1024;

const HEAD: &str = "^{\"id\":";
const TEXT: &str = ",\"msg\":\"";
const LAST: &str = ",\"last\":true";

/// Longest envelope: `^{"id":…,"msg":"…","o":1,"c":…,"last":true}` with an id and an index of the largest size.
const MAX_ENVELOPE: usize = "^{\"id\":,\"msg\":\"\",\"o\":1,\"c\":}".len() + LAST.len() + MessageId::MAX_BYTES + 20;
const _: () = assert!(MIN_BUDGET >= MAX_ENVELOPE + text::LONGEST_ESCAPE);

/// The frames of one message, in order: an iterator that makes each when asked for it.
///
/// Frames are written as the JavaScript library writes them, but cut by their encoded size and only between
/// characters. An empty text has one frame, otherwise none is empty.
#[derive(Clone, Debug)]
#[must_use = "frames are made when the iterator is asked for them"]
pub struct Chunks<'a> {
    id: &'a MessageId,
    text: &'a str,
    is_json: bool,
    /// Bytes of a frame besides the text, its index and `last`.
    envelope: usize,
    budget: usize,
    /// Bytes of the text sent so far.
    sent: usize,
    index: usize,
    done: bool,
}

impl<'a> Chunks<'a> {
    /// Prepares the frames of a message, each of at most `budget_bytes` bytes as sent, envelope and escapes included.
    ///
    /// # Errors
    /// [`ChunksError::Budget`], [`ChunksError::Bytes`].
    pub fn new(id: &'a MessageId, payload: &'a Payload, budget_bytes: usize) -> Result<Self, ChunksError> {
        if budget_bytes < MIN_BUDGET {
            return Err(BudgetTooSmall { budget: budget_bytes }.into());
        }
        let text = payload.as_str().ok_or(ChunksError::Bytes)?;
        let is_json = payload.as_json().is_some();
        let envelope = HEAD.len() + id.json_len() + TEXT.len() + end_of_text(is_json).len() + "}".len();
        Ok(Self { id, text, is_json, envelope, budget: budget_bytes, sent: 0, index: 0, done: false })
    }
}

/// What follows the text, up to the index.
fn end_of_text(is_json: bool) -> &'static str {
    if is_json { "\",\"o\":1,\"c\":" } else { "\",\"c\":" }
}

impl Iterator for Chunks<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.done {
            return None;
        }
        let digits = self.index.checked_ilog10().map_or(1, |log| log as usize + 1);
        // Room for `last` is kept in every frame, so that a text never ends in a frame that has none.
        let envelope = self.envelope + digits + LAST.len();
        let room = self.budget - envelope;

        let rest = &self.text[self.sent..];
        // What does not all fit has no `last`.
        let capacity = if rest.len() > room {
            self.budget - LAST.len()
        } else {
            envelope + room.min(rest.len() + text::escape_growth(rest.as_bytes()))
        };
        let mut frame = String::with_capacity(capacity);
        write!(frame, "{HEAD}{}{TEXT}", self.id).expect("writing to a string succeeds");
        let taken = text::push_escaped(&mut frame, rest, room);
        self.done = taken == rest.len();
        self.sent += taken;

        write!(frame, "{}{}", end_of_text(self.is_json), self.index).expect("writing to a string succeeds");
        if self.done {
            frame.push_str(LAST);
        }
        frame.push('}');
        self.index += 1;
        Some(frame)
    }
}

impl std::iter::FusedIterator for Chunks<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_has_one_frame() {
        let (id, payload) = (MessageId::from(7), Payload::from(""));
        let mut chunks = Chunks::new(&id, &payload, MIN_BUDGET).unwrap();
        assert_eq!(chunks.next().as_deref(), Some(r#"^{"id":7,"msg":"","c":0,"last":true}"#));
        assert_eq!(chunks.next(), None);
    }

    #[test]
    fn the_smallest_budget_holds_the_longest_id_and_character() {
        let id: MessageId = format!("\"{}\"", "x".repeat(MessageId::MAX_BYTES - 2)).parse().unwrap();
        let payload = Payload::json(&"\u{1}😀".repeat(500)).unwrap();
        let frames: Vec<String> = Chunks::new(&id, &payload, MIN_BUDGET).unwrap().collect();
        assert!(frames.iter().all(|frame| frame.len() <= MIN_BUDGET));
        assert!(frames.len() > 10);
        let error = Chunks::new(&id, &payload, MIN_BUDGET - 1).unwrap_err();
        assert_eq!(error, BudgetTooSmall { budget: 511 }.into());
    }

    #[test]
    fn a_frame_takes_one_allocation_of_its_size() {
        let of = |text: &str| (MessageId::from(7), Payload::from(text), 0);
        let long_id = "\"an id of an application\"".parse().unwrap();
        for (id, payload, slack) in [
            of("hello"),
            of(&"\"".repeat(100)),
            (MessageId::from(u64::MAX), Payload::json(&0).unwrap(), 0),
            (long_id, Payload::from(""), 0),
            of(&"x".repeat(3000)),
            (MessageId::from(7), Payload::from("é".repeat(3000)), 1),
        ] {
            let frame = Chunks::new(&id, &payload, 2000).unwrap().next().unwrap();
            assert!(frame.capacity() - frame.len() <= slack, "{} for {}", frame.capacity(), frame.len());
        }
    }
}
