//! The public API of the crates, one item a line, as `api/<crate>.txt` holds it.
//!
//! `check` compares the files with the sources, `renew` writes them. The items come from rustdoc's JSON, which a stable
//! rustdoc writes when it is told to behave as a nightly one.

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use public_api::Builder;

/// The crates for applications. `p2pt-cli` is a program.
const CRATES: [&str; 8] =
    ["p2pt", "p2pt-mesh", "p2pt-messaging", "p2pt-proto", "p2pt-rt", "p2pt-tracker", "p2pt-transport", "p2pt-trust"];

/// The Rust whose rustdoc is used, since each writes another JSON, and names items of the standard library its own way.
/// With a later one goes a later `public-api`, see Cargo.toml.
const RUST: &str = "1.95.0";

/// Set in the environment of this program where it stands in for rustdoc.
const AS_RUSTDOC: &str = "P2PT_API_AS_RUSTDOC";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let outcome = if env::var_os(AS_RUSTDOC).is_some() { rustdoc() } else { run() };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// Passes its arguments on to rustdoc, alone of all programs in the build with unstable options: some build scripts look
/// at the variable that allows them, so that everything would be built anew.
fn rustdoc() -> Result<ExitCode> {
    let status = Command::new("rustdoc").args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run() -> Result<ExitCode> {
    let renews = match env::args().nth(1).as_deref() {
        Some("check") => false,
        Some("renew") => true,
        _ => return Err("give `check` or `renew`".into()),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("a workspace")?;
    let documents = document(root)?;
    let mut differs = false;
    for name in CRATES {
        let file = root.join("api").join(format!("{name}.txt"));
        let text = api(&documents.join(format!("{}.json", name.replace('-', "_"))))?;
        if renews {
            fs::write(&file, text)?;
            continue;
        }
        let stored = fs::read_to_string(&file).unwrap_or_default();
        if stored != text {
            differs = true;
            println!("the public API of {name} is not what api/{name}.txt says:");
            difference(&stored, &text);
        }
    }
    if differs {
        return Err(
            "if that is meant, run `just api`, and commit api/*.txt with the change and a line in CHANGELOG.md".into(),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// All features of the crates, as cargo takes them, but those that say of themselves that they are no API.
fn features(root: &Path) -> Result<String> {
    let metadata =
        Command::new("cargo").args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let mut features = Vec::new();
    for package in metadata["packages"].as_array().ok_or("no packages")? {
        let name = package["name"].as_str().unwrap_or_default();
        let own = package["features"].as_object().into_iter().flat_map(|own| own.keys());
        let own = own.filter(|feature| *feature != "fuzzing" && !feature.starts_with('_'));
        features.extend(own.filter(|_| CRATES.contains(&name)).map(|feature| format!("{name}/{feature}")));
    }
    Ok(features.join(","))
}

/// Has rustdoc write its JSON for each crate; returns where.
fn document(root: &Path) -> Result<PathBuf> {
    let toolchain = toolchain()?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut cargo = Command::new("cargo");
    cargo.args(["doc", "--quiet", "--no-deps", "--lib", "--locked", "--features", &features(root)?]);
    cargo.args(CRATES.iter().flat_map(|name| ["-p", name]));
    cargo.arg("--target-dir").arg(&target).current_dir(root);
    cargo.env("RUSTDOC", env::current_exe()?).env(AS_RUSTDOC, "1");
    cargo.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json --cap-lints allow");
    if let Some(toolchain) = toolchain {
        cargo.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    if !cargo.status()?.success() {
        return Err("rustdoc does not understand the crates".into());
    }
    Ok(target.join("doc"))
}

/// The toolchain to ask rustup for; none if the present one is the right one.
fn toolchain() -> Result<Option<&'static str>> {
    let version = Command::new("rustc").arg("--version").output()?.stdout;
    if String::from_utf8_lossy(&version).starts_with(&format!("rustc {RUST} ")) {
        return Ok(None);
    }
    let is_there = |args: &[&str]| Command::new("rustup").args(args).status().is_ok_and(|status| status.success());
    if is_there(&["run", RUST, "rustdoc", "--version"])
        || is_there(&["toolchain", "install", RUST, "--profile", "minimal", "--no-self-update"])
    {
        return Ok(Some(RUST));
    }
    Err(format!("the public API is compared with Rust {RUST}, which is not here and rustup does not bring").into())
}

/// All public items, each once. Left out are what follows from others: blanket impls, the members of impls of traits, and
/// which types are `Send`, `Sync` and so on; those that are not are named.
fn api(json: &Path) -> Result<String> {
    let api = Builder::from_rustdoc_json(json).omit_blanket_impls(true).build().map_err(|error| {
        format!("{}: {error} (does the `public-api` of api/Cargo.toml read what Rust {RUST} writes?)", json.display())
    })?;
    let (mut text, mut seen) = (String::new(), HashSet::new());
    let mut is_of_trait = false;
    for item in api.items() {
        let line = item.to_string();
        let is_member =
            ["pub fn ", "pub async fn ", "pub type ", "pub const "].iter().any(|kind| line.starts_with(kind));
        if !is_member {
            is_of_trait = line.starts_with("impl") && line.contains(" for ");
        } else if is_of_trait {
            continue;
        }
        if !is_implied(&line) && seen.insert(line.clone()) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// Whether an impl says what the compiler finds out, unless it is that a type is not `Send` or not `Sync`.
fn is_implied(line: &str) -> bool {
    let head = line.split_once(" for ").map_or("", |(head, _)| head);
    let is_of = |names: &[&str]| line.starts_with("impl") && names.iter().any(|name| head.ends_with(name));
    is_of(&["::Freeze", "::Unpin", "::UnsafeUnpin", "::RefUnwindSafe", "::UnwindSafe", "::StructuralPartialEq"])
        || is_of(&["::Send", "::Sync"]) && !head.contains('!')
}

fn difference(stored: &str, found: &str) {
    let (stored, found): (Vec<_>, Vec<_>) = (stored.lines().collect(), found.lines().collect());
    stored.iter().filter(|line| !found.contains(line)).for_each(|line| println!("- {line}"));
    found.iter().filter(|line| !stored.contains(line)).for_each(|line| println!("+ {line}"));
}
