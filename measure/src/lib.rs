//! What the measuring programs in `src/bin` share. `README.md` beside this crate says what each of them measures.
//!
//! `compare --baseline` builds `transport_cost` against another checkout together with these modules alone, so they use
//! nothing of the workspace but `p2pt-transport`; [`network_emulator::tracker`] and [`relay`] are left out there.

pub mod network_emulator;
pub mod relay;

// By the name of this crate, because the program that is built against another checkout has no other library.
pub use p2pt_tests::{machine, pipe};
