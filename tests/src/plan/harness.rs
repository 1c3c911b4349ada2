//! Carries a plan out, and checks what must hold.

mod faults;
mod watch;

use std::time::Duration;

use futures_util::future::join_all;
use p2pt::{PeerId, Swarm};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{Fault, Plan};
use crate::sim::{Sim, SimNode, Underlay, is_full_mesh, open_channels, tasks, until};
use crate::tracker_profile::ProfiledTracker;
use faults::Condition;
use watch::{Watch, ask, read};

const IDENTIFIER: &str = "room";

/// The liveness time of the simulated network is 5 s; this is what noticing a death may take.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// A mesh of single channels needs the time in which a surplus channel falls silent.
const SINGLE_CHANNELS_WITHIN: Duration = Duration::from_secs(120);

const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// How long a request waits here.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A request may first wait this long for its channel to take it.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);

/// What came of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The virtual time from the end of the plan to a full mesh of those alive.
    pub mesh_after: Duration,
    /// How many were alive.
    pub alive: usize,
    /// How the requests ended that nodes sent each other all the time.
    pub requests: Requests,
    /// The most of everything at any time.
    pub most: Most,
}

/// How requests ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// With a response.
    pub answered: u64,
    /// At their deadline.
    pub late: u64,
    /// With their peer.
    pub gone: u64,
    /// Before they were sent, because the channel took nothing.
    pub stalled: u64,
}

/// The most of everything at any time, for each node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Most {
    /// Ends of channels.
    pub channels: usize,
    /// Offers and answers that wait for the other side.
    pub pending: usize,
    /// Tasks, those of the trackers among them.
    pub tasks: usize,
}

struct Member<N: Underlay> {
    p2pt: Swarm,
    node: N::Node,
    reader: JoinHandle<()>,
    asker: JoinHandle<()>,
}

struct Harness<'a, N: Underlay> {
    plan: &'a Plan,
    sim: Sim<N>,
    watch: Watch<N>,
    members: Vec<Option<Member<N>>>,
    /// The dead, each with the virtual second of its death.
    dead: Vec<(u64, PeerId)>,
    readers_of_dead: Vec<JoinHandle<()>>,
    trackers: Vec<(Condition, Option<ProfiledTracker>)>,
    /// Paths that are slow one way.
    slowed: Vec<(N::Node, N::Node)>,
}

pub(super) fn run<N: Underlay>(plan: &Plan, network: impl FnOnce() -> N) -> (Outcome, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let ended = Harness::new(plan, network()).await.run().await;
        let none = until(SHUTDOWN_WITHIN, || tasks() == 0).await;
        assert!(none.is_some(), "{} tasks are left", tasks());
        ended
    })
}

impl<'a, N: Underlay> Harness<'a, N> {
    async fn new(plan: &'a Plan, network: N) -> Self {
        let sim = Sim::over(network, plan.seed);
        let watch = Watch::new(sim.network.clone(), plan);
        let (members, dead, readers_of_dead) = (Vec::new(), Vec::new(), Vec::new());
        let trackers = plan.trackers.iter().map(|_| (Condition::Down, None)).collect();
        let mut harness = Self { plan, sim, watch, members, dead, readers_of_dead, trackers, slowed: Vec::new() };
        let urls: Vec<_> = (0..plan.trackers.len()).map(url).collect();
        for number in 0..urls.len() {
            harness.set_condition(number, Condition::Up);
        }
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        for number in 0..plan.nodes {
            let settings = |node: p2pt::Builder| node.request_timeout(REQUEST_TIMEOUT).send_timeout(SEND_TIMEOUT);
            let SimNode { p2pt, events, node } = harness.sim.start_with(IDENTIFIER, &urls, settings).await;
            let reader = tokio::spawn(read(number, events, harness.watch.clone()));
            let asker = tokio::spawn(ask(p2pt.clone(), harness.watch.clone()));
            harness.members.push(Some(Member { p2pt, node, reader, asker }));
        }
        harness
    }

    async fn run(mut self) -> (Outcome, Vec<String>) {
        let measuring = tokio::spawn(self.watch.clone().measure());
        self.break_things().await;
        let healed = Instant::now();
        self.check_dead().await;
        let within = self.plan.mesh_within();
        let met = until(within, || is_full_mesh(self.alive().map(|member| &member.p2pt))).await;
        let alive = self.alive().count();
        if met.is_none() {
            let peers: Vec<_> = self.alive().map(|member| member.p2pt.peers().len()).collect();
            panic!("no full mesh of {alive} within {within:?}: {peers:?}");
        }
        let mesh_after = healed.elapsed();
        let single = until(SINGLE_CHANNELS_WITHIN, || self.channels() == alive * (alive - 1)).await;
        assert!(single.is_some(), "{} channels for {alive} nodes", self.channels());
        measuring.abort();
        if let Err(error) = measuring.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        self.shut_down().await;
        let (requests, most, trace) = self.watch.take();
        (Outcome { mesh_after, alive, requests, most }, trace)
    }

    fn alive(&self) -> impl Iterator<Item = &Member<N>> + Clone {
        self.members.iter().flatten()
    }

    fn channels(&self) -> usize {
        open_channels(&self.sim.network, self.alive().map(|member| &member.p2pt))
    }

    /// From the first step to the last, and then all is well but for the dead.
    async fn break_things(&mut self) {
        let start = Instant::now();
        let noticed = NOTICED_WITHIN.as_secs();
        let times = self.plan.steps.iter().flat_map(|step| match step.fault {
            Fault::Kill { .. } => [step.at, step.at + noticed],
            _ => [step.at, step.at + step.lasts],
        });
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        times.dedup();
        for at in times {
            sleep_until(start + Duration::from_secs(at)).await;
            for step in self.plan.steps.iter().filter(|step| step.at == at) {
                match &step.fault {
                    Fault::Kill { node } => self.kill(at, *node),
                    Fault::Restart { tracker } => self.restart(*tracker),
                    _ => {}
                }
            }
            let active = self.plan.steps.iter().filter(|step| (step.at..step.at + step.lasts).contains(&at));
            self.set_faults(&active.map(|step| &step.fault).collect::<Vec<_>>());
            let dead = self.dead.iter().filter(|(died, _)| died + noticed == at);
            for (died, id) in dead {
                for (number, member) in self.numbered().filter(|(n, _)| !self.sleeps(*n, *died, at)) {
                    assert!(member.p2pt.peer(id).is_none(), "node {number} is connected to one that died at {died} s");
                }
            }
        }
    }

    /// Whether a node sleeps in this time, or until it.
    fn sleeps(&self, number: usize, from: u64, to: u64) -> bool {
        self.plan.steps.iter().any(|step| {
            let is_it = matches!(step.fault, Fault::Freeze { node } if node % self.members.len() == number);
            is_it && step.at <= to && step.at + step.lasts >= from
        })
    }

    /// Connections to the dead are gone, or are so soon.
    async fn check_dead(&self) {
        let knows_dead = |member: &Member<N>| self.dead.iter().any(|(_, id)| member.p2pt.peer(id).is_some());
        let forgotten = until(NOTICED_WITHIN, || !self.alive().any(knows_dead)).await;
        assert!(forgotten.is_some(), "connections to the dead are left");
    }

    async fn shut_down(&mut self) {
        let started = Instant::now();
        join_all(self.alive().map(|member| member.p2pt.shutdown())).await;
        assert!(started.elapsed() <= SHUTDOWN_WITHIN, "shutdown took {:?}", started.elapsed());
        assert_eq!(self.sim.network.open_channels().unwrap_or(0), 0, "channels are left");
        assert_eq!(self.sim.network.pending().unwrap_or(0), 0, "offers or answers are left");
        for member in self.members.drain(..).flatten() {
            member.reader.await.expect("events in order, to the end");
            // It ends with the node.
            member.asker.await.expect("every request ends in time");
        }
        for reader in self.readers_of_dead.drain(..) {
            reader.await.expect("events in order, to the end");
        }
        for number in 0..self.trackers.len() {
            self.sim.crash_tracker(&url(number));
        }
    }
}

fn url(number: usize) -> String {
    format!("ws://tracker-{number}.test/announce")
}
