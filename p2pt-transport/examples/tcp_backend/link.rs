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
    Channel, ChannelClosed, ChannelInfo, Frame, FrameReceiver, FrameSender, LinkStats, Role, SendFrameError,
    TransportError, TrySendFrameError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    sync::{mpsc, oneshot, watch},
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
/// How many frames wait on either side; with the size above, 1 MiB each.
const QUEUE: usize = 16;

#[derive(Debug, Default)]
struct Counters {
    waiting: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// What both halves of a channel hold; the last one to go closes it.
#[derive(Debug)]
struct Handle {
    outgoing: mpsc::Sender<Frame>,
    closing: CancellationToken,
    ended: watch::Receiver<Option<ChannelClosed>>,
    counters: Arc<Counters>,
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
pub(crate) struct Link {
    handle: Handle,
    incoming: mpsc::Receiver<Frame>,
    opened: oneshot::Receiver<Result<(), TransportError>>,
    down: CancellationToken,
}

impl Link {
    pub(crate) fn start(
        down: &CancellationToken,
        tasks: &TaskTracker,
        connect: impl Future<Output = Result<TcpStream, TransportError>> + Send + 'static,
    ) -> Self {
        let closing = down.child_token();
        let (outgoing, to_send) = mpsc::channel(QUEUE);
        let (received, incoming) = mpsc::channel(QUEUE);
        let (opens, opened) = oneshot::channel();
        let (ends, ended) = watch::channel(None);
        let counters = Arc::<Counters>::default();
        let wire = Wire { closing: closing.clone(), to_send, received, counters: counters.clone() };
        let shut_down = down.clone();
        tasks.spawn(async move {
            let connected = match wire.closing.run_until_cancelled(timeout(OPEN, connect)).await {
                Some(Ok(connected)) => connected,
                Some(Err(_)) => Err(TransportError::Deadline { step: "opening the channel", after: OPEN }),
                None => Err(TransportError::ClosedEarly),
            };
            let reason = match connected {
                Ok(stream) => {
                    // Nobody may be left to hear it; then the link is closing already.
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
        let handle = Handle { outgoing, closing: closing.clone(), ended, counters, _closes: closing.drop_guard() };
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
    to_send: mpsc::Receiver<Frame>,
    received: mpsc::Sender<Frame>,
    counters: Arc<Counters>,
}

impl Wire {
    /// Carries frames until one side hangs up. The side that closes sends what it has, hangs up, and reads on until the
    /// other has done the same: only then is it sure to have been heard.
    async fn carry(self, stream: TcpStream) -> ChannelClosed {
        let Self { closing, mut to_send, received, counters } = self;
        // Without it a small frame waits for the previous one's acknowledgement; it works all the same.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let writing = async {
            match write_frames(write, &mut to_send, &closing, &counters).await {
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
            end = read_frames(read, &received, &closing, &counters) => match end {
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
    to_send: &mut mpsc::Receiver<Frame>,
    closing: &CancellationToken,
    counters: &Counters,
) -> io::Result<()> {
    let mut write = BufWriter::new(write);
    loop {
        let frame = select! {
            biased;
            () = closing.cancelled(), if !to_send.is_closed() => {
                to_send.close();
                continue;
            }
            frame = to_send.recv() => frame,
        };
        let Some(frame) = frame else { return write.shutdown().await };
        write.write_u8(u8::from(matches!(frame, Frame::Binary(_)))).await?;
        write.write_u32(frame.len() as u32).await?;
        write.write_all(frame.bytes()).await?;
        if to_send.is_empty() {
            write.flush().await?;
        }
        counters.waiting.fetch_sub(frame.len() as u64, Relaxed);
    }
}

async fn read_frames(
    read: OwnedReadHalf,
    received: &mpsc::Sender<Frame>,
    closing: &CancellationToken,
    counters: &Counters,
) -> io::Result<()> {
    let mut read = BufReader::new(read);
    loop {
        let kind = match read.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            kind => kind?,
        };
        let bytes = read.read_u32().await? as usize;
        if kind > 1 || bytes > MAX_FRAME_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame"));
        }
        let mut payload = vec![0; bytes];
        read.read_exact(&mut payload).await?;
        counters.received.fetch_add(bytes as u64, Relaxed);
        let frame = if kind == 0 { Frame::Text(payload.into()) } else { Frame::binary(payload) };
        select! {
            // A side that has closed wants no more frames, and must not wait for its reader.
            () = closing.cancelled() => {}
            // An error is the receiving half having been dropped: nobody wants the frame.
            _ = received.send(frame) => {}
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

    fn put(&self, room: mpsc::Permit<'_, Frame>, frame: Frame) {
        self.handle.counters.waiting.fetch_add(frame.len() as u64, Relaxed);
        self.handle.counters.sent.fetch_add(frame.len() as u64, Relaxed);
        room.send(frame);
    }
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        Self::check(&frame)?;
        let room = select! {
            biased;
            () = self.handle.closing.cancelled() => return Err(SendFrameError::Closed),
            room = self.handle.outgoing.reserve() => room.map_err(|_| SendFrameError::Closed)?,
        };
        self.put(room, frame);
        Ok(())
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        Self::check(&frame)?;
        if self.handle.closing.is_cancelled() {
            return Err(SendFrameError::Closed.into());
        }
        match self.handle.outgoing.try_reserve() {
            Ok(room) => self.put(room, frame),
            Err(mpsc::error::TrySendError::Full(())) => return Err(TrySendFrameError::Full(frame)),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(SendFrameError::Closed.into()),
        }
        Ok(())
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.handle.counters.waiting.load(Relaxed)
    }

    async fn close(&self) {
        self.handle.closing.cancel();
        self.handle.ended().await;
    }

    async fn closed(&self) -> ChannelClosed {
        self.handle.ended().await
    }

    async fn stats(&self) -> LinkStats {
        let mut stats = LinkStats::default();
        stats.bytes_sent = self.handle.counters.sent.load(Relaxed);
        stats.bytes_received = self.handle.counters.received.load(Relaxed);
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
            Some(frame) => Ok(frame),
            None => Err(self.handle.ended().await),
        }
    }
}
