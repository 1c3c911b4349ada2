//! Says which build the program is, for `p2pt --version`; and puts the pages of `p2pt web` into it, if the environment
//! variable `P2PT_WEB_PAGES` names the folder that they are in.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // In a package there is no repository, and the version says all.
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    // What changes with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let var = |name| env::var(name).unwrap_or_default();
    let parts = [commit, var("PROFILE"), var("TARGET")];
    let build: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    println!("cargo::rustc-env=P2PT_BUILD={}", build.join(", "));
    pages()
}

/// Writes `pages.rs`, with the path and the contents of each file.
fn pages() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=P2PT_WEB_PAGES");
    let mut files = Vec::new();
    // Only where it is asked for: what lies in a folder by chance is no part of a program.
    if let Some(folder) = env::var_os("P2PT_WEB_PAGES").filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let folder = folder.canonicalize().map_err(|error| format!("P2PT_WEB_PAGES, {}: {error}", folder.display()))?;
        collect(&folder, "", &mut files)?;
        if !files.iter().any(|(path, _)| path == "/index.html") {
            return Err(format!("P2PT_WEB_PAGES, {}: there is no index.html", folder.display()).into());
        }
    }
    files.sort();
    let mut source = String::from("const PAGES: &[(&str, &[u8])] = &[\n");
    for (path, file) in &files {
        writeln!(source, "    ({path:?}, include_bytes!({file:?})),")?;
    }
    source.push_str("];\n");
    fs::write(Path::new(&env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?).join("pages.rs"), source)?;
    Ok(())
}

fn collect(folder: &Path, below: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| format!("{name:?} is in no URL"))?;
        let (kind, path) = (entry.file_type()?, format!("{below}/{name}"));
        if kind.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else if kind.is_file() {
            files.push((path, entry.path()));
        }
    }
    Ok(())
}
