//! Connections that wait for their other side.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    Node,
    buffers::lock,
    channel::{ChannelState, CloseRequest, NEAR_FRAME_BYTES, Opening},
    contain::DEFECT,
    halves::{Half, Receiver, Sender},
    peer::{End, Stage},
    sdp::{CandidateKinds, Description, UnusableCandidate, parse_candidate_line},
    session::DtlsRole,
};
use crate::{
    AddCandidateError, Channel, ChannelInfo, PendingAnswer, PendingOffer, RemoteCandidates, Role, TransportError,
};

/// Closes a connection that was dropped before it was open.
pub(super) struct Guard {
    pub(super) node: Arc<Node>,
    pub(super) channel: Arc<ChannelState>,
    pub(super) is_armed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_armed {
            self.channel.request_close(CloseRequest::Local);
            self.node.shared.touch(&self.channel);
        }
    }
}

pub(super) struct Offer {
    pub(super) guard: Guard,
    pub(super) sdp: String,
    pub(super) kinds: CandidateKinds,
}

pub(super) struct Answer {
    pub(super) guard: Guard,
    pub(super) sdp: String,
    pub(super) kinds: CandidateKinds,
    /// The offer.
    pub(super) remote: Description,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("candidates", &self.kinds.to_string()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("candidates", &self.kinds.to_string()).finish_non_exhaustive()
    }
}

#[async_trait]
impl PendingOffer for Offer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(Late { node: self.guard.node.clone(), channel: self.guard.channel.clone() })
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        let Self { guard, kinds, .. } = *self;
        let connection = guard.channel.key;
        let remote = guard.node.read(answer_sdp).inspect_err(|_| tracing::debug!(connection, "answer not usable"))?;
        guard.node.accept_answer(&guard.channel, &remote)?;
        opened(guard, Role::Offerer, &kinds, &remote).await
    }
}

#[async_trait]
impl PendingAnswer for Answer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(Late { node: self.guard.node.clone(), channel: self.guard.channel.clone() })
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        let Self { guard, kinds, remote, .. } = *self;
        opened(guard, Role::Answerer, &kinds, &remote).await
    }
}

/// Waits until the channel is open.
async fn opened(
    mut guard: Guard,
    role: Role,
    kinds: &CandidateKinds,
    remote: &Description,
) -> Result<Channel, TransportError> {
    let (node, channel) = (guard.node.clone(), guard.channel.clone());
    let mut opening = channel.opening.subscribe();
    let reached = opening.wait_for(|opening| *opening != Opening::Pending).await.map(|reached| reached.clone());
    let label = match reached {
        Ok(Opening::Open(label)) => label,
        _ if node.is_shut_down() => return Err(TransportError::ShutDown),
        Ok(Opening::Failed(stage, end)) => return Err(failure(&node, stage, end, kinds, remote)),
        Ok(Opening::Pending) | Err(_) => return Err(TransportError::ClosedEarly),
    };
    guard.is_armed = false;
    let max_frame_bytes = channel.max_frame_bytes.load(Ordering::Relaxed);
    let mut info = ChannelInfo::new(label, role, max_frame_bytes);
    info.local_fingerprint = Some(node.fingerprint);
    info.remote_fingerprint = remote.fingerprint.sha256();
    if remote.window.is_none() {
        info.good_frame_bytes = info.max_frame_bytes.min(NEAR_FRAME_BYTES);
    }
    let half = Half { shared: node.shared.clone(), channel };
    Ok(Channel { info, sender: Arc::new(Sender(half.clone())), receiver: Box::new(Receiver(half)) })
}

/// What an opening has failed of.
fn failure(node: &Node, stage: Stage, end: End, local: &CandidateKinds, remote: &Description) -> TransportError {
    match (stage, end) {
        (_, End::Defect) => TransportError::Backend(DEFECT.into()),
        (Stage::Waiting, End::TimedOut) => {
            TransportError::Timeout { step: "waiting for the answer", after: node.config.answer_timeout }
        }
        (Stage::Checking, End::TimedOut | End::IdleTimeout) => {
            TransportError::IceFailed { local: local.to_string(), remote: remote.kinds.to_string() }
        }
        (Stage::Secure, End::TimedOut) => {
            TransportError::Timeout { step: "opening the channel", after: node.config.connect_timeout }
        }
        (Stage::Handshaking, _) => TransportError::SessionFailed,
        (Stage::Waiting | Stage::Checking | Stage::Secure | Stage::Open, _) => TransportError::ClosedEarly,
    }
}

impl Node {
    /// Gives an offer its answer.
    fn accept_answer(&self, channel: &Arc<ChannelState>, answer: &Description) -> Result<(), TransportError> {
        let role = if answer.is_dtls_client() { DtlsRole::Server } else { DtlsRole::Client };
        let remote = self.remote(answer, role);
        channel.set_limits(self.limits(answer));
        let now = Instant::now().into_std();
        tracing::debug!(connection = channel.key, remote_candidates = %answer.kinds, "answer received");
        {
            let mut core = lock(&self.shared.core);
            if core.endpoint.connecting() >= self.config.max_connections {
                return Err(TransportError::TooManyConnections { max: self.config.max_connections });
            }
            // It may have ended meanwhile, which its opening says.
            if let Some(taken) = core.with_peer(channel, |peer| peer.set_remote(now, remote)) {
                taken.map_err(|error| TransportError::Backend(error.into()))?;
            }
        }
        self.shared.touch(channel);
        Ok(())
    }
}

/// Takes late candidates for one connection.
struct Late {
    node: Arc<Node>,
    channel: Arc<ChannelState>,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}

impl RemoteCandidates for Late {
    fn add(&self, candidate: &str) -> Result<(), AddCandidateError> {
        let candidate = match parse_candidate_line(candidate) {
            Ok(candidate) => candidate,
            Err(UnusableCandidate::Malformed(why)) => return Err(AddCandidateError::Invalid(why.to_string())),
            Err(_) => return Ok(()),
        };
        let mut core = lock(&self.node.shared.core);
        let now = Instant::now().into_std();
        core.with_peer(&self.channel, |peer| peer.add_candidate(now, candidate)).ok_or(AddCandidateError::Closed)?;
        drop(core);
        self.node.shared.touch(&self.channel);
        Ok(())
    }
}
