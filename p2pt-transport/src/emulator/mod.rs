//! A seeded network emulator in memory, on which the WebRTC backend runs as on the system's network.
//!
//! An [`Internet`] has hosts with public addresses and NATs with hosts behind them. Each [`Host`] is a
//! [`Network`], so that whole nodes run over full ICE, DTLS and SCTP without sockets of the
//! system: with delay, jitter, loss, limited bandwidth, NATs of the usual kinds that lose their mappings, and hosts that
//! change their networks.
//!
//! The emulator keeps to tokio's clock, so that under paused time hours pass in milliseconds, and draws every random
//! choice from its seed, in the order of sending: the same datagrams at the same instants end the same way. It runs
//! no task and holds no descriptor. Datagrams arrive within the millisecond after they are due, because tokio's timers
//! count in milliseconds.
//!
//! What it leaves out: ICMP, fragments, broadcast and multicast, and IPv6 link-local addresses of hosts beyond a [`Link`].
//! Datagrams to a socket
//! that is not bound yet when they are sent are dropped, also when it is bound before they arrive.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> std::io::Result<()> {
//! use std::{future::poll_fn, io::IoSliceMut, time::Duration};
//!
//! use p2pt_transport::emulator::{Internet, NatKind, Path};
//! use p2pt_transport::webrtc::{Network as _, Received};
//! use tokio::time::Instant;
//!
//! let internet = Internet::new(1);
//! let server = internet.host(Path::default().delay(Duration::from_millis(15)))?;
//! let home = internet.nat(NatKind::PortRestricted)?.host(Path::default().delay(Duration::from_millis(5)))?;
//!
//! let at_server = server.network().bind("0.0.0.0:7000".parse().unwrap(), 65_536)?;
//! let at_home = home.network().bind("0.0.0.0:0".parse().unwrap(), 65_536)?;
//! let begin = Instant::now();
//! at_home.try_send((server.address().unwrap(), 7000).into(), b"hello", 1200)?;
//!
//! let mut buffer = [0; 1500];
//! let mut received = [Received { remote: at_home.local_addr(), bytes: 0, segment_bytes: 1 }];
//! poll_fn(|cx| at_server.poll_receive(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)).await?;
//! assert_eq!(&buffer[..received[0].bytes], b"hello");
//! assert_eq!(begin.elapsed(), Duration::from_millis(20));
//! assert_ne!(received[0].remote.ip(), home.address().unwrap(), "the NAT's address is seen");
//! # Ok(())
//! # }
//! ```

mod config;
mod counters;
mod line;
mod nat;
mod route;
mod socket;
mod state;
mod stun;

#[cfg(test)]
mod nat_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

pub use config::{HostConfig, NatBehavior, NatConfig, NatKind, Path};
pub use counters::Counters;

use crate::webrtc::Network;
use socket::{EmulatedNetwork, Shared};
use state::{HostId, NatId, RealmId, State};

/// An emulated internet. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Internet {
    shared: Arc<Shared>,
}

impl Internet {
    /// An internet without hosts, whose random choices follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self { shared: Shared::new(State::new(seed)) }
    }

    /// Adds a host with public addresses.
    ///
    /// # Errors
    /// When there is no address left: 131,324 hosts and NATs have IPv4 addresses here.
    pub fn host(&self, config: impl Into<HostConfig>) -> io::Result<Host> {
        Host::new(&self.shared, State::INTERNET, config.into())
    }

    /// Adds a NAT with a public address.
    ///
    /// # Errors
    /// The errors of [`host`](Self::host).
    pub fn nat(&self, config: impl Into<NatConfig>) -> io::Result<Nat> {
        Nat::new(&self.shared, State::INTERNET, &config.into())
    }

    /// Adds a link that leads nowhere, as a cable between two machines.
    pub fn link(&self) -> Link {
        let realm = self.shared.lock().add_link();
        Link { shared: self.shared.clone(), realm }
    }

    /// Adds a STUN server: it answers binding requests and tells the address they came from. Its line is perfect.
    ///
    /// # Errors
    /// The errors of [`host`](Self::host).
    pub fn stun_server(&self) -> io::Result<SocketAddr> {
        self.shared.lock().add_stun_server()
    }

    /// Gives a name one more address, which all hosts can resolve.
    pub fn name(&self, name: &str, ip: IpAddr) {
        self.shared.lock().names.entry(name.to_owned()).or_default().push(ip);
    }

    /// Cuts two hosts off from each other, or mends that. Datagrams on their way arrive.
    pub fn partition(&self, a: &Host, b: &Host, cut: bool) {
        self.cut_from(a, b, cut);
        self.cut_from(b, a, cut);
    }

    /// Lets nothing from one host arrive at another, or mends that. Datagrams on their way arrive.
    pub fn cut_from(&self, from: &Host, to: &Host, cut: bool) {
        self.shared.lock().rules.entry((from.id, to.id)).or_default().cut = cut;
    }

    /// Makes everything that is sent from one host to another take this much longer. Replaces what was set before.
    pub fn slow_from(&self, from: &Host, to: &Host, delay: Duration) {
        self.shared.lock().rules.entry((from.id, to.id)).or_default().delay = delay;
    }

    /// Ends every cut, partition and slowness between hosts.
    pub fn heal(&self) {
        self.shared.lock().rules.clear();
    }

    /// How many sockets are bound on all hosts.
    pub fn sockets(&self) -> usize {
        self.shared.lock().sockets.len()
    }
}

/// A host. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Host {
    shared: Arc<Shared>,
    id: HostId,
}

impl Host {
    fn new(shared: &Arc<Shared>, realm: RealmId, config: HostConfig) -> io::Result<Self> {
        let id = shared.lock().add_host(realm, config)?;
        Ok(Self { shared: shared.clone(), id })
    }

    /// The network as this host sees it.
    pub fn network(&self) -> Arc<dyn Network> {
        Arc::new(EmulatedNetwork { shared: self.shared.clone(), host: self.id })
    }

    /// Its addresses, those of the network that it joined first in front; IPv4 before IPv6.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.shared.lock().host(self.id).addresses().collect()
    }

    /// The first of its addresses; none when it has left all networks.
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses().first().copied()
    }

    /// Where its sockets are bound, also those whose address has vanished.
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.shared.lock().host(self.id).bound()
    }

    /// Makes its lines, to all networks it has joined, like this. Datagrams on their way are not affected.
    pub fn set_path(&self, path: Path) {
        for interface in &mut self.shared.lock().host(self.id).interfaces {
            interface.line.path = path.clone();
        }
    }

    /// Pulls the cables or plugs them in. Without a cable the host keeps its addresses, and everything that it sends and
    /// that arrives for it is dropped silently. It still reaches itself.
    pub fn set_up(&self, up: bool) {
        self.shared.lock().host(self.id).up = up;
    }

    /// Gives the host other addresses in each of its networks, as a network change does. Its old addresses vanish: sockets
    /// bound to them receive nothing any more and fail to send. Sockets bound to all addresses live on.
    ///
    /// # Errors
    /// When a network has no address left.
    pub fn change_address(&self) -> io::Result<()> {
        self.shared.lock().change_host_address(self.id)
    }

    /// Joins the internet, by one more line, with public addresses, which are returned.
    ///
    /// # Errors
    /// When there is no address left.
    pub fn join_internet(&self, path: Path) -> io::Result<Vec<IpAddr>> {
        self.shared.lock().join(self.id, State::INTERNET, path)
    }

    /// Joins the network behind a NAT of the same internet, by one more line. Returns the addresses it got.
    ///
    /// # Errors
    /// When that network has no address left.
    pub fn join(&self, nat: &Nat, path: Path) -> io::Result<Vec<IpAddr>> {
        let mut state = self.shared.lock();
        let realm = state.nat(nat.id).inner;
        state.join(self.id, realm, path)
    }

    /// Leaves the network in which the host has this address, as when a cable is pulled and the system notices. Sockets
    /// bound to addresses of that network are of no more use. Returns whether there was such a network.
    pub fn leave(&self, ip: IpAddr) -> bool {
        self.shared.lock().leave(self.id, ip)
    }

    /// What became of the datagrams of this host.
    pub fn counters(&self) -> Counters {
        self.shared.lock().host(self.id).counters
    }

    /// How many datagrams this host has sent, by own address and remote address: whom it has spoken to, or tried to.
    pub fn flows(&self) -> BTreeMap<(SocketAddr, SocketAddr), u64> {
        self.shared.lock().host(self.id).flows.clone()
    }
}

/// A link without a router and without a DHCP server: hosts have link-local addresses. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
    realm: RealmId,
}

impl Link {
    /// Adds a host on this link alone, with addresses of 169.254.0.0/16 and fe80::/64.
    ///
    /// # Errors
    /// When there is no address left: 65,024 hosts have IPv4 addresses here.
    pub fn host(&self, config: impl Into<HostConfig>) -> io::Result<Host> {
        Host::new(&self.shared, self.realm, config.into())
    }
}

/// A NAT with a network of hosts behind it. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Nat {
    shared: Arc<Shared>,
    id: NatId,
}

impl Nat {
    fn new(shared: &Arc<Shared>, outer: RealmId, config: &NatConfig) -> io::Result<Self> {
        let id = shared.lock().add_nat(outer, config)?;
        Ok(Self { shared: shared.clone(), id })
    }

    /// Adds a host behind this NAT.
    ///
    /// # Errors
    /// When there is no address left: 253 hosts and NATs fit behind one NAT.
    pub fn host(&self, config: impl Into<HostConfig>) -> io::Result<Host> {
        let inner = self.inner();
        Host::new(&self.shared, inner, config.into())
    }

    /// Adds a NAT behind this one, which is then that of a carrier.
    ///
    /// # Errors
    /// The errors of [`host`](Self::host).
    pub fn nat(&self, config: impl Into<NatConfig>) -> io::Result<Self> {
        let inner = self.inner();
        Self::new(&self.shared, inner, &config.into())
    }

    fn inner(&self) -> RealmId {
        self.shared.lock().nat(self.id).inner
    }

    /// Its address outside.
    pub fn address(&self) -> IpAddr {
        self.shared.lock().nat(self.id).external_ip
    }

    /// Makes its line like this. Datagrams on their way are not affected.
    pub fn set_path(&self, path: Path) {
        self.shared.lock().nat(self.id).line.path = path;
    }

    /// Drops all mappings and permissions, as a restart does. New mappings get other external ports than before. Datagrams
    /// on their way to the old ones are dropped.
    pub fn rebind(&self) {
        self.shared.lock().nat(self.id).table.rebind();
    }

    /// Gives the NAT another address outside, and drops all mappings and permissions.
    ///
    /// # Errors
    /// When the network outside has no address left.
    pub fn change_address(&self) -> io::Result<()> {
        self.shared.lock().change_nat_address(self.id)
    }

    /// The mappings that live: each internal endpoint with an external one, in order.
    pub fn mappings(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.shared.lock().nat(self.id).table.mappings(Instant::now())
    }
}
