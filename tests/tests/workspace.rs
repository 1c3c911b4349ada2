//! What the workspace says of itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
        // What the program's line editor needs, it does not state.
        let is_library = |package: &&Value| package["name"] != "p2pt-cli";
        let versions = packages.iter().filter(is_library).filter(|package| is_ours(package) == ours);
        versions.filter_map(|package| Some(version(package["rust_version"].as_str()?))).max().expect("one at least")
    };
    assert_eq!(highest(true), highest(false));
}

#[test]
fn the_layers_depend_on_nothing_above_or_beside_them() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    // Each with what it may depend on, if anything.
    for (leaf, below) in [
        ("p2pt-proto", ""),
        ("p2pt-rt", ""),
        ("p2pt-transport", "p2pt-rt"),
        ("p2pt-messaging", ""),
        ("p2pt-mesh", "p2pt-proto"),
        ("p2pt-trust", "p2pt-proto"),
    ] {
        let package = packages.iter().find(|package| package["name"] == leaf).expect("a member");
        for dependency in package["dependencies"].as_array().expect("a list") {
            let name = dependency["name"].as_str().expect("a name");
            assert!(!name.starts_with("p2pt") || name == below, "{leaf} depends on {name}");
            let pure = !matches!(leaf, "p2pt-transport" | "p2pt-rt") && dependency["kind"].is_null();
            assert!(!pure || !name.starts_with("tokio"), "{leaf} names {name}");
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files of a directory and all below it, without what is built or downloaded.
fn markdown(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in directory.read_dir().expect("a directory") {
        let entry = entry.expect("readable");
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        let name = entry.file_name();
        // The reference of the npm package is generated, with copies of pages.
        let skipped = ["target", "node_modules", "dist", ".git"].iter().any(|skipped| name == *skipped);
        if kind.is_dir() && !skipped && !path.ends_with("p2pt-web/docs") {
            markdown(&path, found);
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines that are no code block, without the code within them.
fn prose(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join("`"));
        }
    }
    lines
}

/// What stands behind the `#` of a link to each heading, as GitHub makes it.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let Some((_, heading)) = line.split_once("# ").filter(|(marks, _)| !in_code && marks.chars().all(|c| c == '#'))
        else {
            continue;
        };
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        // Of the same heading a second time, the link has a number.
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// Where the links and pictures of this prose lead, whether in Markdown's form or in HTML's.
fn targets(prose: &str) -> Vec<&str> {
    let ends = [("](", ')'), ("src=\"", '"'), ("href=\"", '"')];
    let found = ends.map(|(begin, end)| prose.split(begin).skip(1).filter_map(move |rest| rest.split(end).next()));
    // Elsewhere in a line it is a colon behind a link.
    let named = prose.lines().filter(|line| line.starts_with('[')).filter_map(|line| Some(line.split_once("]: ")?.1));
    found.into_iter().flatten().chain(named).filter_map(|target| target.split_whitespace().next()).collect()
}

#[test]
fn the_relative_links_of_all_pages_lead_somewhere() {
    let mut pages = Vec::new();
    markdown(root(), &mut pages);
    let (mut links, mut dead) = (0, Vec::new());
    for page in &pages {
        let text = read(page);
        for target in targets(&prose(&text).join("\n")) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let is_there = file.exists() && (anchor.is_empty() || anchors(&read(&file)).contains(anchor));
            if !is_there {
                dead.push(format!("{}: {target}", page.strip_prefix(root()).expect("below").display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(pages.len() > 10 && links > 50, "{links} links in {} pages", pages.len());
}

#[test]
fn the_map_of_tests_has_every_file() {
    let map = read(&root().join("tests/README.md"));
    for file in root().join("tests/tests").read_dir().expect("a directory") {
        let path = file.expect("readable").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("text");
        assert!(map.contains(&format!("`{name}`")), "tests/README.md has no row of {name}");
    }
}

/// The recipes, programs and files that CONTRIBUTING.md and tests/README.md speak of are there.
#[test]
fn what_contributors_are_told_to_run_exists() {
    let justfile = read(&root().join("justfile"));
    let is_recipe = |name: &str| {
        justfile.lines().any(|line| line.split([' ', ':']).next() == Some(name) && line.trim_end().ends_with(':'))
    };
    let tests = |name: &str| root().join("tests/tests").join(name).with_extension("rs").exists();
    let programs = root().join("measure/src/bin");
    let mut named = 0;
    for page in ["CONTRIBUTING.md", "tests/README.md"] {
        let text = read(&root().join(page));
        for code in text.split(['`', '\n']).map(|code| code.split_whitespace().collect::<Vec<_>>()) {
            for two in code.windows(2) {
                let is_there = match two[0] {
                    "just" if code[0] == "just" => is_recipe(two[1]),
                    "--bin" => programs.join(two[1]).exists() || programs.join(two[1]).with_extension("rs").exists(),
                    "--test" => tests(two[1]),
                    _ => continue,
                };
                named += 1;
                assert!(is_there, "{page} speaks of {} {}", two[0], two[1]);
            }
            for word in code.iter().map(|word| word.trim_end_matches([',', '.', ';', ')'])) {
                let is_ours = [".ci/", "docs/", "fuzz/", "measure/", "p2pt", "tests/"];
                if word.contains('/') && !word.contains('*') && is_ours.iter().any(|begin| word.starts_with(begin)) {
                    named += 1;
                    assert!(root().join(word).exists(), "{page} speaks of {word}");
                }
            }
        }
    }
    assert!(named > 30, "{named}");
}
