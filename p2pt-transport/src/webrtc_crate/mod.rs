//! The [`webrtc`] crate as it comes: the independent counterpart of [`webrtc`](crate::webrtc), and an example of another
//! backend. (Feature `webrtc-crate`.)
//!
//! Nothing of the crate is wrapped or tuned: its own runtime, sockets, timers and congestion control. What is here is what the trait asks for beside: frames with a bounded buffer either way, deadlines,
//! reasons, one certificate for all connections, by which a peer of this library knows this node again, and a connection that is closed whichever way it goes. Use it to see whether trouble is of this workspace's
//! backend or of the network, as the other side in tests, or to start another backend from:
//!
//! ```
//! use std::sync::Arc;
//! use p2pt_transport::{Transport, webrtc_crate::WebRtcCrate};
//!
//! # #[tokio::main]
//! # async fn main() {
//! let transport: Arc<dyn Transport> = Arc::new(WebRtcCrate::new());
//! // With the facade: `P2pt::builder().transport(transport).join("my-app").await?`
//! # let offer = transport.offer().await.expect("a loopback interface");
//! # assert!(offer.sdp().contains(" typ host"));
//! # drop(offer);
//! # transport.shutdown().await;
//! # }
//! ```
//!
//! # What it cannot do
//!
//! Of the conformance suite it passes all but one check, `acknowledged_at_close`: what was delivered within 200 ms before
//! the other side's close counts as unacknowledged for ever, since the crate delays acknowledgements for so long and tells
//! nothing of a channel that has been closed. What was delivered earlier is counted rightly.
//!
//! What the suite does not measure, and the reason, all in the crate:
//!
//! - Connecting takes 0.6 s: three times, what shall be sent next waits for a timer of 200 ms.
//! - An offer is good for about 25 s: its ICE agent's clock runs while it waits for its answer, and it fails then.
//! - A burst of small frames stalls: of more than 256 that wait, the rest is handed out when the next datagram arrives,
//!   which may be 2 s later.
//! - It sends into socket buffers of the system's size without pacing: large transfers lose packets even on loopback, and
//!   reach a tenth of what [`webrtc`](crate::webrtc) does.
//! - A reader that is far behind loses the rest when the other side closes: an end is announced behind the frames, in the
//!   same queue, so that it is learned only after 5 s of silence, when the frames that had not been handed out are gone.
//! - A peer that is gone is noticed after 5 s of silence, and a path that is interrupted for so long ends the channel.
//! - What it takes is the smaller of both sides' largest messages: a side that announces less than it sends is not received.
//! - Packets of unauthenticated senders reach the stack unchecked, and nothing bounds what they cost: meet known peers only.
//! - No STUN, no TURN and no mDNS are set up here, and the number of connections is not bounded.

mod channel;
mod connection;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use connection::Pending;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc_crypto::SignatureScheme;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{PendingAnswer, PendingOffer, Transport, TransportError};

/// The settings of a [`WebRtcCrate`] transport.
#[derive(Debug, Clone)]
#[must_use]
pub struct WebRtcCrateConfig {
    bind_address: SocketAddr,
    connect_timeout: Duration,
    close_timeout: Duration,
}

impl Default for WebRtcCrateConfig {
    fn default() -> Self {
        Self {
            bind_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            connect_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(1),
        }
    }
}

impl WebRtcCrateConfig {
    /// The local address to use. 127.0.0.1 by default, for peers on this machine; the unspecified address stands for the
    /// addresses of all network interfaces but loopback. A port other than 0 serves one connection at a time.
    pub fn bind_address(mut self, address: SocketAddr) -> Self {
        self.bind_address = address;
        self
    }

    /// How long `open` waits for the channel, and an offer or an answer for its candidates. 30 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a graceful close waits without progress: for what was sent to be acknowledged, then for the other side to
    /// close too. 1 s by default.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }
}

/// What all connections of one transport share.
#[derive(Debug)]
struct Node {
    config: WebRtcCrateConfig,
    /// Made with the first connection.
    certificate: OnceLock<RTCCertificate>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Node {
    fn certificate(&self) -> Result<RTCCertificate, TransportError> {
        if let Some(certificate) = self.certificate.get() {
            return Ok(certificate.clone());
        }
        let crypto = rtc_crypto::default_provider().map_err(connection::backend)?;
        let params = CertificateParams::new(vec!["p2pt".to_owned()]).map_err(connection::backend)?;
        let made = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, params)
            .map_err(connection::backend)?;
        Ok(self.certificate.get_or_init(|| made).clone())
    }
}

/// A transport over the `webrtc` crate as it comes. Dropping it closes nothing: connections live on their own.
#[derive(Debug)]
pub struct WebRtcCrate(Arc<Node>);

impl WebRtcCrate {
    /// A transport for peers on this machine.
    #[expect(clippy::new_without_default, reason = "a transport is made, not defaulted")]
    pub fn new() -> Self {
        Self::with_config(WebRtcCrateConfig::default())
    }

    /// A transport with these settings.
    pub fn with_config(config: WebRtcCrateConfig) -> Self {
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        Self(Arc::new(Node { config, certificate: OnceLock::new(), shutdown, tasks }))
    }
}

#[async_trait]
impl Transport for WebRtcCrate {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        Ok(Box::new(Pending::new(&self.0, None).await?))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        Ok(Box::new(Pending::new(&self.0, Some(offer_sdp)).await?))
    }

    async fn shutdown(&self) {
        self.0.shutdown.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
