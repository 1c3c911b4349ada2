//! What a data channel does by itself, between two processes, with nothing of p2pt above it: the measure of what p2pt
//! adds. Prints one line of JSON, with the keys of `p2pt bench --json` that make sense here.
//!
//! The channel is this workspace's transport, or with `--as-shipped` the `webrtc` crate as it comes. This process
//! measures; it starts itself a second time for the other side, and the two talk over that one's input and output.

mod measure;
mod other_side;

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use p2pt_measure::network_emulator::PathConditions;
use p2pt_transport::Transport;
use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};
use p2pt_transport::webrtc_crate::WebRtcCrate;

/// Every frame of the raw transfer: what the JavaScript peers send too.
const RAW_FRAME: usize = 65_536;

/// Every frame of the small-message transfer.
const SMALL_FRAME: usize = 100;

/// What goes there and back.
const PING: &str = "ping123";

/// The settings of the program.
#[derive(Clone, Debug, Parser)]
#[command(about = "Measures a data channel with nothing of p2pt above it")]
struct Options {
    /// The `webrtc` crate as it comes, instead of this workspace's transport around it.
    #[arg(long)]
    as_shipped: bool,
    /// How often to connect.
    #[arg(long, default_value_t = 15)]
    connects: usize,
    /// How many round trips, after a tenth of that which are not counted.
    #[arg(long, default_value_t = 2000)]
    round_trips: usize,
    /// How many frames of 100 bytes.
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// How many megabytes in frames of 65,536 bytes.
    #[arg(long, default_value_t = 200)]
    megabytes: usize,
    /// The size asked for UDP socket buffers, in bytes; 212992 is what a Linux with its own settings grants.
    #[arg(long, conflicts_with = "as_shipped")]
    socket_buffer: Option<usize>,
    /// How long datagrams take, one way, in milliseconds.
    #[arg(long, default_value_t = 0.0)]
    delay_ms: f64,
    /// How many of a hundred datagrams are lost, each way.
    #[arg(long, default_value_t = 0.0)]
    loss_percent: f64,
    /// Be the other side.
    #[arg(long, hide = true)]
    other_side: bool,
}

impl Options {
    fn transport(&self) -> Arc<dyn Transport> {
        if self.as_shipped {
            return Arc::new(WebRtcCrate::new());
        }
        let mut config = WebRtcConfig::loopback();
        if let Some(bytes) = self.socket_buffer {
            config = config.socket_buffer_bytes(bytes);
        }
        Arc::new(WebRtc::new(config).expect("a certificate can be made"))
    }

    fn name(&self) -> &'static str {
        if self.as_shipped { "webrtc as shipped" } else { "p2pt-transport" }
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

#[tokio::main]
async fn main() {
    let options = Options::parse();
    // As a task, among those that it wakes and is woken by; the thread that waits for it takes no part.
    let side = tokio::spawn(async move {
        if options.other_side {
            other_side::run(&options).await;
        } else {
            println!("{}", measure::run(&options).await);
        }
    });
    if let Err(error) = side.await {
        std::panic::resume_unwind(error.into_panic());
    }
}
