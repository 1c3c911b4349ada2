//! Messages from the other side.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    FrameKind, GivenUp, InMessage, MESSAGE_CHARGE, MessageKind, SessionConfig, SessionError, SessionEvent, Urgency,
    byte_queue::shared,
    events::Events,
    packet::{Fragment, PacketWriter, Part},
};

/// From this size on there are events about how much of a message has come.
const LARGE: usize = 256 << 10;

/// Most refusals that the other side has not acknowledged.
const MAX_REFUSALS: usize = 1024;

/// The room with which the memory of an incomplete message begins, in bytes; it doubles as more comes.
const FIRST_ROOM: usize = 64 << 10;

/// A message that is not whole.
#[derive(Debug)]
struct Partial {
    id: u64,
    response: bool,
    kind: MessageKind,
    total: usize,
    received: usize,
    /// What has come, unless it was given up.
    bytes: Option<Vec<u8>>,
}

impl Partial {
    /// How many bytes are held of it.
    fn held(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// Takes more bytes. The memory is at most twice what came, and at the end exactly that.
    fn push(&mut self, more: &[u8]) {
        self.received += more.len();
        let Some(bytes) = &mut self.bytes else { return };
        if bytes.capacity() - bytes.len() < more.len() {
            let room = (bytes.len() + more.len()).max(2 * bytes.capacity()).max(FIRST_ROOM).min(self.total);
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(more);
    }
}

/// The messages of an urgency. One is on its way at a time.
#[derive(Debug, Default)]
struct Lane {
    whole: VecDeque<InMessage>,
    partial: Option<Partial>,
    /// How many were begun.
    begun: u64,
}

/// All messages that the other side sends.
#[derive(Debug)]
pub(super) struct Incoming {
    lanes: [Lane; Urgency::COUNT],
    window: u64,
    max_message: usize,
    reassembly: usize,
    /// Charge of what came, and how much may come.
    received: u64,
    granted: u64,
    /// Charge of whole messages that were not taken.
    unread: u64,
    /// Bytes held of incomplete messages.
    held: usize,
    /// What incomplete messages are going to have, those that were given up included: they are on their way still.
    incomplete: u64,
    /// Messages that are to be refused, and how many were refused and are not acknowledged.
    refusals: VecDeque<(Urgency, u64)>,
    refused: usize,
}

impl Incoming {
    pub(super) fn new(config: &SessionConfig) -> Self {
        Self {
            lanes: Default::default(),
            window: config.message_window as u64,
            max_message: config.max_message,
            reassembly: config.reassembly,
            received: 0,
            granted: config.message_window as u64,
            unread: 0,
            held: 0,
            incomplete: 0,
            refusals: VecDeque::new(),
            refused: 0,
        }
    }

    /// Takes a fragment of a packet.
    pub(super) fn take(
        &mut self,
        fragment: Fragment<'_>,
        packet: &Bytes,
        events: &mut Events,
    ) -> Result<(), SessionError> {
        let Fragment { urgency, kind, response, head, is_last, bytes } = fragment;
        let is_begun = self.lanes[urgency.index()].partial.is_some();
        self.received += bytes.len() as u64 + if head.is_some() { MESSAGE_CHARGE } else { 0 };
        if self.received > self.granted {
            return Err(SessionError::MessageWindow { received: self.received, granted: self.granted });
        }
        let lane = &mut self.lanes[urgency.index()];
        match head {
            Some(_) if is_begun => return Err(SessionError::Fragment),
            Some(head) => {
                let total = head.total.unwrap_or(bytes.len() as u64);
                let total = usize::try_from(total).ok().filter(|total| *total <= self.max_message);
                let too_large = SessionError::MessageTooLarge {
                    bytes: head.total.unwrap_or(bytes.len() as u64),
                    max: self.max_message,
                };
                let total = total.ok_or(too_large)?;
                lane.begun += 1;
                if is_last {
                    let bytes = shared(bytes, packet);
                    let message = InMessage { id: head.id, response, kind, urgency, bytes };
                    self.whole(message, events);
                    return Ok(());
                }
                let incomplete = self.incomplete + total as u64;
                if self.incomplete > 0 && incomplete > self.reassembly as u64 {
                    return Err(SessionError::Reassembly { bytes: incomplete, max: self.reassembly });
                }
                self.incomplete = incomplete;
                let bytes = Some(Vec::new());
                lane.partial = Some(Partial { id: head.id, response, kind, total, received: 0, bytes });
            }
            None => {}
        }
        let partial = lane.partial.as_mut().ok_or(SessionError::Fragment)?;
        let rest = partial.total - partial.received;
        // The last fragment has all of the rest, and no other has.
        if bytes.len() > rest || is_last != (bytes.len() == rest) {
            return Err(SessionError::Fragment);
        }
        let before = partial.held();
        partial.push(bytes);
        self.held += partial.held() - before;
        if !is_last {
            if partial.total >= LARGE && partial.bytes.is_some() {
                let Partial { id, received, total, .. } = *partial;
                events.push(SessionEvent::Receiving { urgency, id, received, total });
            }
            return Ok(());
        }
        if let Some(Partial { id, response, kind, bytes: Some(bytes), .. }) = self.end(urgency) {
            self.whole(InMessage { id, response, kind, urgency, bytes: bytes.into() }, events);
        }
        Ok(())
    }

    /// The message on its way at an urgency has ended before its end.
    pub(super) fn cancelled(&mut self, urgency: Urgency) -> Result<(), SessionError> {
        self.end(urgency).map(drop).ok_or(SessionError::Fragment)
    }

    fn end(&mut self, urgency: Urgency) -> Option<Partial> {
        let partial = self.lanes[urgency.index()].partial.take()?;
        self.held -= partial.held();
        self.incomplete -= partial.total as u64;
        Some(partial)
    }

    fn whole(&mut self, message: InMessage, events: &mut Events) {
        self.unread += charge(&message);
        self.lanes[message.urgency.index()].whole.push_back(message);
        events.push(SessionEvent::MessageReady);
    }

    /// The next whole message, the most urgent first.
    pub(super) fn next(&mut self) -> Option<InMessage> {
        let message = self.lanes.iter_mut().find_map(|lane| lane.whole.pop_front())?;
        self.unread -= charge(&message);
        Some(message)
    }

    pub(super) fn receiving(&self) -> impl Iterator<Item = (Urgency, u64, usize, usize)> + '_ {
        Urgency::all().filter_map(|urgency| {
            let partial = self.lanes[urgency.index()].partial.as_ref().filter(|partial| partial.bytes.is_some())?;
            Some((urgency, partial.id, partial.received, partial.total))
        })
    }

    /// Gives up the incomplete message of which most is held.
    pub(super) fn give_up_largest(&mut self) -> Option<GivenUp> {
        if self.refused >= MAX_REFUSALS {
            return None;
        }
        let held = |urgency: &Urgency| self.lanes[urgency.index()].partial.as_ref().map_or(0, Partial::held);
        let urgency = Urgency::all().max_by_key(held).filter(|urgency| held(urgency) > 0)?;
        let lane = &mut self.lanes[urgency.index()];
        let partial = lane.partial.as_mut()?;
        let bytes = partial.held();
        partial.bytes = None;
        self.held -= bytes;
        self.refusals.push_back((urgency, lane.begun - 1));
        self.refused += 1;
        Some(GivenUp { id: partial.id, response: partial.response, urgency, bytes, total: partial.total })
    }

    /// A refusal was acknowledged.
    pub(super) fn refusal_acknowledged(&mut self) {
        self.refused -= 1;
    }

    pub(super) fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// Writes the refusals that are due. Whether all are written.
    #[must_use]
    pub(super) fn write_refusals(&mut self, writer: &mut PacketWriter) -> bool {
        while let Some((urgency, ordinal)) = self.refusals.front().copied() {
            if !writer.control(FrameKind::REFUSE, &[urgency.get().into(), ordinal]) {
                return false;
            }
            writer.note(Part::Refusal);
            self.refusals.pop_front();
        }
        true
    }

    /// How much may come in all, if that is worth saying.
    fn grant(&self) -> Option<u64> {
        let limit = self.received + self.window.saturating_sub(self.unread);
        let more = limit.checked_sub(self.granted).filter(|more| *more > 0)?;
        let is_worth_it = more >= self.window / 4 || self.granted - self.received < self.window / 2;
        is_worth_it.then_some(limit)
    }

    pub(super) fn has_grant(&self) -> bool {
        self.grant().is_some()
    }

    /// Writes the grant that is due. Whether it is written, if there is one.
    #[must_use]
    pub(super) fn write_grant(&mut self, writer: &mut PacketWriter) -> bool {
        let Some(limit) = self.grant() else { return true };
        let is_written = writer.control(FrameKind::MAX_MSG, &[limit]);
        if is_written {
            self.granted = limit;
        }
        is_written
    }

    /// Bytes of messages that are held, incomplete ones and those that were not read.
    pub(super) fn held(&self) -> usize {
        self.held + usize::try_from(self.unread).unwrap_or(usize::MAX)
    }
}

/// What a message counts.
fn charge(message: &InMessage) -> u64 {
    message.bytes.len() as u64 + MESSAGE_CHARGE
}
