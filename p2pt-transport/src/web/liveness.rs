//! When a connection counts as dead, by what the browser tells.
//!
//! A browser checks its paths by itself, and counts what arrives. How often it checks is its own affair: on an idle path
//! something arrives every 2 to 3 s in Chromium 156, and when an answer is missing it checks ten times a second and more; in Firefox
//! 153, every 4 to 6 s. So silence alone proves nothing; silence in which the browser has asked does, and so does the
//! browser's own word, which in Chromium comes 8 s after the last packet.
//!
//! # What the looks cost
//!
//! An idle connection is looked at four times in its idle timeout, which is once a second unless configured; one on which a
//! frame has arrived since the last look is not. Each look is a call of `getStats`. In a page of Chromium 156 with 100 idle
//! connections that makes 100 calls a second, of 0.2 ms each in the page and 0.4 ms in all its process: 4 % of a core beside
//! the 4 % that the same connections cost without looks. With 100 connections on which a frame arrives three times a second it
//! is one or two calls a second. Fewer looks at an idle path would have a dead one noticed later.

use std::time::Duration;

use p2pt_rt::Instant;

/// So many checks without an answer, together with the silence, are a dead path. Chromium makes two at a time when nothing is
/// wrong, and both may be lost.
const UNANSWERED: u64 = 3;

/// What the browser says of a connection at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Grows with all that arrives: packets, checks and answers to checks.
    pub(super) arrived: u64,
    /// Checks sent by this side; nothing where the browser does not count them.
    pub(super) checks: Option<u64>,
    /// The browser calls the path disconnected.
    pub(super) is_disconnected: bool,
}

/// How long a connection has been silent.
#[derive(Debug)]
pub(super) struct Liveness {
    timeout: Duration,
    last: Counters,
    polled_at: Instant,
    silent_for: Duration,
    /// The checks sent until something last arrived.
    checks_then: Option<u64>,
    /// The checks sent until the last look.
    checks_before: Option<u64>,
}

impl Liveness {
    pub(super) fn new(now: Instant, timeout: Duration) -> Self {
        let last = Counters::default();
        Self { timeout, last, polled_at: now, silent_for: Duration::ZERO, checks_then: None, checks_before: None }
    }

    /// How long to wait before the counters are looked at again: four times in the timeout, and as often as a hidden page
    /// can where that is less.
    pub(super) fn interval(&self) -> Duration {
        self.timeout / 4
    }

    /// Something has arrived, as is known without the counters.
    pub(super) fn arrived(&mut self, now: Instant) {
        self.polled_at = now;
        self.silent_for = Duration::ZERO;
        self.checks_then = None;
        self.checks_before = None;
    }

    /// Looks at the counters. Whether the other side is dead.
    ///
    /// Time in which this page did not run does not count as silence: a page that was frozen looks once more.
    pub(super) fn is_dead(&mut self, now: Instant, counters: Counters) -> bool {
        let since = now.saturating_duration_since(self.polled_at).min(self.interval() * 2);
        self.polled_at = now;
        if counters.arrived != self.last.arrived {
            self.silent_for = Duration::ZERO;
            self.checks_then = counters.checks;
        } else {
            self.silent_for += since;
            if self.checks_then.is_none() {
                self.checks_then = counters.checks;
            }
        }
        self.last = counters;
        // Those sent since the look before this one may yet be answered.
        let unanswered = self.checks_before.zip(self.checks_then).map_or(0, |(sent, then)| sent.saturating_sub(then));
        self.checks_before = counters.checks;
        self.silent_for >= self.timeout && (counters.is_disconnected || unanswered >= UNANSWERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(4);

    /// When, in polls of a second, a connection dies of which these are the counters.
    fn dies_at(counters: impl Fn(u64) -> Counters) -> Option<u64> {
        let start = p2pt_rt::now();
        let mut liveness = Liveness::new(start, TIMEOUT);
        assert_eq!(liveness.interval(), Duration::from_secs(1));
        (1..100).find(|&second| liveness.is_dead(start + Duration::from_secs(second), counters(second)))
    }

    fn counters(arrived: u64, checks: Option<u64>, is_disconnected: bool) -> Counters {
        Counters { arrived, checks, is_disconnected }
    }

    #[test]
    fn what_arrives_now_and_then_is_alive() {
        assert_eq!(dies_at(|second| counters(second / 3, Some(second), false)), None);
    }

    #[test]
    fn checks_without_an_answer_in_the_timeout_are_a_death() {
        assert_eq!(dies_at(|second| counters(second.min(10), Some(second), false)), Some(14));
        assert_eq!(dies_at(|_| counters(0, Some(7), true)), Some(4));
    }

    #[test]
    fn checks_that_were_only_just_sent_may_be_answered_yet() {
        // Five at once, of which the answers come after the look that sees them sent.
        assert_eq!(dies_at(|second| counters(second.saturating_sub(1) / 5, Some(second / 5 * 5), false)), None);
        assert_eq!(dies_at(|second| counters(0, Some(second / 5 * 5), false)), Some(6));
    }

    #[test]
    fn silence_in_which_a_browser_does_not_check_proves_nothing() {
        assert_eq!(dies_at(|second| counters(second / 6, Some(second / 6 * 2), false)), None);
        assert_eq!(dies_at(|second| counters(second / 6, None, false)), None);
        assert_eq!(dies_at(|second| counters(0, Some(second.min(2)), false)), None);
    }

    #[test]
    fn where_checks_are_not_counted_the_browser_is_believed() {
        assert_eq!(dies_at(|second| counters(second.min(10), None, second > 20)), Some(21));
        assert_eq!(dies_at(|second| counters(second.min(10), None, second > 11)), Some(14), "not before the timeout");
    }

    #[test]
    fn a_page_that_was_frozen_looks_once_more() {
        let start = p2pt_rt::now();
        let mut liveness = Liveness::new(start, TIMEOUT);
        assert!(!liveness.is_dead(start, counters(1, Some(1), false)));
        let woken = start + Duration::from_secs(60);
        assert!(!liveness.is_dead(woken, counters(1, Some(20), true)), "two seconds of it count");
        assert!(!liveness.is_dead(woken + Duration::from_secs(1), counters(1, Some(21), true)));
        assert!(liveness.is_dead(woken + Duration::from_secs(2), counters(1, Some(22), true)));
    }

    #[test]
    fn frames_are_a_sign_of_life_of_their_own() {
        let start = p2pt_rt::now();
        let mut liveness = Liveness::new(start, TIMEOUT);
        for second in 1..4 {
            assert!(!liveness.is_dead(start + Duration::from_secs(second), counters(0, Some(second), true)));
        }
        liveness.arrived(start + Duration::from_secs(4));
        for second in 5..8 {
            assert!(!liveness.is_dead(start + Duration::from_secs(second), counters(0, Some(second), true)));
        }
        assert!(liveness.is_dead(start + Duration::from_secs(8), counters(0, Some(8), true)));
    }
}
