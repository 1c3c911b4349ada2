//! What a session tells its driver.

use std::collections::VecDeque;

use super::{LinkId, MessageKey, OutMessage, StreamKey, Urgency};

/// Something that the driver of a [`Session`](super::Session) is to know. Events about what the other side does are
/// coalesced, so that it cannot pile them up; a message of this side has at most one of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// [`receive_message`](super::Session::receive_message) has at least one.
    MessageReady,
    /// A message was wholly handed to [`poll_transmit`](super::Session::poll_transmit).
    Taken(MessageKey),
    /// The other side's session has taken a message whole.
    Acknowledged(MessageKey),
    /// The other side had no room for a message, which comes back. It was not delivered.
    Refused(MessageKey, OutMessage),
    /// More of a message of at least 256 KiB has come.
    Receiving {
        /// Its urgency.
        urgency: Urgency,
        /// Its number.
        id: u64,
        /// Bytes that have come.
        received: usize,
        /// Bytes that it is going to have.
        total: usize,
    },
    /// [`accept`](super::Session::accept) has at least one stream.
    StreamReady,
    /// A stream whose reader was told to wait has bytes, or has ended.
    Readable(StreamKey),
    /// A stream whose writer was told to wait has room, or was stopped; or all that was written to a stream is acknowledged.
    Writable(StreamKey),
    /// A stream can be opened, where that failed of [too many](super::OpenError::TooMany) before.
    StreamsAvailable,
    /// The other side has left the session.
    Left {
        /// The code that it gave.
        code: u64,
        /// Its words, 1 KiB at most.
        text: String,
    },
    /// Nothing came on a channel for a long time, though it was asked for a sign of life. The driver is to close it.
    LinkDead(LinkId),
    /// [`has_room`](super::Session::has_room) has become true.
    RoomFor(Urgency),
}

/// The events that wait for the driver.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<SessionEvent>,
    message_ready: Flag,
    stream_ready: Flag,
    streams_available: Flag,
    receiving: u8,
    room: u8,
}

/// Whether an event waits that is not to wait twice.
type Flag = bool;

impl Events {
    pub(super) fn push(&mut self, event: SessionEvent) {
        let flag = match &event {
            SessionEvent::MessageReady => &mut self.message_ready,
            SessionEvent::StreamReady => &mut self.stream_ready,
            SessionEvent::StreamsAvailable => &mut self.streams_available,
            SessionEvent::Receiving { urgency, .. } => {
                // The latest numbers are filled in when it is taken.
                if self.receiving & urgency.bit() == 0 {
                    self.receiving |= urgency.bit();
                    self.queue.push_back(event);
                }
                return;
            }
            SessionEvent::RoomFor(urgency) => {
                if self.room & urgency.bit() == 0 {
                    self.room |= urgency.bit();
                    self.queue.push_back(event);
                }
                return;
            }
            _ => {
                self.queue.push_back(event);
                return;
            }
        };
        if !std::mem::replace(flag, true) {
            self.queue.push_back(event);
        }
    }

    pub(super) fn pop(&mut self) -> Option<SessionEvent> {
        let event = self.queue.pop_front()?;
        match &event {
            SessionEvent::MessageReady => self.message_ready = false,
            SessionEvent::StreamReady => self.stream_ready = false,
            SessionEvent::StreamsAvailable => self.streams_available = false,
            SessionEvent::Receiving { urgency, .. } => self.receiving &= !urgency.bit(),
            SessionEvent::RoomFor(urgency) => self.room &= !urgency.bit(),
            _ => {}
        }
        Some(event)
    }

    /// The refused messages that the driver was not told of.
    pub(super) fn take_refused(&mut self) -> impl Iterator<Item = (MessageKey, OutMessage)> + use<> {
        std::mem::take(&mut self.queue).into_iter().filter_map(|event| match event {
            SessionEvent::Refused(key, message) => Some((key, message)),
            _ => None,
        })
    }
}

/// Whether a stream's user waits for an event, and whether one is queued: there is one only where it is waited for, and never
/// a second one.
#[derive(Debug)]
pub(super) struct Signal {
    wanted: bool,
    queued: bool,
}

impl Signal {
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, queued: false }
    }

    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether the event is to be queued now.
    #[must_use]
    pub(super) fn raise(&mut self) -> bool {
        self.wanted && self.raise_unasked()
    }

    /// The same for something that is said without being waited for.
    #[must_use]
    pub(super) fn raise_unasked(&mut self) -> bool {
        self.wanted = false;
        !std::mem::replace(&mut self.queued, true)
    }

    /// The driver has taken the event.
    pub(super) fn taken(&mut self) {
        self.queued = false;
    }
}
