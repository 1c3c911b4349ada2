//! One allocation: a relayed address at one server, for one socket.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_stun::{
    attributes::{ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS},
    message::{CLASS_ERROR_RESPONSE, Message},
};

use super::{
    RelayServer, RelayedAddress,
    message::{self, Authentication, Purpose},
    peers::{Peers, Permission},
};
use crate::ServerProblem;
use crate::webrtc::{
    datagram::Datagram,
    reachability::Outcome,
    transaction::{Step, Transaction, backoff, is_usable},
};

/// How many requests may be under way. A permission that finds no room is asked for by a later datagram to its peer.
const MAX_REQUESTS: usize = 128;

/// How many times a request is sent anew because the server named another nonce.
const MAX_NONCES: u8 = 3;

/// How often permissions and channels are looked after, and the NAT in front of the server is kept from forgetting this
/// side: after 20 s at most, where NATs commonly forget after 30 s (Linux' `nf_conntrack_udp_timeout`).
const ROUND: Duration = Duration::from_secs(10);

/// How soon the next round is when a round found no room for all its requests.
const SHORT_ROUND: Duration = Duration::from_secs(1);

/// After how long an allocation that no offer waits on and no connection sends through is given back. An answer and an
/// opening connection, which send nothing for at most 30 s by default, must not lose theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The least lifetime that is believed. RFC 8656 section 7.2 knows none below 10 minutes; refreshing more often than each
/// 30 s is not a client's duty.
const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// The longest time between refreshes, so that a server that restarted is noticed: half of the default lifetime.
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// How soon a refresh that was not answered is repeated, and how many may fail in a row: the allocation outlives an outage
/// of 20 s.
const REFRESH_RETRY: Duration = Duration::from_secs(5);
const MAX_REFRESH_FAILURES: u32 = 3;

/// An allocation that was lost sooner than this after it was made is not made again at once.
const MIN_HELD: Duration = Duration::from_secs(60);

/// How soon, and how many times at most, an allocation is asked for again that an old one is in the way of: coturn
/// forgets one that was given back after a second or two.
const MISMATCH_RETRY: Duration = Duration::from_secs(1);
const MAX_MISMATCHES: u32 = 4;

/// RFC 8656 section 18.8 and RFC 8489 section 14.8.
mod code {
    pub(super) const UNAUTHENTICATED: u16 = 401;
    pub(super) const ALLOCATION_MISMATCH: u16 = 437;
    pub(super) const STALE_NONCE: u16 = 438;
    /// From here on the fault is the server's, and may pass.
    pub(super) const SERVER_ERROR: u16 = 500;
}

#[derive(Debug)]
enum Phase {
    /// There is none.
    Idle,
    /// One is asked for, anew at `retry` if an old one was in its way so many times.
    Allocating { mismatches: u32, retry: Option<Instant> },
    /// There is one.
    Held(Held),
    /// It is being given back, and then asked for `again`.
    Releasing { again: bool },
}

#[derive(Debug)]
struct Held {
    address: RelayedAddress,
    since: Instant,
    expires: Instant,
    refresh: Instant,
    /// Refreshes in a row that were not answered.
    failures: u32,
    round: Instant,
}

/// A request under way.
struct Pending {
    purpose: Purpose,
    transaction: Transaction,
    authenticated: bool,
    nonces: u8,
}

/// An allocation, and the wish to have one.
pub(super) struct Allocation {
    socket: SocketAddr,
    server: RelayServer,
    crypto: Arc<dyn RTCCryptoProvider>,
    phase: Phase,
    /// Whether the server has allocated, refused or been given up since there was no allocation.
    settled: bool,
    /// Whether its server is among those that were requested last.
    listed: bool,
    /// Whether offers wait, so that the allocation is kept, and made again when it is lost.
    wanted: bool,
    used: Instant,
    /// What came of allocating, until it is asked for.
    outcome: Option<Outcome>,
    /// Failures in a row to allocate.
    failures: u32,
    /// Not asked for again before.
    again: Instant,
    authentication: Option<Authentication>,
    requests: Vec<Pending>,
    peers: Peers,
    sent: Instant,
    transmits: VecDeque<Datagram>,
}

impl Allocation {
    pub(super) fn new(
        now: Instant,
        socket: SocketAddr,
        server: RelayServer,
        crypto: Arc<dyn RTCCryptoProvider>,
    ) -> Self {
        Self {
            socket,
            server,
            crypto,
            phase: Phase::Idle,
            settled: false,
            listed: true,
            wanted: false,
            used: now,
            outcome: None,
            failures: 0,
            again: now,
            authentication: None,
            requests: Vec::new(),
            peers: Peers::default(),
            sent: now,
            transmits: VecDeque::new(),
        }
    }

    /// An offer or answer wants the relayed address.
    pub(super) fn request(&mut self, now: Instant, server: &RelayServer) {
        self.used = now;
        self.listed = true;
        if self.server != *server {
            self.server = server.clone();
            self.authentication = None;
            (self.failures, self.again) = (0, now);
            self.settled = self.held().is_some();
        }
        if let Phase::Releasing { again } = &mut self.phase {
            *again = true;
        }
        self.allocate_when_due(now);
    }

    /// The server is no longer among those that are requested.
    pub(super) fn unlist(&mut self, now: Instant) {
        self.keep_alive(now, false);
        self.listed = false;
    }

    pub(super) fn keep_alive(&mut self, now: Instant, wanted: bool) {
        let wanted = wanted && self.listed;
        if self.wanted || wanted {
            self.used = now;
        }
        self.wanted = wanted;
        if wanted {
            self.allocate_when_due(now);
        }
    }

    /// The relayed address that is held.
    pub(super) fn held(&self) -> Option<SocketAddr> {
        match &self.phase {
            Phase::Held(held) => Some(held.address.relayed),
            _ => None,
        }
    }

    /// The address to be offered: not while the server does not answer.
    pub(super) fn offered(&self) -> Option<RelayedAddress> {
        match &self.phase {
            Phase::Held(held) => (self.listed && held.failures == 0).then_some(held.address),
            _ => None,
        }
    }

    /// What came of allocating since this was last asked.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled || !self.listed
    }

    /// Whether nothing of it is at the server, nor asked for.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    fn allocate_when_due(&mut self, now: Instant) {
        if self.is_idle() && self.again <= now {
            self.phase = Phase::Allocating { mismatches: 0, retry: None };
            self.start(now, Purpose::Allocate);
        }
    }

    /// Gives the allocation back.
    pub(super) fn release(&mut self, now: Instant) {
        match self.phase {
            Phase::Idle => {}
            Phase::Releasing { .. } => self.phase = Phase::Releasing { again: false },
            Phase::Allocating { .. } | Phase::Held(_) => {
                self.requests.clear();
                self.peers = Peers::default();
                self.settled = false;
                self.phase = Phase::Releasing { again: false };
                self.start(now, Purpose::Release);
            }
        }
    }

    fn transmit(&mut self, now: Instant, data: BytesMut) {
        self.sent = now;
        self.transmits.push_back(Datagram { local: self.socket, remote: self.server.address, data });
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Datagram> {
        self.transmits.pop_front()
    }

    /// Sends a request unless it is under way.
    fn start(&mut self, now: Instant, purpose: Purpose) {
        if !self.requests.iter().any(|pending| pending.purpose == purpose) {
            self.start_with(now, purpose, 0);
        }
    }

    fn start_with(&mut self, now: Instant, purpose: Purpose, nonces: u8) {
        let Some(request) = message::request(purpose, self.authentication.as_ref(), self.crypto.crypto()) else {
            return self.failed(now, purpose, Some(code::UNAUTHENTICATED));
        };
        let (transaction, datagram) = Transaction::start(now, request, self.socket, self.server.address);
        let authenticated = self.authentication.is_some();
        self.requests.push(Pending { purpose, transaction, authenticated, nonces });
        self.transmit(now, datagram.data);
    }

    /// Sends a datagram to a peer, or keeps it until the server lets it pass.
    pub(super) fn send(&mut self, now: Instant, peer: SocketAddr, data: BytesMut) {
        let Phase::Held(held) = &self.phase else { return };
        if held.address.relayed.is_ipv4() != peer.is_ipv4() || !is_usable(peer) {
            return;
        }
        self.used = now;
        if let Some(number) = self.peers.channel(now, peer) {
            if let Some(data) = message::channel_data(number, &data) {
                self.transmit(now, data);
            }
            return;
        }
        match self.peers.permission(now, peer.ip()) {
            Permission::Granted => self.send_indication(now, peer, &data),
            Permission::Asked => self.peers.wait(peer, data),
            Permission::Refused => {}
            Permission::Unknown => {
                if self.requests.len() < MAX_REQUESTS && self.peers.ask(now, peer.ip()) {
                    self.peers.wait(peer, data);
                    self.start(now, Purpose::Permit(SocketAddr::new(peer.ip(), 0)));
                }
            }
        }
    }

    fn send_indication(&mut self, now: Instant, peer: SocketAddr, data: &[u8]) {
        if let Some(indication) = message::send_indication(peer, data) {
            self.transmit(now, indication);
        }
        if self.requests.len() < MAX_REQUESTS
            && let Some(number) = self.peers.count(now, peer)
        {
            self.start(now, Purpose::Bind(peer, number));
        }
    }

    /// The datagram of a peer, out of one of the server's: the peer's address and what it sent.
    pub(super) fn unwrap(&self, data: BytesMut) -> Option<(SocketAddr, BytesMut)> {
        let (peer, data) = if message::is_channel_data(&data) {
            let (number, data) = message::read_channel_data(data)?;
            (self.peers.peer_of(number)?, data)
        } else {
            message::read_data_indication(&data)?
        };
        is_usable(peer).then_some((peer, data))
    }

    /// Takes the response to a request. False when it is none.
    pub(super) fn handle_response(&mut self, now: Instant, data: &[u8]) -> bool {
        let response = |pending: &Pending| pending.transaction.response(data);
        let Some((index, mut response)) =
            self.requests.iter().enumerate().find_map(|(index, pending)| Some((index, response(pending)?)))
        else {
            return false;
        };
        if response.typ.class == CLASS_ERROR_RESPONSE {
            let pending = self.requests.swap_remove(index);
            self.handle_error(now, &pending, &response);
            return true;
        }
        if self.requests[index].authenticated
            && let Some(authentication) = &self.authentication
            && !authentication.verify(&mut response, self.crypto.crypto())
        {
            tracing::debug!(server = %self.server.address, "TURN response dropped: it is not authenticated");
            return true;
        }
        let pending = self.requests.swap_remove(index);
        self.succeeded(now, pending.purpose, &response);
        true
    }

    fn handle_error(&mut self, now: Instant, pending: &Pending, response: &Message) {
        let code = message::error_code(response);
        let again = match code {
            code::UNAUTHENTICATED if !pending.authenticated => {
                let crypto = self.crypto.crypto();
                self.authentication = Authentication::answer(response, &self.server, crypto);
                self.authentication.is_some()
            }
            code::STALE_NONCE if pending.nonces < MAX_NONCES => {
                self.authentication.as_mut().is_some_and(|authentication| authentication.renew(response))
            }
            _ => false,
        };
        if again {
            self.start_with(now, pending.purpose, pending.nonces + 1);
        } else {
            tracing::debug!(server = %self.server.address, code, purpose = ?pending.purpose, "TURN request refused");
            self.failed(now, pending.purpose, Some(code));
        }
    }

    fn succeeded(&mut self, now: Instant, purpose: Purpose, response: &Message) {
        match purpose {
            Purpose::Allocate => self.allocated(now, response),
            Purpose::Refresh => {
                let Some(lifetime) = lifetime(response) else { return self.lost(now) };
                if let Phase::Held(held) = &mut self.phase {
                    held.failures = 0;
                    held.expires = now + lifetime;
                    held.refresh = now + refresh_interval(lifetime);
                }
            }
            Purpose::Release => self.released(now),
            Purpose::Permit(peer) => {
                for (peer, data) in self.peers.granted(now, peer.ip()) {
                    self.send_indication(now, peer, &data);
                }
            }
            Purpose::Bind(peer, _) => self.peers.bound(now, peer),
        }
    }

    fn allocated(&mut self, now: Instant, response: &Message) {
        let relayed = message::address(response, ATTR_XOR_RELAYED_ADDRESS).filter(|relayed| is_usable(*relayed));
        let (Some(relayed), Some(lifetime)) = (relayed, lifetime(response)) else {
            self.failed(now, Purpose::Allocate, None);
            self.outcome = Some(Err(ServerProblem::Useless));
            return;
        };
        let mapped = message::address(response, ATTR_XORMAPPED_ADDRESS).filter(|mapped| is_usable(*mapped));
        tracing::debug!(socket = %self.socket, server = %self.server.address, %relayed, ?lifetime, "relay allocated");
        self.settled = true;
        self.outcome = Some(Ok(()));
        self.failures = 0;
        self.phase = Phase::Held(Held {
            address: RelayedAddress { relayed, mapped },
            since: now,
            expires: now + lifetime,
            refresh: now + refresh_interval(lifetime),
            failures: 0,
            round: now + ROUND,
        });
    }

    /// A request was refused with a code, or not answered.
    fn failed(&mut self, now: Instant, purpose: Purpose, code: Option<u16>) {
        match (purpose, code) {
            (Purpose::Allocate, Some(code::ALLOCATION_MISMATCH)) => self.mismatched(now),
            (Purpose::Allocate, code) => {
                self.outcome = Some(Err(code.map_or(ServerProblem::Silent, |code| ServerProblem::Refused { code })));
                self.not_allocated(now);
            }
            (Purpose::Release, _) => self.released(now),
            (Purpose::Refresh, code) if code.is_none_or(|code| code >= code::SERVER_ERROR) => {
                self.not_refreshed(now);
            }
            (Purpose::Refresh, _) | (_, Some(code::ALLOCATION_MISMATCH)) => self.lost(now),
            (Purpose::Permit(peer), Some(_)) => self.peers.refused(now, peer.ip()),
            (Purpose::Permit(peer), None) => {
                self.peers.unanswered(peer.ip());
                // The server may be gone: a refresh tells.
                self.start(now, Purpose::Refresh);
            }
            (Purpose::Bind(peer, _), code) => self.peers.not_bound(peer, code.is_some()),
        }
    }

    /// This socket has an allocation of an earlier time: one that a restart left behind, or that was given back just now.
    fn mismatched(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Allocating { mismatches, .. } if *mismatches == 0 => {
                *mismatches = 1;
                self.start(now, Purpose::Release);
            }
            Phase::Allocating { mismatches, retry } if *mismatches < MAX_MISMATCHES => {
                *mismatches += 1;
                *retry = Some(now + MISMATCH_RETRY);
            }
            _ => {
                self.outcome = Some(Err(ServerProblem::Refused { code: code::ALLOCATION_MISMATCH }));
                self.not_allocated(now);
            }
        }
    }

    fn not_allocated(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let again_after = backoff(self.failures);
        tracing::debug!(socket = %self.socket, server = %self.server.address, ?again_after, "relay not allocated");
        self.again = now + again_after;
        self.phase = Phase::Idle;
        self.settled = true;
        self.authentication = None;
        self.requests.clear();
    }

    fn not_refreshed(&mut self, now: Instant) {
        let Phase::Held(held) = &mut self.phase else { return };
        held.failures += 1;
        held.refresh = now + REFRESH_RETRY;
        if held.failures >= MAX_REFRESH_FAILURES {
            self.lost(now);
        }
    }

    fn released(&mut self, now: Instant) {
        if let Phase::Allocating { .. } = self.phase {
            return self.start(now, Purpose::Allocate);
        }
        tracing::debug!(socket = %self.socket, server = %self.server.address, "relay allocation released");
        let again = matches!(self.phase, Phase::Releasing { again: true });
        self.phase = Phase::Idle;
        self.again = now;
        if again || self.wanted {
            self.allocate_when_due(now);
        }
    }

    /// The server no longer holds the allocation.
    pub(super) fn lost(&mut self, now: Instant) {
        if let Phase::Held(held) = &self.phase {
            let relayed = held.address.relayed;
            tracing::debug!(socket = %self.socket, server = %self.server.address, %relayed, "relay allocation lost");
            self.again = if now.saturating_duration_since(held.since) >= MIN_HELD { now } else { now + backoff(1) };
            self.phase = Phase::Idle;
            self.settled = false;
            self.requests.clear();
            self.peers = Peers::default();
        }
    }

    /// The relayed address that was reported cannot be one.
    pub(super) fn reject(&mut self, now: Instant) {
        self.peers = Peers::default();
        self.not_allocated(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let mut given_up = Vec::new();
        let mut again = Vec::new();
        self.requests.retain_mut(|pending| match pending.transaction.handle_timeout(now) {
            Step::Wait => true,
            Step::Transmit(datagram) => {
                again.push(datagram.data);
                true
            }
            Step::GivenUp => {
                given_up.push(pending.purpose);
                false
            }
        });
        for data in again {
            self.transmit(now, data);
        }
        for purpose in given_up {
            self.failed(now, purpose, None);
        }
        match &mut self.phase {
            Phase::Idle if self.wanted => self.allocate_when_due(now),
            Phase::Allocating { retry, .. } if retry.is_some_and(|retry| retry <= now) => {
                *retry = None;
                self.start(now, Purpose::Allocate);
            }
            Phase::Held(held) if held.expires <= now => self.lost(now),
            Phase::Held(_) => self.look_after(now),
            Phase::Idle | Phase::Allocating { .. } | Phase::Releasing { .. } => {}
        }
    }

    /// Refreshes the allocation, its permissions and its channels, and gives it back when it is not used.
    fn look_after(&mut self, now: Instant) {
        let Phase::Held(held) = &mut self.phase else { return };
        if held.refresh <= now {
            held.refresh = now + MAX_REFRESH_INTERVAL;
            self.start(now, Purpose::Refresh);
        }
        let Phase::Held(held) = &mut self.phase else { return };
        if held.round > now {
            return;
        }
        held.round = now + ROUND;
        if !self.wanted && now.saturating_duration_since(self.used) >= IDLE_TIMEOUT {
            return self.release(now);
        }
        let due = self.peers.maintain(now);
        let room = MAX_REQUESTS.saturating_sub(self.requests.len());
        if due.len() > room {
            held.round = now + SHORT_ROUND;
        }
        for purpose in due.into_iter().take(room) {
            self.start(now, purpose);
        }
        if now.saturating_duration_since(self.sent) >= ROUND {
            self.transmit(now, message::keep_alive());
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Idle => self.wanted.then_some(self.again),
            Phase::Held(held) => Some(held.expires.min(held.refresh).min(held.round)),
            Phase::Allocating { retry, .. } => *retry,
            Phase::Releasing { .. } => None,
        };
        self.requests.iter().map(|pending| pending.transaction.due()).chain(phase).min()
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        self.peers.sizes()
    }
}

/// The lifetime that a response tells; none when the allocation is gone.
fn lifetime(response: &Message) -> Option<Duration> {
    let seconds = message::lifetime_seconds(response).filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()).max(MIN_LIFETIME))
}

fn refresh_interval(lifetime: Duration) -> Duration {
    (lifetime / 2).min(MAX_REFRESH_INTERVAL)
}
