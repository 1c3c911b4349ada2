//! What a process holds, and whether it has come to hold more.

use std::collections::HashSet;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long what is held must not change to count as steady: longer than any close takes.
const STEADY: Duration = Duration::from_secs(3);

const POLL: Duration = Duration::from_millis(100);

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Tasks of one runtime.
    pub tasks: usize,
    /// Open descriptors of the process, but for those of UDP sockets.
    pub descriptors: usize,
    /// UDP sockets of the process. A transport binds up to eight for each of its addresses, when it needs them, and keeps
    /// them for later connections.
    pub udp_sockets: usize,
    /// Memory of the process that is in RAM, in KiB.
    pub resident_kib: u64,
}

impl Usage {
    /// What this process holds, and this runtime of it.
    pub fn now(runtime: &Handle) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
        let (udp_sockets, descriptors) = descriptors();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        Self {
            tasks: runtime.metrics().num_alive_tasks(),
            descriptors,
            udp_sockets,
            resident_kib: resident.trim().trim_end_matches(" kB").parse().expect("a number"),
        }
    }

    /// What it holds once tasks and descriptors do not change any more.
    pub async fn steady(runtime: &Handle) -> Self {
        let (mut usage, mut since) = (Self::now(runtime), Instant::now());
        while since.elapsed() < STEADY {
            tokio::time::sleep(POLL).await;
            let now = Self::now(runtime);
            let held = |usage: Self| (usage.tasks, usage.descriptors, usage.udp_sockets);
            if held(now) != held(usage) {
                (usage, since) = (now, Instant::now());
            }
        }
        Self::now(runtime)
    }

    /// Waits until it holds no more than `self`, and returns what it holds.
    ///
    /// # Errors
    /// What it still holds after `patience`.
    pub async fn is_enough(self, runtime: &Handle, patience: Duration) -> Result<Self, Self> {
        let deadline = Instant::now() + patience;
        loop {
            let now = Self::now(runtime);
            let sockets_fit = now.descriptors <= self.descriptors && now.udp_sockets <= self.udp_sockets;
            if now.tasks <= self.tasks && sockets_fit && now.resident_kib <= self.resident_kib {
                return Ok(now);
            }
            if Instant::now() >= deadline {
                return Err(now);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Allows `more_kib` KiB of resident memory beyond these.
    #[must_use]
    pub fn with_memory(self, more_kib: u64) -> Self {
        Self { resident_kib: self.resident_kib + more_kib, ..self }
    }

    /// Allows at most this many open UDP sockets.
    #[must_use]
    pub fn with_udp_sockets(self, most: usize) -> Self {
        Self { udp_sockets: most, ..self }
    }
}

/// How many descriptors of this process are UDP sockets, and how many are not.
fn descriptors() -> (usize, usize) {
    let tables =
        ["/proc/self/net/udp", "/proc/self/net/udp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    // The tenth column names the socket as a descriptor's link does; other processes' sockets are listed too.
    let inodes: HashSet<&str> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| line.split_whitespace().nth(9))
        .collect();
    let is_udp = |entry: &std::fs::DirEntry| {
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.contains(inode))
    };
    let entries: Vec<_> = std::fs::read_dir("/proc/self/fd").expect("Linux tells").flatten().collect();
    let udp = entries.iter().filter(|entry| is_udp(entry)).count();
    (udp, entries.len() - udp)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn grown(before: Usage) -> bool {
        before.with_memory(16 << 10).is_enough(&Handle::current(), Duration::from_millis(500)).await.is_err()
    }

    /// Descriptors and memory are the whole process's, where other tests run too: hence far more of each than they take.
    #[tokio::test]
    async fn what_is_kept_is_noticed() {
        let before = Usage::now(&Handle::current());
        let task = tokio::spawn(std::future::pending::<()>());
        assert!(grown(before).await);
        task.abort();

        let before = Usage::now(&Handle::current());
        let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").expect("it exists")).collect();
        assert!(grown(before).await);
        drop(files);

        let before = Usage::now(&Handle::current());
        let sockets: Vec<_> = (0..50).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
        let after = Usage::now(&Handle::current());
        assert!(after.udp_sockets >= before.udp_sockets + 50, "{before:?}, {after:?}");
        assert!(grown(before).await);
        drop(sockets);

        let before = Usage::now(&Handle::current());
        let memory = vec![1_u8; 200 << 20];
        assert!(grown(before).await);
        drop(memory);
    }
}
