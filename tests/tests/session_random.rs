//! Random traffic over sessions of p2pt/2 whose channels break: nothing is lost, doubled or reordered.

use p2pt_tests::sessions::{Faults, Plan, Totals};
use p2pt_tests::sim::MemoryNetwork;

fn run(plans: impl IntoIterator<Item = Plan>) -> Totals {
    let mut totals = Totals::default();
    for plan in plans {
        totals += plan.run(MemoryNetwork::new);
    }
    println!("{totals:#?}");
    totals
}

#[test]
fn without_faults_everything_comes() {
    let totals = run((0..2).map(|seed| Plan { seed, nodes: 3, messages: 500, faults: Faults::None }));
    assert_eq!((totals.closed, totals.returned), (0, 0));
    assert!(totals.delivered > 0 && totals.read > 0, "{totals:?}");
}

#[test]
fn whatever_breaks_nothing_is_lost_doubled_or_reordered() {
    let totals = run((0..40).map(|seed| Plan::random(seed, 250)));
    assert!(totals.sent >= 10_000 && totals.faults > 60 && totals.closed > 0 && totals.returned > 0, "{totals:?}");
}

/// One plan again: `P2PT_SESSION_SEED=7 cargo test -p p2pt-tests --test session_random a_given_plan`.
#[test]
fn a_given_plan_can_be_run_again() {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    let (seed, messages) = (number("P2PT_SESSION_SEED", 1), number("P2PT_SESSION_MESSAGES", 250));
    let plan = Plan::random(seed, usize::try_from(messages).expect("a number of messages"));
    println!("{plan:?}");
    assert!(run([plan]).sent > 0);
}

#[test]
#[ignore = "a million messages take minutes: cargo test --release -p p2pt-tests --test session_random -- --ignored --nocapture"]
fn a_million_messages() {
    let totals = run((1000..1400).map(|seed| Plan::random(seed, 2500)));
    assert!(totals.sent >= 1_000_000, "{totals:?}");
}
