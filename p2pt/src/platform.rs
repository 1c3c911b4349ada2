//! The WebRTC of this platform: what a [`Builder`](crate::Builder) makes unless it is given another transport.

#[cfg(target_family = "wasm")]
pub(crate) use p2pt_transport::web::WebRtc;
#[cfg(target_family = "wasm")]
pub use p2pt_transport::web::WebRtcConfig;
#[cfg(not(target_family = "wasm"))]
pub(crate) use p2pt_transport::webrtc::WebRtc;
#[cfg(not(target_family = "wasm"))]
pub use p2pt_transport::webrtc::WebRtcConfig;
