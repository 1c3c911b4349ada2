//! The async runtime handed to the `webrtc` crate: Tokio, with big socket buffers, sleeps that can be cut short, and
//! sockets that tell when they hear something.

use std::{
    future::Future,
    io::{self, IoSliceMut},
    net::{SocketAddr, TcpListener, UdpSocket},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::SockRef;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use super::{
    crew::Crew,
    early::Early,
    flow::LARGEST_WINDOW,
    pulse::{Pulse, lock},
    receive::{Buffers, PART_DATAGRAMS, Received},
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One connection's runtime.
#[derive(Debug)]
pub(super) struct PulsedRuntime {
    pub(super) pulse: Arc<Pulse>,
    /// Until the driver is spawned.
    pub(super) crew: Mutex<Option<Arc<Crew>>>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) socket_buffer_bytes: usize,
}

impl Runtime for PulsedRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        // The first is the driver; the stack has others only for TCP, which is not used.
        match lock(&self.crew).take() {
            Some(crew) => TokioRuntime.spawn(Box::pin(crew.task(future))),
            None => TokioRuntime.spawn(future),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        enlarge_buffers(&socket, self.socket_buffer_bytes);
        let number = self.pulse.resume.add_socket();
        Ok(Arc::new(PulsedSocket {
            inner: TokioRuntime.wrap_udp_socket(socket)?,
            pulse: self.pulse.clone(),
            buffers: self.buffers.clone(),
            received: Received::default(),
            early: Early::default(),
            number,
        }))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, remote_addr: SocketAddr) -> BoxFuture<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let pulse = self.pulse.clone();
        Box::pin(async move { pulse.sleep(duration).await })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: BoxFutureLocal<'_>) {
        TokioRuntime.block_on(future);
    }

    /// Does not: the stack's sends would wait here after having taken a frame, and `Stack::hand_over_now` must know
    /// whether they have. They are few at a time, as the outbox is small.
    fn yield_now(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn name(&self) -> &'static str {
        "tokio"
    }
}

type BoxFutureLocal<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A UDP socket that reports what it hears.
#[derive(Debug)]
struct PulsedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    pulse: Arc<Pulse>,
    buffers: Arc<Buffers>,
    received: Received,
    early: Early,
    number: usize,
}

impl PulsedSocket {
    /// What has been received, or was kept before and has its time now.
    fn receive(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let ([buf, ..], [meta, ..]) = (&mut *bufs, &mut *meta)
                && self.early.hand_over(&self.pulse.stage, buf, meta)
            {
                return Poll::Ready(Ok(1));
            }
            // An error is no sign of life: Windows reports the unreachable port of a peer that is gone.
            let datagrams = ready!(self.received.poll(cx, &*self.inner, &self.buffers, bufs, meta))?;
            self.pulse.datagram();
            let ([buf, ..], [meta, ..]) = (&*bufs, &*meta) else { return Poll::Ready(Ok(datagrams)) };
            self.pulse.passes_by(buf.first());
            if !self.early.keeps(&self.pulse.stage, &buf[..meta.len], meta) {
                return Poll::Ready(Ok(datagrams));
            }
        }
    }
}

impl AsyncUdpSocket for PulsedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.pulse.passes_by(transmit.contents.first());
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let resume = &self.pulse.resume;
        // Only something that is there is held: were the socket not asked, the driver would have to be woken to ask it, once
        // for each message.
        let nothing = resume.is_behind() && self.received.poll_ready(cx, &*self.inner, &self.buffers).is_pending();
        if !nothing
            && !resume.holds(self.number, cx.waker())
            && let Poll::Ready(received) = self.receive(cx, bufs, meta)
        {
            return Poll::Ready(received);
        }
        if resume.hand_over(self.number, cx.waker(), bufs, meta) { Poll::Ready(Ok(1)) } else { Poll::Pending }
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments().min(PART_DATAGRAMS)
    }
}

/// Asks for buffers of `bytes`. The system grants what it allows; see [`receive_window`].
fn enlarge_buffers(socket: &UdpSocket, bytes: usize) {
    let socket = SockRef::from(socket);
    // Refusal leaves the default, which works, slowly.
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
}

/// The SCTP receive window that fits the socket buffers this system grants, in bytes.
///
/// The stack sends a whole window unpaced; what the receiving socket cannot hold is lost and costs retransmission
/// time-outs of a second. Linux reports twice the payload a buffer holds, and counts about twice a datagram's size
/// against it, hence the quarter. The window must hold the largest frame, and not too many of the smallest.
pub(super) fn receive_window(asked_bytes: usize, max_frame_bytes: usize) -> u32 {
    let granted = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| {
            enlarge_buffers(&socket, asked_bytes);
            SockRef::from(&socket).recv_buffer_size()
        })
        .unwrap_or(0);
    let window = (granted / 4).clamp(max_frame_bytes * 3 / 2, LARGEST_WINDOW);
    if window < LARGEST_WINDOW {
        tracing::debug!(
            granted,
            window,
            "small UDP buffers limit throughput; on Linux raise net.core.rmem_max and wmem_max to {asked_bytes}"
        );
    }
    u32::try_from(window).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A socket whose peer is gone, as Windows reports it.
    #[derive(Debug)]
    struct Unreachable;

    impl AsyncUdpSocket for Unreachable {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn poll_send(&self, _: &mut Context<'_>, _: &Transmit<'_>) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn max_gso_segments(&self) -> usize {
            1
        }

        fn max_gro_segments(&self) -> usize {
            1
        }
    }

    #[test]
    fn an_error_is_no_sign_of_life() {
        let pulse = Arc::new(Pulse::new());
        let number = pulse.resume.add_socket();
        let socket = PulsedSocket {
            inner: Arc::new(Unreachable),
            pulse: pulse.clone(),
            buffers: Arc::default(),
            received: Received::default(),
            early: Early::default(),
            number,
        };
        let received = socket.poll_recv(
            &mut Context::from_waker(Waker::noop()),
            &mut [IoSliceMut::new(&mut [0; 2000])],
            &mut [RecvMeta::default()],
        );
        assert!(matches!(received, Poll::Ready(Err(_))));
        assert_eq!(pulse.heard(), 0);
    }
}
