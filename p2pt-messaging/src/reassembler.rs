//! Frames to messages.

use std::collections::{HashMap, hash_map::Entry};

use crate::{
    FrameError, Instant, InvalidMessage, Limits, Message, MessageId, Payload, envelope::Envelope, partial::Partial,
    rejected::Rejected,
};

/// What a frame amounted to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Not a frame of this format (it does not begin with `^`): the application's own.
    Foreign,
    /// A chunk; its message is incomplete.
    Partial,
    /// The chunk that completed a message.
    Complete(Message),
}

/// An incomplete message that was dropped because no chunk of it came for [`Limits::idle_timeout`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// The message's id.
    pub id: MessageId,
    /// How many of its chunks had come.
    pub chunks: usize,
}

/// Turns the frames of one channel into messages.
///
/// Chunks may come in any order and the chunks of several messages may be mixed. A chunk that comes twice replaces the
/// first. A message that breaks a limit is rejected: its memory is freed, and its further chunks are rejected until the
/// one marked as last has come, or none has come for [`Limits::idle_timeout`].
#[derive(Debug)]
pub struct Reassembler {
    limits: Limits,
    partials: HashMap<MessageId, Partial>,
    /// Memory of all partials.
    held: usize,
    rejected: Rejected,
    paused: Option<Instant>,
}

impl Reassembler {
    /// A reassembler for a new channel.
    pub fn new(limits: Limits) -> Self {
        Self { limits, partials: HashMap::new(), held: 0, rejected: Rejected::default(), paused: None }
    }

    /// Takes a frame, whether it came as text or as binary: JavaScript makes no difference.
    ///
    /// An error concerns this frame, and with [`FrameError::InvalidMessage`] its message; the channel goes on.
    pub fn push(&mut self, now: Instant, frame: &[u8]) -> Result<Progress, FrameError> {
        let Some(json) = frame.strip_prefix(b"^") else { return Ok(Progress::Foreign) };
        if frame.len() > self.limits.max_frame_bytes {
            return Err(FrameError::TooLarge { bytes: frame.len(), limit: self.limits.max_frame_bytes });
        }
        let chunk = Envelope::read(json)?;
        let id = chunk.id.clone();
        let payload = if chunk.index == 0 && chunk.is_last {
            self.push_whole(chunk).map(Some)
        } else {
            self.push_chunk(self.paused.unwrap_or(now), chunk)
        };
        match payload {
            Ok(Some(payload)) => Ok(Progress::Complete(Message { id, payload })),
            Ok(None) => Ok(Progress::Partial),
            Err(reason) => Err(FrameError::InvalidMessage { id, reason }),
        }
    }

    /// A message in one chunk: nothing is kept, and what is kept under its id was abandoned.
    fn push_whole(&mut self, chunk: Envelope<'_>) -> Result<Payload, InvalidMessage> {
        self.drop_partial(&chunk.id);
        self.rejected.forget(&chunk.id);
        if chunk.msg.decoded_len() > self.limits.max_message_bytes {
            return Err(InvalidMessage::TooLarge { limit: self.limits.max_message_bytes });
        }
        Payload::from_wire(chunk.msg.decode(), chunk.is_json)
    }

    fn push_chunk(&mut self, now: Instant, chunk: Envelope<'_>) -> Result<Option<Payload>, InvalidMessage> {
        if self.rejected.take_chunk(&chunk.id, chunk.is_last, now, self.limits.idle_timeout) {
            return Err(InvalidMessage::AlreadyRejected);
        }
        if let Err(reason) = self.keep(now, &chunk) {
            self.drop_partial(&chunk.id);
            if !chunk.is_last {
                self.rejected.remember(chunk.id, now);
            }
            return Err(reason);
        }
        if !self.partials.get(&chunk.id).is_some_and(Partial::is_complete) {
            return Ok(None);
        }
        let Some(partial) = self.drop_partial(&chunk.id) else { return Ok(None) };
        let (text, is_json) = partial.join();
        Payload::from_wire(text, is_json).map(Some)
    }

    /// Adds a chunk to its message.
    fn keep(&mut self, now: Instant, chunk: &Envelope<'_>) -> Result<(), InvalidMessage> {
        let limits = &self.limits;
        let index = u32::try_from(chunk.index).ok().filter(|&index| index < limits.max_chunks);
        let index = index.ok_or(InvalidMessage::TooManyChunks { limit: limits.max_chunks })?;
        let in_flight = self.partials.len();
        let partial = match self.partials.entry(chunk.id.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if in_flight >= limits.max_in_flight_messages => {
                return Err(InvalidMessage::TooManyInFlight { limit: limits.max_in_flight_messages });
            }
            Entry::Vacant(entry) => {
                let partial = entry.insert(Partial::new(&chunk.id, now));
                self.held += partial.memory();
                partial
            }
        };
        let others = self.held - partial.memory();
        let last = chunk.is_last.then_some(chunk.is_json);
        let kept = partial.insert(index, &chunk.msg, last, limits, limits.max_held_bytes.saturating_sub(others));
        partial.latest = now;
        self.held = others + partial.memory();
        kept
    }

    fn drop_partial(&mut self, id: &MessageId) -> Option<Partial> {
        let partial = self.partials.remove(id)?;
        self.held -= partial.memory();
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
            Expired { id, chunks: partial.chunks() }
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
