//! What the description of an unknown peer can make this side send, and to which addresses.

use std::{collections::BTreeMap, net::IpAddr};

use super::*;

/// Bounds of the endpoint: candidates that are looked at, and checks to an address that never answers within one opening.
const ADDRESSES: usize = 32;
const CHECKS: u64 = 7;

/// Checks of a transport are at least so far apart.
const PACE: Duration = Duration::from_millis(5);

/// A description with these addresses in place of its own.
fn naming(sdp: &str, addresses: &[SocketAddr]) -> String {
    let mut lines = Vec::new();
    for line in sdp.lines().filter(|line| !line.starts_with("a=candidate:")) {
        lines.push(line.to_owned());
    }
    for (number, address) in addresses.iter().enumerate() {
        let (ip, port) = (address.ip(), address.port());
        lines.push(format!("a=candidate:{number} 1 udp {} {ip} {port} typ host", 2_000_000_000 - number));
    }
    lines.join("\r\n") + "\r\n"
}

/// How many datagrams went to each address.
fn by_remote(host: &Host) -> BTreeMap<SocketAddr, u64> {
    let mut remotes = BTreeMap::new();
    for ((_, remote), count) in host.flows() {
        *remotes.entry(remote).or_default() += count;
    }
    remotes
}

/// First checks of answers that may run ahead of the pace.
const AHEAD: u64 = 16;

/// Sees that this host keeps the pace of checks, but for so many at the beginning.
async fn watch_pace(host: Host, ahead: u64, time: Duration) {
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < time {
        let sent = host.counters().sent;
        // The clock of the network is a millisecond late at the most.
        let paced = ((begin.elapsed() + ms(1)).as_millis() / PACE.as_millis()) as u64 + 1;
        assert!(sent <= paced.max(ahead), "{sent} in {:?}", begin.elapsed());
        tokio::time::sleep(ms(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_names_a_thousand_addresses_makes_us_send_little() {
    let internet = Internet::new(1);
    let [(_, mallory), (host, bob)] = pair(&internet, line(20));
    let foreign = |n: u16| SocketAddr::from(([198, 51, (100 + n / 250) as u8, (1 + n % 250) as u8], 53));
    let thousand: Vec<_> = (0..1000).map(foreign).collect();
    let offer = within(mallory.offer()).await.unwrap();
    let sdp = naming(offer.sdp(), &thousand);
    let answer = within(bob.answer(&sdp)).await.unwrap();
    let watching = tokio::spawn(watch_pace(host.clone(), 1, Duration::from_secs(40)));
    let Err(TransportError::IceFailed { .. }) = within(answer.open()).await else { panic!("it opened") };
    within(watching).await.unwrap();
    let remotes = by_remote(&host);
    println!("{} datagrams to {} addresses", remotes.values().sum::<u64>(), remotes.len());
    assert!(remotes.len() <= ADDRESSES && remotes.len() > ADDRESSES / 2, "{remotes:?}");
    assert!(remotes.values().all(|count| *count <= CHECKS), "{remotes:?}");
    drop(offer);
    shut_down([&mallory, &bob]).await;
}

/// However many offers come, the checks of all of them together are paced.
#[tokio::test(start_paused = true)]
async fn many_offers_that_name_foreign_addresses_share_one_pace() {
    let internet = Internet::new(2);
    let [(_, mallory), (host, bob)] = pair(&internet, line(20));
    let mut answers = Vec::new();
    for number in 0..20u8 {
        let foreign: Vec<_> = (1..=50).map(|n| SocketAddr::from(([198, 51, 100 + number, n], 53))).collect();
        let offer = within(mallory.offer()).await.unwrap();
        answers.push(within(bob.answer(&naming(offer.sdp(), &foreign))).await.unwrap());
    }
    within(watch_pace(host.clone(), AHEAD, Duration::from_secs(20))).await;
    let sent = host.counters().sent;
    println!("{sent} datagrams in 20 s");
    assert!(sent <= 20_000 / 5 && sent > 500, "{sent}");
    drop(answers);
    shut_down([&mallory, &bob]).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_to_loopback_link_local_or_multicast_addresses_that_a_stranger_names() {
    let internet = Internet::new(3);
    let host = internet.host(p2pt_transport::emulator::HostConfig::from(line(20)).ipv6(true)).unwrap();
    let (mallory, bob) = (transport(&internet.host(line(20)).unwrap()), transport(&host));
    let own = host.address().unwrap();
    let named = [
        "127.0.0.1:22",
        "127.9.9.9:53",
        "169.254.169.254:80",
        "224.0.0.251:5353",
        "239.255.255.250:1900",
        "255.255.255.255:9",
        "0.0.0.0:9",
        "240.1.2.3:9",
        "198.51.100.1:0",
        "[::1]:22",
        "[::]:9",
        "[fe80::1]:9",
        "[ff02::fb]:5353",
        "[::ffff:127.0.0.1]:9",
        "198.51.100.1:9",
    ];
    let named: Vec<SocketAddr> = named.iter().map(|address| address.parse().unwrap()).collect();
    let offer = within(mallory.offer()).await.unwrap();
    let answer = within(bob.answer(&naming(offer.sdp(), &named))).await.unwrap();
    let Err(TransportError::IceFailed { .. }) = within(answer.open()).await else { panic!("it opened") };
    let ips: Vec<IpAddr> = by_remote(&host).keys().map(SocketAddr::ip).collect();
    assert_eq!(ips, ["198.51.100.1".parse::<IpAddr>().unwrap()], "from {own}");
    drop(offer);
    shut_down([&mallory, &bob]).await;
}
