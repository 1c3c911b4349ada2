//! What a peer can make the stack hold beside a window of bytes.

use super::{Violation, chunks::*, harness::*};

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
