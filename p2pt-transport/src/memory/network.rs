//! The lock around the state, and how one waits for it to change.

use std::sync::{Mutex, PoisonError};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::state::State;

/// What one look at the state came to.
#[derive(Debug)]
pub(super) enum Step<T> {
    Done(T),
    /// Look again when woken, or at this instant.
    Wait(Option<Instant>),
}

#[derive(Debug)]
pub(super) struct Network {
    state: Mutex<State>,
}

impl Network {
    pub(super) fn new(state: State) -> Self {
        Self { state: Mutex::new(state) }
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: the time a connection sees never runs backwards.
        let now = Instant::now();
        look(&mut state, now)
    }

    /// Repeats a step until it is done. Cancelling it between two steps changes nothing.
    pub(super) async fn wait<T: Send>(
        &self,
        wake: &Notify,
        mut step: impl FnMut(&mut State, Instant) -> Step<T> + Send,
    ) -> T {
        loop {
            // Made before looking, so that a change right after the look is not missed.
            let notified = wake.notified();
            match self.with(&mut step) {
                Step::Done(done) => return done,
                Step::Wait(until) => Self::sleep(notified, until).await,
            }
        }
    }

    async fn sleep(woken: impl Future<Output = ()> + Send, until: Option<Instant>) {
        match until {
            // An error is the instant having come: either way it is time to look again.
            Some(until) => timeout_at(until, woken).await.unwrap_or_default(),
            None => woken.await,
        }
    }
}
