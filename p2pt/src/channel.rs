//! One open data channel to a peer: sending whole messages. The task that reads it is in [`reading`](crate::reading).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use p2pt_messaging::{Chunks, ChunksError, MessageId, Payload};
use p2pt_rt::{sleep, timeout, timeout_at};
use p2pt_transport::{
    ChannelClosed, ChannelStats, Frame, FrameSender, SendFrameError, TrySendAllError, TrySendFrameError,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, error_span, trace};

use p2pt_mesh::mesh::ChannelId;

/// The largest frame this side makes, encoded. Larger ones save little and keep small messages waiting longer.
const FRAME_BUDGET: usize = p2pt_messaging::DEFAULT_BUDGET;

/// A retired channel closes when nothing has moved on it for this long: the other side, which retires it at the same
/// time, has then finished too.
const QUIET: Duration = Duration::from_secs(2);

/// A retired channel closes after this time however busy it is. The other side may be a stranger to the peer under whose
/// id it came, and is heard as that peer until then; an honest one of this library has retired the channel too, and one
/// of JavaScript, which never does, goes on over the peer's other channel.
const RETIRED_FOR: Duration = Duration::from_secs(30);

/// The last part of that time, in which the channel takes no further messages, so that those that it is taking may end:
/// a quarter of the largest message (16 MB) arrives in it at 6.4 Mbit/s. What has not ended by then is sent again, from
/// its beginning, over the next channel.
const RETIRING_ENDS: Duration = Duration::from_secs(5);

/// How often it is looked in that part whether all has arrived: messages wait for that, and nothing reports it.
const GLANCE: Duration = Duration::from_millis(20);

/// Why a channel did not take a frame.
#[derive(Debug)]
pub(crate) enum ChannelError {
    Closed,
    Timeout(Duration),
    Frame(SendFrameError),
    Chunks(ChunksError),
}

/// Why a channel did not take a message at once.
#[derive(Debug)]
pub(crate) enum TryChannelError {
    Full,
    NeverFits,
    Channel(ChannelError),
}

impl From<ChannelError> for TryChannelError {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

/// How far a channel is on its way to give way to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Retirement {
    /// It is in use.
    No,
    /// It closes when it is quiet, and messages take another channel once all it was given has arrived.
    Waiting,
    /// It takes no further messages, and these wait until it is over, so that none overtakes what is still on its way.
    Ending,
    /// Messages take another channel.
    Over,
}

#[derive(Debug)]
pub(crate) struct PeerChannel {
    pub(crate) id: ChannelId,
    sender: Arc<dyn FrameSender>,
    good_frame_bytes: usize,
    retirement: watch::Sender<Retirement>,
    closed: AtomicBool,
    /// Why it closed, once the backend has said so.
    reason: OnceLock<ChannelClosed>,
    /// Messages being sent.
    sending: AtomicUsize,
    /// Frames sent and received, to tell whether anything moves.
    moved: AtomicU64,
    /// Frames sent.
    taken: AtomicU64,
    /// Ends the tasks of the channel, whatever has not been read.
    cut: CancellationToken,
    /// Has the channel closed by one of its tasks.
    given_up: CancellationToken,
    span: Span,
}

impl PeerChannel {
    pub(crate) fn new(id: ChannelId, sender: Arc<dyn FrameSender>, good_frame_bytes: usize) -> Self {
        Self {
            id,
            sender,
            good_frame_bytes,
            retirement: watch::Sender::new(Retirement::No),
            closed: AtomicBool::new(false),
            reason: OnceLock::new(),
            sending: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            cut: CancellationToken::new(),
            given_up: CancellationToken::new(),
            span: error_span!("channel", id = id.0),
        }
    }

    /// The channel's span, in that of its peer, in which its tasks run.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Ends what reads from the channel and writes to it: its peer is not who it was taken for.
    pub(crate) fn cut(&self) {
        self.closed.store(true, Ordering::Release);
        self.cut.cancel();
    }

    /// Has the channel closed: what comes by it is of no use.
    pub(crate) fn give_up(&self) {
        self.given_up.cancel();
    }

    /// Closes the channel once it is [given up](Self::give_up), until it has closed otherwise.
    pub(crate) async fn close_if_given_up(&self) {
        tokio::select! {
            biased;
            _ = self.closing() => {}
            () = self.given_up.cancelled() => self.close().await,
        }
    }

    /// Resolves when the channel has closed.
    pub(crate) async fn closing(&self) -> ChannelClosed {
        self.sender.closed().await
    }

    /// The size in bytes up to which larger frames make bulk transfers faster.
    pub(crate) fn good_frame_bytes(&self) -> usize {
        self.good_frame_bytes
    }

    /// Sends a packet of the session if the channel takes it now.
    pub(crate) fn try_packet(&self, packet: Bytes) -> Result<(), TrySendFrameError> {
        trace!(parent: &self.span, bytes = packet.len(), "packet out");
        self.sender.try_send(Frame::Binary(packet))?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends a packet of the session, waiting while the channel is full.
    pub(crate) async fn send_packet(&self, packet: Frame) -> Result<(), SendFrameError> {
        self.sender.send(packet).await?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Runs until the channel is [cut](Self::cut).
    pub(crate) async fn run_until_cut(&self, run: impl Future<Output = ()>) {
        self.cut.run_until_cancelled(run).await;
    }

    /// Whether messages should take another channel if there is one. A retiring channel goes on until all it was given
    /// has arrived: a message on another channel could overtake what is still on its way.
    pub(crate) fn is_leaving(&self) -> bool {
        match *self.retirement.borrow() {
            Retirement::No | Retirement::Ending => false,
            Retirement::Waiting => self.is_idle(),
            Retirement::Over => true,
        }
    }

    /// Whether messages that have not begun wait for what this channel was given before.
    pub(crate) fn is_ending(&self) -> bool {
        *self.retirement.borrow() == Retirement::Ending
    }

    /// Waits until messages need not wait for this channel, which is [`RETIRING_ENDS`] at most.
    pub(crate) async fn has_ended(&self) {
        // The sender of the watch is a part of this channel.
        let _ = self.retirement.subscribe().wait_for(|retirement| *retirement != Retirement::Ending).await;
    }

    /// Whether everything sent has been acknowledged.
    fn is_idle(&self) -> bool {
        self.sending.load(Ordering::Acquire) == 0 && self.unacknowledged_bytes() == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Why it closed, if that is known yet: a send may find the channel closed first.
    pub(crate) fn reason(&self) -> Option<ChannelClosed> {
        self.reason.get().cloned()
    }

    pub(crate) fn unacknowledged_bytes(&self) -> u64 {
        self.sender.unacknowledged_bytes()
    }

    /// How many frames the channel has taken, to tell whether it takes any.
    pub(crate) fn frames_taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// A frame was received.
    pub(crate) fn frame_came(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) async fn stats(&self) -> ChannelStats {
        self.sender.stats().await
    }

    pub(crate) async fn close(&self) {
        // Said first, so that a send that is cut off knows why.
        if !self.is_closed() {
            self.reason.get_or_init(|| ChannelClosed::Local);
        }
        self.sender.close().await;
    }

    /// Sends all frames of a message. Frames of other messages may come between, so a small message does not wait for a
    /// large one to end.
    pub(crate) async fn send_message(
        &self,
        id: &MessageId,
        payload: &Payload,
        stall: Duration,
    ) -> Result<(), ChannelError> {
        self.sending.fetch_add(1, Ordering::AcqRel);
        let _done = Sending(&self.sending);
        // Logged before it is sent, so that nothing more has to be kept while the channel is full.
        trace!(parent: &self.span, message = %id, bytes = payload.len(), "message out");
        for frame in self.chunks(id, payload)? {
            self.send(Frame::text(frame), stall).await?;
        }
        Ok(())
    }

    /// Sends all frames of a message if the channel takes them now, otherwise none.
    pub(crate) fn try_send_message(&self, id: &MessageId, payload: &Payload) -> Result<(), TryChannelError> {
        self.try_send_all(self.chunks(id, payload)?.map(Frame::text).collect())?;
        trace!(parent: &self.span, message = %id, bytes = payload.len(), "message out");
        Ok(())
    }

    /// Sends one frame if the channel takes it now.
    pub(crate) fn try_send_frame(&self, frame: Frame) -> Result<(), TryChannelError> {
        let (kind, bytes) = (kind(&frame), frame.len());
        self.try_send_all(vec![frame])?;
        trace!(parent: &self.span, kind, bytes, "frame out");
        Ok(())
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TryChannelError> {
        let count = frames.len() as u64;
        match self.sender.try_send_all(frames) {
            Ok(()) => {
                self.moved.fetch_add(count, Ordering::Relaxed);
                self.taken.fetch_add(count, Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendAllError::Full) => Err(TryChannelError::Full),
            Err(TrySendAllError::NeverFits) => Err(TryChannelError::NeverFits),
            Err(TrySendAllError::Refused(error)) => Err(self.refused(error).into()),
            Err(_) => Err(self.refused(SendFrameError::Closed).into()),
        }
    }

    fn chunks<'a>(&self, id: &'a MessageId, payload: &'a Payload) -> Result<Chunks<'a>, ChannelError> {
        let budget = FRAME_BUDGET.min(self.good_frame_bytes);
        Chunks::new(id, payload, budget).map_err(ChannelError::Chunks)
    }

    /// Sends one frame. A timer is made only when the channel's buffer is full.
    pub(crate) async fn send(&self, frame: Frame, stall: Duration) -> Result<(), ChannelError> {
        // Before it is sent, as above.
        trace!(parent: &self.span, kind = kind(&frame), bytes = frame.len(), "frame out");
        let result = match self.sender.try_send(frame) {
            Ok(()) => Ok(()),
            Err(TrySendFrameError::Full(frame)) => match timeout(stall, self.sender.send(frame)).await {
                Ok(result) => result,
                Err(_) => return Err(ChannelError::Timeout(stall)),
            },
            Err(TrySendFrameError::Refused(error)) => Err(error),
            Err(_) => Err(SendFrameError::Closed),
        };
        match result {
            Ok(()) => {
                self.moved.fetch_add(1, Ordering::Relaxed);
                self.taken.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(self.refused(error)),
        }
    }

    fn refused(&self, error: SendFrameError) -> ChannelError {
        if error == SendFrameError::Closed {
            self.closed.store(true, Ordering::Release);
            return ChannelError::Closed;
        }
        ChannelError::Frame(error)
    }

    /// Marks the channel so that messages take another one, waits until both sides are done with it, closes it.
    ///
    /// Waits while either side goes on sending, for [`RETIRED_FOR`] at most: a JavaScript peer would lose what is cut
    /// off, and a surplus channel costs little. The channel's own end ends the wait.
    pub(crate) async fn retire(&self) {
        let ends_at = crate::now() + RETIRED_FOR;
        self.retirement.send_replace(Retirement::Waiting);
        // However this ends, by being dropped too, no message waits for it.
        let over = Over(&self.retirement);
        if timeout_at(ends_at - RETIRING_ENDS, self.quiet()).await.is_err() {
            debug!(parent: &self.span, "the retired channel stays busy, and takes no further messages");
            self.retirement.send_replace(Retirement::Ending);
            let _ = timeout_at(ends_at, self.emptied()).await;
            self.retirement.send_replace(Retirement::Over);
            // What the other side sends is taken until then.
            let _ = timeout_at(ends_at, self.quiet()).await;
        }
        drop(over);
        self.close().await;
    }

    /// Waits until nothing has moved for [`QUIET`], or the channel has closed.
    async fn quiet(&self) {
        let mut seen = self.moved.load(Ordering::Relaxed);
        while !self.is_closed() {
            sleep(QUIET).await;
            let moved = self.moved.load(Ordering::Relaxed);
            if self.is_idle() && moved == seen {
                return;
            }
            seen = moved;
        }
    }

    /// Waits until all that was sent has been acknowledged, or the channel has closed.
    async fn emptied(&self) {
        while !self.is_closed() && !self.is_idle() {
            sleep(GLANCE).await;
        }
    }

    /// Resolves when the channel has closed, even while received frames wait to be read. If this side closes it, only
    /// when what was sent has been flushed: until then it is not known what was lost.
    pub(crate) async fn ended(&self) -> ChannelClosed {
        let reason = self.sender.closed().await;
        self.closed.store(true, Ordering::Release);
        if reason == ChannelClosed::Local {
            self.sender.close().await;
        }
        self.reason.get_or_init(|| reason).clone()
    }
}

/// Ends a channel's retirement for messages.
struct Over<'a>(&'a watch::Sender<Retirement>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Retirement::Over);
    }
}

struct Sending<'a>(&'a AtomicUsize);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The kind of a frame, for the log.
pub(crate) fn kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Text(_) => "text",
        Frame::Binary(_) => "binary",
    }
}

#[cfg(all(test, feature = "memory"))]
#[path = "channel_tests.rs"]
mod tests;
