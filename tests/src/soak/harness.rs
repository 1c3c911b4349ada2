//! The processes, the trackers and the residents on their network, driven by a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::{HOME, Network, Plan, Residents, Step};
use crate::js::{Kind, p2pt_binary};
use crate::pipe::PipePeer;

/// A guard against hanging, not a measurement: unknown peers are sought again after at most a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long the trackers ask to wait between announces: the least that clients accept. Unknown peers meet by chance, some at
/// each announce, so that with the usual 120 s a full mesh would take minutes each time.
const INTERVAL_SECONDS: &str = "10";

/// How often processes are listened to.
const TICK: Duration = Duration::from_millis(200);

/// How often a wait says how it stands.
const PROGRESS: Duration = Duration::from_secs(10);

const IDENTIFIER: &str = "soak";

/// The processes, the trackers and the residents.
#[derive(Debug)]
pub struct Harness<'a> {
    network: Network,
    residents: &'a Residents,
    trackers: Vec<Option<Child>>,
    pipes: BTreeMap<usize, Pipe>,
    hosts: usize,
    departures: Vec<Departure>,
    rounds: u64,
}

/// A process on a host.
#[derive(Debug)]
struct Pipe {
    peer: PipePeer,
    /// The ids of its peers, as it last listed them.
    sees: BTreeSet<String>,
    /// The senders of the roll calls that it has reported, each with the round.
    heard: BTreeSet<(String, u64)>,
    /// Tags of requests that have not ended.
    asked: BTreeSet<String>,
}

/// A peer that the residents should see close.
#[derive(Debug)]
struct Departure {
    kind: &'static str,
    id: String,
    at: Instant,
    /// The residents that were connected with it.
    seen_by: BTreeSet<String>,
}

impl<'a> Harness<'a> {
    /// A network with room for `pipes` processes, of which none runs yet, and with this many trackers, which do.
    pub async fn new(residents: &'a Residents, pipes: usize, trackers: usize) -> Self {
        let network = Network::new(1 + pipes + trackers);
        let mut harness = Self {
            network,
            residents,
            trackers: (0..trackers).map(|_| None).collect(),
            pipes: BTreeMap::new(),
            hosts: pipes,
            departures: Vec::new(),
            rounds: 0,
        };
        for tracker in 0..trackers {
            harness.act(&Step::StartTracker(tracker)).await;
        }
        harness
    }

    /// The trackers' announce URLs.
    pub fn tracker_urls(&self) -> Vec<String> {
        (0..self.trackers.len()).map(|tracker| self.tracker_url(tracker)).collect()
    }

    fn tracker_url(&self, tracker: usize) -> String {
        format!("ws://{}", self.tracker_address(tracker))
    }

    fn tracker_address(&self, tracker: usize) -> String {
        format!("{}:8000", Network::address(self.tracker_host(tracker)))
    }

    fn tracker_host(&self, tracker: usize) -> usize {
        1 + self.hosts + tracker
    }

    /// Starts every process that does not run.
    pub async fn start_everybody(&mut self) {
        for host in 1..=self.hosts {
            if !self.pipes.contains_key(&host) {
                self.act(&Step::Start(host)).await;
            }
        }
    }

    /// Which processes run, by their hosts less one.
    pub fn up(&self) -> Vec<bool> {
        (1..=self.hosts).map(|host| self.pipes.contains_key(&host)).collect()
    }

    /// Carries out a plan.
    pub async fn run(&mut self, plan: &Plan) {
        let begun = Instant::now();
        for (at, step) in &plan.steps {
            let due = begun + *at;
            while Instant::now() < due {
                self.listen().await;
                sleep(TICK.min(due - Instant::now())).await;
            }
            println!("    {:6.1} s {step:?}", at.as_secs_f64());
            self.act(step).await;
        }
    }

    async fn act(&mut self, step: &Step) {
        match step {
            Step::Start(host) => {
                let urls = self.tracker_urls();
                let command = Kind::Rust.command(IDENTIFIER, &urls.iter().map(String::as_str).collect::<Vec<_>>());
                let command = self.network.at(*host, &command);
                let peer = PipePeer::spawn(format!("process {host}"), command).await;
                let pipe = Pipe { peer, sees: BTreeSet::new(), heard: BTreeSet::new(), asked: BTreeSet::new() };
                self.pipes.insert(*host, pipe);
            }
            Step::Kill(host) => {
                self.departs("killed", *host);
                self.pipes.remove(host).expect("it runs").peer.kill().await;
            }
            Step::Leave(host) => {
                self.departs("left", *host);
                self.pipes.remove(host).expect("it runs").peer.stop().await;
            }
            Step::Freeze(host) => {
                self.departs("frozen", *host);
                self.pipe(*host).peer.process().signal("STOP").await;
            }
            Step::Thaw(host) => self.pipe(*host).peer.process().signal("CONT").await,
            Step::Unplug(host) => {
                self.departs("unplugged", *host);
                self.network.unplug(*host, true);
            }
            Step::Plug(host) => self.network.unplug(*host, false),
            Step::Cut(hosts) => {
                if hosts.contains(&HOME) {
                    for host in hosts.iter().filter(|host| self.pipes.contains_key(host)).copied().collect::<Vec<_>>() {
                        self.departs("cut off", host);
                    }
                }
                self.network.cut(hosts, true);
            }
            Step::Join(hosts) => self.network.cut(hosts, false),
            Step::StopTracker(tracker) => {
                self.trackers[*tracker].take().expect("it runs").kill().await.expect("it can be killed");
            }
            Step::StartTracker(tracker) => {
                let address = self.tracker_address(*tracker);
                let mut command = Command::new(p2pt_binary());
                command.args(["tracker", "--listen", &address, "--interval", INTERVAL_SECONDS]);
                let mut command = self.network.at(self.tracker_host(*tracker), &command);
                let process = command.stdout(Stdio::null()).kill_on_drop(true).spawn().expect("nsenter starts");
                self.trackers[*tracker] = Some(process);
                let listens = async { while TcpStream::connect(&address).await.is_err() {} };
                timeout(PATIENCE, listens).await.expect("the tracker listens in time");
            }
            Step::Talk(host) => self.talk(*host).await,
        }
    }

    fn pipe(&mut self, host: usize) -> &mut Pipe {
        self.pipes.get_mut(&host).expect("it runs")
    }

    fn departs(&mut self, kind: &'static str, host: usize) {
        let id = self.pipes[&host].peer.id().to_owned();
        let seen_by = self.residents.sees().filter(|(_, sees)| sees.contains(&id)).map(|(resident, _)| resident);
        self.departures.push(Departure { kind, at: Instant::now(), seen_by: seen_by.collect(), id });
    }

    /// The process sends a message to all, and a request to each peer that it listed last; each resident sends it one.
    async fn talk(&mut self, host: usize) {
        let residents = self.residents;
        let pipe = self.pipe(host);
        residents.ask(pipe.peer.id());
        let text = "talk".repeat(5_000);
        pipe.peer.process().command(&json!({"send": {"peer": "*", "message": text}})).await;
        for id in pipe.sees.clone() {
            let tag = pipe.peer.ask(&id, &json!({"ask": "something"})).await;
            pipe.asked.insert(tag);
        }
    }

    /// Takes the events of the processes, and responds to the requests among them.
    async fn listen(&mut self) {
        for pipe in self.pipes.values_mut() {
            for said in pipe.peer.process().take_said() {
                pipe.take(&said).await;
            }
        }
    }

    /// Waits until all that are alive are connected with each other and with no other, and no request is open.
    /// Returns how long it took.
    pub async fn meshed(&mut self) -> Duration {
        let begun = Instant::now();
        let mut reported = begun;
        while let Some(wrong) = self.what_is_wrong().await {
            assert!(begun.elapsed() < PATIENCE, "no full mesh after {PATIENCE:?}:\n{wrong}");
            if reported.elapsed() > PROGRESS {
                reported = Instant::now();
                println!("    {:.0} s, {} are not done", begun.elapsed().as_secs_f64(), wrong.lines().count());
            }
        }
        begun.elapsed()
    }

    async fn what_is_wrong(&mut self) -> Option<String> {
        for pipe in self.pipes.values_mut() {
            pipe.sees.clear();
            pipe.peer.process().command(&json!({"peers": true})).await;
        }
        sleep(TICK).await;
        self.listen().await;
        let alive = self.alive();
        let mut wrong = String::new();
        let processes = self.pipes.values().map(|pipe| (pipe.peer.id().to_owned(), pipe.sees.clone()));
        for (id, sees) in processes.chain(self.residents.sees()) {
            let missing = alive.iter().filter(|other| **other != id && !sees.contains(*other)).count();
            let dead = sees.difference(&alive).count();
            if missing + dead > 0 {
                let _ = writeln!(wrong, "{id} misses {missing} and holds {dead} that have gone");
            }
        }
        for pipe in self.pipes.values().filter(|pipe| !pipe.asked.is_empty()) {
            let _ = writeln!(wrong, "{} waits for {:?}", pipe.peer.id(), pipe.asked);
        }
        (!wrong.is_empty()).then_some(wrong)
    }

    fn alive(&self) -> BTreeSet<String> {
        self.pipes.values().map(|pipe| pipe.peer.id().to_owned()).chain(self.residents.ids()).collect()
    }

    /// Each sends a message to all others, and all of them arrive.
    pub async fn roll_call(&mut self) {
        self.rounds += 1;
        let round = self.rounds;
        for pipe in self.pipes.values_mut() {
            pipe.peer.process().command(&json!({"send": {"peer": "*", "message": {"round": round}}})).await;
        }
        self.residents.call(round);
        let begun = Instant::now();
        let alive = self.alive();
        loop {
            self.listen().await;
            let processes = self.pipes.values().map(|pipe| (pipe.peer.id().to_owned(), pipe.heard_in(round)));
            let short = processes.chain(self.residents.heard(round)).find(|(_, heard)| heard.len() + 1 < alive.len());
            let Some((id, heard)) = short else { return };
            assert!(begun.elapsed() < PATIENCE, "{id} has heard only {} of {}", heard.len(), alive.len());
            sleep(TICK).await;
        }
    }

    /// Ends all processes, every other one by killing it, and waits until the residents are alone with each other.
    pub async fn clear(&mut self) {
        for (index, host) in self.pipes.keys().copied().collect::<Vec<_>>().into_iter().enumerate() {
            let step = if index % 2 == 0 { Step::Kill(host) } else { Step::Leave(host) };
            self.act(&step).await;
        }
        self.meshed().await;
    }

    /// How long the residents took to notice the peers that had gone, by the way they went, as lines of text; and forgets it.
    pub fn notices(&mut self) -> String {
        let mut by_kind: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for departure in self.departures.drain(..) {
            let closed = self.residents.closed(&departure.id, departure.at);
            let noticed = closed.filter(|(resident, _)| departure.seen_by.contains(resident));
            by_kind.entry(departure.kind).or_default().extend(noticed.map(|(_, at)| at - departure.at));
        }
        let mut lines = String::new();
        for (kind, mut took) in by_kind {
            took.sort_unstable();
            if let (Some(first), Some(last)) = (took.first(), took.last()) {
                let median = took[took.len() / 2];
                let (first, median, last) = (first.as_secs_f64(), median.as_secs_f64(), last.as_secs_f64());
                let count = took.len();
                let _ = writeln!(
                    lines,
                    "    {kind}: noticed {count} times after {first:.2} to {last:.2} s, median {median:.2} s"
                );
            }
        }
        lines
    }
}

impl Pipe {
    async fn take(&mut self, said: &Value) {
        match said["event"].as_str().unwrap_or_default() {
            "peers" => {
                let peers = said["peers"].as_array().into_iter().flatten();
                self.sees = peers.filter_map(|peer| peer["peer"].as_str()).map(str::to_owned).collect();
            }
            "message" => {
                if let (Some(from), Some(round)) = (said["peer"].as_str(), said["message"]["round"].as_u64()) {
                    self.heard.insert((from.to_owned(), round));
                } else if said["message"].get("ask").is_some() {
                    self.peer.close_with(said, &json!({"received": true})).await;
                }
            }
            "response" | "error" => {
                self.asked.remove(said["tag"].as_str().unwrap_or_default());
            }
            _ => {}
        }
    }

    fn heard_in(&self, round: u64) -> BTreeSet<String> {
        self.heard.iter().filter(|(_, heard)| *heard == round).map(|(from, _)| from.clone()).collect()
    }
}
