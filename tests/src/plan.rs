//! Plans of failures: what breaks when, and what must hold once everything heals.
//!
//! A [`Plan`] prints as JSON and is read back from it, so that a failed one can be run again, and then goes the same way:
//! its seed decides all that is left to chance.

mod harness;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use p2pt_transport::memory::MemoryNetwork;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::sim::Underlay;
use crate::tracker_profile::{Misbehaviour, TrackerProfile};

pub use harness::{Most, Outcome, Requests};

/// When random plans end, in virtual seconds: long enough for sockets to be found dead (50 s) and for trackers to be
/// tried several times meanwhile.
const END: u64 = 180;

/// So many random plans, unless `PROPTEST_CASES` says otherwise; one that fails is made smaller in so many tries.
pub fn cases(cases: u32, max_shrink_iters: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    // A failed plan is printed as what can be run again.
    ProptestConfig { cases, max_shrink_iters, failure_persistence: None, ..default }
}

/// Everything that breaks within a bounded time. Nodes and trackers are named by numbers, taken modulo how many there
/// are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides all that is left to chance: ids, delays, jitter, who gets which offer.
    pub seed: u64,
    /// How many nodes there are, all started at once.
    pub nodes: usize,
    /// The trackers that all nodes use, each by its place in [`TrackerProfile::all`].
    pub trackers: Vec<usize>,
    /// What happens to them.
    pub steps: Vec<Step>,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it begins, in virtual seconds.
    pub at: u64,
    /// How long it lasts, in virtual seconds; of no matter for a restart and a kill.
    pub lasts: u64,
    /// What it is.
    pub fault: Fault,
}

/// What breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A tracker is gone, and comes back with its memory lost.
    Outage {
        /// Which.
        tracker: usize,
    },
    /// A tracker restarts at once with its memory lost.
    Restart {
        /// Which.
        tracker: usize,
    },
    /// A tracker restarts and misbehaves, and at the end restarts and does not.
    Misbehaviour {
        /// Which.
        tracker: usize,
        /// How.
        misbehaviour: Misbehaviour,
    },
    /// These nodes are cut off from the others.
    Partition {
        /// A bit for each.
        nodes: u64,
    },
    /// The path between two nodes is cut.
    Cut {
        /// One.
        a: usize,
        /// The other; nothing is cut if they are the same.
        b: usize,
    },
    /// A node dies, unless only two are left.
    Kill {
        /// Which.
        node: usize,
    },
    /// What one node sends does not arrive at another.
    CutFrom {
        /// The sender.
        from: usize,
        /// The receiver; nothing is cut if they are the same.
        to: usize,
    },
    /// What one node sends takes longer to another.
    SlowFrom {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// How much longer.
        millis: u64,
    },
    /// A node sleeps: nothing passes to it or from it, and its channels stay open.
    Freeze {
        /// Which.
        node: usize,
    },
    /// These nodes lose every network: each channel, each socket to a tracker.
    Unplug {
        /// A bit for each.
        nodes: u64,
    },
    /// A tracker takes long over each message: it reads slowly and replies late.
    SlowTracker {
        /// Which.
        tracker: usize,
        /// How long.
        millis: u64,
    },
    /// All channels are slow.
    Slow {
        /// How long one way takes, with as much jitter.
        millis: u64,
    },
    /// A share of the new connections fails.
    Refuse {
        /// Out of a hundred.
        percent: u8,
    },
}

impl Plan {
    /// Random plans with up to so many nodes, that last up to 180 virtual seconds.
    pub fn any(max_nodes: usize) -> impl Strategy<Value = Self> {
        let trackers = proptest::collection::vec(0..TrackerProfile::all().len(), 1..=3);
        let steps = proptest::collection::vec(Step::any(), 0..12);
        (any::<u64>(), 2..=max_nodes, trackers, steps).prop_map(|(seed, nodes, trackers, steps)| Self {
            seed,
            nodes,
            trackers,
            steps,
        })
    }

    /// In which virtual time after the end of the plan the nodes form a full mesh.
    ///
    /// Before trackers can introduce peers, up to a minute of back-off passes, and up to four minutes until aquatic
    /// has forgotten a connection that died silently. From then on chance decides which members offers reach, in bursts of announces
    /// that grow in number with the swarm.
    ///
    /// Measured: 250 plans of up to 12 nodes took 7 s in the median and 187 s at most; 40 plans of up to 40 nodes took
    /// 60 s in the median and 315 s at most.
    pub fn mesh_within(&self) -> Duration {
        Duration::from_secs(360 + 30 * self.nodes as u64)
    }

    /// Lets it happen, checks what must hold, and says how long it took.
    ///
    /// # Panics
    /// If something does not hold that must.
    pub fn run(&self) -> Outcome {
        self.trace().0
    }

    /// Runs the plan over another network, which is made within the runtime of the plan.
    ///
    /// # Panics
    /// If something does not hold that must.
    pub fn run_over<N: Underlay>(&self, network: impl FnOnce() -> N) -> Outcome {
        harness::run(self, network).0
    }

    /// Runs the plan and returns also everything that was reported to the nodes' applications, in order, with the virtual time and the number of
    /// the node.
    pub fn trace(&self) -> (Outcome, Vec<String>) {
        harness::run(self, || MemoryNetwork::new(self.seed))
    }
}

impl Step {
    /// Many of them last until the end.
    fn any() -> impl Strategy<Value = Self> {
        (0..END, 1..=END, Fault::any()).prop_map(|(at, lasts, fault)| Self { at, lasts: lasts.min(END - at), fault })
    }
}

impl Fault {
    fn any() -> impl Strategy<Value = Self> {
        let node = 0..64usize;
        let tracker = 0..3usize;
        let misbehaviour = proptest::sample::select(&Misbehaviour::ALL[..]);
        prop_oneof![
            tracker.clone().prop_map(|tracker| Self::Outage { tracker }),
            tracker.clone().prop_map(|tracker| Self::Restart { tracker }),
            (tracker.clone(), misbehaviour)
                .prop_map(|(tracker, misbehaviour)| Self::Misbehaviour { tracker, misbehaviour }),
            any::<u64>().prop_map(|nodes| Self::Partition { nodes }),
            (node.clone(), node.clone()).prop_map(|(a, b)| Self::Cut { a, b }),
            node.clone().prop_map(|node| Self::Kill { node }),
            (node.clone(), node.clone()).prop_map(|(from, to)| Self::CutFrom { from, to }),
            (node.clone(), node.clone(), 100..8000u64).prop_map(|(from, to, millis)| Self::SlowFrom {
                from,
                to,
                millis
            }),
            node.prop_map(|node| Self::Freeze { node }),
            prop_oneof![any::<u64>(), Just(u64::MAX)].prop_map(|nodes| Self::Unplug { nodes }),
            (tracker.clone(), 100..8000u64).prop_map(|(tracker, millis)| Self::SlowTracker { tracker, millis }),
            (20..2000u64).prop_map(|millis| Self::Slow { millis }),
            (1..=100u8).prop_map(|percent| Self::Refuse { percent }),
        ]
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Prints the JSON that is read back, because this is what a failed property prints.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Plan {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}
