//! Allocations at a scripted TURN server under virtual time.

mod data;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{
    RelayEvent, RelayServer, Relayed, RelayedAddress, Relays,
    fake_server::{CREDENTIAL, FakeServer, USERNAME},
};
use crate::webrtc::datagram::Datagram;

const SOCKET: &str = "192.168.1.2:5000";
const SERVER: &str = "203.0.113.1:3478";

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn minutes(minutes: u64) -> Duration {
    seconds(60 * minutes)
}

fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([100, 64, 0, number], 7_000))
}

/// The relays, and a server at no distance.
struct Harness {
    relays: Relays,
    server: FakeServer,
    start: Instant,
    now: Instant,
    silent: bool,
    /// How many of the next datagrams are lost, either way.
    lose: usize,
    /// How many datagrams were sent to the server, and when the last.
    sent: usize,
    last_sent: Instant,
}

impl Harness {
    fn new() -> Self {
        let now = tokio::time::Instant::now().into_std();
        Self {
            relays: Relays::new(rtc_crypto::default_provider().expect("a provider")),
            server: FakeServer::new(at(SERVER)),
            start: now,
            now,
            silent: false,
            lose: 0,
            sent: 0,
            last_sent: now,
        }
    }

    /// One that has an allocation, for which offers wait.
    fn allocated() -> (Self, SocketAddr) {
        let mut harness = Self::new();
        harness.request(CREDENTIAL);
        harness.keep_alive(true);
        let relayed = harness.relayed().expect("allocated");
        (harness, relayed)
    }

    fn lost(&mut self) -> bool {
        let lost = self.silent || self.lose > 0;
        self.lose = self.lose.saturating_sub(1);
        lost
    }

    fn deliver(&mut self) {
        while let Some(datagram) = self.relays.poll_transmit() {
            self.sent += 1;
            self.last_sent = self.now;
            if self.lost() {
                continue;
            }
            if let Some(response) = self.server.handle(self.now, datagram)
                && !self.lost()
            {
                assert_eq!(self.relays.handle_datagram(self.now, response), Relayed::Consumed);
            }
        }
    }

    fn request(&mut self, credential: &str) {
        let server = RelayServer {
            address: self.server.address,
            username: USERNAME.to_owned(),
            credential: credential.to_owned(),
        };
        self.relays.request(self.now, at(SOCKET), &[server]);
        self.deliver();
    }

    fn keep_alive(&mut self, wanted: bool) {
        self.relays.keep_alive(self.now, at(SOCKET), wanted);
        self.deliver();
    }

    fn send(&mut self, local: SocketAddr, peer: SocketAddr, data: &[u8]) {
        self.relays.send(self.now, Datagram { local, remote: peer, data: BytesMut::from(data) });
        self.deliver();
    }

    /// A datagram that a peer sends to the relayed address.
    fn receive(&mut self, peer: SocketAddr, data: &[u8]) -> Option<Relayed> {
        let datagram = self.server.relay(self.now, at(SOCKET), peer, data)?;
        Some(self.relays.handle_datagram(self.now, datagram))
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.relays.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.relays.handle_timeout(self.now);
            let next = self.relays.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a timer that fired is set again in the past");
            self.deliver();
        }
        self.now = end;
    }

    fn relayed(&self) -> Option<SocketAddr> {
        self.relays.relayed(at(SOCKET)).first().map(|address| address.relayed)
    }

    fn is_settled(&self) -> bool {
        self.relays.is_settled(at(SOCKET))
    }

    fn requests(&self, method: &str) -> usize {
        self.server.requests.get(method).copied().unwrap_or(0)
    }

    fn sizes(&self) -> (usize, usize, usize) {
        self.relays.allocations.values().next().expect("one").sizes()
    }
}

#[test]
fn a_challenge_is_answered_and_the_address_is_shared() {
    let mut harness = Harness::new();
    assert!(harness.is_settled() && harness.relayed().is_none());
    harness.request(CREDENTIAL);
    assert!(harness.is_settled());
    let relayed = at("198.51.100.1:50001");
    assert_eq!(harness.relays.relayed(at(SOCKET)), [RelayedAddress { relayed, mapped: Some(at(SOCKET)) }]);
    assert!(harness.relays.owns(relayed) && !harness.relays.owns(at(SOCKET)));
    assert!(harness.relays.owns(relayed));
    for _ in 0..100 {
        harness.request(CREDENTIAL);
    }
    assert_eq!((harness.sent, harness.requests("allocate")), (2, 2), "one challenged, one granted");
}

#[test]
fn lost_requests_and_responses_are_repeated() {
    for lost in 1..=3 {
        let mut harness = Harness::new();
        harness.lose = lost;
        harness.request(CREDENTIAL);
        assert!(!harness.is_settled());
        harness.pass(seconds(4));
        assert!(harness.is_settled() && harness.relayed().is_some(), "{lost}");
    }

    // A response that was lost leaves an allocation in the way of the repeated request.
    let mut harness = Harness::new();
    harness.relays.request(harness.now, at(SOCKET), &[server_of(CREDENTIAL)]);
    let challenge = harness.relays.poll_transmit().expect("a request");
    let response = harness.server.handle(harness.now, challenge).expect("a challenge");
    assert_eq!(harness.relays.handle_datagram(harness.now, response.clone()), Relayed::Consumed);
    let request = harness.relays.poll_transmit().expect("an answer to it");
    harness.server.handle(harness.now, request).expect("an allocation, the response lost");
    harness.pass(seconds(4));
    assert!(harness.relayed().is_some(), "a mismatch is resolved");
    assert_eq!(harness.server.held.len(), 1);
    assert_eq!(harness.relays.handle_datagram(harness.now, response.clone()), Relayed::NotOurs(response));
}

fn server_of(credential: &str) -> RelayServer {
    RelayServer { address: at(SERVER), username: USERNAME.to_owned(), credential: credential.to_owned() }
}

#[test]
fn wrong_credentials_settle_at_once_and_make_no_storm() {
    let mut harness = Harness::new();
    harness.request("guess");
    assert!(harness.is_settled() && harness.relayed().is_none());
    assert_eq!(harness.sent, 2);
    harness.keep_alive(true);
    for _ in 0..600 {
        harness.request("guess");
        assert!(harness.is_settled());
        harness.pass(seconds(1));
    }
    assert!(harness.sent <= 2 * 14, "{} requests in ten minutes", harness.sent);
    harness.lose = 1;
    harness.request("secret of another user");
    assert!(!harness.is_settled(), "other credentials are waited for");
    harness.pass(seconds(1));
    assert!(harness.is_settled() && harness.relayed().is_none());
    harness.request(CREDENTIAL);
    assert!(harness.relayed().is_some(), "other credentials are tried at once");
}

#[test]
fn a_silent_server_is_waited_for_once_and_asked_less_and_less_often() {
    let mut harness = Harness::new();
    harness.silent = true;
    harness.request(CREDENTIAL);
    harness.pass(Duration::from_millis(3_749));
    assert!(!harness.is_settled());
    harness.pass(Duration::from_millis(1));
    assert!(harness.is_settled() && harness.relayed().is_none());
    harness.keep_alive(true);
    harness.pass(minutes(10));
    assert!(harness.is_settled() && harness.sent <= 4 * 14, "{}", harness.sent);
    harness.silent = false;
    harness.pass(seconds(64));
    assert!(harness.relayed().is_some(), "while offers wait, it is asked again");
}

#[test]
fn refusals_settle() {
    for code in [300, 403, 437, 441, 486, 500, 508] {
        let mut harness = Harness::new();
        harness.server.refuse = Some(code);
        harness.request(CREDENTIAL);
        harness.pass(seconds(if code == 437 { 3 } else { 0 }));
        assert!(harness.is_settled() && harness.relayed().is_none(), "{code}");
        let sent = harness.sent;
        assert!(sent <= 7, "{code}: {sent}");
        harness.request(CREDENTIAL);
        assert_eq!(harness.sent, sent, "{code}");
    }
}

#[test]
fn an_allocation_left_by_an_earlier_process_is_cleared() {
    let (old, first) = Harness::allocated();
    let mut harness = Harness::new();
    harness.server = old.server;
    harness.request(CREDENTIAL);
    assert!(harness.relayed().is_some_and(|relayed| relayed != first));
    assert_eq!(harness.server.held.len(), 1);

    let old = harness;
    let mut harness = Harness::new();
    harness.server = old.server;
    harness.server.lingers = Duration::from_millis(1_500);
    harness.request(CREDENTIAL);
    assert!(!harness.is_settled());
    harness.pass(seconds(2));
    assert!(harness.relayed().is_some(), "the server takes its time to forget");
}

#[test]
fn a_stale_nonce_is_replaced() {
    let (mut harness, relayed) = Harness::allocated();
    for round in 0..20 {
        harness.server.nonce += 1;
        harness.send(relayed, peer(round), b"a permission");
        harness.pass(minutes(1));
    }
    assert_eq!((harness.server.to_peers.len(), harness.server.dropped), (20, 0));
    assert_eq!(harness.relayed(), Some(relayed));

    harness.silent = true;
    harness.relays.send(harness.now, Datagram { local: relayed, remote: peer(100), data: BytesMut::from(&b"x"[..]) });
    let mut sent = 0;
    while let Some(datagram) = harness.relays.poll_transmit() {
        sent += 1;
        harness.server.nonce += 1;
        let response = harness.server.handle(harness.now, datagram).expect("a stale nonce each time");
        harness.relays.handle_datagram(harness.now, response);
    }
    assert_eq!(sent, 4, "a server that changes its nonce each time is given up");
}

#[test]
fn only_the_server_is_believed() {
    let mut harness = Harness::new();
    harness.relays.request(harness.now, at(SOCKET), &[server_of(CREDENTIAL)]);
    let request = harness.relays.poll_transmit().expect("a request");
    let response = harness.server.handle(harness.now, request).expect("a challenge");
    for spoofed in [
        Datagram { remote: at("203.0.113.2:3478"), ..response.clone() },
        Datagram { remote: at("203.0.113.1:3479"), ..response.clone() },
        Datagram { local: at("192.168.1.2:5001"), ..response.clone() },
    ] {
        assert_eq!(harness.relays.handle_datagram(harness.now, spoofed.clone()), Relayed::NotOurs(spoofed));
    }
    let mut wrong_id = response.clone();
    wrong_id.data[10] ^= 1;
    assert_eq!(harness.relays.handle_datagram(harness.now, wrong_id.clone()), Relayed::NotOurs(wrong_id));
    assert_eq!(harness.relays.poll_transmit(), None);

    harness.server.knows_secret = false;
    assert_eq!(harness.relays.handle_datagram(harness.now, response), Relayed::Consumed);
    harness.deliver();
    assert!(harness.relayed().is_none(), "a server that does not know the secret is none");
    harness.pass(seconds(4));
    assert!(harness.is_settled() && harness.relayed().is_none());

    let (mut harness, relayed) = Harness::allocated();
    harness.send(relayed, peer(1), b"x");
    let unknown = Datagram {
        remote: at("203.0.113.66:1"),
        ..harness.server.relay(harness.now, at(SOCKET), peer(1), b"x").unwrap()
    };
    assert!(matches!(harness.relays.handle_datagram(harness.now, unknown), Relayed::NotOurs(_)));
}

#[test]
fn an_allocation_that_the_server_lost_is_reported_and_made_again_when_it_is_wanted() {
    let (mut harness, relayed) = Harness::allocated();
    harness.pass(minutes(2));
    harness.server.held.clear();
    harness.send(relayed, peer(1), b"x");
    assert_eq!(harness.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(!harness.relays.owns(relayed) && !harness.is_settled());
    harness.pass(Duration::ZERO);
    let next = harness.relayed().expect("made again");
    assert!(next != relayed && harness.relays.owns(next));

    // It is lost again at once, and that is not made up for in a storm.
    let sent = harness.sent;
    for _ in 0..20 {
        harness.server.held.clear();
        if let Some(relayed) = harness.relayed() {
            harness.send(relayed, peer(1), b"x");
        }
        harness.pass(seconds(1));
    }
    assert!(harness.sent - sent < 20, "{}", harness.sent - sent);
}

#[test]
fn a_server_that_falls_silent_is_not_offered_and_lost_in_the_end() {
    let (mut harness, relayed) = Harness::allocated();
    harness.pass(minutes(2));
    harness.silent = true;
    harness.send(relayed, peer(1), b"x");
    harness.pass(seconds(8));
    assert!(harness.relayed().is_none() && harness.relays.owns(relayed), "an outage ends no connection");
    harness.silent = false;
    harness.pass(seconds(10));
    assert_eq!(harness.relayed(), Some(relayed));
    harness.silent = true;
    harness.pass(minutes(6));
    assert_eq!(harness.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(harness.relayed().is_none() && !harness.relays.owns(relayed));
}

#[test]
fn a_waiting_allocation_keeps_its_binding_at_the_nat_alive() {
    let (mut harness, relayed) = Harness::allocated();
    for _ in 0..60 * 60 {
        harness.pass(seconds(1));
        assert!(harness.now - harness.last_sent <= seconds(21), "at {:?}", harness.now - harness.start);
    }
    assert_eq!(harness.relayed(), Some(relayed));
    assert_eq!(harness.relays.poll_event(), None);
    assert!(harness.requests("refresh") <= 12, "{}", harness.requests("refresh"));
}

#[test]
fn an_allocation_that_nothing_uses_is_given_back() {
    let (mut harness, relayed) = Harness::allocated();
    harness.pass(minutes(30));
    assert_eq!(harness.relayed(), Some(relayed));
    harness.keep_alive(false);
    harness.pass(seconds(59));
    assert_eq!(harness.relayed(), Some(relayed));
    harness.pass(seconds(11));
    assert_eq!(harness.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(harness.server.held.is_empty() && harness.relays.is_released());
    let sent = harness.sent;
    harness.pass(minutes(60));
    assert_eq!((harness.sent, harness.relays.poll_timeout()), (sent, None));
    harness.request(CREDENTIAL);
    assert!(harness.relayed().is_some());
}

#[test]
fn release_gives_back_and_a_request_meanwhile_takes_anew() {
    let (mut harness, relayed) = Harness::allocated();
    harness.lose = 1;
    harness.server.nonce += 1;
    harness.relays.release(harness.now);
    harness.deliver();
    assert_eq!(harness.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(!harness.relays.owns(relayed) && !harness.relays.is_released());
    harness.pass(Duration::from_millis(250));
    assert!(harness.relays.is_released() && harness.server.held.is_empty());
    harness.pass(minutes(60));
    assert_eq!(harness.relays.poll_timeout(), None);

    harness.request(CREDENTIAL);
    harness.lose = 1;
    harness.relays.release(harness.now);
    harness.deliver();
    harness.request(CREDENTIAL);
    assert!(harness.relayed().is_none() && !harness.is_settled());
    harness.pass(seconds(1));
    assert!(harness.relayed().is_some());

    harness.silent = true;
    harness.relays.release(harness.now);
    harness.pass(seconds(4));
    assert!(harness.relays.is_released(), "a server that does not answer is not waited for long");
}

#[test]
fn a_relay_cannot_claim_what_is_not_its() {
    for claimed in [SOCKET, "0.0.0.0:7", "198.51.100.1:0", "255.255.255.255:7"] {
        let mut harness = Harness::new();
        harness.server.tells.push(at(claimed));
        harness.request(CREDENTIAL);
        assert!(harness.is_settled() && harness.relayed().is_none() && !harness.relays.owns(at(claimed)), "{claimed}");
    }
    // Of a socket that no server is asked from, or that is opened later: what it sends is not the relay's either.
    for (claimed, is_there) in [("[2001:db8::5]:5000", true), ("192.168.1.2:5004", false)] {
        let mut harness = Harness::new();
        let ask = |harness: &mut Harness| harness.relays.request(harness.now, at(claimed), &[server_of(CREDENTIAL)]);
        if is_there {
            ask(&mut harness);
        }
        harness.server.tells.push(at(claimed));
        harness.request(CREDENTIAL);
        if !is_there {
            ask(&mut harness);
        }
        assert!(!harness.relays.owns(at(claimed)), "{claimed}");
    }
    for lifetime in [0, 1, u64::from(u32::MAX)] {
        let mut harness = Harness::new();
        harness.server.lifetime = seconds(lifetime);
        harness.request(CREDENTIAL);
        harness.keep_alive(true);
        assert!(harness.is_settled());
        assert_eq!(harness.relayed().is_some(), lifetime > 0);
        harness.pass(minutes(10));
        assert!(harness.sent < 120, "{lifetime}: {}", harness.sent);
    }
}

#[test]
fn servers_and_sockets_that_are_gone_are_forgotten() {
    let (mut harness, relayed) = Harness::allocated();
    harness.relays.request(harness.now, at(SOCKET), &[]);
    harness.deliver();
    assert!(harness.relayed().is_none() && harness.relays.owns(relayed), "its connections go on");
    harness.keep_alive(true);
    harness.pass(seconds(70));
    assert!(!harness.relays.owns(relayed) && harness.server.held.is_empty());
    harness.relays.request(harness.now, at(SOCKET), &[]);
    assert!(harness.relays.allocations.is_empty());

    let (mut harness, relayed) = Harness::allocated();
    harness.relays.forget(harness.now, at(SOCKET));
    assert_eq!(harness.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(harness.relays.allocations.is_empty() && harness.relays.by_relayed.is_empty());
    assert_eq!((harness.relays.poll_transmit(), harness.relays.poll_timeout()), (None, None));

    let mut harness = Harness::new();
    let many: Vec<RelayServer> = (1..=9)
        .map(|host| RelayServer { address: SocketAddr::from(([203, 0, 113, host], 1)), ..server_of("") })
        .collect();
    harness.relays.request(harness.now, at(SOCKET), &many);
    assert_eq!(harness.relays.allocations.len(), 4);
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?} {:?}", server_of(CREDENTIAL), Harness::allocated().0.relays);
    assert!(!shown.contains(CREDENTIAL), "{shown}");
}

#[test]
fn other_credentials_serve_the_allocation_that_is_held() {
    let (mut harness, relayed) = Harness::allocated();
    harness.server.credential = "rotated";
    harness.request("rotated");
    harness.pass(minutes(20));
    assert_eq!((harness.relayed(), harness.relays.poll_event()), (Some(relayed), None));
}
