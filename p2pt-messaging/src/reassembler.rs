//! Frames to messages.

use std::collections::{HashMap, hash_map::Entry};

use crate::{
    FrameError, Instant, InvalidMessage, Limits, Message, MessageId, NotAChunk, Payload,
    envelope::Envelope,
    partial::{NotAdded, Partial},
    rejected::Rejected,
};

/// Incomplete messages for which there is always a place in the table: a sender has rarely more on their way.
const USUAL_MESSAGES: usize = 3;

/// A text frame, read.
#[derive(Debug)]
#[non_exhaustive]
pub enum TextFrame<'a> {
    /// Not a chunk, and why: the application's own frame.
    Foreign(NotAChunk),
    /// A chunk, for [`Reassembler::take`].
    Chunk(Chunk<'a>),
}

/// A chunk of a message, read, and borrowing its text from the frame.
#[derive(Debug)]
pub struct Chunk<'a>(Envelope<'a>);

impl Chunk<'_> {
    /// The id of the message that it belongs to.
    pub fn id(&self) -> &MessageId {
        &self.0.id
    }

    /// Whether it is the whole of its message, of which nothing is kept.
    pub fn is_whole(&self) -> bool {
        self.0.index == 0 && self.0.is_last
    }
}

/// What a frame amounted to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Not a chunk, and why: the application's own frame.
    Foreign(NotAChunk),
    /// A chunk; its message is incomplete.
    Partial,
    /// The chunk that completed a message.
    Complete(Message),
    /// The chunk needs so many bytes more than the [room](Reassembler::set_room) that there is, and was not taken: it is
    /// to be given again when there is more, or its message is to be [rejected](Reassembler::reject). Never, unless
    /// room was set.
    NeedsRoom {
        /// How many.
        bytes: usize,
    },
}

/// An incomplete message that was dropped because no chunk of it came for [`Limits::idle_timeout`], or because its room
/// was [needed](Reassembler::give_up_largest).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// The message's id.
    pub id: MessageId,
    /// How many of its chunks had come.
    pub chunks: usize,
    /// The memory that it had taken, in bytes.
    pub bytes: usize,
}

impl Expired {
    fn new(id: MessageId, partial: &Partial) -> Self {
        Self { id, chunks: partial.chunks(), bytes: partial.memory() }
    }
}

/// Turns the text frames of one channel into messages.
///
/// Chunks may come in any order and the chunks of several messages may be mixed. A chunk that comes twice replaces the
/// first. A message that breaks a limit is rejected: its memory is freed, and its further chunks are rejected until the
/// one marked as last has come, or none has come for [`Limits::idle_timeout`].
///
/// Binary frames are not for it: messages travel as text only, so a binary frame is the application's own, whatever is
/// in it. This is what becomes of a text frame, here and in the JavaScript library, which reports every frame as `data`
/// besides:
///
/// | a text frame that | is here | makes JavaScript |
/// |---|---|---|
/// | does not begin with `^` | [`Foreign`](Progress::Foreign) | do nothing more |
/// | has no JSON, or no JSON object, after the `^` | `Foreign` | log an error, or forget it |
/// | is an object without `id`, `msg` or `c` | `Foreign` | deliver an empty message, without an id one that cannot be answered |
/// | has a `msg` that is no string | `Foreign` | deliver it as text (`7` as `"7"`, `null` as `""`) |
/// | has a `c` that is not written as an integer from 0 | `Foreign` | deliver an empty message; for `1.0` or `"1"` what is meant |
/// | has an `id` that is not UTF-8 | `Foreign` | take U+FFFD for it |
/// | is a chunk with an id above [`MessageId::MAX_BYTES`] | [`IdTooLong`](FrameError::IdTooLong) | deliver it |
/// | begins with `^` and is larger than [`Limits::max_frame_bytes`] | [`TooLarge`](FrameError::TooLarge) | look into it |
/// | is a chunk whose message violates a limit, is no JSON or no UTF-8 | [`InvalidMessage`](FrameError::InvalidMessage) | deliver it, or log an error |
/// | is any other chunk | a part of a message | the same |
#[derive(Debug)]
pub struct Reassembler {
    limits: Limits,
    /// Memory that all partials may take now.
    room: usize,
    partials: HashMap<MessageId, Partial>,
    /// Memory of all partials.
    held: usize,
    rejected: Rejected,
    paused: Option<Instant>,
}

impl Reassembler {
    /// A reassembler for a new channel.
    pub fn new(limits: Limits) -> Self {
        let (room, partials, rejected) = (usize::MAX, HashMap::new(), Rejected::default());
        Self { limits, room, partials, held: 0, rejected, paused: None }
    }

    /// Sets how much memory incomplete messages may take from now on, besides [`Limits::max_held_bytes`]: for a caller
    /// that has less for all its channels than they may take together. A chunk that needs more
    /// [says so](Progress::NeedsRoom) and is not taken.
    pub fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    /// Takes a text frame: [`read`](Self::read) and [`take`](Self::take) in one.
    ///
    /// An error concerns this frame, and with [`FrameError::InvalidMessage`] its message; the channel goes on.
    pub fn push(&mut self, now: Instant, text: &[u8]) -> Result<Progress, FrameError> {
        match self.read(text)? {
            TextFrame::Foreign(why) => Ok(Progress::Foreign(why)),
            TextFrame::Chunk(chunk) => self.take(now, &chunk),
        }
    }

    /// Reads a text frame, and takes nothing of it yet.
    pub fn read<'a>(&self, text: &'a [u8]) -> Result<TextFrame<'a>, FrameError> {
        let limit = self.limits.max_frame_bytes;
        if text.len() > limit && text.first() == Some(&b'^') {
            return Err(FrameError::TooLarge { bytes: text.len(), limit });
        }
        match Envelope::read(text) {
            Ok(Ok(chunk)) => Ok(TextFrame::Chunk(Chunk(chunk))),
            Ok(Err(_)) => Err(FrameError::IdTooLong { limit: MessageId::MAX_BYTES }),
            Err(why) => Ok(TextFrame::Foreign(why)),
        }
    }

    /// Takes a chunk.
    ///
    /// An error concerns its message; the channel goes on.
    pub fn take(&mut self, now: Instant, chunk: &Chunk<'_>) -> Result<Progress, FrameError> {
        let taken = if chunk.is_whole() {
            self.take_whole(&chunk.0).map(Some)
        } else {
            match self.take_part(self.paused.unwrap_or(now), &chunk.0) {
                Err(NotAdded::Short(bytes)) => return Ok(Progress::NeedsRoom { bytes }),
                Err(NotAdded::Invalid(reason)) => Err(reason),
                Ok(payload) => Ok(payload),
            }
        };
        let id = chunk.0.id.clone();
        match taken {
            Ok(Some(payload)) => Ok(Progress::Complete(Message { id, payload })),
            Ok(None) => Ok(Progress::Partial),
            Err(reason) => Err(FrameError::InvalidMessage { id, reason }),
        }
    }

    /// Rejects a message for a reason of the caller's: what is held of it is freed, and its further chunks are rejected.
    pub fn reject(&mut self, now: Instant, id: &MessageId) {
        self.drop_partial(id);
        self.rejected.remember(id, self.paused.unwrap_or(now));
    }

    /// [Rejects](Self::reject) the incomplete message that takes most memory, if there is one.
    pub fn give_up_largest(&mut self, now: Instant) -> Option<Expired> {
        let (id, partial) = self.partials.iter().max_by_key(|(_, partial)| partial.memory())?;
        let expired = Expired::new(id.clone(), partial);
        self.reject(now, &expired.id);
        Some(expired)
    }

    /// A message in one chunk: nothing is kept, and what is kept under its id was abandoned.
    fn take_whole(&mut self, chunk: &Envelope<'_>) -> Result<Payload, InvalidMessage> {
        self.drop_partial(&chunk.id);
        self.rejected.forget(&chunk.id);
        if chunk.msg.decoded_len() > self.limits.max_message_bytes {
            return Err(InvalidMessage::TooLarge { limit: self.limits.max_message_bytes });
        }
        Payload::from_wire(chunk.msg.decode(), chunk.is_json)
    }

    fn take_part(&mut self, now: Instant, chunk: &Envelope<'_>) -> Result<Option<Payload>, NotAdded> {
        if self.rejected.take_chunk(&chunk.id, chunk.is_last, now, self.limits.idle_timeout) {
            return Err(InvalidMessage::AlreadyRejected.into());
        }
        match self.keep(now, chunk) {
            Ok(()) => {}
            Err(NotAdded::Short(bytes)) => return Err(NotAdded::Short(bytes)),
            Err(NotAdded::Invalid(reason)) => {
                self.drop_partial(&chunk.id);
                if !chunk.is_last {
                    self.rejected.remember(&chunk.id, now);
                }
                return Err(reason.into());
            }
        }
        if !self.partials.get(&chunk.id).is_some_and(Partial::is_complete) {
            return Ok(None);
        }
        let Some(partial) = self.drop_partial(&chunk.id) else { return Ok(None) };
        let (text, is_json) = partial.join();
        Ok(Some(Payload::from_wire(text, is_json)?))
    }

    /// Adds a chunk to its message. Short of room, as good as nothing has changed; short of what the limits allow, the
    /// message is invalid.
    fn keep(&mut self, now: Instant, chunk: &Envelope<'_>) -> Result<(), NotAdded> {
        let limits = &self.limits;
        let index = u32::try_from(chunk.index).ok().filter(|&index| index < limits.max_chunks);
        let index = index.ok_or(InvalidMessage::TooManyChunks { limit: limits.max_chunks })?;
        let in_flight = self.partials.len();
        let partial = match self.partials.entry(chunk.id.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if in_flight >= limits.max_in_flight_messages => {
                return Err(InvalidMessage::TooManyInFlight { limit: limits.max_in_flight_messages }.into());
            }
            Entry::Vacant(entry) => {
                let partial = entry.insert(Partial::new(&chunk.id, now));
                self.held += partial.memory();
                partial
            }
        };
        let others = self.held - partial.memory();
        let last = chunk.is_last.then_some(chunk.is_json);
        let most = limits.max_held_bytes.min(self.room);
        let mut kept = partial.insert(index, &chunk.msg, last, limits, most.saturating_sub(others));
        if let Err(NotAdded::Short(bytes)) = kept
            && most.saturating_add(bytes) > limits.max_held_bytes
        {
            kept = Err(InvalidMessage::TooManyBytesHeld { limit: limits.max_held_bytes }.into());
        }
        partial.latest = now;
        self.held = others + partial.memory();
        if matches!(kept, Err(NotAdded::Short(_))) && self.partials.len() > in_flight {
            self.drop_partial(&chunk.id);
        }
        kept
    }

    fn drop_partial(&mut self, id: &MessageId) -> Option<Partial> {
        let partial = self.partials.remove(id)?;
        self.held -= partial.memory();
        if self.partials.is_empty() {
            // What many small messages have made of the table does not stay.
            self.partials.shrink_to(USUAL_MESSAGES);
        }
        Some(partial)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.paused.is_some() {
            return None;
        }
        self.partials.values().filter_map(|partial| partial.latest.checked_add(self.limits.idle_timeout)).min()
    }

    /// Drops the messages whose time is up and returns them.
    #[must_use = "the messages dropped are named nowhere else"]
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Expired> {
        let now = self.paused.unwrap_or(now);
        let idle = self.limits.idle_timeout;
        let late = |_: &MessageId, partial: &mut Partial| now.saturating_duration_since(partial.latest) >= idle;
        let late = self.partials.extract_if(late).map(|(id, partial)| {
            self.held -= partial.memory();
            Expired::new(id, &partial)
        });
        late.collect()
    }

    /// Stops the clock: the channel is not being read, so a message is not to blame for being incomplete.
    pub fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    /// Lets the clock go on.
    pub fn resume(&mut self, now: Instant) {
        let Some(paused) = self.paused.take() else { return };
        let pause = now.saturating_duration_since(paused);
        for partial in self.partials.values_mut() {
            partial.latest += pause;
        }
        self.rejected.delay(pause);
    }

    /// Messages incomplete now.
    pub fn in_flight(&self) -> usize {
        self.partials.len()
    }

    /// Memory of the incomplete messages in bytes, book-keeping included; at most [`Limits::max_held_bytes`].
    pub fn held_bytes(&self) -> usize {
        self.held
    }
}
