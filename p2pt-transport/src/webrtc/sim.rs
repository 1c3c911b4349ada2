//! Whole endpoints over a network that exists in memory, under a clock of its own: for tests and fuzz targets. There is no
//! runtime and no socket.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use ring::digest;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::crypto::Certificate;

use super::{
    candidate::{Candidate, CandidateKind},
    datagram::Datagram,
    endpoint::{Endpoint, From, Key},
    ice::{Base, IceConfig},
    peer::{End, Peer, PeerConfig, PeerEvent, Remote, Stage},
    session::{CertificateHash, DtlsRole, SessionConfig},
};
use crate::Frame;

/// The receive window of a connection, unless a test says otherwise, in bytes.
pub(crate) const WINDOW: u32 = 1_310_720;

/// What a node of a test takes for its silence timeout.
pub(crate) const SILENCE: Duration = Duration::from_secs(4);

pub(crate) fn crypto() -> Arc<dyn RTCCryptoProvider> {
    rtc_crypto::default_provider().expect("a provider is built in")
}

/// Some instant to count from, far enough from the clock's beginning.
#[allow(clippy::disallowed_methods, reason = "state machines only add to it; which one it is does not matter")]
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(|| Instant::now() + Duration::from_secs(1000))
}

/// A certificate for each number, made once for a process.
fn certificate(number: usize) -> Certificate {
    static MADE: OnceLock<Vec<Certificate>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let make = |_| Certificate::generate_self_signed(vec!["test".to_owned()], crypto().crypto());
        (0..4).map(make).collect::<Result<_, _>>().expect("certificates")
    });
    made[number % made.len()].clone()
}

/// The hash of a certificate by one of the functions that descriptions name.
pub(crate) fn hash(certificate: &Certificate, algorithm: &'static digest::Algorithm) -> CertificateHash {
    let bytes = digest::digest(algorithm, certificate.certificate[0].as_ref()).as_ref().to_vec();
    CertificateHash { algorithm, bytes }
}

/// What the peers of node `number` are made with: the defaults of a transport.
pub(crate) fn peer_config(number: usize) -> PeerConfig {
    let crypto = crypto();
    PeerConfig {
        ice: IceConfig {
            destinations: crate::webrtc::Destinations::Any,
            crypto: crypto.clone(),
            silence: SILENCE,
            path_timeout: Duration::from_secs(15),
            epoch: epoch(),
        },
        session: SessionConfig { crypto, certificate: certificate(number), window: WINDOW, max_frame_bytes: 98_304 },
        answer_timeout: Duration::from_secs(120),
        connect_timeout: Duration::from_secs(30),
        session_timeout: Duration::from_secs(10),
        close_timeout: crate::webrtc::WebRtcConfig::default().close_timeout,
    }
}

/// The socket of node `node` in its set `set`.
pub(crate) fn socket(node: usize, set: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, node as u8, 1], 5000 + set as u16))
}

pub(crate) fn host_candidate(address: SocketAddr) -> Candidate {
    Candidate { address, kind: CandidateKind::Host, priority: CandidateKind::Host.priority(0) }
}

pub(crate) fn host_base(address: SocketAddr) -> Base {
    Base { address, kind: CandidateKind::Host, priority: CandidateKind::Host.priority(0) }
}

/// One endpoint, and what its connections have reported.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: PeerConfig,
    /// Events of connections, also of those that are gone.
    pub(crate) events: HashMap<Key, Vec<PeerEvent>>,
    /// Received frames of connections that read.
    pub(crate) frames: HashMap<Key, Vec<Frame>>,
    /// Frames are taken from the connections as they come.
    pub(crate) reads: bool,
    /// But not from this one.
    pub(crate) ignored: Option<Key>,
    /// What a channel says that has not come to its connection, in bytes.
    pub(crate) unsent: u64,
    /// What was outstanding when a connection was over, in bytes.
    pub(crate) left: HashMap<Key, usize>,
    /// The frames that were unread then, of connections that do not read.
    pub(crate) unread: HashMap<Key, Vec<Frame>>,
    /// Every datagram it has sent, with the time, if that is asked for.
    pub(crate) log: Option<Vec<(Instant, Datagram)>>,
}

impl Node {
    fn new(number: usize) -> Self {
        let config = peer_config(number);
        Self {
            endpoint: Endpoint::new(config.clone()),
            config,
            events: HashMap::new(),
            frames: HashMap::new(),
            reads: true,
            ignored: None,
            unsent: 0,
            left: HashMap::new(),
            unread: HashMap::new(),
            log: None,
        }
    }

    pub(crate) fn peer(&mut self, key: Key) -> &mut Peer {
        self.endpoint.peer(key).expect("a connection of this number")
    }

    pub(crate) fn hash(&self) -> CertificateHash {
        hash(&self.config.session.certificate, &digest::SHA256)
    }

    /// Why a connection has ended, and at which stage.
    pub(crate) fn end(&self, key: Key) -> Option<(Stage, End)> {
        match self.events.get(&key)?.last()? {
            PeerEvent::Ended { stage, end } => Some((*stage, end.clone())),
            PeerEvent::Open { .. } => None,
        }
    }

    /// Whether the latest connection of this number is open.
    pub(crate) fn is_open(&self, key: Key) -> bool {
        matches!(self.events.get(&key).and_then(|events| events.last()), Some(PeerEvent::Open { .. }))
    }

    pub(crate) fn received(&self, key: Key) -> &[Frame] {
        self.frames.get(&key).map_or(&[], Vec::as_slice)
    }

    /// What a connection that is over had received and not read.
    pub(crate) fn remains(&mut self, key: Key) -> Vec<Frame> {
        self.unread.remove(&key).unwrap_or_default()
    }

    fn serve(&mut self, now: Instant, key: Key) {
        let Some(peer) = self.endpoint.peer(key) else { return };
        while let Some(event) = peer.poll_event() {
            if matches!(event, PeerEvent::Ended { .. }) {
                self.left.insert(key, peer.outstanding());
            }
            self.events.entry(key).or_default().push(event);
        }
        if peer.is_done() {
            // As a transport does with a connection that is over, before it is forgotten.
            let unread = std::iter::from_fn(|| peer.receive(now)).collect();
            self.unread.insert(key, unread);
        }
        while self.reads
            && self.ignored != Some(key)
            && let Some(frame) = peer.receive(now)
        {
            self.frames.entry(key).or_default().push(frame);
        }
        peer.set_unsent(now, self.unsent);
    }

    /// Does what is due; at most `most` received datagrams are processed.
    pub(crate) fn turn(&mut self, now: Instant, most: usize) -> VecDeque<Datagram> {
        let mut out = VecDeque::new();
        self.endpoint.process(now, most);
        self.endpoint.handle_timeout(now);
        while let Some(key) = self.endpoint.poll_listed() {
            self.serve(now, key);
            self.endpoint.transmit(now, key, &mut out);
        }
        if let Some(log) = &mut self.log {
            log.extend(out.iter().map(|datagram| (now, datagram.clone())));
        }
        out
    }
}

/// Decides whether a datagram arrives.
pub(crate) type Carries = Box<dyn FnMut(Instant, &Datagram) -> bool>;

/// Nodes and the network between them.
pub(crate) struct Sim {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) delay: Duration,
    pub(crate) carries: Carries,
    /// Datagrams to addresses of no node, with the time.
    pub(crate) strays: Vec<(Instant, Datagram)>,
    routes: HashMap<SocketAddr, usize>,
    /// The address that a socket has outside.
    rebound: HashMap<SocketAddr, SocketAddr>,
    queue: BTreeMap<(Instant, u64), Datagram>,
    carried: u64,
}

impl Sim {
    /// `nodes` endpoints a millisecond apart.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            now: epoch(),
            nodes: (0..nodes).map(Node::new).collect(),
            delay: Duration::from_millis(1),
            carries: Box::new(|_, _| true),
            strays: Vec::new(),
            routes: HashMap::new(),
            rebound: HashMap::new(),
            queue: BTreeMap::new(),
            carried: 0,
        }
    }

    /// The sockets of a set of a node, which exist from now on.
    pub(crate) fn from(&mut self, node: usize, set: usize) -> From {
        let address = socket(node, set);
        self.routes.insert(address, node);
        From { set, sockets: Arc::from([address]) }
    }

    /// What the description of a connection says of it to the other side.
    pub(crate) fn remote(&mut self, (node, key): (usize, Key), set: usize, dtls_role: DtlsRole) -> Remote {
        Remote {
            credentials: self.nodes[node].peer(key).credentials().clone(),
            certificate: self.nodes[node].hash(),
            candidates: vec![host_candidate(socket(node, set))],
            dtls_role,
            is_lite: false,
            shares_sockets: true,
            closes_by_reset: true,
        }
    }

    pub(crate) fn offer(&mut self, node: usize, set: usize) -> Key {
        let from = self.from(node, set);
        let bases = vec![host_base(socket(node, set))];
        let key = self.nodes[node].endpoint.offer(self.now, from, format!("of node {node}"), bases);
        self.pump();
        key
    }

    /// Answers as [`Endpoint::answer`] does, from a set that is given.
    pub(crate) fn answer(&mut self, node: usize, set: usize, remote: Remote) -> Key {
        let from = self.from(node, set);
        let bases = vec![host_base(socket(node, set))];
        let key = self.nodes[node].endpoint.answer(self.now, from, bases, remote).expect("a session");
        self.pump();
        key
    }

    pub(crate) fn accept(&mut self, node: usize, key: Key, remote: Remote) {
        let now = self.now;
        self.nodes[node].peer(key).set_remote(now, remote).expect("a session");
        self.touch(node, key);
    }

    /// Node `a` offers, `b` answers from set `set`, and the answer arrives at once.
    pub(crate) fn connect(&mut self, a: usize, b: usize, set: usize) -> (Key, Key) {
        let offer = self.offer(a, 0);
        let remote = self.remote((a, offer), 0, DtlsRole::Client);
        let answer = self.answer(b, set, remote);
        let remote = self.remote((b, answer), set, DtlsRole::Server);
        self.accept(a, offer, remote);
        (offer, answer)
    }

    /// Connects two nodes by [`connect`](Self::connect), and runs until both are open.
    pub(crate) fn open(&mut self, a: usize, b: usize) -> (Key, Key) {
        let (offer, answer) = self.connect(a, b, 4);
        let is_open = |sim: &Self| sim.nodes[a].is_open(offer) && sim.nodes[b].is_open(answer);
        assert!(self.run_until(Duration::from_secs(10), is_open), "{:?}", self.nodes[a].events);
        (offer, answer)
    }

    pub(crate) fn touch(&mut self, node: usize, key: Key) {
        self.nodes[node].endpoint.list(key);
        self.pump();
    }

    pub(crate) fn send(&mut self, node: usize, key: Key, frame: Frame) {
        let now = self.now;
        self.nodes[node].peer(key).send(now, frame).expect("the channel takes it");
    }

    pub(crate) fn close(&mut self, node: usize, key: Key) {
        let now = self.now;
        self.nodes[node].peer(key).close(now);
        self.touch(node, key);
    }

    /// From now on `socket` is seen and reached at `outside` only.
    pub(crate) fn rebind(&mut self, socket: SocketAddr, outside: SocketAddr) {
        if let Some(node) = self.routes.get(&socket).copied() {
            self.routes.insert(outside, node);
            self.rebound.insert(socket, outside);
        }
    }

    /// Has a datagram arrive now.
    pub(crate) fn arrive(&mut self, node: usize, remote: SocketAddr, local: SocketAddr, data: &[u8]) {
        self.nodes[node].endpoint.receive(Datagram { local, remote, data: data.into() });
        self.pump();
    }

    /// Puts a datagram on its way, as its sender writes it: `local` is the sender.
    pub(crate) fn put(&mut self, datagram: Datagram) {
        if !(self.carries)(self.now, &datagram) {
            return;
        }
        self.carried += 1;
        if self.rebound.contains_key(&datagram.remote) {
            return;
        }
        let inside = self.rebound.iter().find(|(_, outside)| **outside == datagram.remote).map(|(inside, _)| *inside);
        let arrived = Datagram {
            local: inside.unwrap_or(datagram.remote),
            remote: self.rebound.get(&datagram.local).copied().unwrap_or(datagram.local),
            data: datagram.data,
        };
        self.queue.insert((self.now + self.delay, self.carried), arrived);
    }

    /// Does what every node has to do now.
    pub(crate) fn pump(&mut self) {
        for node in 0..self.nodes.len() {
            for turns in 0.. {
                assert!(turns < 1000, "there is always something to do: a timer that fired is set again in the past");
                for datagram in self.nodes[node].turn(self.now, 64) {
                    if self.routes.contains_key(&datagram.remote) {
                        self.put(datagram);
                    } else {
                        self.strays.push((self.now, datagram));
                    }
                }
                let is_due = self.nodes[node].endpoint.next_timeout().is_some_and(|next| next <= self.now);
                if !is_due && !self.nodes[node].endpoint.process(self.now, 0) {
                    break;
                }
            }
        }
    }

    /// Whether something has happened by `last`; the time is then that of it.
    pub(crate) fn step(&mut self, last: Instant) -> bool {
        let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
        let timers = self.nodes.iter().filter_map(|node| node.endpoint.next_timeout()).min();
        let Some(next) = [arrival, timers].into_iter().flatten().min().filter(|next| *next <= last) else {
            self.now = self.now.max(last);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let datagram = entry.remove();
            if let Some(node) = self.routes.get(&datagram.local) {
                self.nodes[*node].endpoint.receive(datagram);
            }
        }
        self.pump();
        true
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let last = self.now + time;
        while self.step(last) {}
    }

    /// Whether `is_so` comes true within `time`.
    pub(crate) fn run_until(&mut self, time: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let last = self.now + time;
        while !is_so(self) {
            if !self.step(last) {
                return is_so(self);
            }
        }
        true
    }
}
