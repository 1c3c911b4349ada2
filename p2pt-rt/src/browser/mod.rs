//! A browser: one thread, its event loop, and timers that hidden pages get late.

mod page;
mod tasks;
mod time;

pub use page::{ending, error_text};
pub use tasks::{AbortHandle, JoinError, JoinHandle, JoinSet, is_running, spawn};
pub use time::{Elapsed, Sleep, now, sleep, sleep_until, timeout, timeout_at, yield_now};
