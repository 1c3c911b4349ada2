//! What is promised of both state machines for any sequence of inputs, read from bytes.
//!
//! Property tests draw the bytes, and fuzzing looks for them: both run the same code. Bytes are read as a list of
//! operations (the crate `arbitrary`), so changing such a list changes what a corpus means.

use std::time::Instant;

pub use crate::session::model::session;
#[cfg(feature = "server")]
pub use crate::swarms::model::swarms;

/// Reads the whole input as one value; `None` if it is too short for that.
pub(crate) fn read<'a, T: arbitrary::Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(arbitrary::Unstructured::new(data)).ok()
}

/// Some instant to count from.
pub(crate) fn base() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "state machines only add to it; which one it is does not matter")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_sequence_keeps_the_promises_of_a_session(data in prop::collection::vec(any::<u8>(), 0..1500)) {
            super::session(&data);
        }

        #[cfg(feature = "server")]
        #[test]
        fn any_sequence_keeps_the_promises_of_swarms(data in prop::collection::vec(any::<u8>(), 0..1500)) {
            super::swarms(&data);
        }
    }
}
