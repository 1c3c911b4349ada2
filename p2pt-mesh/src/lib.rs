#![doc = include_str!("../README.md")]

pub mod discovery;
mod few;
pub mod mesh;
#[cfg(any(test, feature = "fuzzing"))]
pub mod model;

pub use few::FewMap;

/// One client of a tracker, for as long as the node has it.
///
/// The application numbers its clients and never uses a number again, so that what arrives late from a client that was
/// removed is not taken for that of another with the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerId(pub u64);

/// The clock of the callers; one line to change where there is another.
use web_time::Instant;
