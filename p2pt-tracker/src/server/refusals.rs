//! What is turned away before it is a connection of the tracker, by reason.

use std::{
    fmt::Display,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;

use crate::tally::{Tally, Verdict};

/// Why a socket or its request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// More sockets than there may be.
    Sockets,
    /// More WebSockets than there may be.
    Full,
    /// More sockets of this address than there may be.
    PerAddress,
    /// A proxy that may not or cannot say who its client is.
    Proxy,
    /// A request that is answered with an error.
    Request,
    /// No TLS connection came about.
    #[cfg_attr(not(feature = "server-tls"), allow(dead_code, reason = "only TLS has it"))]
    Tls,
    /// It took too long.
    Timeout,
}

/// How often what [`TrackerServer`](super::TrackerServer) and [`TrackerService`](super::TrackerService) were asked for
/// was refused, by reason, since the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalStats {
    /// Sockets beyond `swarms.max_connections` and [`max_handshakes`](super::ServerConfig::max_handshakes) together.
    pub sockets: u64,
    /// WebSockets beyond `swarms.max_connections`.
    pub full: u64,
    /// Sockets of an address that had
    /// [`max_connections_per_address`](super::ServerConfig::max_connections_per_address).
    pub per_address: u64,
    /// Sockets and requests for which it could not be known who sent them: a header of the PROXY protocol that is
    /// missing, malformed or of another sender than a [trusted proxy](super::ServerConfig::trusted_proxies), or a
    /// forwarding header that names no address.
    pub proxy: u64,
    /// HTTP requests that were answered with an error of their own, such as 400 or 404.
    pub requests: u64,
    /// Sockets on which no TLS connection came about.
    pub tls: u64,
    /// Sockets without a request within [`handshake_timeout`](super::ServerConfig::handshake_timeout), or that did not
    /// read the response.
    pub timeouts: u64,
}

/// The counters behind [`RefusalStats`].
#[derive(Debug)]
pub(super) struct Refusals {
    counts: [AtomicU64; 7],
    /// When a proxy was last complained of.
    proxies: Mutex<Tally>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self { counts: Default::default(), proxies: Mutex::new(Tally::new(Instant::now().into_std(), 1)) }
    }

    /// Says what is wrong with what a proxy says, once a minute: the proxy's operator should know, but a client may
    /// cause it too.
    pub(super) fn complain(&self, proxy: IpAddr, error: &dyn Display) {
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        if proxies.add(Instant::now().into_std()) == Verdict::Within {
            let before = self.stats().proxy;
            tracing::warn!(%proxy, %error, before, "a proxy's word for its client cannot be taken, and the client is refused");
        }
    }

    pub(super) fn count(&self, why: Refused) {
        tracing::debug!(?why, "socket or request refused");
        self.counts[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> RefusalStats {
        let count = |why: Refused| self.counts[why as usize].load(Ordering::Relaxed);
        RefusalStats {
            sockets: count(Refused::Sockets),
            full: count(Refused::Full),
            per_address: count(Refused::PerAddress),
            proxy: count(Refused::Proxy),
            requests: count(Refused::Request),
            tls: count(Refused::Tls),
            timeouts: count(Refused::Timeout),
        }
    }
}
