//! The memberships of a node: which of them are to be looked at after an event, and when each is due. Sans-I/O.
//!
//! An event concerns one membership, or a few. Whatever changes a membership takes it from here by
//! [`touch`](Memberships::touch), which puts it on the list of those that are looked at next, so an event costs what it
//! changes, however many swarms there are.

use p2pt_rt::Instant;
use std::collections::{BTreeMap, BTreeSet};

use p2pt_proto::InfoHash;

use super::MembershipId;

struct Entry<S> {
    membership: S,
    info_hash: InfoHash,
    due: Option<Instant>,
}

pub(super) struct Memberships<S> {
    entries: BTreeMap<MembershipId, Entry<S>>,
    ids: BTreeMap<InfoHash, MembershipId>,
    touched: BTreeSet<MembershipId>,
    timers: BTreeSet<(Instant, MembershipId)>,
}

impl<S> Memberships<S> {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), ids: BTreeMap::new(), touched: BTreeSet::new(), timers: BTreeSet::new() }
    }

    pub(super) fn insert(&mut self, id: MembershipId, info_hash: InfoHash, membership: S) {
        self.entries.insert(id, Entry { membership, info_hash, due: None });
        self.ids.insert(info_hash, id);
        self.touched.insert(id);
    }

    pub(super) fn remove(&mut self, id: MembershipId) -> Option<S> {
        self.set_due(id, None);
        self.touched.remove(&id);
        let entry = self.entries.remove(&id)?;
        self.ids.remove(&entry.info_hash);
        Some(entry.membership)
    }

    /// Gives a membership another hash, and hands it out to be changed.
    pub(super) fn rename(&mut self, id: MembershipId, info_hash: InfoHash) -> Option<&mut S> {
        let entry = self.entries.get_mut(&id)?;
        self.ids.remove(&std::mem::replace(&mut entry.info_hash, info_hash));
        self.ids.insert(info_hash, id);
        self.touch(id)
    }

    /// The membership in the swarm with this hash.
    pub(super) fn id(&self, info_hash: InfoHash) -> Option<MembershipId> {
        self.ids.get(&info_hash).copied()
    }

    pub(super) fn get(&self, id: MembershipId) -> Option<&S> {
        self.entries.get(&id).map(|entry| &entry.membership)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MembershipId, &S)> {
        self.entries.iter().map(|(id, entry)| (*id, &entry.membership))
    }

    /// A membership that is about to change, and is looked at afterwards.
    pub(super) fn touch(&mut self, id: MembershipId) -> Option<&mut S> {
        let entry = self.entries.get_mut(&id)?;
        self.touched.insert(id);
        Some(&mut entry.membership)
    }

    /// All memberships, for a change that concerns each of them.
    pub(super) fn touch_all(&mut self) -> impl Iterator<Item = &mut S> {
        self.touched.extend(self.entries.keys());
        self.entries.values_mut().map(|entry| &mut entry.membership)
    }

    /// Those that were touched since the last call, in the order in which they were entered.
    pub(super) fn take_touched(&mut self) -> BTreeSet<MembershipId> {
        std::mem::take(&mut self.touched)
    }

    /// A membership to be looked at, which does not touch it again.
    pub(super) fn look_at(&mut self, id: MembershipId) -> Option<&mut S> {
        self.entries.get_mut(&id).map(|entry| &mut entry.membership)
    }

    /// Says when a membership is due next.
    pub(super) fn set_due(&mut self, id: MembershipId, due: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut entry.due, due) {
            self.timers.remove(&(before, id));
        }
        self.timers.extend(due.map(|due| (due, id)));
    }

    /// When the next membership is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Those that are due, which are not due any more until they say when.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeSet<MembershipId> {
        let mut due = BTreeSet::new();
        while let Some((_, id)) = self.timers.first().filter(|(at, _)| *at <= now).copied() {
            self.set_due(id, None);
            due.insert(id);
        }
        due
    }

    pub(super) fn take_all(&mut self) -> Vec<S> {
        std::mem::replace(self, Self::new()).entries.into_values().map(|entry| entry.membership).collect()
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

    fn memberships() -> Memberships<u64> {
        let mut memberships = Memberships::new();
        for n in 0..SWARMS {
            memberships.insert(MembershipId(n), hash(n), n);
        }
        memberships
    }

    fn ids(numbers: &[u64]) -> BTreeSet<MembershipId> {
        numbers.iter().map(|n| MembershipId(*n)).collect()
    }

    #[test]
    fn an_event_has_those_looked_at_that_it_touches_and_no_others() {
        let mut memberships = memberships();
        assert_eq!(memberships.take_touched().len() as u64, SWARMS, "what is new is looked at");
        assert_eq!(memberships.take_touched(), ids(&[]));
        *memberships.touch(MembershipId(7)).expect("it is there") += 1;
        *memberships.look_at(MembershipId(8)).expect("it is there") += 1;
        assert_eq!(memberships.take_touched(), ids(&[7]));
        assert_eq!(memberships.touch_all().count() as u64, SWARMS);
        assert_eq!(memberships.remove(MembershipId(3)), Some(3));
        let touched = memberships.take_touched();
        assert!(touched.len() as u64 == SWARMS - 1 && !touched.contains(&MembershipId(3)));
    }

    #[test]
    fn a_time_comes_for_those_alone_that_are_due() {
        let (mut memberships, now) = (memberships(), crate::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for n in 0..SWARMS {
            memberships.set_due(MembershipId(n), Some(at(n)));
        }
        assert_eq!(memberships.next_due(), Some(now));
        assert_eq!(memberships.take_due(at(1)), ids(&[0, 1]));
        assert_eq!((memberships.take_due(at(1)), memberships.next_due()), (ids(&[]), Some(at(2))));
        memberships.set_due(MembershipId(2), Some(at(200)));
        memberships.set_due(MembershipId(3), None);
        memberships.remove(MembershipId(4));
        assert_eq!(memberships.take_due(at(5)), ids(&[5]));
        memberships.set_due(MembershipId(4), Some(at(1)));
        assert_eq!(memberships.next_due(), Some(at(6)), "what is gone is never due");
    }

    #[test]
    fn a_swarm_is_found_by_its_hash_until_it_is_left() {
        let mut memberships = memberships();
        assert_eq!(memberships.id(hash(5)), Some(MembershipId(5)));
        memberships.remove(MembershipId(5));
        assert_eq!(memberships.id(hash(5)), None);
        memberships.insert(MembershipId(500), hash(5), 0);
        assert_eq!((memberships.id(hash(5)), memberships.get(MembershipId(5))), (Some(MembershipId(500)), None));
        memberships.take_touched();
        assert_eq!(memberships.rename(MembershipId(6), hash(600)), Some(&mut 6));
        assert_eq!((memberships.id(hash(6)), memberships.id(hash(600))), (None, Some(MembershipId(6))));
        assert_eq!(memberships.take_touched(), ids(&[6]));
        assert_eq!(memberships.rename(MembershipId(1000), hash(7)), None);
        memberships.remove(MembershipId(6));
        memberships.insert(MembershipId(600), hash(600), 6);
        assert_eq!(memberships.take_all().len() as u64, SWARMS);
        assert_eq!((memberships.iter().count(), memberships.id(hash(5))), (0, None));
    }
}
