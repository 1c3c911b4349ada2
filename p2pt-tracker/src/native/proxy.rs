//! Proxies on the way to trackers: their URLs, and the tunnels through them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::dial::dial;
use super::http_answer::refusal;
use crate::ConnectError;
use crate::error::{HttpRefusal, ProxyError};
use crate::url::split_authority;

/// Longer answers to `CONNECT` are refused; real ones have a few hundred bytes.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// Headers in such an answer.
const MAX_HEADERS: usize = 64;
/// What SOCKS5 can carry of a user name and of a password (RFC 1929).
const MAX_LOGIN_BYTES: usize = 255;

/// The URL of a proxy, checked: `http://host:port` (the method `CONNECT`) or `socks5://host:port` (`socks5h://` means
/// the same), with `user:password@` before the host where it asks for that, percent-encoded where needed.
///
/// The proxy looks up the names of trackers itself. The user name and the password stand in neither `Debug` nor
/// `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    kind: Kind,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    login: Option<Login>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

/// Why a text is not a [`ProxyUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// The text begins with none of `http://`, `socks5://` and `socks5h://`.
    #[error("a proxy's URL begins with http://, socks5:// or socks5h://")]
    Scheme,
    /// No host, or one that is neither a name nor an address.
    #[error("the proxy's URL has no valid host")]
    Host,
    /// There is no port, or it is not a number from 1 to 65535; or something follows it.
    #[error("the proxy's URL does not end with a port from 1 to 65535")]
    Port,
    /// The user name or the password is missing, badly encoded, too long, or of characters that the proxy's protocol
    /// cannot carry.
    #[error("the user name and the password of the proxy's URL cannot be used")]
    Login,
}

impl ProxyUrl {
    /// Checks `text`, white space around it aside.
    ///
    /// # Errors
    /// Says what is wrong with it, without repeating any of it.
    pub fn parse(text: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(ProxyUrlError::Scheme)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" | "socks5h" => Kind::Socks5,
            _ => return Err(ProxyUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, authority) = match rest.rsplit_once('@') {
            Some((login, authority)) => (Some(Login::parse(kind, login)?), authority),
            None => (None, rest),
        };
        let (host, port) = split_authority(authority).map_err(|error| match error {
            crate::AnnounceUrlError::Port => ProxyUrlError::Port,
            _ => ProxyUrlError::Host,
        })?;
        let port = port.ok_or(ProxyUrlError::Port)?;
        Ok(Self { kind, host: host.to_ascii_lowercase(), port, login })
    }

    /// Opens a stream to `host` through the proxy. The caller sets the deadline.
    pub(crate) async fn tunnel(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let unreachable = |error: ConnectError| ProxyError::Unreachable(error.to_string());
        let (stream, _) = dial(&self.host, self.port, None).await.map_err(unreachable)?;
        let tunnel = match self.kind {
            Kind::Http => connect_http(stream, host, port, self.login.as_ref()).await,
            Kind::Socks5 => connect_socks5(stream, host, port, self.login.as_ref()).await,
        };
        Ok(tunnel?)
    }
}

impl Login {
    fn parse(kind: Kind, text: &str) -> Result<Self, ProxyUrlError> {
        let (user, password) = text.split_once(':').ok_or(ProxyUrlError::Login)?;
        let [user, password] = [user, password].map(percent_decoded);
        let (user, password) = user.zip(password).ok_or(ProxyUrlError::Login)?;
        let fits = match kind {
            // RFC 7617.
            Kind::Http => !user.contains(':') && !user.chars().chain(password.chars()).any(char::is_control),
            Kind::Socks5 => [&user, &password].iter().all(|text| (1..=MAX_LOGIN_BYTES).contains(&text.len())),
        };
        if fits { Ok(Self { user, password }) } else { Err(ProxyUrlError::Login) }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

async fn connect_http(
    mut stream: TcpStream,
    host: &str,
    port: u16,
    login: Option<&Login>,
) -> Result<TcpStream, ProxyError> {
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(Login { user, password }) = login {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(512);
    loop {
        // Whatever fits, and no more is ever held.
        let room = (MAX_HEAD_BYTES - head.len()) as u64;
        if room == 0 {
            return Err(ProxyError::HeadTooLong);
        }
        if (&mut stream).take(room).read_buf(&mut head).await? == 0 {
            return Err(ProxyError::Closed);
        }
        if let Some((refusal, bytes)) = parse_head(&head)? {
            return match refusal.status {
                // The tracker waits for our first word, so what came after the head is none of it.
                200..=299 if bytes < head.len() => Err(ProxyError::Protocol("more than an answer".to_owned())),
                200..=299 => Ok(stream),
                407 => Err(ProxyError::Login),
                _ => Err(ProxyError::Status(refusal)),
            };
        }
    }
}

/// The answer to `CONNECT` as the refusal that it may be, and how long its head is, once that is complete.
fn parse_head(head: &[u8]) -> Result<Option<(HttpRefusal, usize)>, ProxyError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(bytes)) => Ok(response.code.map(|status| {
            let header = |name: &str| {
                response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
            };
            (refusal(status, header, &head[bytes..]), bytes)
        })),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(ProxyError::HeadTooLong),
        Err(error) => Err(ProxyError::Protocol(error.to_string())),
    }
}

async fn connect_socks5(
    stream: TcpStream,
    host: &str,
    port: u16,
    login: Option<&Login>,
) -> Result<TcpStream, ProxyError> {
    let tunnel = match login {
        Some(Login { user, password }) => {
            Socks5Stream::connect_with_password_and_socket(stream, (host, port), user, password).await
        }
        None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
    };
    Ok(tunnel.map_err(socks_failed)?.into_inner())
}

impl From<std::io::Error> for ProxyError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

/// Not a `From`: the type would be in the public API then.
fn socks_failed(error: tokio_socks::Error) -> ProxyError {
    use tokio_socks::Error;
    match error {
        Error::Io(error) => error.into(),
        Error::PasswordAuthFailure(_) | Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            ProxyError::Login
        }
        Error::GeneralSocksServerFailure
        | Error::ConnectionNotAllowedByRuleset
        | Error::NetworkUnreachable
        | Error::HostUnreachable
        | Error::ConnectionRefused
        | Error::TtlExpired
        | Error::CommandNotSupported
        | Error::AddressTypeNotSupported => ProxyError::Refused(error.to_string()),
        other => ProxyError::Protocol(other.to_string()),
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        let login = if self.login.is_some() { "***@" } else { "" };
        if self.host.contains(':') {
            write!(f, "{scheme}://{login}[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{login}{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_what_people_write_and_shows_no_secret() {
        for (text, shown) in [
            ("http://127.0.0.1:3128", "http://127.0.0.1:3128"),
            (" HTTP://Proxy.Example:8080/ ", "http://proxy.example:8080"),
            ("socks5://[::1]:1080", "socks5://[::1]:1080"),
            ("socks5h://me:secret@proxy:9050", "socks5://***@proxy:9050"),
            ("http://me:@proxy:80", "http://***@proxy:80"),
        ] {
            let url = ProxyUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("ProxyUrl({shown})"));
        }
        let login = ProxyUrl::parse("socks5://a%40b:p%3A%2F%C3%BC:@proxy:1").unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("a@b", "p:/ü:"));
    }

    #[test]
    fn says_what_is_wrong() {
        use ProxyUrlError::{Host, Login, Port, Scheme};
        let long = format!("socks5://{}:x@proxy:1", "u".repeat(256));
        for (text, error) in [
            ("", Scheme),
            ("proxy:3128", Scheme),
            ("https://proxy:443", Scheme),
            ("socks4://proxy:1080", Scheme),
            ("http://", Host),
            ("http://:80", Host),
            ("http://a b:80", Host),
            ("http://proxy", Port),
            ("http://proxy:", Port),
            ("http://proxy:0", Port),
            ("http://proxy:80/path", Port),
            ("http://me@proxy:80", Login),
            ("http://me:%zz@proxy:80", Login),
            ("http://me:%ff@proxy:80", Login),
            ("http://me:a%0d%0ab@proxy:80", Login),
            ("http://m%3Ae:x@proxy:80", Login),
            ("socks5://me:@proxy:1080", Login),
            ("socks5://:x@proxy:1080", Login),
            (&long, Login),
        ] {
            assert_eq!(ProxyUrl::parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(http|socks5)://\\PC*", head in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = ProxyUrl::parse(&text);
            let _ = parse_head(&head);
        }
    }
}
