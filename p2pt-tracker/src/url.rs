//! Announce URLs.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Longer URLs are refused; the longest one in use is under a hundred bytes, browsers stop near this number.
const MAX_URL_BYTES: usize = 2048;

/// The `ws://` or `wss://` URL of a tracker, checked.
///
/// Two URLs are the same tracker only if they are written alike: path, query and a trailing slash count, as they do
/// for JavaScript peers. Scheme and host are put in lower case. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnounceUrl {
    text: Arc<str>,
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
        let host = host.to_ascii_lowercase();
        let scheme = if secure { "wss" } else { "ws" };
        let text = format!("{scheme}://{}{path}", authority.to_ascii_lowercase());
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { text: text.into(), secure, host: host.into(), port })
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
}

pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<u16>), AnnounceUrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(AnnounceUrlError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| AnnounceUrlError::Host)?;
        (host, port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if !is_host_name(host) {
            return Err(AnnounceUrlError::Host);
        }
        (host, port)
    };
    let port = match port.strip_prefix(':') {
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
        let public = "wss://tracker.openwebtorrent.com";
        assert_eq!(parts(public), (public.into(), true, "tracker.openwebtorrent.com".into(), 443));
        assert_eq!(
            parts("ws://127.0.0.1:8000/announce?key=a%20b"),
            ("ws://127.0.0.1:8000/announce?key=a%20b".into(), false, "127.0.0.1".into(), 8000)
        );
        assert_eq!(parts("ws://[::1]:90/"), ("ws://[::1]:90/".into(), false, "::1".into(), 90));
        assert_eq!(
            parts(" WSS://Tracker.Example/A \n"),
            ("wss://tracker.example/A".into(), true, "tracker.example".into(), 443)
        );
        assert_eq!(parts("ws://localhost?x").2, "localhost");
    }

    #[test]
    fn a_trailing_slash_makes_another_url() {
        assert_ne!(AnnounceUrl::parse("ws://a/").unwrap(), AnnounceUrl::parse("ws://a").unwrap());
    }

    #[test]
    fn says_what_is_wrong() {
        use AnnounceUrlError::{Character, Credentials, Host, Port, Scheme, TooLong};
        for (text, error) in [
            ("", Scheme),
            ("tracker.example", Scheme),
            ("http://tracker.example", Scheme),
            ("udp://tracker.example:80", Scheme),
            ("ws://", Host),
            ("ws:///announce", Host),
            ("ws://a..b", Host),
            ("ws://a b", Host),
            ("ws://ä.example", Host),
            ("ws://1.2.3", Host),
            ("ws://1.2.3.256", Host),
            ("ws://[::1", Host),
            ("ws://[::1]x", Host),
            ("ws://[tracker]", Host),
            ("ws://a:", Port),
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
        fn parsing_is_idempotent(text in "(ws|wss|WS)://[a-z0-9.\\[\\]:@-]{0,20}[/?#]?[ -~]{0,10}") {
            if let Ok(url) = AnnounceUrl::parse(&text) {
                prop_assert_eq!(AnnounceUrl::parse(url.as_str()).unwrap(), url);
            }
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = AnnounceUrl::parse(&text);
        }
    }
}
