//! Hostile input: one function for each fuzz target, which panics when what it tests breaks a promise.
//!
//! Each takes plain bytes, as libFuzzer hands them out. The programs in `fuzz_targets` do nothing but call them, and so
//! does a test of the workspace with every file of `corpus`. Where bytes alone would rarely mean anything, they are
//! read as a list of operations (the crate `arbitrary`); changing such a list changes what the corpus means, so run the
//! target for some minutes afterwards and keep what it finds.

mod channel;
mod endpoint;
mod frames;
mod sdp;
mod server;
mod session;
mod wire;

pub use channel::data_frames;
pub use endpoint::{endpoint_datagrams, endpoint_packets};
pub use frames::{client_frames, tracker_frames};
pub use p2pt_mesh::model::{discovery, mesh};
pub use p2pt_tracker::model::{
    frames as server_frames, heads as server_heads, proxy_headers, session as session_inputs, swarms as server_inputs,
};
pub use p2pt_trust::model::{exchange as trust_exchange, texts as trust_texts};
pub use sdp::sdp;
pub use server::server_streams;
pub use session::session_packets;
pub use wire::wire_frames;

use std::{sync::OnceLock, time::Instant};

/// A target: takes an input, panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program and of the directory of its corpus.
pub const TARGETS: [(&str, Target); 18] = [
    ("client_frames", client_frames),
    ("tracker_frames", tracker_frames),
    ("data_frames", data_frames),
    ("session_inputs", session_inputs),
    ("server_inputs", server_inputs),
    ("mesh", mesh),
    ("discovery", discovery),
    ("server_streams", server_streams),
    ("server_heads", server_heads),
    ("server_frames", server_frames),
    ("proxy_headers", proxy_headers),
    ("sdp", sdp),
    ("endpoint_datagrams", endpoint_datagrams),
    ("endpoint_packets", endpoint_packets),
    ("trust_texts", trust_texts),
    ("trust_exchange", trust_exchange),
    ("wire_frames", wire_frames),
    ("session_packets", session_packets),
];

/// Some instant to count from, the same for a whole process.
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "state machines only add to it; which one it is does not matter")]
    *BASE.get_or_init(Instant::now)
}

/// Reads the whole input as one value; `None` if it is too short for that.
fn read<'a, T: arbitrary::Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(arbitrary::Unstructured::new(data)).ok()
}
