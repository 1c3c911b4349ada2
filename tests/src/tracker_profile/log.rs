//! What a tracker remembers of its past.

/// What has happened at a tracker since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Log {
    /// Sockets opened.
    pub connections: u64,
    /// Announces taken, `stopped` among them.
    pub announces: u64,
    /// `stopped` among them.
    pub stopped: u64,
    /// Offers that came with them.
    pub offers: u64,
    /// Offers that went to a member.
    pub offers_forwarded: u64,
    /// Answers that went to the offerer.
    pub answers_forwarded: u64,
    /// Answers whose offer is not known.
    pub stray_answers: u64,
    /// Frames that no client may send.
    pub bad_inputs: u64,
    /// Announces ignored because another connection holds the peer id.
    pub ignored: u64,
    /// Members forgotten for not announcing, or because there were too many.
    pub expired: u64,
    /// Announces under another peer id than the connection's first.
    pub second_ids: u64,
    /// The most offers in one announce.
    pub most_offers: usize,
    /// Offers that went to a member although they had gone to one before.
    pub offers_repeated: u64,
    /// Scrapes taken.
    pub scrapes: u64,
    /// Messages dropped because too many waited.
    pub dropped: u64,
    /// The longest message received, in bytes.
    pub longest: usize,
}
