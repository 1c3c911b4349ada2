//! The send buffer and the receive buffer of a channel, both bounded in bytes.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{ChannelClosed, Frame, SendFrameError, TrySendAllError, TrySendFrameError};

/// Locks, also after a panic elsewhere: what is behind these locks is never left half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks if nothing else has the lock.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(locked) => Some(locked),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// What a received frame costs beside its payload, in bytes: without it, a bound in bytes would not bound empty frames.
const FRAME_OVERHEAD: usize = 64;

/// What a frame to be sent costs beside its payload, in bytes. Both stacks work on a frame of 100 bytes for as long as on about so many bytes of large
/// ones (3 µs, measured), and what waits here is what a frame sent now waits for: with the default capacity 1,100 such
/// frames, and so 4 ms, rather than 10,000 and 35 ms.
const SENT_OVERHEAD: usize = 1800;

/// Up to so many bytes a frame is tiny. `rtc` 0.21 counts frames with 16 bits where its windows only bound their bytes,
/// and goes wrong when too many fit:
///
/// - A receiver whose reader is slow takes frame 32,768 after the one that is read next for an old one, and drops it
///   although it has acknowledged it; nothing arrives any more. So [`ReceiveBuffer`] takes tiny frames out of the stack although
///   it is full, up to a limit.
/// - Behind a lost packet, a receiver cannot say that it has more than 65,535 frames: it panics, or says it has what it
///   has not. So [`SendBuffer`] lets everything be acknowledged once in a while.
///
/// No message of p2pt is so short.
pub(super) const TINY_BYTES: usize = 40;

/// The largest receive window, in bytes, that frames which are not tiny cannot bring to its limit.
pub(super) const LARGEST_WINDOW: usize = TINY_BYTES << 15;

/// After so many tiny frames everything must be acknowledged. With those that are not, fewer than 65,535.
const TINY_UNACKNOWLEDGED: usize = 32_000;

/// So many tiny frames that are not read end the channel: 7 MiB.
const TINY_UNREAD: usize = 65_536;

/// Why a channel has ended, set once.
#[derive(Debug, Default)]
pub(super) struct CloseReason {
    reason: OnceLock<ChannelClosed>,
    is_known: CancellationToken,
}

impl CloseReason {
    /// Ends the channel; the first reason stays. Whether this is it.
    pub(super) fn set(&self, reason: ChannelClosed) -> bool {
        let is_first = self.reason.set(reason).is_ok();
        self.is_known.cancel();
        is_first
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_known.is_cancelled()
    }

    pub(super) async fn wait(&self) -> ChannelClosed {
        self.is_known.cancelled().await;
        self.reason.get().cloned().unwrap_or(ChannelClosed::Local)
    }
}

/// Frames on their way out: accepted, then handed to the stack, then acknowledged by the other side.
///
/// Their bytes are counted here, because asking the stack locks it; it is asked only when this is full.
#[derive(Debug)]
pub(super) struct SendBuffer {
    capacity: usize,
    /// With so many bytes that are not acknowledged the stack has enough.
    window: AtomicUsize,
    room: Semaphore,
    frames: Mutex<SendQueue>,
    /// A sender was refused room since half of it was last free.
    backpressured: AtomicBool,
    accepted_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct SendQueue {
    closed: bool,
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    /// Sizes of the frames handed to the stack and not wholly acknowledged, oldest first.
    unsettled: VecDeque<usize>,
    unsettled_bytes: usize,
    /// Bytes of those frames that are not acknowledged, also of frames of which a part is.
    bytes_in_flight: usize,
    /// Tiny frames handed to the stack since all was last acknowledged.
    tiny: usize,
}

impl SendBuffer {
    pub(super) fn new(capacity: usize, window: usize) -> Self {
        let capacity = capacity.clamp(1, u32::MAX as usize);
        Self {
            capacity,
            window: AtomicUsize::new(window),
            room: Semaphore::new(capacity),
            frames: Mutex::default(),
            backpressured: AtomicBool::new(false),
            accepted_bytes: AtomicU64::new(0),
        }
    }

    /// What a frame takes of the capacity; one larger than all of it still passes, alone.
    fn cost(&self, bytes: usize) -> u32 {
        u32::try_from((bytes + SENT_OVERHEAD).min(self.capacity)).unwrap_or(u32::MAX)
    }

    /// Accepts a frame as soon as there is room, first come, first served.
    pub(super) async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        let cost = self.cost(frame.len());
        let permit = match self.room.try_acquire_many(cost) {
            Ok(permit) => permit,
            Err(_) => {
                self.note_backpressure();
                self.room.acquire_many(cost).await.map_err(|_| SendFrameError::Closed)?
            }
        };
        self.accept([frame])?;
        permit.forget();
        Ok(())
    }

    /// Accepts a frame if there is room.
    pub(super) fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        match self.room.try_acquire_many(self.cost(frame.len())) {
            Ok(permit) => {
                self.accept([frame])?;
                permit.forget();
                Ok(())
            }
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                self.note_backpressure();
                Err(TrySendFrameError::Full(frame))
            }
            Err(tokio::sync::TryAcquireError::Closed) => Err(SendFrameError::Closed.into()),
        }
    }

    /// Accepts all of these frames if there is room for all.
    pub(super) fn try_send_all(&self, frames: &[Frame]) -> Result<(), TrySendAllError> {
        let cost: usize = frames.iter().map(|frame| self.cost(frame.len()) as usize).sum();
        if cost > self.capacity {
            return Err(TrySendAllError::NeverFits);
        }
        match self.room.try_acquire_many(cost as u32) {
            Ok(permit) => {
                self.accept(frames.iter().cloned())?;
                permit.forget();
                Ok(())
            }
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                self.note_backpressure();
                Err(TrySendAllError::Full)
            }
            Err(tokio::sync::TryAcquireError::Closed) => Err(SendFrameError::Closed.into()),
        }
    }

    fn note_backpressure(&self) {
        self.backpressured.store(true, Ordering::Release);
    }

    /// Whether a sender lacks room, or frames wait for the stack to catch up.
    pub(super) fn is_backpressured(&self) -> bool {
        self.backpressured.load(Ordering::Acquire) || !lock(&self.frames).queue.is_empty()
    }

    /// Whether a sender lacks room.
    pub(super) fn is_refusing(&self) -> bool {
        self.backpressured.load(Ordering::Relaxed)
    }

    fn accept(&self, accepted: impl IntoIterator<Item = Frame>) -> Result<(), SendFrameError> {
        let mut frames = lock(&self.frames);
        if frames.closed {
            return Err(SendFrameError::Closed);
        }
        for frame in accepted {
            self.accepted_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            frames.queued_bytes += frame.len();
            frames.queue.push_back(frame);
        }
        Ok(())
    }

    /// The next frame for the stack; counted as in flight from here on. `None` also if the stack must catch up first.
    pub(super) fn take(&self) -> Option<Frame> {
        let mut frames = lock(&self.frames);
        let enough = frames.bytes_in_flight >= self.window.load(Ordering::Relaxed);
        if frames.tiny >= TINY_UNACKNOWLEDGED || enough {
            return None;
        }
        let frame = frames.queue.pop_front()?;
        frames.tiny += usize::from(frame.len() <= TINY_BYTES);
        frames.queued_bytes -= frame.len();
        frames.unsettled.push_back(frame.len());
        frames.unsettled_bytes += frame.len();
        frames.bytes_in_flight += frame.len();
        Some(frame)
    }

    /// Takes back the frame last [taken](Self::take), which the stack has not taken: it is the next again.
    pub(super) fn put_back(&self, frame: Frame) {
        let mut frames = lock(&self.frames);
        frames.tiny -= usize::from(frame.len() <= TINY_BYTES);
        frames.unsettled.pop_back();
        frames.unsettled_bytes -= frame.len();
        frames.bytes_in_flight -= frame.len();
        frames.queued_bytes += frame.len();
        frames.queue.push_front(frame);
    }

    /// Changes how many bytes may be with the stack.
    pub(super) fn set_window(&self, bytes: usize) {
        self.window.store(bytes, Ordering::Relaxed);
    }

    /// The stack says that of what it was handed `outstanding` bytes are not acknowledged.
    pub(super) fn settle(&self, outstanding: usize) {
        let mut room = 0;
        {
            let mut frames = lock(&self.frames);
            frames.bytes_in_flight = outstanding;
            if outstanding == 0 {
                frames.tiny = 0;
            }
            while let Some(&bytes) = frames.unsettled.front() {
                if frames.unsettled_bytes - bytes < outstanding {
                    break;
                }
                frames.unsettled.pop_front();
                frames.unsettled_bytes -= bytes;
                room += self.cost(bytes) as usize;
            }
        }
        self.room.add_permits(room);
        if self.room.available_permits() >= self.capacity / 2 {
            self.backpressured.store(false, Ordering::Release);
        }
    }

    /// Accepts nothing more; senders that wait get [`SendFrameError::Closed`].
    pub(super) fn close(&self) {
        lock(&self.frames).closed = true;
        self.room.close();
    }

    /// Bytes accepted and not acknowledged.
    pub(super) fn unacknowledged_bytes(&self) -> u64 {
        let frames = lock(&self.frames);
        (frames.queued_bytes + frames.unsettled_bytes) as u64
    }

    /// Bytes accepted that the stack has not been handed.
    pub(super) fn unsent_bytes(&self) -> u64 {
        lock(&self.frames).queued_bytes as u64
    }

    pub(super) fn accepted_bytes(&self) -> u64 {
        self.accepted_bytes.load(Ordering::Relaxed)
    }
}

/// Frames received and not yet read.
///
/// Full when its capacity is reached by frames that are not tiny: these can wait in the stack.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    capacity: usize,
    frames: Mutex<ReceiveQueue>,
    arrived: Notify,
    received_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct ReceiveQueue {
    queue: VecDeque<Frame>,
    held: usize,
    abandoned: bool,
    /// The connection has stopped reading for want of room.
    stopped: bool,
}

impl ReceiveQueue {
    fn are_tiny(&self) -> bool {
        self.held <= self.queue.len() * (TINY_BYTES + FRAME_OVERHEAD)
    }

    fn are_full(&self, capacity: usize) -> bool {
        self.held >= capacity && !self.are_tiny()
    }
}

impl ReceiveBuffer {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            frames: Mutex::default(),
            arrived: Notify::new(),
            received_bytes: AtomicU64::new(0),
        }
    }

    /// Whether the connection shall stop reading; it goes on when [`recv`](Self::recv) says so.
    pub(super) fn is_full(&self) -> bool {
        let mut frames = lock(&self.frames);
        frames.stopped = frames.are_full(self.capacity);
        frames.stopped
    }

    /// Whether more tiny frames are held than any application reads.
    pub(super) fn is_flooded(&self) -> bool {
        let frames = lock(&self.frames);
        frames.queue.len() >= TINY_UNREAD && frames.held >= self.capacity && frames.are_tiny()
    }

    /// Adds a frame, even to a full buffer: waiting is for the caller.
    pub(super) fn push(&self, frame: Frame) {
        self.received_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        let mut frames = lock(&self.frames);
        if !frames.abandoned {
            frames.held += frame.len() + FRAME_OVERHEAD;
            frames.queue.push_back(frame);
            drop(frames);
            self.arrived.notify_one();
        }
    }

    /// The reader is gone: what is held is dropped, and so is what arrives.
    pub(super) fn abandon(&self) {
        let mut frames = lock(&self.frames);
        frames.abandoned = true;
        frames.queue = VecDeque::new();
        frames.held = 0;
    }

    /// The next frame, or why there will be none. For one task; cancel-safe. Calls `go_on` when a connection that has
    /// stopped reading shall go on.
    pub(super) async fn recv(&self, end: &CloseReason, go_on: impl Fn()) -> Result<Frame, ChannelClosed> {
        loop {
            // In this order: what was received is there before the reason is set.
            let ended = end.is_set();
            if let Some((frame, goes_on)) = self.pop() {
                if goes_on {
                    go_on();
                }
                return Ok(frame);
            }
            if ended {
                return Err(end.wait().await);
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                _ = end.wait() => {}
            }
        }
    }

    /// The next frame, and whether there is room again: half of the capacity, so that the connection is not woken for
    /// each frame.
    fn pop(&self) -> Option<(Frame, bool)> {
        let mut frames = lock(&self.frames);
        let frame = frames.queue.pop_front()?;
        frames.held -= frame.len() + FRAME_OVERHEAD;
        let goes_on = frames.stopped && frames.held <= self.capacity / 2;
        frames.stopped &= !goes_on;
        Some((frame, goes_on))
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::binary(vec![0; bytes])
    }

    proptest! {
        /// However frames are accepted, taken and acknowledged, the room they take comes back exactly, and never more is
        /// accepted than fits.
        #[test]
        fn room_is_neither_lost_nor_made(sizes in prop::collection::vec(0usize..3000, 1..60), acks in prop::collection::vec(0usize..5000, 1..60)) {
            const CAPACITY: usize = 10_000;
            let send_buffer = SendBuffer::new(CAPACITY, usize::MAX);
            let mut acks = acks.into_iter().cycle();
            let mut outstanding = 0;
            for bytes in sizes {
                match send_buffer.try_send(frame(bytes)) {
                    Ok(()) => {
                        let taken = send_buffer.take().unwrap().len();
                        prop_assert_eq!(taken, bytes);
                        outstanding += bytes;
                    }
                    Err(TrySendFrameError::Full(back)) => {
                        prop_assert_eq!(back.len(), bytes);
                        prop_assert!(send_buffer.is_backpressured());
                    }
                    Err(other) => prop_assert!(false, "{other}"),
                }
                prop_assert!(send_buffer.unacknowledged_bytes() <= CAPACITY as u64);
                outstanding -= acks.next().unwrap().min(outstanding);
                send_buffer.settle(outstanding);
                prop_assert!(send_buffer.unacknowledged_bytes() >= outstanding as u64);
            }
            send_buffer.settle(0);
            prop_assert!(send_buffer.unacknowledged_bytes() == 0 && !send_buffer.is_backpressured());
            prop_assert_eq!(send_buffer.room.available_permits(), CAPACITY);
        }
    }

    #[test]
    fn a_frame_larger_than_everything_passes_alone() {
        let send_buffer = SendBuffer::new(100, usize::MAX);
        send_buffer.try_send(frame(5000)).unwrap();
        assert!(matches!(send_buffer.try_send(frame(0)), Err(TrySendFrameError::Full(_))));
        send_buffer.take();
        send_buffer.settle(0);
        send_buffer.try_send(frame(0)).unwrap();
    }

    #[test]
    fn so_many_tiny_frames_wait_until_all_is_acknowledged() {
        let send_buffer = SendBuffer::new(usize::MAX, usize::MAX);
        for _ in 0..TINY_UNACKNOWLEDGED {
            send_buffer.try_send(frame(TINY_BYTES)).unwrap();
            send_buffer.try_send(frame(TINY_BYTES + 1)).unwrap();
        }
        let mut taken = 0;
        // Tiny ones alone count, and acknowledgements of some of them do not.
        while send_buffer.take().is_some() {
            taken += 1;
            send_buffer.settle(1);
        }
        assert_eq!(taken, 2 * TINY_UNACKNOWLEDGED - 1);
        assert!(send_buffer.is_backpressured() && send_buffer.unacknowledged_bytes() > 0);
        send_buffer.settle(0);
        assert!(send_buffer.take().is_some());
        send_buffer.settle(0);
        assert!(send_buffer.unacknowledged_bytes() == 0 && !send_buffer.is_backpressured());
    }

    #[test]
    fn the_stack_is_given_no_more_than_a_window_until_that_is_acknowledged() {
        let send_buffer = SendBuffer::new(usize::MAX, 1000);
        for _ in 0..4 {
            send_buffer.try_send(frame(600)).unwrap();
        }
        assert!(send_buffer.take().is_some() && send_buffer.take().is_some());
        assert!(send_buffer.take().is_none() && send_buffer.is_backpressured());
        send_buffer.settle(1000);
        assert!(send_buffer.take().is_none());
        // A part of a frame is enough.
        send_buffer.settle(999);
        assert!(send_buffer.take().is_some() && send_buffer.take().is_none());
        send_buffer.settle(0);
        assert!(send_buffer.take().is_some() && !send_buffer.is_backpressured());
    }

    #[test]
    fn several_frames_are_accepted_together_or_not_at_all() {
        const CAPACITY: usize = 4 * SENT_OVERHEAD;
        let send_buffer = SendBuffer::new(CAPACITY, usize::MAX);
        let three = [frame(200), frame(0), frame(300)];
        assert_eq!(send_buffer.try_send_all(&vec![frame(SENT_OVERHEAD); 3]), Err(TrySendAllError::NeverFits));
        assert_eq!(send_buffer.try_send_all(&three), Ok(()));
        assert_eq!(send_buffer.try_send_all(&three), Err(TrySendAllError::Full));
        assert!(send_buffer.is_backpressured());
        // The stack is busy once.
        let first = send_buffer.take().unwrap();
        send_buffer.put_back(first);
        assert_eq!(send_buffer.unacknowledged_bytes(), 500);
        assert_eq!(
            [(); 4].map(|()| send_buffer.take().map(|frame| frame.len())),
            [Some(200), Some(0), Some(300), None]
        );
        send_buffer.settle(0);
        assert_eq!(send_buffer.room.available_permits(), CAPACITY);
        send_buffer.close();
        assert_eq!(send_buffer.try_send_all(&three), Err(SendFrameError::Closed.into()));
    }

    #[tokio::test]
    async fn a_sender_that_waits_gets_closed() {
        let send_buffer = SendBuffer::new(100, usize::MAX);
        send_buffer.try_send(frame(5000)).unwrap();
        let (sent, ()) = tokio::join!(send_buffer.send(frame(1)), async { send_buffer.close() });
        assert_eq!(sent, Err(SendFrameError::Closed));
        assert_eq!(send_buffer.unacknowledged_bytes(), 5000);
        assert_eq!(send_buffer.accepted_bytes(), 5000);
    }

    #[tokio::test]
    async fn what_was_received_comes_before_the_end_and_abandoning_frees_it() {
        let (receive_buffer, end) = (ReceiveBuffer::new(200), CloseReason::default());
        let went_on = AtomicUsize::new(0);
        let go_on = || {
            went_on.fetch_add(1, Ordering::Relaxed);
        };
        for _ in 0..2 {
            assert!(!receive_buffer.is_full());
            receive_buffer.push(frame(50));
        }
        assert!(receive_buffer.is_full());
        end.set(ChannelClosed::Remote);
        end.set(ChannelClosed::Local);
        assert_eq!(receive_buffer.recv(&end, go_on).await, Ok(frame(50)));
        assert_eq!(receive_buffer.recv(&end, go_on).await, Ok(frame(50)));
        assert_eq!(went_on.load(Ordering::Relaxed), 1, "a connection that has stopped is resumed once");
        assert_eq!(receive_buffer.recv(&end, go_on).await, Err(ChannelClosed::Remote));
        receive_buffer.push(frame(1000));
        receive_buffer.abandon();
        receive_buffer.push(frame(1000));
        assert!(!receive_buffer.is_full());
        assert_eq!(
            (receive_buffer.recv(&end, go_on).await, receive_buffer.received_bytes()),
            (Err(ChannelClosed::Remote), 2100)
        );
    }

    #[test]
    fn tiny_frames_do_not_fill_an_inbox_and_flood_it_in_the_end() {
        let receive_buffer = ReceiveBuffer::new(1000);
        for _ in 0..TINY_UNREAD {
            assert!(!receive_buffer.is_full() && !receive_buffer.is_flooded());
            receive_buffer.push(frame(TINY_BYTES));
        }
        assert!(receive_buffer.is_flooded());
        // One that is larger makes the others larger on the whole.
        receive_buffer.push(frame(TINY_BYTES + 1));
        assert!(receive_buffer.is_full() && !receive_buffer.is_flooded());
    }
}
