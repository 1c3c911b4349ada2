//! The section of BENCHMARKS.md.

use super::figures::{Figure, Goal, RUNS, Run};
use super::{Results, Side, TITLE};
use crate::facts::Facts;
use crate::figures::number;
use crate::results::Spread;

/// What is to be known of the figures.
const NOTES: &str = "\
Both transports are measured through the `Transport` trait by the same program (`transport_cost`), built in the \
same way against each. *Two processes* are what `bare` measures. A ratio is that of one round; its median is \
judged. Cores are kept awake by a process for each that runs in the scheduling class for idle work: without that, waking a \
core is most of a round trip. Senders are one process and their node is another, which makes the offer to half of them. Idle \
connections, offers, stalls, opens and closes have all ends in one process. Memory is what lies in RAM, divided by the number of ends. Frames are lost to a close when the sender closes before \
they are read, and `unacknowledged_bytes` does not count them afterwards.
";

/// All of it.
pub(super) fn section(results: &Results, facts: &Facts, rounds: usize, quick: bool) -> String {
    let mut text = format!("## {TITLE}\n\nWritten by `just compare --baseline`. ");
    if quick {
        text += "**A quick run, to see whether everything works: its figures are not to be quoted.** ";
    }
    let rounds = if rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
    text +=
        &format!("Medians of {rounds}, in each of which the two ran in turn; in brackets the least and the most.\n\n");
    text += &facts.table();
    text += "\n| figure | before | now | ratio | goal |\n| --- | --- | --- | --- | --- |\n";
    for (run, Run { title, figures, .. }) in RUNS.iter().enumerate() {
        text += &format!("| **{title}** | | | | |\n");
        for figure in *figures {
            let cell = |spread: Option<Spread>| spread.map_or_else(|| "–".to_owned(), |spread| spread_text(&spread));
            let [before, now] = Side::BOTH.map(|side| cell(results.of(run, figure, side)));
            let ratio = cell(results.ratio(run, figure));
            let goal = figure.goal.map_or_else(String::new, |goal| judged(goal, results, run, figure));
            text += &format!("| {} | {before} | {now} | {ratio} | {goal} |\n", figure.title);
        }
    }
    text += &troubles(results);
    text + "\n" + NOTES
}

fn spread_text(spread: &Spread) -> String {
    match *spread {
        Spread { median, min, max, rounds: 2.. } if min != max => {
            format!("{} ({}–{})", number(median), number(min), number(max))
        }
        Spread { median, .. } => number(median),
    }
}

fn judged(goal: Goal, results: &Results, run: usize, figure: &Figure) -> String {
    let now = || results.of(run, figure, Side::Now);
    let ratio = || results.ratio(run, figure).map(|ratio| ratio.median);
    let (text, met) = match goal {
        Goal::RatioAtMost(most) => (format!("≤ {} ×", number(most)), ratio().map(|ratio| ratio <= most)),
        Goal::RatioAtLeast(least) => (format!("≥ {} ×", number(least)), ratio().map(|ratio| ratio >= least)),
        Goal::AtMost(most) => (format!("≤ {}", number(most)), now().map(|now| now.median <= most)),
        Goal::Always(value) => (number(value), now().map(|now| now.min == value && now.max == value)),
    };
    let mark = met.map_or("?", |met| if met { "✓" } else { "✗" });
    format!("{text} {mark}")
}

/// Why cells are empty or rest on fewer rounds.
fn troubles(results: &Results) -> String {
    let mut text = String::new();
    for (run, outcomes) in RUNS.iter().zip(&results.0) {
        for (round, outcomes) in (1..).zip(outcomes) {
            for (side, outcome) in Side::BOTH.iter().zip(outcomes) {
                if let Err(reason) = outcome {
                    let reason = reason.replace('|', "\\|");
                    text += &format!("- {}, {}, round {round}: failed: {reason}\n", run.title, side.title());
                }
            }
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}
