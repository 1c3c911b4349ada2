//! The transport.

use std::{fmt, rc::Rc};

use async_trait::async_trait;
use p2pt_rt::timeout;
use send_wrapper::SendWrapper;

use super::{
    WebRtcConfig,
    common::Common,
    pending::{Local, Pending},
};
use crate::{Capabilities, PendingAnswer, PendingOffer, Transport, TransportError};

/// How many times the close timeout a shutdown takes at most: that of a flush and of a close, twice.
const SHUTDOWN_FACTOR: u32 = 24;

/// A transport over the browser's WebRTC.
pub struct WebRtc {
    common: SendWrapper<Rc<Common>>,
}

impl fmt::Debug for WebRtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebRtc").field(&*self.common).finish()
    }
}

impl WebRtc {
    /// A transport with a DTLS certificate of its own, which is made with its first connection.
    ///
    /// # Errors
    /// [`TransportError::Backend`] where there is no WebRTC, as in a worker, and when the browser refuses the ICE servers: an
    /// address that is none, or a relay without credentials.
    pub fn new(config: WebRtcConfig) -> Result<Self, TransportError> {
        Ok(Self { common: SendWrapper::new(Common::new(config)?) })
    }
}

impl Drop for WebRtc {
    fn drop(&mut self) {
        self.common.shut_down();
    }
}

/// Logs what kept an offer or an answer from being made. An error about a description may quote it, and descriptions are not
/// for logs.
fn log_failure(error: &TransportError, what: &'static str) {
    match error {
        TransportError::InvalidSdp(_) => tracing::debug!(error = "unusable SDP", "{what}"),
        error => tracing::debug!(%error, "{what}"),
    }
}

#[async_trait]
impl Transport for WebRtc {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        SendWrapper::new(async {
            let offer = Pending::offer(&self.common).await.inspect_err(|error| log_failure(error, "no offer made"))?;
            Ok(Box::new(Local(SendWrapper::new(offer))) as Box<dyn PendingOffer>)
        })
        .await
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        SendWrapper::new(async {
            let answer = Pending::answer(&self.common, offer_sdp).await;
            let answer = answer.inspect_err(|error| log_failure(error, "no answer made"))?;
            Ok(Box::new(Local(SendWrapper::new(answer))) as Box<dyn PendingAnswer>)
        })
        .await
    }

    async fn shutdown(&self) {
        tracing::debug!("transport shuts down");
        self.common.shut_down();
        let (mut left, patience) = (self.common.await_left(), self.common.config.close_timeout * SHUTDOWN_FACTOR);
        if timeout(patience, left.wait_for(|left| *left == 0)).await.is_err() {
            tracing::warn!("connections left open by a shutdown that took too long");
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { back_pressure: false }
    }
}
