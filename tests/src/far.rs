//! Peers on one machine that are far from each other: their datagrams take a [`Road`], which is long and may lose some.
//!
//! It works on any peer, whatever it is written in: each sees the other's candidates with the road's addresses in them.

mod road;
mod tracker;

pub use road::{Distance, Road};
pub use tracker::FarTracker;
