//! How much a session may have on its way: enough to keep the line busy, and no more, so that what is urgent does not wait
//! behind it.
//!
//! A channel takes megabytes, in which nothing can overtake. So the session hands it only as much as the other side
//! acknowledges within [`QUEUEING`] of the quickest round trip: the window grows while acknowledgements come in that time,
//! and shrinks when they take longer. Sans-I/O.

use std::collections::VecDeque;
use std::time::Duration;

use p2pt_rt::Instant;

/// The smallest window in bytes: one packet of the largest size.
const MIN: usize = 64 << 10;

/// The window before anything was measured, in bytes: what a quick line sends within [`QUEUEING`]. Below it, only a line that
/// is really slow shrinks the window, and not a machine that has let a task wait.
const FIRST: usize = 256 << 10;

/// The largest window in bytes: what a session holds unacknowledged at most.
const MAX: usize = 4 << 20;

/// How much longer than the quickest one an acknowledgement may take before the window shrinks: with the time that it
/// takes to send it, what an urgent message waits is below the 5 ms that are promised near.
const QUEUEING: Duration = Duration::from_millis(3);

/// The same for a window of [`FIRST`] and less: twice what a busy machine often lets a task wait.
const SLOW: Duration = Duration::from_millis(25);

/// After this time the quickest acknowledgement is measured anew, since the path may have changed: with half of the window, so
/// that what is measured is the path and not the queue.
const REMEMBERED: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct SendWindow {
    bytes: usize,
    /// What had been sent when, oldest first: one for each packet that is not acknowledged.
    sent: VecDeque<(u64, Instant)>,
    total: u64,
    acknowledged: u64,
    /// The quickest acknowledgement of what was sent since.
    quickest: Option<(Duration, Instant)>,
    /// The window is not shrunk again for what was sent before this.
    shrunk: Option<Instant>,
    /// It held something back since the last acknowledgement.
    was_full: bool,
    /// See [`set_aside`](Self::set_aside).
    is_aside: bool,
}

impl SendWindow {
    pub(super) fn new() -> Self {
        Self {
            bytes: FIRST,
            sent: VecDeque::new(),
            total: 0,
            acknowledged: 0,
            quickest: None,
            shrunk: None,
            was_full: false,
            is_aside: false,
        }
    }

    fn on_its_way(&self) -> usize {
        usize::try_from(self.total - self.acknowledged).unwrap_or(usize::MAX)
    }

    pub(super) fn is_aside(&self) -> bool {
        self.is_aside
    }

    /// Lets everything pass, for what is to be sent at once or not at all.
    pub(super) fn set_aside(&mut self, is_aside: bool) {
        self.is_aside = is_aside;
    }

    /// Whether all that was sent is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.on_its_way() == 0
    }

    /// Whether more may be sent.
    pub(super) fn is_open(&mut self) -> bool {
        let is_open = self.is_aside || self.on_its_way() < self.bytes;
        self.was_full |= !is_open;
        is_open
    }

    /// So many bytes were sent that will be acknowledged.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize) {
        self.total += bytes as u64;
        self.sent.push_back((self.total, now));
    }

    /// Bytes that were sent and acknowledged, to tell whether anything moves.
    pub(super) fn moved(&self) -> u64 {
        self.total + self.acknowledged
    }

    /// So many bytes in all are not acknowledged now.
    pub(super) fn unacknowledged(&mut self, now: Instant, bytes: usize) {
        let acknowledged = self.total.saturating_sub(bytes as u64).max(self.acknowledged);
        let news = acknowledged - self.acknowledged;
        self.acknowledged = acknowledged;
        let mut latest = None;
        while self.sent.front().is_some_and(|(total, _)| *total <= acknowledged) {
            latest = self.sent.pop_front().map(|(_, at)| at);
        }
        if let Some(at) = latest {
            self.measured(now, at, usize::try_from(news).unwrap_or(usize::MAX));
        }
    }

    fn measured(&mut self, now: Instant, sent: Instant, bytes: usize) {
        let took = now.saturating_duration_since(sent);
        let quickest = match self.quickest {
            // What was sent before is still behind a longer queue.
            Some((_, at)) if sent < at => return,
            Some((_, at)) if now.saturating_duration_since(at) >= REMEMBERED => {
                self.quickest = Some((Duration::MAX, now));
                self.bytes = (self.bytes / 2).max(MIN);
                return;
            }
            Some((quickest, _)) if quickest <= took => quickest,
            Some((_, at)) => {
                self.quickest = Some((took, at));
                took
            }
            None => {
                self.quickest = Some((took, sent));
                took
            }
        };
        let queueing = if self.bytes > FIRST { QUEUEING } else { SLOW };
        if took > quickest + queueing {
            if self.shrunk.is_none_or(|at| sent >= at) {
                let least = if self.bytes > FIRST { FIRST } else { MIN };
                self.bytes = (self.bytes / 8 * 7).max(least);
                self.shrunk = Some(now);
            }
        } else if std::mem::take(&mut self.was_full) {
            // Twice as much each round trip at first; once it was too much, a sixteenth more, so that it stays near to what
            // the line takes.
            let more = if self.shrunk.is_none() { bytes } else { bytes / 16 };
            self.bytes = (self.bytes + more).min(MAX);
        }
    }

    /// Everything that was sent is to be sent again, on another channel.
    pub(super) fn restart(&mut self) {
        let Self { total, acknowledged, .. } = *self;
        *self = Self { total, acknowledged, ..Self::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of so many bytes a second and such a round trip, on which the window is kept full; says how large the window
    /// is at the end, and how long the last acknowledgement took.
    fn run(rate: u64, round_trip: Duration) -> (usize, Duration) {
        let (mut window, mut now) = (SendWindow::new(), crate::now());
        let mut line: VecDeque<(Instant, Instant, usize)> = VecDeque::new();
        let mut free_at = now;
        let mut last = Duration::ZERO;
        for _ in 0..20_000 {
            while window.is_open() {
                window.sent(now, 16 << 10);
                free_at = free_at.max(now) + Duration::from_nanos((16 << 10) * 1_000_000_000 / rate);
                line.push_back((free_at + round_trip, now, 16 << 10));
            }
            let (at, sent, _) = line.pop_front().expect("the window is full");
            now = now.max(at);
            last = now - sent;
            let left = line.iter().map(|(.., bytes)| bytes).sum();
            window.unacknowledged(now, left);
        }
        (window.bytes, last)
    }

    #[test]
    fn the_line_is_kept_busy_and_its_queue_short() {
        for (rate, round_trip) in [(100_000_000, 1), (100_000_000, 20), (10_000_000, 20), (1_000_000, 100)] {
            let round_trip = Duration::from_millis(round_trip);
            let (window, took) = run(rate, round_trip);
            let product = (rate as f64 * round_trip.as_secs_f64()) as usize;
            assert!(window >= product.min(MAX), "{rate} {round_trip:?}: {window}");
            let first = Duration::from_secs_f64(FIRST as f64 / rate as f64);
            assert!(took <= round_trip + (QUEUEING * 2 + first).min(SLOW * 3), "{rate} {round_trip:?}: {took:?}");
        }
    }

    #[test]
    fn it_does_not_grow_while_nothing_is_held_back() {
        let (mut window, now) = (SendWindow::new(), crate::now());
        for _ in 0..1000 {
            assert!(window.is_open());
            window.sent(now, 1000);
            window.unacknowledged(now, 0);
        }
        assert_eq!((window.bytes, window.sent.len()), (FIRST, 0));
    }
}
