//! What signing costs: how long each step of it takes, and what nodes of real WebRTC that sign take longer to connect, and
//! hold, than nodes that do not. The two kinds are measured in turn, in one run, and every figure comes with the other's.
//!
//! `cargo run --release -p p2pt-measure --bin trust_cost`

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::trust::{NodeKey, RoomKey, RoomSecret, SafetyCode};
use p2pt::{Builder, Event, Events, P2pt, PeerId, Swarm, WebRtcConfig};
use p2pt_measure::machine::resident_kib;
use p2pt_proto::InfoHash;
use p2pt_trust::{
    Confirmation, Context, Expected, Features, NodeIdentity, Nonce, Role, SdpHash, Transcript, open, seal,
    sign_description, verify_description,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take. A guard.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long what connecting has begun goes on at most.
const CALM: Duration = Duration::from_secs(3);

#[derive(Debug, Parser)]
#[command(about = "Measures what signing costs")]
struct Options {
    /// How many pairs of nodes of each kind connect.
    #[arg(long, default_value_t = 200)]
    connects: usize,
    /// How many nodes are connected to each other when memory is measured.
    #[arg(long, default_value_t = 20)]
    nodes: usize,
    /// How many processes of each kind measure memory.
    #[arg(long, default_value_t = 5)]
    processes: usize,
    /// Print the bytes that nodes of one kind take for each peer, and nothing else.
    #[arg(long, hide = true)]
    hold: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Signed,
    Unsigned,
}

impl Kind {
    fn builder(self, url: &str) -> Builder {
        let builder = P2pt::builder().tracker(url).webrtc(WebRtcConfig::loopback().without_ice_servers());
        match self {
            Self::Signed => builder,
            Self::Unsigned => builder.peer_id(PeerId::random()),
        }
    }

    fn name(self) -> &'static str {
        if self == Self::Signed { "signed" } else { "unsigned" }
    }
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    if let Some(kind) = options.hold {
        println!("{}", held_for_each_peer(kind, options.nodes).await);
        return;
    }
    println!("{}", steps());
    println!("{}", connecting(options.connects).await);
    println!("{}", memory(&options));
}

/// The value in the middle.
fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share of them is.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

/// The microseconds that a step takes, the median of many.
fn micros<T>(mut step: impl FnMut() -> T) -> f64 {
    let time = |_| {
        let begin = Instant::now();
        black_box(step());
        begin.elapsed().as_secs_f64() * 1e6
    };
    median((0..2000).map(time).collect())
}

/// What each step of a connection between two nodes that sign takes.
fn steps() -> Value {
    let mut rng = rand::rng();
    let sdp = "v=0\r\n".to_owned() + &"a=candidate:1 1 UDP 2114977791 192.0.2.2 38704 typ host\r\n".repeat(12);
    let (ann, ben) = (NodeIdentity::new(NodeKey::random(), &mut rng), NodeIdentity::new(NodeKey::random(), &mut rng));
    let features = Features::of([Features::AUTH]);
    let swarm = InfoHash::of("room");
    let (place, nonce) = (Context::offer(swarm, ann.peer_id()), Nonce::draw(&mut rng));
    let sign = || sign_description(&sdp, &place, &ann, &features, &nonce.commitment()).expect("it can be signed");
    let signed = sign();
    let transcript = Transcript::new(&SdpHash::of(&signed), &SdpHash::of("the answer"));
    let room = RoomSecret::from_key("room", &RoomKey::draw(&mut rng));
    let (seal_key, member) = (room.seal_key(), room.member_key());
    let mut seal_rng = rand::rng();
    let mut sealing = || seal(&signed, &place, &seal_key, &mut seal_rng).expect("it can be sealed");
    let sealed = sealing();
    let confirm = || Confirmation::new(ann.key(), Role::Offer, &transcript, &nonce, Some(&member)).encode();
    let frame = confirm();
    let expected = Expected {
        key: &ann.public_key(),
        commitment: &nonce.commitment(),
        role: Role::Offer,
        transcript: &transcript,
        room: Some(&member),
    };
    let other = Nonce::draw(&mut rng);
    json!({
        "step": "µs",
        "identity": micros(|| NodeIdentity::new(ben.key().clone(), &mut rng)),
        "sign a description": micros(sign),
        "verify a description": micros(|| verify_description(&signed, &place)),
        "seal a description": micros(&mut sealing),
        "open a description": micros(|| open(&sealed, &place, &seal_key)),
        "make a confirmation": micros(confirm),
        "verify a confirmation": micros(|| Confirmation::decode(&frame).map(|frame| frame.verify(&expected))),
        "safety code": micros(|| SafetyCode::new(&transcript, &nonce, &other)),
    })
}

async fn tracker() -> (TrackerServer, String) {
    let server = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a port");
    let url = format!("ws://{}/announce", server.local_addr());
    (server, url)
}

async fn peer(events: &mut Events) {
    let connected = async { while !matches!(events.next().await, Some(Event::PeerConnected(_))) {} };
    timeout(PATIENCE, connected).await.expect("a peer");
}

/// The milliseconds from the start of a node until it and one that waits for it have each other as peers.
async fn connect(kind: Kind, url: &str) -> f64 {
    let (waiting, mut waiting_events) = kind.builder(url).join("room").await.expect("a node");
    let known = async { while !matches!(waiting_events.next().await, Some(Event::TrackerConnected(_))) {} };
    timeout(PATIENCE, known).await.expect("the tracker");
    let begin = Instant::now();
    let (coming, mut coming_events) = kind.builder(url).join("room").await.expect("a node");
    tokio::join!(peer(&mut waiting_events), peer(&mut coming_events));
    let took = begin.elapsed().as_secs_f64() * 1e3;
    tokio::join!(waiting.shutdown(), coming.shutdown());
    took
}

async fn connecting(connects: usize) -> Value {
    let (_server, url) = tracker().await;
    let (mut signed, mut unsigned) = (Vec::new(), Vec::new());
    for number in 0..connects + 5 {
        let (one, other) = if number % 2 == 0 {
            let one = connect(Kind::Signed, &url).await;
            (one, connect(Kind::Unsigned, &url).await)
        } else {
            let other = connect(Kind::Unsigned, &url).await;
            (connect(Kind::Signed, &url).await, other)
        };
        // The first ones warm caches up.
        if number >= 5 {
            signed.push(one);
            unsigned.push(other);
        }
    }
    let differences = signed.iter().zip(&unsigned).map(|(signed, unsigned)| signed - unsigned).collect();
    // On a machine that does other things, the quickest tenth is what comes nearest to the cost.
    let at = |share| {
        let (signed, unsigned) = (quantile(signed.clone(), share), quantile(unsigned.clone(), share));
        json!({ "signed": signed, "unsigned": unsigned, "more": signed - unsigned, "ratio": signed / unsigned })
    };
    json!({
        "connect": "ms",
        "median": at(0.5),
        "quickest tenth": at(0.1),
        "median of the differences": median(differences),
    })
}

/// The bytes that nodes in this process take for each peer that each of them has.
async fn held_for_each_peer(kind: Kind, nodes: usize) -> f64 {
    let (_server, url) = tracker().await;
    let mut swarms: Vec<(Swarm, Events)> = Vec::new();
    for number in 0..nodes {
        // Of what the first connection of a node brings along, each node has some before anything is counted.
        let pair = format!("pair {}", number / 2);
        swarms.push(kind.builder(&url).join(pair).await.expect("a node"));
    }
    for (swarm, _) in &swarms {
        timeout(PATIENCE, swarm.wait_for_peer()).await.expect("in time").expect("a peer");
    }
    sleep(CALM).await;
    let before = resident_kib("self");
    let mut rooms = Vec::new();
    for (swarm, _) in &swarms {
        rooms.push(swarm.node().join("room").await.expect("a swarm"));
    }
    for (swarm, _) in &rooms {
        while swarm.peers().len() + 1 < nodes {
            sleep(Duration::from_millis(10)).await;
        }
    }
    sleep(CALM).await;
    (resident_kib("self") - before) * 1024.0 / (nodes * (nodes - 1)) as f64
}

/// Each kind in processes of its own, in turn.
fn memory(options: &Options) -> Value {
    let program = std::env::current_exe().expect("this program");
    let measure = |kind: Kind| {
        let nodes = options.nodes.to_string();
        let output = Command::new(&program).args(["--hold", kind.name(), "--nodes", &nodes]).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().expect("a number")
    };
    let (signed, unsigned): (Vec<f64>, Vec<f64>) =
        (0..options.processes).map(|_| (measure(Kind::Signed), measure(Kind::Unsigned))).unzip();
    let (signed, unsigned) = (median(signed), median(unsigned));
    json!({ "memory for each peer": "bytes", "signed": signed, "unsigned": unsigned, "ratio": signed / unsigned })
}
