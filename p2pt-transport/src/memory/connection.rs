//! One connection as a state machine over time: no task, no timer, no lock.
//!
//! Everything that happens later (a frame arrives, an acknowledgement, a close, silence noticed) is an event with its
//! instant. [`Connection::advance`] applies those that are due, in order; a task that waits for something sleeps until
//! [`Connection::next_event`]. The outcome depends on the seed and the calls alone, not on which task advances it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tokio::{sync::Notify, time::Instant};

use super::{Conditions, MemoryConfig, NodeId};
use crate::{ChannelClosed, Frame, Role};

/// What a frame costs in a buffer on top of its payload, so that buffers also bound the number of empty frames.
const FRAME_OVERHEAD: usize = 16;
/// ICE, DTLS and SCTP take some round trips; two are 1.4 ms on loopback and 80 ms at a round trip of 40.
const HANDSHAKE_ROUND_TRIPS: u32 = 2;

fn cost(frame: &Frame) -> usize {
    frame.len() + FRAME_OVERHEAD
}

/// A side of a connection: where its end is, and where the flow that starts there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side(usize);

/// The way from one side to the other, which what it sends takes: its frames, acknowledgements and close notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) up: bool,
    pub(super) conditions: Conditions,
}

impl Side {
    pub(super) const OFFERER: Self = Self(0);
    pub(super) const ANSWERER: Self = Self(1);
    pub(super) const BOTH: [Self; 2] = [Self::OFFERER, Self::ANSWERER];

    pub(super) fn other(self) -> Self {
        Self(1 - self.0)
    }

    pub(super) fn role(self) -> Role {
        if self == Self::OFFERER { Role::Offerer } else { Role::Answerer }
    }
}

#[derive(Debug)]
struct Closing {
    reason: ChannelClosed,
    flush_deadline: Instant,
}

/// What one side has of the connection.
#[derive(Debug)]
struct End {
    node: NodeId,
    wake: Arc<Notify>,
    opens_at: Instant,
    open: bool,
    attached: bool,
    /// Its process is stopped: it reads nothing and its timers do not run.
    frozen: bool,
    /// Nothing has been received since.
    silent_since: Option<Instant>,
    closing: Option<Closing>,
    ended: Option<ChannelClosed>,
}

impl End {
    fn new(node: NodeId, wake: Arc<Notify>, opens_at: Instant) -> Self {
        Self {
            node,
            wake,
            opens_at,
            open: false,
            attached: true,
            frozen: false,
            silent_since: None,
            closing: None,
            ended: None,
        }
    }
}

#[derive(Debug)]
struct InFlight {
    frame: Frame,
    arrives: Instant,
    /// The connection breaks in the middle of this one.
    doomed: bool,
}

/// The frames that leave one side.
#[derive(Debug)]
struct Flow {
    path: Path,
    rng: Xoshiro256PlusPlus,
    in_flight: VecDeque<InFlight>,
    /// Acknowledgements on their way back: when they arrive, the payload and the buffer space they free.
    acks: VecDeque<(Instant, u64, usize)>,
    received: VecDeque<Frame>,
    received_cost: usize,
    /// When the reader last made room.
    room_since: Instant,
    buffered_cost: usize,
    unacknowledged: u64,
    accepted: u64,
    read: u64,
    /// Nothing overtakes what arrives at this instant.
    last_arrival: Instant,
    /// When the line has put the last frame on its way.
    line_free: Instant,
    /// When this side's close notice arrives.
    close_notice: Option<Instant>,
}

impl Flow {
    fn new(path: Path, seed: u64, opens_at: Instant) -> Self {
        Self {
            path,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            in_flight: VecDeque::new(),
            acks: VecDeque::new(),
            received: VecDeque::new(),
            received_cost: 0,
            room_since: opens_at,
            buffered_cost: 0,
            unacknowledged: 0,
            accepted: 0,
            read: 0,
            last_arrival: opens_at,
            line_free: opens_at,
            close_notice: None,
        }
    }

    /// The next frame, if it could be received as soon as it arrives.
    fn deliverable(&self, capacity: usize) -> Option<&InFlight> {
        let head = self.in_flight.front()?;
        let fits = self.received.is_empty() || self.received_cost + cost(&head.frame) <= capacity;
        (fits || head.doomed).then_some(head)
    }

    /// What was on its way when the path broke arrives after it has healed: the connection retransmits.
    fn delay_frames(&mut self, earliest: Instant) {
        for frame in &mut self.in_flight {
            frame.arrives = frame.arrives.max(earliest);
        }
        self.last_arrival = self.last_arrival.max(earliest);
    }

    /// Its acknowledgements, which come the other way, arrive after it has healed, too.
    fn delay_acks(&mut self, earliest: Instant) {
        for ack in &mut self.acks {
            ack.0 = ack.0.max(earliest);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Open(Side),
    Deliver(Side),
    Acknowledge(Side),
    CloseNotice(Side),
    FlushDeadline(Side),
    Silent(Side),
}

/// One connection between two nodes.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) label: String,
    ends: [End; 2],
    flows: [Flow; 2],
    send_buffer: usize,
    receive_buffer: usize,
    flush: Duration,
    idle_timeout: Duration,
}

impl Connection {
    /// A connection whose handshake begins now. The paths are those from the offerer and from the answerer.
    pub(super) fn new(
        config: &MemoryConfig,
        paths: [Path; 2],
        label: String,
        seed: u64,
        [offerer, answerer]: [(NodeId, Arc<Notify>); 2],
        now: Instant,
    ) -> Self {
        let [there, back] = paths.map(|path| path.conditions.latency);
        let offerer_opens = now + (there + back) * HANDSHAKE_ROUND_TRIPS;
        let answerer_opens = offerer_opens + there;
        Self {
            label,
            ends: [End::new(offerer.0, offerer.1, offerer_opens), End::new(answerer.0, answerer.1, answerer_opens)],
            flows: [Flow::new(paths[0], seed, answerer_opens), Flow::new(paths[1], !seed, answerer_opens)],
            send_buffer: config.send_buffer_bytes,
            receive_buffer: config.receive_buffer_bytes,
            flush: config.close_timeout,
            idle_timeout: config.idle_timeout,
        }
    }

    fn end(&self, side: Side) -> &End {
        &self.ends[side.0]
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side.0]
    }

    fn flow(&self, from: Side) -> &Flow {
        &self.flows[from.0]
    }

    fn flow_mut(&mut self, from: Side) -> &mut Flow {
        &mut self.flows[from.0]
    }

    pub(super) fn node(&self, side: Side) -> NodeId {
        self.end(side).node
    }

    pub(super) fn sides_of(&self, node: NodeId) -> impl Iterator<Item = Side> + '_ {
        Side::BOTH.into_iter().filter(move |side| self.node(*side) == node)
    }

    pub(super) fn wake_of(&self, side: Side) -> Arc<Notify> {
        self.end(side).wake.clone()
    }

    pub(super) fn is_open(&self, side: Side) -> bool {
        self.end(side).open
    }

    pub(super) fn ended(&self, side: Side) -> Option<&ChannelClosed> {
        self.end(side).ended.as_ref()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        !self.ends.iter().any(|end| end.attached)
    }

    /// Whether this side has opened and has not ended.
    pub(super) fn is_up(&self, side: Side) -> bool {
        self.is_open(side) && self.ended(side).is_none()
    }

    /// Payload bytes accepted on this side and not acknowledged.
    pub(super) fn unacknowledged(&self, side: Side) -> u64 {
        self.flow(side).unacknowledged
    }

    /// Payload bytes accepted on this side, and payload bytes its receiver has taken.
    pub(super) fn traffic(&self, side: Side) -> (u64, u64) {
        (self.flow(side).accepted, self.flow(side.other()).read)
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.flows.iter().map(|flow| flow.path.conditions.latency).sum()
    }

    fn wake(&self) {
        for end in &self.ends {
            end.wake.notify_waiters();
        }
    }

    /// Applies what is due, in order.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some((at, event)) = self.next()
            && at <= now
        {
            self.apply(event, at);
        }
    }

    /// When the next thing happens by itself.
    pub(super) fn next_event(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    fn next(&self) -> Option<(Instant, Event)> {
        Side::BOTH.into_iter().flat_map(|side| self.events_at(side)).flatten().min_by_key(|(at, _)| *at)
    }

    /// The events that change this side's end, and those of the flow that ends here.
    fn events_at(&self, side: Side) -> [Option<(Instant, Event)>; 6] {
        let end = self.end(side);
        if end.ended.is_some() {
            return [None; 6];
        }
        let other = self.end(side.other());
        let shakes_hands = other.ended.is_none() || other.open;
        let (inward, outward) = (self.flow(side.other()), self.flow(side));
        let mut events = [None; 6];
        if inward.path.up {
            let can_open = !end.open && shakes_hands && outward.path.up;
            events[0] = can_open.then_some((end.opens_at, Event::Open(side)));
            events[1] = inward
                .deliverable(self.receive_buffer)
                .map(|head| (head.arrives.max(inward.room_since), Event::Deliver(side)));
            events[2] = outward.acks.front().map(|ack| (ack.0, Event::Acknowledge(side)));
            events[3] = inward.close_notice.map(|at| (at, Event::CloseNotice(side)));
        }
        events[4] = end.closing.as_ref().map(|closing| (closing.flush_deadline, Event::FlushDeadline(side)));
        events[5] = end.silent_since.filter(|_| end.open).map(|since| (since + self.idle_timeout, Event::Silent(side)));
        events
    }

    fn apply(&mut self, event: Event, at: Instant) {
        match event {
            Event::Open(side) => self.end_mut(side).open = true,
            Event::Deliver(side) => self.deliver(side, at),
            Event::Acknowledge(side) => {
                let flow = self.flow_mut(side);
                if let Some((_, payload, space)) = flow.acks.pop_front() {
                    flow.unacknowledged -= payload;
                    flow.buffered_cost -= space;
                }
                self.finish_if_flushed(side, at);
            }
            Event::CloseNotice(side) => self.finish(side, ChannelClosed::Remote, at),
            Event::FlushDeadline(side) => self.close_now(side, ChannelClosed::Local, at),
            // A side that receives nothing may still reach the other one.
            Event::Silent(side) => self.close_now(side, ChannelClosed::Timeout(self.idle_timeout), at),
        }
        self.wake();
    }

    fn deliver(&mut self, side: Side, at: Instant) {
        let latency = self.flow(side).path.conditions.latency;
        let flow = self.flow_mut(side.other());
        let Some(head) = flow.in_flight.pop_front() else { return };
        if head.doomed {
            for side in Side::BOTH {
                self.finish(side, ChannelClosed::Failed("injected: broken in mid-message".to_owned()), at);
            }
            return;
        }
        let (payload, space) = (head.frame.len() as u64, cost(&head.frame));
        let arrives = flow.acks.back().map_or(at + latency, |last| last.0.max(at + latency));
        flow.acks.push_back((arrives, payload, space));
        flow.received_cost += space;
        flow.received.push_back(head.frame);
    }

    /// Whether the send buffer takes this frame now; one frame always fits into an empty buffer.
    pub(super) fn has_room(&self, side: Side, frame: &Frame) -> bool {
        let buffered = self.flow(side).buffered_cost;
        buffered == 0 || buffered + cost(frame) <= self.send_buffer
    }

    /// Whether the send buffer takes all of these frames now; `None` if it never does, not even when it is empty.
    pub(super) fn has_room_for_all(&self, side: Side, frames: &[Frame]) -> Option<bool> {
        let total: usize = frames.iter().map(cost).sum();
        match frames {
            [frame] => Some(self.has_room(side, frame)),
            _ if total > self.send_buffer => None,
            _ => Some(self.flow(side).buffered_cost + total <= self.send_buffer),
        }
    }

    /// Whether this side takes no more frames.
    pub(super) fn is_closing(&self, side: Side) -> bool {
        let end = self.end(side);
        end.closing.is_some() || end.ended.is_some()
    }

    /// Puts a frame on its way. A doomed one breaks the connection where it would have arrived.
    pub(super) fn send(&mut self, side: Side, frame: Frame, doomed: bool, now: Instant) {
        let flow = self.flow_mut(side);
        let Conditions { latency, jitter, bytes_per_second } = flow.path.conditions;
        let on_the_line = bytes_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(frame.len() as f64 / f64::from(rate.get())));
        flow.line_free = flow.line_free.max(now) + on_the_line;
        let jitter = flow.rng.random_range(Duration::ZERO..=jitter);
        flow.last_arrival = flow.last_arrival.max(flow.line_free + latency + jitter);
        flow.buffered_cost += cost(&frame);
        flow.unacknowledged += frame.len() as u64;
        flow.accepted += frame.len() as u64;
        flow.in_flight.push_back(InFlight { frame, arrives: flow.last_arrival, doomed });
        self.wake();
    }

    /// The next received frame, unless the reader's process is stopped.
    pub(super) fn receive(&mut self, side: Side, now: Instant) -> Option<Frame> {
        if self.end(side).frozen {
            return None;
        }
        let flow = self.flow_mut(side.other());
        let frame = flow.received.pop_front()?;
        flow.received_cost -= cost(&frame);
        flow.read += frame.len() as u64;
        flow.room_since = now;
        self.advance(now);
        self.wake();
        Some(frame)
    }

    /// Begins a graceful close, unless it has begun or the channel has ended.
    pub(super) fn close(&mut self, side: Side, reason: ChannelClosed, now: Instant) {
        if self.is_closing(side) {
            return;
        }
        self.end_mut(side).closing = Some(Closing { reason, flush_deadline: now + self.flush });
        if self.end(side).open {
            self.finish_if_flushed(side, now);
        } else {
            self.close_now(side, ChannelClosed::Local, now);
        }
        self.wake();
    }

    /// The side's handles are gone.
    pub(super) fn detach(&mut self, side: Side, now: Instant) {
        self.end_mut(side).attached = false;
        self.close(side, ChannelClosed::Local, now);
    }

    /// Ends this side without a close notice to the other: its process was killed.
    pub(super) fn kill(&mut self, side: Side, now: Instant) {
        self.finish(side, ChannelClosed::Failed("injected: this node was killed".to_owned()), now);
        self.wake();
    }

    fn finish_if_flushed(&mut self, side: Side, at: Instant) {
        let flow = self.flow(side);
        if self.end(side).closing.is_some() && flow.in_flight.is_empty() && flow.acks.is_empty() {
            self.close_now(side, ChannelClosed::Local, at);
        }
    }

    /// Ends a side, and sends the other one a close notice if the path works.
    fn close_now(&mut self, side: Side, reason: ChannelClosed, at: Instant) {
        let flow = self.flow_mut(side);
        if flow.path.up {
            flow.close_notice = Some(flow.last_arrival.max(at + flow.path.conditions.latency));
        }
        self.finish(side, reason, at);
    }

    /// Ends a side. A side that was closing ends with the reason of its close, even if the close was cut short.
    fn finish(&mut self, side: Side, reason: ChannelClosed, at: Instant) {
        if self.end(side).ended.is_some() {
            return;
        }
        let flow = self.flow_mut(side);
        flow.in_flight.clear();
        flow.acks.clear();
        let end = self.end_mut(side);
        end.ended = Some(end.closing.take().map_or(reason, |closing| closing.reason));
        self.listen(side.other(), at);
    }

    /// Starts or stops the wait after which silence ends this side.
    fn listen(&mut self, side: Side, now: Instant) {
        let inward = self.flow(side.other());
        let gone = self.end(side.other()).ended.is_some() && inward.close_notice.is_none();
        let deaf = !inward.path.up || gone;
        let end = self.end_mut(side);
        end.silent_since = if deaf && !end.frozen { end.silent_since.or(Some(now)) } else { None };
    }

    /// The ways from the offerer and from the answerer, and which of the two is stopped. Frames under way keep the
    /// conditions they met.
    pub(super) fn set_paths(&mut self, paths: [Path; 2], frozen: [bool; 2], now: Instant) {
        for (side, path) in Side::BOTH.into_iter().zip(paths) {
            let was_up = std::mem::replace(&mut self.flow_mut(side).path, path).up;
            if was_up && !path.up {
                self.flow_mut(side).close_notice = None;
            }
            if !was_up && path.up {
                let earliest = now + path.conditions.latency;
                self.flow_mut(side).delay_frames(earliest);
                self.flow_mut(side.other()).delay_acks(earliest);
                for end in &mut self.ends {
                    end.opens_at = end.opens_at.max(earliest);
                }
            }
        }
        for side in Side::BOTH {
            self.end_mut(side).frozen = frozen[side.0];
            self.listen(side, now);
        }
        self.wake();
    }
}
