//! What this process uses, where the system tells: Linux.

/// Clock ticks in a second, as `/proc` counts them: USER_HZ, 100 on every architecture in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// The time this process has spent on processors, user and system, in microseconds.
pub(super) fn cpu_us() -> Option<f64> {
    parse_cpu_us(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The memory of this process that is in RAM, in kB as Linux counts them (1024 bytes).
pub(super) fn resident_kb() -> Option<u64> {
    parse_resident_kb(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// How much of a counter was used since then.
pub(super) fn since(before: Option<f64>, now: Option<f64>) -> Option<f64> {
    Some(now? - before?)
}

fn parse_cpu_us(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses, and may hold anything; utime and stime are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) as f64 * 1e6 / TICKS_PER_SECOND)
}

fn parse_resident_kb(status: &str) -> Option<u64> {
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    resident.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_program_is_called() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 150 25 7 7 20 0 1 0 100 1000 200";
        assert_eq!(parse_cpu_us(stat), Some(1_750_000.0));
        for broken in ["", "42 (p2pt) S 1 42", "42 (p2pt) S 1 2 3 4 5 6 7 8 9 10 x 12"] {
            assert_eq!(parse_cpu_us(broken), None, "{broken}");
        }
    }

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(parse_resident_kb("Name:\tp2pt\nVmRSS:\t   13224 kB\nRssAnon:\t 9000 kB\n"), Some(13_224));
        for broken in ["", "VmRSS:\t13224 MB", "VmRSS:\tmuch kB"] {
            assert_eq!(parse_resident_kb(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_not_known_makes_no_difference() {
        assert_eq!(since(Some(2.0), Some(5.0)), Some(3.0));
        assert_eq!((since(None, Some(5.0)), since(Some(2.0), None)), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells() {
        assert!(cpu_us().is_some() && resident_kb().is_some_and(|kb| kb > 100));
    }
}
