//! A network emulator on real sockets: the datagrams of two peers on one machine take an [`EmulatedPath`], which delays
//! them and may lose some.
//!
//! It works with any peer, whatever that is written in: each sees the path's addresses in place of the other's candidates.
//! Nodes of this library under paused time have another one, `p2pt_transport::emulator`.

pub mod path;
pub mod tracker;

pub use path::{EmulatedPath, PathConditions};
pub use tracker::EmulatedPathTracker;
