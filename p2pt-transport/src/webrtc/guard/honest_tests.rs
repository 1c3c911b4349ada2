//! What honest peers send passes, untouched.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Verdict, chunks::*, harness::*};

/// What happens to a packet on its way.
#[derive(Debug, Clone, Copy)]
enum Delivery {
    Arrive,
    Lose,
    Repeat,
    /// It arrives so many milliseconds later.
    Late(u8),
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        20 => Just(Delivery::Arrive),
        2 => Just(Delivery::Lose),
        1 => Just(Delivery::Repeat),
        2 => (1..60_u8).prop_map(Delivery::Late),
    ]
}

/// What a side does.
#[derive(Debug, Clone)]
enum Step {
    Send {
        side: usize,
        stream: u16,
        bytes: usize,
        count: usize,
    },
    /// For so many milliseconds, this side reads nothing.
    Stall {
        side: usize,
        milliseconds: u16,
    },
    Pass {
        milliseconds: u16,
    },
    Reset {
        side: usize,
        stream: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![3 => 1..60_usize, 2 => 60..2_000_usize, 1 => 2_000..60_000_usize];
    prop_oneof![
        6 => (0..2_usize, 1..3_u16, bytes, 1..200_usize).prop_map(|(side, stream, bytes, count)| {
            // Once the channel is open, messages in fragments are for it alone.
            let stream = if bytes > 1_000 { 1 } else { stream };
            // About half a megabyte at the most, to keep the runs short.
            Step::Send { side, stream, bytes, count: count.min(500_000 / bytes).max(1) }
        }),
        1 => (0..2_usize, 1..3_000_u16).prop_map(|(side, milliseconds)| Step::Stall { side, milliseconds }),
        2 => (1..3_000_u16).prop_map(|milliseconds| Step::Pass { milliseconds }),
        1 => (0..2_usize, 2..6_u16).prop_map(|(side, stream)| Step::Reset { side, stream: 2 * stream + side as u16 }),
    ]
}

struct Pair {
    stacks: [Stack; 2],
    now: Instant,
    in_flight: Vec<(Instant, usize, Bytes)>,
    /// What happens to the next packets; those behind arrive.
    deliveries: std::vec::IntoIter<Delivery>,
    deaf_until: [Instant; 2],
    sent: [Vec<Bytes>; 2],
}

impl Pair {
    fn new(deliveries: Vec<Delivery>) -> Self {
        let now = start();
        let mut pair = Self {
            stacks: [Stack::new(true), Stack::new(true)],
            now,
            in_flight: Vec::new(),
            deliveries: deliveries.into_iter(),
            deaf_until: [now; 2],
            sent: Default::default(),
        };
        pair.stacks[0].connect(now);
        pair.stacks.iter_mut().filter_map(|stack| stack.guard.as_mut()).for_each(|guard| guard.channel(1));
        pair.run(Duration::from_secs(120), |pair| pair.stacks.iter().all(|stack| stack.connected));
        pair
    }

    /// Lets packets and time pass until `done`, at most for `limit`.
    fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) && self.now <= end {
            for side in 0..2 {
                for packet in self.stacks[side].poll(self.now) {
                    self.put(side, packet);
                }
            }
            let timers = self.stacks.iter().filter_map(Stack::timeout);
            let next = timers
                .chain(self.in_flight.iter().map(|(at, ..)| *at))
                .chain(self.deaf_until)
                .filter(|at| *at > self.now);
            let Some(next) = next.min() else { return };
            self.now = next.min(end + Duration::from_millis(1));
            let (due, later) = std::mem::take(&mut self.in_flight).into_iter().partition(|(at, ..)| *at <= self.now);
            self.in_flight = later;
            let due: Vec<_> = due;
            for (_, side, packet) in due {
                if let Some(answer) = self.stacks[side].receive(self.now, &packet).unwrap() {
                    self.put(side, answer);
                }
            }
            for side in 0..2 {
                self.stacks[side].handle_timeout(self.now);
                if self.now >= self.deaf_until[side] {
                    self.stacks[side].read_all();
                }
            }
        }
    }

    fn put(&mut self, from: usize, packet: Bytes) {
        let to = 1 - from;
        let usual = self.now + Duration::from_millis(10);
        match self.deliveries.next().unwrap_or(Delivery::Arrive) {
            Delivery::Arrive => self.in_flight.push((usual, to, packet)),
            Delivery::Lose => {}
            Delivery::Repeat => self.in_flight.extend([(usual, to, packet.clone()), (usual, to, packet)]),
            Delivery::Late(milliseconds) => {
                self.in_flight.push((usual + Duration::from_millis(milliseconds.into()), to, packet));
            }
        }
    }

    /// What the guards did not let pass, but for what is left over from the handshake, and for closes beyond those of two
    /// channels at a time, which are asked for again.
    fn stopped(&self) -> Vec<&(u8, Verdict)> {
        let all = self.stacks.iter().flat_map(|stack| &stack.verdicts);
        all.filter(|(kind, verdict)| *verdict != Verdict::Pass && !matches!(*kind, INIT | INIT_ACK | RE_CONFIG))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bulk_small_messages_resets_and_a_close_pass(
        deliveries in prop::collection::vec(delivery(), 1..1_500),
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let mut pair = Pair::new(deliveries);
        prop_assert!(pair.stacks.iter().all(|stack| stack.connected));
        let mut tag = 0_u32;
        let mut reset = Vec::new();
        for step in steps {
            match step {
                Step::Send { side, stream, bytes, count } => {
                    for _ in 0..count {
                        tag += 1;
                        let message: Bytes = tag.to_be_bytes().into_iter().cycle().take(bytes.max(4)).collect();
                        let now = pair.now;
                        if pair.stacks[side].send(now, stream, &message) {
                            pair.sent[side].push(message);
                        }
                    }
                }
                Step::Stall { side, milliseconds } => {
                    pair.deaf_until[side] = pair.now + Duration::from_millis(milliseconds.into());
                }
                Step::Pass { milliseconds } => pair.run(Duration::from_millis(milliseconds.into()), |_| false),
                Step::Reset { side, stream } => {
                    let now = pair.now;
                    reset.push((side, stream));
                    let last_words = Bytes::from_static(b"last words");
                    if pair.stacks[side].send(now, stream, &last_words) {
                        pair.sent[side].push(last_words);
                    }
                    if let Ok(mut stream) = pair.stacks[side].association().stream(stream) {
                        let _ = stream.close(now);
                    }
                }
            }
        }
        pair.run(Duration::from_secs(600), |pair| {
            (0..2).all(|side| pair.sent[side].len() == pair.stacks[1 - side].received.len())
        });
        // And until every close is done.
        pair.run(Duration::from_secs(600), |_| false);
        prop_assert_eq!(pair.stopped(), Vec::<&(u8, Verdict)>::new());
        for (side, stream) in reset {
            prop_assert!(!pair.stacks[1 - side].association().stream_ids().contains(&stream));
        }
        for side in 0..2 {
            let mut sent = std::mem::take(&mut pair.sent[side]);
            let mut received = std::mem::take(&mut pair.stacks[1 - side].received);
            sent.sort();
            received.sort();
            prop_assert_eq!(sent, received);
        }
        let now = pair.now;
        pair.deliveries = Vec::new().into_iter();
        prop_assert!(pair.stacks[0].association().abort().is_ok());
        for packet in pair.stacks[0].poll(now) {
            pair.put(0, packet);
        }
        pair.run(Duration::from_secs(5), |_| false);
        prop_assert!(pair.stacks[1].association().is_closed());
        prop_assert_eq!(pair.stopped(), Vec::<&(u8, Verdict)>::new());
    }
}

#[test]
fn an_answer_to_init_that_is_lost_is_sent_again() {
    // INIT arrives, INIT-ACK does not.
    let pair = Pair::new(vec![
        Delivery::Arrive,
        Delivery::Lose,
        Delivery::Arrive,
        Delivery::Arrive,
        Delivery::Arrive,
        Delivery::Arrive,
    ]);
    assert!(pair.stacks.iter().all(|stack| stack.connected));
    assert_eq!(pair.stacks[1].begun, 1);
    assert!(pair.stacks[1].verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Answer(_))));
}

#[test]
fn what_browsers_send_passes() {
    let mut victim = Victim::new(true);
    let first = victim.next(STREAM, 0, 12);
    let mut passes = |chunks: &[&[u8]]| {
        victim.give(chunks).unwrap();
        assert_eq!(victim.stack.verdicts.pop().unwrap().1, Verdict::Pass, "{chunks:?}");
    };
    // A SACK before DATA, and DATA of other channels: even and odd numbers up to 65,534.
    passes(&[&sack(0, 1 << 20, &[(2, 3), (5, 5)]), &first]);
    let far_streams: Vec<Vec<u8>> = (1_001..1_017).map(|tsn| data(tsn, 65_534 - 2 * tsn as u16, 0, WHOLE, 1)).collect();
    far_streams.iter().for_each(|data| passes(&[data]));
    // usrsctp's and libwebrtc's HEARTBEAT, with 8 to 60 bytes of information.
    passes(&[&chunk(HEARTBEAT, 0, &param(1, &[9; 54]))]);
    // A close while data is on its way, and the answer to a close of ours, in one chunk.
    let both = [&reset_request(1, 1_016, &[STREAM])[4..], &[0; 2], &param(16, &1_u64.to_be_bytes())].concat();
    passes(&[&chunk(RE_CONFIG, 0, &both)]);
    // libdatachannel closes with a SHUTDOWN.
    passes(&[&chunk(SHUTDOWN, 0, &0_u32.to_be_bytes())]);
    passes(&[&chunk(SHUTDOWN_ACK, 0, &[])]);
    passes(&[&chunk(SHUTDOWN_COMPLETE, 1, &[])]);
    passes(&[&chunk(ABORT, 0, &[])]);
}

#[test]
fn the_guard_of_a_connection_is_small() {
    assert!(size_of::<super::SctpGuard>() <= 288, "{}", size_of::<super::SctpGuard>());
    assert!(size_of::<super::DtlsGuard>() <= 8);
}
