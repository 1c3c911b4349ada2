//! The side that offers, sends and measures.

use std::time::Duration;

use bytes::Bytes;
use p2pt_measure::machine::cpu_seconds;
use p2pt_measure::network_emulator::EmulatedPath;
use p2pt_measure::pipe::LineProcess;
use p2pt_transport::{Channel, Frame, FrameSender, Transport};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::{Options, PING, RAW_FRAME, SMALL_FRAME};

/// How long anything may take: 200 MB at 1 MB/s, which is what half a percent of loss leaves of a long path.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// How long opening a channel may take.
const OPENING: Duration = Duration::from_secs(40);

/// Measures all, and says what has come out.
pub(crate) async fn run(options: &Options) -> Value {
    let transport = options.transport();
    let mut other = other_side();
    let mut connecting = Vec::new();
    let mut last: Option<(Channel, Option<EmulatedPath>)> = None;
    for _ in 0..options.connects.max(1) {
        if let Some((channel, _path)) = last.take() {
            other.command(&json!({"close": true})).await;
            within(channel.sender.close()).await;
            other.expect("closed", |_| true).await;
        }
        let begin = Instant::now();
        let connected = connect(options, &*transport, &mut other).await;
        connecting.push(begin.elapsed().as_secs_f64() * 1e3);
        last = Some(connected);
    }
    let (mut channel, _path) = last.expect("there is at least one connection");

    let round_trips = round_trips(options, &mut channel, &mut other).await;
    let small = transfer(options.messages, SMALL_FRAME, &*channel.sender, &mut other).await;
    let raw = transfer(options.raw_frames(), RAW_FRAME, &*channel.sender, &mut other).await;
    within(channel.sender.close()).await;
    other.end().await;
    within(transport.shutdown()).await;

    let is_direct = options.conditions().is_none();
    json!({
        "peer": options.name(),
        "connect_ms": quantile(&connecting, 0.5),
        "rtt_us_p50": quantile(&round_trips, 0.5),
        "rtt_us_p99": quantile(&round_trips, 0.99),
        "small_per_s": small.as_ref().map(|small| (options.messages as f64 - 1.0) / small.seconds),
        "raw_mb_s": raw.as_ref().map(|raw| raw.bytes / 1e6 / raw.seconds),
        // Part of the time of an emulated path is that of the emulator.
        "raw_cpu_s_per_gb": raw.filter(|_| is_direct).map(|raw| raw.cpu_seconds / (raw.bytes / 1e9)),
    })
}

/// This program once more. It ends when its input does.
fn other_side() -> LineProcess {
    let mut command = Command::new(std::env::current_exe().expect("a program knows its own path"));
    command.args(std::env::args_os().skip(1)).arg("--other-side");
    LineProcess::spawn("the other side", command)
}

/// From nothing until both sides have said that the channel is open.
async fn connect(
    options: &Options,
    transport: &dyn Transport,
    other: &mut LineProcess,
) -> (Channel, Option<EmulatedPath>) {
    let offer = within(transport.offer()).await.expect("an offer can be made");
    let path = options
        .conditions()
        .map(|conditions| EmulatedPath::begin(offer.sdp(), conditions).expect("sockets can be had"));
    let offer_sdp = path.as_ref().map_or(offer.sdp(), |(_, moved)| moved);
    other.command(&json!({"offer": offer_sdp})).await;
    let answer = other.expect("answer", |_| true).await;
    let answer = answer["sdp"].as_str().expect("an answer has an SDP");
    let answer_sdp = path.as_ref().map_or_else(|| answer.to_owned(), |(path, _)| path.complete(answer));
    let opened = timeout(OPENING, offer.open(&answer_sdp)).await.expect("in time");
    let channel = opened.expect("the channel opens");
    other.expect("open", |_| true).await;
    (channel, path.map(|(path, _)| path))
}

/// One at a time, in microseconds.
async fn round_trips(options: &Options, channel: &mut Channel, other: &mut LineProcess) -> Vec<f64> {
    let uncounted = options.round_trips / 10;
    other.command(&json!({"echo": options.round_trips + uncounted})).await;
    other.expect("ready", |_| true).await;
    let mut taken = Vec::with_capacity(options.round_trips);
    for number in 0..options.round_trips + uncounted {
        let begin = Instant::now();
        within(channel.sender.send(Frame::text(PING))).await.expect("a ping is sent");
        within(channel.receiver.recv()).await.expect("a ping is echoed");
        if number >= uncounted {
            taken.push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }
    taken
}

/// What a transfer has taken.
struct Taken {
    bytes: f64,
    /// From the first arrival to the last.
    seconds: f64,
    /// Of both sides.
    cpu_seconds: f64,
}

/// One way, as fast as it goes. Nothing, if there is nothing to send.
async fn transfer(
    frames: usize,
    frame_bytes: usize,
    sender: &dyn FrameSender,
    other: &mut LineProcess,
) -> Option<Taken> {
    if frames < 2 {
        return None;
    }
    other.command(&json!({"sink": frames})).await;
    other.expect("ready", |_| true).await;
    let frame = Bytes::from(vec![b'x'; frame_bytes]);
    let cpu = cpu_seconds("self");
    let send = async {
        for _ in 0..frames {
            within(sender.send(Frame::Binary(frame.clone()))).await.expect("a frame is sent");
        }
    };
    let ((), report) = tokio::join!(send, other.expect_within(PATIENCE, "report", |_| true));
    let own = cpu_seconds("self") - cpu;
    let number = |key: &str| report[key].as_f64().expect("a report has it");
    Some(Taken { bytes: number("bytes"), seconds: number("span_seconds"), cpu_seconds: own + number("cpu_seconds") })
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// The value that this part of all do not exceed.
fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let place = (part * values.len() as f64) as usize;
    values.get(place.min(values.len().saturating_sub(1))).copied()
}
