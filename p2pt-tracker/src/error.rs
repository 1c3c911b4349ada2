//! Why a socket to a tracker could not be opened, and other errors of the client.

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why no socket to a tracker could be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of the tracker could not be looked up, or has no address that may be used. Most often it is misspelt.
    #[error("name lookup: {0}")]
    Lookup(String),
    /// The connection was refused, could not be made, or broke before the socket was open.
    #[error("{message}")]
    Io {
        /// The kind of error, as the system names it.
        kind: io::ErrorKind,
        /// A description for people.
        message: String,
    },
    /// The TLS handshake failed, most often for what the tracker's certificate says. The text says what is wrong and what
    /// can be done.
    #[error("TLS: {0}")]
    Tls(String),
    /// The tracker's certificate is signed by itself or by an authority that is not trusted. If the tracker is one that the
    /// program trusts, that certificate can be given: `WebSocketConnector::with_root_certificate`. The text says which.
    #[error("TLS: {0}")]
    Untrusted(String),
    /// The URL begins with `wss://`, and the port speaks no TLS: the tracker's URL begins with `ws://`, if what is sent may
    /// be read on the way.
    #[error("this port does not speak TLS: use ws://, if what is sent may be read on the way")]
    PlainPort,
    /// The URL begins with `ws://`, and the port speaks TLS: the tracker's URL begins with `wss://`.
    #[error("this port speaks TLS: use wss://")]
    TlsPort,
    /// The tracker, or what stands in its place, refused with an HTTP status.
    #[error("{0}")]
    Status(HttpRefusal),
    /// The tracker, or what stands in its place, redirects to another URL, which was not followed: that is not asked for
    /// (`WebSocketConnector::follow_redirects`), or the URL is at another host, leads from `wss` to `ws`, or on and on. If
    /// the target is to be trusted, it can be given as the tracker's URL.
    #[error("HTTP status {status}: redirected to {target}, {reason}")]
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to: an announce URL, or the tracker's words, shortened, if they name none.
        target: String,
        /// Why it was not followed.
        reason: RedirectReason,
    },
    /// The other side does not speak WebSocket.
    #[error("WebSocket handshake: {0}")]
    Handshake(String),
    /// The socket was not open in time ([`ClientConfig::connect_timeout`](crate::ClientConfig)).
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The proxy failed, or refused.
    #[error("proxy: {0}")]
    Proxy(#[from] ProxyError),
    /// A browser's page may not open the URL: its content security policy (`connect-src`) does not allow it, or the page came
    /// over `https` and the URL is `ws`. The text is the browser's.
    #[error("the browser does not allow it: {0}")]
    Forbidden(String),
    /// A browser opened no socket. It tells a page no reason, neither a name that is not found nor a certificate that is
    /// not trusted; its console may.
    #[error("the browser could not connect, and does not say why (its console may)")]
    Unexplained,
}

impl ConnectError {
    /// What people can do about it, in a sentence without a capital or a full stop, to be shown behind the error. `None`
    /// where the error itself says so, as [`Tls`](Self::Tls) and [`Untrusted`](Self::Untrusted) do, or where there is nothing but to wait or to use another
    /// tracker.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Lookup(_) => Some(
                "check the spelling of the tracker's name; if it is right, the name server and the network of this machine",
            ),
            Self::TlsPort => Some("give the tracker's URL with wss:// in place of ws://"),
            Self::PlainPort => Some("give the tracker's URL with ws:// in place of wss://"),
            Self::Io { kind: io::ErrorKind::ConnectionRefused, .. } => {
                Some("nothing listens there: check the port, and whether the tracker runs")
            }
            Self::Io { kind: io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable, .. } => {
                Some("check the network of this machine")
            }
            Self::Timeout(_) => Some("a firewall may drop what goes there: try a proxy, or another tracker"),
            Self::Handshake(_) => Some("no tracker answers there: check the URL, its port and its path"),
            Self::Status(HttpRefusal { status: 401 | 403, .. }) => {
                Some("the tracker may want an `Origin` or a token in a header")
            }
            Self::Status(HttpRefusal { status: 404, .. }) => Some("check the path of the tracker's URL"),
            Self::Status(HttpRefusal { status: 429 | 503, .. }) => {
                Some("the tracker is busy and is asked again later; use another one too")
            }
            Self::Proxy(ProxyError::Unreachable(_)) => Some("check the URL of the proxy, and whether it runs"),
            Self::Proxy(ProxyError::Login) => Some("give the proxy's user name and password in its URL"),
            Self::Forbidden(_) => {
                Some("use a wss:// URL, and allow it in `connect-src` if the page has a content security policy")
            }
            Self::Unexplained => Some("check the URL, and whether its certificate is one that the browser trusts"),
            Self::Io { .. }
            | Self::Tls(_)
            | Self::Untrusted(_)
            | Self::Status(_)
            | Self::Redirect { .. }
            | Self::Proxy(_) => None,
        }
    }

    /// How long the tracker, or a proxy on the way to it, has asked to wait before the next attempt.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(refusal) | Self::Proxy(ProxyError::Status(refusal)) => refusal.retry_after(),
            _ => None,
        }
    }
}

/// An HTTP answer that refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRefusal {
    /// The status.
    pub status: u16,
    /// The beginning of what it says, as far as that came together with the head; on one line and without control
    /// characters.
    pub body: Option<String>,
    /// What its `Retry-After` says.
    pub retry_after: Option<Duration>,
}

impl HttpRefusal {
    /// A refusal that says nothing but its status.
    pub fn new(status: u16) -> Self {
        Self { status, body: None, retry_after: None }
    }

    /// Sets when to come back.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// When to come back, if the status is one with which that is meant: 429 (too many requests) or 503 (unavailable).
    fn retry_after(&self) -> Option<Duration> {
        self.retry_after.filter(|_| matches!(self.status, 429 | 503))
    }
}

impl fmt::Display for HttpRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}", self.status)?;
        match &self.body {
            Some(body) => write!(f, " ({body})"),
            None => Ok(()),
        }
    }
}

/// Why a redirect was not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedirectReason {
    /// None is followed unless that is asked for.
    #[error("which may be given as the tracker's URL")]
    NotAllowed,
    /// It leads to another host.
    #[error("another host, which may be given as the tracker's URL if it is trusted")]
    OtherHost,
    /// It leads from `wss` to `ws`, where everything can be read on the way.
    #[error("which is not encrypted")]
    Downgrade,
    /// So many were followed before it that it is taken for a circle.
    #[error("after too many redirects")]
    TooMany,
    /// It leads to what is no announce URL.
    #[error("which is no announce URL")]
    NoUrl,
}

/// Why there is no way to a tracker through a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy itself cannot be reached, or the connection to it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It wants a user name and a password, or does not take those that it got.
    #[error("wants another user name and password")]
    Login,
    /// An HTTP proxy refused with this status.
    #[error("refused with {0}")]
    Status(HttpRefusal),
    /// A SOCKS5 proxy refused, or could not reach the tracker.
    #[error("refused: {0}")]
    Refused(String),
    /// It closed the connection instead of answering.
    #[error("closed the connection without an answer")]
    Closed,
    /// The head of its answer is longer than 8 KiB, or has more than 64 headers.
    #[error("answered at too great length")]
    HeadTooLong,
    /// It does not speak the protocol that its URL names.
    #[error("does not speak its protocol: {0}")]
    Protocol(String),
}
