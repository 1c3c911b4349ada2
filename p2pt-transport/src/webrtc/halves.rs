//! The two halves of an open channel.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;

use super::{core, driver::Shared, flow::lock, link::Link, peer::Peer};
use crate::{
    ChannelClosed, ChannelStats, Frame, FrameReceiver, FrameSender, SendFrameError, TrySendAllError, TrySendFrameError,
};

/// What both halves have.
#[derive(Clone)]
pub(super) struct Half {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half")
            .field("closed", &self.link.end.is_said())
            .field("unacknowledged_bytes", &self.link.outbox.unacknowledged_bytes())
            .finish_non_exhaustive()
    }
}

impl Half {
    fn touch(&self) {
        self.shared.touch(&self.link);
    }

    /// In this order: one who has learned of the end cannot send any more.
    fn close(&self) {
        self.link.end_with(self.link.local_reason());
        self.link.close.store(true, Ordering::Release);
        self.touch();
    }

    fn drop_half(&self) {
        if self.link.halves.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// What looks full may only not have been looked at.
    fn look_for_room(&self) {
        let mut core = lock(&self.shared.core);
        if let Some(outstanding) = core.with_peer(&self.link, Peer::outstanding) {
            self.link.outbox.settle(outstanding);
        }
    }

    fn check(&self, frame: &Frame) -> Result<(), SendFrameError> {
        let max = self.link.max_frame_bytes.load(Ordering::Relaxed);
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
        match self.0.link.outbox.try_send(frame) {
            Ok(()) => {}
            Err(TrySendFrameError::Full(frame)) => {
                self.0.touch();
                self.0.link.outbox.send(frame).await?;
            }
            Err(TrySendFrameError::Refused(refused)) => return Err(refused),
        }
        self.0.touch();
        Ok(())
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        self.0.check(&frame)?;
        match self.0.link.outbox.try_send(frame) {
            Err(TrySendFrameError::Full(frame)) => {
                self.0.look_for_room();
                self.0.link.outbox.try_send(frame)
            }
            other => other,
        }?;
        self.0.touch();
        Ok(())
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        frames.iter().try_for_each(|frame| self.0.check(frame))?;
        match self.0.link.outbox.try_send_all(&frames) {
            Err(TrySendAllError::Full) => {
                self.0.look_for_room();
                self.0.link.outbox.try_send_all(&frames)
            }
            other => other,
        }?;
        self.0.touch();
        Ok(())
    }

    fn unacknowledged_bytes(&self) -> u64 {
        // While there is room nobody else looks.
        self.0.look_for_room();
        self.0.link.outbox.unacknowledged_bytes()
    }

    async fn close(&self) {
        self.0.close();
        self.0.link.finished.cancelled().await;
    }

    async fn closed(&self) -> ChannelClosed {
        self.0.link.end.wait().await
    }

    async fn stats(&self) -> ChannelStats {
        let mut stats = {
            let mut core = lock(&self.0.shared.core);
            let of_now = core.with_peer(&self.0.link, |peer| core::stats(peer));
            of_now.or_else(|| self.0.link.last_stats.get().cloned()).unwrap_or_default()
        };
        stats.bytes_sent = self.0.link.outbox.accepted_bytes();
        stats.bytes_received = self.0.link.inbox.received_bytes();
        stats
    }
}

#[derive(Debug)]
pub(super) struct Receiver(pub(super) Half);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.link.inbox.abandon();
        self.0.touch();
        self.0.drop_half();
    }
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        self.0.link.inbox.recv(&self.0.link.end, || self.0.touch()).await
    }
}
