//! Checks and records that come before they may be read, and flights that are lost or come too early.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use ring::digest;
use rtc_dtls::crypto::Certificate;

use super::{
    candidate::{Candidate, CandidateKind},
    datagram::Datagram,
    ice::{Base, IceConfig},
    peer::{Peer, PeerConfig, Remote},
    peer_tests::{is_request, is_stun, ms},
    session::{CertificateHash, DtlsRole, Opening, SessionConfig},
    sim::{Sim, crypto, socket},
    stun::{Credentials, IceRole, Unverified, Writer},
};

/// The answerer's checks arrive before the answer does, which comes through a tracker.
#[test]
fn checks_that_overtake_the_answer_are_replayed() {
    let mut sim = Sim::new(2);
    let offer = sim.offer(0, 0);
    let remote = sim.remote((0, offer), 0, DtlsRole::Client);
    let answer = sim.answer(1, 4, remote);
    sim.run(Duration::from_secs(2));
    // From here on the answerer's own checks are lost: the kept one is all there is.
    sim.carries = Box::new(|_, datagram| datagram.local != socket(1, 4) || !is_request(&datagram.data));
    // And the answer names no candidate, as that of a browser which hides its addresses.
    let mut remote = sim.remote((1, answer), 4, DtlsRole::Server);
    remote.candidates.clear();
    let begin = sim.now;
    sim.accept(0, offer, remote);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.nodes[0].is_open(offer)));
    assert!(sim.now - begin < ms(20), "{:?}", sim.now - begin);
}

/// libdatachannel answers checks before it has read the answer, and takes no part in a handshake until then: what the client
/// begins with is lost, and is sent again as soon as a check shows that the answer has arrived.
#[test]
fn a_handshake_that_overtakes_the_answer_begins_again() {
    let mut sim = Sim::new(2);
    let offer = sim.offer(0, 0);
    let remote = sim.remote((0, offer), 0, DtlsRole::Client);
    let answer = sim.answer(1, 4, remote);
    // What the answerer says of a handshake is lost until then.
    let then = sim.now + ms(900);
    sim.carries =
        Box::new(move |now, datagram| now >= then || is_stun(&datagram.data) || datagram.local != socket(1, 4));
    let remote = sim.remote((1, answer), 4, DtlsRole::Server);
    sim.accept(0, offer, remote);
    sim.run(ms(900));
    let theirs = sim.nodes[0].peer(offer).credentials().ufrag.clone();
    let ours = sim.nodes[1].peer(answer).credentials().clone();
    let check = Writer::new(crypto()).request([0; 12], &theirs, &ours, (IceRole::Controlling(1), 1, true));
    sim.put(Datagram { local: socket(0, 0), remote: socket(1, 4), data: check });
    let is_open = |sim: &Sim| sim.nodes[0].is_open(offer) && sim.nodes[1].is_open(answer);
    assert!(sim.run_until(ms(20), is_open), "the handshake waits for its timer");
}

/// The first flight is repeated as soon as its answer should have come.
#[test]
fn a_first_flight_that_is_lost_costs_a_round_trip_or_two() {
    let mut sim = Sim::new(2);
    let (offer, answer) = sim.connect(0, 1, 4);
    let begin = sim.now;
    let mut lost = 0;
    sim.carries = Box::new(move |_, datagram| {
        let is_lost = lost == 0 && !is_stun(&datagram.data);
        lost += usize::from(is_lost);
        !is_lost
    });
    let is_open = |sim: &Sim| sim.nodes[0].is_open(offer) && sim.nodes[1].is_open(answer);
    assert!(sim.run_until(Duration::from_secs(1), is_open));
    // Within 10 ms it would not have been lost.
    let took = sim.now - begin;
    assert!(ms(10) < took && took < ms(40), "{took:?}");
}

#[test]
fn what_an_offer_keeps_is_bounded() {
    let mut sim = Sim::new(1);
    let offer = sim.offer(0, 0);
    let ours = sim.nodes[0].peer(offer).credentials().clone();
    let writer = Writer::new(crypto());
    let arrives = |sim: &mut Sim, from: u8, data: BytesMut| {
        let remote = ([203, 0, 113, from], 9).into();
        sim.nodes[0].endpoint.receive(Datagram { local: socket(0, 0), remote, data });
        sim.pump();
    };
    // Responses, which any number in front of them brings here; they would take the places of checks.
    for from in 0..40 {
        let mut data = writer.success([0; 12], &ours, socket(0, 0));
        data[8..12].copy_from_slice(&(offer as u32).to_be_bytes());
        arrives(&mut sim, 100 + from, data);
    }
    // Each address has one check, of which the last counts.
    for round in 0..3u8 {
        for from in 0..40 {
            let data = writer.request([round; 12], "them", &ours, (IceRole::Controlled(1), 1, false));
            arrives(&mut sim, from, data);
        }
    }
    // One that is too large takes the place of none.
    let mut large = writer.request([9; 12], "them", &ours, (IceRole::Controlled(1), 1, false));
    large.resize(549, 0);
    arrives(&mut sim, 3, large);
    let remote = Remote {
        credentials: Credentials { ufrag: "them".to_owned(), pwd: "p".repeat(24) },
        certificate: sim.nodes[0].hash(),
        candidates: Vec::new(),
        dtls_role: DtlsRole::Server,
        is_lite: false,
        shares_sockets: false,
        closes_by_reset: false,
    };
    sim.accept(0, offer, remote);
    let responses = sim.strays.iter().map(|(_, datagram)| datagram).filter(|datagram| !is_request(&datagram.data));
    let mut answered: Vec<_> = responses
        .map(|datagram| (datagram.remote, Unverified::parse(&datagram.data).expect("a response").transaction()[0]))
        .collect();
    answered.sort();
    let expected: Vec<_> = (0..12).map(|from| (([203, 0, 113, from], 9).into(), 2)).collect();
    assert_eq!(answered, expected);
}

/// The handshake's first records may overtake the proof that their sender is the other side: they are kept, up to a
/// flight of them, and read when there is proof.
#[test]
fn records_before_the_proof_are_kept() {
    let mut sim = Sim::new(2);
    let offer = sim.offer(0, 0);
    let remote = sim.remote((0, offer), 0, DtlsRole::Client);
    let answer = sim.answer(1, 4, remote);
    // Responses to the offerer come late: the answerer has its proof, and begins the handshake, long before. Nothing that
    // it says of the handshake later arrives.
    let late = sim.now + ms(150);
    sim.carries = Box::new(move |now, datagram| {
        datagram.local != socket(1, 4)
            || if is_stun(&datagram.data) { now >= late || is_request(&datagram.data) } else { now < late }
    });
    let remote = sim.remote((1, answer), 4, DtlsRole::Server);
    sim.accept(0, offer, remote);
    sim.run(ms(149));
    assert_eq!(sim.nodes[0].peer(offer).kept(), (0, 1));
    sim.nodes[0].log = Some(Vec::new());
    sim.run(ms(1000));
    assert_eq!(sim.nodes[0].peer(offer).kept(), (0, 0));
    let log = sim.nodes[0].log.take().expect("a log");
    assert!(log.iter().any(|(_, datagram)| !is_stun(&datagram.data)), "what was kept is not answered");
}

#[test]
fn junk_before_the_proof_is_bounded() {
    let mut sim = Sim::new(2);
    let offer = sim.offer(0, 0);
    let remote = sim.remote((0, offer), 0, DtlsRole::Client);
    let key = sim.answer(1, 4, remote);
    sim.carries = Box::new(|_, _| false);
    let ours = sim.nodes[1].peer(key).credentials().clone();
    let theirs = sim.nodes[0].peer(offer).credentials().ufrag.clone();
    let wrong = Credentials { pwd: "x".repeat(24), ..ours };
    let data = Writer::new(crypto()).request([0; 12], &theirs, &wrong, (IceRole::Controlling(1), 1, false));
    let from = ([203, 0, 113, 1], 9).into();
    sim.nodes[1].endpoint.receive(Datagram { local: socket(1, 4), remote: from, data });
    sim.pump();
    for number in 0..100 {
        let data = BytesMut::from(&[[22; 700], [number; 700]].concat()[..]);
        sim.nodes[1].endpoint.receive(Datagram { local: socket(1, 4), remote: from, data });
        sim.pump();
    }
    assert_eq!(sim.nodes[1].peer(key).kept(), (0, 4));
    // Nor does it stay when the channel is open.
    sim.carries = Box::new(|_, _| true);
    let remote = sim.remote((1, key), 4, DtlsRole::Server);
    sim.accept(0, offer, remote);
    assert!(sim.run_until(Duration::from_secs(5), |sim| sim.nodes[1].is_open(key)));
    assert_eq!(sim.nodes[1].peer(key).kept(), (0, 0));
}

fn config() -> PeerConfig {
    let crypto = rtc_crypto::default_provider().expect("a provider");
    let certificate =
        Certificate::generate_self_signed(vec!["test".to_owned()], crypto.crypto()).expect("a certificate");
    let second = Duration::from_secs(1);
    PeerConfig {
        ice: IceConfig {
            destinations: crate::webrtc::Destinations::Any,
            crypto: crypto.clone(),
            silence: 4 * second,
            path_timeout: 15 * second,
            epoch: tokio::time::Instant::now().into_std(),
        },
        session: SessionConfig { crypto, certificate, window: 65_536, max_frame_bytes: 65_536 },
        answer_timeout: 30 * second,
        connect_timeout: 30 * second,
        session_timeout: 10 * second,
        close_timeout: second,
    }
}

fn base(address: &str, rank: u16) -> Base {
    let kind = CandidateKind::Host;
    Base { address: address.parse().expect("an address"), kind, priority: kind.priority(rank) }
}

/// A description of `peer`, which is at `bases`.
fn remote(peer: &Peer, config: &PeerConfig, bases: &[Base], dtls_role: DtlsRole) -> Remote {
    let hash = digest::digest(&digest::SHA256, config.session.certificate.certificate[0].as_ref());
    let candidate = |base: &Base| Candidate { address: base.address, kind: base.kind, priority: base.priority };
    Remote {
        credentials: peer.credentials().clone(),
        certificate: CertificateHash { algorithm: &digest::SHA256, bytes: hash.as_ref().to_vec() },
        candidates: bases.iter().map(candidate).collect(),
        dtls_role,
        is_lite: false,
        shares_sockets: false,
        closes_by_reset: false,
    }
}

/// All that `peer` sends now.
fn sent(peer: &mut Peer, now: Instant) -> Vec<Datagram> {
    std::iter::from_fn(|| peer.poll_transmit(now)).collect()
}

/// What arrives of `datagram` on the other side.
fn arrived(datagram: Datagram) -> Datagram {
    Datagram { local: datagram.remote, remote: datagram.local, data: datagram.data }
}

fn is_record(datagram: &Datagram) -> bool {
    datagram.data.first().is_some_and(|first| *first >= 20)
}

#[test]
fn a_handshake_that_begins_on_another_path_is_kept_until_that_is_proven() {
    let now = tokio::time::Instant::now().into_std();
    let (ours, theirs) = (Arc::new(config()), Arc::new(config()));
    let our_bases = [base("192.0.2.1:1000", 0)];
    let their_bases = [base("192.0.2.2:2000", 1), base("192.0.2.3:2000", 0)];
    let [late, first]: [SocketAddr; 2] = [their_bases[1].address, their_bases[0].address];
    let mut server = Peer::new(now, ours.clone(), 1, Opening::Open("label".to_owned()), our_bases.to_vec());
    let mut client = Peer::new(now, theirs.clone(), 2, Opening::Adopt, their_bases.to_vec());
    let (to_server, to_client) = (
        remote(&client, &theirs, &their_bases, DtlsRole::Server),
        remote(&server, &ours, &our_bases, DtlsRole::Client),
    );
    server.set_remote(now, to_server).expect("a session");
    client.set_remote(now, to_client).expect("a session");

    // The checks of the server to one of the client's addresses are late, and its answers are not.
    let mut waiting = Vec::new();
    let mut records = Vec::new();
    for _ in 0..4 {
        for peer in [&mut server, &mut client] {
            peer.check(now);
            peer.check(now);
        }
        for datagram in sent(&mut client, now) {
            if is_record(&datagram) {
                records.push(arrived(datagram));
            } else {
                server.handle_check(now, arrived(datagram));
            }
        }
        for datagram in sent(&mut server, now) {
            // A request has neither of the bits that mark a response (RFC 8489 section 5).
            if datagram.remote == late && datagram.data[0] == 0 {
                waiting.push(arrived(datagram));
            } else {
                client.handle_check(now, arrived(datagram));
            }
        }
    }
    assert_eq!(server.take_validated().iter().map(|path| path.remote).collect::<Vec<_>>(), [first]);
    let begun = records.into_iter().find(|record| record.remote == late).expect("the client prefers the other path");
    server.keep_early_record(begun);
    assert!(!sent(&mut server, now).iter().any(is_record));

    for datagram in waiting {
        client.handle_check(now, datagram);
    }
    for datagram in sent(&mut client, now).into_iter().filter(|datagram| !is_record(datagram)) {
        server.handle_check(now, arrived(datagram));
    }
    assert_eq!(server.take_validated().iter().map(|path| path.remote).collect::<Vec<_>>(), [late]);
    assert!(sent(&mut server, now).iter().any(is_record), "the handshake does not go on");
}
