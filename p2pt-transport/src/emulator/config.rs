//! What hosts, their lines and their NATs are like: plain data with consuming setters.

use std::{net::Ipv4Addr, time::Duration};

/// What the Linux kernel grants unless it is configured otherwise: `net.core.rmem_max` is 212,992 bytes, and is doubled.
const SOCKET_BUFFER_BYTES: usize = 2 * 212_992;

/// The largest packet of Ethernet, in bytes.
const MTU: usize = 1500;

/// As many datagrams as Linux takes in one call (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;

/// The least that RFC 4787 requires (REQ-5).
const MAPPING_LIFETIME: Duration = Duration::from_secs(120);

/// The line by which a host or a NAT is attached to its network. All of it goes for each direction.
///
/// A datagram between two hosts takes the lines of both: with 10 ms on each, one way takes 20 ms.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Path {
    /// How long a datagram takes; nothing by default.
    pub delay: Duration,
    /// Up to this much is added to each datagram's delay, evenly distributed; nothing by default. It may reorder them.
    pub jitter: Duration,
    /// The share of datagrams that is lost, 0 to 1; none by default.
    pub loss: f64,
    /// How many bytes a second leave, headers of IP and UDP included; no limit by default.
    pub upload: Option<u64>,
    /// How many bytes a second arrive, headers of IP and UDP included; no limit by default.
    pub download: Option<u64>,
    /// How long a datagram waits at most for those before it, where the bytes a second are limited; 200 ms by default.
    /// A datagram that would have to wait longer is dropped.
    pub queue: Duration,
    /// The largest packet in bytes, headers of IP and UDP included; 1500 by default. Larger ones are dropped silently.
    pub mtu: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            upload: None,
            download: None,
            queue: Duration::from_millis(200),
            mtu: MTU,
        }
    }
}

impl Path {
    /// Sets [`delay`](Self::delay).
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets [`jitter`](Self::jitter).
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets [`loss`](Self::loss).
    #[must_use]
    pub fn loss(mut self, share: f64) -> Self {
        self.loss = share;
        self
    }

    /// Sets [`upload`](Self::upload) and [`download`](Self::download).
    #[must_use]
    pub fn bandwidth(self, bytes_per_second: u64) -> Self {
        self.upload(bytes_per_second).download(bytes_per_second)
    }

    /// Sets [`upload`](Self::upload).
    #[must_use]
    pub fn upload(mut self, bytes_per_second: u64) -> Self {
        self.upload = Some(bytes_per_second);
        self
    }

    /// Sets [`download`](Self::download).
    #[must_use]
    pub fn download(mut self, bytes_per_second: u64) -> Self {
        self.download = Some(bytes_per_second);
        self
    }

    /// Sets [`queue`](Self::queue).
    #[must_use]
    pub fn queue(mut self, longest_wait: Duration) -> Self {
        self.queue = longest_wait;
        self
    }

    /// Sets [`mtu`](Self::mtu).
    #[must_use]
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }
}

/// A host. A [`Path`] alone makes one with IPv4 only.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HostConfig {
    /// Its line.
    pub path: Path,
    /// Whether it has an IPv4 address; it has one by default.
    pub ipv4: bool,
    /// Whether it has an IPv6 address; it has none by default. NATs do not translate IPv6, they only filter it.
    pub ipv6: bool,
    /// The largest buffer a socket is granted, in bytes; 425,984 by default, which Linux grants at most by default.
    pub socket_buffer_bytes: usize,
    /// How many datagrams a socket takes at once; 64 by default, as on Linux.
    pub max_segments: usize,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            path: Path::default(),
            ipv4: true,
            ipv6: false,
            socket_buffer_bytes: SOCKET_BUFFER_BYTES,
            max_segments: MAX_SEGMENTS,
        }
    }
}

impl HostConfig {
    /// Sets [`path`](Self::path).
    #[must_use]
    pub fn path(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// Sets [`ipv4`](Self::ipv4).
    #[must_use]
    pub fn ipv4(mut self, yes: bool) -> Self {
        self.ipv4 = yes;
        self
    }

    /// Sets [`ipv6`](Self::ipv6).
    #[must_use]
    pub fn ipv6(mut self, yes: bool) -> Self {
        self.ipv6 = yes;
        self
    }

    /// Sets [`socket_buffer_bytes`](Self::socket_buffer_bytes).
    #[must_use]
    pub fn socket_buffer_bytes(mut self, bytes: usize) -> Self {
        self.socket_buffer_bytes = bytes;
        self
    }

    /// Sets [`max_segments`](Self::max_segments); at least 1.
    #[must_use]
    pub fn max_segments(mut self, datagrams: usize) -> Self {
        self.max_segments = datagrams.max(1);
        self
    }
}

impl From<Path> for HostConfig {
    fn from(path: Path) -> Self {
        Self::default().path(path)
    }
}

/// On what of a remote endpoint a NAT's behaviour depends (RFC 4787 sections 4.1 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatBehavior {
    /// On nothing.
    EndpointIndependent,
    /// On its IP address.
    AddressDependent,
    /// On its IP address and its port.
    AddressAndPortDependent,
}

/// The usual kinds of NATs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatKind {
    /// A "full cone": one mapping for an internal endpoint, through which every remote endpoint reaches it.
    EndpointIndependent,
    /// A "restricted cone": only IP addresses that the internal endpoint has sent to reach it.
    AddressRestricted,
    /// A "port restricted cone", the most common kind: only endpoints that the internal endpoint has sent to reach it.
    PortRestricted,
    /// A mapping of its own, with a port at random, for each remote endpoint, which alone may use it.
    Symmetric,
}

/// A NAT. A [`NatKind`] alone makes one with the defaults of its kind.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NatConfig {
    /// Which remote endpoints share a mapping of an internal endpoint.
    pub mapping: NatBehavior,
    /// What of a remote endpoint the internal one must have sent to before it is let in.
    pub filtering: NatBehavior,
    /// Whether external ports are those of the internal endpoints where they are free, as by default with all kinds but
    /// [`NatKind::Symmetric`]. Otherwise ports are random.
    pub port_preservation: bool,
    /// Whether hosts behind the NAT reach each other by their external endpoints; not by default.
    pub hairpinning: bool,
    /// How long a mapping and a permission live that the inner host does not use; 120 s by default.
    pub mapping_lifetime: Duration,
    /// The line of the NAT; a perfect one by default.
    pub path: Path,
    /// The /24 network behind the NAT; by default 192.168.`n`.0 behind the `n`th NAT, modulo 256.
    pub lan: Option<Ipv4Addr>,
}

impl NatConfig {
    /// A NAT that behaves like this.
    pub fn new(mapping: NatBehavior, filtering: NatBehavior) -> Self {
        Self {
            mapping,
            filtering,
            port_preservation: mapping == NatBehavior::EndpointIndependent,
            hairpinning: false,
            mapping_lifetime: MAPPING_LIFETIME,
            path: Path::default(),
            lan: None,
        }
    }

    /// Sets [`port_preservation`](Self::port_preservation).
    #[must_use]
    pub fn port_preservation(mut self, yes: bool) -> Self {
        self.port_preservation = yes;
        self
    }

    /// Sets [`hairpinning`](Self::hairpinning).
    #[must_use]
    pub fn hairpinning(mut self, yes: bool) -> Self {
        self.hairpinning = yes;
        self
    }

    /// Sets [`mapping_lifetime`](Self::mapping_lifetime).
    #[must_use]
    pub fn mapping_lifetime(mut self, lifetime: Duration) -> Self {
        self.mapping_lifetime = lifetime;
        self
    }

    /// Sets [`path`](Self::path).
    #[must_use]
    pub fn path(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// Sets [`lan`](Self::lan); the last byte does not matter.
    #[must_use]
    pub fn lan(mut self, network: Ipv4Addr) -> Self {
        self.lan = Some(network);
        self
    }
}

impl From<NatKind> for NatConfig {
    fn from(kind: NatKind) -> Self {
        use NatBehavior::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        match kind {
            NatKind::EndpointIndependent => Self::new(EndpointIndependent, EndpointIndependent),
            NatKind::AddressRestricted => Self::new(EndpointIndependent, AddressDependent),
            NatKind::PortRestricted => Self::new(EndpointIndependent, AddressAndPortDependent),
            NatKind::Symmetric => Self::new(AddressAndPortDependent, AddressAndPortDependent),
        }
    }
}
