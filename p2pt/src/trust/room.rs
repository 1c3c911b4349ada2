//! A swarm that only those find and join who have its secret.

use p2pt_trust::{MemberKey, RoomSecret, SealKey};

/// The keys of a room.
#[derive(Debug)]
pub(crate) struct Room {
    seal: SealKey,
    member: MemberKey,
    is_sealed: bool,
}

impl Room {
    pub(crate) fn new(secret: &RoomSecret, is_sealed: bool) -> Self {
        Self { seal: secret.seal_key(), member: secret.member_key(), is_sealed }
    }

    /// Whether its descriptions are sealed, so that peers without the secret have no way in.
    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    pub(super) fn seal_key(&self) -> &SealKey {
        &self.seal
    }

    pub(super) fn member_key(&self) -> &MemberKey {
        &self.member
    }
}
