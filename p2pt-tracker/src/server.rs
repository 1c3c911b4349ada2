//! The tracker as a server: sockets around [`Swarms`](crate::Swarms).

mod addresses;
mod config;
mod connection;
mod descriptors;
mod http;
mod hub;
mod send_queue;
mod stats;
mod throttle;
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
    net::{TcpListener, ToSocketAddrs},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{addresses::Addresses, hub::Hub};
pub use self::{config::ServerConfig, descriptors::raise_descriptor_limit, stats::ServerStats};
use crate::AnnounceUrl;

/// How long to wait after the operating system refused a new socket, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        connection::serve(Arc::clone(&self.hub), stream, None)
    }

    /// Serves one byte stream that comes from this address, as [`serve`](Self::serve) does. Offers are handed out by
    /// address first, so that a single host that makes up many members keeps no others apart, and an address has a
    /// [share](crate::SwarmsConfig::address_share) and a [rate](ServerConfig::messages_per_second_per_address). A stream
    /// without an address counts as one for itself.
    pub fn serve_from<S>(&self, address: IpAddr, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::serve(Arc::clone(&self.hub), stream, Some(address))
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

/// A WebTorrent tracker on a TCP port, over `ws://`.
///
/// It serves WebSocket clients on every path and from every origin, and [statistics](ServerStats::to_json) at
/// `/stats.json` for plain HTTP. See [`Swarms`](crate::Swarms) for what it does with messages, and [`ServerConfig`]
/// for its limits. Dropping it stops it too, without waiting for anything.
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
    local_addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TrackerServer {
    /// Listens on `addr`; port 0 takes a free one. Clients are served from when this returns until
    /// [`shutdown`](Self::shutdown) or drop.
    ///
    /// Each connection takes a descriptor. If the limit of open files leaves room for fewer than
    /// [`max_connections`](crate::SwarmsConfig::max_connections) and [`max_handshakes`](ServerConfig::max_handshakes), with
    /// an eighth of it kept for the rest of the process (at least 16 and at most 128), these are lowered, with a warning
    /// that names both numbers. [`raise_descriptor_limit`] raises the limit beforehand.
    ///
    /// # Errors
    ///
    /// If the address cannot be resolved or listened on, or the limit of open files leaves no room for a client.
    pub async fn bind(addr: impl ToSocketAddrs, config: ServerConfig) -> io::Result<Self> {
        let config = descriptors::fit(config)?;
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let service = TrackerService::new(config);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&service.hub)));
        tracing::info!(%local_addr, "tracker listens");
        Ok(Self { service, local_addr, accepting })
    }

    /// The address listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The announce URL for peers on this machine, such as `ws://127.0.0.1:8000`. A server that listens on all
    /// addresses is named by the loopback one.
    pub fn url(&self) -> AnnounceUrl {
        let ip = match self.local_addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // Made anew, since a URL has no place for an address's scope.
        let addr = SocketAddr::new(ip, self.local_addr.port());
        AnnounceUrl::parse(&format!("ws://{addr}")).expect("an address with a port makes an announce URL")
    }

    /// What happens and has happened.
    pub fn stats(&self) -> ServerStats {
        self.service.stats()
    }

    /// Stops listening, ends all connections with close frames (code 1001), and waits for them, at most twice
    /// [`close_timeout`](ServerConfig::close_timeout).
    pub async fn shutdown(self) {
        self.service.stop();
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the tracker's accept loop panicked");
        }
    }
}

/// Accepts and owns the connections until the tracker stops, then waits for them to end.
async fn accept(listener: TcpListener, hub: Arc<Hub>) {
    let limit = hub.config.swarms.max_connections.saturating_add(hub.config.max_handshakes);
    let addresses = Addresses::new(hub.config.max_connections_per_address);
    let stopping: CancellationToken = hub.stopping.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a tracker connection panicked");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= limit => hub.count_refused(),
                Ok((stream, peer)) => {
                    let Some(place) = addresses.take(peer.ip()) else {
                        hub.count_refused();
                        continue;
                    };
                    // Frames are written whole, so waiting for more to send only costs time.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "no TCP_NODELAY");
                    }
                    let served = connection::serve(Arc::clone(&hub), stream, Some(peer.ip()));
                    connections.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a socket");
                    tokio::select! {
                        () = stopping.cancelled() => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(hub.config.close_timeout * 2, ended).await.is_err() {
        tracing::warn!(left = connections.len(), "dropping connections that did not end in time");
        connections.shutdown().await;
    }
}
