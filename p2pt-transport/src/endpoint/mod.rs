//! The WebRTC backend: one endpoint for all connections of a transport, over the sans-I/O parts of `webrtc`.
#![allow(dead_code, reason = "nothing uses it yet")]

mod candidate;
mod datagram;
mod guard;
mod socket;

pub use socket::{DatagramSocket, Network, Received, Resolving};
