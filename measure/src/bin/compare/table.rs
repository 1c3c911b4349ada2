//! BENCHMARKS.md.

use crate::facts::Facts;
use crate::figures::{FAR, Figure, Goal, LOSSY, MIXED, NEAR, STOCK, number};
use crate::pairs::{Pair, Place};
use crate::results::{Best, Results, Spread};

/// What people have written about the figures.
const NOTES: &str = include_str!("notes.md");

/// Those who are measured with their own kind.
const ALIKE: [Pair; 6] = [Pair::Rust, Pair::Bare, Pair::Shipped, Pair::Roamhq, Pair::Ndc, Pair::Chromium];

/// What a JavaScript peer is measured with: this library, which measures or is measured, and its own kind.
const MIXED_WITH: [[Pair; 3]; 2] =
    [[Pair::RustRoamhq, Pair::RoamhqRust, Pair::Roamhq], [Pair::RustChromium, Pair::ChromiumRust, Pair::Chromium]];

/// Why there is nothing.
const SKIPPED: &str = "skipped, as this run was asked to.\n";

/// All of the document.
pub(crate) fn document(results: &Results, facts: &Facts, rounds: usize, quick: bool) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `just compare`; the sentences are in measure/src/bin/compare/notes.md.\n\n",
    );
    if quick {
        text += "**A quick run, to see whether everything works: its figures are not to be quoted.**\n\n";
    }
    text += &format!(
        "Medians of {rounds} {}, in each of which every pair was measured once, one after the other; in brackets the least \
         and the most. MB are 10⁶ bytes.\n\n",
        if rounds == 1 { "round" } else { "rounds" }
    );
    text += &format!("{}\n## Two peers of a kind, on one machine\n\n", facts.table());
    text += &alike(results, Place::Near, &NEAR, &ALIKE);
    text += "\n## A JavaScript peer and one of this library\n\nWho measures and sends comes first; Node is on roamhq. ▼ is slower than \
             JavaScript among itself, ▽ so by the median, but not in all rounds.\n\n";
    text += &mixed(results);
    text += "\n## Peers that are far from each other: a round trip takes 20 ms\n\n";
    text += &alike(results, Place::Far, &FAR, &ALIKE);
    text += "\n## And half a percent of the datagrams is lost, each way\n\n";
    text += &alike(results, Place::Lossy, &LOSSY, &ALIKE);
    text += "\n## A Linux that nobody has configured: socket buffers of 212,992 bytes\n\n";
    text += &alike(results, Place::Stock, &STOCK, &[Pair::Bare]);
    text += "\n";
    text += NOTES;
    text
}

/// One row for each figure, one column for each pair, then what is to be learned from them.
fn alike(results: &Results, place: Place, figures: &[Figure], pairs: &[Pair]) -> String {
    if pairs.iter().all(|pair| results.is_skipped(*pair, place)) {
        return SKIPPED.to_owned();
    }
    let mut heads: Vec<&str> = vec![""];
    heads.extend(pairs.iter().map(|pair| pair.title()));
    let judged = pairs[0];
    let with_ratio = pairs.iter().any(|pair| pair.is_javascript());
    if with_ratio {
        heads.push("Rust to best JS");
    }
    heads.push("goal");
    let mut text = row(&heads) + &row(&vec!["---"; heads.len()]);
    for figure in figures {
        let mut cells = vec![figure.title.to_owned()];
        cells.extend(pairs.iter().map(|pair| cell(results, figure, *pair, place)));
        let best = results.best_javascript(figure, place);
        let own = results.of(figure, judged, place).map(|spread| spread.median);
        if with_ratio {
            let ratio = own.zip(best).map(|(own, best)| {
                let of_known = if best.of_all { "" } else { " the best known" };
                format!("{} ×{of_known}", number(figure.ratio(own, best.value)))
            });
            cells.push(ratio.unwrap_or_default());
        }
        let bare = results.of(figure, Pair::Bare, place).map(|spread| spread.median);
        let goals: Vec<String> = figure.goals.iter().map(|goal| judge(*goal, figure, own, best, bare)).collect();
        cells.push(goals.join("; "));
        text += &row(&cells);
    }
    text + &troubles(results, place, pairs)
}

fn mixed(results: &Results) -> String {
    let pairs = MIXED_WITH.as_flattened();
    let mut heads = vec![""];
    heads.extend(pairs.iter().map(|pair| pair.title()));
    let mut text = row(&heads) + &row(&vec!["---"; heads.len()]);
    for figure in &MIXED {
        let mut cells = vec![figure.title.to_owned()];
        for [measures, is_measured, javascript] in MIXED_WITH {
            let among_itself = results.of(figure, javascript, Place::Near);
            for pair in [measures, is_measured] {
                let mark = results.of(figure, pair, Place::Near).zip(among_itself);
                let mark = mark.map_or("", |(this, that)| slower(figure, this, that));
                cells.push(cell(results, figure, pair, Place::Near) + mark);
            }
            cells.push(cell(results, figure, javascript, Place::Near));
        }
        text += &row(&cells);
    }
    let new: Vec<Pair> = pairs.iter().copied().filter(|pair| !pair.is_javascript()).collect();
    text + "\nGoal: never slower than JavaScript among itself.\n" + &troubles(results, Place::Near, &new)
}

fn slower(figure: &Figure, this: Spread, that: Spread) -> &'static str {
    if figure.ratio(this.median, that.median) >= 1.0 {
        return "";
    }
    let apart = this.max < that.min || this.min > that.max;
    if apart { " ▼" } else { " ▽" }
}

pub(crate) fn cell(results: &Results, figure: &Figure, pair: Pair, place: Place) -> String {
    match results.of(figure, pair, place) {
        Some(Spread { median, min, max, rounds: 2.. }) => {
            format!("{} ({}–{})", number(median), number(min), number(max))
        }
        Some(Spread { median, .. }) => number(median),
        None if results.is_skipped(pair, place) => "skipped".to_owned(),
        None if !results.failures(pair, place).is_empty() => "failed".to_owned(),
        None => "–".to_owned(),
    }
}

fn judge(goal: Goal, figure: &Figure, own: Option<f64>, best: Option<Best>, bare: Option<f64>) -> String {
    let met = match goal {
        Goal::AtMost(most) => own.map(|own| own <= most),
        Goal::AtLeast(least) => own.map(|own| own >= least),
        Goal::TimesBest(times) => {
            let best = best.filter(|best| best.of_all);
            own.zip(best).map(|(own, best)| figure.ratio(own, best.value) >= times)
        }
        Goal::OfBare(part) => own.zip(bare).map(|(own, bare)| own >= part * bare),
    };
    let mark = met.map_or("?", |met| if met { "✓" } else { "✗" });
    format!("{} {mark}", goal.text())
}

/// Why cells are empty or rest on fewer rounds.
pub(crate) fn troubles(results: &Results, place: Place, pairs: &[Pair]) -> String {
    let mut text = String::new();
    for &pair in pairs {
        if results.is_skipped(pair, place) {
            text += &format!("- {}: {SKIPPED}", pair.title());
        }
        for (round, reason) in results.failures(pair, place) {
            text += &format!("- {}, round {round}: failed: {}\n", pair.title(), reason.replace('|', "\\|"));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

pub(crate) fn row(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}
