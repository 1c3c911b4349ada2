//! Who a peer is, and how far it is known.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use p2pt_mesh::mesh::ChannelId;
use p2pt_proto::PeerId;
use p2pt_trust::{Pin, PublicKey, SafetyCode, Trust, TrustStore, Vouchers};
use tracing::error;

use super::Peer;
use crate::queue::lock;
use crate::trust::Proven;

/// What is known of who a peer is.
#[derive(Debug)]
pub(crate) struct PeerTrust {
    key: Option<PublicKey>,
    /// Those of the open channels, by the channels' labels: of several channels both sides keep the one with the least.
    safety_codes: Mutex<BTreeMap<(Box<str>, ChannelId), SafetyCode>>,
    /// Which trackers show its key.
    vouchers: Mutex<Vouchers>,
    /// How far it was known when that was last looked at, once it is connected.
    last: Mutex<Option<Trust>>,
}

impl PeerTrust {
    pub(super) fn new(key: Option<PublicKey>) -> Self {
        Self { key, safety_codes: Mutex::default(), vouchers: Mutex::default(), last: Mutex::new(None) }
    }

    /// A channel has opened, the only one or a further one.
    pub(super) fn add_safety_code(&self, channel: ChannelId, proven: Option<&Proven>, is_only: bool) {
        let mut codes = lock(&self.safety_codes);
        if is_only {
            codes.clear();
        }
        codes.extend(proven.map(|proven| ((proven.label.clone(), channel), proven.safety_code)));
    }

    /// A channel has closed. The code of the last one remains to be seen.
    pub(super) fn remove_safety_code(&self, channel: ChannelId) {
        let mut codes = lock(&self.safety_codes);
        if codes.len() > 1 {
            codes.retain(|(_, id), _| *id != channel);
        }
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

    /// What this side and the peer see alike, and differently if another peer stands between: three words, or five pictures, for
    /// two people to compare, who then [pin](crate::Node::pin) each other. While the two have several channels, it is that of
    /// the one which both will keep; `None` for a peer without a key.
    pub fn safety_code(&self) -> Option<SafetyCode> {
        lock(&self.0.trust.safety_codes).values().next().copied()
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

    /// How far it is known as the peer that is pinned under a name: [`Trust::Changed`] if it has another key, or none.
    pub fn trust_as(&self, name: &str) -> Trust {
        let key = self.0.settings.config.pins.as_ref().and_then(|pins| pins.key_of(name));
        self.decide(key.map(|key| Pin { name: name.to_owned(), key }).as_ref())
    }

    fn decide(&self, expected: Option<&Pin>) -> Trust {
        let key = self.0.trust.key;
        let pins = self.0.settings.config.pins.as_ref();
        let name = key.and_then(|key| pins.and_then(|pins| name_of(&**pins, &key)));
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

/// The name under which a key is pinned. A store that panics has not pinned it: that is the application's mistake, and the
/// node, which asks too, goes on.
fn name_of(pins: &dyn TrustStore, key: &PublicKey) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| pins.name_of(key))).unwrap_or_else(|_| {
        error!(?key, "the store of pins panicked; the key is taken for one that is not pinned");
        None
    })
}
