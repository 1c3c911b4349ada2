//! Relays: TURN over UDP (RFC 8656), with one allocation for each socket and server, which all connections of a transport
//! share.
//!
//! `rtc-turn`'s client was weighed and not taken. It answers any sender, since it does not look at the
//! source; an allocation that is lost is never noticed (a refresh that is refused or not answered has no consequence, and
//! one that meets a stale nonce is repeated only after the allocation has expired); a mismatch (437) is not resolved;
//! permissions never lapse, are kept for each port instead of each host, and are refreshed all in one datagram of any
//! size; a peer gets a channel with its first datagram and keeps it for ever; responses are not authenticated.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use rtc_crypto::RTCCryptoProvider;

use super::{datagram::Datagram, reachability::Outcome, transaction::may_ask};
use allocation::Allocation;

mod allocation;
#[cfg(test)]
mod coturn;
#[cfg(test)]
mod fake_server;
mod message;
mod peers;
#[cfg(test)]
mod tests;

/// How many servers are asked from one socket: each one more costs a candidate and an allocation.
const MAX_SERVERS: usize = 4;

/// A TURN server and the credential for it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RelayServer {
    /// Where it listens for UDP.
    pub(crate) address: SocketAddr,
    /// The name of the user.
    pub(crate) username: String,
    /// The user's password.
    pub(crate) credential: String,
}

impl fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An address at a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelayedAddress {
    /// Where peers reach this side through the relay.
    pub(crate) relayed: SocketAddr,
    /// Where the relay sees this side's socket, if it reported it.
    pub(crate) mapped: Option<SocketAddr>,
}

/// What a received datagram was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// A server's, and done with.
    Consumed,
    /// A peer's: `local` is the relayed address, `remote` the peer.
    Peer(Datagram),
    /// Not a relay's.
    NotOurs(Datagram),
}

/// What happens to relayed addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayEvent {
    /// The relayed address is gone, and so are connections on it.
    Gone(SocketAddr),
}

/// A socket and a server.
type Key = (SocketAddr, SocketAddr);

/// The allocations of a transport.
pub(crate) struct Relays {
    crypto: Arc<dyn RTCCryptoProvider>,
    /// The sockets that relayed addresses were wanted of, also where no server could be asked.
    sockets: BTreeSet<SocketAddr>,
    allocations: BTreeMap<Key, Allocation>,
    by_relayed: HashMap<SocketAddr, Key>,
    events: VecDeque<RelayEvent>,
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relays").field("by_relayed", &self.by_relayed).finish_non_exhaustive()
    }
}

impl Relays {
    /// No allocations yet.
    pub(crate) fn new(crypto: Arc<dyn RTCCryptoProvider>) -> Self {
        Self {
            crypto,
            sockets: BTreeSet::new(),
            allocations: BTreeMap::new(),
            by_relayed: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    /// No allocations, as at first. Those there were lapse by themselves.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.crypto.clone())
    }

    /// An offer or answer wants relayed addresses of `socket` at `servers`, the servers of now: asks for those that are
    /// not there, nor asked for, nor have just been refused. Allocations at other servers serve the connections they have.
    pub(crate) fn request(&mut self, now: Instant, socket: SocketAddr, servers: &[RelayServer]) {
        if self.sockets.insert(socket)
            && let Some(key) = self.by_relayed.get(&socket).copied()
        {
            // A relay has guessed where the next socket would be.
            self.update(now, key, |allocation| allocation.reject(now));
        }
        let servers: Vec<&RelayServer> =
            servers.iter().filter(|server| may_ask(socket, server.address)).take(MAX_SERVERS).collect();
        let listed = |key: &Key| key.0 != socket || servers.iter().any(|server| server.address == key.1);
        for (_, allocation) in self.allocations.iter_mut().filter(|(key, _)| !listed(key)) {
            allocation.unlist(now);
        }
        self.allocations.retain(|key, allocation| listed(key) || !allocation.is_idle());
        for server in servers {
            let key = (socket, server.address);
            let new = || Allocation::new(now, socket, server.clone(), self.crypto.clone());
            self.allocations.entry(key).or_insert_with(new);
            self.update(now, key, |allocation| allocation.request(now, server));
        }
    }

    fn of(&self, socket: SocketAddr) -> impl Iterator<Item = &Allocation> {
        self.allocations.iter().filter(move |((of, _), _)| *of == socket).map(|(_, allocation)| allocation)
    }

    /// The relayed addresses of `socket`, to be offered.
    pub(crate) fn relayed(&self, socket: SocketAddr) -> Vec<RelayedAddress> {
        self.of(socket).filter_map(Allocation::offered).collect()
    }

    /// Whether each server asked has allocated, refused or been given up, so that an offer has nothing to wait for.
    pub(crate) fn is_settled(&self, socket: SocketAddr) -> bool {
        self.of(socket).all(Allocation::is_settled)
    }

    /// Says whether offers wait on `socket`. While they do, its allocations are kept, and made again when they are lost;
    /// when they do not, and no connection sends through an allocation for a minute, it is given back.
    pub(crate) fn keep_alive(&mut self, now: Instant, socket: SocketAddr, wanted: bool) {
        for key in self.keys_of(socket) {
            self.update(now, key, |allocation| allocation.keep_alive(now, wanted));
        }
    }

    fn keys_of(&self, socket: SocketAddr) -> Vec<Key> {
        self.allocations.keys().copied().filter(|(of, _)| *of == socket).collect()
    }

    /// Takes what a socket received.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: Datagram) -> Relayed {
        let key = (datagram.local, datagram.remote);
        let Some(allocation) = self.allocations.get(&key) else { return Relayed::NotOurs(datagram) };
        if message::is_channel_data(&datagram.data) || message::is_data_indication(&datagram.data) {
            let Some(relayed) = allocation.held() else { return Relayed::Consumed };
            return match allocation.unwrap(datagram.data) {
                Some((peer, data)) => Relayed::Peer(Datagram { local: relayed, remote: peer, data }),
                None => Relayed::Consumed,
            };
        }
        match self.update(now, key, |allocation| allocation.handle_response(now, &datagram.data)) {
            Some(true) => Relayed::Consumed,
            Some(false) | None => Relayed::NotOurs(datagram),
        }
    }

    /// Sends a datagram whose `local` is a relayed address. What cannot be sent is lost, as on any path.
    pub(crate) fn send(&mut self, now: Instant, datagram: Datagram) {
        if let Some(key) = self.by_relayed.get(&datagram.local)
            && let Some(allocation) = self.allocations.get_mut(key)
        {
            allocation.send(now, datagram.remote, datagram.data);
        }
    }

    /// Whether this is a relayed address.
    pub(crate) fn owns(&self, local: SocketAddr) -> bool {
        self.by_relayed.contains_key(&local)
    }

    /// The socket that datagrams from `local` leave from, if that is a relayed address.
    pub(crate) fn socket(&self, local: SocketAddr) -> Option<SocketAddr> {
        self.by_relayed.get(&local).map(|(socket, _)| *socket)
    }

    /// Changes an allocation, and keeps track of its relayed address.
    fn update<T>(&mut self, now: Instant, key: Key, change: impl FnOnce(&mut Allocation) -> T) -> Option<T> {
        let allocation = self.allocations.get_mut(&key)?;
        let before = allocation.held();
        let result = change(allocation);
        let after = allocation.held();
        if before == after {
            return Some(result);
        }
        if let Some(gone) = before {
            self.by_relayed.remove(&gone);
            self.events.push_back(RelayEvent::Gone(gone));
        }
        if let Some(new) = after {
            // A relay must not claim that datagrams of a socket, or of another relay, go through it.
            if self.by_relayed.contains_key(&new) || self.sockets.contains(&new) {
                if let Some(allocation) = self.allocations.get_mut(&key) {
                    allocation.reject(now);
                }
            } else {
                self.by_relayed.insert(new, key);
            }
        }
        Some(result)
    }

    /// Sends requests again, refreshes what is used and gives back what is not.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let due = |allocation: &Allocation| allocation.poll_timeout().is_some_and(|due| due <= now);
        let keys: Vec<Key> = self.allocations.iter().filter(|(_, a)| due(a)).map(|(key, _)| *key).collect();
        for key in keys {
            self.update(now, key, |allocation| allocation.handle_timeout(now));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.allocations.values().filter_map(Allocation::poll_timeout).min()
    }

    /// The next datagram to send from a socket.
    pub(crate) fn poll_transmit(&mut self) -> Option<Datagram> {
        self.allocations.values_mut().find_map(Allocation::poll_transmit)
    }

    /// What came of asking a server, from any socket.
    pub(crate) fn poll_outcome(&mut self) -> Option<(SocketAddr, Outcome)> {
        self.allocations.iter_mut().find_map(|((_, server), allocation)| Some((*server, allocation.take_outcome()?)))
    }

    /// What happened to relayed addresses.
    pub(crate) fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    /// Gives all allocations back, at shutdown. The datagrams that say so are sent until they are answered, for as long
    /// as this is driven; [`is_released`](Self::is_released) says when there is nothing more to wait for.
    pub(crate) fn release(&mut self, now: Instant) {
        let keys: Vec<Key> = self.allocations.keys().copied().collect();
        for key in keys {
            self.update(now, key, |allocation| {
                allocation.keep_alive(now, false);
                allocation.release(now);
            });
        }
    }

    /// Whether no server holds an allocation, as far as it is known.
    pub(crate) fn is_released(&self) -> bool {
        self.allocations.values().all(Allocation::is_idle)
    }

    /// `socket` is gone, and with it the way to its allocations.
    pub(crate) fn forget(&mut self, now: Instant, socket: SocketAddr) {
        self.sockets.remove(&socket);
        for key in self.keys_of(socket) {
            self.update(now, key, |allocation| allocation.lost(now));
            self.allocations.remove(&key);
        }
    }
}
