//! The memory transport as a browser would have it: without back-pressure; and with one thing wrong about that.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use async_trait::async_trait;
use p2pt_transport::{
    Capabilities, Channel, ChannelClosed, ChannelStats, Frame, FrameReceiver, FrameSender, PendingAnswer, PendingOffer,
    RemoteCandidates, SendFrameError, Transport, TransportError, TrySendAllError, TrySendFrameError,
    memory::MemoryTransport,
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

/// More than a memory channel holds on its way, so that only a reader that stalls brings it to the limit.
const MAX_BYTES: usize = 8 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It holds whatever comes.
    HoldsEverything,
    /// It drops what does not fit, and goes on.
    LeavesAGap,
    /// It ends for another reason than it should say.
    SaysFailed,
    /// It drops what it held.
    DropsHeld,
    /// It stops taking and leaves the other side alone.
    KeepsOpen,
}

#[derive(Debug)]
pub(crate) struct Unwaiting {
    inner: Arc<MemoryTransport>,
    flaw: Flaw,
}

impl Unwaiting {
    pub(crate) fn new(inner: Arc<MemoryTransport>, flaw: Flaw) -> Arc<Self> {
        Arc::new(Self { inner, flaw })
    }
}

#[async_trait]
impl Transport for Unwaiting {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        Ok(Box::new(Pending { inner: self.inner.offer().await?, flaw: self.flaw }))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        Ok(Box::new(Pending { inner: self.inner.answer(offer_sdp).await?, flaw: self.flaw }))
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.back_pressure = false;
        capabilities
    }
}

#[derive(Debug)]
struct Pending<P: ?Sized> {
    flaw: Flaw,
    inner: Box<P>,
}

#[async_trait]
impl PendingOffer for Pending<dyn PendingOffer> {
    fn sdp(&self) -> &str {
        self.inner.sdp()
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        self.inner.remote_candidates()
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        Ok(wrap(self.inner.open(answer_sdp).await?, self.flaw))
    }
}

#[async_trait]
impl PendingAnswer for Pending<dyn PendingAnswer> {
    fn sdp(&self) -> &str {
        self.inner.sdp()
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        self.inner.remote_candidates()
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        Ok(wrap(self.inner.open().await?, self.flaw))
    }
}

/// What arrives, taken from the channel at once.
#[derive(Debug)]
struct Taken {
    frames: Mutex<VecDeque<Frame>>,
    arrived: Notify,
    reason: watch::Sender<Option<ChannelClosed>>,
}

impl Taken {
    fn frames(&self) -> MutexGuard<'_, VecDeque<Frame>> {
        self.frames.lock().expect("no holder panics")
    }

    fn end(&self, reason: ChannelClosed) {
        self.reason.send_replace(Some(reason));
        self.arrived.notify_one();
    }
}

/// Both halves have it: with the last of them goes the task that takes, and its half of the channel.
#[derive(Debug)]
struct Taking(AbortHandle);

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn take(mut from: Box<dyn FrameReceiver>, sender: Weak<dyn FrameSender>, taken: Arc<Taken>, flaw: Flaw) {
    let mut held = 0;
    loop {
        let frame = match from.recv().await {
            Ok(frame) => frame,
            Err(reason) => return taken.end(reason),
        };
        // The reader's half is dropped with its frames, so that this counts what is unread.
        held = if taken.frames().is_empty() { 0 } else { held } + frame.len();
        if held <= MAX_BYTES || flaw == Flaw::HoldsEverything {
            taken.frames().push_back(frame);
            taken.arrived.notify_one();
            continue;
        }
        match flaw {
            Flaw::LeavesAGap => continue,
            Flaw::SaysFailed => taken.end(ChannelClosed::Failed("too much".to_owned())),
            Flaw::DropsHeld => taken.frames().clear(),
            _ => {}
        }
        if flaw != Flaw::SaysFailed {
            taken.end(ChannelClosed::Overflow { max_bytes: MAX_BYTES });
        }
        if flaw != Flaw::KeepsOpen
            && let Some(sender) = sender.upgrade()
        {
            sender.close().await;
        }
        std::future::pending::<()>().await;
    }
}

fn wrap(channel: Channel, flaw: Flaw) -> Channel {
    let Channel { info, sender, receiver } = channel;
    let taken = Arc::new(Taken { frames: Mutex::default(), arrived: Notify::new(), reason: watch::Sender::new(None) });
    let task = tokio::spawn(take(receiver, Arc::downgrade(&sender), taken.clone(), flaw));
    let taking = Arc::new(Taking(task.abort_handle()));
    let sender = Sender { inner: sender, taken: taken.clone(), _taking: taking.clone() };
    Channel { info, sender: Arc::new(sender), receiver: Box::new(Receiver { taken, _taking: taking }) }
}

#[derive(Debug)]
struct Sender {
    inner: Arc<dyn FrameSender>,
    taken: Arc<Taken>,
    _taking: Arc<Taking>,
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        self.inner.send(frame).await
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        self.inner.try_send(frame)
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        self.inner.try_send_all(frames)
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.inner.unacknowledged_bytes()
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn closed(&self) -> ChannelClosed {
        let mut reason = self.taken.reason.subscribe();
        let known = reason.wait_for(Option::is_some).await.expect("this half has the other end");
        known.clone().expect("it was waited for")
    }

    async fn stats(&self) -> ChannelStats {
        self.inner.stats().await
    }
}

#[derive(Debug)]
struct Receiver {
    taken: Arc<Taken>,
    _taking: Arc<Taking>,
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        loop {
            let reason = self.taken.reason.borrow().clone();
            if let Some(frame) = self.taken.frames().pop_front() {
                return Ok(frame);
            }
            if let Some(reason) = reason {
                return Err(reason);
            }
            self.taken.arrived.notified().await;
        }
    }
}
