//! The WebRTC backend: real data channels over UDP, ICE, DTLS and SCTP, with one endpoint for all connections.
//!
//! One driver task and a few sockets serve every connection of a transport. What they decide is in state machines without
//! I/O over the sans-I/O parts of the `webrtc` crate (`rtc-dtls`, `rtc-sctp`, `rtc-stun`): [`with_network`](WebRtc::with_network)
//! runs them on any [`Network`], under tokio's clock, which may be paused.
//!
//! ```
//! use p2pt_transport::{Frame, Transport, webrtc::{WebRtc, WebRtcConfig}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (WebRtc::new(WebRtcConfig::loopback())?, WebRtc::new(WebRtcConfig::loopback())?);
//! let offer = alice.offer().await?;
//! let answer = bob.answer(offer.sdp()).await?;
//! let answer_sdp = answer.sdp().to_owned();
//! let (a, b) = tokio::join!(offer.open(&answer_sdp), answer.open());
//! let (a, mut b) = (a?, b?);
//! a.sender.send(Frame::text("hello")).await?;
//! assert_eq!(b.receiver.recv().await?, Frame::text("hello"));
//! alice.shutdown().await;
//! bob.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! # When peers and networks die
//!
//! - **A graceful close** (`close`, dropping both halves, `shutdown`) is sent when what was accepted has been acknowledged,
//!   and is seen by the other side as [`ChannelClosed::Remote`](crate::ChannelClosed::Remote) as soon as it arrives. A
//!   flush that makes no progress is given up after the [close timeout](WebRtcConfig::close_timeout).
//! - **A peer that was killed, froze, or lost its network** says nothing. A connection on which nothing at all has been
//!   received for the [idle timeout](WebRtcConfig::idle_timeout), 4 s by default, ends with
//!   [`ChannelClosed::Timeout`](crate::ChannelClosed::Timeout); what it had not acknowledged stays readable. When only one
//!   direction is cut, the side that receives nothing ends so and sends a close to the other. (A JavaScript peer on the
//!   side that receives nothing takes half a minute for that.)
//! - **A peer that is busy, slow, or does not read** is not silent: checks go on beside the data, and anything received counts.
//!   That takes a runtime that runs: a task that blocks it for longer than the idle timeout makes all its channels die on
//!   the other side.
//! - **A path that is interrupted for less than the idle timeout** loses nothing.
//! - **After a suspend** the other sides have given up their channels; this side learns it from what they sent meanwhile, or
//!   after its own idle timeout, counted in time awake.
//! - **A host that changes its network** loses its channels, which are not moved to new addresses; what is offered next has the
//!   addresses of then, read anew while the transport lives. A channel goes on when only a translation on its way has given
//!   one side another address, because authenticated checks then arrive from that address.
//! - **An opening that fails** says what of: [`IceFailed`](TransportError::IceFailed) with the candidate types of both
//!   sides after half the [connect timeout](WebRtcConfig::connect_timeout), [`SessionFailed`](TransportError::SessionFailed)
//!   after at most another third, [`ClosedEarly`](TransportError::ClosedEarly) at once, and
//!   [`Timeout`](TransportError::Timeout). Until then it is one of the
//!   [connections](WebRtcConfig::max_connections) and takes some 30 KB; no descriptor, since all connections share those.
//! - **A panic**, which is a defect of this library or of what it is built on, ends the connection in whose turn it happens,
//!   with [`ChannelClosed::Failed`](crate::ChannelClosed::Failed) or [`Backend`](TransportError::Backend). One in what all
//!   connections share, as the asking of servers, ends all of them so, and the transport begins anew.
//! - **A flood of unread frames under 40 bytes** ends the channel at 65,536 of them, because the SCTP stack would
//!   lose them; larger ones make the sender wait, however long.
//!
//! # What it costs
//!
//! - **Descriptors**: at most eight sockets for each local address, of which there are eight at most, however many
//!   connections there are; two for each address as long as there are no more than four offers and four answers, and no two
//!   connections go to the same peer.
//! - **A connection**: some 30 KB while idle, and four checks each way in the idle timeout.
//! - **An offer that waits**: some 8 KB. Servers are asked where a socket is reached when the first offer leaves from it, and
//!   again while offers wait, so that those after it take no round trip. Offers that wait have a
//!   [bound of their own](WebRtcConfig::max_offers) and take no place of a connection.
//! - **What the description of an unknown peer may cause**: at most 32 of its candidates are looked at, and seven checks go to an
//!   address that never answers (28 if authentic checks come from there), spread over the time for finding a path. All connections of a transport together make at
//!   most 200 unasked checks a second. Where they may go is [`Destinations`].
//!
//! # What the log has
//!
//! Events of `tracing`, without spans. Those of one connection carry its number as `connection`, which another connection
//! gets when it is gone. At `debug` stands each change of state: offers and answers, candidates and relays, the path that is
//! nominated or lost, DTLS, SCTP, the channel, and why it ended. At `trace` stands each connectivity check and each frame,
//! with its size. At `error` stands a panic that was contained. Descriptions, passwords, fingerprints and the contents of
//! frames are never logged.
//!
//! # What it needs, and what it does not do
//!
//! It must run on a Tokio runtime with time enabled, and I/O unless it runs on a [`Network`] of its own. Between two nodes
//! there may be 16 connections of offers of each, in swarms or beside each other, so 32 swarms in common at the most; the
//! answer to a further offer fails with [`TooManyConnections`](TransportError::TooManyConnections) until one ends. It does not do media, TCP candidates, relays over TCP or TLS, or mDNS: `.local` candidates of browsers are passed
//! over, and such peers are reached by the packets they send.

mod buffers;
mod candidate;
mod channel;
#[cfg(test)]
mod claim_tests;
mod config;
mod contain;
#[cfg(test)]
mod contain_tests;
mod core;
mod datagram;
mod driver;
#[cfg(test)]
mod early_packet_tests;
mod endpoint;
#[cfg(test)]
mod endpoint_tests;
mod flight;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gather;
#[cfg(test)]
mod gather_tests;
mod guard;
mod halves;
mod ice;
#[cfg(test)]
mod ice_prop_tests;
#[cfg(test)]
mod ice_tests;
mod node;
mod outgoing;
mod peer;
#[cfg(test)]
mod peer_tests;
mod pending;
mod reachability;
mod readiness;
mod relay;
mod sdp;
mod servers;
mod session;
mod sets;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "fuzz targets need less of it than tests"))]
mod sim;
mod socket;
mod stun;
mod stun_query;
mod transaction;

pub use config::{Destinations, MAX_FRAME_BYTES, WebRtcConfig};
pub use socket::{DatagramSocket, Network, Received, Resolving};
pub use stun_query::{StunAnswer, ask_stun_server};

use std::{
    fmt,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use ring::digest;
use rtc_dtls::crypto::Certificate;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    buffers::lock,
    channel::CloseRequest,
    core::Core,
    driver::Shared,
    endpoint::Endpoint,
    ice::IceConfig,
    node::Node,
    peer::{FLUSH_FACTOR, PeerConfig},
    reachability::SharedReachability,
    relay::Relays,
    servers::ServerNames,
    session::SessionConfig,
    sets::{Sets, check_ports},
    socket::SystemNetwork,
};
use crate::{Fingerprint, PendingAnswer, PendingOffer, ServerWarning, Transport, TransportError};

/// A transport over WebRTC.
pub struct WebRtc {
    node: Arc<Node>,
}

impl fmt::Debug for WebRtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = lock(&self.node.shared.core);
        f.debug_struct("WebRtc")
            .field("config", &self.node.config)
            .field("in_use", &core.endpoint.len())
            .field("counters", &core.endpoint.counters())
            .finish_non_exhaustive()
    }
}

impl WebRtc {
    /// A transport with its own DTLS certificate. Opens no socket yet and needs no runtime yet.
    ///
    /// # Errors
    /// [`TransportError::Backend`] if no certificate can be made; [`TransportError::Bind`] if a configured port is too high
    /// for the seven after it.
    pub fn new(config: WebRtcConfig) -> Result<Self, TransportError> {
        Self::with_network(config, Arc::new(SystemNetwork))
    }

    /// A transport like that of [`new`](Self::new), on a network other than the system's.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn with_network(config: WebRtcConfig, network: Arc<dyn Network>) -> Result<Self, TransportError> {
        check_ports(&config)?;
        let backend = |error: rtc_shared::error::Error| TransportError::Backend(error.into());
        let crypto = rtc_crypto::default_provider().map_err(|error| TransportError::Backend(error.into()))?;
        let certificate =
            Certificate::generate_self_signed(vec!["p2pt".to_owned()], crypto.crypto()).map_err(backend)?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, certificate.certificate[0].as_ref()).as_ref());
        let relays = Relays::new(crypto.clone());
        let peers = PeerConfig {
            ice: IceConfig {
                crypto: crypto.clone(),
                destinations: config.destinations,
                silence: config.idle_timeout,
                path_timeout: config.path_timeout(),
                epoch: Instant::now().into_std(),
            },
            session: SessionConfig {
                crypto,
                certificate,
                window: 0,
                max_frame_bytes: u32::try_from(config.max_frame_bytes).unwrap_or(u32::MAX),
            },
            answer_timeout: config.answer_timeout,
            connect_timeout: config.connect_timeout,
            session_timeout: config.session_timeout(),
            close_timeout: config.close_timeout,
        };
        let reachability = Arc::new(SharedReachability::default());
        let core = Core::new(Endpoint::new(peers), relays, reachability.clone(), &config);
        Ok(Self {
            node: Arc::new(Node {
                fingerprint: Fingerprint(fingerprint),
                shared: Arc::new(Shared::new(core, Sets::new(network.clone()))),
                servers: ServerNames::new(network, reachability.clone()),
                reachability,
                tasks: TaskTracker::new(),
                shutdown: CancellationToken::new(),
                is_started: Once::new(),
                driven: CancellationToken::new(),
                has_started: AtomicBool::new(false),
                config,
            }),
        })
    }
}

impl Drop for WebRtc {
    fn drop(&mut self) {
        self.node.shutdown.cancel();
        self.node.shared.ended.store(true, Ordering::Release);
        self.node.shared.wake();
    }
}

/// Logs what kept an offer or an answer from being made. An error about a description quotes a line of it, and descriptions
/// are not for logs.
fn log_failure(error: &TransportError, what: &'static str) {
    match error {
        TransportError::InvalidSdp(_) => tracing::debug!(error = "unusable SDP", "{what}"),
        error => tracing::debug!(%error, "{what}"),
    }
}

#[async_trait]
impl Transport for WebRtc {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        let offer = self.node.prepare_offer().await.inspect_err(|error| log_failure(error, "no offer made"))?;
        Ok(Box::new(offer))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        let answer = self.node.prepare_answer(offer_sdp).await;
        Ok(Box::new(answer.inspect_err(|error| log_failure(error, "no answer made"))?))
    }

    async fn warning(&self) -> ServerWarning {
        self.node.reachability.warning().await
    }

    async fn shutdown(&self) {
        tracing::debug!("transport shuts down");
        self.node.shared.ended.store(true, Ordering::Release);
        self.node.shutdown.cancel();
        self.node.tasks.close();
        {
            let core = lock(&self.node.shared.core);
            for channel in core.channels() {
                channel.request_close(CloseRequest::ShutDown);
                self.node.shared.touch(channel);
            }
        }
        self.node.shared.wake();
        self.node.tasks.wait().await;
        if !self.node.has_started.load(Ordering::Acquire) {
            return;
        }
        // Flushing has its own deadline, and so has everything else; this one is for a task that was starved.
        let patience = self.node.config.close_timeout * (FLUSH_FACTOR + 2) * 2;
        if tokio::time::timeout(patience, self.node.driven.cancelled()).await.is_err() {
            tracing::warn!("connections left open by a shutdown that took too long");
        }
    }
}

#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod without_driver_tests;
#[cfg(test)]
mod wrapped_socket;
