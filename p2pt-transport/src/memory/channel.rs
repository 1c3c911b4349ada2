//! The two halves of an open channel.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, Notify, TryLockError},
    task::coop::consume_budget,
    time::Instant,
};

use super::{
    connection::{Connection, Side},
    network::{Network, Step},
    state::{ConnectionId, State},
};
use crate::{
    ChannelClosed, ChannelStats, Frame, FrameReceiver, FrameSender, SendFrameError, TrySendAllError, TrySendFrameError,
};

/// One side's hold on a connection; dropping it closes the side.
#[derive(Debug)]
pub(super) struct Handle {
    network: Arc<Network>,
    connection: ConnectionId,
    side: Side,
    wake: Arc<Notify>,
}

impl Handle {
    pub(super) fn new(network: &Arc<Network>, connection: ConnectionId, side: Side) -> Self {
        let wake = network.with(|state, now| state.connection(connection, now).wake_of(side));
        Self { network: network.clone(), connection, side, wake }
    }

    pub(super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    fn with<T>(&self, look: impl FnOnce(&mut Connection, Instant) -> T) -> T {
        self.network.with(|state, now| look(state.connection(self.connection, now), now))
    }

    async fn wait<T: Send>(&self, mut step: impl FnMut(&mut State, Instant) -> Step<T> + Send) -> T {
        self.network
            .wait(&self.wake, |state, now| match step(state, now) {
                Step::Done(done) => Step::Done(done),
                Step::Wait(_) => Step::Wait(state.connection(self.connection, now).next_event()),
            })
            .await
    }

    async fn ended(&self) -> ChannelClosed {
        self.wait(|state, now| match state.connection(self.connection, now).ended(self.side) {
            Some(reason) => Step::Done(reason.clone()),
            None => Step::Wait(None),
        })
        .await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.network.with(|state, now| state.detach(self.connection, self.side, now));
    }
}

#[derive(Debug)]
struct Sender {
    handle: Arc<Handle>,
    max_frame_bytes: usize,
    /// Held by the task whose frame is next, so that those who wait for room get it in the order they came.
    turn: Mutex<()>,
}

pub(super) fn sender(handle: Arc<Handle>, max_frame_bytes: usize) -> Arc<dyn FrameSender> {
    Arc::new(Sender { handle, max_frame_bytes, turn: Mutex::new(()) })
}

impl Sender {
    fn check(&self, frame: &Frame) -> Result<(), SendFrameError> {
        let (bytes, max) = (frame.len(), self.max_frame_bytes);
        if bytes > max {
            return Err(SendFrameError::TooLarge { bytes, max });
        }
        match frame {
            Frame::Text(text) if std::str::from_utf8(text).is_err() => Err(SendFrameError::NotUtf8),
            _ => Ok(()),
        }
    }

    /// Sends the frame if it can be sent now, else leaves it where it is.
    fn attempt(&self, state: &mut State, frame: &mut Option<Frame>, now: Instant) -> Step<Result<(), SendFrameError>> {
        let (id, side) = (self.handle.connection, self.handle.side);
        let connection = state.connection(id, now);
        if connection.is_closing(side) {
            return Step::Done(Err(SendFrameError::Closed));
        }
        let Some(ready) = frame.take_if(|frame| connection.has_room(side, frame)) else { return Step::Wait(None) };
        self.put(state, ready, now);
        Step::Done(Ok(()))
    }

    /// Puts a frame on its way for which there is room.
    fn put(&self, state: &mut State, frame: Frame, now: Instant) {
        let (id, side) = (self.handle.connection, self.handle.side);
        let connection = state.connection(id, now);
        let (from, to) = (connection.node(side), connection.node(side.other()));
        let doomed = state.count_down(from, to, frame.len());
        state.connection(id, now).send(side, frame, doomed, now);
    }
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        consume_budget().await;
        self.check(&frame)?;
        let _turn = self.turn.lock().await;
        let mut frame = Some(frame);
        self.handle.wait(|state, now| self.attempt(state, &mut frame, now)).await
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        self.check(&frame)?;
        let mut frame = Some(frame);
        let _turn: Result<_, TryLockError> = self.turn.try_lock();
        let step = self.handle.network.with(|state, now| match &_turn {
            Ok(_) => self.attempt(state, &mut frame, now),
            Err(_) if state.connection(self.handle.connection, now).is_closing(self.handle.side) => {
                Step::Done(Err(SendFrameError::Closed))
            }
            Err(_) => Step::Wait(None),
        });
        match (step, frame) {
            (Step::Done(done), _) => Ok(done?),
            (Step::Wait(_), Some(frame)) => Err(TrySendFrameError::Full(frame)),
            (Step::Wait(_), None) => Ok(()),
        }
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        frames.iter().try_for_each(|frame| self.check(frame))?;
        let turn = self.turn.try_lock();
        self.handle.network.with(|state, now| {
            let (connection, side) = (state.connection(self.handle.connection, now), self.handle.side);
            if connection.is_closing(side) {
                return Err(SendFrameError::Closed.into());
            }
            match connection.has_room_for_all(side, &frames) {
                None => Err(TrySendAllError::NeverFits),
                Some(room) if !room || turn.is_err() => Err(TrySendAllError::Full),
                Some(_) => {
                    frames.into_iter().for_each(|frame| self.put(state, frame, now));
                    Ok(())
                }
            }
        })
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.handle.with(|connection, _| connection.unacknowledged(self.handle.side))
    }

    async fn close(&self) {
        self.handle.with(|connection, now| connection.close(self.handle.side, ChannelClosed::Local, now));
        self.handle.ended().await;
    }

    async fn closed(&self) -> ChannelClosed {
        self.handle.ended().await
    }

    async fn stats(&self) -> ChannelStats {
        self.handle.with(|connection, _| {
            let (bytes_sent, bytes_received) = connection.traffic(self.handle.side);
            ChannelStats {
                local_candidate: Some("host".to_owned()),
                remote_candidate: Some("host".to_owned()),
                working_pairs: vec![("host".to_owned(), "host".to_owned())],
                round_trip: Some(connection.round_trip()),
                bytes_sent,
                bytes_received,
            }
        })
    }
}

#[derive(Debug)]
struct Receiver {
    handle: Arc<Handle>,
}

pub(super) fn receiver(handle: Arc<Handle>) -> Box<dyn FrameReceiver> {
    Box::new(Receiver { handle })
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        consume_budget().await;
        let side = self.handle.side;
        self.handle
            .wait(|state, now| {
                let connection = state.connection(self.handle.connection, now);
                match (connection.receive(side, now), connection.ended(side)) {
                    (Some(frame), _) => Step::Done(Ok(frame)),
                    (None, Some(reason)) => Step::Done(Err(reason.clone())),
                    (None, None) => Step::Wait(None),
                }
            })
            .await
    }
}
