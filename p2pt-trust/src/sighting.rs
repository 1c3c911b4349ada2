//! "I have met you already", said through another tracker.

use std::fmt;

use p2pt_proto::{InfoHash, PeerId};

use crate::context::{Context, SdpHash};
use crate::encoding::{HASH_BYTES, fields, from_base64, hash, to_base64};
use crate::key::{KEY_BYTES, NodeIdentity, PublicKey, SALT_BYTES, SIGNATURE_BYTES, Salt};

/// What a sighting begins with.
const PREFIX: &str = "p2pt:seen:1:";

/// Bytes of a sighting.
const BYTES: usize = KEY_BYTES + SALT_BYTES + SIGNATURE_BYTES;

/// Names a tracker by its host, without giving the host away at sight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerHost(pub(crate) [u8; HASH_BYTES]);

impl TrackerHost {
    /// The tracker at this host: a name or an address as in its URL, without port and path. Capitals do not matter, nor
    /// a dot at the end.
    ///
    /// Two ports of a host are one tracker here: the operator of the host has both.
    pub fn of(host: &str) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Self(hash("p2pt/tracker/1", &[host.as_bytes()]))
    }

    /// The hash's bytes.
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl From<[u8; HASH_BYTES]> for TrackerHost {
    fn from(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TrackerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "TrackerHost({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// A sighting is none, or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SightingError {
    /// It does not begin with `p2pt:seen:1:`, or not 150 letters of base64 follow, or they hold no key.
    #[error("this is no sighting")]
    Malformed,
    /// The peer id under which it came is not that of its key.
    #[error("the sighting came under the peer id {claimed}, which is not that of its key {key}")]
    WrongId {
        /// The id under which it came.
        claimed: PeerId,
        /// The key in it.
        key: PublicKey,
    },
    /// The key has not signed this, for this tracker and offer.
    #[error("the sighting is not signed by the key {key} for this tracker and this offer")]
    BadSignature {
        /// The key in it.
        key: PublicKey,
    },
}

/// Where a sighting belongs. It holds nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct SightingContext {
    /// The swarm.
    pub swarm: InfoHash,
    /// The tracker through which the offer came, to the one who has seen it, or went, of the one who made it.
    pub tracker: TrackerHost,
    /// The offer that was seen.
    pub offer: SdpHash,
    /// Who made the offer.
    pub offerer: PeerId,
    /// Who has seen it.
    pub author: PeerId,
}

impl SightingContext {
    /// The place that the answer to an offer at this tracker has: a sighting takes its place. `None` for an offer.
    pub fn of_answer(context: &Context, tracker: TrackerHost) -> Option<Self> {
        let (offer, offerer) = context.answered()?;
        Some(Self { swarm: context.swarm, tracker, offer, offerer, author: context.author })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { swarm, tracker, offer, offerer, author } = self;
        let parts: [&[u8]; 5] =
            [swarm.as_bytes(), tracker.as_bytes(), offer.as_bytes(), offerer.as_bytes(), author.as_bytes()];
        fields("p2pt/seen/1", &parts)
    }
}

/// Whether an answer's text says that it is a sighting, in any version.
pub fn is_sighting(sdp: &str) -> bool {
    sdp.starts_with("p2pt:seen:")
}

/// A signed word that an offer of a connected peer came through another tracker. It is sent in place of an answer, as its
/// `sdp`.
///
/// It proves that the peer with this key is present at that tracker, no more: a tracker that shows another peer under
/// a peer's id is found out, a stranger who announces everywhere is not.
///
/// Only the key, the salt and the signature travel. Everything else that is signed the reader knows itself, and what is not
/// sent cannot differ from it.
pub fn sight(context: &SightingContext, identity: &NodeIdentity) -> String {
    let signature = identity.key().sign(&context.signed_bytes());
    let bytes = [&identity.public_key().as_bytes()[..], identity.salt().as_bytes(), &signature].concat();
    format!("{PREFIX}{}", to_base64(&bytes))
}

/// Reads and verifies a sighting: the key whose node has seen the offer. It counts only if that key is the one of the peer
/// that is connected under this id.
pub fn verify_sighting(sdp: &str, context: &SightingContext) -> Result<PublicKey, SightingError> {
    let text = sdp.strip_prefix(PREFIX).ok_or(SightingError::Malformed)?;
    let bytes: [u8; BYTES] = from_base64(text).ok_or(SightingError::Malformed)?;
    let (key, rest) = bytes.split_first_chunk().ok_or(SightingError::Malformed)?;
    let (salt, rest) = rest.split_first_chunk().ok_or(SightingError::Malformed)?;
    let signature = rest.try_into().map_err(|_| SightingError::Malformed)?;
    let key = PublicKey::from_bytes(*key).map_err(|_| SightingError::Malformed)?;
    if key.peer_id(&Salt(*salt)) != context.author {
        return Err(SightingError::WrongId { claimed: context.author, key });
    }
    if key.verifies(&context.signed_bytes(), &signature) { Ok(key) } else { Err(SightingError::BadSignature { key }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::NodeKey;

    fn identity(byte: u8) -> NodeIdentity {
        NodeIdentity::with_salt(NodeKey::from_bytes(&[byte; 32]), Salt([byte; 16]))
    }

    fn context() -> SightingContext {
        SightingContext {
            swarm: InfoHash::of("room"),
            tracker: TrackerHost::of("tracker.example"),
            offer: SdpHash::of("offer"),
            offerer: identity(2).peer_id(),
            author: identity(1).peer_id(),
        }
    }

    #[test]
    fn a_sighting_holds_for_one_tracker_and_one_offer() {
        let seen = sight(&context(), &identity(1));
        assert!(is_sighting(&seen) && seen.len() == 12 + 150, "{seen}");
        assert_eq!(verify_sighting(&seen, &context()), Ok(identity(1).public_key()));
        let elsewhere = [
            SightingContext { swarm: InfoHash::of("other"), ..context() },
            SightingContext { tracker: TrackerHost::of("other.example"), ..context() },
            SightingContext { offer: SdpHash::of("other"), ..context() },
            SightingContext { offerer: identity(3).peer_id(), ..context() },
        ];
        for context in elsewhere {
            let key = identity(1).public_key();
            assert_eq!(verify_sighting(&seen, &context), Err(SightingError::BadSignature { key }));
        }
        let claimed = identity(3).peer_id();
        let other = SightingContext { author: claimed, ..context() };
        let wrong = SightingError::WrongId { claimed, key: identity(1).public_key() };
        assert_eq!(verify_sighting(&seen, &other), Err(wrong));
    }

    #[test]
    fn what_is_no_sighting_is_none() {
        let seen = sight(&context(), &identity(1));
        for text in ["", "v=0\r\n", "p2pt:seen:2:", &seen[..seen.len() - 1], &format!("{seen}A")] {
            assert_eq!(verify_sighting(text, &context()), Err(SightingError::Malformed), "{text}");
        }
    }

    #[test]
    fn it_is_made_of_an_answers_place() {
        let (swarm, tracker) = (context().swarm, context().tracker);
        let answer = Context::answer(swarm, context().author, context().offer, context().offerer);
        let made = SightingContext::of_answer(&answer, tracker).unwrap();
        assert!(verify_sighting(&sight(&made, &identity(1)), &context()).is_ok());
        assert!(SightingContext::of_answer(&Context::offer(swarm, context().author), tracker).is_none());
    }

    #[test]
    fn a_host_is_the_same_however_it_is_written() {
        assert_eq!(TrackerHost::of("Tracker.Example."), TrackerHost::of("tracker.example"));
        assert_ne!(TrackerHost::of("tracker.example"), TrackerHost::of("tracker.example.org"));
    }
}
