//! The WebRTC backend: one endpoint for all connections of a transport, over the sans-I/O parts of `webrtc`.
#![allow(dead_code, unused_imports, reason = "nothing uses it yet")]

mod candidate;
mod datagram;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod sdp;
mod socket;

pub use socket::{DatagramSocket, Network, Received, Resolving};
