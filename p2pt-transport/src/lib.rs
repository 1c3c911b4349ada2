//! Data channels behind a trait: [`Transport`] turns an SDP offer and answer into one open [`Channel`].
//!
//! A transport knows nothing of trackers or of message formats. It makes offers, answers them, and hands over a channel
//! that sends and receives whole frames in order, with back-pressure both ways. How offer and answer travel is up to its user.
//!
//! ```
//! # #[cfg(not(feature = "webrtc"))]
//! # fn main() {}
//! # #[cfg(feature = "webrtc")]
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};
//! use p2pt_transport::{ChannelClosed, Frame, Transport};
//!
//! // `WebRtcConfig::default()` for peers that are not on this machine.
//! let (alice, bob) = (WebRtc::new(WebRtcConfig::loopback())?, WebRtc::new(WebRtcConfig::loopback())?);
//! let offer = alice.offer().await?;
//! let answer = bob.answer(offer.sdp()).await?; // the offer's text has reached Bob...
//! let answer_sdp = answer.sdp().to_owned(); // ...and the answer's text reaches Alice
//! let (at_alice, mut at_bob) = tokio::try_join!(offer.open(&answer_sdp), answer.open())?;
//!
//! at_alice.sender.send(Frame::text("hello")).await?; // accepted, in order
//! assert_eq!(at_bob.receiver.recv().await?, Frame::text("hello"));
//! at_alice.sender.close().await; // what was accepted is delivered first
//! assert_eq!(at_bob.receiver.recv().await, Err(ChannelClosed::Remote));
//! alice.shutdown().await;
//! bob.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Each channel that ends gives the reason in its [`ChannelClosed`], and each opening that fails in its [`TransportError`]. A
//! peer from which nothing arrives for the idle timeout counts as dead, on both sides.
//!
//! # The backends
//!
//! | feature | module | is |
//! |---|---|---|
//! | `webrtc` (on by default) | `webrtc` | real data channels, with one endpoint of its own for all connections |
//! | `web` (on by default) | `web` | in a browser, and only there, the browser's own data channels in place of those |
//! | `memory` | `memory` | a seeded network in memory, for tests and simulations under paused time |
//! | `webrtc-crate` | `webrtc_crate` | the crate `webrtc` as it comes: an independent counterpart, for tests |
//! | `emulator` | `emulator` | no backend, but a network in memory below `webrtc`: hosts exchange datagrams with delay and loss through NATs, so that real ICE, DTLS and SCTP run under paused time |
//! | `conformance` | `conformance` | what every backend promises, as checks |
//!
//! # Another backend
//!
//! A backend implements [`Transport`], [`PendingOffer`] and [`PendingAnswer`], and the halves of a channel, [`FrameSender`] and
//! [`FrameReceiver`]. The suite `conformance` then says which promises it keeps, each check with a pair of its own. A backend
//! that wraps another one implements what it changes. This one lets a program see how often it connects:
//!
//! ```
//! # #[cfg(not(all(feature = "conformance", feature = "memory")))]
//! # fn main() {}
//! # #[cfg(all(feature = "conformance", feature = "memory"))]
//! # mod example {
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! use async_trait::async_trait; // of the crate `async-trait`
//! use p2pt_transport::{
//!     Capabilities, Channel, PendingAnswer, PendingOffer, RemoteCandidates, ServerWarning, Transport,
//!     TransportError,
//! };
//!
//! /// Counts the channels that open by answers of this side.
//! #[derive(Debug)]
//! struct Counted {
//!     inner: Arc<dyn Transport>,
//!     opened: Arc<AtomicUsize>,
//! }
//!
//! #[async_trait]
//! impl Transport for Counted {
//!     async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
//!         self.inner.offer().await
//!     }
//!
//!     async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
//!         let inner = self.inner.answer(offer_sdp).await?;
//!         Ok(Box::new(Answer { inner, opened: self.opened.clone() }))
//!     }
//!
//!     async fn shutdown(&self) {
//!         self.inner.shutdown().await;
//!     }
//!
//!     // A wrapper passes on what has a default, too. Here it is everything, unless said otherwise.
//!     fn capabilities(&self) -> Capabilities {
//!         self.inner.capabilities()
//!     }
//!
//!     // None ever, unless said otherwise.
//!     async fn warning(&self) -> ServerWarning {
//!         self.inner.warning().await
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct Answer {
//!     inner: Box<dyn PendingAnswer>,
//!     opened: Arc<AtomicUsize>,
//! }
//!
//! #[async_trait]
//! impl PendingAnswer for Answer {
//!     fn sdp(&self) -> &str {
//!         self.inner.sdp()
//!     }
//!
//!     // Its default takes none. The suite notices it where a wrapper does not pass them on, if it is
//!     // told that they are to be taken: `late_candidates` below.
//!     fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
//!         self.inner.remote_candidates()
//!     }
//!
//!     // Dropping this future half-way must close the connection, and does: it owns `inner`.
//!     async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
//!         let channel = self.inner.open().await?;
//!         self.opened.fetch_add(1, Ordering::Relaxed);
//!         Ok(channel)
//!     }
//! }
//!
//! // The test of it; under paused time, since the backend inside keeps to tokio's clock.
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # pub async fn conforms() {
//! use p2pt_transport::conformance::{self, Settings};
//! use p2pt_transport::memory::MemoryNetwork;
//!
//! let (network, opened) = (MemoryNetwork::new(1), Arc::new(AtomicUsize::new(0)));
//! let make = async || {
//!     let counted = || Arc::new(Counted { inner: network.transport(), opened: opened.clone() });
//!     (counted() as Arc<dyn Transport>, counted() as Arc<dyn Transport>)
//! };
//! let mut settings = Settings::default();
//! settings.late_candidates = true; // the network inside takes them
//! let report = conformance::run(make, &settings).await;
//! assert!(report.passed(), "{report}"); // names each check that failed, and what it found
//! assert!(opened.load(Ordering::Relaxed) > 0);
//! # }
//! # }
//! # #[cfg(all(feature = "conformance", feature = "memory"))]
//! # fn main() {
//! #     example::conforms();
//! # }
//! ```
//!
//! What authors of backends find hard, each with its check in the suite:
//!
//! - **Dropping is closing.** A pending offer, a pending answer, an `open` under way and a channel of which both halves are gone
//!   close the connection; one half keeps it open.
//! - **A close flushes.** What was accepted is delivered within a short deadline, and the other side then sees `Remote`.
//! - **The end is seen at once, and last.** `closed` resolves while frames wait to be read; `recv` gives these first, then the
//!   reason, the same one however often it is asked.
//! - **Back-pressure is per channel and per direction.** A reader that stalls makes its own sender wait, and no other.
//! - **`recv` may be cancelled** at any point, and loses nothing.
//! - **Silence ends a channel.** The suite does not check it, since it cannot make a peer fall silent: a backend whose medium
//!   tells nothing of dead peers sends signs of life of its own.
//!
//! The example [`tcp_backend`](https://docs.rs/crate/p2pt-transport/latest/source/examples/tcp_backend/) is a backend from the
//! ground up, in 560 lines.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod advice;
mod candidates;
mod capabilities;
mod channel;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(all(feature = "emulator", not(target_family = "wasm")))]
pub mod emulator;
mod error;
mod ice_server;
#[cfg(all(feature = "memory", not(target_family = "wasm")))]
pub mod memory;
mod server_warning;
// Elsewhere only its decisions are compiled, and only for their tests.
#[cfg(all(feature = "web", any(test, target_family = "wasm")))]
#[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "what a browser drives is not there"))]
pub mod web;
#[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
pub mod webrtc;
#[cfg(all(feature = "webrtc-crate", not(target_family = "wasm")))]
pub mod webrtc_crate;
#[cfg(any(
    all(feature = "web", any(test, target_family = "wasm")),
    all(feature = "webrtc", not(target_family = "wasm"))
))]
mod webrtc_settings;

pub use candidates::RemoteCandidates;
pub use capabilities::Capabilities;
pub use channel::{
    Channel, ChannelClosed, ChannelInfo, ChannelStats, Fingerprint, Frame, FrameReceiver, FrameSender, Role,
};
pub use error::{AddCandidateError, SendFrameError, TransportError, TrySendAllError, TrySendFrameError};
pub use ice_server::{DEFAULT_STUN_SERVERS, IcePolicy, IceServer};
pub use server_warning::{ServerProblem, ServerWarning};

use std::sync::Arc;

use async_trait::async_trait;

/// Makes connections between two parties that can pass each other one offer and one answer.
///
/// SDP is complete when handed over, because trackers carry nothing after it. Where the other side has another way to
/// send what it finds later, [`RemoteCandidates`] takes it.
///
/// One transport shows the same certificate on all its connections, where it has certificates: by
/// [`ChannelInfo::remote_fingerprint`] a peer is known again. One that has none leaves the fingerprints out.
///
/// Every wait inside has a deadline of the backend's configuration.
#[async_trait]
pub trait Transport: std::fmt::Debug + Send + Sync + 'static {
    /// Prepares a connection and its offer. Dropping the result closes it.
    ///
    /// # Errors
    /// [`TransportError::ShutDown`] after [`shutdown`](Self::shutdown); otherwise what kept the backend from
    /// preparing one.
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError>;

    /// Prepares a connection that answers `offer_sdp`. Dropping the result closes it.
    ///
    /// # Errors
    /// [`TransportError::InvalidSdp`] when the offer cannot be understood, and the errors of [`offer`](Self::offer).
    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError>;

    /// Waits for something that goes wrong without any call failing of it: a STUN or TURN server of the configuration that is of
    /// no use. Of each server there is one warning; they wait until they are asked for. Dropping the future loses none.
    ///
    /// Unless a backend implements it, none ever comes.
    async fn warning(&self) -> ServerWarning {
        std::future::pending().await
    }

    /// Closes every connection, pending or open, and waits until all are closed, also those whose close a drop began.
    ///
    /// Idempotent. Afterwards nothing this transport made holds a task or a descriptor.
    async fn shutdown(&self);

    /// What this backend promises of that which not every one can. Unless it says otherwise, everything.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// An offer that waits for its answer.
#[must_use = "an offer that is dropped is withdrawn"]
#[async_trait]
pub trait PendingOffer: std::fmt::Debug + Send {
    /// The complete offer.
    fn sdp(&self) -> &str;

    /// Takes candidates that are not in the other side's answer. The handle stays valid before the answer is known, and while
    /// and after the connection opens.
    ///
    /// Unless a backend implements it, what is added is
    /// [`Unsupported`](AddCandidateError::Unsupported).
    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(candidates::CompleteDescriptionsOnly)
    }

    /// Applies the answer and waits until the channel is open on this side.
    ///
    /// # Errors
    /// [`TransportError::InvalidSdp`], [`TransportError::Timeout`], or what made the connection fail. The connection
    /// is closed in each case.
    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError>;
}

/// An answer that waits for its offerer to connect.
#[must_use = "an answer that is dropped is withdrawn"]
#[async_trait]
pub trait PendingAnswer: std::fmt::Debug + Send {
    /// The complete answer.
    fn sdp(&self) -> &str;

    /// Takes candidates that are not in the other side's offer. The handle stays valid while and after the connection opens.
    ///
    /// Unless a backend implements it, what is added is
    /// [`Unsupported`](AddCandidateError::Unsupported).
    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(candidates::CompleteDescriptionsOnly)
    }

    /// Waits until the offerer's channel is open on this side.
    ///
    /// # Errors
    /// The errors of [`PendingOffer::open`].
    async fn open(self: Box<Self>) -> Result<Channel, TransportError>;
}
