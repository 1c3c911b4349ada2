//! Messages on their way to the other side.

use std::collections::{BTreeMap, VecDeque};

use super::{
    FrameKind, Hello, MAX_VARINT, MESSAGE_CHARGE, MessageKey, OutMessage, Progress, SessionError, SessionEvent,
    TooLarge, Urgency,
    events::Events,
    packet::{Fragment, MessageHead, PacketWriter, Part},
    schedule::{Fill, Schedule},
};

/// How many bytes of messages, each with [`MESSAGE_CHARGE`] more, may wait unsent at an urgency before
/// [`Outgoing::has_room`] says no.
const ROOM: usize = 64 << 10;

/// A message up to this size is not cut to fill up a packet.
const UNCUT: usize = 16 << 10;

/// The least bytes for which a message is cut to fill up a packet.
const MIN_FRAGMENT: usize = 512;

/// A message that the other side's session has not taken whole.
#[derive(Debug)]
struct Entry {
    message: OutMessage,
    is_begun: bool,
    sent: usize,
    acknowledged: usize,
}

impl Entry {
    fn rest(&self) -> usize {
        self.message.bytes.len() - self.sent
    }
}

/// The messages of an urgency. One is on its way at a time.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<MessageKey>,
    current: Option<MessageKey>,
    /// Messages that were begun and whose end is not acknowledged, the one on its way included.
    begun: VecDeque<MessageKey>,
    /// How many were begun before those.
    ended: u64,
    /// Charge of what waits and of what is left of the message on its way.
    unsent: usize,
    /// The message that was on its way has ended, which the other side is to be told before the next one.
    cancel_due: bool,
}

/// All messages that this side sends.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// In the order of sending.
    messages: BTreeMap<MessageKey, Entry>,
    lanes: [Lane; Urgency::COUNT],
    next_key: u64,
    /// Charge of what was sent, and how much may have been sent.
    sent: u64,
    limit: u64,
    /// The other side's largest message.
    max_message: usize,
    /// Its room for incomplete messages, and what those on their way are going to take of it.
    reassembly: u64,
    incomplete: u64,
    /// The urgencies whose next message waits for that room; less urgent ones do not take it from them.
    wants_room: u8,
}

impl Outgoing {
    pub(super) fn new(theirs: &Hello) -> Self {
        Self {
            messages: BTreeMap::new(),
            lanes: Default::default(),
            next_key: 0,
            sent: 0,
            limit: theirs.message_window,
            max_message: usize::try_from(theirs.max_message).unwrap_or(usize::MAX),
            reassembly: theirs.reassembly,
            incomplete: 0,
            wants_room: 0,
        }
    }

    pub(super) fn may_send(&self, bytes: usize) -> Result<(), TooLarge> {
        if bytes > self.max_message { Err(TooLarge { bytes, max: self.max_message }) } else { Ok(()) }
    }

    pub(super) fn has_room(&self, urgency: Urgency) -> bool {
        self.lanes[urgency.index()].unsent < ROOM
    }

    /// Keeps a message, and gives its urgency a turn. Without a schedule it is kept to come back at the end.
    pub(super) fn send(&mut self, mut message: OutMessage, schedule: Option<&mut Schedule>) -> MessageKey {
        let key = MessageKey(self.next_key);
        self.next_key += 1;
        message.id &= MAX_VARINT;
        let urgency = message.urgency;
        if let Some(schedule) = schedule {
            let lane = &mut self.lanes[urgency.index()];
            lane.unsent += charge(&message);
            lane.waiting.push_back(key);
            schedule.messages(urgency);
        }
        self.messages.insert(key, Entry { message, is_begun: false, sent: 0, acknowledged: 0 });
        key
    }

    pub(super) fn progress(&self, key: MessageKey) -> Option<Progress> {
        let Entry { message, sent, acknowledged, .. } = self.messages.get(&key)?;
        Some(Progress { sent: *sent, acknowledged: *acknowledged, total: message.bytes.len() })
    }

    /// Takes a message back, if it was not sent whole.
    pub(super) fn cancel(
        &mut self,
        key: MessageKey,
        schedule: &mut Schedule,
        events: &mut Events,
    ) -> Option<OutMessage> {
        let entry = self.messages.get(&key)?;
        let (urgency, is_begun) = (entry.message.urgency, entry.is_begun);
        let lane = &mut self.lanes[urgency.index()];
        if lane.current == Some(key) {
            return self.take_current(urgency, schedule, events).map(|(_, message)| message);
        }
        if is_begun {
            return None;
        }
        let message = self.messages.remove(&key)?.message;
        // What was given behind the end of the session waits in no lane.
        if let Ok(index) = lane.waiting.binary_search(&key) {
            lane.waiting.remove(index);
            self.unsent_less(urgency, charge(&message), events);
            self.wake(schedule);
        }
        Some(message)
    }

    /// Takes the message that is on its way, whose end the other side is to be told.
    fn take_current(
        &mut self,
        urgency: Urgency,
        schedule: &mut Schedule,
        events: &mut Events,
    ) -> Option<(MessageKey, OutMessage)> {
        let lane = &mut self.lanes[urgency.index()];
        let key = lane.current.take()?;
        lane.cancel_due = true;
        let entry = self.messages.remove(&key)?;
        self.incomplete -= entry.message.bytes.len() as u64;
        self.unsent_less(urgency, entry.rest(), events);
        self.wake(schedule);
        Some((key, entry.message))
    }

    /// The other side has no room for the message that was the so many-th to be begun at an urgency.
    pub(super) fn refused(
        &mut self,
        urgency: Urgency,
        ordinal: u64,
        schedule: &mut Schedule,
        events: &mut Events,
    ) -> Result<(), SessionError> {
        let lane = &self.lanes[urgency.index()];
        let index = ordinal.checked_sub(lane.ended).and_then(|index| usize::try_from(index).ok());
        let key = *index.and_then(|index| lane.begun.get(index)).ok_or(SessionError::Refusal)?;
        let refused = if lane.current == Some(key) {
            self.take_current(urgency, schedule, events)
        } else {
            // One that was cancelled is not there any more.
            self.messages.remove(&key).map(|entry| (key, entry.message))
        };
        if let Some((key, message)) = refused {
            events.push(SessionEvent::Refused(key, message));
        }
        Ok(())
    }

    /// The other side grants so many bytes in all.
    pub(super) fn granted(&mut self, limit: u64, schedule: &mut Schedule) {
        if limit > self.limit {
            self.limit = limit;
            self.wake(schedule);
        }
    }

    /// Gives a turn to each urgency that has something to send.
    fn wake(&mut self, schedule: &mut Schedule) {
        self.wants_room = 0;
        for urgency in Urgency::all() {
            let lane = &self.lanes[urgency.index()];
            if lane.current.is_some() || !lane.waiting.is_empty() {
                schedule.messages(urgency);
            }
        }
    }

    /// Writes the ends that the other side is to be told. Whether all are written.
    #[must_use]
    pub(super) fn write_cancels(&mut self, writer: &mut PacketWriter) -> bool {
        for urgency in Urgency::all() {
            let lane = &mut self.lanes[urgency.index()];
            if lane.cancel_due {
                if !writer.control(FrameKind::CANCEL, &[urgency.get().into()]) {
                    return false;
                }
                writer.note(Part::Cancelled(urgency));
                lane.cancel_due = false;
            }
        }
        true
    }

    /// Writes messages of an urgency until the packet is full, nothing is left, or they have to wait.
    pub(super) fn fill(
        &mut self,
        urgency: Urgency,
        writer: &mut PacketWriter,
        schedule: &mut Schedule,
        events: &mut Events,
    ) -> Fill {
        loop {
            let lane = &mut self.lanes[urgency.index()];
            let is_first = lane.current.is_none();
            let Some(key) = lane.current.or_else(|| lane.waiting.front().copied()) else { return Fill::Over };
            let Some(entry) = self.messages.get_mut(&key) else { return Fill::Over };
            let (rest, total) = (entry.rest(), entry.message.bytes.len() as u64);

            let Some(credit) = (self.limit - self.sent).checked_sub(if is_first { MESSAGE_CHARGE } else { 0 }) else {
                return Fill::Over;
            };
            let id = entry.message.id;
            let cut = is_first.then_some(MessageHead { id, total: Some(total) });
            let whole = is_first.then_some(MessageHead { id, total: None });
            let room = writer.room();
            let Some(space) = room.checked_sub(PacketWriter::fragment_overhead(whole)) else { return Fill::Full };
            let (mut head, mut taken) = (whole, rest);
            if space < rest || credit < rest as u64 {
                let space = room.saturating_sub(PacketWriter::fragment_overhead(cut));
                let is_small = rest <= UNCUT && is_first;
                if space < rest && !writer.is_fresh() && (is_small || space < MIN_FRAGMENT) {
                    return Fill::Full;
                }
                // A cut is before the end, or it would be none.
                taken = rest.saturating_sub(1).min(space).min(usize::try_from(credit).unwrap_or(usize::MAX));
                if taken == 0 {
                    return if credit == 0 { Fill::Over } else { Fill::Full };
                }
                head = cut;
                let before = self.wants_room & (urgency.bit() - 1);
                let has_room = self.incomplete == 0 || self.incomplete + total <= self.reassembly && before == 0;
                if is_first && !has_room {
                    self.wants_room |= urgency.bit();
                    return Fill::Over;
                }
            }
            let is_last = taken == rest;
            let bytes = &entry.message.bytes[entry.sent..entry.sent + taken];
            let (kind, response) = (entry.message.kind, entry.message.response);
            writer.fragment(&Fragment { urgency, kind, response, head, is_last, bytes });
            // A packet has at most 65,536 bytes.
            writer.note(Part::Fragment { key, urgency, bytes: taken as u32, is_last });

            entry.is_begun = true;
            entry.sent += taken;
            self.sent += taken as u64;
            let mut unsent_less = taken;
            if is_first {
                self.sent += MESSAGE_CHARGE;
                unsent_less += MESSAGE_CHARGE as usize;
                lane.waiting.pop_front();
                lane.begun.push_back(key);
            }
            lane.current = (!is_last).then_some(key);
            if is_last {
                events.push(SessionEvent::Taken(key));
            }
            match (is_first, is_last) {
                (true, false) => self.incomplete += total,
                (false, true) => {
                    self.incomplete -= total;
                    if self.wants_room != 0 {
                        self.wake(schedule);
                    }
                }
                _ => {}
            }
            self.unsent_less(urgency, unsent_less, events);
        }
    }

    fn unsent_less(&mut self, urgency: Urgency, bytes: usize, events: &mut Events) {
        let had_room = self.has_room(urgency);
        self.lanes[urgency.index()].unsent -= bytes;
        if !had_room && self.has_room(urgency) {
            events.push(SessionEvent::RoomFor(urgency));
        }
    }

    /// A fragment was acknowledged.
    pub(super) fn acknowledged(
        &mut self,
        key: MessageKey,
        urgency: Urgency,
        bytes: u32,
        is_last: bool,
        events: &mut Events,
    ) {
        if is_last {
            self.ended(urgency);
            // One that was refused is not there any more.
            if self.messages.remove(&key).is_some() {
                events.push(SessionEvent::Acknowledged(key));
            }
        } else if let Some(entry) = self.messages.get_mut(&key) {
            entry.acknowledged += bytes as usize;
        }
    }

    /// The end of a message, whole or cancelled, was acknowledged: the other side cannot refuse it any more.
    pub(super) fn ended(&mut self, urgency: Urgency) {
        let lane = &mut self.lanes[urgency.index()];
        lane.begun.pop_front();
        lane.ended += 1;
    }

    /// Whether nothing waits and nothing is on its way.
    pub(super) fn is_sent(&self) -> bool {
        self.lanes.iter().all(|lane| lane.current.is_none() && lane.waiting.is_empty() && !lane.cancel_due)
    }

    /// What was not acknowledged, in the order of sending.
    pub(super) fn take_messages(&mut self) -> impl Iterator<Item = (MessageKey, OutMessage)> + use<> {
        std::mem::take(&mut self.messages).into_iter().map(|(key, entry)| (key, entry.message))
    }
}

/// What a message counts.
fn charge(message: &OutMessage) -> usize {
    message.bytes.len() + MESSAGE_CHARGE as usize
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
