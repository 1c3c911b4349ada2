//! Counts of a server.

use std::time::Duration;

use serde_json::json;

use super::RefusalStats;
use crate::swarms::SwarmsStats;

/// Counts of a tracker, which `GET /stats.json` shows [as JSON](Self::to_json).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Swarms, peers and what passed between them.
    pub swarms: SwarmsStats,
    /// WebSocket connections since the beginning.
    pub connections_opened: u64,
    /// Sockets and handshakes turned away because there were too many.
    pub connections_refused: u64,
    /// Everything turned away, by reason.
    pub refused: RefusalStats,
    /// Connections dropped because they did not read what was sent to them.
    pub slow_readers_dropped: u64,
    /// Time since the start.
    pub uptime: Duration,
}

impl ServerStats {
    /// One JSON object. `torrents` and the names that begin with `peers` are those of bittorrent-tracker's
    /// `/stats.json`; `uptime` is in seconds.
    pub fn to_json(&self) -> String {
        let Self { swarms, .. } = self;
        json!({
            "torrents": swarms.swarms,
            "activeTorrents": swarms.swarms,
            "peersAll": swarms.peers,
            "peersSeederOnly": swarms.seeders,
            "peersLeecherOnly": swarms.peers - swarms.seeders,
            "peersExpired": swarms.peers_expired,
            "connections": swarms.connections,
            "connectionsOpened": self.connections_opened,
            "connectionsRefused": self.connections_refused,
            "connectionsEvicted": swarms.connections_evicted,
            "slowReadersDropped": self.slow_readers_dropped,
            "announces": swarms.announces,
            "scrapes": swarms.scrapes,
            "offersForwarded": swarms.offers_forwarded,
            "answersForwarded": swarms.answers_forwarded,
            "failures": swarms.failures,
            "refusedByShare": swarms.refused_by_share,
            "uptime": self.uptime.as_secs(),
        })
        .to_string()
    }
}
