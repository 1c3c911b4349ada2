//! Limits and times of [`Swarms`](super::Swarms).

use std::time::Duration;

use crate::setters::setters;

/// Times and limits of [`Swarms`](super::Swarms). Every limit refuses what goes beyond it with a failure frame that
/// says so; none of them closes a connection except [`max_bad_frames`](Self::max_bad_frames).
///
/// Start from [`SwarmsConfig::default`] and set what is to differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwarmsConfig {
    /// How long replies ask peers to wait between announces. Sent in whole seconds. Default 120 s, as bittorrent-tracker,
    /// aquatic and openwebtorrent-tracker.
    pub interval: Duration,
    /// A member that neither announces nor answers for this long leaves its swarm, though its connection remains open.
    /// `None`, the default, is 2.5 × [`interval`](Self::interval): one lost announce is forgiven.
    pub peer_expiry: Option<Duration>,
    /// How long a forwarded offer may be answered. Default 120 s, as aquatic; JavaScript peers give up after 50 s.
    pub offer_lifetime: Duration,
    /// How long the connection that holds a peer id has to show that it lives once another one claims the id.
    /// Default 5 s.
    pub claim_timeout: Duration,
    /// What scrape replies name as `min_request_interval`. Default 600 s, as bittorrent-tracker.
    pub scrape_interval: Duration,
    /// Open connections. Default 10 000.
    pub max_connections: usize,
    /// Swarms with at least one member. Default 100 000.
    pub max_swarms: usize,
    /// Members of all swarms; a peer in two swarms counts twice. Default 250 000, 25 for each connection.
    pub max_peers: usize,
    /// Members of one swarm. Default 10 000.
    pub max_peers_per_swarm: usize,
    /// One address has at most one part in so many of [`max_swarms`](Self::max_swarms), of
    /// [`max_peers`](Self::max_peers), of [`max_peers_per_swarm`](Self::max_peers_per_swarm) and of
    /// [`max_pending_claims`](Self::max_pending_claims), however full or empty the tracker is. Of the first three it may
    /// have as many as [a single connection](Self::max_memberships_per_connection) in any case, so that a tracker with
    /// small limits has no shares. The addresses of an IPv6 /64 count as one, and a connection without an address counts
    /// as one for itself.
    ///
    /// Default 8: 12 500 swarms, 31 250 members and 1250 of them in one swarm, so that 1000 clients behind one address
    /// may have 31 torrents each. 1 is for a tracker that **sees all clients behind one address**, such as a reverse
    /// proxy that does not tell theirs; a server then counts no messages by address either.
    pub address_share: u32,
    /// Memberships of one connection, over all swarms. Default 1000: a client shares one socket among all its torrents.
    pub max_memberships_per_connection: usize,
    /// Peer ids of one connection in the same swarm. Default 4: JavaScript clients in one process share a socket.
    pub max_peer_ids_per_swarm: usize,
    /// Offers forwarded for one announce; the surplus vanishes. Default 20, as wt-tracker.
    pub max_offers_per_announce: usize,
    /// Offers of one member that may still be answered; more vanish until some are [too old](Self::offer_lifetime).
    /// Default 250: in a swarm that forms, the client of this crate makes ten every three seconds for a minute.
    pub max_open_offers_per_peer: usize,
    /// Info hashes in one scrape request, and swarms in the reply to a scrape of everything. Default 255, as aquatic.
    pub max_scraped_swarms: usize,
    /// Announces that wait for [`claim_timeout`](Self::claim_timeout), over all connections. Default 256.
    pub max_pending_claims: usize,
    /// Undecodable frames in a row after which a connection is closed. Default 16.
    pub max_bad_frames: u32,
}

setters!(SwarmsConfig {
    interval: Duration,
    peer_expiry: Option<Duration>,
    offer_lifetime: Duration,
    claim_timeout: Duration,
    scrape_interval: Duration,
    max_connections: usize,
    max_swarms: usize,
    max_peers: usize,
    max_peers_per_swarm: usize,
    address_share: u32,
    max_memberships_per_connection: usize,
    max_peer_ids_per_swarm: usize,
    max_offers_per_announce: usize,
    max_open_offers_per_peer: usize,
    max_scraped_swarms: usize,
    max_pending_claims: usize,
    max_bad_frames: u32,
});

impl Default for SwarmsConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(120),
            peer_expiry: None,
            offer_lifetime: Duration::from_secs(120),
            claim_timeout: Duration::from_secs(5),
            scrape_interval: Duration::from_secs(600),
            max_connections: 10_000,
            max_swarms: 100_000,
            max_peers: 250_000,
            max_peers_per_swarm: 10_000,
            address_share: 8,
            max_memberships_per_connection: 1000,
            max_peer_ids_per_swarm: 4,
            max_offers_per_announce: 20,
            max_open_offers_per_peer: 250,
            max_scraped_swarms: 255,
            max_pending_claims: 256,
            max_bad_frames: 16,
        }
    }
}

impl SwarmsConfig {
    /// How long a silent member remains one.
    pub(super) fn expiry(&self) -> Duration {
        self.peer_expiry.unwrap_or_else(|| self.interval.saturating_mul(5) / 2)
    }

    pub(super) fn swarms_of_an_address(&self) -> usize {
        self.share(self.max_swarms, self.max_memberships_per_connection)
    }

    pub(super) fn peers_of_an_address(&self) -> usize {
        self.share(self.max_peers, self.max_memberships_per_connection)
    }

    pub(super) fn peers_of_an_address_in_a_swarm(&self) -> usize {
        self.share(self.max_peers_per_swarm, self.max_memberships_per_connection)
    }

    pub(super) fn claims_of_an_address(&self) -> usize {
        self.share(self.max_pending_claims, 1)
    }

    /// An address's share of what all together have, at least `least`.
    fn share(&self, all: usize, least: usize) -> usize {
        let parts = usize::try_from(self.address_share.max(1)).unwrap_or(usize::MAX);
        (all / parts).max(least)
    }
}
