//! Pins in a file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::key::PublicKey;
use crate::pins::{Pin, Pins, StoreError, TrustStore};

/// Most bytes of a file that are read: all pins with the longest names.
const MAX_FILE: u64 = 8 << 20;

/// The format of the file.
const VERSION: u64 = 1;

/// Pins in a JSON file, as `known_hosts` is one for SSH:
///
/// ```json
/// { "version": 1, "pins": { "ann": "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena" } }
/// ```
///
/// The file is read once, and again before each change, so that several programs can share it: a file beside it, with
/// `.lock` behind its name, keeps their changes apart. A change is written to a new file, synced, and put in the place of
/// the old one, so that either is whole whatever happens; on Unix both are for their owner alone (mode 0600). A file that
/// cannot be read as pins is an error and is never written over.
#[derive(Debug)]
pub struct JsonFileStore {
    path: PathBuf,
    pins: Mutex<Pins>,
}

impl JsonFileStore {
    /// The pins in this file. It need not be there yet; its directory has to be.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let pins = Mutex::new(read(&path)?);
        Ok(Self { path, pins })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again, for pins that other programs have made.
    pub fn reload(&self) -> Result<(), StoreError> {
        let pins = read(&self.path)?;
        *self.lock() = pins;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is in the file. `change` says whether something is different.
    fn change<T>(&self, change: impl FnOnce(&mut Pins) -> Result<(T, bool), StoreError>) -> Result<T, StoreError> {
        let beside = with_suffix(&self.path, ".lock");
        let guard = private().write(true).create(true).truncate(false).open(&beside);
        let guard = guard.and_then(|file| file.lock().map(|()| file)).map_err(failed("locking", &beside))?;
        // Held by nobody while the other programs' lock is waited for.
        let mut pins = read(&self.path)?;
        let (result, has_changed) = change(&mut pins)?;
        if has_changed {
            write(&self.path, &pins)?;
        }
        *self.lock() = pins;
        drop(guard);
        Ok(result)
    }
}

impl TrustStore for JsonFileStore {
    fn key_of(&self, name: &str) -> Option<PublicKey> {
        self.lock().key_of(name)
    }

    fn name_of(&self, key: &PublicKey) -> Option<String> {
        self.lock().name_of(key)
    }

    fn pins(&self) -> Vec<Pin> {
        self.lock().all()
    }

    fn pin(&self, name: &str, key: &PublicKey) -> Result<(), StoreError> {
        self.change(|pins| Ok(((), pins.pin(name, key)?)))
    }

    fn unpin(&self, name: &str) -> Result<Option<PublicKey>, StoreError> {
        self.change(|pins| {
            let key = pins.unpin(name);
            Ok((key, key.is_some()))
        })
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let what = format!("{what} {}", path.display());
    move |error| StoreError::Io { what, error }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How files are made that others should not read.
fn private() -> OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The pins in a file; none if it is not there.
fn read(path: &Path) -> Result<Pins, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pins::default()),
        Err(error) => return Err(failed("reading", path)(error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed("reading", path))?;
    let malformed = |why: String| StoreError::Malformed { what: path.display().to_string(), why };
    if text.len() as u64 > MAX_FILE {
        return Err(malformed(format!("larger than {MAX_FILE} bytes")));
    }
    parse(&text).map_err(malformed)
}

pub(crate) fn parse(text: &str) -> Result<Pins, String> {
    let file: Map<String, Value> = serde_json::from_str(text).map_err(|error| format!("not JSON of pins: {error}"))?;
    match file.get("version").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(other) => return Err(format!("it has version {other}, and this program reads {VERSION}")),
        None => return Err("it has no version".into()),
    }
    let pinned = file.get("pins").and_then(Value::as_object).ok_or("it has no pins")?;
    let mut pins = Pins::default();
    for (name, key) in pinned {
        let key = key.as_str().ok_or(format!("the key of {name:?} is no text"))?;
        let key = key.parse().map_err(|error| format!("the key of {name:?}: {error}"))?;
        pins.pin(name, &key).map_err(|error| format!("{name:?}: {error}"))?;
    }
    Ok(pins)
}

fn write(path: &Path, pins: &Pins) -> Result<(), StoreError> {
    let pins: BTreeMap<String, String> = pins.all().into_iter().map(|pin| (pin.name, pin.key.to_string())).collect();
    let text = format!("{:#}\n", serde_json::json!({ "version": VERSION, "pins": pins }));
    let new = with_suffix(path, ".new");
    let written = || -> io::Result<()> {
        // What a program that was killed has left would keep its mode.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().write(true).create_new(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(failed("writing", path))?;
    // That the new name lasts is up to the directory, which some systems do not let one open.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    drop(File::open(directory).and_then(|directory| directory.sync_all()));
    Ok(())
}

#[cfg(test)]
#[path = "file_store_tests.rs"]
mod tests;
