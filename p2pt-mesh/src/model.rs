//! What is promised of both state machines for any sequence of inputs, read from bytes.
//!
//! Property tests draw the bytes, and fuzzing looks for them: both run the same code. Four bytes are one operation, so
//! that a change of one byte changes one operation.

mod discovery;
mod mesh;

pub use discovery::discovery;
pub use mesh::mesh;

use crate::Instant;

/// Operations that are read at most.
const MAX_OPERATIONS: usize = 400;

/// The first byte, which chooses settings, and the operations after it.
fn read(data: &[u8]) -> (u8, impl Iterator<Item = [u8; 4]>) {
    let (settings, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    (settings, rest.as_chunks().0.iter().copied().take(MAX_OPERATIONS))
}

/// Some instant to count from.
fn base() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "state machines only add to it; which one it is does not matter")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_sequence_keeps_the_rules_of_the_mesh(data in prop::collection::vec(any::<u8>(), 0..600)) {
            super::mesh(&data);
        }

        #[test]
        fn any_sequence_keeps_the_rules_of_discovery(data in prop::collection::vec(any::<u8>(), 0..600)) {
            super::discovery(&data);
        }
    }
}
