//! What is measured, and what the project wants of it.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    High,
    Low,
}

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// So many times as good as the best JavaScript.
    TimesBest(f64),
    /// At least this part of what the bare channel does.
    OfBare(f64),
}

/// A figure, in the unit in which it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// Its key in the JSON of those who measure.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// How many of the JSON's units are one of those that are shown.
    pub(crate) scale: f64,
    pub(crate) better: Better,
    pub(crate) goals: &'static [Goal],
}

const fn figure(key: &'static str, title: &'static str, better: Better, goals: &'static [Goal]) -> Figure {
    Figure { key, title, scale: 1.0, better, goals }
}

const fn milliseconds(key: &'static str, title: &'static str, goals: &'static [Goal]) -> Figure {
    Figure { scale: 1000.0, ..figure(key, title, Better::Low, goals) }
}

use Better::{High, Low};
use Goal::{AtLeast, AtMost, OfBare, TimesBest};

/// On one machine.
pub(crate) const NEAR: [Figure; 12] = [
    figure("connect_ms", "connect, ms", Low, &[AtMost(25.0), TimesBest(5.0)]),
    figure("rtt_us_p50", "round trip, p50, µs", Low, &[TimesBest(2.0)]),
    figure("rtt_us_p99", "round trip, p99, µs", Low, &[]),
    figure("small_per_s", "messages of 100 bytes, per s", High, &[AtLeast(250_000.0), TimesBest(3.0)]),
    milliseconds("small_delay_us_p50", "their delay, p50, ms", &[]),
    milliseconds("small_delay_us_p99", "their delay, p99, ms", &[AtMost(10.0)]),
    milliseconds("small_delay_us_max", "their delay, longest, ms", &[]),
    figure("text_1mb_mb_s", "texts of 1 MB, MB/s", High, &[AtLeast(140.0), TimesBest(3.0)]),
    figure("text_16mb_mb_s", "texts of 16 MB, MB/s", High, &[AtLeast(140.0)]),
    figure("raw_mb_s", "raw frames, MB/s", High, &[AtLeast(180.0), OfBare(0.9)]),
    figure("raw_cpu_s_per_gb", "their CPU time, both sides, s/GB", Low, &[AtMost(8.0)]),
    figure("rss_kb_per_peer", "memory for each peer, KiB", Low, &[AtMost(200.0)]),
];

/// Those that a JavaScript peer shall not miss when the other is of this library.
pub(crate) const MIXED: [Figure; 6] = [
    figure("connect_ms", "connect, ms", Low, &[]),
    figure("rtt_us_p50", "round trip, p50, µs", Low, &[]),
    figure("small_per_s", "messages of 100 bytes, per s", High, &[]),
    figure("text_1mb_mb_s", "texts of 1 MB, MB/s", High, &[]),
    figure("text_16mb_mb_s", "texts of 16 MB, MB/s", High, &[]),
    figure("raw_mb_s", "raw frames, MB/s", High, &[]),
];

/// In pages. The goals are parts of what JavaScript does there.
pub(crate) const PAGES: [Figure; 8] = [
    figure("connect_ms", "connect, ms", Low, &[TimesBest(0.9)]),
    figure("rtt_us_p50", "round trip, p50, µs", Low, &[TimesBest(0.9)]),
    figure("rtt_us_p99", "round trip, p99, µs", Low, &[TimesBest(0.9)]),
    figure("small_per_s", "messages of 100 bytes, per s", High, &[TimesBest(1.1)]),
    figure("text_1mb_mb_s", "texts of 1 MB, MB/s", High, &[TimesBest(0.9)]),
    figure("text_16mb_mb_s", "texts of 16 MB, MB/s", High, &[TimesBest(0.9)]),
    figure("raw_mb_s", "raw frames, MB/s", High, &[TimesBest(0.9)]),
    figure("rss_kb_per_peer", "memory for each peer, KiB", Low, &[TimesBest(0.9)]),
];

/// Where a round trip takes 20 ms.
pub(crate) const FAR: [Figure; 2] =
    [figure("connect_ms", "connect, ms", Low, &[]), figure("raw_mb_s", "raw frames, MB/s", High, &[AtLeast(55.0)])];

/// Where datagrams are lost too.
pub(crate) const LOSSY: [Figure; 2] =
    [figure("connect_ms", "connect, ms", Low, &[]), figure("raw_mb_s", "raw frames, MB/s", High, &[])];

/// Where socket buffers are small.
pub(crate) const STOCK: [Figure; 2] = [
    figure("raw_mb_s", "raw frames, MB/s", High, &[AtLeast(60.0)]),
    figure("small_per_s", "messages of 100 bytes, per s", High, &[]),
];

impl Figure {
    /// How many times as good one is as the other.
    pub(crate) fn ratio(&self, one: f64, other: f64) -> f64 {
        match self.better {
            High => one / other,
            Low => other / one,
        }
    }
}

impl Goal {
    pub(crate) fn text(self) -> String {
        match self {
            AtMost(most) => format!("≤ {}", number(most)),
            AtLeast(least) => format!("≥ {}", number(least)),
            TimesBest(times) => format!("{times} × best JS"),
            OfBare(part) => format!("{} % of bare", part * 100.0),
        }
    }
}

/// A number with as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        ..0.1 if value != 0.0 => 4,
        ..10.0 if value.fract() != 0.0 => 2,
        ..100.0 if value.fract() != 0.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if value < 10_000.0 {
        return text;
    }
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
