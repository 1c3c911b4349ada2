//! Limits and times of a tracker's connections.

use std::time::Duration;

use super::{ForwardedHeader, Network, StaticFiles, throttle::Rate};
use crate::{setters::setters, swarms::SwarmsConfig};

/// Limits and times of a [`TrackerServer`](super::TrackerServer) or [`TrackerService`](super::TrackerService). Start
/// from [`ServerConfig::default`], which suits a public tracker, and set what is to differ.
///
/// Memory is bounded by `swarms.max_connections` × (2 × `max_message_bytes` + `max_queued_bytes` + a few KiB), which only
/// a crowd of hostile clients could reach; an idle connection takes 1.6 KiB of the heap, and a member of a swarm of its own
/// 1.1 KiB more.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// What concerns swarms rather than sockets, among it how many connections may be open.
    pub swarms: SwarmsConfig,
    /// Decides which members get which offers. `None`, the default, draws a new one at each start; tests set it.
    pub seed: Option<u64>,
    /// The largest message taken from a client; a larger one closes its connection with code 1009. Default 128 KiB:
    /// aquatic, wt-tracker and openwebtorrent-tracker take 64 KiB, a JavaScript announce has about 4.
    pub max_message_bytes: usize,
    /// How many messages a second a connection may cause in the long run: those it sends, or what the tracker sends
    /// because of them if that is more, such as each offer forwarded. 4 KiB in either direction count as another one.
    /// Faster ones wait, unread. Default 50, which is three announces with ten offers.
    pub messages_per_second: u32,
    /// How many messages a connection may cause at once before it has to wait. Default 400: a client with many torrents
    /// announces them all when it connects.
    pub message_burst: u32,
    /// How many messages a second all connections of one address together may cause in the long run, counted as for
    /// [`messages_per_second`](Self::messages_per_second); no less than one connection may. If they cause more, each of
    /// them waits, but no longer than if all had an equal part. The addresses of an IPv6 /64 count as one, and a
    /// connection without an address counts for itself alone. An [`address_share`](SwarmsConfig::address_share) of 1 lifts
    /// it. Default 1000, as much as 20 connections: 1000 clients behind
    /// one address cause some 200, each announcing a swarm with ten offers every two minutes and answering ten.
    pub messages_per_second_per_address: u32,
    /// How many messages all connections of one address together may cause at once before they have to wait; no less
    /// than one connection may. To connect is a message too. Default 8000: 600 clients that connect at the same moment
    /// and announce ten offers each.
    pub message_burst_per_address: u32,
    /// How many messages may wait for a connection that reads slowly; one more, and it is dropped. Default 256.
    pub max_queued_messages: usize,
    /// How many bytes may wait for a connection that reads slowly; more, and it is dropped. Default 1 MiB, as
    /// openwebtorrent-tracker.
    pub max_queued_bytes: usize,
    /// Sockets of one IP address, in whatever state. Further ones are closed without a word, and get the HTTP status 429
    /// where a proxy says for whom they are. The addresses of an IPv6 /64 count as one. Where descriptors make connections
    /// fewer than configured, it is half of these at most, unless it is [`usize::MAX`]. Default 1000: many clients may
    /// share an address, and **behind a reverse proxy all do** unless it is one of
    /// [`trusted_proxies`](Self::trusted_proxies). If that does not tell theirs, [`usize::MAX`] is right, with an
    /// [`address_share`](SwarmsConfig::address_share) of 1, and the proxy has to count.
    pub max_connections_per_address: usize,
    /// One's own reverse proxies, whose word is taken for the address of a client: it then counts in place of the
    /// proxy's everywhere. They have to set [`forwarded_header`](Self::forwarded_header) themselves, adding to what the
    /// client sent or replacing it, or speak the PROXY protocol to a listener that
    /// [expects it](super::TrackerListener::proxy_protocol). Default none. The header is read from the right past the
    /// addresses of these proxies. Requests without it count for the proxy, and if it has something else than addresses,
    /// they are refused with the status 400.
    pub trusted_proxies: Vec<Network>,
    /// In which header field [`trusted_proxies`](Self::trusted_proxies) name the client. Default `X-Forwarded-For`.
    pub forwarded_header: ForwardedHeader,
    /// What browsers get for plain HTTP, besides what the tracker has itself. Default nothing.
    pub files: StaticFiles,
    /// Sockets beyond `swarms.max_connections` that may be open for a handshake or a plain HTTP request; further ones
    /// are closed without a word. Default 256.
    pub max_handshakes: usize,
    /// How long a client may take to send its HTTP request and read the response, a [file](Self::files) apart. Default
    /// 10 s.
    pub handshake_timeout: Duration,
    /// How long a client may take to read what is written at once: one message, or several that have 16 KiB together, or
    /// 64 KiB of a [file](Self::files). Default 10 s, as aquatic.
    pub write_timeout: Duration,
    /// How often each connection is pinged. Default 30 s: proxies drop what is idle for 60 s.
    pub ping_interval: Duration,
    /// A connection from which nothing came for so long, not even a pong, is closed. Default 75 s, two lost pongs.
    pub idle_timeout: Duration,
    /// How long a client may take to answer a close frame; at most twice this passes in
    /// [`shutdown`](super::TrackerServer::shutdown). Default 2 s.
    pub close_timeout: Duration,
}

setters!(ServerConfig {
    swarms: SwarmsConfig,
    seed: Option<u64>,
    max_message_bytes: usize,
    messages_per_second: u32,
    message_burst: u32,
    messages_per_second_per_address: u32,
    message_burst_per_address: u32,
    max_queued_messages: usize,
    max_queued_bytes: usize,
    max_connections_per_address: usize,
    trusted_proxies: Vec<Network>,
    forwarded_header: ForwardedHeader,
    files: StaticFiles,
    max_handshakes: usize,
    handshake_timeout: Duration,
    write_timeout: Duration,
    ping_interval: Duration,
    idle_timeout: Duration,
    close_timeout: Duration,
});

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            swarms: SwarmsConfig::default(),
            seed: None,
            max_message_bytes: 128 * 1024,
            messages_per_second: 50,
            message_burst: 400,
            messages_per_second_per_address: 1000,
            message_burst_per_address: 8000,
            max_queued_messages: 256,
            max_queued_bytes: 1024 * 1024,
            max_connections_per_address: 1000,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            files: StaticFiles::default(),
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl ServerConfig {
    pub(super) fn connection_rate(&self) -> Rate {
        Rate::new(self.messages_per_second, self.message_burst)
    }

    pub(super) fn address_rate(&self) -> Rate {
        if self.swarms.address_share <= 1 {
            return Rate::new(u32::MAX, u32::MAX);
        }
        Rate::new(
            self.messages_per_second_per_address.max(self.messages_per_second),
            self.message_burst_per_address.max(self.message_burst),
        )
    }
}
