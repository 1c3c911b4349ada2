//! Under which addresses others find the pages.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::doctor::outward;

/// The pages, and what each is called.
const PAGES: [(&str, &str); 3] = [("chat", "Chat"), ("board", "Board"), ("dashboard", "Dashboard")];

/// Links to what is served.
#[derive(Debug)]
pub(super) struct Links {
    /// For this machine.
    here: SocketAddr,
    /// For others: one for each family of addresses that leads there.
    elsewhere: Vec<SocketAddr>,
    room: String,
}

impl Links {
    /// Links to what listens on this address.
    pub(super) fn new(listening: SocketAddr, room: &str) -> Self {
        Self::with(listening, room, &[outward_v4(), outward_v6()])
    }

    /// The same, where this machine has these addresses.
    fn with(listening: SocketAddr, room: &str, own: &[Option<IpAddr>]) -> Self {
        let at = |ip| SocketAddr::new(ip, listening.port());
        let room = encoded(room);
        let ip = listening.ip();
        if !ip.is_unspecified() {
            let elsewhere = if ip.is_loopback() { Vec::new() } else { vec![at(ip)] };
            return Self { here: at(ip), elsewhere, room };
        }
        // The unspecified IPv6 address means IPv4 too.
        let serves = |own: &IpAddr| ip.is_ipv6() || own.is_ipv4();
        let elsewhere = own.iter().flatten().copied().filter(serves).map(at).collect();
        Self { here: at(Ipv4Addr::LOCALHOST.into()), elsewhere, room }
    }

    /// What is said at the start.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("On this machine: http://{}/", self.here)];
        lines.extend(self.elsewhere.iter().map(|address| format!("On others of this network: http://{address}/")));
        if self.elsewhere.is_empty() {
            lines.push("No other machine gets there: --listen 0.0.0.0:8080, and a network, are for that.".to_owned());
        }
        let address = self.best();
        lines.extend(PAGES.map(|(path, title)| format!("{title}: http://{address}/{path}/#room={}", self.room)));
        lines
    }

    /// The announce URL of the tracker, for those who are elsewhere if any can be.
    pub(super) fn announce_url(&self) -> String {
        format!("ws://{}", self.best())
    }

    fn best(&self) -> SocketAddr {
        self.elsewhere.first().copied().unwrap_or(self.here)
    }
}

// Documentation addresses (RFC 5737, RFC 3849) stand for any address elsewhere; nothing is sent.
fn outward_v4() -> Option<IpAddr> {
    outward((Ipv4Addr::new(192, 0, 2, 1), 9).into()).map(|address| address.ip())
}

fn outward_v6() -> Option<IpAddr> {
    outward((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()).map(|address| address.ip())
}

/// A text as a URL has it behind a `#`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(listening: &str, own: &[&str]) -> String {
        let own: Vec<_> = own.iter().map(|ip| Some(ip.parse().unwrap())).collect();
        Links::with(listening.parse().unwrap(), "Küche & Bad", &own).lines().join("\n")
    }

    #[test]
    fn links_lead_where_something_listens() {
        let both = ["192.168.1.5", "fd00::5"];
        let said = lines("0.0.0.0:8080", &both);
        assert!(said.contains("On this machine: http://127.0.0.1:8080/\n"), "{said}");
        assert!(said.contains("http://192.168.1.5:8080/chat/#room=K%C3%BCche%20%26%20Bad\n"), "{said}");
        assert!(!said.contains("fd00"), "{said}");
        assert!(lines("[::]:80", &both).contains("On others of this network: http://[fd00::5]:80/\n"));
        let said = lines("10.1.2.3:80", &both);
        assert!(said.contains("Dashboard: http://10.1.2.3:80/dashboard/") && !said.contains("192.168"), "{said}");
        for (listening, own) in [("127.0.0.1:80", &both[..]), ("0.0.0.0:80", &[])] {
            let said = lines(listening, own);
            assert!(said.contains("No other machine") && said.contains("Chat: http://127.0.0.1:80/chat/"), "{said}");
        }
    }
}
