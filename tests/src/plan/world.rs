//! Carries a plan out, and checks what must hold.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use p2pt::{Event, Events, P2pt, PeerId};
use p2pt_transport::memory::{Conditions, NodeId};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Fault, Plan};
use crate::dialect::{Dialect, Lie};
use crate::sim::{Sim, SimNode, is_full_mesh, until};

const IDENTIFIER: &str = "room";

/// The liveness time of the simulated network is 5 s; this is what noticing a death may take beyond it.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// A mesh of single links needs the time in which a surplus link falls silent.
const SINGLE_LINKS_WITHIN: Duration = Duration::from_secs(120);

const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// How long a request waits here.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// A request may first wait this long for its link to take it.
const STALL_DEADLINE: Duration = Duration::from_secs(15);

/// What came of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The virtual time from the end of the plan to a full mesh of those alive.
    pub mesh_after: Duration,
    /// How many were alive.
    pub alive: usize,
    /// Requests that were answered and that ended otherwise, while things broke.
    pub requests: (u64, u64),
}

struct Member {
    p2pt: P2pt,
    node: NodeId,
    reader: JoinHandle<()>,
    asker: JoinHandle<()>,
}

struct World<'a> {
    plan: &'a Plan,
    sim: Sim,
    members: Vec<Option<Member>>,
    dead: Vec<PeerId>,
    readers_of_dead: Vec<JoinHandle<()>>,
    trackers: Vec<Condition>,
    requests: Requests,
}

type Requests = std::sync::Arc<std::sync::Mutex<(u64, u64)>>;

/// How a tracker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Up,
    Down,
    Lying(Lie),
}

pub(super) fn run(plan: &Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let outcome = World::new(plan).await.run().await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let ended = until(SHUTDOWN_WITHIN, || tasks() == 0).await;
        assert!(ended.is_some(), "{} tasks are left", tasks());
        outcome
    })
}

impl<'a> World<'a> {
    async fn new(plan: &'a Plan) -> Self {
        let sim = Sim::new(plan.seed);
        let trackers = vec![Condition::Up; plan.trackers.len()];
        let (members, dead, readers_of_dead) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { plan, sim, members, dead, readers_of_dead, trackers, requests: Requests::default() };
        let urls: Vec<_> = (0..plan.trackers.len()).map(url).collect();
        for (number, _) in urls.iter().enumerate() {
            world.start_tracker(number, None);
        }
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        for _ in 0..plan.nodes {
            let settings =
                |node: p2pt::NodeBuilder| node.request_deadline(REQUEST_DEADLINE).stall_deadline(STALL_DEADLINE);
            let SimNode { p2pt, events, node } = world.sim.start_with(IDENTIFIER, &urls, settings).await;
            let reader = tokio::spawn(read(events));
            let asker = tokio::spawn(ask(p2pt.clone(), world.requests.clone()));
            world.members.push(Some(Member { p2pt, node, reader, asker }));
        }
        world
    }

    async fn run(mut self) -> Outcome {
        self.break_things().await;
        let healed = Instant::now();
        let dead = std::mem::take(&mut self.dead);
        let knows_dead = |member: &Member| dead.iter().any(|id| member.p2pt.peer(id).is_some());
        let forgotten = until(NOTICED_WITHIN, || !self.alive().any(knows_dead)).await;
        assert!(forgotten.is_some(), "links to the dead are left");
        let within = self.plan.mesh_within();
        let met = until(within, || is_full_mesh(self.alive().map(|member| &member.p2pt))).await;
        let alive = self.alive().count();
        if met.is_none() {
            let peers: Vec<_> = self.alive().map(|member| member.p2pt.peers().len()).collect();
            panic!("no full mesh of {alive} within {within:?}: {peers:?}");
        }
        let mesh_after = healed.elapsed();
        let single = until(SINGLE_LINKS_WITHIN, || self.sim.network.open_channels() == alive * (alive - 1)).await;
        assert!(single.is_some(), "{} channels for {alive} nodes", self.sim.network.open_channels());
        self.shut_down().await;
        let requests = *self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Outcome { mesh_after, alive, requests }
    }

    fn alive(&self) -> impl Iterator<Item = &Member> + Clone {
        self.members.iter().flatten()
    }

    /// From the first step to the last, and then all is well but for the dead.
    async fn break_things(&mut self) {
        let start = Instant::now();
        let times = self.plan.steps.iter().flat_map(|step| [step.at, step.at + step.lasts]);
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        times.dedup();
        for at in times {
            sleep_until(start + Duration::from_secs(at)).await;
            for step in self.plan.steps.iter().filter(|step| step.at == at) {
                match &step.fault {
                    Fault::Kill { node } => self.kill(*node),
                    Fault::Restart { tracker } => self.restart(*tracker),
                    _ => {}
                }
            }
            let active = self.plan.steps.iter().filter(|step| (step.at..step.at + step.lasts).contains(&at));
            self.set_faults(&active.map(|step| &step.fault).collect::<Vec<_>>());
        }
    }

    fn node(&self, number: usize) -> Option<NodeId> {
        let member = self.members[number % self.members.len()].as_ref()?;
        Some(member.node)
    }

    fn kill(&mut self, number: usize) {
        if self.alive().count() <= 2 {
            return;
        }
        let index = number % self.members.len();
        let Some(member) = self.members[index].take() else { return };
        self.sim.kill(member.node);
        self.dead.push(member.p2pt.peer_id());
        member.asker.abort();
        drop(member.p2pt);
        // A dead process needs no time; this one has to find out.
        self.readers_of_dead.push(member.reader);
    }

    fn restart(&mut self, number: usize) {
        let number = number % self.trackers.len();
        if self.trackers[number] == Condition::Up {
            self.start_tracker(number, None);
        }
    }

    fn start_tracker(&self, number: usize, lie: Option<Lie>) {
        let dialects = Dialect::all();
        let mut dialect = dialects[self.plan.trackers[number] % dialects.len()].clone();
        dialect.lie = lie;
        self.sim.start_dialect(&url(number), dialect);
    }

    /// Makes exactly these faults be, among those that last.
    fn set_faults(&mut self, faults: &[&Fault]) {
        for number in 0..self.trackers.len() {
            let mut condition = Condition::Up;
            for fault in faults {
                match fault {
                    Fault::Outage { tracker } if tracker % self.trackers.len() == number => {
                        condition = Condition::Down;
                        break;
                    }
                    Fault::Lying { tracker, lie } if tracker % self.trackers.len() == number => {
                        condition = Condition::Lying(*lie);
                    }
                    _ => {}
                }
            }
            self.set_condition(number, condition);
        }
        let (mut frozen, mut refuse, mut conditions) = (HashSet::new(), 0, Conditions::default());
        let network = self.sim.network.clone();
        network.heal();
        for fault in faults {
            match fault {
                Fault::Partition { nodes } => {
                    let apart = self.members.iter().enumerate().filter(|(n, _)| nodes >> (n % 64) & 1 == 1);
                    let apart: Vec<_> = apart.filter_map(|(_, member)| Some(member.as_ref()?.node)).collect();
                    network.partition(&apart);
                }
                Fault::Cut { a, b } => {
                    if let (Some(a), Some(b)) = (self.node(*a), self.node(*b))
                        && a != b
                    {
                        network.cut(a, b);
                    }
                }
                Fault::Freeze { node } => frozen.extend(self.node(*node)),
                Fault::Slow { millis } => {
                    let latency = Duration::from_millis(*millis);
                    conditions = Conditions { latency, jitter: latency, ..Conditions::default() };
                }
                Fault::Refuse { percent } => refuse = refuse.max(*percent),
                _ => {}
            }
        }
        network.refuse(f64::from(refuse) / 100.0);
        network.set_conditions(conditions);
        for member in self.alive() {
            if frozen.contains(&member.node) {
                self.sim.freeze(member.node);
            } else {
                self.sim.thaw(member.node);
            }
        }
    }

    fn set_condition(&mut self, number: usize, condition: Condition) {
        if std::mem::replace(&mut self.trackers[number], condition) == condition {
            return;
        }
        match condition {
            Condition::Up => self.start_tracker(number, None),
            Condition::Down => self.sim.crash_tracker(&url(number)),
            Condition::Lying(lie) => self.start_tracker(number, Some(lie)),
        }
    }

    async fn shut_down(&mut self) {
        let started = Instant::now();
        join_all(self.alive().map(|member| member.p2pt.shutdown())).await;
        assert!(started.elapsed() <= SHUTDOWN_WITHIN, "shutdown took {:?}", started.elapsed());
        assert_eq!(self.sim.network.open_channels(), 0, "channels are left");
        assert_eq!(self.sim.network.pending(), 0, "offers or answers are left");
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

/// Reads a node's events to their end, and answers messages. For each peer: connected, messages, closed.
async fn read(mut events: Events) {
    let mut connected = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => assert!(connected.insert(peer.id()), "connected twice"),
            Event::PeerClosed(closed) => assert!(connected.remove(&closed.peer.id()), "closed, but not connected"),
            Event::Message(message) => {
                assert!(connected.contains(&message.peer().id()), "a message before its sender");
                // It may have gone meanwhile.
                let _ = message.respond("pong").await;
            }
            _ => {}
        }
    }
    assert!(connected.is_empty(), "{} peers never closed", connected.len());
}

/// Asks one peer after the other for as long as the node runs. Every request must end in time, one way or the other.
async fn ask(p2pt: P2pt, requests: Requests) {
    let mut turn = 0;
    while p2pt.tracker_stats().total > 0 {
        sleep(Duration::from_secs(5)).await;
        let peers = p2pt.peers();
        turn += 1;
        let Some(peer) = peers.get(turn % peers.len().max(1)) else { continue };
        let asked = Instant::now();
        let response = peer.request("ping").await;
        assert!(asked.elapsed() <= STALL_DEADLINE + REQUEST_DEADLINE, "a request took {:?}", asked.elapsed());
        let mut requests = requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match response {
            Ok(_) => requests.0 += 1,
            Err(_) => requests.1 += 1,
        }
    }
}
