//! Which trackers an event has looked at: those it may concern and no others, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::mesh::LINKS_SOUGHT;

const TRACKERS: usize = 60;

fn trackers() -> Vec<AnnounceUrl> {
    (0..TRACKERS).map(|n| url(&n.to_string())).collect()
}

/// How many of 60 trackers are looked at now; each is told what it is to be told.
fn looked_at(bench: &mut Bench) -> usize {
    let concerned = bench.members.take_concerned(trackers().iter());
    for tracker in &concerned {
        bench.members.poll_wanted(bench.now, tracker);
    }
    concerned.len()
}

#[tokio::test(start_paused = true)]
async fn an_event_has_those_trackers_looked_at_that_it_concerns() {
    let mut bench = Bench::new(1, 100);
    assert_eq!(looked_at(&mut bench), TRACKERS, "all of them are new");
    assert_eq!(looked_at(&mut bench), 0);
    bench.count("7", 3);
    bench.count("7", 4);
    bench.count("8", 4);
    assert_eq!(looked_at(&mut bench), 2);
    assert!(bench.next_announce().is_some());
    assert_eq!(looked_at(&mut bench), 0, "asking again changes nothing");
    bench.offer(1, "9");
    assert_eq!(looked_at(&mut bench), 1);
    let _two = bench.connect(2, "7").await;
    assert_eq!(looked_at(&mut bench), TRACKERS, "a peer more is one fewer to look for, everywhere");
    bench.offer(2, "8");
    assert_eq!(looked_at(&mut bench), 1, "it is a member there, too");
    bench.members.add_tracker(&url("8"));
    bench.members.forget_tracker(&url("9"));
    assert_eq!(looked_at(&mut bench), 2);
}

#[tokio::test(start_paused = true)]
async fn a_further_link_is_wanted_until_it_is_sought_no_more_also_where_nothing_else_happens() {
    let mut bench = Bench::new(2, 100);
    let _one = bench.connect(1, "a").await;
    bench.run();
    bench.count("a", 2);
    assert_eq!((looked_at(&mut bench) > 0, bench.wanted("a")), (true, Some(1)));
    let began = bench.now;
    while bench.now < began + LINKS_SOUGHT {
        assert_eq!(looked_at(&mut bench), 0);
        bench.next_announce();
        while bench.members.poll_action().is_some() {}
    }
    assert_eq!((looked_at(&mut bench), bench.wanted("a")), (TRACKERS, Some(0)));
    assert_eq!(bench.members.poll_timeout(), None);
}

#[tokio::test(start_paused = true)]
async fn a_swarm_without_a_place_waits_for_the_application_to_hear_who_has_gone() {
    let mut bench = Bench::new(1, 1);
    let shared = bench.members.shared.clone();
    let hear = || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while shared.queue.poll_next(&mut context).is_ready() {}
    };
    let _one = bench.connect(1, "a").await;
    hear();
    let (_, link) = bench.run();
    assert!(!bench.members.waits_for_application(), "the peer is there");
    bench.members.link_closed(bench.now, link.id, ChannelClosed::Remote);
    bench.members.reader_ended(peer(1));
    looked_at(&mut bench);
    assert!(bench.members.waits_for_application());
    hear();
    assert_eq!(looked_at(&mut bench), TRACKERS);
    assert!(!bench.members.waits_for_application());
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Count { tracker: usize, members: usize },
    Offer { from: u8, tracker: usize },
    Answer { from: u8, tracker: usize },
    Open(usize),
    Fail(usize),
    Close(usize),
    Part(u8),
    Forget(usize),
    Hear,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let tracker = 0..3_usize;
    prop_oneof![
        (tracker.clone(), 0..8_usize).prop_map(|(tracker, members)| Op::Count { tracker, members }),
        (1..6_u8, tracker.clone()).prop_map(|(from, tracker)| Op::Offer { from, tracker }),
        (1..6_u8, tracker.clone()).prop_map(|(from, tracker)| Op::Answer { from, tracker }),
        (0..9_usize).prop_map(Op::Open),
        (0..9_usize).prop_map(Op::Open),
        (0..9_usize).prop_map(Op::Fail),
        (0..9_usize).prop_map(Op::Close),
        (1..6_u8).prop_map(Op::Part),
        tracker.prop_map(Op::Forget),
        Just(Op::Hear),
        (0..700_u64).prop_map(Op::Wait),
    ]
}

/// What a run holds.
struct Run {
    bench: Bench,
    attempts: Vec<AttemptId>,
    links: Vec<(LinkId, PeerId)>,
    far: Vec<Channel>,
    told: BTreeMap<AnnounceUrl, usize>,
}

impl Run {
    async fn apply(&mut self, op: Op) {
        let bench = &mut self.bench;
        match op {
            Op::Count { tracker, members } => bench.count(&tracker.to_string(), members),
            Op::Offer { from, tracker } => {
                let actions = bench.offer(from, &tracker.to_string());
                self.note(actions);
            }
            Op::Answer { from, tracker } => {
                let pending = bench.network.transport().offer().await.expect("an offer");
                bench.members.answer(bench.now, peer(from), url(&tracker.to_string()), OURS, pending, String::new());
            }
            Op::Open(n) if !self.attempts.is_empty() => {
                let attempt = self.attempts.remove(n % self.attempts.len());
                let (near, far) = bench.channel().await;
                self.far.push(far);
                bench.members.attempt_ended(bench.now, attempt, Ok(near));
            }
            Op::Fail(n) if !self.attempts.is_empty() => {
                let attempt = self.attempts.remove(n % self.attempts.len());
                bench.members.attempt_ended(bench.now, attempt, Err(TransportError::ShutDown));
            }
            Op::Close(n) if !self.links.is_empty() => {
                let (link, peer) = self.links.remove(n % self.links.len());
                bench.members.link_closed(bench.now, link, ChannelClosed::Remote);
                bench.members.reader_ended(peer);
            }
            Op::Part(from) => drop(bench.members.part(bench.now, peer(from))),
            Op::Forget(tracker) => {
                let tracker = url(&tracker.to_string());
                bench.members.forget_tracker(&tracker);
                self.told.remove(&tracker);
            }
            Op::Hear => {
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                while bench.members.shared.queue.poll_next(&mut context).is_ready() {}
            }
            Op::Wait(seconds) => {
                let until = bench.now + Duration::from_secs(seconds);
                while let Some(due) = bench.members.poll_timeout().filter(|due| *due <= until) {
                    bench.now = bench.now.max(due);
                    bench.members.handle_timeout(bench.now);
                }
                bench.now = until;
            }
            _ => {}
        }
        let actions = std::iter::from_fn(|| self.bench.members.poll_action()).collect();
        self.note(actions);
    }

    fn note(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Answer { attempt, .. } | Action::Accept { attempt, .. } => self.attempts.push(attempt),
                Action::GiveUp { attempt } => self.attempts.retain(|known| *known != attempt),
                Action::Run { peer, link, .. } => self.links.push((link.id, peer.id())),
                Action::Announce { .. } | Action::Retire { .. } => {}
            }
        }
    }
}

proptest! {
    /// Trackers that are not looked at know what they would be told.
    #[test]
    fn what_is_not_looked_at_has_not_changed(
        ops in proptest::collection::vec(op(), 1..60),
        connections_per_peer in 1..3_usize,
        max_peers in 0..4_usize,
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let all: BTreeSet<AnnounceUrl> = (0..3).map(|n| url(&n.to_string())).collect();
            let bench = Bench::new(connections_per_peer, max_peers);
            let mut run =
                Run { bench, attempts: Vec::new(), links: Vec::new(), far: Vec::new(), told: BTreeMap::new() };
            for op in ops {
                run.apply(op).await;
                let Run { bench, told, .. } = &mut run;
                for tracker in bench.members.take_concerned(all.iter()) {
                    told.extend(bench.members.poll_wanted(bench.now, &tracker).map(|wanted| (tracker, wanted)));
                }
                for tracker in &all {
                    let wanted = bench.members.poll_wanted(bench.now, tracker);
                    prop_assert_eq!(wanted, None, "{} was told {:?} before {:?}", tracker, told.get(tracker), op);
                }
            }
            Ok(())
        })?;
    }
}
