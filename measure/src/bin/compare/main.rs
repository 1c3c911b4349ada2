//! This library beside the JavaScript p2pt, and beside the bare data channel: everything is measured in one run on one
//! machine, in rounds, so that whatever else the machine does falls on all alike.
//!
//! `just compare` runs it; it needs Linux and what the interoperability tests need. It writes BENCHMARKS.md, with the
//! medians of all rounds, and appends what each round has given to `compare.jsonl` in cargo's target directory. A pair
//! that fails or is skipped says so in the tables, and stops no other.
//!
//! With `--pages` it measures pairs of which at least one is a page, the Rust library in it or JavaScript, and writes that
//! section alone.
//!
//! With `--sessions` it measures p2pt/2 beside p2pt/1 and raw frames, and writes that section alone.
//!
//! With `--baseline DIR` it compares the transport with that of an earlier checkout instead, for which neither npm nor a
//! browser is needed, and writes that section of BENCHMARKS.md alone.

mod amounts;
mod baseline;
mod facts;
mod figures;
mod pages;
mod pairs;
mod process;
mod results;
mod section;
mod sessions;
mod table;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use facts::Facts;
use pairs::{Pair, Place, Tools};
use results::Results;

/// The settings of the program.
#[derive(Debug, Parser)]
#[command(about = "Measures this library beside the JavaScript p2pt, and writes BENCHMARKS.md")]
struct Options {
    /// How often everything is measured.
    #[arg(long, env = "P2PT_COMPARE_ROUNDS", default_value_t = 3)]
    rounds: usize,
    /// Little of everything, to see whether it works.
    #[arg(long)]
    quick: bool,
    /// Leave these pairs out.
    #[arg(long, value_name = "PAIR", value_delimiter = ',')]
    skip: Vec<Pair>,
    /// Leave these places out.
    #[arg(long, value_name = "PLACE", value_delimiter = ',')]
    skip_place: Vec<Place>,
    /// Measure in pages instead: this library compiled for browsers beside the JavaScript p2pt.
    #[arg(long, conflicts_with_all = ["skip", "skip_place", "baseline"])]
    pages: bool,
    /// Measure p2pt/2 beside p2pt/1 and raw frames instead, for which neither npm nor a browser is needed.
    #[arg(long, conflicts_with_all = ["skip", "skip_place", "pages", "baseline"])]
    sessions: bool,
    /// Compare the transport with that of the checkout in this directory instead.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["skip", "skip_place"])]
    baseline: Option<PathBuf>,
    /// Where the tables go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../BENCHMARKS.md"))]
    output: PathBuf,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be awaited");
    tokio::select! {
        () = run(&options) => {}
        // Dropped, all processes are killed.
        _ = terminated.recv() => std::process::exit(1),
    }
}

async fn run(options: &Options) {
    match &options.baseline {
        Some(baseline) => baseline::compare(baseline, options.rounds, options.quick, &options.output).await,
        None if options.sessions => sessions::compare(options).await,
        None if options.pages => pages::compare(options).await,
        None => compare(options).await,
    }
}

/// Cargo's target directory.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its own path");
    program.ancestors().nth(2).expect("programs lie in <target>/<profile>").to_owned()
}

/// The section of `tests/js/bench/compare-node.mjs`.
const NODE_TITLE: &str = "In Node";

async fn compare(options: &Options) {
    let mut facts = Facts::gather();
    let results = measure(options, &Place::ALL, &mut facts).await;
    let mut text = table::document(&results, &facts, options.rounds, options.quick);
    // What is written by itself stays as it is.
    let old = std::fs::read_to_string(&options.output).unwrap_or_default();
    for title in [sessions::TITLE, pages::TITLE, baseline::TITLE, NODE_TITLE] {
        if let Some(kept) = section::section(&old, title) {
            text = section::put(&text, title, kept);
        }
    }
    write(&options.output, &text);
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    eprintln!("{} is written", file.display());
}

/// Measures all pairs of these places, in rounds, and appends what comes of it to the log.
async fn measure(options: &Options, places: &[Place], facts: &mut Facts) -> Results {
    let tools = Tools::new();
    let log = target().join("compare.jsonl");
    let mut results = Results::default();
    for round in 1..=options.rounds {
        for &place in places {
            for &pair in place.pairs() {
                if options.skip.contains(&pair) || options.skip_place.contains(&place) {
                    results.skip(pair, place);
                    continue;
                }
                let begin = Instant::now();
                let load = facts.load();
                let outcome = pairs::run(pair, place, options.quick, &tools).await;
                eprintln!(
                    "round {round} of {}, {} {}: {} in {:.0} s",
                    options.rounds,
                    pair.title(),
                    place.title(),
                    outcome.as_ref().map_or_else(|failure| format!("failed: {failure}"), |_| "measured".to_owned()),
                    begin.elapsed().as_secs_f64(),
                );
                let line = json!({
                    "started": facts.date(), "round": round, "pair": pair.title(), "place": place.title(),
                    "quick": options.quick, "load": load, "figures": outcome.as_ref().ok(),
                    "failure": outcome.as_ref().err(),
                });
                append(&log, &line.to_string());
                results.add(pair, place, round, outcome);
            }
        }
    }
    facts.load();
    eprintln!("{} has all of it", log.display());
    results
}

fn append(file: &Path, line: &str) {
    let appended =
        OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| writeln!(file, "{line}"));
    appended.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
