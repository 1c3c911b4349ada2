//! Harms done to the bare DTLS stack, and gone behind the guard; honest handshakes pass.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, HandshakeConfig},
    crypto::Certificate,
    endpoint::{Endpoint, EndpointEvent},
};
use rtc_shared::TransportProtocol;

use super::{DtlsGuard, RecordVerdict, harness::start};

const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

fn config(is_client: bool) -> Arc<HandshakeConfig> {
    let provider = rtc_crypto::default_provider().unwrap();
    let certificate = Certificate::generate_self_signed(vec!["p2pt".to_owned()], provider.crypto()).unwrap();
    let builder = ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_certificates(vec![certificate])
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_insecure_skip_verify(true);
    Arc::new(builder.build(is_client, None).unwrap())
}

struct Side {
    endpoint: Endpoint,
    guard: Option<DtlsGuard>,
    secure: bool,
    closed: bool,
    received: Vec<BytesMut>,
    dropped: usize,
}

impl Side {
    fn new(guarded: bool, is_client: bool, now: Instant) -> Self {
        let server = (!is_client).then(|| config(false));
        let mut endpoint = Endpoint::new(REMOTE, TransportProtocol::UDP, server);
        if is_client {
            endpoint.connect(now, REMOTE, config(true), None).unwrap();
        }
        let guard = guarded.then(DtlsGuard::new);
        Self { endpoint, guard, secure: false, closed: false, received: Vec::new(), dropped: 0 }
    }

    fn receive(&mut self, now: Instant, datagram: &[u8]) {
        if self.guard.as_mut().is_some_and(|guard| guard.inspect(datagram) == RecordVerdict::Drop) {
            self.dropped += 1;
            return;
        }
        for event in self.endpoint.read(now, REMOTE, None, datagram.into()).unwrap_or_default() {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.secure = true;
                    if let Some(guard) = &mut self.guard {
                        guard.completed();
                    }
                }
                EndpointEvent::ApplicationData(data) => self.received.push(data),
                EndpointEvent::PeerClosed => self.closed = true,
                _ => {}
            }
        }
    }

    fn poll(&mut self) -> Vec<BytesMut> {
        std::iter::from_fn(|| self.endpoint.poll_transmit()).map(|sent| sent.message).collect()
    }
}

/// A client and a server, of which the server may be guarded.
struct Pair {
    sides: [Side; 2],
    now: Instant,
}

impl Pair {
    fn new(guarded: bool) -> Self {
        let now = start();
        Self { sides: [Side::new(true, true, now), Side::new(guarded, false, now)], now }
    }

    fn secure(guarded: bool) -> Self {
        let mut pair = Self::new(guarded);
        pair.run(|_| true);
        assert!(pair.sides.iter().all(|side| side.secure));
        pair
    }

    /// Exchanges datagrams, and lets time pass between, until both sides are secure and silent. Of the datagrams, in
    /// their order, only those arrive of which `arrives` says so.
    fn run(&mut self, mut arrives: impl FnMut(usize) -> bool) {
        let mut count = 0;
        for _ in 0..40 {
            let sent: Vec<(usize, BytesMut)> = (0..2)
                .flat_map(|side| self.sides[side].poll().into_iter().map(move |datagram| (1 - side, datagram)))
                .collect();
            if sent.is_empty() {
                if self.sides.iter().all(|side| side.secure) {
                    return;
                }
                self.now += Duration::from_secs(1);
                for side in &mut self.sides {
                    let _ = side.endpoint.handle_timeout(REMOTE, self.now);
                }
            }
            for (to, datagram) in sent {
                count += 1;
                if arrives(count) {
                    self.sides[to].receive(self.now, &datagram);
                }
            }
        }
    }

    /// Whether what the client says reaches the server.
    fn talks(&mut self) -> bool {
        let _ = self.sides[0].endpoint.write(self.now, REMOTE, b"hello");
        self.run(|_| true);
        self.sides[1].received.pop().is_some_and(|data| data == b"hello"[..])
    }
}

fn record(kind: u8, epoch: u16, sequence: u16, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 254, 253];
    record.put_u16(epoch);
    record.put_u32(0);
    record.put_u16(sequence);
    record.put_u16(body.len() as u16);
    record.extend_from_slice(body);
    record
}

/// A fragment of a Certificate message.
fn fragment(length: u32, sequence: u16, offset: u32, fragment_length: u32, data: &[u8]) -> Vec<u8> {
    let mut fragment = vec![11];
    fragment.extend(&length.to_be_bytes()[1..]);
    fragment.put_u16(sequence);
    fragment.extend(&offset.to_be_bytes()[1..]);
    fragment.extend(&fragment_length.to_be_bytes()[1..]);
    fragment.extend_from_slice(data);
    fragment
}

/// Whether a fresh guard lets all of these pass before the handshake is complete.
fn passes(datagram: &[u8]) -> bool {
    DtlsGuard::new().inspect(datagram) == RecordVerdict::Pass
}

#[test]
fn one_forged_record_silences_a_session() {
    // 14 bytes from anyone who can write the peer's address as the source: no keys are needed.
    for guarded in [false, true] {
        let mut pair = Pair::secure(guarded);
        assert!(pair.talks());
        let (now, forged) = (pair.now, record(20, 1, 1_000, &[1]));
        pair.sides[1].receive(now, &forged);
        assert_eq!(pair.talks(), guarded);
    }
}

#[test]
fn a_forged_close_ends_a_handshake() {
    for guarded in [false, true] {
        let mut pair = Pair::new(guarded);
        // The server has its first ClientHello.
        for datagram in pair.sides[0].poll() {
            let now = pair.now;
            pair.sides[1].receive(now, &datagram);
        }
        let (now, forged) = (pair.now, record(21, 0, 1_000, &[1, 0]));
        pair.sides[1].receive(now, &forged);
        assert_eq!(pair.sides[1].closed, !guarded);
        if guarded {
            pair.run(|_| true);
            assert!(pair.talks());
        }
    }
}

#[test]
fn alerts_without_keys_do_nothing_to_a_session() {
    // `rtc-dtls` sees to it as well; the guard spares it the work.
    for guarded in [false, true] {
        let mut pair = Pair::secure(guarded);
        for alert in [[1, 0], [2, 40]] {
            let now = pair.now;
            pair.sides[1].receive(now, &record(21, 0, 1_000, &alert));
        }
        assert!(!pair.sides[1].closed && pair.talks());
        assert_eq!(pair.sides[1].dropped, if guarded { 2 } else { 0 });
    }
}

#[test]
fn an_alert_is_answered_with_an_alert() {
    // Two stacks that answer each other never stop.
    for guarded in [false, true] {
        let mut side = Side::new(guarded, false, start());
        let answered: usize = (0..100)
            .map(|sequence| {
                side.receive(start(), &record(21, 0, sequence, &[2, 40]));
                side.poll().len()
            })
            .sum();
        assert_eq!(answered, if guarded { 8 } else { 100 });
    }
}

#[test]
fn fragments_are_kept_without_limit() {
    // A fragment that ends with its header counts as nothing against the stack's bound of 2 MB, and each is gone through
    // for every record. A chain of fragments of a byte is followed recursively, which ends the process at some length:
    // that is not shown here.
    let mut guard = DtlsGuard::new();
    let empty = record(22, 0, 0, &fragment(1_000, 1, 0, 1, &[]));
    assert_eq!(guard.inspect(&empty), RecordVerdict::Drop);
    let chain: usize = (0..1_000)
        .filter(|offset| {
            let byte = record(22, 0, *offset as u16, &fragment(1_000, 1, *offset, 1, &[0]));
            guard.inspect(&byte) == RecordVerdict::Pass
        })
        .count();
    assert_eq!(chain, 128);
    guard.completed();
    let repeated = record(22, 0, 0, &fragment(10, 1, 0, 10, &[0; 10]));
    let chain = (0..1_000).filter(|_| guard.inspect(&repeated) == RecordVerdict::Pass).count();
    assert_eq!(chain, 64);
}

#[test]
fn handshake_messages_have_bounds() {
    assert!(passes(&record(22, 0, 0, &fragment(1_000, 3, 900, 100, &[0; 100]))));
    // ServerHelloDone is empty, and two messages may share a record.
    let two = [fragment(0, 4, 0, 0, &[]), fragment(3, 5, 0, 3, &[0; 3])].concat();
    assert!(passes(&record(22, 0, 0, &two)));

    let beyond_its_end = fragment(100, 1, 90, 20, &[0; 20]);
    let larger_than_a_certificate = fragment(16_385, 1, 0, 10, &[0; 10]);
    let far_message = fragment(10, 16, 0, 10, &[0; 10]);
    let shorter_than_it_says = fragment(100, 1, 0, 50, &[0; 49]);
    let without_length = fragment(100, 1, 0, 0, &[0; 10]);
    for body in [beyond_its_end, larger_than_a_certificate, far_message, shorter_than_it_says, without_length, vec![]] {
        assert!(!passes(&record(22, 0, 0, &body)), "{body:?}");
    }
    assert!(passes(&record(22, 1, 0, &[0; 60])));
    assert!(!passes(&record(22, 1, 0, &[0; 1_000])));
}

#[test]
fn records_that_wait_for_keys_are_few() {
    let mut guard = DtlsGuard::new();
    let early = record(23, 1, 0, &[0; 1_000]);
    assert_eq!((0..1_000).filter(|_| guard.inspect(&early) == RecordVerdict::Pass).count(), 32);
    guard.completed();
    assert_eq!((0..1_000).filter(|_| guard.inspect(&early) == RecordVerdict::Pass).count(), 1_000);
}

#[test]
fn records_that_make_the_stack_send_a_fatal_alert_are_dropped() {
    for bad in [record(23, 0, 0, b"data"), record(99, 0, 0, &[0]), record(20, 0, 0, &[2]), record(25, 0, 0, &[0])] {
        let mut bare = Side::new(false, false, start());
        bare.receive(start(), &bad);
        assert_eq!(bare.poll().len(), 1);
        assert!(!passes(&bad), "{bad:?}");
    }
    for no_record in
        [&b"\x16"[..], &record(23, 2, 0, b"data"), &record(22, 2, 0, &[0; 60]), &record(23, 1, 0, b"data")[..15]]
    {
        assert!(!passes(no_record), "{no_record:?}");
    }
}

#[test]
fn a_peer_that_closes_is_heard() {
    let mut pair = Pair::secure(true);
    let now = pair.now;
    pair.sides[0].endpoint.close(now).unwrap();
    for datagram in pair.sides[0].poll() {
        pair.sides[1].receive(now, &datagram);
    }
    assert!(pair.sides[1].closed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn handshakes_pass_whatever_is_lost(lost in prop::collection::btree_set(1..30_usize, 0..8)) {
        let mut pair = Pair::new(true);
        pair.run(|count| !lost.contains(&count));
        // The stack itself does not come through everywhere.
        let mut bare = Pair::new(false);
        bare.run(|count| !lost.contains(&count));
        prop_assume!(bare.sides.iter().all(|side| side.secure));
        prop_assert!(pair.sides.iter().all(|side| side.secure), "{lost:?}");
        prop_assert_eq!(pair.sides.iter().map(|side| side.dropped).sum::<usize>(), 0);
        prop_assert!(pair.talks());
    }

    #[test]
    fn forged_datagrams_do_not_panic(
        datagrams in prop::collection::vec((18..28_u8, 0..3_u16, 0..64_u16, prop::collection::vec(any::<u8>(), 0..40)), 1..60),
        secure in any::<bool>(),
    ) {
        let mut pair = if secure { Pair::secure(true) } else { Pair::new(true) };
        let now = pair.now;
        for (kind, epoch, sequence, body) in datagrams {
            pair.sides[1].receive(now, &record(kind, epoch, sequence, &body));
            let _ = pair.sides[1].poll();
        }
        if secure {
            prop_assert!(pair.talks());
        }
    }
}
