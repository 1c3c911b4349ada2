//! Random traffic over sessions of p2pt/2 whose channels break, and the account of what must hold.
//!
//! A [`Plan`] starts nodes in a simulation, has them send messages, requests and streams to each other, breaks things
//! meanwhile, and checks at the end that nothing was lost, doubled or reordered. What it does follows from its seed.

mod faults;
mod ledger;
mod streams;
mod traffic;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p2pt::{Builder, Limits, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use crate::sim::{Sim, until};

pub use faults::Breakable;
use ledger::Ledger;
pub use ledger::Totals;
use traffic::Member;

const TRACKER: &str = "ws://tracker.test/announce";
const IDENTIFIER: &str = "room";

/// The largest message that nodes take here.
const MAX_MESSAGE: usize = 8 << 20;

/// What all peers together may make a node hold, and what may be queued for them.
const RECEIVE_MEMORY: usize = 64 << 20;
const SEND_MEMORY: usize = 64 << 20;

/// Requests and sends do not end for lack of time here, so that whatever has no outcome is lost.
const PATIENCE: Duration = Duration::from_secs(3600);

/// By when peers are back after several losses: trackers are asked every fifteen seconds then.
const SLOWLY_BACK_WITHIN: Duration = Duration::from_secs(40);

/// By when everything has come to its end after the last fault: the longest that peers take to meet again, and what is left
/// to send.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);

/// How severe the faults of a plan are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// None at all.
    None,
    /// Those that no application sees: channels that break, and silence that is shorter than what ends a session. One follows
    /// upon another at once, and peers may take as long to come back as trackers are asked for again after several losses.
    Hidden,
    /// The same at least a minute apart, after which trackers are asked again at once: peers come back within the usual time.
    Apart,
    /// All: long cuts, deaths and leaves too.
    Any,
}

/// What is to happen.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// How many nodes there are, at least 2.
    pub nodes: usize,
    /// How many messages they send together, requests among them; responses come on top.
    pub messages: usize,
    /// What breaks.
    pub faults: Faults,
}

/// What all parts of a run share.
#[derive(Debug)]
struct Run {
    plan: Plan,
    ledger: Ledger,
    /// Messages that are still to be sent.
    left: AtomicUsize,
    /// The traffic is over: what was kept unread is let go.
    is_over: AtomicBool,
    /// The nodes shut down: peers close.
    is_closing: AtomicBool,
    /// The numbers of all nodes that ever were, by their ids.
    numbers: Mutex<BTreeMap<PeerId, usize>>,
}

impl Run {
    /// Randomness of its own for a part of the run.
    fn rng(&self, part: u64) -> StdRng {
        StdRng::seed_from_u64(self.plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part)
    }

    /// Takes one of the messages that are still to be sent.
    fn take_one(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn has_traffic(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    fn numbers(&self) -> MutexGuard<'_, BTreeMap<PeerId, usize>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a node.
    fn number(&self, id: &PeerId) -> usize {
        *self.numbers().get(id).expect("a node of this run")
    }

    /// The number of the next node.
    fn next_number(&self) -> usize {
        self.numbers().len()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Plan {
    /// A plan of its seed: two or three nodes, and one of the three kinds of faults.
    pub fn random(seed: u64, messages: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let faults = [Faults::Hidden, Faults::Apart, Faults::Any][rng.random_range(0..3)];
        Self { seed, nodes: rng.random_range(2..=3), messages, faults }
    }

    /// Carries it out over a network.
    ///
    /// # Panics
    /// If anything does not hold.
    pub fn run<N: Breakable>(self, network: impl FnOnce(u64) -> N) -> Totals {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(self.run_within(network(self.seed)))
    }

    async fn run_within<N: Breakable>(self, network: N) -> Totals {
        let run = Arc::new(Run {
            plan: self,
            ledger: Ledger::new(),
            left: AtomicUsize::new(self.messages),
            is_over: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            numbers: Mutex::default(),
        });
        let sim = Sim::over(network, self.seed);
        sim.start_tracker(TRACKER);
        let mut members = Vec::new();
        for _ in 0..self.nodes {
            members.push(start(&sim, &run, members.len()).await);
        }
        let measuring = tokio::spawn(measure(run.clone(), members.iter().map(|member| member.swarm.clone()).collect()));
        faults::strike(&sim, &run, &mut members).await;
        let sent = until(PATIENCE, || !run.has_traffic()).await;
        run.is_over.store(true, Ordering::Relaxed);
        let settled = until(SETTLED_WITHIN, || run.ledger.is_settled()).await;
        measuring.abort();
        run.is_closing.store(true, Ordering::Relaxed);
        let reports = [sent.is_none().then_some("not everything was sent"), settled.is_none().then_some("not settled")];
        for member in &members {
            member.swarm.shutdown().await;
        }
        // What has not come back before comes back with the end.
        for member in members {
            member.reader.await.expect("it reads to the end");
        }
        run.ledger.check(self, reports.into_iter().flatten())
    }
}

async fn start<N: Breakable>(sim: &Sim<N>, run: &Arc<Run>, number: usize) -> Member<N> {
    let settings = |builder| match run.plan.faults {
        Faults::Hidden => settings(builder).reconnect_within(SLOWLY_BACK_WITHIN),
        _ => settings(builder),
    };
    let node = sim.start_with(IDENTIFIER, &[TRACKER], settings).await;
    Member::start(run.clone(), number, node)
}

fn settings(builder: Builder) -> Builder {
    let limits = Limits::default().max_message_bytes(MAX_MESSAGE).max_held_bytes(MAX_MESSAGE + (2 << 20));
    builder
        .limits(limits)
        .max_peers(8)
        .receive_memory(RECEIVE_MEMORY)
        .send_memory(SEND_MEMORY)
        .request_timeout(PATIENCE)
        .send_timeout(PATIENCE)
}

/// Sees to it that what nodes hold stays within their bounds.
async fn measure(run: Arc<Run>, swarms: Vec<p2pt::Swarm>) {
    loop {
        for swarm in &swarms {
            let metrics = swarm.node().metrics();
            run.ledger.holds(metrics.held_bytes, metrics.queued_bytes);
        }
        sleep(Duration::from_millis(100)).await;
    }
}
