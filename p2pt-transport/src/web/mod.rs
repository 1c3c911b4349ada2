//! The backend of browsers: data channels over the browser's own `RTCPeerConnection`. Only on `wasm32`.
//!
//! ```
//! # #[cfg(target_family = "wasm")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use p2pt_transport::{Frame, Transport, web::{WebRtc, WebRtcConfig}};
//!
//! let (alice, bob) = (WebRtc::new(WebRtcConfig::default())?, WebRtc::new(WebRtcConfig::default())?);
//! let offer = alice.offer().await?;
//! let answer = bob.answer(offer.sdp()).await?;
//! let answer_sdp = answer.sdp().to_owned();
//! let (a, b) = tokio::join!(offer.open(&answer_sdp), answer.open());
//! let (a, mut b) = (a?, b?);
//! a.sender.send(Frame::text("hello")).await?;
//! assert_eq!(b.receiver.recv().await?, Frame::text("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # What a browser does otherwise than the native backend
//!
//! - **It cannot make the other side wait.** It hands over whatever arrives. What waits for its reader is bounded by
//!   [`receive_buffer_bytes`](WebRtcConfig::receive_buffer_bytes); a channel on which more arrives ends with
//!   [`ChannelClosed::Overflow`](crate::ChannelClosed::Overflow), after the frames that were held, and the other side sees
//!   it closed. So read channels always, or keep what peers may send below that bound.
//!   [`Capabilities::back_pressure`](crate::Capabilities::back_pressure) says so.
//! - **It does not say what the other side has acknowledged.**
//!   [`unacknowledged_bytes`](crate::FrameSender::unacknowledged_bytes) are those that the browser has not sent; up to a
//!   window of SCTP more may be on its way.
//! - **It notices a dead path by its own checks.** The [idle timeout](WebRtcConfig::idle_timeout) says how they are judged.
//!   A page that was frozen looks again before it judges.
//! - **Connections are scarce.** Chromium makes at most 500, offers that wait among them, hence the low defaults of
//!   [`max_connections`](WebRtcConfig::max_connections) and [`max_offers`](WebRtcConfig::max_offers).
//! - **Workers have no WebRTC**: [`WebRtc::new`] fails there. Everything stays on the thread that made it; what is
//!   `Send` in a signature panics when it is used on another.
//! - **Addresses of this machine** are hidden behind names (mDNS) unless the page may use camera or microphone.
//! - **A page that goes** takes its connections along without a word; the other sides notice after their idle timeouts. A
//!   close that is begun on `pagehide` is sent if it is short.

#[cfg(target_family = "wasm")]
mod common;
#[cfg(target_family = "wasm")]
mod config;
#[cfg(target_family = "wasm")]
mod connection;
#[cfg(target_family = "wasm")]
mod halves;
#[cfg(target_family = "wasm")]
mod late;
#[cfg(target_family = "wasm")]
mod listener;
#[cfg(target_family = "wasm")]
mod pending;
#[cfg(target_family = "wasm")]
mod stats;
#[cfg(target_family = "wasm")]
mod text;
#[cfg(target_family = "wasm")]
mod transport;

// What is decided, without a browser.
mod closing;
mod description;
mod liveness;
mod opening;
mod receive_buffer;
mod send_window;

#[cfg(target_family = "wasm")]
pub use {
    config::{MAX_FRAME_BYTES, WebRtcConfig},
    listener::{Held, held},
    transport::WebRtc,
};
