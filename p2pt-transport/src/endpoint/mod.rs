//! The WebRTC backend: one endpoint for all connections of a transport, over the sans-I/O parts of `webrtc`.
#![allow(dead_code, reason = "nothing uses it yet")]

mod candidate;
mod core;
mod datagram;
mod driver;
mod endpoint;
mod flow;
mod ice;
mod link;
mod peer;
mod sack;
mod session;
mod sets;
mod socket;
mod stun;

pub use crate::webrtc::WebRtcConfig;
pub use socket::{DatagramSocket, Network, Received, Resolving};
