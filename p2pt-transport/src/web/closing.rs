//! How a graceful close goes: the browser sends what it holds, the channel is closed, the other side closes it too, and
//! then the connection is.
//!
//! `RTCDataChannel.close` is meant to send first what was accepted, and the other side to hand it over before the event that
//! the channel is closed. A page of Chromium gets nothing of it when its channel is closed before it was told that there is
//! one, so a channel is not closed in its first moments.

use std::time::Duration;

use p2pt_rt::Instant;

/// How many times the close timeout a flush may take as long as it makes progress. The native backend's is the same.
const FLUSH_FACTOR: u32 = 10;

/// How old a channel must be to be closed: a page that is busy adopts a channel so late that what came before is lost with it.
const MIN_AGE: Duration = Duration::from_millis(500);

/// What the driver shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until then, unless something changes.
    Wait(Instant),
    /// Close the channel, and ask again.
    CloseChannel,
    /// Close the connection: it is over.
    CloseConnection,
}

/// A graceful close under way.
#[derive(Debug)]
pub(super) struct Closing {
    timeout: Duration,
    /// The channel is not closed before.
    earliest: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The browser sends what it holds.
    Flushing {
        /// Without progress it is given up then.
        deadline: Instant,
        /// Even with progress it is given up then.
        last: Instant,
        /// What was buffered when it last made progress.
        left: usize,
    },
    /// The other side closes the channel too.
    Resetting { until: Instant },
}

impl Closing {
    /// A close that begins now, of a channel that was opened then.
    pub(super) fn new(now: Instant, timeout: Duration, opened_at: Instant) -> Self {
        let stage = Stage::Flushing { deadline: now + timeout, last: now + timeout * FLUSH_FACTOR, left: usize::MAX };
        Self { timeout, earliest: opened_at + MIN_AGE, stage }
    }

    /// What to do while so many bytes are buffered, and when the channel is open no longer.
    pub(super) fn step(&mut self, now: Instant, buffered: usize, is_closed: bool) -> Step {
        if is_closed {
            return Step::CloseConnection;
        }
        match self.stage {
            Stage::Flushing { last, left, .. } if buffered > 0 && buffered < left && now < last => {
                let deadline = (now + self.timeout).min(last);
                self.stage = Stage::Flushing { deadline, last, left: buffered };
                Step::Wait(deadline)
            }
            Stage::Flushing { deadline, .. } if buffered > 0 && now < deadline => Step::Wait(deadline),
            Stage::Flushing { .. } if now < self.earliest => Step::Wait(self.earliest),
            Stage::Flushing { .. } => {
                self.stage = Stage::Resetting { until: now + self.timeout };
                Step::CloseChannel
            }
            Stage::Resetting { until } if now < until => Step::Wait(until),
            Stage::Resetting { .. } => Step::CloseConnection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    #[test]
    fn what_is_buffered_goes_first() {
        let start = p2pt_rt::now();
        let mut closing = Closing::new(start, TIMEOUT, start - MIN_AGE);
        assert_eq!(closing.step(start, 100, false), Step::Wait(start + TIMEOUT));
        let later = start + TIMEOUT / 2;
        assert_eq!(closing.step(later, 50, false), Step::Wait(later + TIMEOUT));
        assert_eq!(closing.step(later, 50, false), Step::Wait(later + TIMEOUT), "no progress");
        assert_eq!(closing.step(later, 0, false), Step::CloseChannel);
        assert_eq!(closing.step(later, 0, false), Step::Wait(later + TIMEOUT));
        assert_eq!(closing.step(later, 0, true), Step::CloseConnection);
    }

    #[test]
    fn a_channel_that_has_only_just_opened_is_not_closed_yet() {
        let start = p2pt_rt::now();
        let mut closing = Closing::new(start, TIMEOUT, start);
        assert_eq!(closing.step(start, 0, false), Step::Wait(start + MIN_AGE));
        assert_eq!(closing.step(start + MIN_AGE, 0, false), Step::CloseChannel);
    }

    #[test]
    fn a_flush_without_progress_is_given_up_and_so_is_a_silent_other_side() {
        let start = p2pt_rt::now();
        let mut closing = Closing::new(start, TIMEOUT, start - MIN_AGE);
        closing.step(start, 100, false);
        assert_eq!(closing.step(start + TIMEOUT, 100, false), Step::CloseChannel);
        assert_eq!(closing.step(start + TIMEOUT, 100, false), Step::Wait(start + 2 * TIMEOUT));
        assert_eq!(closing.step(start + 2 * TIMEOUT, 100, false), Step::CloseConnection);
    }

    #[test]
    fn a_flush_that_crawls_ends() {
        let start = p2pt_rt::now();
        let mut closing = Closing::new(start, TIMEOUT, start - MIN_AGE);
        let mut now = start;
        let mut left = 1000;
        while let Step::Wait(_) = closing.step(now, left, false) {
            now += TIMEOUT / 2;
            left -= 1;
        }
        assert_eq!(now, start + TIMEOUT * FLUSH_FACTOR);
    }

    #[test]
    fn a_channel_that_is_closed_already_is_not_waited_for() {
        let start = p2pt_rt::now();
        assert_eq!(Closing::new(start, TIMEOUT, start - MIN_AGE).step(start, 100, true), Step::CloseConnection);
    }
}
