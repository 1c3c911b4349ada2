//! A memory transport with one thing wrong.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use async_trait::async_trait;
use p2pt_transport::{
    AddCandidateError, Channel, ChannelClosed, ChannelStats, Fingerprint, Frame, FrameReceiver, FrameSender,
    PendingAnswer, PendingOffer, RemoteCandidates, Role, SendFrameError, Transport, TransportError, TrySendAllError,
    TrySendFrameError, memory::MemoryTransport,
};
use tokio::time::{sleep, timeout};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    AcceptsNotUtf8,
    AcceptsTooLarge,
    CannotOffer,
    ChokesOnForeignLines,
    ClosesOnce,
    ClosesWithHalf,
    CertificatePerConnection,
    ConstantLabel,
    CountsDelivered,
    CountsFrames,
    DeafToTheEnd,
    DropsEmpty,
    DropsUnread,
    FlushesNothing,
    ForgetsFingerprint,
    ForgetsReason,
    HalfDuplex,
    HidesTheEnd,
    KeepsDropped,
    LosesPieces,
    LosesWaiters,
    MixesChannels,
    NeedsCandidatesAtOnce,
    NeverAcknowledges,
    NeverFull,
    OneQueue,
    Reorders,
    RoleSwapped,
    SendsHalf,
    SendsOnCancel,
    SendsWhenClosed,
    ShutdownDoesNothing,
    TakesAnyCandidate,
    TakesNoCandidate,
    TakesOnCancel,
    TextAsBinary,
    Truncates,
    Unbounded,
    VagueErrors,
    WaitsForever,
    WaitsForRoomForever,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

/// What all channels of a transport share.
#[derive(Debug, Default)]
struct Shared {
    queue: tokio::sync::Mutex<()>,
    last: Mutex<Option<Frame>>,
    kept: Mutex<Vec<Arc<dyn FrameSender>>>,
}

#[derive(Debug)]
pub(crate) struct Broken {
    inner: Arc<MemoryTransport>,
    fault: Fault,
    shared: Arc<Shared>,
}

impl Broken {
    pub(crate) fn new(inner: Arc<MemoryTransport>, fault: Fault) -> Arc<Self> {
        Arc::new(Self { inner, fault, shared: Arc::default() })
    }

    fn blur<T>(&self, result: Result<T, TransportError>) -> Result<T, TransportError> {
        result.map_err(
            |error| if self.fault == Fault::VagueErrors { TransportError::Backend(error.into()) } else { error },
        )
    }
}

struct Pending<P: ?Sized> {
    inner: Box<P>,
    fault: Fault,
    shared: Arc<Shared>,
}

impl<P: ?Sized> std::fmt::Debug for Pending<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

#[async_trait]
impl Transport for Broken {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        if self.fault == Fault::CannotOffer {
            return Err(TransportError::SessionFailed);
        }
        let inner = self.inner.offer().await?;
        Ok(Box::new(Pending { inner, fault: self.fault, shared: self.shared.clone() }))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        if self.fault == Fault::ChokesOnForeignLines && offer_sdp.contains("a=p2pt") {
            return Err(TransportError::InvalidSdp("an unknown line".to_owned()));
        }
        let inner = self.blur(self.inner.answer(offer_sdp).await)?;
        Ok(Box::new(Pending { inner, fault: self.fault, shared: self.shared.clone() }))
    }

    async fn shutdown(&self) {
        if self.fault != Fault::ShutdownDoesNothing {
            self.inner.shutdown().await;
        }
    }
}

/// Gives the same answer to whatever is handed over as a candidate.
#[derive(Debug)]
struct Candidates(Result<(), AddCandidateError>);

impl RemoteCandidates for Candidates {
    fn add(&self, _candidate: &str) -> Result<(), AddCandidateError> {
        self.0.clone()
    }
}

fn candidates(fault: Fault, inner: impl FnOnce() -> Arc<dyn RemoteCandidates>) -> Arc<dyn RemoteCandidates> {
    match fault {
        Fault::TakesAnyCandidate => Arc::new(Candidates(Ok(()))),
        Fault::TakesNoCandidate => Arc::new(Candidates(Err(AddCandidateError::Unsupported))),
        _ => inner(),
    }
}

#[async_trait]
impl PendingOffer for Pending<dyn PendingOffer> {
    fn sdp(&self) -> &str {
        self.inner.sdp()
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        candidates(self.fault, || self.inner.remote_candidates())
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        let Self { inner, fault, shared } = *self;
        if fault == Fault::NeedsCandidatesAtOnce && !answer_sdp.contains("a=candidate:") {
            return Err(TransportError::IceFailed { local: "host".to_owned(), remote: "none".to_owned() });
        }
        spoil(inner.open(answer_sdp).await, fault, shared).await
    }
}

#[async_trait]
impl PendingAnswer for Pending<dyn PendingAnswer> {
    fn sdp(&self) -> &str {
        self.inner.sdp()
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        candidates(self.fault, || self.inner.remote_candidates())
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        let Self { inner, fault, shared } = *self;
        spoil(inner.open().await, fault, shared).await
    }
}

async fn spoil(
    opened: Result<Channel, TransportError>,
    fault: Fault,
    shared: Arc<Shared>,
) -> Result<Channel, TransportError> {
    let mut channel = match (opened, fault) {
        (Ok(channel), _) => channel,
        (Err(_), Fault::WaitsForever) => pending().await,
        (Err(error), Fault::VagueErrors) => return Err(TransportError::Backend(error.into())),
        (Err(error), _) => return Err(error),
    };
    match fault {
        Fault::ConstantLabel => channel.info.label = "p2pt".to_owned(),
        Fault::RoleSwapped => channel.info.role = Role::Offerer,
        Fault::CertificatePerConnection => {
            // The label is the same on both sides, and another for each connection.
            let mut bytes = [0; 32];
            bytes.iter_mut().zip(channel.info.label.bytes()).for_each(|(byte, of)| *byte = of);
            (channel.info.local_fingerprint, channel.info.remote_fingerprint) =
                (Some(Fingerprint(bytes)), Some(Fingerprint(bytes)));
        }
        Fault::ForgetsFingerprint => channel.info.remote_fingerprint = None,
        Fault::AcceptsTooLarge => channel.info.max_frame_bytes -= 1,
        Fault::KeepsDropped => lock(&shared.kept).push(channel.sender.clone()),
        _ => {}
    }
    let stalled = Arc::new(AtomicBool::new(false));
    let sender = channel.sender.clone();
    channel.sender = Arc::new(Sender {
        inner: channel.sender,
        fault,
        shared,
        stalled: stalled.clone(),
        held: Mutex::default(),
        waiting: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
    });
    channel.receiver = Box::new(Receiver { inner: channel.receiver, sender, fault, stalled, held: None, ended: false });
    Ok(channel)
}

#[derive(Debug)]
struct Sender {
    inner: Arc<dyn FrameSender>,
    fault: Fault,
    shared: Arc<Shared>,
    stalled: Arc<AtomicBool>,
    held: Mutex<Option<Frame>>,
    waiting: AtomicUsize,
    closed: AtomicBool,
}

impl Sender {
    fn send_or_lose(&self, frame: Frame) -> Result<(), SendFrameError> {
        match self.inner.try_send(frame) {
            Err(TrySendFrameError::Refused(error)) => Err(error),
            Err(TrySendFrameError::Full(_)) | Ok(()) => Ok(()),
            Err(other) => panic!("{other}"),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.fault == Fault::ClosesWithHalf {
            let inner = self.inner.clone();
            tokio::spawn(async move { inner.close().await });
        }
    }
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        match self.fault {
            Fault::AcceptsNotUtf8 if std::str::from_utf8(frame.bytes()).is_err() => Ok(()),
            Fault::DropsEmpty if frame.is_empty() => Ok(()),
            Fault::TextAsBinary => self.inner.send(Frame::Binary(frame.bytes().clone())).await,
            Fault::Truncates => self.inner.send(Frame::Text(frame.bytes().slice(..frame.len().min(65_536)))).await,
            Fault::MixesChannels => {
                let last = lock(&self.shared.last).replace(frame.clone());
                self.inner.send(last.unwrap_or(frame)).await
            }
            Fault::FlushesNothing => {
                let previous = lock(&self.held).replace(frame);
                previous.map_or(Ok(()), |previous| self.send_or_lose(previous))
            }
            Fault::HalfDuplex => {
                self.stalled.store(true, Relaxed);
                let sent = self.inner.send(frame).await;
                self.stalled.store(false, Relaxed);
                sent
            }
            Fault::LosesWaiters => {
                if self.waiting.fetch_add(1, Relaxed) > 0 {
                    return Ok(());
                }
                let sent = self.inner.send(frame).await;
                self.waiting.store(0, Relaxed);
                sent
            }
            Fault::OneQueue => {
                // Held on after a cancelled wait, as a task that sends for several callers would.
                let turn = self.shared.queue.lock().await;
                match self.inner.try_send(frame) {
                    Err(TrySendFrameError::Full(_)) => {
                        std::mem::forget(turn);
                        pending().await
                    }
                    Err(TrySendFrameError::Refused(error)) => Err(error),
                    _ => Ok(()),
                }
            }
            Fault::SendsOnCancel => {
                let held = lock(&self.held).replace(frame.clone());
                if let Some(cancelled) = held {
                    self.inner.send(cancelled).await?;
                }
                self.inner.send(frame).await?;
                lock(&self.held).take();
                Ok(())
            }
            Fault::SendsWhenClosed => self.inner.send(frame).await.or(Ok(())),
            Fault::Unbounded => self.send_or_lose(frame),
            Fault::WaitsForRoomForever => match self.inner.send(frame).await {
                Err(SendFrameError::Closed) => pending().await,
                sent => sent,
            },
            _ => self.inner.send(frame).await,
        }
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        match self.inner.try_send(frame) {
            Err(TrySendFrameError::Full(_)) if self.fault == Fault::NeverFull => Ok(()),
            sent => sent,
        }
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        if self.fault != Fault::SendsHalf {
            return self.inner.try_send_all(frames);
        }
        for frame in frames {
            match self.inner.try_send(frame) {
                Err(TrySendFrameError::Full(_)) => return Err(TrySendAllError::Full),
                Err(TrySendFrameError::Refused(error)) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn unacknowledged_bytes(&self) -> u64 {
        let wrong = match self.fault {
            Fault::NeverAcknowledges => true,
            Fault::CountsDelivered => {
                let closed = pin!(self.inner.closed()).poll(&mut Context::from_waker(Waker::noop()));
                closed.is_ready()
            }
            _ => false,
        };
        self.inner.unacknowledged_bytes() + u64::from(wrong)
    }

    async fn close(&self) {
        if self.closed.swap(true, Relaxed) && self.fault == Fault::ClosesOnce {
            pending().await
        }
        self.inner.close().await;
    }

    async fn closed(&self) -> ChannelClosed {
        if self.fault == Fault::HidesTheEnd {
            return pending().await;
        }
        self.inner.closed().await
    }

    async fn stats(&self) -> ChannelStats {
        let mut stats = self.inner.stats().await;
        if self.fault == Fault::CountsFrames {
            stats.bytes_sent = 2;
        }
        stats
    }
}

#[derive(Debug)]
struct Receiver {
    inner: Box<dyn FrameReceiver>,
    sender: Arc<dyn FrameSender>,
    fault: Fault,
    stalled: Arc<AtomicBool>,
    held: Option<Frame>,
    ended: bool,
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        if let Some(held) = self.held.take() {
            return Ok(held);
        }
        match self.fault {
            Fault::DeafToTheEnd => match self.inner.recv().await {
                Ok(frame) => Ok(frame),
                Err(_) => pending().await,
            },
            Fault::DropsUnread => match timeout(Duration::ZERO, self.sender.closed()).await {
                Ok(reason) => Err(reason),
                Err(_) => self.inner.recv().await,
            },
            Fault::ForgetsReason => self.inner.recv().await.map_err(|reason| {
                let again = std::mem::replace(&mut self.ended, true);
                if again { ChannelClosed::Failed("no idea".to_owned()) } else { reason }
            }),
            Fault::HalfDuplex if self.stalled.load(Relaxed) => pending().await,
            Fault::LosesPieces => {
                let frame = self.inner.recv().await?;
                // Put together in here, a piece each time the receiver is woken.
                for _ in 1..frame.len().div_ceil(16 * 1024) {
                    tokio::task::yield_now().await;
                }
                Ok(frame)
            }
            Fault::Reorders => {
                let first = self.inner.recv().await?;
                match timeout(Duration::ZERO, self.inner.recv()).await {
                    Ok(Ok(second)) => {
                        self.held = Some(first);
                        Ok(second)
                    }
                    _ => Ok(first),
                }
            }
            Fault::TakesOnCancel => {
                let frame = self.inner.recv().await;
                sleep(Duration::from_millis(1)).await;
                frame
            }
            _ => self.inner.recv().await,
        }
    }
}
