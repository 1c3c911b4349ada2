//! What breaks, and what heals.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Harness, Member, url};
use crate::plan::Fault;
use crate::sim::Underlay;
use crate::tracker_profile::{Misbehaviour, TrackerProfile};

/// How a tracker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Up,
    Down,
    Misbehaving(Misbehaviour),
}

impl<N: Underlay> Harness<'_, N> {
    pub(super) fn kill(&mut self, at: u64, number: usize) {
        if self.alive().count() <= 2 {
            return;
        }
        let index = number % self.members.len();
        let Some(member) = self.members[index].take() else { return };
        self.sim.kill(member.node);
        self.dead.push((at, member.p2pt.peer_id()));
        member.asker.abort();
        // A dead process needs no time; what stands for it here ends by itself, and nothing of that reaches the others.
        tokio::spawn(async move { member.p2pt.shutdown().await });
        self.readers_of_dead.push(member.reader);
    }

    pub(super) fn restart(&mut self, number: usize) {
        let number = number % self.trackers.len();
        if self.trackers[number].0 == Condition::Up {
            self.start_tracker(number, None);
        }
    }

    fn start_tracker(&mut self, number: usize, misbehaviour: Option<Misbehaviour>) {
        let profiles = TrackerProfile::all();
        let mut profile = profiles[self.plan.trackers[number] % profiles.len()].clone();
        profile.misbehaviour = misbehaviour;
        self.trackers[number].1 = Some(self.sim.start_profile(&url(number), profile));
    }

    pub(super) fn set_condition(&mut self, number: usize, condition: Condition) {
        if std::mem::replace(&mut self.trackers[number].0, condition) == condition {
            return;
        }
        match condition {
            Condition::Up => self.start_tracker(number, None),
            Condition::Down => self.sim.crash_tracker(&url(number)),
            Condition::Misbehaving(misbehaviour) => self.start_tracker(number, Some(misbehaviour)),
        }
    }

    /// Makes exactly these faults be, among those that last.
    pub(super) fn set_faults(&mut self, faults: &[&Fault]) {
        for number in 0..self.trackers.len() {
            self.set_tracker_faults(number, faults);
        }
        self.set_network_faults(faults);
        let [frozen, unplugged] = [
            self.chosen(faults, |fault, n| matches!(fault, Fault::Freeze { node } if node % self.members.len() == n)),
            self.chosen(faults, |fault, n| matches!(fault, Fault::Unplug { nodes } if has(*nodes, n))),
        ];
        // Paths were healed before, so that a node that is plugged in again has its own.
        for Member { node, .. } in self.alive() {
            let is_unplugged = unplugged.contains(node);
            if is_unplugged {
                self.sim.unplug(*node);
            }
            match frozen.contains(node) {
                true => self.sim.freeze(*node),
                false if is_unplugged => self.sim.network.thaw(*node),
                false => self.sim.thaw(*node),
            }
        }
    }

    fn set_tracker_faults(&mut self, number: usize, faults: &[&Fault]) {
        let is_it = |tracker: &usize| tracker % self.trackers.len() == number;
        let mut condition = Condition::Up;
        let mut pace = 0;
        for fault in faults {
            match fault {
                Fault::Outage { tracker } if is_it(tracker) => {
                    condition = Condition::Down;
                    break;
                }
                Fault::Misbehaviour { tracker, misbehaviour } if is_it(tracker) => {
                    condition = Condition::Misbehaving(*misbehaviour)
                }
                Fault::SlowTracker { tracker, millis } if is_it(tracker) => pace = pace.max(*millis),
                _ => {}
            }
        }
        self.set_condition(number, condition);
        if let (Condition::Up, Some(tracker)) = &self.trackers[number] {
            tracker.set_pace(Duration::from_millis(pace));
        }
    }

    fn set_network_faults(&mut self, faults: &[&Fault]) {
        let network = self.sim.network.clone();
        network.heal();
        for (from, to) in self.slowed.drain(..) {
            network.slow_from(from, to, Duration::ZERO);
        }
        let (mut refuse, mut latency) = (0, None);
        for fault in faults {
            match fault {
                Fault::Partition { nodes } => {
                    let apart: Vec<_> = self.numbered().filter(|(n, _)| has(*nodes, *n)).map(|(_, m)| m.node).collect();
                    network.partition(&apart);
                }
                Fault::Cut { a, b } => {
                    if let Some((a, b)) = self.pair(*a, *b) {
                        network.cut_from(a, b);
                        network.cut_from(b, a);
                    }
                }
                Fault::CutFrom { from, to } => {
                    if let Some((from, to)) = self.pair(*from, *to) {
                        network.cut_from(from, to);
                    }
                }
                Fault::SlowFrom { from, to, millis } => {
                    if let Some((from, to)) = self.pair(*from, *to) {
                        network.slow_from(from, to, Duration::from_millis(*millis));
                        self.slowed.push((from, to));
                    }
                }
                Fault::Slow { millis } => {
                    let slow = Duration::from_millis(*millis);
                    latency = Some((slow, slow));
                }
                Fault::Refuse { percent } => refuse = refuse.max(*percent),
                _ => {}
            }
        }
        network.refuse(f64::from(refuse) / 100.0);
        network.set_latency(latency);
    }

    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &Member<N>)> {
        self.members.iter().enumerate().filter_map(|(n, member)| Some((n, member.as_ref()?)))
    }

    fn chosen(&self, faults: &[&Fault], is_it: impl Fn(&Fault, usize) -> bool) -> BTreeSet<N::Node> {
        let chosen = self.numbered().filter(|(n, _)| faults.iter().any(|fault| is_it(fault, *n)));
        chosen.map(|(_, member)| member.node).collect()
    }

    fn pair(&self, a: usize, b: usize) -> Option<(N::Node, N::Node)> {
        let [a, b] = [a, b].map(|n| Some(self.members[n % self.members.len()].as_ref()?.node));
        a.zip(b).filter(|(a, b)| a != b)
    }
}

fn has(nodes: u64, number: usize) -> bool {
    nodes >> (number % 64) & 1 == 1
}
