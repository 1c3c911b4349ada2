//! What of the accepted frames the browser has not sent yet.

use std::{collections::VecDeque, time::Duration};

use p2pt_rt::Instant;

/// What a frame costs beside its payload, in bytes. A browser works on a frame of 100 bytes for as long as on some thousand
/// bytes of large ones, and what waits here is what a frame sent now waits for. The native backend counts the same.
pub(super) const FRAME_OVERHEAD: usize = 1800;

/// For how long an empty frame takes room when nothing shows that it has been sent. `bufferedAmount` does not count it, nor
/// does a browser say anything else of it, so that a flood of empty frames would have no bound. It is longer than a round
/// trip takes on any path that works, and lets a sender of nothing but empty frames have some 1,100 a second with the
/// default window.
pub(super) const EMPTY_FRAME_HOLD: Duration = Duration::from_secs(1);

/// The sizes of accepted frames, as long as the browser says by `bufferedAmount` that it has not sent them.
///
/// Each takes its size and [`FRAME_OVERHEAD`] of the capacity. A frame of which a part is sent takes all of it.
#[derive(Debug)]
pub(super) struct SendWindow {
    capacity: usize,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// What they take of the capacity.
    taken: usize,
    accepted_bytes: u64,
}

/// A frame that takes room.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    bytes: usize,
    accepted_at: Instant,
}

impl SendWindow {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { capacity, waiting: VecDeque::new(), waiting_bytes: 0, taken: 0, accepted_bytes: 0 }
    }

    /// The capacity in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// What a frame of this size takes of the capacity; one larger than all of it still passes, alone.
    pub(super) fn cost(&self, bytes: usize) -> usize {
        (bytes + FRAME_OVERHEAD).min(self.capacity)
    }

    /// A frame has been handed to the browser.
    pub(super) fn accept(&mut self, now: Instant, bytes: usize) {
        self.accepted_bytes += bytes as u64;
        self.waiting.push_back(Waiting { bytes, accepted_at: now });
        self.waiting_bytes += bytes;
        self.taken += self.cost(bytes);
    }

    /// The browser holds `buffered` bytes still. Returns what has become free of the capacity.
    ///
    /// Frames are sent in order, so an empty frame, which has no bytes the browser could count, has been sent when something
    /// of a later frame has; otherwise it takes room for [`EMPTY_FRAME_HOLD`].
    pub(super) fn settle(&mut self, now: Instant, buffered: usize) -> usize {
        let taken = self.taken;
        for _ in 0..self.sent(now, buffered) {
            let Some(frame) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= frame.bytes;
            self.taken -= self.cost(frame.bytes);
        }
        taken - self.taken
    }

    /// How many of the waiting frames, from the oldest on, take no more room.
    fn sent(&self, now: Instant, buffered: usize) -> usize {
        let mut sent = 0;
        let mut bytes_from_here = self.waiting_bytes;
        for (number, frame) in self.waiting.iter().enumerate() {
            if bytes_from_here < buffered + frame.bytes {
                // Of this one the browser holds something. Where it has sent a part, it has sent all before.
                return if bytes_from_here > buffered { number } else { sent };
            }
            bytes_from_here -= frame.bytes;
            let is_old = now.saturating_duration_since(frame.accepted_at) >= EMPTY_FRAME_HOLD;
            if frame.bytes > 0 || (sent == number && is_old) {
                sent = number + 1;
            }
        }
        sent
    }

    /// At how many buffered bytes a sender that lacks room is to be woken: when half of the capacity is free, so that it is
    /// not woken for each frame; and where that half was not enough, when all of it is. Of empty frames the browser says
    /// nothing: a sender also looks by itself, every [`EMPTY_FRAME_HOLD`].
    pub(super) fn low_mark(&self) -> usize {
        if self.taken <= self.capacity / 2 {
            return 0;
        }
        let (mut taken, mut bytes) = (0, 0);
        for frame in self.waiting.iter().rev() {
            taken += self.cost(frame.bytes);
            if taken > self.capacity / 2 {
                break;
            }
            bytes += frame.bytes;
        }
        bytes
    }

    /// Payload bytes accepted so far.
    pub(super) fn accepted_bytes(&self) -> u64 {
        self.accepted_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However frames are accepted and sent, the room they take comes back exactly, no sooner than they are sent, and
        /// the mark is one at which at least half is free, but for what empty frames take.
        #[test]
        fn room_is_neither_lost_nor_made(
            sizes in prop::collection::vec(prop_oneof![1 => Just(0usize), 3 => 0usize..4000], 1..60),
            sent in prop::collection::vec(0usize..5000, 1..60),
            steps in prop::collection::vec(0u64..400, 1..60),
        ) {
            let mut window = SendWindow::new(20_000);
            let mut now = p2pt_rt::now();
            let (mut buffered, mut free) = (0, window.capacity());
            let (mut sent, mut steps) = (sent.into_iter().cycle(), steps.into_iter().cycle());
            for bytes in sizes {
                if window.cost(bytes) <= free {
                    free -= window.cost(bytes);
                    window.accept(now, bytes);
                    buffered += bytes;
                }
                buffered -= sent.next().unwrap_or(0).min(buffered);
                now += Duration::from_millis(steps.next().unwrap_or(0));
                free += window.settle(now, buffered);
                prop_assert!(free <= window.capacity());
                prop_assert!(window.waiting_bytes >= buffered, "room of what is held is free");
                let empty = window.waiting.iter().filter(|frame| frame.bytes == 0).count();
                if free < window.capacity() / 2 && empty == 0 {
                    let mark = window.low_mark();
                    prop_assert!(mark < buffered, "{mark} of {buffered} would never be passed");
                    buffered = mark;
                    free += window.settle(now, buffered);
                    prop_assert!(free >= window.capacity() / 2);
                }
            }
            free += window.settle(now + EMPTY_FRAME_HOLD, 0);
            prop_assert_eq!(free, window.capacity());
        }
    }

    #[test]
    fn a_sender_is_woken_at_half_and_then_at_the_end() {
        let now = p2pt_rt::now();
        let mut window = SendWindow::new(4 * (FRAME_OVERHEAD + 100));
        for _ in 0..4 {
            window.accept(now, 100);
        }
        assert_eq!(window.low_mark(), 200);
        assert_eq!(window.settle(now, 201), FRAME_OVERHEAD + 100, "a part of a frame is none");
        assert_eq!(window.settle(now, 200), FRAME_OVERHEAD + 100);
        assert_eq!(window.low_mark(), 0);
        assert_eq!(window.settle(now, 0), 2 * (FRAME_OVERHEAD + 100));
        assert_eq!(window.accepted_bytes(), 400);
    }

    #[test]
    fn a_frame_larger_than_the_window_takes_all_of_it() {
        let now = p2pt_rt::now();
        let mut window = SendWindow::new(1000);
        assert_eq!(window.cost(1_000_000), 1000);
        window.accept(now, 1_000_000);
        assert_eq!((window.low_mark(), window.settle(now, 1)), (0, 0));
        assert_eq!(window.settle(now, 0), 1000);
    }

    #[test]
    fn empty_frames_take_room_though_the_browser_does_not_count_them() {
        let start = p2pt_rt::now();
        let mut window = SendWindow::new(10 * FRAME_OVERHEAD);
        for millisecond in 0..10 {
            window.accept(start + Duration::from_millis(millisecond), 0);
        }
        assert_eq!(window.settle(start + EMPTY_FRAME_HOLD / 2, 0), 0);
        let later = start + EMPTY_FRAME_HOLD + Duration::from_millis(3);
        assert_eq!(window.settle(later, 0), 4 * FRAME_OVERHEAD);
        assert_eq!(window.settle(later + EMPTY_FRAME_HOLD, 0), 6 * FRAME_OVERHEAD);
    }

    #[test]
    fn an_empty_frame_has_been_sent_when_a_later_one_has() {
        let now = p2pt_rt::now();
        let mut window = SendWindow::new(100_000);
        for bytes in [0, 0, 100, 0] {
            window.accept(now, bytes);
        }
        assert_eq!(window.settle(now, 100), 0, "it may have sent none");
        assert_eq!(window.settle(now, 40), 2 * FRAME_OVERHEAD, "a part of the third is sent");
        assert_eq!(window.settle(now, 0), FRAME_OVERHEAD + 100, "and nothing shows that the fourth is");
        assert_eq!(window.settle(now + EMPTY_FRAME_HOLD, 0), FRAME_OVERHEAD);
    }

    #[test]
    fn an_empty_frame_behind_what_is_held_is_held_too() {
        let now = p2pt_rt::now();
        let mut window = SendWindow::new(100_000);
        window.accept(now, 100);
        window.accept(now, 0);
        assert_eq!(window.settle(now + 2 * EMPTY_FRAME_HOLD, 100), 0);
    }
}
