//! What is promised of both state machines for any sequence of inputs, read from bytes, and of what the server reads of
//! its sockets.
//!
//! Fuzzing reads its bytes as a list of operations (the crate `arbitrary`), so changing such a list changes what a corpus
//! means. Property tests draw the operations one by one and run the same code: a list read from random bytes would end
//! after the first or second operation, since each is preceded by a bit that says whether there is another.

use web_time::Instant;

#[cfg(feature = "server")]
pub use crate::server::model::{frames, heads, proxy_headers};
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

/// Draws values that fuzzing reads from bytes.
#[cfg(test)]
pub(crate) fn any_value<T: for<'a> arbitrary::Arbitrary<'a> + std::fmt::Debug>()
-> impl proptest::strategy::Strategy<Value = T> {
    use proptest::prelude::*;
    prop::collection::vec(any::<u8>(), 64)
        .prop_map(|bytes| T::arbitrary(&mut arbitrary::Unstructured::new(&bytes)).expect("bytes enough"))
}
