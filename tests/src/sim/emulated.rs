//! Simulations over the network emulator: each node on a host of its own, with whatever transport runs there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p2pt_transport::IceServer;
use p2pt_transport::Transport;
use p2pt_transport::emulator::{Host, Internet, Nat, NatKind, Path};
use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};

use super::Underlay;

/// How long one way between two nodes takes at first: as long as in the memory network.
const LATENCY: Duration = Duration::from_millis(10);

/// A node of an [`Emulated`] network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmulatedNode(usize);

impl fmt::Display for EmulatedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

type Place = dyn Fn(&Internet, usize) -> Host + Send + Sync;
type Make = dyn Fn(&Host) -> Arc<dyn Transport> + Send + Sync;

/// Nodes on the hosts of an emulated internet.
///
/// A stopped node is one without a network: its timers run. Connections cannot be refused; NATs do that.
#[derive(Clone)]
pub struct Emulated {
    /// Where everything else can be set.
    pub internet: Internet,
    place: Arc<Place>,
    make: Arc<Make>,
    gateways: Arc<Mutex<BTreeMap<usize, Nat>>>,
    nodes: Arc<Mutex<Nodes>>,
}

struct Nodes {
    hosts: Vec<Host>,
    /// What all lines are like but for the delay and the jitter.
    path: Path,
    /// In which partition each node is, of those that are in one.
    partitions: BTreeMap<usize, usize>,
    next_partition: usize,
}

impl fmt::Debug for Emulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulated").field("nodes", &self.nodes().hosts.len()).finish_non_exhaustive()
    }
}

impl Emulated {
    /// A network whose nodes are where `place` puts the one of each number, on lines like `path` with a delay of 10 ms
    /// from node to node, and run what `make` makes for each host.
    pub fn new(
        internet: Internet,
        path: Path,
        place: impl Fn(&Internet, usize) -> Host + Send + Sync + 'static,
        make: impl Fn(&Host) -> Arc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        let path = path.delay(LATENCY / 2).jitter(Duration::ZERO);
        let nodes = Nodes { hosts: Vec::new(), path, partitions: BTreeMap::new(), next_partition: 1 };
        Self {
            internet,
            place: Arc::new(place),
            make: Arc::new(make),
            nodes: Arc::new(Mutex::new(nodes)),
            gateways: Arc::default(),
        }
    }

    /// A network of WebRTC transports with a STUN server, on lines like `path`, whose nodes are behind these NATs in turn,
    /// each behind one of its own; `None` is a public address.
    pub fn webrtc(seed: u64, path: Path, nats: &'static [Option<NatKind>]) -> Self {
        let internet = Internet::new(seed);
        let server = IceServer::stun(format!("stun:{}", internet.stun_server().expect("an address")));
        let config = WebRtcConfig::default().ice_servers([server]);
        let gateways: Arc<Mutex<BTreeMap<usize, Nat>>> = Arc::default();
        let built = gateways.clone();
        let place = move |internet: &Internet, number: usize| {
            let host = match nats.get(number % nats.len().max(1)).copied().flatten() {
                Some(kind) => internet.nat(kind).and_then(|nat| {
                    let host = nat.host(Path::default());
                    built.lock().unwrap_or_else(PoisonError::into_inner).insert(number, nat);
                    host
                }),
                None => internet.host(Path::default()),
            };
            host.expect("an address")
        };
        let make = move |host: &Host| -> Arc<dyn Transport> {
            Arc::new(WebRtc::with_network(config.clone(), host.network()).expect("a certificate"))
        };
        Self { gateways, ..Self::new(internet, path, place, make) }
    }

    /// [`webrtc`](Self::webrtc) as nodes at home are connected: each datagram is lost with 1 %, and every second node is behind a
    /// NAT of the most common kind.
    pub fn usual(seed: u64) -> Self {
        // Each way takes two lines.
        Self::webrtc(seed, Path::default().loss(0.005), &[None, Some(NatKind::PortRestricted)])
    }

    /// The host of a node.
    pub fn host(&self, node: EmulatedNode) -> Host {
        self.nodes().hosts[node.0].clone()
    }

    /// The NAT in front of a node of [`webrtc`](Self::webrtc), if it is behind one.
    pub fn nat(&self, node: EmulatedNode) -> Option<Nat> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner).get(&node.0).cloned()
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Underlay for Emulated {
    type Node = EmulatedNode;

    fn join(&self) -> (EmulatedNode, Arc<dyn Transport>) {
        let mut nodes = self.nodes();
        let number = nodes.hosts.len();
        let host = (self.place)(&self.internet, number);
        host.set_path(nodes.path.clone());
        nodes.hosts.push(host.clone());
        drop(nodes);
        (EmulatedNode(number), (self.make)(&host))
    }

    fn kill(&self, node: EmulatedNode) {
        self.host(node).set_up(false);
    }

    fn freeze(&self, node: EmulatedNode) {
        self.host(node).set_up(false);
    }

    fn thaw(&self, node: EmulatedNode) {
        self.host(node).set_up(true);
    }

    fn cut_from(&self, from: EmulatedNode, to: EmulatedNode) {
        self.internet.cut_from(&self.host(from), &self.host(to), true);
    }

    fn mend_from(&self, from: EmulatedNode, to: EmulatedNode) {
        self.internet.cut_from(&self.host(from), &self.host(to), false);
    }

    fn partition(&self, apart: &[EmulatedNode]) {
        let mut nodes = self.nodes();
        let partition = nodes.next_partition;
        nodes.next_partition += 1;
        nodes.partitions.extend(apart.iter().map(|node| (node.0, partition)));
        for (a, one) in nodes.hosts.iter().enumerate() {
            for (b, other) in nodes.hosts.iter().enumerate().take(a) {
                if nodes.partitions.get(&a) != nodes.partitions.get(&b) {
                    self.internet.partition(one, other, true);
                }
            }
        }
    }

    fn heal(&self) {
        self.nodes().partitions.clear();
        self.internet.heal();
    }

    fn slow_from(&self, from: EmulatedNode, to: EmulatedNode, delay: Duration) {
        self.internet.slow_from(&self.host(from), &self.host(to), delay);
    }

    fn set_latency(&self, latency_and_jitter: Option<(Duration, Duration)>) {
        let (latency, jitter) = latency_and_jitter.unwrap_or((LATENCY, Duration::ZERO));
        let mut nodes = self.nodes();
        // Each way takes two lines.
        nodes.path = nodes.path.clone().delay(latency / 2).jitter(jitter / 2);
        nodes.hosts.iter().for_each(|host| host.set_path(nodes.path.clone()));
    }

    fn refuse(&self, _: f64) {}

    fn open_channels(&self) -> Option<usize> {
        None
    }

    fn pending(&self) -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSliceMut;

    use p2pt_transport::emulator::NatKind;
    use p2pt_transport::memory::MemoryNetwork;
    use p2pt_transport::webrtc::{DatagramSocket, Received};
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// How long a datagram takes from one to another, if it arrives.
    async fn takes(from: &dyn DatagramSocket, to: &dyn DatagramSocket) -> Option<Duration> {
        let begin = Instant::now();
        from.try_send(to.local_addr(), b"x", 1).unwrap();
        let mut buffer = [0; 8];
        let mut received = [Received { remote: to.local_addr(), bytes: 0, segment_bytes: 1 }];
        let receive = poll_fn(|cx| to.poll_receive(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received));
        timeout(PATIENCE, receive).await.ok().map(|_| begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_those_of_the_emulator() {
        let nowhere = MemoryNetwork::new(1);
        let place = |internet: &Internet, number| match number {
            3 => internet.nat(NatKind::PortRestricted).unwrap().host(Path::default()).unwrap(),
            _ => internet.host(Path::default()).unwrap(),
        };
        let network = Emulated::new(Internet::new(1), Path::default(), place, move |_| nowhere.transport());
        let nodes = [(); 4].map(|()| network.join().0);
        let sockets = nodes.map(|node| {
            let host = network.host(node);
            host.network().bind((host.address().unwrap(), 0).into(), 65_536).unwrap()
        });
        let takes = async |from: usize, to: usize| takes(&*sockets[from], &*sockets[to]).await;
        let (both, none) = (Some(LATENCY), None);
        assert_eq!([takes(0, 1).await, takes(1, 0).await, takes(3, 0).await], [both; 3]);
        network.partition(&nodes[..2]);
        network.partition(&nodes[3..]);
        assert_eq!(
            [takes(0, 1).await, takes(1, 2).await, takes(3, 2).await, takes(3, 0).await],
            [both, none, none, none]
        );
        network.heal();
        assert_eq!([takes(1, 2).await, takes(3, 2).await], [both; 2]);
        network.cut_from(nodes[0], nodes[1]);
        assert_eq!([takes(0, 1).await, takes(1, 0).await], [none, both]);
        network.mend_from(nodes[0], nodes[1]);
        network.slow_from(nodes[0], nodes[1], 3 * LATENCY);
        assert_eq!([takes(0, 1).await, takes(1, 0).await], [Some(4 * LATENCY), both]);
        network.slow_from(nodes[0], nodes[1], Duration::ZERO);
        network.set_latency(Some((4 * LATENCY, Duration::ZERO)));
        assert_eq!(takes(0, 1).await, Some(4 * LATENCY));
        network.set_latency(None);
        network.freeze(nodes[0]);
        assert_eq!([takes(0, 1).await, takes(1, 0).await], [none; 2]);
        network.thaw(nodes[0]);
        assert_eq!([takes(0, 1).await, takes(1, 0).await], [both; 2]);
        network.kill(nodes[0]);
        assert_eq!(takes(1, 0).await, none);
    }
}
