//! A session: everything between two peers from their first channel until one of them leaves.

use bytes::Bytes;

use super::{
    Accepted, FrameKind, Frames, GivenUp, Hello, InMessage, LinkId, MAX_PACKET, MAX_VARINT, MIN_PACKET, MessageKey,
    OpenError, OutMessage, Progress, ReadError, SessionConfig, SessionError, SessionEvent, StreamKey, TooLarge,
    Urgency, WriteError,
    events::Events,
    incoming::Incoming,
    links::Links,
    outgoing::Outgoing,
    packet::{Content, MAX_BYE_TEXT, PacketWriter, Part, Sequenced},
    retention::Retention,
    schedule::{Fill, Schedule, Turn},
    streams::Streams,
};
use crate::Instant;

/// How many bytes of packets are retained beyond `max_unacknowledged` before control frames have to wait too. Refusals do
/// not even then, since acknowledgements may wait for them.
const CONTROL_ROOM: usize = 1 << 20;

/// Whether this side has left.
#[derive(Debug)]
enum Leaving {
    No,
    /// The BYE goes out behind what is queued, with this code and text.
    Queued(u64, String),
    Sent,
}

/// Everything between two peers, from the HELLO of their first channel until one of them leaves or breaks the protocol:
/// messages, streams, and whatever makes them outlast the channels. It has no task, lock, or clock; a driver gives it what
/// comes and takes what is to go.
///
/// Within a session nothing is lost, doubled, or delivered out of order. What is sequenced goes over one channel at a time,
/// the one that opened first and is neither closed nor [leaving](Self::link_leaving). When another one takes its place, it
/// is first sent again whatever the other side has not acknowledged.
///
/// After any call there may be something for [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event) and
/// [`poll_timeout`](Self::poll_timeout); each of them costs little when there is nothing.
#[derive(Debug)]
pub struct Session {
    max_unacknowledged: usize,
    max_frame: usize,
    links: Links,
    carrier: Option<LinkId>,
    retention: Retention,
    /// The number of the next packet from the other side.
    expected: u64,
    ack_due: bool,
    /// An acknowledgement must not say more than this before the refusals that are due have gone out.
    ack_limit: Option<u64>,
    schedule: Schedule,
    outgoing: Outgoing,
    incoming: Incoming,
    streams: Streams,
    events: Events,
    /// Room for what is noted of a packet that is being written.
    parts: Vec<Part>,
    leaving: Leaving,
    /// The other side has left.
    has_left: bool,
    failed: Option<SessionError>,
    /// See [`hold_back`](Self::hold_back).
    is_held_back: bool,
}

impl Session {
    /// Begins a session with a peer whose HELLO was read, and to which the [HELLO](SessionConfig::hello) of this
    /// configuration was sent.
    pub fn new(config: SessionConfig, theirs: &Hello) -> Self {
        let config = config.checked();
        Self {
            max_unacknowledged: config.max_unacknowledged,
            max_frame: config.max_frame,
            links: Links::new(config.ping_after, config.dead_after),
            carrier: None,
            retention: Retention::default(),
            expected: 0,
            ack_due: false,
            ack_limit: None,
            schedule: Schedule::default(),
            outgoing: Outgoing::new(theirs),
            incoming: Incoming::new(&config),
            streams: Streams::new(&config, theirs),
            events: Events::default(),
            parts: Vec::new(),
            leaving: Leaving::No,
            has_left: false,
            failed: None,
            is_held_back: false,
        }
    }

    // Channels

    /// A channel has opened.
    pub fn link_opened(&mut self, now: Instant, link: LinkId) {
        self.links.opened(now, link);
        self.choose_carrier();
    }

    /// A channel has closed. Nothing is sent on it any more; what comes from it late is taken still.
    pub fn link_closed(&mut self, _now: Instant, link: LinkId) {
        self.links.closed(link);
        self.choose_carrier();
    }

    /// A channel is about to be closed by this side. What is new goes over another one, and nothing does while there is no
    /// other.
    pub fn link_leaving(&mut self, link: LinkId) {
        self.links.leaving(link);
        self.choose_carrier();
    }

    fn choose_carrier(&mut self) {
        let carrier = self.links.carrier();
        if carrier != self.carrier {
            self.carrier = carrier;
            // The latest acknowledgement may have been lost with the channel before.
            self.ack_due |= self.expected > 0;
        }
    }

    /// Takes a packet that has come over a channel.
    ///
    /// A small part of a packet is copied; of a large one the packet's memory is kept while it is not read, so that a packet
    /// should not be a part of some larger allocation.
    pub fn receive(&mut self, now: Instant, link: LinkId, packet: &Bytes) -> Result<(), SessionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.links.heard(now, link);
        let result = self.read_packet(link, packet);
        self.failed = result.err();
        result
    }

    fn read_packet(&mut self, link: LinkId, packet: &Bytes) -> Result<(), SessionError> {
        if packet.len() > MAX_PACKET {
            return Err(SessionError::PacketTooLarge { bytes: packet.len() });
        }
        let mut is_sequenced = false;
        for frame in Frames::new(packet) {
            let frame = frame?;
            match (Content::read(frame)?, is_sequenced) {
                (Content::Other, _) => {}
                (Content::Sequenced(frame), true) => self.take(frame, packet)?,
                (Content::Sequence(number), false) => {
                    self.ack_due = true;
                    if number < self.expected {
                        // It has come before, over another channel.
                        return Ok(());
                    }
                    if number > self.expected {
                        return Err(SessionError::Gap { expected: self.expected, got: number });
                    }
                    if self.has_left {
                        return Err(SessionError::AfterBye);
                    }
                    self.expected += 1;
                    is_sequenced = true;
                }
                (Content::Ack(next), false) => self.acknowledged(next)?,
                (Content::Ping(number), false) => self.links.asked(link, number),
                (Content::Pong(_), false) => {}
                _ => return Err(SessionError::Misplaced { kind: frame.kind }),
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, next: u64) -> Result<(), SessionError> {
        let Self { outgoing, incoming, streams, events, .. } = self;
        self.retention.acknowledge(next, |part| match part {
            Part::Fragment { key, urgency, bytes, is_last } => {
                outgoing.acknowledged(key, urgency, bytes, is_last, events);
            }
            Part::Cancelled(urgency) => outgoing.ended(urgency),
            Part::Refusal => incoming.refusal_acknowledged(),
            Part::Stream { key, bytes, is_end } => streams.acknowledged(key, bytes, is_end, events),
        })
    }

    fn take(&mut self, frame: Sequenced<'_>, packet: &Bytes) -> Result<(), SessionError> {
        if self.has_left {
            return Err(SessionError::AfterBye);
        }
        let events = &mut self.events;
        match frame {
            Sequenced::Message(fragment) => self.incoming.take(fragment, packet, events),
            Sequenced::Cancel(urgency) => self.incoming.cancelled(urgency),
            Sequenced::Refuse { urgency, ordinal } => {
                self.outgoing.refused(urgency, ordinal, &mut self.schedule, events)
            }
            Sequenced::MaxMessages(limit) => {
                self.outgoing.granted(limit, &mut self.schedule);
                Ok(())
            }
            Sequenced::Open { id, urgency, metadata } => self.streams.opened(id, urgency, metadata, packet, events),
            Sequenced::Data { stream, fin, bytes } => self.streams.data(stream, fin, bytes, packet, events),
            Sequenced::MaxData { stream, limit } => self.streams.max_data(stream, limit, events),
            Sequenced::Reset { stream, code } => self.streams.was_reset(stream, code, events),
            Sequenced::Stop { stream, code } => self.streams.was_stopped(stream, code, events),
            Sequenced::MaxStreams(limit) => {
                self.streams.max_streams(limit, events);
                Ok(())
            }
            Sequenced::Bye { code, text } => {
                self.has_left = true;
                events.push(SessionEvent::Left { code, text: text.to_owned() });
                Ok(())
            }
        }
    }

    /// The next packet for a channel, of at most `max_bytes`, or nothing if there is nothing to say on it now.
    ///
    /// Less than 1 KiB is taken for 1 KiB. What is sent again is sent as it was, and a stream's metadata is sent whole, even
    /// if either is longer.
    pub fn poll_transmit(&mut self, _now: Instant, link: LinkId, max_bytes: usize) -> Option<Bytes> {
        if self.failed.is_some() || !self.links.has(link) {
            return None;
        }
        let is_carrier = self.carrier == Some(link);
        if is_carrier && let Some(packet) = self.links.again(link, &self.retention) {
            return Some(packet);
        }
        let budget = max_bytes.clamp(MIN_PACKET, self.max_frame);
        let mut writer = PacketWriter::new(budget, self.retention.next(), std::mem::take(&mut self.parts));
        if let Some(number) = self.links.take_pong(link) {
            writer.unsequenced(FrameKind::PONG, number);
        }
        if let Some(number) = self.links.take_ping(link) {
            writer.unsequenced(FrameKind::PING, number);
        }
        if is_carrier {
            if std::mem::take(&mut self.ack_due) {
                // What is held back here becomes due again with the refusals.
                let next = self.ack_limit.map_or(self.expected, |limit| limit.min(self.expected));
                writer.unsequenced(FrameKind::ACK, next);
            }
            self.write_sequenced(&mut writer);
        }
        let (packet, sequence, mut parts) = writer.finish();
        let packet = Bytes::from(packet);
        if let Some(start) = sequence {
            self.retention.retain(packet.slice(start..), &mut parts);
            self.links.sent(link, self.retention.next());
        }
        self.parts = parts;
        (!packet.is_empty()).then_some(packet)
    }

    /// Whether messages and streams are to wait in [`poll_transmit`](Self::poll_transmit), while acknowledgements and control
    /// frames go out: for a driver that hands a channel no more than it drains soon.
    pub fn hold_back(&mut self, is_held_back: bool) {
        self.is_held_back = is_held_back;
    }

    fn write_sequenced(&mut self, writer: &mut PacketWriter) {
        if matches!(self.leaving, Leaving::Sent) {
            return;
        }
        if !self.incoming.write_refusals(writer) {
            return;
        }
        if self.ack_limit.take().is_some() {
            self.ack_due = true;
        }
        let retained = self.retention.charge();
        if retained >= self.max_unacknowledged + CONTROL_ROOM || !self.write_control(writer) {
            return;
        }
        let may_write = retained < self.max_unacknowledged && !self.has_left && !self.is_held_back;
        let is_full = may_write && self.write_lanes(writer);
        if !is_full && matches!(self.leaving, Leaving::Queued(..)) && (self.has_left || self.is_all_sent()) {
            self.write_bye(writer);
        }
    }

    /// Writes the control frames that are due. Whether all are written.
    #[must_use]
    fn write_control(&mut self, writer: &mut PacketWriter) -> bool {
        self.outgoing.write_cancels(writer)
            && self.incoming.write_grant(writer)
            && self.streams.write_control(writer, &mut self.events)
    }

    /// Writes messages and streams, the most urgent first. Whether the packet is full.
    fn write_lanes(&mut self, writer: &mut PacketWriter) -> bool {
        for urgency in Urgency::all() {
            while let Some(turn) = self.schedule.next(urgency) {
                let (schedule, events) = (&mut self.schedule, &mut self.events);
                let fill = match turn {
                    Turn::Messages => self.outgoing.fill(urgency, writer, schedule, events),
                    Turn::Stream(key) => self.streams.fill(key, writer, schedule, events),
                };
                if fill == Fill::Full {
                    if turn == Turn::Messages {
                        self.schedule.messages(urgency);
                    }
                    return true;
                }
            }
        }
        false
    }

    fn write_bye(&mut self, writer: &mut PacketWriter) {
        if let Leaving::Queued(code, text) = &self.leaving
            && writer.control_with(FrameKind::BYE, &[*code], text.as_bytes())
        {
            self.leaving = Leaving::Sent;
        }
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        while let Some(mut event) = self.events.pop() {
            if let SessionEvent::Receiving { urgency, id, received, total } = &mut event {
                // The latest numbers; nothing, if the message is not on its way any more.
                match self.incoming.receiving().find(|latest| latest.0 == *urgency) {
                    Some(latest) => (*id, *received, *total) = (latest.1, latest.2, latest.3),
                    None => continue,
                }
            }
            if self.streams.told(&event) {
                return Some(event);
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.links.timeout()
    }

    /// Asks channels that were silent for long for a sign of life, and says which ones have not given any.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.links.handle_timeout(now, |link| self.events.push(SessionEvent::LinkDead(link)));
    }

    // Messages

    /// Whether a message of so many bytes can be sent: an error if it is beyond the other side's largest.
    pub fn may_send(&self, bytes: usize) -> Result<(), TooLarge> {
        self.outgoing.may_send(bytes)
    }

    /// Whether less than 64 KiB of messages (each with 64 bytes more) wait unsent at an urgency. A queue in front of the
    /// session keeps what is beyond, since what was given to the session is not put behind anything that comes later.
    pub fn has_room(&self, urgency: Urgency) -> bool {
        self.outgoing.has_room(urgency)
    }

    /// Gives a message to the session. Messages of one urgency arrive in the order in which they were given.
    ///
    /// After the end of the session it is not sent, and comes back with [`take_unacknowledged`](Self::take_unacknowledged).
    pub fn send(&mut self, message: OutMessage) -> Result<MessageKey, TooLarge> {
        self.may_send(message.bytes.len())?;
        let is_open = matches!(self.leaving, Leaving::No);
        Ok(self.outgoing.send(message, is_open.then_some(&mut self.schedule)))
    }

    /// Takes a message back, if it was not handed to [`poll_transmit`](Self::poll_transmit) whole. The other side never
    /// sees any of it then.
    pub fn cancel(&mut self, key: MessageKey) -> Option<OutMessage> {
        self.outgoing.cancel(key, &mut self.schedule, &mut self.events)
    }

    /// How far a message has come that is not acknowledged whole.
    pub fn progress(&self, key: MessageKey) -> Option<Progress> {
        self.outgoing.progress(key)
    }

    /// Takes the next message that has come whole: the most urgent first, and in order within an urgency. The other side may
    /// send as much more.
    pub fn receive_message(&mut self) -> Option<InMessage> {
        self.incoming.next()
    }

    /// The messages of which a part has come: urgency, number, bytes that came and bytes in all. At most one per urgency.
    pub fn receiving(&self) -> impl Iterator<Item = (Urgency, u64, usize, usize)> + '_ {
        self.incoming.receiving()
    }

    /// Gives up the incomplete message of which most has come, because memory is short; the other side gets it back as
    /// refused. Nothing if none is incomplete, if the other side has not acknowledged very many refusals, or if this side
    /// has left.
    pub fn give_up_largest(&mut self) -> Option<GivenUp> {
        if matches!(self.leaving, Leaving::Sent) {
            return None;
        }
        let given_up = self.incoming.give_up_largest()?;
        // The end of the message has not come. When it is acknowledged, the other side must know of the refusal.
        self.ack_limit.get_or_insert(self.expected);
        Some(given_up)
    }

    // Streams

    /// Opens a stream. It carries bytes both ways, and each half ends by itself.
    pub fn open(&mut self, metadata: Bytes, urgency: Urgency) -> Result<StreamKey, OpenError> {
        if self.has_ended() {
            return Err(OpenError::Ended);
        }
        self.streams.open(metadata, urgency)
    }

    /// Takes the next stream that the other side has opened.
    pub fn accept(&mut self) -> Option<Accepted> {
        self.streams.accept()
    }

    /// Reads at most `max` bytes of a stream, at least 1 unless it has ended: no bytes are the end of the half.
    pub fn read(&mut self, key: StreamKey, max: usize) -> Result<Bytes, ReadError> {
        match self.streams.read(key, max, &mut self.events) {
            Err(ReadError::Blocked) if self.has_left || self.failed.is_some() => Err(ReadError::Ended),
            result => result,
        }
    }

    /// Takes from the front of `bytes` as much as there is room for, and says how much that was. There is room for 64 KiB
    /// that were not sent, within what the other side has granted. Of no bytes it tells whether the half is open.
    pub fn write(&mut self, key: StreamKey, bytes: &mut Bytes) -> Result<usize, WriteError> {
        if self.has_ended() {
            return Err(WriteError::Ended);
        }
        self.streams.write(key, bytes, &mut self.schedule, &mut self.events)
    }

    /// Ends this side's half of a stream behind what was written.
    pub fn finish(&mut self, key: StreamKey) {
        if !self.has_ended() {
            self.streams.finish(key, &mut self.schedule);
        }
    }

    /// Ends this side's half of a stream at once. What was not sent is dropped, and the other side's reader gets the code.
    /// It does nothing after the end was sent. Codes are at most 2^62 - 1, for which all larger ones are taken.
    pub fn reset(&mut self, key: StreamKey, code: u64) {
        self.streams.reset(key, code, &mut self.events);
    }

    /// Says that this side reads no more of a stream. What was not read is dropped, and the other side's writer gets the
    /// code, unless it has ended its half before.
    pub fn stop(&mut self, key: StreamKey, code: u64) {
        self.streams.stop(key, code, &mut self.events);
    }

    /// Whether all that was written to a stream is acknowledged, and the end with it if the half was finished. A stream that
    /// is not known any more is; one that was reset or stopped never is.
    pub fn is_flushed(&self, key: StreamKey) -> bool {
        self.streams.is_flushed(key)
    }

    // Ending

    /// Leaves the session behind what was queued before. Nothing can be sent afterwards; the first code and text count, of
    /// the text at most 1 KiB.
    pub fn leave(&mut self, code: u64, text: &str) {
        if matches!(self.leaving, Leaving::No) {
            let text = text.chars().scan(0, |length, char| {
                *length += char.len_utf8();
                (*length <= MAX_BYE_TEXT).then_some(char)
            });
            self.leaving = Leaving::Queued(code.min(MAX_VARINT), text.collect());
        }
    }

    fn has_ended(&self) -> bool {
        self.has_left || self.failed.is_some() || !matches!(self.leaving, Leaving::No)
    }

    /// Whether there is nothing that was not sent, and nothing that was sent and is not acknowledged. What a stream's writer
    /// has not been able to write is not the session's.
    pub fn is_idle(&self) -> bool {
        let is_sent = match self.leaving {
            Leaving::No => self.is_all_sent(),
            Leaving::Queued(..) => false,
            // Nothing more can be sent.
            Leaving::Sent => true,
        };
        is_sent && !self.ack_due && self.retention.is_empty()
    }

    /// Whether everything was sent but the BYE and an acknowledgement.
    fn is_all_sent(&self) -> bool {
        let has_control = self.incoming.has_refusals() || self.incoming.has_grant() || self.streams.has_control();
        !has_control && self.outgoing.is_sent() && !self.schedule.has_streams()
    }

    /// How many bytes the other side makes this one hold: incomplete messages, whole ones that were not taken (each with 64
    /// bytes more), bytes of streams that were not read, and metadata of streams that were not accepted (16 KiB each at
    /// most).
    pub fn held_bytes(&self) -> usize {
        self.incoming.held() + self.streams.held()
    }

    /// How many bytes are retained until the other side acknowledges them, with what it takes to keep them in order.
    pub fn unacknowledged_bytes(&self) -> usize {
        self.retention.charge()
    }

    /// The messages that were not acknowledged, in the order of sending. Any of them that was sent may have arrived. Those
    /// are among them whose [refusal](SessionEvent::Refused) was not taken from [`poll_event`](Self::poll_event).
    pub fn take_unacknowledged(&mut self) -> Vec<(MessageKey, OutMessage)> {
        let mut messages: Vec<_> = self.outgoing.take_messages().chain(self.events.take_refused()).collect();
        messages.sort_by_key(|(key, _)| *key);
        messages
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
