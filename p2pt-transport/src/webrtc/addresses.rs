//! Which local addresses a connection offers.

use std::net::{IpAddr, SocketAddr};

use super::WebRtcConfig;

/// More addresses than this cost more descriptors than they bring paths: container hosts have dozens of bridges.
const MAX_ADDRESSES: usize = 8;

/// The addresses to bind for one connection, port 0 unless configured otherwise.
///
/// Read anew for each connection, because laptops change networks.
pub(super) fn to_bind(config: &WebRtcConfig) -> Vec<SocketAddr> {
    if !config.bind_addresses.is_empty() {
        return config.bind_addresses.clone();
    }
    let interfaces = rtc::shared::ifaces::ifaces().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list the network interfaces; using loopback only");
        Vec::new()
    });
    choose(interfaces.into_iter().filter_map(|interface| interface.addr).map(|addr| addr.ip()), config.include_loopback)
        .into_iter()
        .map(|ip| SocketAddr::new(ip, 0))
        .collect()
}

fn choose(ips: impl Iterator<Item = IpAddr>, include_loopback: bool) -> Vec<IpAddr> {
    let (mut loopback, mut usable) = (Vec::new(), Vec::new());
    for ip in ips {
        // An IPv6 link-local address means nothing without its scope, which a candidate cannot carry.
        if ip.is_unspecified() || ip.is_multicast() || is_link_local(ip) {
            continue;
        }
        let list = if ip.is_loopback() { &mut loopback } else { &mut usable };
        if !list.contains(&ip) {
            list.push(ip);
        }
    }
    if loopback.is_empty() {
        loopback.push(IpAddr::from([127, 0, 0, 1]));
    }
    usable.truncate(MAX_ADDRESSES);
    if include_loopback || usable.is_empty() {
        usable.extend(loopback);
    }
    usable
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ips: &[&str], include_loopback: bool) -> Vec<String> {
        choose(ips.iter().map(|ip| ip.parse().unwrap()), include_loopback).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn loopback_is_for_machines_that_have_nothing_else_or_are_told_so() {
        let machine = ["127.0.0.1", "::1", "192.0.2.7", "192.0.2.7", "fe80::1", "169.254.3.4", "2001:db8::7"];
        assert_eq!(chosen(&machine, false), ["192.0.2.7", "2001:db8::7"]);
        assert_eq!(chosen(&machine, true), ["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"]);
        assert_eq!(chosen(&["127.0.0.1", "::1"], false), ["127.0.0.1", "::1"]);
        assert_eq!(chosen(&[], false), ["127.0.0.1"]);
    }

    #[test]
    fn a_host_full_of_bridges_is_cut_short() {
        let many: Vec<String> = (0..40).map(|n| format!("10.0.{n}.1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(chosen(&many, false).len(), MAX_ADDRESSES);
        assert_eq!(chosen(&many, true).last().unwrap(), "127.0.0.1");
    }
}
