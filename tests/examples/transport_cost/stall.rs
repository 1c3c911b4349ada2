//! A reader that stands still for a while, and then reads again.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use p2pt_transport::Frame;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ends::{median, open, within};
use crate::{RAW_FRAME, config, transport};

/// How long frames are read before and after each stall.
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
    let mut gaps = Vec::with_capacity(options.stalls);
    for stall in 0..=options.stalls {
        let begin = Instant::now();
        let (mut longest, mut last) = (Duration::ZERO, begin);
        while last - begin < READING {
            within(to.receiver.recv()).await.expect("the channel is open");
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        // Nothing has stood still before the first.
        if stall > 0 {
            gaps.push(longest.as_secs_f64() * 1e3);
        }
        sleep(Duration::from_millis(options.milliseconds)).await;
    }
    drop(to);
    within(from.sender.close()).await;
    within(sending).await.expect("it ends with the channel");
    within(offerer.shutdown()).await;
    within(answerer.shutdown()).await;
    json!({"gap_ms": median(&gaps), "gap_ms_max": gaps.iter().copied().fold(0.0, f64::max)})
}
