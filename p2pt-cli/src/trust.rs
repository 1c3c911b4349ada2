//! Who this peer is and whom it meets, from the options to the builder.

pub(crate) mod files;
pub(crate) mod room;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p2pt::Builder;
use p2pt::trust::{JsonFileStore, KeyError, MemoryStore, Policy, PublicKey, StoreError, TrustStore};

use crate::args::TrustArgs;
use files::FileError;

/// The value of an option that stands for a place in the configuration.
const DEFAULT: &str = "default";

/// Why the options about keys and peers cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error(transparent)]
    File(#[from] FileError),
    /// The file of `--known-peers`.
    #[error("--known-peers: {0}")]
    KnownPeers(#[from] StoreError),
    /// A value of `--only` that is neither. A secret key that was given by mistake is not shown.
    #[error("--only: {0}")]
    SecretKey(KeyError),
    #[error("--only {text}: {text:?} is no name of a peer that --known-peers has, nor a public key: {error}")]
    Unknown { text: String, error: KeyError },
}

impl TrustArgs {
    /// Gives the node its key, its policy and its pins. The pins are returned too.
    pub(crate) fn configure(&self, mut builder: Builder) -> Result<(Builder, Arc<dyn TrustStore>), TrustError> {
        if let Some(file) = &self.key {
            builder = builder.key(files::read_key(&file_or_default(file, files::default_key)?)?);
        }
        let pins = self.pins()?;
        let policy = match (self.signed, self.only.as_slice()) {
            (true, _) => Policy::Signed,
            (false, []) => Policy::Open,
            (false, only) => Policy::Only(keys(only, &*pins)?),
        };
        let builder = builder.trust_store(Arc::clone(&pins)).require_agreement(self.require_agreement);
        // A node with an id of its own takes no policy, not even this one.
        let builder = if policy == Policy::Open { builder } else { builder.policy(policy) };
        Ok((builder, pins))
    }

    /// Whether peers without a key are turned away because that was asked for.
    pub(crate) fn asks_for_keys(&self) -> bool {
        self.signed || !self.only.is_empty() || self.require_agreement > 1
    }

    /// The keys that are known by name: in the file that was given, or in memory for this run.
    fn pins(&self) -> Result<Arc<dyn TrustStore>, TrustError> {
        let Some(file) = &self.known_peers else { return Ok(Arc::new(MemoryStore::new())) };
        let file = file_or_default(file, files::default_known_peers)?;
        if self.known_peers.as_deref() == Some(Path::new(DEFAULT)) {
            files::make_folder_of(&file)?;
        }
        Ok(Arc::new(JsonFileStore::open(file)?))
    }
}

/// The file that was given, or the one in the configuration if that is what was given.
fn file_or_default(file: &Path, default: impl FnOnce() -> Result<PathBuf, FileError>) -> Result<PathBuf, FileError> {
    if file == Path::new(DEFAULT) { default() } else { Ok(file.to_owned()) }
}

/// The keys that are written, or pinned under the names that are.
fn keys(only: &[String], pins: &dyn TrustStore) -> Result<BTreeSet<PublicKey>, TrustError> {
    let key = |text: &String| match (text.parse::<PublicKey>(), pins.key_of(text)) {
        (Ok(key), _) | (_, Some(key)) => Ok(key),
        (Err(error @ KeyError::Secret), None) => Err(TrustError::SecretKey(error)),
        (Err(error), None) => Err(TrustError::Unknown { text: text.clone(), error }),
    };
    only.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use p2pt::trust::NodeKey;

    use super::*;

    #[test]
    fn peers_are_named_by_their_keys_or_by_their_pins() {
        let pins = MemoryStore::new();
        let [ann, ben] = [1, 2].map(|n| NodeKey::from_bytes(&[n; 32]));
        pins.pin("ann", &ann.public_key()).unwrap();
        let only = ["ann".to_owned(), ben.public_key().to_string()];
        assert_eq!(keys(&only, &pins).unwrap(), [ann.public_key(), ben.public_key()].into());
        let complaint = keys(&["cem".to_owned()], &pins).unwrap_err().to_string();
        assert!(complaint.contains("\"cem\" is no name") && complaint.contains("52 letters"), "{complaint}");
    }

    #[test]
    fn a_secret_key_that_is_given_for_a_public_one_is_not_repeated() {
        let secret = NodeKey::from_bytes(&[1; 32]).reveal();
        let complaint = keys(&[secret.to_string()], &MemoryStore::new()).unwrap_err().to_string();
        assert!(complaint.contains("this is a secret key") && !complaint.contains(&secret[20..]), "{complaint}");
    }
}
