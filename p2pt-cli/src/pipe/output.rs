//! The one writer of standard output.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use p2pt::{InfoHash, PeerId};
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::event::Event;
use super::failure::Failure;

/// Bytes that may wait to be written; a longer line waits alone.
const MAX_WAITING_BYTES: usize = 8 << 20;

/// Lines that may wait to be written.
const MAX_WAITING: usize = 1024;

/// Small lines are written together, up to so many bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// How long an event that answers a command may wait while the output is not read.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Why an event was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmitError {
    /// The reader is gone.
    #[error("standard output is closed")]
    Closed,
    #[error("an event is no JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Hands lines to the writer. Clones share it; it ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Output {
    lines: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Waiting {
    line: Vec<u8>,
    /// Given back when the line has been written.
    _room: OwnedSemaphorePermit,
}

impl Output {
    /// Starts the writer, on a thread of its own, since writing to a pipe that is not read blocks.
    pub(super) fn start(out: impl Write + Send + 'static) -> (Self, JoinHandle<io::Result<()>>) {
        let (lines, waiting) = mpsc::channel(MAX_WAITING);
        let writer = tokio::task::spawn_blocking(move || write(out, waiting));
        (Self { lines, room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)) }, writer)
    }

    /// Writes an event, waiting while too much else waits to be written. Cancel-safe: the line is whole or absent.
    pub(super) async fn emit(&self, event: &Event<'_>) -> Result<(), EmitError> {
        self.emit_line(event.to_line(None)?).await
    }

    async fn emit_line(&self, line: Vec<u8>) -> Result<(), EmitError> {
        let bytes = u32::try_from(line.len().min(MAX_WAITING_BYTES)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(bytes).await.map_err(|_| EmitError::Closed)?;
        self.lines.send(Waiting { line, _room: room }).await.map_err(|_| EmitError::Closed)
    }

    /// Writes the answer to a command; drops it when the output is not read for so long that the commands behind it,
    /// perhaps a stop, would not be reached.
    pub(super) async fn answer(&self, event: &Event<'_>) -> Result<(), EmitError> {
        in_time(event, self.emit(event)).await
    }

    /// Answers that something failed.
    pub(super) async fn complain(&self, tag: Option<String>, error: String) -> Result<(), EmitError> {
        self.answer(&Event::Error { tag, peer: None, code: None, error }).await
    }

    /// Resolves when the writer has ended, which it does while there is an `Output` only if it cannot write.
    pub(super) async fn closed(&self) {
        self.lines.closed().await;
    }
}

/// Writes events of one swarm, which they name.
///
/// The name can change while events are on their way: of all that are written, those before the `identifier_set` bear the
/// old one and those after it the new one.
#[derive(Debug, Clone)]
pub(super) struct SwarmOutput {
    output: Output,
    name: Arc<RwLock<InfoHash>>,
}

impl SwarmOutput {
    pub(super) fn new(output: Output, name: InfoHash) -> Self {
        Self { output, name: Arc::new(RwLock::new(name)) }
    }

    /// [Writes](Output::emit) an event of the swarm.
    pub(super) async fn emit(&self, event: &Event<'_>) -> Result<(), EmitError> {
        // Held until the line has its place.
        let name = self.name.read().await;
        self.output.emit_line(event.to_line(Some(*name))?).await
    }

    /// [Answers](Output::answer) a command about the swarm.
    pub(super) async fn answer(&self, event: &Event<'_>) -> Result<(), EmitError> {
        in_time(event, self.emit(event)).await
    }

    /// Answers that something in the swarm failed.
    pub(super) async fn complain(&self, tag: Option<String>, error: String) -> Result<(), EmitError> {
        self.answer(&Event::Error { tag, peer: None, code: None, error }).await
    }

    /// Answers that something about a peer failed.
    pub(super) async fn complain_of(
        &self,
        peer: PeerId,
        tag: Option<String>,
        failure: Failure,
    ) -> Result<(), EmitError> {
        self.answer(&Event::failed(peer, tag, failure)).await
    }

    /// Says that the swarm has another identifier from now on.
    pub(super) async fn rename(&self, to: InfoHash, identifier: &str) -> Result<(), EmitError> {
        let mut name = self.name.write().await;
        let was = std::mem::replace(&mut *name, to);
        self.output.emit_line(Event::IdentifierSet { identifier, was }.to_line(Some(to))?).await
    }
}

async fn in_time(event: &Event<'_>, emit: impl Future<Output = Result<(), EmitError>>) -> Result<(), EmitError> {
    match timeout(ANSWER_DEADLINE, emit).await {
        Ok(emitted) => emitted,
        Err(_) => {
            tracing::warn!(?event, "dropped, since standard output is not read");
            Ok(())
        }
    }
}

fn write(out: impl Write, mut waiting: mpsc::Receiver<Waiting>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    while let Some(Waiting { line, _room }) = waiting.blocking_recv() {
        out.write_all(&line)?;
        if waiting.is_empty() {
            out.flush()?;
        }
    }
    out.flush()
}
