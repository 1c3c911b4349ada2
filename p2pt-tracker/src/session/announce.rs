//! Asking for offers, taking them in, and announcing, over all swarms.

use web_time::Instant;

use p2pt_proto::{InfoHash, Offer, OfferId};

use super::swarm::{encode, fits_announce};
use super::{Session, SocketState};
use crate::{OfferEnd, TrackerEvent, TrackerWarning};

impl Session {
    /// Does everything that is due at this time.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        for (info_hash, swarm) in &mut self.swarms {
            for (offer_id, announced) in swarm.pool.expire(now) {
                let end = OfferEnd::Expired;
                tracing::debug!(swarm = %info_hash, offer = %offer_id, announced, "offer expired");
                self.counters.offers_unanswered += u64::from(announced);
                self.events.push_back(TrackerEvent::OfferEnded { info_hash: *info_hash, offer_id, end });
            }
        }
        for info_hashes in self.scrapes.expire(now) {
            self.scrape_failed(info_hashes);
        }
        self.tick_socket();
        if matches!(self.socket, SocketState::Open(_)) {
            let due = self.swarms.iter().filter(|(_, swarm)| swarm.is_ask_due(now));
            for info_hash in due.map(|(info_hash, _)| *info_hash).collect::<Vec<_>>() {
                self.ask_for_offers(info_hash);
            }
        }
    }

    pub(super) fn set_wanted(&mut self, info_hash: InfoHash, offers: usize) {
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return };
        swarm.set_wanted(self.now, offers);
        if offers == 0 {
            self.retract_offers_wanted(info_hash);
        }
    }

    pub(super) fn request_announce(&mut self, info_hash: InfoHash) {
        if let Some(swarm) = self.swarms.get_mut(&info_hash) {
            swarm.request(self.now, &self.config);
        }
    }

    pub(super) fn take_offers(&mut self, info_hash: InfoHash, offers: Vec<Offer>) {
        self.own_id.made(&offers);
        for offer in offers {
            let offer_id = offer.offer_id;
            let taken = match self.swarms.get_mut(&info_hash) {
                None => Err(OfferEnd::Withdrawn),
                Some(_) if !fits_announce(info_hash, self.peer_id, &offer) => Err(OfferEnd::TooLarge),
                Some(swarm) => swarm.pool.insert(self.now, offer),
            };
            match taken {
                Ok(()) => self.counters.offers_made += 1,
                Err(end) => self.end_offer(info_hash, offer_id, end),
            }
        }
        if let Some(swarm) = self.swarms.get_mut(&info_hash) {
            swarm.offers_arrived(self.now, &self.config);
        }
    }

    pub(super) fn withdraw_offers(&mut self, info_hash: InfoHash, offers: Vec<OfferId>) {
        let is_open = matches!(self.socket, SocketState::Open(_));
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return };
        let ended: Vec<OfferId> = offers.into_iter().filter(|offer_id| swarm.pool.withdraw(*offer_id)).collect();
        if !is_open {
            swarm.ask_again();
        }
        for offer_id in ended {
            self.end_offer(info_hash, offer_id, OfferEnd::Withdrawn);
        }
    }

    pub(super) fn ask_for_offers(&mut self, info_hash: InfoHash) {
        let count = self.swarms.get_mut(&info_hash).and_then(|swarm| swarm.ask(self.now));
        self.retract_offers_wanted(info_hash);
        if let Some(count) = count {
            self.events.push_back(TrackerEvent::OffersWanted { info_hash, count });
        }
    }

    /// While the socket is being opened, unless that has been done.
    pub(super) fn ask_before_connected(&mut self, info_hash: InfoHash) {
        if self.swarms.get(&info_hash).is_some_and(|swarm| !swarm.has_asked()) {
            self.ask_for_offers(info_hash);
        }
    }

    /// Takes back an `OffersWanted` that was not delivered yet.
    pub(super) fn retract_offers_wanted(&mut self, swarm: InfoHash) {
        self.events
            .retain(|event| !matches!(event, TrackerEvent::OffersWanted { info_hash, .. } if *info_hash == swarm));
    }

    pub(super) fn plan_first_announce(&mut self, info_hash: InfoHash) {
        if let Some(swarm) = self.swarms.get_mut(&info_hash) {
            swarm.plan_first_announce(self.now, &self.config);
        }
    }

    /// The announce that is due longest, if one is due.
    pub(super) fn next_announce(&mut self) -> Option<String> {
        let now = self.now;
        let SocketState::Open(open) = &mut self.socket else { return None };
        let (at, info_hash, swarm) = self
            .swarms
            .iter_mut()
            .map(|(info_hash, swarm)| (swarm.announce_at(now), *info_hash, swarm))
            .min_by_key(|(at, ..)| *at)?;
        if at > now {
            return None;
        }
        if swarm.take_displaced() {
            // bittorrent-tracker would go on sending to the socket that broke, for as long as we announce: its record
            // is removed by `stopped`. Not before an announce, since others take `stopped` from members only.
            open.expect_stray_reply(now, info_hash);
            self.departures.push_back(info_hash);
            self.counters.announces_sent += 1;
            tracing::debug!(swarm = %info_hash, event = "none", offers = 0, "announce sent");
            return Some(encode(info_hash, self.peer_id, &[]));
        }
        let replied = swarm.state().announced;
        if swarm.is_known_to_tracker() && !replied {
            // The reply to the one before may still come.
            open.expect_stray_reply(now, info_hash);
        }
        let silence = swarm.silence(now, &self.config);
        let (text, offers) = swarm.announce(now, info_hash, self.peer_id, &self.config);
        self.own_id.announced(now);
        self.counters.announces_sent += 1;
        self.counters.offers_sent += offers as u64;
        tracing::debug!(swarm = %info_hash, event = "none", offers, "announce sent");
        if let Some(waited) = silence {
            self.scrapes.ask_in_silence(now, info_hash);
            self.warn(TrackerWarning::Timeout { info_hash, waited });
        }
        Some(text)
    }

    /// When the next announce is due or offers for it must be asked for.
    pub(super) fn next_announce_or_ask(&self) -> Option<Instant> {
        let SocketState::Open(open) = &self.socket else { return None };
        let announces = self.swarms.values().map(|swarm| swarm.announce_at(self.now)).filter(|_| !open.is_writing());
        let asks = self.swarms.values().filter_map(|swarm| swarm.ask_at());
        announces.chain(asks).min()
    }
}
