//! Every input that fuzzing has found worth keeping, on stable and in seconds. `fuzz/src` holds what is promised.

use std::{collections::BTreeSet, fs, path::PathBuf};

use p2pt_fuzz::TARGETS;

fn corpora() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus"))
}

fn entries(directory: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.expect("a readable directory").path()).collect()
}

#[test]
fn every_corpus_has_its_target() {
    let names = |paths: Vec<PathBuf>| -> BTreeSet<String> {
        paths.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(entries(corpora())), targets);
    assert_eq!(names(entries(corpora().join("../fuzz_targets"))), targets);
}

#[test]
fn what_fuzzing_found_is_survived() {
    for (name, target) in TARGETS {
        let inputs = entries(corpora().join(name));
        assert!(inputs.len() >= 10, "{name} has a corpus of {} inputs", inputs.len());
        for path in inputs {
            // Shown if the target panics.
            println!("{}", path.display());
            target(&fs::read(&path).expect("a readable input"));
        }
    }
}
