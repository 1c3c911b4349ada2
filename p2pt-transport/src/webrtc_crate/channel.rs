//! An open channel: its two halves, and the task between them and the crate.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::RTCPeerConnectionState,
};

use super::connection::Parts;
use crate::{
    Channel, ChannelClosed, ChannelInfo, ChannelStats, Frame, FrameReceiver, FrameSender, SendFrameError,
    TrySendAllError, TrySendFrameError,
};

/// How many bytes wait for the crate, and how many more in the crate for their acknowledgement.
pub(super) const SEND_BUFFER_BYTES: usize = 1 << 20;

/// How many received frames wait for their reader. The crate holds 256 more, and its receive window of 1 MiB.
const RECEIVE_BUFFER_FRAMES: usize = 64;

/// How often the crate is asked what has been acknowledged, while something has not.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// After how long without a word the crate calls a connection disconnected; its own default.
const SILENCE: Duration = Duration::from_secs(5);

/// What both halves and the task share.
struct Shared {
    /// As many permits as bytes fit into `queue`; closed when nothing more is accepted.
    room: Semaphore,
    queue: mpsc::Sender<Frame>,
    queued_bytes: AtomicU64,
    in_flight_bytes: AtomicU64,
    handed_over: Notify,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    /// Asks for the close.
    closing: CancellationToken,
    ended: watch::Sender<Option<ChannelClosed>>,
    /// The task is done with the channel.
    done: CancellationToken,
    max_frame_bytes: usize,
}

/// An open channel, and what has to run for it, after which the connection shall be closed.
pub(super) fn serve(
    parts: Parts,
    channel: Arc<dyn DataChannel>,
    info: ChannelInfo,
) -> (Channel, impl Future<Output = ()> + Send + 'static) {
    // Each frame takes a permit at least, so that a holder of one always finds a place.
    let (queue, outgoing) = mpsc::channel(SEND_BUFFER_BYTES);
    let (received, frames) = mpsc::channel(RECEIVE_BUFFER_FRAMES);
    let closing = parts.node.shutdown.child_token();
    let guard = Arc::new(closing.clone().drop_guard());
    let shared = Arc::new(Shared {
        room: Semaphore::new(SEND_BUFFER_BYTES),
        queue,
        queued_bytes: AtomicU64::new(0),
        in_flight_bytes: AtomicU64::new(0),
        handed_over: Notify::new(),
        bytes_sent: AtomicU64::new(0),
        bytes_received: AtomicU64::new(0),
        closing,
        ended: watch::Sender::new(None),
        done: CancellationToken::new(),
        max_frame_bytes: info.max_frame_bytes,
    });
    let sender = Arc::new(Sender { shared: shared.clone(), _guard: guard.clone() });
    let receiver = Box::new(Receiver { shared: shared.clone(), frames, _guard: guard });
    (Channel { info, sender, receiver }, run(parts, channel, shared, outgoing, received))
}

/// What ends the life of an open channel.
enum End {
    /// This side shall close; all that was accepted has been handed over, or not yet.
    Asked { written: bool },
    /// The other side has closed.
    Closed,
    /// The connection has ended below the channel.
    Over(ChannelClosed),
}

async fn run(
    mut parts: Parts,
    channel: Arc<dyn DataChannel>,
    shared: Arc<Shared>,
    outgoing: mpsc::Receiver<Frame>,
    received: mpsc::Sender<Frame>,
) {
    let (node, mut state) = (parts.node.clone(), parts.state.clone());
    let patience = node.config.close_timeout;
    let mut writing = pin!(shared.write(&*channel, outgoing));
    let mut reading = pin!(shared.read(&*channel, received));
    let over = async {
        let is_over = |state: &RTCPeerConnectionState| {
            use RTCPeerConnectionState::{Closed, Disconnected, Failed};
            matches!(state, Disconnected | Failed | Closed)
        };
        match state.wait_for(is_over).await.as_deref() {
            Ok(RTCPeerConnectionState::Disconnected) => ChannelClosed::Timeout(SILENCE),
            Ok(RTCPeerConnectionState::Failed) => ChannelClosed::Failed("ICE or DTLS failed".to_owned()),
            _ => ChannelClosed::Remote,
        }
    };
    let end = tokio::select! {
        biased;
        () = shared.closing.cancelled() => End::Asked { written: false },
        () = &mut writing => End::Asked { written: true },
        () = &mut reading => End::Closed,
        reason = over => End::Over(reason),
        () = shared.watch(&*channel) => End::Closed,
        () = parts.add_late_candidates() => End::Closed,
    };
    match end {
        End::Asked { written } => {
            shared.room.close();
            let flushing = async {
                let writing_on = async {
                    if !written {
                        (&mut writing).await;
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = writing_on => {}
                    // While the other side takes nothing, neither does the crate.
                    () = shared.flush(&*channel, patience) => {}
                }
                // Gone already if the other side has closed too.
                let _ = channel.close().await;
                sleep(patience).await;
            };
            tokio::select! {
                () = flushing => {}
                // The other side has answered the close.
                () = &mut reading => {}
            }
            shared.end(if node.shutdown.is_cancelled() { ChannelClosed::ShutDown } else { ChannelClosed::Local });
        }
        End::Closed => {
            shared.look(&*channel).await;
            shared.end(ChannelClosed::Remote);
        }
        End::Over(reason) => {
            shared.end(reason);
            // What the crate has already handed out, for a reader that is behind.
            let _ = timeout(patience, &mut reading).await;
        }
    }
    shared.done.cancel();
}

impl Shared {
    /// Hands frames to the crate until the channel closes and all that were accepted have been handed over.
    async fn write(&self, channel: &dyn DataChannel, mut outgoing: mpsc::Receiver<Frame>) {
        loop {
            let frame = tokio::select! {
                biased;
                () = self.closing.cancelled(), if !outgoing.is_closed() => {
                    outgoing.close();
                    continue;
                }
                frame = outgoing.recv() => frame,
            };
            let Some(frame) = frame else { return };
            let sent = match &frame {
                // What was accepted is UTF-8.
                Frame::Text(text) => channel.send_text(std::str::from_utf8(text).unwrap_or_default()).await,
                Frame::Binary(bytes) => channel.send(BytesMut::from(&bytes[..])).await,
            };
            if sent.is_err() {
                self.room.close();
                // Whether the other side has closed or the connection has failed is learned elsewhere.
                return std::future::pending().await;
            }
            self.in_flight_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            self.queued_bytes.fetch_sub(frame.len() as u64, Ordering::Relaxed);
            self.handed_over.notify_one();
            self.room.add_permits(frame.len().max(1));
        }
    }

    /// Hands received frames to the reader until the other side closes.
    async fn read(&self, channel: &dyn DataChannel, received: mpsc::Sender<Frame>) {
        loop {
            let frame = match channel.poll().await {
                Some(DataChannelEvent::OnMessage(message)) if message.is_string => Frame::Text(message.data.freeze()),
                Some(DataChannelEvent::OnMessage(message)) => Frame::Binary(message.data.freeze()),
                Some(DataChannelEvent::OnClose) | None => return,
                Some(_) => continue,
            };
            self.bytes_received.fetch_add(frame.len() as u64, Ordering::Relaxed);
            // Where the reader has been dropped, frames are too.
            let _ = received.send(frame).await;
        }
    }

    /// Asks the crate what has not been acknowledged.
    async fn look(&self, channel: &dyn DataChannel) {
        if let Ok(bytes) = channel.outstanding_bytes().await {
            self.in_flight_bytes.store(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Keeps the number of bytes in flight up to date.
    async fn watch(&self, channel: &dyn DataChannel) {
        loop {
            while self.in_flight_bytes.load(Ordering::Relaxed) > 0 {
                sleep(LOOK_INTERVAL).await;
                self.look(channel).await;
            }
            self.handed_over.notified().await;
        }
    }

    /// Waits until all that was accepted has been acknowledged, or nothing more has been for as long as `patience`.
    async fn flush(&self, channel: &dyn DataChannel, patience: Duration) {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            self.look(channel).await;
            let left = self.unacknowledged_bytes();
            if left < least {
                (least, since) = (left, Instant::now());
            }
            if left == 0 || since.elapsed() >= patience {
                return;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Relaxed) + self.in_flight_bytes.load(Ordering::Relaxed)
    }

    fn end(&self, reason: ChannelClosed) {
        self.room.close();
        self.ended.send_replace(Some(reason));
    }

    async fn reason(&self) -> ChannelClosed {
        let ended = self.ended.subscribe().wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.unwrap_or(ChannelClosed::Local)
    }

    fn check(&self, frame: &Frame) -> Result<u32, SendFrameError> {
        let (bytes, max) = (frame.len(), self.max_frame_bytes);
        if bytes > max {
            return Err(SendFrameError::TooLarge { bytes, max });
        }
        match frame {
            Frame::Text(text) if std::str::from_utf8(text).is_err() => Err(SendFrameError::NotUtf8),
            _ => Ok(u32::try_from(bytes.max(1)).unwrap_or(u32::MAX)),
        }
    }

    /// Accepts a frame for which there is room, which it takes.
    fn accept(&self, frame: Frame) -> Result<(), SendFrameError> {
        let bytes = frame.len() as u64;
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queue.try_send(frame).map_err(|_| {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            SendFrameError::Closed
        })?;
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

struct Sender {
    shared: Arc<Shared>,
    _guard: Arc<DropGuard>,
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        let room = self.shared.check(&frame)?;
        let room = self.shared.room.acquire_many(room).await.map_err(|_| SendFrameError::Closed)?;
        room.forget();
        self.shared.accept(frame)
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        let room = self.shared.check(&frame)?;
        match self.shared.room.try_acquire_many(room) {
            Ok(room) => room.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(TrySendFrameError::Full(frame)),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(SendFrameError::Closed.into()),
        }
        Ok(self.shared.accept(frame)?)
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        let mut room = 0_u32;
        for frame in &frames {
            room = room.saturating_add(self.shared.check(frame)?);
        }
        if room as usize > SEND_BUFFER_BYTES {
            return Err(TrySendAllError::NeverFits);
        }
        match self.shared.room.try_acquire_many(room) {
            Ok(room) => room.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(TrySendAllError::Full),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(SendFrameError::Closed.into()),
        }
        frames.into_iter().try_for_each(|frame| Ok(self.shared.accept(frame)?))
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.shared.unacknowledged_bytes()
    }

    async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.done.cancelled().await;
    }

    async fn closed(&self) -> ChannelClosed {
        self.shared.reason().await
    }

    async fn stats(&self) -> ChannelStats {
        ChannelStats {
            bytes_sent: self.shared.bytes_sent.load(Ordering::Relaxed),
            bytes_received: self.shared.bytes_received.load(Ordering::Relaxed),
            ..ChannelStats::default()
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("ended", &*self.shared.ended.borrow()).finish_non_exhaustive()
    }
}

struct Receiver {
    shared: Arc<Shared>,
    frames: mpsc::Receiver<Frame>,
    _guard: Arc<DropGuard>,
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        match self.frames.recv().await {
            Some(frame) => Ok(frame),
            None => Err(self.shared.reason().await),
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("waiting", &self.frames.len()).finish_non_exhaustive()
    }
}
