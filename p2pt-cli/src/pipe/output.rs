//! The one writer of standard output.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::event::Event;

/// Bytes that may wait to be written; a longer line waits alone.
const MAX_WAITING_BYTES: usize = 8 << 20;

/// Lines that may wait to be written.
const MAX_WAITING: usize = 1024;

/// Small lines are written together, up to so many bytes.
const BUFFER_BYTES: usize = 64 << 10;

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
        let line = event.to_line()?;
        let bytes = u32::try_from(line.len().min(MAX_WAITING_BYTES)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(bytes).await.map_err(|_| EmitError::Closed)?;
        self.lines.send(Waiting { line, _room: room }).await.map_err(|_| EmitError::Closed)
    }

    /// Resolves when the writer has ended, which it does while there is an `Output` only if it cannot write.
    pub(super) async fn closed(&self) {
        self.lines.closed().await;
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
