//! Sockets to trackers over TCP and TLS.

mod dial;
mod error;
mod first_bytes;
mod http_answer;
mod proxy;
mod socket;
mod tls;

pub use error::{CertificateError, HeaderError};
pub use proxy::{ProxyUrl, ProxyUrlError};
pub use socket::{Socket, WebSocketConnector};
