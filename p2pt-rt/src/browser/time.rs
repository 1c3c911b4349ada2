//! The page's clock and its timers.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasm_bindgen::prelude::*;
use web_time::Instant;

use crate::timers::{TimerId, Timers};

#[wasm_bindgen]
extern "C" {
    // Of the global object, so that it works in workers and in Node too, where it returns an object.
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &js_sys::Function, milliseconds: i32) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);
}

/// A longer delay is taken for none by browsers (`setTimeout` counts in 32 bits).
const MAX_DELAY_MS: u128 = i32::MAX as u128;
/// As long as "never", and still far from where instants overflow.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::default();
}

/// All timers of this thread, and the browser's one that serves them.
#[derive(Default)]
struct Clock {
    timers: Timers,
    /// The browser's timer, and when it fires.
    armed: Option<(Instant, JsValue)>,
    callback: Option<Closure<dyn FnMut()>>,
}

impl Clock {
    /// Has the browser's timer fire no later than the earliest of ours. One that fires too early is set again then, which
    /// costs less than to clear and set it with each future that is dropped.
    fn arm(&mut self, now: Instant) {
        let Some(next) = self.timers.next() else { return };
        if let Some((at, id)) = &self.armed {
            if *at <= next {
                return;
            }
            clear_timeout(id);
        }
        // Rounded up: what is woken too early waits once more.
        let delay = next.saturating_duration_since(now).as_micros().div_ceil(1000).min(MAX_DELAY_MS);
        let callback = self.callback.get_or_insert_with(|| Closure::new(fire));
        // Within the bound just set.
        let milliseconds = i32::try_from(delay).unwrap_or(i32::MAX);
        let id = set_timeout(callback.as_ref().unchecked_ref(), milliseconds);
        self.armed = Some((now + Duration::from_millis(milliseconds.unsigned_abs().into()), id));
    }
}

/// The browser's timer has fired.
fn fire() {
    let due = CLOCK.with_borrow_mut(|clock| {
        clock.armed = None;
        let now = now();
        let due = clock.timers.take_due(now);
        clock.arm(now);
        due
    });
    // Not within the borrow: a waker may do anything.
    due.into_iter().for_each(Waker::wake);
}

/// The time, of the page's clock (`performance.now`).
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration.min(NEVER))
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None }
}

/// Lets the event loop run: other tasks, and what the browser has to report.
pub async fn yield_now() {
    // A promise that is fulfilled already would let tasks run, and nothing of the browser's.
    sleep(Duration::from_millis(1)).await;
}

/// Waits: see [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    deadline: Instant,
    timer: Option<TimerId>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = now();
        if self.deadline <= now {
            self.forget();
            return Poll::Ready(());
        }
        CLOCK.with_borrow_mut(|clock| {
            if self.timer.is_none_or(|timer| !clock.timers.update(timer, cx.waker())) {
                self.timer = Some(clock.timers.insert(self.deadline, cx.waker().clone()));
                clock.arm(now);
            }
        });
        Poll::Pending
    }
}

impl Sleep {
    fn forget(&mut self) {
        if let Some(timer) = self.timer.take() {
            CLOCK.with_borrow_mut(|clock| clock.timers.remove(timer));
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The time was over before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

/// Gives `future` so much time.
pub fn timeout<F: Future>(duration: Duration, future: F) -> impl Future<Output = Result<F::Output, Elapsed>> {
    within(sleep(duration), future)
}

/// Gives `future` until `deadline`.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> impl Future<Output = Result<F::Output, Elapsed>> {
    within(sleep_until(deadline), future)
}

async fn within<F: Future>(sleep: Sleep, future: F) -> Result<F::Output, Elapsed> {
    let (mut future, mut sleep) = (pin!(future), pin!(sleep));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed(()))),
    })
    .await
}
