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

/// The memory of a process that lies in RAM, in units of 1,024 bytes; `"self"` is this process.
///
/// # Panics
/// If there is no such process.
pub fn resident_kib(pid: &str) -> f64 {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    resident.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How many descriptors this process has open.
///
/// # Panics
/// If `/proc` is not there.
pub fn descriptors() -> usize {
    // One of them reads the list.
    fs::read_dir("/proc/self/fd").expect("Linux lists descriptors").count() - 1
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
    #[test]
    fn memory_and_descriptors_that_are_held_are_counted() {
        let (memory, descriptors) = (super::resident_kib("self"), super::descriptors());
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        // Tests beside this one hold some too, and may let go of a little.
        assert!(super::resident_kib("self") > memory + 32.0 * 1024.0);
        let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").expect("it is there")).collect();
        assert!(super::descriptors() > descriptors + 100);
        drop((held, files));
    }
}
