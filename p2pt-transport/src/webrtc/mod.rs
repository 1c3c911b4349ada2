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
//! - **A polite leave** (`close`, dropping both halves, `shutdown`) is sent when what was accepted has been acknowledged,
//!   and is seen by the other side as [`ChannelClosed::Remote`](crate::ChannelClosed::Remote) as soon as it arrives. A
//!   flush that makes no progress is given up after the [close timeout](WebRtcConfig::close_timeout).
//! - **A peer that was killed, froze, or lost its network** says nothing. A link on which nothing at all has been heard
//!   for the [liveness time](WebRtcConfig::idle_timeout), 4 s by default, ends with
//!   [`ChannelClosed::Timeout`](crate::ChannelClosed::Timeout); what it had not acknowledged stays readable. When only one
//!   direction is cut, the side that hears nothing ends so, and tells the other, which sees a close. (A JavaScript peer
//!   that is the one to hear nothing takes half a minute for that.)
//! - **A peer that is busy, slow, or does not read** is not silent: checks go on beside the data, and anything heard counts.
//!   That takes a runtime that runs: a task that blocks it for longer than the liveness time makes all its links die on
//!   the other side.
//! - **A path that is interrupted for less than the liveness time** loses nothing.
//! - **After a suspend** the other sides have given up their links; this side learns it from what they sent meanwhile, or
//!   after its own liveness time, counted in time awake.
//! - **A host that changes its network** loses its links, which are not moved to new addresses; what is offered next has the
//!   addresses of then, read anew while the transport lives. A link goes on when only a translation on its way has given
//!   one side another address, since that side is heard from there.
//! - **An opening that fails** says what of: [`IceFailed`](TransportError::IceFailed) with the candidate types of both
//!   sides after half the [connect timeout](WebRtcConfig::connect_timeout), [`SessionFailed`](TransportError::SessionFailed)
//!   after at most another third, [`ClosedEarly`](TransportError::ClosedEarly) at once, and
//!   [`Deadline`](TransportError::Timeout). Until then it is one of the
//!   [connections](WebRtcConfig::max_connections) and takes some 30 KB; no descriptor, since all connections share those.
//! - **A panic**, which is a defect of this library or of what it is built on, ends the connection in whose turn it happens,
//!   with [`ChannelClosed::Failed`](crate::ChannelClosed::Failed) or [`Backend`](TransportError::Backend). One in what all
//!   connections share, as the asking of servers, ends all of them so, and the transport begins anew.
//! - **A flood of frames under 40 bytes that nobody reads** ends the link at 65,536 of them, because the SCTP stack would
//!   lose them; larger ones make the sender wait, however long.
//!
//! # What it costs
//!
//! - **Descriptors**: at most eight sockets for each local address, of which there are eight at most, however many
//!   connections there are; two for each address as long as there are no more than four offers and four answers, and no two
//!   connections go to the same peer.
//! - **A connection**: some 30 KB while idle, and four checks each way in the liveness time.
//! - **An offer that waits**: some 8 KB. Servers are asked where a socket is reached when the first offer leaves from it, and
//!   again while offers wait, so that those after it take no round trip. Offers that wait have a
//!   [bound of their own](WebRtcConfig::max_offers) and take no place of a connection.
//! - **What a stranger's description may cause**: at most 32 of its candidates are looked at, and seven checks go to an
//!   address that never answers (28 if authentic checks come from there), spread over the time for finding a path. All connections of a transport together make at
//!   most 200 unasked checks a second. Where they may go is [`Destinations`].
//!
//! # What it needs, and what it does not do
//!
//! It must run on a Tokio runtime with time enabled, and I/O unless it runs on a [`Network`] of its own. Between two nodes
//! there may be 16 connections of offers of each, in swarms or beside each other, so 32 swarms in common at the most; the
//! answer to a further offer fails with [`TooManyConnections`](TransportError::TooManyConnections) until one ends. It does not do media, TCP candidates, relays over TCP or TLS, or mDNS: `.local` candidates of browsers are passed
//! over, and such peers are reached by the packets they send.

mod candidate;
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
mod early_tests;
mod endpoint;
#[cfg(test)]
mod endpoint_tests;
mod flight;
mod flow;
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
mod link;
mod outgoing;
mod peer;
#[cfg(test)]
mod peer_tests;
mod pending;
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
mod transaction;

pub use config::{DEFAULT_STUN_SERVERS, Destinations, IcePolicy, IceServer, MAX_FRAME_BYTES, WebRtcConfig};
pub use socket::{DatagramSocket, Network, Received, Resolving};

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ring::digest;
use rtc_dtls::crypto::Certificate;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    core::{Core, Gathered},
    driver::{Shared, drive},
    endpoint::{Endpoint, From, MAX_SETS, OFFER_SETS},
    flow::{LARGEST_WINDOW, lock},
    ice::IceConfig,
    link::{Limits, Link},
    peer::{FLUSH_FACTOR, PeerConfig, Remote},
    pending::Guard,
    relay::Relays,
    sdp::{Description, LocalDescription, Outline, RemoteFingerprint, Setup},
    servers::ServerNames,
    session::{CertificateHash, DtlsRole, SessionConfig},
    sets::{Set, Sets, bare, check_ports},
    socket::SystemNetwork,
    stun::Credentials,
};
use crate::{Fingerprint, PendingAnswer, PendingOffer, Transport, TransportError};

/// How long an offer waits for its first candidate when even those take longer than the gathering deadline. Host
/// candidates are there at once; this matters with relays only.
const FIRST_CANDIDATE_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections of one node's offers that there can be between the same two nodes: each socket that offers leave from has one
/// with each that answers leave from.
const MAX_BETWEEN_TWO: usize = OFFER_SETS * (MAX_SETS - OFFER_SETS);

/// How often a set of sockets is chosen anew for a connection, each time because others have taken it meanwhile.
const MAX_TRIES: usize = 2 * MAX_SETS;

/// What all connections of one transport share.
struct Node {
    config: WebRtcConfig,
    servers: ServerNames,
    /// Look-ups of server names.
    tasks: TaskTracker,
    shutdown: CancellationToken,
    fingerprint: Fingerprint,
    shared: Arc<Shared>,
    is_started: Once,
    /// The driver has ended.
    driven: CancellationToken,
    has_started: AtomicBool,
}

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

    /// As [`new`](Self::new), on a network other than the system's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
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
        let core = Core::new(Endpoint::new(peers), relays, &config);
        Ok(Self {
            node: Arc::new(Node {
                fingerprint: Fingerprint(fingerprint),
                shared: Arc::new(Shared::new(core, Sets::new(network.clone()))),
                servers: ServerNames::new(network),
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

impl Node {
    fn is_shut_down(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Starts the driver, on the runtime of the first caller.
    fn start(&self) -> Result<(), TransportError> {
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
    fn read(&self, sdp: &str) -> Result<Description, TransportError> {
        let description = Description::parse(sdp).map_err(|error| TransportError::InvalidSdp(error.to_string()))?;
        // A tracker that reflects offers would make a node meet itself.
        if description.fingerprint.sha256() == Some(self.fingerprint) {
            return Err(TransportError::InvalidSdp("it is of this node itself: a=fingerprint is its own".to_owned()));
        }
        if description.sctp_port != sdp::DEFAULT_SCTP_PORT {
            let port = description.sctp_port;
            return Err(TransportError::InvalidSdp(format!("a=sctp-port:{port} is not 5000, which everybody uses")));
        }
        Ok(description)
    }

    /// What a connection needs of the other side's description.
    fn remote(&self, description: &Description, dtls_role: DtlsRole) -> Remote {
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

    fn limits(&self, remote: &Description) -> Limits {
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

    async fn prepare_offer(self: &Arc<Self>) -> Result<pending::Offer, TransportError> {
        self.start()?;
        // Dropped after the lock of the core, however this ends.
        let reserved = self.set_for_offer()?;
        let gathered = self.gather(&reserved.from.sockets).await?;
        let kinds = gathered.candidates.iter().map(|candidate| candidate.kind).collect();
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
        let link = Link::new(key, &self.config);
        core.attach(key, link.clone());
        let credentials = core.endpoint.peer(key).map(|peer| peer.credentials().clone());
        drop(core);
        self.shared.wake();
        let guard = Guard { node: self.clone(), link, is_armed: true };
        let credentials = credentials.ok_or(TransportError::ShutDown)?;
        let sdp = self.describe(&credentials, &gathered, &Outline::default(), Setup::ActPass, window);
        Ok(pending::Offer { guard, sdp, kinds })
    }

    async fn prepare_answer(self: &Arc<Self>, offer_sdp: &str) -> Result<pending::Answer, TransportError> {
        // Before a socket is opened for it.
        let offer = self.read(offer_sdp)?;
        self.start()?;
        let setup = offer.answer_setup();
        let role = if setup == Setup::Active { DtlsRole::Client } else { DtlsRole::Server };
        let remote = self.remote(&offer, role);
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
        let kinds = gathered.candidates.iter().map(|candidate| candidate.kind).collect();
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
        let link = Link::new(key, &self.config);
        link.set_limits(self.limits(&offer));
        core.attach(key, link.clone());
        let credentials = core.endpoint.peer(key).map(|peer| peer.credentials().clone());
        drop(core);
        self.shared.wake();
        let guard = Guard { node: self.clone(), link, is_armed: true };
        let credentials = credentials.ok_or(TransportError::ShutDown)?;
        let sdp = self.describe(&credentials, &gathered, &offer.outline, setup, window);
        Ok(pending::Answer { guard, sdp, kinds, remote: offer })
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

#[async_trait]
impl Transport for WebRtc {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        Ok(Box::new(self.node.prepare_offer().await?))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        Ok(Box::new(self.node.prepare_answer(offer_sdp).await?))
    }

    async fn shutdown(&self) {
        self.node.shared.ended.store(true, Ordering::Release);
        self.node.shutdown.cancel();
        self.node.tasks.close();
        {
            let core = lock(&self.node.shared.core);
            for link in core.links() {
                link.shut_down.store(true, Ordering::Release);
                link.close.store(true, Ordering::Release);
                self.node.shared.touch(link);
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
