//! Who a node is, and with whom it speaks.

use std::sync::Arc;
use std::time::Duration;

use p2pt_trust::{NodeKey, Policy, TrustStore};

use super::Builder;
use crate::handshake::{Accepted, Candidate, Handshake, HandshakeError};

impl Builder {
    /// Uses this key, by which others know the node from run to run, instead of one drawn for this run. The node's peer id
    /// follows from it, and from 16 bytes that are drawn for each run.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use p2pt::trust::NodeKey;
    ///
    /// let key = NodeKey::random(); // which a program keeps: `key.reveal()` is its text
    /// let (swarm, _events) = world.builder().key(key.clone()).join("room").await?;
    /// assert_eq!(swarm.node().public_key(), Some(key.public_key()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(mut self, key: NodeKey) -> Self {
        self.trust.key = Some(key);
        self
    }

    /// With which peers the node speaks: with all unless configured, since JavaScript peers have no key. Peers that are
    /// turned away are told by [`ConnectionRejected`](crate::Event::ConnectionRejected).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use p2pt::trust::{NodeKey, Policy};
    ///
    /// let (alice, bob) = (NodeKey::random(), NodeKey::random());
    /// let only_bob = Policy::Only([bob.public_key()].into());
    /// let (at_alice, _events) = world.builder().key(alice).policy(only_bob).join("room").await?;
    /// let (_bob, _events) = world.builder().key(bob.clone()).join("room").await?;
    /// let (_stranger, _events) = world.join("room").await;
    /// assert_eq!(at_alice.wait_for_peer().await?.public_key(), Some(bob.public_key()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn policy(mut self, policy: Policy) -> Self {
        self.trust.policy = policy;
        self
    }

    /// Takes pins, which are names and the keys that people have recognised as theirs, from here: see
    /// [`Peer::trust`](crate::Peer::trust).
    pub fn trust_store(mut self, store: Arc<dyn TrustStore>) -> Self {
        self.peers.pins = Some(store);
        self
    }

    /// Holds each peer back until so many trackers, on different hosts, show its key, this node included among those that
    /// ask: [`PeerConnected`](crate::Event::PeerConnected) comes then, and after 60 s without agreement
    /// [`NotVouched`](crate::RejectReason::NotVouched) in its place. Peers without a key are turned away. With 0 or 1,
    /// which is the default, the tracker that introduces a peer is enough.
    ///
    /// It proves *reach, not honesty*: a tracker that shows another peer than the others do is found out, a stranger who
    /// announces at all of them is not. Where a friend's key is known, [`policy`](Self::policy) proves more.
    pub fn require_agreement(mut self, trackers: usize) -> Self {
        self.trust.agreement = trackers;
        self
    }

    /// Has the application speak with each candidate before it is a peer, in every swarm of the node, and accept it or turn
    /// it away: what is to be proven beside a key, such as an invitation or a place in a list. Other members know of it when
    /// `PeerConnected` comes, and no message before that. All members of a swarm must do the same handshake, of the same
    /// version: one that does none sees the messages of it as its peer's first ones.
    ///
    /// A candidate that is not accepted within the deadline is
    /// [turned away](crate::RejectReason::Refused), and so is one whose handshake panics. It happens for each channel, also
    /// for further ones of a peer that is met.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// use std::time::Duration;
    ///
    /// use p2pt::{Candidate, Payload};
    ///
    /// let password = |mut candidate: Candidate| async move {
    ///     candidate.send("swordfish").await?;
    ///     match candidate.receive().await? {
    ///         Payload::Text(text) if text == "swordfish" => Ok(candidate.accept()),
    ///         _ => Err(candidate.refuse("that is not the password")),
    ///     }
    /// };
    /// let (alice, _events) = world.builder().handshake(Duration::from_secs(10), password).join("room").await?;
    /// let (bob, _events) = world.builder().handshake(Duration::from_secs(10), password).join("room").await?;
    /// assert_eq!(alice.wait_for_peer().await?.id(), bob.peer_id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn handshake<F>(mut self, deadline: Duration, shake: impl Fn(Candidate) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Accepted, HandshakeError>> + Send + 'static,
    {
        self.handshake = Some(Handshake::new(deadline, shake));
        self
    }
}
