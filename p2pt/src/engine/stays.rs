//! The stays of a node: which of them are to be looked at after an event, and when each is due. Sans-I/O.
//!
//! An event concerns one stay, or a few. Whatever changes a stay takes it from here by [`touch`](Stays::touch), which puts
//! it on the list of those that are looked at next, so an event costs what it changes, however many swarms there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use p2pt_proto::InfoHash;

use super::SwarmId;

struct Entry<S> {
    stay: S,
    info_hash: InfoHash,
    due: Option<Instant>,
}

pub(super) struct Stays<S> {
    entries: BTreeMap<SwarmId, Entry<S>>,
    ids: BTreeMap<InfoHash, SwarmId>,
    touched: BTreeSet<SwarmId>,
    timers: BTreeSet<(Instant, SwarmId)>,
}

impl<S> Stays<S> {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), ids: BTreeMap::new(), touched: BTreeSet::new(), timers: BTreeSet::new() }
    }

    pub(super) fn insert(&mut self, id: SwarmId, info_hash: InfoHash, stay: S) {
        self.entries.insert(id, Entry { stay, info_hash, due: None });
        self.ids.insert(info_hash, id);
        self.touched.insert(id);
    }

    pub(super) fn remove(&mut self, id: SwarmId) -> Option<S> {
        self.set_due(id, None);
        self.touched.remove(&id);
        let entry = self.entries.remove(&id)?;
        self.ids.remove(&entry.info_hash);
        Some(entry.stay)
    }

    /// The stay in the swarm with this hash.
    pub(super) fn id(&self, info_hash: InfoHash) -> Option<SwarmId> {
        self.ids.get(&info_hash).copied()
    }

    pub(super) fn get(&self, id: SwarmId) -> Option<&S> {
        self.entries.get(&id).map(|entry| &entry.stay)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SwarmId, &S)> {
        self.entries.iter().map(|(id, entry)| (*id, &entry.stay))
    }

    /// A stay that is about to change, and is looked at afterwards.
    pub(super) fn touch(&mut self, id: SwarmId) -> Option<&mut S> {
        let entry = self.entries.get_mut(&id)?;
        self.touched.insert(id);
        Some(&mut entry.stay)
    }

    /// All stays, for a change that concerns each of them.
    pub(super) fn touch_all(&mut self) -> impl Iterator<Item = &mut S> {
        self.touched.extend(self.entries.keys());
        self.entries.values_mut().map(|entry| &mut entry.stay)
    }

    /// Those that were touched since the last call, in the order in which they were entered.
    pub(super) fn take_touched(&mut self) -> BTreeSet<SwarmId> {
        std::mem::take(&mut self.touched)
    }

    /// A stay to be looked at, which does not touch it again.
    pub(super) fn look_at(&mut self, id: SwarmId) -> Option<&mut S> {
        self.entries.get_mut(&id).map(|entry| &mut entry.stay)
    }

    /// Says when a stay is due next.
    pub(super) fn set_due(&mut self, id: SwarmId, due: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut entry.due, due) {
            self.timers.remove(&(before, id));
        }
        self.timers.extend(due.map(|due| (due, id)));
    }

    /// When the next stay is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Those that are due, which are not due any more until they say when.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeSet<SwarmId> {
        let mut due = BTreeSet::new();
        while let Some((_, id)) = self.timers.first().filter(|(at, _)| *at <= now).copied() {
            self.set_due(id, None);
            due.insert(id);
        }
        due
    }

    pub(super) fn take_all(&mut self) -> Vec<S> {
        std::mem::replace(self, Self::new()).entries.into_values().map(|entry| entry.stay).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SWARMS: u64 = 120;

    fn hash(n: u64) -> InfoHash {
        InfoHash::of(&n.to_string())
    }

    fn stays() -> Stays<u64> {
        let mut stays = Stays::new();
        for n in 0..SWARMS {
            stays.insert(SwarmId(n), hash(n), n);
        }
        stays
    }

    fn ids(numbers: &[u64]) -> BTreeSet<SwarmId> {
        numbers.iter().map(|n| SwarmId(*n)).collect()
    }

    #[test]
    fn an_event_has_those_looked_at_that_it_touches_and_no_others() {
        let mut stays = stays();
        assert_eq!(stays.take_touched().len() as u64, SWARMS, "what is new is looked at");
        assert_eq!(stays.take_touched(), ids(&[]));
        *stays.touch(SwarmId(7)).expect("it is there") += 1;
        *stays.look_at(SwarmId(8)).expect("it is there") += 1;
        assert_eq!(stays.take_touched(), ids(&[7]));
        assert_eq!(stays.touch_all().count() as u64, SWARMS);
        assert_eq!(stays.remove(SwarmId(3)), Some(3));
        let touched = stays.take_touched();
        assert!(touched.len() as u64 == SWARMS - 1 && !touched.contains(&SwarmId(3)));
    }

    #[test]
    fn a_time_comes_for_those_alone_that_are_due() {
        let (mut stays, now) = (stays(), crate::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for n in 0..SWARMS {
            stays.set_due(SwarmId(n), Some(at(n)));
        }
        assert_eq!(stays.next_due(), Some(now));
        assert_eq!(stays.take_due(at(1)), ids(&[0, 1]));
        assert_eq!((stays.take_due(at(1)), stays.next_due()), (ids(&[]), Some(at(2))));
        stays.set_due(SwarmId(2), Some(at(200)));
        stays.set_due(SwarmId(3), None);
        stays.remove(SwarmId(4));
        assert_eq!(stays.take_due(at(5)), ids(&[5]));
        stays.set_due(SwarmId(4), Some(at(1)));
        assert_eq!(stays.next_due(), Some(at(6)), "what is gone is never due");
    }

    #[test]
    fn a_swarm_is_found_by_its_hash_until_it_is_left() {
        let mut stays = stays();
        assert_eq!(stays.id(hash(5)), Some(SwarmId(5)));
        stays.remove(SwarmId(5));
        assert_eq!(stays.id(hash(5)), None);
        stays.insert(SwarmId(500), hash(5), 0);
        assert_eq!((stays.id(hash(5)), stays.get(SwarmId(5))), (Some(SwarmId(500)), None));
        assert_eq!(stays.take_all().len() as u64, SWARMS);
        assert_eq!((stays.iter().count(), stays.id(hash(5))), (0, None));
    }
}
