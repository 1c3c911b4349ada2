//! Two sessions against a model of what they promise: whatever the channels do, and whatever the applications at both ends
//! do, nothing is lost, doubled, or reordered, no bound is exceeded, and what was not delivered comes back.
//!
//! `PROPTEST_CASES` says how many plans are tried.

mod session {
    pub(crate) mod model;
    pub(crate) mod plan;
}

use proptest::{collection::vec, prelude::*};
use session::{model::World, plan};

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// However it went before: once channels last and readers read, everything arrives and is let go of.
    #[test]
    fn everything_drains(plan in plan::plan()) {
        let mut world = World::new(&plan.configs);
        world.run(&plan.steps);
        world.drain();
    }

    /// Whenever it ends: what was not delivered is given back, and what was acknowledged was delivered.
    #[test]
    fn what_was_not_delivered_comes_back(plan in plan::plan()) {
        let mut world = World::new(&plan.configs);
        world.run(&plan.steps);
        world.end();
    }

    /// Whatever the other side sends: nothing panics, what is held stays within its bounds, and a session that has ended of
    /// it says nothing more.
    #[test]
    fn any_bytes_are_taken_or_an_error(
        plan in plan::plan(),
        side in 0_usize..2,
        attempts in vec((any::<usize>(), vec(any::<u8>(), 1..20)), 1..20),
    ) {
        let mut world = World::new(&plan.configs);
        world.run(&plan.steps);
        world.open_channel();
        world.attack(side, &attempts);
    }
}
