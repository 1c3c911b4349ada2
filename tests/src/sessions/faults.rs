//! What breaks while nodes talk.

use std::sync::Arc;
use std::time::Duration;

use p2pt_transport::memory::{Break, MemoryNetwork};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::traffic::{LEFT, Member};
use super::{Faults, Run, start};
use crate::sim::{Emulated, Sim, Underlay, until};

/// By when a channel breaks that is to, since there is traffic.
const BREAKS_WITHIN: Duration = Duration::from_secs(20);

/// When one loss is not taken for the consequence of another, and trackers are asked again at once.
const LOSSES_APART: Duration = Duration::from_secs(65);

/// By when peers have met again.
const MEET_WITHIN: Duration = Duration::from_secs(90);

/// A network whose channels can be broken so that a session outlasts it.
pub trait Breakable: Underlay {
    /// How long a path may be silent, at most, without an end of its channels.
    const SILENCE: Duration;

    /// Breaks a channel with what is sent from one node to another, soon.
    fn break_soon(&self, from: Self::Node, to: Self::Node, rng: &mut StdRng);
}

impl Breakable for MemoryNetwork {
    const SILENCE: Duration = Duration::from_secs(4);

    fn break_soon(&self, from: Self::Node, to: Self::Node, rng: &mut StdRng) {
        let when = match rng.random_range(0..3) {
            0 => Break::AfterFrames(rng.random_range(0..5)),
            1 => Break::AfterFrames(rng.random_range(5..40)),
            _ => Break::AfterBytes(rng.random_range(0..200_000)),
        };
        self.break_after(from, to, when);
    }
}

impl Breakable for Emulated {
    const SILENCE: Duration = Duration::from_secs(3);

    /// The host gets another address, so that its connections fall silent and new ones are made.
    fn break_soon(&self, from: Self::Node, _: Self::Node, _: &mut StdRng) {
        self.host(from).change_address().expect("a free address");
    }
}

/// Breaks things until everything is sent; then all is well.
pub(super) async fn strike<N: Breakable>(sim: &Sim<N>, run: &Arc<Run>, members: &mut Vec<Member<N>>) {
    if run.plan.faults == Faults::None {
        return;
    }
    let mut rng = run.rng(1);
    while run.has_traffic() {
        let all_met = || members.iter().all(|member| is_connected(members, member));
        if until(MEET_WITHIN, all_met).await.is_none() {
            return run.ledger.violation("nodes do not meet again".to_owned());
        }
        let apart = if run.plan.faults == Faults::Apart { LOSSES_APART } else { Duration::ZERO };
        sleep(apart + Duration::from_millis(rng.random_range(0..1500))).await;
        let one = rng.random_range(0..members.len());
        let other = (one + rng.random_range(1..members.len())) % members.len();
        let (a, b) = (members[one].node, members[other].node);
        let kinds = if run.plan.faults == Faults::Any { 9 } else { 5 };
        let kind = rng.random_range(0..kinds);
        run.ledger.fault(format!("fault {kind}, nodes {} and {}", members[one].number, members[other].number));
        match kind {
            0..3 => {
                let broken = || broken(&members[one]);
                let before = broken();
                sim.network.break_soon(a, b, &mut rng);
                let breaks = until(BREAKS_WITHIN, || broken() > before || !run.has_traffic()).await;
                run.ledger.note(format!("broken after {breaks:?}"));
            }
            3 => {
                sim.network.cut_from(a, b);
                sim.network.cut_from(b, a);
                sleep(within(N::SILENCE, &mut rng)).await;
                sim.network.mend_from(a, b);
                sim.network.mend_from(b, a);
            }
            4 => {
                sim.freeze(a);
                sleep(within(N::SILENCE, &mut rng)).await;
                sim.thaw(a);
            }
            5 => {
                sim.network.cut_from(a, b);
                if rng.random() {
                    sim.network.cut_from(b, a);
                }
                sleep(N::SILENCE + within(Duration::from_secs(15), &mut rng)).await;
                sim.network.mend_from(a, b);
                sim.network.mend_from(b, a);
            }
            6 => {
                sim.unplug(a);
                sleep(within(Duration::from_secs(20), &mut rng)).await;
                sim.plug_in(a);
            }
            7 => {
                let peer = members[one].swarm.peer(&members[other].swarm.peer_id());
                if let Some(peer) = peer {
                    peer.leave(LEFT, "until later").await;
                }
                // What has left does not come back by itself before the next announce, which need not be waited for.
                let _ = members[one].swarm.request_more_peers().await;
            }
            _ => {
                let dead = members.swap_remove(one);
                run.ledger.killed(dead.number);
                sim.kill(dead.node);
                dead.reader.abort();
                drop(dead);
                let number = run.next_number();
                members.push(start(sim, run, number).await);
            }
        }
    }
}

/// How many channels of a node have ended that it did not end itself.
fn broken<N: Breakable>(member: &Member<N>) -> u64 {
    let metrics = member.swarm.node().metrics();
    metrics.closed_failed + metrics.closed_timeout
}

/// Whether a node has a channel to each of the others.
fn is_connected<N: Breakable>(members: &[Member<N>], member: &Member<N>) -> bool {
    let others = members.iter().filter(|other| other.number != member.number);
    others
        .map(|other| member.swarm.peer(&other.swarm.peer_id()))
        .all(|peer| peer.is_some_and(|peer| peer.connection_count() > 0))
}

fn within(most: Duration, rng: &mut StdRng) -> Duration {
    most.mul_f64(rng.random_range(0.1..1.0))
}
