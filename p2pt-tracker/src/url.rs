//! Announce URLs.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Longer URLs are refused; the longest one in use is under a hundred bytes, browsers stop near this number.
const MAX_URL_BYTES: usize = 2048;

/// The `ws://` or `wss://` URL of a tracker, checked and normalised as the URL standard of browsers (WHATWG) has it, so
/// that several spellings of one tracker are equal and are printed alike:
///
/// - Scheme and host are in lower case, and an IPv6 address is in its shortest form.
/// - The port is left out where it is the scheme's own: `wss://a.example:443` is `wss://a.example`.
/// - An empty path is `/`, also before a query: `ws://a.example?key` is `ws://a.example/?key`. The segments `.` and `..`
///   are resolved. A URL that has nothing after its host but this `/` is printed without it, which is how trackers are
///   published and how JavaScript peers name them.
///
/// What else is in a path and a query counts as it is written, percent-encoding and a slash at the end included, and so
/// does a dot at the end of a host name, which keeps the resolver from completing the name. Names in other scripts than
/// ASCII come in their `xn--` form. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnounceUrl {
    text: Arc<str>,
    /// Where the path begins in the text, which leaves it out where it is `/` alone.
    path_at: usize,
    secure: bool,
    /// Without the brackets of an IPv6 address.
    host: Arc<str>,
    port: u16,
}

/// Why a text is not an [`AnnounceUrl`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnnounceUrlError {
    /// The text does not begin with `ws://` or `wss://`.
    #[error("an announce URL begins with ws:// or wss://")]
    Scheme,
    /// No host, or one that is neither a name nor an address.
    #[error("the announce URL has no valid host")]
    Host,
    /// The host is a name with letters beyond ASCII, which has a form in ASCII that begins with `xn--`; browsers show it.
    #[error("the host of the announce URL has to be written in its ASCII form (xn--…)")]
    HostNotAscii,
    /// The port is not a number from 1 to 65535.
    #[error("the port of the announce URL is not a number from 1 to 65535")]
    Port,
    /// A user name or password: trackers know neither, and URLs are printed in logs.
    #[error("an announce URL carries no user name or password")]
    Credentials,
    /// A character that must be percent-encoded, or a fragment (`#`), which is never sent.
    #[error("the announce URL contains {0:?}, which is not allowed there")]
    Character(char),
    /// More than 2048 bytes.
    #[error("the announce URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
}

impl AnnounceUrl {
    /// Checks `text`, white space around it aside.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AnnounceUrlError> {
        let text = text.trim();
        if text.len() > MAX_URL_BYTES {
            return Err(AnnounceUrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AnnounceUrlError::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(AnnounceUrlError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if let Some(bad) = path.chars().find(|c| !is_allowed_in_path(*c)) {
            return Err(AnnounceUrlError::Character(bad));
        }
        if authority.contains('@') {
            return Err(AnnounceUrlError::Credentials);
        }
        let (host, port) = split_authority(authority)?;
        let (scheme, default_port) = if secure { ("wss", 443) } else { ("ws", 80) };
        let (host, bracketed) = match host.parse::<Ipv6Addr>() {
            Ok(address) => (address.to_string(), format!("[{address}]")),
            Err(_) => (host.to_ascii_lowercase(), host.to_ascii_lowercase()),
        };
        let port = port.unwrap_or(default_port);
        let authority = if port == default_port { bracketed } else { format!("{bracketed}:{port}") };
        let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
        let mut text = format!("{scheme}://{authority}{}{query}", without_dot_segments(path));
        if text.len() > MAX_URL_BYTES {
            return Err(AnnounceUrlError::TooLong);
        }
        let path_at = scheme.len() + "://".len() + authority.len();
        if text.len() == path_at + 1 {
            text.truncate(path_at);
        }
        Ok(Self { text: text.into(), path_at, secure, host: host.into(), port })
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the scheme is `wss`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host name or address to connect to; an IPv6 address is without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to: the one written, else 443 for `wss` and 80 for `ws`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The announce URL that a reference names which stands in an answer of this tracker, such as the target of a redirect:
    /// an absolute one, also with the schemes of HTTP, for which WebSocket has its own, or one relative to this (RFC 3986,
    /// 5.2). A fragment is dropped.
    ///
    /// # Errors
    /// If that is no announce URL.
    pub fn resolve(&self, reference: &str) -> Result<Self, AnnounceUrlError> {
        let reference = reference.trim().split('#').next().unwrap_or_default();
        if let Some((scheme, rest)) = reference.split_once("://")
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            let scheme = match scheme.to_ascii_lowercase().as_str() {
                "http" => "ws".to_owned(),
                "https" => "wss".to_owned(),
                other => other.to_owned(),
            };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let scheme = if self.secure { "wss" } else { "ws" };
        let (path, query) = self.path_and_query().split_once('?').unwrap_or((self.path_and_query(), ""));
        let (site, directory) = (&self.text[..self.path_at], &path[..=path.rfind('/').unwrap_or(0)]);
        let absolute = match reference {
            "" if query.is_empty() => format!("{site}{path}"),
            "" => format!("{site}{path}?{query}"),
            network if network.starts_with("//") => format!("{scheme}:{network}"),
            rooted if rooted.starts_with('/') => format!("{site}{rooted}"),
            query if query.starts_with('?') => format!("{site}{path}{query}"),
            relative => format!("{site}{directory}{relative}"),
        };
        Self::parse(&absolute)
    }

    /// The path, which begins with `/`, and the query, as they stand in the request of the WebSocket handshake.
    pub fn path_and_query(&self) -> &str {
        match &self.text[self.path_at..] {
            "" => "/",
            path_and_query => path_and_query,
        }
    }
}

/// The path without `.` and `..`, also where their dots are percent-encoded, and with the `/` that every path begins with
/// (WHATWG URL, "path state").
fn without_dot_segments(path: &str) -> String {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        let is_dots = matches!(dots.as_str(), "." | "..");
        if dots == ".." {
            kept.pop();
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<u16>), AnnounceUrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(AnnounceUrlError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| AnnounceUrlError::Host)?;
        (host, port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if !host.is_ascii() {
            return Err(AnnounceUrlError::HostNotAscii);
        }
        if !is_host_name(host) {
            return Err(AnnounceUrlError::Host);
        }
        (host, port)
    };
    let port = match port.strip_prefix(':') {
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0).ok_or(AnnounceUrlError::Port)?)
        }
        Some(_) => return Err(AnnounceUrlError::Port),
        None if port.is_empty() => None,
        None => return Err(AnnounceUrlError::Host),
    };
    Ok((host, port))
}

/// RFC 1123 names, and underscores, which exist in practice; names of other scripts come in their `xn--` form.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // A name whose last label is a number can only be an address (WHATWG URL, "ends in a number").
    let name = host.strip_suffix('.').unwrap_or(host);
    let ends_in_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if ends_in_number { host.parse::<Ipv4Addr>().is_ok() } else { name.len() <= 253 && name.split('.').all(label) }
}

/// What RFC 3986 allows in a path and a query.
fn is_allowed_in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/?%:@-._~!$&'()*+,;=".contains(c)
}

impl FromStr for AnnounceUrl {
    type Err = AnnounceUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for AnnounceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for AnnounceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnnounceUrl({})", self.text)
    }
}

impl From<AnnounceUrl> for String {
    fn from(url: AnnounceUrl) -> Self {
        url.to_string()
    }
}

impl From<&AnnounceUrl> for String {
    fn from(url: &AnnounceUrl) -> Self {
        url.to_string()
    }
}

impl AsRef<str> for AnnounceUrl {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> (String, bool, String, u16) {
        let url = AnnounceUrl::parse(text).unwrap();
        (url.to_string(), url.is_secure(), url.host().to_owned(), url.port())
    }

    #[test]
    fn accepts_what_trackers_publish() {
        assert_eq!(
            parts("wss://tracker.openwebtorrent.com"),
            ("wss://tracker.openwebtorrent.com".into(), true, "tracker.openwebtorrent.com".into(), 443)
        );
        assert_eq!(
            parts("ws://127.0.0.1:8000/announce?key=a%20b"),
            ("ws://127.0.0.1:8000/announce?key=a%20b".into(), false, "127.0.0.1".into(), 8000)
        );
        assert_eq!(parts("ws://[::1]:90/"), ("ws://[::1]:90".into(), false, "::1".into(), 90));
        assert_eq!(
            parts(" WSS://Tracker.Example/A \n"),
            ("wss://tracker.example/A".into(), true, "tracker.example".into(), 443)
        );
        assert_eq!(parts("ws://localhost?x").2, "localhost");
    }

    #[test]
    fn spellings_of_one_tracker_are_equal_and_printed_alike() {
        for (spellings, printed) in [
            (&["wss://a", "wss://a:443", "WSS://A/", "wss://a:", "wss://a:0443/./", "wss://a/b/.."][..], "wss://a"),
            (&["ws://a", "ws://a:80", "ws://a:80/", "ws://A:/%2e"], "ws://a"),
            (&["ws://a:443", "ws://a:443/"], "ws://a:443"),
            (&["wss://a:80"], "wss://a:80"),
            (&["ws://h:9?key=K", "ws://h:9/?key=K", "ws://h:9/x/../?key=K"], "ws://h:9/?key=K"),
            (&["ws://[0:0::0001]", "ws://[::1]:80/"], "ws://[::1]"),
            (&["ws://[2001:DB8::A:0:0]:9"], "ws://[2001:db8::a:0:0]:9"),
            (&["ws://a/b/./c/%2E%2e/d", "ws://a/b/d"], "ws://a/b/d"),
            (&["ws://a/b/", "ws://a/b/.", "ws://a/b/c/..", "ws://a/../b/"], "ws://a/b/"),
            (&["ws://a//b"], "ws://a//b"),
            (&["ws://a/%7Eb?x=../y"], "ws://a/%7Eb?x=../y"),
        ] {
            let first = AnnounceUrl::parse(spellings[0]).unwrap();
            for spelling in spellings {
                let url = AnnounceUrl::parse(spelling).unwrap();
                assert_eq!((url.as_str(), &url), (printed, &first), "{spelling}");
                assert_eq!(format!("{url}, {url:?}"), format!("{printed}, AnnounceUrl({printed})"));
            }
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn references_are_resolved() {
        let base = AnnounceUrl::parse("wss://a:9/b/c?d").unwrap();
        for (reference, url) in [
            ("https://a/x", Some("wss://a/x")),
            ("HTTP://B:80", Some("ws://b")),
            ("wss://c/x#y", Some("wss://c/x")),
            ("//e:1/f", Some("wss://e:1/f")),
            ("/x/../y?q=a://b", Some("wss://a:9/y?q=a://b")),
            ("x/y", Some("wss://a:9/b/x/y")),
            ("../x", Some("wss://a:9/x")),
            ("?x", Some("wss://a:9/b/c?x")),
            ("", Some("wss://a:9/b/c?d")),
            ("ftp://a/", None),
            ("https://", None),
            ("https://me:secret@a/", None),
            ("/a b", None),
        ] {
            let resolved = base.resolve(reference).ok();
            assert_eq!(resolved.as_ref().map(AnnounceUrl::as_str), url, "{reference}");
        }
        assert_eq!(AnnounceUrl::parse("ws://a").unwrap().resolve("x?y").unwrap().as_str(), "ws://a/x?y");
    }

    #[test]
    fn what_may_be_another_tracker_is_another_url() {
        let urls = ["ws://a/", "ws://a./", "ws://a/b", "ws://a/b/", "ws://a/B", "ws://a/%62", "ws://a/?", "wss://a/"];
        let distinct: std::collections::BTreeSet<_> = urls.map(|url| AnnounceUrl::parse(url).unwrap()).into();
        assert_eq!(distinct.len(), urls.len());
    }

    #[test]
    fn says_what_is_wrong() {
        use AnnounceUrlError::{Character, Credentials, Host, HostNotAscii, Port, Scheme, TooLong};
        for (text, error) in [
            ("", Scheme),
            ("tracker.example", Scheme),
            ("http://tracker.example", Scheme),
            ("udp://tracker.example:80", Scheme),
            ("ws://", Host),
            ("ws:///announce", Host),
            ("ws://a..b", Host),
            ("ws://a b", Host),
            ("ws://ä.example", HostNotAscii),
            ("ws://1.2.3", Host),
            ("ws://1.2.3.256", Host),
            ("ws://[::1", Host),
            ("ws://[::1]x", Host),
            ("ws://[tracker]", Host),
            ("ws://a%2eb", Host),
            ("ws://[fe80::1%25eth0]", Host),
            ("ws://a:0", Port),
            ("ws://a:+80", Port),
            ("ws://a:65536", Port),
            ("ws://a:1:2", Port),
            ("ws://me:secret@a", Credentials),
            ("ws://a/#top", Character('#')),
            ("ws://a/b c", Character(' ')),
            ("ws://a/\r\nHost: b", Character('\r')),
            ("ws://a/ü", Character('ü')),
        ] {
            assert_eq!(AnnounceUrl::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(AnnounceUrl::parse(&format!("ws://a/{}", "x".repeat(2048))), Err(TooLong));
    }

    proptest! {
        #[test]
        fn parsing_is_idempotent(
            text in "(ws|wss|WS)://([a-zA-Z0-9.@-]{0,20}|\\[[0-9a-f:]{2,20}\\])(:[0-9]{0,5})?([/?][/.?%2eE=a-z]{0,12})?[ -~]{0,4}"
        ) {
            if let Ok(url) = AnnounceUrl::parse(&text) {
                let printed = format!("{url}");
                let again = AnnounceUrl::parse(&printed).unwrap();
                prop_assert_eq!(again.as_str(), &printed);
                prop_assert_eq!(again, url);
            }
        }

        #[test]
        fn requests_begin_with_a_slash(host in "[a-z]{1,8}(:[1-9][0-9]{0,3})?", rest in "([/?][/.?=a-z]{0,12})?") {
            let url = AnnounceUrl::parse(&format!("ws://{host}{rest}")).unwrap();
            prop_assert!(url.path_and_query().starts_with('/'), "{}", url);
            let printed = format!("{url}/");
            prop_assert!(printed.contains(url.path_and_query()), "{}", printed);
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = AnnounceUrl::parse(&text);
        }
    }
}
