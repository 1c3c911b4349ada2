//! Tokio.

pub use tokio::spawn;
pub use tokio::task::{AbortHandle, JoinError, JoinHandle, JoinSet, yield_now};
pub use tokio::time::error::Elapsed;
pub use tokio::time::{Sleep, sleep, timeout};
use web_time::Instant;

/// The time, of the runtime's clock, which tests may have paused.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    tokio::time::sleep_until(deadline.into())
}

/// Gives `future` until `deadline`.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> tokio::time::Timeout<F> {
    tokio::time::timeout_at(deadline.into(), future)
}

/// Whether there is a runtime here, without which [`spawn`] panics.
#[must_use]
pub fn is_running() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

/// Never ends: what the end of a browser's page is here, the program says itself.
#[must_use = "futures do nothing unless polled"]
pub fn ending() -> std::future::Pending<()> {
    std::future::pending()
}
