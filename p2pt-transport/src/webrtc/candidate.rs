//! ICE candidates: addresses to be reached at, and how good each of them is.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::config::Destinations;

/// How an address was found (RFC 8445 section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CandidateKind {
    /// An address of the host itself.
    Host,
    /// Learned from a connectivity check of the other side.
    PeerReflexive,
    /// Learned from a STUN server.
    ServerReflexive,
    /// At a TURN server.
    Relay,
}

impl CandidateKind {
    /// Its name in a description: `host`, `srflx`, `prflx`, `relay`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::PeerReflexive => "prflx",
            Self::ServerReflexive => "srflx",
            Self::Relay => "relay",
        }
    }

    /// The type preference that RFC 8445 section 5.1.2.2 recommends.
    fn preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relay => 0,
        }
    }

    /// The priority of the candidate of this kind that is the `rank`th by preference, 0 first.
    pub(crate) fn priority(self, rank: u16) -> u32 {
        (self.preference() << 24) + (u32::from(u16::MAX - rank) << 8) + 255
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A candidate of UDP and of the one component there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The address to be reached at.
    pub(crate) address: SocketAddr,
    /// How it was found.
    pub(crate) kind: CandidateKind,
    /// The higher the better.
    pub(crate) priority: u32,
}

/// The reach of an address: datagrams go only between addresses of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Loopback,
    LinkLocal,
    /// Beyond the link: a site's or the world's.
    Routed,
    /// Nowhere a peer could be.
    None,
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => Reach::Loopback,
        IpAddr::V4(ip) if ip.is_link_local() => Reach::LinkLocal,
        // 240.0.0.0/4 is reserved, and its last is the broadcast address.
        IpAddr::V4(ip) if ip.octets()[0] == 0 || ip.is_multicast() || ip.octets()[0] >= 240 => Reach::None,
        IpAddr::V6(ip) if ip.is_loopback() => Reach::Loopback,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Reach::LinkLocal,
        // An IPv4 address in the clothes of IPv6 is not what such a socket reaches.
        IpAddr::V6(ip) if ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4_mapped().is_some() => Reach::None,
        IpAddr::V4(_) | IpAddr::V6(_) => Reach::Routed,
    }
}

/// Whether an address means nothing beyond its link.
pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    reach(ip) == Reach::LinkLocal
}

/// Whether there is an address from which a peer at `remote` could be reached at all.
pub(crate) fn is_reachable(remote: SocketAddr) -> bool {
    remote.port() != 0 && reach(remote.ip()) != Reach::None
}

/// Whether an address is for use within a site: RFC 1918, the shared ones of RFC 6598, and unique local ones (RFC 4193).
/// So are those of the deprecated site-local range (RFC 3879), and those in which an IPv4 address is embedded that is
/// (RFC 6052, and 6to4 of RFC 3056).
fn is_private_use(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let octets = ip.octets();
            ip.is_private() || (octets[0] == 100 && octets[1] & 0xc0 == 64)
        }
        IpAddr::V6(ip) => {
            let segments = ip.segments();
            let embedded = match segments {
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some([high, low]),
                _ => None,
            };
            let embedded = embedded.map(|[high, low]| {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                std::net::Ipv4Addr::new(a, b, c, d)
            });
            let ends_in_a_site =
                |ip: std::net::Ipv4Addr| reach(ip.into()) != Reach::Routed || is_private_use(ip.into());
            segments[0] & 0xfe00 == 0xfc00 || segments[0] & 0xffc0 == 0xfec0 || embedded.is_some_and(ends_in_a_site)
        }
    }
}

/// Whether this side, at `local`, may send to `remote`, an address that an unknown peer has named: never to unspecified, multicast,
/// broadcast or reserved addresses, nor to port 0, and to loopback or link-local ones only from such an address.
pub(crate) fn may_reach(local: SocketAddr, remote: SocketAddr) -> bool {
    local.is_ipv4() == remote.is_ipv4() && is_reachable(remote) && reach(local.ip()) == reach(remote.ip())
}

impl Destinations {
    /// Whether, among the addresses that can be reached, this one may be sent to.
    pub(crate) fn allow(self, remote: SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::PublicOnly => !is_private_use(remote.ip()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn kinds_are_ordered_as_the_rfc_says() {
        use CandidateKind::*;
        let priorities = [Host, PeerReflexive, ServerReflexive, Relay].map(|kind| kind.priority(0));
        assert!(priorities.is_sorted_by(|a, b| a > b), "{priorities:?}");
        assert_eq!(Host.priority(0), 2_130_706_431);
        assert!(Host.priority(7) < Host.priority(6) && Host.priority(7) > PeerReflexive.priority(0));
    }

    #[test]
    fn datagrams_stay_within_the_reach_of_their_socket() {
        let locals = ["127.0.0.1:1", "169.254.1.1:1", "192.168.1.2:1", "[::1]:1", "[fe80::1]:1", "[2001:db8::1]:1"];
        let reached = |remote: &str| -> Vec<&str> {
            locals.into_iter().filter(|local| may_reach(at(local), at(remote))).collect()
        };
        assert_eq!(reached("127.8.8.8:9"), ["127.0.0.1:1"]);
        assert_eq!(reached("169.254.7.7:9"), ["169.254.1.1:1"]);
        assert_eq!(reached("10.0.0.1:9"), ["192.168.1.2:1"]);
        assert_eq!(reached("203.0.113.1:9"), ["192.168.1.2:1"]);
        assert_eq!(reached("[::1]:9"), ["[::1]:1"]);
        assert_eq!(reached("[fe80::7]:9"), ["[fe80::1]:1"]);
        assert_eq!(reached("[2001:db8::7]:9"), ["[2001:db8::1]:1"]);
        for nowhere in [
            "0.0.0.0:9",
            "0.1.2.3:9",
            "224.0.0.251:5353",
            "239.1.2.3:9",
            "240.0.0.1:9",
            "255.255.255.255:9",
            "10.0.0.1:0",
            "[::]:9",
            "[ff02::fb]:5353",
            "[::ffff:127.0.0.1]:9",
            "[::ffff:10.0.0.1]:9",
        ] {
            assert!(reached(nowhere).is_empty(), "{nowhere}");
        }
    }

    #[test]
    fn public_destinations_are_not_those_of_a_site() {
        let allows = |remote: &str, destinations: Destinations| destinations.allow(at(remote));
        let site = [
            "10.0.0.1:9",
            "172.16.0.1:9",
            "172.31.255.255:9",
            "192.168.7.7:9",
            "100.64.0.1:9",
            "100.127.255.255:9",
            "[fc00::1]:9",
            "[fdff::1]:9",
            "[fec0::1]:9",
            "[64:ff9b::10.0.0.1]:9",
            "[64:ff9b::169.254.169.254]:9",
            "[2002:a00:1::1]:9",
        ];
        let public = [
            "9.255.255.255:9",
            "172.15.0.1:9",
            "172.32.0.1:9",
            "192.167.0.1:9",
            "100.63.0.1:9",
            "100.128.0.1:9",
            "203.0.113.1:9",
            "[2001:db8::7]:9",
            "[64:ff9b::203.0.113.1]:9",
        ];
        for remote in site {
            assert!(allows(remote, Destinations::Any) && !allows(remote, Destinations::PublicOnly), "{remote}");
        }
        for remote in public {
            assert!(allows(remote, Destinations::Any) && allows(remote, Destinations::PublicOnly), "{remote}");
        }
    }
}
