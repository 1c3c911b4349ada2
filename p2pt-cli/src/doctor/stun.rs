//! UDP, and what address translation makes of it: what STUN servers see of one socket.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use p2pt::transport::webrtc::{StunAnswer, ask_stun_server};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::{Finding, millis};

/// STUN's port where a URL has none (RFC 7064).
const DEFAULT_PORT: u16 = 3478;

/// What one server said, or why nothing.
type Answer = (String, Result<StunAnswer, String>);

pub(super) async fn look(urls: Vec<String>, deadline: Duration) -> Vec<Finding> {
    if urls.is_empty() {
        let advice = "without one, peers outside this network are reached only if it has public addresses: --stun";
        return vec![Finding::warning("stun", "there is no STUN server to ask", advice)];
    }
    let mut servers = Vec::new();
    let mut findings = Vec::new();
    for url in urls {
        match timeout(deadline, lookup_host(host(&url))).await {
            Ok(Ok(addresses)) => servers.extend(addresses.map(|address| (url.clone(), address))),
            Ok(Err(error)) => findings.push(unknown(&url, &error.to_string())),
            Err(_) => findings.push(unknown(&url, "the look-up takes too long")),
        }
    }
    let (v4, v6): (Vec<_>, Vec<_>) = servers.into_iter().partition(|(_, address)| address.is_ipv4());
    findings.extend(family("IPv4", SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), v4).await);
    findings.extend(family("IPv6", SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), v6).await);
    findings
}

fn host(url: &str) -> String {
    let host = url.strip_prefix("stun:").unwrap_or(url);
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (!before.contains(':') || before.ends_with(']'))
    });
    if has_port { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") }
}

fn unknown(url: &str, error: &str) -> Finding {
    // The standard library's words before those of the system, which are said already.
    let reason = error.strip_prefix("failed to lookup address information: ").unwrap_or(error);
    let advice = "check the spelling of its name, and the name server of this machine";
    let finding = Finding::bad("stun", format!("{url} has no known address ({reason})"), advice);
    Finding { is_unknown_name: true, ..finding }
}

/// Asks all servers of one family, one after the other, from one socket.
async fn family(name: &str, local: SocketAddr, servers: Vec<(String, SocketAddr)>) -> Vec<Finding> {
    if servers.is_empty() {
        return Vec::new();
    }
    let socket = match UdpSocket::bind(local).await {
        Ok(socket) => socket,
        Err(error) => {
            return vec![Finding::warning(
                "stun",
                format!("no {name} socket can be opened: {error}"),
                "the other family does as well",
            )];
        }
    };
    let mut answers = Vec::new();
    for (url, server) in servers {
        let answer = ask_stun_server(&socket, server).await.map_err(|error| plain(&error));
        answers.push((format!("{url} ({server})"), answer));
    }
    let own_port = socket.local_addr().map_or(0, |address| address.port());
    judge(name, own_port, &answers)
}

fn plain(error: &io::Error) -> String {
    error.to_string()
}

/// What the answers say together.
fn judge(family: &str, own_port: u16, answers: &[Answer]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = answers
        .iter()
        .map(|(server, answer)| match answer {
            Ok(answer) => Finding::good(
                "stun",
                format!("{server} answered in {} and sees {}", millis(answer.round_trip), answer.mapped),
            ),
            Err(error) if family == "IPv6" => {
                Finding::warning("stun", format!("{server}: {error}"), "IPv4 does as well")
            }
            Err(error) => Finding::warning("stun", format!("{server}: {error}"), "another STUN server: --stun"),
        })
        .collect();
    let mapped: BTreeSet<SocketAddr> =
        answers.iter().filter_map(|(_, answer)| Some(answer.as_ref().ok()?.mapped)).collect();
    let heard = answers.iter().filter(|(_, answer)| answer.is_ok()).count();
    findings.extend(match (heard, mapped.len()) {
        (0, _) if family == "IPv6" => None,
        (0, _) => Some(Finding::bad(
            "udp",
            "no STUN server answers over UDP",
            "a firewall may block UDP: allow it outwards, or give a TURN server with --turn",
        )),
        (1, _) => Some(Finding::good(
            "nat",
            format!("{family}: one server was heard; two tell what the address translation does"),
        )),
        (_, 1) => {
            let same = mapped.first().is_some_and(|mapped| mapped.port() == own_port);
            let kept = if same { ", and keeps the port" } else { "" };
            let found =
                format!("{family}: each server sees the same address{kept}: peers behind most networks are reached");
            Some(Finding::good("nat", found))
        }
        (_, several) => Some(Finding::warning(
            "nat",
            format!(
                "{family}: {several} addresses for one socket: the address translation gives each destination its own"
            ),
            "peers behind such a translation are reached only through a TURN server: --turn",
        )),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(mapped: &str) -> Answer {
        let socket: SocketAddr = mapped.parse().unwrap();
        ("stun:a".to_owned(), Ok(StunAnswer::new(socket, Duration::from_millis(20))))
    }

    fn last(answers: &[Answer]) -> Finding {
        judge("IPv4", 5000, answers).pop().unwrap()
    }

    #[test]
    fn translation_is_told_by_two_answers() {
        let same = last(&[answer("192.0.2.1:5000"), answer("192.0.2.1:5000")]);
        assert_eq!(same.verdict, super::super::Verdict::Good);
        assert!(same.found.contains("keeps the port"), "{same:?}");
        let other = last(&[answer("192.0.2.1:5000"), answer("192.0.2.1:5001")]);
        assert_eq!(other.verdict, super::super::Verdict::Warning);
        let silent = last(&[("stun:a".to_owned(), Err("silence".to_owned()))]);
        assert_eq!((silent.check, silent.verdict), ("udp", super::super::Verdict::Bad));
    }

    #[test]
    fn a_port_is_added_where_there_is_none() {
        for (url, host_and_port) in [
            ("stun:a.example", "a.example:3478"),
            ("stun:a.example:19302", "a.example:19302"),
            ("stun:[2001:db8::1]", "[2001:db8::1]:3478"),
            ("stun:[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(host(url), host_and_port);
        }
    }
}
