//! All that wait for a time, in its order.

use std::collections::BTreeMap;
use std::task::Waker;

use web_time::Instant;

/// A timer: its deadline, and a number of its own.
pub(crate) type TimerId = (Instant, u64);

/// Timers and whom they wake. One timer of the platform serves all of them.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    wakers: BTreeMap<TimerId, Waker>,
    numbers: u64,
}

impl Timers {
    /// Adds a timer.
    pub(crate) fn insert(&mut self, deadline: Instant, waker: Waker) -> TimerId {
        self.numbers += 1;
        let id = (deadline, self.numbers);
        self.wakers.insert(id, waker);
        id
    }

    /// Changes whom a timer wakes. Whether it still waits.
    pub(crate) fn update(&mut self, id: TimerId, waker: &Waker) -> bool {
        self.wakers.get_mut(&id).map(|known| known.clone_from(waker)).is_some()
    }

    /// Forgets a timer. Nothing happens if it is over.
    pub(crate) fn remove(&mut self, id: TimerId) {
        self.wakers.remove(&id);
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.wakers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Takes out whom the timers that are over by `now` wake, in the order of their deadlines.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.wakers.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::<Count>::default();
        (count.clone(), Waker::from(count))
    }

    #[test]
    fn what_is_due_is_woken_once_and_the_rest_waits() {
        let start = crate::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        let (late, late_waker) = counted();
        let (soon, soon_waker) = counted();
        timers.insert(at(9), late_waker);
        let first = timers.insert(at(2), soon_waker.clone());
        timers.insert(at(2), soon_waker);
        assert_eq!(timers.next(), Some(at(2)));
        assert!(timers.take_due(at(1)).is_empty());
        timers.take_due(at(2)).into_iter().for_each(Waker::wake);
        assert_eq!((soon.0.load(Ordering::Relaxed), late.0.load(Ordering::Relaxed)), (2, 0));
        assert!(!timers.update(first, Waker::noop()), "it is over");
        assert_eq!(timers.next(), Some(at(9)));
    }

    #[test]
    fn a_timer_that_is_dropped_wakes_nothing() {
        let start = crate::now();
        let mut timers = Timers::default();
        let (count, waker) = counted();
        let id = timers.insert(start, waker);
        timers.remove(id);
        assert_eq!(timers.next(), None);
        assert!(timers.take_due(start).is_empty());
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_last_waker_is_the_one_that_is_woken() {
        let start = crate::now();
        let mut timers = Timers::default();
        let (first, first_waker) = counted();
        let (second, second_waker) = counted();
        let id = timers.insert(start, first_waker);
        assert!(timers.update(id, &second_waker));
        timers.take_due(start).into_iter().for_each(Waker::wake);
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
    }
}
