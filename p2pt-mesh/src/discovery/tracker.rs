//! One tracker: what it reported, what was reported for it, and when it is asked again.

use std::time::Duration;

use crate::Instant;

/// Offers made at most with one announce, and as long as a tracker has not said how many members it knows: as many as
/// JavaScript makes.
pub(super) const MAX_OFFERS: usize = 5;

/// Offers made while a tracker knows more members than were met there, but no more than were met in all: some of them
/// may be unknown peers, more likely they are peers met elsewhere.
pub(super) const PROBES: usize = 1;

/// While a tracker knows unknown peers, it is asked again after this time. After twice as long when it was asked so often
/// that each of them has most likely got two offers, and none was met there; and so on.
pub(super) const REANNOUNCE_FIRST: Duration = Duration::from_secs(15);

/// From here on, the tracker's own interval does the asking.
const REANNOUNCE_LAST: Duration = Duration::from_secs(120);

/// How often a tracker is asked at most before the time between is doubled; as often as in a swarm of 40. A tracker may
/// claim any number of members.
pub(super) const MAX_REPEATS: u32 = 15;

#[derive(Debug, Default)]
pub(super) struct Tracker {
    members: Option<usize>,
    /// How many offers were last reported to be wanted.
    pub(super) offers: Option<usize>,
    /// With how many more peers an attempt may begin.
    pub(super) vacancies: usize,
    /// How many of the peers that need no offer are members there.
    pub(super) satisfied_here: usize,
    /// When it is asked again before its interval is over.
    pub(super) announce_at: Option<Instant>,
    /// A peer was met there since it said how many members it knows: by now it may know more.
    is_stale: bool,
    /// How often it has been asked again since a peer was met there.
    repeats: u32,
}

impl Tracker {
    pub(super) fn reset(&mut self) {
        *self = Self { vacancies: self.vacancies, ..Self::default() };
    }

    /// The tracker knows so many members, and so many peers need no offer.
    pub(super) fn on_reply(&mut self, now: Instant, members: usize, satisfied: usize) {
        self.members = Some(members);
        self.is_stale = false;
        let unknown = members.saturating_sub(1 + satisfied);
        if unknown == 0 {
            self.repeats = 0;
        }
        self.announce_at = self.patience().filter(|_| unknown > 0).map(|patience| now + patience);
    }

    /// There is reason to ask, at this time at the latest, and as patiently as for a new peer.
    pub(super) fn begin_anew(&mut self, at: Instant) {
        self.repeats = 0;
        self.is_stale = true;
        self.announce_at = Some(self.announce_at.map_or(at, |announce_at| announce_at.min(at)));
    }

    /// How long to wait before it is asked again, unless its interval does.
    fn patience(&self) -> Option<Duration> {
        let others = self.members.unwrap_or_default().saturating_sub(1);
        let each = u32::try_from(2 * (others / MAX_OFFERS)).unwrap_or(u32::MAX).clamp(1, MAX_REPEATS);
        Some(REANNOUNCE_FIRST * 2u32.saturating_pow(self.repeats / each)).filter(|delay| *delay < REANNOUNCE_LAST)
    }

    /// Whether it is to be asked now.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.announce_at.is_none_or(|at| now < at) {
            return false;
        }
        self.announce_at = None;
        let is_of_use = self.offers != Some(0) || self.is_stale;
        self.repeats += u32::from(is_of_use);
        is_of_use
    }

    /// How many offers announces should carry from now on, if that has changed: some while the tracker may know unknown
    /// peers, none when the swarm is full. `lacking` peers are connected and further channels to them are sought.
    pub(super) fn report_offers(&mut self, satisfied: usize, lacking: usize) -> Option<usize> {
        let useful = match self.members.map(|members| members.saturating_sub(1)) {
            // Recipients are drawn from all members, so more offers than unknown peers reach them sooner.
            Some(others) if others > satisfied => others.min(MAX_OFFERS),
            Some(others) if others > self.satisfied_here => PROBES,
            Some(_) => 0,
            None => MAX_OFFERS,
        };
        let offers = useful.min(self.vacancies + lacking);
        (self.offers.replace(offers) != Some(offers)).then_some(offers)
    }
}
