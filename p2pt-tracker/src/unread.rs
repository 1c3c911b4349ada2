//! What a browser has received of a tracker and the session has not read.

use std::collections::VecDeque;

use crate::SocketEnd;
use crate::connector::Incoming;

/// More that was received and not read ends the socket, since a browser cannot be told to wait. Four of the largest
/// messages; a session that takes no more frames has 64 events to deliver first.
const MAX_UNREAD_BYTES: usize = 4 << 20;
/// What a frame costs beside its bytes: without it, a bound in bytes would not bound empty frames.
const FRAME_OVERHEAD: usize = 64;

/// Frames that wait to be read, and how the socket ended, which comes after them.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    end: Option<SocketEnd>,
}

impl Unread {
    /// Adds a frame. Nothing follows an end.
    pub(crate) fn push(&mut self, frame: Vec<u8>) {
        if self.end.is_some() {
            return;
        }
        let bytes = self.bytes + frame.len() + FRAME_OVERHEAD;
        if bytes > MAX_UNREAD_BYTES {
            self.end = Some(SocketEnd::Unread);
            return;
        }
        self.bytes = bytes;
        self.frames.push_back(frame);
    }

    /// Ends the socket; the first reason stays.
    pub(crate) fn end(&mut self, end: SocketEnd) {
        self.end.get_or_insert(end);
    }

    /// How the socket ended, whatever waits before it.
    pub(crate) fn ended(&self) -> Option<&SocketEnd> {
        self.end.as_ref()
    }

    /// The next frame, and after the last one the end.
    pub(crate) fn pop(&mut self) -> Option<Incoming> {
        match self.frames.pop_front() {
            Some(frame) => {
                self.bytes -= frame.len() + FRAME_OVERHEAD;
                Some(Incoming::Frame(frame))
            }
            None => self.end.clone().map(Incoming::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_order_and_the_end_after_them() {
        let mut unread = Unread::default();
        unread.push(b"one".to_vec());
        unread.push(b"two".to_vec());
        unread.end(SocketEnd::Oversized);
        unread.end(SocketEnd::Stopped);
        unread.push(b"late".to_vec());
        assert!(matches!(unread.pop(), Some(Incoming::Frame(frame)) if frame == b"one"));
        assert!(matches!(unread.pop(), Some(Incoming::Frame(frame)) if frame == b"two"));
        assert!(matches!(unread.pop(), Some(Incoming::End(SocketEnd::Oversized))));
    }

    #[test]
    fn what_is_not_read_is_bounded_however_small_the_frames() {
        for size in [0, 1, 100_000] {
            let mut unread = Unread::default();
            let fit = MAX_UNREAD_BYTES / (size + FRAME_OVERHEAD);
            for _ in 0..fit + 10 {
                unread.push(vec![0; size]);
            }
            assert_eq!(unread.ended(), Some(&SocketEnd::Unread), "{size}");
            assert_eq!(unread.frames.len(), fit, "{size}");
        }
    }

    #[test]
    fn what_is_read_makes_room() {
        let mut unread = Unread::default();
        for _ in 0..100_000 {
            unread.push(vec![0; 100]);
            assert!(matches!(unread.pop(), Some(Incoming::Frame(_))));
        }
        assert_eq!((unread.bytes, unread.ended()), (0, None));
    }
}
