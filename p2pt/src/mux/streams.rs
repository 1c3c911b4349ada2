//! The streams of a session, and those who wait for them.

use std::io;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use p2pt_messaging::wire::{OpenError, ReadError, StreamKey, Urgency, WriteError};

use super::{Mux, State};
use crate::StreamError;
use crate::queue::lock;
use crate::send_queue::SendQueue;

/// Who waits for a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamWaits {
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Its halves that the application has.
    halves: u8,
}

impl StreamWaits {
    pub(super) fn wake_reader(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn wake_writer(&mut self) {
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn wake(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }
}

impl State {
    fn waits(&mut self, key: StreamKey) -> &mut StreamWaits {
        self.streams.entry(key).or_default()
    }

    fn gone(&self) -> StreamError {
        StreamError::PeerGone(self.ended.clone().unwrap_or(p2pt_transport::ChannelClosed::Local))
    }
}

impl Mux {
    /// Opens a stream as soon as there may be one more.
    pub(crate) fn poll_open(
        &self,
        queue: &SendQueue,
        (metadata, urgency): (&Bytes, Urgency),
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamKey, StreamError>> {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return Poll::Ready(Err(state.gone()));
        }
        match state.session.open(metadata.clone(), urgency) {
            Ok(key) => {
                state.waits(key).halves = 2;
                self.advance(&mut state, queue);
                Poll::Ready(Ok(key))
            }
            Err(OpenError::TooMany { .. }) => {
                state.openers.push(cx.waker().clone());
                Poll::Pending
            }
            Err(OpenError::Metadata { bytes, max }) => Poll::Ready(Err(StreamError::Metadata { bytes, max })),
            Err(_) => Poll::Ready(Err(state.gone())),
        }
    }

    /// The application has an incoming stream.
    pub(crate) fn hand_out(&self, key: StreamKey) {
        lock(&self.state).waits(key).halves = 2;
    }

    pub(crate) fn poll_read(
        &self,
        queue: &SendQueue,
        key: StreamKey,
        max: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, StreamError>> {
        let mut state = lock(&self.state);
        let read = state.session.read(key, max);
        let error = match read {
            Ok(bytes) => {
                let _ = state.settle();
                self.advance(&mut state, queue);
                return Poll::Ready(Ok(bytes));
            }
            Err(error) => error,
        };
        Poll::Ready(Err(match error {
            ReadError::Blocked if state.ended.is_some() => state.gone(),
            ReadError::Blocked => {
                state.waits(key).reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            ReadError::Reset(code) => StreamError::Reset(code),
            ReadError::Stopped => StreamError::Ended,
            _ if state.ended.is_some() => state.gone(),
            _ => StreamError::Ended,
        }))
    }

    pub(crate) fn poll_write(
        &self,
        queue: &SendQueue,
        key: StreamKey,
        bytes: &mut Bytes,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, StreamError>> {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return Poll::Ready(Err(state.gone()));
        }
        let written = state.session.write(key, bytes);
        Poll::Ready(match written {
            Ok(taken) => {
                self.advance(&mut state, queue);
                Ok(taken)
            }
            Err(WriteError::Blocked) => {
                state.waits(key).writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Err(WriteError::Stopped(code)) => Err(StreamError::Stopped(code)),
            Err(_) => Err(StreamError::Ended),
        })
    }

    pub(crate) fn finish(&self, queue: &SendQueue, key: StreamKey) {
        let mut state = lock(&self.state);
        state.session.finish(key);
        self.advance(&mut state, queue);
    }

    /// Ready when all that was written has been acknowledged.
    pub(crate) fn poll_flushed(&self, key: StreamKey, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let mut state = lock(&self.state);
        if state.session.is_flushed(key) {
            return Poll::Ready(Ok(()));
        }
        if state.ended.is_some() {
            return Poll::Ready(Err(state.gone()));
        }
        state.waits(key).writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn reset(&self, queue: &SendQueue, key: StreamKey, code: u64) {
        let mut state = lock(&self.state);
        state.session.reset(key, code);
        self.advance(&mut state, queue);
    }

    pub(crate) fn stop(&self, queue: &SendQueue, key: StreamKey, code: u64) {
        let mut state = lock(&self.state);
        state.session.stop(key, code);
        let _ = state.settle();
        self.advance(&mut state, queue);
    }

    /// The application has dropped a half of a stream.
    pub(crate) fn drop_half(&self, key: StreamKey) {
        let mut state = lock(&self.state);
        let waits = state.waits(key);
        waits.halves = waits.halves.saturating_sub(1);
        if waits.halves == 0 {
            state.streams.remove(&key);
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match &error {
            StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
            StreamError::Stopped(_) | StreamError::Ended => io::ErrorKind::BrokenPipe,
            StreamError::PeerGone(_) => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
