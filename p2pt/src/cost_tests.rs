//! What a message costs this crate and the codec: heap allocations, and the bytes they ask for, counted.
//!
//! Counts are the same on every machine, however busy, so each is compared with a budget: one allocation more, or one
//! copy more of what is sent, is a failure, and so is a budget that has become too generous. A vector that grows counts
//! as a new allocation of its new size, as the bytes it holds may have to be moved. What a transport costs is left out,
//! but for the future that [`FrameReceiver::recv`] has to put into a box.
//!
//! Nothing here runs in a runtime, unless it says so: a message that spawned a task or set a timer would panic.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use allocation_counter::{AllocationInfo, measure};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use p2pt_messaging::{Chunks, DEFAULT_BUDGET, MessageId, Payload};
use p2pt_proto::PeerId;
use p2pt_transport::{
    ChannelClosed, ChannelStats, Frame, FrameReceiver, FrameSender, SendFrameError, TrySendAllError, TrySendFrameError,
};

use crate::channel::PeerChannel;
use crate::queue::{EventQueue, lock};
use crate::reading::read;
use crate::settings::{PeerConfig, Settings};
use crate::{Event, InvalidFrame, Peer, ReceiveError};
use p2pt_mesh::mesh::ChannelId;

const SMALL: usize = 100;
const LARGE: usize = 1_000_000;

/// Small messages sent in each test, enough that tables, which double, have stopped growing.
const MESSAGES: usize = 10_000;

/// Small messages on their way at the same time.
const BATCH: usize = 20;

/// Allocations that tables may need to grow, in all.
const GROWTH: u64 = 20;

/// How far the bytes may be off, in percent: futures and reference counts are not of the same size everywhere.
const TOLERANCE: u64 = 3;

/// A small message's frame: its text, and an envelope with an id of 15 digits or, most of the time, 16.
const SMALL_FRAME: u64 = SMALL as u64 + "^{\"id\":,\"msg\":\"\",\"c\":0,\"last\":true}".len() as u64 + 16;

/// The frames of a large message.
const LARGE_FRAMES: u64 = (LARGE / DEFAULT_BUDGET + 1) as u64;

/// What [`Wire`] puts into a box for each frame.
const RECV_FUTURE: u64 = 24;

/// Compares a cost with what each of so many messages may take.
fn assert_budget(spent: AllocationInfo, messages: usize, allocations: u64, bytes: u64) {
    let (messages, counted) = (messages as u64, spent.count_total);
    let growth = if messages > 1 { GROWTH } else { 0 };
    let budget = messages * allocations..=messages * allocations + growth;
    assert!(budget.contains(&counted), "{counted} allocations for {messages} messages, not {allocations} each");
    let each = spent.bytes_total / messages;
    let off = each.abs_diff(bytes);
    assert!(off * 100 <= bytes * TOLERANCE, "{each} bytes for each of {messages} messages, not {bytes}");
}

/// One way of a channel that costs nothing: the room for frames is made beforehand.
#[derive(Debug)]
struct Wire(Mutex<VecDeque<Frame>>);

impl Wire {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(VecDeque::with_capacity(MESSAGES))))
    }
}

#[async_trait]
impl FrameSender for Wire {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        lock(&self.0).push_back(frame);
        Ok(())
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        lock(&self.0).push_back(frame);
        Ok(())
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        lock(&self.0).extend(frames);
        Ok(())
    }

    fn unacknowledged_bytes(&self) -> u64 {
        0
    }

    async fn close(&self) {}

    async fn closed(&self) -> ChannelClosed {
        pending().await
    }

    async fn stats(&self) -> ChannelStats {
        ChannelStats::default()
    }
}

/// The end of a wire; whoever polls it looks again after putting a frame in.
#[derive(Debug)]
struct WireEnd(Arc<Wire>);

#[async_trait]
impl FrameReceiver for WireEnd {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        poll_fn(|_| lock(&self.0.0).pop_front().map_or(Poll::Pending, |frame| Poll::Ready(Ok(frame)))).await
    }
}

/// One side of a connection: the handle of the other side, the channel to it, and what was heard.
struct Side {
    peer: Peer,
    channel: Arc<PeerChannel>,
    queue: EventQueue,
}

impl Side {
    fn new(outward: &Arc<Wire>) -> Self {
        Self::of_node(outward, Arc::new(Settings::alone(2 * LARGE)))
    }

    /// One of several peers of a node.
    fn of_node(outward: &Arc<Wire>, settings: Arc<Settings>) -> Self {
        let channel = Arc::new(PeerChannel::new(ChannelId(1), outward.clone(), DEFAULT_BUDGET));
        let peer = Peer::new(PeerId::from([1; 20]), None, settings);
        peer.shared().add_channel(channel.clone(), None);
        let side = Self { peer, channel, queue: EventQueue::new() };
        side.queue.connect(&side.peer);
        assert!(matches!(side.hear(), Some(Event::PeerConnected(_))));
        side
    }

    fn send(&self, payload: Payload) {
        self.peer.send(payload).now_or_never().expect("a wire has room").expect("a wire stays");
    }

    async fn read(&self, inward: &Arc<Wire>) {
        read(&self.channel, Box::new(WireEnd(inward.clone())), &self.peer, &self.queue, None).await;
    }

    fn hear(&self) -> Option<Event> {
        match self.queue.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }
}

fn payloads(count: usize, bytes: usize) -> Vec<Payload> {
    (0..count).map(|_| Payload::from("x".repeat(bytes))).collect()
}

/// Lets a future go on until it waits.
fn poll(future: &mut (impl Future + Unpin)) {
    assert!(future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending(), "it has ended");
}

#[test]
fn sending_a_small_message() {
    let wire = Wire::new();
    let (side, payloads) = (Side::new(&wire), payloads(MESSAGES, SMALL));
    let spent = measure(|| payloads.into_iter().for_each(|payload| side.send(payload)));
    assert_eq!(lock(&wire.0).len(), MESSAGES);
    // The frame.
    assert_budget(spent, MESSAGES, 1, SMALL_FRAME);
}

#[test]
fn trying_to_send_a_small_message() {
    let wire = Wire::new();
    let (side, payloads) = (Side::new(&wire), payloads(MESSAGES, SMALL));
    let spent = measure(|| payloads.into_iter().for_each(|payload| side.peer.try_send(payload).expect("room")));
    assert_eq!(lock(&wire.0).len(), MESSAGES);
    // The frame, and a list of it with room for three more.
    assert_budget(spent, MESSAGES, 2, SMALL_FRAME + 4 * size_of::<Frame>() as u64);
}

#[test]
fn hearing_a_small_message() {
    let wire = Wire::new();
    let (near, far) = (Side::new(&wire), Side::new(&Wire::new()));
    let mut reading = pin!(far.read(&wire));
    let (mut read, mut handed_over) = (AllocationInfo::default(), AllocationInfo::default());
    for _ in 0..MESSAGES / BATCH {
        payloads(BATCH, SMALL).into_iter().for_each(|payload| near.send(payload));
        read += measure(|| poll(&mut reading));
        handed_over += measure(|| {
            for _ in 0..BATCH {
                assert!(matches!(far.hear(), Some(Event::Message(_))));
            }
        });
        assert!(far.hear().is_none());
    }
    assert_eq!(handed_over.count_total, 0);
    // The text, and the future of the transport.
    assert_budget(read, MESSAGES, 2, SMALL as u64 + RECV_FUTURE);
}

#[test]
fn a_request_and_its_response() {
    // A deadline is a timer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let (there, back) = (Wire::new(), Wire::new());
    let (near, far) = (Side::new(&there), Side::new(&back));
    let (mut near_reads, mut far_reads) = (pin!(near.read(&back)), pin!(far.read(&there)));
    let (questions, answers) = (payloads(MESSAGES, SMALL), payloads(MESSAGES, SMALL));
    let spent = measure(|| {
        for (question, answer) in questions.into_iter().zip(answers) {
            let mut request = near.peer.request(question).into_future();
            poll(&mut request);
            poll(&mut far_reads);
            let Some(Event::Message(question)) = far.hear() else { panic!("the request did not arrive") };
            question.respond(answer).now_or_never().expect("a wire has room").expect("a wire stays");
            poll(&mut near_reads);
            request.now_or_never().expect("the response is there").expect("a response");
        }
    });
    // Twice the frame, the text and the future of the transport; the way back of the response, the request's future.
    let messages = 2 * (SMALL_FRAME + SMALL as u64 + RECV_FUTURE);
    assert_budget(spent, MESSAGES, 8, messages + 128 + 1567);
}

#[test]
fn a_large_message() {
    // That what is incomplete is given up is a timer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let wire = Wire::new();
    let (near, far) = (Side::new(&wire), Side::new(&Wire::new()));
    let mut reading = pin!(far.read(&wire));
    // The second is counted: lists that stay are made with the first.
    let [sent, heard] = payloads(2, LARGE).into_iter().fold([AllocationInfo::default(); 2], |_, payload| {
        let sent = measure(|| near.send(payload));
        let heard = measure(|| {
            poll(&mut reading);
            assert!(matches!(far.hear(), Some(Event::Message(_))));
        });
        [sent, heard]
    });
    // The frames: one copy of the text.
    assert_budget(sent, 1, LARGE_FRAMES, LARGE as u64);
    // The future of the transport for each frame; three times room for the places of the chunks, six times for the
    // text.
    assert_budget(heard, 1, LARGE_FRAMES + 9, 3 * LARGE as u64);
}

/// Bytes of the text in each frame of the peers that never end a message.
const PIECE: usize = 16_000;

/// Peers that never end a message, and what all of a node may make it hold.
const ENDLESS: usize = 20;
const BOUND: usize = 4 << 20;
const ROUNDS: usize = 100;

#[test]
fn endless_messages_of_many_peers_hold_no_more_than_the_node_may() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let config = PeerConfig { receive_memory: BOUND, ..PeerConfig::default() };
    let settings = Arc::new(Settings::sharing(config, ENDLESS + 1));
    let sides: Vec<Side> = (0..=ENDLESS).map(|_| Side::of_node(&Wire::new(), settings.clone())).collect();
    let wires: Vec<Arc<Wire>> = sides.iter().map(|_| Wire::new()).collect();
    let mut readers: Vec<_> = sides.iter().zip(&wires).map(|(side, wire)| Box::pin(side.read(wire))).collect();
    let text = "x".repeat(PIECE);
    // What is in its share comes through whatever the others do: 4 MiB / 2 / 21 are 99,864 bytes.
    let (id, modest) = (MessageId::from(1), Payload::from("y".repeat(45_000)));
    let (mut held, mut on_way, mut peak, mut given_up, mut arrived) = (0, 0, 0, 0, 0);
    for round in 0..ROUNDS {
        let spent = measure(|| {
            for wire in &wires[..ENDLESS] {
                let chunk = format!("^{{\"id\":{round},\"msg\":\"{text}\",\"c\":0}}");
                let next = format!("^{{\"id\":7,\"msg\":\"{text}\",\"c\":{round}}}");
                // Endless ones, and ever new ones.
                lock(&wire.0).extend([chunk, next].map(|frame| Frame::text(frame.into_boxed_str())));
            }
            lock(&wires[ENDLESS].0).extend(Chunks::new(&id, &modest, 16_384).expect("a budget").map(Frame::text));
            // A reader that waits until another has paid goes on after that.
            for _ in 0..2 {
                readers.iter_mut().for_each(poll);
            }
            for (number, side) in sides.iter().enumerate() {
                while let Some(event) = side.hear() {
                    match event {
                        Event::Message(_) => arrived += usize::from(number == ENDLESS),
                        Event::InvalidFrame(InvalidFrame { error: ReceiveError::NodeFull { .. }, .. }) => {
                            assert_ne!(number, ENDLESS, "one that stays within its share never pays");
                            given_up += 1;
                        }
                        _ => {}
                    }
                }
            }
        });
        peak = peak.max(held + spent.bytes_max as i64 - on_way as i64);
        held += spent.bytes_current;
        let counted = usize::try_from(held_bytes(&settings)).expect("small");
        assert!(counted <= BOUND, "{counted} bytes are counted");
        // What waits in front of a reader is the transport's, and each may have one in hand.
        on_way = wires.iter().map(|wire| lock(&wire.0).iter().map(Frame::len).sum::<usize>()).sum::<usize>();
        let most = BOUND + on_way + sides.len() * (PIECE + 100 + OVERHEAD);
        assert!(held <= most as i64, "{held} bytes in round {round}, {counted} counted, {on_way} on their way");
    }
    assert_eq!(arrived, ROUNDS);
    assert!(given_up > 50 && held > BOUND as i64 / 2, "{given_up} were given up, {held} bytes held");
    // Frames in hand, and once a message that moves as it grows.
    let frames = 3 * sides.len() * (PIECE + 100);
    assert!(peak <= (BOUND + BOUND / 2 + frames + sides.len() * OVERHEAD) as i64, "{peak} bytes");
}

/// What a channel takes besides what is counted, at most: the table of its messages, those it rejects, its timer.
const OVERHEAD: usize = 32 << 10;

fn held_bytes(settings: &Settings) -> u64 {
    settings.counters.held_bytes.load(std::sync::atomic::Ordering::Relaxed)
}
