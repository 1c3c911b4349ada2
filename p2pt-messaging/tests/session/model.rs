//! Two sessions, the channels between them, and what is known of what they have to do.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use p2pt_messaging::wire::{
    InMessage, LinkId, MAX_METADATA, MessageKey, OpenError, OutMessage, ReadError, Session, SessionConfig,
    SessionEvent, StreamKey, Urgency, WriteError,
};
use web_time::Instant;

use super::plan::{Side, Step};

/// Most packets in one direction of a channel.
const CHANNEL_PACKETS: usize = 6;

/// What a session may retain beyond `max_unacknowledged`: control frames, and the last packet of either sort.
const CONTROL_ROOM: usize = (1 << 20) + (128 << 10);

/// A channel: packets arrive in order, or not at all from some packet on.
#[derive(Debug)]
struct Channel {
    id: LinkId,
    /// What each side has sent and the other has not got.
    under_way: [VecDeque<Bytes>; 2],
    is_broken: bool,
    /// Which sides have it open.
    is_open: [bool; 2],
    is_leaving: [bool; 2],
}

/// One direction of a stream, as it is known at both ends.
#[derive(Debug, Default)]
struct Half {
    written: usize,
    read: usize,
    is_finished: bool,
    /// Codes with which the writer and the reader have ended it, the first ones.
    reset: Option<u64>,
    stopped: Option<u64>,
    /// The writer, or the reader, knows that nothing more is to be done.
    is_writer_done: bool,
    is_reader_done: bool,
}

/// A stream as one side names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Name {
    opener: Side,
    id: u64,
}

struct End {
    session: Session,
    config: SessionConfig,
    sent: BTreeMap<MessageKey, OutMessage>,
    /// By their numbers, of which each message has its own.
    keys: HashMap<u64, MessageKey>,
    cancelled: BTreeSet<MessageKey>,
    refused: BTreeSet<MessageKey>,
    acknowledged: BTreeSet<MessageKey>,
    /// Messages of the other side that were delivered here.
    delivered: BTreeSet<MessageKey>,
    latest: HashMap<Urgency, MessageKey>,
    /// Streams that the application here has: how it names them, and who has opened them.
    streams: Vec<(StreamKey, Name)>,
    opened: u64,
    accepted: u64,
    metadata: Vec<Bytes>,
}

pub(crate) struct World {
    now: Instant,
    ends: [End; 2],
    channels: Vec<Channel>,
    next_link: u64,
    next_message: u64,
    /// By the stream, and the side that writes.
    halves: HashMap<(Name, Side), Half>,
}

/// Bytes by which any part of a message or a stream is told from any other.
fn pattern(seed: u64, from: usize, length: usize) -> Bytes {
    (from..from + length).map(|at| (seed as usize * 37 + at * 7 + at / 251) as u8).collect()
}

fn seed(name: Name, writer: Side) -> u64 {
    name.id * 4 + name.opener as u64 * 2 + writer as u64
}

impl World {
    pub(crate) fn new(configs: &[SessionConfig; 2]) -> Self {
        let hellos = [0, 1].map(|side: Side| configs[side].hello([side as u8; 16], "model"));
        let end = |side: Side| End {
            session: Session::new(configs[side].clone(), &hellos[1 - side]),
            config: configs[side].clone(),
            sent: BTreeMap::new(),
            keys: HashMap::new(),
            cancelled: BTreeSet::new(),
            refused: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            delivered: BTreeSet::new(),
            latest: HashMap::new(),
            streams: Vec::new(),
            opened: 0,
            accepted: 0,
            metadata: Vec::new(),
        };
        // The clock is read once, to have any instant at all.
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let ends = [end(0), end(1)];
        let mut world = Self { now, ends, channels: Vec::new(), next_link: 0, next_message: 0, halves: HashMap::new() };
        world.open_channel();
        world
    }

    pub(crate) fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
            self.check_bounds();
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { side, urgency, kind, response, size } => {
                let id = self.next_message;
                self.next_message += 1;
                let message = OutMessage { id, response, kind, urgency, bytes: pattern(id, 0, size) };
                let max = self.ends[1 - side].config.max_message;
                let end = &mut self.ends[side];
                let result = end.session.send(message.clone());
                assert_eq!(result.is_err(), size > max);
                if let Ok(key) = result {
                    end.sent.insert(key, message);
                    end.keys.insert(id, key);
                }
            }
            Step::Cancel { side, which } => {
                let end = &mut self.ends[side];
                let keys: Vec<_> = end.sent.keys().copied().collect();
                if let Some(key) = pick(&keys, which)
                    && let Some(message) = end.session.cancel(key)
                {
                    assert_eq!(message, end.sent[&key]);
                    assert!(end.cancelled.insert(key));
                }
            }
            Step::Receive { side, most } => {
                for _ in 0..most {
                    let Some(message) = self.ends[side].session.receive_message() else { break };
                    self.delivered(side, message);
                }
            }
            Step::GiveUp { side } => {
                let before = self.ends[side].session.held_bytes();
                if let Some(given_up) = self.ends[side].session.give_up_largest() {
                    assert_eq!(self.ends[side].session.held_bytes(), before - given_up.bytes);
                }
            }
            Step::Open { side, urgency, metadata } => {
                self.open_stream(side, urgency, metadata);
            }
            Step::Accept { side } => {
                self.accept(side);
            }
            Step::Write { side, which, size } => self.with_stream(side, which, |world, key, name| {
                world.write(side, key, name, size);
            }),
            Step::Read { side, which, most } => self.with_stream(side, which, |world, key, name| {
                world.read(side, key, name, most + 1);
            }),
            Step::Finish { side, which } => self.with_stream(side, which, |world, key, name| {
                world.finish(side, key, name);
            }),
            Step::Reset { side, which, code } => self.with_stream(side, which, |world, key, name| {
                let half = half(&mut world.halves, name, side);
                half.reset.get_or_insert(code);
                half.is_writer_done = true;
                world.ends[side].session.reset(key, code);
            }),
            Step::Stop { side, which, code } => self.with_stream(side, which, |world, key, name| {
                let half = half(&mut world.halves, name, 1 - side);
                half.stopped.get_or_insert(code);
                half.is_reader_done = true;
                world.ends[side].session.stop(key, code);
            }),
            Step::Transmit { side, which, budget } => {
                if let Some(index) = pick_index(self.channels.len(), which) {
                    self.transmit(side, index, budget);
                }
            }
            Step::Deliver { side, which, most } => {
                if let Some(index) = pick_index(self.channels.len(), which) {
                    self.deliver(side, index, most);
                }
            }
            Step::Exchange { times, budget } => {
                for _ in 0..times {
                    self.exchange(budget);
                }
            }
            Step::OpenChannel => self.open_channel(),
            Step::Break { which, lost } => {
                if let Some(index) = pick_index(self.channels.len(), which) {
                    let channel = &mut self.channels[index];
                    channel.is_broken = true;
                    for (packets, lost) in channel.under_way.iter_mut().zip(lost) {
                        packets.truncate(packets.len().saturating_sub(lost));
                    }
                }
            }
            Step::Close { side, which } => {
                if let Some(index) = pick_index(self.channels.len(), which) {
                    self.close(side, index);
                }
            }
            Step::Leaving { side, which } => {
                if let Some(index) = pick_index(self.channels.len(), which) {
                    let channel = &mut self.channels[index];
                    channel.is_leaving[side] = true;
                    self.ends[side].session.link_leaving(channel.id);
                }
            }
            Step::Wait { time } => {
                self.now += time;
                for side in [0, 1] {
                    if self.ends[side].session.poll_timeout().is_some_and(|timeout| timeout <= self.now) {
                        self.ends[side].session.handle_timeout(self.now);
                        let again = self.ends[side].session.poll_timeout();
                        assert!(again.is_none_or(|timeout| timeout > self.now), "a timeout is not over");
                    }
                }
            }
            Step::Events { side } => self.take_events(side),
        }
    }

    fn with_stream(
        &mut self,
        side: Side,
        which: proptest::sample::Index,
        act: impl FnOnce(&mut Self, StreamKey, Name),
    ) {
        if let Some((key, name)) = pick(&self.ends[side].streams, which) {
            act(self, key, name);
        }
    }

    fn delivered(&mut self, side: Side, message: InMessage) {
        let (this, other) = two(&mut self.ends, side);
        let key = other.keys[&message.id];
        let sent = &other.sent[&key];
        let InMessage { id, response, kind, urgency, bytes } = message;
        assert_eq!(*sent, OutMessage { id, response, kind, urgency, bytes }, "a message changed on its way");
        assert!(this.delivered.insert(key), "a message was doubled");
        let before = this.latest.insert(urgency, key);
        assert!(before.is_none_or(|before| before < key), "messages changed their order");
        assert!(!other.cancelled.contains(&key), "a cancelled message was delivered");
        assert!(!other.refused.contains(&key), "a refused message was delivered");
    }

    fn open_stream(&mut self, side: Side, urgency: Urgency, metadata: usize) -> bool {
        let end = &mut self.ends[side];
        let name = Name { opener: side, id: end.opened };
        let metadata = pattern(name.id, 0, metadata);
        match end.session.open(metadata.clone(), urgency) {
            Ok(key) => {
                assert!(key.opened_here());
                end.opened += 1;
                end.metadata.push(metadata);
                end.streams.push((key, name));
                for writer in [0, 1] {
                    self.halves.insert((name, writer), Half::default());
                }
                true
            }
            Err(OpenError::TooMany { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn accept(&mut self, side: Side) -> bool {
        let (this, other) = two(&mut self.ends, side);
        let Some(accepted) = this.session.accept() else { return false };
        let name = Name { opener: 1 - side, id: this.accepted };
        assert!(!accepted.key.opened_here());
        assert_eq!(accepted.metadata, other.metadata[this.accepted as usize]);
        this.accepted += 1;
        this.streams.push((accepted.key, name));
        true
    }

    fn write(&mut self, side: Side, key: StreamKey, name: Name, size: usize) -> bool {
        let half = half(&mut self.halves, name, side);
        let mut bytes = pattern(seed(name, side), half.written, size);
        match self.ends[side].session.write(key, &mut bytes) {
            Ok(count) => {
                assert!(count + bytes.len() == size && (count > 0 || size == 0));
                assert!(!half.is_finished && half.reset.is_none());
                half.written += count;
                true
            }
            Err(WriteError::Blocked) => false,
            Err(WriteError::Stopped(code)) => {
                assert_eq!(half.stopped, Some(code));
                half.is_writer_done = true;
                false
            }
            Err(WriteError::Finished) => {
                assert!(half.is_finished || half.reset.is_some());
                false
            }
            Err(WriteError::Unknown) => {
                assert!(half.is_writer_done, "a stream was let go of too soon");
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn finish(&mut self, side: Side, key: StreamKey, name: Name) {
        let half = half(&mut self.halves, name, side);
        half.is_finished = true;
        half.is_writer_done = true;
        self.ends[side].session.finish(key);
    }

    fn read(&mut self, side: Side, key: StreamKey, name: Name, most: usize) -> bool {
        let writer = 1 - side;
        let half = half(&mut self.halves, name, writer);
        match self.ends[side].session.read(key, most) {
            Ok(bytes) if bytes.is_empty() => {
                assert!(half.is_finished, "an end that was none");
                assert_eq!(half.read, half.written, "bytes of a stream were lost before its end");
                half.is_reader_done = true;
                false
            }
            Ok(bytes) => {
                assert!(bytes.len() <= most);
                assert_eq!(bytes, pattern(seed(name, writer), half.read, bytes.len()), "bytes of a stream changed");
                half.read += bytes.len();
                assert!(half.read <= half.written);
                true
            }
            Err(ReadError::Blocked) => false,
            Err(ReadError::Reset(code)) => {
                assert!(half.reset == Some(code) || half.stopped == Some(code));
                half.is_reader_done = true;
                false
            }
            Err(ReadError::Stopped) => {
                assert!(half.stopped.is_some());
                false
            }
            Err(ReadError::Unknown) => {
                assert!(half.is_reader_done, "a stream was let go of too soon");
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn open_channel(&mut self) {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        for end in &mut self.ends {
            end.session.link_opened(self.now, id);
        }
        let (under_way, is_leaving) = ([VecDeque::new(), VecDeque::new()], [false; 2]);
        self.channels.push(Channel { id, under_way, is_broken: false, is_open: [true; 2], is_leaving });
    }

    /// A side closes a channel, which breaks it for both.
    fn close(&mut self, side: Side, index: usize) {
        let channel = &mut self.channels[index];
        channel.is_broken = true;
        channel.is_open[side] = false;
        self.ends[side].session.link_closed(self.now, channel.id);
        if channel.is_open == [false; 2] && channel.under_way.iter().all(VecDeque::is_empty) {
            self.channels.remove(index);
        }
    }

    fn transmit(&mut self, side: Side, index: usize, budget: usize) -> bool {
        let channel = &mut self.channels[index];
        if channel.under_way[side].len() >= CHANNEL_PACKETS {
            return false;
        }
        let packet = self.ends[side].session.poll_transmit(self.now, channel.id, budget);
        let Some(packet) = packet else { return false };
        assert!(channel.is_open[side], "a packet for a channel that is closed");
        assert!(packet.len() <= 65_536 && !packet.is_empty());
        if !channel.is_broken {
            channel.under_way[side].push_back(packet);
        }
        true
    }

    fn deliver(&mut self, side: Side, index: usize, most: usize) -> bool {
        let mut has_come = false;
        for _ in 0..most {
            let channel = &mut self.channels[index];
            let Some(packet) = channel.under_way[side].pop_front() else { break };
            let receiver = &mut self.ends[1 - side].session;
            receiver.receive(self.now, channel.id, &packet).unwrap_or_else(|error| panic!("{error}"));
            has_come = true;
        }
        has_come
    }

    /// Each side sends a packet on each channel, and gets what is under way.
    fn exchange(&mut self, budget: usize) -> bool {
        let mut has_come = false;
        for index in 0..self.channels.len() {
            for side in [0, 1] {
                has_come |= self.transmit(side, index, budget);
                has_come |= self.deliver(side, index, CHANNEL_PACKETS);
            }
        }
        has_come
    }

    fn take_events(&mut self, side: Side) {
        while let Some(event) = self.ends[side].session.poll_event() {
            let end = &mut self.ends[side];
            match event {
                SessionEvent::Acknowledged(key) => {
                    assert!(end.acknowledged.insert(key));
                    assert!(!end.cancelled.contains(&key) && !end.refused.contains(&key));
                    assert_eq!(end.session.progress(key), None);
                }
                SessionEvent::Refused(key, message) => {
                    assert_eq!(message, end.sent[&key]);
                    assert!(end.refused.insert(key));
                    assert!(!end.acknowledged.contains(&key) && !end.cancelled.contains(&key));
                }
                SessionEvent::LinkDead(link) => {
                    if let Some(index) = self.channels.iter().position(|channel| channel.id == link) {
                        self.close(side, index);
                    }
                }
                _ => {}
            }
        }
    }

    fn check_bounds(&self) {
        for end in &self.ends {
            let config = &end.config;
            let messages = 2 * config.message_window + config.reassembly.max(config.max_message);
            let streams = config.stream_memory + config.max_streams * MAX_METADATA;
            assert!(end.session.held_bytes() <= messages + streams, "{} are held", end.session.held_bytes());
            let retained = end.session.unacknowledged_bytes();
            assert!(retained <= config.max_unacknowledged + CONTROL_ROOM, "{retained} are retained");
        }
    }

    /// One channel that lasts, for all that is left to be said.
    fn settle(&mut self, mut act: impl FnMut(&mut Self) -> bool) {
        for _ in 0..20_000 {
            let has_come = self.exchange(65_536);
            let has_acted = act(self);
            self.check_bounds();
            for side in [0, 1] {
                self.take_events(side);
            }
            if !has_come && !has_acted {
                return;
            }
        }
        panic!("the sessions talk without end");
    }

    /// Applications read all there is. Whether there was something.
    fn read_all(&mut self) -> bool {
        let mut has_read = false;
        for side in [0, 1] {
            while let Some(message) = self.ends[side].session.receive_message() {
                self.delivered(side, message);
                has_read = true;
            }
            while self.accept(side) {
                has_read = true;
            }
            for (key, name) in self.ends[side].streams.clone() {
                while self.read(side, key, name, 1000) {
                    has_read = true;
                }
            }
        }
        has_read
    }

    pub(crate) fn drain(&mut self) {
        // Channels that are said to be dead are closed first.
        [0, 1].into_iter().for_each(|side| self.take_events(side));
        let is_fine =
            |channel: &&Channel| !channel.is_broken && channel.is_leaving == [false; 2] && channel.is_open == [true; 2];
        let fine: Vec<_> = self.channels.iter().filter(is_fine).map(|channel| channel.id).collect();
        let others: Vec<_> = self.channels.iter().map(|channel| channel.id).filter(|id| !fine.contains(id)).collect();
        for (id, side) in others.into_iter().flat_map(|id| [(id, 0), (id, 1)]) {
            if let Some(index) = self.channels.iter().position(|channel| channel.id == id && channel.is_open[side]) {
                self.close(side, index);
            }
        }
        if fine.is_empty() {
            self.open_channel();
        }
        self.settle(Self::read_all);
        for side in [0, 1] {
            assert!(self.ends[side].session.is_idle(), "something is left to be said");
        }
        self.check_delivered();

        // Streams go on where they were.
        let streams: Vec<_> = [0, 1].map(|side| self.ends[side].streams.clone()).into();
        for side in [0, 1] {
            for (key, name) in streams[side].iter().copied() {
                self.write(side, key, name, 3000);
                self.finish(side, key, name);
            }
        }
        self.settle(Self::read_all);
        for side in [0, 1] {
            for (key, name) in streams[side].iter().copied() {
                // The writer sees of a stop, where there was one.
                self.write(side, key, name, 1);
                assert_eq!(self.ends[side].session.read(key, 1), Err(ReadError::Unknown), "{name:?} is not done");
            }
        }
        self.settle(Self::read_all);
        for side in [0, 1] {
            let end = &self.ends[side];
            assert!(end.session.is_idle());
            assert_eq!(end.session.held_bytes(), 0);
            assert_eq!(end.session.unacknowledged_bytes(), 0);
        }
        self.check_streams();
        // Everything is as at the beginning.
        for side in [0, 1] {
            let most = self.ends[0].config.max_streams.min(self.ends[1].config.max_streams);
            for count in 0..=most {
                assert_eq!(self.open_stream(side, Urgency::DEFAULT, 0), count < most);
            }
            let bytes = self.ends[1 - side].config.max_message;
            let message = OutMessage {
                id: self.next_message,
                response: false,
                kind: p2pt_messaging::wire::MessageKind::Raw,
                urgency: Urgency::DEFAULT,
                bytes: pattern(self.next_message, 0, bytes),
            };
            self.next_message += 1;
            let key = self.ends[side].session.send(message.clone()).expect("one of the largest size");
            self.ends[side].keys.insert(message.id, key);
            self.ends[side].sent.insert(key, message);
        }
        self.settle(Self::read_all);
        self.check_delivered();
    }

    /// What was written, and neither reset nor stopped, was read.
    fn check_streams(&self) {
        for half in self.halves.values() {
            if half.reset.is_none() && half.stopped.is_none() {
                assert_eq!(half.read, half.written, "bytes of a stream were lost");
            }
        }
    }

    /// Everything was delivered that was neither cancelled nor refused, and everything that was is known to be.
    fn check_delivered(&self) {
        for (side, end) in self.ends.iter().enumerate() {
            let other = &self.ends[1 - side];
            for key in end.sent.keys() {
                let is_back = end.cancelled.contains(key) || end.refused.contains(key);
                assert_eq!(other.delivered.contains(key), !is_back, "{key:?} of side {side}");
                assert_eq!(end.acknowledged.contains(key), !is_back, "{key:?} of side {side}");
            }
        }
        self.check_lost_in_refusal();
    }

    fn check_lost_in_refusal(&self) {
        for (side, end) in self.ends.iter().enumerate() {
            assert!(end.refused.is_disjoint(&self.ends[1 - side].delivered), "a refused message was delivered");
        }
    }

    /// A side gets bytes that no session has sent, and goes on if they are fine by chance.
    pub(crate) fn attack(&mut self, side: Side, attempts: &[(usize, Vec<u8>)]) {
        let other = 1 - side;
        for (at, change) in attempts {
            // A packet as it would be, with some of its bytes overwritten; or these bytes alone.
            let mut packet = self.packet_of(other).map_or_else(|| change.clone(), |packet| packet.to_vec());
            let from = at % packet.len().max(1);
            packet.iter_mut().skip(from).zip(change).for_each(|(byte, change)| *byte = *change);
            let result = self.ends[side].session.receive(self.now, self.channels[0].id, &packet.into());
            self.check_bounds();
            while self.ends[side].session.poll_event().is_some() {}
            let answer = self.ends[side].session.poll_transmit(self.now, self.channels[0].id, 65_536);
            assert!(answer.is_none_or(|_| result.is_ok()), "a session that has ended speaks");
        }
    }

    fn packet_of(&mut self, side: Side) -> Option<Bytes> {
        let link = self.channels[0].id;
        self.ends[side].session.poll_transmit(self.now, link, 65_536)
    }

    /// The end comes now.
    pub(crate) fn end(mut self) {
        for side in [0, 1] {
            self.take_events(side);
            // What has come whole is delivered.
            while let Some(message) = self.ends[side].session.receive_message() {
                self.delivered(side, message);
            }
        }
        self.check_lost_in_refusal();
        let delivered = [0, 1].map(|side: Side| self.ends[1 - side].delivered.clone());
        for (mut end, delivered) in self.ends.into_iter().zip(delivered) {
            let unacknowledged = end.session.take_unacknowledged();
            let mut expected = end.sent;
            expected.retain(|key, _| {
                let is_settled = end.cancelled.contains(key) || end.refused.contains(key);
                !is_settled && !end.acknowledged.contains(key)
            });
            assert_eq!(unacknowledged, expected.into_iter().collect::<Vec<_>>());
            assert!(end.acknowledged.is_subset(&delivered), "an acknowledged message was not delivered");
        }
    }
}

fn pick<T: Copy>(of: &[T], which: proptest::sample::Index) -> Option<T> {
    pick_index(of.len(), which).map(|index| of[index])
}

fn pick_index(count: usize, which: proptest::sample::Index) -> Option<usize> {
    (count > 0).then(|| which.index(count))
}

fn half(halves: &mut HashMap<(Name, Side), Half>, name: Name, writer: Side) -> &mut Half {
    halves.get_mut(&(name, writer)).expect("a stream that was opened")
}

/// A side's end, and the other one.
fn two(ends: &mut [End; 2], side: Side) -> (&mut End, &mut End) {
    let [a, b] = ends;
    if side == 0 { (a, b) } else { (b, a) }
}
