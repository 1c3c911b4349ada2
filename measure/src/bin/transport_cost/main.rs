//! What a transport costs and does, measured through the [`Transport`] trait alone: one figure, or a few that belong
//! together, for each process, as one line of JSON.
//!
//! `just compare --baseline DIR` builds this source twice, against this checkout and against an earlier one, and runs the
//! two programs in turn. So it uses nothing but what the earlier one has too: the settings named in [`config`], `offer`,
//! `answer`, `open`, and the two halves of a channel. It runs alone as well:
//! `cargo run --release -p p2pt-measure --bin transport_cost -- stall`.

mod awake;
mod closing;
mod ends;
mod holding;
#[path = "../bare/measure.rs"]
mod measure;
#[path = "../bare/other_side.rs"]
mod other_side;
mod senders;
mod simultaneous;
mod stall;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use p2pt_measure::network_emulator::PathConditions;
use p2pt_transport::Transport;
use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};

use awake::Awake;

/// Every frame of the raw transfers.
const RAW_FRAME: usize = 65_536;

/// Every frame of the small-message transfer.
const SMALL_FRAME: usize = 100;

/// What goes there and back: 100 bytes.
const PING: &str =
    "ping of a hundred bytes; ping of a hundred bytes; ping of a hundred bytes; ping of a hundred bytes; ";

/// How many connections any of the measurements opens, and more; an earlier transport counts offers among them.
const MAX_CONNECTIONS: usize = 4096;

#[derive(Debug, Parser)]
#[command(about = "Measures a transport through its trait", args_override_self = true)]
struct Program {
    #[command(subcommand)]
    figures: Figures,
}

#[derive(Debug, Subcommand)]
enum Figures {
    /// Connecting, round trips, small frames and large ones, between two processes.
    Pair(Options),
    /// The memory, the descriptors and the CPU time of open connections on which nothing is sent.
    Idle(holding::Idle),
    /// The time, the memory and the descriptors of offers that wait for their answers.
    Offers(holding::Offers),
    /// Several senders into one node.
    Senders(senders::Senders),
    /// How evenly frames come once a reader that stood still reads again.
    Stall(stall::Stall),
    /// Connections that two transports open to each other at the same time, in both directions.
    Simultaneous(simultaneous::Simultaneous),
    /// Frames that were acknowledged, and not read when their sender closed.
    Close(closing::Close),
    /// Use what no other program wants of one core.
    #[command(hide = true)]
    Spin,
}

/// What is measured between two processes.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
struct Options {
    /// How often to connect.
    #[arg(long, default_value_t = 1)]
    connects: usize,
    /// How many round trips, after a tenth of that which are not counted.
    #[arg(long, default_value_t = 0)]
    round_trips: usize,
    /// How many frames of 100 bytes.
    #[arg(long, default_value_t = 0)]
    messages: usize,
    /// How many megabytes in frames of 65,536 bytes.
    #[arg(long, default_value_t = 0)]
    megabytes: usize,
    /// How long datagrams take, one way, in milliseconds.
    #[arg(long, default_value_t = 0.0)]
    delay_ms: f64,
    /// How many of a hundred datagrams are lost, each way.
    #[arg(long, default_value_t = 0.0)]
    loss_percent: f64,
    /// Keep the cores from sleeping.
    #[arg(long)]
    awake: bool,
    /// Be the other side.
    #[arg(long, hide = true)]
    other_side: bool,
}

impl Options {
    #[expect(clippy::unused_self, reason = "the example `bare`, whose measurement this is, has several transports")]
    fn transport(&self) -> Arc<dyn Transport> {
        transport(config())
    }

    #[expect(clippy::unused_self, reason = "as above")]
    fn name(&self) -> &'static str {
        "p2pt-transport"
    }

    fn raw_frames(&self) -> usize {
        (self.megabytes * 1_000_000).div_ceil(RAW_FRAME)
    }

    /// Nothing, if datagrams go straight to the other side.
    fn conditions(&self) -> Option<PathConditions> {
        let delay = Duration::from_secs_f64(self.delay_ms / 1000.0);
        (!delay.is_zero() || self.loss_percent > 0.0)
            .then_some(PathConditions { delay, loss_percent: self.loss_percent })
    }
}

/// The settings of every transport that is measured.
fn config() -> WebRtcConfig {
    WebRtcConfig::loopback().max_connections(MAX_CONNECTIONS)
}

fn transport(config: WebRtcConfig) -> Arc<dyn Transport> {
    Arc::new(WebRtc::new(config).expect("a certificate can be made"))
}

#[tokio::main]
async fn main() {
    let figures = Program::parse().figures;
    // As a task, among those that it wakes and is woken by; the thread that waits for it takes no part.
    let measuring = tokio::spawn(async move {
        let measured = match figures {
            Figures::Pair(options) if options.other_side => return other_side::run(&options).await,
            Figures::Pair(options) => {
                let _awake = options.awake.then(Awake::begin);
                measure::run(&options).await
            }
            Figures::Idle(options) => holding::idle(&options).await,
            Figures::Offers(options) => holding::offers(&options).await,
            Figures::Senders(options) if options.other_side => return senders::other_side(&options).await,
            Figures::Senders(options) => senders::run(&options).await,
            Figures::Stall(options) => stall::run(&options).await,
            Figures::Simultaneous(options) => simultaneous::run(&options).await,
            Figures::Close(options) => closing::run(&options).await,
            Figures::Spin => awake::spin(),
        };
        println!("{measured}");
    });
    if let Err(error) = measuring.await {
        std::panic::resume_unwind(error.into_panic());
    }
}
