//! Receiving many datagrams at a time, without a large buffer for each connection.
//!
//! The system joins up to 64 datagrams into one, and whoever receives must have room for that. The driver of `webrtc`
//! keeps two buffers as large as its socket says, for as long as the connection lives: 192 KB. So the socket says that it
//! joins a few, borrows a large buffer when there is something to receive, and hands its contents over in small parts.

use std::{
    io::{self, IoSliceMut},
    sync::Mutex,
    task::{Context, Poll, ready},
};

use webrtc::runtime::{AsyncUdpSocket, RecvMeta};

use super::pulse::lock;

/// How many datagrams are handed over at a time. The driver allows 1,500 bytes for each, twice, and takes up to 65 such
/// parts in a pass.
pub(super) const PART_DATAGRAMS: usize = 4;

/// The largest datagram, and so the most that is joined.
const BUFFER_BYTES: usize = 65_536;

/// How many buffers are kept while nobody has borrowed them: as many as there are likely threads that receive.
const MAX_SPARE: usize = 8;

/// The large buffers, shared by all connections of a transport.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    fn borrow(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if spare.len() < MAX_SPARE {
            spare.push(buffer);
        }
    }
}

/// What one socket has received and not handed over.
#[derive(Debug, Default)]
pub(super) struct Received(Mutex<Option<Joined>>);

#[derive(Debug)]
struct Joined {
    buffer: Vec<u8>,
    /// Where what is left begins.
    at: usize,
    meta: RecvMeta,
}

impl Received {
    /// Ready when there is something to hand over.
    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        socket: &dyn AsyncUdpSocket,
        buffers: &Buffers,
    ) -> Poll<io::Result<()>> {
        let mut received = lock(&self.0);
        if received.is_none() {
            let mut buffer = buffers.borrow();
            let mut meta = [RecvMeta::default()];
            let polled = socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta);
            if !matches!(polled, Poll::Ready(Ok(_))) {
                buffers.give_back(buffer);
            } else {
                *received = Some(Joined { buffer, at: 0, meta: meta[0] });
            }
            ready!(polled)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands over the next datagrams, as many as fit into the first of `bufs`.
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
        socket: &dyn AsyncUdpSocket,
        buffers: &Buffers,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let ([part, ..], [part_meta, ..]) = (bufs, meta) else { return Poll::Ready(Ok(0)) };
        ready!(self.poll_ready(cx, socket, buffers))?;
        let mut received = lock(&self.0);
        let Some(mut joined) = received.take() else { return Poll::Pending };
        joined.part(part, part_meta);
        if joined.at < joined.meta.len {
            *received = Some(joined);
        } else {
            buffers.give_back(joined.buffer);
        }
        Poll::Ready(Ok(1))
    }
}

impl Joined {
    /// Moves whole datagrams into `part`; one that is larger than that is cut off, as the system would.
    fn part(&mut self, part: &mut [u8], meta: &mut RecvMeta) {
        let left = &self.buffer[self.at..self.meta.len];
        let stride = self.meta.stride.max(1);
        let datagrams = (part.len() / stride).max(1);
        let taken = left.len().min(datagrams * stride);
        let copied = taken.min(part.len());
        part[..copied].copy_from_slice(&left[..copied]);
        *meta = self.meta;
        meta.len = copied;
        self.at += taken;
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, task::Waker};

    use proptest::prelude::*;
    use webrtc::runtime::Transmit;

    use super::*;

    /// A socket that has received one joined datagram.
    #[derive(Debug)]
    struct Once(Mutex<Option<(Vec<u8>, usize)>>);

    impl AsyncUdpSocket for Once {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn poll_send(&self, _: &mut Context<'_>, _: &Transmit<'_>) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            bufs: &mut [IoSliceMut<'_>],
            meta: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            let Some((bytes, stride)) = lock(&self.0).take() else { return Poll::Pending };
            bufs[0][..bytes.len()].copy_from_slice(&bytes);
            meta[0].len = bytes.len();
            meta[0].stride = stride;
            Poll::Ready(Ok(1))
        }

        fn max_gso_segments(&self) -> usize {
            1
        }

        fn max_gro_segments(&self) -> usize {
            64
        }
    }

    proptest! {
        /// However datagrams are joined, and whatever room the driver has for them, each comes out whole and in order.
        #[test]
        fn joined_datagrams_come_out_as_they_went_in(
            bytes in prop::collection::vec(any::<u8>(), 0..5000), stride in 1usize..1400, room in 1400usize..7000,
        ) {
            let (received, buffers) = (Received::default(), Buffers::default());
            let socket = Once(Mutex::new(Some((bytes.clone(), stride))));
            let (mut datagrams, mut part) = (Vec::new(), vec![0; room]);
            let mut cx = Context::from_waker(Waker::noop());
            loop {
                let mut meta = [RecvMeta::default()];
                match received.poll(&mut cx, &socket, &buffers, &mut [IoSliceMut::new(&mut part)], &mut meta) {
                    Poll::Ready(result) => prop_assert_eq!(result.unwrap(), 1),
                    Poll::Pending => break,
                }
                prop_assert!(meta[0].len <= room);
                datagrams.extend(part[..meta[0].len].chunks(meta[0].stride).map(<[u8]>::to_vec));
            }
            let expected: Vec<Vec<u8>> = bytes.chunks(stride).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(datagrams, expected);
            prop_assert_eq!(lock(&buffers.spare).len(), 1);
        }
    }
}
