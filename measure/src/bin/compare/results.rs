//! What all rounds have given.

use std::collections::{HashMap, HashSet};

use crate::figures::Figure;
use crate::pairs::{Pair, Place};
use crate::process::Figures;

/// What one round has given.
type Outcome = (usize, Result<Figures, String>);

/// The outcomes of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Results {
    outcomes: HashMap<(Pair, Place), Vec<Outcome>>,
    skipped: HashSet<(Pair, Place)>,
}

/// A figure of all rounds, in its unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) rounds: usize,
}

/// The best of several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Best {
    pub(crate) value: f64,
    /// Whether all are known. One that is not may be better.
    pub(crate) of_all: bool,
}

impl Spread {
    /// What all rounds have given; nothing, if none has given anything.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[values.len() / 2], values[(values.len() - 1) / 2]);
        Some(Self { median, min, max, rounds: values.len() })
    }
}

impl Results {
    pub(crate) fn add(&mut self, pair: Pair, place: Place, round: usize, outcome: Result<Figures, String>) {
        self.outcomes.entry((pair, place)).or_default().push((round, outcome));
    }

    pub(crate) fn skip(&mut self, pair: Pair, place: Place) {
        self.skipped.insert((pair, place));
    }

    pub(crate) fn is_skipped(&self, pair: Pair, place: Place) -> bool {
        self.skipped.contains(&(pair, place))
    }

    /// The rounds in which a pair failed, and why.
    pub(crate) fn failures(&self, pair: Pair, place: Place) -> Vec<(usize, &str)> {
        let outcomes = self.outcomes.get(&(pair, place)).map_or(&[][..], Vec::as_slice);
        outcomes.iter().filter_map(|(round, outcome)| Some((*round, outcome.as_ref().err()?.as_str()))).collect()
    }

    /// A figure of a pair, if any round has given it.
    pub(crate) fn of(&self, figure: &Figure, pair: Pair, place: Place) -> Option<Spread> {
        let outcomes = self.outcomes.get(&(pair, place))?;
        let figures = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok());
        Spread::of(figures.filter_map(|all| Some(all.get(figure.key)?.as_f64()? / figure.scale)).collect())
    }

    /// The best that JavaScript does.
    pub(crate) fn best_javascript(&self, figure: &Figure, place: Place) -> Option<Best> {
        let all = || place.pairs().iter().filter(|pair| pair.is_javascript());
        let known: Vec<f64> = all().filter_map(|pair| Some(self.of(figure, *pair, place)?.median)).collect();
        let best = |best, next| if figure.ratio(next, best) > 1.0 { next } else { best };
        Some(Best { of_all: known.len() == all().count(), value: known.into_iter().reduce(best)? })
    }
}
