//! This machine: its addresses, its clock, the buffers of its sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use super::Finding;

/// What bulk transfers like a socket's buffers to hold, in bytes; see the README.
const GOOD_BUFFER_BYTES: u64 = 4 << 20;

/// The program was not built before this: 2026-01-01. A clock that shows less is wrong.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

pub(super) fn look() -> Vec<Finding> {
    #[expect(clippy::disallowed_methods, reason = "it is the wall clock that is looked at")]
    let now = SystemTime::now();
    let mut findings = vec![addresses("IPv4", (Ipv4Addr::new(192, 0, 2, 1), 9).into()), ipv6(), clock(now)];
    findings.extend(buffers());
    findings
}

/// The address that leaves for elsewhere. Connecting a UDP socket asks the routing table, and sends nothing.
pub(crate) fn outward(remote: SocketAddr) -> Option<SocketAddr> {
    let local: SocketAddr =
        if remote.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok()
}

fn addresses(name: &str, remote: SocketAddr) -> Finding {
    match outward(remote) {
        Some(address) => Finding::good("address", format!("{name} leaves from {}", address.ip())),
        None => Finding::bad(
            "address",
            format!("{name} leads nowhere"),
            "this machine has no network; check its connection",
        ),
    }
}

fn ipv6() -> Finding {
    // Documentation addresses (RFC 3849, RFC 5737) stand for any address elsewhere.
    match outward((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()) {
        Some(address) => Finding::good("address", format!("IPv6 leaves from {}", address.ip())),
        None => Finding::warning(
            "address",
            "IPv6 leads nowhere",
            "IPv4 suffices; where both sides have IPv6, no address translation is in the way",
        ),
    }
}

fn clock(now: SystemTime) -> Finding {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since < EARLIEST {
        let found = format!("the clock says {} s since 1970, which is too early", since.as_secs());
        return Finding::bad("clock", found, "set it: certificates of trackers are not valid yet at that time");
    }
    Finding::good("clock", "the clock makes sense")
}

/// What the system allows a socket to buffer, where it tells.
fn buffers() -> Vec<Finding> {
    let allowed = |name| std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse::<u64>().ok();
    let (Some(receive), Some(send)) = (allowed("rmem_max"), allowed("wmem_max")) else { return Vec::new() };
    vec![judge_buffers(receive, send)]
}

fn judge_buffers(receive: u64, send: u64) -> Finding {
    let found = format!("sockets may buffer {receive} bytes received and {send} sent");
    if receive.min(send) >= GOOD_BUFFER_BYTES {
        return Finding::good("buffers", found);
    }
    let wanted = format!("sysctl -w net.core.rmem_max={GOOD_BUFFER_BYTES} net.core.wmem_max={GOOD_BUFFER_BYTES}");
    Finding::warning("buffers", found, format!("bulk transfers are faster with more: {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        assert_eq!(clock(SystemTime::UNIX_EPOCH).verdict, Verdict::Bad);
        assert_eq!(clock(SystemTime::UNIX_EPOCH + EARLIEST + Duration::from_secs(1)).verdict, Verdict::Good);
    }

    #[test]
    fn small_buffers_come_with_the_command() {
        let finding = judge_buffers(212_992, 212_992);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(finding.advice.unwrap().contains("net.core.rmem_max=4194304"));
        assert_eq!(judge_buffers(4 << 20, 8 << 20).verdict, Verdict::Good);
    }
}
