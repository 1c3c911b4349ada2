//! The streams of one swarm: a task for each, which reads and writes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pt::{Peer, PeerId, PeerStream, StreamError, StreamReader, StreamWriter, Urgency};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::check;
use super::event::{Event, Metadata};
use super::failure::Failure;
use super::output::{EmitError, SwarmOutput};

/// Bytes that may wait to be written to one stream; a larger piece waits alone.
const MAX_WAITING_BYTES: usize = 8 << 20;

/// Pieces that may wait to be written to one stream.
const MAX_WAITING: usize = 1024;

/// Streams of one swarm that commands may have open or opening. Those that peers open are bounded by their sessions.
const MAX_STREAMS: usize = 8192;

/// The streams of a swarm, and the tasks that read and write them. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The number of the last one.
    last: u64,
    open: HashMap<u64, Handle>,
    tasks: JoinSet<Result<(), EmitError>>,
}

/// The way to the task of a stream.
#[derive(Debug)]
struct Handle {
    writes: mpsc::Sender<Write>,
    room: Arc<Semaphore>,
    /// The code with which what is written is to be reset.
    reset: watch::Sender<Option<u64>>,
    /// The code with which reading is to stop.
    stop: watch::Sender<Option<u64>>,
}

/// The other end of a [`Handle`].
struct Wanted {
    writes: mpsc::Receiver<Write>,
    reset: watch::Receiver<Option<u64>>,
    stop: watch::Receiver<Option<u64>>,
}

/// What is to be done to the written half, in order.
#[derive(Debug)]
struct Write {
    tag: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// With their part of the room, until the session has them.
    Bytes(Vec<u8>, OwnedSemaphorePermit),
    Finish,
}

/// A stream as events name it.
struct Named<'a> {
    output: &'a SwarmOutput,
    peer: PeerId,
    stream: u64,
}

impl Streams {
    /// Opens a stream, and says so under this tag once it is open.
    ///
    /// # Errors
    /// There are too many; what a task has come to is the outer error.
    pub(super) fn open(
        &self,
        output: &SwarmOutput,
        peer: &Peer,
        (metadata, urgency): (Vec<u8>, Urgency),
        tag: Option<String>,
    ) -> Result<(), Failure> {
        let mut state = self.lock();
        if state.tasks.len() >= MAX_STREAMS {
            return Err(Failure::new("queue_full", format!("{MAX_STREAMS} streams are open already")));
        }
        let (streams, output, peer) = (self.clone(), output.clone(), peer.clone());
        state.tasks.spawn(async move {
            match peer.open_stream_with(metadata, urgency).await {
                Ok(opened) => {
                    let (stream, wanted) = streams.register();
                    let named = Named { output: &output, peer: peer.id(), stream };
                    output.emit(&Event::StreamOpened { peer: peer.id(), stream, tag: tag.as_deref() }).await?;
                    streams.run(named, opened, wanted).await
                }
                Err(error) => output.emit(&Event::failed(peer.id(), tag, error.into())).await,
            }
        });
        Ok(())
    }

    /// Reports a stream that a peer has opened.
    pub(super) async fn accept(&self, output: &SwarmOutput, opened: PeerStream) -> Result<(), EmitError> {
        self.tidy()?;
        let (peer, (stream, wanted)) = (opened.peer().id(), self.register());
        let (metadata, urgency) = (Metadata::from(&opened.metadata()[..]), opened.urgency().get());
        output.emit(&Event::Stream { peer, stream, metadata, urgency }).await?;
        let (streams, output) = (self.clone(), output.clone());
        self.lock().tasks.spawn(async move {
            let named = Named { output: &output, peer, stream };
            streams.run(named, opened, wanted).await
        });
        Ok(())
    }

    /// Queues bytes for a stream.
    ///
    /// # Errors
    /// There is no such stream, this half has ended, or too much waits already.
    pub(super) fn write(&self, stream: u64, bytes: Vec<u8>, tag: Option<String>) -> Result<(), Failure> {
        self.with(stream, |handle| {
            let permits = u32::try_from(bytes.len().min(MAX_WAITING_BYTES)).unwrap_or(u32::MAX);
            let room = handle.room.clone().try_acquire_many_owned(permits).map_err(|_| full())?;
            handle.queue(Write { tag, what: What::Bytes(bytes, room) })
        })
    }

    /// Ends what is written, after what was queued before.
    ///
    /// # Errors
    /// The errors of [`write`](Self::write).
    pub(super) fn finish(&self, stream: u64, tag: Option<String>) -> Result<(), Failure> {
        self.with(stream, |handle| handle.queue(Write { tag, what: What::Finish }))
    }

    /// Ends what is written at once.
    ///
    /// # Errors
    /// There is no such stream.
    pub(super) fn reset(&self, stream: u64, code: u64) -> Result<(), Failure> {
        self.with(stream, |handle| {
            handle.reset.send_replace(Some(code));
            Ok(())
        })
    }

    /// Reads no more.
    ///
    /// # Errors
    /// There is no such stream.
    pub(super) fn stop(&self, stream: u64, code: u64) -> Result<(), Failure> {
        self.with(stream, |handle| {
            handle.stop.send_replace(Some(code));
            Ok(())
        })
    }

    /// # Errors
    /// What a task has come to.
    pub(super) fn tidy(&self) -> Result<(), EmitError> {
        let mut state = self.lock();
        while let Some(ended) = state.tasks.try_join_next() {
            check(ended)?;
        }
        Ok(())
    }

    /// Waits until everything is said; the peers must be gone.
    pub(super) async fn wind_up(&self) -> Result<(), EmitError> {
        let mut tasks = {
            let mut state = self.lock();
            state.open.clear();
            std::mem::take(&mut state.tasks)
        };
        while let Some(ended) = tasks.join_next().await {
            check(ended)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, stream: u64, act: impl FnOnce(&Handle) -> Result<(), Failure>) -> Result<(), Failure> {
        let state = self.lock();
        let handle = state.open.get(&stream);
        act(handle.ok_or_else(|| Failure::new("no_such_stream", format!("stream {stream} is not open")))?)
    }

    fn register(&self) -> (u64, Wanted) {
        let (queue, writes) = mpsc::channel(MAX_WAITING);
        let ((reset, to_reset), (stop, to_stop)) = (watch::channel(None), watch::channel(None));
        let handle = Handle { writes: queue, room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)), reset, stop };
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.open.insert(number, handle);
        (number, Wanted { writes, reset: to_reset, stop: to_stop })
    }

    /// Reads and writes a stream until both halves have ended.
    async fn run(&self, named: Named<'_>, stream: PeerStream, wanted: Wanted) -> Result<(), EmitError> {
        let (reader, writer) = stream.into_split();
        let Wanted { writes, reset, stop } = wanted;
        let (read, written) = tokio::join!(named.read(reader, stop), named.write(writer, writes, reset));
        self.lock().open.remove(&named.stream);
        read.and(written)
    }
}

impl Handle {
    fn queue(&self, write: Write) -> Result<(), Failure> {
        self.writes.try_send(write).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => full(),
            mpsc::error::TrySendError::Closed(_) => StreamError::Ended.into(),
        })
    }
}

fn full() -> Failure {
    Failure::new("queue_full", "as much waits to be written to the stream as may")
}

/// A code that is wanted; `None` if none will be.
async fn code(wanted: &mut watch::Receiver<Option<u64>>) -> Option<u64> {
    wanted.wait_for(Option::is_some).await.ok().and_then(|code| *code)
}

impl Named<'_> {
    /// Says what is read. While the output takes nothing, the stream is not read, which holds back its writer.
    async fn read(&self, mut reader: StreamReader, mut stop: watch::Receiver<Option<u64>>) -> Result<(), EmitError> {
        let Self { output, peer, stream } = *self;
        loop {
            let chunk = tokio::select! {
                biased;
                Some(code) = code(&mut stop) => {
                    reader.stop(code);
                    return Ok(());
                }
                chunk = reader.chunk() => chunk,
            };
            let event = match chunk {
                Ok(Some(bytes)) => {
                    output.emit(&Event::StreamData { peer, stream, base64: &bytes }).await?;
                    continue;
                }
                Ok(None) => Event::StreamEnd { peer, stream },
                Err(StreamError::Reset(code)) => Event::StreamReset { peer, stream, code },
                Err(error) => Event::StreamFailed { peer, stream, error: error.to_string() },
            };
            return output.emit(&event).await;
        }
    }

    /// Carries out what is to be written, and says what becomes of what bears a tag.
    async fn write(
        &self,
        mut writer: StreamWriter,
        mut writes: mpsc::Receiver<Write>,
        mut reset: watch::Receiver<Option<u64>>,
    ) -> Result<(), EmitError> {
        let end = loop {
            tokio::select! {
                biased;
                Some(code) = code(&mut reset) => {
                    writer.reset(code);
                    break StreamError::Ended;
                }
                next = writes.recv() => {
                    // The swarm is left when there will be no more.
                    let Some(Write { tag, what }) = next else { return Ok(()) };
                    let is_end = matches!(what, What::Finish);
                    let done = tokio::select! {
                        biased;
                        Some(code) = code(&mut reset) => {
                            writer.reset(code);
                            Err(StreamError::Ended)
                        }
                        done = carry_out(&mut writer, what, tag.is_some()) => done,
                    };
                    self.done(tag, is_end, &done).await?;
                    match done {
                        Ok(()) if is_end => break StreamError::Ended,
                        Ok(()) => {}
                        Err(error) => break error,
                    }
                }
            }
        };
        if let StreamError::Stopped(code) = end {
            self.output.emit(&Event::StreamStopped { peer: self.peer, stream: self.stream, code }).await?;
        }
        writes.close();
        while let Some(Write { tag, what: _ }) = writes.recv().await {
            self.done(tag, false, &Err(end.clone())).await?;
        }
        Ok(())
    }

    async fn done(&self, tag: Option<String>, is_end: bool, done: &Result<(), StreamError>) -> Result<(), EmitError> {
        let Self { output, peer, stream } = *self;
        match (done, tag.as_deref()) {
            (Ok(()), Some(tag)) if is_end => output.emit(&Event::StreamAcknowledged { peer, stream, tag }).await,
            (Ok(()), Some(tag)) => output.emit(&Event::StreamWritten { peer, stream, tag }).await,
            (Err(error), Some(_)) => output.emit(&Event::failed(peer, tag, error.clone().into())).await,
            (_, None) => Ok(()),
        }
    }
}

/// Writes bytes, or ends the half; and waits then, if that is to be said, until the other side has everything.
async fn carry_out(writer: &mut StreamWriter, what: What, is_awaited: bool) -> Result<(), StreamError> {
    match what {
        What::Bytes(bytes, _room) => writer.write_bytes(bytes).await,
        What::Finish => {
            writer.finish();
            if is_awaited { writer.acknowledged().await } else { Ok(()) }
        }
    }
}
