//! The sockets of a transport: sets of them, one socket for each local address.
//!
//! Offers leave from the first four sets, answers from the others, always from one from which no connection goes to any
//! address of the offer: two connections between the same two addresses could not be distinguished, and between two nodes there
//! are often two, of two swarms or of offers that cross. Each set is filled with a few connections before the next is
//! opened, and then all evenly: those that leave from a set share its sockets' receive buffers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    WebRtcConfig,
    candidate::is_link_local,
    endpoint::MAX_SETS,
    socket::{DatagramSocket, Network},
};
use crate::TransportError;

/// More addresses than this cost more descriptors than they bring paths: container hosts have dozens of bridges.
const MAX_ADDRESSES: usize = 8;

/// How long the addresses of this host count as known. Hosts change networks, and reading costs as much as an offer.
const ADDRESSES_AGE: Duration = Duration::from_millis(500);

/// An address without scope and flow label, by which a socket is known.
pub(super) fn bare(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// One set as it is now.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) sockets: Vec<Arc<dyn DatagramSocket>>,
    /// Some were bound for this.
    pub(super) opened: bool,
    /// The addresses of those that were closed.
    pub(super) closed: Vec<SocketAddr>,
}

/// All sockets of a transport.
#[derive(Debug)]
pub(super) struct Sets {
    network: Arc<dyn Network>,
    sets: Vec<Vec<Arc<dyn DatagramSocket>>>,
    addresses: Vec<SocketAddr>,
    read_at: Option<Instant>,
}

impl Sets {
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, sets: vec![Vec::new(); MAX_SETS], addresses: Vec::new(), read_at: None }
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &Arc<dyn DatagramSocket>> {
        self.sets.iter().flatten()
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.sets.iter_mut().for_each(Vec::clear);
    }

    /// The addresses to be reached at now.
    fn addresses(&mut self, config: &WebRtcConfig) -> Vec<SocketAddr> {
        if !config.bind_addresses.is_empty() {
            return config.bind_addresses.clone();
        }
        if self.read_at.is_none_or(|at| at.elapsed() >= ADDRESSES_AGE) {
            self.read_at = Some(Instant::now());
            let found = self.network.addresses().unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot list the network interfaces; using loopback only");
                Vec::new()
            });
            self.addresses = choose(found.into_iter(), config.include_loopback);
        }
        self.addresses.clone()
    }

    /// The sockets of set `number` at the addresses of now, bound if they are not yet. Those at addresses that are gone, of
    /// which `is_used` does not hold, are closed.
    ///
    /// # Errors
    /// [`TransportError::Bind`] if none can be bound.
    pub(super) fn set(
        &mut self,
        number: usize,
        config: &WebRtcConfig,
        is_used: impl Fn(SocketAddr) -> bool,
    ) -> Result<Set, TransportError> {
        let mut wanted = self.addresses(config);
        for address in &mut wanted {
            if address.port() == 0 {
                address.set_port(config.port);
            }
        }
        let mut opened = false;
        let mut chosen = Vec::new();
        let mut failure = None;
        for address in &wanted {
            let known = self.sets[number].iter().find(|socket| is_at(&***socket, *address, number));
            match known {
                Some(socket) => chosen.push(socket.clone()),
                None => match self.bind(*address, number, config.socket_buffer_bytes) {
                    Ok(socket) => {
                        tracing::debug!(local = %socket.local_addr(), set = number, "UDP socket opened");
                        opened = true;
                        self.sets[number].push(socket.clone());
                        chosen.push(socket);
                    }
                    Err((address, source)) => {
                        tracing::warn!(%address, error = %source, "cannot bind a UDP socket");
                        failure.get_or_insert(TransportError::Bind { address, source });
                    }
                },
            }
        }
        let stays = |socket: &Arc<dyn DatagramSocket>| {
            chosen.iter().any(|chosen| Arc::ptr_eq(chosen, socket)) || is_used(bare(socket.local_addr()))
        };
        let (stay, closed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sets[number]).into_iter().partition(stays);
        self.sets[number] = stay;
        if chosen.is_empty() {
            return Err(failure.unwrap_or(TransportError::NoCandidate));
        }
        for socket in &closed {
            tracing::debug!(local = %socket.local_addr(), set = number, "UDP socket closed: its address is gone");
        }
        let closed = closed.iter().map(|socket| bare(socket.local_addr())).collect();
        Ok(Set { sockets: chosen, opened, closed })
    }

    fn bind(
        &self,
        mut address: SocketAddr,
        number: usize,
        bytes: usize,
    ) -> Result<Arc<dyn DatagramSocket>, (SocketAddr, io::Error)> {
        let port = port(address.port(), number).ok_or_else(|| (address, no_room()))?;
        address.set_port(port);
        self.network.bind(address, bytes).map_err(|error| (address, error))
    }
}

/// Refuses ports that are too high for those after them.
///
/// # Errors
/// [`TransportError::Bind`].
pub(super) fn check_ports(config: &WebRtcConfig) -> Result<(), TransportError> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.port));
    let mut addresses = config.bind_addresses.iter().copied().chain([any]);
    match addresses.find(|address| port(address.port(), MAX_SETS - 1).is_none()) {
        Some(address) => Err(TransportError::Bind { address, source: no_room() }),
        None => Ok(()),
    }
}

fn no_room() -> io::Error {
    let last = usize::from(u16::MAX) + 1 - MAX_SETS;
    let why = format!("it is the first of {MAX_SETS} ports, so {last} is the highest");
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// The port of set `number` where the first set has `first`: the ones after it, or any.
fn port(first: u16, number: usize) -> Option<u16> {
    if first == 0 { Some(0) } else { first.checked_add(u16::try_from(number).ok()?) }
}

fn is_at(socket: &dyn DatagramSocket, address: SocketAddr, number: usize) -> bool {
    let local = socket.local_addr();
    let same_scope = match (local, address) {
        (SocketAddr::V6(local), SocketAddr::V6(address)) => local.scope_id() == address.scope_id(),
        _ => true,
    };
    let same_port = address.port() == 0 || port(address.port(), number) == Some(local.port());
    local.ip() == address.ip() && same_scope && same_port
}

/// Of the addresses of a host those to be reached at: the routed ones; where there are none, link-local ones, as on a cable
/// between two machines; where there are none either, or it is asked for, loopback.
fn choose(found: impl Iterator<Item = SocketAddr>, include_loopback: bool) -> Vec<SocketAddr> {
    let (mut loopback, mut link_local, mut routed) = (Vec::new(), Vec::new(), Vec::new());
    for mut address in found {
        address.set_port(0);
        let ip = address.ip();
        if ip.is_unspecified() || ip.is_multicast() {
            continue;
        }
        let list = if ip.is_loopback() {
            &mut loopback
        } else if is_link_local(ip) {
            &mut link_local
        } else {
            // Only link-local addresses have a scope.
            address = SocketAddr::new(ip, 0);
            &mut routed
        };
        if !list.contains(&address) {
            list.push(address);
        }
    }
    if loopback.is_empty() {
        loopback.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    let mut chosen = if routed.is_empty() { link_local } else { routed };
    chosen.truncate(MAX_ADDRESSES);
    if include_loopback || chosen.is_empty() {
        chosen.extend(loopback);
    }
    chosen
}

/// `remote` with the scope of the socket it is sent from, which link-local addresses need.
pub(super) fn scoped(remote: SocketAddr, local: SocketAddr) -> SocketAddr {
    match (remote, local) {
        (SocketAddr::V6(remote), SocketAddr::V6(local)) if is_link_local(IpAddr::V6(*remote.ip())) => {
            SocketAddr::V6(SocketAddrV6::new(*remote.ip(), remote.port(), 0, local.scope_id()))
        }
        _ => remote,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(addresses: &[&str], include_loopback: bool) -> Vec<String> {
        let parse = |address: &&str| SocketAddr::new(address.parse().expect("an address"), 0);
        choose(addresses.iter().map(parse), include_loopback).iter().map(|a| a.ip().to_string()).collect()
    }

    #[test]
    fn loopback_is_for_machines_that_have_nothing_else_or_are_configured_so() {
        let machine = ["127.0.0.1", "::1", "192.0.2.7", "192.0.2.7", "fe80::1", "169.254.3.4", "2001:db8::7"];
        assert_eq!(chosen(&machine, false), ["192.0.2.7", "2001:db8::7"]);
        assert_eq!(chosen(&machine, true), ["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"]);
        assert_eq!(chosen(&["127.0.0.1", "::1"], false), ["127.0.0.1", "::1"]);
        assert_eq!(chosen(&[], false), ["127.0.0.1"]);
    }

    #[test]
    fn a_cable_between_two_machines_is_a_network() {
        assert_eq!(chosen(&["127.0.0.1", "169.254.3.4", "fe80::1"], false), ["169.254.3.4", "fe80::1"]);
    }

    #[test]
    fn a_host_full_of_bridges_is_cut_short() {
        let many: Vec<String> = (0..40).map(|n| format!("10.0.{n}.1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(chosen(&many, false).len(), MAX_ADDRESSES);
        assert_eq!(chosen(&many, true).last().map(String::as_str), Some("127.0.0.1"));
    }

    #[test]
    fn a_fixed_port_is_the_first_of_eight() {
        assert_eq!(
            (port(0, 7), port(4000, 0), port(4000, 7), port(65_533, 7)),
            (Some(0), Some(4000), Some(4007), None)
        );
    }

    #[test]
    fn link_local_addresses_are_sent_to_through_the_interface_of_the_socket() {
        let local: SocketAddr = "[fe80::1%7]:1"
            .parse()
            .unwrap_or_else(|_| SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().expect("an address"), 1, 0, 7)));
        let to: SocketAddr = "[fe80::2]:9".parse().expect("an address");
        assert!(matches!(scoped(to, local), SocketAddr::V6(to) if to.scope_id() == 7));
        let routed: SocketAddr = "[2001:db8::2]:9".parse().expect("an address");
        assert_eq!(scoped(routed, local), routed);
    }
}
