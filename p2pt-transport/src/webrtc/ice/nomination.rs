//! Which of the pairs that work is used: who decides, when, and when that is not kept to.

use std::time::{Duration, Instant};

use super::{
    super::{candidate::CandidateKind, stun::IceRole},
    IceAgent, IceEvent,
    pairs::{Pair, PairState},
};

/// How long better pairs are waited for when the first that works is reflexive, or relayed. Browsers that hide their
/// addresses are always peer-reflexive, and a better pair is there within a round trip or never.
const REFLEXIVE_WAIT: Duration = Duration::from_millis(50);

const RELAY_WAIT: Duration = Duration::from_millis(200);

/// When a nomination is made again that was not answered, doubled each time up to a second.
const NOMINATE_AGAIN: Duration = Duration::from_millis(100);

/// A nomination under way.
#[derive(Debug)]
pub(super) struct Nomination {
    pub(super) pair: usize,
    pub(super) again_at: Instant,
    pub(super) wait: Duration,
}

impl IceAgent {
    /// Takes the pair the other side has nominated. Some nominate one after the other and want the best of them; a
    /// nomination after which nothing arrives on the selected pair is not kept to.
    pub(super) fn follow(&mut self, now: Instant, pair: usize) {
        let better = self.selected.is_none_or(|selected| self.pairs[pair].priority >= self.pairs[selected].priority);
        if matches!(self.role, IceRole::Controlled(_)) && (better || self.selected_is_stale(now)) {
            self.select(now, pair);
        }
    }

    /// Whether nothing has been received on the path in use for longer than a keepalive and its answer take: the other side's
    /// address translation has changed, or one of the networks.
    pub(super) fn selected_is_stale(&self, now: Instant) -> bool {
        self.selected.is_some_and(|selected| {
            self.pairs[selected].last_received.is_none_or(|at| now > at + self.keepalive * 3 / 2)
        })
    }

    pub(super) fn select(&mut self, now: Instant, pair: usize) {
        if self.selected == Some(pair) {
            return;
        }
        let replaces = self.selected.replace(pair).is_some();
        let path = self.path(pair);
        tracing::debug!(
            connection = self.key,
            local = %path.local,
            remote = %path.remote,
            replaces,
            "candidate pair nominated"
        );
        self.keepalive_at = Some(self.aligned(now));
        self.events.push_back(IceEvent::Selected(path));
    }

    /// Decides which pair is used, if that is for this side to decide and enough is known.
    pub(super) fn consider_nomination(&mut self, now: Instant) {
        if self.nomination_due().is_some_and(|due| due <= now)
            && let Some(pair) = self.best_valid()
        {
            self.nominate(now, Nomination { pair, again_at: now, wait: NOMINATE_AGAIN });
        }
    }

    /// When the best pair that works so far is good enough.
    pub(super) fn nomination_due(&self) -> Option<Instant> {
        if self.selected.is_some() || self.nomination.is_some() || !matches!(self.role, IceRole::Controlling(_)) {
            return None;
        }
        let (best, started) = (&self.pairs[self.best_valid()?], self.started?);
        let better = |pair: &Pair| matches!(pair.state, PairState::Checking { .. }) && pair.priority > best.priority;
        let wait = match (self.bases[best.base].kind, self.remotes[best.remote].kind) {
            _ if !self.pairs.iter().any(better) => Duration::ZERO,
            (CandidateKind::Host, CandidateKind::Host) => Duration::ZERO,
            (CandidateKind::Relay, _) | (_, CandidateKind::Relay) => RELAY_WAIT,
            _ => REFLEXIVE_WAIT,
        };
        Some(started + wait)
    }

    pub(super) fn nominate(&mut self, now: Instant, mut nomination: Nomination) {
        self.send_request(now, nomination.pair, true);
        nomination.again_at = now + nomination.wait;
        nomination.wait = (nomination.wait * 2).min(Duration::from_secs(1));
        self.nomination = Some(nomination);
    }
}
