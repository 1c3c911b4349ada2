//! Why a well-formed request is refused.

use std::time::Duration;

use p2pt_proto::{OfferId, PeerId};

/// The reason in a failure frame. The text goes to the peer, so it says what to do differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("peer_id {0} is in use in this swarm by another open connection")]
    PeerIdInUse(PeerId),
    #[error("this tracker does not serve such requests")]
    Unsupported,
    #[error("this tracker has reached its limit of {0} swarms")]
    TooManySwarms(usize),
    #[error("this swarm has reached its limit of {0} peers")]
    SwarmFull(usize),
    #[error("this connection has reached its limit of {0} memberships")]
    TooManyMemberships(usize),
    #[error("this connection has reached its limit of {0} peer ids in one swarm")]
    TooManyPeerIds(usize),
    #[error("this tracker has reached its limit of {0} peers: use another one, or announce later")]
    TooManyPeers(usize),
    #[error(
        "this address is in {0} swarms, which is its share: leave some by announcing \"stopped\" before joining more"
    )]
    TooManySwarmsOfAddress(usize),
    #[error("this address has {0} peers, which is its share: let some announce \"stopped\" before more join")]
    TooManyPeersOfAddress(usize),
    #[error(
        "this address has {0} peers in this swarm, which is its share: let some announce \"stopped\" before more join"
    )]
    TooManyPeersOfAddressInSwarm(usize),
    #[error("a scrape may name {limit} info hashes, this one names {named}")]
    ScrapeTooLarge { named: usize, limit: usize },
    #[error("peer_id {0} is not in this swarm over this connection: announce before answering")]
    NotAMember(PeerId),
    #[error("to_peer_id {0} has left this swarm")]
    OffererLeft(PeerId),
    #[error("no offer_id {offer_id} of {offerer} is awaiting an answer from this peer_id")]
    NotAwaited { offer_id: OfferId, offerer: PeerId },
    #[error("offer_id {0} has been answered before")]
    AlreadyAnswered(OfferId),
    #[error("offer_id {offer_id} was forwarded more than {} s ago", .lifetime.as_secs())]
    OfferExpired { offer_id: OfferId, lifetime: Duration },
}

impl Refusal {
    /// Whether the limit is that of an address rather than that of a connection or of all.
    pub(super) fn is_share(&self) -> bool {
        matches!(
            self,
            Self::TooManySwarmsOfAddress(_) | Self::TooManyPeersOfAddress(_) | Self::TooManyPeersOfAddressInSwarm(_)
        )
    }
}
