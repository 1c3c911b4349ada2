//! Who a peer is, and how far it is known.

use std::sync::Mutex;

use p2pt_proto::PeerId;
use p2pt_trust::{Pin, PublicKey, SafetyCode, Trust, Vouchers};

use super::Peer;
use crate::queue::lock;

/// What is known of who a peer is.
#[derive(Debug)]
pub(crate) struct PeerTrust {
    key: Option<PublicKey>,
    safety_code: Mutex<Option<SafetyCode>>,
    /// Which trackers show its key.
    vouchers: Mutex<Vouchers>,
    /// How far it was known when that was last looked at, once it is connected.
    last: Mutex<Option<Trust>>,
}

impl PeerTrust {
    pub(super) fn new(key: Option<PublicKey>) -> Self {
        Self { key, safety_code: Mutex::new(None), vouchers: Mutex::default(), last: Mutex::new(None) }
    }

    pub(super) fn set_safety_code(&self, code: Option<SafetyCode>) {
        *lock(&self.safety_code) = code;
    }

    pub(crate) fn set_vouchers(&self, vouchers: &Vouchers) {
        lock(&self.vouchers).clone_from(vouchers);
    }
}

impl Peer {
    /// Its key, by which it is the same peer from run to run, and which it has proven for each of its channels. A JavaScript
    /// peer has none, nor has one of this library to which a [peer id](crate::Builder::peer_id) was given, or one whose
    /// signature a tracker has taken away.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.0.trust.key
    }

    /// What this side and the peer see alike, and differently if somebody stands between: three words, or five pictures, for
    /// two people to compare, who then [pin](crate::Node::pin) each other. It is that of the connection that opened first of
    /// those that are open now; `None` for a peer without a key.
    pub fn safety_code(&self) -> Option<SafetyCode> {
        *lock(&self.0.trust.safety_code)
    }

    /// How far it is known: by a pin under any name, by the trackers that show its key, or not at all.
    /// [`TrustChanged`](crate::Event::TrustChanged) tells when it rises or falls.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::sync::Arc;
    /// # let world = p2pt::testing::World::new(1);
    /// # let (bob, _bob_events) = world.join("room").await;
    /// use p2pt::trust::{MemoryStore, Trust};
    ///
    /// let (swarm, _events) = world.builder().trust_store(Arc::new(MemoryStore::new())).join("room").await?;
    /// let peer = swarm.wait_for_peer().await?;
    /// assert_eq!(peer.trust(), Trust::FirstUse { through: 1 });
    /// // The two people have compared `peer.safety_code()`.
    /// let key = peer.public_key().ok_or("it runs another library")?;
    /// swarm.node().pin("bob", &key).await?;
    /// assert_eq!(peer.trust(), Trust::Pinned { name: "bob".into() });
    /// # Ok(())
    /// # }
    /// ```
    pub fn trust(&self) -> Trust {
        self.decide(None)
    }

    /// How far it is known as the one who is pinned under a name: [`Trust::Changed`] if it is another one.
    pub fn trust_as(&self, name: &str) -> Trust {
        let key = self.0.settings.config.pins.as_ref().and_then(|pins| pins.key_of(name));
        self.decide(key.map(|key| Pin { name: name.to_owned(), key }).as_ref())
    }

    fn decide(&self, expected: Option<&Pin>) -> Trust {
        let key = self.0.trust.key;
        let pins = self.0.settings.config.pins.as_ref();
        let name = key.and_then(|key| pins.and_then(|pins| pins.name_of(&key)));
        Trust::decide(key.as_ref(), expected, name.as_deref(), &lock(&self.0.trust.vouchers))
    }

    /// How far it was known before and is now, if that has changed since it was last asked.
    pub(crate) fn trust_change(&self) -> Option<(Trust, Trust)> {
        let now = self.trust();
        let was = lock(&self.0.trust.last).replace(now.clone())?;
        (was != now).then_some((was, now))
    }

    /// Its id and its key.
    pub(crate) fn who(&self) -> (PeerId, Option<PublicKey>) {
        (self.0.id, self.0.trust.key)
    }
}
