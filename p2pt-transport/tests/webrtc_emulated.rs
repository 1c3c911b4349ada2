//! The whole stack under paused time: transports with full ICE, DTLS and SCTP on the hosts of an emulated internet.
#![cfg(all(feature = "webrtc", feature = "emulator"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "webrtc_emulated/changes.rs"]
mod changes;
#[path = "webrtc_emulated/hostile_descriptions.rs"]
mod hostile_descriptions;
#[path = "webrtc_emulated/many.rs"]
mod many;
#[path = "webrtc_emulated/nats.rs"]
mod nats;
#[path = "webrtc_emulated/paths.rs"]
mod paths;
#[path = "webrtc_emulated/servers.rs"]
mod servers;

use std::{net::SocketAddr, time::Duration};

use p2pt_transport::{
    Channel, ChannelClosed, Frame, IceServer, Transport, TransportError,
    emulator::{Host, Internet, Path},
    webrtc::{WebRtc, WebRtcConfig},
};
use tokio::time::timeout;

/// Longer than anything takes here, in virtual time.
const GUARD: Duration = Duration::from_secs(3600);

/// The default of the configuration.
const SILENCE: Duration = Duration::from_secs(4);

/// Timers count in milliseconds, and a datagram passes two of them on its way.
const GRAIN: Duration = Duration::from_millis(4);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The line of one host, where a round trip between two such hosts takes so long.
fn line(round_trip: u64) -> Path {
    Path::default().delay(ms(round_trip) / 4)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("in time")
}

fn transport(host: &Host) -> WebRtc {
    transport_with(host, WebRtcConfig::default().without_ice_servers())
}

fn transport_with(host: &Host, config: WebRtcConfig) -> WebRtc {
    WebRtc::with_network(config, host.network()).unwrap()
}

/// A transport that asks this STUN server where it can be reached.
fn asking(host: &Host, stun: SocketAddr) -> WebRtc {
    transport_with(host, WebRtcConfig::default().ice_servers([IceServer::stun(format!("stun:{stun}"))]))
}

/// Two hosts of an internet, and a transport on each.
fn pair(internet: &Internet, path: Path) -> [(Host, WebRtc); 2] {
    [(); 2].map(|()| {
        let host = internet.host(path.clone()).unwrap();
        let transport = transport(&host);
        (host, transport)
    })
}

/// What came of an opening at the offerer, and at the answerer.
type Opened = (Result<Channel, TransportError>, Result<Channel, TransportError>);

/// Opens a channel from `alice` to `bob`, where descriptions take `signalling` each way.
async fn open(alice: &WebRtc, bob: &WebRtc, signalling: Duration) -> Opened {
    let offer = within(alice.offer()).await.unwrap();
    tokio::time::sleep(signalling).await;
    let answer = within(bob.answer(offer.sdp())).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let offerer = async {
        tokio::time::sleep(signalling).await;
        offer.open(&sdp).await
    };
    within(async { tokio::join!(offerer, answer.open()) }).await
}

async fn connect(alice: &WebRtc, bob: &WebRtc) -> (Channel, Channel) {
    let (a, b) = open(alice, bob, Duration::ZERO).await;
    (a.unwrap(), b.unwrap())
}

/// Whether frames go through a channel both ways.
async fn carries(a: &mut Channel, b: &mut Channel) {
    let there = Frame::text("there");
    within(a.sender.send(there.clone())).await.unwrap();
    assert_eq!(within(b.receiver.recv()).await, Ok(there));
    let back = Frame::binary(vec![7; 5000]);
    within(b.sender.send(back.clone())).await.unwrap();
    assert_eq!(within(a.receiver.recv()).await, Ok(back));
}

/// Sends so many numbered frames of this size, and has each of them arrive in its turn.
async fn transfer(from: &mut Channel, to: &mut Channel, frames: u32, bytes: usize) {
    let frame = |number: u32| {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(bytes, 0);
        Frame::binary(payload)
    };
    let sending = async {
        for number in 0..frames {
            within(from.sender.send(frame(number))).await.unwrap();
        }
    };
    let receiving = async {
        for number in 0..frames {
            let received = within(to.receiver.recv()).await.unwrap_or_else(|end| panic!("{end} at frame {number}"));
            assert_eq!(received.bytes()[..4], number.to_be_bytes(), "frames in order");
            assert_eq!(received.len(), bytes);
        }
    };
    tokio::join!(sending, receiving);
}

/// The addresses of the candidates in a description.
fn candidates(sdp: &str) -> Vec<SocketAddr> {
    let lines = sdp.lines().filter(|line| line.starts_with("a=candidate:"));
    let address = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        SocketAddr::new(fields[4].parse().unwrap(), fields[5].parse().unwrap())
    };
    lines.map(address).collect()
}

async fn shut_down(transports: [&WebRtc; 2]) {
    within(async { tokio::join!(transports[0].shutdown(), transports[1].shutdown()) }).await;
}

fn silent() -> Result<Frame, ChannelClosed> {
    Err(ChannelClosed::Timeout(SILENCE))
}
