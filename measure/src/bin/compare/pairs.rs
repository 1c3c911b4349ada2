//! Which pairs are measured, and where.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use p2pt_measure::network_emulator::{EmulatedPathTracker, PathConditions};
use p2pt_tests::js::{Tracker, TrackerKind, javascript, p2pt_binary, workspace_binary};
use tokio::process::Command;

use crate::amounts::Amounts;
use crate::process::{self, Figures, Partner};

/// Two peers, or two ends of a channel. The one that measures comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Pair {
    Rust,
    Bare,
    Shipped,
    Roamhq,
    Ndc,
    Chromium,
    RustRoamhq,
    RoamhqRust,
    RustChromium,
    ChromiumRust,
    Wasm,
    WasmRust,
    RustWasm,
}

impl Pair {
    /// What the tables call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Bare => "bare channel",
            Self::Shipped => "bare, as shipped",
            Self::Roamhq => "Node, roamhq",
            Self::Ndc => "Node, ndc",
            Self::Chromium => "Chromium",
            Self::RustRoamhq => "Rust → Node",
            Self::RoamhqRust => "Node → Rust",
            Self::RustChromium => "Rust → Chromium",
            Self::ChromiumRust => "Chromium → Rust",
            Self::Wasm => "Rust in Chromium",
            Self::WasmRust => "Rust in Chromium → Rust",
            Self::RustWasm => "Rust → Rust in Chromium",
        }
    }

    /// Whether it is JavaScript on both sides.
    pub(crate) fn is_javascript(self) -> bool {
        matches!(self, Self::Roamhq | Self::Ndc | Self::Chromium)
    }
}

/// Where the two are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Place {
    /// On one machine.
    Near,
    /// A round trip takes 20 ms.
    Far,
    /// And half a percent of the datagrams is lost, each way.
    Lossy,
    /// On one machine whose system grants small socket buffers.
    Stock,
    /// On one machine, where at least one of the two is a page.
    Pages,
}

impl Place {
    /// Those that are measured unless pages are.
    pub(crate) const ALL: [Self; 4] = [Self::Near, Self::Far, Self::Lossy, Self::Stock];

    /// The pairs that are measured there.
    pub(crate) fn pairs(self) -> &'static [Pair] {
        use Pair::{
            Bare, Chromium, ChromiumRust, Ndc, Roamhq, RoamhqRust, Rust, RustChromium, RustRoamhq, RustWasm, Shipped,
            Wasm, WasmRust,
        };
        match self {
            // Pairs that are compared by ratios are next to each other in time.
            Self::Near => {
                &[Rust, Bare, Shipped, Roamhq, Ndc, Chromium, RustRoamhq, RoamhqRust, RustChromium, ChromiumRust]
            }
            Self::Far | Self::Lossy => &[Rust, Bare, Shipped, Roamhq, Ndc, Chromium],
            Self::Stock => &[Bare],
            Self::Pages => &[Wasm, Chromium, WasmRust, ChromiumRust, RustWasm, RustChromium],
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Near => "on one machine",
            Self::Far => "at 20 ms",
            Self::Lossy => "at 20 ms with loss",
            Self::Stock => "with small buffers",
            Self::Pages => "in a browser",
        }
    }

    fn conditions(self) -> Option<PathConditions> {
        let at = |loss_percent| Some(PathConditions { delay: Duration::from_millis(10), loss_percent });
        match self {
            Self::Far => at(0.0),
            Self::Lossy => at(0.5),
            Self::Near | Self::Stock | Self::Pages => None,
        }
    }
}

/// What a Linux with its own settings grants.
const STOCK_BUFFER: usize = 212_992;

/// The programs, built.
#[derive(Debug)]
pub(crate) struct Tools {
    p2pt: PathBuf,
    bare: PathBuf,
}

/// One side of a pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Rust,
    /// JavaScript on the stack of this name.
    JavaScript(&'static str),
}

const ROAMHQ: Side = Side::JavaScript("roamhq");
const NDC: Side = Side::JavaScript("ndc");
const CHROMIUM: Side = Side::JavaScript("chromium");
/// The Rust library in a page, which the same scripts open.
const WASM: Side = Side::JavaScript("wasm");

impl Tools {
    /// Builds what is to be measured, and makes sure that the JavaScript side is there.
    pub(crate) fn new() -> Self {
        drop(javascript("bench/measure.mjs", &[]));
        Self { p2pt: p2pt_binary().to_owned(), bare: workspace_binary("p2pt-measure", "bare") }
    }

    fn partner(&self, side: Side, tracker: &str, identifier: &str) -> Command {
        match side {
            Side::Rust => {
                let mut command = Command::new(&self.p2pt);
                // As its own measurer starts it: it says when it is there, and ends with its input.
                command.args(["bench", identifier, "--child", "partner", "--no-default-stun", "--tracker", tracker]);
                command
            }
            Side::JavaScript(stack) => javascript("bench/partner.mjs", &[tracker, identifier, "--webrtc", stack]),
        }
    }

    fn measurer(&self, side: Side, tracker: &str, identifier: &str) -> Command {
        match side {
            Side::Rust => {
                let mut command = process::mortal(&self.p2pt);
                command.args(["bench", identifier, "--json", "--no-default-stun", "--tracker", tracker]);
                command
            }
            Side::JavaScript(stack) => javascript("bench/measure.mjs", &[tracker, identifier, "--webrtc", stack]),
        }
    }

    fn bare(&self, pair: Pair, place: Place, amounts: Amounts) -> Command {
        let mut command = process::mortal(&self.bare);
        command.args(amounts.bare_arguments());
        if pair == Pair::Shipped {
            command.arg("--as-shipped");
        }
        if let Some(conditions) = place.conditions() {
            command.args(["--delay-ms", &(conditions.delay.as_secs_f64() * 1e3).to_string()]);
            command.args(["--loss-percent", &conditions.loss_percent.to_string()]);
        }
        if place == Place::Stock {
            command.args(["--socket-buffer", &STOCK_BUFFER.to_string()]);
        }
        command
    }
}

/// Measures one pair, once.
pub(crate) async fn run(pair: Pair, place: Place, quick: bool, tools: &Tools) -> Result<Figures, String> {
    let amounts = Amounts::of(pair, place, quick);
    let (measurer, partner) = match pair {
        Pair::Bare | Pair::Shipped => return process::figures(tools.bare(pair, place, amounts)).await,
        Pair::Rust if place == Place::Near => {
            // It starts its own partner, and measures memory too.
            let mut command = process::mortal(&tools.p2pt);
            command.args(["bench", "--json"]).args(amounts.arguments());
            return process::figures(command).await;
        }
        Pair::Rust => (Side::Rust, Side::Rust),
        Pair::Roamhq => (ROAMHQ, ROAMHQ),
        Pair::Ndc => (NDC, NDC),
        Pair::Chromium => (CHROMIUM, CHROMIUM),
        Pair::RustRoamhq => (Side::Rust, ROAMHQ),
        Pair::RoamhqRust => (ROAMHQ, Side::Rust),
        Pair::RustChromium => (Side::Rust, CHROMIUM),
        Pair::ChromiumRust => (CHROMIUM, Side::Rust),
        Pair::Wasm => (WASM, WASM),
        Pair::WasmRust => (WASM, Side::Rust),
        Pair::RustWasm => (Side::Rust, WASM),
    };
    if let Some(conditions) = place.conditions() {
        let tracker = EmulatedPathTracker::start(conditions).await.map_err(|error| format!("no tracker: {error}"))?;
        return meet(tools, measurer, partner, amounts, place, tracker.url()).await;
    }
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let outcome = meet(tools, measurer, partner, amounts, place, tracker.url()).await;
    tracker.stop().await;
    outcome
}

/// Starts the partner, and when it is there the measurer.
async fn meet(
    tools: &Tools,
    measurer: Side,
    partner: Side,
    amounts: Amounts,
    place: Place,
    tracker: &str,
) -> Result<Figures, String> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let identifier = format!("compare {}", RUNS.fetch_add(1, Ordering::Relaxed));
    let mut command = tools.measurer(measurer, tracker, &identifier);
    command.args(amounts.arguments());
    // An emulated path stands between the two, which those that sign do not let anyone do.
    let unsigned = |side| (side == Side::Rust && place.conditions().is_some()).then_some("--unsigned");
    command.args(unsigned(measurer));
    if measurer == partner && [CHROMIUM, WASM].contains(&measurer) {
        // Two pages of one browser.
        command.arg("--with-partner");
        if place == Place::Pages {
            command.arg("--memory");
        }
        return process::figures(command).await;
    }
    let mut second = tools.partner(partner, tracker, &identifier);
    second.args(unsigned(partner));
    let partner = Partner::start(second).await?;
    let outcome = process::figures(command).await;
    partner.end().await;
    outcome
}
