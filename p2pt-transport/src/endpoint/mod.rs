//! The WebRTC backend: one endpoint for all connections of a transport, over the sans-I/O parts of `webrtc`.
#![allow(dead_code, unused_imports, reason = "nothing uses it yet")]

mod candidate;
mod core;
mod datagram;
mod driver;
mod endpoint;
mod flow;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod ice;
mod link;
mod peer;
mod sack;
mod sdp;
mod session;
mod sets;
mod socket;
mod stun;

pub use crate::webrtc::WebRtcConfig;
pub use socket::{DatagramSocket, Network, Received, Resolving};
