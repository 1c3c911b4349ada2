//! The two halves of an open channel, and what they share with its task.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use webrtc::{
    data_channel::DataChannel,
    peer_connection::{PeerConnection, RTCIceCandidate, RTCStatsReportEntry, StatsSelector},
};

use super::{
    flow::{End, Inbox, Outbox},
    pulse::lock,
};
use crate::{
    ChannelClosed, Frame, FrameReceiver, FrameSender, LinkStats, SendFrameError, TrySendAllError, TrySendFrameError,
};

/// What a link's task and its two halves share.
pub(super) struct Shared {
    pub(super) max_frame_bytes: usize,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) end: End,
    /// A close has been asked for, here or by the transport's shutdown.
    pub(super) closing: CancellationToken,
    /// The connection is closed.
    pub(super) finished: CancellationToken,
    pub(super) halves: AtomicUsize,
    /// Until the connection is closed; then its last statistics.
    pub(super) stack: Mutex<Result<Arc<Stack>, LinkStats>>,
}

/// The stack's handles.
pub(super) struct Stack {
    pub(super) connection: Arc<dyn PeerConnection>,
    pub(super) channel: Arc<dyn DataChannel>,
    /// Held while frames are handed over and while it is asked what is outstanding: one must not see half of the other.
    pub(super) handing: tokio::sync::Mutex<()>,
}

/// The largest binary frame that is handed over where it is sent: it is copied for that, in case the stack is busy.
const COPIED_BYTES: usize = 4096;

/// What became of frames that were to be handed over at once.
enum HandedOver {
    /// All were, or the stack refuses them.
    All,
    /// The stack is busy, or has enough.
    Some,
}

impl Stack {
    /// Hands accepted frames to the stack, which takes any number: the outbox is the bound.
    pub(super) async fn hand_over(&self, outbox: &Outbox) -> webrtc::error::Result<()> {
        let _handing = self.handing.lock().await;
        while let Some(frame) = outbox.take() {
            match frame {
                Frame::Binary(bytes) => self.channel.send(BytesMut::from(bytes)).await?,
                Frame::Text(bytes) => self.channel.send_text(text(&bytes)).await?,
            }
        }
        Ok(())
    }

    /// The same without waiting, for as long as the stack is not busy with something else.
    ///
    /// Each of its sends either takes its lock and the frame when first polled, or neither, since nothing else in it waits
    /// (see `PulsedRuntime::yield_now`).
    fn hand_over_now(&self, outbox: &Outbox) -> HandedOver {
        let Ok(_handing) = self.handing.try_lock() else { return HandedOver::Some };
        while let Some(frame) = outbox.take() {
            let handed = match &frame {
                Frame::Binary(bytes) if bytes.len() > COPIED_BYTES => None,
                Frame::Binary(bytes) => now(self.channel.send(BytesMut::from(&bytes[..]))),
                Frame::Text(bytes) => now(self.channel.send_text(text(bytes))),
            };
            match handed {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "sending a frame");
                    return HandedOver::All;
                }
                None => {
                    outbox.put_back(frame);
                    return HandedOver::Some;
                }
            }
        }
        // What the stack shall not be given yet is left to the link's task, which knows when it may.
        if outbox.is_pressed() { HandedOver::Some } else { HandedOver::All }
    }

    /// Asks what is outstanding, which makes room for what is not.
    pub(super) async fn settle(&self, outbox: &Outbox) {
        let _handing = self.handing.lock().await;
        if let Ok(outstanding) = self.channel.outstanding_bytes().await {
            outbox.settle(outstanding);
        }
    }
}

/// What a future gives when polled once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The text of a frame that was checked when it was accepted.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("closed", &self.end.is_said())
            .field("unacknowledged_bytes", &self.outbox.unacknowledged_bytes())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// In this order: whoever has learned of the end cannot send any more.
    pub(super) fn end_with(&self, reason: ChannelClosed) {
        self.outbox.close();
        self.end.say(reason);
    }

    fn close(&self) {
        self.end_with(ChannelClosed::Local);
        self.closing.cancel();
    }

    fn drop_half(&self) {
        if self.halves.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    fn stack(&self) -> Option<Arc<Stack>> {
        lock(&self.stack).as_ref().ok().cloned()
    }

    /// What looks full may only not have been looked at. If looking takes waiting, the link's task is about to.
    fn look_for_room(&self) {
        if let Some(stack) = self.stack() {
            now(stack.settle(&self.outbox));
        }
    }

    /// Sees accepted frames on their way: here, which saves waking the link's task, or by that.
    fn hand_over(&self) {
        match self.stack().map(|stack| stack.hand_over_now(&self.outbox)) {
            Some(HandedOver::All) => {}
            Some(HandedOver::Some) | None => self.outbox.work.notify_one(),
        }
    }

    fn check(&self, frame: &Frame) -> Result<(), SendFrameError> {
        if frame.len() > self.max_frame_bytes {
            return Err(SendFrameError::TooLarge { bytes: frame.len(), max: self.max_frame_bytes });
        }
        match frame {
            Frame::Text(text) if std::str::from_utf8(text).is_err() => Err(SendFrameError::NotUtf8),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Sender(pub(super) Arc<Shared>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.drop_half();
    }
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        self.0.check(&frame)?;
        self.0.outbox.send(frame).await?;
        self.0.hand_over();
        Ok(())
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        self.0.check(&frame)?;
        match self.0.outbox.try_send(frame) {
            Err(TrySendFrameError::Full(frame)) => {
                self.0.look_for_room();
                self.0.outbox.try_send(frame)
            }
            other => other,
        }?;
        self.0.hand_over();
        Ok(())
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        frames.iter().try_for_each(|frame| self.0.check(frame))?;
        match self.0.outbox.try_send_all(&frames) {
            Err(TrySendAllError::Full) => {
                self.0.look_for_room();
                self.0.outbox.try_send_all(&frames)
            }
            other => other,
        }?;
        self.0.hand_over();
        Ok(())
    }

    fn unacknowledged_bytes(&self) -> u64 {
        // Nobody else looks while there is room.
        self.0.look_for_room();
        self.0.outbox.unacknowledged_bytes()
    }

    async fn close(&self) {
        self.0.close();
        self.0.finished.cancelled().await;
    }

    async fn closed(&self) -> ChannelClosed {
        self.0.end.wait().await
    }

    async fn stats(&self) -> LinkStats {
        let stack = lock(&self.0.stack).clone();
        let mut stats = match stack {
            Ok(stack) => link_stats(&*stack.connection).await,
            Err(last) => last,
        };
        stats.bytes_sent = self.0.outbox.accepted_bytes();
        stats.bytes_received = self.0.inbox.received_bytes();
        stats
    }
}

#[derive(Debug)]
pub(super) struct Receiver(pub(super) Arc<Shared>);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.inbox.abandon();
        self.0.drop_half();
    }
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        self.0.inbox.recv(&self.0.end).await
    }
}

/// The selected candidate pair of a connection.
pub(super) async fn link_stats(stack: &dyn PeerConnection) -> LinkStats {
    let mut stats = LinkStats::default();
    let report = stack.get_stats(Instant::now().into_std(), StatsSelector::None).await;
    let pair = report.transport().and_then(|transport| report.get(&transport.selected_candidate_pair_id));
    let Some(RTCStatsReportEntry::IceCandidatePair(pair)) = pair else { return stats };
    let round_trip = pair.current_round_trip_time;
    stats.round_trip = (round_trip > 0.0).then(|| Duration::from_secs_f64(round_trip));
    // The report itself does not list the candidates that came in a description.
    if let Some(sctp) = stack.sctp().await {
        let ice = sctp.transport().ice_transport();
        let kind = |candidates: webrtc::error::Result<Vec<RTCIceCandidate>>, id: &str| {
            candidates.ok()?.iter().find(|candidate| candidate.id == id).map(|candidate| candidate.typ.to_string())
        };
        stats.local_candidate = kind(ice.get_local_candidates().await, &pair.local_candidate_id);
        stats.remote_candidate = kind(ice.get_remote_candidates().await, &pair.remote_candidate_id);
    }
    stats
}
