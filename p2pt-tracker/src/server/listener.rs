//! Ports that a tracker listens on.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host},
    time::{Instant, timeout_at},
};

#[cfg(feature = "server-tls")]
use super::ServerTls;
use super::{
    arrival::Arrival, connection, forwarded::is_trusted, handshake::connect, http::Audience, hub::Hub, proxy_protocol,
    refusals::Refused,
};

/// How many sockets may wait to be accepted, as for the listeners of Tokio.
const BACKLOG: i32 = 1024;

/// A TCP port for a [`TrackerServer`](super::TrackerServer), and what is spoken there: `ws://` and plain HTTP unless set
/// otherwise.
///
/// ```
/// use p2pt_tracker::{ServerConfig, TrackerListener, TrackerServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let clients = TrackerListener::bind("127.0.0.1:0").await?;
/// let prometheus = TrackerListener::bind("127.0.0.1:0").await?.metrics();
/// let server = TrackerServer::start([clients, prometheus], ServerConfig::default())?;
/// println!("announce at {}", server.url());
/// # server.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it closes the port"]
pub struct TrackerListener {
    listener: TcpListener,
    local_addr: SocketAddr,
    port: Port,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Default)]
struct Port {
    audience: Audience,
    proxy_protocol: bool,
    #[cfg(feature = "server-tls")]
    tls: Option<ServerTls>,
}

impl TrackerListener {
    /// Listens on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// If the address cannot be resolved or listened on; the error names the address.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let mut error = io::Error::new(io::ErrorKind::InvalidInput, "the name to listen on has no address");
        for addr in lookup_host(addr).await? {
            match Self::bind_one(addr, false) {
                Ok(listener) => return Ok(listener),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// Listens on each of these addresses, in their order.
    ///
    /// The unspecified IPv6 address means IPv4 too on most systems, unless the unspecified IPv4 address is there with the
    /// same port: `[::]:8000` and `0.0.0.0:8000` go together.
    ///
    /// # Errors
    ///
    /// If one cannot be listened on; the error names the address, and none is listened on any more.
    pub fn bind_all(addrs: &[SocketAddr]) -> io::Result<Vec<Self>> {
        let is_any_v4 = |other: &SocketAddr| matches!(other.ip(), IpAddr::V4(ip) if ip.is_unspecified());
        let beside = |addr: &SocketAddr| addrs.iter().any(|other| is_any_v4(other) && other.port() == addr.port());
        let only_v6 =
            |addr: &SocketAddr| addr.is_ipv6() && addr.ip().is_unspecified() && addr.port() != 0 && beside(addr);
        addrs.iter().map(|addr| Self::bind_one(*addr, only_v6(addr))).collect()
    }

    fn bind_one(addr: SocketAddr, only_v6: bool) -> io::Result<Self> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
            // What is left of connections of a tracker that has just ended keeps no new one away. On Windows it would
            // let two programs take the same port.
            #[cfg(not(windows))]
            socket.set_reuse_address(true)?;
            if only_v6 {
                socket.set_only_v6(true)?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&addr.into())?;
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        };
        let listener =
            bind().map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))?;
        Self::from_tcp(listener)
    }

    /// A socket that listens already, for instance one that was handed to this program by another.
    ///
    /// # Errors
    ///
    /// If the socket's address cannot be read.
    pub fn from_tcp(listener: TcpListener) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, port: Port::default() })
    }

    /// Expects a header of the PROXY protocol, version 1 or 2, before anything else on each socket, and takes the address
    /// in it for the client's. Only [trusted proxies](super::ServerConfig::trusted_proxies) may connect here.
    ///
    /// A connection of the proxy itself (the command `LOCAL`), or of a client that it does not know (`UNKNOWN`), counts
    /// for the proxy's address. Such a proxy passes on what its clients write, so that the forwarding header of a
    /// request is read only if the address in the PROXY header is a trusted proxy's in its turn.
    pub fn proxy_protocol(mut self) -> Self {
        self.port.proxy_protocol = true;
        self
    }

    /// Speaks TLS: `wss://` and `https://`.
    #[cfg(feature = "server-tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.port.tls = Some(tls);
        self
    }

    /// Serves the operator rather than peers: `/metrics` for Prometheus, and what else there is for plain HTTP, but no
    /// WebSockets. Its sockets count for no limit of the tracker, which can so be looked at when it is full; 16 may be
    /// open. Every client that reaches the port may read it.
    pub fn metrics(mut self) -> Self {
        self.port.audience = Audience::Operator;
        self
    }

    /// The address listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether it is there for the [operator](Self::metrics).
    pub(super) fn is_metrics(&self) -> bool {
        self.port.audience == Audience::Operator
    }

    /// Whether sockets begin with a header of the PROXY protocol.
    pub(super) fn expects_proxy(&self) -> bool {
        self.port.proxy_protocol
    }

    /// How announce URLs of this port begin.
    pub(super) fn scheme(&self) -> &'static str {
        #[cfg(feature = "server-tls")]
        if self.port.tls.is_some() {
            return "wss";
        }
        "ws"
    }

    /// The future that serves a socket of this port to its end; `None`, and the socket is counted as refused, if its
    /// address may have no more.
    pub(super) fn serve(
        &self,
        hub: &Arc<Hub>,
        stream: TcpStream,
        peer: IpAddr,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let peer = peer.to_canonical();
        let (port, hub) = (self.port.clone(), Arc::clone(hub));
        let arrival = if port.audience == Audience::Operator {
            Ok(Some(Arrival::operator()))
        } else if !port.proxy_protocol {
            Arrival::new(&hub, Some(peer)).map(Some)
        } else if is_trusted(peer, &hub.config.trusted_proxies) {
            Ok(None)
        } else {
            Err(Refused::Proxy)
        };
        match arrival {
            Ok(arrival) => Some(port.serve(hub, stream, peer, arrival)),
            Err(why) => {
                connection::span(Some(peer)).in_scope(|| hub.refusals.count(why));
                None
            }
        }
    }
}

impl Port {
    /// Serves a socket whose arrival is known, unless a header is still to tell it.
    fn serve(
        self,
        hub: Arc<Hub>,
        stream: TcpStream,
        peer: IpAddr,
        arrival: Option<Arrival>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let deadline = Instant::now() + hub.config.handshake_timeout;
        // Frames are written whole, so waiting for more to send only costs time.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        #[cfg(feature = "server-tls")]
        if let Some(tls) = self.tls {
            return connection::serve(
                Some(peer),
                Box::pin(async move {
                    let (stream, arrival) = arrived(&hub, stream, peer, arrival, deadline).await?;
                    let stream = before_http(&hub, deadline, secured(&hub, &tls, stream)).await?;
                    connect(hub, stream, arrival, deadline).await
                }),
            );
        }
        connection::serve(
            Some(peer),
            Box::pin(async move {
                let (stream, arrival) = arrived(&hub, stream, peer, arrival, deadline).await?;
                connect(hub, stream, arrival, deadline).await
            }),
        )
    }
}

/// The socket, and where it comes from, which a header is still to tell if it is not known.
async fn arrived(
    hub: &Hub,
    mut stream: TcpStream,
    peer: IpAddr,
    arrival: Option<Arrival>,
    deadline: Instant,
) -> Option<(TcpStream, Arrival)> {
    let arrival = match arrival {
        Some(arrival) => arrival,
        None => before_http(hub, deadline, proxied(hub, &mut stream, peer)).await?,
    };
    Some((stream, arrival))
}

/// What comes of a step before the HTTP request; `None` if the tracker stops or that takes too long.
async fn before_http<T>(hub: &Hub, deadline: Instant, step: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::select! {
        () = hub.stopping.cancelled() => None,
        done = timeout_at(deadline, step) => done.unwrap_or_else(|_| {
            hub.refusals.count(Refused::Timeout);
            None
        }),
    }
}

/// Reads the header of the PROXY protocol.
async fn proxied(hub: &Hub, stream: &mut TcpStream, proxy: IpAddr) -> Option<Arrival> {
    let arrival = match proxy_protocol::read(stream).await {
        Ok(Ok(source)) => Arrival::proxied(hub, proxy, source),
        Ok(Err(error)) => {
            hub.refusals.complain(proxy, &error);
            Err(Refused::Proxy)
        }
        Err(error) => {
            tracing::debug!(%proxy, %error, "socket lost before its PROXY header");
            return None;
        }
    };
    arrival.map_err(|why| hub.refusals.count(why)).ok()
}

#[cfg(feature = "server-tls")]
async fn secured(hub: &Hub, tls: &ServerTls, stream: TcpStream) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    match tls.accept(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "no TLS connection");
            hub.refusals.count(Refused::Tls);
            None
        }
    }
}

/// The next socket of any of the listeners, and of which. Each gets its turn: the search begins behind the last one.
/// Cancel-safe.
pub(super) async fn accept<'a>(
    listeners: &'a [TrackerListener],
    turn: &mut usize,
) -> (&'a TrackerListener, io::Result<(TcpStream, SocketAddr)>) {
    poll_fn(|cx| {
        for number in 0..listeners.len() {
            let listener = &listeners[(*turn + number) % listeners.len()];
            if let Poll::Ready(accepted) = listener.listener.poll_accept(cx) {
                *turn = (*turn + number + 1) % listeners.len();
                return Poll::Ready((listener, accepted));
            }
        }
        Poll::Pending
    })
    .await
}
