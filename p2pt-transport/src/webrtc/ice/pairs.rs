//! The pairs of addresses: which there are, which of them work, and when each is checked.

use std::{net::SocketAddr, time::Instant};

use super::{
    super::{
        candidate::{Candidate, CandidateKind, may_reach},
        stun::{IceRole, Request},
    },
    IceAgent, MAX_REMOTE_CANDIDATES, Path,
};

/// The most pairs that are checked, the best ones first (RFC 8445 section 6.1.2.5).
const MAX_PAIRS: usize = 100;

/// The most checks to an address that never answers, however often it is named: four series of [`SERIES`].
pub(super) const MAX_UNANSWERED: u8 = 28;

/// The checks of a series.
const SERIES: u8 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PairState {
    /// Checks go on, the next of them when it is due.
    Checking { due: Instant },
    /// Not checked any more, until a check of the other side arrives there.
    Resting,
    /// A check was answered.
    Valid,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) base: usize,
    pub(super) remote: usize,
    pub(super) priority: u64,
    pub(super) state: PairState,
    /// Checks of this series.
    pub(super) sent: u8,
    /// All checks that were not answered.
    pub(super) unanswered: u8,
    /// The other side wants it used.
    pub(super) nominated: bool,
    /// When anything authentic last came this way.
    pub(super) last_received: Option<Instant>,
}

impl IceAgent {
    /// Adds a candidate of the other side. One that nothing here can reach, or beyond the bounds, is passed over.
    pub(crate) fn add_remote(&mut self, now: Instant, candidate: Candidate) {
        let known = self.remotes.iter().any(|known| known.address == candidate.address);
        if known || self.remotes.len() >= MAX_REMOTE_CANDIDATES {
            return;
        }
        if !self.destinations.allow(candidate.address) {
            let remote = candidate.address;
            tracing::debug!(connection = self.key, %remote, "candidate refused: its destination is not allowed");
            return;
        }
        self.remotes.push(candidate);
        let remote = self.remotes.len() - 1;
        for base in 0..self.bases.len() {
            if may_reach(self.bases[base].address, candidate.address) {
                self.add_pair(now, base, remote);
            }
        }
    }

    fn add_pair(&mut self, now: Instant, base: usize, remote: usize) {
        let (ours, theirs) = (u64::from(self.bases[base].priority), u64::from(self.remotes[remote].priority));
        let (controlling, controlled) = match self.role {
            IceRole::Controlling(_) => (ours, theirs),
            IceRole::Controlled(_) => (theirs, ours),
        };
        // RFC 8445 section 6.1.2.3.
        let priority =
            (controlling.min(controlled) << 32) + 2 * controlling.max(controlled) + u64::from(controlling > controlled);
        let pair = Pair {
            base,
            remote,
            priority,
            state: PairState::Checking { due: now },
            sent: 0,
            unanswered: 0,
            nominated: false,
            last_received: None,
        };
        if self.pairs.len() < MAX_PAIRS {
            self.pairs.push(pair);
            return;
        }
        // Indices are names, so the worst pair that has led to nothing is replaced where it stands.
        let worst = (0..self.pairs.len())
            .filter(|index| self.pairs[*index].last_received.is_none())
            .min_by_key(|index| self.pairs[*index].priority);
        if let Some(worst) = worst.filter(|worst| self.pairs[*worst].priority < priority) {
            self.sent.retain(|sent| sent.pair != worst);
            self.pairs[worst] = pair;
        }
    }

    pub(super) fn path(&self, pair: usize) -> Path {
        let pair = &self.pairs[pair];
        Path { local: self.bases[pair.base].address, remote: self.remotes[pair.remote].address }
    }

    /// The pair of a path on which a check of the other side arrived, which may be new.
    pub(super) fn pair_received_on(&mut self, now: Instant, path: Path, request: &Request) -> Option<usize> {
        if let Some(known) = (0..self.pairs.len()).find(|index| self.path(*index) == path) {
            return Some(known);
        }
        let base = self.bases.iter().position(|base| base.address == path.local)?;
        let known = self.remotes.iter().position(|remote| remote.address == path.remote);
        match known {
            Some(remote) => self.add_pair(now, base, remote),
            None if self.remotes.len() < MAX_REMOTE_CANDIDATES => {
                let kind = CandidateKind::PeerReflexive;
                self.remotes.push(Candidate { address: path.remote, kind, priority: request.priority });
                self.add_pair(now, base, self.remotes.len() - 1);
            }
            None => return None,
        }
        (0..self.pairs.len()).find(|index| self.path(*index) == path)
    }

    /// Addresses at `base` are gone: pairs of it lead nowhere.
    pub(crate) fn remove_base(&mut self, address: SocketAddr) {
        for pair in 0..self.pairs.len() {
            if self.bases[self.pairs[pair].base].address == address {
                self.pairs[pair].state = PairState::Resting;
                self.pairs[pair].unanswered = MAX_UNANSWERED;
                if self.selected == Some(pair) {
                    tracing::debug!(connection = self.key, local = %address, "path lost: its local address is gone");
                    self.selected = None;
                }
                self.nomination = self.nomination.take().filter(|nomination| nomination.pair != pair);
            }
        }
    }

    pub(super) fn best_valid(&self) -> Option<usize> {
        let valid = (0..self.pairs.len()).filter(|index| self.pairs[*index].state == PairState::Valid);
        valid.max_by_key(|index| self.pairs[*index].priority)
    }

    /// When the next check that the other side has not asked for is due. It is for the endpoint to say when it is made.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        if self.remote.is_none() || self.selected.is_some() {
            return None;
        }
        self.due_pairs().map(|(due, _)| due).min()
    }

    fn due_pairs(&self) -> impl Iterator<Item = (Instant, usize)> {
        self.pairs.iter().enumerate().filter_map(|(index, pair)| match pair.state {
            PairState::Checking { due } => Some((due, index)),
            PairState::Resting | PairState::Valid => None,
        })
    }

    /// Makes the most promising check that is due.
    pub(crate) fn check(&mut self, now: Instant) {
        let due = self.due_pairs().filter(|(due, _)| *due <= now).map(|(_, index)| index);
        if let Some(pair) = due.max_by_key(|index| self.pairs[*index].priority) {
            self.send_check(now, pair);
        }
    }

    pub(super) fn send_check(&mut self, now: Instant, index: usize) {
        let gap = self.first_gap * (1 << self.pairs[index].sent);
        let pair = &mut self.pairs[index];
        pair.sent += 1;
        pair.unanswered = pair.unanswered.saturating_add(1);
        if pair.state != PairState::Valid {
            let over = pair.sent >= SERIES || pair.unanswered >= MAX_UNANSWERED;
            pair.state = if over { PairState::Resting } else { PairState::Checking { due: now + gap } };
        }
        self.send_request(now, index, false);
    }
}
