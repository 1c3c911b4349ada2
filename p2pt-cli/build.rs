//! Says which build the program is: `p2pt --version`.

use std::path::Path;
use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // In a package there is no repository, and the version says all.
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    // What changes with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let var = |name| std::env::var(name).unwrap_or_default();
    let parts = [commit, var("PROFILE"), var("TARGET")];
    let build: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    println!("cargo::rustc-env=P2PT_BUILD={}", build.join(", "));
}
