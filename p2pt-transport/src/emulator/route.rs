//! The way of a datagram: out through the NATs of its sender, in through those of its receiver, into a socket.
//!
//! What chance decides is decided when a datagram is sent, in the order of sending. Whether a NAT or a host lets it in
//! is decided when it arrives there. In between it waits at the socket to which it was on its way when it was sent, so
//! that nothing is to be done while nothing is due.

use std::{
    cmp::{Ordering, Reverse},
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    counters::DropReason,
    line::{Direction, Line},
    state::{Arrived, Attached, HostId, NatId, RealmId, State, Waiting},
    stun,
};
use crate::webrtc::Received;

/// What a datagram takes of a receive buffer beside its payload, in bytes: about what Linux counts for its own
/// description of it.
const OVERHEAD_BYTES: usize = 256;

/// A datagram on its way to a socket.
#[derive(Debug)]
pub(super) struct Flight {
    due: Instant,
    /// The order in which datagrams were sent; given when it is put on its way.
    number: u64,
    /// Whose it is; none is a STUN server's.
    pub(super) sender: Option<HostId>,
    /// The sender as the receiver sees it.
    source: SocketAddr,
    /// The receiver as the sender sees it.
    destination: SocketAddr,
    stage: Stage,
    data: Bytes,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It comes to the queues before the receiver's lines, and travels for so long when it has left them.
    Queue(Entry, Duration),
    /// It comes to the receiver.
    Arrival(Entry),
    /// It has not left its host.
    Local,
}

/// Where a datagram turns from outbound to inbound.
#[derive(Debug, Clone, Copy)]
struct Entry {
    realm: RealmId,
    /// The NAT that sends it back, if one does.
    hairpin: Option<NatId>,
}

#[derive(Debug, Clone, Copy)]
enum LineId {
    Host(HostId, usize),
    Nat(NatId),
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// The size of the packet that carries a payload, in bytes.
fn packet_bytes(payload: usize, destination: SocketAddr) -> usize {
    payload + if destination.is_ipv4() { 28 } else { 48 }
}

impl State {
    /// Sends one datagram. Returns a task to be woken without the lock.
    pub(super) fn send(
        &mut self,
        now: Instant,
        key: usize,
        remote: SocketAddr,
        data: Bytes,
    ) -> io::Result<Option<Waker>> {
        let (host, local) = (self.sockets[key].host, self.sockets[key].local);
        let local = self.source(host, local, remote)?;
        let sender = self.host(host);
        sender.counters.sent += 1;
        *sender.flows.entry((local, remote)).or_default() += 1;
        Ok(self.depart(now, host, local, remote, data).unwrap_or_else(|reason| {
            self.count_drop(Some(host), reason);
            None
        }))
    }

    pub(super) fn count_drop(&mut self, sender: Option<HostId>, reason: DropReason) {
        if let Some(sender) = sender {
            self.host(sender).counters.count(reason);
        }
    }

    /// The address that a socket bound to `local` sends from.
    fn source(&self, host: HostId, local: SocketAddr, remote: SocketAddr) -> io::Result<SocketAddr> {
        let host = &self.hosts[host.0];
        let ip = local.ip();
        if local.is_ipv4() != remote.is_ipv4() || remote.port() == 0 || ip.is_loopback() && !remote.ip().is_loopback() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let ip = if ip.is_unspecified() {
            let mut addresses = host.addresses().filter(|ip| ip.is_ipv4() == remote.is_ipv4());
            match remote.ip() {
                IpAddr::V4(remote) if remote.is_loopback() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(remote) if remote.is_loopback() => Ipv6Addr::LOCALHOST.into(),
                _ => addresses.next().ok_or(io::ErrorKind::NetworkUnreachable)?,
            }
        } else if ip.is_loopback() || host.interface(ip).is_some() {
            ip
        } else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        Ok(SocketAddr::new(ip, local.port()))
    }

    fn depart(
        &mut self,
        now: Instant,
        host: HostId,
        mut source: SocketAddr,
        destination: SocketAddr,
        data: Bytes,
    ) -> Result<Option<Waker>, DropReason> {
        let state = self.host(host);
        if destination.ip().is_loopback() || state.interface(destination.ip()).is_some() {
            let key = state.listener(destination).ok_or(DropReason::NoSocket)?;
            let stage = Stage::Local;
            let flight = Flight { due: now, number: 0, sender: Some(host), source, destination, stage, data };
            return Ok(self.launch(now, key, flight));
        }
        let interface = state.interface(source.ip()).ok_or(DropReason::NoHost)?;
        if !state.up {
            return Err(DropReason::Disconnected);
        }
        let mut realm = state.interfaces[interface].realm;
        let bytes = packet_bytes(data.len(), destination);
        let mut at = self.ascend(LineId::Host(host, interface), now, bytes)?;
        let mut hairpin = None;
        loop {
            let here = self.realm(realm);
            match here.attached.get(&destination.ip()) {
                Some(Attached::StunServer) => return self.ask_stun_server(now, at, host, source, destination, &data),
                Some(_) => break,
                None => {}
            }
            let id = here.gateway.filter(|_| !here.is_on_link(destination.ip())).ok_or(DropReason::NoHost)?;
            let nat = self.nat(id);
            source = nat.table.outbound(now, source, destination, nat.external_ip).ok_or(DropReason::Nat)?;
            realm = nat.outer;
            if destination.ip() == nat.external_ip {
                if !nat.hairpinning {
                    return Err(DropReason::Nat);
                }
                hairpin = Some(id);
                break;
            }
            at = self.ascend(LineId::Nat(id), at, bytes)?;
        }
        let entry = Entry { realm, hairpin };
        self.turn(now, at, Some(host), source, destination, entry, data)
    }

    /// The request travels to the server when it is sent, and the response is on its way at once, due when both have
    /// travelled.
    fn ask_stun_server(
        &mut self,
        now: Instant,
        at: Instant,
        host: HostId,
        source: SocketAddr,
        server: SocketAddr,
        request: &Bytes,
    ) -> Result<Option<Waker>, DropReason> {
        if server.port() != stun::PORT {
            return Err(DropReason::NoSocket);
        }
        self.host(host).counters.delivered += 1;
        let Some(response) = stun::respond(request, source) else { return Ok(None) };
        let entry = Entry { realm: Self::INTERNET, hairpin: None };
        // What a server has sent in vain is not counted.
        Ok(self.turn(now, at, None, server, source, entry, response).unwrap_or(None))
    }

    /// Sends a datagram down from the network where the ways of sender and receiver meet.
    #[expect(clippy::too_many_arguments, reason = "they are what a datagram is")]
    fn turn(
        &mut self,
        now: Instant,
        at: Instant,
        sender: Option<HostId>,
        source: SocketAddr,
        destination: SocketAddr,
        entry: Entry,
        data: Bytes,
    ) -> Result<Option<Waker>, DropReason> {
        let mut lines = Vec::with_capacity(2);
        let key = self.descend(now, entry, destination, None, &mut lines)?;
        let rule = sender.and_then(|sender| self.rules.get(&(sender, self.sockets[key].host))).copied();
        let rule = rule.unwrap_or_default();
        if rule.cut {
            return Err(DropReason::Disconnected);
        }
        let bytes = packet_bytes(data.len(), destination);
        let mut travel = rule.delay;
        let mut has_queue = false;
        for line in lines {
            let (line, rng) = self.line(line);
            travel += line.draw(bytes, rng)?;
            has_queue |= line.has_queue(Direction::Down);
        }
        let (due, stage) =
            if has_queue { (at, Stage::Queue(entry, travel)) } else { (at + travel, Stage::Arrival(entry)) };
        Ok(self.launch(now, key, Flight { due, number: 0, sender, source, destination, stage, data }))
    }

    fn ascend(&mut self, line: LineId, at: Instant, bytes: usize) -> Result<Instant, DropReason> {
        let (line, rng) = self.line(line);
        let travel = line.draw(bytes, rng)?;
        Ok(line.queue(Direction::Up, at, bytes)? + travel)
    }

    fn line(&mut self, line: LineId) -> (&mut Line, &mut rand::rngs::Xoshiro256PlusPlus) {
        let line = match line {
            LineId::Host(host, interface) => &mut self.hosts[host.0].interfaces[interface].line,
            LineId::Nat(nat) => &mut self.nats[nat.0].line,
        };
        (line, &mut self.rng)
    }

    /// The socket to which a way leads down, with the lines it takes. What a NAT filters and whether the host is
    /// connected counts only when the caller is given.
    fn descend(
        &self,
        now: Instant,
        entry: Entry,
        mut destination: SocketAddr,
        asking: Option<SocketAddr>,
        lines: &mut Vec<LineId>,
    ) -> Result<usize, DropReason> {
        let mut realm = entry.realm;
        loop {
            match self.realm(realm).attached.get(&destination.ip()) {
                None | Some(Attached::StunServer) => return Err(DropReason::NoHost),
                Some(Attached::Host(id)) => {
                    let host = &self.hosts[id.0];
                    let interface = host.interface(destination.ip()).ok_or(DropReason::NoHost)?;
                    if asking.is_some() && !host.up {
                        return Err(DropReason::Disconnected);
                    }
                    lines.push(LineId::Host(*id, interface));
                    return host.listener(destination).ok_or(DropReason::NoSocket);
                }
                Some(Attached::Nat(id)) => {
                    let nat = &self.nats[id.0];
                    let internal = match asking {
                        Some(source) => nat.table.inbound(now, destination, source),
                        None => nat.table.internal(now, destination),
                    };
                    destination = internal.ok_or(DropReason::Nat)?;
                    realm = nat.inner;
                    if entry.hairpin != Some(*id) {
                        lines.push(LineId::Nat(*id));
                    }
                }
            }
        }
    }

    /// Puts a datagram on its way to a socket.
    fn launch(&mut self, now: Instant, key: usize, mut flight: Flight) -> Option<Waker> {
        // A socket that is not read holds no more than its buffer and what is on its way.
        self.advance(key, now);
        flight.number = self.next_flight;
        self.next_flight += 1;
        let socket = &mut self.sockets[key];
        let sooner = |waiting: &mut Waiting| waiting.until.is_none_or(|until| flight.due < until);
        let woken = socket.waiting.take_if(sooner).map(|waiting| waiting.waker);
        socket.in_flight.push(Reverse(flight));
        woken
    }

    /// Moves what is due into the receive buffer of a socket.
    pub(super) fn advance(&mut self, key: usize, now: Instant) {
        let is_due = |Reverse(flight): &Reverse<Flight>| flight.due <= now;
        while let Some(true) = self.sockets[key].in_flight.peek().map(is_due)
            && let Some(Reverse(flight)) = self.sockets[key].in_flight.pop()
        {
            let sender = flight.sender;
            if let Err(reason) = self.arrive(key, flight) {
                self.count_drop(sender, reason);
            }
        }
    }

    fn arrive(&mut self, key: usize, mut flight: Flight) -> Result<(), DropReason> {
        match flight.stage {
            Stage::Queue(entry, travel) => {
                let mut lines = Vec::with_capacity(2);
                self.descend(flight.due, entry, flight.destination, None, &mut lines)?;
                let bytes = packet_bytes(flight.data.len(), flight.destination);
                for line in lines {
                    flight.due = self.line(line).0.queue(Direction::Down, flight.due, bytes)?;
                }
                flight.due += travel;
                flight.stage = Stage::Arrival(entry);
                self.sockets[key].in_flight.push(Reverse(flight));
                return Ok(());
            }
            Stage::Arrival(entry) => {
                let asking = Some(flight.source);
                let listener = self.descend(flight.due, entry, flight.destination, asking, &mut Vec::new())?;
                if listener != key {
                    return Err(DropReason::NoSocket);
                }
            }
            Stage::Local => {}
        }
        let socket = &mut self.sockets[key];
        let bytes = flight.data.len() + OVERHEAD_BYTES;
        if socket.arrived_bytes + bytes > socket.buffer_bytes {
            return Err(DropReason::BufferFull);
        }
        socket.arrived_bytes += bytes;
        socket.arrived.push_back(Arrived { remote: flight.source, data: flight.data });
        let receiver = socket.host;
        self.host(receiver).counters.received += 1;
        if let Some(sender) = flight.sender {
            self.host(sender).counters.delivered += 1;
        }
        Ok(())
    }

    /// Takes datagrams out of a receive buffer; returns how many.
    pub(super) fn receive(
        &mut self,
        key: usize,
        now: Instant,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> usize {
        self.advance(key, now);
        let socket = &mut self.sockets[key];
        let mut filled = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            let Some(Arrived { remote, data }) = socket.arrived.pop_front() else { break };
            socket.arrived_bytes -= data.len() + OVERHEAD_BYTES;
            // What does not fit is cut off, as sockets do.
            let bytes = data.len().min(buffer.len());
            buffer[..bytes].copy_from_slice(&data[..bytes]);
            *received = Received { remote, bytes, segment_bytes: bytes.max(1) };
            filled += 1;
        }
        filled
    }

    /// Registers a task to be woken when a datagram is sent to this socket that is due before all others. Returns when
    /// the first of those is due, and what is to be dropped without the lock.
    pub(super) fn wait(&mut self, key: usize, waker: &Waker) -> (Option<Instant>, Option<Waiting>) {
        let socket = &mut self.sockets[key];
        let until = socket.in_flight.peek().map(|Reverse(flight)| flight.due);
        match &mut socket.waiting {
            Some(waiting) if waiting.waker.will_wake(waker) => {
                waiting.until = until;
                (until, None)
            }
            waiting => (until, waiting.replace(Waiting { waker: waker.clone(), until })),
        }
    }
}
