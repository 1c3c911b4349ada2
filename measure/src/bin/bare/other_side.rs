//! The side that answers, echoes and counts. Reads one command a line and writes one event a line:
//!
//! | command | event, at once | later event |
//! |---|---|---|
//! | `{"offer":SDP}` | `answer`, with `sdp` | `open` |
//! | `{"echo":N}` | `ready` | |
//! | `{"sink":N}` | `ready` | `report`, when N frames have come |
//! | `{"close":true}` | `closed` | |

use std::time::Duration;

use p2pt_measure::machine::cpu_seconds;
use p2pt_transport::{Channel, Frame};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::Options;
use crate::measure::PATIENCE;

/// Carries out commands until its input ends.
pub(crate) async fn run(options: &Options) {
    let transport = options.transport();
    let mut commands = commands();
    let mut channel: Option<Channel> = None;
    while let Some(command) = commands.recv().await {
        if let Some(offer) = command["offer"].as_str() {
            let answer = within(transport.answer(offer)).await.expect("an answer can be made");
            say(&json!({"event": "answer", "sdp": answer.sdp()}));
            channel = Some(within(answer.open()).await.expect("the channel opens"));
            say(&json!({"event": "open"}));
            continue;
        }
        let open = channel.as_mut().expect("an offer comes first");
        if let Some(frames) = command["echo"].as_u64() {
            say(&json!({"event": "ready"}));
            for _ in 0..frames {
                let frame = receive(open).await;
                within(open.sender.send(frame)).await.expect("an echo is sent");
            }
        } else if let Some(frames) = command["sink"].as_u64() {
            say(&json!({"event": "ready"}));
            let report = count(open, frames).await;
            say(&report);
        } else {
            within(open.sender.close()).await;
            channel = None;
            say(&json!({"event": "closed"}));
        }
    }
    within(transport.shutdown()).await;
}

async fn count(channel: &mut Channel, frames: u64) -> Value {
    let cpu = cpu_seconds("self");
    let mut bytes = receive(channel).await.len();
    let first = Instant::now();
    for _ in 1..frames {
        bytes += receive(channel).await.len();
    }
    let span = first.elapsed();
    json!({
        "event": "report",
        "bytes": bytes,
        "span_seconds": span.as_secs_f64(),
        "cpu_seconds": cpu_seconds("self") - cpu,
    })
}

async fn receive(channel: &mut Channel) -> Frame {
    within(channel.receiver.recv()).await.expect("the channel is open")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// The lines of the input. When it ends, so does the process, whatever it is doing: the measuring one is gone.
fn commands() -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let command = serde_json::from_str(&line).expect("a command is JSON");
            if sender.send(command).await.is_err() {
                return;
            }
        }
        // A moment for a polite end.
        drop(sender);
        tokio::time::sleep(Duration::from_secs(2)).await;
        std::process::exit(0);
    });
    receiver
}

fn say(event: &Value) {
    println!("{event}");
}
