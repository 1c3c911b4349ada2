//! Building the measuring program against a checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that measures.
const PROGRAM: &str = "transport_cost";

/// Builds the measuring program of this checkout against the transport of another one, or of this one, which is built in
/// the same way; returns where it is.
///
/// It is a package of its own below `target`, in which the transport is the only part of either workspace and has no feature
/// but `webrtc`. The versions of everything else are those that the checkout has locked.
pub(super) fn program(checkout: &Path, target: &Path, name: &str) -> PathBuf {
    let package = target.join("baseline").join(name);
    write(&package.join("Cargo.toml"), &manifest(checkout, name));
    write(&package.join("lib.rs"), &library());
    let lock = checkout.join("Cargo.lock");
    fs::copy(&lock, package.join("Cargo.lock")).unwrap_or_else(|error| panic!("{}: {error}", lock.display()));
    let build_directory = target.join("baseline/target");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--quiet", "--target-dir"]).arg(&build_directory);
    let status = build.current_dir(&package).status().expect("cargo starts");
    assert!(status.success(), "cargo cannot build the transport of {}", checkout.display());
    build_directory.join("release").join(format!("{PROGRAM}_{name}{}", std::env::consts::EXE_SUFFIX))
}

/// The settings of the profile are those of this workspace.
fn manifest(checkout: &Path, name: &str) -> String {
    let transport = quoted(&checkout.join("p2pt-transport"));
    let main = quoted(&measure().join("src/bin").join(PROGRAM).join("main.rs"));
    format!(
        r#"[package]
name = "{PROGRAM}_{name}"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[lib]
name = "p2pt_measure"
path = "lib.rs"

[[bin]]
name = "{PROGRAM}_{name}"
path = {main}

[dependencies]
bytes = "1"
clap = {{ version = "4", features = ["derive", "env"] }}
p2pt-transport = {{ path = {transport}, default-features = false, features = ["webrtc"] }}
rand = "0.10"
serde_json = "1"
socket2 = "0.6"
tokio = {{ version = "1", features = ["io-std", "io-util", "macros", "net", "process", "rt-multi-thread", "sync", "time"] }}
webrtc = "*"

[profile.release]
strip = "symbols"
"#
    )
}

/// What the program uses of this package's library, which as a whole needs more than the transport.
fn library() -> String {
    let emulated_path = quoted(&measure().join("src/network_emulator/path.rs"));
    let machine = quoted(&measure().join("../tests/src/machine.rs"));
    let pipe = quoted(&measure().join("../tests/src/pipe.rs"));
    format!(
        "pub mod network_emulator {{\n    #[path = {emulated_path}]\n    mod path;\n    pub use path::{{EmulatedPath, PathConditions}};\n}}\n\
         #[path = {machine}]\npub mod machine;\n#[path = {pipe}]\npub mod pipe;\n"
    )
}

fn measure() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// As a string of TOML, or of Rust.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().expect("a path that is text"))
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().expect("it is below the target directory")).expect("directories can be made");
    // What has not changed is not built anew.
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return;
    }
    fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
