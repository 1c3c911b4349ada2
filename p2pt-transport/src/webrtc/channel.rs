//! The state of one channel that the driver shares with the two halves, and with an opening that is awaited.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    WebRtcConfig,
    buffers::{CloseReason, ReceiveBuffer, SendBuffer},
    endpoint::Key,
    peer,
};
use crate::{ChannelClosed, ChannelStats};

/// What may be on its way to a peer that does not say what its sockets hold, in bytes, besides what the path itself holds.
///
/// Our stack sends as much as the other side's SCTP window lets it, at once; browsers and libwebrtc announce windows of
/// megabytes over sockets that hold some ninety datagrams, and what is lost there costs a time-out of a second.
pub(super) const NEAR_WINDOW: usize = 32_768;

/// Frames of which several are on their way even so, so that acknowledgements come without a pause.
pub(super) const NEAR_FRAME_BYTES: usize = 16_384;

/// How far an opening has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    /// It goes on.
    Pending,
    /// The channel is open, with this label.
    Open(String),
    /// It has failed.
    Failed(peer::Stage, peer::End),
}

/// Why the driver is asked to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseRequest {
    /// Its channel is closed or dropped, or its opening is.
    Local,
    /// The transport shuts down.
    ShutDown,
}

/// What is known of a channel's other side when it opens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest frame it takes, in bytes.
    pub(super) max_frame_bytes: usize,
    /// What its sockets can hold, in bytes, if it says so.
    pub(super) window: Option<usize>,
}

/// What the driver, the two halves of a channel and its opening share.
#[derive(Debug)]
pub(super) struct ChannelState {
    pub(super) key: Key,
    pub(super) send_buffer: SendBuffer,
    pub(super) receive_buffer: ReceiveBuffer,
    pub(super) close_reason: CloseReason,
    pub(super) opening: watch::Sender<Opening>,
    /// The close that has been asked for; the first one counts.
    close_request: OnceLock<CloseRequest>,
    /// The connection is gone.
    pub(super) finished: CancellationToken,
    /// Halves of the channel that are alive.
    pub(super) halves: AtomicUsize,
    /// It is in the list of those that have something to do.
    pub(super) is_listed: AtomicBool,
    /// The other side's description says what its sockets can hold.
    pub(super) window_is_known: AtomicBool,
    pub(super) max_frame_bytes: AtomicUsize,
    /// The numbers of a connection that has ended.
    pub(super) last_stats: OnceLock<ChannelStats>,
}

impl ChannelState {
    pub(super) fn new(key: Key, config: &WebRtcConfig) -> Arc<Self> {
        Arc::new(Self {
            key,
            send_buffer: SendBuffer::new(config.send_buffer_bytes, NEAR_WINDOW),
            receive_buffer: ReceiveBuffer::new(config.receive_buffer_bytes),
            close_reason: CloseReason::default(),
            opening: watch::Sender::new(Opening::Pending),
            close_request: OnceLock::new(),
            finished: CancellationToken::new(),
            halves: AtomicUsize::new(2),
            is_listed: AtomicBool::new(false),
            window_is_known: AtomicBool::new(false),
            max_frame_bytes: AtomicUsize::new(0),
            last_stats: OnceLock::new(),
        })
    }

    /// Notes what the other side's description says, before the channel can open.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.max_frame_bytes.store(limits.max_frame_bytes, Ordering::Relaxed);
        self.window_is_known.store(limits.window.is_some(), Ordering::Relaxed);
        self.send_buffer.set_window(limits.window.unwrap_or(NEAR_WINDOW));
    }

    /// In this order, so that a caller that has learned of the end cannot send any more.
    pub(super) fn end_with(&self, reason: ChannelClosed) {
        self.send_buffer.close();
        let was_open = matches!(*self.opening.borrow(), Opening::Open(_));
        if self.close_reason.set(reason.clone()) && was_open {
            tracing::debug!(connection = self.key, %reason, "channel closed");
        }
    }

    /// Has the driver close the connection.
    pub(super) fn request_close(&self, request: CloseRequest) {
        let _ = self.close_request.set(request);
    }

    /// Whether a close has been asked for.
    pub(super) fn is_close_requested(&self) -> bool {
        self.close_request.get().is_some()
    }

    /// Why this side closes.
    pub(super) fn local_reason(&self) -> ChannelClosed {
        match self.close_request.get() {
            Some(CloseRequest::ShutDown) => ChannelClosed::ShutDown,
            Some(CloseRequest::Local) | None => ChannelClosed::Local,
        }
    }
}
