//! Bytes that wait in order.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// From here on bytes are shared instead of copied, and a chunk is not added to.
const CHUNK: usize = 4096;

/// Whether bytes are so much of their packet that its memory may be kept for them.
fn is_most_of(bytes: &[u8], packet: &Bytes) -> bool {
    bytes.len() * 2 >= packet.len()
}

/// Bytes of a packet, to be kept: its memory if they are most of it, and a copy if not. Small bytes would else keep much.
pub(super) fn shared(bytes: &[u8], packet: &Bytes) -> Bytes {
    if is_most_of(bytes, packet) { packet.slice_ref(bytes) } else { Bytes::copy_from_slice(bytes) }
}

/// Bytes in order, in chunks. Small pieces are copied into chunks of some size, so that the memory is in proportion to the
/// bytes however they come.
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    chunks: VecDeque<Bytes>,
    /// The end, to which is added.
    tail: Vec<u8>,
    len: usize,
}

impl ByteQueue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds bytes whose memory may be shared.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < CHUNK {
            return self.push_copy(&bytes);
        }
        self.len += bytes.len();
        self.end_chunk();
        self.chunks.push_back(bytes);
    }

    /// Adds bytes of which a copy is to be kept.
    pub(super) fn push_copy(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= CHUNK {
            self.end_chunk();
        }
    }

    /// Adds bytes that are a part of a packet.
    pub(super) fn push_from(&mut self, bytes: &[u8], packet: &Bytes) {
        if bytes.len() >= CHUNK && is_most_of(bytes, packet) {
            self.push(packet.slice_ref(bytes));
        } else {
            self.push_copy(bytes);
        }
    }

    /// Takes at most `max` bytes from the front, without copying; fewer where a chunk ends.
    pub(super) fn take(&mut self, max: usize) -> Bytes {
        if self.chunks.is_empty() {
            self.end_chunk();
        }
        let Some(front) = self.chunks.front_mut() else { return Bytes::new() };
        let taken = if front.len() <= max { self.chunks.pop_front().unwrap_or_default() } else { front.split_to(max) };
        self.len -= taken.len();
        taken
    }

    /// Moves so many bytes from the front behind `out`, or all there are.
    pub(super) fn copy_to(&mut self, mut count: usize, out: &mut Vec<u8>) {
        count = count.min(self.len);
        self.len -= count;
        while count > 0 {
            if self.chunks.is_empty() {
                self.end_chunk();
            }
            let Some(front) = self.chunks.front_mut() else { break };
            let part = front.len().min(count);
            out.extend_from_slice(&front[..part]);
            count -= part;
            if part == front.len() {
                self.chunks.pop_front();
            } else {
                front.advance(part);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn end_chunk(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.tail).into());
        }
    }
}
