//! The peers and trackers that an interoperability test brings together, each a process of its own (our tracker apart,
//! which runs in the test).
//!
//! The JavaScript side is in `tests/js`, which `tests/js/setup.sh` makes ready. Nothing is skipped where a tool is
//! missing: the test fails and says what to install.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use p2pt_tracker::{ServerConfig, TrackerServer};
use tokio::process::Command;

use crate::pipe::{LineProcess, PipePeer};

/// The kinds of peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This workspace's `p2pt pipe`.
    Rust,
    /// npm p2pt in Node on `@roamhq/wrtc` (libwebrtc), which is quick and close to a browser.
    NodeRoamhq,
    /// npm p2pt in Node as it ships, on `node-datachannel` (libdatachannel). Each of its offers and answers takes five seconds.
    NodeNdc,
    /// npm p2pt in a page of headless Chromium that hides its addresses behind `.local` names, as pages do.
    Chromium,
    /// The same page without `.local` names.
    ChromiumPlain,
    /// npm p2pt 1.6.1 in such a page: as most pages in the wild it learns of a connection's end, and not of a channel's.
    Chromium161,
    /// The bundle that npm p2pt 1.6.2 publishes, in such a page. It is as old as 1.6.1.
    ChromiumPublished,
    /// npm p2pt in a page of headless Firefox that hides its addresses behind `.local` names, as pages do.
    Firefox,
    /// The same page without `.local` names.
    FirefoxPlain,
    /// This workspace's library as WebAssembly, in a page of headless Chromium.
    ChromiumWasm,
    /// The same page as a tab, which another tab can hide: only such a page is throttled or frozen.
    ChromiumTabWasm,
    /// This workspace's library as WebAssembly, in a page of headless Firefox.
    FirefoxWasm,
    /// The npm package of this workspace, whose class takes the place of npm p2pt's, in a page of headless Chromium.
    ChromiumPackage,
    /// The same in a page of headless Firefox.
    FirefoxPackage,
}

impl Kind {
    /// Whether it is the JavaScript p2pt, or is driven as if it were.
    pub fn is_javascript(self) -> bool {
        !matches!(self, Self::Rust | Self::ChromiumWasm | Self::ChromiumTabWasm | Self::FirefoxWasm)
    }

    /// Starts a peer of this kind and waits until it is ready. `trackers` are announce URLs.
    pub async fn start(self, identifier: &str, trackers: &[&str]) -> PipePeer {
        self.start_with(identifier, trackers, &[]).await
    }

    /// As [`Kind::start`], with more arguments.
    pub async fn start_with(self, identifier: &str, trackers: &[&str], arguments: &[&str]) -> PipePeer {
        let mut command = self.command(identifier, trackers);
        command.args(arguments);
        PipePeer::spawn(format!("{self:?} peer"), command).await
    }

    /// The command that is a peer of this kind.
    pub fn command(self, identifier: &str, trackers: &[&str]) -> Command {
        let mut command = match self {
            Self::Rust => {
                let mut command = Command::new(p2pt_binary());
                command.args(["pipe", identifier, "--no-default-stun"]);
                command
            }
            Self::NodeRoamhq => javascript("peer.mjs", &[identifier, "--webrtc", "roamhq"]),
            Self::NodeNdc => javascript("peer.mjs", &[identifier, "--webrtc", "ndc"]),
            Self::Chromium => javascript("browser.mjs", &[identifier]),
            Self::ChromiumPlain => javascript("browser.mjs", &[identifier, "--no-mdns"]),
            Self::Chromium161 => javascript("browser.mjs", &[identifier, "--bundle", "page-1.6.1"]),
            Self::ChromiumPublished => javascript("browser.mjs", &[identifier, "--bundle", "page-published"]),
            Self::Firefox => javascript("browser.mjs", &[identifier, "--browser", "firefox"]),
            Self::FirefoxPlain => javascript("browser.mjs", &[identifier, "--browser", "firefox", "--no-mdns"]),
            Self::ChromiumWasm => javascript("browser.mjs", &[identifier, "--bundle", "page-wasm"]),
            Self::ChromiumTabWasm => {
                javascript("browser.mjs", &[identifier, "--browser", "chromium-tabs", "--bundle", "page-wasm"])
            }
            Self::FirefoxWasm => {
                javascript("browser.mjs", &[identifier, "--browser", "firefox", "--bundle", "page-wasm"])
            }
            Self::ChromiumPackage => javascript("browser.mjs", &[identifier, "--bundle", "page-package"]),
            Self::FirefoxPackage => {
                javascript("browser.mjs", &[identifier, "--browser", "firefox", "--bundle", "page-package"])
            }
        };
        if self.is_javascript() {
            // JavaScript peers that draw the same message id take each other's messages for responses.
            static NEXT_IDS: AtomicU64 = AtomicU64::new(100_000);
            command.arg("--first-id").arg(NEXT_IDS.fetch_add(1000, Ordering::Relaxed).to_string());
        }
        for tracker in trackers {
            command.args(["--tracker", tracker]);
        }
        command
    }
}

/// Which tracker peers meet at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackerKind {
    /// npm bittorrent-tracker.
    Npm,
    /// This workspace's tracker.
    Ours,
}

/// A running tracker on a free port of the loopback interface.
#[derive(Debug)]
pub enum Tracker {
    /// npm bittorrent-tracker, with its announce URL.
    Npm(Box<LineProcess>, String),
    /// Ours, with its announce URL.
    Ours(TrackerServer, String),
}

impl Tracker {
    /// Starts a tracker.
    pub async fn start(kind: TrackerKind) -> Self {
        match kind {
            TrackerKind::Npm => {
                let mut process = LineProcess::spawn("npm bittorrent-tracker", javascript("tracker.mjs", &[]));
                let listening = process.expect("listening", |_| true).await;
                let url = listening["url"].as_str().unwrap_or_default().to_owned();
                Self::Npm(Box::new(process), url)
            }
            TrackerKind::Ours => {
                let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
                let server = TrackerServer::bind(address, ServerConfig::default()).await.expect("a free loopback port");
                let url = server.url().to_string();
                Self::Ours(server, url)
            }
        }
    }

    /// Its announce URL.
    pub fn url(&self) -> &str {
        let (Self::Npm(_, url) | Self::Ours(_, url)) = self;
        url
    }

    /// Ends it.
    pub async fn stop(self) {
        match self {
            Self::Npm(process, _) => process.end().await,
            Self::Ours(server, _) => server.shutdown().await,
        }
    }
}

/// A script of `tests/js`, ready to run.
///
/// # Panics
/// If it has not been made ready.
pub fn javascript(script: &str, arguments: &[&str]) -> Command {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
    for made in ["node_modules/p2pt/package.json", "page-published.iife.js", "bench.iife.js"] {
        assert!(
            directory.join(made).exists(),
            "tests/js/{made} is missing: run tests/js/setup.sh (needs Node 20 or newer and npm)"
        );
    }
    let mut command = Command::new("node");
    command.arg(directory.join(script)).args(arguments);
    command
}

/// The `p2pt` program of the same profile as this test, built now unless `P2PT_BINARY` names one.
///
/// Cargo builds no binaries of other packages for a test, and one that lies there may be older than the source.
pub fn p2pt_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("P2PT_BINARY") {
        Some(named) => named.into(),
        None => workspace_binary("p2pt-cli", "p2pt"),
    })
}

/// A program of a package of this workspace, of the same profile as the caller, built now.
pub fn workspace_binary(package: &str, name: &str) -> PathBuf {
    let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    build(package, &["--bin", name]).join(program)
}

/// An example of the facade, of the same profile as the caller, built now with all others.
pub fn example(name: &str) -> PathBuf {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    let directory = EXAMPLES.get_or_init(|| build("p2pt", &["--examples"]).join("examples"));
    directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// An example of `p2pt-tracker`, which is one with a server, of the same profile as the caller, built now.
pub fn tracker_example(name: &str) -> PathBuf {
    let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    build("p2pt-tracker", &["--features", "server", "--example", name]).join("examples").join(program)
}

/// Builds something of a package, and returns the directory of the profile.
fn build(package: &str, what: &[&str]) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let directory = own.parent().expect("a program lies in a directory");
    // Tests lie in <target>/<profile>/deps, programs in <target>/<profile>.
    let profile = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    let (profile, target) = profile.and_then(|profile| Some((profile, profile.parent()?))).expect("cargo built this");
    let mut build = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--target-dir"]).arg(target).args(["--package", package]).args(what);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    // What cargo tells a test about its own package is no part of another's: ring's build script looks at it, and would
    // have cargo build everything on top of ring anew each time.
    for (name, _) in std::env::vars_os() {
        let told =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if told {
            build.env_remove(name);
        }
    }
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
    assert!(status.success(), "cargo cannot build {what:?} of {package}");
    profile.to_owned()
}
