//! What each address takes of what all share.
//!
//! Limits of a connection bound no host that opens many of them, so swarms and members are counted by address too.

use std::collections::HashMap;

use super::{Refusal, SwarmsConfig, recipients::Origin, swarm::Swarm};

/// What one address has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Swarms in which it has a member.
    pub(super) swarms: usize,
    /// Its members, over all swarms.
    pub(super) peers: usize,
}

/// What each address has that has anything, so that this is no larger than the number of connections.
#[derive(Debug, Default)]
pub(super) struct Shares {
    held: HashMap<Origin, Held>,
}

impl Shares {
    fn of(&self, origin: Origin) -> Held {
        self.held.get(&origin).copied().unwrap_or_default()
    }

    /// Whether this address may have one more member in the swarm, which is `None` if it would be a new one.
    pub(super) fn check(&self, config: &SwarmsConfig, origin: Origin, swarm: Option<&Swarm>) -> Result<(), Refusal> {
        let held = self.of(origin);
        let limit = config.peers_of_an_address();
        if held.peers >= limit {
            return Err(Refusal::TooManyPeersOfAddress(limit));
        }
        let there = swarm.map_or(0, |swarm| swarm.members_of(origin));
        let limit = config.peers_of_an_address_in_a_swarm();
        if there >= limit {
            return Err(Refusal::TooManyPeersOfAddressInSwarm(limit));
        }
        let limit = config.swarms_of_an_address();
        if there == 0 && held.swarms >= limit {
            return Err(Refusal::TooManySwarmsOfAddress(limit));
        }
        Ok(())
    }

    /// Counts a member that is in the swarm now.
    pub(super) fn joined(&mut self, origin: Origin, swarm: &Swarm) {
        let held = self.held.entry(origin).or_default();
        held.peers += 1;
        held.swarms += usize::from(swarm.members_of(origin) == 1);
    }

    /// Counts a member that is no longer in the swarm.
    pub(super) fn left(&mut self, origin: Origin, swarm: &Swarm) {
        let Some(held) = self.held.get_mut(&origin) else { return };
        held.peers -= 1;
        held.swarms -= usize::from(swarm.members_of(origin) == 0);
        if held.peers == 0 {
            self.held.remove(&origin);
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Origin, Held)> {
        self.held.iter().map(|(origin, held)| (*origin, *held))
    }
}
