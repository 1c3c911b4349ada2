//! One connection: its task, and the two halves of the channel.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use p2pt_transport::{
    Channel, ChannelClosed, ChannelInfo, ChannelStats, Frame, FrameReceiver, FrameSender, Role, SendFrameError,
    TransportError, TrySendAllError, TrySendFrameError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How long a connection may take to open, an answer's from its making.
const OPEN: Duration = Duration::from_secs(1);
/// How long a close waits for the other side to take what was sent and to hang up too.
const FLUSH: Duration = Duration::from_millis(500);
const MAX_FRAME_BYTES: usize = 64 * 1024;
/// How many frames may be on their way to the other side's reader; with the size above, 1 MiB.
const WINDOW: usize = 16;

/// What is written to the other side, each with its first byte.
#[derive(Debug)]
enum Item {
    Frame(Frame),
    /// The reader has taken a frame of so many bytes, which makes room for another.
    Taken(u32),
}

const TEXT: u8 = 0;
const BINARY: u8 = 1;
const TAKEN: u8 = 2;

/// What both sides' frames have come to.
#[derive(Debug)]
struct Account {
    /// How many more frames the other side has room for.
    window: Semaphore,
    unacknowledged: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// What both halves of a channel hold; the last one to go closes it.
#[derive(Debug)]
struct Handle {
    outgoing: mpsc::Sender<Item>,
    closing: CancellationToken,
    ended: watch::Receiver<Option<ChannelClosed>>,
    account: Arc<Account>,
    _closes: DropGuard,
}

impl Handle {
    async fn ended(&self) -> ChannelClosed {
        let mut ended = self.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| ChannelClosed::Failed("the connection's task is gone".to_owned()))
    }
}

/// A connection that has its task and may not be open yet. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    handle: Handle,
    incoming: mpsc::Receiver<Frame>,
    opened: oneshot::Receiver<Result<(), TransportError>>,
    down: CancellationToken,
}

impl Connection {
    pub(crate) fn start(
        down: &CancellationToken,
        tasks: &TaskTracker,
        connect: impl Future<Output = Result<TcpStream, TransportError>> + Send + 'static,
    ) -> Self {
        let closing = down.child_token();
        // Room for a whole window of frames, and for saying that a whole window has been taken.
        let (outgoing, to_send) = mpsc::channel(2 * WINDOW);
        let (received, incoming) = mpsc::channel(WINDOW);
        let (opens, opened) = oneshot::channel();
        let (ends, ended) = watch::channel(None);
        let (unacknowledged, sent, got) = Default::default();
        let account = Arc::new(Account { window: Semaphore::new(WINDOW), unacknowledged, sent, received: got });
        let wire = Wire { closing: closing.clone(), to_send, received, account: account.clone() };
        let shut_down = down.clone();
        tasks.spawn(async move {
            let connected = match wire.closing.run_until_cancelled(timeout(OPEN, connect)).await {
                Some(Ok(connected)) => connected,
                Some(Err(_)) => Err(TransportError::Timeout { step: "opening the channel", after: OPEN }),
                None => Err(TransportError::ClosedEarly),
            };
            let reason = match connected {
                Ok(stream) => {
                    // Without a receiver the connection is closing already.
                    let _ = opens.send(Ok(()));
                    wire.carry(stream).await
                }
                Err(error) => {
                    let reason = ChannelClosed::Failed(error.to_string());
                    let _ = opens.send(Err(error));
                    reason
                }
            };
            ends.send_replace(Some(if shut_down.is_cancelled() { ChannelClosed::ShutDown } else { reason }));
        });
        let handle = Handle { outgoing, closing: closing.clone(), ended, account, _closes: closing.drop_guard() };
        Self { handle, incoming, opened, down: down.clone() }
    }

    pub(crate) async fn open(self, label: String, role: Role) -> Result<Channel, TransportError> {
        let opened = self.opened.await.unwrap_or(Err(TransportError::ClosedEarly));
        if self.down.is_cancelled() {
            return Err(TransportError::ShutDown);
        }
        opened?;
        let handle = Arc::new(self.handle);
        Ok(Channel {
            info: ChannelInfo::new(label, role, MAX_FRAME_BYTES),
            sender: Arc::new(Sender { handle: handle.clone() }),
            receiver: Box::new(Receiver { handle, incoming: self.incoming }),
        })
    }
}

/// The task's end of everything.
struct Wire {
    closing: CancellationToken,
    to_send: mpsc::Receiver<Item>,
    received: mpsc::Sender<Frame>,
    account: Arc<Account>,
}

impl Wire {
    /// Carries frames until one side hangs up. The side that closes sends what it has, hangs up, and reads on until the
    /// other has done the same: only then has the other side certainly received everything.
    async fn carry(self, stream: TcpStream) -> ChannelClosed {
        let Self { closing, mut to_send, received, account } = self;
        // Without it a small frame waits for the previous one's acknowledgement; it works all the same.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let writing = async {
            match write_frames(write, &mut to_send, &closing).await {
                Ok(()) => pending().await,
                Err(error) => error,
            }
        };
        let flush_deadline = async {
            closing.cancelled().await;
            sleep(FLUSH).await;
        };
        let reason = select! {
            biased;
            end = read_frames(read, &received, &account) => match end {
                Ok(()) => ChannelClosed::Remote,
                Err(error) => ChannelClosed::Failed(error.to_string()),
            },
            error = writing => ChannelClosed::Failed(error.to_string()),
            () = flush_deadline => ChannelClosed::Local,
        };
        if closing.is_cancelled() { ChannelClosed::Local } else { reason }
    }
}

async fn write_frames(
    write: OwnedWriteHalf,
    to_send: &mut mpsc::Receiver<Item>,
    closing: &CancellationToken,
) -> io::Result<()> {
    let mut write = BufWriter::new(write);
    loop {
        let item = select! {
            biased;
            () = closing.cancelled(), if !to_send.is_closed() => {
                to_send.close();
                continue;
            }
            item = to_send.recv() => item,
        };
        match item {
            Some(Item::Frame(frame)) => {
                write.write_u8(if matches!(frame, Frame::Text(_)) { TEXT } else { BINARY }).await?;
                write.write_u32(frame.len() as u32).await?;
                write.write_all(frame.bytes()).await?;
            }
            Some(Item::Taken(bytes)) => {
                write.write_u8(TAKEN).await?;
                write.write_u32(bytes).await?;
            }
            None => return write.shutdown().await,
        }
        if to_send.is_empty() {
            write.flush().await?;
        }
    }
}

async fn read_frames(read: OwnedReadHalf, received: &mpsc::Sender<Frame>, account: &Account) -> io::Result<()> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut read = BufReader::new(read);
    loop {
        let kind = match read.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            kind => kind?,
        };
        let bytes = read.read_u32().await?;
        if kind == TAKEN {
            let before = account.unacknowledged.fetch_sub(u64::from(bytes), Relaxed);
            if before < u64::from(bytes) || account.window.available_permits() >= WINDOW {
                return Err(invalid("more was taken than sent"));
            }
            account.window.add_permits(1);
            continue;
        }
        if kind > TAKEN || bytes as usize > MAX_FRAME_BYTES {
            return Err(invalid("not a frame"));
        }
        let mut payload = vec![0; bytes as usize];
        read.read_exact(&mut payload).await?;
        account.received.fetch_add(u64::from(bytes), Relaxed);
        let frame = if kind == TEXT { Frame::Text(payload.into()) } else { Frame::binary(payload) };
        // It never waits, so that the end is seen even if frames are not read. With the reader gone, frames are dropped.
        if let Err(mpsc::error::TrySendError::Full(_)) = received.try_send(frame) {
            return Err(invalid("more frames than the window allows"));
        }
    }
}

#[derive(Debug)]
struct Sender {
    handle: Arc<Handle>,
}

impl Sender {
    fn check(frame: &Frame) -> Result<(), SendFrameError> {
        match frame {
            frame if frame.len() > MAX_FRAME_BYTES => {
                Err(SendFrameError::TooLarge { bytes: frame.len(), max: MAX_FRAME_BYTES })
            }
            Frame::Text(text) if std::str::from_utf8(text).is_err() => Err(SendFrameError::NotUtf8),
            _ => Ok(()),
        }
    }

    /// Hands over a frame there is room for.
    fn put(&self, frame: Frame) -> Result<(), SendFrameError> {
        let bytes = frame.len() as u64;
        self.handle.account.unacknowledged.fetch_add(bytes, Relaxed);
        let put = self.handle.outgoing.try_send(Item::Frame(frame));
        put.map_err(|_| SendFrameError::Closed)?;
        self.handle.account.sent.fetch_add(bytes, Relaxed);
        Ok(())
    }
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        Self::check(&frame)?;
        select! {
            biased;
            () = self.handle.closing.cancelled() => return Err(SendFrameError::Closed),
            _ = self.handle.ended() => return Err(SendFrameError::Closed),
            // The other side gives the room back.
            room = self.handle.account.window.acquire() => room.map_err(|_| SendFrameError::Closed)?.forget(),
        }
        self.put(frame)
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        Self::check(&frame)?;
        if self.handle.closing.is_cancelled() || self.handle.outgoing.is_closed() {
            return Err(SendFrameError::Closed.into());
        }
        match self.handle.account.window.try_acquire() {
            Ok(room) => room.forget(),
            Err(_) => return Err(TrySendFrameError::Full(frame)),
        }
        Ok(self.put(frame)?)
    }

    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        frames.iter().try_for_each(Self::check)?;
        if self.handle.closing.is_cancelled() || self.handle.outgoing.is_closed() {
            return Err(SendFrameError::Closed.into());
        }
        if frames.len() > WINDOW {
            return Err(TrySendAllError::NeverFits);
        }
        match self.handle.account.window.try_acquire_many(frames.len() as u32) {
            Ok(room) => room.forget(),
            Err(_) => return Err(TrySendAllError::Full),
        }
        Ok(frames.into_iter().try_for_each(|frame| self.put(frame))?)
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.handle.account.unacknowledged.load(Relaxed)
    }

    async fn close(&self) {
        self.handle.closing.cancel();
        self.handle.ended().await;
    }

    async fn closed(&self) -> ChannelClosed {
        self.handle.ended().await
    }

    async fn stats(&self) -> ChannelStats {
        let mut stats = ChannelStats::default();
        stats.bytes_sent = self.handle.account.sent.load(Relaxed);
        stats.bytes_received = self.handle.account.received.load(Relaxed);
        stats
    }
}

#[derive(Debug)]
struct Receiver {
    handle: Arc<Handle>,
    incoming: mpsc::Receiver<Frame>,
}

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        match self.incoming.recv().await {
            Some(frame) => {
                // An error is the connection having ended, which is reported after the last frame.
                let _ = self.handle.outgoing.try_send(Item::Taken(frame.len() as u32));
                Ok(frame)
            }
            None => Err(self.handle.ended().await),
        }
    }
}
