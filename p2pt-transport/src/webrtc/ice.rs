//! One ICE agent: which of the address pairs work, and which of them is used (RFC 8445).
//!
//! It is our own, because what a stranger's description may cost is decided here: which addresses are checked at all, how
//! often, and when. For UDP, one component and complete or trickled descriptions there is little to it. Checks that the
//! other side has not asked for are made when the endpoint says so, which paces those of all connections together
//! ([`next_check`](IceAgent::next_check), [`check`](IceAgent::check)).

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt as _;
use rtc_crypto::RTCCryptoProvider;

use super::{
    candidate::{Candidate, CandidateKind},
    config::Destinations,
    datagram::Datagram,
    stun::{Credentials, IceRole, Request, Response, Transaction, Unverified, Writer},
};

/// The most candidates of the other side that are looked at, those learned from its checks included. Browsers on machines
/// with many addresses offer a dozen.
pub(crate) const MAX_REMOTE_CANDIDATES: usize = 32;

/// The most pairs that are checked, the best ones first (RFC 8445 section 6.1.2.5).
const MAX_PAIRS: usize = 100;

/// The most checks to an address that never answers, however often it is named: four series of [`SERIES`].
const MAX_UNANSWERED: u8 = 28;

/// The checks of a series.
const SERIES: u8 = 7;

/// A series is spread over the opening's deadline by doubling the gap after each check. At the default deadline of 15 s the
/// checks are made after 0, 0.25, 0.75, 1.75, 3.75, 7.75 and 15.75 s: a translation that one of them opens is still open at
/// the next (RFC 4787 demands two minutes, and the shortest seen in the wild are 10 s).
const FIRST_GAP_DIVISOR: u32 = 60;

/// No gap is shorter.
const SHORTEST_GAP: Duration = Duration::from_millis(20);

/// How long better pairs are waited for when the first that works is reflexive, or relayed. Browsers that hide their
/// addresses are always peer-reflexive, and a better pair is there within a round trip or never.
const REFLEXIVE_WAIT: Duration = Duration::from_millis(50);
const RELAY_WAIT: Duration = Duration::from_millis(200);

/// When a nomination is made again that was not answered, doubled each time up to a second.
const NOMINATE_AGAIN: Duration = Duration::from_millis(100);

/// Requests whose responses are known, the newest ones.
const MAX_TRANSACTIONS: usize = 64;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PairState {
    /// Checks go on, the next of them when it is due.
    Checking { due: Instant },
    /// Not checked any more, until the other side is heard there.
    Resting,
    /// A check was answered.
    Valid,
}

#[derive(Debug)]
struct Pair {
    base: usize,
    remote: usize,
    priority: u64,
    state: PairState,
    /// Checks of this series.
    sent: u8,
    /// All checks that were not answered.
    unanswered: u8,
    /// The other side wants it used.
    nominated: bool,
    /// When anything authentic last came this way.
    heard: Option<Instant>,
}

/// A request whose response may come.
#[derive(Debug)]
struct Sent {
    transaction: Transaction,
    pair: usize,
    /// The role it was made in.
    role: IceRole,
    /// It was a nomination.
    nominates: bool,
    at: Instant,
}

/// A nomination under way.
#[derive(Debug)]
struct Nomination {
    pair: usize,
    again_at: Instant,
    wait: Duration,
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

    /// Adds a candidate of the other side. One that nothing here can reach, or beyond the bounds, is passed over.
    pub(crate) fn add_remote(&mut self, now: Instant, candidate: Candidate) {
        let known = self.remotes.iter().any(|known| known.address == candidate.address);
        if known || self.remotes.len() >= MAX_REMOTE_CANDIDATES || !self.destinations.allow(candidate.address) {
            return;
        }
        self.remotes.push(candidate);
        let remote = self.remotes.len() - 1;
        for base in 0..self.bases.len() {
            if super::candidate::may_reach(self.bases[base].address, candidate.address) {
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
            heard: None,
        };
        if self.pairs.len() < MAX_PAIRS {
            self.pairs.push(pair);
            return;
        }
        // Indices are names, so the worst pair that has led to nothing is replaced where it stands.
        let worst = (0..self.pairs.len())
            .filter(|index| self.pairs[*index].heard.is_none())
            .min_by_key(|index| self.pairs[*index].priority);
        if let Some(worst) = worst.filter(|worst| self.pairs[*worst].priority < priority) {
            self.sent.retain(|sent| sent.pair != worst);
            self.pairs[worst] = pair;
        }
    }

    fn path(&self, pair: usize) -> Path {
        let pair = &self.pairs[pair];
        Path { local: self.bases[pair.base].address, remote: self.remotes[pair.remote].address }
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

    /// The last measured round trip of a check.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Addresses at `base` are gone: pairs of it lead nowhere.
    pub(crate) fn remove_base(&mut self, address: SocketAddr) {
        for pair in 0..self.pairs.len() {
            if self.bases[self.pairs[pair].base].address == address {
                self.pairs[pair].state = PairState::Resting;
                self.pairs[pair].unanswered = MAX_UNANSWERED;
                self.selected = self.selected.filter(|selected| *selected != pair);
                self.nomination = self.nomination.take().filter(|nomination| nomination.pair != pair);
            }
        }
    }

    fn best_valid(&self) -> Option<usize> {
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

    fn send_check(&mut self, now: Instant, index: usize) {
        let gap = self.first_gap * (1 << self.pairs[index].sent.min(SERIES));
        let pair = &mut self.pairs[index];
        pair.sent += 1;
        pair.unanswered = pair.unanswered.saturating_add(1);
        if pair.state != PairState::Valid {
            let over = pair.sent >= SERIES || pair.unanswered >= MAX_UNANSWERED;
            pair.state = if over { PairState::Resting } else { PairState::Checking { due: now + gap } };
        }
        self.send_request(now, index, false);
    }

    fn send_request(&mut self, now: Instant, pair: usize, nominate: bool) {
        let Some(remote) = &self.remote else { return };
        let mut transaction: Transaction = rand::random();
        transaction[..4].copy_from_slice(&self.key.to_be_bytes());
        // What the other side would learn of this path if it did not know it (RFC 8445 section 7.1.1).
        let rank = u16::MAX - (self.bases[self.pairs[pair].base].priority >> 8) as u16;
        let priority = CandidateKind::PeerReflexive.priority(rank);
        let data = self.writer.request(transaction, &self.local.ufrag, remote, (self.role, priority, nominate));
        if self.sent.len() == MAX_TRANSACTIONS {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { transaction, pair, role: self.role, nominates: nominate, at: now });
        self.transmit(self.path(pair), data);
    }

    fn transmit(&mut self, path: Path, data: bytes::BytesMut) {
        self.transmits.push_back(Datagram { local: path.local, remote: path.remote, data });
    }

    /// Takes a message that came along `path`. Whether it was authentic.
    pub(crate) fn handle_message(&mut self, now: Instant, path: Path, message: Unverified<'_>) -> bool {
        let Some(remote) = &self.remote else { return false };
        if let Some(request) = message.request(&self.local, &remote.ufrag, &*self.crypto) {
            self.handle_request(now, path, request);
            return true;
        }
        let Some(at) = self.sent.iter().position(|sent| sent.transaction == message.transaction()) else {
            return false;
        };
        let Some(response) = message.response(remote, &*self.crypto) else { return false };
        let Some(sent) = self.sent.remove(at) else { return false };
        // A response from elsewhere says that the path is no path (RFC 8445 section 7.2.5.2.1).
        if self.path(sent.pair) == path {
            self.handle_response(now, &sent, response);
        }
        true
    }

    fn handle_request(&mut self, now: Instant, path: Path, request: Request) {
        if !self.destinations.allow(path.remote) || !self.settle_roles(path, &request) {
            return;
        }
        let response = self.writer.success(request.transaction, &self.local, path.remote);
        self.transmit(path, response);
        let Some(index) = self.pair_heard_from(now, path, &request) else { return };
        let pair = &mut self.pairs[index];
        pair.heard = Some(now);
        pair.nominated |= request.use_candidate;
        if pair.state == PairState::Valid {
            if request.use_candidate {
                self.follow(now, index);
            } else if self.selected_is_stale(now) {
                self.select(now, index);
            }
        } else if pair.unanswered < MAX_UNANSWERED {
            // The other side is there: a new series, whose first check is asked for and needs no permission.
            pair.sent = 0;
            self.send_check(now, index);
        }
    }

    /// Whether the request can be answered as its author's role demands; if not, it has been told so.
    fn settle_roles(&mut self, path: Path, request: &Request) -> bool {
        let (ours, theirs, conflict) = match (self.role, request.role) {
            (IceRole::Controlling(ours), Some(IceRole::Controlling(theirs))) => (ours, theirs, true),
            (IceRole::Controlled(ours), Some(IceRole::Controlled(theirs))) => (ours, theirs, true),
            _ => (0, 0, false),
        };
        if !conflict {
            return true;
        }
        let controls = matches!(self.role, IceRole::Controlling(_));
        if (ours >= theirs) == controls {
            let response = self.writer.role_conflict(request.transaction, &self.local);
            self.transmit(path, response);
            return false;
        }
        self.switch_role();
        true
    }

    fn switch_role(&mut self) {
        self.role = match self.role {
            IceRole::Controlling(number) => IceRole::Controlled(number),
            IceRole::Controlled(number) => IceRole::Controlling(number),
        };
        self.nomination = None;
    }

    /// The pair of a path on which the other side was heard, which may be new.
    fn pair_heard_from(&mut self, now: Instant, path: Path, request: &Request) -> Option<usize> {
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

    fn handle_response(&mut self, now: Instant, sent: &Sent, response: Response) {
        match response {
            Response::Success => {}
            Response::RoleConflict => {
                // Several checks may meet the same conflict, which is settled once (RFC 8445 section 7.2.5.1).
                if self.role == sent.role {
                    self.switch_role();
                }
                self.send_request(now, sent.pair, false);
                return;
            }
            Response::Error => return,
        }
        self.round_trip = Some(now.saturating_duration_since(sent.at));
        let pair = &mut self.pairs[sent.pair];
        pair.heard = Some(now);
        pair.unanswered = 0;
        if pair.state != PairState::Valid {
            pair.state = PairState::Valid;
            let (nominated, path) = (pair.nominated, self.path(sent.pair));
            self.events.push_back(IceEvent::Validated(path));
            if nominated {
                self.follow(now, sent.pair);
            }
        }
        // The answer to an earlier check of that pair does not say that the nomination has arrived.
        if sent.nominates && self.nomination.as_ref().is_some_and(|nomination| nomination.pair == sent.pair) {
            self.nomination = None;
            self.select(now, sent.pair);
        } else if self.selected_is_stale(now) {
            self.select(now, sent.pair);
        }
        self.consider_nomination(now);
    }

    /// Takes the pair the other side has nominated. Some nominate one after the other and want the best of them; one
    /// after whose choice nothing is heard is not followed to the end.
    fn follow(&mut self, now: Instant, pair: usize) {
        let better = self.selected.is_none_or(|selected| self.pairs[pair].priority >= self.pairs[selected].priority);
        if matches!(self.role, IceRole::Controlled(_)) && (better || self.selected_is_stale(now)) {
            self.select(now, pair);
        }
    }

    /// Whether nothing has been heard on the path in use for longer than a keepalive and its answer take: the other side's
    /// address translation has changed, or one of the networks.
    fn selected_is_stale(&self, now: Instant) -> bool {
        self.selected
            .is_some_and(|selected| self.pairs[selected].heard.is_none_or(|heard| now > heard + self.keepalive * 3 / 2))
    }

    fn select(&mut self, now: Instant, pair: usize) {
        if self.selected == Some(pair) {
            return;
        }
        self.selected = Some(pair);
        self.keepalive_at = Some(self.aligned(now));
        self.events.push_back(IceEvent::Selected(self.path(pair)));
    }

    /// The time of the next keepalive: at most one interval from now, and together with those of others.
    fn aligned(&self, now: Instant) -> Instant {
        let grid = (self.keepalive / 4).max(Duration::from_millis(1));
        let past = now.saturating_duration_since(self.epoch).as_nanos() % grid.as_nanos();
        // It is less than the grid, which is less than u64 nanoseconds.
        now + self.keepalive - Duration::from_nanos(past as u64)
    }

    /// Decides which pair is used, if that is for this side to decide and enough is known.
    fn consider_nomination(&mut self, now: Instant) {
        if self.nomination_due().is_some_and(|due| due <= now)
            && let Some(pair) = self.best_valid()
        {
            self.nominate(now, Nomination { pair, again_at: now, wait: NOMINATE_AGAIN });
        }
    }

    /// When the best pair that works so far is good enough.
    fn nomination_due(&self) -> Option<Instant> {
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

    fn nominate(&mut self, now: Instant, mut nomination: Nomination) {
        self.send_request(now, nomination.pair, true);
        nomination.again_at = now + nomination.wait;
        nomination.wait = (nomination.wait * 2).min(Duration::from_secs(1));
        self.nomination = Some(nomination);
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
