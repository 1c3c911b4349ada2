//! The streams of a session.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::{
    Accepted, FrameKind, Hello, MAX_METADATA, MAX_VARINT, OpenError, ReadError, SessionConfig, SessionError,
    SessionEvent, StreamKey, Urgency, WriteError,
    byte_queue::shared,
    events::{Events, Signal},
    halves::{ReceiveHalf, SendHalf},
    packet::PacketWriter,
    schedule::{Fill, Schedule},
};

/// A stream.
#[derive(Debug)]
struct Stream {
    urgency: Urgency,
    send: SendHalf,
    receive: ReceiveHalf,
    /// Stands in the queue of those that have control frames to send.
    has_control: bool,
}

impl Stream {
    fn is_done(&self) -> bool {
        self.send.is_done() && self.receive.is_done()
    }
}

/// All streams.
#[derive(Debug)]
pub(super) struct Streams {
    streams: HashMap<StreamKey, Stream>,
    /// The first windows of both halves.
    window: usize,
    their_window: u64,
    /// By how much windows can still grow.
    pool: usize,
    max_streams: usize,
    /// How many this side has opened, of how many that it may have, and how many of them are not done.
    opened: u64,
    limit: u64,
    open_here: usize,
    available: Signal,
    /// Streams that the other side is to be told of, with their metadata.
    opening: VecDeque<Accepted>,
    /// How many the other side has opened, of how many that it may have, and how many of them are done.
    accepted: u64,
    granted: u64,
    done: u64,
    /// Streams that the application has not taken yet.
    ready: VecDeque<Accepted>,
    /// Streams that have control frames to send.
    control: VecDeque<StreamKey>,
    /// Bytes that wait to be read, and of metadata that waits to be taken.
    held: usize,
}

impl Streams {
    pub(super) fn new(config: &SessionConfig, theirs: &Hello) -> Self {
        Self {
            streams: HashMap::new(),
            window: config.stream_window,
            their_window: theirs.stream_window,
            pool: config.stream_pool(),
            max_streams: config.max_streams,
            opened: 0,
            limit: theirs.max_streams,
            open_here: 0,
            available: Signal::new(false),
            opening: VecDeque::new(),
            accepted: 0,
            granted: config.max_streams as u64,
            done: 0,
            ready: VecDeque::new(),
            control: VecDeque::new(),
            held: 0,
        }
    }

    pub(super) fn open(&mut self, metadata: Bytes, urgency: Urgency) -> Result<StreamKey, OpenError> {
        if metadata.len() > MAX_METADATA {
            return Err(OpenError::Metadata { bytes: metadata.len(), max: MAX_METADATA });
        }
        if !self.may_open() {
            self.available.want();
            return Err(OpenError::TooMany { limit: self.max_streams });
        }
        let key = StreamKey { id: self.opened, opened_here: true };
        self.opened += 1;
        self.open_here += 1;
        self.insert(key, urgency);
        self.opening.push_back(Accepted { key, metadata, urgency });
        Ok(key)
    }

    fn may_open(&self) -> bool {
        self.opened < self.limit && self.open_here < self.max_streams
    }

    fn insert(&mut self, key: StreamKey, urgency: Urgency) {
        let (send, receive) = (SendHalf::new(self.their_window), ReceiveHalf::new(self.window));
        self.streams.insert(key, Stream { urgency, send, receive, has_control: false });
    }

    pub(super) fn accept(&mut self) -> Option<Accepted> {
        let accepted = self.ready.pop_front()?;
        self.held -= accepted.metadata.len();
        Some(accepted)
    }

    pub(super) fn read(&mut self, key: StreamKey, max: usize, events: &mut Events) -> Result<Bytes, ReadError> {
        let stream = self.streams.get_mut(&key).ok_or(ReadError::Unknown)?;
        let result = stream.receive.read(max, &mut self.pool);
        self.held -= result.as_ref().map_or(0, Bytes::len);
        self.settle(key, events);
        result
    }

    pub(super) fn write(
        &mut self,
        key: StreamKey,
        bytes: &mut Bytes,
        schedule: &mut Schedule,
        events: &mut Events,
    ) -> Result<usize, WriteError> {
        let stream = self.streams.get_mut(&key).ok_or(WriteError::Unknown)?;
        let result = stream.send.write(bytes);
        match result {
            Ok(_) => self.schedule(key, schedule),
            Err(_) => self.settle(key, events),
        }
        result
    }

    pub(super) fn finish(&mut self, key: StreamKey, schedule: &mut Schedule) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.send.finish();
            self.schedule(key, schedule);
        }
    }

    pub(super) fn reset(&mut self, key: StreamKey, code: u64, events: &mut Events) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.send.reset(code.min(MAX_VARINT));
            self.settle(key, events);
        }
    }

    pub(super) fn stop(&mut self, key: StreamKey, code: u64, events: &mut Events) {
        if let Some(stream) = self.streams.get_mut(&key) {
            self.held -= stream.receive.held();
            stream.receive.stop(code.min(MAX_VARINT));
            self.settle(key, events);
        }
    }

    pub(super) fn is_flushed(&self, key: StreamKey) -> bool {
        self.streams.get(&key).is_none_or(|stream| stream.send.is_flushed())
    }

    /// Gives a stream a turn if it has something to send and has none.
    fn schedule(&mut self, key: StreamKey, schedule: &mut Schedule) {
        if let Some(stream) = self.streams.get_mut(&key)
            && stream.send.has_data()
            && !std::mem::replace(&mut stream.send.is_scheduled, true)
        {
            schedule.stream(stream.urgency, key);
        }
    }

    /// Queues a stream for its control frames, or lets go of one that is done.
    fn settle(&mut self, key: StreamKey, events: &mut Events) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        self.pool += stream.receive.give_back();
        if stream.send.has_control() || stream.receive.has_control() {
            if !std::mem::replace(&mut stream.has_control, true) {
                self.control.push_back(key);
            }
        } else if stream.is_done() {
            self.streams.remove(&key);
            if key.opened_here {
                self.open_here -= 1;
                self.tell_available(events);
            } else {
                self.done += 1;
            }
        }
    }

    fn tell_available(&mut self, events: &mut Events) {
        if self.may_open() && self.available.raise() {
            events.push(SessionEvent::StreamsAvailable);
        }
    }

    /// The other side has opened a stream.
    pub(super) fn opened(
        &mut self,
        id: u64,
        urgency: Urgency,
        metadata: &[u8],
        packet: &Bytes,
        events: &mut Events,
    ) -> Result<(), SessionError> {
        if id != self.accepted {
            return Err(SessionError::StreamOrder { id, expected: self.accepted });
        }
        if id >= self.granted {
            return Err(SessionError::TooManyStreams { id, granted: self.granted });
        }
        self.accepted += 1;
        let key = StreamKey { id, opened_here: false };
        self.insert(key, urgency);
        self.held += metadata.len();
        self.ready.push_back(Accepted { key, metadata: shared(metadata, packet), urgency });
        events.push(SessionEvent::StreamReady);
        Ok(())
    }

    /// The stream that a frame is about; nothing if it is done.
    fn referred(&mut self, key: StreamKey) -> Result<Option<&mut Stream>, SessionError> {
        let opened = if key.opened_here { self.opened - self.opening.len() as u64 } else { self.accepted };
        if key.id >= opened {
            return Err(SessionError::UnknownStream);
        }
        Ok(self.streams.get_mut(&key))
    }

    pub(super) fn data(
        &mut self,
        key: StreamKey,
        fin: bool,
        bytes: &[u8],
        packet: &Bytes,
        events: &mut Events,
    ) -> Result<(), SessionError> {
        let stream = self.referred(key)?.ok_or(SessionError::StreamEnded)?;
        let before = stream.receive.held();
        let is_told = stream.receive.take(bytes, fin, packet)?;
        let more = stream.receive.held() - before;
        self.held += more;
        if is_told {
            events.push(SessionEvent::Readable(key));
        }
        self.settle(key, events);
        Ok(())
    }

    pub(super) fn was_reset(&mut self, key: StreamKey, code: u64, events: &mut Events) -> Result<(), SessionError> {
        let stream = self.referred(key)?.ok_or(SessionError::StreamEnded)?;
        let held = stream.receive.held();
        let is_told = stream.receive.reset(code)?;
        self.held -= held;
        if is_told {
            events.push(SessionEvent::Readable(key));
        }
        self.settle(key, events);
        Ok(())
    }

    pub(super) fn was_stopped(&mut self, key: StreamKey, code: u64, events: &mut Events) -> Result<(), SessionError> {
        if let Some(stream) = self.referred(key)? {
            if stream.send.stop(code) && stream.send.writable.raise_unasked() {
                events.push(SessionEvent::Writable(key));
            }
            self.settle(key, events);
        }
        Ok(())
    }

    pub(super) fn max_data(&mut self, key: StreamKey, limit: u64, events: &mut Events) -> Result<(), SessionError> {
        if let Some(stream) = self.referred(key)?
            && stream.send.granted(limit)
        {
            events.push(SessionEvent::Writable(key));
        }
        Ok(())
    }

    pub(super) fn max_streams(&mut self, limit: u64, events: &mut Events) {
        self.limit = self.limit.max(limit);
        self.tell_available(events);
    }

    /// The other side has taken something of a stream.
    pub(super) fn acknowledged(&mut self, key: StreamKey, bytes: u32, is_end: bool, events: &mut Events) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.send.acknowledged(bytes, is_end) && stream.send.writable.raise_unasked() {
            events.push(SessionEvent::Writable(key));
        }
        if is_end {
            self.settle(key, events);
        }
    }

    /// The driver has taken an event; whether there is still something to tell. A writer may wait for the acknowledgement with
    /// which its stream is done and gone.
    pub(super) fn told(&mut self, event: &SessionEvent) -> bool {
        match event {
            SessionEvent::Readable(key) => {
                self.streams.get_mut(key).map(|stream| stream.receive.readable.taken()).is_some()
            }
            SessionEvent::Writable(key) => {
                if let Some(stream) = self.streams.get_mut(key) {
                    stream.send.writable.taken();
                }
                true
            }
            SessionEvent::StreamsAvailable => {
                self.available.taken();
                true
            }
            _ => true,
        }
    }

    /// How many streams the other side may have opened, if that is worth saying.
    fn grant(&self) -> Option<u64> {
        let limit = self.done + self.max_streams as u64;
        let more = limit - self.granted;
        let is_worth_it = more > 0 && (more >= self.max_streams as u64 / 4 || self.accepted == self.granted);
        is_worth_it.then_some(limit)
    }

    pub(super) fn has_control(&self) -> bool {
        !self.opening.is_empty() || !self.control.is_empty() || self.grant().is_some()
    }

    /// Writes what is due, opened streams first. Whether all is written.
    #[must_use]
    pub(super) fn write_control(&mut self, writer: &mut PacketWriter, events: &mut Events) -> bool {
        while let Some(Accepted { key, metadata, urgency }) = self.opening.front() {
            if !writer.control_with(FrameKind::OPEN, &[key.id, urgency.get().into()], metadata) {
                return false;
            }
            self.opening.pop_front();
        }
        if let Some(limit) = self.grant() {
            if !writer.control(FrameKind::MAX_STREAMS, &[limit]) {
                return false;
            }
            self.granted = limit;
        }
        while let Some(key) = self.control.front().copied() {
            if let Some(stream) = self.streams.get_mut(&key) {
                if !stream.receive.write_control(key, writer) || !stream.send.write_reset(key, writer) {
                    return false;
                }
                stream.has_control = false;
            }
            self.control.pop_front();
            self.settle(key, events);
        }
        true
    }

    /// Writes a DATA of a stream whose turn it is.
    pub(super) fn fill(
        &mut self,
        key: StreamKey,
        writer: &mut PacketWriter,
        schedule: &mut Schedule,
        events: &mut Events,
    ) -> Fill {
        let Some(stream) = self.streams.get_mut(&key) else { return Fill::Over };
        stream.send.is_scheduled = false;
        if !stream.send.has_data() {
            return Fill::Over;
        }
        let is_written = stream.send.write_data(key, writer);
        if is_written && stream.send.sent() {
            events.push(SessionEvent::Writable(key));
        }
        let has_more = stream.send.has_data();
        self.schedule(key, schedule);
        if has_more { Fill::Full } else { Fill::Over }
    }

    /// Bytes that are held for readers.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
