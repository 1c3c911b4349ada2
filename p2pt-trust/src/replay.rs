//! Which offers have come before.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::Instant;
use crate::context::SdpHash;

/// How long an offer is remembered: no tracker keeps one for more than two minutes, and no offerer waits for longer.
pub const REPLAY_MEMORY: Duration = Duration::from_secs(600);

/// Remembers offers for ten minutes, so that one that a tracker brings again is not answered again.
///
/// A replayed offer gains nothing: its author is gone or has its answer, and the attempt fails. It would cost an
/// attempt each time. That is why it may be forgotten early when there are too many: what remembers has a bound.
#[derive(Debug)]
pub struct ReplayMemory {
    most: usize,
    seen: HashSet<SdpHash>,
    order: VecDeque<(Instant, SdpHash)>,
}

impl ReplayMemory {
    /// Remembers up to `most` offers, the latest ones: about a hundred bytes each.
    pub fn new(most: usize) -> Self {
        Self { most, seen: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether the offer has not come in the last ten minutes, and remembers it.
    pub fn is_new(&mut self, now: Instant, offer: SdpHash) -> bool {
        while let Some((at, old)) = self.order.front() {
            let is_kept = self.order.len() <= self.most && now.saturating_duration_since(*at) < REPLAY_MEMORY;
            if is_kept {
                break;
            }
            self.seen.remove(old);
            self.order.pop_front();
        }
        if self.most == 0 || !self.seen.insert(offer) {
            return self.most == 0;
        }
        if self.order.len() == self.most
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.order.push_back((now, offer));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a state machine only adds to it; which one it is does not matter")]
    fn base() -> Instant {
        Instant::now()
    }

    fn offer(number: u32) -> SdpHash {
        SdpHash::of(&number.to_string())
    }

    #[test]
    fn an_offer_is_new_once_in_ten_minutes() {
        let (start, mut memory) = (base(), ReplayMemory::new(10));
        assert!(memory.is_new(start, offer(1)));
        assert!(memory.is_new(start, offer(2)));
        assert!(!memory.is_new(start, offer(1)));
        // Counted from when it came first.
        assert!(!memory.is_new(start + REPLAY_MEMORY - Duration::from_millis(1), offer(1)));
        assert!(memory.is_new(start + REPLAY_MEMORY, offer(1)));
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let (start, mut memory) = (base(), ReplayMemory::new(3));
        assert!((0..4).all(|number| memory.is_new(start, offer(number))));
        assert_eq!((memory.seen.len(), memory.order.len()), (3, 3));
        assert!((1..4).all(|number| !memory.is_new(start, offer(number))));
        assert!(memory.is_new(start, offer(0)));
        let mut none = ReplayMemory::new(0);
        assert!(none.is_new(start, offer(0)) && none.is_new(start, offer(0)));
        assert!(none.seen.is_empty());
    }
}
