//! All connections of a transport: for whom a datagram is, whose an address is, when each connection is due, and how they
//! share what there is one of: the sockets' receive buffers and the right to send checks to addresses unasked. Sans-I/O.

mod claims;
mod share;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use slab::Slab;

use self::claims::paths;
use super::{
    buffers::LARGEST_WINDOW,
    contain::{DEFECT, contained},
    datagram::Datagram,
    ice::{Base, IceAgent, Path},
    peer::{Peer, PeerConfig, Remote, Stage},
    session::{CertificateHash, Opening},
    stun::{Class, Unverified},
};

/// Checks that no peer has asked for leave a transport at least so far apart (RFC 8445 section 14.2): 200 a second, however
/// many connections are opening. The first check of an answer may run ahead of that by [`AHEAD`].
const CHECK_PACE: Duration = Duration::from_millis(5);

/// How far first checks may run ahead of the pace, which then makes up for it: sixteen answers at once, as when a swarm is
/// joined, do not wait for one another, and a peer that is near does not feel the pace.
const AHEAD: Duration = CHECK_PACE.saturating_mul(15);

/// How many datagrams of one connection are processed before others have their turn. A window of 1.25 MiB has 1,100.
const QUANTUM: usize = 32;

/// How many datagrams of one connection are sent before others have their turn, and what was received: where a path is long,
/// a whole window is sent at once, and the other side shall not wait for its first datagram until the last is encrypted.
/// So many of the largest leave in one call of the system.
const BURST: usize = 52;

/// How many datagrams wait for the turn of their connection: two windows. What comes beyond is lost, as in a full socket.
const MAX_QUEUED: usize = 2048;

/// How many bytes of datagrams wait for the turn of their connection: two of the largest windows too, with a tenth for the headers of their datagrams. Datagrams may
/// have 64 KB each.
const MAX_QUEUED_BYTES: usize = LARGEST_WINDOW * 22 / 10;

/// A datagram of more bytes than this carries data, not acknowledgements.
const DATA_BYTES: usize = 500;

/// Sets of sockets of a transport: offers leave from the first ones, answers from the others, so that two nodes whose
/// offers cross never choose the same two sockets. With four of each, sixteen connections each way fit between two nodes.
pub(crate) const MAX_SETS: usize = 8;
pub(crate) const OFFER_SETS: usize = 4;

struct Slot {
    peer: Peer,
    ufrag: String,
    /// The set of sockets it leaves from, and these.
    set: usize,
    sockets: Arc<[SocketAddr]>,
    /// Received and not processed.
    queue: VecDeque<Datagram>,
    queued_bytes: usize,
    timer: Option<Instant>,
    /// When it may make a check.
    check_at: Option<Instant>,
    owned: Vec<Path>,
    /// Proven, but owned by another connection.
    awaited: Vec<Path>,
    claimed: Vec<Path>,
    /// The certificate of a node that is answered and whose connections share their sockets.
    certificate: Option<CertificateHash>,
    unproven: VecDeque<Path>,
    /// When data last came.
    data_at: Option<Instant>,
    /// It is in the list of those to be served.
    is_listed: bool,
}

/// What has come that no connection wanted, and other things worth counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Datagrams of no connection.
    pub(crate) unknown: u64,
    /// Datagrams lost because their connection has had more than its share.
    pub(crate) overflowed: u64,
    /// Checks made to addresses unasked.
    pub(crate) checks: u64,
}

/// Identifies a connection for as long as it lives.
pub(crate) type Key = usize;

/// The sockets that a connection leaves from.
#[derive(Debug, Clone)]
pub(crate) struct From {
    /// The number of their set.
    pub(crate) set: usize,
    /// The addresses they are known by.
    pub(crate) sockets: Arc<[SocketAddr]>,
}

/// All connections of a transport.
pub(crate) struct Endpoint {
    config: Arc<PeerConfig>,
    peers: Slab<Slot>,
    ufrags: HashMap<String, Key>,
    owners: HashMap<Path, Key>,
    unproven: HashMap<Path, Key>,
    claims: HashMap<Path, Key>,
    timers: BTreeSet<(Instant, Key)>,
    /// Those with datagrams to process, in turn.
    ready: VecDeque<Key>,
    /// Those whose events, frames and datagrams are to be looked at.
    listed: VecDeque<Key>,
    /// Those whose turn has panicked, and how far they had come.
    broken: VecDeque<(Key, Stage)>,
    next_check_at: Option<Instant>,
    /// Sockets that connections will leave from which are not among the peers yet, each by the number of its reservation.
    reserved: Vec<(u64, From)>,
    reservations: u64,
    /// What all connections of one set together may have on its way to it, in bytes.
    receive_budget: u32,
    share: u32,
    share_at: Option<Instant>,
    counters: Counters,
}

impl Endpoint {
    pub(crate) fn new(config: PeerConfig) -> Self {
        Self {
            config: Arc::new(config),
            peers: Slab::new(),
            ufrags: HashMap::new(),
            owners: HashMap::new(),
            unproven: HashMap::new(),
            claims: HashMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            listed: VecDeque::new(),
            broken: VecDeque::new(),
            next_check_at: None,
            reserved: Vec::new(),
            reservations: 0,
            receive_budget: u32::MAX,
            share: u32::MAX,
            share_at: None,
            counters: Counters::default(),
        }
    }

    /// Forgets all connections.
    pub(crate) fn begin_anew(&mut self) {
        let config = (*self.config).clone();
        *self = Self {
            receive_budget: self.receive_budget,
            counters: self.counters,
            reservations: self.reservations,
            ..Self::new(config)
        };
    }

    /// Has a connection take its turn, which ends this one connection where it panics. Maps that the turn has changed have
    /// entries of single connections, which go with it.
    pub(crate) fn attempt<R>(&mut self, key: Key, turn: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let result = contained(|| turn(self));
        if result.is_none() {
            self.break_off(key);
        }
        result
    }

    /// Takes out a connection whose turn has panicked.
    pub(crate) fn break_off(&mut self, key: Key) {
        let Some(stage) = self.peers.get(key).map(|slot| slot.peer.stage()) else { return };
        tracing::error!(connection = key, ?stage, "connection ended: its turn has panicked");
        // What is half-changed may panic once more when it is dropped, which comes last.
        contained(|| self.remove(key));
        self.broken.push_back((key, stage));
    }

    /// The next connection that has ended so.
    pub(crate) fn poll_broken(&mut self) -> Option<(Key, Stage)> {
        self.broken.pop_front()
    }

    /// How many offers wait for their answer.
    pub(crate) fn waiting(&self) -> usize {
        self.peers.iter().filter(|(_, slot)| slot.peer.is_waiting()).count()
    }

    /// Whether this is an offer that waits for its answer.
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.peers.get(key).is_some_and(|slot| slot.peer.is_waiting())
    }

    /// How many connections open or are open.
    pub(crate) fn connecting(&self) -> usize {
        self.peers.len() - self.waiting()
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn peer(&mut self, key: Key) -> Option<&mut Peer> {
        self.peers.get_mut(key).map(|slot| &mut slot.peer)
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.peers.iter().map(|(key, _)| key).collect()
    }

    fn insert(&mut self, now: Instant, from: From, opening: Opening, bases: Vec<Base>) -> Key {
        let entry = self.peers.vacant_entry();
        let key = entry.key();
        let peer = Peer::new(now, self.config.clone(), key as u32, opening, bases);
        let ufrag = peer.credentials().ufrag.clone();
        entry.insert(Slot {
            peer,
            ufrag: ufrag.clone(),
            set: from.set,
            sockets: from.sockets,
            queue: VecDeque::new(),
            queued_bytes: 0,
            timer: None,
            check_at: None,
            owned: Vec::new(),
            awaited: Vec::new(),
            claimed: Vec::new(),
            certificate: None,
            unproven: VecDeque::new(),
            data_at: None,
            is_listed: false,
        });
        self.ufrags.insert(ufrag, key);
        self.list(key);
        key
    }

    /// A connection that waits for an answer, with the label of its channel.
    pub(crate) fn offer(&mut self, now: Instant, from: From, label: String, bases: Vec<Base>) -> Key {
        self.insert(now, from, Opening::Open(label), bases)
    }

    /// A connection that answers; the paths from `bases` to its candidates are its own from here on.
    ///
    /// # Errors
    /// When no session can be made.
    pub(crate) fn answer(&mut self, now: Instant, from: From, bases: Vec<Base>, remote: Remote) -> Result<Key, String> {
        let claimed: Vec<Path> = paths(bases.iter().map(|base| base.address), &remote).collect();
        let key = self.insert(now, from, Opening::Adopt, bases);
        for path in &claimed {
            self.claims.insert(*path, key);
        }
        let Some(slot) = self.peers.get_mut(key) else { return Err("it is gone".to_owned()) };
        slot.claimed = claimed;
        slot.certificate = remote.shares_sockets.then(|| remote.certificate.clone());
        let next = self.next_check_at.map_or(now, |next| next.max(now));
        let runs_ahead = next <= now + AHEAD;
        let begun = contained(|| {
            slot.peer.set_remote(now, remote)?;
            if runs_ahead {
                slot.peer.check(now);
            }
            Ok(())
        });
        if let Err(error) = begun.unwrap_or_else(|| Err(DEFECT.to_owned())) {
            contained(|| self.remove(key));
            return Err(error);
        }
        if runs_ahead {
            self.next_check_at = Some(next + CHECK_PACE);
            self.counters.checks += 1;
        }
        Ok(key)
    }

    /// Takes a received datagram to the connection it is for. It is processed by [`process`](Self::process).
    pub(crate) fn receive(&mut self, datagram: Datagram) {
        let path = Path { local: datagram.local, remote: datagram.remote };
        let key = match datagram.data.first() {
            Some(0..=3) => self.recipient(&datagram.data, path),
            // RFC 7983: 20 to 63 is DTLS. 64 to 79 is left for a TURN server's channels, and for QUIC (RFC 9443).
            Some(20..=63) => self.owners.get(&path).or_else(|| self.unproven.get(&path)).copied(),
            _ => None,
        };
        let Some((key, slot)) = key.and_then(|key| Some((key, self.peers.get_mut(key)?))) else {
            self.counters.unknown += 1;
            return;
        };
        if slot.queue.len() >= MAX_QUEUED || slot.queued_bytes + datagram.data.len() > MAX_QUEUED_BYTES {
            self.counters.overflowed += 1;
            return;
        }
        if slot.queue.is_empty() {
            self.ready.push_back(key);
        }
        slot.queued_bytes += datagram.data.len();
        slot.queue.push_back(datagram);
    }

    /// Requests go by user name, responses by transaction: addresses can be made up.
    fn recipient(&mut self, data: &[u8], path: Path) -> Option<Key> {
        let message = Unverified::parse(data)?;
        match message.class() {
            Class::Request => {
                let key = *self.ufrags.get(message.recipient()?)?;
                self.note_unproven(key, path);
                Some(key)
            }
            Class::Response => Some(IceAgent::key_of(&message.transaction()) as Key),
            Class::Other => None,
        }
    }

    /// Processes what was received, each connection in turn, up to `most` datagrams. Whether something is left.
    pub(crate) fn process(&mut self, now: Instant, most: usize) -> bool {
        let mut left = most;
        while left > 0
            && let Some(key) = self.ready.pop_front()
        {
            let Some(slot) = self.peers.get_mut(key) else { continue };
            let turn = slot.queue.len().min(QUANTUM).min(left);
            left -= turn;
            for _ in 0..turn {
                let Some(slot) = self.peers.get_mut(key) else { break };
                let Some(datagram) = slot.queue.pop_front() else { break };
                slot.queued_bytes -= datagram.data.len();
                self.attempt(key, |endpoint| endpoint.handle(now, key, datagram));
            }
            if self.peers.get(key).is_some_and(|slot| !slot.queue.is_empty()) {
                self.ready.push_back(key);
            }
            self.list(key);
        }
        !self.ready.is_empty()
    }

    fn handle(&mut self, now: Instant, key: Key, datagram: Datagram) {
        let Some(slot) = self.peers.get_mut(key) else { return };
        if datagram.data.first().is_some_and(|first| *first <= 3) {
            slot.peer.handle_check(now, datagram);
            self.note_validated(now, key);
            return;
        }
        if datagram.data.len() > DATA_BYTES {
            slot.data_at = Some(now);
        }
        let path = Path { local: datagram.local, remote: datagram.remote };
        if self.owners.get(&path) == Some(&key) {
            slot.peer.handle_record(now, datagram.data);
        } else {
            slot.peer.keep_early_record(datagram);
        }
    }

    /// Puts a connection on the list of those to be served.
    pub(crate) fn list(&mut self, key: Key) {
        if let Some(slot) = self.peers.get_mut(key)
            && !std::mem::replace(&mut slot.is_listed, true)
        {
            self.listed.push_back(key);
        }
    }

    /// The next connection whose events, frames and datagrams are to be looked at.
    pub(crate) fn poll_listed(&mut self) -> Option<Key> {
        let key = self.listed.pop_front()?;
        if let Some(slot) = self.peers.get_mut(key) {
            slot.is_listed = false;
        }
        Some(key)
    }

    /// How many connections are on that list.
    pub(crate) fn listed(&self) -> usize {
        self.listed.len()
    }

    /// Moves to `out` what a connection has to send, and notes when it is due next. One that has more to send than its turn
    /// allows is listed again. A connection that is done is removed: `false`.
    pub(crate) fn transmit(&mut self, now: Instant, key: Key, out: &mut VecDeque<Datagram>) -> bool {
        self.attempt(key, |endpoint| endpoint.transmit_all(now, key, out)).unwrap_or(false)
    }

    fn transmit_all(&mut self, now: Instant, key: Key, out: &mut VecDeque<Datagram>) -> bool {
        let share = self.current_share(now);
        let Some(slot) = self.peers.get_mut(key) else { return false };
        slot.peer.set_share(share);
        let before = out.len();
        out.extend(std::iter::from_fn(|| slot.peer.poll_transmit(now)).take(BURST));
        if out.len() - before == BURST {
            self.list(key);
        } else if slot.peer.is_done() {
            self.remove(key);
            return false;
        }
        self.note_validated(now, key);
        self.set_timer(now, key);
        true
    }

    /// Notes when a connection is due next.
    pub(crate) fn set_timer(&mut self, now: Instant, key: Key) {
        let Some(slot) = self.peers.get_mut(key) else { return };
        let check = slot.peer.next_check().map(|due| match slot.check_at {
            Some(at) => at,
            None if due > now => due,
            None => {
                let at = self.next_check_at.map_or(now, |next| next.max(now));
                self.next_check_at = Some(at + CHECK_PACE);
                slot.check_at = Some(at);
                at
            }
        });
        let at = [check, slot.peer.poll_timeout()].into_iter().flatten().min();
        if at != slot.timer {
            if let Some(old) = slot.timer {
                self.timers.remove(&(old, key));
            }
            if let Some(at) = at {
                self.timers.insert((at, key));
            }
            slot.timer = at;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does what is due. Connections that were due are listed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.forgive_pause(now);
        while let Some(&(at, key)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            self.attempt(key, |endpoint| endpoint.handle_timeout_of(now, key));
        }
    }

    fn handle_timeout_of(&mut self, now: Instant, key: Key) {
        let Some(slot) = self.peers.get_mut(key) else { return };
        slot.timer = None;
        if slot.check_at.is_some_and(|at| at <= now) {
            slot.check_at = None;
            self.counters.checks += 1;
            slot.peer.check(now);
        }
        slot.peer.handle_timeout(now);
        self.note_validated(now, key);
        self.list(key);
    }

    /// A process that stood still, suspended or starved, has received nothing, which does not mean that the other sides are gone.
    fn forgive_pause(&mut self, now: Instant) {
        let late = self.next_timeout().map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if late > self.config.ice.silence / 4 {
            tracing::debug!(?late, "process stood still");
            for (_, slot) in &mut self.peers {
                slot.peer.forgive(late);
            }
        }
    }

    /// Whether an offer that leaves from `socket` waits for its answer.
    pub(crate) fn is_waiting_on(&self, socket: SocketAddr) -> bool {
        self.peers.iter().any(|(_, slot)| slot.peer.is_waiting() && slot.sockets.contains(&socket))
    }

    /// Local addresses that are gone.
    pub(crate) fn remove_base(&mut self, address: SocketAddr) {
        for (_, slot) in &mut self.peers {
            slot.peer.remove_base(address);
        }
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, key: Key) {
        let Some(slot) = self.peers.try_remove(key) else { return };
        if let Some(at) = slot.timer {
            self.timers.remove(&(at, key));
        }
        self.ufrags.remove(&slot.ufrag);
        Self::release_paths(key, &slot, [&mut self.owners, &mut self.claims, &mut self.unproven]);
        self.hand_over(&slot.owned);
        self.ready.retain(|ready| *ready != key);
        self.listed.retain(|listed| *listed != key);
    }
}
