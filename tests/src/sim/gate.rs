//! What stands between a node and its trackers, so that a node can be killed or stopped.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A node's way to its trackers. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug, Default)]
struct State {
    shut: bool,
    /// New streams fail at once, rather than wait.
    offline: bool,
    waiting: Vec<Waker>,
    /// Streams given up by the node while nothing passed: the trackers do not know of it.
    given_up: Vec<DuplexStream>,
    /// How often the node's address has changed.
    address: u64,
    /// Streams from former addresses: the trackers never learn of their end.
    orphaned: Vec<DuplexStream>,
}

impl Gate {
    /// Lets nothing pass, and says nothing, until it is opened.
    pub(super) fn set_shut(&self, shut: bool) {
        self.set(shut, false);
    }

    /// Lets nothing pass, and fails new streams at once.
    pub(super) fn set_offline(&self, offline: bool) {
        self.set(offline, offline);
    }

    fn set(&self, shut: bool, offline: bool) {
        let mut state = self.lock();
        (state.shut, state.offline) = (shut, offline);
        state.waiting.drain(..).for_each(Waker::wake);
        if !shut {
            state.given_up.clear();
        }
    }

    /// Breaks every stream there is for the node, which notices when it writes; their other ends never learn of it.
    pub(super) fn change_address(&self) {
        self.lock().address += 1;
    }

    pub(super) async fn passed(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| if self.lock().offline { Poll::Ready(()) } else { self.poll(cx) }).await;
        if self.lock().offline { Err(io::ErrorKind::NetworkUnreachable.into()) } else { Ok(()) }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.shut {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's end of a stream.
#[derive(Debug)]
pub(super) struct Gated {
    /// There until dropped.
    stream: Option<DuplexStream>,
    gate: Gate,
    address: u64,
}

impl Gated {
    pub(super) fn new(stream: DuplexStream, gate: Gate) -> Self {
        let address = gate.lock().address;
        Self { stream: Some(stream), gate, address }
    }

    fn poll_gate(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.gate.lock().address != self.address {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.gate.poll(cx).map(Ok)
    }

    fn stream(&mut self) -> Pin<&mut DuplexStream> {
        Pin::new(self.stream.as_mut().expect("taken by drop only"))
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        if state.address != self.address {
            state.orphaned.extend(self.stream.take());
        } else if state.shut {
            state.given_up.extend(self.stream.take());
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_gate(cx))?;
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_gate(cx))?;
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_gate(cx))?;
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
