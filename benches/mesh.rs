//! The state machine of a swarm's peers and links, with few and with many of them.

use divan::Bencher;
use p2pt_benches::mesh::Swarm;

fn main() {
    divan::main();
}

const PEERS: [u64; 3] = [10, 100, 1_000];

#[divan::bench(args = PEERS)]
fn meet_and_part(bencher: Bencher<'_, '_>, peers: u64) {
    let mut swarm = Swarm::new(peers);
    bencher.bench_local(|| swarm.meet_and_part());
}

#[divan::bench(args = PEERS)]
fn offer_of_a_peer(bencher: Bencher<'_, '_>, peers: u64) {
    let mut swarm = Swarm::new(peers);
    bencher.bench_local(|| swarm.take_offer());
}

#[divan::bench(args = PEERS)]
fn answer_of_a_peer(bencher: Bencher<'_, '_>, peers: u64) {
    let mut swarm = Swarm::new(peers);
    bencher.bench_local(|| swarm.take_answer());
}
