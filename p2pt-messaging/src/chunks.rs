//! Message to frames.

use std::{fmt::Write as _, sync::Arc};

use crate::{BudgetTooSmall, MessageId, Payload, text};

/// The smallest budget, in bytes a frame: enough for the longest id, the longest index and one character.
pub const MIN_BUDGET: usize = 512;

/// A good budget, in bytes a frame: what every WebRTC stack takes, also those that know no `max-message-size`.
pub const DEFAULT_BUDGET: usize = 64 * 1024;

const LAST: &str = ",\"last\":true";

/// Longest envelope: `^{"id":…,"msg":"…","o":1,"c":…,"last":true}` with an id and an index of the largest size.
const MAX_ENVELOPE: usize = "^{\"id\":,\"msg\":\"\",\"o\":1,\"c\":}".len() + LAST.len() + MessageId::MAX_BYTES + 20;
const _: () = assert!(MIN_BUDGET >= MAX_ENVELOPE + text::LONGEST_ESCAPE);

/// The frames of one message, in order: an iterator that makes each when asked for it.
///
/// Frames are written as the JavaScript library writes them, but cut by their encoded size and only between
/// characters. An empty text has one frame, otherwise none is empty.
#[derive(Clone, Debug)]
pub struct Chunks {
    id: MessageId,
    payload: Arc<Payload>,
    budget: usize,
    /// `^{"id":…,"msg":"`, the same for every frame.
    head: String,
    /// Bytes of the text sent so far.
    sent: usize,
    index: usize,
    done: bool,
}

impl Chunks {
    /// Prepares the frames of a message, each of at most `budget_bytes` bytes as sent, envelope and escapes included.
    pub fn new(id: MessageId, payload: impl Into<Arc<Payload>>, budget_bytes: usize) -> Result<Self, BudgetTooSmall> {
        if budget_bytes < MIN_BUDGET {
            return Err(BudgetTooSmall { budget: budget_bytes });
        }
        let head = format!("^{{\"id\":{id},\"msg\":\"");
        Ok(Self { id, payload: payload.into(), budget: budget_bytes, head, sent: 0, index: 0, done: false })
    }

    /// The message's id.
    pub fn id(&self) -> &MessageId {
        &self.id
    }

    /// The message's content.
    pub fn payload(&self) -> &Arc<Payload> {
        &self.payload
    }

    /// Starts again with the first frame, for a message that must take another link.
    pub fn restart(&mut self) {
        (self.sent, self.index, self.done) = (0, 0, false);
    }
}

impl Iterator for Chunks {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.done {
            return None;
        }
        let middle = match *self.payload {
            Payload::Text(_) => "\",\"c\":",
            Payload::Json(_) => "\",\"o\":1,\"c\":",
        };
        let digits = self.index.checked_ilog10().map_or(1, |log| log as usize + 1);
        // Room for `last` is kept in every frame, so that a text never ends in a frame that has none.
        let envelope = self.head.len() + middle.len() + digits + LAST.len() + 1;
        let room = self.budget - envelope;

        let rest = &self.payload.as_str()[self.sent..];
        let text_bytes =
            if rest.len() < room { room.min(rest.len() + text::escape_growth(rest.as_bytes())) } else { room };
        let mut frame = String::with_capacity(envelope + text_bytes);
        frame.push_str(&self.head);
        let taken = text::push_escaped(&mut frame, rest, room);
        self.done = taken == rest.len();
        self.sent += taken;

        frame.push_str(middle);
        write!(frame, "{}", self.index).expect("writing to a string succeeds");
        if self.done {
            frame.push_str(LAST);
        }
        frame.push('}');
        self.index += 1;
        Some(frame)
    }
}

impl std::iter::FusedIterator for Chunks {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_has_one_frame() {
        let mut chunks = Chunks::new(MessageId::from(7), Payload::from(""), MIN_BUDGET).unwrap();
        assert_eq!(chunks.next().as_deref(), Some(r#"^{"id":7,"msg":"","c":0,"last":true}"#));
        assert_eq!(chunks.next(), None);
    }

    #[test]
    fn the_smallest_budget_holds_the_longest_id_and_character() {
        let id: MessageId = format!("\"{}\"", "x".repeat(MessageId::MAX_BYTES - 2)).parse().unwrap();
        let payload = Payload::json(&"\u{1}😀".repeat(500)).unwrap();
        let frames: Vec<String> = Chunks::new(id, payload, MIN_BUDGET).unwrap().collect();
        assert!(frames.iter().all(|frame| frame.len() <= MIN_BUDGET));
        assert!(frames.len() > 10);
        let error = Chunks::new(MessageId::from(7), Payload::from("x"), MIN_BUDGET - 1).unwrap_err();
        assert_eq!(error, BudgetTooSmall { budget: 511 });
    }

    #[test]
    fn a_frame_takes_one_allocation_of_its_size() {
        let frame = |text: &str| Chunks::new(MessageId::from(7), Payload::from(text), 2000).unwrap().next().unwrap();
        for text in ["hello".to_owned(), "\"".repeat(100), "é".repeat(3000), "x".repeat(3000)] {
            let frame = frame(&text);
            assert!(frame.capacity() - frame.len() <= LAST.len() + 1, "{} for {}", frame.capacity(), frame.len());
        }
    }
}
