//! The transport of this checkout beside that of an earlier one: the same measuring program is built against both, and
//! the two run in turn, so that whatever else the machine does falls on both alike.

mod build;
mod figures;
mod table;

use std::fs;
use std::path::Path;

use serde_json::json;
use tokio::time::Instant;

use crate::facts::Facts;
use crate::process::{self, Figures};
use crate::results::Spread;
use crate::section;
use figures::{Figure, RUNS, Run};

/// The section of the document that this writes.
pub(crate) const TITLE: &str = "The transport beside an earlier one";

/// More than the offers of any run, each of which takes a descriptor of an earlier transport.
const DESCRIPTORS: &str = "--nofile=8192:";

/// Which checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    Now,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Before, Self::Now];

    fn title(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Now => "now",
        }
    }
}

/// What one round of one run has given, by side.
type Outcomes = [Result<Figures, String>; 2];

/// The outcomes of all rounds, by run.
struct Results(Vec<Vec<Outcomes>>);

impl Results {
    fn values(&self, run: usize, figure: &Figure, side: Side) -> Vec<f64> {
        self.0[run].iter().filter_map(|outcomes| value(outcomes, figure, side)).collect()
    }

    /// A figure of one side.
    fn of(&self, run: usize, figure: &Figure, side: Side) -> Option<Spread> {
        Spread::of(self.values(run, figure, side))
    }

    /// How it is now as a part of how it was, round by round.
    fn ratio(&self, run: usize, figure: &Figure) -> Option<Spread> {
        let ratios = self.0[run].iter().filter_map(|outcomes| {
            let before = value(outcomes, figure, Side::Before).filter(|before| *before != 0.0)?;
            Some(value(outcomes, figure, Side::Now)? / before)
        });
        Spread::of(ratios.collect())
    }
}

fn value(outcomes: &Outcomes, figure: &Figure, side: Side) -> Option<f64> {
    outcomes[side as usize].as_ref().ok()?.get(figure.key)?.as_f64()
}

/// Measures both, and writes the section into the document.
pub(crate) async fn compare(baseline: &Path, rounds: usize, quick: bool, output: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace has a directory");
    let baseline = baseline.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", baseline.display()));
    let target = crate::target();
    let programs = [build::program(&baseline, &target, "before"), build::program(here, &target, "now")];
    let mut facts = Facts::of_checkouts(&baseline, here);
    let mut results = Results(RUNS.iter().map(|_| Vec::new()).collect());
    for round in 1..=rounds {
        for (number, run) in RUNS.iter().enumerate() {
            let mut outcomes: Outcomes = [const { Err(String::new()) }; 2];
            // Neither is always the first.
            let order = if round % 2 == 1 { Side::BOTH } else { [Side::Now, Side::Before] };
            for side in order {
                let begin = Instant::now();
                let load = facts.load();
                let outcome = measure(&programs[side as usize], run, quick).await;
                let seconds = begin.elapsed().as_secs_f64();
                let said = match &outcome {
                    Ok(figures) => serde_json::to_string(figures).expect("JSON can be written"),
                    Err(failure) => format!("failed: {failure}"),
                };
                eprintln!("round {round} of {rounds}, {}, {}: {said} in {seconds:.0} s", run.title, side.title());
                let line = json!({
                    "started": facts.date(), "round": round, "run": run.title, "side": side.title(), "quick": quick,
                    "load": load, "figures": outcome.as_ref().ok(), "failure": outcome.as_ref().err(),
                });
                crate::append(&target.join("baseline.jsonl"), &line.to_string());
                outcomes[side as usize] = outcome;
            }
            results.0[number].push(outcomes);
        }
    }
    facts.load();
    let text = table::section(&results, &facts, rounds, quick);
    let document = fs::read_to_string(output).unwrap_or_default();
    let written = fs::write(output, section::put(&document, TITLE, &text));
    written.unwrap_or_else(|error| panic!("{}: {error}", output.display()));
    println!("{text}");
}

async fn measure(program: &Path, run: &Run, quick: bool) -> Result<Figures, String> {
    let mut command = process::mortal(Path::new("prlimit"));
    command.args([DESCRIPTORS, "--"]).arg(program).args(run.arguments);
    if quick {
        command.args(run.quick);
    }
    process::figures(command).await
}
