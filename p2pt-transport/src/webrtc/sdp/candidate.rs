//! Lines of candidates.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::webrtc::candidate::{Candidate, CandidateKind, is_reachable};

/// Why a line of a candidate gives none to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableCandidate {
    /// It is empty, or says that there are no more.
    #[error("it says that there are no more candidates")]
    End,
    /// It is none as RFC 8839 section 5.1 describes it.
    #[error("its {0} is missing or not understood")]
    Malformed(&'static str),
    /// It is one of TCP, over which data channels of browsers could run.
    #[error("its transport is not UDP")]
    NotUdp,
    /// It is for RTCP.
    #[error("it is not of component 1, the only one of a data channel")]
    OtherComponent,
    /// It has the name of a host, as browsers write it to hide an address. The other side still comes from there.
    #[error("it has a host name for an address, and names are not resolved")]
    HostName {
        /// The name is one of multicast DNS: `….local`.
        local: bool,
    },
    /// It is one that no peer can have: unspecified, multicast, broadcast, reserved, or of port 0.
    #[error("no peer can have its address")]
    Unreachable,
}

/// Reads one candidate as applications pass it on while they gather: `candidate:…`, also with `a=` before it.
pub(crate) fn parse_candidate_line(line: &str) -> Result<Candidate, UnusableCandidate> {
    let line = line.trim();
    let line = line.strip_prefix("a=").unwrap_or(line);
    if line.is_empty() || line == "end-of-candidates" {
        return Err(UnusableCandidate::End);
    }
    parse(line.strip_prefix("candidate:").ok_or(UnusableCandidate::Malformed("name"))?)
}

/// Reads the value of an `a=candidate` line:
/// `<foundation> <component> udp <priority> <address> <port> typ <kind>` and any pairs after that.
pub(super) fn parse(value: &str) -> Result<Candidate, UnusableCandidate> {
    let mut words = value.split_ascii_whitespace();
    let mut word = |name: &'static str| words.next().ok_or(UnusableCandidate::Malformed(name));
    word("foundation")?;
    match word("component")?.parse::<u32>() {
        Ok(1) => {}
        Ok(_) => return Err(UnusableCandidate::OtherComponent),
        Err(_) => return Err(UnusableCandidate::Malformed("component")),
    }
    if !word("transport")?.eq_ignore_ascii_case("udp") {
        return Err(UnusableCandidate::NotUdp);
    }
    let priority = word("priority")?.parse().map_err(|_| UnusableCandidate::Malformed("priority"))?;
    let address = word("address")?;
    let port = word("port")?.parse().map_err(|_| UnusableCandidate::Malformed("port"))?;
    let kind = words.skip_while(|word| *word != "typ").nth(1).and_then(kind);
    let kind = kind.ok_or(UnusableCandidate::Malformed("type"))?;
    // A scope is that of the other host's interfaces.
    let ip = address.split('%').next().unwrap_or_default().parse::<IpAddr>();
    let Ok(ip) = ip else {
        return Err(UnusableCandidate::HostName { local: address.ends_with(".local") });
    };
    let address = SocketAddr::new(ip, port);
    if !is_reachable(address) {
        return Err(UnusableCandidate::Unreachable);
    }
    Ok(Candidate { address, kind, priority })
}

fn kind(name: &str) -> Option<CandidateKind> {
    use CandidateKind::*;
    [Host, PeerReflexive, ServerReflexive, Relay].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
}

/// Writes `candidate` as the value of an `a=candidate` line.
///
/// What a reflexive or relayed address was found from is left out: it serves diagnosis alone, and tells addresses of this
/// host that a peer need not know. The words must be there (RFC 8839 section 5.1), so they name no address, as browsers
/// do it.
pub(super) fn write(f: &mut fmt::Formatter<'_>, foundation: usize, candidate: &Candidate) -> fmt::Result {
    let Candidate { address, kind, priority } = candidate;
    write!(f, "{foundation} 1 udp {priority} {} {} typ {kind}", address.ip(), address.port())?;
    if *kind == CandidateKind::Host {
        return Ok(());
    }
    let nowhere = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    write!(f, " raddr {nowhere} rport 0")
}

/// The kinds of candidates, for people: `"host mdns srflx"`, or `"none"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CandidateKinds(BTreeSet<&'static str>);

impl CandidateKinds {
    /// Adds the kind of a line that was read, also if it is not usable.
    pub(crate) fn note(&mut self, read: &Result<Candidate, UnusableCandidate>) {
        let name = match read {
            Ok(candidate) => candidate.kind.name(),
            Err(UnusableCandidate::HostName { local: true }) => "mdns",
            Err(UnusableCandidate::HostName { local: false }) => "named",
            Err(UnusableCandidate::NotUdp) => "tcp",
            Err(_) => return,
        };
        self.0.insert(name);
    }
}

impl FromIterator<CandidateKind> for CandidateKinds {
    fn from_iter<T: IntoIterator<Item = CandidateKind>>(kinds: T) -> Self {
        Self(kinds.into_iter().map(CandidateKind::name).collect())
    }
}

impl fmt::Display for CandidateKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
