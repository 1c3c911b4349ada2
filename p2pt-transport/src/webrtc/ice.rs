//! One ICE agent: which of the address pairs work, and which of them is used (RFC 8445).
//!
//! The implementation is this crate's own, because it decides what the description of an unknown peer may cost: which addresses are checked at all, how
//! often, and when. For UDP, one component and complete or trickled descriptions there is little to it. Checks that the
//! other side has not asked for are made when the endpoint says so, which paces those of all connections together
//! ([`next_check`](IceAgent::next_check), [`check`](IceAgent::check)).

mod messages;
mod nomination;
mod pairs;

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt as _;
use rtc_crypto::RTCCryptoProvider;

use self::{
    messages::Sent,
    nomination::Nomination,
    pairs::{Pair, PairState},
};
use super::{
    candidate::{Candidate, CandidateKind},
    config::Destinations,
    datagram::Datagram,
    stun::{Credentials, IceRole, Transaction, Writer},
};

/// The most candidates of the other side that are looked at, those learned from its checks included. Browsers on machines
/// with many addresses offer a dozen.
pub(crate) const MAX_REMOTE_CANDIDATES: usize = 32;

/// A series is spread over the opening's deadline by doubling the gap after each check. At the default deadline of 15 s the
/// checks are made after 0, 0.25, 0.75, 1.75, 3.75, 7.75 and 15.75 s: a translation that one of them opens is still open at
/// the next (RFC 4787 demands two minutes, and the shortest seen in the wild are 10 s).
const FIRST_GAP_DIVISOR: u32 = 60;

/// No gap is shorter.
const SHORTEST_GAP: Duration = Duration::from_millis(20);

/// Keepalives in the time after which silence is death: a peer that lives answers some of them.
const KEEPALIVES: u32 = 4;

/// The local and the remote address that datagrams travel between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// An address that checks leave from: that of a socket, or one at a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) address: SocketAddr,
    /// `Host` or `Relay`.
    pub(crate) kind: CandidateKind,
    pub(crate) priority: u32,
}

/// What the agent has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IceEvent {
    /// The other side has proven that it is there: a check to it was answered.
    Validated(Path),
    /// This is the path to use from now on.
    Selected(Path),
}

/// The agent of one connection.
pub(crate) struct IceAgent {
    writer: Writer,
    crypto: Arc<dyn RTCCryptoProvider>,
    /// The number of the connection, by which responses find it.
    key: u32,
    destinations: Destinations,
    role: IceRole,
    local: Credentials,
    remote: Option<Credentials>,
    bases: Vec<Base>,
    remotes: Vec<Candidate>,
    pairs: Vec<Pair>,
    started: Option<Instant>,
    first_gap: Duration,
    keepalive: Duration,
    keepalive_at: Option<Instant>,
    /// What keepalives of all connections are aligned to.
    epoch: Instant,
    selected: Option<usize>,
    nomination: Option<Nomination>,
    sent: VecDeque<Sent>,
    round_trip: Option<Duration>,
    transmits: VecDeque<Datagram>,
    events: VecDeque<IceEvent>,
}

impl std::fmt::Debug for IceAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceAgent")
            .field("role", &self.role)
            .field("bases", &self.bases)
            .field("remotes", &self.remotes)
            .field("pairs", &self.pairs)
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}

/// What an agent is made with.
#[derive(Clone)]
pub(crate) struct IceConfig {
    pub(crate) crypto: Arc<dyn RTCCryptoProvider>,
    /// Which addresses may be sent to.
    pub(crate) destinations: Destinations,
    /// How long an open connection may be silent.
    pub(crate) silence: Duration,
    /// How long finding a path may take.
    pub(crate) path_timeout: Duration,
    /// What the keepalives of all connections are aligned to, so that they wake the process together.
    pub(crate) epoch: Instant,
}

/// How many characters a user name fragment has: 47 bits, so that no two connections of a transport share one.
const UFRAG_CHARACTERS: usize = 8;

/// How many characters a password has: 143 bits; RFC 8445 section 5.3 demands 128.
const PWD_CHARACTERS: usize = 24;

fn random_text(characters: usize) -> String {
    const ICE_CHARACTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    (0..characters).map(|_| char::from(ICE_CHARACTERS[rng.random_range(0..ICE_CHARACTERS.len())])).collect()
}

impl IceAgent {
    /// An agent of connection `key`; `controls` if it is the offerer's.
    pub(crate) fn new(config: &IceConfig, key: u32, controls: bool, bases: Vec<Base>) -> Self {
        let tie_breaker = rand::random();
        Self {
            writer: Writer::new(config.crypto.clone()),
            crypto: config.crypto.clone(),
            key,
            destinations: config.destinations,
            role: if controls { IceRole::Controlling(tie_breaker) } else { IceRole::Controlled(tie_breaker) },
            local: Credentials { ufrag: random_text(UFRAG_CHARACTERS), pwd: random_text(PWD_CHARACTERS) },
            remote: None,
            bases,
            remotes: Vec::new(),
            pairs: Vec::new(),
            started: None,
            first_gap: (config.path_timeout / FIRST_GAP_DIVISOR).max(SHORTEST_GAP),
            keepalive: config.silence / KEEPALIVES,
            keepalive_at: None,
            epoch: config.epoch,
            selected: None,
            nomination: None,
            sent: VecDeque::new(),
            round_trip: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The number of the connection, by which events of the log name it.
    pub(crate) fn key(&self) -> u32 {
        self.key
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.local
    }

    /// The connection a response is for, if it is one to a request of any agent.
    pub(crate) fn key_of(transaction: &Transaction) -> u32 {
        u32::from_be_bytes([transaction[0], transaction[1], transaction[2], transaction[3]])
    }

    /// Begins to check, once the other side's description is known.
    /// A side that is `lite` makes no checks, and leaves it to this one to decide (RFC 8445 section 6.1.1).
    pub(crate) fn start(&mut self, now: Instant, remote: Credentials, candidates: &[Candidate], lite: bool) {
        if lite && matches!(self.role, IceRole::Controlled(_)) {
            self.switch_role();
        }
        self.remote = Some(remote);
        self.started = Some(now);
        for candidate in candidates {
            self.add_remote(now, *candidate);
        }
    }

    /// The path in use, or that of the best pair that works so far.
    pub(crate) fn best_path(&self) -> Option<Path> {
        self.selected.or_else(|| self.best_valid()).map(|pair| self.path(pair))
    }

    /// Whether both sides agree on a path.
    pub(crate) fn has_selected(&self) -> bool {
        self.selected.is_some()
    }

    /// The kinds of the candidates of the path in use.
    pub(crate) fn selected_kinds(&self) -> Option<(CandidateKind, CandidateKind)> {
        let pair = &self.pairs[self.selected.or_else(|| self.best_valid())?];
        Some((self.bases[pair.base].kind, self.remotes[pair.remote].kind))
    }

    /// The kinds of the candidates of each pair that works, local and remote.
    pub(crate) fn working_kinds(&self) -> BTreeSet<(CandidateKind, CandidateKind)> {
        let works = self.pairs.iter().filter(|pair| pair.state == PairState::Valid);
        works.map(|pair| (self.bases[pair.base].kind, self.remotes[pair.remote].kind)).collect()
    }

    /// The last measured round trip of a check.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The time of the next keepalive: at most one interval from now, and together with those of others.
    fn aligned(&self, now: Instant) -> Instant {
        let grid = (self.keepalive / 4).max(Duration::from_millis(1));
        let past = now.saturating_duration_since(self.epoch).as_nanos() % grid.as_nanos();
        // It is less than the grid, which is less than u64 nanoseconds.
        now + self.keepalive - Duration::from_nanos(past as u64)
    }

    /// Does what is due: nominations and keepalives, which go to addresses that have answered.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.consider_nomination(now);
        if let Some(nomination) = self.nomination.take_if(|nomination| nomination.again_at <= now) {
            self.nominate(now, nomination);
        }
        if let (Some(at), Some(pair)) = (self.keepalive_at, self.selected)
            && at <= now
        {
            self.keepalive_at = Some(self.aligned(now));
            self.send_request(now, pair, false);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let again = self.nomination.as_ref().map(|nomination| nomination.again_at);
        let keepalive = self.keepalive_at.filter(|_| self.selected.is_some());
        [self.nomination_due(), again, keepalive].into_iter().flatten().min()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Datagram> {
        self.transmits.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<IceEvent> {
        self.events.pop_front()
    }
}
