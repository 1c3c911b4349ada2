//! One swarm: its members, and their offers that may still be answered.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use p2pt_proto::{AnswerRequest, Offer, OfferId, PeerId};
use rand::Rng;

use super::{
    ConnectionId, Refusal, SwarmsConfig,
    recipients::{Origin, Recipients},
};

/// A peer id in a swarm, bound to the connection it announced over.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) peer_id: PeerId,
    pub(super) conn: ConnectionId,
    pub(super) origin: Origin,
    pub(super) seeder: bool,
    pub(super) expires: Instant,
    /// Kept after the answer too, until they expire, so that no offer is forwarded twice.
    offers: Vec<Forwarded>,
}

impl Member {
    pub(super) fn new(peer_id: PeerId, conn: ConnectionId, origin: Origin, expires: Instant) -> Self {
        Self { peer_id, conn, origin, seeder: false, expires, offers: Vec::new() }
    }
}

#[derive(Debug)]
struct Forwarded {
    offer_id: OfferId,
    to: PeerId,
    expires: Instant,
    answered: bool,
}

/// Members by peer id, and by where they are.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    members: Vec<Member>,
    positions: HashMap<PeerId, usize>,
    recipients: Recipients,
    seeders: usize,
}

impl Swarm {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn seeders(&self) -> usize {
        self.seeders
    }

    /// How many members this address has here.
    pub(super) fn members_of(&self, origin: Origin) -> usize {
        self.recipients.members_of(origin)
    }

    pub(super) fn get(&self, peer_id: PeerId) -> Option<&Member> {
        self.positions.get(&peer_id).map(|&position| &self.members[position])
    }

    pub(super) fn get_mut(&mut self, peer_id: PeerId) -> Option<&mut Member> {
        self.positions.get(&peer_id).map(|&position| &mut self.members[position])
    }

    /// Adds a member whose peer id is not in the swarm.
    pub(super) fn insert(&mut self, member: Member) {
        self.seeders += usize::from(member.seeder);
        self.positions.insert(member.peer_id, self.members.len());
        self.recipients.insert(member.origin, member.conn, member.peer_id);
        if self.members.is_empty() {
            // Most swarms have a single member, and room for four would be made otherwise.
            self.members.reserve_exact(1);
        }
        self.members.push(member);
    }

    pub(super) fn remove(&mut self, peer_id: PeerId) -> Option<Member> {
        let position = self.positions.remove(&peer_id)?;
        let member = self.members.swap_remove(position);
        self.recipients.remove(member.origin, member.conn, peer_id);
        if let Some(moved) = self.members.get(position) {
            self.positions.insert(moved.peer_id, position);
        }
        self.seeders -= usize::from(member.seeder);
        Some(member)
    }

    pub(super) fn set_seeder(&mut self, peer_id: PeerId, seeder: bool) {
        let Some(&position) = self.positions.get(&peer_id) else { return };
        let before = std::mem::replace(&mut self.members[position].seeder, seeder);
        self.seeders = self.seeders - usize::from(before) + usize::from(seeder);
    }

    /// Gives each of up to `wanted` offers to another random member, by address and socket first, and records them as awaiting an answer.
    /// An offer id that was forwarded before, or comes twice, is left out.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        config: &SwarmsConfig,
        rng: &mut impl Rng,
        from: PeerId,
        offers: Vec<Offer>,
        wanted: usize,
    ) -> Vec<(ConnectionId, Offer)> {
        let Some(&own) = self.positions.get(&from) else { return Vec::new() };
        let others = self.members.len() - 1;
        let open = &mut self.members[own].offers;
        open.retain(|offer| offer.expires > now);
        let room = config.max_open_offers_per_peer.saturating_sub(open.len());
        let amount = wanted.min(config.max_offers_per_announce).min(room).min(others);

        let mut fresh: Vec<Offer> = Vec::new();
        for offer in offers {
            if fresh.len() == amount {
                break;
            }
            let known = open.iter().any(|open| open.offer_id == offer.offer_id)
                || fresh.iter().any(|fresh| fresh.offer_id == offer.offer_id);
            if !known {
                fresh.push(offer);
            }
        }

        let chosen = self.recipients.draw(rng, from, fresh.len());
        let mut forwards = Vec::with_capacity(fresh.len());
        for (offer, to) in fresh.into_iter().zip(chosen) {
            let Some(conn) = self.get(to).map(|member| member.conn) else { continue };
            let expires = now + config.offer_lifetime;
            self.members[own].offers.push(Forwarded { offer_id: offer.offer_id, to, expires, answered: false });
            forwards.push((conn, offer));
        }
        forwards
    }

    /// Checks that `answer`, which came over `conn`, answers an offer that awaits it, and marks that as answered.
    /// Returns the connection of the offerer.
    pub(super) fn accept_answer(
        &mut self,
        now: Instant,
        conn: ConnectionId,
        answer: &AnswerRequest,
        lifetime: Duration,
    ) -> Result<ConnectionId, Refusal> {
        let (answerer, offerer, offer_id) = (answer.peer_id, answer.to_peer_id, answer.offer_id);
        if self.get(answerer).is_none_or(|member| member.conn != conn) {
            return Err(Refusal::NotAMember(answerer));
        }
        let member = self.get_mut(offerer).ok_or(Refusal::OffererLeft(offerer))?;
        let offer = member
            .offers
            .iter_mut()
            .find(|offer| offer.offer_id == offer_id && offer.to == answerer)
            .ok_or(Refusal::NotAwaited { offer_id, offerer })?;
        if offer.answered {
            return Err(Refusal::AlreadyAnswered(offer_id));
        }
        if offer.expires <= now {
            return Err(Refusal::OfferExpired { offer_id, lifetime });
        }
        offer.answered = true;
        Ok(member.conn)
    }
}
