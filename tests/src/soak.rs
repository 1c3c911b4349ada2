//! A soak with real WebRTC: processes that come, talk, leave, are killed, frozen and cut off, around a few nodes that
//! stay, on a network of their own.
//!
//! [`Network`] is the network, [`Plan`] says what happens when, [`Harness`] makes it happen and checks the outcome, and
//! [`Usage`] is what the process with the [residents](Residents) holds.

mod harness;
mod network;
mod plan;
mod residents;
mod usage;

pub use harness::Harness;
pub use network::{HOME, Network, enter};
pub use plan::{Plan, Step};
pub use residents::Residents;
pub use usage::Usage;
