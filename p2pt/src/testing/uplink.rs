//! What stands between a node and its trackers, so that a node can be killed, stopped, or cut off.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A node's way to its [`Trackers`](super::Trackers), which can be shut. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Uplink(Arc<Mutex<State>>);

impl PartialEq for Uplink {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Uplink {}

#[derive(Debug, Default)]
struct State {
    passage: Passage,
    waiting: Vec<Waker>,
    /// Streams that the node gave up while nothing passed: the trackers have not heard of their end.
    given_up: Vec<DuplexStream>,
    /// How often the node's address has changed.
    address: u64,
    /// Streams from former addresses: the trackers never hear of their end.
    orphaned: Vec<DuplexStream>,
}

/// What becomes of what a node sends and receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Passage {
    #[default]
    Open,
    /// Nothing passes, and a new stream waits.
    Shut,
    /// Nothing passes, and a new stream fails at once.
    Offline,
}

impl Uplink {
    /// A way that is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets nothing pass, without a word to either side, until [`open`](Self::open): what a stopped or killed process
    /// looks like.
    pub fn shut(&self) {
        self.set(Passage::Shut);
    }

    /// Lets nothing pass until [`open`](Self::open); new sockets fail at once, as on a host without a network.
    pub fn unplug(&self) {
        self.set(Passage::Offline);
    }

    /// Lets everything pass again. Of sockets that the node has closed meanwhile the trackers hear now.
    pub fn open(&self) {
        self.set(Passage::Open);
    }

    fn set(&self, passage: Passage) {
        let mut state = self.lock();
        state.passage = passage;
        state.waiting.drain(..).for_each(Waker::wake);
        if passage == Passage::Open {
            state.given_up.clear();
        }
    }

    /// Breaks every socket there is for the node, which notices when it writes; the trackers hear nothing of it, ever.
    pub fn change_address(&self) {
        self.lock().address += 1;
    }

    /// Waits until a new stream may be opened.
    pub(super) async fn passed(&self) -> io::Result<()> {
        let is_offline = || self.lock().passage == Passage::Offline;
        std::future::poll_fn(|cx| if is_offline() { Poll::Ready(()) } else { self.poll(cx) }).await;
        if is_offline() { Err(io::ErrorKind::NetworkUnreachable.into()) } else { Ok(()) }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.passage == Passage::Open {
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

/// The node's end of a stream to a tracker.
#[derive(Debug)]
pub(super) struct UplinkStream {
    /// There until dropped.
    stream: Option<DuplexStream>,
    uplink: Uplink,
    address: u64,
}

impl UplinkStream {
    pub(super) fn new(stream: DuplexStream, uplink: Uplink) -> Self {
        let address = uplink.lock().address;
        Self { stream: Some(stream), uplink, address }
    }

    fn poll_passage(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.uplink.lock().address != self.address {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.uplink.poll(cx).map(Ok)
    }

    fn stream(&mut self) -> Pin<&mut DuplexStream> {
        Pin::new(self.stream.as_mut().expect("taken by drop only"))
    }
}

impl Drop for UplinkStream {
    fn drop(&mut self) {
        let mut state = self.uplink.lock();
        if state.address != self.address {
            state.orphaned.extend(self.stream.take());
        } else if state.passage != Passage::Open {
            state.given_up.extend(self.stream.take());
        }
    }
}

impl AsyncRead for UplinkStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_passage(cx))?;
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for UplinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_passage(cx))?;
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_passage(cx))?;
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
