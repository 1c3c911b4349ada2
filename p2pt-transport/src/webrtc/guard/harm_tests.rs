//! Each harm, done to the bare stack in a bounded form, and gone behind the guard.

use bytes::Bytes;

use super::{Verdict, Violation, chunks::*, fitted, harness::*, sack_window, with_window};

/// What the victims do when they are given the same packet: bare, then guarded.
fn both(mut check: impl FnMut(Victim, bool)) {
    for guarded in [false, true] {
        check(Victim::new(guarded), guarded);
    }
}

fn forward_tsn(tsn: u32) -> Vec<u8> {
    chunk(FORWARD_TSN, 0, &tsn.to_be_bytes())
}

#[test]
fn forward_tsn_is_counted_to_one_by_one() {
    // The stack's loop passes every TSN on its way: 2^31 of them would take a minute of CPU. The bare stack shows that
    // it goes wherever the number says, in a build in which 2^12 steps are cheap.
    const STEPS: u32 = 1 << 12;
    both(|mut victim, guarded| {
        let to = victim.tsn + STEPS;
        match victim.sack(&[&forward_tsn(to)]) {
            Ok(sack) => assert!(!guarded && sack.tsn == to),
            Err(violation) => assert!(guarded && violation == Violation::ForwardTsn),
        }
    });
    let mut victim = Victim::new(true);
    let interleaved = chunk(I_FORWARD_TSN, 0, &victim.tsn.to_be_bytes());
    assert_eq!(victim.give(&[&interleaved]), Err(Violation::ForwardTsn));
}

#[test]
fn a_chunk_does_not_hide_in_another_that_says_it_is_longer() {
    both(|mut victim, guarded| {
        let data = victim.next(STREAM, 0, 10);
        let to = victim.tsn + 100;
        let around = chunk(COOKIE_ACK, 0, &forward_tsn(to));
        let _ = victim.give(&[&around]).unwrap();
        let sack = victim.sack(&[&data]).unwrap();
        assert_eq!(sack.tsn == to, !guarded, "{sack:?}");
    });
    let mut victim = Victim::new(true);
    let hidden = forward_tsn(victim.tsn + 100);
    let mut long_sack = sack(0, 1 << 20, &[]);
    long_sack.extend_from_slice(&hidden);
    long_sack[3] += 8;
    let mut response = 1_u64.to_be_bytes().to_vec();
    response.extend_from_slice(&hidden);
    for around in [
        chunk(SHUTDOWN_ACK, 0, &hidden),
        chunk(SHUTDOWN_COMPLETE, 0, &hidden),
        long_sack,
        chunk(HEARTBEAT, 0, &[param(1, &[0; 4]), hidden.clone()].concat()),
        chunk(RE_CONFIG, 0, &param(16, &response)),
    ] {
        let packet = packet(0, &[&around]);
        assert_eq!(victim.stack.guard.as_mut().unwrap().inspect(victim.now, &packet), Ok(Verdict::Drop), "{around:?}");
    }
}

#[test]
fn reset_requests_are_kept_and_answered_for_every_tsn() {
    const REQUESTS: u32 = 40;
    both(|mut victim, guarded| {
        let far = victim.tsn + 1_000;
        for sequence in 0..REQUESTS {
            let _ = victim.give(&[&reset_request(sequence, far, &[STREAM])]).unwrap();
        }
        let data = victim.next(STREAM, 0, 10);
        let sent = victim.give(&[&data]).unwrap();
        let answers = sent.iter().filter(|packet| packet[COMMON_HEADER] == RE_CONFIG).count();
        assert_eq!(answers, if guarded { 2 } else { REQUESTS as usize });
    });
}

#[test]
fn resets_in_the_life_of_a_connection_are_bounded() {
    both(|mut victim, guarded| {
        // A stream that opens and is reset, again and again: the stack keeps a request of its own for each.
        let mut ended = None;
        for sequence in 0..100_u16 {
            let opening = victim.next(STREAM, 0, 10);
            let last = victim.tsn - 1;
            let reset = reset_request(sequence.into(), last, &[STREAM]);
            let given = victim.give(&[&opening]).and_then(|_| {
                victim.stack.read(STREAM);
                victim.now += std::time::Duration::from_secs(1);
                victim.give(&[&reset])
            });
            if let Err(violation) = given {
                ended = Some((sequence, violation));
                break;
            }
        }
        assert_eq!(ended, guarded.then_some((64, Violation::TooManyResets)));
    });
    let mut victim = Victim::new(true);
    let many: Vec<u16> = (0..33).collect();
    let (sequence, last) = (1, victim.tsn - 1);
    assert_eq!(victim.give(&[&reset_request(sequence, last, &many)]), Err(Violation::TooManyResets));
}

#[test]
fn a_reset_that_waits_for_the_reader_is_answered_when_it_was_asked_again() {
    // libwebrtc asks again under a new number, each second.
    let mut victim = Victim::new(true);
    let data = victim.next(STREAM, 0, 10);
    let last = victim.tsn - 1;
    let _ = victim.give(&[&data]).unwrap();
    for sequence in 0..20 {
        victim.now += std::time::Duration::from_secs(1);
        let _ = victim.give(&[&reset_request(sequence, last, &[STREAM])]).unwrap();
    }
    victim.stack.read(STREAM);
    assert_eq!((victim.stack.received.len(), victim.stack.ended.as_slice()), (1, &[STREAM][..]));
    let _ = victim.wait();
    let answers = victim.give(&[&reset_request(20, last, &[STREAM])]).unwrap();
    assert!(answers.iter().any(|packet| packet[COMMON_HEADER] == RE_CONFIG), "{answers:?}");
}

#[test]
fn data_without_data_never_fills_the_window() {
    both(|mut victim, guarded| {
        let empty = victim.next(STREAM, 0, 0);
        match victim.sack(&[&empty]) {
            Ok(sack) => {
                assert!(!guarded);
                // Any number of them is kept, each in a message of its own.
                for sequence in 1..2_000 {
                    let empty = victim.next(STREAM, sequence, 0);
                    let _ = victim.give(&[&empty]).unwrap();
                }
                let empty = victim.next(STREAM, 2_000, 0);
                assert_eq!(victim.sack(&[&empty]).unwrap().window, sack.window);
            }
            Err(violation) => assert!(guarded && violation == Violation::EmptyData),
        }
    });
}

#[test]
fn every_stream_number_makes_a_stream() {
    both(|mut victim, guarded| {
        let mut ended = None;
        for stream in 0..1_000 {
            let data = victim.next(stream * 2, 0, 1);
            if let Err(violation) = victim.give(&[&data]) {
                ended = Some((stream, violation));
                break;
            }
        }
        assert_eq!(ended, guarded.then_some((32, Violation::TooManyStreams)));
        assert_eq!(victim.stack.association().stream_ids().len(), if guarded { 32 } else { 1_000 });
    });
}

#[test]
fn a_peer_that_ignores_the_window_fills_memory() {
    both(|mut victim, guarded| {
        // One TSN far ahead makes every one below it a gap to be filled, whatever the window says.
        let far = data(victim.tsn + 2_000, STREAM, 2_000, WHOLE, 100);
        let _ = victim.give(&[&far]).unwrap();
        victim.tsn += 1;
        for sequence in 1..1_000 {
            let data = victim.next(STREAM, sequence, 1_100);
            let _ = victim.give(&[&data]).unwrap();
        }
        let missing = data(1_000, STREAM, 0, WHOLE, 100);
        let _ = victim.give(&[&missing]).unwrap();
        victim.stack.read(STREAM);
        let held: usize = victim.stack.received.iter().map(|message| message.len()).sum();
        if guarded {
            assert!(held <= 2 * WINDOW as usize && held > WINDOW as usize, "{held}");
        } else {
            assert!(held > 8 * WINDOW as usize, "{held}");
        }
    });
}

#[test]
fn a_full_stack_takes_what_makes_room_again() {
    let mut victim = Victim::new(true);
    // A message without an end, larger than the window, and then its end.
    let pieces = WINDOW as usize / 1_000 * 3;
    for piece in 0..pieces {
        let flags = match piece {
            0 => 2,
            _ if piece == pieces - 1 => 1,
            _ => 0,
        };
        let fragment = data(victim.tsn, STREAM, 0, flags, 1_000);
        victim.tsn += 1;
        // A sender sends again what is not acknowledged.
        while victim.give(&[&fragment]).is_ok()
            && victim.stack.verdicts.pop().is_some_and(|(_, verdict)| verdict == Verdict::Drop)
        {
            let _ = victim.wait();
        }
    }
    victim.stack.read(STREAM);
    assert_eq!(victim.stack.received.len(), 1);
    assert_eq!(victim.stack.received[0].len(), pieces * 1_000);
}

#[test]
fn data_too_far_ahead_makes_the_stack_panic_or_lie() {
    both(|mut victim, guarded| {
        // The last number a gap block can say, and the one behind it.
        let base = victim.tsn - 1;
        let (last, behind) = (data(base + 65_535, STREAM, 1, WHOLE, 1), data(base + 65_536, STREAM, 2, WHOLE, 1));
        let survived = victim.survives(&[&last]).and_then(|_| victim.survives(&[&behind]));
        match survived {
            None => assert!(!guarded && cfg!(debug_assertions)),
            Some(sent) => {
                assert!(guarded || !cfg!(debug_assertions));
                assert_eq!(sent.unwrap().is_empty(), guarded);
            }
        }
    });
}

#[test]
fn gaps_make_acknowledgements_larger_than_datagrams() {
    both(|mut victim, guarded| {
        let base = victim.tsn;
        let mut largest = 0;
        let mut last = None;
        for group in 0..60_u32 {
            // Every second TSN, 50 in a packet of 1,000 bytes.
            let chunks: Vec<Vec<u8>> = (0..50)
                .map(|n| 100 * group + 2 * n + 1)
                .map(|ahead| data(base + ahead, STREAM, ahead as u16, WHOLE, 1))
                .collect();
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            for packet in victim.give(&chunks).unwrap() {
                largest = largest.max(packet.len());
                last = Some(packet);
            }
        }
        if guarded {
            assert!((8_000..8_500).contains(&largest), "{largest}");
            let fitted = fitted(&last.unwrap()).unwrap();
            assert_eq!(fitted.len(), 28 + 4 * 256);
        } else {
            assert!(largest > 11_000, "{largest}");
        }
    });
}

#[test]
fn gap_blocks_that_overlap_multiply_the_work() {
    both(|mut victim, guarded| {
        for _ in 0..8 {
            let message = Bytes::from(vec![0; 1_000]);
            assert!(victim.stack.send(victim.now, STREAM, &message));
        }
        let sent = victim.wait();
        let first = sent.iter().find(|packet| packet[COMMON_HEADER] == DATA).unwrap();
        let tsn = be32(first, COMMON_HEADER + 4).unwrap();
        // Each block names three chunks in flight; a larger window and 16 KiB make 10^8 of it.
        let blocks = vec![(2, 4); 200];
        let _ = victim.give(&[&sack(tsn - 1, 1 << 20, &blocks)]).unwrap();
        assert!(victim.stack.ended.is_empty());
        // So the sum is bounded by what one honest SACK can say.
        let blocks = vec![(1, 65_535), (2, 2)];
        match victim.give(&[&sack(tsn - 1, 1 << 20, &blocks)]) {
            Ok(_) => assert!(!guarded),
            Err(violation) => assert!(guarded && violation == Violation::GapBlocks),
        }
    });
    let mut victim = Victim::new(true);
    let one = sack(0, 1 << 20, &[]);
    assert_eq!(victim.give(&[&one, &one]), Ok(Vec::new()));
    assert_eq!(victim.stack.verdicts.pop().unwrap().1, Verdict::Drop);
}

#[test]
fn an_error_cause_longer_than_its_chunk_makes_the_stack_panic() {
    for kind in [ABORT, 9] {
        both(|mut victim, guarded| {
            let mut cause = param(13, &[]);
            cause[3] = 200;
            let survived = victim.survives(&[&chunk(kind, 0, &cause)]);
            assert_eq!(survived.is_some(), guarded);
            assert!(!guarded || kind == 9 || survived == Some(Err(Violation::Abort)));
        });
    }
}

#[test]
fn an_error_is_no_end() {
    both(|mut victim, guarded| {
        let data = victim.next(STREAM, 0, 1);
        let _ = victim.give(&[&data]).unwrap();
        let _ = victim.give(&[&chunk(9, 0, &param(8, &[0; 4]))]).unwrap();
        assert_eq!(victim.stack.ended.is_empty(), guarded);
    });
}

#[test]
fn an_abort_ends_the_association_with_what_came_before_it() {
    let mut victim = Victim::new(true);
    let data = victim.next(STREAM, 0, 1);
    let _ = victim.give(&[&data, &chunk(ABORT, 0, &param(12, b"bye"))]).unwrap();
    assert_eq!(victim.stack.ended, [STREAM]);
}

#[test]
fn bundled_heartbeats_are_answered_with_a_packet_each() {
    both(|mut victim, guarded| {
        let heartbeat = chunk(HEARTBEAT, 0, &param(1, &[]));
        let sent = victim.give(&[heartbeat.as_slice(); 100]).unwrap();
        assert_eq!(sent.len(), if guarded { 0 } else { 100 });
    });
    let mut victim = Victim::new(true);
    let heartbeat = chunk(HEARTBEAT, 0, &param(1, &[1; 40]));
    let answered: usize = (0..200).map(|_| victim.give(&[&heartbeat]).unwrap().len()).sum();
    assert_eq!(answered, 63, "the 64th was the COOKIE-ECHO");
    victim.now += std::time::Duration::from_secs(1);
    assert_eq!(victim.give(&[&heartbeat]).unwrap().len(), 1);
}

#[test]
fn an_init_sent_again_begins_another_association() {
    for guarded in [false, true] {
        let mut stack = Stack::new(guarded);
        let now = start();
        let init_packet = packet(0, &[&init_chunk(INIT, 7, 1 << 20, 1_000)]);
        assert_eq!(stack.receive(now, &init_packet), Ok(None));
        let first = stack.poll(now);
        let mut answers = 0;
        for _ in 0..100 {
            if let Some(answer) = stack.receive(now, &init_packet).unwrap() {
                assert_eq!(answer, first[0]);
                answers += 1;
            }
        }
        assert_eq!((stack.begun, answers), if guarded { (1, 16) } else { (101, 0) });
        // Another INIT, or one that is malformed, replaces nothing.
        for other in
            [packet(0, &[&init_chunk(INIT, 8, 1 << 20, 1_000)]), packet(9, &[&init_chunk(INIT, 7, 1 << 20, 1_000)])]
        {
            let _ = stack.receive(now, &other).unwrap();
        }
        assert_eq!(stack.begun, if guarded { 1 } else { 103 });
    }
}

#[test]
fn an_init_with_impossible_values_begins_nothing() {
    let now = start();
    for (tag, window) in [(0, 1 << 20), (7, 1_000)] {
        let packet = packet(0, &[&init_chunk(INIT, tag, window, 1_000)]);
        assert_eq!(Stack::new(true).receive(now, &packet), Err(Violation::Init));
        let mut bare = Stack::new(false);
        assert_eq!(bare.receive(now, &packet), Ok(None));
        assert_eq!(bare.begun, 1, "an association that never answers");
    }
    let bundled = packet(0, &[&init_chunk(INIT, 7, 1 << 20, 1_000), &chunk(COOKIE_ACK, 0, &[])]);
    for guarded in [false, true] {
        let mut stack = Stack::new(guarded);
        assert_eq!(stack.receive(now, &bundled), Ok(None));
        assert_eq!(stack.begun, usize::from(!guarded));
    }
}

#[test]
fn early_fragments_move_all_later_ones() {
    both(|mut victim, guarded| {
        // One message, a byte a fragment, from its end to its beginning.
        let base = victim.tsn;
        let mut highest = 0;
        for ahead in (1..2_001_u32).rev() {
            let fragment = data(base + ahead, STREAM, 0, 0, 1);
            let _ = victim.give(&[&fragment]).unwrap();
            highest += usize::from(victim.stack.verdicts.pop().is_none_or(|(_, verdict)| verdict == Verdict::Pass));
        }
        if guarded {
            assert!((256..400).contains(&highest), "{highest}");
        } else {
            assert_eq!(highest, 2_000);
        }
    });
}

#[cfg(debug_assertions)]
#[test]
fn tsns_that_wrap_around_make_a_debug_build_panic() {
    let mut bare = Victim::with_tsn(false, 0).unwrap();
    let first = bare.next(STREAM, 0, 1);
    assert!(bare.survives(&[&first]).is_none());
    assert_eq!(Victim::with_tsn(true, 0).err(), Some(Violation::TsnWrap));

    let mut victim = Victim::with_tsn(true, u32::MAX - 1).unwrap();
    let first = victim.next(STREAM, 0, 1);
    assert_eq!(victim.sack(&[&first]).unwrap().tsn, u32::MAX - 1);
    let last = victim.next(STREAM, 1, 1);
    assert_eq!(victim.give(&[&last]), Err(Violation::TsnWrap));
}

#[test]
fn a_sack_says_another_window() {
    let mut victim = Victim::new(false);
    let data = victim.next(STREAM, 0, 100);
    let sack = victim.sack(&[&data]).unwrap();
    assert_eq!((sack_window(&sack.packet), sack.gaps), (Some(WINDOW - 100), 0));
    let changed = with_window(&sack.packet, 5_000);
    assert_eq!(sack_window(&changed), Some(5_000));
    assert_eq!(with_window(&changed, WINDOW - 100), sack.packet, "checksum and all");
    assert_eq!(fitted(&sack.packet), None);

    let heartbeat = packet(1, &[&chunk(HEARTBEAT, 0, &param(1, &[0; 20]))]);
    assert_eq!((sack_window(&heartbeat), fitted(&heartbeat)), (None, None));
    assert_eq!(with_window(&heartbeat, 5), heartbeat);
    assert_eq!(sack_window(&sack.packet[..20]), None);
}

#[test]
fn a_sack_without_blocks_that_are_out_of_order() {
    let blocks = [(2, 3), (5, 5), (0, 0), (9, 10)];
    let fitted = fitted(&packet(1, &[&sack(1_000, 7, &blocks)])).unwrap();
    assert_eq!(fitted, packet(1, &[&sack(1_000, 7, &blocks[..2])]));
}
