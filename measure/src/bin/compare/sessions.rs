//! p2pt/2 beside p2pt/1 and beside raw frames: nodes of real WebRTC that speak the one, and the other, and bare channels of
//! the transport, in turn in each round, so that whatever else the machine does falls on all alike.

use std::fs;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::transport::Channel;
use p2pt::transport::webrtc::{WebRtc, WebRtcConfig};
use p2pt::{Event, Events, Frame, P2pt, Payload, Peer, Swarm, Transport as _, Urgency};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::facts::Facts;
use crate::results::Spread;
use crate::{Options, section};

/// The section of the document that this writes.
pub(crate) const TITLE: &str = "p2pt/2 beside p2pt/1 and raw frames";

/// How long anything may take. A guard.
const PATIENCE: Duration = Duration::from_secs(120);

/// A large message, in bytes.
const LARGE: usize = 16_000_000;

/// A raw frame, in bytes: what a bulk transfer's frames have.
const RAW_FRAME: usize = 64 << 10;

/// Streams at a time.
const STREAMS_AT_A_TIME: usize = 256;

/// How much is measured.
struct Amounts {
    large: usize,
    small: usize,
    urgent: usize,
    streams: usize,
}

/// A row of the table: its title, its goal, whether it is a ratio, and the values of all rounds.
struct Row {
    title: &'static str,
    goal: &'static str,
    values: Vec<f64>,
}

/// Measures, and writes the section into the document.
pub(crate) async fn compare(options: &Options) {
    let (mut facts, mut rows) = (Facts::of_sessions(), rows());
    let amounts = if options.quick {
        Amounts { large: 3, small: 20_000, urgent: 100, streams: 1000 }
    } else {
        Amounts { large: 40, small: 500_000, urgent: 2000, streams: 10_000 }
    };
    for round in 1..=options.rounds {
        let load = facts.load();
        let values = measure(&amounts).await;
        eprintln!("round {round} of {}, load {load}: {values:.3?}", options.rounds);
        rows.iter_mut().zip(values).for_each(|(row, value)| row.values.push(value));
    }
    facts.load();
    let text = table(&rows, &facts, options);
    let document = fs::read_to_string(&options.output).unwrap_or_default();
    crate::write(&options.output, &section::put(&document, TITLE, &text));
}

fn rows() -> Vec<Row> {
    let row = |(title, goal)| Row { title, goal, values: Vec::new() };
    [
        ("raw frames of the transport, MB/s", ""),
        ("messages of 16 MB, bytes, p2pt/2, MB/s", ""),
        ("messages of 16 MB, text, p2pt/2, MB/s", ""),
        ("messages of 16 MB, text, p2pt/1, MB/s", ""),
        ("bytes to raw frames", "≥ 0.9"),
        ("text to raw frames", "≥ 0.9"),
        ("CPU time of bytes to that of raw frames", "≤ 1.11"),
        ("messages of 100 bytes, p2pt/2, per s", ""),
        ("messages of 100 bytes, p2pt/1, per s", ""),
        ("p2pt/2 to p2pt/1", "≥ 1"),
        ("an urgent message beside one of 64 MiB, p50, ms", ""),
        ("an urgent message beside one of 64 MiB, p99, ms", "≤ 5"),
        ("streams opened, used both ways and closed, per s", "≥ 20,000"),
    ]
    .into_iter()
    .map(row)
    .collect()
}

async fn measure(amounts: &Amounts) -> Vec<f64> {
    let server = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a port");
    let url = format!("ws://{}/announce", server.local_addr());
    let (raw, raw_cpu) = raw_frames(amounts.large).await;
    let mut two = Pair::connect(&url, true).await;
    let bytes = Payload::from(vec![7; LARGE]);
    let (bulk_bytes, bytes_cpu) = two.bulk(&bytes, amounts.large).await;
    let text = Payload::from("x".repeat(LARGE));
    let (bulk_text, _) = two.bulk(&text, amounts.large).await;
    let small_two = two.small(amounts.small).await;
    let urgent = two.urgent(amounts.urgent).await;
    let streams = two.streams(amounts.streams).await;
    two.end().await;
    let mut one = Pair::connect(&url, false).await;
    let (text_one, _) = one.bulk(&text, amounts.large).await;
    let small_one = one.small(amounts.small).await;
    one.end().await;
    vec![
        raw,
        bulk_bytes,
        bulk_text,
        text_one,
        bulk_bytes / raw,
        bulk_text / raw,
        bytes_cpu / raw_cpu,
        small_two,
        small_one,
        small_two / small_one,
        urgent[0],
        urgent[1],
        streams,
    ]
}

/// Two nodes that have met.
struct Pair {
    near: Swarm,
    far: Swarm,
    peer: Peer,
    _near_events: Events,
    far_events: Events,
}

impl Pair {
    async fn connect(url: &str, p2pt2: bool) -> Self {
        let builder = || {
            let webrtc = p2pt::WebRtcConfig::loopback().without_ice_servers();
            P2pt::builder().tracker(url).webrtc(webrtc).p2pt2(p2pt2)
        };
        let (near, near_events) = builder().join("room").await.expect("a node");
        let (far, far_events) = builder().join("room").await.expect("a node");
        let peer = timeout(PATIENCE, near.wait_for_peer()).await.expect("in time").expect("a peer");
        timeout(PATIENCE, far.wait_for_peer()).await.expect("in time").expect("a peer");
        Self { near, far, peer, _near_events: near_events, far_events }
    }

    async fn end(self) {
        tokio::join!(self.near.shutdown(), self.far.shutdown());
    }

    /// Sends so many messages; MB/s, and the CPU time of both sides in seconds.
    async fn bulk(&mut self, payload: &Payload, count: usize) -> (f64, f64) {
        // One that warms up.
        self.transfer(payload, 1).await;
        self.transfer(payload, count).await
    }

    async fn transfer(&mut self, payload: &Payload, count: usize) -> (f64, f64) {
        let peer = self.peer.clone();
        // Made beforehand: an application has what it sends.
        let payloads = vec![payload.clone(); count];
        let sending = async move {
            for payload in payloads {
                peer.send(payload).await.expect("sent");
            }
        };
        let events = &mut self.far_events;
        let hearing = async {
            for _ in 0..count {
                assert_eq!(message(events).await, LARGE);
            }
        };
        measured(count * LARGE, async { tokio::join!(sending, hearing) }).await
    }

    /// Small messages a second.
    async fn small(&mut self, count: usize) -> f64 {
        let peer = self.peer.clone();
        let sending = tokio::spawn(async move {
            let text = "x".repeat(100);
            for _ in 0..count {
                peer.send(text.as_str()).await.expect("sent");
            }
        });
        let begin = Instant::now();
        for _ in 0..count {
            message(&mut self.far_events).await;
        }
        sending.await.expect("sent");
        count as f64 / begin.elapsed().as_secs_f64()
    }

    /// How long urgent messages take while large ones are on their way: median and 99th percentile, in ms.
    async fn urgent(&mut self, count: usize) -> [f64; 2] {
        let peer = self.peer.clone();
        let bulk = tokio::spawn(async move {
            let large = Payload::from(Bytes::from(vec![1; 64 << 20]));
            while peer.message(&large).urgency(Urgency::BACKGROUND).send().await.is_ok() {}
        });
        let peer = self.peer.clone();
        let urgent = tokio::spawn(async move {
            for _ in 0..count {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let sent = micros().to_string();
                peer.message(sent).urgency(Urgency::URGENT).send().await.expect("sent");
            }
        });
        let mut delays = Vec::with_capacity(count);
        while delays.len() < count {
            let event = timeout(PATIENCE, self.far_events.next()).await.expect("in time").expect("an event");
            if let Event::Message(message) = event
                && let Some(sent) = message.text()
            {
                delays.push((micros() - sent.parse::<u64>().expect("a time")) as f64 / 1e3);
            }
        }
        urgent.await.expect("sent");
        bulk.abort();
        let _ = bulk.await;
        delays.sort_unstable_by(f64::total_cmp);
        [delays[count / 2], delays[count * 99 / 100]]
    }

    /// Streams a second, each of which is opened, carries 100 bytes each way, and is closed.
    async fn streams(&mut self, count: usize) -> f64 {
        let peer = self.peer.clone();
        let opening = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            for _ in 0..count {
                if tasks.len() >= STREAMS_AT_A_TIME {
                    tasks.join_next().await.expect("a task").expect("no panic");
                }
                let peer = peer.clone();
                tasks.spawn(async move {
                    let mut stream = peer.open_stream("").await.expect("it opens");
                    stream.write_all(&[7; 100]).await.expect("written");
                    stream.shutdown().await.expect("finished");
                    let mut back = Vec::with_capacity(100);
                    stream.read_to_end(&mut back).await.expect("it comes back");
                    assert_eq!(back.len(), 100);
                });
            }
            tasks.join_all().await;
        });
        let begin = Instant::now();
        let mut echoes = JoinSet::new();
        let mut accepted = 0;
        while accepted < count {
            let event = timeout(PATIENCE, self.far_events.next()).await.expect("in time").expect("an event");
            if let Event::Stream(mut stream) = event {
                accepted += 1;
                echoes.spawn(async move {
                    let mut text = Vec::with_capacity(100);
                    stream.read_to_end(&mut text).await.expect("it comes");
                    stream.write_all(&text).await.expect("written");
                    stream.shutdown().await.expect("finished");
                });
            }
        }
        echoes.join_all().await;
        opening.await.expect("no panic");
        count as f64 / begin.elapsed().as_secs_f64()
    }
}

/// The size of the next message.
async fn message(events: &mut Events) -> usize {
    loop {
        let event = timeout(PATIENCE, events.next()).await.expect("in time").expect("an event");
        if let Event::Message(message) = event {
            return message.payload().len();
        }
    }
}

/// Frames of a bare channel of the transport: MB/s, and the CPU time of both sides in seconds.
async fn raw_frames(count: usize) -> (f64, f64) {
    let transport = || WebRtc::new(WebRtcConfig::loopback().without_ice_servers()).expect("a certificate");
    let (near, far) = (transport(), transport());
    let offer = near.offer().await.expect("an offer");
    let answer = far.answer(offer.sdp()).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    let (near_end, far_end) = tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel");
    let Channel { sender, .. } = near_end;
    let Channel { mut receiver, .. } = far_end;
    let frame = Frame::binary(vec![7; RAW_FRAME]);
    let mut measure = async |frames: usize| {
        let sending = async {
            for _ in 0..frames {
                sender.send(frame.clone()).await.expect("sent");
            }
        };
        let hearing = async {
            for _ in 0..frames {
                timeout(PATIENCE, receiver.recv()).await.expect("in time").expect("a frame");
            }
        };
        measured(frames * RAW_FRAME, async { tokio::join!(sending, hearing) }).await
    };
    measure(LARGE / RAW_FRAME).await;
    let (rate, cpu) = measure(count * LARGE / RAW_FRAME).await;
    tokio::join!(near.shutdown(), far.shutdown());
    (rate, cpu)
}

/// What sending so many bytes takes: MB/s, and seconds of CPU time.
async fn measured<T>(bytes: usize, run: impl Future<Output = T>) -> (f64, f64) {
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    run.await;
    (bytes as f64 / 1e6 / begin.elapsed().as_secs_f64(), cpu_seconds() - cpu)
}

/// The CPU time that the threads of this process have taken.
fn cpu_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}

/// Microseconds since the first call.
fn micros() -> u64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn table(rows: &[Row], facts: &Facts, options: &Options) -> String {
    let quick = if options.quick { ", with little of everything" } else { "" };
    let rounds = options.rounds;
    let mut text = format!(
        "## {TITLE}\n\nWritten by `just compare --sessions`. Medians of {rounds} rounds{quick}; in brackets the least and the \
         most. Both nodes are in one process, on a machine of two cores; ratios are of each round.\n\n{}\n\
         |  | p2pt | goal |\n| --- | --- | --- |\n",
        facts.table(),
    );
    for Row { title, goal, values } in rows {
        let Some(Spread { median, min, max, .. }) = Spread::of(values.clone()) else { continue };
        text += &format!("| {title} | {} ({}–{}) | {goal} |\n", shown(median), shown(min), shown(max));
    }
    text
}

fn shown(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
