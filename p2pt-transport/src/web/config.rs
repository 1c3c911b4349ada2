//! What can be set.

use std::time::Duration;

use crate::{DEFAULT_STUN_SERVERS, IcePolicy, IceServer};

/// The largest frame this backend can be made to send or receive, in bytes: what Chromium takes at most.
pub const MAX_FRAME_BYTES: usize = 262_144;

/// The largest frame unless configured, as in the native backend.
const DEFAULT_FRAME_BYTES: usize = 98_304;

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
    /// The STUN and TURN servers, instead of [`DEFAULT_STUN_SERVERS`]. Browsers take relays over TCP and TLS too
    /// (`turn:host?transport=tcp`, `turns:host`).
    pub fn ice_servers(mut self, servers: impl IntoIterator<Item = IceServer>) -> Self {
        self.ice_servers = servers.into_iter().collect();
        self
    }

    /// No STUN and no TURN: only peers that can reach this machine's own addresses will connect.
    pub fn without_ice_servers(self) -> Self {
        self.ice_servers([])
    }

    /// Which paths may be used.
    pub fn ice_policy(mut self, policy: IcePolicy) -> Self {
        self.ice_policy = policy;
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

    /// How long an offer stays usable while it waits for its answer. 120 s by default, which is as long as the strictest
    /// public tracker passes answers on.
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// How long `open` waits for the channel. 30 s by default. Of that, finding a path may take half, and setting up the
    /// encrypted session on it a third.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
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

    /// How long a graceful close waits without progress: for what was accepted to be sent, then for the other side to
    /// close too. 2 s by default.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How many bytes may be accepted for sending that the browser has not sent, per connection. 2 MiB by default, and at
    /// most 8 MiB. Each frame counts as 1,800 bytes more than it has, since small ones take time rather than memory.
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

    /// The largest frame sent or received, which is announced to the other side as `a=max-message-size`.
    /// 96 KiB by default; at most [`MAX_FRAME_BYTES`], and at least 64 KiB, which a peer without that line may send.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes.clamp(65_536, MAX_FRAME_BYTES);
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
