//! Several senders into one node.

use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use p2pt_transport::Frame;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ends::{open, within};
use crate::{RAW_FRAME, config, transport};

/// How several senders are measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Senders {
    /// How many, each a transport of its own in this process.
    #[arg(long, default_value_t = 20)]
    senders: usize,
    /// How many megabytes all of them send together, each the same, in frames of 65,536 bytes.
    #[arg(long, default_value_t = 400)]
    megabytes: usize,
    /// The size asked for UDP socket buffers, in bytes; 212992 is what a Linux that is not configured grants.
    #[arg(long)]
    socket_buffer: Option<usize>,
}

pub(crate) async fn run(options: &Senders) -> Value {
    let config = options.socket_buffer.map_or_else(config, |bytes| config().socket_buffer_bytes(bytes));
    let node = transport(config.clone());
    let frames = (options.megabytes * 1_000_000 / options.senders).div_ceil(RAW_FRAME);
    let ready = Arc::new(Barrier::new(options.senders + 1));
    let (mut transports, mut sending, mut receiving) = (Vec::new(), JoinSet::new(), JoinSet::new());
    for _ in 0..options.senders {
        let sender = transport(config.clone());
        let (from, mut to) = open(&*sender, &*node).await;
        transports.push(sender);
        let at_start = ready.clone();
        sending.spawn(async move {
            let frame = Bytes::from(vec![b'x'; RAW_FRAME]);
            at_start.wait().await;
            for _ in 0..frames {
                within(from.sender.send(Frame::Binary(frame.clone()))).await.expect("a frame is sent");
            }
            // The channel stays open until all have arrived.
            from
        });
        receiving.spawn(async move {
            for _ in 0..frames {
                within(to.receiver.recv()).await.expect("the channel is open");
            }
            (Instant::now(), to)
        });
    }
    ready.wait().await;
    let begin = Instant::now();
    let (mut done, mut channels) = (Vec::new(), Vec::new());
    while let Some(received) = receiving.join_next().await {
        let (at, channel) = received.expect("all is received");
        done.push((at - begin).as_secs_f64());
        channels.push(channel);
    }
    done.sort_unstable_by(f64::total_cmp);
    let sent = sending.join_all().await;
    drop((sent, channels));
    for transport in transports.iter().chain([&node]) {
        within(transport.shutdown()).await;
    }
    let (first, last) = (done[0], done[done.len() - 1]);
    let bytes = (options.senders * frames * RAW_FRAME) as f64;
    json!({"mb_s": bytes / 1e6 / last, "last_to_first": last / first})
}
