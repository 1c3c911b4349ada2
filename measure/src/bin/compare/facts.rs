//! Where and with what was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What the document says of the circumstances.
#[derive(Debug)]
pub(crate) struct Facts {
    date: String,
    machine: Vec<(&'static str, String)>,
    versions: Vec<(&'static str, String)>,
    loads: Vec<f64>,
}

impl Facts {
    pub(crate) fn gather() -> Self {
        let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
        Self::with(vec![
            ("p2pt (Rust)", env!("CARGO_PKG_VERSION").to_owned()),
            ("rustc", output("rustc", &["--version"])),
            ("webrtc (Rust)", locked_version("webrtc")),
            ("p2pt (npm)", npm_version("p2pt")),
            ("Node", output("node", &["--version"])),
            ("@roamhq/wrtc", npm_version("@roamhq/wrtc")),
            ("node-datachannel (ndc)", npm_version("node-datachannel")),
            ("Chromium", output(&chromium, &["--version"])),
        ])
    }

    /// Where only this library is measured.
    pub(crate) fn of_sessions() -> Self {
        Self::with(vec![("rustc", output("rustc", &["--version"]))])
    }

    /// Where only two checkouts of this workspace are compared.
    pub(crate) fn of_checkouts(before: &Path, now: &Path) -> Self {
        Self::with(vec![("rustc", output("rustc", &["--version"])), ("before", commit(before)), ("now", commit(now))])
    }

    fn with(versions: Vec<(&'static str, String)>) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = vec![
            ("CPU", format!("{}, {cores} cores", cpu_model())),
            ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease"))),
            ("net.core.rmem_max, wmem_max", {
                let of = |direction| read(&format!("/proc/sys/net/core/{direction}mem_max"));
                format!("{}, {}", of("r"), of("w"))
            }),
        ];
        Self { date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]), machine, versions, loads: Vec::new() }
    }

    pub(crate) fn date(&self) -> &str {
        &self.date
    }

    /// The load average of the last minute, which is remembered.
    pub(crate) fn load(&mut self) -> f64 {
        let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN);
        self.loads.push(load);
        load
    }

    /// As a table.
    pub(crate) fn table(&self) -> String {
        let loads = self.loads.iter().copied();
        let first = self.loads.first().copied().unwrap_or(f64::NAN);
        let (least, most) = (loads.clone().fold(f64::NAN, f64::min), loads.fold(f64::NAN, f64::max));
        let load = format!("{first:.1} before, {least:.1} to {most:.1} meanwhile");
        let mut table = format!("| | |\n|---|---|\n| date | {} |\n", self.date);
        for (name, value) in self.machine.iter().chain([&("load average of a minute", load)]).chain(&self.versions) {
            table += &format!("| {name} | {value} |\n");
        }
        table
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(file).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn cpu_model() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned())
}

/// What a program prints; "unknown", if it is not there.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let printed = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    if printed.trim().is_empty() { "unknown".to_owned() } else { printed.trim().to_owned() }
}

/// What a checkout has checked out, and whether it has changed since.
fn commit(checkout: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(checkout).args(arguments).output();
        output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default()
    };
    let commit = git(&["log", "-1", "--format=%h of %cs"]);
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", "p2pt-transport", "Cargo.lock"]);
    match (commit.trim(), changed.is_empty()) {
        ("", _) => "unknown".to_owned(),
        (commit, true) => commit.to_owned(),
        (commit, false) => format!("{commit}, changed"),
    }
}

fn npm_version(package: &str) -> String {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/js/node_modules").join(package).join("package.json");
    let manifest = fs::read(file).ok().and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
    manifest.and_then(|manifest| Some(manifest["version"].as_str()?.to_owned())).unwrap_or_else(|| "unknown".to_owned())
}

fn locked_version(package: &str) -> String {
    let lock = read(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    let after = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, after)| after);
    after.and_then(|after| Some(after.split_once('"')?.0.to_owned())).unwrap_or_else(|| "unknown".to_owned())
}
