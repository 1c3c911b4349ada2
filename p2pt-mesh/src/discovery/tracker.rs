//! One tracker: what it reported, what was reported for it, and when it is asked again.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use crate::Instant;

/// Offers made at most with one announce: what the strictest tracker hands on.
pub(super) const MAX_OFFERS: usize = 10;

/// Offers made as long as a tracker has not reported how many members it knows: as many as JavaScript makes.
pub(super) const FIRST_OFFERS: usize = 5;

/// Offers made while a tracker knows more members than were met there, but no more than were met in all: some of them
/// may be unknown peers, more likely they are peers met elsewhere.
pub(super) const PROBES: usize = 1;

/// The shortest time between two announces in a burst. A third of it is added at random at most, so that nodes that have
/// started together do not announce together for ever.
pub(super) const BURST_SPACING: Duration = Duration::from_secs(3);

/// A burst lasts no longer, and no longer than so many announces, however many members a tracker claims to have.
pub(super) const BURST_TIME: Duration = Duration::from_secs(75);

/// See [`BURST_TIME`].
pub(super) const BURST_ANNOUNCES: u32 = 20;

/// After this time from the beginning of a burst there may be another.
pub(super) const BURST_AGAIN: Duration = Duration::from_secs(300);

/// The shortest time between two announces where there was a burst lately.
pub(super) const SLOW_SPACING: Duration = Duration::from_secs(15);

/// The shortest time between two announces that the application asks for.
pub(super) const REQUEST_SPACING: Duration = Duration::from_secs(5);

/// The shortest time from an announce or a reply to the next announce.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// With so many replies of no avail in a row, or as many as it takes until each unknown peer has most likely got two
/// offers, the time between two announces is doubled with each that follows. Without the latter, two in a swarm of 40
/// that have met all others but each other would take minutes.
pub(super) const TOLERANCE: u32 = 2;

/// From here on, the tracker's own interval does the asking.
const INTERVAL: Duration = Duration::from_secs(120);

/// How soon an announce without offers is followed by one with offers where the reply named unknown peers: from half
/// of this time on.
const CORRECTION: Duration = Duration::from_secs(1);

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
    /// When it was last asked.
    asked_at: Option<Instant>,
    /// It has not replied to that.
    awaits_reply: bool,
    /// The announce last made because the application asked for it, or to be made.
    requested: Option<Instant>,
    /// A peer was met there since it reported how many members it knows: by now it may know more.
    is_stale: bool,
    /// Replies that named unknown peers since a peer was met there or the number of members grew.
    fruitless: u32,
    /// The last burst.
    burst: Option<Burst>,
    /// How often the time between two announces has been doubled.
    doublings: u32,
}

/// A time in which a tracker is asked often.
#[derive(Debug)]
struct Burst {
    began: Instant,
    announces: u32,
}

impl Burst {
    fn is_used_up(&self, now: Instant) -> bool {
        self.announces >= BURST_ANNOUNCES || now >= self.began + BURST_TIME
    }
}

impl Tracker {
    /// The tracker is as one that was just added, but that the burst it had counts.
    pub(super) fn reset(&mut self) {
        let Self { offers, vacancies, requested, asked_at, .. } = *self;
        *self = Self { offers, vacancies, requested, asked_at, burst: self.burst.take(), ..Self::default() };
    }

    /// The swarm is another one there, which is announced at this moment.
    ///
    /// That announce is not waited for as those made here are, since the tracker may be out of reach just now, but it
    /// keeps the next one off: without it, a request of the application or a loss could have the tracker asked several
    /// times at once.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        let Self { vacancies, requested, .. } = *self;
        *self = Self { vacancies, requested, asked_at: Some(now), ..Self::default() };
    }

    /// The tracker knows so many members, and so many peers need no offer.
    pub(super) fn on_reply(&mut self, now: Instant, rng: &mut impl Rng, members: usize, satisfied: usize) {
        if self.members.replace(members).is_none_or(|before| members > before) {
            self.has_news(now);
        }
        self.is_stale = false;
        // Counted from the announce, where that is known: some trackers take seconds to reply.
        let asked_at = self.asked_at.filter(|_| std::mem::take(&mut self.awaits_reply)).unwrap_or(now);
        let is_used_up = self.burst.as_ref().is_some_and(|burst| burst.is_used_up(now));
        if members <= 1 + satisfied {
            (self.announce_at, self.fruitless, self.doublings) = (None, 0, 0);
        } else if self.offers == Some(0) && self.vacancies > 0 && !is_used_up {
            let soon = now + CORRECTION / 2 + rng.random_range(Duration::ZERO..CORRECTION / 2);
            self.announce_at = Some(self.announce_at.map_or(soon, |at| at.min(soon)));
        } else if self.announce_at.is_none() {
            // Otherwise one is planned; some trackers reply to answers as if they were announces.
            if is_used_up || self.fruitless >= self.tolerance() {
                self.doublings = self.doublings.saturating_add(1);
            }
            let patience = self.patience(now, rng);
            self.announce_at = (patience < INTERVAL).then(|| (asked_at + patience).max(now + SHORTEST));
            self.fruitless = self.fruitless.saturating_add(1);
        }
    }

    /// A peer was met there, so it may know more.
    pub(super) fn on_met(&mut self, now: Instant, rng: &mut impl Rng) {
        self.has_news(now);
        let patience = self.patience(now, rng);
        self.ask_by(now + patience);
    }

    /// The application asks for an announce.
    pub(super) fn on_request(&mut self, now: Instant) {
        let at = match self.requested {
            Some(planned) if planned > now => planned,
            before => before.map_or(now, |before| now.max(before + REQUEST_SPACING)),
        };
        self.requested = Some(at);
        self.ask_by(at);
    }

    /// There is reason to ask, at this time at the latest, whether offers are wanted or not.
    pub(super) fn ask_by(&mut self, at: Instant) {
        self.is_stale = true;
        let at = self.asked_at.map_or(at, |asked| at.max(asked + SHORTEST));
        self.announce_at = Some(self.announce_at.map_or(at, |announce_at| announce_at.min(at)));
    }

    /// Asking has been of avail. A burst begins unless there was one lately.
    pub(super) fn has_news(&mut self, now: Instant) {
        (self.fruitless, self.doublings) = (0, 0);
        if self.burst.as_ref().is_none_or(|burst| now >= burst.began + BURST_AGAIN) {
            self.burst = Some(Burst { began: now, announces: 1 });
        }
    }

    /// See [`TOLERANCE`].
    fn tolerance(&self) -> u32 {
        let others = self.members.unwrap_or_default().saturating_sub(1);
        u32::try_from(others.saturating_mul(2).div_ceil(MAX_OFFERS))
            .unwrap_or(u32::MAX)
            .clamp(TOLERANCE, BURST_ANNOUNCES)
    }

    /// How long to wait before it is asked again.
    fn patience(&self, now: Instant, rng: &mut impl Rng) -> Duration {
        let doubled = BURST_SPACING.saturating_mul(2u32.saturating_pow(self.doublings)).min(INTERVAL);
        let bursts = self.burst.as_ref().is_some_and(|burst| !burst.is_used_up(now));
        let spacing = if bursts { doubled } else { doubled.max(SLOW_SPACING) };
        spacing + rng.random_range(Duration::ZERO..=spacing / 3)
    }

    /// Whether it is to be asked now.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.announce_at.is_none_or(|at| now < at) {
            return false;
        }
        self.announce_at = None;
        let is_of_use = self.offers != Some(0) || self.is_stale;
        if is_of_use {
            (self.asked_at, self.awaits_reply) = (Some(now), true);
        }
        if let Some(burst) = self.burst.as_mut().filter(|_| is_of_use) {
            burst.announces = burst.announces.saturating_add(1);
        }
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
            None => FIRST_OFFERS,
        };
        let offers = useful.min(self.vacancies + lacking);
        (self.offers.replace(offers) != Some(offers)).then_some(offers)
    }
}
