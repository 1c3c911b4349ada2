use std::sync::atomic::AtomicU64;

use proptest::{collection::vec, prelude::*};

use super::*;

const BOUND: usize = 1000;

/// Two shares of 250 bytes, and 500 bytes for all.
fn memory() -> (Arc<Memory>, Arc<Counters>) {
    let counters = Arc::<Counters>::default();
    (Arc::new(Memory::new(BOUND, 2, counters.clone(), |counters| &counters.held_bytes)), counters)
}

fn counted(gauge: &AtomicU64) -> usize {
    usize::try_from(gauge.load(Ordering::Relaxed)).expect("small")
}

fn account(memory: &Arc<Memory>) -> (Arc<Account>, Tab) {
    let account = Account::new(memory.clone(), BOUND);
    let tab = Tab::new(&account);
    (account, tab)
}

/// Has an incomplete message grow by so much.
fn grow(tab: &mut Tab, bytes: usize) -> Result<(), Short> {
    tab.make_room(bytes)?;
    tab.set_held(tab.room(), false);
    Ok(())
}

fn free(memory: &Memory) -> usize {
    lock(&memory.state).pool.free
}

#[test]
fn what_one_holds_never_takes_from_the_share_of_another() {
    let (memory, _) = memory();
    let ((greedy, _), (modest, _), (late, _)) = (account(&memory), account(&memory), account(&memory));
    assert!(greedy.try_take(750) && !greedy.try_take(1), "its share, and all that is for all");
    assert!(modest.try_take(250) && !modest.try_take(1));
    assert!(!late.try_take(1), "there were two shares");
    greedy.give_back(1);
    assert!(late.try_take(1));
    greedy.give_back(749);
    drop(greedy);
    assert_eq!(
        Account::new(memory.clone(), BOUND).held.lock().expect("no panic").share,
        250,
        "the share is free again"
    );
}

#[test]
fn a_share_is_free_again_when_its_peer_is_gone_and_what_it_held_too() {
    let (memory, counters) = memory();
    let ((one, _), (_two, _)) = (account(&memory), account(&memory));
    let charge = {
        assert!(one.try_take(300));
        Charge::taken(&one, 300)
    };
    one.retire();
    assert_eq!(lock(&Account::new(memory.clone(), 0).held).share, 0, "it still holds something");
    drop(charge);
    assert_eq!(lock(&Account::new(memory.clone(), 0).held).share, 250, "however long its handle is kept");
    assert_eq!((free(&memory), counted(&counters.held_bytes)), (500, 0));
}

#[test]
fn the_greediest_pays_and_not_the_one_that_asks() {
    let (memory, _) = memory();
    let ((_one, mut greedy), (_two, mut modest)) = (account(&memory), account(&memory));
    grow(&mut greedy, 700).expect("room");
    grow(&mut modest, 300).expect("room");
    // Nothing is left for all.
    assert!(matches!(grow(&mut modest, 1), Err(Short::Node(Remedy::Wait))));
    assert!(greedy.is_asked() && !modest.is_asked());
    greedy.set_held(0, true);
    greedy.paid();
    assert!(!greedy.is_asked());
    grow(&mut modest, 1).expect("room");
}

#[test]
fn the_one_that_asks_pays_if_it_would_be_the_greediest() {
    let (memory, _) = memory();
    let ((_one, mut greedy), (_two, mut modest)) = (account(&memory), account(&memory));
    grow(&mut greedy, 500).expect("room");
    grow(&mut modest, 500).expect("room");
    assert!(matches!(grow(&mut greedy, 1), Err(Short::Node(Remedy::Pay))));
    assert!(!greedy.is_asked() && !modest.is_asked());
}

#[test]
fn of_a_peer_the_channel_pays_whose_messages_hold_most() {
    let (memory, _) = memory();
    let ((one, mut small), (_two, mut modest)) = (account(&memory), account(&memory));
    let mut large = Tab::new(&one);
    grow(&mut small, 100).expect("room");
    grow(&mut large, 600).expect("room");
    grow(&mut modest, 300).expect("room");
    assert!(matches!(grow(&mut modest, 1), Err(Short::Node(Remedy::Wait))));
    assert!(large.is_asked() && !small.is_asked());
    // Its other channel asks it too.
    assert!(matches!(grow(&mut small, 1), Err(Short::Node(Remedy::Wait))));
    assert!(!small.is_asked());
}

#[test]
fn no_peer_pays_for_what_waits_for_the_application_or_is_within_its_share() {
    let (memory, _) = memory();
    let ((greedy, own), (_two, mut modest)) = (account(&memory), account(&memory));
    greedy.take(750, &own).expect("room");
    grow(&mut modest, 250).expect("its share");
    assert!(matches!(greedy.take(1, &own), Err(Remedy::Nothing)));
    assert!(matches!(grow(&mut modest, 1), Err(Short::Node(Remedy::Pay))), "it could have its share alone");
    assert!(!modest.is_asked());
}

#[test]
fn incomplete_messages_of_all_channels_of_a_peer_have_one_limit() {
    let (memory, _) = memory();
    let account = Account::new(memory, 100);
    let (mut one, mut other) = (Tab::new(&account), Tab::new(&account));
    one.make_room(60).expect("room");
    assert!(matches!(other.make_room(41), Err(Short::Peer)));
    other.make_room(40).expect("room");
    // What is whole is none any more.
    let charge = one.complete(0, 50).expect("it has as much");
    other.make_room(50).expect("room");
    assert_eq!(lock(&account.held).bytes, 150);
    drop((charge, one, other));
    assert_eq!(lock(&account.held).bytes, 0);
}

#[test]
fn warnings_are_rare_and_say_how_many_were_left_out() {
    let (memory, _) = memory();
    let now = crate::now();
    assert_eq!((memory.warn(now), memory.warn(now), memory.warn(now)), (Some(0), None, None));
    assert_eq!(memory.warn(now + WARNING_INTERVAL), Some(2));
}

#[derive(Debug, Clone)]
enum Op {
    Take(usize, usize),
    Grow(usize, usize),
    Complete(usize, usize),
    Give(usize),
    Pay,
    Leave(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0usize..4, 0usize..400).prop_map(|(peer, bytes)| Op::Take(peer, bytes)),
        (0usize..4, 0usize..400).prop_map(|(peer, bytes)| Op::Grow(peer, bytes)),
        (0usize..4, 0usize..400).prop_map(|(peer, bytes)| Op::Complete(peer, bytes)),
        (0usize..100).prop_map(Op::Give),
        Just(Op::Pay),
        (0usize..4).prop_map(Op::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_sum_never_exceeds_the_bound_and_shares_are_certain(ops in vec(op(), 1..80)) {
        let (memory, counters) = memory();
        let mut peers: Vec<Option<(Arc<Account>, Tab)>> = (0..4).map(|_| Some(account(&memory))).collect();
        let mut charges: Vec<Charge> = Vec::new();
        for op in ops {
            match op {
                Op::Take(peer, bytes) => {
                    let Some((account, tab)) = &peers[peer] else { continue };
                    let within = { let held = lock(&account.held); held.bytes + bytes <= held.share };
                    match account.take(bytes, tab) {
                        Ok(()) => charges.push(Charge::taken(account, bytes)),
                        Err(_) => prop_assert!(!within, "its share was refused"),
                    }
                }
                Op::Grow(peer, bytes) => {
                    let Some((account, tab)) = &mut peers[peer] else { continue };
                    let within = { let held = lock(&account.held); held.bytes + bytes <= held.share };
                    let grown = grow(tab, bytes);
                    prop_assert!(grown.is_ok() || !within, "its share was refused");
                    if let Err(Short::Node(Remedy::Pay)) = grown {
                        prop_assert!(tab.room() > 0, "it has nothing to pay with");
                    }
                }
                Op::Complete(peer, bytes) => {
                    let Some((_, tab)) = &mut peers[peer] else { continue };
                    let held = tab.room().saturating_sub(bytes);
                    if let Some(charge) = tab.complete(held, bytes.min(tab.room())) {
                        charges.push(charge);
                    }
                    tab.set_held(held, true);
                }
                Op::Give(index) => {
                    if !charges.is_empty() {
                        charges.swap_remove(index % charges.len());
                    }
                }
                Op::Pay => {
                    for (_, tab) in peers.iter_mut().flatten().filter(|(_, tab)| tab.owes()) {
                        prop_assert!(lock(&memory.state).pool.drawn[&tab.account.id] > 0, "a share is never paid with");
                        tab.set_held(0, true);
                        tab.paid();
                    }
                }
                Op::Leave(peer) => peers[peer] = match peers[peer].take() {
                    Some((account, _)) => { account.retire(); None }
                    None => Some(account(&memory)),
                },
            }
            let held = counted(&counters.held_bytes);
            prop_assert!(held <= BOUND, "{held} bytes");
            let state = lock(&memory.state);
            let drawn: usize = state.pool.drawn.values().sum();
            prop_assert_eq!(state.pool.free + drawn, BOUND / 2);
        }
        drop((peers, charges));
        let state = lock(&memory.state);
        prop_assert_eq!((state.pool.free, state.pool.shares_left, state.tabs.len()), (BOUND / 2, 2, 0));
        prop_assert_eq!(counted(&counters.held_bytes), 0);
    }
}
