//! The two halves of an open channel.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;

use super::{
    buffers::lock,
    channel::{ChannelState, CloseRequest},
    core,
    driver::Shared,
    peer::Peer,
};
use crate::{
    ChannelClosed, ChannelStats, Frame, FrameReceiver, FrameSender, SendFrameError, TrySendAllError, TrySendFrameError,
};

/// What both halves have.
#[derive(Clone)]
pub(super) struct Half {
    pub(super) shared: Arc<Shared>,
    pub(super) channel: Arc<ChannelState>,
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half")
            .field("closed", &self.channel.close_reason.is_set())
            .field("unacknowledged_bytes", &self.channel.send_buffer.unacknowledged_bytes())
            .finish_non_exhaustive()
    }
}

impl Half {
    fn touch(&self) {
        self.shared.touch(&self.channel);
    }

    /// The send buffer has taken frames of so many bytes.
    fn has_taken(&self, bytes: usize) {
        self.shared.has_taken(&self.channel, bytes);
    }

    /// In this order, so that a caller that has learned of the end cannot send any more.
    fn close(&self) {
        self.channel.end_with(self.channel.local_reason());
        self.channel.request_close(CloseRequest::Local);
        self.touch();
    }

    fn drop_half(&self) {
        if self.channel.halves.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// Settles what has been acknowledged, since a buffer that seems full may only not have been settled.
    fn look_for_room(&self) {
        let mut core = lock(&self.shared.core);
        if let Some(outstanding) = core.with_peer(&self.channel, Peer::outstanding) {
            self.channel.send_buffer.settle(outstanding);
        }
    }

    fn check(&self, frame: &Frame) -> Result<(), SendFrameError> {
        let max = self.channel.max_frame_bytes.load(Ordering::Relaxed);
        if frame.len() > max {
            return Err(SendFrameError::TooLarge { bytes: frame.len(), max });
        }
        match frame {
            Frame::Text(text) if std::str::from_utf8(text).is_err() => Err(SendFrameError::NotUtf8),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Sender(pub(super) Half);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.drop_half();
    }
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        self.0.check(&frame)?;
        let bytes = frame.len();
        match self.0.channel.send_buffer.try_send(frame) {
            Ok(()) => {}
            Err(TrySendFrameError::Full(frame)) => {
                self.0.touch();
                self.0.channel.send_buffer.send(frame).await?;
            }
            Err(TrySendFrameError::Refused(refused)) => return Err(refused),
        }
        self.0.has_taken(bytes);
        Ok(())
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        self.0.check(&frame)?;
        let bytes = frame.len();
        match self.0.channel.send_buffer.try_send(frame) {
            Err(TrySendFrameError::Full(frame)) => {
                self.0.look_for_room();
                self.0.channel.send_buffer.try_send(frame)
            }
            other => other,
        }?;
        self.0.has_taken(bytes);
        Ok(())
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        frames.iter().try_for_each(|frame| self.0.check(frame))?;
        match self.0.channel.send_buffer.try_send_all(&frames) {
            Err(TrySendAllError::Full) => {
                self.0.look_for_room();
                self.0.channel.send_buffer.try_send_all(&frames)
            }
            other => other,
        }?;
        self.0.has_taken(frames.iter().map(Frame::len).sum());
        Ok(())
    }

    fn unacknowledged_bytes(&self) -> u64 {
        // The driver settles only while a sender lacks room.
        self.0.look_for_room();
        self.0.channel.send_buffer.unacknowledged_bytes()
    }

    async fn close(&self) {
        self.0.close();
        self.0.channel.finished.cancelled().await;
    }

    async fn closed(&self) -> ChannelClosed {
        self.0.channel.close_reason.wait().await
    }

    async fn stats(&self) -> ChannelStats {
        let mut stats = {
            let mut core = lock(&self.0.shared.core);
            let of_now = core.with_peer(&self.0.channel, |peer| core::stats(peer));
            of_now.or_else(|| self.0.channel.last_stats.get().cloned()).unwrap_or_default()
        };
        stats.bytes_sent = self.0.channel.send_buffer.accepted_bytes();
        stats.bytes_received = self.0.channel.receive_buffer.received_bytes();
        stats
    }
}

#[derive(Debug)]
pub(super) struct Receiver(pub(super) Half);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.channel.receive_buffer.abandon();
        self.0.touch();
        self.0.drop_half();
    }
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        self.0.channel.receive_buffer.recv(&self.0.channel.close_reason, || self.0.touch()).await
    }
}
