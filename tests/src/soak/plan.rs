//! What happens when: a list of steps that follows from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::HOME;

/// The mean time between two steps.
const PACE: Duration = Duration::from_millis(900);

/// How long a process is frozen or cut off, in seconds: longer than the others need to notice.
const TROUBLE_SECONDS: std::ops::Range<f64> = 6.0..12.0;

/// How long a tracker is down, in seconds.
const OUTAGE_SECONDS: std::ops::Range<f64> = 1.0..6.0;

/// Something that happens. Processes are numbered by their hosts, from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A process starts.
    Start(usize),
    /// A process is killed.
    Kill(usize),
    /// A process leaves politely.
    Leave(usize),
    /// A process is stopped as a debugger stops it.
    Freeze(usize),
    /// It goes on.
    Thaw(usize),
    /// A host is cut off from all others, trackers too.
    Unplug(usize),
    /// It is back.
    Plug(usize),
    /// Some hosts, of which the residents' may be one, are cut off from each other.
    Cut(Vec<usize>),
    /// They are joined again.
    Join(Vec<usize>),
    /// A tracker is killed.
    StopTracker(usize),
    /// It starts again, with an empty memory.
    StartTracker(usize),
    /// A process sends a message to all its peers and a request to each, and residents send it one.
    Talk(usize),
}

/// Steps and their times, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When, from the beginning, and what.
    pub steps: Vec<(Duration, Step)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Down,
    Up,
    InTroubleUntil(Duration),
}

impl Plan {
    /// A plan for `up`, which says of each process, by its host less one, whether it runs at the beginning.
    ///
    /// All trouble ends within `length`; a process that was killed or has left may stay away.
    pub fn new(seed: u64, up: &[bool], trackers: usize, length: Duration) -> Self {
        let mut planner = Planner {
            random: StdRng::seed_from_u64(seed),
            slots: up.iter().map(|up| if *up { Slot::Up } else { Slot::Down }).collect(),
            trackers,
            tracker_back: Duration::ZERO,
            joined: Duration::ZERO,
            length,
            steps: Vec::new(),
        };
        let mut now = Duration::ZERO;
        loop {
            now += PACE.mul_f64(planner.random.random_range(0.3..1.7));
            if now >= length {
                break;
            }
            planner.step(now);
        }
        let mut steps = planner.steps;
        steps.sort_by_key(|(at, _)| *at);
        Self { steps }
    }
}

struct Planner {
    random: StdRng,
    slots: Vec<Slot>,
    trackers: usize,
    /// No tracker is down from then on.
    tracker_back: Duration,
    /// No host is cut off from another from then on. One cut at a time: two would be one larger one.
    joined: Duration,
    length: Duration,
    steps: Vec<(Duration, Step)>,
}

impl Planner {
    fn step(&mut self, now: Duration) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::InTroubleUntil(end) if *end <= now) {
                *slot = Slot::Up;
            }
        }
        let down = self.hosts(Slot::Down);
        let up = self.hosts(Slot::Up);
        if let Some(&host) = down.choose(&mut self.random)
            && self.random.random_bool((down.len() as f64 * 4.0 / self.slots.len() as f64).min(1.0))
        {
            self.slots[host - 1] = Slot::Up;
            return self.steps.push((now, Step::Start(host)));
        }
        let Some(&host) = up.choose(&mut self.random) else { return };
        match self.random.random_range(0..12) {
            0..3 => {
                self.slots[host - 1] = Slot::Down;
                self.steps.push((now, Step::Kill(host)));
            }
            3 => {
                self.slots[host - 1] = Slot::Down;
                self.steps.push((now, Step::Leave(host)));
            }
            4..6 => self.trouble(now, host, Step::Freeze(host), Step::Thaw(host)),
            6 => self.trouble(now, host, Step::Unplug(host), Step::Plug(host)),
            7..9 => self.cut(now, host),
            9 => self.restart_tracker(now),
            _ => self.steps.push((now, Step::Talk(host))),
        }
    }

    fn hosts(&self, in_state: Slot) -> Vec<usize> {
        (1..).zip(&self.slots).filter(|(_, slot)| **slot == in_state).map(|(host, _)| host).collect()
    }

    /// A time in this range from now on, if it lies within the plan.
    fn end(&mut self, now: Duration, seconds: std::ops::Range<f64>) -> Option<Duration> {
        let end = now + Duration::from_secs_f64(self.random.random_range(seconds));
        (end < self.length).then_some(end)
    }

    fn trouble(&mut self, now: Duration, host: usize, begin: Step, end: Step) {
        if let Some(until) = self.end(now, TROUBLE_SECONDS) {
            self.slots[host - 1] = Slot::InTroubleUntil(until);
            self.steps.extend([(now, begin), (until, end)]);
        }
    }

    fn cut(&mut self, now: Duration, host: usize) {
        let Some(until) = self.end(now, TROUBLE_SECONDS).filter(|_| self.joined <= now) else { return };
        let others: Vec<usize> = (HOME..=self.slots.len()).filter(|other| *other != host).collect();
        let count = self.random.random_range(1..4);
        let mut hosts: Vec<usize> = others.sample(&mut self.random, count).copied().collect();
        hosts.push(host);
        self.joined = until;
        self.steps.extend([(now, Step::Cut(hosts.clone())), (until, Step::Join(hosts))]);
    }

    fn restart_tracker(&mut self, now: Duration) {
        let Some(until) = self.end(now, OUTAGE_SECONDS).filter(|_| self.tracker_back <= now) else { return };
        let tracker = self.random.random_range(0..self.trackers);
        self.tracker_back = until;
        self.steps.extend([(now, Step::StopTracker(tracker)), (until, Step::StartTracker(tracker))]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same seed gives the same plan; no process is started twice or killed twice, and all trouble ends.
        #[test]
        fn plans_make_sense(seed: u64, up in prop::collection::vec(any::<bool>(), 1..30), seconds in 0_u64..300) {
            let length = Duration::from_secs(seconds);
            let plan = Plan::new(seed, &up, 2, length);
            prop_assert_eq!(&plan, &Plan::new(seed, &up, 2, length));
            let mut running: BTreeSet<usize> = (1..).zip(&up).filter(|(_, up)| **up).map(|(host, _)| host).collect();
            let (mut troubled, mut cut, mut stopped) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
            let mut last = Duration::ZERO;
            for (at, step) in plan.steps {
                prop_assert!(last <= at && at < length, "{step:?}");
                last = at;
                let legal = match step {
                    Step::Start(host) => running.insert(host),
                    Step::Kill(host) | Step::Leave(host) => running.remove(&host) && !troubled.contains(&host),
                    Step::Freeze(host) | Step::Unplug(host) => running.contains(&host) && troubled.insert(host),
                    Step::Thaw(host) | Step::Plug(host) => troubled.remove(&host),
                    Step::Cut(hosts) => {
                        let distinct = hosts.iter().collect::<BTreeSet<_>>().len() == hosts.len();
                        hosts.len() > 1 && distinct && std::mem::replace(&mut cut, hosts).is_empty()
                    }
                    Step::Join(hosts) => std::mem::take(&mut cut) == hosts,
                    Step::StopTracker(tracker) => stopped.is_empty() && stopped.insert(tracker),
                    Step::StartTracker(tracker) => stopped.remove(&tracker),
                    Step::Talk(host) => running.contains(&host) && !troubled.contains(&host),
                };
                prop_assert!(legal, "at {at:?}");
            }
            prop_assert!(troubled.is_empty() && cut.is_empty() && stopped.is_empty());
        }
    }
}
