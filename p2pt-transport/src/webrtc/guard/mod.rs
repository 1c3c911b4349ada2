//! The guard: what stands between a peer's packets and the stacks that trust the numbers in them.
//!
//! `rtc-dtls` and `rtc-sctp` 0.21.1 take some of a peer's numbers for loop counts, sizes and positions. [`DtlsGuard`]
//! looks at every datagram before `rtc-dtls` does, [`SctpGuard`] at every SCTP packet before `rtc-sctp` does, and also
//! at what `rtc-sctp` answers. What an honest peer sends passes; what costs without bound is dropped, as a network
//! would have lost it, or ends the connection with a [`Violation`](sctp::Violation).

mod apart;
mod asking;
mod chunks;
mod dtls;
mod sack;
mod sctp;
mod split;

#[cfg(test)]
mod dtls_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod harm_tests;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod honest_tests;

pub(crate) use apart::apart;
pub(crate) use asking::{asking_for_acknowledgement, asks_for_acknowledgement, carries_data};
pub(crate) use dtls::{DtlsGuard, RecordVerdict};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use sack::with_checksum;
pub(crate) use sack::{bundled, fitted, has_gaps, sack_window, with_window};
#[cfg(test)]
pub(crate) use sctp::Violation;
pub(crate) use sctp::{Limits, SctpGuard, Verdict};
pub(crate) use split::split_before_end;
