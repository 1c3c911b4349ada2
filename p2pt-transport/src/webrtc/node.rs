//! What all connections of a transport share, and how an offer or an answer is made: from which sockets, and where those can
//! be reached.

use std::{
    net::SocketAddr,
    sync::{
        Arc, MutexGuard, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ring::digest;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::IcePolicy;

use super::{
    WebRtcConfig,
    buffers::{LARGEST_WINDOW, lock},
    channel::{ChannelState, Limits},
    core::{Core, Gathered},
    driver::{Shared, drive},
    endpoint::{From, Key, MAX_SETS, OFFER_SETS},
    peer::Remote,
    pending::{self, Guard},
    reachability::SharedReachability,
    sdp::{self, CandidateKinds, Description, LocalDescription, Outline, RemoteFingerprint, Setup},
    servers::ServerNames,
    session::{CertificateHash, DtlsRole},
    sets::{Set, bare},
    stun::Credentials,
};
use crate::{Fingerprint, TransportError};

/// How long an offer waits for its first candidate when even those take longer than the gathering deadline. Host
/// candidates are there at once; this matters with relays only.
const FIRST_CANDIDATE_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections of one node's offers that there can be between the same two nodes: each socket that offers leave from has one
/// with each that answers leave from.
const MAX_BETWEEN_TWO: usize = OFFER_SETS * (MAX_SETS - OFFER_SETS);

/// How often a set of sockets is chosen anew for a connection, each time because others have taken it meanwhile.
const MAX_TRIES: usize = 2 * MAX_SETS;

/// What all connections of one transport share.
pub(super) struct Node {
    pub(super) config: WebRtcConfig,
    pub(super) servers: ServerNames,
    /// Which servers are of use.
    pub(super) reachability: Arc<SharedReachability>,
    /// Look-ups of server names.
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    pub(super) fingerprint: Fingerprint,
    pub(super) shared: Arc<Shared>,
    pub(super) is_started: Once,
    /// The driver has ended.
    pub(super) driven: CancellationToken,
    pub(super) has_started: AtomicBool,
}

impl Node {
    pub(super) fn is_shut_down(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Starts the driver, on the runtime of the first caller.
    pub(super) fn start(&self) -> Result<(), TransportError> {
        if self.is_shut_down() {
            return Err(TransportError::ShutDown);
        }
        self.is_started.call_once(|| {
            self.has_started.store(true, Ordering::Release);
            let (driver, driven) = (drive(self.shared.clone()), self.driven.clone().drop_guard());
            tokio::spawn(async move {
                let _driven = driven;
                driver.await;
            });
        });
        Ok(())
    }

    /// The sockets of a set.
    fn set(&self, number: usize) -> Result<Reserved, TransportError> {
        // Held to the end: a call that finds these sockets bound finds the windows fitted to them, and a driver that knows them.
        let mut sets = lock(&self.shared.sets);
        let is_used = |address| lock(&self.shared.core).endpoint.uses(address);
        let Set { sockets, opened, closed } = sets.set(number, &self.config, is_used)?;
        if !closed.is_empty() {
            lock(&self.shared.core).forget_sockets(Instant::now().into_std(), &closed);
            self.shared.sockets_changed();
        }
        if opened {
            let granted = sockets.iter().map(|socket| socket.receive_buffer_bytes()).min().unwrap_or(0);
            self.size_windows(granted);
            self.shared.sockets_changed();
        }
        let from = From { set: number, sockets: sockets.iter().map(|socket| bare(socket.local_addr())).collect() };
        let reservation = lock(&self.shared.core).endpoint.reserve(from.clone());
        drop(sets);
        Ok(Reserved { from, reservation, shared: self.shared.clone() })
    }

    /// Fits the receive windows to the sockets' buffers.
    ///
    /// SCTP sends a whole window unpaced; what the receiving socket cannot hold is lost and costs retransmission time-outs
    /// of a second. Linux reports twice the payload a buffer holds, and counts about twice a datagram's size against it,
    /// hence the quarter. The window must hold the largest frame, and not too many of the smallest.
    fn size_windows(&self, granted: usize) {
        let window = (granted / 4).clamp(self.config.max_frame_bytes * 3 / 2, LARGEST_WINDOW);
        if window < LARGEST_WINDOW {
            tracing::debug!(
                granted,
                window,
                asked = self.config.socket_buffer_bytes,
                "small UDP buffers limit throughput; on Linux raise net.core.rmem_max and wmem_max"
            );
        }
        let budget = u32::try_from(granted / 4).unwrap_or(u32::MAX);
        lock(&self.shared.core).endpoint.set_windows(u32::try_from(window).unwrap_or(u32::MAX), budget);
    }

    /// Finds out where a connection that leaves from these sockets can be reached, within the gathering deadline; where
    /// there is nothing else, a little longer.
    async fn gather(&self, sockets: &[SocketAddr]) -> Result<Gathered, TransportError> {
        let relay_only = self.config.ice_policy == IcePolicy::RelayOnly;
        let deadline = Instant::now() + self.config.gather_timeout;
        if !self.config.ice_servers.is_empty() {
            tracing::debug!(sockets = sockets.len(), servers = self.config.ice_servers.len(), "gathering candidates");
            let servers = self.servers.resolve(&self.config.ice_servers, deadline, &self.tasks, &self.shutdown).await;
            lock(&self.shared.core).ask(Instant::now().into_std(), sockets, &servers);
            self.shared.wake();
        }
        let last = deadline + FIRST_CANDIDATE_TIMEOUT;
        let learned = lock(&self.shared.core).learned.clone();
        loop {
            let mut waits = std::pin::pin!(learned.notified());
            waits.as_mut().enable();
            let (settled, gathered) = {
                let core = lock(&self.shared.core);
                (core.is_settled(sockets), core.gathered(sockets, relay_only))
            };
            let (now, reachable) = (Instant::now(), !gathered.candidates.is_empty());
            if reachable && (settled || now >= deadline) {
                if !self.config.ice_servers.is_empty() {
                    tracing::debug!(candidates = gathered.candidates.len(), settled, "candidates gathered");
                }
                return Ok(gathered);
            }
            if settled {
                return Err(TransportError::NoCandidate);
            }
            if now >= last {
                let after = self.config.gather_timeout + FIRST_CANDIDATE_TIMEOUT;
                return Err(TransportError::Timeout { step: "finding a candidate", after });
            }
            tokio::select! {
                () = waits => {}
                () = tokio::time::sleep_until(if now < deadline { deadline } else { last }) => {}
                () = self.shutdown.cancelled() => return Err(TransportError::ShutDown),
            }
        }
    }

    /// Reads a description, which may be anything.
    pub(super) fn read(&self, sdp: &str) -> Result<Description, TransportError> {
        let description = Description::parse(sdp).map_err(|error| TransportError::InvalidSdp(error.to_string()))?;
        // A tracker that reflects offers would make a node meet itself.
        if description.fingerprint.sha256() == Some(self.fingerprint) {
            return Err(TransportError::InvalidSdp("it is of this node itself: a=fingerprint is its own".to_owned()));
        }
        if description.sctp_port != sdp::DEFAULT_SCTP_PORT {
            let port = description.sctp_port;
            return Err(TransportError::InvalidSdp(format!("a=sctp-port:{port} is not supported, only 5000 is")));
        }
        Ok(description)
    }

    /// What a connection needs of the other side's description.
    pub(super) fn remote(&self, description: &Description, dtls_role: DtlsRole) -> Remote {
        let algorithm = match description.fingerprint {
            RemoteFingerprint::Sha256(_) => &digest::SHA256,
            RemoteFingerprint::Sha384(_) => &digest::SHA384,
            RemoteFingerprint::Sha512(_) => &digest::SHA512,
        };
        Remote {
            credentials: Credentials { ufrag: description.ufrag.clone(), pwd: description.pwd.clone() },
            certificate: CertificateHash { algorithm, bytes: description.fingerprint.bytes().to_vec() },
            candidates: description.candidates.clone(),
            dtls_role,
            is_lite: description.ice_lite,
            shares_sockets: description.close_by_reset,
            closes_by_reset: description.close_by_reset,
        }
    }

    pub(super) fn limits(&self, remote: &Description) -> Limits {
        Limits { max_frame_bytes: remote.max_frame_bytes(self.config.max_frame_bytes), window: remote.window }
    }

    /// Writes the description of a connection.
    fn describe(
        &self,
        credentials: &Credentials,
        gathered: &Gathered,
        outline: &Outline,
        setup: Setup,
        window: u32,
    ) -> String {
        LocalDescription {
            session_id: rand::random(),
            outline,
            ufrag: &credentials.ufrag,
            pwd: &credentials.pwd,
            fingerprint: self.fingerprint,
            setup,
            max_message_bytes: self.config.max_frame_bytes,
            candidates: &gathered.candidates,
            window,
        }
        .to_string()
    }

    pub(super) async fn prepare_offer(self: &Arc<Self>) -> Result<pending::Offer, TransportError> {
        self.start()?;
        // Dropped after the lock of the core, however this ends.
        let reserved = self.set_for_offer()?;
        let gathered = self.gather(&reserved.from.sockets).await?;
        let kinds: CandidateKinds = gathered.candidates.iter().map(|candidate| candidate.kind).collect();
        // JavaScript peers expose the label and key channels by it: it must be unique, and they use 40 hex characters.
        let label: String = (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect();
        let mut core = lock(&self.shared.core);
        if self.is_shut_down() {
            return Err(TransportError::ShutDown);
        }
        // The second count takes longer, and is less only while offers are being given up.
        if core.endpoint.waiting() >= self.config.max_offers && core.waiting() >= self.config.max_offers {
            return Err(TransportError::TooManyConnections { max: self.config.max_offers });
        }
        let key = core.endpoint.offer(Instant::now().into_std(), reserved.from.clone(), label, gathered.bases.clone());
        let window = core.endpoint.window();
        let (guard, credentials) = self.attach(core, key, ChannelState::new(key, &self.config))?;
        let sdp = self.describe(&credentials, &gathered, &Outline::default(), Setup::ActPass, window);
        tracing::debug!(connection = key, candidates = %kinds, "offer made");
        Ok(pending::Offer { guard, sdp, kinds })
    }

    pub(super) async fn prepare_answer(self: &Arc<Self>, offer_sdp: &str) -> Result<pending::Answer, TransportError> {
        // Before a socket is opened for it.
        let offer = self.read(offer_sdp)?;
        self.start()?;
        let setup = offer.answer_setup();
        let role = if setup == Setup::Active { DtlsRole::Client } else { DtlsRole::Server };
        let remote = self.remote(&offer, role);
        tracing::debug!(remote_candidates = %offer.kinds, "offer received");
        let mut tries = 0;
        // In this order: what is reserved is dropped after the lock of the core, however this ends.
        let (reserved, gathered, mut core) = loop {
            let reserved = self.free_set(&remote)?;
            let gathered = self.gather(&reserved.from.sockets).await?;
            let core = lock(&self.shared.core);
            // While that took its time, another offer from the same addresses may have been answered from there.
            if core.endpoint.is_free(&reserved.from.sockets, &remote) {
                break (reserved, gathered, core);
            }
            tries += 1;
            if tries == MAX_TRIES {
                return Err(TransportError::TooManyConnections { max: MAX_BETWEEN_TWO });
            }
        };
        let kinds: CandidateKinds = gathered.candidates.iter().map(|candidate| candidate.kind).collect();
        if self.is_shut_down() {
            return Err(TransportError::ShutDown);
        }
        if core.endpoint.connecting() >= self.config.max_connections {
            return Err(TransportError::TooManyConnections { max: self.config.max_connections });
        }
        let key = core
            .endpoint
            .answer(Instant::now().into_std(), reserved.from.clone(), gathered.bases.clone(), remote)
            .map_err(|error| TransportError::Backend(error.into()))?;
        let window = core.endpoint.window();
        let channel = ChannelState::new(key, &self.config);
        channel.set_limits(self.limits(&offer));
        let (guard, credentials) = self.attach(core, key, channel)?;
        let sdp = self.describe(&credentials, &gathered, &offer.outline, setup, window);
        tracing::debug!(connection = key, candidates = %kinds, "answer made");
        Ok(pending::Answer { guard, sdp, kinds, remote: offer })
    }

    /// Gives a connection that has just been made the state of its channel, and unlocks the core.
    fn attach(
        self: &Arc<Self>,
        mut core: MutexGuard<'_, Core>,
        key: Key,
        channel: Arc<ChannelState>,
    ) -> Result<(Guard, Credentials), TransportError> {
        core.attach(key, channel.clone());
        let credentials = core.endpoint.peer(key).map(|peer| peer.credentials().clone());
        drop(core);
        self.shared.wake();
        let guard = Guard { node: self.clone(), channel, is_armed: true };
        Ok((guard, credentials.ok_or(TransportError::ShutDown)?))
    }

    /// The set that an offer leaves from. Where a fixed port is taken, another set will do.
    fn set_for_offer(&self) -> Result<Reserved, TransportError> {
        let best = lock(&self.shared.core).endpoint.set_for_offer();
        self.set(best).or_else(|error| {
            let others = (0..OFFER_SETS).filter(|set| *set != best);
            others.map(|set| self.set(set)).find_map(Result::ok).ok_or(error)
        })
    }

    /// The best set for an answer of those that can be bound and from which no connection goes to any address of the offer.
    ///
    /// Answers are spread, since all that leave from a set share its receive buffers; but none waits for servers to say
    /// where a further set is reached, which they are asked in the background. Where relays are the only way, one
    /// allocation is to serve all.
    fn free_set(self: &Arc<Self>, remote: &Remote) -> Result<Reserved, TransportError> {
        let mut sets = lock(&self.shared.core).endpoint.sets_for_answer();
        if self.config.ice_policy == IcePolicy::RelayOnly {
            sets.sort_unstable();
        }
        let mut bound = Vec::new();
        let mut failure = None;
        let mut unknown: Option<Reserved> = None;
        for (set, load) in sets {
            if unknown.is_some() && load == 0 {
                continue;
            }
            let reserved = match self.set(set) {
                Ok(reserved) => reserved,
                Err(error) => {
                    failure.get_or_insert(error);
                    continue;
                }
            };
            let sockets = &reserved.from.sockets;
            let (is_free, is_known) = {
                let core = lock(&self.shared.core);
                (core.endpoint.is_free(sockets, remote), self.config.ice_servers.is_empty() || core.is_known(sockets))
            };
            if !is_free {
                bound.push(reserved);
            } else if !is_known {
                unknown.get_or_insert(reserved);
            } else {
                if let Some(unknown) = unknown {
                    let node = self.clone();
                    self.tasks.spawn(async move { node.gather(&unknown.from.sockets).await.map(|_| ()) });
                }
                return Ok(reserved);
            }
        }
        if let Some(unknown) = unknown {
            return Ok(unknown);
        }
        if let Some(error) = failure.filter(|_| bound.is_empty()) {
            return Err(error);
        }
        let now = Instant::now().into_std();
        for reserved in bound {
            let has_room = lock(&self.shared.core).endpoint.evict(now, &reserved.from.sockets, remote);
            if has_room {
                self.shared.wake();
                return Ok(reserved);
            }
        }
        Err(TransportError::TooManyConnections { max: MAX_BETWEEN_TWO })
    }
}

/// The sockets of a set, which stay open, and count as used, for as long as this lives: until there is a connection that
/// leaves from them. Not to be dropped while the core is locked.
struct Reserved {
    from: From,
    reservation: u64,
    shared: Arc<Shared>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        lock(&self.shared.core).endpoint.give_back(self.reservation);
    }
}
