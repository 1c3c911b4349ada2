//! What the workspace says of itself.

use std::process::Command;

use serde_json::Value;

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What cargo knows of the packages for this machine: those for others have not been downloaded, perhaps.
fn metadata() -> Value {
    let about = cargo(&["-vV"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let metadata = cargo(&["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host]);
    serde_json::from_str(&metadata).expect("JSON")
}

fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = text.split('.').map(|part| part.parse().expect("a number")).collect();
    parts.resize(3, 0);
    parts
}

fn is_ours(package: &Value) -> bool {
    package["source"].is_null()
}

#[test]
fn the_stated_minimum_rust_version_is_the_highest_that_any_dependency_needs() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    let highest = |ours: bool| {
        let versions = packages.iter().filter(|package| is_ours(package) == ours);
        versions.filter_map(|package| Some(version(package["rust_version"].as_str()?))).max().expect("one at least")
    };
    assert_eq!(highest(true), highest(false));
}

#[test]
fn the_layers_depend_on_nothing_above_or_beside_them() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    // Each with what it may depend on, if anything.
    for (leaf, below) in
        [("p2pt-proto", ""), ("p2pt-transport", ""), ("p2pt-messaging", ""), ("p2pt-mesh", "p2pt-proto")]
    {
        let package = packages.iter().find(|package| package["name"] == leaf).expect("a member");
        for dependency in package["dependencies"].as_array().expect("a list") {
            let name = dependency["name"].as_str().expect("a name");
            assert!(!name.starts_with("p2pt") || name == below, "{leaf} depends on {name}");
            let pure = leaf != "p2pt-transport" && dependency["kind"].is_null();
            assert!(!pure || !name.starts_with("tokio"), "{leaf} names {name}");
        }
    }
}
