//! Who a peer is, and who may talk: keys, policies, pins, rooms with a secret, and codes.
//!
//! A node has a key, by which others know it, and signs with it what it says to trackers. Between two nodes of this library
//! nothing reaches the application before both ends of the channel have proven the keys of their descriptions, so that no
//! tracker, and nothing else in between, can take an id that belongs to a key, or read along between two peers that know each
//! other's. How a program uses it is in [`guide::trust`](crate::guide::trust), what it promises in
//! [`guide::promises`](crate::guide::promises) and in `SECURITY.md` of this crate.
//!
//! | for | there is |
//! |---|---|
//! | being known from run to run | [`Builder::key`](crate::Builder::key) with a [`NodeKey`] that the program keeps |
//! | who a peer is | [`Peer::public_key`](crate::Peer::public_key), and [`Peer::safety_code`](crate::Peer::safety_code) for people to compare |
//! | speaking with some peers only | [`Builder::policy`](crate::Builder::policy) |
//! | remembering friends by name | [`Builder::trust_store`](crate::Builder::trust_store), with [`MemoryStore`] or, of the feature `store`, `JsonFileStore` |
//! | a swarm that only those with a secret find and join | [`RoomLink`], [`RoomSecret`]; see [`SwarmKey`](crate::SwarmKey) |
//! | two people who meet by four words that one reads to the other | [`Code`], [`SwarmKey::code`](crate::SwarmKey::code) |
//! | what else is to be proven before a candidate is a peer | [`Builder::handshake`](crate::Builder::handshake) |
//!
//! All of it is in the crate `p2pt-trust`, without sockets, for programs that speak this protocol by other means.

mod confirm;
mod descriptions;
mod pairing;
mod room;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use p2pt_proto::PeerId;
use p2pt_rt::Instant;
use p2pt_trust::{NodeIdentity, PolicyError, ReplayMemory, SdpHash};

use crate::RejectReason;
use crate::queue::lock;

#[cfg(all(feature = "store", not(target_family = "wasm")))]
pub use p2pt_trust::JsonFileStore;
pub use p2pt_trust::{
    CODE_ATTEMPTS, CODE_LIFETIME, Code, CodeError, Emoji, KeyError, LinkError, MemoryStore, NodeKey, Passphrase,
    PassphraseError, Pin, Policy, PublicKey, RoomKey, RoomLink, RoomSecret, SafetyCode, Side, StoreError, StretchError,
    Trust, TrustLevel, TrustStore,
};

pub(crate) use confirm::{Proven, confirm};
pub(crate) use descriptions::{Author, Descriptions, OwnDescription, Proof, ReadAnswer, ReadDescription};
pub(crate) use pairing::Pairing;
pub(crate) use room::Room;

/// Keys that are remembered with their ids after their peers have gone: those of the last thousands of meetings, at some
/// hundred bytes each.
const KNOWN_KEYS: usize = 4096;

/// Signed offers that are remembered, so that none is answered twice: more than a tracker sends in ten minutes.
const REMEMBERED_OFFERS: usize = 8192;

/// What the application sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustConfig {
    pub(crate) key: Option<NodeKey>,
    pub(crate) policy: Policy,
    pub(crate) agreement: usize,
}

/// What all swarms of a node have in common.
#[derive(Debug)]
pub(crate) struct NodeTrust {
    /// `None` for a node with a peer id of the application's, which cannot sign.
    identity: Option<Arc<NodeIdentity>>,
    policy: Policy,
    /// How many trackers are to show a peer's key.
    agreement: usize,
    known: Mutex<KnownKeys>,
    /// Keys of which a description has shown that an id follows from them. They are apart from those that were proven on a
    /// channel, since a peer can sign any number of descriptions with keys of its own.
    shown: Mutex<KnownKeys>,
    offers: Mutex<ReplayMemory>,
}

impl NodeTrust {
    pub(crate) fn new(identity: Option<NodeIdentity>, policy: Policy, agreement: usize) -> Self {
        Self {
            identity: identity.map(Arc::new),
            policy,
            agreement,
            known: Mutex::default(),
            shown: Mutex::default(),
            offers: Mutex::new(ReplayMemory::new(REMEMBERED_OFFERS)),
        }
    }

    pub(crate) fn identity(&self) -> Option<&Arc<NodeIdentity>> {
        self.identity.as_ref()
    }

    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        self.identity.as_ref().map(|identity| identity.public_key())
    }

    /// How many trackers are to show a peer's key before it is let in.
    pub(crate) fn agreement(&self) -> usize {
        self.agreement
    }

    /// A peer has proven its key.
    pub(crate) fn met(&self, id: PeerId, key: PublicKey) {
        lock(&self.known).insert(id, key);
    }

    /// Whether a peer that comes under this id with this key, or with none, is welcome.
    ///
    /// From the first signed description on the id is that of its key, though its peer may never be reached: else a peer
    /// without a key could connect under it during the attempt, and end that.
    pub(crate) fn admits(&self, id: &PeerId, key: Option<&PublicKey>) -> Result<(), RejectReason> {
        if let Some(key) = key {
            lock(&self.shown).insert(*id, *key);
        }
        self.policy.admits(key).map_err(|refused| match refused {
            PolicyError::Unsigned => RejectReason::Unsigned,
            _ => RejectReason::WrongKey,
        })?;
        let has_key = |keys: &Mutex<KnownKeys>| lock(keys).0.contains_key(id);
        if key.is_none() && (self.agreement > 1 || has_key(&self.known) || has_key(&self.shown)) {
            return Err(RejectReason::Unsigned);
        }
        Ok(())
    }

    /// Whether a signed offer has not come before.
    pub(crate) fn is_new(&self, now: Instant, offer: SdpHash) -> bool {
        lock(&self.offers).is_new(now, offer)
    }
}

impl Default for NodeTrust {
    /// That of a node that signs nothing and speaks with all.
    fn default() -> Self {
        Self::new(None, Policy::Open, 0)
    }
}

/// Keys by the ids that follow from them. The one that was met last the longest ago is forgotten when there are too many.
#[derive(Debug, Default)]
struct KnownKeys(BTreeMap<PeerId, PublicKey>, VecDeque<PeerId>);

impl KnownKeys {
    fn insert(&mut self, id: PeerId, key: PublicKey) {
        if self.0.insert(id, key).is_some() {
            self.1.retain(|other| *other != id);
        }
        self.1.push_back(id);
        if self.1.len() > KNOWN_KEYS
            && let Some(oldest) = self.1.pop_front()
        {
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PublicKey {
        NodeKey::from_bytes(&[n; 32]).public_key()
    }

    fn id(n: u32) -> PeerId {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId::from(id)
    }

    #[test]
    fn the_id_of_a_key_is_refused_to_who_has_none_also_later() {
        let trust = NodeTrust::default();
        assert_eq!(trust.admits(&id(1), None), Ok(()));
        trust.met(id(1), key(1));
        assert_eq!(trust.admits(&id(1), None), Err(RejectReason::Unsigned));
        assert_eq!(trust.admits(&id(1), Some(&key(1))), Ok(()));
        assert_eq!(trust.admits(&id(2), None), Ok(()));
    }

    #[test]
    fn a_flood_of_descriptions_does_not_make_a_proven_key_forgotten() {
        let trust = NodeTrust::default();
        trust.met(id(0), key(1));
        for n in 1..=KNOWN_KEYS as u32 + 1 {
            assert_eq!(trust.admits(&id(n), Some(&key(2))), Ok(()));
        }
        assert_eq!(trust.admits(&id(0), None), Err(RejectReason::Unsigned));
        assert_eq!(trust.admits(&id(KNOWN_KEYS as u32), None), Err(RejectReason::Unsigned));
        assert_eq!(trust.admits(&id(1), None), Ok(()), "the oldest one is forgotten");
    }

    #[test]
    fn the_oldest_of_too_many_keys_is_forgotten() {
        let mut known = KnownKeys::default();
        for n in 0..=KNOWN_KEYS as u32 + 1 {
            known.insert(id(n), key(1));
            known.insert(id(n), key(1));
            // One is met again before the first is forgotten.
            if n as usize == KNOWN_KEYS - 1 {
                known.insert(id(1), key(1));
            }
        }
        assert_eq!((known.0.len(), known.1.len()), (KNOWN_KEYS, KNOWN_KEYS));
        assert!([0, 1, 2, 3].map(|n| known.0.contains_key(&id(n))) == [false, true, false, true]);
    }

    #[test]
    fn where_trackers_are_to_agree_there_is_a_key_to_agree_upon() {
        let trust = NodeTrust::new(None, Policy::Open, 2);
        assert_eq!(trust.admits(&id(1), None), Err(RejectReason::Unsigned));
        assert_eq!(trust.admits(&id(1), Some(&key(1))), Ok(()));
    }

    #[test]
    fn a_policy_is_told_in_words_of_this_crate() {
        let trust = |policy| NodeTrust::new(None, policy, 0);
        assert_eq!(trust(Policy::Signed).admits(&id(1), None), Err(RejectReason::Unsigned));
        let only = trust(Policy::Only([key(1)].into()));
        assert_eq!(only.admits(&id(2), Some(&key(2))), Err(RejectReason::WrongKey));
        assert_eq!(only.admits(&id(1), Some(&key(1))), Ok(()));
    }
}
