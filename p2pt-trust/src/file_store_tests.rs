use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::key::NodeKey;

/// A directory of a test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("p2pt-pins-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("known peers.json")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn key(byte: u8) -> PublicKey {
    NodeKey::from_bytes(&[byte; 32]).public_key()
}

#[test]
fn pins_outlast_the_store() {
    let directory = Directory::new();
    let store = JsonFileStore::open(directory.file()).unwrap();
    assert!(store.pins().is_empty() && !directory.file().exists());
    store.pin("Ann \"é\"", &key(1)).unwrap();
    store.pin("ben", &key(2)).unwrap();
    assert_eq!(store.unpin("ben").unwrap(), Some(key(2)));
    let again = JsonFileStore::open(directory.file()).unwrap();
    assert_eq!(again.pins(), [Pin { name: "Ann \"é\"".into(), key: key(1) }]);
    assert_eq!((again.key_of("Ann \"é\""), again.name_of(&key(2))), (Some(key(1)), None));
    assert!(!with_suffix(&directory.file(), ".new").exists());
}

#[test]
fn two_programs_share_a_file() {
    let directory = Directory::new();
    let [one, two] = [0; 2].map(|_| JsonFileStore::open(directory.file()).unwrap());
    one.pin("ann", &key(1)).unwrap();
    // Not written over, though it was read before.
    two.pin("ben", &key(2)).unwrap();
    assert_eq!(two.pins().len(), 2);
    assert!(matches!(one.pin("ben", &key(3)), Err(StoreError::Taken { was, .. }) if was == key(2)));
    assert_eq!(one.key_of("ben"), None);
    one.reload().unwrap();
    assert_eq!(one.key_of("ben"), Some(key(2)));

    let file = directory.file();
    std::thread::scope(|scope| {
        for thread in 10..18 {
            let file = &file;
            scope.spawn(move || JsonFileStore::open(file).unwrap().pin(&thread.to_string(), &key(thread)).unwrap());
        }
    });
    assert_eq!(JsonFileStore::open(&file).unwrap().pins().len(), 10);
}

#[cfg(unix)]
#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new();
    // One that was left behind, for all to read.
    let left = with_suffix(&directory.file(), ".new");
    fs::write(&left, "left").unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
    JsonFileStore::open(directory.file()).unwrap().pin("ann", &key(1)).unwrap();
    for file in [directory.file(), with_suffix(&directory.file(), ".lock")] {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn what_cannot_be_read_is_not_written_over() {
    let directory = Directory::new();
    let whole = format!("{{\"version\":1,\"pins\":{{\"ann\":\"{}\"}}}}", key(1));
    let store = JsonFileStore::open(directory.file()).unwrap();
    for (text, says) in [
        ("", "not JSON"),
        (&whole[..whole.len() - 1], "not JSON"),
        ("{\"pins\":{}}", "no version"),
        ("{\"version\":2,\"pins\":{}}", "version 2"),
        ("{\"version\":1}", "no pins"),
        ("{\"version\":1,\"pins\":{\"ann\":3}}", "no text"),
        ("{\"version\":1,\"pins\":{\"ann\":\"abc\"}}", "52 letters"),
        (&whole.replace("ann", ""), "1 to 256 bytes"),
    ] {
        fs::write(directory.file(), text).unwrap();
        for error in [JsonFileStore::open(directory.file()).unwrap_err(), store.pin("ben", &key(2)).unwrap_err()] {
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().contains("known peers.json"), "{error}");
        }
        assert_eq!(fs::read_to_string(directory.file()).unwrap(), text);
    }
    // Fields of later programs are passed over.
    assert_eq!(parse(&whole.replace("\"pins\"", "\"more\":[],\"pins\"")).unwrap().all().len(), 1);
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    let store = JsonFileStore::open("/nowhere/at all/pins.json").unwrap();
    let error = store.pin("ann", &key(1)).unwrap_err();
    assert!(matches!(&error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/at all/pins.json"), "{error}");
}
