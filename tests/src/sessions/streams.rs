//! Streams of random length, each direction of which ends in its own way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2pt::{PeerStream, StreamError, StreamReader, StreamWriter, Urgency};
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::Run;
use super::traffic::Way;
use crate::sim::until;

/// What is written at once.
const PIECE: usize = 10_007;

/// How a direction ends.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum End {
    /// With its last byte.
    Finish,
    /// Its writer gives up after so many bytes.
    Reset(usize),
    /// Its reader gives up after so many bytes.
    Stop(usize),
    /// It is not read until all traffic is over.
    Unread,
}

/// What both sides are to do, which the metadata says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Task {
    number: usize,
    /// Bytes and end of what the opener writes, and of what it reads.
    flows: [(usize, End); 2],
}

fn flow(rng: &mut StdRng) -> (usize, End) {
    let bytes = match rng.random_range(0..10) {
        0..2 => 0,
        2..8 => rng.random_range(1..30_000),
        _ => rng.random_range(30_000..800_000),
    };
    let end = match rng.random_range(0..12) {
        0 => End::Reset(rng.random_range(0..=bytes)),
        1 => End::Stop(rng.random_range(0..=bytes)),
        2 => End::Unread,
        _ => End::Finish,
    };
    (bytes, end)
}

/// The code of the reset or the stop of a direction.
fn code(number: usize, direction: usize) -> u64 {
    (2 * number + direction) as u64
}

/// The byte of a direction at an offset.
fn byte(number: usize, direction: usize, offset: usize) -> u8 {
    (offset % 251 + number * 7 + direction * 3) as u8
}

fn bytes(number: usize, direction: usize, from: usize, to: usize) -> Bytes {
    (from..to).map(|offset| byte(number, direction, offset)).collect()
}

/// Opens a stream and uses it, in a task of its own.
pub(super) fn open(way: &Way, rng: &mut StdRng) {
    let task = Task { number: way.run.ledger.opens(), flows: [flow(rng), flow(rng)] };
    let urgency = Urgency::new(rng.random_range(0..8)).expect("a number up to 7");
    let (run, peer) = (way.run.clone(), way.peer.clone());
    run.ledger.uses(true);
    tokio::spawn(async move {
        let metadata = serde_json::to_vec(&task).expect("JSON");
        match peer.open_stream_with(metadata, urgency).await {
            Ok(stream) => use_both(&run, stream, task, 0).await,
            Err(error) => failed(&run, task.number, [0, 1], &error),
        }
        run.ledger.uses(false);
    });
}

/// Uses a stream that has come, in a task of its own.
pub(super) fn accepted(run: &Arc<Run>, stream: PeerStream) {
    let task: Task = match serde_json::from_slice(stream.metadata()) {
        Ok(task) => task,
        Err(error) => return run.ledger.violation(format!("a stream with other metadata: {error}")),
    };
    run.ledger.accepted(task.number);
    run.ledger.uses(true);
    let run = run.clone();
    tokio::spawn(async move {
        use_both(&run, stream, task, 1).await;
        run.ledger.uses(false);
    });
}

async fn use_both(run: &Arc<Run>, stream: PeerStream, task: Task, writes: usize) {
    let (reader, writer) = stream.into_split();
    tokio::join!(write(run, writer, task, writes), read(run, reader, task, 1 - writes));
}

async fn write(run: &Run, mut writer: StreamWriter, task: Task, direction: usize) {
    let (number, (total, end)) = (task.number, task.flows[direction]);
    let until = if let End::Reset(after) = end { after } else { total };
    let mut written = 0;
    while written < until {
        let next = (written + PIECE).min(until);
        if let Err(error) = writer.write_bytes(bytes(number, direction, written, next)).await {
            return failed(run, number, [direction, direction], &error);
        }
        written = next;
    }
    if let End::Reset(_) = end {
        writer.reset(code(number, direction));
        return run.ledger.flow((number, direction), |flow| flow.cut = true);
    }
    writer.finish();
    if !matches!(end, End::Finish) {
        return;
    }
    match writer.acknowledged().await {
        Ok(()) => run.ledger.flow((number, direction), |flow| flow.acknowledged = true),
        Err(error) => failed(run, number, [direction, direction], &error),
    }
}

async fn read(run: &Run, mut reader: StreamReader, task: Task, direction: usize) {
    let (number, (total, end)) = (task.number, task.flows[direction]);
    if let End::Unread = end {
        let _ = until(super::PATIENCE, || run.is_over()).await;
        return run.ledger.flow((number, direction), |flow| flow.cut = true);
    }
    let until = if let End::Stop(after) = end { after } else { usize::MAX };
    let mut read = 0;
    while read < until {
        match reader.chunk().await {
            Ok(Some(chunk)) => {
                if chunk != bytes(number, direction, read, read + chunk.len()) {
                    run.ledger.violation(format!("stream {number}, direction {direction}: other bytes at {read}"));
                }
                read += chunk.len();
                if read % 11 == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Ok(None) => {
                if read != total || matches!(end, End::Reset(_)) {
                    run.ledger
                        .violation(format!("stream {number}, direction {direction}: it ends at {read}, {task:?}"));
                }
                return run.ledger.flow((number, direction), |flow| flow.read = true);
            }
            Err(error) => return failed(run, number, [direction, direction], &error),
        }
    }
    reader.stop(code(number, direction));
    run.ledger.flow((number, direction), |flow| flow.cut = true);
}

/// A side could not go on, which is as it was to be, or the peer is gone.
fn failed(run: &Run, number: usize, directions: [usize; 2], error: &StreamError) {
    for direction in directions {
        let code = code(number, direction);
        run.ledger.flow((number, direction), |flow| match error {
            StreamError::Reset(given) if *given == code => flow.cut = true,
            // A half that is dropped unread has the code 0.
            StreamError::Stopped(given) if *given == code || *given == 0 => flow.cut = true,
            StreamError::PeerGone(_) => flow.gone = true,
            _ => {}
        });
        let is_expected = match error {
            StreamError::Reset(given) | StreamError::Stopped(given) => *given == code || *given == 0,
            StreamError::PeerGone(_) => true,
            _ => false,
        };
        if !is_expected {
            run.ledger.violation(format!("stream {number}, direction {direction}: {error}"));
        }
    }
}
