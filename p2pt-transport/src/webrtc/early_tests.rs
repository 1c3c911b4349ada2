//! Two connections that take different paths for the first that works.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ring::digest;
use rtc_dtls::crypto::Certificate;

use super::{
    candidate::{Candidate, CandidateKind},
    datagram::Datagram,
    ice::{Base, IceConfig},
    peer::{Peer, PeerConfig, Remote},
    session::{CertificateHash, DtlsRole, Opening, SessionConfig},
};

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
