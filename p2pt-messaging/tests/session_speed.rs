//! How fast two sessions are without a network, for a look at one's own machine:
//! `cargo test --release -p p2pt-messaging --test session_speed -- --ignored --nocapture`

use std::time::Instant;

use bytes::Bytes;
use p2pt_messaging::wire::{LinkId, MessageKind, OutMessage, Session, SessionConfig, Urgency};

const LINK: LinkId = LinkId(0);

#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

struct Pair {
    now: Instant,
    ends: [Session; 2],
}

impl Pair {
    fn new() -> Self {
        let config = SessionConfig::default();
        let hello = config.hello([0; 16], "");
        let now = now();
        let ends = [(); 2].map(|()| {
            let mut session = Session::new(config.clone(), &hello);
            session.link_opened(now, LINK);
            session
        });
        Self { now, ends }
    }

    /// One packet in each direction, and the events of both taken; whether there was one.
    fn exchange(&mut self) -> bool {
        let mut has_come = false;
        for side in [0, 1] {
            if let Some(packet) = self.ends[side].poll_transmit(self.now, LINK, 65_536) {
                self.ends[1 - side].receive(self.now, LINK, &packet).expect("a packet of a session");
                has_come = true;
            }
            while self.ends[side].poll_event().is_some() {}
        }
        has_come
    }
}

fn message(bytes: Bytes) -> OutMessage {
    OutMessage { id: 0, response: false, kind: MessageKind::Bytes, urgency: Urgency::DEFAULT, bytes }
}

#[test]
#[ignore = "measures: cargo test --release -p p2pt-messaging --test session_speed -- --ignored --nocapture"]
fn a_large_message() {
    let bytes = Bytes::from(vec![7; 64 << 20]);
    for _ in 0..5 {
        let mut pair = Pair::new();
        let start = now();
        pair.ends[0].send(message(bytes.clone())).expect("one of the largest size");
        while pair.exchange() {}
        let received = pair.ends[1].receive_message().expect("all of it");
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(received.bytes, bytes);
        println!("a message of 64 MiB: {:.0} MB/s", bytes.len() as f64 / seconds / 1e6);
    }
}

#[test]
#[ignore = "measures: cargo test --release -p p2pt-messaging --test session_speed -- --ignored --nocapture"]
fn small_messages() {
    const COUNT: usize = 1_000_000;
    for size in [32, 1024] {
        let bytes = Bytes::from(vec![7; size]);
        let (mut pair, mut received) = (Pair::new(), 0);
        let start = now();
        let mut sent = 0;
        while received < COUNT {
            while sent < COUNT && pair.ends[0].has_room(Urgency::DEFAULT) {
                pair.ends[0].send(message(bytes.clone())).expect("a small one");
                sent += 1;
            }
            pair.exchange();
            received += std::iter::from_fn(|| pair.ends[1].receive_message()).count();
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("messages of {size} bytes: {:.2} million/s", COUNT as f64 / seconds / 1e6);
    }
    // One at a time, each in its own packet, acknowledged by its own.
    let (mut pair, start) = (Pair::new(), now());
    for _ in 0..COUNT {
        pair.ends[0].send(message(Bytes::from_static(b"one at a time"))).expect("a small one");
        while pair.exchange() {}
        pair.ends[1].receive_message().expect("it");
    }
    println!("one at a time: {:.2} million/s", COUNT as f64 / start.elapsed().as_secs_f64() / 1e6);
}

#[test]
#[ignore = "measures: cargo test --release -p p2pt-messaging --test session_speed -- --ignored --nocapture"]
fn streams() {
    const COUNT: usize = 200_000;
    let (mut pair, start) = (Pair::new(), now());
    let (mut opened, mut ended) = (0, 0);
    while ended < COUNT {
        while opened < COUNT
            && let Ok(key) = pair.ends[0].open(Bytes::new(), Urgency::DEFAULT)
        {
            pair.ends[0].write(key, &mut Bytes::from_static(b"a request")).expect("room");
            pair.ends[0].finish(key);
            pair.ends[0].stop(key, 0);
            opened += 1;
        }
        pair.exchange();
        while let Some(accepted) = pair.ends[1].accept() {
            while pair.ends[1].read(accepted.key, 1000).is_ok_and(|bytes| !bytes.is_empty()) {}
            pair.ends[1].reset(accepted.key, 0);
            ended += 1;
        }
    }
    println!("streams: {:.0} thousand/s", COUNT as f64 / start.elapsed().as_secs_f64() / 1e3);

    let mut pair = Pair::new();
    let key = pair.ends[0].open(Bytes::new(), Urgency::DEFAULT).expect("the first");
    while pair.exchange() {}
    let theirs = pair.ends[1].accept().expect("the first").key;
    let (bytes, start, mut count) = (Bytes::from(vec![7; 64 << 10]), now(), 0);
    while count < 1 << 30 {
        while pair.ends[0].write(key, &mut bytes.clone()).is_ok() {}
        pair.exchange();
        while let Ok(bytes) = pair.ends[1].read(theirs, 65_536) {
            count += bytes.len();
        }
    }
    println!("one stream: {:.0} MB/s", count as f64 / start.elapsed().as_secs_f64() / 1e6);
}
