//! How this backend and the driver loop of the `webrtc` crate keep each other informed.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::resume::Resume;

/// Locks a mutex whose holders never leave its contents half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Into how many steps the silence that means death is divided. Silence is counted in steps of the task that waits, not
/// read off a clock: after a suspend or a stalled machine one step has passed, not an hour.
const SILENT_STEPS: u32 = 8;

/// One connection's pulse: shared by the runtime and the sockets handed to its driver, its event handler, and its link.
///
/// The driver runs passes: it writes, handles events, reads, then sleeps until a datagram, a command or its next timer.
/// What the events of a pass produce is written in the next pass, which may be 200 ms away; a handshake takes three such
/// waits. So while `eager` is set, whatever happens makes the next sleep end at once, and the loop makes one more pass.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    eager: AtomicBool,
    nudge: Notify,
    passes: AtomicU64,
    passed: Notify,
    heard: AtomicU64,
    /// See [`resume`](super::resume), to which the rest belongs.
    pub(super) resume: Resume,
}

impl Pulse {
    /// A connection's pulse while it is being set up: eager.
    pub(super) fn new() -> Self {
        Self { eager: AtomicBool::new(true), ..Self::default() }
    }

    /// Whether every event shall cause another pass at once: while connecting and while closing politely.
    pub(super) fn set_eager(&self, eager: bool) {
        self.eager.store(eager, Ordering::Release);
    }

    /// Something happened whose consequences may need another pass.
    pub(super) fn nudge(&self) {
        if self.eager.load(Ordering::Acquire) {
            self.nudge.notify_one();
        }
    }

    /// The driver's sleep, called once at the end of each pass.
    pub(super) async fn sleep(&self, duration: Duration) {
        self.resume.pass_ends();
        self.passes.fetch_add(1, Ordering::AcqRel);
        self.passed.notify_waiters();
        if self.eager.load(Ordering::Acquire) {
            tokio::select! {
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(duration) => {}
            }
        } else {
            tokio::time::sleep(duration).await;
        }
    }

    /// How many passes the driver has ended.
    pub(super) fn passes(&self) -> u64 {
        self.passes.load(Ordering::Acquire)
    }

    /// Waits until the driver has ended more than `passes` passes.
    pub(super) async fn passed(&self, passes: u64) {
        loop {
            let passed = self.passed.notified();
            if self.passes() > passes {
                return;
            }
            passed.await;
        }
    }

    /// Datagrams have arrived.
    pub(super) fn datagram(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.nudge();
    }

    /// A number that changes whenever anything arrives.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Resolves when nothing at all has arrived for so long.
    pub(super) async fn silence(&self, timeout: Duration) {
        let (mut heard, mut silent) = (self.heard(), 0);
        while silent < SILENT_STEPS {
            tokio::time::sleep(timeout / SILENT_STEPS).await;
            let now = self.heard();
            silent = if now == heard { silent + 1 } else { 0 };
            heard = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const LIVENESS: Duration = Duration::from_secs(4);

    /// What the documentation promises of killed peers: noticed when the liveness time is over, and not much later.
    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed_between_the_liveness_time_and_an_eighth_more() {
        for last_heard in [0, 1, 499, 500, 501, 750] {
            let pulse = Pulse::new();
            let listening = async {
                pulse.silence(LIVENESS).await;
                Instant::now()
            };
            let speaking = async {
                sleep(Duration::from_millis(3000 + last_heard)).await;
                pulse.datagram();
                Instant::now()
            };
            let (over, last) = tokio::join!(listening, speaking);
            let after = over - last;
            assert!(
                after >= LIVENESS && after <= LIVENESS * 9 / 8,
                "{after:?}, last heard {last_heard} ms after a step"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_heard_now_and_then_is_not_silent() {
        let pulse = Pulse::new();
        let speaking = async {
            loop {
                sleep(LIVENESS - Duration::from_millis(1)).await;
                pulse.datagram();
            }
        };
        let silent = async {
            tokio::select! { () = pulse.silence(LIVENESS) => {}, () = speaking => {} }
        };
        assert!(timeout(Duration::from_secs(3600), silent).await.is_err());
    }
}
