//! What the tests of the emulator share.

use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{Host, Path};
use crate::webrtc::{DatagramSocket, Received};

/// More than any datagram takes in these tests.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A line that delays by so many milliseconds.
pub(super) fn delayed(millis: u64) -> Path {
    Path::default().delay(ms(millis))
}

pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A socket of a test.
#[derive(Debug, Clone)]
pub(super) struct Probe(pub(super) Arc<dyn DatagramSocket>);

impl Probe {
    /// Binds to a port of the host's first address.
    pub(super) fn bind(host: &Host, port: u16) -> Self {
        let address = host.address().expect("an address");
        Self::bind_to(host, SocketAddr::new(address, port)).expect("a free port")
    }

    pub(super) fn bind_to(host: &Host, address: SocketAddr) -> io::Result<Self> {
        host.network().bind(address, 1 << 20).map(Self)
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.0.local_addr()
    }

    pub(super) fn send(&self, remote: SocketAddr, text: &str) {
        self.0.try_send(remote, text.as_bytes(), text.len()).expect("sent");
    }

    /// The next datagram and its sender.
    pub(super) async fn next(&self) -> (SocketAddr, Vec<u8>) {
        self.within(PATIENCE).await.expect("a datagram in time")
    }

    /// The next datagram and its sender, if it comes in time.
    pub(super) async fn within(&self, wait: Duration) -> Option<(SocketAddr, Vec<u8>)> {
        timeout(wait, self.receive()).await.ok()
    }

    /// All datagrams that come until none comes for long, each with when it came.
    pub(super) async fn all(&self) -> Vec<(Duration, SocketAddr, Vec<u8>)> {
        let begin = Instant::now();
        let mut all = Vec::new();
        while let Some((remote, data)) = self.within(PATIENCE).await {
            all.push((begin.elapsed(), remote, data));
        }
        all
    }

    async fn receive(&self) -> (SocketAddr, Vec<u8>) {
        let mut buffer = vec![0; 2048];
        let mut received = [Received { remote: self.local(), bytes: 0, segment_bytes: 1 }];
        poll_fn(|cx| self.0.poll_receive(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received))
            .await
            .expect("a datagram");
        let [Received { remote, bytes, segment_bytes }] = received;
        assert_eq!(segment_bytes, bytes.max(1), "one datagram a buffer");
        buffer.truncate(bytes);
        (remote, buffer)
    }

    /// Whether a datagram is there already.
    pub(super) async fn is_ready(&self) -> bool {
        let receive = self.receive();
        let mut receive = std::pin::pin!(receive);
        poll_fn(|cx| Poll::Ready(receive.as_mut().poll(cx).is_ready())).await
    }
}
