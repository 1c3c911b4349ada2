//! One connection of the crate, from its making to its close.

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use rtc::ice::mdns::MulticastDnsMode;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceCandidateInit, RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
    },
};

use super::{Node, channel};
use crate::{
    AddCandidateError, Channel, ChannelInfo, Fingerprint, PendingAnswer, PendingOffer, RemoteCandidates, Role,
    TransportError, candidates,
};

/// How many late candidates wait for their description. As many as browsers find on a machine of many addresses.
const MAX_LATE_CANDIDATES: usize = 32;

/// What the crate takes in one message unless it is configured otherwise, and what is sent to a side that does not say how much
/// it takes (RFC 8841 section 6.1); in bytes.
const MAX_FRAME_BYTES: usize = 65_536;

/// Hears the crate's driver, on whose task its methods run.
struct Handler {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    channels: mpsc::Sender<Arc<dyn DataChannel>>,
    has_channel: AtomicBool,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        if self.has_channel.swap(true, Ordering::AcqRel) || self.channels.try_send(channel.clone()).is_err() {
            // A connection has one channel; an error means that this one is closed already.
            let _ = channel.close().await;
        }
    }
}

/// What runs once the channel is open, until the connection shall be closed.
type ChannelTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is there while a connection opens and while it is open.
pub(super) struct Parts {
    pub(super) node: Arc<Node>,
    pub(super) stack: Arc<dyn PeerConnection>,
    pub(super) state: watch::Receiver<RTCPeerConnectionState>,
    late: mpsc::Receiver<String>,
}

impl Parts {
    /// Hands the crate the late candidates, for as long as it is polled.
    pub(super) async fn add_late_candidates(&mut self) {
        while let Some(candidate) = self.late.recv().await {
            let init = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
            if let Err(error) = self.stack.add_ice_candidate(init).await {
                tracing::debug!(%error, "passing over a late candidate");
            }
        }
        // The last who could add one is gone.
        std::future::pending().await
    }
}

/// A connection that waits for its other side. Dropping it makes its task close it.
pub(super) struct Pending {
    parts: Parts,
    role: Role,
    local: String,
    /// The offer, on the answering side.
    remote: String,
    channels: mpsc::Receiver<Arc<dyn DataChannel>>,
    candidates: mpsc::Sender<String>,
    keeper: oneshot::Sender<ChannelTask>,
}

impl Pending {
    /// Prepares an answer to this offer, or an offer.
    pub(super) async fn new(node: &Arc<Node>, offer_sdp: Option<&str>) -> Result<Self, TransportError> {
        let (reply, made) = oneshot::channel();
        let role = if offer_sdp.is_some() { Role::Answerer } else { Role::Offerer };
        let preparing = async {
            if node.shutdown.is_cancelled() {
                return Err(TransportError::ShutDown);
            }
            // The crate leaks a connection whose making is cancelled, so it is made on a task of its own.
            node.tasks.spawn(keep(node.clone(), role, reply));
            let (mut pending, gathered) = made.await.unwrap_or(Err(TransportError::ShutDown))?;
            pending.describe(offer_sdp, gathered).await?;
            Ok(pending)
        };
        tokio::select! {
            prepared = preparing => prepared,
            () = node.shutdown.cancelled() => Err(TransportError::ShutDown),
        }
    }

    async fn describe(
        &mut self,
        offer_sdp: Option<&str>,
        mut gathered: watch::Receiver<bool>,
    ) -> Result<(), TransportError> {
        let stack = &self.parts.stack;
        let description = if let Some(offer_sdp) = offer_sdp {
            set_remote(&**stack, RTCSessionDescription::offer, offer_sdp).await?;
            self.remote = offer_sdp.to_owned();
            stack.create_answer(None).await
        } else {
            stack.create_offer(None).await
        };
        stack.set_local_description(description.map_err(backend)?).await.map_err(backend)?;
        let after = self.parts.node.config.connect_timeout;
        // Its sender lives as long as the driver does.
        let complete = timeout(after, gathered.wait_for(|gathered| *gathered)).await.is_ok_and(|all| all.is_ok());
        let described = stack.local_description().await.filter(|_| complete);
        self.local = described.ok_or(TransportError::Timeout { step: "gathering candidates", after })?.sdp;
        if self.local.contains("a=candidate:") { Ok(()) } else { Err(TransportError::NoCandidate) }
    }

    async fn open_channel(mut self) -> Result<Channel, TransportError> {
        let Self { parts, channels, .. } = &mut self;
        let (node, mut state) = (parts.node.clone(), parts.state.clone());
        let opened = async {
            let channel = channels.recv().await.ok_or(TransportError::ClosedEarly)?;
            loop {
                match channel.poll().await {
                    Some(DataChannelEvent::OnOpen) => return Ok(channel),
                    Some(DataChannelEvent::OnClose) | None => return Err(TransportError::ClosedEarly),
                    Some(_) => {}
                }
            }
        };
        let failed = async {
            let is_over = |state: &RTCPeerConnectionState| {
                matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed)
            };
            state.wait_for(is_over).await.map_or(RTCPeerConnectionState::Closed, |state| *state)
        };
        let after = node.config.connect_timeout;
        let channel = tokio::select! {
            biased;
            () = node.shutdown.cancelled() => Err(TransportError::ShutDown),
            opened = opened => opened,
            failed = failed => Err(match failed {
                RTCPeerConnectionState::Failed => TransportError::IceFailed {
                    local: candidate_types(&self.local),
                    remote: candidate_types(&self.remote),
                },
                _ => TransportError::ClosedEarly,
            }),
            () = parts.add_late_candidates() => Err(TransportError::ClosedEarly),
            () = tokio::time::sleep(after) => Err(TransportError::Timeout { step: "opening the channel", after }),
        }?;
        let Self { parts, role, local, remote, keeper, .. } = self;
        let mut info = ChannelInfo::new(channel.label().await.map_err(backend)?, role, max_frame_bytes(&remote));
        info.local_fingerprint = Fingerprint::from_sdp(&local);
        info.remote_fingerprint = Fingerprint::from_sdp(&remote);
        let (channel, task) = channel::serve(parts, channel, info);
        keeper.send(Box::pin(task)).map_err(|_| TransportError::ShutDown)?;
        Ok(channel)
    }
}

/// Makes a connection, waits until it is dropped or its channel has ended, and closes it.
async fn keep(
    node: Arc<Node>,
    role: Role,
    reply: oneshot::Sender<Result<(Pending, watch::Receiver<bool>), TransportError>>,
) {
    let (gathered_in, gathered) = watch::channel(false);
    let (state_in, state) = watch::channel(RTCPeerConnectionState::New);
    let (channels_in, channels) = mpsc::channel(1);
    let (candidates, late) = mpsc::channel(MAX_LATE_CANDIDATES);
    let handler = Handler {
        gathered: gathered_in,
        state: state_in,
        channels: channels_in.clone(),
        has_channel: AtomicBool::new(role == Role::Offerer),
    };
    // With its own mDNS, a connection could not be made on a machine that has nothing but a loopback interface.
    let settings = SettingEngineBuilder::new().with_multicast_dns_mode(MulticastDnsMode::Disabled).build();
    let configuration = match node.certificate() {
        Ok(certificate) => RTCConfigurationBuilder::default().with_certificates(vec![certificate]).build(),
        Err(error) => {
            let _ = reply.send(Err(error));
            return;
        }
    };
    let stack: Arc<dyn PeerConnection> = match PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(settings)
        .with_handler(Arc::new(handler))
        .with_udp_addrs(vec![node.config.bind_address])
        .with_data_channel_send_buffer_limit(channel::SEND_BUFFER_BYTES)
        .build()
        .await
    {
        Ok(stack) => Arc::new(stack),
        Err(error) => {
            let _ = reply.send(Err(backend(error)));
            return;
        }
    };
    let created = match role {
        Role::Offerer => stack.create_data_channel(&label(), None).await.map(Some),
        Role::Answerer => Ok(None),
    };
    let (keeper, task) = oneshot::channel();
    let made = created.map_err(backend).map(|channel| {
        // There is room for one.
        channel.map(|channel| channels_in.try_send(channel));
        let parts = Parts { node: node.clone(), stack: stack.clone(), state, late };
        let (local, remote) = (String::new(), String::new());
        (Pending { parts, role, local, remote, channels, candidates, keeper }, gathered)
    });
    drop(reply.send(made));
    let task = tokio::select! {
        biased;
        task = task => task.ok(),
        () = node.shutdown.cancelled() => None,
    };
    if let Some(task) = task {
        task.await;
    }
    if let Err(error) = stack.close().await {
        tracing::debug!(%error, "closing a connection");
    }
}

/// 160 random bits, as the JavaScript p2pt has them.
fn label() -> String {
    rand::random::<[u8; 20]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn set_remote(
    stack: &dyn PeerConnection,
    kind: fn(String) -> webrtc::error::Result<RTCSessionDescription>,
    sdp: &str,
) -> Result<(), TransportError> {
    let invalid = |error: webrtc::error::Error| TransportError::InvalidSdp(error.to_string());
    for line in ["m=application ", "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"] {
        if !sdp.lines().any(|has| has.starts_with(line)) {
            return Err(TransportError::InvalidSdp(format!("no {line} line")));
        }
    }
    stack.set_remote_description(kind(sdp.to_owned()).map_err(invalid)?).await.map_err(invalid)
}

/// The largest frame that both the author of this SDP and the crate take, in bytes.
fn max_frame_bytes(sdp: &str) -> usize {
    let announced = sdp.lines().find_map(|line| line.strip_prefix("a=max-message-size:")?.trim().parse::<usize>().ok());
    // Zero means that there is no limit.
    announced.filter(|bytes| *bytes > 0).map_or(MAX_FRAME_BYTES, |bytes| bytes.min(MAX_FRAME_BYTES))
}

/// The kinds of the candidates in an SDP, for people: `host srflx`.
fn candidate_types(sdp: &str) -> String {
    let types = sdp.lines().filter(|line| line.starts_with("a=candidate:")).filter_map(|line| line.split(' ').nth(7));
    let types: Vec<&str> = types.collect::<BTreeSet<_>>().into_iter().collect();
    if types.is_empty() { "none".to_owned() } else { types.join(" ") }
}

pub(super) fn backend(error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::Backend(Box::new(error))
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("role", &self.role).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct LateCandidates(mpsc::Sender<String>);

impl RemoteCandidates for LateCandidates {
    fn add(&self, candidate: &str) -> Result<(), AddCandidateError> {
        let Some(value) = candidates::read(candidate)? else { return Ok(()) };
        self.0.try_send(value.to_owned()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AddCandidateError::TooMany { max: MAX_LATE_CANDIDATES },
            mpsc::error::TrySendError::Closed(_) => AddCandidateError::Closed,
        })
    }
}

#[async_trait]
impl PendingOffer for Pending {
    fn sdp(&self) -> &str {
        &self.local
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(LateCandidates(self.candidates.clone()))
    }

    async fn open(mut self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        set_remote(&*self.parts.stack, RTCSessionDescription::answer, answer_sdp).await?;
        self.remote = answer_sdp.to_owned();
        self.open_channel().await
    }
}

#[async_trait]
impl PendingAnswer for Pending {
    fn sdp(&self) -> &str {
        &self.local
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(LateCandidates(self.candidates.clone()))
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        self.open_channel().await
    }
}
