//! How often something may happen.

use std::time::Duration;

use web_time::Instant;

/// The time in which events are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts what may happen so often in a minute, and no more.
#[derive(Debug)]
pub(crate) struct Tally {
    limit: u32,
    count: u32,
    window_ends: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Within,
    Beyond,
}

impl Tally {
    pub(crate) fn new(now: Instant, limit: u32) -> Self {
        Self { limit, count: 0, window_ends: now }
    }

    pub(crate) fn add(&mut self, now: Instant) -> Verdict {
        self.turn(now);
        if self.count < self.limit {
            self.count += 1;
            return Verdict::Within;
        }
        Verdict::Beyond
    }

    fn turn(&mut self, now: Instant) {
        if self.window_ends <= now {
            *self = Self { window_ends: now + WINDOW, ..Self::new(now, self.limit) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Beyond, Within};
    use super::*;
    use crate::session::test_support::{base, secs};

    #[test]
    fn so_many_are_within_the_limit_in_each_minute() {
        let mut tally = Tally::new(base(), 2);
        for minute in [0, 60, 150] {
            let now = base() + secs(minute);
            let verdicts = [0, 1, 58, 59].map(|at| tally.add(now + secs(at)));
            assert_eq!(verdicts, [Within, Within, Beyond, Beyond], "minute {minute}");
        }
    }
}
