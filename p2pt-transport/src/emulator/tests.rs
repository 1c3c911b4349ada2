use std::{collections::BTreeSet, io::ErrorKind, net::SocketAddr, time::Duration};

use rtc_stun::{
    message::{BINDING_REQUEST, Getter as _, Message, TransactionId},
    xoraddr::XorMappedAddress,
};
use tokio::time::Instant;

use super::testing::{PATIENCE, Probe, bytes_of, delayed, ms};
use super::{Counters, Host, HostConfig, Internet, NatKind, Path};

fn pair(internet: &Internet, a: Path, b: Path) -> ((Host, Probe), (Host, Probe)) {
    let host = |path| {
        let host = internet.host(path).unwrap();
        let probe = Probe::bind(&host, 7000);
        (host, probe)
    };
    (host(a), host(b))
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_datagram_takes_the_delay_of_both_lines() {
    let internet = Internet::new(1);
    let ((_, a), (_, b)) = pair(&internet, delayed(7), delayed(30));
    let begin = Instant::now();
    a.send(b.local(), "there");
    assert_eq!(b.next().await, (a.local(), bytes_of("there")));
    assert_eq!(begin.elapsed(), ms(37));
    b.send(a.local(), "and back");
    assert_eq!(a.next().await, (b.local(), bytes_of("and back")));
    assert_eq!(begin.elapsed(), ms(74));
}

#[tokio::test(start_paused = true)]
async fn datagrams_come_in_the_order_in_which_they_are_due() {
    let internet = Internet::new(1);
    let ((far, a), (_, b)) = pair(&internet, delayed(50), Path::default());
    a.send(b.local(), "late 1");
    a.send(b.local(), "late 2");
    far.set_path(delayed(10));
    a.send(b.local(), "early 1");
    a.send(b.local(), "early 2");
    let came: Vec<_> = b.all().await.into_iter().map(|(at, _, data)| (at, String::from_utf8(data).unwrap())).collect();
    let expected = [(10, "early 1"), (10, "early 2"), (50, "late 1"), (50, "late 2")];
    assert_eq!(came, expected.map(|(at, text)| (ms(at), text.to_owned())));
}

/// A task that waits for a late datagram is woken for one that comes earlier.
#[tokio::test(start_paused = true)]
async fn waiting_for_one_datagram_does_not_delay_another() {
    let internet = Internet::new(1);
    let ((_, a), (_, b)) = pair(&internet, delayed(500), Path::default());
    let near = Probe::bind(&internet.host(delayed(1)).unwrap(), 1);
    a.send(b.local(), "late");
    let receiver = b.clone();
    let begin = Instant::now();
    let waiting = tokio::spawn(async move { (receiver.next().await.1, begin.elapsed()) });
    tokio::time::sleep(ms(20)).await;
    near.send(b.local(), "early");
    assert_eq!(waiting.await.unwrap(), (bytes_of("early"), ms(21)));
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_delay_over_its_whole_range() {
    let internet = Internet::new(1);
    let ((_, a), (_, b)) = pair(&internet, delayed(10).jitter(ms(40)), Path::default());
    for _ in 0..1000 {
        a.send(b.local(), "x");
    }
    let all = b.all().await;
    assert_eq!(all.len(), 1000);
    assert!(all[0].0 >= ms(10) && all[999].0 <= ms(51), "{:?} to {:?}", all[0].0, all[999].0);
    assert!(all[250].0.abs_diff(ms(20)) < ms(3) && all[750].0.abs_diff(ms(40)) < ms(3));
}

/// The counts are exact because the seed decides them.
#[tokio::test(start_paused = true)]
async fn the_seed_decides_which_datagrams_are_lost() {
    let lost = async |seed, loss: f64| {
        let internet = Internet::new(seed);
        let ((host, a), (_, b)) = pair(&internet, Path::default().loss(loss), Path::default());
        for n in 0..10_000 {
            a.send(b.local(), &n.to_string());
        }
        let came: Vec<_> = b.all().await.into_iter().map(|(.., data)| data).collect();
        let counters = host.counters();
        assert_eq!((counters.sent, counters.delivered), (10_000, came.len() as u64));
        assert_eq!(counters.delivered + counters.lost + counters.buffer_full, 10_000);
        (counters.lost, came)
    };
    assert_eq!(lost(1, 0.0).await.0, 0);
    assert_eq!(lost(1, 1.0).await.0, 10_000);
    let (count, came) = lost(1, 0.1).await;
    assert!((900..1100).contains(&count), "{count}");
    assert_eq!(lost(1, 0.1).await, (count, came.clone()));
    assert_ne!(lost(2, 0.1).await.1, came);
}

#[tokio::test(start_paused = true)]
async fn loss_is_that_of_the_receivers_line_too() {
    let internet = Internet::new(1);
    let ((host, a), (_, b)) = pair(&internet, Path::default(), Path::default().loss(0.5));
    for _ in 0..1000 {
        a.send(b.local(), "x");
    }
    assert!((400..600).contains(&host.counters().lost), "{:?}", host.counters());
}

/// Packets of 1,000 bytes over 100,000 bytes a second leave every 10 ms, and 200 ms of them may wait.
#[tokio::test(start_paused = true)]
async fn limited_bandwidth_makes_datagrams_wait_and_drops_those_that_would_wait_too_long() {
    for up in [true, false] {
        let internet = Internet::new(1);
        let narrow = delayed(5);
        let narrow = if up { narrow.upload(100_000) } else { narrow.download(100_000) };
        let (paths, payload) = (if up { (narrow, delayed(0)) } else { (delayed(0), narrow) }, "x".repeat(1000 - 28));
        let ((host, a), (_, b)) = pair(&internet, paths.0, paths.1);
        for _ in 0..100 {
            a.send(b.local(), &payload);
            // The other direction is not limited.
            b.send(a.local(), &payload);
        }
        let came: Vec<_> = b.all().await.into_iter().map(|(at, ..)| at).collect();
        assert_eq!(came, (1..=21).map(|n| ms(10 * n + 5)).collect::<Vec<_>>(), "upload: {up}");
        let counters = host.counters();
        assert_eq!((counters.queue_full, counters.delivered, counters.in_flight()), (79, 21, 0));
        assert_eq!(a.all().await.len(), 100);
        // The queue is empty again.
        let begin = Instant::now();
        a.send(b.local(), &payload);
        b.next().await;
        assert_eq!(begin.elapsed(), ms(15));
    }
}

#[tokio::test(start_paused = true)]
async fn packets_that_are_too_large_are_dropped() {
    let internet = Internet::new(1);
    let ((host, a), (_, b)) = pair(&internet, Path::default(), Path::default());
    a.send(b.local(), &"x".repeat(1472));
    a.send(b.local(), &"x".repeat(1473));
    assert_eq!(b.all().await.len(), 1);
    assert_eq!(host.counters().too_large, 1);
}

#[tokio::test(start_paused = true)]
async fn contents_are_cut_into_segments() {
    let internet = Internet::new(1);
    let ((host, a), (_, b)) = pair(&internet, Path::default(), Path::default());
    a.0.try_send(b.local(), b"aabbc", 2).unwrap();
    a.0.try_send(b.local(), b"", 0).unwrap();
    let came: Vec<_> = b.all().await.into_iter().map(|(.., data)| String::from_utf8(data).unwrap()).collect();
    assert_eq!(came, ["aa", "bb", "c", ""]);
    assert_eq!(host.counters().sent, 4);
    let most = a.0.max_segments();
    a.0.try_send(b.local(), &vec![0; most], 1).unwrap();
    assert_eq!(a.0.try_send(b.local(), &vec![0; most + 1], 1).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_full_receive_buffer_drops_what_comes() {
    let internet = Internet::new(1);
    let ((host, a), _) = pair(&internet, Path::default(), Path::default());
    let receiver = internet.host(HostConfig::default().socket_buffer_bytes(10_000)).unwrap();
    let b = Probe::bind(&receiver, 0);
    assert_eq!(b.0.receive_buffer_bytes(), 10_000, "not as much as was asked for");
    for _ in 0..20 {
        // With what the system takes for each: 1,250 bytes.
        a.send(b.local(), &"x".repeat(994));
    }
    assert_eq!(b.all().await.len(), 8);
    assert_eq!((host.counters().buffer_full, receiver.counters().received), (12, 8));
    a.send(b.local(), "there is room again");
    b.next().await;
}

/// Datagrams for a socket that is never read cost no more than its buffer.
#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_bounded() {
    let internet = Internet::new(1);
    let ((host, a), (_, b)) = pair(&internet, delayed(5), Path::default());
    for _ in 0..5000 {
        a.send(b.local(), &"x".repeat(1000));
        tokio::time::advance(ms(1)).await;
    }
    let counters = host.counters();
    assert!(counters.in_flight() <= 6 && counters.delivered < 400, "{counters:?}");
}

#[tokio::test(start_paused = true)]
async fn sockets_are_bound_as_the_system_binds_them() {
    let internet = Internet::new(1);
    let host = internet.host(HostConfig::default().ipv6(true)).unwrap();
    let other = internet.host(Path::default()).unwrap();
    let [v4, v6] = host.addresses()[..] else { panic!("two addresses") };
    assert!(v4.is_ipv4() && v6.is_ipv6() && internet.host(HostConfig::default()).unwrap().addresses().len() == 1);
    let bind = |address: SocketAddr| Probe::bind_to(&host, address).map_err(|error| error.kind());
    let first = bind((v4, 9).into()).unwrap();
    assert_eq!(first.local(), SocketAddr::new(v4, 9));
    assert_eq!(bind((v4, 9).into()).unwrap_err(), ErrorKind::AddrInUse);
    assert_eq!(bind(at("0.0.0.0:9")).unwrap_err(), ErrorKind::AddrInUse);
    let any = bind(at("[::]:9")).unwrap();
    assert_eq!(bind((v6, 9).into()).unwrap_err(), ErrorKind::AddrInUse);
    assert_eq!(bind((other.address().unwrap(), 0).into()).unwrap_err(), ErrorKind::AddrNotAvailable);
    let probes: Vec<_> = (0..3).map(|_| bind((v4, 0).into()).unwrap()).collect();
    let ports: BTreeSet<_> = probes.iter().map(|probe| probe.local().port()).collect();
    assert!(ports.len() == 3 && !ports.contains(&0));
    assert_eq!(internet.sockets(), 5);
    drop(probes);
    assert_eq!(internet.sockets(), 2, "dropped ones are unbound");
    assert_eq!(host.sockets(), [first.local(), any.local()]);
    drop(first);
    bind((v4, 9).into()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn sockets_bound_to_all_addresses_or_to_loopback_serve_what_they_should() {
    let internet = Internet::new(1);
    let host = internet.host(delayed(10)).unwrap();
    let peer = Probe::bind(&internet.host(delayed(10)).unwrap(), 5);
    let any = Probe::bind_to(&host, at("0.0.0.0:6")).unwrap();
    let own = SocketAddr::new(host.address().unwrap(), 6);
    any.send(peer.local(), "x");
    assert_eq!(peer.next().await.0, own);
    peer.send(own, "y");
    assert_eq!(any.next().await, (peer.local(), bytes_of("y")));
    let looped = Probe::bind_to(&host, at("127.0.0.1:7")).unwrap();
    any.send(looped.local(), "z");
    assert!(looped.is_ready().await, "what stays on the host takes no time");
    any.send(looped.local(), "z");
    assert_eq!(looped.next().await.0, at("127.0.0.1:6"));
    any.send(own, "to itself");
    assert_eq!(any.next().await, (own, bytes_of("to itself")));
    assert!(looped.0.try_send(peer.local(), b"x", 1).is_err(), "loopback leads nowhere else");
    assert!(any.0.try_send(at("[2001:db8::1]:1"), b"x", 1).is_err(), "IPv4 does not reach IPv6");
}

#[tokio::test(start_paused = true)]
async fn ipv6_reaches_ipv6() {
    let internet = Internet::new(1);
    let host = || internet.host(HostConfig::default().ipv4(false).ipv6(true)).unwrap();
    let (a, b) = (Probe::bind(&host(), 0), Probe::bind(&host(), 0));
    a.send(b.local(), "six");
    assert_eq!(b.next().await, (a.local(), bytes_of("six")));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_arrive_is_counted_and_said_whom_it_was_for() {
    let internet = Internet::new(1);
    let ((host, a), (receiver, b)) = pair(&internet, Path::default(), Path::default());
    let (unused, closed) = (at("203.0.113.200:1"), SocketAddr::new(receiver.address().unwrap(), 1));
    for (to, count) in [(b.local(), 3), (unused, 2), (closed, 1)] {
        (0..count).for_each(|_| a.send(to, "x"));
    }
    assert_eq!(b.all().await.len(), 3);
    let expected = Counters { sent: 6, delivered: 3, no_host: 2, no_socket: 1, ..Counters::default() };
    assert_eq!((host.counters(), receiver.counters().received), (expected, 3));
    let own = a.local();
    assert_eq!(host.flows(), [((own, b.local()), 3), ((own, unused), 2), ((own, closed), 1)].into());
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_a_socket_that_ends_is_dropped() {
    let internet = Internet::new(1);
    let ((host, a), (_, b)) = pair(&internet, delayed(10), Path::default());
    a.send(b.local(), "x");
    assert_eq!(host.counters().in_flight(), 1);
    drop(b);
    assert_eq!((host.counters().no_socket, host.counters().in_flight(), internet.sockets()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pulled_cable_and_a_partition_keep_everything_back() {
    let internet = Internet::new(1);
    let ((one, a), (other, b)) = pair(&internet, delayed(10), delayed(10));
    let reach = async || {
        a.send(b.local(), "x");
        b.send(a.local(), "x");
        (b.within(PATIENCE).await.is_some(), a.within(PATIENCE).await.is_some())
    };
    assert_eq!(reach().await, (true, true));
    one.set_up(false);
    assert_eq!(reach().await, (false, false));
    assert_eq!((one.counters().disconnected, other.counters().disconnected), (1, 1));
    one.set_up(true);
    assert_eq!(reach().await, (true, true));
    internet.cut_from(&one, &other, true);
    assert_eq!(reach().await, (false, true));
    internet.partition(&one, &other, true);
    assert_eq!(reach().await, (false, false));
    internet.partition(&one, &other, false);
    assert_eq!(reach().await, (true, true));
    internet.slow_from(&one, &other, ms(400));
    let begin = Instant::now();
    a.send(b.local(), "x");
    b.next().await;
    assert_eq!(begin.elapsed(), ms(420));
    // What is on its way when the cable is pulled does not arrive.
    b.send(a.local(), "x");
    one.set_up(false);
    tokio::time::sleep(ms(100)).await;
    one.set_up(true);
    internet.heal();
    assert_eq!(reach().await, (true, true));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_changes_its_address_is_reached_at_the_new_one_only() {
    let internet = Internet::new(1);
    let ((host, a), (_, b)) = pair(&internet, delayed(10), delayed(10));
    let any = Probe::bind_to(&host, at("0.0.0.0:8")).unwrap();
    let old = a.local();
    b.send(old, "on its way");
    host.change_address().unwrap();
    let new = host.address().unwrap();
    assert_ne!(new, old.ip());
    assert_eq!(host.network().addresses().unwrap(), [SocketAddr::new(new, 0)]);
    assert_eq!(a.0.try_send(b.local(), b"x", 1).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    b.send(old, "after it");
    assert_eq!(a.within(PATIENCE).await, None);
    any.send(b.local(), "from the new one");
    assert_eq!(b.next().await.0, SocketAddr::new(new, 8));
    let again = Probe::bind(&host, 7000);
    b.send(again.local(), "to the new one");
    assert_eq!(again.next().await.0, b.local());
}

#[tokio::test(start_paused = true)]
async fn a_host_joins_and_leaves_networks() {
    let internet = Internet::new(1);
    let ((host, a), (_, b)) = pair(&internet, delayed(10), Path::default());
    let nat = internet.nat(NatKind::PortRestricted).unwrap();
    let second = host.join(&nat, delayed(30)).unwrap();
    assert_eq!(host.addresses(), [a.local().ip(), second[0]]);
    let at_second = Probe::bind_to(&host, (second[0], 0).into()).unwrap();
    let begin = Instant::now();
    at_second.send(b.local(), "x");
    assert_eq!((b.next().await.0.ip(), begin.elapsed()), (nat.address(), ms(30)));
    assert!(host.leave(a.local().ip()) && !host.leave(a.local().ip()));
    assert!(a.0.try_send(b.local(), b"x", 1).is_err());
    at_second.send(b.local(), "x");
    assert_eq!(b.next().await.0.ip(), nat.address());
    assert!(host.leave(second[0]) && host.address().is_none());
    assert!(at_second.0.try_send(b.local(), b"x", 1).is_err());
    host.join_internet(Path::default()).unwrap();
    Probe::bind(&host, 0).send(b.local(), "x");
    assert_eq!(b.next().await.0.ip(), host.address().unwrap());
}

#[tokio::test(start_paused = true)]
async fn names_resolve_to_what_was_registered() {
    let internet = Internet::new(1);
    let network = internet.host(Path::default()).unwrap().network();
    internet.name("stun.example", at("203.0.113.77:1").ip());
    internet.name("stun.example", at("[2001:db8::7]:1").ip());
    let resolve = async |name: &str| network.resolve(name.to_owned()).await.map_err(|error| error.kind());
    assert_eq!(resolve("stun.example:3478").await, Ok(vec![at("203.0.113.77:3478"), at("[2001:db8::7]:3478")]));
    assert_eq!(resolve("192.0.2.1:5").await, Ok(vec![at("192.0.2.1:5")]));
    assert_eq!(resolve("[::1]:5").await, Ok(vec![at("[::1]:5")]));
    let begin = Instant::now();
    assert_eq!(resolve("other.example:3478").await, Err(ErrorKind::NotFound));
    assert!(begin.elapsed() > Duration::ZERO, "a look-up takes time");
    assert_eq!(resolve("stun.example").await, Err(ErrorKind::InvalidInput));
}

#[tokio::test(start_paused = true)]
async fn a_stun_server_says_where_a_request_came_from() {
    let internet = Internet::new(1);
    let server = internet.stun_server().unwrap();
    let nat = internet.nat(NatKind::Symmetric).unwrap();
    let v6 = internet.host(HostConfig::default().ipv6(true)).unwrap();
    for host in [internet.host(delayed(10)).unwrap(), nat.host(delayed(10)).unwrap(), v6] {
        let probe = Probe::bind(&host, 0);
        let mut request = Message::new();
        request.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)]).unwrap();
        let begin = Instant::now();
        probe.0.try_send(server, &request.raw, request.raw.len()).unwrap();
        let (from, data) = probe.next().await;
        let mut response = Message { raw: data, ..Message::default() };
        response.decode().unwrap();
        assert_eq!((from, response.transaction_id), (server, request.transaction_id));
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&response).unwrap();
        let mapping = nat.mappings().into_iter().find(|(internal, _)| *internal == probe.local());
        let expected = mapping.map_or(probe.local(), |(_, external)| external);
        assert_eq!(SocketAddr::new(mapped.ip, mapped.port), expected);
        assert!(begin.elapsed() == ms(20) || begin.elapsed().is_zero());
        // Everything else is not answered.
        for junk in [&b"junk"[..], &[0; 20], &request.raw[..19], &[&request.raw[..], b"more"].concat()] {
            probe.0.try_send(server, junk, junk.len()).unwrap();
        }
        probe.send(SocketAddr::new(server.ip(), 1), "another port");
        assert_eq!(probe.within(PATIENCE).await, None);
        assert_eq!((host.counters().delivered, host.counters().no_socket), (5, 1));
    }
}

/// A hidden order of a hash table would show here.
#[tokio::test(start_paused = true)]
async fn the_same_seed_and_the_same_datagrams_have_the_same_fates() {
    let run = async |seed| {
        let internet = Internet::new(seed);
        let path = Path::default().delay(ms(5)).jitter(ms(20)).loss(0.2).bandwidth(50_000);
        let mut probes = Vec::new();
        for kind in [NatKind::Symmetric, NatKind::Symmetric, NatKind::EndpointIndependent] {
            let nat = internet.nat(kind).unwrap();
            probes.extend([(); 3].map(|()| Probe::bind(&nat.host(path.clone()).unwrap(), 0)));
        }
        let servers = [(); 3].map(|()| Probe::bind(&internet.host(path.clone()).unwrap(), 1));
        let mut came = Vec::new();
        for round in 0..30 {
            for probe in &probes {
                servers.iter().for_each(|server| probe.send(server.local(), &format!("{round}")));
            }
            tokio::time::sleep(ms(30)).await;
            for server in &servers {
                while let Some((remote, data)) = server.within(ms(1)).await {
                    server.send(remote, "back");
                    came.push((server.local(), remote, data));
                }
            }
        }
        for probe in &probes {
            came.extend(probe.all().await.into_iter().map(|(_, remote, data)| (probe.local(), remote, data)));
        }
        came
    };
    let first = run(1).await;
    assert!(first.len() > 200, "{}", first.len());
    assert_eq!(run(1).await, first);
    assert_ne!(run(2).await, first);
}

/// Prints what 100 hosts behind NATs cost that send a million datagrams to each other. Measured in this profile on a
/// machine with two cores: 12 µs of processor time each, all without optimisation.
#[tokio::test(start_paused = true)]
#[ignore = "a measurement: .ci/long emulator"]
async fn cost() {
    let internet = Internet::new(1);
    let path = delayed(10).loss(0.01).jitter(ms(5)).bandwidth(10_000_000);
    let hosts = (0..100).map(|_| internet.nat(NatKind::EndpointIndependent).unwrap().host(path.clone()).unwrap());
    let probes: Vec<_> = hosts.map(|host| Probe::bind(&host, 5000)).collect();
    let server = Probe::bind(&internet.host(Path::default()).unwrap(), 1);
    let mut external = Vec::new();
    for probe in &probes {
        while external.len() < probes.len() {
            probe.send(server.local(), "x");
            let Some((remote, _)) = server.within(ms(100)).await else { continue };
            external.push(remote);
            break;
        }
    }
    #[expect(clippy::disallowed_methods, reason = "it is the processor's time that is measured")]
    let begin = std::time::Instant::now();
    let receive = |probe: Probe| async move { while probe.within(PATIENCE).await.is_some() {} };
    let receiving: Vec<_> = probes.iter().map(|probe| tokio::spawn(receive(probe.clone()))).collect();
    let payload = "x".repeat(100);
    for round in 0..1250 {
        for (n, probe) in probes.iter().enumerate() {
            (0..8).for_each(|k| probe.send(external[(n + 7 * k + round) % 100], &payload));
        }
        tokio::time::sleep(ms(10)).await;
    }
    for receiving in receiving {
        receiving.await.unwrap();
    }
    println!("{:?} for each of a million datagrams", begin.elapsed() / 1_000_000);
}
