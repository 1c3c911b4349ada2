//! The two halves of an open channel, and what they share with its task.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use async_trait::async_trait;
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
    pub(super) stack: Mutex<Result<Stack, LinkStats>>,
}

/// The stack's handles.
#[derive(Clone)]
pub(super) struct Stack {
    pub(super) connection: Arc<dyn PeerConnection>,
    pub(super) channel: Arc<dyn DataChannel>,
    /// Held while frames are handed over and while it is asked what is outstanding: one must not see half of the other.
    pub(super) handing: Arc<tokio::sync::Mutex<()>>,
}

impl Stack {
    /// Asks what is outstanding, which makes room for what is not.
    pub(super) async fn settle(&self, outbox: &Outbox) {
        let _handing = self.handing.lock().await;
        if let Ok(outstanding) = self.channel.outstanding_bytes().await {
            outbox.settle(outstanding);
        }
    }
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

    /// What looks full may only not have been looked at. If looking takes waiting, the link's task is about to.
    fn look_for_room(&self) {
        if let Ok(stack) = lock(&self.stack).clone() {
            let settle = pin!(stack.settle(&self.outbox));
            let _ = settle.poll(&mut Context::from_waker(Waker::noop()));
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
        self.0.outbox.send(frame).await
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        self.0.check(&frame)?;
        match self.0.outbox.try_send(frame) {
            Err(TrySendFrameError::Full(frame)) => {
                self.0.look_for_room();
                self.0.outbox.try_send(frame)
            }
            other => other,
        }
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        frames.iter().try_for_each(|frame| self.0.check(frame))?;
        match self.0.outbox.try_send_all(&frames) {
            Err(TrySendAllError::Full) => {
                self.0.look_for_room();
                self.0.outbox.try_send_all(&frames)
            }
            other => other,
        }
    }

    fn unacknowledged_bytes(&self) -> u64 {
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
