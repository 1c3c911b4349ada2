//! The network as the driver sees it: a trait for sockets, and the one made of the system's.

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::readiness::Readiness;

/// A network on which a transport binds its sockets: the system's, or one that exists in memory.
pub trait Network: fmt::Debug + Send + Sync {
    /// The addresses of this host, each with port 0, IPv6 link-local ones with their scope. They are read again
    /// while the transport lives, because hosts change networks.
    ///
    /// # Errors
    /// When the system does not tell.
    fn addresses(&self) -> io::Result<Vec<SocketAddr>>;

    /// Binds a socket and asks for send and receive buffers of `buffer_bytes`; the system may grant less.
    ///
    /// # Errors
    /// Those of binding: the address is in use, or not this host's.
    fn bind(&self, address: SocketAddr, buffer_bytes: usize) -> io::Result<Arc<dyn DatagramSocket>>;

    /// The addresses of `host:port`. Unless a network implements it, it knows no names: addresses alone are understood.
    fn resolve(&self, host_and_port: String) -> Resolving {
        let address = host_and_port.parse().map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "no names here"));
        Box::pin(std::future::ready(address.map(|address| vec![address])))
    }
}

/// The result of a look-up under way.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A bound UDP socket. One task drives it.
pub trait DatagramSocket: fmt::Debug + Send + Sync {
    /// Where it is bound, with the port it was given, and the scope if the address has one.
    fn local_addr(&self) -> SocketAddr;

    /// The size of its receive buffer in bytes, as granted.
    fn receive_buffer_bytes(&self) -> usize;

    /// Receives into `buffers`, one sender's datagrams each, and says in `received` what each of them holds. Returns how
    /// many buffers were filled, or registers the task to be woken.
    ///
    /// # Errors
    /// Errors of single datagrams (an ICMP message that came back) are no errors of the socket, and the caller goes on.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>>;

    /// Sends `contents` to `remote`, cut into datagrams of `segment_bytes` of which the last may be shorter.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when the send buffer is full: wait by
    /// [`poll_writable`](Self::poll_writable). Any other error loses the datagrams, as a network may.
    fn try_send(&self, remote: SocketAddr, contents: &[u8], segment_bytes: usize) -> io::Result<()>;

    /// Waits until sending may succeed.
    ///
    /// # Errors
    /// When the socket is of no more use.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// How many datagrams one [`try_send`](Self::try_send) may carry; at least 1, which it is unless implemented.
    fn max_segments(&self) -> usize {
        1
    }
}

/// What one buffer of [`DatagramSocket::poll_receive`] holds.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// The sender.
    pub remote: SocketAddr,
    /// How many bytes of the buffer are filled.
    pub bytes: usize,
    /// The size of each datagram in it but the last, which may be shorter. Never 0.
    pub segment_bytes: usize,
}

/// The network of the system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemNetwork;

impl Network for SystemNetwork {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let interfaces = rtc_shared::ifaces::ifaces()?;
        Ok(interfaces.into_iter().filter_map(|interface| interface.addr).collect())
    }

    fn bind(&self, address: SocketAddr, buffer_bytes: usize) -> io::Result<Arc<dyn DatagramSocket>> {
        Ok(Arc::new(SystemSocket::bind(address, buffer_bytes)?))
    }

    fn resolve(&self, host_and_port: String) -> Resolving {
        Box::pin(async move { Ok(tokio::net::lookup_host(host_and_port).await?.collect()) })
    }
}

/// A socket of the system, with segmentation offload both ways and batches where the system has them.
#[derive(Debug)]
struct SystemSocket {
    io: Readiness,
    state: quinn_udp::UdpSocketState,
    local: SocketAddr,
}

impl SystemSocket {
    fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        // It does not block from here on.
        let state = quinn_udp::UdpSocketState::new((&socket).into())?;
        // What is granted is read back.
        let _ = state.set_recv_buffer_size((&socket).into(), buffer_bytes);
        let _ = state.set_send_buffer_size((&socket).into(), buffer_bytes);
        let local = socket.local_addr()?;
        Ok(Self { io: Readiness::new(socket)?, state, local })
    }
}

impl DatagramSocket for SystemSocket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn receive_buffer_bytes(&self) -> usize {
        self.state.recv_buffer_size(self.io.socket().into()).unwrap_or(0)
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let mut meta = [quinn_udp::RecvMeta::default(); RECEIVE_BATCH];
        let most = buffers.len().min(received.len()).min(RECEIVE_BATCH);
        let filled = std::task::ready!(self.io.poll_receive(cx, || {
            self.state.recv(self.io.socket().into(), &mut buffers[..most], &mut meta[..most])
        }))?;
        for (received, meta) in received.iter_mut().zip(&meta[..filled]) {
            *received = Received { remote: meta.addr, bytes: meta.len, segment_bytes: meta.stride.max(1) };
        }
        Poll::Ready(Ok(filled))
    }

    fn try_send(&self, remote: SocketAddr, contents: &[u8], segment_bytes: usize) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: remote,
            ecn: None,
            contents,
            segment_size: (segment_bytes < contents.len()).then_some(segment_bytes),
            src_ip: None,
        };
        self.io.try_send(|| self.state.try_send(self.io.socket().into(), &transmit))
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_writable(cx)
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }
}

/// How many buffers are received into at a time.
pub(crate) const RECEIVE_BATCH: usize = 8;
