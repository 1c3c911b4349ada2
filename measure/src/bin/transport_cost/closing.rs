//! Frames that the other side has acknowledged and its application has not read when the sender closes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use p2pt_transport::{Channel, Frame};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ends::{open, within};
use crate::{config, transport};

/// How many channels are open at a time. Between two addresses there are sockets for some of them only.
const TOGETHER: usize = 8;

/// How long a sender waits for room before it closes instead.
const ROOM: Duration = Duration::from_secs(1);

/// How closing is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Close {
    /// How many frames are sent in all.
    #[arg(long, default_value_t = 20_000)]
    frames: usize,
    /// How many of them on one channel. By default, more than a receive buffer holds, and less than it holds together with
    /// an SCTP window.
    #[arg(long, default_value_t = 2000)]
    frames_per_channel: usize,
    /// The size of each in bytes.
    #[arg(long, default_value_t = 1000)]
    frame_bytes: usize,
    /// Fail if an acknowledged frame is lost, or if none is acknowledged.
    #[arg(long)]
    none_lost: bool,
}

/// What has become of the frames of one channel.
struct Counts {
    acknowledged: u64,
    delivered: u64,
}

/// Each sender closes when its frames are accepted, each reader begins to read when that close has returned. What was
/// accepted and is not among the unacknowledged bytes then is acknowledged, and must be delivered.
pub(crate) async fn run(options: &Close) -> Value {
    let (offerer, answerer) = (transport(config()), transport(config()));
    let slots = Arc::new(Semaphore::new(TOGETHER));
    let mut closing = JoinSet::new();
    let frame = Bytes::from(vec![b'x'; options.frame_bytes.max(1)]);
    let mut left = options.frames;
    while left > 0 {
        let frames = left.min(options.frames_per_channel.max(1));
        left -= frames;
        let slot = slots.clone().acquire_owned().await.expect("it is not closed");
        let (from, to) = open(&*offerer, &*answerer).await;
        let frame = frame.clone();
        closing.spawn(async move {
            let counts = close_unread(from, to, &frame, frames).await;
            drop(slot);
            counts
        });
    }
    let (mut acknowledged, mut delivered, mut lost) = (0, 0, 0);
    for counts in closing.join_all().await {
        acknowledged += counts.acknowledged;
        delivered += counts.delivered;
        lost += counts.acknowledged.saturating_sub(counts.delivered);
    }
    within(offerer.shutdown()).await;
    within(answerer.shutdown()).await;
    let measured =
        json!({"frames": options.frames, "acknowledged": acknowledged, "delivered": delivered, "lost": lost});
    assert!(!options.none_lost || (lost == 0 && acknowledged > 0), "{measured}");
    measured
}

async fn close_unread(from: Channel, mut to: Channel, frame: &Bytes, frames: usize) -> Counts {
    let mut accepted = 0;
    for _ in 0..frames {
        // One that is cancelled while it waits is not sent.
        match timeout(ROOM, from.sender.send(Frame::Binary(frame.clone()))).await {
            Ok(sent) => sent.expect("the channel is open"),
            Err(_) => break,
        }
        accepted += 1;
    }
    within(from.sender.close()).await;
    let bytes = accepted * frame.len() as u64 - from.sender.unacknowledged_bytes();
    let mut delivered = 0;
    while within(to.receiver.recv()).await.is_ok() {
        delivered += 1;
    }
    Counts { acknowledged: bytes / frame.len() as u64, delivered }
}
