//! The attempts under way, and how many each tracker may cause.
//!
//! The peer that an attempt is with is known only because a tracker named it, and may not exist. So the trackers share
//! what there is for attempts: each may take what the others leave, and its fair part always. What one tracker makes up
//! keeps no peer out that another has introduced.

use std::time::Duration;

use p2pt_proto::PeerId;

use super::{AttemptId, Identity, Role};
use crate::{FewMap, Instant, TrackerId};

/// How long an attempt holds back offers of the same peer by other trackers: twice what one takes over slow networks.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// With this many failures in a row, a tracker is doubted until an attempt that it caused succeeds.
pub(super) const DOUBTED_AFTER: u32 = 16;

/// Attempts under way at once by a tracker that is doubted.
pub(super) const DOUBTED_ATTEMPTS: usize = 4;

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) peer: PeerId,
    pub(super) tracker: TrackerId,
    pub(super) role: Role,
    /// What the other side's description claims.
    pub(super) identity: Identity,
    begun: Instant,
    /// Its tracker is still there, so that a failure counts against it.
    counts: bool,
    /// It holds back other trackers' offers no more.
    slow: bool,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    under_way: FewMap<AttemptId, Attempt>,
    /// Failures since the last success, of trackers with any.
    failures: FewMap<TrackerId, u32>,
}

impl Attempts {
    pub(super) fn begin(
        &mut self,
        now: Instant,
        id: AttemptId,
        peer: PeerId,
        tracker: TrackerId,
        role: Role,
        identity: Identity,
    ) {
        self.under_way.insert(id, Attempt { peer, tracker, role, identity, begun: now, counts: true, slow: false });
    }

    pub(super) fn remove(&mut self, id: AttemptId) -> Option<Attempt> {
        self.under_way.remove(&id)
    }

    /// Takes out some.
    pub(super) fn remove_which(&mut self, is_one: impl Fn(&Attempt) -> bool) -> Vec<(AttemptId, Attempt)> {
        let with = self.under_way.iter().filter(|(_, attempt)| is_one(attempt));
        let ids: Vec<AttemptId> = with.map(|(id, _)| id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.remove(id)?))).collect()
    }

    pub(super) fn with(&self, peer: &PeerId) -> usize {
        self.under_way.values().filter(|attempt| attempt.peer == *peer).count()
    }

    /// Whether one of them is with the peer to whose key the id belongs.
    pub(super) fn is_with_key(&self, peer: &PeerId) -> bool {
        self.under_way.values().any(|attempt| attempt.peer == *peer && attempt.identity.key.is_some())
    }

    /// How many attempts with this peer an offer of it by this tracker has to wait for.
    pub(super) fn before(&self, peer: &PeerId, tracker: TrackerId) -> usize {
        let with = self.under_way.values().filter(|attempt| attempt.peer == *peer);
        with.filter(|attempt| !attempt.slow || attempt.tracker == tracker).count()
    }

    /// How many more of `seats` this tracker may take, whatever other trackers have; `takes_one` says which attempts do.
    pub(super) fn own_room(&self, tracker: TrackerId, seats: usize, takes_one: impl Fn(&Attempt) -> bool) -> usize {
        let own = self.under_way.values().filter(|attempt| attempt.tracker == tracker && takes_one(attempt)).count();
        self.most(tracker, seats).saturating_sub(own)
    }

    /// How many of `seats` this tracker may take in all.
    pub(super) fn most(&self, tracker: TrackerId, seats: usize) -> usize {
        if self.is_doubted(tracker) { seats.min(DOUBTED_ATTEMPTS) } else { seats }
    }

    /// How many of `seats` a tracker may take where the others have left `rest`: no less than a fair part.
    pub(super) fn shared_room(&self, tracker: TrackerId, seats: usize, takes_one: impl Fn(&Attempt) -> bool) -> usize {
        let counts = self.by_tracker(&takes_one);
        let others = || counts.iter().filter(|(other, _)| *other != tracker && !self.is_doubted(*other));
        let left = seats.saturating_sub(others().map(|(_, taken)| *taken).sum());
        let part = seats.div_ceil(1 + others().count());
        self.own_room(tracker, left.max(part), takes_one)
    }

    fn is_doubted(&self, tracker: TrackerId) -> bool {
        self.failures.get(&tracker).is_some_and(|failures| *failures >= DOUBTED_AFTER)
    }

    /// Counts the failure of an attempt against the tracker that led to it.
    pub(super) fn failed(&mut self, attempt: &Attempt) {
        if !attempt.counts {
            return;
        }
        let failures = self.failures.get_or_insert_with(attempt.tracker, || 0);
        *failures = failures.saturating_add(1);
    }

    pub(super) fn succeeded(&mut self, tracker: TrackerId) {
        self.failures.remove(&tracker);
    }

    /// What was held against a tracker is forgotten, and what it has led to is not.
    pub(super) fn forget_tracker(&mut self, tracker: TrackerId) {
        self.failures.remove(&tracker);
        self.under_way.values_mut().filter(|a| a.tracker == tracker).for_each(|attempt| attempt.counts = false);
    }

    /// How many attempts each tracker has caused of those that `takes_one` names.
    pub(super) fn by_tracker(&self, takes_one: impl Fn(&Attempt) -> bool) -> FewMap<TrackerId, usize> {
        let mut counts = FewMap::new();
        for attempt in self.under_way.values().filter(|attempt| takes_one(attempt)) {
            *counts.get_or_insert_with(attempt.tracker, || 0) += 1;
        }
        counts
    }

    pub(super) fn is_led_to_by(&self, tracker: TrackerId) -> bool {
        self.under_way.values().any(|attempt| attempt.tracker == tracker)
    }

    /// When the next of these attempts becomes slow.
    pub(super) fn slow_at(&self, is_one: impl Fn(&Attempt) -> bool) -> Option<Instant> {
        let young = self.under_way.values().filter(|attempt| !attempt.slow && is_one(attempt));
        young.map(|attempt| attempt.begun + PATIENCE).min()
    }

    pub(super) fn age(&mut self, now: Instant) {
        for attempt in self.under_way.values_mut() {
            attempt.slow |= now >= attempt.begun + PATIENCE;
        }
    }

    #[cfg(test)]
    pub(super) fn get(&self, id: AttemptId) -> Option<&Attempt> {
        self.under_way.get(&id)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.under_way.values()
    }
}
