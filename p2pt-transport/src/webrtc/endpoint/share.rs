//! What connections share: sets of sockets, and the receive buffers of these.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Endpoint, From, Key, MAX_SETS, OFFER_SETS, Slot};

/// A connection counts among those that share the receive buffer for so long after a large datagram.
const ACTIVE: Duration = Duration::from_millis(1500);

/// How often it is counted anew who shares it.
const SHARE_AGE: Duration = Duration::from_millis(10);

/// No share is smaller, in bytes: ten packets keep a connection going.
const SMALLEST_SHARE: u32 = 12_000;

/// How many connections leave from a set before the next is opened: an answerer has no more sets to tell those of offers
/// between the same two nodes apart, and all that leave from a set share its sockets' receive buffers.
const FULL_SET: usize = MAX_SETS - OFFER_SETS;

impl Endpoint {
    /// The receive window of connections made from now on, and what those of one set may have on its way together, in bytes.
    pub(crate) fn set_windows(&mut self, window: u32, budget: u32) {
        Arc::make_mut(&mut self.config).session.window = window;
        self.receive_budget = budget;
        self.share_at = None;
    }

    pub(crate) fn window(&self) -> u32 {
        self.config.session.window
    }

    /// The set that the next offer shall leave from.
    pub(crate) fn set_for_offer(&self) -> usize {
        let mut loads = self.loads(|_| true);
        for (_, from) in &self.reserved {
            if let Some(load) = loads.get_mut(from.set) {
                *load += 1;
            }
        }
        let room = (0..OFFER_SETS).find(|set| loads[*set] < FULL_SET);
        room.or_else(|| (0..OFFER_SETS).min_by_key(|set| loads[*set])).unwrap_or(0)
    }

    /// The sets that the next answer may leave from, the best one first, each with how many connections leave from it:
    /// those that have room, and then those that carry least.
    pub(crate) fn sets_for_answer(&self) -> Vec<(usize, usize)> {
        let loads = self.loads(|_| true);
        let mut sets: Vec<(usize, usize)> = (OFFER_SETS..MAX_SETS).map(|set| (set, loads[set])).collect();
        sets.sort_by_key(|(_, load)| if *load < FULL_SET { 0 } else { *load });
        sets
    }

    /// How many connections of a kind leave from each set.
    fn loads(&self, counts: impl Fn(&Slot) -> bool) -> [usize; MAX_SETS] {
        let mut loads = [0; MAX_SETS];
        for (_, slot) in &self.peers {
            if let Some(load) = loads.get_mut(slot.set).filter(|_| counts(slot)) {
                *load += 1;
            }
        }
        loads
    }

    /// Counts these sockets as used until [`give_back`](Self::give_back) is called with the number returned: by a connection
    /// that is to leave from them, while it is found out where they can be reached.
    pub(crate) fn reserve(&mut self, from: From) -> u64 {
        self.reservations += 1;
        self.reserved.push((self.reservations, from));
        self.reservations
    }

    /// Ends a reservation.
    pub(crate) fn give_back(&mut self, reservation: u64) {
        self.reserved.retain(|(number, _)| *number != reservation);
    }

    #[cfg(test)]
    pub(crate) fn reserved(&self) -> usize {
        self.reserved.len()
    }

    /// The sockets that a connection leaves from.
    pub(crate) fn sockets(&self, key: Key) -> Option<Arc<[SocketAddr]>> {
        self.peers.get(key).map(|slot| slot.sockets.clone())
    }

    /// Whether any connection leaves from `socket`, or is about to.
    pub(crate) fn uses(&self, socket: SocketAddr) -> bool {
        self.peers.iter().any(|(_, slot)| slot.sockets.contains(&socket))
            || self.reserved.iter().any(|(_, from)| from.sockets.contains(&socket))
    }

    /// How much of its sockets' buffers one connection may fill: as much on each set, so that no sender is behind others.
    pub(super) fn current_share(&mut self, now: Instant) -> u32 {
        if self.share_at.is_none_or(|at| now >= at + SHARE_AGE) {
            self.share_at = Some(now);
            let active = self.loads(|slot| slot.data_at.is_some_and(|at| now < at + ACTIVE));
            let most = active.into_iter().max().unwrap_or_default().max(1);
            self.share = (self.receive_budget / most as u32).max(SMALLEST_SHARE);
        }
        self.share
    }
}
