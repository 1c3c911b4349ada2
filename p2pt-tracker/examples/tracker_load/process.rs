//! Trackers as processes, and how much memory they take.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// A tracker on a free port of this machine; it ends when it is dropped.
pub(crate) struct Tracker {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Tracker {
    pub(crate) fn ours() -> io::Result<Self> {
        Self::spawn(Command::new(std::env::current_exe()?).arg("serve"))
    }

    pub(crate) fn npm(script: &str) -> io::Result<Self> {
        Self::spawn(Command::new("node").arg(script))
    }

    fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line)?;
        let listening: serde_json::Value = serde_json::from_str(&line)?;
        let addr = listening["url"].as_str().and_then(crate::address);
        let addr = addr.ok_or_else(|| io::Error::other(format!("no address in {line:?}")))?;
        Ok(Self { child, addr })
    }

    /// Memory in use now, without what was swapped out. Linux only.
    pub(crate) fn memory_kib(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        kib.ok_or_else(|| io::Error::other("no VmRSS"))
    }

    pub(crate) async fn peak_memory_kib(&self, span: Duration) -> io::Result<f64> {
        let end = Instant::now() + span;
        let mut peak: f64 = 0.0;
        while Instant::now() < end {
            peak = peak.max(self.memory_kib()?);
            sleep(Duration::from_millis(100)).await;
        }
        Ok(peak)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The hostile clients, for as long as they are not killed.
pub(crate) fn hostile(addr: SocketAddr) -> io::Result<Child> {
    Command::new(std::env::current_exe()?).arg("hostile").arg(addr.to_string()).spawn()
}
