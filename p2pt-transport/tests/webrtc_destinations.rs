//! Which of the addresses that a peer names are sent to, over the network emulator.
#![cfg(all(feature = "webrtc", feature = "emulator"))]

use std::{io::IoSliceMut, time::Duration};

use p2pt_transport::{
    Transport, TransportError,
    emulator::{Internet, NatKind, Path},
    webrtc::{DatagramSocket, Destinations, Received, WebRtc, WebRtcConfig},
};
use tokio::time::timeout;

/// Whether anything arrives at a socket within the time an attempt takes.
async fn hears(socket: &dyn DatagramSocket) -> bool {
    let mut buffer = [0; 2048];
    let mut received = [Received { remote: socket.local_addr(), bytes: 0, segment_bytes: 1 }];
    let receive =
        std::future::poll_fn(|cx| socket.poll_receive(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received));
    timeout(Duration::from_secs(20), receive).await.is_ok()
}

/// A server behind a NAT is given an offer that names the address of another machine there.
async fn probes(destinations: Destinations) -> bool {
    let internet = Internet::new(1);
    let nat = internet.nat(NatKind::PortRestricted).expect("an address");
    let [server, machine] = [(); 2].map(|()| nat.host(Path::default()).expect("an address"));
    let unknown = internet.host(Path::default()).expect("an address");
    let config = || WebRtcConfig::default().without_ice_servers();
    let transport = |config, host: &p2pt_transport::emulator::Host| {
        WebRtc::with_network(config, host.network()).expect("a certificate")
    };
    let server = transport(config().destinations(destinations), &server);
    let peer = transport(config(), &unknown);
    let address = machine.address().expect("it has one");

    let offer = peer.offer().await.expect("an offer");
    let named = unknown.address().expect("it has one").to_string();
    let answer = server.answer(&offer.sdp().replace(&named, &address.to_string())).await.expect("an answer");
    let mut ports = offer.sdp().lines().filter_map(|line| line.strip_prefix("a=candidate:")?.split(' ').nth(5));
    let port: u16 = ports.next().expect("a candidate").parse().expect("a port");
    let at_port = machine.network().bind((address, port).into(), 65_536).expect("free");
    let (arrived, end) = tokio::join!(hears(&*at_port), answer.open());
    assert!(matches!(end, Err(TransportError::IceFailed { .. })), "{end:?}");
    arrived
}

#[tokio::test(start_paused = true)]
async fn private_addresses_that_a_stranger_names_are_sent_to_unless_destinations_are_public() {
    assert!(probes(Destinations::Any).await);
    assert!(!probes(Destinations::PublicOnly).await);
}

/// Two nodes in one private network, with a policy.
async fn meet(destinations: Destinations) -> Result<(), TransportError> {
    let internet = Internet::new(1);
    let nat = internet.nat(NatKind::PortRestricted).expect("an address");
    let [server, client] = [(); 2].map(|()| nat.host(Path::default()).expect("an address"));
    let config = WebRtcConfig::default().without_ice_servers();
    let server = WebRtc::with_network(config.clone().destinations(destinations), server.network())?;
    let client = WebRtc::with_network(config, client.network())?;
    let offer = client.offer().await?;
    let answer = server.answer(offer.sdp()).await?;
    let sdp = answer.sdp().to_owned();
    let (a, b) = tokio::join!(offer.open(&sdp), answer.open());
    a.and(b).map(drop)
}

/// Also not by answering the checks that come from there.
#[tokio::test(start_paused = true)]
async fn peers_in_one_private_network_meet_unless_destinations_are_public() {
    meet(Destinations::Any).await.expect("a path");
    let refused = meet(Destinations::PublicOnly).await;
    assert!(matches!(refused, Err(TransportError::IceFailed { .. })), "{refused:?}");
}
