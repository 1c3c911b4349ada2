//! One peer connection of the `webrtc` crate, from its creation to its close.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::DropGuard;
use webrtc::{
    data_channel::DataChannel,
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceConnectionState, RTCIceGatheringState, RTCIceTransportPolicy, RTCPeerConnectionState,
        RTCSessionDescription, SettingEngineBuilder,
    },
};

use super::{
    IcePolicy, Node, addresses,
    crew::Crew,
    pulse::{Pulse, SILENT_STEPS},
    runtime::PulsedRuntime,
    sdp,
};
use crate::{Role, TransportError};

/// Wraps an error of the stack.
pub(super) fn backend(error: webrtc::error::Error) -> TransportError {
    TransportError::Backend(Box::new(error))
}

/// How long an offer waits for its first candidate when even those take longer than the gathering deadline. Host
/// candidates are there at once; this matters with relays only.
const FIRST_CANDIDATE_TIMEOUT: Duration = Duration::from_secs(3);

/// How far apart attempts to reach the other side at an address are; the stack's own value.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How many channels beside the one the other side may open, each closed at once. The stack remembers every channel as
/// long as the connection lives, with up to 256 frames that came before it was closed.
const MAX_FURTHER_CHANNELS: usize = 16;

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) gathered: bool,
    pub(super) ice: RTCIceConnectionState,
    pub(super) ice_connected: bool,
    pub(super) whole: RTCPeerConnectionState,
    /// The other side opens channel after channel.
    pub(super) flooded: bool,
}

impl Progress {
    const START: Self = Self {
        gathered: false,
        ice: RTCIceConnectionState::New,
        ice_connected: false,
        whole: RTCPeerConnectionState::New,
        flooded: false,
    };

    /// Whether the connection is of no more use, whatever the other side does.
    pub(super) fn is_broken(&self) -> bool {
        self.flooded || self.whole == RTCPeerConnectionState::Failed
    }
}

/// Hears the driver. Its methods run on the driver's task and must not wait.
struct Handler {
    progress: watch::Sender<Progress>,
    /// Where the first channel the other side opens goes. `None` on the side that opens one itself.
    adopted: Option<mpsc::Sender<Arc<dyn DataChannel>>>,
    has_adopted: AtomicBool,
    further_channels: AtomicUsize,
    pulse: Arc<Pulse>,
}

impl Handler {
    fn change(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
        self.pulse.nudge();
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.change(|progress| progress.gathered = state == RTCIceGatheringState::Complete);
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        let connected = matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed);
        if connected {
            self.pulse.connected();
        }
        self.change(|progress| {
            progress.ice = state;
            progress.ice_connected |= connected;
        });
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.change(|progress| progress.whole = state);
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        self.pulse.nudge();
        if let Some(adopted) = &self.adopted
            && !self.has_adopted.swap(true, Ordering::AcqRel)
        {
            // It has room for one, and this is the one.
            let _ = adopted.try_send(channel);
        } else {
            tracing::debug!("closing a second data channel of a connection");
            let _ = channel.close().await;
            if self.further_channels.fetch_add(1, Ordering::Relaxed) >= MAX_FURTHER_CHANNELS {
                self.change(|progress| progress.flooded = true);
            }
        }
    }
}

/// What runs once the connection is open, until it shall be closed; what it returns is dropped when it is.
pub(super) type LinkTask = Pin<Box<dyn Future<Output = Option<DropGuard>> + Send>>;

/// A peer connection. Dropping it closes it, on the task that made it, unless a link has taken over.
pub(super) struct Connection {
    pub(super) node: Arc<Node>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) stack: Arc<dyn PeerConnection>,
    pub(super) progress: watch::Receiver<Progress>,
    adopted: mpsc::Receiver<Arc<dyn DataChannel>>,
    keeper: oneshot::Sender<LinkTask>,
}

impl Connection {
    /// Makes a connection, with a task that keeps it: the task closes it when the result is dropped or the transport
    /// shuts down, and frees its slot only then.
    pub(super) async fn new(node: &Arc<Node>, role: Role, deadline: Instant) -> Result<Self, TransportError> {
        if node.shutdown.is_cancelled() {
            return Err(TransportError::ShutDown);
        }
        let slot = node
            .slots
            .clone()
            .try_acquire_owned()
            .map_err(|_| TransportError::TooManyConnections { max: node.config.max_connections })?;
        let (reply, made) = oneshot::channel();
        // The stack leaks a connection whose making is cancelled, so it is made on a task of its own.
        node.tasks.spawn(keep(node.clone(), role, deadline, slot, reply));
        made.await.unwrap_or(Err(TransportError::ShutDown))
    }

    /// Sets `description`, waits for candidates, and returns the complete SDP.
    pub(super) async fn describe(
        &mut self,
        description: RTCSessionDescription,
        deadline: Instant,
    ) -> Result<String, TransportError> {
        self.stack.set_local_description(description).await.map_err(backend)?;
        let last = deadline + FIRST_CANDIDATE_TIMEOUT;
        loop {
            let gathered = self.progress.borrow_and_update().gathered;
            let passes = self.pulse.passes();
            let sdp = self.stack.local_description().await.map(|description| description.sdp).unwrap_or_default();
            let now = Instant::now();
            let reachable = sdp.contains("a=candidate:");
            if reachable && (gathered || now >= deadline) {
                return Ok(sdp::with_window(sdp, self.node.receive_window));
            }
            if gathered {
                return Err(TransportError::NoCandidate);
            }
            if now >= last {
                let after = self.node.config.gather_timeout + FIRST_CANDIDATE_TIMEOUT;
                return Err(TransportError::Deadline { step: "finding a candidate", after });
            }
            tokio::select! {
                // The stack drops the sender only when it is gone, which shows in the next description.
                _ = self.progress.changed() => {}
                () = self.pulse.passed(passes), if now >= deadline => {}
                () = tokio::time::sleep_until(if now < deadline { deadline } else { last }) => {}
                () = self.node.shutdown.cancelled() => return Err(TransportError::ShutDown),
            }
        }
    }

    /// Applies the other side's description.
    pub(super) async fn set_remote(
        &self,
        kind: fn(String) -> webrtc::error::Result<RTCSessionDescription>,
        remote: &str,
    ) -> Result<(), TransportError> {
        sdp::check(remote)?;
        let invalid = |error: webrtc::error::Error| TransportError::InvalidSdp(error.to_string());
        let description = kind(sdp::with_limit(remote, self.node.config.max_frame_bytes)).map_err(invalid)?;
        self.stack.set_remote_description(description).await.map_err(invalid)?;
        self.pulse.described();
        Ok(())
    }

    /// The first channel the other side opens.
    pub(super) async fn adopted(&mut self) -> Option<Arc<dyn DataChannel>> {
        self.adopted.recv().await
    }

    /// Hands the connection to `link`, when which ends it is closed.
    pub(super) fn run(self, link: LinkTask) -> Result<(), TransportError> {
        self.keeper.send(link).map_err(|_| TransportError::ShutDown)
    }
}

/// How far the encrypted session is; nothing if its driver is gone.
pub(super) async fn session(stack: &dyn PeerConnection) -> Option<RTCDtlsTransportState> {
    stack.sctp().await?.transport().state().await.ok()
}

/// Whether the encrypted session has ever been set up. It can be closed before anyone has looked; and one that was refused
/// is closed too.
pub(super) async fn has_been_secure(stack: &dyn PeerConnection) -> bool {
    let Some(sctp) = stack.sctp().await else { return false };
    // They are noted when the handshake is complete, and kept.
    sctp.transport().get_remote_certificates().await.is_ok_and(|certificates| !certificates.is_empty())
}

/// Whether the encrypted session has ended.
pub(super) fn is_over(session: Option<RTCDtlsTransportState>) -> bool {
    matches!(session, None | Some(RTCDtlsTransportState::Closed | RTCDtlsTransportState::Failed))
}

async fn keep(
    node: Arc<Node>,
    role: Role,
    deadline: Instant,
    slot: OwnedSemaphorePermit,
    reply: oneshot::Sender<Result<Connection, TransportError>>,
) {
    let pulse = Arc::new(Pulse::new());
    let (progress_in, progress) = watch::channel(Progress::START);
    let (adopted_in, adopted) = mpsc::channel(1);
    let handler = Handler {
        progress: progress_in,
        adopted: (role == Role::Answerer).then_some(adopted_in),
        has_adopted: AtomicBool::new(false),
        further_channels: AtomicUsize::new(0),
        pulse: pulse.clone(),
    };
    // Boxed, because it takes ten times the memory of what goes on for as long as the connection lives.
    let crew = Arc::new(Crew::default());
    let stack = match Box::pin(build(&node, handler, crew.clone(), deadline)).await {
        Ok(stack) => stack,
        Err(error) => {
            let _ = reply.send(Err(error));
            return;
        }
    };
    let (keeper, link) = oneshot::channel();
    let connection =
        Connection { node: node.clone(), pulse: pulse.clone(), stack: stack.clone(), progress, adopted, keeper };
    // Dropping a refused reply drops the connection, which ends the wait below.
    drop(reply.send(Ok(connection)));
    let link: Option<LinkTask> = tokio::select! {
        // A link that has been handed over runs, if only to see its frames off.
        biased;
        link = link => link.ok(),
        () = node.shutdown.cancelled() => None,
    };
    let finished = match link {
        Some(link) => crew.run(link).await.flatten(),
        None => None,
    };
    // A sleep cut short would cut the driver's last pass short.
    pulse.set_eager(false);
    if let Err(error) = stack.close().await {
        tracing::debug!(%error, "closing a connection");
    }
    drop(slot);
    drop(finished);
}

async fn build(
    node: &Node,
    handler: Handler,
    crew: Arc<Crew>,
    deadline: Instant,
) -> Result<Arc<dyn PeerConnection>, TransportError> {
    let config = &node.config;
    let servers = node.servers.resolve(&config.ice_servers, deadline, &node.tasks, &node.shutdown).await;
    let policy = match config.ice_policy {
        IcePolicy::All => RTCIceTransportPolicy::All,
        IcePolicy::RelayOnly => RTCIceTransportPolicy::Relay,
    };
    let attempts = u16::try_from(config.path_timeout().div_duration_f64(CHECK_INTERVAL) as u64).unwrap_or(u16::MAX);
    let settings = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(
            u32::try_from(config.max_frame_bytes).unwrap_or(SctpMaxMessageSize::MAX_MESSAGE_SIZE),
        ))
        .with_sctp_max_receive_buffer_size(node.receive_window)
        .with_ice_timeouts(
            Some(config.silence_timeout / 2),
            // The agent's clock runs while an offer waits for its answer. A link that has opened is watched by `alive`.
            Some(config.answer_timeout + config.connect_timeout),
            Some(config.silence_timeout / SILENT_STEPS),
        )
        // The stack's own seven attempts are over after 1.6 s, and a pair of addresses is not tried again after that,
        // although the other side may not even have the answer yet.
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(attempts))
        // A pair through a reflexive candidate is taken after this long, for want of a better one. Browsers that hide
        // their addresses are always peer-reflexive; the stack's own second would be felt on every connection to one.
        .with_srflx_acceptance_min_wait(Some(Duration::from_millis(200)))
        .with_prflx_acceptance_min_wait(Some(Duration::from_millis(200)))
        .build();
    let runtime = PulsedRuntime {
        pulse: handler.pulse.clone(),
        crew: Mutex::new(Some(crew)),
        buffers: node.buffers.clone(),
        socket_buffer_bytes: config.socket_buffer_bytes,
    };
    let stack = PeerConnectionBuilder::new()
        .with_configuration(
            RTCConfigurationBuilder::new()
                .with_ice_servers(servers)
                .with_ice_transport_policy(policy)
                .with_certificates(vec![node.certificate.clone()])
                .build(),
        )
        .with_setting_engine(settings)
        .with_handler(Arc::new(handler))
        .with_runtime(Arc::new(runtime))
        .with_udp_addrs(addresses::to_bind(config))
        .build()
        .await
        .map_err(backend)?;
    Ok(Arc::new(stack))
}
