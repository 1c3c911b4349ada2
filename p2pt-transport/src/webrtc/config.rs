//! What can be set.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::webrtc_settings::{DEFAULT_FRAME_BYTES, common_setters};
use crate::{DEFAULT_STUN_SERVERS, IcePolicy, IceServer};

/// The largest frame this backend can be made to send or receive, in bytes: the hard limit of the SCTP stack.
pub const MAX_FRAME_BYTES: usize = 262_144;

/// Which of the addresses that a peer names are sent to.
///
/// A peer's description may name any address, and connectivity checks go to those that it names, at most seven to one that
/// never answers unless a check of the peer arrives from it. Never, whatever the setting, do they go to unspecified, multicast,
/// broadcast or reserved addresses, nor to loopback or link-local ones unless from such an address, which this side has
/// only where it is configured so or has no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Destinations {
    /// All that a peer could be at, private networks among them: peers in one network meet directly.
    #[default]
    Any,
    /// Moreover none for private use: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7, nor those in
    /// which such an address is embedded. For servers that must not be used to probe the network they are in; peers in
    /// that network are then met by their public addresses or through a TURN server only.
    PublicOnly,
}

/// The settings of a [`WebRtc`](super::WebRtc) transport. Start from [`Default`] and change what matters.
#[derive(Debug, Clone)]
#[must_use]
pub struct WebRtcConfig {
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) ice_policy: IcePolicy,
    pub(crate) destinations: Destinations,
    pub(crate) bind_addresses: Vec<SocketAddr>,
    pub(crate) port: u16,
    pub(crate) include_loopback: bool,
    pub(crate) gather_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) send_buffer_bytes: usize,
    pub(crate) receive_buffer_bytes: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) socket_buffer_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_offers: usize,
}

impl Default for WebRtcConfig {
    fn default() -> Self {
        Self {
            ice_servers: DEFAULT_STUN_SERVERS.into_iter().map(IceServer::stun).collect(),
            ice_policy: IcePolicy::All,
            destinations: Destinations::Any,
            bind_addresses: Vec::new(),
            port: 0,
            include_loopback: false,
            gather_timeout: Duration::from_millis(300),
            answer_timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(4),
            close_timeout: Duration::from_secs(2),
            send_buffer_bytes: 2 << 20,
            receive_buffer_bytes: 1 << 20,
            max_frame_bytes: DEFAULT_FRAME_BYTES,
            socket_buffer_bytes: 4 << 20,
            max_connections: 256,
            max_offers: 4096,
        }
    }
}

impl WebRtcConfig {
    common_setters!();

    /// For peers on this machine only: 127.0.0.1, and no ICE servers.
    pub fn loopback() -> Self {
        Self::default().without_ice_servers().bind_addresses([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
    }

    /// The STUN and TURN servers, instead of [`DEFAULT_STUN_SERVERS`].
    pub fn ice_servers(mut self, servers: impl IntoIterator<Item = IceServer>) -> Self {
        self.ice_servers = servers.into_iter().collect();
        self
    }

    /// Which of the addresses that a peer names are sent to. [All](Destinations::Any) by default.
    pub fn destinations(mut self, destinations: Destinations) -> Self {
        self.destinations = destinations;
        self
    }

    /// The local addresses to use, each offered as a candidate. Where one has a port other than 0, that and the seven ports
    /// after it are used, and no other, as [`port`](Self::port) says.
    ///
    /// None (the default) means the addresses of all network interfaces, IPv4 and IPv6, at most eight, read again while the
    /// transport lives; link-local ones only where there are no others, and loopback only where there is nothing else.
    pub fn bind_addresses(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.bind_addresses = addresses.into_iter().collect();
        self
    }

    /// The local IP addresses to use, as [`bind_addresses`](Self::bind_addresses) sets them, with ports chosen by the system, or by [`port`](Self::port).
    pub fn bind_ips(self, ips: impl IntoIterator<Item = IpAddr>) -> Self {
        self.bind_addresses(ips.into_iter().map(|ip| SocketAddr::new(ip, 0)))
    }

    /// The first of the eight UDP ports that are bound at each local address, and no others: one rule of a firewall or router
    /// serves all connections. 0, the default, leaves the choice to the system.
    ///
    /// Offers leave from the first four, answers from the others, each from the first from which no connection goes to the
    /// same peer yet. The highest first port is 65,528; a higher one is refused with
    /// [`TransportError::Bind`](crate::TransportError::Bind), and so is an offer or answer for which no port is free.
    pub fn port(mut self, first: u16) -> Self {
        self.port = first;
        self
    }

    /// Also offer loopback addresses although the machine has others. Off by default: useless to any other machine.
    pub fn include_loopback(mut self, include: bool) -> Self {
        self.include_loopback = include;
        self
    }

    /// How long an offer or answer waits for STUN and TURN servers; what has been found by then is offered. What they have
    /// answered is kept while offers wait, so that mostly the first offer alone waits for them.
    ///
    /// 300 ms by default: a near STUN server answers within 50 ms, and one that does not answer must not be felt. A relay
    /// takes several round trips; with one that is far away, allow more.
    pub fn gather_timeout(mut self, timeout: Duration) -> Self {
        self.gather_timeout = timeout;
        self
    }

    /// How long nothing may arrive on an open connection before it counts as dead. 4 s by default, in which
    /// a living peer has answered four connectivity checks, and made four; at least 1 s. Those checks are all that a
    /// shorter time costs: eight small packets in that time, each way. A peer whose process or machine stands still for
    /// longer is given up.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.max(Duration::from_secs(1));
        self
    }

    /// How many bytes may be accepted for sending and not yet acknowledged, per connection. 2 MiB by default. Each frame
    /// counts as 1,800 bytes more than it has, since small ones take time rather than memory: 1,100 frames of 100 bytes
    /// fit.
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer_bytes = bytes;
        self
    }

    /// How many received bytes wait for their reader, per connection, before the other side is made to wait. 1 MiB by
    /// default. SCTP holds a window of at most 1.25 MiB beside them.
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = bytes;
        self
    }

    /// The size asked for a UDP socket's send and receive buffer. 4 MiB by default; the system may grant less (on Linux
    /// `net.core.rmem_max` and `wmem_max`), in which case less data is allowed in flight.
    pub fn socket_buffer_bytes(mut self, bytes: usize) -> Self {
        self.socket_buffer_bytes = bytes;
        self
    }

    /// How many connections may open or be open at a time. 256 by default: each takes some 30 KB, and four checks and their
    /// answers each way in the [idle timeout](Self::idle_timeout). They share descriptors: at most eight for each local
    /// address. Offers that wait are counted by [`max_offers`](Self::max_offers), and never keep a connection out.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// How many offers may wait for their answers at a time, beside the [connections](Self::max_connections). 4,096 by
    /// default: each takes about 8 KB and no descriptor. Beyond that offers fail with
    /// [`TooManyConnections`](crate::TransportError::TooManyConnections). The nodes of crate `p2pt` give up offers of less use
    /// then, so that the limit bounds memory and keeps no peer waiting.
    pub fn max_offers(mut self, max: usize) -> Self {
        self.max_offers = max;
        self
    }

    /// How long finding a path may take.
    pub(crate) fn path_timeout(&self) -> Duration {
        self.connect_timeout / 2
    }

    /// How long setting up the encrypted session may take. At a round trip of 2 s it takes 6 s when nothing is lost.
    pub(crate) fn session_timeout(&self) -> Duration {
        self.connect_timeout / 3
    }
}
