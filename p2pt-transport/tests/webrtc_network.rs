//! A machine that changes its network, as a laptop does: a namespace of its own, where addresses come and go.
#![cfg(all(feature = "webrtc", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{process::Command, time::Duration};

use p2pt_transport::{
    Channel, ChannelClosed, Frame, Transport,
    webrtc::{WebRtc, WebRtcConfig},
};
use tokio::time::timeout;

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}: {status}");
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

/// Connects two transports, and says which addresses the offer had.
async fn connect(alice: &WebRtc, bob: &WebRtc) -> ([Channel; 2], Vec<String>) {
    let offer = within(alice.offer()).await.unwrap();
    let candidates = offer.sdp().lines().filter(|line| line.starts_with("a=candidate:"));
    let mut addresses: Vec<_> = candidates.map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
    addresses.dedup();
    let answer = within(bob.answer(offer.sdp())).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    ([a.unwrap(), b.unwrap()], addresses)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "changes the network: unshare -rn cargo test -p p2pt-transport --test webrtc_network -- --ignored"]
async fn a_new_address_is_offered_and_links_over_the_old_one_end() {
    let namespaces = ["/proc/self/ns/net", "/proc/1/ns/net"].map(|path| std::fs::read_link(path).ok());
    assert!(namespaces[0] != namespaces[1], "not in a network of the machine's own: use unshare");
    ip("link set lo up");
    ip("address add 192.0.2.7/32 dev lo");
    let config = || WebRtcConfig::default().without_ice_servers().idle_timeout(Duration::from_secs(1));
    let (alice, bob) = (WebRtc::new(config()).unwrap(), WebRtc::new(config()).unwrap());
    let ([mut a, mut b], addresses) = connect(&alice, &bob).await;
    assert_eq!(addresses, ["192.0.2.7"]);

    ip("address del 192.0.2.7/32 dev lo");
    let ends = within(async { tokio::join!(a.receiver.recv(), b.receiver.recv()) }).await;
    let silent = Err(ChannelClosed::Timeout(Duration::from_secs(1)));
    assert_eq!(ends, (silent.clone(), silent));

    ip("address add 198.51.100.7/32 dev lo");
    let ([a, mut b], addresses) = connect(&alice, &bob).await;
    assert_eq!(addresses, ["198.51.100.7"]);
    within(a.sender.send(Frame::text("from the new network"))).await.unwrap();
    assert_eq!(within(b.receiver.recv()).await, Ok(Frame::text("from the new network")));
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}
