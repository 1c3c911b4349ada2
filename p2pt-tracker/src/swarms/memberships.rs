//! What one connection is a member of.

use p2pt_proto::{InfoHash, PeerId};

/// A peer id in a swarm.
pub(super) type Membership = (InfoHash, PeerId);

/// Memberships in their order. Most connections have one, for which a tree would take as much as for eleven.
#[derive(Debug, Default)]
pub(super) struct Memberships(Vec<Membership>);

impl Memberships {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Membership> {
        self.0.iter().copied()
    }

    pub(super) fn contains(&self, membership: &Membership) -> bool {
        self.0.binary_search(membership).is_ok()
    }

    /// How many peer ids are in this swarm.
    pub(super) fn in_swarm(&self, info_hash: InfoHash) -> usize {
        let first = self.0.partition_point(|(hash, _)| *hash < info_hash);
        self.0[first..].iter().take_while(|(hash, _)| *hash == info_hash).count()
    }

    pub(super) fn insert(&mut self, membership: Membership) {
        if let Err(position) = self.0.binary_search(&membership) {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(position, membership);
        }
    }

    pub(super) fn remove(&mut self, membership: &Membership) {
        if let Ok(position) = self.0.binary_search(membership) {
            self.0.remove(position);
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}
