//! Peers and networks that come and go.

use p2pt_transport::emulator::HostConfig;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_is_silent_after_the_silence_time_and_not_before() {
    for idle in [0, 700, 12_345] {
        let internet = Internet::new(1);
        let [(_, alice), (host, bob)] = pair(&internet, line(40));
        let (mut a, mut b) = connect(&alice, &bob).await;
        tokio::time::sleep(ms(idle)).await;
        // The last that arrives.
        within(b.sender.send(Frame::text("still here"))).await.unwrap();
        assert_eq!(within(a.receiver.recv()).await, Ok(Frame::text("still here")));
        let received = Instant::now();
        host.set_up(false);
        assert_eq!(within(a.receiver.recv()).await, silent());
        let took = received.elapsed();
        assert!(took >= SILENCE - ms(1) && took <= SILENCE + GRAIN, "{took:?} after {idle} ms");
        assert_eq!(within(b.receiver.recv()).await, silent());
        host.set_up(true);
        shut_down([&alice, &bob]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_interruption_shorter_than_the_silence_time_loses_nothing() {
    let internet = Internet::new(2);
    let [(host, alice), (_, bob)] = pair(&internet, line(20));
    let (mut a, mut b) = connect(&alice, &bob).await;
    let interrupting = async {
        tokio::time::sleep(ms(40)).await;
        host.set_up(false);
        tokio::time::sleep(ms(2900)).await;
        host.set_up(true);
    };
    tokio::join!(interrupting, transfer(&mut a, &mut b, 100, 30_000));
    carries(&mut a, &mut b).await;
    shut_down([&alice, &bob]).await;
}

/// The side that hears nothing ends, and tells the other, which sees a close.
#[tokio::test(start_paused = true)]
async fn a_path_that_is_cut_one_way_ends_on_both_sides() {
    let internet = Internet::new(3);
    let [(one, alice), (other, bob)] = pair(&internet, line(20));
    let (mut a, mut b) = connect(&alice, &bob).await;
    let begin = Instant::now();
    internet.cut_from(&one, &other, true);
    assert_eq!(within(b.receiver.recv()).await, silent());
    assert_eq!(within(a.receiver.recv()).await, Err(ChannelClosed::Remote));
    assert!(begin.elapsed() <= SILENCE + ms(20) + GRAIN, "{:?}", begin.elapsed());
    shut_down([&alice, &bob]).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_changes_its_address_is_found_at_the_new_one() {
    let internet = Internet::new(4);
    let [(host, alice), (_, bob)] = pair(&internet, line(20));
    let (mut a, mut b) = connect(&alice, &bob).await;
    let before = host.address().unwrap();
    let waiting = within(alice.offer()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.change_address().unwrap();
    let after = host.address().unwrap();
    assert_ne!(before, after);
    let begin = Instant::now();
    let ends = within(async { tokio::join!(a.receiver.recv(), b.receiver.recv()) }).await;
    assert_eq!(ends, (silent(), silent()));
    assert!(begin.elapsed() <= SILENCE + GRAIN, "{:?}", begin.elapsed());
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let (mut a, mut b) = connect(from, to).await;
        carries(&mut a, &mut b).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        carries(&mut a, &mut b).await;
    }
    let offer = within(alice.offer()).await.unwrap();
    let offered: Vec<_> = candidates(offer.sdp()).iter().map(SocketAddr::ip).collect();
    assert_eq!(offered, [after]);
    drop((waiting, offer));
    shut_down([&alice, &bob]).await;
    assert_eq!(internet.sockets(), 0);
}

/// A second network is used from the next description on, and its end leaves the rest alone.
#[tokio::test(start_paused = true)]
async fn a_second_network_that_comes_and_goes_is_offered_while_it_is_there() {
    let internet = Internet::new(5);
    let nat = internet.nat(p2pt_transport::emulator::NatKind::PortRestricted).unwrap();
    let host = nat.host(line(20)).unwrap();
    let (alice, bob) = (transport(&host), transport(&internet.host(line(20)).unwrap()));
    let offered = async || -> Vec<_> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        candidates(within(alice.offer()).await.unwrap().sdp()).iter().map(SocketAddr::ip).collect()
    };
    let (mut a, mut b) = connect(&alice, &bob).await;
    let [first] = offered().await[..] else { panic!("one address") };
    let [second] = host.join_internet(line(40)).unwrap()[..] else { panic!("one address") };
    assert_eq!(offered().await, [first, second]);
    // The other side offers, and reaches only the new network unasked.
    let (mut c, mut d) = connect(&bob, &alice).await;
    carries(&mut c, &mut d).await;
    host.leave(first);
    let ends = within(async { tokio::join!(a.receiver.recv(), b.receiver.recv()) }).await;
    assert_eq!(ends, (silent(), silent()));
    assert_eq!(offered().await, [second]);
    let (mut c, mut d) = connect(&bob, &alice).await;
    carries(&mut c, &mut d).await;
    shut_down([&alice, &bob]).await;
}

#[tokio::test(start_paused = true)]
async fn a_transport_without_a_network_says_so_and_works_when_one_comes() {
    let internet = Internet::new(6);
    let [(host, alice), (_, bob)] = pair(&internet, line(20));
    let offer = within(alice.offer()).await.unwrap();
    drop(offer);
    let address = host.address().unwrap();
    assert!(host.leave(address));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lonely = within(alice.offer()).await.unwrap();
    assert!(candidates(lonely.sdp()).iter().all(|address| address.ip().is_loopback()), "{}", lonely.sdp());
    host.join_internet(line(20)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut a, mut b) = connect(&alice, &bob).await;
    carries(&mut a, &mut b).await;
    shut_down([&alice, &bob]).await;
}

/// An idle hour is an hour of four small packets a second: no task wakes itself while time stands still.
#[tokio::test(start_paused = true)]
async fn an_idle_hour_costs_its_keepalives() {
    let internet = Internet::new(7);
    let [(host, alice), (_, bob)] = pair(&internet, line(20));
    let (mut a, mut b) = connect(&alice, &bob).await;
    let before = host.counters().sent;
    tokio::time::sleep(GUARD).await;
    let sent = host.counters().sent - before;
    println!("{sent} datagrams in an idle hour");
    // A check and a response each second; alignment adds a quarter of a second's worth.
    assert!((7200..=9800).contains(&sent), "{sent}");
    carries(&mut a, &mut b).await;
    shut_down([&alice, &bob]).await;
}

/// A cable between two machines, and no network besides: IPv4, IPv6, and both.
#[tokio::test(start_paused = true)]
async fn hosts_with_only_link_local_addresses_meet() {
    for (ipv4, ipv6) in [(true, false), (false, true), (true, true)] {
        let internet = Internet::new(8);
        let link = internet.link();
        let config = HostConfig::from(line(2)).ipv4(ipv4).ipv6(ipv6);
        let [alice, bob] = [(); 2].map(|()| transport(&link.host(config.clone()).unwrap()));
        for (from, to) in [(&alice, &bob), (&bob, &alice)] {
            let offer = within(from.offer()).await.unwrap();
            let offered = candidates(offer.sdp());
            assert_eq!(offered.len(), usize::from(ipv4) + usize::from(ipv6), "{offered:?}");
            let (mut a, mut b) = connect(from, to).await;
            carries(&mut a, &mut b).await;
        }
        // Who is elsewhere is not reached, though it has such an address too.
        let elsewhere = transport(&internet.link().host(config).unwrap());
        let (a, b) = open(&alice, &elsewhere, Duration::ZERO).await;
        assert!(matches!((a, b), (Err(TransportError::IceFailed { .. }), Err(TransportError::IceFailed { .. }))));
        shut_down([&alice, &bob]).await;
    }
}
