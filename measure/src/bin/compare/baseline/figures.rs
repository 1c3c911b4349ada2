//! What is measured of both transports, and what is wanted of the one of now.

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// At most this part of what it was before, by the median of all rounds.
    RatioAtMost(f64),
    /// At least so many times what it was before, by the median of all rounds.
    RatioAtLeast(f64),
    /// By the median of all rounds.
    AtMost(f64),
    /// In each round.
    Always(f64),
}

/// A figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    /// Its key in the JSON of the measuring program.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) goal: Option<Goal>,
}

/// A process that measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) title: &'static str,
    pub(super) arguments: &'static [&'static str],
    /// What makes it quick.
    pub(super) quick: &'static [&'static str],
    pub(super) figures: &'static [Figure],
}

const fn figure(key: &'static str, title: &'static str, goal: Goal) -> Figure {
    Figure { key, title, goal: Some(goal) }
}

const fn aside(key: &'static str, title: &'static str) -> Figure {
    Figure { key, title, goal: None }
}

use Goal::{Always, AtMost, RatioAtLeast, RatioAtMost};

const SENDERS: &[Figure] = &[
    figure("mb_s", "all of them, MB/s", RatioAtLeast(1.3)),
    figure("last_to_first", "time of the last done to that of the first", AtMost(1.2)),
];

/// One after the other, each for both transports.
pub(super) const RUNS: &[Run] = &[
    Run {
        title: "two processes",
        arguments: &["pair", "--connects", "40", "--messages", "200000", "--megabytes", "400"],
        quick: &["--connects", "5", "--messages", "20000", "--megabytes", "50"],
        figures: &[
            figure("connect_ms", "connect, ms", RatioAtMost(0.75)),
            figure("small_per_s", "frames of 100 bytes, per s", RatioAtLeast(1.8)),
            figure("raw_mb_s", "frames of 64 KiB, MB/s", RatioAtLeast(1.3)),
            figure("raw_cpu_s_per_gb", "their CPU time, both sides, s/GB", RatioAtMost(0.7)),
        ],
    },
    Run {
        title: "two processes, cores kept awake",
        arguments: &["pair", "--round-trips", "5000", "--awake"],
        quick: &["--round-trips", "500"],
        figures: &[
            figure("rtt_us_p50", "round trip of 100 bytes, p50, µs", RatioAtMost(0.9)),
            aside("rtt_us_p99", "round trip of 100 bytes, p99, µs"),
        ],
    },
    Run {
        title: "a round trip takes 20 ms",
        arguments: &["pair", "--connects", "30", "--megabytes", "100", "--delay-ms", "10"],
        quick: &["--connects", "5", "--megabytes", "20"],
        figures: &[
            figure("connect_ms", "connect, ms", RatioAtMost(0.9)),
            figure("raw_mb_s", "frames of 64 KiB, MB/s", RatioAtLeast(1.0)),
        ],
    },
    Run {
        title: "20 ms, and 0.5 % of datagrams lost each way",
        arguments: &["pair", "--megabytes", "10", "--delay-ms", "10", "--loss-percent", "0.5"],
        quick: &["--megabytes", "2"],
        figures: &[figure("raw_mb_s", "frames of 64 KiB, MB/s", RatioAtLeast(1.0))],
    },
    Run {
        title: "20 senders into one node",
        arguments: &["senders", "--senders", "20"],
        quick: &["--megabytes", "40"],
        figures: SENDERS,
    },
    Run {
        title: "100 senders into one node",
        arguments: &["senders", "--senders", "100"],
        quick: &["--megabytes", "40"],
        figures: SENDERS,
    },
    Run {
        title: "20 senders, socket buffers of 212,992 bytes",
        arguments: &["senders", "--senders", "20", "--socket-buffer", "212992"],
        quick: &["--megabytes", "40"],
        figures: SENDERS,
    },
    Run {
        title: "100 senders, socket buffers of 212,992 bytes",
        arguments: &["senders", "--senders", "100", "--socket-buffer", "212992"],
        quick: &["--megabytes", "40"],
        figures: SENDERS,
    },
    Run {
        title: "24 nodes in a full mesh: 276 idle connections",
        arguments: &["idle", "--nodes", "24"],
        quick: &["--nodes", "8"],
        figures: &[
            figure("memory_kb", "memory of one end, KB", AtMost(35.0)),
            aside("descriptors", "descriptors of one end"),
        ],
    },
    Run {
        title: "15 nodes in a full mesh: 105 idle connections for 20 s",
        arguments: &["idle", "--nodes", "15", "--seconds", "20"],
        quick: &["--seconds", "5"],
        figures: &[figure("cpu_percent", "CPU time of both ends, % of a core", RatioAtMost(0.7))],
    },
    Run {
        title: "1,000 offers that wait",
        arguments: &["offers", "--offers", "1000"],
        quick: &["--offers", "500"],
        figures: &[
            figure("offer_us", "making one, p50, µs", AtMost(50.0)),
            figure("memory_kb", "memory of one, KB", AtMost(10.0)),
            // Those that all share are bound with the first offers.
            figure("descriptors", "descriptors of one", AtMost(0.01)),
        ],
    },
    Run {
        title: "a reader stands still for 300 ms",
        arguments: &["stall", "--milliseconds", "300", "--stalls", "9"],
        quick: &["--stalls", "3"],
        figures: &[
            figure("gap_ms", "the longest gap afterwards, p50 of 9 times, ms", AtMost(30.0)),
            aside("gap_ms_max", "the longest gap of all, ms"),
            aside("gap_ms_without", "the longest gap in as long a time without a stall, p50, ms"),
        ],
    },
    Run {
        title: "30 opens at once between the same two, both ways",
        arguments: &["simultaneous", "--opens", "30"],
        quick: &[],
        figures: &[
            figure("opened", "of them open and carry frames", Always(30.0)),
            aside("all_ms", "until the last, ms"),
        ],
    },
    Run {
        title: "20,000 frames, closed before they are read",
        arguments: &["close", "--frames", "20000"],
        quick: &["--frames", "4000"],
        figures: &[figure("lost", "acknowledged and lost", Always(0.0)), aside("acknowledged", "acknowledged")],
    },
];
