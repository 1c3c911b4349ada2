//! Swarms that everything happens to, and what must hold afterwards.

use p2pt_tests::plan::Plan;
use proptest::prelude::*;

/// Cases by default; more with `PROPTEST_CASES`.
const CASES: u32 = 12;

fn cases() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config.max_shrink_iters = 200;
    // A failed plan is printed as what can be run again.
    config.failure_persistence = None;
    config
}

proptest! {
    #![proptest_config(cases())]

    /// Run a plan again that failed: `P2PT_PLAN='{…}' cargo test -p p2pt-tests --test failures given`.
    #[test]
    fn after_any_plan_a_swarm_is_whole_again(plan in Plan::any(12)) {
        println!("{plan}");
        let outcome = plan.run();
        println!("{outcome:?}");
        prop_assert!(outcome.mesh_after <= plan.mesh_within());
    }
}

#[test]
fn a_given_plan() {
    if let Ok(plan) = std::env::var("P2PT_PLAN") {
        let plan: Plan = plan.parse().expect("a plan in JSON");
        println!("{:?}", plan.run());
    }
}
