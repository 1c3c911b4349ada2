//! Streams between two peers that speak p2pt/2: bytes both ways, with back-pressure.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use p2pt_messaging::wire::{Accepted, StreamKey, Urgency};
use p2pt_transport::ChannelClosed;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Peer;
use crate::mux::Mux;

/// The most that is read or written in one call, in bytes.
const PIECE: usize = 64 << 10;

/// Why a stream could not be opened, read or written; within the [`io::Error`] of those who read and write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer speaks p2pt/1, which has no streams: a JavaScript peer, or one without a key.
    #[error("the peer speaks p2pt/1, which has no streams")]
    NoStreams,
    /// The metadata is too long.
    #[error("the metadata of a stream has {bytes} bytes, and may have {max}")]
    Metadata {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The other side ended what it writes with this code, before its end. What was not read is lost.
    #[error("the peer has reset the stream with code {0}")]
    Reset(u64),
    /// The other side reads no more, and gave this code.
    #[error("the peer has stopped the stream with code {0}")]
    Stopped(u64),
    /// This side has ended the half.
    #[error("this half of the stream was ended before")]
    Ended,
    /// The session with the peer is over.
    #[error("the peer is gone: {0}")]
    PeerGone(ChannelClosed),
}

/// What both halves of a stream share.
#[derive(Clone)]
struct Shared {
    peer: Peer,
    mux: Arc<Mux>,
    key: StreamKey,
    metadata: Bytes,
    urgency: Urgency,
}

/// A stream of bytes in both directions: [`AsyncRead`] and [`AsyncWrite`], from [`Peer::open_stream`] or
/// [`Event::Stream`](crate::Event::Stream).
///
/// Each direction ends by itself: [`AsyncWrite::poll_shutdown`] ends what this side writes, and the other side reads to the
/// end. A half that is dropped before its end is [reset](StreamWriter::reset) or [stopped](StreamReader::stop) with code 0.
/// What is written is acknowledged and comes exactly once and in order, also over a connection that takes the place of
/// another; a stream that is not read holds back its writer, and nothing else.
#[must_use = "a stream that is dropped is reset"]
pub struct PeerStream {
    reader: StreamReader,
    writer: StreamWriter,
}

/// The half of a [`PeerStream`] that is read.
#[must_use = "a stream that is dropped is stopped"]
pub struct StreamReader {
    shared: Shared,
    /// The end was read, or the half was stopped.
    is_over: bool,
}

/// The half of a [`PeerStream`] that is written.
#[must_use = "a stream that is dropped is reset"]
pub struct StreamWriter {
    shared: Shared,
    /// It was finished or reset.
    is_over: bool,
}

impl Peer {
    /// Opens a stream. The other side learns of it by [`Event::Stream`](crate::Event::Stream), with the metadata, at once:
    /// JSON, a name, or nothing; 16 KiB at most. Waits while as many streams are open as may be, 256 of each side.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (_bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    ///
    /// let mut stream = peer.open_stream("numbers").await?;
    /// stream.write_all(b"1 2 3").await?;
    /// stream.shutdown().await?;
    ///
    /// // On the other side:
    /// let mut stream = loop {
    ///     if let Some(p2pt::Event::Stream(stream)) = bob_events.next().await {
    ///         break stream;
    ///     }
    /// };
    /// assert_eq!(stream.metadata()[..], *b"numbers");
    /// let mut text = String::new();
    /// stream.read_to_string(&mut text).await?;
    /// assert_eq!(text, "1 2 3");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StreamError::NoStreams`], [`StreamError::Metadata`], [`StreamError::PeerGone`].
    pub async fn open_stream(&self, metadata: impl Into<Bytes>) -> Result<PeerStream, StreamError> {
        self.open_stream_with(metadata, Urgency::DEFAULT).await
    }

    /// Opens a stream of another urgency than messages and streams have that say nothing: what is more urgent goes first, and
    /// streams and messages of the same urgency take turns. Otherwise as [`open_stream`](Self::open_stream).
    ///
    /// # Errors
    /// The errors of [`open_stream`](Self::open_stream).
    pub async fn open_stream_with(
        &self,
        metadata: impl Into<Bytes>,
        urgency: Urgency,
    ) -> Result<PeerStream, StreamError> {
        let metadata = metadata.into();
        let mux = self.shared().mux().ok_or(StreamError::NoStreams)?;
        let queue = &self.shared().send_queue;
        let key = poll_fn(|cx| mux.poll_open(queue, (&metadata, urgency), cx)).await?;
        Ok(PeerStream::new(Shared { peer: self.clone(), mux: mux.clone(), key, metadata, urgency }))
    }
}

impl PeerStream {
    fn new(shared: Shared) -> Self {
        let reader = StreamReader { shared: shared.clone(), is_over: false };
        Self { reader, writer: StreamWriter { shared, is_over: false } }
    }

    pub(crate) fn accepted(peer: Peer, mux: Arc<Mux>, accepted: Accepted) -> Self {
        let Accepted { key, metadata, urgency, .. } = accepted;
        mux.hand_out(key);
        Self::new(Shared { peer, mux, key, metadata, urgency })
    }

    /// The peer at the other end.
    pub fn peer(&self) -> &Peer {
        &self.reader.shared.peer
    }

    /// What the side that opened it says about it.
    pub fn metadata(&self) -> &Bytes {
        &self.reader.shared.metadata
    }

    /// How urgent it is, in both directions.
    pub fn urgency(&self) -> Urgency {
        self.reader.shared.urgency
    }

    /// Its two halves, for a task each.
    pub fn into_split(self) -> (StreamReader, StreamWriter) {
        (self.reader, self.writer)
    }
}

impl StreamReader {
    /// The next bytes, as they came, without a copy; `None` at the end. At most 64 KiB. Cancel-safe.
    ///
    /// # Errors
    /// [`StreamError::Reset`], [`StreamError::PeerGone`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        poll_fn(|cx| self.poll_chunk(PIECE, cx)).await
    }

    fn poll_chunk(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamError>> {
        if self.is_over {
            return Poll::Ready(Ok(None));
        }
        let Shared { peer, mux, key, .. } = &self.shared;
        let read = ready!(mux.poll_read(&peer.shared().send_queue, *key, max, cx));
        self.is_over = !matches!(&read, Ok(bytes) if !bytes.is_empty());
        Poll::Ready(read.map(|bytes| Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// Reads no more, and lets the other side know why.
    pub fn stop(&mut self, code: u64) {
        if !std::mem::replace(&mut self.is_over, true) {
            let Shared { peer, mux, key, .. } = &self.shared;
            mux.stop(&peer.shared().send_queue, *key, code);
        }
    }
}

impl StreamWriter {
    /// Writes all of the bytes, without a copy, waiting while the other side does not read.
    ///
    /// # Errors
    /// [`StreamError::Stopped`], [`StreamError::PeerGone`], [`StreamError::Ended`].
    pub async fn write_bytes(&mut self, bytes: impl Into<Bytes>) -> Result<(), StreamError> {
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            let Shared { peer, mux, key, .. } = &self.shared;
            poll_fn(|cx| mux.poll_write(&peer.shared().send_queue, *key, &mut bytes, cx)).await?;
        }
        Ok(())
    }

    /// Ends what this side writes: the other side reads to the end.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            let Shared { peer, mux, key, .. } = &self.shared;
            mux.finish(&peer.shared().send_queue, *key);
        }
    }

    /// Waits until the other side's session has all that was written.
    ///
    /// # Errors
    /// [`StreamError::PeerGone`]: it is not known whether it has.
    pub async fn acknowledged(&self) -> Result<(), StreamError> {
        poll_fn(|cx| self.shared.mux.poll_flushed(self.shared.key, cx)).await
    }

    /// Ends what this side writes before its end, with a code for the other side. What has not been read there is lost.
    pub fn reset(&mut self, code: u64) {
        if !std::mem::replace(&mut self.is_over, true) {
            let Shared { peer, mux, key, .. } = &self.shared;
            mux.reset(&peer.shared().send_queue, *key, code);
        }
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(bytes) = ready!(self.poll_chunk(buffer.remaining().min(PIECE), cx))? {
            buffer.put_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Shared { peer, mux, key, .. } = &self.shared;
        let mut bytes = Bytes::copy_from_slice(&bytes[..bytes.len().min(PIECE)]);
        Poll::Ready(Ok(ready!(mux.poll_write(&peer.shared().send_queue, *key, &mut bytes, cx))?))
    }

    /// What was written is on its way at once, so that there is nothing to do;
    /// [`acknowledged`](StreamWriter::acknowledged) waits until it has come.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.stop(0);
        self.shared.mux.drop_half(self.shared.key);
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.reset(0);
        self.shared.mux.drop_half(self.shared.key);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("peer", &self.peer)
            .field("key", &self.key)
            .field("urgency", &self.urgency)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reader.shared.fmt(f)
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
