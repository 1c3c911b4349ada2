//! Signs that another node takes part under this node's peer id.
//!
//! No tracker tells both nodes, and none passes on what a member sends to the same peer id. What differs is where the rest
//! goes, and so what a node can see: offers and answers of which this node knows nothing, silence, or a refusal. Each
//! has an innocent cause for a short time after a node was started anew under its old id, or has lost its socket, which
//! is waited for.

use std::collections::VecDeque;
use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{InfoHash, Offer, OfferId, PeerId};

use super::Session;
use crate::{PeerIdSign, TrackerWarning};

/// So many of the offers that were made last are remembered: four times those that may be alive in a swarm.
const REMEMBERED: usize = 1024;

/// What an earlier run of this node has caused arrives no later than this after the first announce: offers are answered when
/// they arrive, and trackers keep none.
const EARLIER_RUN: Duration = Duration::from_secs(10);

/// For so long a tracker may know a socket that broke, and ignore announces on the next: aquatic forgets members after
/// 180 s, and looks every 30 s.
const OLD_SOCKET: Duration = Duration::from_secs(240);

/// The shortest time between two reports.
const SPACING: Duration = Duration::from_secs(60);

/// The line of a description by which its maker is known.
const FINGERPRINT: &str = "a=fingerprint:";

#[derive(Debug, Default)]
pub(super) struct OwnId {
    /// The offers that this node made last, in that order.
    made: VecDeque<OfferId>,
    fingerprint: Option<String>,
    first_announce: Option<Instant>,
    socket_broke: Option<Instant>,
    reported: Option<Instant>,
}

impl OwnId {
    /// These offers are of this node.
    pub(super) fn made(&mut self, offers: &[Offer]) {
        for offer in offers {
            if !self.made.contains(&offer.offer_id) {
                self.made.push_back(offer.offer_id);
            }
            let line = || fingerprints(&offer.sdp).next().map(str::to_owned);
            self.fingerprint = self.fingerprint.take().or_else(line);
        }
        self.made.drain(..self.made.len().saturating_sub(REMEMBERED));
    }

    pub(super) fn announced(&mut self, now: Instant) {
        self.first_announce.get_or_insert(now);
    }

    pub(super) fn socket_broke(&mut self, now: Instant) {
        self.socket_broke = Some(now);
    }

    /// Whether an offer that came under our id, or an offer that was answered, was made by another node. Some trackers hand
    /// offers back to their makers.
    fn is_of_another(&self, now: Instant, offer_id: OfferId, sdp: Option<&str>) -> bool {
        let is_ours = self.made.contains(&offer_id)
            || sdp.is_some_and(|sdp| fingerprints(sdp).any(|line| Some(line) == self.fingerprint.as_deref()));
        !is_ours && self.first_announce.is_some_and(|at| now >= at + EARLIER_RUN)
    }

    /// Whether the tracker's silence is not due to a socket of ours that it still knows.
    pub(super) fn is_silence_strange(&self, now: Instant) -> bool {
        self.socket_broke.is_none_or(|at| now >= at + OLD_SOCKET)
    }
}

fn fingerprints(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().map(str::trim_end).filter(|line| line.starts_with(FINGERPRINT))
}

impl Session {
    /// An offer came under our own peer id.
    pub(super) fn on_own_offer(&mut self, info_hash: InfoHash, offer_id: OfferId, sdp: &str) {
        if self.own_id.is_of_another(self.now, offer_id, Some(sdp)) {
            self.id_is_in_use(info_hash, PeerIdSign::Offer);
        }
    }

    /// An answer came to an offer that is not alive.
    pub(super) fn on_stray_answer(&mut self, info_hash: InfoHash, from: PeerId, offer_id: OfferId) {
        if from != self.peer_id && self.own_id.is_of_another(self.now, offer_id, None) {
            self.id_is_in_use(info_hash, PeerIdSign::Answer);
        }
    }

    /// The tracker has replied to a scrape that was sent because it replies to no announce.
    pub(super) fn on_silence(&mut self, info_hash: InfoHash) {
        let is_silent = self.swarms.get(&info_hash).is_some_and(|swarm| swarm.is_silent());
        if is_silent && self.own_id.is_silence_strange(self.now) {
            self.id_is_in_use(info_hash, PeerIdSign::Silence);
        }
    }

    /// The tracker has refused something, in these words.
    pub(super) fn on_refusal(&mut self, info_hash: InfoHash, reason: &str) {
        if reason.contains("in use") && reason.contains(&self.peer_id.to_string()) {
            self.id_is_in_use(info_hash, PeerIdSign::Refusal);
        }
    }

    fn id_is_in_use(&mut self, info_hash: InfoHash, sign: PeerIdSign) {
        if self.own_id.reported.is_none_or(|at| self.now >= at + SPACING) {
            self.own_id.reported = Some(self.now);
            tracing::warn!(swarm = %info_hash, peer = %self.peer_id, %sign, "this node's peer id is in use elsewhere");
            self.warn(TrackerWarning::PeerIdInUse { info_hash, sign });
        }
    }
}
