//! What a tracker counts.

/// Counts of [`Swarms`](super::Swarms): the first four are of now, the others since the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwarmsStats {
    /// Open connections.
    pub connections: usize,
    /// Swarms with at least one member.
    pub swarms: usize,
    /// Members of all swarms; a peer in two swarms counts twice.
    pub peers: usize,
    /// Those of [`peers`](Self::peers) that reported that they have everything.
    pub seeders: usize,
    /// Announces that were replied to, `stopped` among them.
    pub announces: u64,
    /// Scrapes that were replied to.
    pub scrapes: u64,
    /// Offers forwarded to a random member.
    pub offers_forwarded: u64,
    /// Answers forwarded to the offerer.
    pub answers_forwarded: u64,
    /// Failure frames sent.
    pub failures: u64,
    /// Announces refused because their address had [its share](super::SwarmsConfig::address_share); among
    /// [`failures`](Self::failures).
    pub refused_by_share: u64,
    /// Members removed because they did not announce again.
    pub peers_expired: u64,
    /// Connections closed because they did not answer a ping while another announced their peer id.
    pub connections_evicted: u64,
}
