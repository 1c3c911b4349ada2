//! Nothing a peer writes makes the guard panic, nor what passes it the stack.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::{DtlsGuard, Limits, SctpGuard, chunks::*, fitted, harness::*, sack_window, with_window};

/// A chunk that is nearly right, and whose numbers come from around where something happens.
fn any_chunk() -> impl Strategy<Value = Vec<u8>> {
    let near = prop_oneof![8 => 0..40_u32, 1 => 65_500..65_600_u32, 1 => any::<u32>()];
    let stream = prop_oneof![8 => 0..4_u16, 1 => any::<u16>()];
    let sequence = prop_oneof![8 => 0..8_u16, 1 => any::<u16>()];
    let block = (0..40_u16, 0..40_u16);
    let reset = prop::collection::vec(0..6_u16, 0..5);
    let parameters = prop::collection::vec(any_parameter(), 0..3).prop_map(|all| all.concat());
    prop_oneof![
        8 => (near.clone(), stream, sequence, 0..16_u8, 0..30_usize)
            .prop_map(|(tsn, stream, sequence, flags, bytes)| data(1_000_u32.wrapping_add(tsn), stream, sequence, flags, bytes)),
        3 => (near.clone(), any::<u32>(), prop::collection::vec(block, 0..6))
            .prop_map(|(tsn, window, blocks)| sack(tsn, window, &blocks)),
        3 => (near.clone(), near.clone(), reset)
            .prop_map(|(sequence, tsn, streams)| reset_request(sequence, 1_000_u32.wrapping_add(tsn), &streams)),
        1 => (prop::sample::select(vec![INIT, INIT_ACK]), any::<u32>(), near)
            .prop_map(|(kind, window, tsn)| init_chunk(kind, 7, window, tsn)),
        6 => (any_kind(), 0..16_u8, parameters).prop_map(|(kind, flags, value)| chunk(kind, flags, &value)),
        2 => (any_kind(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..24))
            .prop_map(|(kind, flags, value)| chunk(kind, flags, &value)),
        1 => (any_kind(), 0..80_u16, prop::collection::vec(any::<u8>(), 0..24)).prop_map(|(kind, length, value)| {
            let mut chunk = chunk(kind, 0, &value);
            chunk[2..4].copy_from_slice(&length.to_be_bytes());
            chunk
        }),
    ]
}

fn any_kind() -> impl Strategy<Value = u8> {
    prop_oneof![8 => prop::sample::select(vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192, 194]), 1 => any::<u8>()]
}

fn any_parameter() -> impl Strategy<Value = Vec<u8>> {
    let kinds = vec![1_u16, 7, 13, 14, 16, 17, 0x8002, 0x8003, 0x8004, 0x8008, 0xC000, 0xC001, 0xFFFF];
    (prop::sample::select(kinds), prop::collection::vec(0..4_u8, 0..20), prop::option::weighted(0.2, 0..64_u16))
        .prop_map(|(kind, value, length)| {
            let mut parameter = param(kind, &value);
            if let Some(length) = length {
                parameter[2..4].copy_from_slice(&length.to_be_bytes());
            }
            parameter.resize(parameter.len().next_multiple_of(4), 0);
            parameter
        })
}

/// A packet, whether the time-outs are waited for behind it, and whether what is complete is read.
type Given = (Vec<Vec<u8>>, bool, bool);

fn packets() -> impl Strategy<Value = Vec<Given>> {
    prop::collection::vec((prop::collection::vec(any_chunk(), 1..5), any::<bool>(), any::<bool>()), 1..40)
}

/// The stack behind the guard is given `packets`.
fn give_all(victim: &mut Victim, packets: &[Given]) {
    for (chunks, wait, read) in packets {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        if victim.give(&chunks).is_err() {
            return;
        }
        if *wait {
            let _ = victim.wait();
        }
        if *read {
            (0..4).for_each(|stream| victim.stack.read(stream));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn what_passes_does_not_make_the_stack_panic(packets in packets(), sends in any::<bool>()) {
        let survives = catch_unwind(AssertUnwindSafe(|| {
            let mut victim = Victim::new(true);
            if sends {
                for _ in 0..20 {
                    let now = victim.now;
                    let _ = victim.stack.send(now, 0, &bytes::Bytes::from(vec![0; 3_000]));
                }
                let sent = victim.wait();
                let first = sent.iter().find(|packet| packet[COMMON_HEADER] == DATA);
                victim.first_sent = first.and_then(|packet| be32(packet, COMMON_HEADER + 4)).unwrap_or(0);
            }
            let packets: Vec<Given> = packets.iter().cloned().map(|(chunks, wait, read)| {
                (chunks.into_iter().map(|chunk| aim(chunk, victim.first_sent)).collect(), wait, read)
            }).collect();
            give_all(&mut victim, &packets);
        }));
        prop_assert!(survives.is_ok());
    }

    #[test]
    fn the_side_that_began_does_not_panic(packets in packets()) {
        let survives = catch_unwind(AssertUnwindSafe(|| {
            let mut victim = Victim::that_began(true);
            give_all(&mut victim, &packets);
        }));
        prop_assert!(survives.is_ok());
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..20)) {
        let (mut sctp, mut dtls) = (SctpGuard::new(Limits { receive_window: WINDOW }), DtlsGuard::new());
        for bytes in packets {
            let _ = sctp.inspect(start(), &bytes);
            sctp.sent(&bytes.clone().into());
            let _ = dtls.inspect(&bytes);
            let _ = (sack_window(&bytes), fitted(&bytes));
            let _ = with_window(&bytes, 7);
        }
    }
}

/// A SACK about what the victim has sent.
fn aim(mut chunk: Vec<u8>, first_sent: u32) -> Vec<u8> {
    if chunk[0] == SACK && chunk.len() >= 8 {
        let tsn = be32(&chunk, 4).unwrap_or(0).wrapping_add(first_sent).wrapping_sub(1);
        chunk[4..8].copy_from_slice(&tsn.to_be_bytes());
    }
    chunk
}
