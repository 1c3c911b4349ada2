//! Why a socket to a tracker could not be opened, and other errors of the client.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why no socket to a tracker could be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of the tracker could not be looked up, or has no address that may be used.
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
    /// The tracker's certificate is not trusted, or it speaks no TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// The tracker, or what stands in its place, answered with an HTTP status instead of a WebSocket.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The other side does not speak WebSocket.
    #[error("WebSocket handshake: {0}")]
    Handshake(String),
    /// The socket was not open in time ([`ClientConfig::connect_timeout`](crate::ClientConfig)).
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The proxy failed, or refused.
    #[error("proxy: {0}")]
    Proxy(#[from] ProxyError),
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
    #[error("refused with HTTP status {0}")]
    Status(u16),
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

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        let message = error.to_string();
        #[cfg(feature = "client")]
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return Self::Tls(message);
        }
        Self::Io { kind: error.kind(), message }
    }
}

/// What was given cannot stand in an HTTP header.
#[cfg(feature = "client")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name.
    #[error("not a header name")]
    Name,
    /// The value.
    #[error("not a header value")]
    Value,
}

/// The given bytes are not a root certificate.
#[cfg(feature = "client")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a certificate, in DER or PEM form, that can be trusted as a root")]
pub struct CertificateError;
