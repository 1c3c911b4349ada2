//! What a peer can make the stack hold beside a window of bytes.

use super::{Violation, harness::*};

#[test]
fn a_message_without_an_end_fills_memory() {
    for guarded in [false, true] {
        let mut victim = Victim::new(guarded);
        let (mut taken, mut ended) = (0, None);
        while taken < 8 * WINDOW as usize && ended.is_none() {
            let fragment = data(victim.tsn, STREAM, 0, if taken == 0 { 2 } else { 0 }, 1_000);
            victim.tsn += 1;
            match victim.sack(&[&fragment]) {
                Ok(sack) => assert_eq!(sack.tsn, victim.tsn - 1),
                Err(violation) => ended = Some(violation),
            }
            taken += 1_000;
        }
        assert_eq!(ended, guarded.then_some(Violation::EndlessMessage));
        assert!(!guarded || (3 * WINDOW as usize..4 * WINDOW as usize).contains(&taken), "{taken}");
    }
}

#[test]
fn a_reader_may_rest_for_as_long_as_it_likes() {
    let mut victim = Victim::new(true);
    let mut sequence = 0;
    // What fills the window, and what an honest peer then sends again and again to see whether there is room.
    loop {
        let message = victim.next(STREAM, sequence, 1_000);
        sequence += 1;
        if victim.sack(&[&message]).unwrap().window == 0 {
            break;
        }
    }
    let (tsn, probe) = (victim.tsn, victim.next(STREAM, sequence, 1_000));
    for _ in 0..6 * WINDOW / 1_000 {
        assert_eq!(victim.sack(&[&probe]).unwrap().tsn, tsn - 1);
    }
    victim.stack.read(STREAM);
    assert_eq!(victim.sack(&[&probe]).unwrap().tsn, tsn);
}

#[test]
fn messages_that_wait_for_one_that_never_comes_cost_more_than_their_bytes() {
    for guarded in [false, true] {
        let mut victim = Victim::new(guarded);
        if let Some(guard) = &mut victim.stack.guard {
            guard.channel(STREAM);
        }
        let (mut held, mut ended) = (0, None);
        for packet in 0..1_000_u16 {
            let stream = 2 + packet % 30;
            let chunks: Vec<Vec<u8>> =
                (0..50).map(|number| victim.next(stream, 1 + packet / 30 * 50 + number, 1)).collect();
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            match victim.give(&chunks) {
                Ok(_) => held += 50,
                Err(violation) => {
                    ended = Some(violation);
                    break;
                }
            }
        }
        assert_eq!((held == 50_000, ended), (!guarded, guarded.then_some(Violation::Beside)));
        assert!(!guarded || (10_000..15_000).contains(&held), "{held}");
    }
}

#[test]
fn what_is_beside_the_channel_is_what_no_honest_peer_sends_for_long() {
    let mut victim = Victim::new(true);
    victim.stack.guard.as_mut().unwrap().channel(STREAM);
    let mut ended = None;
    for number in 0..20_000_u32 {
        let ordered = victim.next(STREAM, number as u16, 1);
        assert!(victim.give(&[&ordered]).is_ok());
        victim.stack.read(STREAM);
    }
    for number in 0..20_000 {
        let mut unordered = victim.next(STREAM, 0, 1);
        unordered[1] |= 4;
        ended = victim.give(&[&unordered]).err();
        if ended.is_some() {
            assert!(number > 10_000, "{number}");
            break;
        }
    }
    assert_eq!(ended, Some(Violation::Beside));
}
