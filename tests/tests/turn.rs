//! Peers that may only meet through a TURN server: a real one, coturn, on loopback.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::transport::webrtc::WebRtc;
use p2pt::{Event, Events, P2pt, Peer, Swarm, Transport, TransportError};
use p2pt::{IcePolicy, IceServer, WebRtcConfig};
use p2pt_tests::program::Program;
use p2pt_transport::{Channel, Frame};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

struct Turn {
    _process: Child,
    url: String,
    files: PathBuf,
}

impl Turn {
    async fn start() -> Self {
        let port = free_port();
        let files = std::env::temp_dir().join(format!("p2pt-turn-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&files).expect("a directory for the server's files");
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--log-file=stdout", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--lt-cred-mech", "--realm=p2pt.test"])
            .args(["--user=someone:secret", &format!("--listening-port={port}")])
            .arg(format!("--userdb={}", files.join("users").display()))
            .arg(format!("--pidfile={}", files.join("pid").display()))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn().expect("turnserver starts: it is in the package coturn");
        let turn = Self { _process: process, url: format!("turn:127.0.0.1:{port}"), files };
        timeout(DEADLINE, answers(port)).await.expect("the TURN server answers in time");
        turn
    }

    fn config(&self, credential: &str) -> WebRtcConfig {
        WebRtcConfig::loopback()
            .ice_servers([IceServer::turn(&self.url, "someone", credential)])
            .ice_policy(IcePolicy::RelayOnly)
            .gather_timeout(Duration::from_secs(2))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Best effort: the system clears its temporary files anyway.
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.local_addr().expect("bound").port()
}

/// Sends STUN binding requests until one is answered.
async fn answers(port: u16) {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    socket.connect((Ipv4Addr::LOCALHOST, port)).await.expect("an address");
    let mut request = [0; 20];
    request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    let mut response = [0; 512];
    loop {
        // Refused until the server listens.
        let _ = socket.send(&request).await;
        if let Ok(Ok(_)) = timeout(Duration::from_millis(100), socket.recv(&mut response)).await {
            return;
        }
    }
}

async fn start(tracker: &TrackerServer, config: WebRtcConfig) -> (Swarm, Events) {
    let builder = P2pt::builder().tracker(tracker.url().to_string()).webrtc(config);
    builder.join("relayed").await.expect("a node starts")
}

async fn connected(events: &mut Events) -> Peer {
    loop {
        if let Some(Event::PeerConnected(peer)) = timeout(DEADLINE, events.next()).await.expect("in time") {
            return peer;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs coturn: apt-get install coturn, then cargo test -p p2pt-tests --test turn -- --ignored"]
async fn two_peers_meet_and_talk_through_a_relay_only() {
    let turn = Turn::start().await;
    let tracker = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let (one, mut one_events) = start(&tracker, turn.config("secret")).await;
    let (two, mut two_events) = start(&tracker, turn.config("secret")).await;
    let (to_two, _) = tokio::join!(connected(&mut one_events), connected(&mut two_events));
    let text = "relayed ".repeat(50_000);
    to_two.send(text.as_str()).await.expect("sent");
    loop {
        if let Some(Event::Message(message)) = timeout(DEADLINE, two_events.next()).await.expect("in time") {
            assert!(message.text() == Some(text.as_str()), "the text came changed");
            break;
        }
    }
    let stats = to_two.stats().await.expect("a channel is open");
    assert_eq!(stats.local_candidate.as_deref(), Some("relay"), "{stats:?}");
    one.shutdown().await;
    two.shutdown().await;
    tracker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs coturn: apt-get install coturn, then cargo test -p p2pt-tests --test turn -- --ignored"]
async fn wrong_credentials_leave_a_relay_only_peer_without_an_offer() {
    let turn = Turn::start().await;
    let transport = WebRtc::new(turn.config("guess")).expect("a transport");
    let error = transport.offer().await.expect_err("the server refuses");
    assert!(matches!(error, TransportError::NoCandidate), "{error}");
    transport.shutdown().await;
}

/// How many peers one node talks to through its relay.
const CHANNELS: usize = 50;

async fn connect(offerer: &WebRtc, answerer: &WebRtc) -> (Channel, Channel, String) {
    let offer = timeout(DEADLINE, offerer.offer()).await.expect("in time").expect("an offer");
    let answer = timeout(DEADLINE, answerer.answer(offer.sdp())).await.expect("in time").expect("an answer");
    let sdp = answer.sdp().to_owned();
    let (a, b) = timeout(DEADLINE, async { tokio::join!(offer.open(&sdp), answer.open()) }).await.expect("in time");
    (a.expect("open"), b.expect("open"), sdp)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs coturn: apt-get install coturn, then cargo test -p p2pt-tests --test turn -- --ignored"]
async fn one_allocation_serves_all_channels_of_a_node() {
    let turn = Turn::start().await;
    let hub = WebRtc::new(turn.config("secret")).expect("a transport");
    let (mut peers, mut links, mut addresses) = (Vec::new(), Vec::new(), BTreeSet::new());
    for _ in 0..CHANNELS {
        let peer = WebRtc::new(turn.config("secret")).expect("a transport");
        let (to_hub, at_hub, answer) = connect(&peer, &hub).await;
        let candidates = answer.lines().filter(|line| line.starts_with("a=candidate:"));
        addresses.extend(candidates.map(|line| line.split(' ').skip(4).take(2).collect::<Vec<_>>().join(" ")));
        peers.push(peer);
        links.push((to_hub, at_hub));
    }
    assert_eq!(addresses.len(), 1, "each answer names the one address at the relay: {addresses:?}");
    for (index, (to_hub, at_hub)) in links.iter_mut().enumerate() {
        let there = Frame::text(format!("to the hub, {index}"));
        to_hub.sender.send(there.clone()).await.expect("accepted");
        assert_eq!(timeout(DEADLINE, at_hub.receiver.recv()).await.expect("in time"), Ok(there));
        let back = Frame::binary(vec![7; 65_536]);
        at_hub.sender.send(back.clone()).await.expect("accepted");
        assert_eq!(timeout(DEADLINE, to_hub.receiver.recv()).await.expect("in time"), Ok(back));
        let stats = at_hub.sender.stats().await;
        assert_eq!(stats.local_candidate.as_deref(), Some("relay"), "{stats:?}");
    }
    for peer in peers {
        peer.shutdown().await;
    }
    hub.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs coturn: apt-get install coturn, then cargo test -p p2pt-tests --test turn -- --ignored"]
async fn the_example_talks_through_a_relay_only() {
    let turn = Turn::start().await;
    let tracker = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let url = tracker.url().to_string();
    let arguments = [turn.url.as_str(), "someone", "secret", "--relay-only", &url];
    let [mut one, mut other] = [(); 2].map(|()| Program::start("relay", &arguments));
    let said = async |program: &mut Program| {
        let connected = program.says("is connected").await;
        assert!(connected.contains(r#"local_candidate: Some("relay")"#), "{connected}");
        program.says(r#"Some("hello through the relay")"#).await;
    };
    tokio::join!(said(&mut one), said(&mut other));
    tracker.shutdown().await;
}
