//! The offers that trackers are given, and which of them give way when the transport holds no more.
//!
//! A transport bounds how many offers wait. Beyond that the newest would be refused, and the last to come, a swarm or a
//! tracker, would announce without any until old ones end. So those give way that are of the least use: first what
//! waits for trackers without a socket, then what trackers have that want none, then what is more than others have.

use std::collections::VecDeque;

use futures_util::future::join_all;
use p2pt_mesh::{FewMap, TrackerId};
use p2pt_proto::{InfoHash, Offer, OfferId};
use p2pt_transport::{PendingOffer, TransportError};
use rand::RngExt as _;
use tracing::{Instrument as _, debug, warn};

use super::{Done, Engine, MembershipId};
use crate::counters::{Counted, count};
use crate::queue::lock;
use crate::trust::OwnDescription;

/// What came of making an offer.
pub(super) type Made = Result<Box<dyn PendingOffer>, TransportError>;

/// An offer that waits for its answer.
pub(super) struct Waiting {
    pub(super) tracker: TrackerId,
    pub(super) pending: Box<dyn PendingOffer>,
    pub(super) own: OwnDescription,
    /// The higher the newer.
    number: u64,
    _counted: Counted,
}

/// Of what use offers of a swarm at a tracker are, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// There is no socket to the tracker.
    NoSocket,
    /// The tracker knows no peer that they could be for.
    Surplus,
    Wanted,
}

/// The offers of one swarm at one tracker, the oldest first.
#[derive(Debug)]
struct Held {
    is_for: Use,
    offers: VecDeque<OfferId>,
}

type Place = (MembershipId, TrackerId);

/// Which offers give way to at most `count` others in `place`: of those of the least use the oldest one where there are
/// most. Wanted ones give way only to make shares equal.
fn giving_way(held: &mut FewMap<Place, Held>, place: &Place, count: usize) -> Vec<(Place, OfferId)> {
    let mut own = held.remove(place).map_or(0, |own| own.offers.len());
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let worst = held
            .iter_mut()
            .filter(|(_, held)| !held.offers.is_empty())
            .min_by_key(|(_, held)| (held.is_for, std::cmp::Reverse(held.offers.len())));
        let Some((at, worst)) = worst else { break };
        if worst.is_for == Use::Wanted && worst.offers.len() <= own + 1 {
            break;
        }
        chosen.extend(worst.offers.pop_front().map(|offer| (at, offer)));
        own += 1;
    }
    chosen
}

impl Engine {
    pub(super) fn make_offers(&mut self, info_hash: InfoHash, tracker: TrackerId, count: usize) {
        if let Some(swarm) = self.memberships.id(info_hash) {
            self.make(swarm, tracker, Vec::new(), count, false);
        }
    }

    /// Makes so many offers and hands them in with those that were made before.
    fn make(&mut self, swarm: MembershipId, tracker: TrackerId, mut made: Vec<Made>, count: usize, made_room: bool) {
        let Some(membership) = self.memberships.get(swarm) else { return };
        let (token, transport) = (membership.token.clone(), self.parts.transport.clone());
        let renamed = membership.renamed;
        let task = async move {
            let making = join_all((0..count).map(|_| transport.offer()));
            let Some(more) = token.run_until_cancelled(making).await else { return Done::Nothing };
            made.extend(more);
            Done::Offers { swarm, renamed, tracker, made, made_room }
        };
        self.tasks.spawn(task.instrument(membership.connections.span().clone()));
    }

    pub(super) fn hand_in_offers(
        &mut self,
        swarm: MembershipId,
        tracker: TrackerId,
        mut made: Vec<Made>,
        made_room: bool,
    ) {
        let Some((url, client)) = self.client(tracker) else { return };
        let is_connected = lock(&self.parts.shared.trackers).get(&tracker).is_some_and(|t| t.connected);
        let is_full = |made: &Made| matches!(made, Err(TransportError::TooManyConnections { .. }));
        let lacking = made.iter().filter(|made| is_full(made)).count();
        if lacking > 0 && is_connected && !made_room {
            let room = self.make_room(&(swarm, tracker), lacking);
            if room > 0 {
                let mut refused = 0;
                made.retain(|made| {
                    refused += usize::from(is_full(made));
                    !is_full(made) || refused > room
                });
                self.make(swarm, tracker, made, room, true);
                return;
            }
        }
        let Some(membership) = self.memberships.touch(swarm) else { return };
        let span = membership.connections.span();
        let mut offers = Vec::with_capacity(made.len());
        for result in made {
            let described = result.and_then(|pending| {
                let (sdp, own) = membership.connections.descriptions().offer(pending.sdp(), &mut self.parts.rng)?;
                Ok((pending, sdp, own))
            });
            match described {
                Ok((pending, sdp, own)) => {
                    let offer_id = OfferId::from(self.parts.rng.random::<[u8; 20]>());
                    offers.push(Offer::new(offer_id, sdp));
                    self.offers_made += 1;
                    let counters = &self.parts.shared.counters;
                    count(&counters.offers_made);
                    let counted = Counted::new(counters.clone(), |counters| &counters.offers_waiting);
                    let waiting = Waiting { tracker, pending, own, number: self.offers_made, _counted: counted };
                    membership.offers.insert(offer_id, waiting);
                    self.offers_fail = false;
                    debug!(parent: span, tracker = %url, offer = %offer_id, "an offer is made, and waits");
                }
                // It is asked for again when the tracker is there, and what is of no use gives way then.
                Err(error @ TransportError::TooManyConnections { .. }) if !is_connected => {
                    debug!(parent: span, tracker = %url, %error, "no room for an offer yet");
                }
                Err(error) => {
                    count(&self.parts.shared.counters.offers_failed);
                    if matches!(error, TransportError::TooManyConnections { .. }) || self.offers_fail {
                        debug!(parent: span, tracker = %url, %error, "an offer could not be made");
                    } else {
                        self.offers_fail = true;
                        warn!(parent: span, tracker = %url, %error, "offers cannot be made, so no new peers are met");
                    }
                    membership.shared.queue.offer_failed(error);
                }
            }
        }
        // Also with none: the announce waits for them.
        client.offers(membership.info_hash, offers);
        if lacking > 0 && !is_connected {
            client.withdraw_offers(membership.info_hash, Vec::new());
        }
    }

    /// Drops offers for the sake of others in `place`, and says how many.
    fn make_room(&mut self, place: &Place, count: usize) -> usize {
        let trackers = lock(&self.parts.shared.trackers);
        let mut held: FewMap<Place, Held> = FewMap::new();
        for (swarm, membership) in self.memberships.iter() {
            let mut offers: Vec<_> = membership.offers.iter().collect();
            offers.sort_unstable_by_key(|(_, waiting)| waiting.number);
            for (offer_id, waiting) in offers {
                let is_for = match trackers.get(&waiting.tracker) {
                    Some(tracker) if tracker.connected && membership.connections.wants_offers(waiting.tracker) => {
                        Use::Wanted
                    }
                    Some(tracker) if tracker.connected => Use::Surplus,
                    _ => Use::NoSocket,
                };
                let place = (swarm, waiting.tracker);
                let held = held.get_or_insert_with(place, || Held { is_for, offers: VecDeque::new() });
                held.offers.push_back(*offer_id);
            }
        }
        let chosen = giving_way(&mut held, place, count);
        for ((swarm, tracker), offer_id) in &chosen {
            let Some(membership) = self.memberships.touch(*swarm) else { continue };
            membership.offers.remove(offer_id);
            debug!(parent: membership.connections.span(), offer = %offer_id, "an offer gives way to others");
            if let Some(tracker) = trackers.get(tracker) {
                tracker.client.withdraw_offers(membership.info_hash, vec![*offer_id]);
            }
        }
        chosen.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(swarm: u64, tracker: TrackerId) -> Place {
        (MembershipId(swarm), tracker)
    }

    fn given_way(held: &[(u64, TrackerId, Use, u8)], to: Place, count: usize) -> BTreeMap<Place, Vec<u8>> {
        let mut holding = FewMap::new();
        for (swarm, tracker, is_for, count) in held {
            let offers = (0..*count).map(|n| OfferId::from([n; 20])).collect();
            holding.insert(place(*swarm, *tracker), Held { is_for: *is_for, offers });
        }
        let mut given: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
        for (place, offer_id) in giving_way(&mut holding, &to, count) {
            given.entry(place).or_default().push(offer_id.as_bytes()[0]);
        }
        given
    }

    const LIVE: TrackerId = TrackerId(1);
    const DEAD: TrackerId = TrackerId(2);

    #[test]
    fn offers_of_no_use_give_way_first_and_the_oldest_of_them() {
        let held = [(1, LIVE, Use::Wanted, 9), (2, LIVE, Use::Surplus, 3), (1, DEAD, Use::NoSocket, 2)];
        let new = place(3, LIVE);
        assert_eq!(given_way(&held, new, 1), [(place(1, DEAD), vec![0])].into());
        assert_eq!(given_way(&held, new, 4), [(place(1, DEAD), vec![0, 1]), (place(2, LIVE), vec![0, 1])].into());
    }

    #[test]
    fn wanted_offers_give_way_until_shares_are_equal() {
        let held = [(1, LIVE, Use::Wanted, 5), (2, LIVE, Use::Wanted, 4), (3, LIVE, Use::Wanted, 1)];
        let given = given_way(&held, place(3, LIVE), 5);
        assert_eq!(given, [(place(1, LIVE), vec![0, 1])].into(), "three have 3, 4 and 3 then");
        assert_eq!(given_way(&held[2..], place(4, LIVE), 5), [].into());
    }
}
