//! Errors of the client.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why no socket to a tracker could be opened. Cloneable, so that it can be told to several listeners.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Name lookup, TCP or TLS failed.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// The other side does not speak WebSocket, or refused.
    #[error("WebSocket handshake: {0}")]
    Handshake(String),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// What was given cannot stand in an HTTP header.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a DER-encoded certificate that can be trusted as a root")]
pub struct CertificateError;
