//! The figures, for people and for programs.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::protocol::VERSION;
use crate::terminal::{Colour, Terminal, clean};

/// What is measured, in the order in which it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    ConnectMs,
    RttUsP50,
    RttUsP99,
    SmallPerS,
    SmallDelayUsP50,
    SmallDelayUsP99,
    SmallDelayUsMax,
    Text1MbMbS,
    Text16MbMbS,
    RawMbS,
    RawCpuSPerGb,
    RssKbPerPeer,
    ReverseSmallPerS,
    ReverseText1MbMbS,
    ReverseRawMbS,
}

use Figure::{
    ConnectMs, RawCpuSPerGb, RawMbS, ReverseRawMbS, ReverseSmallPerS, ReverseText1MbMbS, RssKbPerPeer, RttUsP50,
    RttUsP99, SmallDelayUsMax, SmallDelayUsP50, SmallDelayUsP99, SmallPerS, Text1MbMbS, Text16MbMbS,
};

const ONE_WAY: [Figure; 12] = [
    ConnectMs,
    RttUsP50,
    RttUsP99,
    SmallPerS,
    SmallDelayUsP50,
    SmallDelayUsP99,
    SmallDelayUsMax,
    Text1MbMbS,
    Text16MbMbS,
    RawMbS,
    RawCpuSPerGb,
    RssKbPerPeer,
];

const REVERSE: [Figure; 3] = [ReverseSmallPerS, ReverseText1MbMbS, ReverseRawMbS];

impl Figure {
    /// Its key in JSON.
    fn key(self) -> &'static str {
        match self {
            ConnectMs => "connect_ms",
            RttUsP50 => "rtt_us_p50",
            RttUsP99 => "rtt_us_p99",
            SmallPerS => "small_per_s",
            SmallDelayUsP50 => "small_delay_us_p50",
            SmallDelayUsP99 => "small_delay_us_p99",
            SmallDelayUsMax => "small_delay_us_max",
            Text1MbMbS => "text_1mb_mb_s",
            Text16MbMbS => "text_16mb_mb_s",
            RawMbS => "raw_mb_s",
            RawCpuSPerGb => "raw_cpu_s_per_gb",
            RssKbPerPeer => "rss_kb_per_peer",
            ReverseSmallPerS => "reverse_small_per_s",
            ReverseText1MbMbS => "reverse_text_1mb_mb_s",
            ReverseRawMbS => "reverse_raw_mb_s",
        }
    }

    /// What people call it, its unit, and what it says.
    fn words(self) -> [&'static str; 3] {
        match self {
            ConnectMs => ["connect", "ms", "from the start of a node to the partner's answer, median"],
            RttUsP50 => ["round trip", "µs", "a short request and its response, median"],
            RttUsP99 => ["", "µs", "99 % take no longer"],
            SmallPerS => ["small messages", "/s", "100 bytes, one way"],
            SmallDelayUsP50 => ["  their delay", "µs", "from send to arrival at this rate, median"],
            SmallDelayUsP99 => ["", "µs", "99 % take no longer"],
            SmallDelayUsMax => ["", "µs", "the longest"],
            Text1MbMbS => ["texts of 1 MB", "MB/s", "one at a time, until the response, median"],
            Text16MbMbS => ["texts of 16 MB", "MB/s", "the same"],
            RawMbS => ["raw frames", "MB/s", "64 KiB, one way"],
            RawCpuSPerGb => ["  their cost", "s/GB", "processor time of both sides"],
            RssKbPerPeer => ["memory", "KiB", "in RAM, for each connected peer"],
            ReverseSmallPerS => ["small messages", "/s", "from the partner"],
            ReverseText1MbMbS => ["texts of 1 MB", "MB/s", "from the partner, back to back"],
            ReverseRawMbS => ["raw frames", "MB/s", "from the partner"],
        }
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Report {
    /// The partner's name.
    peer: String,
    /// The way from the partner was measured too.
    reverse: bool,
    values: BTreeMap<Figure, f64>,
}

impl Report {
    pub(super) fn new(peer: String, reverse: bool) -> Self {
        Self { peer, reverse, values: BTreeMap::new() }
    }

    /// Takes a figure, if there is one.
    pub(super) fn set(&mut self, figure: Figure, value: Option<f64>) {
        // A thousandth of any unit here is less than can be measured.
        self.values.extend(value.filter(|value| value.is_finite()).map(|value| (figure, (value * 1e3).round() / 1e3)));
    }

    fn figures(&self) -> impl Iterator<Item = Figure> {
        ONE_WAY.into_iter().chain(REVERSE.into_iter().filter(|_| self.reverse))
    }

    /// Lines of three columns: name, value with its unit, and what it says.
    fn table(&self) -> Vec<[String; 3]> {
        let measured = self.figures().filter_map(|figure| Some((figure, *self.values.get(&figure)?)));
        let lines = measured.map(|(figure, value)| {
            let [name, unit, meaning] = figure.words();
            [name.to_owned(), format!("{} {unit:<4}", readable(value)), meaning.to_owned()]
        });
        lines.collect()
    }

    pub(super) fn show(&self, terminal: &mut Terminal, place: &str) -> std::io::Result<()> {
        let title = terminal.paint(Colour::Bold, "p2pt bench");
        terminal.line(format_args!("{title}  with {}, {place}", clean(&self.peer)))?;
        terminal.line("")?;
        for [name, value, meaning] in self.table() {
            let value = terminal.paint(Colour::Bold, format_args!("{value:>14}"));
            let meaning = terminal.paint(Colour::Dim, meaning);
            terminal.line(format_args!("  {name:<16}{value}  {meaning}"))?;
        }
        Ok(())
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for figure in self.figures() {
            map.serialize_entry(figure.key(), &self.values.get(&figure))?;
        }
        map.serialize_entry("peer", &self.peer)?;
        map.serialize_entry("version", &VERSION)?;
        map.end()
    }
}

/// A number with some three digits that count, and marks between its thousands.
fn readable(value: f64) -> String {
    let decimals = match value.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    if decimals > 0 {
        return text;
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let mut marked = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            marked.push(',');
        }
        marked.push(digit);
    }
    marked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_get_every_key_in_order() {
        let mut report = Report::new("chromium".to_owned(), false);
        report.set(RawMbS, Some(123.456_789));
        report.set(ConnectMs, Some(f64::INFINITY));
        report.set(RssKbPerPeer, None);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"connect_ms":null,"rtt_us_p50":null,"rtt_us_p99":null,"small_per_s":null,"#,
                r#""small_delay_us_p50":null,"small_delay_us_p99":null,"small_delay_us_max":null,"text_1mb_mb_s":null,"#,
                r#""text_16mb_mb_s":null,"raw_mb_s":123.457,"raw_cpu_s_per_gb":null,"rss_kb_per_peer":null,"#,
                r#""peer":"chromium","version":1}"#
            )
        );
        let mut report = Report::new("p2pt".to_owned(), true);
        report.set(ReverseRawMbS, Some(5.0));
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!(value["reverse_raw_mb_s"], json!(5.0));
        assert!(value["reverse_small_per_s"].is_null() && value["reverse_text_1mb_mb_s"].is_null());
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(ONE_WAY.len() + REVERSE.len() + 2));
    }

    #[test]
    fn people_see_what_was_measured() {
        let mut report = Report::new("p2pt".to_owned(), true);
        report.set(SmallPerS, Some(143_210.4));
        report.set(RttUsP50, Some(85.25));
        report.set(ReverseSmallPerS, Some(2.0));
        let table: Vec<String> = report.table().iter().map(|line| line.join("|")).collect();
        assert_eq!(
            table,
            [
                "round trip|85.2 µs  |a short request and its response, median",
                "small messages|143,210 /s  |100 bytes, one way",
                "small messages|2.00 /s  |from the partner",
            ]
        );
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (value, text) in [
            (0.0, "0.00"),
            (1.234, "1.23"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.97, "100"),
            (999.5, "1,000"),
            (1_234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-123_456.0, "-123,456"),
        ] {
            assert_eq!(readable(value), text);
        }
    }
}
