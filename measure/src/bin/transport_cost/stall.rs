//! A reader that stands still for a while, and then reads again.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use p2pt_transport::{Channel, Frame};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ends::{median, open, within};
use crate::{RAW_FRAME, config, transport};

/// How long frames are read before and after each stall, and how long gaps are looked for.
const READING: Duration = Duration::from_millis(500);

/// How stalls are measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Stall {
    /// How long the reader stands still.
    #[arg(long, default_value_t = 300)]
    milliseconds: u64,
    /// How often.
    #[arg(long, default_value_t = 9)]
    stalls: usize,
}

/// The longest time between two frames once the reader reads again: what has waited for it comes at once, and what comes
/// behind that has to be asked for.
pub(crate) async fn run(options: &Stall) -> Value {
    let (offerer, answerer) = (transport(config()), transport(config()));
    let (from, mut to) = open(&*offerer, &*answerer).await;
    let sender = from.sender.clone();
    let sending = tokio::spawn(async move {
        let frame = Bytes::from(vec![b'x'; RAW_FRAME]);
        while sender.send(Frame::Binary(frame.clone())).await.is_ok() {}
    });
    longest_gap(&mut to).await;
    let (mut without, mut after) = (Vec::new(), Vec::new());
    for _ in 0..options.stalls {
        without.push(longest_gap(&mut to).await);
        sleep(Duration::from_millis(options.milliseconds)).await;
        after.push(longest_gap(&mut to).await);
    }
    drop(to);
    within(from.sender.close()).await;
    within(sending).await.expect("it ends with the channel");
    within(offerer.shutdown()).await;
    within(answerer.shutdown()).await;
    json!({
        "gap_ms": median(&after),
        "gap_ms_max": after.iter().copied().fold(0.0, f64::max),
        // What the machine does to a reader that does not stand still.
        "gap_ms_without": median(&without),
    })
}

/// Reads for a while; the longest time between two frames in milliseconds.
async fn longest_gap(channel: &mut Channel) -> f64 {
    let begin = Instant::now();
    let (mut longest, mut last) = (Duration::ZERO, begin);
    while last - begin < READING {
        within(channel.receiver.recv()).await.expect("the channel is open");
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    longest.as_secs_f64() * 1e3
}
