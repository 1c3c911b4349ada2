//! What a node costs that has nothing to do: this library's and the JavaScript p2pt's, side by side on one machine.
//!
//! `just idle-cost` runs it; it needs what the interoperability tests and the soak need. `P2PT_IDLE_SECONDS` says how
//! long is measured (600 unless set), after `P2PT_IDLE_WARMUP` seconds (150 unless set) that are not counted. Figures are
//! per node and hour; bytes are those of whole Ethernet frames, sent and received.

mod counting;

use std::time::Duration;

use counting::{CountingTracker, Counts};
use p2pt_measure::machine::{cpu_seconds, resident_kib};
use p2pt_measure::pipe::PipePeer;
use p2pt_tests::js::Kind;
use p2pt_tests::soak::{HOME, Network, enter};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

/// How many nodes are in a swarm.
const SIZES: [usize; 3] = [1, 2, 10];

/// The kinds of peer that are measured: JavaScript as it ships.
const KINDS: [Kind; 2] = [Kind::Rust, Kind::NodeNdc];

/// Nodes of one kind in a swarm of their own, at a tracker of their own.
struct Group {
    kind: Kind,
    tracker: CountingTracker,
    peers: Vec<PipePeer>,
}

/// What a group has used since its nodes started.
#[derive(Clone, Copy)]
struct Used {
    counts: Counts,
    cpu_seconds: f64,
    wire_bytes: f64,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if enter(&[]) {
        return;
    }
    let warmup = Duration::from_secs(setting("P2PT_IDLE_WARMUP", 150));
    let measured = Duration::from_secs(setting("P2PT_IDLE_SECONDS", 600));
    let hosts = KINDS.len() * SIZES.iter().sum::<usize>();
    let network = Network::new(1 + hosts);
    let mut free = 1..=hosts;
    let mut groups = Vec::new();
    for kind in KINDS {
        for size in SIZES {
            let tracker = CountingTracker::start(Network::address(HOME)).await;
            let mut peers = Vec::new();
            for host in free.by_ref().take(size) {
                let command = network.at(host, &kind.command("idle", &[tracker.url()]));
                peers.push(PipePeer::spawn(format!("{kind:?} on host {host}"), command).await);
            }
            groups.push(Group { kind, tracker, peers });
        }
    }

    let begin = Instant::now() + warmup;
    wait(&mut groups, begin).await;
    let before: Vec<Used> = groups.iter_mut().map(Group::used).collect();
    wait(&mut groups, begin + measured).await;
    println!(
        "| nodes | announces | offers | bytes to and from the tracker | bytes in all | CPU seconds | memory at the end | links at the end |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (group, before) in groups.iter_mut().zip(before) {
        let after = group.used();
        let (memory_kib, links) = (group.memory_kib(), group.links().await);
        let per = 3600.0 / measured.as_secs_f64() / group.peers.len() as f64;
        let per_hour = |after: f64, before: f64| (after - before) * per;
        println!(
            "| {:?}, {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.1} MB | {links:.1} |",
            group.kind,
            group.peers.len(),
            per_hour(after.counts.announces as f64, before.counts.announces as f64),
            per_hour(after.counts.offers as f64, before.counts.offers as f64),
            per_hour(after.counts.bytes as f64, before.counts.bytes as f64),
            per_hour(after.wire_bytes, before.wire_bytes),
            per_hour(after.cpu_seconds, before.cpu_seconds),
            memory_kib / 1024.0,
        );
    }
}

/// Waits, and reads what the nodes say meanwhile.
async fn wait(groups: &mut [Group], until: Instant) {
    while Instant::now() < until {
        for peer in groups.iter_mut().flat_map(|group| &mut group.peers) {
            drop(peer.process().take_said());
        }
        sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
    }
}

impl Group {
    fn used(&mut self) -> Used {
        let processes: Vec<u32> = self.peers.iter_mut().map(|peer| peer.process().pid()).collect();
        Used {
            counts: self.tracker.counts(),
            cpu_seconds: processes.iter().map(|pid| cpu_seconds(&pid.to_string())).sum(),
            wire_bytes: processes.iter().map(|pid| wire_bytes(*pid)).sum(),
        }
    }

    fn memory_kib(&mut self) -> f64 {
        let all: f64 = self.peers.iter_mut().map(|peer| resident_kib(&peer.process().pid().to_string())).sum();
        all / self.peers.len() as f64
    }

    /// The data channels that each has, on average.
    async fn links(&mut self) -> f64 {
        let mut links = 0;
        for peer in &mut self.peers {
            peer.process().command(&json!({"peers": true})).await;
            let known = peer.process().expect("peers", |_| true).await;
            // What this library calls links, the JavaScript peer of the tests calls channels.
            let of = |peer: &serde_json::Value| peer["links"].as_u64().or(peer["channels"].as_u64()).unwrap_or(0);
            links += known["peers"].as_array().into_iter().flatten().map(of).sum::<u64>();
        }
        links as f64 / self.peers.len() as f64
    }
}

fn read(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_else(|error| panic!("process {pid}: {error}"))
}

/// Bytes sent and received on the network of the process.
fn wire_bytes(pid: u32) -> f64 {
    let devices = read(pid, "net/dev");
    let device = devices.lines().find_map(|line| line.trim().strip_prefix("eth0:")).expect("a host has one device");
    let mut fields = device.split_whitespace().map(|field| field.parse::<f64>().expect("a number"));
    let received = fields.next().expect("bytes received come first");
    received + fields.nth(7).expect("bytes sent come ninth")
}
