//! Errors of sockets over TCP and TLS.

use std::io;

use thiserror::Error;

use crate::ConnectError;

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return super::tls::explain(error);
        }
        if error.to_string() == super::tls::HANDSHAKE_EOF {
            return Self::Tls(super::tls::CLOSED_IN_HANDSHAKE.to_owned());
        }
        Self::Io { kind: error.kind(), message: error.to_string() }
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
#[error("not a certificate, in DER or PEM form, that can be trusted as a root")]
pub struct CertificateError;
