//! Worlds for tests: trackers and any number of nodes in one process, in memory, under virtual time, from a seed
//! (feature `testing`).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # use std::time::Duration;
//! # use p2pt::{Event, testing::World};
//! let world = World::new(7);
//! let (alice, _alice_events) = world.join("room").await;
//! let (bob, mut bob_events) = world.join("room").await;
//! world.until(Duration::from_secs(10), || alice.peer(&bob.peer_id()).is_some()).await.expect("they meet");
//! alice.queue_all("hello");
//! # loop {
//! #     if let Some(Event::Message(message)) = bob_events.next().await {
//! #         assert_eq!(message.text(), Some("hello"));
//! #         break;
//! #     }
//! # }
//! # }
//! ```
//!
//! A node of a world is one like any other, with an in-memory network in place of WebRTC and streams in memory in place
//! of TCP; its tracker is the one of the feature `server`. A program that takes its [`Builder`], or its [`Swarm`] and
//! [`Events`], as arguments is tested without a change.
//!
//! # Time
//!
//! The clock of a world stands still while any task has something to do, and jumps to the next timer when none has: an
//! hour passes in moments, and a test that waits for a time-out waits for nothing. This is tokio's paused time, which
//! [`World::new`] turns on where it is not on already; so a plain `#[tokio::test]` suffices, or any other runtime of one
//! thread. tokio's feature `test-util`, which provides it, comes with the feature `testing`. Therefore name it among the
//! `[dev-dependencies]` alone:
//!
//! ```toml
//! [dev-dependencies]
//! p2pt = { version = "0.1", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt"] }
//! ```
//!
//! What a test times or waits for must be of tokio (`tokio::time::Instant`, `sleep`, `timeout`), since the clock of `std`
//! goes on as always.
//!
//! A wait for what never comes never fails of itself: the timers of nodes and trackers go on, so the clock jumps on and on,
//! and the test runs for ever. So wrap each wait in `tokio::time::timeout`, which costs no real time here:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # use std::time::Duration;
//! # use p2pt::testing::World;
//! # let world = World::new(7);
//! # let (_alice, mut events) = world.join("room").await;
//! # let (_bob, _bob_events) = world.join("room").await;
//! let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await.expect("within a minute");
//! # drop(event);
//! # }
//! ```
//!
//! [`World::until`] has its deadline as an argument.
//!
//! Threads and `spawn_blocking` hold the clock while they run; real sockets do not, so that time-outs
//! of what waits for them strike at once.
//!
//! # Chance
//!
//! The seed decides all that a world and its nodes leave to chance: ids, delays, who gets which offer. The same program
//! with the same seed has the same events in the same order, as long as nothing else in it is random; tokio's `select!`
//! without `biased` is.

mod trackers;
mod uplink;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2pt_tracker::{Family, ServerConfig, TrackerService};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, sleep};

use crate::queue::lock;
use crate::{Builder, Events, P2pt, Swarm, SwarmKey};

pub use p2pt_transport::memory::{Break, Conditions, MemoryConfig, MemoryNetwork, MemoryTransport, NodeId};
pub use trackers::Trackers;
pub use uplink::Uplink;

/// How often [`until`] looks.
const GLANCE: Duration = Duration::from_millis(100);

/// Trackers and any number of nodes in one process, under virtual time.
///
/// There is one tracker from the beginning. Nodes are told apart by their [`Swarm`]; any of the swarms of a node means
/// the whole node.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use std::time::Duration;
/// # use p2pt::testing::World;
/// let world = World::new(7);
/// world.start_tracker("ws://spare.test/announce");
/// let (alice, _events) = world.join("room").await;
/// let (bob, _events) = world.builder().request_timeout(Duration::from_secs(2)).join("room").await.expect("a node");
/// world.stop_tracker(World::TRACKER);
/// world.until(Duration::from_secs(60), || alice.peers().len() == 1).await.expect("they meet at the other tracker");
///
/// world.kill(&bob);
/// let noticed = world.until(Duration::from_secs(60), || alice.peers().is_empty()).await.expect("a death is noticed");
/// assert!(noticed <= Duration::from_secs(6));
/// # }
/// ```
#[derive(Debug)]
pub struct World {
    network: MemoryNetwork,
    trackers: Trackers,
    /// The trackers that nodes are given.
    urls: Mutex<Vec<String>>,
    places: Mutex<Vec<Arc<Place>>>,
    rng: Mutex<StdRng>,
}

/// Where a node is in a world.
#[derive(Debug)]
pub(crate) struct Place {
    node: NodeId,
    uplink: Uplink,
    unplugged: Mutex<bool>,
}

impl World {
    /// The announce URL of the tracker that is there from the beginning.
    pub const TRACKER: &str = "ws://tracker.test/announce";

    /// A world with a tracker and without nodes, in which one way takes 10 ms. Pauses tokio's clock.
    ///
    /// # Panics
    /// Outside a tokio runtime, and in one of several threads, whose clock cannot be paused.
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, MemoryConfig::default())
    }

    /// A world whose network behaves as told.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with_config(seed: u64, config: MemoryConfig) -> Self {
        pause_time();
        let mut rng = StdRng::seed_from_u64(seed);
        let network = MemoryNetwork::with_config(rng.random(), config);
        let world = Self {
            network,
            trackers: Trackers::new(),
            urls: Mutex::default(),
            places: Mutex::default(),
            rng: Mutex::new(rng),
        };
        world.start_tracker(Self::TRACKER);
        world
    }

    /// The network between the nodes, where delays, rates and faults are set; the way to the trackers takes no time.
    pub fn network(&self) -> &MemoryNetwork {
        &self.network
    }

    /// The trackers, for one with a configuration of its own, or of another make.
    pub fn trackers(&self) -> &Trackers {
        &self.trackers
    }

    /// The node that a swarm is of, as the [network](Self::network) names it.
    ///
    /// # Panics
    /// If it is not of this world; so does everything here that takes a swarm.
    pub fn node_id(&self, swarm: &Swarm) -> NodeId {
        self.place(swarm).node
    }

    /// Starts a tracker, or starts it again with its memory lost. Nodes that start later know it; to those that are
    /// there [add](crate::Node::add_tracker) one that is new.
    ///
    /// # Panics
    /// If `url` is no announce URL.
    pub fn start_tracker(&self, url: &str) -> TrackerService {
        let mut urls = lock(&self.urls);
        if !urls.iter().any(|known| known == url) {
            urls.push(url.to_owned());
        }
        let mut config = ServerConfig::default();
        config.seed = Some(lock(&self.rng).random());
        self.trackers.start(url, config)
    }

    /// Ends a tracker abruptly, as a crash does. Nodes go on trying to reach it.
    ///
    /// # Panics
    /// If `url` is no announce URL.
    pub fn stop_tracker(&self, url: &str) {
        self.trackers.crash(url);
    }

    /// Starts a node and joins a swarm.
    ///
    /// # Panics
    /// If the node does not start.
    pub async fn join(&self, key: impl Into<SwarmKey>) -> (Swarm, Events) {
        self.builder().join(key).await.unwrap_or_else(|error| panic!("a node of the world does not start: {error}"))
    }

    /// A node of this world that knows all its trackers, for settings of its own. Each builder makes one node, and
    /// transport, connector and seed are set.
    pub fn builder(&self) -> Builder {
        let urls = lock(&self.urls).clone();
        self.builder_at(urls)
    }

    /// A node of this world that knows these trackers, which may be down, or not started yet.
    pub fn builder_at<U: Into<String>>(&self, trackers: impl IntoIterator<Item = U>) -> Builder {
        let transport = self.network.transport();
        let place = Place { node: transport.node(), uplink: Uplink::new(), unplugged: Mutex::new(false) };
        let place = Arc::new(place);
        let mut places = lock(&self.places);
        places
            .iter()
            .filter(|other| *lock(&other.unplugged))
            .for_each(|other| self.network.cut(place.node, other.node));
        places.push(place.clone());
        let connector = self.trackers.connector(&[Family::V4], &place.uplink);
        let builder = P2pt::builder().trackers(trackers).transport(transport).connector(connector);
        let mut builder = builder.seed(lock(&self.rng).random());
        builder.place = Some(place);
        builder
    }

    /// Kills a node as `kill -9` does: its channels fall silent, its sockets to trackers just end, and its event streams
    /// end.
    pub fn kill(&self, swarm: &Swarm) {
        let place = self.place(swarm);
        place.uplink.shut();
        self.network.kill(place.node);
        self.trackers.drop_sockets(&place.uplink);
        swarm.node.shared.stop.cancel();
    }

    /// Stops a node as `kill -STOP` does: peers and trackers hear nothing of it, and it hears nothing. Its tasks run.
    pub fn freeze(&self, swarm: &Swarm) {
        let place = self.place(swarm);
        place.uplink.shut();
        self.network.freeze(place.node);
    }

    /// Lets a stopped node go on.
    pub fn thaw(&self, swarm: &Swarm) {
        let place = self.place(swarm);
        place.uplink.open();
        self.network.thaw(place.node);
    }

    /// Takes its networks from a node: its channels and its sockets to trackers fall silent, and new sockets fail at
    /// once.
    pub fn unplug(&self, swarm: &Swarm) {
        self.set_unplugged(swarm, true);
    }

    /// Gives a node its networks back. What did not last as long as a channel takes to notice its peer's silence goes
    /// unnoticed. Otherwise peers are back when trackers are reached again, which are tried every 60 s at least: wait for
    /// 65 s.
    pub fn plug_in(&self, swarm: &Swarm) {
        self.set_unplugged(swarm, false);
    }

    fn set_unplugged(&self, swarm: &Swarm, unplugged: bool) {
        let place = self.place(swarm);
        *lock(&place.unplugged) = unplugged;
        for other in lock(&self.places).iter().filter(|other| other.node != place.node) {
            if unplugged {
                self.network.cut(place.node, other.node);
            } else if !*lock(&other.unplugged) {
                self.network.mend(place.node, other.node);
            }
        }
        if unplugged { place.uplink.unplug() } else { place.uplink.open() }
    }

    /// Gives a node another network address, as moving to another network does: its sockets to trackers break when it
    /// next writes, and the trackers do not hear of it. Channels survive.
    pub fn change_address(&self, swarm: &Swarm) {
        self.place(swarm).uplink.change_address();
    }

    /// Lets virtual time pass, with all that happens in it.
    ///
    /// Unlike `tokio::time::advance`, which jumps over the timers in between and lets all of them strike late, at once.
    pub async fn advance(&self, by: Duration) {
        sleep(by).await;
    }

    /// See [`until`].
    pub async fn until(&self, within: Duration, is_true: impl FnMut() -> bool) -> Option<Duration> {
        until(within, is_true).await
    }

    fn place<'a>(&self, swarm: &'a Swarm) -> &'a Place {
        let place = swarm.node.shared.place.as_ref();
        let own = |place: &&Arc<Place>| lock(&self.places).iter().any(|own| Arc::ptr_eq(own, place));
        place.filter(own).unwrap_or_else(|| panic!("node {} is not of this world", swarm.peer_id()))
    }
}

/// Waits in virtual time until something has come true, and says how long it took, to a tenth of a second; `None` if it
/// did not in time.
pub async fn until(within: Duration, mut is_true: impl FnMut() -> bool) -> Option<Duration> {
    let start = Instant::now();
    while !is_true() {
        if start.elapsed() >= within {
            return None;
        }
        sleep(GLANCE).await;
    }
    Some(start.elapsed())
}

/// Pauses tokio's clock, unless it is paused.
fn pause_time() {
    let Ok(runtime) = Handle::try_current() else {
        panic!("a world is made within a tokio runtime: mark the test `#[tokio::test]`");
    };
    assert!(
        runtime.runtime_flavor() != RuntimeFlavor::MultiThread,
        "the time of a world is virtual, which takes a runtime of one thread: `#[tokio::test]` without a flavor, or \
         `#[tokio::main(flavor = \"current_thread\")]`"
    );
    if !is_paused() {
        tokio::time::pause();
    }
}

/// Whether tokio's clock stands still, which tokio does not say, and panics when it is asked to pause twice.
#[expect(clippy::disallowed_methods, reason = "what tokio's clock does is seen beside one that goes")]
fn is_paused() -> bool {
    let (start, paused) = (std::time::Instant::now(), Instant::now());
    while start.elapsed() < Duration::from_micros(10) {
        std::hint::spin_loop();
    }
    paused.elapsed().is_zero()
}
