#![doc = include_str!("../README.md")]

mod code;
mod confirmation;
mod context;
mod description;
mod encoding;
mod exchange;
mod features;
#[cfg(all(feature = "store", not(target_family = "wasm")))]
mod file_store;
mod key;
#[cfg(any(test, feature = "fuzzing"))]
pub mod model;
mod pake;
mod passphrase;
mod pins;
mod replay;
mod room;
mod safety;
mod seal;
mod sighting;
mod trust;
#[cfg(test)]
mod vectors_tests;
mod words;

pub use code::{Code, CodeError};
pub use confirmation::{Commitment, Confirmation, ConfirmationError, Expected, Nonce, Transcript};
pub use context::{Context, Role, SdpHash};
pub use description::{
    Described, DescriptionError, Mark, SignError, Signed, mark_description, sign_description, verify_description,
};
pub use exchange::{
    AttemptFailure, BeginError, CODE_ATTEMPTS, CODE_LIFETIME, CodeEnd, CodeExchange, EXCHANGE_TIMEOUT, ExchangeOutput,
};
pub use features::Features;
#[cfg(all(feature = "store", not(target_family = "wasm")))]
pub use file_store::JsonFileStore;
pub use key::{KeyError, NodeIdentity, NodeKey, PublicKey, Salt};
pub use pake::Side;
pub use passphrase::{Passphrase, PassphraseError};
pub use pins::{MAX_PIN_NAME, MAX_PINS, MemoryStore, Pin, StoreError, TrustStore};
pub use replay::{REPLAY_MEMORY, ReplayMemory};
pub use room::{LinkError, MemberKey, RoomKey, RoomLink, RoomSecret, SealKey, StretchError};
pub use safety::{Emoji, SafetyCode};
pub use seal::{MAX_SEALED_SDP, OpenError, SealError, is_sealed, open, seal};
pub use sighting::{SightingContext, SightingError, TrackerHost, is_sighting, sight, verify_sighting};
pub use trust::{NotVouched, Policy, PolicyError, Trust, TrustLevel, Vouchers};

/// The clock of the callers; one line to change where there is another.
use web_time::Instant;
