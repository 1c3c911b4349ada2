//! Keys that people have recognised, by the names they gave them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::PublicKey;

/// Most bytes of a name.
pub const MAX_PIN_NAME: usize = 256;

/// Most pins of a store: more people than a person compares codes with.
pub const MAX_PINS: usize = 10_000;

/// A name and the key that a person has recognised as its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The name, which this side chose.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// Something about pins went wrong. What was pinned before is still pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another key is pinned under the name. To replace it is for the user to decide: the old pin is taken away first.
    #[error("another key is pinned as {name:?}: {was}")]
    Taken {
        /// The name.
        name: String,
        /// The key that is pinned.
        was: PublicKey,
    },
    /// The key is pinned under another name.
    #[error("the key is pinned as {name:?} already")]
    Known {
        /// The name that it has.
        name: String,
    },
    /// The name is empty, longer than 256 bytes, or has control characters.
    #[error("a name has 1 to 256 bytes and no control characters")]
    Name,
    /// There are 10,000 pins.
    #[error("there are {MAX_PINS} pins, which is the most")]
    Full,
    /// The file or what else holds the pins cannot be read or written.
    #[error("{what}: {error}")]
    Io {
        /// What was done, and to what.
        what: String,
        /// What came of it.
        #[source]
        error: std::io::Error,
    },
    /// What holds the pins is not readable as such. It is left as it is.
    #[error("{what}: {why}")]
    Malformed {
        /// What it is.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Where pins are kept. A name has one key and a key has one name.
///
/// Looking something up must not wait, since it happens whenever a peer connects; pinning may.
pub trait TrustStore: fmt::Debug + Send + Sync {
    /// The key that is pinned under a name.
    fn key_of(&self, name: &str) -> Option<PublicKey>;

    /// The name under which a key is pinned.
    fn name_of(&self, key: &PublicKey) -> Option<String>;

    /// All pins, by name.
    fn pins(&self) -> Vec<Pin>;

    /// Pins a key under a name. That it is so already is no error.
    fn pin(&self, name: &str, key: &PublicKey) -> Result<(), StoreError>;

    /// Takes the pin of a name away; the key that it had.
    fn unpin(&self, name: &str) -> Result<Option<PublicKey>, StoreError>;
}

/// Pins, in memory: names and keys, with the rules that all stores have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pins {
    by_name: BTreeMap<String, PublicKey>,
    by_key: BTreeMap<PublicKey, String>,
}

impl Pins {
    /// Whether something has changed.
    pub(crate) fn pin(&mut self, name: &str, key: &PublicKey) -> Result<bool, StoreError> {
        if !(1..=MAX_PIN_NAME).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(StoreError::Name);
        }
        match self.by_name.get(name) {
            Some(was) if was == key => return Ok(false),
            Some(was) => return Err(StoreError::Taken { name: name.to_owned(), was: *was }),
            None => {}
        }
        if let Some(name) = self.name_of(key) {
            return Err(StoreError::Known { name });
        }
        if self.by_name.len() >= MAX_PINS {
            return Err(StoreError::Full);
        }
        self.by_name.insert(name.to_owned(), *key);
        self.by_key.insert(*key, name.to_owned());
        Ok(true)
    }

    pub(crate) fn name_of(&self, key: &PublicKey) -> Option<String> {
        self.by_key.get(key).cloned()
    }

    pub(crate) fn key_of(&self, name: &str) -> Option<PublicKey> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn unpin(&mut self, name: &str) -> Option<PublicKey> {
        let key = self.by_name.remove(name)?;
        self.by_key.remove(&key);
        Some(key)
    }

    pub(crate) fn all(&self) -> Vec<Pin> {
        self.by_name.iter().map(|(name, key)| Pin { name: name.clone(), key: *key }).collect()
    }
}

/// Pins that last as long as the program.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Pins>);

impl MemoryStore {
    /// A store without pins.
    pub fn new() -> Self {
        Self::default()
    }

    /// What panicked while it held the lock has changed nothing or all.
    fn lock(&self) -> MutexGuard<'_, Pins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrustStore for MemoryStore {
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
        self.lock().pin(name, key).map(drop)
    }

    fn unpin(&self, name: &str) -> Result<Option<PublicKey>, StoreError> {
        Ok(self.lock().unpin(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::NodeKey;

    fn key(number: u32) -> PublicKey {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        NodeKey::from_bytes(&seed).public_key()
    }

    #[test]
    fn a_name_has_one_key_and_a_key_one_name() {
        let store = MemoryStore::new();
        store.pin("ann", &key(1)).unwrap();
        store.pin("ann", &key(1)).unwrap();
        assert!(matches!(store.pin("ann", &key(2)), Err(StoreError::Taken { was, .. }) if was == key(1)));
        assert!(matches!(store.pin("anna", &key(1)), Err(StoreError::Known { name }) if name == "ann"));
        store.pin("ben", &key(2)).unwrap();
        assert_eq!((store.key_of("ann"), store.key_of("cat")), (Some(key(1)), None));
        assert_eq!((store.name_of(&key(2)), store.name_of(&key(3))), (Some("ben".into()), None));
        let pin = |name: &str, number| Pin { name: name.into(), key: key(number) };
        assert_eq!(store.pins(), [pin("ann", 1), pin("ben", 2)]);
        assert_eq!(store.unpin("ann").unwrap(), Some(key(1)));
        assert_eq!(store.unpin("ann").unwrap(), None);
        store.pin("ann", &key(3)).unwrap();
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let mut pins = Pins::default();
        for name in ["", "a\nb", &"x".repeat(257)] {
            assert!(matches!(pins.pin(name, &key(1)), Err(StoreError::Name)), "{name}");
        }
        assert!(pins.pin(&"x".repeat(256), &key(0)).unwrap());
        // Of the same key, which costs less than as many keys.
        pins.by_name.extend((1..MAX_PINS).map(|number| (number.to_string(), key(1))));
        assert!(matches!(pins.pin("one more", &key(2)), Err(StoreError::Full)));
    }
}
