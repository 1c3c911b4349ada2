//! Data channels behind a trait: [`Transport`] turns an SDP offer and answer into one open [`Channel`].
//!
//! A transport knows nothing of trackers or of message formats. It makes offers, answers them, and hands over a channel
//! that sends and receives whole frames in order, with back-pressure both ways. Two backends live here: `webrtc`
//! (feature `webrtc`, on by default) and `memory` (feature `memory`), a seeded network for tests and simulations.
//! The documentation of each backend says what to expect when peers and networks die: a peer from which nothing arrives for
//! the idle timeout counts as dead, on both sides. Each channel that ends gives the reason in its [`ChannelClosed`], and each
//! opening that fails in its [`TransportError`].
//!
//! The `emulator` (feature `emulator`) is a network in memory below the WebRTC backend rather than in its place: hosts
//! exchange datagrams with delay and loss through NATs, so that real ICE, DTLS and SCTP run under paused time.
//!
//! Write another by implementing the traits and running the `conformance` suite (feature `conformance`) against it.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod advice;
mod candidates;
mod channel;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "emulator")]
pub mod emulator;
mod error;
mod maybe;
#[cfg(feature = "memory")]
pub mod memory;
mod server_warning;
#[cfg(feature = "webrtc")]
pub mod webrtc;
#[cfg(feature = "webrtc-crate")]
pub mod webrtc_crate;

pub use candidates::RemoteCandidates;
pub use channel::{
    Channel, ChannelClosed, ChannelInfo, ChannelStats, Fingerprint, Frame, FrameReceiver, FrameSender, Role,
};
pub use error::{AddCandidateError, SendFrameError, TransportError, TrySendAllError, TrySendFrameError};
pub use maybe::{MaybeSend, MaybeSync};
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
#[cfg_attr(not(target_family = "wasm"), async_trait)]
#[cfg_attr(target_family = "wasm", async_trait(?Send))]
pub trait Transport: std::fmt::Debug + MaybeSend + MaybeSync + 'static {
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
}

/// An offer that waits for its answer.
#[must_use = "an offer that is dropped is withdrawn"]
#[cfg_attr(not(target_family = "wasm"), async_trait)]
#[cfg_attr(target_family = "wasm", async_trait(?Send))]
pub trait PendingOffer: std::fmt::Debug + MaybeSend {
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
#[cfg_attr(not(target_family = "wasm"), async_trait)]
#[cfg_attr(target_family = "wasm", async_trait(?Send))]
pub trait PendingAnswer: std::fmt::Debug + MaybeSend {
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
