//! Accepted frames that the browser does not have yet.
//!
//! A browser that holds much sends it in bursts as large as its SCTP lets it, into socket buffers that hold some ninety
//! datagrams: what is lost at the end of a burst costs a retransmission time-out of half a second. Given little at a time,
//! it sends at the pace at which it is given more. Between two pages of one machine, texts of 16 MB took three times as
//! long with 2 MiB in the browser as with [`BROWSER_BYTES`], for time-outs alone; half as much, or twice, is slower.

use std::collections::VecDeque;

use crate::Frame;

/// How much the browser gets at a time, in bytes.
const BROWSER_BYTES: usize = 192 << 10;

/// At how much it gets more, in bytes: enough that it does not run dry until the page's thread has come to it.
pub(super) const REFILL_BYTES: usize = 64 << 10;

/// Accepted frames that the browser does not have yet, in order, and how much it holds.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// What the browser held when it was asked last, and what it was given since: no less than what it holds.
    browser_holds: usize,
}

impl Backlog {
    /// The bytes that wait here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The browser has said what it holds.
    pub(super) fn browser_holds(&mut self, bytes: usize) {
        self.browser_holds = bytes;
    }

    /// Whether the browser may get a frame of this size now: none is before it, and the browser holds little.
    ///
    /// What it holds is known to be no more than this when the answer is yes; when it is no, asking may change it.
    pub(super) fn lets_pass(&self, bytes: usize) -> bool {
        self.is_empty() && self.has_room(bytes)
    }

    fn has_room(&self, bytes: usize) -> bool {
        // At the mark nothing would say that there is less, so a frame of any size goes then.
        self.browser_holds <= REFILL_BYTES || self.browser_holds + bytes <= BROWSER_BYTES
    }

    /// A frame of this size was given to the browser.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.browser_holds += bytes;
    }

    /// A frame waits until the browser holds less.
    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// The next frame that the browser is to get, if it holds little enough. It counts as given.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let bytes = self.frames.front()?.len();
        if !self.has_room(bytes) {
            return None;
        }
        self.bytes -= bytes;
        self.passed(bytes);
        self.frames.pop_front()
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
        /// However frames come and the browser sends, all get there in order, the browser never holds more than its part
        /// and one frame, and whenever one waits it holds more than the mark at which it says so.
        #[test]
        fn a_browser_gets_all_and_little_at_a_time(
            sizes in prop::collection::vec(0usize..250_000, 1..60),
            sent in prop::collection::vec(0usize..300_000, 1..20),
        ) {
            let (mut backlog, mut held) = (Backlog::default(), 0);
            let (mut given, mut sent) = (Vec::new(), sent.into_iter().cycle());
            for &bytes in &sizes {
                if !backlog.lets_pass(bytes) {
                    backlog.browser_holds(held);
                }
                if backlog.lets_pass(bytes) {
                    backlog.passed(bytes);
                    held += bytes;
                    given.push(bytes);
                } else {
                    backlog.push(frame(bytes));
                }
                prop_assert!(held <= REFILL_BYTES + 250_000.max(BROWSER_BYTES));
                prop_assert!(backlog.is_empty() || held > REFILL_BYTES);
                held -= sent.next().unwrap_or(0).min(held);
                backlog.browser_holds(held);
                while let Some(frame) = backlog.next() {
                    held += frame.len();
                    given.push(frame.len());
                }
                prop_assert!(backlog.is_empty() || held > REFILL_BYTES);
                prop_assert_eq!(backlog.bytes() + given.iter().sum::<usize>(), sizes[..given.len() + backlog.frames.len()].iter().sum::<usize>());
            }
            while !backlog.is_empty() {
                backlog.browser_holds(0);
                given.extend(backlog.next().map(|frame| frame.len()));
            }
            prop_assert_eq!(given, sizes);
        }
    }

    #[test]
    fn a_browser_that_was_given_its_part_is_asked_before_it_gets_more() {
        let mut backlog = Backlog::default();
        let mut passed = 0;
        while backlog.lets_pass(1000) {
            backlog.passed(1000);
            passed += 1000;
        }
        assert!((BROWSER_BYTES - 1000..=BROWSER_BYTES).contains(&passed), "{passed}");
        backlog.browser_holds(passed - 1000);
        assert!(backlog.lets_pass(1000), "it has sent some");
    }

    #[test]
    fn a_frame_does_not_overtake_those_that_wait() {
        let mut backlog = Backlog::default();
        backlog.passed(BROWSER_BYTES);
        backlog.push(frame(1000));
        backlog.browser_holds(0);
        assert!(!backlog.lets_pass(1));
        assert_eq!(backlog.next(), Some(frame(1000)));
        assert!(backlog.lets_pass(1));
    }
}
