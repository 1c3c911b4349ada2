//! What of the accepted frames the browser has not sent yet.

use std::collections::VecDeque;

/// What a frame costs beside its payload, in bytes. A browser works on a frame of 100 bytes for as long as on some thousand
/// bytes of large ones, and what waits here is what a frame sent now waits for. The native backend counts the same.
pub(super) const FRAME_OVERHEAD: usize = 1800;

/// The sizes of accepted frames, as long as the browser says by `bufferedAmount` that it has not sent them.
///
/// Each takes its size and [`FRAME_OVERHEAD`] of the capacity. A frame of which a part is sent takes all of it.
#[derive(Debug)]
pub(super) struct SendWindow {
    capacity: usize,
    /// Oldest first.
    waiting: VecDeque<usize>,
    waiting_bytes: usize,
    /// What they take of the capacity.
    taken: usize,
    accepted_bytes: u64,
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
    pub(super) fn accept(&mut self, bytes: usize) {
        self.accepted_bytes += bytes as u64;
        self.waiting.push_back(bytes);
        self.waiting_bytes += bytes;
        self.taken += self.cost(bytes);
    }

    /// The browser holds `buffered` bytes still. Returns what has become free of the capacity.
    ///
    /// An empty frame has no bytes the browser could count: it is free again with the frame before it.
    pub(super) fn settle(&mut self, buffered: usize) -> usize {
        let taken = self.taken;
        while let Some(&bytes) = self.waiting.front() {
            if self.waiting_bytes - bytes < buffered {
                break;
            }
            self.waiting.pop_front();
            self.waiting_bytes -= bytes;
            self.taken -= self.cost(bytes);
        }
        taken - self.taken
    }

    /// At how many buffered bytes a sender that lacks room is to be woken: when half of the capacity is free, so that it is
    /// not woken for each frame; and where that half was not enough, when all of it is.
    pub(super) fn low_mark(&self) -> usize {
        if self.taken <= self.capacity / 2 {
            return 0;
        }
        let (mut taken, mut bytes) = (0, 0);
        for &size in self.waiting.iter().rev() {
            taken += self.cost(size);
            if taken > self.capacity / 2 {
                break;
            }
            bytes += size;
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
        /// However frames are accepted and sent, the room they take comes back exactly, and the mark is one at which at
        /// least half is free.
        #[test]
        fn room_is_neither_lost_nor_made(sizes in prop::collection::vec(0usize..4000, 1..60), sent in prop::collection::vec(0usize..5000, 1..60)) {
            let mut window = SendWindow::new(20_000);
            let (mut buffered, mut free) = (0, window.capacity());
            let mut sent = sent.into_iter().cycle();
            for bytes in sizes {
                if window.cost(bytes) <= free {
                    free -= window.cost(bytes);
                    window.accept(bytes);
                    buffered += bytes;
                }
                buffered -= sent.next().unwrap_or(0).min(buffered);
                free += window.settle(buffered);
                prop_assert!(free <= window.capacity());
                if free < window.capacity() / 2 {
                    let mark = window.low_mark();
                    prop_assert!(mark < buffered, "{mark} of {buffered} would never be passed");
                    buffered = mark;
                    free += window.settle(buffered);
                    prop_assert!(free >= window.capacity() / 2);
                }
            }
            free += window.settle(0);
            prop_assert_eq!(free, window.capacity());
        }
    }

    #[test]
    fn a_sender_is_woken_at_half_and_then_at_the_end() {
        let mut window = SendWindow::new(4 * (FRAME_OVERHEAD + 100));
        for _ in 0..4 {
            window.accept(100);
        }
        assert_eq!(window.low_mark(), 200);
        assert_eq!(window.settle(201), FRAME_OVERHEAD + 100, "a part of a frame is none");
        assert_eq!(window.settle(200), FRAME_OVERHEAD + 100);
        assert_eq!(window.low_mark(), 0);
        assert_eq!(window.settle(0), 2 * (FRAME_OVERHEAD + 100));
        assert_eq!(window.accepted_bytes(), 400);
    }

    #[test]
    fn a_frame_larger_than_the_window_takes_all_of_it() {
        let mut window = SendWindow::new(1000);
        assert_eq!(window.cost(1_000_000), 1000);
        window.accept(1_000_000);
        assert_eq!((window.low_mark(), window.settle(1)), (0, 0));
        assert_eq!(window.settle(0), 1000);
    }
}
