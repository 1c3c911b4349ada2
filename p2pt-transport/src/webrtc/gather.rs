//! Server-reflexive addresses of the transport's sockets: asked once for all connections, and kept fresh while offers
//! wait.
//!
//! An offer that finds a fresh address needs no round trip. A server that does not answer is waited for once, by the
//! first offer, and is asked again behind the scenes. Nothing is sent while no offer or answer wants an address.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rtc_stun::{
    addr::MappedAddress,
    message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId},
    xoraddr::XorMappedAddress,
};

use super::{
    datagram::Datagram,
    reachability::Outcome,
    transaction::{Step, Transaction, backoff, is_usable, may_ask},
};
use crate::ServerProblem;

/// How often an address is asked for again while offers wait.
///
/// NATs commonly forget a binding that was not answered, or was answered long ago, after 30 s (Linux'
/// `nf_conntrack_udp_timeout`); with 20 s, a request that is lost three times still comes in time. RFC 8445 section 11
/// forbids more than one each 15 s.
const REFRESH_INTERVAL: Duration = Duration::from_secs(20);

/// How long an address is offered after its server confirmed it. Behind a NAT that keeps to RFC 4787 (REQ-5), a binding
/// lives for at least two minutes; afterwards another peer may have it.
const MAX_AGE: Duration = Duration::from_secs(120);

/// An address confirmed more recently than this is not doubted, however many connections end.
const CERTAIN: Duration = Duration::from_secs(2);

/// How many servers are asked from one socket. Each one more costs an offer a candidate and a datagram each 20 s, and two
/// suffice to survive an outage.
const MAX_SERVERS: usize = 8;

/// The server-reflexive addresses of all sockets of a transport.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    sockets: BTreeMap<SocketAddr, Socket>,
    transmits: VecDeque<Datagram>,
    /// What came of asking servers.
    outcomes: VecDeque<(SocketAddr, Outcome)>,
}

/// What is known of one socket.
#[derive(Debug, Default)]
struct Socket {
    /// Whether offers wait, so that addresses are kept fresh.
    wanted: bool,
    servers: BTreeMap<SocketAddr, Mapping>,
}

/// What one server says of one socket.
#[derive(Debug)]
struct Mapping {
    /// The address, and until when it may be offered.
    address: Option<(SocketAddr, Instant)>,
    asking: Option<Transaction>,
    /// Failures in a row.
    failures: u32,
    /// Not asked again before.
    again: Instant,
    /// Whether the server has answered or been given up since its address was last unknown.
    settled: bool,
}

impl Mappings {
    /// No sockets, nothing known.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An offer or answer wants the reflexive addresses of `socket` at `servers`, the servers of now: others are
    /// forgotten. Servers whose address is unknown or not fresh are asked.
    pub(crate) fn request(&mut self, now: Instant, socket: SocketAddr, servers: &[SocketAddr]) {
        let state = self.sockets.entry(socket).or_default();
        let servers: Vec<SocketAddr> =
            servers.iter().copied().filter(|server| may_ask(socket, *server)).take(MAX_SERVERS).collect();
        state.servers.retain(|server, _| servers.contains(server));
        for server in servers {
            state.servers.entry(server).or_insert_with(|| Mapping::new(now)).expire(now);
        }
        state.ask_when_due(now, socket, &mut self.transmits);
    }

    /// The known reflexive addresses of `socket`, fresh or being refreshed, without the socket's own.
    pub(crate) fn mapped(&self, socket: SocketAddr) -> Vec<SocketAddr> {
        let Some(state) = self.sockets.get(&socket) else { return Vec::new() };
        let mut mapped: Vec<SocketAddr> =
            state.servers.values().filter_map(|mapping| Some(mapping.address?.0)).filter(|a| *a != socket).collect();
        mapped.sort_unstable();
        mapped.dedup();
        mapped
    }

    /// Whether servers, if there are any, were asked about `socket`.
    pub(crate) fn was_asked(&self, socket: SocketAddr) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// Whether each server asked has answered or been given up, so that an offer has nothing to wait for.
    pub(crate) fn is_settled(&self, socket: SocketAddr) -> bool {
        self.sockets.get(&socket).is_none_or(|state| state.servers.values().all(|mapping| mapping.settled))
    }

    /// Takes what a socket received. True when it was a response to a request of ours, by transaction id, server and
    /// socket.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &Datagram) -> bool {
        let Some(mapping) =
            self.sockets.get_mut(&datagram.local).and_then(|state| state.servers.get_mut(&datagram.remote))
        else {
            return false;
        };
        let Some(response) = mapping.asking.as_ref().and_then(|asking| asking.response(&datagram.data)) else {
            return false;
        };
        match mapped_address(&response).filter(|mapped| is_usable(*mapped)) {
            Some(mapped) if mapped.is_ipv4() == datagram.local.is_ipv4() => {
                if mapping.address.is_none_or(|(known, _)| known != mapped) {
                    tracing::debug!(socket = %datagram.local, server = %datagram.remote, %mapped, "server-reflexive address learned");
                }
                mapping.confirmed(now, mapped);
                self.outcomes.push_back((datagram.remote, Ok(())));
            }
            _ => {
                tracing::debug!(server = %datagram.remote, response = %response.typ, "STUN server reports no usable address");
                mapping.failed(now);
                self.outcomes.push_back((datagram.remote, Err(ServerProblem::Useless)));
            }
        }
        true
    }

    /// A connection from `socket` has fallen silent, as it does when the NAT has another address or has forgotten: servers
    /// are asked anew, at once if offers wait, and the next offer waits for their answer.
    pub(crate) fn doubt(&mut self, now: Instant, socket: SocketAddr) {
        let state = self.sockets.get_mut(&socket).into_iter();
        state.flat_map(|state| state.servers.values_mut()).for_each(|mapping| mapping.doubt(now));
    }

    /// Sends requests again, gives servers up, refreshes what is wanted and forgets what is too old.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (socket, state) in &mut self.sockets {
            for (server, mapping) in &mut state.servers {
                let failures = mapping.failures;
                mapping.handle_timeout(now, &mut self.transmits);
                if mapping.failures > failures {
                    tracing::debug!(%socket, %server, "STUN server does not answer");
                    self.outcomes.push_back((*server, Err(ServerProblem::Silent)));
                }
            }
            if state.wanted {
                state.ask_when_due(now, *socket, &mut self.transmits);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.sockets
            .values()
            .flat_map(|state| state.servers.values().map(|mapping| mapping.poll_timeout(state.wanted)))
            .flatten()
            .min()
    }

    /// The next datagram to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Datagram> {
        self.transmits.pop_front()
    }

    /// What came of asking a server, from any socket.
    pub(crate) fn poll_outcome(&mut self) -> Option<(SocketAddr, Outcome)> {
        self.outcomes.pop_front()
    }

    /// The sockets that addresses were asked for.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.keys().copied()
    }

    /// `socket` is gone.
    pub(crate) fn forget(&mut self, socket: SocketAddr) {
        self.sockets.remove(&socket);
        self.transmits.retain(|datagram| datagram.local != socket);
    }

    /// Says whether offers wait on `socket`. While they do, its addresses are confirmed each 20 s, which also keeps the
    /// NAT's binding alive.
    pub(crate) fn keep_alive(&mut self, now: Instant, socket: SocketAddr, wanted: bool) {
        if !wanted && !self.sockets.contains_key(&socket) {
            return;
        }
        let state = self.sockets.entry(socket).or_default();
        state.wanted = wanted;
        if wanted {
            state.ask_when_due(now, socket, &mut self.transmits);
        }
    }
}

impl Socket {
    fn ask_when_due(&mut self, now: Instant, socket: SocketAddr, transmits: &mut VecDeque<Datagram>) {
        for (server, mapping) in &mut self.servers {
            if mapping.asking.is_none() && mapping.again <= now {
                let (asking, datagram) = Transaction::start(now, binding_request(), socket, *server);
                mapping.asking = Some(asking);
                transmits.push_back(datagram);
            }
        }
    }
}

impl Mapping {
    fn new(now: Instant) -> Self {
        Self { address: None, asking: None, failures: 0, again: now, settled: false }
    }

    fn confirmed(&mut self, now: Instant, address: SocketAddr) {
        *self = Self {
            address: Some((address, now + MAX_AGE)),
            asking: None,
            failures: 0,
            again: now + REFRESH_INTERVAL,
            settled: true,
        };
    }

    fn doubt(&mut self, now: Instant) {
        if self.asking.is_none() && self.address.is_some_and(|(_, until)| now + MAX_AGE >= until + CERTAIN) {
            self.again = now;
            self.settled = false;
        }
    }

    /// The server did not answer, or reported no address: what it reported before is in doubt, and no longer offered.
    fn failed(&mut self, now: Instant) {
        let failures = self.failures.saturating_add(1);
        *self = Self { address: None, asking: None, failures, again: now + backoff(failures), settled: true };
    }

    fn handle_timeout(&mut self, now: Instant, transmits: &mut VecDeque<Datagram>) {
        match self.asking.as_mut().map(|asking| asking.handle_timeout(now)) {
            Some(Step::Transmit(datagram)) => transmits.push_back(datagram),
            Some(Step::GivenUp) => self.failed(now),
            Some(Step::Wait) | None => {}
        }
        self.expire(now);
    }

    fn expire(&mut self, now: Instant) {
        if self.address.is_some_and(|(_, until)| until <= now) {
            self.address = None;
            self.settled = false;
        }
    }

    fn poll_timeout(&self, wanted: bool) -> Option<Instant> {
        let asking = self.asking.as_ref().map(Transaction::due);
        let again = (wanted && self.asking.is_none()).then_some(self.again);
        let expiry = self.address.map(|(_, until)| until);
        [asking, again, expiry].into_iter().flatten().min()
    }
}

fn binding_request() -> Message {
    let mut request = Message::new();
    request.typ = BINDING_REQUEST;
    request.transaction_id = TransactionId::new();
    request.write_header();
    request
}

/// The address in a Binding response; servers of RFC 3489 send it in the clear.
pub(crate) fn mapped_address(response: &Message) -> Option<SocketAddr> {
    if response.typ != BINDING_SUCCESS {
        return None;
    }
    let (mut masked, mut plain) = (XorMappedAddress::default(), MappedAddress::default());
    if masked.get_from(response).is_ok() {
        return Some(SocketAddr::new(masked.ip, masked.port));
    }
    plain.get_from(response).ok()?;
    Some(SocketAddr::new(plain.ip, plain.port))
}
