//! STUN and TURN servers, and which paths may be used.

use std::fmt;

/// STUN servers used when nothing else is configured. Two operators, so that one outage does not take away every
/// server-reflexive candidate.
pub const DEFAULT_STUN_SERVERS: [&str; 2] = ["stun:stun.l.google.com:19302", "stun:global.stun.twilio.com:3478"];

/// A STUN or TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    pub(crate) urls: Vec<String>,
    pub(crate) username: String,
    pub(crate) credential: String,
}

impl IceServer {
    /// A server that needs no credentials: `stun:host[:port]`.
    pub fn stun(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], username: String::new(), credential: String::new() }
    }

    /// A relay: `turn:host[:port]`, over UDP. The native backend skips relays over TCP and `turns:` with a log line; browsers
    /// take them.
    pub fn turn(url: impl Into<String>, username: impl Into<String>, credential: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], username: username.into(), credential: credential.into() }
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).field("username", &self.username).finish_non_exhaustive()
    }
}

/// Which paths may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IcePolicy {
    /// Any: direct ones and relays.
    #[default]
    All,
    /// Relays only, so that the other side never learns this machine's addresses. Needs a TURN server.
    RelayOnly,
}
