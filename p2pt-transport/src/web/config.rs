//! What can be set.

use std::time::Duration;

use crate::webrtc_settings::{DEFAULT_FRAME_BYTES, common_setters};
use crate::{DEFAULT_STUN_SERVERS, IcePolicy, IceServer};

/// The largest frame this backend can be made to send or receive, in bytes: what Chromium takes at most.
pub const MAX_FRAME_BYTES: usize = 262_144;

/// The most that can be set to wait for being sent, in bytes. Chromium refuses to hold more than 16 MiB.
const MAX_SEND_BUFFER_BYTES: usize = 8 << 20;

/// The settings of a [`WebRtc`](super::WebRtc) transport. Start from [`Default`] and change what matters.
///
/// They are those of the native backend that a browser has a use for: it chooses addresses, ports and socket buffers by
/// itself.
#[derive(Debug, Clone)]
#[must_use]
pub struct WebRtcConfig {
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) ice_policy: IcePolicy,
    pub(crate) gather_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) send_buffer_bytes: usize,
    pub(crate) receive_buffer_bytes: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_offers: usize,
}

impl Default for WebRtcConfig {
    fn default() -> Self {
        Self {
            ice_servers: DEFAULT_STUN_SERVERS.into_iter().map(IceServer::stun).collect(),
            ice_policy: IcePolicy::All,
            gather_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(4),
            close_timeout: Duration::from_secs(2),
            send_buffer_bytes: 2 << 20,
            receive_buffer_bytes: 16 << 20,
            max_frame_bytes: DEFAULT_FRAME_BYTES,
            max_connections: 128,
            max_offers: 128,
        }
    }
}

impl WebRtcConfig {
    common_setters!();

    /// The STUN and TURN servers, instead of [`DEFAULT_STUN_SERVERS`]. Browsers take relays over TCP and TLS too
    /// (`turn:host?transport=tcp`, `turns:host`).
    pub fn ice_servers(mut self, servers: impl IntoIterator<Item = IceServer>) -> Self {
        self.ice_servers = servers.into_iter().collect();
        self
    }

    /// How long an offer or answer waits for STUN and TURN servers; what has been found by then is offered.
    ///
    /// 1 s by default, more than in the native backend: a browser asks its servers anew for each connection, and, over a
    /// relay, in several round trips. A server that does not answer delays each offer by so much.
    pub fn gather_timeout(mut self, timeout: Duration) -> Self {
        self.gather_timeout = timeout;
        self
    }

    /// How long nothing may arrive on an open connection before it counts as dead. 4 s by default; at least 1 s.
    ///
    /// The silence must be one in which the browser has asked and got no answer, or which it calls a disconnection itself.
    /// Chromium asks often when an answer is missing, and a peer that was killed is noticed after the timeout and at most
    /// a quarter of it. On an idle path it asks every 2 to 3 s, and something arrives as seldom, so that a shorter timeout
    /// gains little. Firefox does not say how often it has asked; its own word is waited for. The browser is asked
    /// for its counters four times in the timeout.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.max(Duration::from_secs(1));
        self
    }

    /// How many bytes may be accepted for sending that the browser has not sent, per connection. 2 MiB by default, and at
    /// most 8 MiB. Each frame counts as 1,800 bytes more than it has, since small ones take time rather than memory.
    /// A browser does not say when it has sent an empty frame, which counts until a later frame has been sent, or for 1 s.
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer_bytes = bytes.min(MAX_SEND_BUFFER_BYTES);
        self
    }

    /// How many received bytes may wait for their reader, per connection, before the channel ends with
    /// [`ChannelClosed::Overflow`](crate::ChannelClosed::Overflow): a browser cannot make the other side wait. 16 MiB by
    /// default; each frame counts as 64 bytes more than it has.
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = bytes;
        self
    }

    /// How many connections may open or be open at a time. 128 by default. Chromium makes at most 500 for all pages of a
    /// site together, offers that wait among them.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// How many offers may wait for their answers at a time, beside the [connections](Self::max_connections). 128 by
    /// default: unlike in the native backend, each is a connection of the browser. Beyond that offers fail with
    /// [`TooManyConnections`](crate::TransportError::TooManyConnections).
    pub fn max_offers(mut self, max: usize) -> Self {
        self.max_offers = max;
        self
    }
}
