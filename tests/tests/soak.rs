//! Real WebRTC for as long as one likes: see `p2pt_tests::soak`.
#![cfg(target_os = "linux")]

use std::time::Duration;

use p2pt_tests::soak::{Harness, Plan, Residents, Usage, enter};
use tokio::time::Instant;

const RESIDENTS: usize = 4;

/// The UDP sockets that a resident may keep, which has one address: those of its transport's eight sets.
const SOCKETS_EACH: usize = 8;
const TRACKERS: usize = 2;

/// A guard against hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

/// Rounds of trouble, each followed by peace: all that are alive are in a full mesh and no other is, every channel carries
/// messages, no request waits. Then all processes end, and the residents hold what they held after the first round: no
/// task and no descriptor more, and no more memory than half as much again. That much is for the allocator: what it has
/// got from the system it keeps, in pieces, and after some rounds it wants no more. A connection takes some 300 KB.
///
/// `P2PT_SOAK_SECONDS` says how long the trouble lasts in all, `P2PT_SOAK_ROUNDS` in how many rounds after the first,
/// which is as long as each of them, and `P2PT_SOAK_PROCESSES` how many processes take part; `P2PT_SOAK_SEED` repeats a
/// plan.
#[test]
#[ignore = "minutes, and needs network namespaces: cargo test -p p2pt-tests --test soak -- --ignored"]
fn nodes_outlive_kills_freezes_cuts_and_lost_trackers() {
    let this = "nodes_outlive_kills_freezes_cuts_and_lost_trackers";
    if enter(&["--exact", this, "--include-ignored", "--nocapture"]) {
        return;
    }
    let seed = setting("P2PT_SOAK_SEED", rand::random());
    let rounds = setting("P2PT_SOAK_ROUNDS", 1);
    let round = Duration::from_secs(setting("P2PT_SOAK_SECONDS", 30)) / u32::try_from(rounds + 1).expect("few rounds");
    let processes = usize::try_from(setting("P2PT_SOAK_PROCESSES", 8)).expect("few processes");
    println!(
        "P2PT_SOAK_SEED={seed}: {RESIDENTS} residents and up to {processes} processes; a round for warming up and {rounds} more, {round:?} each"
    );
    let residents = Residents::start(RESIDENTS, "soak");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(soak(&residents, processes, seed, rounds, round));
}

async fn soak(residents: &Residents, processes: usize, seed: u64, rounds: u64, length: Duration) {
    let begun = Instant::now();
    let mut harness = Harness::new(residents, processes, TRACKERS).await;
    let trackers = harness.tracker_urls();
    let mut allowed = None;
    for round in 0..=rounds {
        println!("{:5.1} s: round {round}", begun.elapsed().as_secs_f64());
        residents.at_trackers(&trackers, true).await;
        harness.start_everybody().await;
        harness.run(&Plan::new(seed.wrapping_add(round), &harness.up(), TRACKERS, length)).await;
        println!("  full mesh after {:.1} s", harness.meshed().await.as_secs_f64());
        harness.roll_call().await;
        let (closed, messages) = residents.counts();
        println!("  at its end {:?}; {closed} peers closed, {messages} messages", Usage::now(residents.runtime()));
        harness.clear().await;
        print!("{}", harness.notices());

        // Without a tracker no node makes offers, so that what is held depends on nothing but the residents.
        residents.at_trackers(&trackers, false).await;
        residents.forget();
        let usage = Usage::steady(residents.runtime()).await;
        let allowed =
            allowed.get_or_insert(usage.with_memory(usage.resident_kib / 2).with_udp_sockets(RESIDENTS * SOCKETS_EACH));
        let usage = allowed.is_enough(residents.runtime(), PATIENCE).await.unwrap_or_else(|held| {
            panic!("P2PT_SOAK_SEED={seed}: {held:?} are held, {allowed:?} are allowed");
        });
        println!("  alone {usage:?}");
        // An attempt to connect that was still open in the first round is no excuse for later ones.
        allowed.tasks = allowed.tasks.min(usage.tasks);
        allowed.descriptors = allowed.descriptors.min(usage.descriptors);
    }
    residents.shutdown().await;
    println!("{:5.1} s: over", begun.elapsed().as_secs_f64());
}
