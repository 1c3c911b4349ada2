//! Tasks and time: tokio's on native platforms, so that its paused clock reaches everything; in a browser the same names
//! over the event loop, `setTimeout` and `performance.now`.
//!
//! An [`Instant`] is `std`'s, or in a browser, where `std` has no clock, that of the crate `web-time`. What decides by the
//! time takes it as an argument; what waits asks [`now`].
//!
//! A browser runs everything on one thread. It delays the timers of a hidden page to full seconds, and stops those of a
//! frozen one; a [`Sleep`] that is over meanwhile ends when the page runs again.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(any(test, target_family = "wasm"))]
mod timers;

#[cfg(target_family = "wasm")]
pub use browser::{
    AbortHandle, Elapsed, JoinError, JoinHandle, JoinSet, Sleep, ending, error_text, is_running, now, sleep,
    sleep_until, spawn, timeout, timeout_at, yield_now,
};
#[cfg(not(target_family = "wasm"))]
pub use native::{
    AbortHandle, Elapsed, JoinError, JoinHandle, JoinSet, Sleep, ending, is_running, now, sleep, sleep_until, spawn,
    timeout, timeout_at, yield_now,
};
pub use web_time::Instant;
