//! How long to wait before the next attempt to connect.

use std::time::Duration;

use rand::RngExt as _;

/// Delays that double from attempt to attempt, each drawn evenly between its base and twice its base, so that the
/// peers of a tracker that restarts do not come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Delays from `min` to `max`, both inclusive; `max` counts as at least `min`.
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), attempts: 0 }
    }

    pub(crate) fn next(&mut self, rng: &mut impl rand::Rng) -> Duration {
        let doubled = self.min.saturating_mul(2u32.saturating_pow(self.attempts));
        let base = doubled.min(self.max / 2).max(self.min);
        self.attempts = self.attempts.saturating_add(1);
        (base + base.mul_f64(rng.random_range(0.0..1.0))).min(self.max)
    }

    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_up_to_the_limit_and_starts_again() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut backoff = Backoff::new(SECOND, 60 * SECOND);
        for base in [1, 2, 4, 8, 16, 30, 30, 30] {
            let delay = backoff.next(&mut rng);
            assert!((base * SECOND..=2 * base * SECOND).contains(&delay), "{delay:?} for {base}");
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= 2 * SECOND);
    }

    #[test]
    fn peers_do_not_come_back_together() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND);
        let mut delays: Vec<_> = (0..64)
            .map(|seed| {
                backoff.reset();
                backoff.next(&mut SmallRng::seed_from_u64(seed))
            })
            .collect();
        delays.sort();
        assert!(delays[56] - delays[8] > SECOND / 2, "{delays:?}");
    }

    proptest! {
        #[test]
        fn stays_within_its_limits(min in 0u64..5000, max in 0u64..100_000, attempts in 0usize..80, seed: u64) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
            let mut backoff = Backoff::new(min, max);
            let mut rng = SmallRng::seed_from_u64(seed);
            for _ in 0..attempts {
                let delay = backoff.next(&mut rng);
                prop_assert!(min <= delay && delay <= max.max(min));
            }
        }
    }
}
