use std::time::Duration;

use p2pt_transport::{
    Channel, ChannelClosed, Frame,
    memory::{Conditions, MemoryConfig},
};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::common::{connect, pair_with};

/// What one side does, one thing after the other.
#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    TrySend(usize),
    Sleep(u64),
    Close,
}

/// What may happen to the path meanwhile, none of it a fault a channel cannot mend.
#[derive(Debug, Clone)]
enum Weather {
    Calm(u64),
    Conditions { latency: u64, jitter: u64 },
    Slow { from: usize, millis: u64 },
    Interrupted(u64),
    InterruptedOneWay { from: usize, millis: u64 },
    Frozen(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_usize..3000).prop_map(Step::Send),
        3 => (0_usize..3000).prop_map(Step::TrySend),
        3 => (0_u64..200).prop_map(Step::Sleep),
    ];
    (proptest::collection::vec(step, 0..60), any::<bool>()).prop_map(|(mut steps, closes)| {
        steps.extend(closes.then_some(Step::Close));
        steps
    })
}

fn weather() -> impl Strategy<Value = Vec<Weather>> {
    let one = prop_oneof![
        (0_u64..300).prop_map(Weather::Calm),
        (0_u64..100, 0_u64..100).prop_map(|(latency, jitter)| Weather::Conditions { latency, jitter }),
        (0_usize..2, 0_u64..300).prop_map(|(from, millis)| Weather::Slow { from, millis }),
        (0_u64..1000).prop_map(Weather::Interrupted),
        (0_usize..2, 0_u64..1000).prop_map(|(from, millis)| Weather::InterruptedOneWay { from, millis }),
        (0_u64..1000).prop_map(Weather::Frozen),
    ];
    proptest::collection::vec(one, 0..8)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Frame(String),
    End(ChannelClosed),
}

#[derive(Debug, PartialEq, Eq)]
struct Trace {
    accepted: Vec<String>,
    seen: Vec<(Duration, Seen)>,
}

impl Trace {
    fn frames(&self) -> Vec<&str> {
        let mut frames = Vec::new();
        for (_, seen) in &self.seen {
            if let Seen::Frame(text) = seen {
                frames.push(text.as_str());
            }
        }
        frames
    }

    fn end(&self) -> &ChannelClosed {
        match self.seen.last() {
            Some((_, Seen::End(reason))) => reason,
            other => panic!("a channel that was closed did not end: {other:?}"),
        }
    }
}

/// One side does its steps while it reads; then both wait for each other and the offerer closes, unless one of them has.
async fn live(mut channel: Channel, steps: &[Step], done: &tokio::sync::Barrier, start: Instant) -> Trace {
    let mut accepted = Vec::new();
    let sender = channel.sender.clone();
    let act = async {
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Send(bytes) | Step::TrySend(bytes) => {
                    let text = format!("{number:<bytes$}");
                    let sent = match step {
                        Step::Send(_) => sender.send(Frame::text(&text)).await.is_ok(),
                        _ => sender.try_send(Frame::text(&text)).is_ok(),
                    };
                    accepted.extend(sent.then_some(text));
                }
                Step::Sleep(millis) => sleep(Duration::from_millis(*millis)).await,
                Step::Close => sender.close().await,
            }
        }
        done.wait().await;
        sender.close().await;
    };
    let read = async {
        let mut seen = Vec::new();
        loop {
            let next = channel.receiver.recv().await;
            let next = next.map_or_else(Seen::End, |frame| Seen::Frame(frame.to_text().into_owned()));
            seen.push((start.elapsed(), next.clone()));
            if matches!(next, Seen::End(_)) {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(act, read);
    Trace { accepted, seen }
}

fn simulate(seed: u64, steps: &[Vec<Step>; 2], weather: &[Weather]) -> [Trace; 2] {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        // Each interruption may last a second, and both sides may have to wait for several.
        let config = MemoryConfig::default()
            .send_buffer_bytes(5000)
            .receive_buffer_bytes(5000)
            .close_timeout(Duration::from_secs(60));
        let (network, a, b) = pair_with(seed, config);
        let (at_a, at_b) = connect(&a, &b).await.expect("nothing has happened yet");
        let start = Instant::now();
        let done = tokio::sync::Barrier::new(2);
        let blow = async {
            let ways = [(a.node(), b.node()), (b.node(), a.node())];
            for one in weather {
                match one {
                    Weather::Calm(millis) => sleep(Duration::from_millis(*millis)).await,
                    Weather::Conditions { latency, jitter } => network.set_conditions(Conditions {
                        latency: Duration::from_millis(*latency),
                        jitter: Duration::from_millis(*jitter),
                        bytes_per_second: None,
                    }),
                    Weather::Slow { from, millis } => {
                        let (from, to) = ways[*from];
                        network.slow_from(from, to, Duration::from_millis(*millis));
                    }
                    Weather::InterruptedOneWay { from, millis } => {
                        let (from, to) = ways[*from];
                        network.cut_from(from, to);
                        sleep(Duration::from_millis(*millis)).await;
                        network.mend_from(from, to);
                    }
                    Weather::Interrupted(millis) => {
                        network.cut(a.node(), b.node());
                        sleep(Duration::from_millis(*millis)).await;
                        network.mend(a.node(), b.node());
                    }
                    Weather::Frozen(millis) => {
                        network.freeze(b.node());
                        sleep(Duration::from_millis(*millis)).await;
                        network.thaw(b.node());
                    }
                }
            }
        };
        let (a, b, ()) = tokio::join!(live(at_a, &steps[0], &done, start), live(at_b, &steps[1], &done, start), blow);
        assert_eq!((network.open_channels(), network.pending()), (0, 0));
        [a, b]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_lost_or_reordered(seed: u64, a in steps(), b in steps(), weather in weather()) {
        let [a, b] = simulate(seed, &[a, b], &weather);
        for (sender, receiver) in [(&a, &b), (&b, &a)] {
            let frames = receiver.frames();
            prop_assert_eq!(&sender.accepted[..frames.len()], &frames[..]);
            // A side that closes may miss what the other sends at that moment; the other gets everything.
            if *receiver.end() == ChannelClosed::Remote {
                prop_assert_eq!(sender.accepted.len(), frames.len());
            }
        }
        prop_assert!(matches!(a.end(), ChannelClosed::Local | ChannelClosed::Remote | ChannelClosed::Timeout(_)));
    }

    #[test]
    fn the_same_seed_has_the_same_trace(seed: u64, a in steps(), b in steps(), weather in weather()) {
        let steps = [a, b];
        prop_assert_eq!(simulate(seed, &steps, &weather), simulate(seed, &steps, &weather));
    }
}
