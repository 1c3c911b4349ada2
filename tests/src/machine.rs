//! What Linux tells of processes and of the machine they run on.

use std::fs;

/// How many of its ticks Linux counts in a second of CPU time, on every machine that matters.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of a process, of all its threads, in seconds; `"self"` is this process.
///
/// # Panics
/// If there is no such process.
pub fn cpu_seconds(pid: &str) -> f64 {
    let file = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    // The program's name stands in brackets and may hold anything; utime and stime are the 12th and 13th fields after it.
    let fields = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
    ticks / TICKS_PER_SECOND
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn work_takes_cpu_time() {
        let before = super::cpu_seconds("self");
        while super::cpu_seconds("self") < before + 0.02 {
            std::hint::black_box((0..10_000).sum::<u64>());
        }
    }
}
