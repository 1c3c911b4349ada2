//! Whatever is sent by whom: nothing is duplicated, changed, or delivered to the wrong socket, and everything is counted.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use proptest::prelude::*;
use tokio::time::sleep;

use super::testing::{Probe, ms};
use super::{Host, Internet, Nat, NatBehavior, NatConfig, Path};

#[derive(Debug, Clone)]
enum Op {
    /// A socket sends datagrams to where another one is, or to an address from which it has received one.
    Send {
        from: usize,
        to: usize,
        count: u8,
        bytes: usize,
        reply: bool,
    },
    Wait(u64),
    Rebind(usize),
    ChangeAddress(usize),
    Bind(usize),
    Unbind(usize),
    SetUp(usize, bool),
}

fn op() -> impl Strategy<Value = Op> {
    let n = || 0..64usize;
    prop_oneof![
        12 => (n(), n(), 1..20u8, 8..1600usize, any::<bool>())
            .prop_map(|(from, to, count, bytes, reply)| Op::Send { from, to, count, bytes, reply }),
        6 => (0..200u64).prop_map(Op::Wait),
        1 => n().prop_map(Op::Rebind),
        1 => n().prop_map(Op::ChangeAddress),
        2 => n().prop_map(Op::Bind),
        1 => n().prop_map(Op::Unbind),
        1 => (n(), any::<bool>()).prop_map(|(host, up)| Op::SetUp(host, up)),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    (0..50u64, 0..50u64, 0..3u8, proptest::option::of(20_000..2_000_000u64)).prop_map(|(delay, jitter, loss, rate)| {
        let path = Path::default().delay(ms(delay)).jitter(ms(jitter)).loss(f64::from(loss) / 10.0);
        rate.map_or(path.clone(), |rate| path.bandwidth(rate))
    })
}

fn nat() -> impl Strategy<Value = NatConfig> {
    use NatBehavior::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    let behavior = || proptest::sample::select(vec![EndpointIndependent, AddressDependent, AddressAndPortDependent]);
    (behavior(), behavior(), any::<[bool; 2]>()).prop_map(|(mapping, filtering, [preserve, hairpin])| {
        NatConfig::new(mapping, filtering).port_preservation(preserve).hairpinning(hairpin)
    })
}

/// A datagram that says who sent it, which one it is, and for whom it was.
fn datagram(from: usize, number: u64, bytes: usize) -> Vec<u8> {
    let mut data = (from as u64 ^ number << 8).to_be_bytes().to_vec();
    data.extend((8..bytes).map(|n| (n as u64 ^ number) as u8));
    data
}

struct Run {
    hosts: Vec<Host>,
    nats: Vec<Nat>,
    probes: Vec<(usize, Probe)>,
    /// What was sent and has not been received, with the address it was sent to.
    sent: HashMap<Vec<u8>, SocketAddr>,
    /// From where each socket has received.
    met: HashMap<SocketAddr, Vec<SocketAddr>>,
    received: u64,
}

impl Run {
    async fn receive(&mut self) {
        for (_, probe) in &self.probes {
            while let Some((remote, data)) = probe.within(ms(0)).await {
                let to = self.sent.remove(&data).expect("what was sent, and once");
                let local = probe.local();
                let nats: HashSet<_> = self.nats.iter().map(Nat::address).collect();
                assert!(to == local || nats.contains(&to.ip()) || to.ip() != local.ip(), "{to} came to {local}");
                if !nats.contains(&to.ip()) && self.hosts.iter().any(|host| host.addresses().contains(&to.ip())) {
                    assert_eq!(to, local, "the socket that was meant");
                }
                self.met.entry(local).or_default().push(remote);
                self.received += 1;
            }
        }
    }
}

async fn run(seed: u64, paths: Vec<Path>, configs: Vec<NatConfig>, ops: Vec<Op>) {
    let internet = Internet::new(seed);
    let nats: Vec<_> = configs.into_iter().map(|config| internet.nat(config).unwrap()).collect();
    let host = |(n, path): (usize, Path)| match nats.get(n % (nats.len() + 1)) {
        Some(nat) => nat.host(path).unwrap(),
        None => internet.host(path).unwrap(),
    };
    let hosts: Vec<_> = paths.into_iter().enumerate().map(host).collect();
    let probes = hosts.iter().enumerate().map(|(n, host)| (n, Probe::bind(host, 0))).collect();
    let mut run = Run { hosts, nats, probes, sent: HashMap::new(), met: HashMap::new(), received: 0 };
    let mut number = 0;
    for op in ops {
        match op {
            Op::Send { from, to, count, bytes, reply } => {
                let probes = run.probes.len();
                if probes == 0 {
                    continue;
                }
                let (from, (_, probe)) = (from % probes, &run.probes[from % probes]);
                let met = run.met.get(&probe.local()).filter(|_| reply);
                let remote = met.map_or(run.probes[to % probes].1.local(), |met| met[to % met.len()]);
                for _ in 0..count {
                    number += 1;
                    let data = datagram(from, number, bytes);
                    // Sockets whose address has vanished cannot send.
                    if probe.0.try_send(remote, &data, data.len()).is_ok() {
                        run.sent.insert(data, remote);
                    }
                }
            }
            Op::Wait(millis) => {
                sleep(ms(millis)).await;
                run.receive().await;
            }
            Op::Rebind(n) if !run.nats.is_empty() => run.nats[n % run.nats.len()].rebind(),
            Op::Rebind(_) => {}
            Op::ChangeAddress(n) => run.hosts[n % run.hosts.len()].change_address().unwrap(),
            Op::Bind(n) => {
                let n = n % run.hosts.len();
                run.probes.push((n, Probe::bind(&run.hosts[n], 0)));
            }
            Op::Unbind(n) if !run.probes.is_empty() => {
                // What it has received and not read is gone with it.
                run.receive().await;
                run.probes.swap_remove(n % run.probes.len());
            }
            Op::Unbind(_) => {}
            Op::SetUp(n, up) => run.hosts[n % run.hosts.len()].set_up(up),
        }
    }
    sleep(ms(10_000)).await;
    run.receive().await;
    let counters: Vec<_> = run.hosts.iter().map(Host::counters).collect();
    assert_eq!(counters.iter().map(|counters| counters.received).sum::<u64>(), run.received);
    assert_eq!(counters.iter().map(|counters| counters.delivered).sum::<u64>(), run.received);
    assert_eq!(counters.iter().map(|counters| counters.dropped()).sum::<u64>(), run.sent.len() as u64);
    assert!(counters.iter().all(|counters| counters.in_flight() == 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_datagram_has_one_fate(
        seed in any::<u64>(),
        paths in prop::collection::vec(path(), 2..8),
        nats in prop::collection::vec(nat(), 0..3),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(seed, paths, nats, ops));
    }
}
