//! How fast one connection may send.

use std::time::{Duration, Instant};

/// A token bucket, kept as the time at which it will be full again.
#[derive(Debug)]
pub(super) struct Throttle {
    /// The time that one message takes in the long run.
    step: Duration,
    /// How far ahead of the clock a burst may run.
    slack: Duration,
    full_at: Instant,
}

impl Throttle {
    pub(super) fn new(now: Instant, per_second: u32, burst: u32) -> Self {
        let step = Duration::from_secs(1) / per_second.max(1);
        Self { step, slack: step.saturating_mul(burst.max(1) - 1), full_at: now }
    }

    /// When the next message may be read; `None` is now.
    pub(super) fn wait_until(&self, now: Instant) -> Option<Instant> {
        self.full_at.checked_sub(self.slack).filter(|at| *at > now)
    }

    /// Counts what came in and what it made to be sent, as so many messages.
    pub(super) fn spend(&mut self, now: Instant, messages: u32) {
        self.full_at = self.full_at.max(now) + self.step.saturating_mul(messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let start = tokio::time::Instant::now().into_std();
        let mut throttle = Throttle::new(start, 10, 3);
        for _ in 0..3 {
            assert_eq!(throttle.wait_until(start), None);
            throttle.spend(start, 1);
        }
        let next = throttle.wait_until(start).expect("the burst is spent");
        assert_eq!(next, start + Duration::from_millis(100));
        assert_eq!(throttle.wait_until(next), None);
        throttle.spend(next, 1);
        assert_eq!(throttle.wait_until(next), Some(start + Duration::from_millis(200)));
        // After a rest the whole burst is there again, and no more.
        let rested = start + Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(throttle.wait_until(rested), None);
            throttle.spend(rested, 1);
        }
        assert!(throttle.wait_until(rested).is_some());
    }
}
