//! The cure for a stall at the end of a burst.
//!
//! `rtc` 0.21 hands its driver at most 256 received frames at a time and leaves the rest in the SCTP reassembly queue.
//! It fetches more when it handles the *next datagram*; the driver never asks otherwise. So the last frames of a burst
//! of small ones arrive when the other side next says something, up to two seconds late.
//!
//! The cure: when a link has read a good number of frames and finds none waiting, one of its sockets hands the driver a
//! datagram that came from nowhere, and the driver fetches what is left. It is an empty STUN binding indication from a
//! documentation address, which the ICE agent discards: it belongs to no candidate and asks for no answer.
//!
//! `tests/webrtc.rs` shows the stall when this is taken away. To be removed when the crate mends it.

use std::net::{Ipv4Addr, SocketAddr};

/// How many frames a link reads before an empty queue makes it ask. Frames are only left behind once 256 are waiting, and
/// those are read first; so any number up to 256 is safe, and a smaller one only asks more often than needed.
pub(super) const FRAMES_BETWEEN: usize = 128;

/// A STUN binding indication (RFC 8489 section 5): type 0x0011, no attributes, magic cookie, transaction id zero.
pub(super) const DATAGRAM: [u8; 20] = [0, 0x11, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Where it claims to come from: TEST-NET-1 (RFC 5737), the discard port.
pub(super) const SOURCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
