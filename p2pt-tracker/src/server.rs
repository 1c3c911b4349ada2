//! The tracker as a server: sockets around [`Swarms`](crate::Swarms).

mod addresses;
mod arrival;
mod config;
mod connection;
mod descriptors;
mod files;
mod forwarded;
mod handshake;
mod http;
mod hub;
mod listener;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
mod network;
mod prometheus;
mod proxy_protocol;
mod refusals;
mod send_queue;
mod stats;
mod throttle;
#[cfg(feature = "server-tls")]
mod tls;
mod websocket;

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::ToSocketAddrs,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

#[cfg(feature = "server-tls")]
pub use self::tls::{ServerTls, ServerTlsError};
pub use self::{
    config::ServerConfig,
    descriptors::raise_descriptor_limit,
    files::StaticFiles,
    forwarded::ForwardedHeader,
    listener::TrackerListener,
    network::{Network, NetworkError},
    refusals::RefusalStats,
    stats::ServerStats,
};
use self::{hub::Hub, refusals::Refused};
use crate::{
    AnnounceUrl,
    tally::{Tally, Verdict},
};

/// How long to wait after the operating system refused a new socket, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many sockets for the operator may be open: one for each Prometheus server, and some for people.
const MAX_OPERATOR_SOCKETS: usize = 16;

/// A tracker without a listener: give it the byte streams to serve.
///
/// This is for programs that accept sockets themselves, for instance to put TLS before the tracker, and for tests over
/// in-memory streams. [`TrackerServer`] adds the listener. Clones are the same tracker; dropping the last one stops it.
#[derive(Debug, Clone)]
pub struct TrackerService {
    hub: Arc<Hub>,
    _stop_on_drop: Arc<DropGuard>,
}

impl TrackerService {
    /// A tracker without swarms.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time enabled: a task that keeps the tracker's time is spawned.
    pub fn new(config: ServerConfig) -> Self {
        let hub = Arc::new(Hub::new(config));
        let stop_on_drop = Arc::new(hub.stopping.clone().drop_guard());
        tokio::spawn(Arc::clone(&hub).keep_time());
        Self { hub, _stop_on_drop: stop_on_drop }
    }

    /// Serves one byte stream, from its HTTP request to its end. The future ends with the stream, at the latest
    /// `close_timeout` after the tracker has been [stopped](Self::stop) or after a client's misbehaviour; dropping it
    /// drops the stream.
    pub fn serve<S>(&self, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::serve(None, Box::pin(handshake::connect_from(Arc::clone(&self.hub), stream, None)))
    }

    /// Serves one byte stream that comes from this address, as [`serve`](Self::serve) does. Offers are handed out by
    /// address first, so that a single host that makes up many members keeps no others apart, and an address has a
    /// [share](crate::SwarmsConfig::address_share) and a [rate](ServerConfig::messages_per_second_per_address). A stream
    /// without an address counts as one for itself. If the address is that of a
    /// [trusted proxy](ServerConfig::trusted_proxies), the request says who the client is.
    pub fn serve_from<S>(&self, address: IpAddr, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let address = Some(address);
        connection::serve(address, Box::pin(handshake::connect_from(Arc::clone(&self.hub), stream, address)))
    }

    /// Serves one byte stream on which the WebSocket is open already, because something else has answered its HTTP
    /// request: a web server that has other things on the same port, too. The future ends as that of
    /// [`serve`](Self::serve) does, and all limits are the same. A connection beyond them is closed with code 1013.
    ///
    /// `address` is the client's own, as far as it is known: what the request says of proxies is for the caller to judge.
    /// The example `axum` shows the other half.
    pub fn serve_upgraded<S>(&self, stream: S, address: Option<IpAddr>) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::serve(address, Box::pin(handshake::connect_upgraded(Arc::clone(&self.hub), stream, address)))
    }

    /// What happens and has happened.
    pub fn stats(&self) -> ServerStats {
        self.hub.stats()
    }

    /// Ends all connections with close frames and takes no new ones. Returns at once: each stream's
    /// [future](Self::serve) ends with it.
    pub fn stop(&self) {
        self.hub.stopping.cancel();
    }
}

/// A WebTorrent tracker on one TCP port or several, over `ws://` unless a listener has TLS.
///
/// It serves WebSocket clients on every path and from every origin. For plain HTTP, there are
/// [statistics](ServerStats::to_json) at `/stats.json`, `/health` for load balancers, a word to people at `/`, and
/// [files](StaticFiles) of the program's own. See [`Swarms`](crate::Swarms) for what it does with messages, and [`ServerConfig`] for its limits. Dropping it stops it too,
/// without waiting for anything.
///
/// ```
/// use p2pt_tracker::{ServerConfig, TrackerServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await?;
/// println!("announce at {}", server.url());
/// assert_eq!(server.stats().swarms.peers, 0);
/// server.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it stops the tracker"]
pub struct TrackerServer {
    service: TrackerService,
    /// In the order of the listeners, and never none; with the schemes of their URLs.
    local_addrs: Vec<SocketAddr>,
    schemes: Vec<&'static str>,
    /// They outlive the server that is dropped, until they have closed its connections.
    accepting: Vec<JoinHandle<()>>,
}

impl TrackerServer {
    /// Listens on `addr`; port 0 takes a free one. Clients are served from when this returns until
    /// [`shutdown`](Self::shutdown) or drop. [`start`](Self::start) is for several ports, TLS and what else a
    /// [`TrackerListener`] can be.
    ///
    /// Each connection takes a descriptor. If the limit of open files leaves room for fewer than
    /// [`max_connections`](crate::SwarmsConfig::max_connections) and [`max_handshakes`](ServerConfig::max_handshakes), with
    /// an eighth of it kept for the rest of the process (at least 16 and at most 128), these are lowered, with a warning
    /// that names the numbers, and [an address](ServerConfig::max_connections_per_address) has half of them at most.
    /// [`raise_descriptor_limit`] raises the limit beforehand.
    ///
    /// # Errors
    ///
    /// If the address cannot be resolved or listened on, which the error names, or if the limit of open files leaves no room
    /// for a client.
    pub async fn bind(addr: impl ToSocketAddrs, config: ServerConfig) -> io::Result<Self> {
        // Before the listener takes one of few descriptors, so that the error is about their limit.
        let config = descriptors::fit(config)?;
        Self::start([TrackerListener::bind(addr).await?], config)
    }

    /// Serves the clients of all these listeners, within one set of limits.
    ///
    /// # Errors
    ///
    /// If there is no listener, or one that expects the PROXY protocol while no proxy is trusted, so that it could serve no
    /// socket, or if the limit of open files leaves no room for a client.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time enabled.
    pub fn start(listeners: impl IntoIterator<Item = TrackerListener>, config: ServerConfig) -> io::Result<Self> {
        let listeners: Vec<_> = listeners.into_iter().collect();
        if listeners.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a tracker needs an address to listen on"));
        }
        if config.trusted_proxies.is_empty() && listeners.iter().any(TrackerListener::expects_proxy) {
            let text = "a port expects the PROXY protocol, and no proxy is trusted to speak it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let config = descriptors::fit(config)?;
        let local_addrs: Vec<_> = listeners.iter().map(TrackerListener::local_addr).collect();
        let schemes = listeners.iter().map(TrackerListener::scheme).collect();
        let service = TrackerService::new(config);
        let limits = &service.hub.config;
        let limit = limits.swarms.max_connections.saturating_add(limits.max_handshakes);
        let mut accepting = Vec::new();
        let (operator, public): (Vec<_>, Vec<_>) = listeners.into_iter().partition(TrackerListener::is_metrics);
        for (listeners, limit) in [(public, limit), (operator, MAX_OPERATOR_SOCKETS)] {
            if !listeners.is_empty() {
                accepting.push(tokio::spawn(accept(listeners, Arc::clone(&service.hub), limit)));
            }
        }
        for local_addr in &local_addrs {
            tracing::info!(%local_addr, "tracker listens");
        }
        Ok(Self { service, local_addrs, schemes, accepting })
    }

    /// The address listened on; of several, the first.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs[0]
    }

    /// The addresses listened on, in the order of the listeners.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The announce URL for peers on this machine, such as `ws://127.0.0.1:8000`; of several, that of the first listener.
    /// A server that listens on all addresses is named by the loopback one. For a listener with TLS it begins with
    /// `wss://`, and peers that are to trust it use a name that is in the certificate instead.
    pub fn url(&self) -> AnnounceUrl {
        let ip = match self.local_addr().ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // Made anew, since a URL has no place for an address's scope.
        let addr = SocketAddr::new(ip, self.local_addr().port());
        let scheme = self.schemes[0];
        AnnounceUrl::parse(&format!("{scheme}://{addr}")).expect("an address with a port makes an announce URL")
    }

    /// What happens and has happened.
    pub fn stats(&self) -> ServerStats {
        self.service.stats()
    }

    /// Stops listening, ends all connections with close frames (code 1001), and waits for them, at most twice
    /// [`close_timeout`](ServerConfig::close_timeout).
    pub async fn shutdown(self) {
        self.service.stop();
        for accepting in self.accepting {
            if let Err(error) = accepting.await {
                tracing::error!(%error, "the tracker's accept loop panicked");
            }
        }
    }
}

/// Accepts and owns the connections, at most `limit`, until the tracker stops, then waits for them to end.
async fn accept(listeners: Vec<TrackerListener>, hub: Arc<Hub>, limit: usize) {
    let stopping: CancellationToken = hub.stopping.clone();
    let mut connections = JoinSet::new();
    let mut failures = Tally::new(Instant::now().into_std(), 1);
    let mut left_out = 0_u64;
    let mut turn = 0;
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a tracker connection panicked");
                }
            }
            accepted = listener::accept(&listeners, &mut turn) => match accepted {
                (_, Ok((_, peer))) if connections.len() >= limit => {
                    connection::span(Some(peer.ip())).in_scope(|| hub.refusals.count(Refused::Sockets));
                }
                (listener, Ok((stream, peer))) => {
                    if let Some(served) = listener.serve(&hub, stream, peer.ip()) {
                        connections.spawn(served);
                    }
                }
                (listener, Err(error)) => {
                    // Once a minute: clients cause it, and it comes back ten times a second while they do.
                    if failures.add(Instant::now().into_std()) == Verdict::Within {
                        let left_out = std::mem::take(&mut left_out);
                        tracing::warn!(%error, local_addr = %listener.local_addr(), left_out, "cannot accept a socket");
                    } else {
                        left_out += 1;
                    }
                    tokio::select! {
                        () = stopping.cancelled() => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
        }
    }
    drop(listeners);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(hub.config.close_timeout * 2, ended).await.is_err() {
        tracing::warn!(left = connections.len(), "dropping connections that did not end in time");
        connections.shutdown().await;
    }
}
