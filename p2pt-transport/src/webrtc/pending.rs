//! Connections that wait for their other side.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::{PeerConnection, RTCIceConnectionState, RTCSessionDescription},
};

use super::{
    Node,
    connection::{Connection, Progress, backend, has_been_secure, is_over, session},
    link,
    pulse::Pulse,
    sdp,
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

/// The way from two descriptions to an open channel, in three steps: a path, a session on it, a channel in that.
struct Opening<'a> {
    connection: Connection,
    role: Role,
    local: &'a str,
    remote: &'a str,
}

impl Opening<'_> {
    async fn open(mut self, channel: Option<Arc<dyn DataChannel>>) -> Result<Channel, TransportError> {
        let steps = Steps::of(&self);
        let node = self.connection.node.clone();
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
            // What fails after this fails of it.
            () = node.shutdown.cancelled() => Err(TransportError::ShutDown),
            opened = opened => match opened {
                Some(channel) => Ok(channel),
                None => Err(steps.broken().await),
            },
            error = steps.failure() => Err(error),
        }?;
        let label = channel.label().await.map_err(backend)?;
        let mut info =
            ChannelInfo::new(label, self.role, sdp::max_frame_bytes(self.remote, node.config.max_frame_bytes));
        info.local_fingerprint = Fingerprint::from_sdp(self.local);
        info.remote_fingerprint = Fingerprint::from_sdp(self.remote);
        let window = sdp::window(self.remote);
        if window.is_none() {
            info.good_frame_bytes = info.max_frame_bytes.min(link::NEAR_FRAME_BYTES);
        }
        link::start(self.connection, channel, info, window)
    }
}

/// How far an opening has come, which names what it fails of.
struct Steps<'a> {
    stack: Arc<dyn PeerConnection>,
    pulse: Arc<Pulse>,
    progress: watch::Receiver<Progress>,
    local: &'a str,
    remote: &'a str,
    node: Arc<Node>,
}

impl<'a> Steps<'a> {
    fn of(opening: &Opening<'a>) -> Self {
        let connection = &opening.connection;
        Self {
            stack: connection.stack.clone(),
            pulse: connection.pulse.clone(),
            progress: connection.progress.clone(),
            local: opening.local,
            remote: opening.remote,
            node: connection.node.clone(),
        }
    }

    /// Resolves when the channel will not open.
    async fn failure(&self) -> TransportError {
        let config = &self.node.config;
        let start = Instant::now();
        let deadline = start + config.connect_timeout;
        if !self.reach(start + config.path_timeout(), |progress, _| progress.ice_connected).await {
            return TransportError::IceFailed {
                local: sdp::candidate_types(self.local),
                remote: sdp::candidate_types(self.remote),
            };
        }
        let goes_on = async {
            // The stack says nothing of a handshake that has failed.
            let is_secure = |_, session| session == Some(RTCDtlsTransportState::Connected);
            if self.reach(Instant::now() + config.session_timeout(), is_secure).await {
                self.reach(deadline, |_, _| false).await;
            }
        };
        tokio::select! {
            () = goes_on => {}
            () = self.pulse.silence(config.silence_timeout) => {}
        }
        if Instant::now() >= deadline && has_been_secure(&*self.stack).await {
            return TransportError::Deadline { step: "opening the channel", after: config.connect_timeout };
        }
        self.broken().await
    }

    /// What a connection that has found its path has failed of.
    async fn broken(&self) -> TransportError {
        if has_been_secure(&*self.stack).await { TransportError::ClosedEarly } else { TransportError::SessionFailed }
    }

    /// Waits for a step, and says whether it has been made in time.
    async fn reach(
        &self,
        deadline: Instant,
        step: impl Fn(Progress, Option<RTCDtlsTransportState>) -> bool + Send,
    ) -> bool {
        let mut progress = self.progress.clone();
        let reached = async {
            loop {
                let passes = self.pulse.passes();
                let now = *progress.borrow_and_update();
                let session = session(&*self.stack).await;
                if step(now, session) {
                    return true;
                }
                // The other side's close shows in no event before there is a channel, only in the session's state.
                let over = now.ice_connected && is_over(session);
                if over || now.is_broken() || now.ice == RTCIceConnectionState::Failed {
                    return false;
                }
                tokio::select! {
                    _ = progress.changed() => {}
                    () = self.pulse.passed(passes) => {}
                }
            }
        };
        timeout_at(deadline, reached).await.unwrap_or(false)
    }
}
