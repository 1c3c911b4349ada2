//! What is on its way to a peer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use p2pt::{PendingSend, Urgency};

use crate::Fault;
use crate::peers::{Buffered, Known};

/// A message or frame on its way to a channel: a future that is ready when a channel has taken it whole, in its turn, or
/// when it is certain that none will. Dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "it says whether a channel took what was sent"]
pub struct Sending {
    pending: PendingSend,
    buffered: Buffered,
}

impl Sending {
    pub(crate) fn new(pending: PendingSend, known: Arc<Known>, bytes: usize) -> Self {
        Self { pending, buffered: Buffered::new(known, bytes) }
    }

    /// Whether a channel has taken it already, so that there is nothing to wait for.
    pub fn is_taken_at_once(&self) -> bool {
        self.pending.is_taken_at_once()
    }
}

impl Future for Sending {
    type Output = Result<(), Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.pending).poll(cx).map_err(Fault::from)
    }
}

/// How far a message has come, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What a channel has of it.
    pub sent: usize,
    /// What the other side has of it, as far as that is known.
    pub acknowledged: usize,
    /// All of it.
    pub total: usize,
}

#[derive(Debug)]
struct State {
    /// `None` once there is nothing left to be taken back.
    sending: Option<Sending>,
    /// What is known of it, which is more at each look.
    progress: Progress,
}

/// A message on its way that can be watched and taken back. Clones mean the same.
#[derive(Debug, Clone)]
pub struct Outgoing {
    state: Arc<Mutex<State>>,
    acknowledged: bool,
}

impl Outgoing {
    pub(crate) fn new(sending: Sending, bytes: usize, acknowledged: bool) -> Self {
        let progress = Progress { sent: 0, acknowledged: 0, total: bytes };
        Self { state: Arc::new(Mutex::new(State { sending: Some(sending), progress })), acknowledged }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a channel has taken it whole, and, if that was asked for, until the other side has it. Called once.
    ///
    /// # Errors
    /// Those of a [`Sending`]; `no_acknowledgements`, `refused`; `cancelled`: it was taken back; `peer_gone`: where it was
    /// to be acknowledged, it is not known whether the other side has it.
    pub async fn done(&self) -> Result<(), Fault> {
        let taken = poll_fn(|cx| match &mut self.state().sending {
            Some(sending) => Pin::new(sending).poll(cx),
            None => Poll::Ready(Ok(())),
        });
        let taken = taken.await;
        let sent = {
            let mut state = self.state();
            if taken.is_ok() {
                state.progress.sent = state.progress.total;
            }
            // What is sent whole cannot be taken back.
            state.sending.take()
        };
        taken?;
        if let Some(Sending { pending, buffered }) = sent
            && self.acknowledged
        {
            drop(buffered);
            pending.acknowledged().await?;
            let progress = &mut self.state().progress;
            progress.acknowledged = progress.total;
        }
        Ok(())
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let mut state = self.state();
        if let Some(now) = state.sending.as_ref().and_then(|sending| sending.pending.progress()) {
            state.progress = Progress { sent: now.sent, acknowledged: now.acknowledged, ..state.progress };
        }
        state.progress
    }

    /// Takes it back, unless all of it was sent; says whether it has.
    pub fn cancel(&self) -> bool {
        self.state().sending.as_ref().is_some_and(|sending| sending.pending.cancel().is_some())
    }
}

/// An urgency, 0 (the most urgent) to 7, or the default one.
pub(crate) fn urgency(number: Option<u8>) -> Result<Urgency, Fault> {
    let Some(number) = number else { return Ok(Urgency::DEFAULT) };
    Urgency::new(number)
        .ok_or_else(|| Fault::new("invalid_option", format!("urgency: {number} is not between 0 and 7")))
}
