//! Address families, which some trackers keep apart.

use std::fmt;
use std::net::IpAddr;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The one it is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// How a socket reaches its tracker. By default the family is not known, and no other one is tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The address family it uses.
    pub family: Option<Family>,
    /// Both this host and the tracker's name have addresses of the other family too.
    pub has_other: bool,
    /// No pings can be sent, as in a browser. What shows that the tracker lives is then only what it sends.
    pub no_pings: bool,
}

impl Route {
    /// A socket over this family; `has_other` as in [`has_other`](Self::has_other).
    pub fn new(family: Family, has_other: bool) -> Self {
        Self { family: Some(family), has_other, no_pings: false }
    }

    /// A socket of which the family is not known, and over which no pings can be sent.
    pub fn without_pings() -> Self {
        Self { no_pings: true, ..Self::default() }
    }

    /// The other family, if it can be used.
    pub fn other(&self) -> Option<Family> {
        self.family.filter(|_| self.has_other).map(Family::other)
    }
}
