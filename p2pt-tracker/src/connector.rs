//! How sockets to trackers are opened, and what goes over them.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{AnnounceUrl, ConnectError, Family, Socket, SocketEnd};

/// Opens sockets to trackers. [`WebSocketConnector`](crate::WebSocketConnector) does it over TCP and TLS, in a browser by
/// the browser's `WebSocket`; another one may use a proxy, or in-memory streams in tests.
#[async_trait]
pub trait Connector: Debug + Send + Sync {
    /// Opens a socket to `url`, over the given address family or, without one, over whichever connects first. The
    /// socket says which way it took and whether there is another (`Socket::with_route`), or nothing, and then no
    /// family is ever asked for. Dropping the future gives the attempt up; the caller sets the deadline.
    ///
    /// # Errors
    /// Says what went wrong; the caller tries again later in any case.
    async fn connect(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError>;
}

/// What is written to a tracker.
pub(crate) enum Outgoing {
    Text(String),
    Ping,
    /// Begins the closing handshake.
    Close,
}

/// What comes from a tracker.
pub(crate) enum Incoming {
    Frame(Vec<u8>),
    /// Another sign of life, such as a pong.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "a page is shown none"))]
    Alive,
    End(SocketEnd),
}
