//! The state of the emulated internet: networks, hosts, NATs and sockets, all behind one lock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque, hash_map::Entry},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use slab::Slab;
use tokio::time::Instant;

use super::{
    config::{HostConfig, NatConfig, Path},
    counters::{Counters, DropReason},
    line::Line,
    nat::NatTable,
    route::Flight,
    stun,
};

/// Where Linux begins with ports that are not asked for.
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RealmId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HostId(pub(super) usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NatId(pub(super) usize);

/// What has an address in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attached {
    Host(HostId),
    Nat(NatId),
    StunServer,
}

/// The IPv4 addresses of a network.
#[derive(Debug, Clone, Copy)]
enum Subnet {
    /// 203.0.113.0/24, which RFC 5737 sets aside for examples, and when it is used up 198.18.0.0/15, which RFC 2544 sets
    /// aside for measurements.
    Internet,
    /// A /24 network. The first address is the gateway's.
    Lan(Ipv4Addr),
    /// 169.254.0.0/16, in which hosts without a DHCP server choose their addresses (RFC 3927). It leads nowhere.
    Link,
}

impl Subnet {
    /// How many addresses it has.
    fn len(self) -> u32 {
        match self {
            Self::Internet => 254 + (1 << 17) - 2,
            Self::Lan(_) => 253,
            // The first and the last 256 are reserved.
            Self::Link => (1 << 16) - 512,
        }
    }

    fn address(self, index: u32) -> Ipv4Addr {
        let (base, offset) = match self {
            Self::Internet if index < 254 => (Ipv4Addr::new(203, 0, 113, 1), index),
            Self::Internet => (Ipv4Addr::new(198, 18, 0, 1), index - 254),
            Self::Lan(network) => (network, index + 2),
            Self::Link => (Ipv4Addr::new(169, 254, 1, 0), index),
        };
        Ipv4Addr::from_bits(base.to_bits() + offset)
    }

    /// Whether an address is of this network, so that it is looked for nowhere else.
    fn contains(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::Link, IpAddr::V4(ip)) => ip.is_link_local(),
            (Self::Lan(network), IpAddr::V4(ip)) => ip.octets()[..3] == network.octets()[..3],
            _ => false,
        }
    }
}

/// A network: the internet, or what is behind a NAT.
#[derive(Debug)]
pub(super) struct Realm {
    subnet: Subnet,
    /// The NAT that leads out of it.
    pub(super) gateway: Option<NatId>,
    pub(super) attached: HashMap<IpAddr, Attached>,
    /// Which address is tried first for the next host.
    next: u32,
}

impl Realm {
    fn new(subnet: Subnet, gateway: Option<NatId>) -> Self {
        Self { subnet, gateway, attached: HashMap::new(), next: 0 }
    }

    pub(super) fn is_on_link(&self, ip: IpAddr) -> bool {
        self.subnet.contains(ip)
    }

    /// Addresses come again only when all others have been used, so that one that has vanished stays so.
    fn attach(&mut self, attached: Attached) -> io::Result<IpAddr> {
        for _ in 0..self.subnet.len() {
            let ip = IpAddr::V4(self.subnet.address(self.next));
            self.next = (self.next + 1) % self.subnet.len();
            if let Entry::Vacant(free) = self.attached.entry(ip) {
                free.insert(attached);
                return Ok(ip);
            }
        }
        Err(io::Error::other("the emulated network has no address left"))
    }
}

/// A host's attachment to a network.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) realm: RealmId,
    addresses: Vec<IpAddr>,
    pub(super) line: Line,
}

#[derive(Debug)]
pub(super) struct HostState {
    pub(super) config: HostConfig,
    pub(super) up: bool,
    pub(super) interfaces: Vec<Interface>,
    bound: HashMap<SocketAddr, usize>,
    next_port: u16,
    pub(super) counters: Counters,
    pub(super) flows: BTreeMap<(SocketAddr, SocketAddr), u64>,
}

impl HostState {
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied())
    }

    /// Which interface has an address.
    pub(super) fn interface(&self, ip: IpAddr) -> Option<usize> {
        self.interfaces.iter().position(|interface| interface.addresses.contains(&ip))
    }

    /// An address of this host as its system writes it: link-local ones of IPv6 with the number of the interface.
    pub(super) fn scoped(&self, address: SocketAddr) -> SocketAddr {
        match (address, self.interface(address.ip())) {
            (SocketAddr::V6(v6), Some(index)) if v6.ip().is_unicast_link_local() => {
                SocketAddrV6::new(*v6.ip(), v6.port(), 0, index as u32 + 1).into()
            }
            _ => address,
        }
    }

    /// The socket that receives what comes to an address of this host.
    pub(super) fn listener(&self, address: SocketAddr) -> Option<usize> {
        self.bound.get(&address).or_else(|| self.bound.get(&any_address(address))).copied()
    }

    pub(super) fn bound(&self) -> Vec<SocketAddr> {
        let mut bound: Vec<_> = self.bound.keys().copied().collect();
        bound.sort_unstable();
        bound
    }

    fn is_free(&self, address: SocketAddr) -> bool {
        if address.ip().is_unspecified() {
            let same = |bound: &SocketAddr| bound.port() == address.port() && bound.is_ipv4() == address.is_ipv4();
            return !self.bound.keys().any(same);
        }
        !self.bound.contains_key(&address) && !self.bound.contains_key(&any_address(address))
    }

    fn free_port(&mut self, ip: IpAddr) -> io::Result<SocketAddr> {
        for _ in FIRST_EPHEMERAL_PORT..=u16::MAX {
            let address = SocketAddr::new(ip, self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
            if self.is_free(address) {
                return Ok(address);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

fn any_address(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, address.port())
}

#[derive(Debug)]
pub(super) struct NatState {
    pub(super) outer: RealmId,
    pub(super) inner: RealmId,
    pub(super) external_ip: IpAddr,
    pub(super) hairpinning: bool,
    pub(super) table: NatTable,
    pub(super) line: Line,
}

/// A datagram in a receive buffer.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) remote: SocketAddr,
    pub(super) data: Bytes,
}

/// The task that waits at a socket.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) waker: Waker,
    /// When it wakes by itself.
    pub(super) until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct SocketState {
    pub(super) host: HostId,
    pub(super) local: SocketAddr,
    pub(super) buffer_bytes: usize,
    pub(super) in_flight: BinaryHeap<Reverse<Flight>>,
    pub(super) arrived: VecDeque<Arrived>,
    pub(super) arrived_bytes: usize,
    pub(super) waiting: Option<Waiting>,
}

/// What was set for one direction between two hosts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rule {
    pub(super) cut: bool,
    pub(super) delay: Duration,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) next_flight: u64,
    pub(super) realms: Vec<Realm>,
    pub(super) hosts: Vec<HostState>,
    pub(super) nats: Vec<NatState>,
    pub(super) sockets: Slab<SocketState>,
    pub(super) rules: HashMap<(HostId, HostId), Rule>,
    pub(super) names: HashMap<String, Vec<IpAddr>>,
    next_ipv6: u128,
}

impl State {
    /// The internet, to which everything leads.
    pub(super) const INTERNET: RealmId = RealmId(0);

    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            next_flight: 0,
            realms: vec![Realm::new(Subnet::Internet, None)],
            hosts: Vec::new(),
            nats: Vec::new(),
            sockets: Slab::new(),
            rules: HashMap::new(),
            names: HashMap::new(),
            next_ipv6: 1,
        }
    }

    pub(super) fn realm(&self, id: RealmId) -> &Realm {
        &self.realms[id.0]
    }

    pub(super) fn host(&mut self, id: HostId) -> &mut HostState {
        &mut self.hosts[id.0]
    }

    pub(super) fn nat(&mut self, id: NatId) -> &mut NatState {
        &mut self.nats[id.0]
    }

    pub(super) fn add_host(&mut self, realm: RealmId, config: HostConfig) -> io::Result<HostId> {
        let id = HostId(self.hosts.len());
        let path = config.path.clone();
        self.hosts.push(HostState {
            config,
            up: true,
            interfaces: Vec::new(),
            bound: HashMap::new(),
            next_port: FIRST_EPHEMERAL_PORT,
            counters: Counters::default(),
            flows: BTreeMap::new(),
        });
        self.join(id, realm, path)?;
        Ok(id)
    }

    /// Attaches a host to one more network; returns the addresses it got.
    pub(super) fn join(&mut self, host: HostId, realm: RealmId, path: Path) -> io::Result<Vec<IpAddr>> {
        let addresses = self.attach_host(host, realm)?;
        self.host(host).interfaces.push(Interface { realm, addresses: addresses.clone(), line: Line::new(path) });
        Ok(addresses)
    }

    /// Takes a host from the network in which it has this address.
    pub(super) fn leave(&mut self, host: HostId, ip: IpAddr) -> bool {
        let Some(index) = self.host(host).interface(ip) else { return false };
        let interface = self.host(host).interfaces.remove(index);
        self.detach(interface.realm, &interface.addresses);
        true
    }

    /// Gives a host other addresses in each of its networks.
    pub(super) fn change_host_address(&mut self, host: HostId) -> io::Result<()> {
        for index in 0..self.host(host).interfaces.len() {
            let realm = self.host(host).interfaces[index].realm;
            // The old addresses go last, so that the new ones differ.
            let addresses = self.attach_host(host, realm)?;
            let old = std::mem::replace(&mut self.host(host).interfaces[index].addresses, addresses);
            self.detach(realm, &old);
        }
        Ok(())
    }

    fn attach_host(&mut self, host: HostId, realm: RealmId) -> io::Result<Vec<IpAddr>> {
        let (ipv4, ipv6) = (self.host(host).config.ipv4, self.host(host).config.ipv6);
        let mut addresses = Vec::new();
        if ipv4 {
            addresses.push(self.realms[realm.0].attach(Attached::Host(host))?);
        }
        if ipv6 {
            addresses.push(self.attach_ipv6(realm, Attached::Host(host)));
        }
        Ok(addresses)
    }

    /// The address is known in all networks around, because IPv6 is routed through NATs.
    fn attach_ipv6(&mut self, mut realm: RealmId, mut attached: Attached) -> IpAddr {
        let prefix = match self.realms[realm.0].subnet {
            Subnet::Link => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
            // 2001:db8::/32 is set aside for examples (RFC 3849).
            Subnet::Internet | Subnet::Lan(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        };
        let ip = IpAddr::V6(Ipv6Addr::from_bits(prefix.to_bits() + self.next_ipv6));
        self.next_ipv6 += 1;
        loop {
            self.realms[realm.0].attached.insert(ip, attached);
            let Some(nat) = self.realms[realm.0].gateway else { return ip };
            attached = Attached::Nat(nat);
            realm = self.nats[nat.0].outer;
        }
    }

    fn detach(&mut self, realm: RealmId, addresses: &[IpAddr]) {
        let mut next = Some(realm);
        while let Some(realm) = next {
            // Private IPv4 addresses are known in their own network only.
            for ip in addresses.iter().filter(|ip| ip.is_ipv6()) {
                self.realms[realm.0].attached.remove(ip);
            }
            next = self.realms[realm.0].gateway.map(|nat| self.nats[nat.0].outer);
        }
        for ip in addresses {
            self.realms[realm.0].attached.remove(ip);
        }
    }

    pub(super) fn add_nat(&mut self, outer: RealmId, config: &NatConfig) -> io::Result<NatId> {
        let id = NatId(self.nats.len());
        let inner = RealmId(self.realms.len());
        let external_ip = self.realms[outer.0].attach(Attached::Nat(id))?;
        let [.., number] = id.0.to_be_bytes();
        let lan = config.lan.unwrap_or(Ipv4Addr::new(192, 168, number, 0));
        let lan = Ipv4Addr::from_bits(lan.to_bits() & !0xff);
        self.realms.push(Realm::new(Subnet::Lan(lan), Some(id)));
        let rng = Xoshiro256PlusPlus::seed_from_u64(self.rng.next_u64());
        self.nats.push(NatState {
            outer,
            inner,
            external_ip,
            hairpinning: config.hairpinning,
            table: NatTable::new(config, rng),
            line: Line::new(config.path.clone()),
        });
        Ok(id)
    }

    pub(super) fn add_link(&mut self) -> RealmId {
        self.realms.push(Realm::new(Subnet::Link, None));
        RealmId(self.realms.len() - 1)
    }

    pub(super) fn change_nat_address(&mut self, id: NatId) -> io::Result<()> {
        let (outer, old) = (self.nat(id).outer, self.nat(id).external_ip);
        let new = self.realms[outer.0].attach(Attached::Nat(id))?;
        self.detach(outer, &[old]);
        self.nat(id).external_ip = new;
        self.nat(id).table.rebind();
        Ok(())
    }

    pub(super) fn add_stun_server(&mut self) -> io::Result<SocketAddr> {
        let ip = self.realms[Self::INTERNET.0].attach(Attached::StunServer)?;
        Ok(SocketAddr::new(ip, stun::PORT))
    }

    /// Binds a socket; returns its key and where it is bound.
    pub(super) fn bind(
        &mut self,
        host: HostId,
        address: SocketAddr,
        buffer_bytes: usize,
    ) -> io::Result<(usize, SocketAddr)> {
        let state = &mut self.hosts[host.0];
        let ip = address.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && state.interface(ip).is_none() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let local = match address.port() {
            0 => state.free_port(ip)?,
            port => SocketAddr::new(ip, port),
        };
        if !state.is_free(local) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let key = self.sockets.insert(SocketState {
            host,
            local,
            buffer_bytes,
            in_flight: BinaryHeap::new(),
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            waiting: None,
        });
        self.hosts[host.0].bound.insert(local, key);
        Ok((key, local))
    }

    /// Ends a socket. What is returned is to be dropped without the lock.
    pub(super) fn unbind(&mut self, key: usize, now: Instant) -> SocketState {
        self.advance(key, now);
        let socket = self.sockets.remove(key);
        self.host(socket.host).bound.remove(&socket.local);
        for Reverse(flight) in &socket.in_flight {
            self.count_drop(flight.sender, DropReason::NoSocket);
        }
        socket
    }
}
