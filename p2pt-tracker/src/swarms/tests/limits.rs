//! What is beyond a limit is refused, and what is below it is not.

use super::*;

fn refused(messages: &[(ConnectionId, TrackerMessage)], to: ConnectionId, limit: &str) {
    let reason = &failure(messages, to).reason;
    assert!(reason.contains(limit), "{reason:?} does not say {limit:?}");
}

/// Opens a connection of the address that ends so.
fn open(harness: &mut Harness, conn: ConnectionId, last: u8) {
    let address = Some(IpAddr::from([192, 0, 2, last]));
    assert_eq!(harness.input(SwarmsInput::Opened { conn, address }), []);
}

/// An announce in one of many swarms.
fn in_swarm(n: u32, id: u8) -> Announce {
    let mut hash = [0; 20];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    Announce::new(hash.into(), peer(id))
}

#[test]
fn connections() {
    let mut harness = Harness::new(SwarmsConfig { max_connections: 2, ..SwarmsConfig::default() }, [A]);
    assert!(!harness.swarms.is_full());
    assert_eq!(harness.input(SwarmsInput::Opened { conn: B, address: None }), []);
    assert!(harness.swarms.is_full());
    let outputs = harness.input(SwarmsInput::Opened { conn: C, address: None });
    assert_eq!(outputs, [SwarmsOutput::Close { conn: C, reason: CloseReason::Full }]);
    assert_eq!(harness.announce(C, announce(1)), []);
    harness.input(SwarmsInput::Closed { conn: C });
    assert_eq!(harness.swarms.stats().connections, 2);
}

#[test]
fn swarms() {
    let mut harness = Harness::new(SwarmsConfig { max_swarms: 1, ..SwarmsConfig::default() }, [A]);
    harness.announce(A, announce(1));
    let second = Announce::new(hash(2), peer(1));
    refused(&harness.announce(A, second.clone()), A, "limit of 1 swarms");
    assert!(replied(&harness.announce(A, announce(1)), A));
    harness.announce(A, stopped(1));
    assert!(replied(&harness.announce(A, second), A));
}

#[test]
fn peers_of_a_swarm() {
    let mut harness = Harness::new(SwarmsConfig { max_peers_per_swarm: 1, ..SwarmsConfig::default() }, [A, B]);
    harness.announce(A, announce(1));
    refused(&harness.announce(B, announce(2)), B, "limit of 1 peers");
    assert!(replied(&harness.announce(A, announce(1)), A));
}

#[test]
fn memberships_of_a_connection() {
    let config = SwarmsConfig { max_memberships_per_connection: 2, ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, [A]);
    harness.announce(A, announce(1));
    assert!(replied(&harness.announce(A, Announce::new(hash(2), peer(1))), A));
    refused(&harness.announce(A, Announce::new(hash(3), peer(1))), A, "limit of 2 memberships");
}

#[test]
fn peer_ids_of_a_connection_in_one_swarm() {
    let mut harness = Harness::new(SwarmsConfig { max_peer_ids_per_swarm: 2, ..SwarmsConfig::default() }, [A]);
    // Neighbouring swarms must not count, whatever the peer ids.
    for hash_and_peer in [(0, 0), (0, 255), (2, 0), (2, 255), (1, 0)] {
        let announce = Announce::new(hash(hash_and_peer.0), peer(hash_and_peer.1));
        assert!(replied(&harness.announce(A, announce), A), "{hash_and_peer:?}");
    }
    assert!(replied(&harness.announce(A, announce(255)), A));
    refused(&harness.announce(A, announce(7)), A, "limit of 2 peer ids");
}

#[test]
fn offers_of_an_announce() {
    let config = SwarmsConfig { max_offers_per_announce: 2, ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, (1..=5).map(ConnectionId));
    for n in 2..=5 {
        harness.announce(ConnectionId(n.into()), announce(n));
    }
    assert_eq!(offers(&harness.announce(A, with_offers(1, 0..4))).len(), 2);
}

#[test]
fn open_offers_of_a_peer() {
    let config = SwarmsConfig { max_open_offers_per_peer: 3, ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, [A, B]);
    harness.announce(B, announce(2));
    for (id, expected) in [(1, 1), (2, 1), (3, 1), (4, 0)] {
        assert_eq!(offers(&harness.announce(A, with_offers(1, [id]))).len(), expected, "offer {id}");
    }
    harness.advance(Duration::from_secs(120));
    assert_eq!(offers(&harness.announce(A, with_offers(1, [5]))).len(), 1);
}

#[test]
fn swarms_of_a_scrape() {
    let mut harness = Harness::new(SwarmsConfig { max_scraped_swarms: 2, ..SwarmsConfig::default() }, [A]);
    for n in 1..=3 {
        harness.announce(A, Announce::new(hash(n), peer(1)));
    }
    let scrape = |hashes: &[u8]| {
        let info_hashes = hashes.iter().map(|&n| hash(n));
        ClientMessage::Scrape(ScrapeRequest::new(info_hashes)).encode()
    };
    let messages = harness.text(A, &scrape(&[1, 2, 3]));
    refused(&messages, A, "2 info hashes, this one names 3");
    assert_eq!(failure(&messages, A).action.as_deref(), Some("scrape"));
    for named in [&[1, 2][..], &[]] {
        let messages = harness.text(A, &scrape(named));
        let [(A, TrackerMessage::Scrape(reply))] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!(reply.files.len(), 2);
    }
}

#[test]
fn announces_that_wait_for_a_peer_id() {
    let mut harness = Harness::new(SwarmsConfig { max_pending_claims: 1, ..SwarmsConfig::default() }, [A, B]);
    harness.announce(A, announce(1));
    harness.announce(A, announce(2));
    let claim = ClientMessage::Announce(announce(1)).encode();
    let outputs = harness.input(SwarmsInput::Received { conn: B, frame: claim.as_bytes() });
    assert_eq!(outputs, [SwarmsOutput::Ping { conn: A }]);
    refused(&harness.announce(B, announce(2)), B, "in use");
}

#[test]
fn members_that_one_address_makes_up_take_no_offer_from_another() {
    let mut harness = Harness::new(SwarmsConfig::default(), []);
    open(&mut harness, A, 1);
    open(&mut harness, B, 2);
    harness.announce(B, announce(1));
    for socket in 0..20 {
        let conn = ConnectionId(100 + u64::from(socket));
        open(&mut harness, conn, 3);
        for id in 0..4 {
            harness.announce(conn, announce(10 + 4 * socket + id));
        }
    }
    for round in 0..20 {
        let given = offers(&harness.announce(A, with_offers(2, [2 * round, 2 * round + 1])));
        assert_eq!(given.len(), 2);
        assert!(given.iter().any(|(conn, _)| *conn == B), "{given:?}");
    }
}

#[test]
fn swarms_of_an_address_with_many_sockets() {
    let config = SwarmsConfig { max_swarms: 2400, max_memberships_per_connection: 100, ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, []);
    for socket in 0..250 {
        open(&mut harness, ConnectionId(1000 + socket), 1);
    }
    for n in 0..3000 {
        harness.announce(ConnectionId(1000 + u64::from(n % 250)), in_swarm(n, 1));
    }
    assert_eq!(harness.swarms.stats().swarms, 2400 / 8);
    assert_eq!(harness.swarms.stats().refused_by_share, 3000 - 2400 / 8);
    // All others still have swarms, among them connections whose address is not known.
    open(&mut harness, A, 2);
    assert_eq!(harness.input(SwarmsInput::Opened { conn: B, address: None }), []);
    for conn in [A, B] {
        assert!(replied(&harness.announce(conn, in_swarm(10_000 + conn.0 as u32, 1)), conn));
    }
    let one = ConnectionId(1000);
    refused(&harness.announce(one, in_swarm(5000, 1)), one, "this address is in 300 swarms");
    // It may renew what it has, and what it leaves makes room for another.
    assert!(replied(&harness.announce(one, in_swarm(0, 1)), one));
    let mut leave = in_swarm(0, 1);
    leave.event = Some(AnnounceEvent::Stopped);
    harness.announce(one, leave);
    assert!(replied(&harness.announce(one, in_swarm(5000, 1)), one));
}

#[test]
fn peers_of_an_address() {
    let config = SwarmsConfig { max_peers: 40, max_memberships_per_connection: 2, ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, []);
    for socket in 0..6 {
        open(&mut harness, ConnectionId(1000 + socket), 1);
        let messages = harness.announce(ConnectionId(1000 + socket), announce(socket as u8));
        if socket < 5 {
            assert!(replied(&messages, ConnectionId(1000 + socket)), "{socket}");
        } else {
            refused(&messages, ConnectionId(1000 + socket), "this address has 5 peers, which");
        }
    }
    // A connection that closes makes room.
    harness.input(SwarmsInput::Closed { conn: ConnectionId(1000) });
    assert!(replied(&harness.announce(ConnectionId(1005), announce(5)), ConnectionId(1005)));
}

#[test]
fn peers_of_an_address_in_one_swarm() {
    let config = SwarmsConfig { max_peers_per_swarm: 24, max_memberships_per_connection: 2, ..SwarmsConfig::default() };
    let mut harness = Harness::new(config, []);
    for socket in 0..3 {
        open(&mut harness, ConnectionId(1000 + socket), 1);
        harness.announce(ConnectionId(1000 + socket), announce(socket as u8));
    }
    open(&mut harness, A, 1);
    refused(&harness.announce(A, announce(9)), A, "this address has 3 peers in this swarm");
    assert!(replied(&harness.announce(A, Announce::new(hash(2), peer(9))), A), "another swarm is free");
}

#[test]
fn peers_of_all() {
    let mut harness = Harness::new(SwarmsConfig { max_peers: 2, ..SwarmsConfig::default() }, [A, B]);
    harness.announce(A, announce(1));
    harness.announce(A, Announce::new(hash(2), peer(1)));
    refused(&harness.announce(B, announce(2)), B, "limit of 2 peers");
}

#[test]
fn a_share_of_one_is_all_and_a_small_tracker_has_no_shares() {
    for config in [
        SwarmsConfig { max_swarms: 2000, address_share: 1, max_peers: 2000, ..SwarmsConfig::default() },
        SwarmsConfig { max_swarms: 1000, max_peers: 1000, ..SwarmsConfig::default() },
        SwarmsConfig { max_swarms: 1000, max_peers: 1000, address_share: 0, ..SwarmsConfig::default() },
    ] {
        let all = config.max_swarms as u32;
        let mut harness = Harness::new(config, []);
        open(&mut harness, A, 1);
        open(&mut harness, B, 1);
        for n in 0..all {
            let conn = if n % 2 == 0 { A } else { B };
            assert!(replied(&harness.announce(conn, in_swarm(n, 1)), conn), "{n} of {all}");
        }
    }
}

#[test]
fn announces_of_an_address_that_wait_for_a_peer_id() {
    let mut harness = Harness::new(SwarmsConfig { max_pending_claims: 16, ..SwarmsConfig::default() }, []);
    open(&mut harness, A, 1);
    open(&mut harness, B, 2);
    open(&mut harness, C, 3);
    for n in 1..=4 {
        harness.announce(A, announce(n));
    }
    let mut claim = |conn, n| {
        let text = ClientMessage::Announce(announce(n)).encode();
        let outputs = harness.input(SwarmsInput::Received { conn, frame: text.as_bytes() });
        outputs.iter().any(|output| matches!(output, SwarmsOutput::Send { .. }))
    };
    assert!(!claim(B, 1) && !claim(B, 2), "two wait");
    assert!(claim(B, 3), "a third is refused");
    assert!(!claim(C, 3), "that of another address waits");
}
