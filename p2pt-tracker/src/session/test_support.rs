//! What the tests of this crate share.

use std::time::{Duration, Instant};

use p2pt_proto::{Offer, OfferId};

/// Some instant to count from.
#[allow(clippy::disallowed_methods, reason = "cores only add to it; which one it is does not matter")]
pub(crate) fn base() -> Instant {
    Instant::now()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn offer_id(n: u32) -> OfferId {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&n.to_be_bytes());
    OfferId::from(id)
}

pub(crate) fn offer(n: u32) -> Offer {
    Offer { offer_id: offer_id(n), sdp: format!("offer {n}") }
}
