//! What a tracker client reports to its owner.

use std::collections::BTreeMap;
use std::time::Duration;

use p2pt_proto::{InfoHash, OfferId, PeerId, ScrapeStats};

use crate::{SocketEnd, TrackerWarning};

/// Something that happened at one tracker.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrackerEvent {
    /// The socket is open; announces follow by themselves.
    Connected,
    /// The socket is gone. Unless the client was stopped or has nothing to do, it reconnects by itself.
    #[non_exhaustive]
    Disconnected {
        /// Why.
        end: SocketEnd,
    },
    /// The tracker confirmed that we are in a swarm.
    #[non_exhaustive]
    Announced {
        /// Which swarm.
        info_hash: InfoHash,
        /// Members that have announced `left: 0`; `None` if the tracker does not say.
        complete: Option<u32>,
        /// All other members, usually with ourselves among them; `None` if the tracker does not say.
        incomplete: Option<u32>,
        /// When the next announce follows this one, after limits.
        interval: Duration,
    },
    /// Offers are needed for the next announce, soon: reply with [`offers`](crate::Input::Offers), even with none.
    /// It may come again before it was answered; one reply is enough.
    #[non_exhaustive]
    OffersWanted {
        /// Which swarm.
        info_hash: InfoHash,
        /// How many, at most 10.
        count: usize,
    },
    /// Another peer's offer, to be answered, or declined by silence. Answer soon: some trackers close the socket of
    /// a peer that answers one that has gone. Peer ids are claims, nothing more.
    #[non_exhaustive]
    Offer {
        /// Which swarm.
        info_hash: InfoHash,
        /// The peer that offers.
        from: PeerId,
        /// Goes into the answer.
        offer_id: OfferId,
        /// Any text that the peer sent; it need not be SDP.
        sdp: String,
    },
    /// The answer to one of our offers, which ends it.
    #[non_exhaustive]
    Answer {
        /// Which swarm.
        info_hash: InfoHash,
        /// The peer that answers.
        from: PeerId,
        /// Which of our offers.
        offer_id: OfferId,
        /// Any text that the peer sent; it need not be SDP.
        sdp: String,
    },
    /// One of our offers ended without an answer. Each offer that was handed in ends exactly once, by this or by
    /// [`Answer`](Self::Answer).
    #[non_exhaustive]
    OfferEnded {
        /// Which swarm.
        info_hash: InfoHash,
        /// Which offer.
        offer_id: OfferId,
        /// Why.
        end: OfferEnd,
    },
    /// The answer to a scrape, or to a part of one: a scrape of many info hashes is answered in several events.
    #[non_exhaustive]
    Scraped {
        /// What the tracker knows; info hashes it does not know may be missing.
        files: BTreeMap<InfoHash, ScrapeStats>,
    },
    /// A scrape, or a part of one, has no answer and gets none: the tracker refused it or did not reply in time, the
    /// socket was lost, or too many scrapes were waiting already. [`TrackerWarning::ScrapeFailed`] follows.
    #[non_exhaustive]
    ScrapeFailed {
        /// What was asked; empty for everything.
        info_hashes: Vec<InfoHash>,
    },
    /// An attempt to connect failed, and none over another address family follows at once. Each such attempt is reported
    /// by this; why it failed says [`TrackerWarning::ConnectFailed`], which follows, but not more than once a minute.
    #[non_exhaustive]
    ConnectFailed {
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// Something went wrong that the client copes with. Of each kind of warning, which is a variant of [`TrackerWarning`],
    /// the first is reported at once and then one a minute at most, however many a tracker causes.
    #[non_exhaustive]
    Warning {
        /// What went wrong; of those left out, [`TrackerState::last_error`](crate::TrackerState) holds the latest.
        warning: TrackerWarning,
        /// How many warnings of this kind were left out since the one before.
        missed: u64,
    },
}

/// Why an offer ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OfferEnd {
    /// It was old, announced or not.
    Expired,
    /// Its swarm was left, the client stopped, or it was taken back.
    Withdrawn,
    /// There are as many offers already as may be alive ([`ClientConfig::max_offers`](crate::ClientConfig)).
    TooMany,
    /// No tracker takes an announce with an offer this large.
    TooLarge,
}
