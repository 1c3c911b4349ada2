//! The backend over the [`webrtc`] crate: real data channels over UDP, ICE, DTLS and SCTP.
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
//! - **A polite leave** (`close`, dropping both halves, `shutdown`) is sent when what was accepted has been acknowledged,
//!   and is seen by the other side as [`ChannelClosed::Remote`](crate::ChannelClosed::Remote) as soon as it arrives. A
//!   flush that makes no progress is given up after the [close timeout](WebRtcConfig::close_timeout).
//! - **A peer that was killed, froze, or lost its network** says nothing. A link on which nothing at all has been heard
//!   for the [liveness time](WebRtcConfig::silence_timeout), 4 s by default, ends with
//!   [`ChannelClosed::Silent`](crate::ChannelClosed::Silent); what it had not acknowledged stays readable. When only one
//!   direction is cut, the side that hears nothing ends so, and tells the other, which sees a close. (A JavaScript peer
//!   that is the one to hear nothing takes half a minute for that.)
//! - **A peer that is busy, slow, or does not read** is not silent: checks go on beside the data, and anything heard counts.
//!   That takes a runtime that runs: a task that blocks it for longer than the liveness time makes all its links die on
//!   the other side.
//! - **A path that is interrupted for less than the liveness time** loses nothing.
//! - **After a suspend** the other sides have given up their links; this side learns it from what they sent meanwhile, or
//!   after its own liveness time, counted in time awake. It does not migrate a link to a new network address: the link
//!   ends, and what is offered next has the addresses of then, read anew for each connection.
//! - **An opening that fails** says what of: [`IceFailed`](TransportError::IceFailed) with the candidate types of both
//!   sides after half the [connect timeout](WebRtcConfig::connect_timeout), [`SessionFailed`](TransportError::SessionFailed)
//!   after at most another third, [`ClosedEarly`](TransportError::ClosedEarly) at once, and
//!   [`Deadline`](TransportError::Deadline). Until then it holds one of the
//!   [connections](WebRtcConfig::max_connections), a descriptor for each local address, and a quarter of a megabyte.
//! - **A flood of frames under 40 bytes that nobody reads** ends the link at 65,536 of them, because the SCTP stack would
//!   lose them; larger ones make the sender wait, however long.
//!
//! # What it needs, and what it does not do
//!
//! It must run on a Tokio runtime with time and I/O enabled, on the real clock. It does not do media, TCP candidates,
//! or mDNS: `.local` candidates of browsers are passed over, and such peers are reached by the packets they send.

mod addresses;
mod config;
mod connection;
mod crew;
mod early;
mod flow;
mod halves;
mod link;
mod pending;
#[cfg(test)]
mod pending_tests;
mod pulse;
mod receive;
mod resume;
mod runtime;
mod sdp;
mod servers;

pub use config::{DEFAULT_STUN_SERVERS, IcePolicy, IceServer, MAX_FRAME_BYTES, WebRtcConfig};

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use rtc::peer_connection::certificate::CertificateParams;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webrtc::peer_connection::{RTCCertificate, RTCSessionDescription, crypto};

use crate::{PendingAnswer, PendingOffer, Role, Transport, TransportError};
use connection::{Connection, backend};

/// What all connections of one transport share.
struct Node {
    config: WebRtcConfig,
    /// One DTLS certificate for all connections: making one takes longer than connecting does.
    certificate: RTCCertificate,
    receive_window: u32,
    /// What datagrams are received into.
    buffers: Arc<receive::Buffers>,
    servers: servers::Servers,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A transport over WebRTC.
pub struct WebRtc {
    node: Arc<Node>,
}

impl WebRtc {
    /// A transport with its own DTLS certificate. Opens no socket yet and needs no runtime yet.
    ///
    /// # Errors
    /// [`TransportError::Backend`] if no certificate can be made.
    pub fn new(config: WebRtcConfig) -> Result<Self, TransportError> {
        Ok(Self {
            node: Arc::new(Node {
                certificate: certificate()?,
                receive_window: runtime::receive_window(config.socket_buffer_bytes, config.max_frame_bytes),
                buffers: Arc::default(),
                servers: servers::Servers::default(),
                slots: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
                tasks: TaskTracker::new(),
                shutdown: CancellationToken::new(),
                config,
            }),
        })
    }
}

fn certificate() -> Result<RTCCertificate, TransportError> {
    let params =
        CertificateParams::new(vec!["p2pt".to_owned()]).map_err(|error| TransportError::Backend(error.into()))?;
    let provider = crypto::default_provider().map_err(|error| TransportError::Backend(error.into()))?;
    RTCCertificate::generate(provider.crypto(), crypto::SignatureScheme::EcdsaP256Sha256, params).map_err(backend)
}

impl fmt::Debug for WebRtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_use = self.node.config.max_connections - self.node.slots.available_permits();
        f.debug_struct("WebRtc").field("config", &self.node.config).field("in_use", &in_use).finish_non_exhaustive()
    }
}

impl WebRtc {
    async fn prepare_offer(&self) -> Result<pending::Offer, TransportError> {
        let deadline = Instant::now() + self.node.config.gather_timeout;
        let mut connection = Connection::new(&self.node, Role::Offerer, deadline).await?;
        // JavaScript peers expose the label and key channels by it: it must be unique, and they use 40 hex characters.
        let label: String = (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect();
        let channel = connection.stack.create_data_channel(&label, None).await.map_err(backend)?;
        let offer = connection.stack.create_offer(None).await.map_err(backend)?;
        let sdp = connection.describe(offer, deadline).await?;
        Ok(pending::Offer { connection, channel, sdp })
    }

    async fn prepare_answer(&self, offer_sdp: &str) -> Result<pending::Answer, TransportError> {
        // Before a socket is opened for it.
        sdp::check(offer_sdp)?;
        let deadline = Instant::now() + self.node.config.gather_timeout;
        let mut connection = Connection::new(&self.node, Role::Answerer, deadline).await?;
        connection.set_remote(RTCSessionDescription::offer, offer_sdp).await?;
        let answer = connection.stack.create_answer(None).await.map_err(backend)?;
        let sdp = connection.describe(answer, deadline).await?;
        Ok(pending::Answer { connection, offer_sdp: offer_sdp.to_owned(), sdp })
    }
}

#[async_trait]
impl Transport for WebRtc {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        Ok(Box::new(self.prepare_offer().await?))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        Ok(Box::new(self.prepare_answer(offer_sdp).await?))
    }

    async fn shutdown(&self) {
        self.node.shutdown.cancel();
        self.node.tasks.close();
        // Flushing has its own deadline, and so has everything else; this one is for a task that was starved.
        let patience = link::longest_close(&self.node.config) * 2;
        if tokio::time::timeout(patience, self.node.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.node.tasks.len(), "connections left open by a shutdown that took too long");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, time::Duration};

    use super::*;
    use crate::Frame;

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
    }

    /// A peer that opens more channels than the one: whichever comes first is adopted, and works.
    #[tokio::test(flavor = "multi_thread")]
    async fn further_channels_are_closed() {
        let config = WebRtcConfig::loopback;
        let (alice, bob) = (WebRtc::new(config()).unwrap(), WebRtc::new(config()).unwrap());
        let offer = within(alice.prepare_offer()).await.unwrap();
        let mut channels = vec![offer.channel.clone()];
        for label in ["second", "third"] {
            channels.push(offer.connection.stack.create_data_channel(label, None).await.unwrap());
        }
        let answer = within(bob.prepare_answer(&offer.sdp)).await.unwrap();
        let answer_sdp = answer.sdp.clone();
        offer.connection.set_remote(RTCSessionDescription::answer, &answer_sdp).await.unwrap();
        let mut b = within(Box::new(answer).open()).await.unwrap();

        let mut open = 0;
        for channel in channels {
            let mut events = Vec::new();
            // The adopted one opens and stays; the others open and close.
            let closed = async {
                while let Some(event) = channel.poll().await {
                    events.push(event);
                    if matches!(events.last(), Some(webrtc::data_channel::DataChannelEvent::OnClose)) {
                        return;
                    }
                }
            };
            if channel.label().await.is_ok_and(|label| label == b.info.label) {
                open += 1;
                within(channel.send_text("to the adopted one")).await.unwrap();
            } else {
                within(closed).await;
            }
        }
        assert_eq!(open, 1);
        assert_eq!(within(b.receiver.recv()).await.unwrap(), Frame::text("to the adopted one"));
        within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
    }

    /// The stack keeps something of every channel there ever was.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_peer_that_opens_channel_after_channel_is_cut_off() {
        let config = WebRtcConfig::loopback;
        let (alice, bob) = (WebRtc::new(config()).unwrap(), WebRtc::new(config()).unwrap());
        let offer = within(alice.prepare_offer()).await.unwrap();
        let mut channels = Vec::new();
        for number in 0..20 {
            channels.push(offer.connection.stack.create_data_channel(&number.to_string(), None).await.unwrap());
        }
        let answer = within(bob.prepare_answer(&offer.sdp)).await.unwrap();
        offer.connection.set_remote(RTCSessionDescription::answer, &answer.sdp).await.unwrap();
        let mut b = within(Box::new(answer).open()).await.unwrap();
        let end = within(b.receiver.recv()).await.unwrap_err();
        assert!(end.to_string().contains("channel after channel"), "{end}");
        within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
    }
}
