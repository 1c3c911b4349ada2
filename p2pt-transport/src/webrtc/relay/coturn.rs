//! Allocations and their data at coturn, over sockets on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc_stun::message::{BINDING_REQUEST, Message, TransactionId};

use super::{RelayServer, Relayed, Relays, message};
use crate::webrtc::datagram::Datagram;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(30);

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a time-out");
    socket
}

struct Coturn {
    process: Child,
    address: SocketAddr,
    files: PathBuf,
}

impl Coturn {
    fn start() -> Self {
        let address = socket().local_addr().expect("bound");
        let files = std::env::temp_dir().join(format!("p2pt-relay-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&files).expect("a directory for the server's files");
        let process = Command::new("turnserver")
            .args(["-n", "--log-file=stdout", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--lt-cred-mech", "--realm=p2pt.test"])
            .args(["--user=someone:secret", "--stale-nonce=1", &format!("--listening-port={}", address.port())])
            .arg(format!("--userdb={}", files.join("users").display()))
            .arg(format!("--pidfile={}", files.join("pid").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver starts: it is in the package coturn");
        let coturn = Self { process, address, files };
        coturn.wait();
        coturn
    }

    /// Asks until it answers.
    fn wait(&self) {
        let (socket, start) = (socket(), now());
        let mut request = Message::new();
        request.typ = BINDING_REQUEST;
        request.transaction_id = TransactionId::new();
        request.write_header();
        while now() - start < DEADLINE {
            socket.send_to(&request.raw, self.address).expect("sent");
            if socket.recv(&mut [0; 512]).is_ok() {
                return;
            }
        }
        panic!("the TURN server does not answer");
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// The relays, a socket for them, and a clock that can be put forward.
struct Driver {
    relays: Relays,
    socket: UdpSocket,
    server: SocketAddr,
    ahead: Duration,
    received: Vec<Datagram>,
    /// How many datagrams of peers came by a channel.
    by_channel: usize,
}

impl Driver {
    fn new(coturn: &Coturn, socket: UdpSocket) -> Self {
        let relays = Relays::new(rtc_crypto::default_provider().expect("a provider"));
        let (ahead, received) = (Duration::ZERO, Vec::new());
        Self { relays, socket, server: coturn.address, ahead, received, by_channel: 0 }
    }

    fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    fn now(&self) -> Instant {
        now() + self.ahead
    }

    fn request(&mut self, credential: &str) {
        let (username, credential) = ("someone".to_owned(), credential.to_owned());
        let server = RelayServer { address: self.server, username, credential };
        self.relays.request(self.now(), self.local(), &[server]);
    }

    fn send(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        self.relays.send(self.now(), Datagram { local, remote, data: BytesMut::from(data) });
    }

    /// Drives until `done`, or fails.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = now();
        let mut buffer = [0; 2_048];
        while !done(self) {
            assert!(now() - start < DEADLINE, "{what}");
            self.relays.handle_timeout(self.now());
            while let Some(datagram) = self.relays.poll_transmit() {
                self.socket.send_to(&datagram.data, datagram.remote).expect("sent");
            }
            let Ok((length, remote)) = self.socket.recv_from(&mut buffer) else { continue };
            let data = BytesMut::from(&buffer[..length]);
            self.by_channel += usize::from(message::is_channel_data(&data));
            match self.relays.handle_datagram(self.now(), Datagram { local: self.local(), remote, data }) {
                Relayed::Peer(datagram) => self.received.push(datagram),
                Relayed::Consumed => {}
                Relayed::NotOurs(datagram) => panic!("{datagram:?}"),
            }
        }
    }

    fn allocate(&mut self) -> SocketAddr {
        self.request("secret");
        self.relays.keep_alive(self.now(), self.local(), true);
        self.until("no allocation", |driver| driver.relays.is_settled(driver.local()));
        let relayed = self.relays.relayed(self.local());
        assert_eq!(relayed.len(), 1, "refused");
        assert_eq!(relayed[0].mapped, Some(self.local()));
        relayed[0].relayed
    }

    /// Each peer gets `data` and sends it back.
    fn echo(&mut self, relayed: SocketAddr, peers: &[UdpSocket], data: &[u8]) {
        for peer in peers {
            let address = peer.local_addr().expect("bound");
            self.received.clear();
            self.send(relayed, address, data);
            let mut buffer = [0; 2_048];
            self.until("nothing arrives at the peer", |_| {
                let Ok((length, from)) = peer.recv_from(&mut buffer) else { return false };
                assert_eq!((&buffer[..length], from), (data, relayed));
                peer.send_to(&buffer[..length], from).expect("sent");
                true
            });
            self.until("nothing comes back", |driver| !driver.received.is_empty());
            let expected = Datagram { local: relayed, remote: address, data: BytesMut::from(data) };
            assert_eq!(self.received, [expected]);
        }
    }
}

#[test]
#[ignore = "needs coturn: apt-get install coturn, then cargo test -p p2pt-transport --lib coturn -- --ignored"]
fn fifty_peers_share_one_allocation_at_a_real_server() {
    let coturn = Coturn::start();
    let mut driver = Driver::new(&coturn, socket());
    let relayed = driver.allocate();
    let peers: Vec<UdpSocket> = (0..50).map(|_| socket()).collect();
    for round in 0..12 {
        driver.echo(relayed, &peers, &[round; 1_232]);
        assert_eq!(driver.by_channel > 0, round >= 7, "round {round}: {}", driver.by_channel);
    }
    // Refreshes of everything, with nonces that are stale by now.
    for _ in 0..3 {
        driver.ahead += Duration::from_secs(230);
        driver.echo(relayed, &peers, b"later");
    }
    assert_eq!(driver.relays.poll_event(), None);
    assert!(driver.relays.owns(relayed));
}

#[test]
#[ignore = "needs coturn: apt-get install coturn, then cargo test -p p2pt-transport --lib coturn -- --ignored"]
fn a_real_server_refuses_takes_back_and_replaces() {
    let coturn = Coturn::start();
    let mut driver = Driver::new(&coturn, socket());
    driver.request("guess");
    driver.until("not refused", |driver| driver.relays.is_settled(driver.local()));
    assert!(driver.relays.relayed(driver.local()).is_empty());

    let first = driver.allocate();
    let mut restarted = Driver::new(&coturn, driver.socket.try_clone().expect("a socket"));
    let second = restarted.allocate();
    assert_ne!(first, second);
    let peer = [socket()];
    restarted.echo(second, &peer, b"after a restart");

    let later = restarted.now();
    restarted.relays.release(later);
    restarted.until("not released", |driver| driver.relays.is_released());
    let third = restarted.allocate();
    restarted.echo(third, &peer, b"anew");
}
