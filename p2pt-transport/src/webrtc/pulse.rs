//! How this backend and the driver loop of the `webrtc` crate keep each other informed.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, ready},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use super::{early::Stage, resume::Resume};

/// Locks a mutex whose holders never leave its contents half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Into how many steps the silence that means death is divided. Silence is counted in steps of the task that waits, not
/// read off a clock: after a suspend or a stalled machine one step has passed, not an hour.
pub(super) const SILENT_STEPS: u32 = 4;

/// A connection is quiet when for so long no datagram but connectivity checks has gone either way.
const QUIET_AFTER: Duration = Duration::from_secs(2);

/// The driver of a quiet connection wakes up at multiples of this time, all of a process at the same instant. Left alone it
/// does so five times a second, each connection at instants of its own, for an ICE agent that has nothing to do most times.
const QUIET_STEP: Duration = Duration::from_millis(500);

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
    /// Datagrams sent and received that were no connectivity checks.
    data: AtomicU64,
    timer: Mutex<Timer>,
    /// See [`early`](super::early).
    pub(super) stage: Stage,
    /// See [`resume`](super::resume), to which the rest belongs.
    pub(super) resume: Resume,
}

/// The driver's timer, and what tells whether it may be late.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    data: u64,
    /// When `data` last changed.
    quiet_since: Option<Instant>,
}

impl Timer {
    /// When a driver shall wake up that asks for `deadline`.
    fn deadline(&mut self, now: Instant, deadline: Instant, data: u64) -> Instant {
        let quiet_since = *self.quiet_since.get_or_insert(now);
        if self.data != data {
            (self.data, self.quiet_since) = (data, Some(now));
        } else if now.saturating_duration_since(quiet_since) >= QUIET_AFTER {
            return next_step(deadline);
        }
        deadline
    }
}

/// The first common instant that is not before `deadline`.
fn next_step(deadline: Instant) -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let (origin, step) = (*ORIGIN.get_or_init(|| deadline), QUIET_STEP.as_nanos());
    let missing = match deadline.checked_duration_since(origin) {
        Some(behind) => behind.as_nanos().next_multiple_of(step) - behind.as_nanos(),
        None => origin.duration_since(deadline).as_nanos() % step,
    };
    deadline + Duration::from_nanos(u64::try_from(missing).unwrap_or(0))
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

    /// The other side's description is known.
    pub(super) fn described(&self) {
        self.stage.described();
        // The driver is not told, and would begin to look for a path when its timer goes off, in 200 ms.
        self.nudge();
    }

    /// A path has been chosen.
    pub(super) fn connected(&self) {
        self.stage.connected();
        self.resume.wake_sockets();
    }

    /// The driver's sleep, called once at the end of each pass.
    pub(super) async fn sleep(&self, duration: Duration) {
        self.resume.pass_ends();
        self.passes.fetch_add(1, Ordering::AcqRel);
        self.passed.notify_waiters();
        let now = Instant::now();
        let deadline = now + duration;
        if self.eager.load(Ordering::Acquire) {
            tokio::select! {
                () = self.nudge.notified() => {}
                () = self.reached(deadline) => {}
            }
        } else {
            let deadline = lock(&self.timer).deadline(now, deadline, self.data.load(Ordering::Relaxed));
            self.reached(deadline).await;
        }
    }

    /// Resolves at `deadline`, by a timer that is kept from sleep to sleep.
    ///
    /// Nearly every sleep is cut short by a datagram, and the next one lasts until about the same instant. A timer made
    /// anew for each would wake the thread that waits for timers each time; one that goes off too soon now and then, and
    /// is then set again, costs next to nothing.
    async fn reached(&self, deadline: Instant) {
        poll_fn(|cx| {
            let mut timer = lock(&self.timer);
            let timer = timer.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            loop {
                ready!(timer.as_mut().poll(cx));
                if timer.deadline() >= deadline {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(deadline);
            }
        })
        .await;
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

    /// A datagram that begins with `first` is sent or received. Connectivity checks begin with 0 to 3 (RFC 7983).
    pub(super) fn passes_by(&self, first: Option<&u8>) {
        if first.is_some_and(|first| *first > 3) {
            self.data.fetch_add(1, Ordering::Relaxed);
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
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIVENESS: Duration = Duration::from_secs(4);

    /// What the documentation promises of killed peers: noticed when the liveness time is over, and not much later.
    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed_between_the_liveness_time_and_a_quarter_more() {
        for last_heard in [0, 1, 499, 500, 999] {
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
                after >= LIVENESS && after <= LIVENESS * 5 / 4,
                "{after:?}, last heard {last_heard} ms after a step"
            );
        }
    }

    /// What the driver gets when it asks for 200 ms, as its ICE agent does for ever.
    #[tokio::test(start_paused = true)]
    async fn quiet_drivers_wake_up_together_and_busy_ones_when_they_ask_to() {
        const ASKED: Duration = Duration::from_millis(200);
        let asleep = async |pulse: &Pulse| {
            let before = Instant::now();
            pulse.sleep(ASKED).await;
            before.elapsed()
        };
        let (one, other) = (Pulse::default(), Pulse::default());
        for _ in 0..10 {
            assert_eq!(asleep(&one).await, ASKED);
        }
        sleep(Duration::from_millis(123)).await;
        for pulse in [&one, &other] {
            pulse.sleep(ASKED).await;
            sleep(QUIET_AFTER).await;
        }
        let until = |slept| Instant::now() + slept;
        let (first, second) = tokio::join!(asleep(&one), asleep(&other));
        assert_eq!(until(first), until(second));
        assert_eq!((asleep(&one).await, asleep(&one).await), (QUIET_STEP, QUIET_STEP));
        // A connectivity check changes nothing, data does.
        one.passes_by(Some(&1));
        assert_eq!(asleep(&one).await, QUIET_STEP);
        one.passes_by(Some(&23));
        assert_eq!((asleep(&one).await, asleep(&one).await), (ASKED, ASKED));
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
