//! Streams of bytes between two peers.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use p2pt::{PeerStream, StreamReader, StreamWriter};
use tokio::io::AsyncWrite as _;

use crate::Fault;

/// The largest code that JavaScript has exactly: 2⁵³ − 1.
const MAX_CODE: f64 = 9_007_199_254_740_991.0;

/// A code of an application, which JavaScript has as a number; what is no such number becomes the nearest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between zero and what a u64 holds")]
pub(crate) fn code(number: f64) -> u64 {
    number.clamp(0.0, MAX_CODE) as u64
}

/// One half of a stream. It is given up when it is over, so that another stream may take its place: JavaScript's garbage
/// collector takes its time.
#[derive(Debug)]
struct Half<T>(Mutex<(Option<T>, Option<Waker>)>);

impl<T> Half<T> {
    fn new(half: T) -> Self {
        Self(Mutex::new((Some(half), None)))
    }

    fn state(&self) -> MutexGuard<'_, (Option<T>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls it, until it is ready or the half is [over](Self::end).
    async fn wait<V>(
        &self,
        mut poll: impl FnMut(&mut T, &mut Context<'_>) -> Poll<Result<V, Fault>>,
    ) -> Result<V, Fault> {
        poll_fn(|cx| {
            let mut state = self.state();
            let Some(half) = &mut state.0 else { return Poll::Ready(Err(Fault::stream_ended())) };
            let polled = poll(half, cx);
            if polled.is_pending() {
                state.1 = Some(cx.waker().clone());
            }
            polled
        })
        .await
    }

    /// Ends it, and the wait that is under way.
    fn end(&self, end: impl FnOnce(&mut T)) {
        let (half, waker) = std::mem::take(&mut *self.state());
        if let Some(mut half) = half {
            end(&mut half);
        }
        waker.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct Shared {
    reader: Half<StreamReader>,
    writer: Half<StreamWriter>,
    metadata: Bytes,
    urgency: u8,
}

/// A stream of bytes in both directions. Clones mean the same; with the last of them what is not over is reset and stopped.
#[derive(Debug, Clone)]
pub struct Stream(Arc<Shared>);

impl Stream {
    pub(crate) fn new(stream: PeerStream) -> Self {
        let (metadata, urgency) = (stream.metadata().clone(), stream.urgency().get());
        let (reader, writer) = stream.into_split();
        Self(Arc::new(Shared { reader: Half::new(reader), writer: Half::new(writer), metadata, urgency }))
    }

    /// What the side that opened it says about it.
    pub fn metadata(&self) -> &Bytes {
        &self.0.metadata
    }

    /// How urgent it is: 0, the most urgent, to 7.
    pub fn urgency(&self) -> u8 {
        self.0.urgency
    }

    /// The next bytes, 64 KiB at most; `None` at the end. One call at a time.
    ///
    /// # Errors
    /// `stream_reset` with a code, `stream_ended` after a [`stop`](Self::stop), `peer_gone`.
    pub async fn read(&self) -> Result<Option<Bytes>, Fault> {
        let reader = &self.0.reader;
        // The future of a chunk keeps nothing between two polls.
        let next = reader.wait(|half, cx| pin!(half.chunk()).poll(cx).map_err(Fault::from)).await;
        if !matches!(next, Ok(Some(_))) {
            reader.end(|_| ());
        }
        next
    }

    /// Reads no more, and tells the other side why.
    pub fn stop(&self, number: f64) {
        self.0.reader.end(|half| half.stop(code(number)));
    }

    /// Writes all of the bytes, and waits while the other side does not read. One call at a time, and none beside
    /// [`close`](Self::close).
    ///
    /// # Errors
    /// `stream_stopped` with a code, `stream_ended` after a [`reset`](Self::reset) or a close, `peer_gone`.
    pub async fn write(&self, mut bytes: Bytes) -> Result<(), Fault> {
        let writer = &self.0.writer;
        let written = writer.wait(|half, cx| {
            while !bytes.is_empty() {
                let written = ready!(Pin::new(&mut *half).poll_write(cx, &bytes));
                bytes.advance(written.map_err(Fault::from)?);
            }
            Poll::Ready(Ok(()))
        });
        let written = written.await;
        if written.is_err() {
            writer.end(|_| ());
        }
        written
    }

    /// Ends what this side writes, and waits until the other side has all of it.
    ///
    /// # Errors
    /// `peer_gone`: it is not known whether it has; `stream_stopped`, `stream_ended`.
    pub async fn close(&self) -> Result<(), Fault> {
        let writer = &self.0.writer;
        let closed = writer.wait(|half, cx| {
            half.finish();
            pin!(half.acknowledged()).poll(cx).map_err(Fault::from)
        });
        let closed = closed.await;
        writer.end(|_| ());
        closed
    }

    /// Ends what this side writes before its end. What the other side has not read is lost.
    pub fn reset(&self, number: f64) {
        self.0.writer.end(|half| half.reset(code(number)));
    }
}
