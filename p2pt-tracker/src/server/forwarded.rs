//! For which client a proxy made a request: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! Each proxy on the way appends the address from which a request came to it, so what is at the left may be made up by the
//! client, and the addresses are read from the right, past those of one's own proxies: the first other one is the
//! client's. Nothing further to the left is looked at.

use std::net::{IpAddr, SocketAddr};

use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, header};

use super::network::Network;

/// Which header field names the client to a tracker behind proxies.
///
/// Only one of them is read, because a proxy that sets one passes on the other as the client wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nginx, Caddy, HAProxy and most load balancers write.
    #[default]
    XForwardedFor,
    /// `Forwarded`, the standard (RFC 7239), which some write if asked to.
    Forwarded,
}

/// Why the field cannot be believed: the proxy has written something else than addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proxy's header field {name} names no client: {what}")]
pub(super) struct ForwardedError {
    name: &'static str,
    what: &'static str,
}

/// What a proxy writes that does not know its client.
const UNKNOWN: &str = "unknown";

/// An element of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// The proxy does not know or does not say, in one of the ways in which RFC 7239 lets it.
    Unknown,
}

impl ForwardedHeader {
    /// The field's name as it is written.
    fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "X-Forwarded-For",
            Self::Forwarded => "Forwarded",
        }
    }

    pub(super) fn field(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
        }
    }

    /// The address of the client whose request a trusted proxy at `peer` passes on. Without the field, or where a
    /// proxy does not say who came to it, that is the proxy's own address: such requests share its limits.
    pub(super) fn client(
        self,
        headers: &HeaderMap,
        peer: IpAddr,
        trusted: &[Network],
    ) -> Result<IpAddr, ForwardedError> {
        let error = |what| ForwardedError { name: self.name(), what };
        let mut nearest = peer;
        // A proxy may append a line rather than to a line.
        for line in headers.get_all(self.field()).iter().rev() {
            let line = line.to_str().map_err(|_| error("it is not ASCII"))?;
            let nodes = match self {
                Self::XForwardedFor => x_forwarded_for(line),
                Self::Forwarded => forwarded(line).ok_or_else(|| error("it is no list as in RFC 7239"))?,
            };
            for node in nodes.into_iter().rev() {
                match parse_node(node.as_ref()).ok_or_else(|| error("there is something else than an address"))? {
                    Node::Address(address) if is_trusted(address, trusted) => nearest = address,
                    Node::Address(address) => return Ok(address),
                    Node::Unknown => return Ok(nearest),
                }
            }
        }
        Ok(nearest)
    }
}

/// Whether an address is one of the proxies whose word is taken.
pub(super) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

fn x_forwarded_for(line: &str) -> Vec<String> {
    line.split(',').map(trim).filter(|node| !node.is_empty()).map(str::to_owned).collect()
}

/// The nodes of all elements of one line, from the left: what is quoted there decides what is not, so that a client that
/// opens a quotation only makes its own request unreadable. `None` if the line is no such list.
fn forwarded(line: &str) -> Option<Vec<String>> {
    let mut nodes = Vec::new();
    let mut rest = trim(line);
    while !rest.is_empty() {
        let mut node = None;
        // Empty elements are let pass, as in all lists of HTTP.
        let empty = rest.starts_with(',');
        // The pairs of one element.
        while !rest.is_empty() && !rest.starts_with(',') {
            let (name, value) = rest.split_once('=')?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return None;
            }
            let (value, after) = parse_value(value)?;
            rest = trim_start(after);
            if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
                return None;
            }
            match rest.strip_prefix(';') {
                Some(next) => rest = trim_start(next),
                None if rest.is_empty() || rest.starts_with(',') => {}
                None => return None,
            }
        }
        rest = trim_start(rest.strip_prefix(',').unwrap_or(rest));
        if !empty {
            // One that says nothing of its client is of a proxy that hides it. What is to its left is not of the proxy.
            nodes.push(node.unwrap_or_else(|| UNKNOWN.to_owned()));
        }
    }
    Some(nodes)
}

/// A token or a quoted string, and what follows it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

/// An address, with or without a port, IPv6 in brackets or not.
fn parse_node(text: &str) -> Option<Node> {
    let bare = |text: &str| text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok();
    let with_port = |text: &str| text.parse().ok().map(|address: SocketAddr| address.ip());
    // RFC 7239: "unknown", or a name that begins with an underscore, each with or without a port.
    let hidden = text.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case(UNKNOWN) || name.starts_with('_'));
    match bare(text).or_else(|| with_port(text)) {
        Some(address) => Some(Node::Address(address.to_canonical())),
        None => hidden.then_some(Node::Unknown),
    }
}

/// Without the white space that HTTP allows around the parts of a list.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Whether a byte may be in a token of HTTP (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tracker sees the proxy 10.0.0.1; all of 10.0.0.0/8 and 2001:db8:1::/48 is trusted.
    fn client(header: ForwardedHeader, lines: &[&str]) -> Result<String, String> {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.field(), line.parse().unwrap());
        }
        let client = header.client(&headers, "10.0.0.1".parse().unwrap(), &trusted);
        client.map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_address_from_the_right_that_is_no_proxy_of_ours_is_the_clients() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&["made up, 192.0.2.1, 10.0.0.2,10.3.0.1"], "192.0.2.1"),
            (&["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1", "10.0.0.2 , "], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:4711, 2001:db8:1::9"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        ] {
            assert_eq!(client(ForwardedHeader::XForwardedFor, lines).as_deref(), Ok(expected), "{lines:?}");
        }
        for lines in [&["192.0.2.1, made up"][..], &["192.0.2.1", "300.0.0.1"], &["192.0.2.1 203.0.113.9"], &["[::1"]] {
            let error = client(ForwardedHeader::XForwardedFor, lines).unwrap_err();
            assert!(error.contains("X-Forwarded-For names no client"), "{lines:?}: {error}");
        }
    }

    #[test]
    fn the_standard_header_is_read_likewise() {
        for (lines, expected) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (&["For=\"[2001:db8::1]:4711\";proto=https;by=10.0.0.9"], "2001:db8::1"),
            (&["for=203.0.113.9, , for=192.0.2.1; proto=http , for=10.0.0.2,"], "192.0.2.1"),
            (&["for=192.0.2.1", "for=10.0.0.2"], "192.0.2.1"),
            (&["host=\"a, for=203.0.113.9\";for=\"192.0.2.\\1\""], "192.0.2.1"),
            // Proxies that do not say hide what is to their left, which may be the client's invention.
            (&["for=203.0.113.9, for=_hidden"], "10.0.0.1"),
            (&["for=203.0.113.9, for=unknown;proto=http, for=10.0.0.2"], "10.0.0.2"),
            (&["for=203.0.113.9, for=\"_hidden:80\""], "10.0.0.1"),
            (&["for=203.0.113.9, proto=https"], "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedHeader::Forwarded, lines).as_deref(), Ok(expected), "{lines:?}");
        }
        for line in [
            "192.0.2.1",
            "for=",
            "for=nobody",
            "for=192.0.2.1;for=203.0.113.9",
            "for=192.0.2.1 for=203.0.113.9",
            "for=[2001:db8::1]",
            // A client's open quotation before what the proxy appends.
            "for=203.0.113.9;x=\", for=192.0.2.1",
            "for=203.0.113.9;x=\", for=\"[2001:db8::1]\"",
            "x=\"\\",
        ] {
            let error = client(ForwardedHeader::Forwarded, &[line]).unwrap_err();
            assert!(error.contains("Forwarded names no client"), "{line}: {error}");
        }
    }

    proptest! {
        /// Whatever a client writes, what the proxy appends decides, or the request is refused.
        #[test]
        fn a_client_cannot_choose_its_address(made_up in "[ -~]{0,60}", quoted: bool, own_line: bool) {
            let appended = if quoted { "for=\"192.0.2.1:80\"" } else { "for=192.0.2.1" };
            for (header, appended) in [(ForwardedHeader::Forwarded, appended), (ForwardedHeader::XForwardedFor, "192.0.2.1")] {
                let joined = format!("{made_up}, {appended}");
                let lines: &[&str] = if own_line { &[&made_up, appended] } else { &[&joined] };
                match client(header, lines) {
                    Ok(address) => prop_assert_eq!(address, "192.0.2.1"),
                    Err(_) => prop_assert!(header == ForwardedHeader::Forwarded && !own_line),
                }
            }
        }

        #[test]
        fn whatever_comes_is_no_reason_to_panic(line in "[ -~]{0,60}", parts in "[for=\",;\\\\ \\[\\]_:1.]{0,40}") {
            for header in [ForwardedHeader::Forwarded, ForwardedHeader::XForwardedFor] {
                let _ = client(header, &[&line, &parts]);
            }
        }
    }
}
