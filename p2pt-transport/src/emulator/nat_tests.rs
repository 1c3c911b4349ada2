//! NATs as RFC 4787 names their behaviour.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use tokio::time::sleep;

use super::testing::{PATIENCE, Probe, bytes_of, delayed, ms};
use super::{HostConfig, Internet, Nat, NatBehavior, NatConfig, NatKind, Path};

const KINDS: [NatKind; 4] =
    [NatKind::EndpointIndependent, NatKind::AddressRestricted, NatKind::PortRestricted, NatKind::Symmetric];

/// The external endpoint that `to` sees when `from` sends to it.
async fn seen(from: &Probe, to: &Probe) -> SocketAddr {
    from.send(to.local(), "who am I?");
    to.next().await.0
}

fn behind(nat: &Nat, port: u16) -> Probe {
    Probe::bind(&nat.host(Path::default()).unwrap(), port)
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_mapping_and_who_is_let_in_is_as_the_kind_says() {
    // Whether another port and another address see the same mapping, and whether they are let in through the first.
    let expected = [
        (NatKind::EndpointIndependent.into(), [true, true], [true, true]),
        (NatKind::AddressRestricted.into(), [true, true], [true, false]),
        (NatKind::PortRestricted.into(), [true, true], [false, false]),
        (NatKind::Symmetric.into(), [false, false], [false, false]),
        (NatConfig::new(NatBehavior::AddressDependent, NatBehavior::EndpointIndependent), [true, false], [true, true]),
        (
            NatConfig::new(NatBehavior::AddressAndPortDependent, NatBehavior::AddressDependent),
            [false, false],
            [true, false],
        ),
    ];
    for (config, shared, let_in) in expected {
        let internet = Internet::new(1);
        let nat = internet.nat(config.clone()).unwrap();
        let inside = behind(&nat, 5000);
        let host = internet.host(delayed(10)).unwrap();
        let known = Probe::bind(&host, 1);
        let others = [Probe::bind(&host, 2), Probe::bind(&internet.host(delayed(10)).unwrap(), 1)];
        let external = seen(&inside, &known).await;
        assert_eq!(external.ip(), nat.address());
        known.send(external, "back");
        assert_eq!(inside.next().await, (known.local(), bytes_of("back")), "{config:?}");
        for (n, other) in others.iter().enumerate() {
            other.send(external, "uninvited");
            assert_eq!(inside.within(PATIENCE).await.is_some(), let_in[n], "{config:?}, other {n}");
        }
        for (n, other) in others.iter().enumerate() {
            assert_eq!(seen(&inside, other).await == external, shared[n], "{config:?}, other {n}");
        }
        assert_eq!(host.counters().refused_by_nat, u64::from(!let_in[0]), "{config:?}");
    }
}

/// What is known of hole punching: a symmetric NAT reaches neither another one nor a port restricted one.
#[tokio::test(start_paused = true)]
async fn hole_punching_succeeds_between_the_kinds_it_should() {
    for (n, one) in KINDS.into_iter().enumerate() {
        for (m, other) in KINDS.into_iter().enumerate() {
            let internet = Internet::new(1);
            let server = Probe::bind(&internet.host(Path::default()).unwrap(), 3478);
            let (a, b) = (internet.nat(one).unwrap(), internet.nat(other).unwrap());
            let (a, b) = (behind(&a, 5000), behind(&b, 5000));
            let (a_external, b_external) = (seen(&a, &server).await, seen(&b, &server).await);
            let mut met = false;
            for _ in 0..3 {
                a.send(b_external, "check");
                b.send(a_external, "check");
                for (here, there) in [(&a, &b), (&b, &a)] {
                    // A datagram that arrives is answered at the address it came from.
                    while let Some((remote, data)) = here.within(ms(10)).await {
                        match data.starts_with(b"check") {
                            true => here.send(remote, "answer"),
                            false => met = true,
                        }
                        assert_ne!(remote, there.local());
                    }
                }
            }
            let expected = n + m < 5 && !(n == 3 && m >= 2) && !(m == 3 && n >= 2);
            assert_eq!(met, expected, "{one:?} and {other:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ports_are_preserved_or_not_and_never_given_twice() {
    for (kind, preserved) in KINDS.map(|kind| (kind, kind != NatKind::Symmetric)) {
        let internet = Internet::new(1);
        let server = Probe::bind(&internet.host(Path::default()).unwrap(), 1);
        let nat = internet.nat(kind).unwrap();
        let (first, second) = (behind(&nat, 5000), behind(&nat, 5000));
        let (one, other) = (seen(&first, &server).await, seen(&second, &server).await);
        assert_eq!(one.port() == 5000, preserved, "{kind:?}");
        assert_ne!(one, other);
        server.send(one, "to the first");
        server.send(other, "to the second");
        assert_eq!(first.next().await.1, bytes_of("to the first"));
        assert_eq!(second.next().await.1, bytes_of("to the second"));
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_behind_one_nat_reach_each_other_by_its_address_only_by_hairpinning() {
    for hairpinning in [false, true] {
        let internet = Internet::new(1);
        let server = Probe::bind(&internet.host(Path::default()).unwrap(), 1);
        let config = NatConfig::from(NatKind::EndpointIndependent).hairpinning(hairpinning).path(delayed(100));
        let nat = internet.nat(config).unwrap();
        let hosts = [(); 2].map(|()| nat.host(delayed(1)).unwrap());
        let [a, b] = [0, 1].map(|n| Probe::bind(&hosts[n], 5000));
        let (a_external, b_external) = (seen(&a, &server).await, seen(&b, &server).await);
        let begin = tokio::time::Instant::now();
        a.send(b_external, "around the corner");
        let came = b.within(PATIENCE).await;
        // RFC 4787, REQ-9: the external source address is what is seen.
        assert_eq!(came.map(|(remote, _)| remote), hairpinning.then_some(a_external));
        assert!(!hairpinning || begin.elapsed() == ms(2), "the line of the NAT is not used");
        assert_eq!(hosts[0].counters().refused_by_nat, u64::from(!hairpinning));
        a.send(b.local(), "directly");
        assert_eq!(b.next().await, (a.local(), bytes_of("directly")));
    }
}

#[tokio::test(start_paused = true)]
async fn filters_are_for_hairpinned_datagrams_too() {
    let internet = Internet::new(1);
    let server = Probe::bind(&internet.host(Path::default()).unwrap(), 1);
    let nat = internet.nat(NatConfig::from(NatKind::PortRestricted).hairpinning(true)).unwrap();
    let (a, b) = (behind(&nat, 5000), behind(&nat, 6000));
    let (a_external, b_external) = (seen(&a, &server).await, seen(&b, &server).await);
    a.send(b_external, "uninvited");
    assert_eq!(b.within(PATIENCE).await, None);
    b.send(a_external, "invited");
    assert_eq!(a.next().await.0, b_external);
}

#[tokio::test(start_paused = true)]
async fn a_mapping_lives_as_long_as_the_inner_host_uses_it() {
    let internet = Internet::new(1);
    let server = Probe::bind(&internet.host(Path::default()).unwrap(), 1);
    let lifetime = Duration::from_secs(30);
    let config = NatConfig::from(NatKind::PortRestricted).port_preservation(false).mapping_lifetime(lifetime);
    let nat = internet.nat(config).unwrap();
    let inside = behind(&nat, 5000);
    let external = seen(&inside, &server).await;
    sleep(lifetime).await;
    assert_eq!(seen(&inside, &server).await, external);
    sleep(lifetime).await;
    // What comes in does not keep it (RFC 4787, REQ-6, leaves that to the NAT).
    server.send(external, "in time");
    assert_eq!(inside.next().await.1, bytes_of("in time"));
    sleep(ms(1)).await;
    server.send(external, "too late");
    assert_eq!(inside.within(PATIENCE).await, None);
    assert_eq!(nat.mappings(), []);
    assert_ne!(seen(&inside, &server).await, external);
}

/// The port of a mapping that has expired is another host's, also for what was on its way.
#[tokio::test(start_paused = true)]
async fn an_expired_mapping_can_become_that_of_another_host() {
    let internet = Internet::new(1);
    let server = Probe::bind(&internet.host(delayed(50)).unwrap(), 1);
    let config = NatConfig::from(NatKind::PortRestricted).mapping_lifetime(ms(100));
    let nat = internet.nat(config).unwrap();
    let (first, second) = (behind(&nat, 5000), behind(&nat, 5000));
    let external = seen(&first, &server).await;
    sleep(ms(40)).await;
    server.send(external, "to the first");
    sleep(ms(20)).await;
    second.send(server.local(), "mine now");
    assert_eq!(server.next().await.0, external);
    assert_eq!(first.within(PATIENCE).await, None);
    second.send(server.local(), "mine now");
    assert_eq!(server.next().await.0, external);
    assert_ne!(seen(&first, &server).await, external);
}

/// 253 addresses are behind a NAT.
#[tokio::test(start_paused = true)]
async fn addresses_that_have_been_left_are_given_again() {
    let internet = Internet::new(1);
    let carrier = internet.nat(NatKind::PortRestricted).unwrap();
    let (host, nat) = (carrier.host(Path::default()).unwrap(), carrier.nat(NatKind::PortRestricted).unwrap());
    let visitor = internet.host(Path::default()).unwrap();
    for _ in 0..300 {
        let before = [host.address().unwrap(), nat.address()];
        host.change_address().unwrap();
        nat.change_address().unwrap();
        assert!(before != [host.address().unwrap(), nat.address()] && host.address().unwrap() != nat.address());
        let joined = visitor.join(&carrier, Path::default()).unwrap();
        assert!(visitor.leave(joined[0]));
    }
    let hosts: Vec<_> = (0..251).map(|_| carrier.host(Path::default()).unwrap()).collect();
    let addresses: BTreeSet<_> = hosts.iter().map(|host| host.address().unwrap()).collect();
    assert!(addresses.len() == 251 && !addresses.contains(&nat.address()));
    assert!(carrier.host(Path::default()).is_err() && carrier.nat(NatKind::Symmetric).is_err());
}

#[tokio::test(start_paused = true)]
async fn permissions_expire_though_the_mapping_lives() {
    let internet = Internet::new(1);
    let [server, other] = [(); 2].map(|()| Probe::bind(&internet.host(Path::default()).unwrap(), 1));
    let inside = behind(&internet.nat(NatKind::PortRestricted).unwrap(), 5000);
    let external = seen(&inside, &server).await;
    sleep(Duration::from_secs(100)).await;
    assert_eq!(seen(&inside, &other).await, external);
    sleep(Duration::from_secs(100)).await;
    server.send(external, "too late");
    other.send(external, "in time");
    assert_eq!(inside.next().await.0, other.local());
    assert_eq!(inside.within(PATIENCE).await, None);
}

#[tokio::test(start_paused = true)]
async fn rebinding_drops_the_mappings_and_gives_other_ports() {
    for kind in KINDS {
        let internet = Internet::new(1);
        let server = Probe::bind(&internet.host(delayed(10)).unwrap(), 1);
        let nat = internet.nat(kind).unwrap();
        let inside = behind(&nat, 5000);
        let external = seen(&inside, &server).await;
        server.send(external, "on its way");
        nat.rebind();
        server.send(external, "after it");
        assert_eq!(inside.within(PATIENCE).await, None, "{kind:?}");
        let new = seen(&inside, &server).await;
        assert!(new.ip() == external.ip() && new.port() != external.port(), "{kind:?}");
        server.send(new, "back");
        inside.next().await;
        nat.change_address().unwrap();
        let newest = seen(&inside, &server).await;
        assert!(newest.ip() == nat.address() && newest.ip() != new.ip());
        server.send(newest, "back");
        inside.next().await;
    }
}

/// A datagram that a NAT would refuse when it is sent arrives if the hole is punched meanwhile.
#[tokio::test(start_paused = true)]
async fn a_nat_decides_when_a_datagram_arrives_there() {
    let internet = Internet::new(1);
    let [server, other] = [(); 2].map(|()| Probe::bind(&internet.host(delayed(50)).unwrap(), 1));
    let inside = behind(&internet.nat(NatKind::PortRestricted).unwrap(), 5000);
    let external = seen(&inside, &server).await;
    other.send(external, "uninvited yet");
    sleep(ms(20)).await;
    inside.send(other.local(), "come in");
    assert_eq!(inside.next().await, (other.local(), bytes_of("uninvited yet")));
}

#[tokio::test(start_paused = true)]
async fn a_nat_behind_a_carriers_nat_works() {
    let internet = Internet::new(1);
    let server = Probe::bind(&internet.host(delayed(10)).unwrap(), 1);
    let carrier = NatConfig::from(NatKind::EndpointIndependent).lan([100, 64, 0, 0].into()).hairpinning(true);
    let carrier = internet.nat(carrier).unwrap();
    let homes = [(); 2].map(|()| carrier.nat(NatKind::EndpointIndependent).unwrap());
    assert!(homes[0].address().to_string().starts_with("100.64.0."));
    let [a, b] = [0, 1].map(|n| behind(&homes[n], 5000));
    assert_ne!(a.local(), b.local());
    let (a_external, b_external) = (seen(&a, &server).await, seen(&b, &server).await);
    assert_eq!([a_external.ip(), b_external.ip()], [carrier.address(); 2]);
    server.send(b_external, "in");
    assert_eq!(b.next().await.1, bytes_of("in"));
    a.send(b_external, "through the carrier's hairpin");
    assert_eq!(b.next().await.0, a_external);
}

/// The address of a peer in another private network may be that of a host in this one.
#[tokio::test(start_paused = true)]
async fn private_networks_may_overlap() {
    let internet = Internet::new(1);
    let nat = || internet.nat(NatConfig::from(NatKind::PortRestricted).lan([192, 168, 1, 0].into())).unwrap();
    let (one, other) = (nat(), nat());
    let host = one.host(Path::default()).unwrap();
    let (a, wrong) = (Probe::bind(&host, 1), behind(&one, 7));
    let (_, right) = (behind(&other, 7), behind(&other, 7));
    assert_eq!(wrong.local(), right.local());
    a.send(right.local(), "to whom?");
    wrong.next().await;
    assert!(!right.is_ready().await);
    // Private addresses lead nowhere outside, and those of the own network not even to the NAT.
    a.send("192.168.1.99:7".parse().unwrap(), "x");
    assert_eq!(one.mappings(), []);
    a.send("192.168.2.2:7".parse().unwrap(), "x");
    assert_eq!((one.mappings().len(), host.counters().no_host), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn ipv6_passes_nats_untranslated_and_filtered() {
    let internet = Internet::new(1);
    let v6 = || HostConfig::default().ipv4(false).ipv6(true);
    let carrier = internet.nat(NatKind::PortRestricted).unwrap();
    let home = carrier.nat(NatKind::Symmetric).unwrap();
    let host = home.host(v6()).unwrap();
    let inside = Probe::bind(&host, 5000);
    let [known, other] = [(); 2].map(|()| Probe::bind(&internet.host(v6()).unwrap(), 1));
    other.send(inside.local(), "uninvited");
    assert_eq!(inside.within(PATIENCE).await, None);
    assert_eq!(seen(&inside, &known).await, inside.local());
    known.send(inside.local(), "back");
    assert_eq!(inside.next().await.0, known.local());
    other.send(inside.local(), "uninvited still");
    assert_eq!(inside.within(PATIENCE).await, None);
    assert_eq!(seen(&inside, &other).await, inside.local());
    for invited in [&known, &other] {
        invited.send(inside.local(), "invited");
        assert_eq!(inside.next().await.0, invited.local());
    }
    host.change_address().unwrap();
    known.send(inside.local(), "to the old one");
    assert_eq!(inside.within(PATIENCE).await, None);
    let again = Probe::bind(&host, 5000);
    assert_eq!(seen(&again, &known).await, again.local());
}

#[tokio::test(start_paused = true)]
async fn a_nat_forgets_what_has_expired() {
    let internet = Internet::new(1);
    let server = Probe::bind(&internet.host(Path::default()).unwrap(), 1);
    let nat = internet.nat(NatKind::Symmetric).unwrap();
    let host = nat.host(Path::default()).unwrap();
    let mut most = 0;
    for _ in 0..100 {
        for _ in 0..50 {
            let probe = Probe::bind(&host, 0);
            probe.send(server.local(), "x");
        }
        sleep(Duration::from_secs(50)).await;
        most = most.max(nat.shared.lock().nat(nat.id).table.len());
    }
    assert!(most <= 400, "{most}");
}
