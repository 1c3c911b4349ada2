//! The system's network with something of a test's in front of its sockets.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use super::socket::{DatagramSocket, Network, Received, Resolving, SystemNetwork};

/// What a test does before the system is asked; by default nothing, so that the system alone decides.
pub(super) trait Intercept: fmt::Debug + Send + Sync + 'static {
    /// The addresses of the host, instead of those of the system.
    fn addresses(&self) -> Option<Vec<SocketAddr>> {
        None
    }

    /// Before a socket is asked how much it holds.
    fn before_buffer_bytes(&self) {}

    /// Before a socket is received from.
    fn before_receive(&self) {}

    /// Before a socket at `local` sends to `remote`.
    ///
    /// # Errors
    /// What the socket is to answer.
    fn before_send(&self, _local: SocketAddr, _remote: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    /// Before a socket at `local` is waited for: whether the wait goes on, in which case the task is to be woken.
    fn before_writable(&self, _local: SocketAddr, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// The system's network behind an [`Intercept`].
#[derive(Debug, Default)]
pub(super) struct Wrapped<I>(pub(super) Arc<I>);

impl<I: Intercept> Network for Wrapped<I> {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.addresses().map_or_else(|| SystemNetwork.addresses(), Ok)
    }

    fn bind(&self, address: SocketAddr, buffer_bytes: usize) -> io::Result<Arc<dyn DatagramSocket>> {
        let socket = SystemNetwork.bind(address, buffer_bytes)?;
        Ok(Arc::new(WrappedSocket { socket, intercept: self.0.clone() }))
    }

    fn resolve(&self, host_and_port: String) -> Resolving {
        SystemNetwork.resolve(host_and_port)
    }
}

#[derive(Debug)]
struct WrappedSocket<I> {
    socket: Arc<dyn DatagramSocket>,
    intercept: Arc<I>,
}

impl<I: Intercept> DatagramSocket for WrappedSocket<I> {
    fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn receive_buffer_bytes(&self) -> usize {
        self.intercept.before_buffer_bytes();
        self.socket.receive_buffer_bytes()
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        self.intercept.before_receive();
        self.socket.poll_receive(cx, buffers, received)
    }

    fn try_send(&self, remote: SocketAddr, contents: &[u8], segment_bytes: usize) -> io::Result<()> {
        self.intercept.before_send(self.local_addr(), remote)?;
        self.socket.try_send(remote, contents, segment_bytes)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.intercept.before_writable(self.local_addr(), cx));
        self.socket.poll_writable(cx)
    }

    fn max_segments(&self) -> usize {
        self.socket.max_segments()
    }
}
