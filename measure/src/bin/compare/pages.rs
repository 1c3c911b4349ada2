//! This library in a page beside the JavaScript p2pt in a page, each with its own kind and with a native peer.

use crate::facts::Facts;
use crate::figures::{Figure, Goal, PAGES, number};
use crate::pairs::{Pair, Place};
use crate::results::Results;
use crate::{Options, measure, section, table, write};

/// The heading of the section.
pub(crate) const TITLE: &str = "In a browser";

/// What people have written about the figures.
const NOTES: &str = include_str!("pages.md");

/// This library, and JavaScript in its place.
const BESIDE: [(&str, [Pair; 2]); 3] = [
    ("two pages", [Pair::Wasm, Pair::Chromium]),
    ("page → native", [Pair::WasmRust, Pair::ChromiumRust]),
    ("native → page", [Pair::RustWasm, Pair::RustChromium]),
];

/// Measures all pairs, and writes the section.
pub(crate) async fn compare(options: &Options) {
    let mut facts = Facts::gather();
    let results = measure(options, &[Place::Pages], &mut facts).await;
    let old = std::fs::read_to_string(&options.output).unwrap_or_default();
    let text = section::put(&old, TITLE, &document(&results, &facts, options.rounds, options.quick));
    write(&options.output, &text);
}

fn document(results: &Results, facts: &Facts, rounds: usize, quick: bool) -> String {
    let mut text = format!("## {TITLE}\n\nWritten by `just compare-pages`.");
    if quick {
        text += " **A quick run, to see whether everything works: its figures are not to be quoted.**";
    }
    text += &format!(
        " Medians of {rounds} rounds, in each of which the six pairs were measured one after the other; in brackets the least \
         and the most. A ratio is that of the medians, above 1 where this library is better.\n\n{}\n",
        facts.table()
    );
    let mut heads = vec![String::new()];
    for (way, _) in BESIDE {
        heads.extend([format!("{way}: Rust"), "JavaScript".to_owned(), "ratio".to_owned()]);
    }
    text += &(table::row(&heads) + &table::row(&vec!["---"; heads.len()]));
    for figure in &PAGES {
        let mut cells = vec![figure.title.to_owned()];
        for (_, pairs) in BESIDE {
            cells.extend(pairs.map(|pair| table::cell(results, figure, pair, Place::Pages)));
            cells.push(ratio(results, figure, pairs));
        }
        text += &table::row(&cells);
    }
    text += &table::troubles(results, Place::Pages, &BESIDE.map(|(_, pairs)| pairs).concat());
    text + "\n" + NOTES
}

/// How many times as good this library is as JavaScript, and whether that is what is wanted.
fn ratio(results: &Results, figure: &Figure, pairs: [Pair; 2]) -> String {
    let [Some(own), Some(other)] = pairs.map(|pair| results.of(figure, pair, Place::Pages)) else {
        return String::new();
    };
    let ratio = figure.ratio(own.median, other.median);
    let wanted = figure.goals.iter().find_map(|goal| match goal {
        Goal::TimesBest(times) => Some(*times),
        _ => None,
    });
    let mark = wanted.map_or("", |wanted| if ratio >= wanted { " ✓" } else { " ✗" });
    number(ratio) + mark
}
