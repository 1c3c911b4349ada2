//! Datagrams to and from peers.

use proptest::prelude::*;

use super::*;
use crate::webrtc::relay::{fake_server::data_indication, message};

#[test]
fn a_peer_is_sent_to_when_it_is_permitted_and_by_a_channel_when_it_is_busy() {
    let (mut harness, relayed) = Harness::allocated();
    for number in 0..20_u8 {
        harness.send(relayed, peer(1), &[number; 100]);
    }
    let received: Vec<u8> = harness.server.to_peers.iter().map(|datagram| datagram.data[0]).collect();
    assert_eq!(received, (0..20).collect::<Vec<u8>>(), "in order, also what waited for the permission");
    assert!(harness.server.to_peers.iter().all(|datagram| datagram.local == relayed && datagram.remote == peer(1)));
    assert_eq!((harness.requests("permission"), harness.requests("channel"), harness.server.dropped), (1, 1, 0));

    let datagram = Datagram { local: relayed, remote: peer(1), data: BytesMut::from(&b"hello"[..]) };
    assert_eq!(harness.receive(peer(1), b"hello"), Some(Relayed::Peer(datagram.clone())), "by the channel");
    let other = SocketAddr::new(peer(1).ip(), 9);
    let expected = Datagram { remote: other, ..datagram };
    assert_eq!(harness.receive(other, b"hello"), Some(Relayed::Peer(expected)), "another port of a permitted host");
}

#[test]
fn the_largest_datagram_fits() {
    let data = [7; 1_232];
    for (peer, overhead) in [(peer(1), 36), (at("[2001:db8::1]:7000"), 48)] {
        let wrapped = message::send_indication(peer, &data).expect("an indication");
        assert_eq!(wrapped.len(), data.len() + overhead);
    }
    assert_eq!(message::channel_data(0x4000, &data).expect("a message").len(), data.len() + 4);
    assert_eq!(message::channel_data(0x4000, &vec![0; 70_000]), None);
    let (mut harness, relayed) = Harness::allocated();
    for _ in 0..9 {
        harness.send(relayed, peer(1), &data);
    }
    assert!(harness.server.to_peers.iter().all(|datagram| datagram.data[..] == data));
    assert_eq!(harness.server.to_peers.len(), 9);
}

#[test]
fn fifty_peers_share_one_allocation_for_twenty_minutes() {
    let (mut harness, relayed) = Harness::allocated();
    harness.keep_alive(false);
    for _ in 0..20 * 60 {
        for number in 1..=50 {
            harness.send(relayed, peer(number), &[number; 100]);
        }
        harness.pass(seconds(1));
    }
    assert_eq!((harness.server.to_peers.len(), harness.server.dropped), (50 * 20 * 60, 0));
    assert_eq!(harness.relayed(), Some(relayed));
    assert_eq!((harness.server.held.len(), harness.requests("allocate")), (1, 2));
    assert_eq!(harness.requests("permission"), 50, "the refresh of a channel is one of the permission");
    let channels = harness.requests("channel");
    assert!((50 * 5..=50 * 6).contains(&channels), "{channels}");
    assert!((3..=5).contains(&harness.requests("refresh")), "{}", harness.requests("refresh"));
    for number in 1..=50 {
        assert!(matches!(harness.receive(peer(number), b"x"), Some(Relayed::Peer(_))), "{number}");
    }
}

#[test]
fn permissions_of_quiet_peers_are_refreshed_while_they_are_used_and_lapse_then() {
    let (mut harness, relayed) = Harness::allocated();
    // Too few datagrams for a channel at first; a datagram each two minutes is use enough.
    for _ in 0..10 {
        harness.send(relayed, peer(1), b"seldom");
        harness.pass(minutes(2));
    }
    assert_eq!((harness.server.to_peers.len(), harness.server.dropped), (10, 0));
    harness.pass(minutes(11));
    assert!(harness.server.held[&at(SOCKET)].permissions.values().all(|until| *until <= harness.now));
    let (permissions, channels) = (harness.requests("permission"), harness.requests("channel"));
    harness.pass(minutes(20));
    assert_eq!((harness.requests("permission"), harness.requests("channel")), (permissions, channels));
    assert_eq!(harness.sizes(), (0, 0, 0));
    harness.send(relayed, peer(1), b"again");
    assert_eq!((harness.server.to_peers.len(), harness.server.dropped), (11, 0));
}

#[test]
fn a_channel_that_lapsed_is_bound_again_with_its_number() {
    for (pause, number) in [(4, 0x4000), (6, 0x4000), (9, 0x4000), (11, 0x4000), (14, 0x4000), (16, 0x4001)] {
        let (mut harness, relayed) = Harness::allocated();
        for _ in 0..9 {
            harness.send(relayed, peer(1), b"busy");
        }
        harness.pass(minutes(pause));
        for _ in 0..9 {
            harness.send(relayed, peer(1), b"busy");
        }
        assert_eq!((harness.server.to_peers.len(), harness.server.dropped), (18, 0), "{pause}");
        let channels = &harness.server.held[&at(SOCKET)].channels;
        assert_eq!(channels.keys().copied().collect::<Vec<_>>(), [number], "{pause}");
        assert!(channels[&number].1 > harness.now, "{pause}");
    }
}

#[test]
fn a_forbidden_peer_is_asked_for_once() {
    let (mut harness, relayed) = Harness::allocated();
    harness.server.forbidden.insert(peer(1).ip());
    for _ in 0..100 {
        harness.send(relayed, peer(1), b"x");
        harness.send(relayed, peer(2), b"x");
        harness.pass(seconds(1));
    }
    assert_eq!(harness.requests("permission"), 2);
    assert_eq!(harness.server.to_peers.len(), 100);
    assert!(harness.server.to_peers.iter().all(|datagram| datagram.remote == peer(2)));
    assert_eq!(harness.sizes().2, 0, "nothing waits for what was refused");
    harness.server.forbidden.clear();
    harness.pass(minutes(5));
    harness.send(relayed, peer(1), b"x");
    assert_eq!(harness.server.to_peers.last().map(|datagram| datagram.remote), Some(peer(1)), "asked again in time");
}

#[test]
fn a_server_without_channels_is_asked_for_one_once() {
    let (mut harness, relayed) = Harness::allocated();
    harness.server.no_channels = true;
    for _ in 0..100 {
        harness.send(relayed, peer(1), b"x");
        harness.pass(seconds(1));
    }
    assert_eq!((harness.server.to_peers.len(), harness.requests("channel")), (100, 1));
    assert_eq!(harness.relayed(), Some(relayed), "a refused channel is not a lost allocation");
}

#[test]
fn a_permission_lapses_although_no_timer_fired() {
    let (mut harness, relayed) = Harness::allocated();
    harness.server.lifetime = minutes(60);
    harness.pass(minutes(6));
    harness.send(relayed, peer(1), b"x");
    harness.now += minutes(6);
    harness.send(relayed, peer(1), b"x");
    assert_eq!((harness.server.to_peers.len(), harness.server.dropped), (2, 0));
}

#[test]
fn a_lost_permission_request_is_repeated_and_what_waits_for_it_is_little() {
    let (mut harness, relayed) = Harness::allocated();
    harness.lose = 1;
    for number in 0..10 {
        harness.send(relayed, peer(1), &[number]);
    }
    assert_eq!(harness.sizes().2, 4);
    harness.pass(Duration::from_millis(250));
    let received: Vec<u8> = harness.server.to_peers.iter().map(|datagram| datagram.data[0]).collect();
    assert_eq!(received, [0, 1, 2, 3]);
}

#[test]
fn memory_is_bounded_whatever_addresses_peers_name() {
    let (mut harness, relayed) = Harness::allocated();
    harness.silent = true;
    for number in 0..1_000_u32 {
        harness.send(relayed, SocketAddr::from((number.to_be_bytes().map(|byte| byte | 64), 7)), &[0; 1_000]);
    }
    let (hosts, _, waiting) = harness.sizes();
    assert!(hosts <= 128 && waiting <= 64, "{hosts} {waiting}");
    let (mut harness, relayed) = Harness::allocated();
    for number in 0..3_000_u32 {
        let remote = SocketAddr::from(([100, 64 + (number >> 16) as u8, (number >> 8) as u8, number as u8], 7));
        harness.send(relayed, remote, b"a check");
        if number % 10 == 0 {
            harness.send(relayed, peer(250), b"an honest peer");
        }
    }
    let (hosts, peers, waiting) = harness.sizes();
    assert!(hosts <= 512 && peers <= 512 && waiting == 0, "{hosts} {peers} {waiting}");
    assert_eq!(harness.server.dropped, 0);
    assert!(harness.server.held[&at(SOCKET)].channels.values().any(|(bound, _)| *bound == peer(250)));
}

#[test]
fn malformed_data_is_dropped() {
    let (mut harness, relayed) = Harness::allocated();
    let mut handle = |data: BytesMut| {
        let datagram = Datagram { local: at(SOCKET), remote: at(SERVER), data };
        harness.relays.handle_datagram(harness.now, datagram)
    };
    let good = data_indication(Some(peer(9)), Some(b"x"));
    for length in 2..good.len() {
        assert_eq!(handle(BytesMut::from(&good[..length])), Relayed::Consumed, "{length}");
    }
    for data in [
        data_indication(None, Some(b"x")),
        data_indication(Some(peer(9)), None),
        data_indication(Some(peer(9)), Some(b"")),
        data_indication(Some(at("0.0.0.0:7")), Some(b"x")),
        data_indication(Some(at("224.0.0.1:7")), Some(b"x")),
        data_indication(Some(at("100.64.0.1:0")), Some(b"x")),
        BytesMut::from(&[0x40][..]),
        BytesMut::from(&[0x40, 0, 0, 1, 7][..]),
        BytesMut::from(&[0x4f, 0xff, 0xff, 0xff, 7][..]),
    ] {
        assert_eq!(handle(data.clone()), Relayed::Consumed, "{data:?}");
    }
    for data in [BytesMut::new(), BytesMut::from(&[22, 254, 253][..]), BytesMut::from(&[0; 20][..])] {
        assert!(matches!(handle(data), Relayed::NotOurs(_)));
    }
    let expected = Datagram { local: relayed, remote: peer(9), data: BytesMut::from(&b"x"[..]) };
    assert_eq!(handle(good), Relayed::Peer(expected), "a well-formed one of a peer not sent to yet");
}

#[test]
fn channel_data_may_be_padded_and_not_cut() {
    let (mut harness, relayed) = Harness::allocated();
    for _ in 0..9 {
        harness.send(relayed, peer(1), b"busy");
    }
    let number = *harness.server.held[&at(SOCKET)].channels.keys().next().expect("a channel");
    let mut handle = |data: &[u8], length: u16| {
        let mut message = BytesMut::from(&number.to_be_bytes()[..]);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(data);
        harness.relays.handle_datagram(harness.now, Datagram { local: at(SOCKET), remote: at(SERVER), data: message })
    };
    let expected = Datagram { local: relayed, remote: peer(1), data: BytesMut::from(&b"hello"[..]) };
    assert_eq!(handle(b"hello\0\0\0", 5), Relayed::Peer(expected));
    assert_eq!(handle(b"hello", 6), Relayed::Consumed);
    assert_eq!(handle(b"hello", 0), Relayed::Consumed);
}

proptest! {
    #[test]
    fn no_datagram_of_a_server_panics_or_sends(
        data in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0_u8..4,
        length in any::<bool>(),
    ) {
        let (mut harness, relayed) = Harness::allocated();
        harness.relays.send(harness.now, Datagram { local: relayed, remote: peer(1), data: BytesMut::from(&b"x"[..]) });
        let request = harness.relays.poll_transmit().expect("a request for a permission");
        let mut datagram = match kind {
            0 => BytesMut::new(),
            1 => BytesMut::from(&data_indication(None, None)[..]),
            // Responses to the request that is under way.
            _ => BytesMut::from(&request.data[..20]),
        };
        if kind >= 2 {
            datagram[..2].copy_from_slice(&(0x0108_u16 + 0x10 * u16::from(kind - 2)).to_be_bytes());
        }
        datagram.extend_from_slice(&data);
        if length && kind > 0 {
            datagram[2..4].copy_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        }
        let datagram = Datagram { local: at(SOCKET), remote: at(SERVER), data: datagram };
        match harness.relays.handle_datagram(harness.now, datagram.clone()) {
            Relayed::Peer(of) => prop_assert!(of.data.len() <= datagram.data.len() && of.local == relayed),
            Relayed::NotOurs(same) => prop_assert_eq!(same, datagram),
            Relayed::Consumed => {}
        }
        prop_assert!(harness.relays.poll_transmit().is_none());
    }
}
