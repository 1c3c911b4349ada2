//! The traits, over the emulated network.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::state::{HostId, State};
use crate::webrtc::{DatagramSocket, Network, Received, Resolving};

/// How long the look-up of a name takes: about as long as that of one which a resolver nearby knows.
const RESOLVING: Duration = Duration::from_millis(20);

/// The lock around the state of the internet.
pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self(Mutex::new(state)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The network as one host sees it.
#[derive(Debug)]
pub(super) struct EmulatedNetwork {
    pub(super) shared: Arc<Shared>,
    pub(super) host: HostId,
}

impl Network for EmulatedNetwork {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let mut state = self.shared.lock();
        let host = state.host(self.host);
        Ok(host.addresses().map(|ip| host.scoped(SocketAddr::new(ip, 0))).collect())
    }

    fn bind(&self, address: SocketAddr, buffer_bytes: usize) -> io::Result<Arc<dyn DatagramSocket>> {
        let mut state = self.shared.lock();
        let host = state.host(self.host);
        if scope(host.scoped(address)) != scope(address) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let config = &host.config;
        let (buffer_bytes, max_segments) = (buffer_bytes.min(config.socket_buffer_bytes), config.max_segments);
        let (key, local) = state.bind(self.host, bare(address), buffer_bytes)?;
        let local = with_scope(local, scope(address));
        drop(state);
        let shared = self.shared.clone();
        Ok(Arc::new(EmulatedSocket { shared, key, local, buffer_bytes, max_segments, timer: Mutex::new(None) }))
    }

    fn resolve(&self, host_and_port: String) -> Resolving {
        let shared = self.shared.clone();
        Box::pin(async move {
            if let Ok(address) = host_and_port.parse() {
                return Ok(vec![address]);
            }
            sleep(RESOLVING).await;
            let (host, port) = host_and_port.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
            let port: u16 = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            let state = shared.lock();
            let ips: &Vec<IpAddr> = state.names.get(host).ok_or(io::ErrorKind::NotFound)?;
            Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
        })
    }
}

/// Without scope and flow label, as the emulator knows addresses.
fn bare(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

fn with_scope(mut address: SocketAddr, scope: u32) -> SocketAddr {
    if let SocketAddr::V6(address) = &mut address {
        address.set_scope_id(scope);
    }
    address
}

/// Whether an address means something only together with an interface.
fn needs_scope(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.ip().is_unicast_link_local())
}

struct EmulatedSocket {
    shared: Arc<Shared>,
    key: usize,
    local: SocketAddr,
    buffer_bytes: usize,
    max_segments: usize,
    /// Fires when the next datagram is due.
    timer: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl fmt::Debug for EmulatedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatedSocket").field("local", &self.local).finish_non_exhaustive()
    }
}

impl EmulatedSocket {
    fn poll_timer(&self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}

impl DatagramSocket for EmulatedSocket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn receive_buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        loop {
            let (next, replaced) = {
                let mut state = self.shared.lock();
                // Read under the lock: the time that the emulator sees never runs backwards.
                let filled = state.receive(self.key, Instant::now(), buffers, received);
                if filled > 0 {
                    for received in received.iter_mut().take(filled).filter(|received| needs_scope(received.remote)) {
                        received.remote = with_scope(received.remote, scope(self.local));
                    }
                    return Poll::Ready(Ok(filled));
                }
                state.wait(self.key, cx.waker())
            };
            drop(replaced);
            match next {
                None => return Poll::Pending,
                Some(due) => ready!(self.poll_timer(cx, due)),
            }
        }
    }

    fn try_send(&self, remote: SocketAddr, contents: &[u8], segment_bytes: usize) -> io::Result<()> {
        let segment_bytes = segment_bytes.clamp(1, contents.len().max(1));
        if contents.len().div_ceil(segment_bytes) > self.max_segments {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if needs_scope(remote) && (scope(remote) == 0 || scope(remote) != scope(self.local)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let remote = bare(remote);
        let contents = Bytes::copy_from_slice(contents);
        // An empty datagram is one, too.
        let starts = (0..contents.len().max(1)).step_by(segment_bytes);
        let mut state = self.shared.lock();
        let now = Instant::now();
        let mut segments = starts.map(|start| contents.slice(start..contents.len().min(start + segment_bytes)));
        // All of them go to one socket, which is woken once.
        let mut woken = None;
        let sent = segments.try_for_each(|segment| {
            woken = state.send(now, self.key, remote, segment)?.or(woken.take());
            Ok(())
        });
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        sent
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn max_segments(&self) -> usize {
        self.max_segments
    }
}

impl Drop for EmulatedSocket {
    fn drop(&mut self) {
        let ended = {
            let mut state = self.shared.lock();
            state.unbind(self.key, Instant::now())
        };
        drop(ended);
    }
}
