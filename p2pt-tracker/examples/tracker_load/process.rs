//! Trackers as processes, how much memory they take, and how much of the processors.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::tls::Identity;

/// A program that is a tracker.
#[derive(Clone)]
pub(crate) enum Program {
    /// This one.
    Ours,
    /// The script that runs npm's bittorrent-tracker.
    Npm(String),
    /// aquatic_ws.
    Aquatic(String),
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ours => "p2pt-tracker",
            Self::Npm(_) => "npm bittorrent-tracker",
            Self::Aquatic(_) => "aquatic_ws",
        }
    }
}

/// A tracker on a free port of this machine; it ends when it is dropped.
pub(crate) struct Tracker {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Tracker {
    /// Starts the program, over TLS if there is an identity. Without `limits`, ours lets a client cause as much as it
    /// likes, as the others do.
    pub(crate) async fn start(program: &Program, tls: Option<&Identity>, limits: bool) -> io::Result<Self> {
        let mut command = match program {
            Program::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(if limits { "serve" } else { "serve-without-limits" });
                command.args(tls.into_iter().flat_map(|tls| [tls.file("cert.der"), tls.file("key.der")]));
                command
            }
            Program::Npm(script) => {
                let mut command = Command::new("node");
                command.arg(script).args(tls.into_iter().flat_map(|tls| [tls.file("cert.der"), tls.file("key.der")]));
                command
            }
            Program::Aquatic(binary) => return Self::aquatic(binary, tls).await,
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line)?;
        let listening: serde_json::Value = serde_json::from_str(&line)?;
        let addr = listening["url"].as_str().and_then(crate::address);
        let addr = addr.ok_or_else(|| io::Error::other(format!("no address in {line:?}")))?;
        Ok(Self { child, addr })
    }

    /// aquatic_ws takes its port from a file, and says nothing.
    async fn aquatic(binary: &str, tls: Option<&Identity>) -> io::Result<Self> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = std::env::temp_dir().join(format!("tracker_load-aquatic-{}.toml", std::process::id()));
        let tls = tls.map_or_else(String::new, |tls| {
            // Its configuration speaks of DER, but PEM is what it reads.
            let (cert, key) = (tls.file("cert.pem"), tls.file("key.pem"));
            format!("enable_tls = true\ntls_certificate_path = \"{cert}\"\ntls_private_key_path = \"{key}\"\n")
        });
        fs::write(&file, format!("[network]\naddress = \"{addr}\"\n{tls}"))?;
        let mut command = Command::new(binary);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let tracker = Self { child: command.spawn()?, addr };
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(addr).await.is_err() {
            if Instant::now() > end {
                return Err(io::Error::other("aquatic_ws does not listen: it needs io_uring and `ulimit -l 512`"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        fs::remove_file(&file)?;
        Ok(tracker)
    }

    /// Memory in use now, without what was swapped out. Linux only.
    pub(crate) fn memory_kib(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        kib.ok_or_else(|| io::Error::other("no VmRSS"))
    }

    /// Processor time used so far, in seconds: user's and system's, which Linux counts in hundredths.
    pub(crate) fn cpu_seconds(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may have spaces, these are the 12th and the 13th.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: Option<f64> =
            fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().ok()).sum();
        ticks.map(|ticks| ticks / 100.0).ok_or_else(|| io::Error::other("no times"))
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
