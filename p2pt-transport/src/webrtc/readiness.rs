//! A UDP socket in the runtime, which says when it can be received from, and, once it has been full, when it can be sent from.
//!
//! Where there is epoll or kqueue, nothing is said of room for sending unless it is waited for. Each datagram that has left
//! makes room, and would wake the driver for nothing: once for each that another thread has sent.

#[cfg(not(unix))]
pub(super) use other::Readiness;
#[cfg(unix)]
pub(super) use unix::Readiness;

#[cfg(unix)]
#[allow(
    deprecated,
    reason = "`register_with_interest` is unsafe for things that have no descriptor of their own, which a socket has"
)]
mod unix {
    use std::{
        io,
        net::UdpSocket,
        sync::Mutex,
        task::{Context, Poll, ready},
    };

    use tokio::io::{Interest, unix::AsyncFd};

    use super::super::buffers::lock;

    #[derive(Debug)]
    pub(in super::super) struct Readiness {
        readable: AsyncFd<UdpSocket>,
        /// Another descriptor of the same socket, while room for sending is waited for.
        writable: Mutex<Option<AsyncFd<UdpSocket>>>,
    }

    impl Readiness {
        /// Registers a socket that does not block.
        pub(in super::super) fn new(socket: UdpSocket) -> io::Result<Self> {
            Ok(Self { readable: AsyncFd::with_interest(socket, Interest::READABLE)?, writable: Mutex::default() })
        }

        pub(in super::super) fn socket(&self) -> &UdpSocket {
            self.readable.get_ref()
        }

        /// Receives, or waits until that may succeed.
        pub(in super::super) fn poll_receive(
            &self,
            cx: &mut Context<'_>,
            mut receive: impl FnMut() -> io::Result<usize>,
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut is_readable = ready!(self.readable.poll_read_ready(cx))?;
                if let Ok(received) = is_readable.try_io(|_| receive()) {
                    return Poll::Ready(received);
                }
            }
        }

        /// Sends, whether or not there is room.
        pub(in super::super) fn try_send(&self, send: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
            send()
        }

        /// Waits until sending may succeed.
        pub(in super::super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut writable = lock(&self.writable);
            if writable.is_none() {
                *writable = Some(AsyncFd::with_interest(self.socket().try_clone()?, Interest::WRITABLE)?);
            }
            let Some(waited_for) = &*writable else { return Poll::Ready(Ok(())) };
            ready!(waited_for.poll_write_ready(cx))?.retain_ready();
            *writable = None;
            Poll::Ready(Ok(()))
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::{
        io,
        task::{Context, Poll, ready},
    };

    use tokio::{io::Interest, net::UdpSocket};

    #[derive(Debug)]
    pub(in super::super) struct Readiness(UdpSocket);

    impl Readiness {
        /// Registers a socket that does not block.
        pub(in super::super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
            Ok(Self(UdpSocket::from_std(socket)?))
        }

        pub(in super::super) fn socket(&self) -> &UdpSocket {
            &self.0
        }

        /// Receives, or waits until that may succeed.
        pub(in super::super) fn poll_receive(
            &self,
            cx: &mut Context<'_>,
            mut receive: impl FnMut() -> io::Result<usize>,
        ) -> Poll<io::Result<usize>> {
            loop {
                ready!(self.0.poll_recv_ready(cx))?;
                match self.0.try_io(Interest::READABLE, &mut receive) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => return Poll::Ready(received),
                }
            }
        }

        /// Sends, unless it is known that there is no room.
        pub(in super::super) fn try_send(&self, send: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
            self.0.try_io(Interest::WRITABLE, send)
        }

        /// Waits until sending may succeed.
        pub(in super::super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0.poll_send_ready(cx)
        }
    }
}
