//! Running the driver without a detour over other threads.
//!
//! The driver of `webrtc` 0.21 waits for its sockets in a `FuturesUnordered`, which wakes the task it is running on
//! whenever it has polled all there is: so nearly every pass of the driver ends with the driver awake. Tokio puts a task
//! that wakes itself at the end of a queue and tells another thread that there is work; the two threads then pass the
//! connection's locks to and fro, at five system calls for each message.
//!
//! Here such a task is polled again at once.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::pulse::lock;

/// How often a future that wakes itself is polled again before other tasks have their turn.
const MAX_AGAIN: usize = 2;

/// The future is not being polled.
const IDLE: u8 = 0;
/// It is.
const POLLED: u8 = 1;
/// It is, and has been woken meanwhile.
const WOKEN: u8 = 2;

/// A future that is polled again at once if it wakes itself.
pub(super) struct Steady<F> {
    future: F,
    state: Arc<State>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct State {
    state: AtomicU8,
    /// Whoever polls.
    outer: Mutex<Option<Waker>>,
}

impl<F> Steady<F> {
    pub(super) fn new(future: F) -> Self {
        let state = Arc::new(State::default());
        Self { future, waker: state.clone().into(), state }
    }
}

impl State {
    fn wake_outer(&self) {
        if let Some(outer) = &*lock(&self.outer) {
            outer.wake_by_ref();
        }
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let polled = self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if polled == Err(IDLE) {
            self.wake_outer();
        }
    }
}

impl<F: Future + Unpin> Future for Steady<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        {
            let mut outer = lock(&this.state.outer);
            if !outer.as_ref().is_some_and(|outer| outer.will_wake(cx.waker())) {
                *outer = Some(cx.waker().clone());
            }
        }
        for _ in 0..=MAX_AGAIN {
            this.state.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker)) {
                return Poll::Ready(output);
            }
            if this.state.state.swap(IDLE, Ordering::AcqRel) == POLLED {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
