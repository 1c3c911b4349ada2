//! A seeded network in memory, for tests and simulations.
//!
//! A [`MemoryNetwork`] has any number of nodes, each with a [`MemoryTransport`] of its own. It keeps to tokio's clock, so
//! that under paused time hours pass in milliseconds, and draws every random choice from its seed: the same calls at the
//! same instants have the same outcome. It runs no task and holds no descriptor.
//!
//! Channels behave like WebRTC's: they deliver in order, retransmit across an interruption shorter than the
//! [idle timeout](MemoryConfig::idle_timeout), and end with [`ChannelClosed::Timeout`](crate::ChannelClosed::Timeout) on each
//! side that has received nothing for that long. Faults can be set at any time.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use p2pt_transport::{Frame, Transport, memory::MemoryNetwork};
//!
//! let network = MemoryNetwork::new(1);
//! let (alice, bob) = (network.transport(), network.transport());
//!
//! let offer = alice.offer().await?;
//! let answer = bob.answer(offer.sdp()).await?;
//! let answer_sdp = answer.sdp().to_owned();
//! let (at_alice, mut at_bob) = tokio::try_join!(offer.open(&answer_sdp), answer.open())?;
//!
//! at_alice.sender.send(Frame::text("hello")).await?;
//! assert_eq!(at_bob.receiver.recv().await?, Frame::text("hello"));
//!
//! network.kill(alice.node());
//! assert!(at_bob.receiver.recv().await.is_err());
//! # Ok(())
//! # }
//! ```

mod channel;
mod connection;
mod network;
mod sdp;
mod state;
mod transport;

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

pub use transport::MemoryTransport;

use network::Network;
use state::State;

/// A node of a [`MemoryNetwork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// What a frame meets on its way. Order within a channel is kept whatever the jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// How long one way takes; 10 ms by default. Opening takes five times as long.
    pub latency: Duration,
    /// Up to this much is added to each frame's latency, evenly distributed; none by default.
    pub jitter: Duration,
    /// How many payload bytes a second a channel carries each way; no limit by default.
    pub bytes_per_second: Option<NonZeroU32>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { latency: Duration::from_millis(10), jitter: Duration::ZERO, bytes_per_second: None }
    }
}

impl Conditions {
    /// Sets [`latency`](Self::latency).
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets [`jitter`](Self::jitter).
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Sets [`bytes_per_second`](Self::bytes_per_second).
    #[must_use]
    pub fn bytes_per_second(mut self, rate: NonZeroU32) -> Self {
        self.bytes_per_second = Some(rate);
        self
    }
}

/// How a network behaves. What is set of a channel holds for each of its sides.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The conditions at first, changed by [`MemoryNetwork::set_conditions`].
    pub conditions: Conditions,
    /// The largest frame in bytes; 256 KiB by default, which is all the `webrtc` backend can take.
    pub max_frame_bytes: usize,
    /// How many bytes, with 16 for each frame, wait to be acknowledged before a sender waits; 1 MiB by default. One
    /// frame of any size is taken when nothing waits.
    pub send_buffer_bytes: usize,
    /// How many bytes, with 16 for each frame, wait to be read before the other side's frames are held back; 1 MiB by
    /// default. One frame of any size is taken when nothing waits.
    pub receive_buffer_bytes: usize,
    /// How long after its making an offer may be opened; 2 min by default, more than any tracker keeps one.
    pub offer_lifetime: Duration,
    /// How long `open` waits for the other side; 20 s by default.
    pub connect_timeout: Duration,
    /// After how long a side that receives nothing ends its channel; 5 s by default.
    pub idle_timeout: Duration,
    /// How long a graceful close waits for what was sent to be acknowledged; 3 s by default.
    pub close_timeout: Duration,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            conditions: Conditions::default(),
            max_frame_bytes: 256 * 1024,
            send_buffer_bytes: 1024 * 1024,
            receive_buffer_bytes: 1024 * 1024,
            offer_lifetime: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(3),
        }
    }
}

impl MemoryConfig {
    /// Sets [`conditions`](Self::conditions).
    #[must_use]
    pub fn conditions(mut self, conditions: Conditions) -> Self {
        self.conditions = conditions;
        self
    }

    /// Sets [`max_frame_bytes`](Self::max_frame_bytes).
    #[must_use]
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Sets [`send_buffer_bytes`](Self::send_buffer_bytes).
    #[must_use]
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer_bytes = bytes;
        self
    }

    /// Sets [`receive_buffer_bytes`](Self::receive_buffer_bytes).
    #[must_use]
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = bytes;
        self
    }

    /// Sets [`offer_lifetime`](Self::offer_lifetime).
    #[must_use]
    pub fn offer_lifetime(mut self, lifetime: Duration) -> Self {
        self.offer_lifetime = lifetime;
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets [`close_timeout`](Self::close_timeout).
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }
}

/// Where a channel breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Break {
    /// This many more frames arrive; the next one breaks the channel it travels on.
    AfterFrames(u64),
    /// The frame with which more than this many further payload bytes would have been sent breaks the channel it
    /// travels on.
    AfterBytes(u64),
}

/// The network. Clones are the same one.
#[derive(Debug, Clone)]
pub struct MemoryNetwork {
    network: Arc<Network>,
}

impl MemoryNetwork {
    /// A network with the default behaviour.
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, MemoryConfig::default())
    }

    /// A network with these settings.
    pub fn with_config(seed: u64, config: MemoryConfig) -> Self {
        Self { network: Arc::new(Network::new(State::new(seed, config))) }
    }

    /// A new node.
    pub fn transport(&self) -> Arc<MemoryTransport> {
        Arc::new(MemoryTransport::new(self.network.clone()))
    }

    /// Sets the conditions of every pair that has none of its own; frames under way keep theirs.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.network.with(|state, now| state.set_conditions(conditions, now));
    }

    /// Sets the conditions of one pair, from now on its own.
    pub fn set_conditions_between(&self, a: NodeId, b: NodeId, conditions: Conditions) {
        self.network.with(|state, now| state.set_conditions_between(a, b, conditions, now));
    }

    /// Lets this share of connections fail before they open, 0 to 1; drawn once for each offer when its answer is
    /// applied. Open channels stay.
    ///
    /// # Panics
    /// When the probability is not between 0 and 1.
    pub fn refuse(&self, probability: f64) {
        assert!((0.0..=1.0).contains(&probability), "a probability is between 0 and 1");
        self.network.with(|state, _| state.set_refuse(probability));
    }

    /// Lets every new connection between two nodes fail. Open channels stay.
    pub fn refuse_between(&self, a: NodeId, b: NodeId) {
        self.network.with(|state, _| state.set_refuse_between(a, b, true));
    }

    /// Ends [`refuse_between`](Self::refuse_between).
    pub fn accept_between(&self, a: NodeId, b: NodeId) {
        self.network.with(|state, _| state.set_refuse_between(a, b, false));
    }

    /// Makes everything from one node to another take this much longer on its way than the conditions say: frames,
    /// acknowledgements and closes from now on. Replaces what was set before; zero ends it. What comes back is as fast
    /// as ever.
    pub fn slow_from(&self, from: NodeId, to: NodeId, delay: Duration) {
        self.network.with(|state, now| state.set_slow(from, to, delay, now));
    }

    /// Cuts the path between two nodes, both ways.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.cut_from(a, b);
        self.cut_from(b, a);
    }

    /// Lets nothing from one node arrive at another. The other direction still works.
    ///
    /// As with WebRTC, no connection opens any more, and open channels end on both sides: the one that receives nothing
    /// gives up after the idle timeout and sends a close, which the other sees as
    /// [`ChannelClosed::Remote`](crate::ChannelClosed::Remote). Until then, frames arrive the way that is left, and are
    /// not acknowledged.
    pub fn cut_from(&self, from: NodeId, to: NodeId) {
        self.network.with(|state, now| state.set_cut(from, to, true, now));
    }

    /// Mends what [`cut`](Self::cut) and [`cut_from`](Self::cut_from) cut, both ways. Channels that have not ended go
    /// on and lose nothing.
    pub fn mend(&self, a: NodeId, b: NodeId) {
        self.mend_from(a, b);
        self.mend_from(b, a);
    }

    /// Mends one way.
    pub fn mend_from(&self, from: NodeId, to: NodeId) {
        self.network.with(|state, now| state.set_cut(from, to, false, now));
    }

    /// Cuts these nodes off from all others; among themselves they are connected. A node is in the partition it was
    /// last put in.
    pub fn partition(&self, nodes: &[NodeId]) {
        self.network.with(|state, now| state.partition(nodes, now));
    }

    /// Ends every partition and mends every cut.
    pub fn heal(&self) {
        self.network.with(|state, now| state.heal(now));
    }

    /// Kills a node as `kill -9` does: its channels and pending connections end at once, its transport counts as shut
    /// down, and nothing more arrives from it.
    pub fn kill(&self, node: NodeId) {
        self.network.with(|state, now| state.kill(node, now));
    }

    /// Stops a node as `kill -STOP` does: it reads nothing and sends nothing. Its timers stand still.
    pub fn freeze(&self, node: NodeId) {
        self.network.with(|state, now| state.set_frozen(node, true, now));
    }

    /// Lets a stopped node go on.
    pub fn thaw(&self, node: NodeId) {
        self.network.with(|state, now| state.set_frozen(node, false, now));
    }

    /// Breaks, once, a channel with frames from one node to another: both sides end with
    /// [`ChannelClosed::Failed`](crate::ChannelClosed::Failed). What two nodes' channels carry is counted together.
    pub fn break_after(&self, from: NodeId, to: NodeId, when: Break) {
        self.network.with(|state, _| state.set_break(from, to, when));
    }

    /// Ends of channels that are open now: two for each connection both sides think open.
    pub fn open_channels(&self) -> usize {
        self.network.with(|state, now| state.open_ends(None, now))
    }

    /// Offers and answers that wait for the other side.
    pub fn pending(&self) -> usize {
        self.network.with(|state, _| state.pending())
    }
}
