//! Figures of many: medians and percentiles.

/// The value below which half of them lie; `None` of none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The median, the 99th percentile by nearest rank, and the maximum; `None` of none.
pub(super) fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some([median(values)?, rank(99)?, rank(100)?])
}

/// Values of which there may be any number: when there are too many every second one is let go, and from then on half as
/// many are taken, so that those that are kept come from all of the time alike.
#[derive(Debug)]
pub(super) struct Samples {
    kept: Vec<f64>,
    capacity: usize,
    /// One of so many is taken.
    stride: u64,
    seen: u64,
    max: f64,
}

impl Samples {
    pub(super) fn new(capacity: usize) -> Self {
        Self { kept: Vec::new(), capacity, stride: 1, seen: 0, max: f64::NEG_INFINITY }
    }

    pub(super) fn push(&mut self, value: f64) {
        self.max = self.max.max(value);
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == self.capacity {
                let mut index = 0;
                self.kept.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride *= 2;
            }
            self.kept.push(value);
        }
        self.seen += 1;
    }

    /// As [`spread`]; the maximum is that of all.
    pub(super) fn spread(&self) -> Option<[f64; 3]> {
        let [middle, high, _] = spread(&self.kept)?;
        Some([middle, high, self.max])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        for (values, middle) in
            [(&[][..], None), (&[7.0], Some(7.0)), (&[9.0, 1.0, 2.0], Some(2.0)), (&[4.0, 1.0], Some(2.5))]
        {
            assert_eq!(median(values), middle, "{values:?}");
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0]), Some([3.0, 3.0, 3.0]));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(spread(&hundred), Some([50.5, 99.0, 100.0]));
        let more: Vec<f64> = (1..=101).map(f64::from).collect();
        assert_eq!(spread(&more), Some([51.0, 100.0, 101.0]));
    }

    #[test]
    fn samples_stay_few_and_come_from_all_of_the_time() {
        let mut samples = Samples::new(100);
        for value in 0..100_000 {
            samples.push(f64::from(value));
        }
        assert!((50..=100).contains(&samples.kept.len()), "{}", samples.kept.len());
        let steps: Vec<f64> = samples.kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| *step == steps[0]), "{steps:?}");
        let [middle, high, max] = samples.spread().unwrap();
        assert!((45_000.0..55_000.0).contains(&middle) && high > 95_000.0, "{middle} {high}");
        assert_eq!(max, 99_999.0);
        assert_eq!(Samples::new(8).spread(), None);
    }
}
