//! Several senders into one node. The node is this process; the senders are another, over whose input and output the two
//! talk: one command a line, one event a line.
//!
//! | command | event, at once | later event |
//! |---|---|---|
//! | `{"offer":SDP}` | `answer`, with `sdp` | `open` |
//! | `{"make":true}` | `offer`, with `sdp` | |
//! | `{"answer":SDP}` | | `open` |
//! | `{"send":N}` | | `sent`, when N frames of each are accepted |

use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use p2pt_measure::pipe::LineProcess;
use p2pt_transport::webrtc::WebRtcConfig;
use p2pt_transport::{Channel, Frame, FrameSender, PendingOffer, Transport};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ends::{PATIENCE, within};
use crate::{RAW_FRAME, config, transport};

/// How several senders are measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Senders {
    /// How many, each a transport of its own in one other process.
    #[arg(long, default_value_t = 20)]
    senders: usize,
    /// How many megabytes all of them send together, each the same, in frames of 65,536 bytes.
    #[arg(long, default_value_t = 400)]
    megabytes: usize,
    /// The size asked for UDP socket buffers, in bytes; 212992 is what a Linux with its own settings grants.
    #[arg(long)]
    socket_buffer: Option<usize>,
    /// Be the senders.
    #[arg(long, hide = true)]
    pub(crate) other_side: bool,
}

impl Senders {
    fn config(&self) -> WebRtcConfig {
        self.socket_buffer.map_or_else(config, |bytes| config().socket_buffer_bytes(bytes))
    }
}

/// The node. It makes the offer to every other sender, and answers the others.
pub(crate) async fn run(options: &Senders) -> Value {
    let node = transport(options.config());
    let frames = (options.megabytes * 1_000_000 / options.senders).div_ceil(RAW_FRAME);
    let mut command = Command::new(std::env::current_exe().expect("a program knows its own path"));
    command.args(std::env::args_os().skip(1)).arg("--other-side");
    let mut other = LineProcess::spawn("the senders", command);
    let mut receiving = JoinSet::new();
    for number in 0..options.senders {
        let mut channel = connect(&*node, &mut other, number % 2 == 0).await;
        receiving.spawn(async move {
            for _ in 0..frames {
                within(channel.receiver.recv()).await.expect("the channel is open");
            }
            (Instant::now(), channel)
        });
    }
    let begin = Instant::now();
    other.command(&json!({"send": frames})).await;
    let (mut done, mut channels) = (Vec::new(), Vec::new());
    while let Some(received) = receiving.join_next().await {
        let (at, channel) = received.expect("all is received");
        done.push((at - begin).as_secs_f64());
        channels.push(channel);
    }
    done.sort_unstable_by(f64::total_cmp);
    other.expect_within(PATIENCE, "sent", |_| true).await;
    drop(channels);
    other.end().await;
    within(node.shutdown()).await;
    let (first, last) = (done[0], done[done.len() - 1]);
    let bytes = (options.senders * frames * RAW_FRAME) as f64;
    json!({"mb_s": bytes / 1e6 / last, "last_to_first": last / first})
}

async fn connect(node: &dyn Transport, other: &mut LineProcess, offers: bool) -> Channel {
    let channel = if offers {
        let offer = within(node.offer()).await.expect("an offer can be made");
        other.command(&json!({"offer": offer.sdp()})).await;
        let answer = other.expect("answer", |_| true).await;
        within(offer.open(answer["sdp"].as_str().expect("an answer has an SDP"))).await
    } else {
        other.command(&json!({"make": true})).await;
        let offer = other.expect("offer", |_| true).await;
        let answer = within(node.answer(offer["sdp"].as_str().expect("an offer has an SDP"))).await;
        let answer = answer.expect("an answer can be made");
        other.command(&json!({"answer": answer.sdp()})).await;
        within(answer.open()).await
    };
    other.expect("open", |_| true).await;
    channel.expect("the channel opens")
}

/// The senders, until the input ends.
pub(crate) async fn other_side(options: &Senders) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let (mut transports, mut channels, mut offered) = (Vec::new(), Vec::<Channel>::new(), None);
    while let Ok(Some(line)) = lines.next_line().await {
        let command: Value = serde_json::from_str(&line).expect("a command is JSON");
        if let Some(frames) = command["send"].as_u64() {
            send_all(channels.iter().map(|channel| channel.sender.clone()).collect(), frames).await;
            println!("{}", json!({"event": "sent"}));
            continue;
        }
        if let Some(answer) = command["answer"].as_str() {
            let offer: Box<dyn PendingOffer> = offered.take().expect("an offer comes first");
            channels.push(within(offer.open(answer)).await.expect("the channel opens"));
            println!("{}", json!({"event": "open"}));
            continue;
        }
        let sender = transport(options.config());
        if let Some(offer) = command["offer"].as_str() {
            let answer = within(sender.answer(offer)).await.expect("an answer can be made");
            println!("{}", json!({"event": "answer", "sdp": answer.sdp()}));
            channels.push(within(answer.open()).await.expect("the channel opens"));
            println!("{}", json!({"event": "open"}));
        } else {
            let offer = within(sender.offer()).await.expect("an offer can be made");
            println!("{}", json!({"event": "offer", "sdp": offer.sdp()}));
            offered = Some(offer);
        }
        transports.push(sender);
    }
    for sender in transports {
        within(sender.shutdown()).await;
    }
}

/// On all channels at the same time.
async fn send_all(channels: Vec<Arc<dyn FrameSender>>, frames: u64) {
    let frame = Bytes::from(vec![b'x'; RAW_FRAME]);
    let mut sending = JoinSet::new();
    for sender in channels {
        let frame = frame.clone();
        sending.spawn(async move {
            for _ in 0..frames {
                within(sender.send(Frame::Binary(frame.clone()))).await.expect("a frame is sent");
            }
        });
    }
    sending.join_all().await;
}
