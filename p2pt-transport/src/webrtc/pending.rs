//! Connections that wait for their other side.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::time::Instant;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::{RTCIceConnectionState, RTCSessionDescription},
};

use super::{
    connection::{Connection, backend, is_over, is_secure},
    link, sdp,
};
use crate::{Channel, ChannelInfo, Fingerprint, PendingAnswer, PendingOffer, Role, TransportError};

pub(super) struct Offer {
    pub(super) connection: Connection,
    pub(super) channel: Arc<dyn DataChannel>,
    pub(super) sdp: String,
}

pub(super) struct Answer {
    pub(super) connection: Connection,
    pub(super) offer_sdp: String,
    pub(super) sdp: String,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("candidates", &sdp::candidate_types(&self.sdp)).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("candidates", &sdp::candidate_types(&self.sdp)).finish_non_exhaustive()
    }
}

#[async_trait]
impl PendingOffer for Offer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        let Self { connection, channel, sdp } = *self;
        connection.set_remote(RTCSessionDescription::answer, answer_sdp).await?;
        Opening { connection, role: Role::Offerer, local: &sdp, remote: answer_sdp }.open(Some(channel)).await
    }
}

#[async_trait]
impl PendingAnswer for Answer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        let Self { connection, offer_sdp, sdp } = *self;
        Opening { connection, role: Role::Answerer, local: &sdp, remote: &offer_sdp }.open(None).await
    }
}

struct Opening<'a> {
    connection: Connection,
    role: Role,
    local: &'a str,
    remote: &'a str,
}

impl Opening<'_> {
    async fn open(mut self, channel: Option<Arc<dyn DataChannel>>) -> Result<Channel, TransportError> {
        let timeout = self.connection.node.config.connect_timeout;
        let deadline = Instant::now() + timeout;
        let node = self.connection.node.clone();
        let (stack, pulse) = (self.connection.stack.clone(), self.connection.pulse.clone());
        let mut progress = self.connection.progress.clone();

        let failed = async {
            // The other side's close shows in no event before there is a channel, only in the session's state.
            loop {
                let passes = pulse.passes();
                let now = *progress.borrow_and_update();
                if now.is_broken() || now.ice == RTCIceConnectionState::Failed {
                    return;
                }
                if now.ice_connected && is_over(&*stack).await {
                    return;
                }
                tokio::select! {
                    _ = progress.changed() => {}
                    () = pulse.passed(passes) => {}
                }
            }
        };
        let opened = async {
            let channel = match channel {
                Some(channel) => channel,
                None => self.connection.adopted().await?,
            };
            loop {
                match channel.poll().await? {
                    DataChannelEvent::OnOpen => return Some(channel),
                    DataChannelEvent::OnClose => return None,
                    _ => {}
                }
            }
        };
        let channel = tokio::select! {
            biased;
            opened = opened => opened.ok_or(TransportError::ClosedEarly),
            () = failed => Err(self.why(TransportError::ClosedEarly)),
            () = tokio::time::sleep_until(deadline) => Err(if is_secure(&*stack).await {
                TransportError::Deadline { step: "opening the channel", after: timeout }
            } else {
                self.why(TransportError::SessionFailed)
            }),
            () = node.shutdown.cancelled() => Err(TransportError::ShutDown),
        }?;
        let label = channel.label().await.map_err(backend)?;
        let mut info = ChannelInfo::new(label, self.role, sdp::max_frame_bytes(self.remote));
        info.local_fingerprint = Fingerprint::from_sdp(self.local);
        info.remote_fingerprint = Fingerprint::from_sdp(self.remote);
        link::start(self.connection, channel, info)
    }

    /// What kept the channel from opening: the first step that failed, or else `otherwise`.
    fn why(&self, otherwise: TransportError) -> TransportError {
        let progress = *self.connection.progress.borrow();
        if !progress.ice_connected || progress.ice == RTCIceConnectionState::Failed {
            TransportError::IceFailed {
                local: sdp::candidate_types(self.local),
                remote: sdp::candidate_types(self.remote),
            }
        } else if progress.is_broken() {
            TransportError::SessionFailed
        } else {
            otherwise
        }
    }
}
