//! What travels between sockets and state machines.

use std::net::SocketAddr;

use bytes::BytesMut;

/// One UDP datagram, received or to be sent.
///
/// Neither address carries a scope or flow label: sockets take both off what they receive and add them to what they
/// send, so that an address is the same key wherever it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// This side: the address of a socket, or an address at a relay that is served through one.
    pub(crate) local: SocketAddr,
    /// The other side.
    pub(crate) remote: SocketAddr,
    /// The payload.
    pub(crate) data: BytesMut,
}
