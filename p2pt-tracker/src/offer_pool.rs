//! The offers of one swarm that are alive at one tracker.

use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{Offer, OfferId};

use crate::{ClientConfig, OfferEnd};

/// Offers from the moment they are handed in to their one end: answered, expired or withdrawn.
///
/// An offer that was announced may have been forwarded, and is never announced again, since two members could answer
/// it. The exception is the surplus: when the reply shows that the swarm had no member left to give it to.
#[derive(Debug)]
pub(crate) struct OfferPool {
    /// In the order they came, which is the order they are announced in. They are few.
    offers: Vec<Entry>,
    lifetime: Duration,
    min_remaining: Duration,
    capacity: usize,
}

#[derive(Debug)]
struct Entry {
    offer: Offer,
    expires: Instant,
    use_: Use,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Never announced.
    Fresh,
    /// Announced, perhaps forwarded.
    Announced,
    /// Announced and not forwarded, as far as we can tell. An answer is taken nevertheless.
    Surplus,
}

impl OfferPool {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self {
            offers: Vec::new(),
            lifetime: config.offer_lifetime,
            min_remaining: config.offer_min_remaining,
            capacity: config.max_offers,
        }
    }

    fn place(&self, id: OfferId) -> Option<usize> {
        self.offers.iter().position(|entry| entry.offer.offer_id == id)
    }

    pub(crate) fn len(&self) -> usize {
        self.offers.len()
    }

    /// How many more offers fit.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.offers.len())
    }

    /// Takes an offer in. One whose id is alive already is that offer: it is not taken twice.
    pub(crate) fn insert(&mut self, now: Instant, offer: Offer) -> Result<(), OfferEnd> {
        if self.place(offer.offer_id).is_some() {
            return Ok(());
        }
        if self.room() == 0 {
            return Err(OfferEnd::TooMany);
        }
        self.offers.push(Entry { offer, expires: now + self.lifetime, use_: Use::Fresh });
        Ok(())
    }

    /// The offers that may be announced at `now`, the oldest first.
    pub(crate) fn ready(&self, now: Instant) -> Vec<Offer> {
        self.ready_entries(now).map(|entry| entry.offer.clone()).collect()
    }

    pub(crate) fn ready_len(&self, now: Instant) -> usize {
        self.ready_entries(now).count()
    }

    fn ready_entries(&self, now: Instant) -> impl Iterator<Item = &Entry> {
        self.offers
            .iter()
            .filter(move |entry| entry.use_ != Use::Announced && now + self.min_remaining <= entry.expires)
    }

    pub(crate) fn mark_announced(&mut self, ids: &[OfferId]) {
        self.set_use(ids, Use::Announced);
    }

    /// These were announced, and the tracker had no member to forward them to.
    pub(crate) fn mark_surplus(&mut self, ids: &[OfferId]) {
        self.set_use(ids, Use::Surplus);
    }

    fn set_use(&mut self, ids: &[OfferId], use_: Use) {
        for id in ids {
            if let Some(at) = self.place(*id) {
                self.offers[at].use_ = use_;
            }
        }
    }

    /// Whether this answer is to one of our offers; if so, it ends it. No peer can know an offer that was never announced.
    pub(crate) fn answer(&mut self, id: OfferId) -> bool {
        let at = self.place(id).filter(|at| self.offers[*at].use_ != Use::Fresh);
        at.map(|at| self.offers.remove(at)).is_some()
    }

    /// Ends an offer. Whether it was alive.
    pub(crate) fn withdraw(&mut self, id: OfferId) -> bool {
        self.place(id).map(|at| self.offers.remove(at)).is_some()
    }

    /// When the next offer expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.offers.iter().map(|entry| self.end_of(entry)).min()
    }

    /// Ends the offers whose time has come; also says which of them had been announced.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(OfferId, bool)> {
        let expired = self.offers.iter().filter(|entry| self.end_of(entry) <= now);
        let expired: Vec<_> = expired.map(|entry| (entry.offer.offer_id, entry.use_ != Use::Fresh)).collect();
        for (id, _) in &expired {
            self.withdraw(*id);
        }
        expired
    }

    /// A fresh offer ends as soon as it is too old to be announced.
    fn end_of(&self, entry: &Entry) -> Instant {
        match entry.use_ {
            // Never before it came in, so the subtraction cannot leave the clock's range.
            Use::Fresh => entry.expires - self.min_remaining.min(self.lifetime),
            Use::Announced | Use::Surplus => entry.expires,
        }
    }

    /// The ids of all offers alive.
    pub(crate) fn into_ids(self) -> impl Iterator<Item = OfferId> {
        self.offers.into_iter().map(|entry| entry.offer.offer_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::test_support::{base, offer, offer_id, secs};

    fn pool() -> OfferPool {
        OfferPool::new(&ClientConfig { max_offers: 3, ..ClientConfig::default() })
    }

    fn ids(offers: Vec<Offer>) -> Vec<OfferId> {
        offers.into_iter().map(|offer| offer.offer_id).collect()
    }

    #[test]
    fn announced_offers_are_not_ready_again_but_surplus_is() {
        let (mut pool, now) = (pool(), base());
        for n in [3, 1, 2] {
            pool.insert(now, offer(n)).unwrap();
        }
        assert_eq!(ids(pool.ready(now)), [3, 1, 2].map(offer_id), "in the order they came");
        pool.mark_announced(&[3, 1].map(offer_id));
        assert_eq!(ids(pool.ready(now)), [offer_id(2)]);
        pool.mark_surplus(&[offer_id(1)]);
        assert_eq!(ids(pool.ready(now)), [1, 2].map(offer_id));
    }

    #[test]
    fn is_answered_once_and_only_when_announced() {
        let (mut pool, now) = (pool(), base());
        pool.insert(now, offer(1)).unwrap();
        assert!(!pool.answer(offer_id(1)), "no peer can know it");
        pool.mark_announced(&[offer_id(1)]);
        assert!(pool.answer(offer_id(1)));
        assert!(!pool.answer(offer_id(1)));
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn surplus_can_be_answered_all_the_same() {
        let (mut pool, now) = (pool(), base());
        pool.insert(now, offer(1)).unwrap();
        pool.mark_announced(&[offer_id(1)]);
        pool.mark_surplus(&[offer_id(1)]);
        assert!(pool.answer(offer_id(1)));
    }

    #[test]
    fn fresh_offers_end_when_too_old_to_be_announced_others_at_the_end_of_their_life() {
        let (mut pool, now) = (pool(), base());
        pool.insert(now, offer(1)).unwrap();
        pool.insert(now, offer(2)).unwrap();
        pool.mark_announced(&[offer_id(2)]);
        assert_eq!(pool.next_expiry(), Some(now + secs(70)));
        assert_eq!(ids(pool.ready(now + secs(70))), [offer_id(1)]);
        assert_eq!(pool.expire(now + secs(70) - Duration::from_nanos(1)), []);
        assert_eq!(pool.expire(now + secs(70)), [(offer_id(1), false)]);
        assert_eq!(pool.next_expiry(), Some(now + secs(100)));
        assert_eq!(pool.expire(now + secs(100)), [(offer_id(2), true)]);
        assert_eq!(pool.next_expiry(), None);
    }

    #[test]
    fn old_surplus_is_not_announced_again() {
        let (mut pool, now) = (pool(), base());
        pool.insert(now, offer(1)).unwrap();
        pool.mark_announced(&[offer_id(1)]);
        pool.mark_surplus(&[offer_id(1)]);
        assert_eq!(pool.ready_len(now + secs(70)), 1);
        assert_eq!(pool.ready_len(now + secs(71)), 0);
    }

    #[test]
    fn is_bounded() {
        let (mut pool, now) = (pool(), base());
        for n in [1, 2, 3, 3] {
            pool.insert(now, offer(n)).unwrap();
        }
        assert_eq!(pool.insert(now, offer(4)), Err(OfferEnd::TooMany));
        assert_eq!(pool.len(), 3);
    }
}
