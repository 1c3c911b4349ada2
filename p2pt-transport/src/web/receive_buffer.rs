//! Frames received and not yet read.

use std::collections::VecDeque;

use crate::{ChannelClosed, Frame};

/// What a received frame costs beside its payload, in bytes: without it, a bound in bytes would not bound empty frames.
const FRAME_OVERHEAD: usize = 64;

/// Frames received and not yet read, up to a limit beyond which nothing more is taken: a browser hands over whatever
/// arrives, and cannot make the other side wait.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    capacity: usize,
    frames: VecDeque<Frame>,
    held: usize,
    received_bytes: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Taking,
    /// More came than fits: what is held can be read, and nothing follows it.
    Overflowed,
    /// The reader is gone: what arrives is dropped.
    Abandoned,
}

impl ReceiveBuffer {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { capacity, frames: VecDeque::new(), held: 0, received_bytes: 0, state: State::Taking }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// Why the channel must end, when the frame is the first that does not fit. A buffer that is empty takes any.
    pub(super) fn push(&mut self, frame: Frame) -> Result<(), ChannelClosed> {
        if self.state == State::Overflowed {
            return Ok(());
        }
        self.received_bytes += frame.len() as u64;
        if self.state == State::Abandoned {
            return Ok(());
        }
        let held = self.held + frame.len() + FRAME_OVERHEAD;
        if held > self.capacity && !self.frames.is_empty() {
            self.state = State::Overflowed;
            return Err(ChannelClosed::Overflow { max_bytes: self.capacity });
        }
        self.held = held;
        self.frames.push_back(frame);
        Ok(())
    }

    /// The next frame.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.held -= frame.len() + FRAME_OVERHEAD;
        Some(frame)
    }

    /// The reader is gone: what is held is dropped, and so is what arrives.
    pub(super) fn abandon(&mut self) {
        self.state = State::Abandoned;
        self.frames = VecDeque::new();
        self.held = 0;
    }

    /// Payload bytes received so far.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::binary(vec![0; bytes])
    }

    #[test]
    fn what_fits_can_be_read_after_more_has_come() {
        let mut buffer = ReceiveBuffer::new(2 * (100 + FRAME_OVERHEAD));
        assert_eq!(buffer.push(frame(100)), Ok(()));
        assert_eq!(buffer.push(frame(100)), Ok(()));
        assert_eq!(buffer.push(frame(0)), Err(ChannelClosed::Overflow { max_bytes: 328 }));
        assert_eq!(buffer.push(frame(1)), Ok(()), "it has been said");
        assert_eq!((buffer.pop(), buffer.pop(), buffer.pop()), (Some(frame(100)), Some(frame(100)), None));
        assert_eq!(buffer.push(frame(1)), Ok(()));
        assert_eq!(buffer.pop(), None, "a gap would follow");
    }

    #[test]
    fn a_reader_that_keeps_up_gets_all() {
        let mut buffer = ReceiveBuffer::new(1000);
        for _ in 0..100 {
            assert_eq!(buffer.push(frame(5000)), Ok(()));
            assert_eq!(buffer.pop(), Some(frame(5000)));
        }
        assert_eq!(buffer.received_bytes(), 500_000);
    }

    #[test]
    fn empty_frames_are_bounded_too() {
        let mut buffer = ReceiveBuffer::new(64 * FRAME_OVERHEAD);
        let taken = (0..1000).take_while(|_| buffer.push(frame(0)).is_ok()).count();
        assert_eq!(taken, 64);
    }

    #[test]
    fn without_a_reader_nothing_is_held_and_nothing_ends() {
        let mut buffer = ReceiveBuffer::new(1000);
        buffer.push(frame(500)).unwrap();
        buffer.abandon();
        for _ in 0..100 {
            assert_eq!(buffer.push(frame(500)), Ok(()));
        }
        assert_eq!((buffer.pop(), buffer.received_bytes()), (None, 50_500));
    }
}
