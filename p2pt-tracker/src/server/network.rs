//! Networks of IP addresses, such as those of one's own proxies.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An IP address or a network of them in CIDR notation, such as `127.0.0.1`, `10.0.0.0/8` or `2001:db8::/32`.
///
/// Bits beyond the prefix count for nothing, and an IPv4 address is the same in its IPv6 form (`::ffff:192.0.2.1`).
///
/// ```
/// use p2pt_tracker::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(!network.contains("192.0.2.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// In its canonical form, with zeros beyond the prefix.
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct NetworkError(String);

impl Network {
    /// The network of the addresses that begin with the first `prefix` bits of this one; `None` if an address has fewer
    /// bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        if prefix > bits(address) {
            return None;
        }
        // What is written for IPv6 and is IPv4, from the 96 bits on that are the same for all such addresses.
        let (address, prefix) = match address.to_canonical() {
            v4 @ IpAddr::V4(_) if address.is_ipv6() && prefix >= 96 => (v4, prefix - 96),
            canonical if address.is_ipv4() => (canonical, prefix),
            _ => (address, prefix),
        };
        Some(Self { first: masked(address, prefix), prefix })
    }

    /// Whether this address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == self.first
    }
}

impl From<IpAddr> for Network {
    /// The network of this address alone.
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, prefix: bits(first) }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = match text.split_once('/') {
            None => text.parse::<IpAddr>().ok().map(Self::from),
            // `parse` takes a sign, which is no CIDR notation.
            Some((_, prefix)) if !prefix.bytes().all(|byte| byte.is_ascii_digit()) => None,
            Some((address, prefix)) => match (address.parse(), prefix.parse()) {
                (Ok(address), Ok(prefix)) => Self::new(address, prefix),
                _ => None,
            },
        };
        network.ok_or_else(|| NetworkError(text.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            all if all == bits(self.first) => self.first.fmt(f),
            prefix => write!(f, "{}/{prefix}", self.first),
        }
    }
}

/// How many bits an address of this kind has.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with zeros beyond its first `prefix` bits, which are not more than it has.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (text, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.255.255.255"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ] {
            let network = network(text);
            assert!(network.contains(ip(inside)), "{text} has not {inside}");
            assert!(!network.contains(ip(outside)), "{text} has {outside}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for (text, written) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("::1", "::1"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(network(text).to_string(), written);
            assert_eq!(network(written), network(text));
        }
        for text in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "10/8", "*"]
        {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?} is neither")), "{error}");
        }
    }
}
