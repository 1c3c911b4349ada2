//! The two halves of an open channel.

use std::rc::Rc;

use async_trait::async_trait;
use send_wrapper::SendWrapper;
use tokio::sync::TryAcquireError;

use super::connection::Connection;
use crate::{
    ChannelClosed, ChannelStats, Frame, FrameReceiver, FrameSender, SendFrameError, TrySendAllError, TrySendFrameError,
};

/// Makes the halves of a connection that is open.
pub(super) fn split(connection: Rc<Connection>, max_frame_bytes: usize) -> (Sender, Receiver) {
    let half = || Half(SendWrapper::new(connection.clone()));
    (Sender { half: half(), max_frame_bytes }, Receiver { half: half() })
}

/// What both halves have. The channel is closed when the last of them is dropped.
#[derive(Debug)]
struct Half(SendWrapper<Rc<Connection>>);

impl Drop for Half {
    fn drop(&mut self) {
        let halves = self.0.halves.get() - 1;
        self.0.halves.set(halves);
        if halves == 0 {
            self.0.close(ChannelClosed::Local);
        }
    }
}

#[derive(Debug)]
pub(super) struct Sender {
    half: Half,
    max_frame_bytes: usize,
}

impl Sender {
    fn connection(&self) -> &Rc<Connection> {
        &self.half.0
    }

    fn check(&self, frame: &Frame) -> Result<(), SendFrameError> {
        let max = self.max_frame_bytes;
        match frame {
            frame if frame.len() > max => Err(SendFrameError::TooLarge { bytes: frame.len(), max }),
            Frame::Text(text) if std::str::from_utf8(text).is_err() => Err(SendFrameError::NotUtf8),
            _ => Ok(()),
        }
    }

    /// Takes so much of the room, after a look whether there is more than was known.
    fn take_room(&self, cost: u32) -> Result<(), TryAcquireError> {
        let connection = self.connection();
        let permit = match connection.room.try_acquire_many(cost) {
            Err(TryAcquireError::NoPermits) => {
                connection.look_for_room();
                connection.room.try_acquire_many(cost)
            }
            other => other,
        }?;
        permit.forget();
        Ok(())
    }
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        self.check(&frame)?;
        let cost = self.connection().cost(frame.len());
        match self.take_room(cost) {
            Ok(()) => {}
            Err(TryAcquireError::Closed) => return Err(SendFrameError::Closed),
            Err(TryAcquireError::NoPermits) => {
                self.connection().wake_at_low();
                let room = self.connection().room.clone();
                room.acquire_many(cost).await.map_err(|_| SendFrameError::Closed)?.forget();
            }
        }
        self.connection().hand_over(&frame)
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        self.check(&frame)?;
        match self.take_room(self.connection().cost(frame.len())) {
            Ok(()) => Ok(self.connection().hand_over(&frame)?),
            Err(TryAcquireError::NoPermits) => Err(TrySendFrameError::Full(frame)),
            Err(TryAcquireError::Closed) => Err(SendFrameError::Closed.into()),
        }
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        frames.iter().try_for_each(|frame| self.check(frame))?;
        let connection = self.connection();
        let cost: usize = frames.iter().map(|frame| connection.cost(frame.len()) as usize).sum();
        if cost > connection.capacity() {
            return Err(TrySendAllError::NeverFits);
        }
        match self.take_room(u32::try_from(cost).unwrap_or(u32::MAX)) {
            Ok(()) => Ok(frames.iter().try_for_each(|frame| connection.hand_over(frame))?),
            Err(TryAcquireError::NoPermits) => Err(TrySendAllError::Full),
            Err(TryAcquireError::Closed) => Err(SendFrameError::Closed.into()),
        }
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.connection().buffered() as u64
    }

    async fn close(&self) {
        self.connection().close(ChannelClosed::Local);
        let mut finished = self.connection().await_finished();
        // The connection, which this half keeps, has the other end of it.
        let _ = finished.wait_for(|finished| *finished).await;
    }

    async fn closed(&self) -> ChannelClosed {
        let mut reason = self.connection().await_reason();
        let known = reason.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        known.unwrap_or(ChannelClosed::Local)
    }

    async fn stats(&self) -> ChannelStats {
        SendWrapper::new(async {
            let report = self.connection().report().await;
            let (bytes_sent, bytes_received) = self.connection().counts();
            ChannelStats {
                local_candidate: report.selected_local,
                remote_candidate: report.selected_remote,
                working_pairs: report.working_pairs,
                round_trip: report.round_trip,
                bytes_sent,
                bytes_received,
            }
        })
        .await
    }
}

#[derive(Debug)]
pub(super) struct Receiver {
    half: Half,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.half.0.received.borrow_mut().abandon();
    }
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        loop {
            let arrived = {
                let connection = &self.half.0;
                if let Some(frame) = connection.received.borrow_mut().pop() {
                    return Ok(frame);
                }
                // What was received is there before the reason is.
                if let Some(reason) = connection.reason() {
                    return Err(reason);
                }
                connection.arrived.clone()
            };
            arrived.notified().await;
        }
    }
}
