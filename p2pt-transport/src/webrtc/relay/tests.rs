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
struct World {
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

impl World {
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
        let mut world = Self::new();
        world.request(CREDENTIAL);
        world.keep_alive(true);
        let relayed = world.relayed().expect("allocated");
        (world, relayed)
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
    let mut world = World::new();
    assert!(world.is_settled() && world.relayed().is_none());
    world.request(CREDENTIAL);
    assert!(world.is_settled());
    let relayed = at("198.51.100.1:50001");
    assert_eq!(world.relays.relayed(at(SOCKET)), [RelayedAddress { relayed, mapped: Some(at(SOCKET)) }]);
    assert!(world.relays.owns(relayed) && !world.relays.owns(at(SOCKET)));
    assert!(world.relays.owns(relayed));
    for _ in 0..100 {
        world.request(CREDENTIAL);
    }
    assert_eq!((world.sent, world.requests("allocate")), (2, 2), "one challenged, one granted");
}

#[test]
fn lost_requests_and_responses_are_repeated() {
    for lost in 1..=3 {
        let mut world = World::new();
        world.lose = lost;
        world.request(CREDENTIAL);
        assert!(!world.is_settled());
        world.pass(seconds(4));
        assert!(world.is_settled() && world.relayed().is_some(), "{lost}");
    }

    // A response that was lost leaves an allocation in the way of the repeated request.
    let mut world = World::new();
    world.relays.request(world.now, at(SOCKET), &[server_of(CREDENTIAL)]);
    let challenge = world.relays.poll_transmit().expect("a request");
    let response = world.server.handle(world.now, challenge).expect("a challenge");
    assert_eq!(world.relays.handle_datagram(world.now, response.clone()), Relayed::Consumed);
    let request = world.relays.poll_transmit().expect("an answer to it");
    world.server.handle(world.now, request).expect("an allocation, the response lost");
    world.pass(seconds(4));
    assert!(world.relayed().is_some(), "a mismatch is resolved");
    assert_eq!(world.server.held.len(), 1);
    assert_eq!(world.relays.handle_datagram(world.now, response.clone()), Relayed::NotOurs(response));
}

fn server_of(credential: &str) -> RelayServer {
    RelayServer { address: at(SERVER), username: USERNAME.to_owned(), credential: credential.to_owned() }
}

#[test]
fn wrong_credentials_settle_at_once_and_make_no_storm() {
    let mut world = World::new();
    world.request("guess");
    assert!(world.is_settled() && world.relayed().is_none());
    assert_eq!(world.sent, 2);
    world.keep_alive(true);
    for _ in 0..600 {
        world.request("guess");
        assert!(world.is_settled());
        world.pass(seconds(1));
    }
    assert!(world.sent <= 2 * 14, "{} requests in ten minutes", world.sent);
    world.lose = 1;
    world.request("secret of another user");
    assert!(!world.is_settled(), "other credentials are waited for");
    world.pass(seconds(1));
    assert!(world.is_settled() && world.relayed().is_none());
    world.request(CREDENTIAL);
    assert!(world.relayed().is_some(), "other credentials are tried at once");
}

#[test]
fn a_silent_server_is_waited_for_once_and_asked_less_and_less_often() {
    let mut world = World::new();
    world.silent = true;
    world.request(CREDENTIAL);
    world.pass(Duration::from_millis(3_749));
    assert!(!world.is_settled());
    world.pass(Duration::from_millis(1));
    assert!(world.is_settled() && world.relayed().is_none());
    world.keep_alive(true);
    world.pass(minutes(10));
    assert!(world.is_settled() && world.sent <= 4 * 14, "{}", world.sent);
    world.silent = false;
    world.pass(seconds(64));
    assert!(world.relayed().is_some(), "while offers wait, it is asked again");
}

#[test]
fn refusals_settle() {
    for code in [300, 403, 437, 441, 486, 500, 508] {
        let mut world = World::new();
        world.server.refuse = Some(code);
        world.request(CREDENTIAL);
        world.pass(seconds(if code == 437 { 3 } else { 0 }));
        assert!(world.is_settled() && world.relayed().is_none(), "{code}");
        let sent = world.sent;
        assert!(sent <= 7, "{code}: {sent}");
        world.request(CREDENTIAL);
        assert_eq!(world.sent, sent, "{code}");
    }
}

#[test]
fn an_allocation_left_by_an_earlier_process_is_cleared() {
    let (old, first) = World::allocated();
    let mut world = World::new();
    world.server = old.server;
    world.request(CREDENTIAL);
    assert!(world.relayed().is_some_and(|relayed| relayed != first));
    assert_eq!(world.server.held.len(), 1);

    let old = world;
    let mut world = World::new();
    world.server = old.server;
    world.server.lingers = Duration::from_millis(1_500);
    world.request(CREDENTIAL);
    assert!(!world.is_settled());
    world.pass(seconds(2));
    assert!(world.relayed().is_some(), "the server takes its time to forget");
}

#[test]
fn a_stale_nonce_is_replaced() {
    let (mut world, relayed) = World::allocated();
    for round in 0..20 {
        world.server.nonce += 1;
        world.send(relayed, peer(round), b"a permission");
        world.pass(minutes(1));
    }
    assert_eq!((world.server.to_peers.len(), world.server.dropped), (20, 0));
    assert_eq!(world.relayed(), Some(relayed));

    world.silent = true;
    world.relays.send(world.now, Datagram { local: relayed, remote: peer(100), data: BytesMut::from(&b"x"[..]) });
    let mut sent = 0;
    while let Some(datagram) = world.relays.poll_transmit() {
        sent += 1;
        world.server.nonce += 1;
        let response = world.server.handle(world.now, datagram).expect("a stale nonce each time");
        world.relays.handle_datagram(world.now, response);
    }
    assert_eq!(sent, 4, "a server that changes its nonce each time is given up");
}

#[test]
fn only_the_server_is_believed() {
    let mut world = World::new();
    world.relays.request(world.now, at(SOCKET), &[server_of(CREDENTIAL)]);
    let request = world.relays.poll_transmit().expect("a request");
    let response = world.server.handle(world.now, request).expect("a challenge");
    for spoofed in [
        Datagram { remote: at("203.0.113.2:3478"), ..response.clone() },
        Datagram { remote: at("203.0.113.1:3479"), ..response.clone() },
        Datagram { local: at("192.168.1.2:5001"), ..response.clone() },
    ] {
        assert_eq!(world.relays.handle_datagram(world.now, spoofed.clone()), Relayed::NotOurs(spoofed));
    }
    let mut wrong_id = response.clone();
    wrong_id.data[10] ^= 1;
    assert_eq!(world.relays.handle_datagram(world.now, wrong_id.clone()), Relayed::NotOurs(wrong_id));
    assert_eq!(world.relays.poll_transmit(), None);

    world.server.knows_secret = false;
    assert_eq!(world.relays.handle_datagram(world.now, response), Relayed::Consumed);
    world.deliver();
    assert!(world.relayed().is_none(), "a server that does not know the secret is none");
    world.pass(seconds(4));
    assert!(world.is_settled() && world.relayed().is_none());

    let (mut world, relayed) = World::allocated();
    world.send(relayed, peer(1), b"x");
    let stranger =
        Datagram { remote: at("203.0.113.66:1"), ..world.server.relay(world.now, at(SOCKET), peer(1), b"x").unwrap() };
    assert!(matches!(world.relays.handle_datagram(world.now, stranger), Relayed::NotOurs(_)));
}

#[test]
fn an_allocation_that_the_server_lost_is_reported_and_made_again_when_it_is_wanted() {
    let (mut world, relayed) = World::allocated();
    world.pass(minutes(2));
    world.server.held.clear();
    world.send(relayed, peer(1), b"x");
    assert_eq!(world.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(!world.relays.owns(relayed) && !world.is_settled());
    world.pass(Duration::ZERO);
    let next = world.relayed().expect("made again");
    assert!(next != relayed && world.relays.owns(next));

    // It is lost again at once, and that is not made up for in a storm.
    let sent = world.sent;
    for _ in 0..20 {
        world.server.held.clear();
        if let Some(relayed) = world.relayed() {
            world.send(relayed, peer(1), b"x");
        }
        world.pass(seconds(1));
    }
    assert!(world.sent - sent < 20, "{}", world.sent - sent);
}

#[test]
fn a_server_that_falls_silent_is_not_offered_and_lost_in_the_end() {
    let (mut world, relayed) = World::allocated();
    world.pass(minutes(2));
    world.silent = true;
    world.send(relayed, peer(1), b"x");
    world.pass(seconds(8));
    assert!(world.relayed().is_none() && world.relays.owns(relayed), "an outage ends no connection");
    world.silent = false;
    world.pass(seconds(10));
    assert_eq!(world.relayed(), Some(relayed));
    world.silent = true;
    world.pass(minutes(6));
    assert_eq!(world.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(world.relayed().is_none() && !world.relays.owns(relayed));
}

#[test]
fn a_waiting_allocation_keeps_its_binding_at_the_nat_alive() {
    let (mut world, relayed) = World::allocated();
    for _ in 0..60 * 60 {
        world.pass(seconds(1));
        assert!(world.now - world.last_sent <= seconds(21), "at {:?}", world.now - world.start);
    }
    assert_eq!(world.relayed(), Some(relayed));
    assert_eq!(world.relays.poll_event(), None);
    assert!(world.requests("refresh") <= 12, "{}", world.requests("refresh"));
}

#[test]
fn an_allocation_that_nothing_uses_is_given_back() {
    let (mut world, relayed) = World::allocated();
    world.pass(minutes(30));
    assert_eq!(world.relayed(), Some(relayed));
    world.keep_alive(false);
    world.pass(seconds(59));
    assert_eq!(world.relayed(), Some(relayed));
    world.pass(seconds(11));
    assert_eq!(world.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(world.server.held.is_empty() && world.relays.is_released());
    let sent = world.sent;
    world.pass(minutes(60));
    assert_eq!((world.sent, world.relays.poll_timeout()), (sent, None));
    world.request(CREDENTIAL);
    assert!(world.relayed().is_some());
}

#[test]
fn release_gives_back_and_a_request_meanwhile_takes_anew() {
    let (mut world, relayed) = World::allocated();
    world.lose = 1;
    world.server.nonce += 1;
    world.relays.release(world.now);
    world.deliver();
    assert_eq!(world.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(!world.relays.owns(relayed) && !world.relays.is_released());
    world.pass(Duration::from_millis(250));
    assert!(world.relays.is_released() && world.server.held.is_empty());
    world.pass(minutes(60));
    assert_eq!(world.relays.poll_timeout(), None);

    world.request(CREDENTIAL);
    world.lose = 1;
    world.relays.release(world.now);
    world.deliver();
    world.request(CREDENTIAL);
    assert!(world.relayed().is_none() && !world.is_settled());
    world.pass(seconds(1));
    assert!(world.relayed().is_some());

    world.silent = true;
    world.relays.release(world.now);
    world.pass(seconds(4));
    assert!(world.relays.is_released(), "a server that does not answer is not waited for long");
}

#[test]
fn a_relay_cannot_claim_what_is_not_its() {
    for claimed in [SOCKET, "0.0.0.0:7", "198.51.100.1:0", "255.255.255.255:7"] {
        let mut world = World::new();
        world.server.tells.push(at(claimed));
        world.request(CREDENTIAL);
        assert!(world.is_settled() && world.relayed().is_none() && !world.relays.owns(at(claimed)), "{claimed}");
    }
    // Of a socket that no server is asked from, or that is opened later: what it sends is not the relay's either.
    for (claimed, is_there) in [("[2001:db8::5]:5000", true), ("192.168.1.2:5004", false)] {
        let mut world = World::new();
        let ask = |world: &mut World| world.relays.request(world.now, at(claimed), &[server_of(CREDENTIAL)]);
        if is_there {
            ask(&mut world);
        }
        world.server.tells.push(at(claimed));
        world.request(CREDENTIAL);
        if !is_there {
            ask(&mut world);
        }
        assert!(!world.relays.owns(at(claimed)), "{claimed}");
    }
    for lifetime in [0, 1, u64::from(u32::MAX)] {
        let mut world = World::new();
        world.server.lifetime = seconds(lifetime);
        world.request(CREDENTIAL);
        world.keep_alive(true);
        assert!(world.is_settled());
        assert_eq!(world.relayed().is_some(), lifetime > 0);
        world.pass(minutes(10));
        assert!(world.sent < 120, "{lifetime}: {}", world.sent);
    }
}

#[test]
fn servers_and_sockets_that_are_gone_are_forgotten() {
    let (mut world, relayed) = World::allocated();
    world.relays.request(world.now, at(SOCKET), &[]);
    world.deliver();
    assert!(world.relayed().is_none() && world.relays.owns(relayed), "its connections go on");
    world.keep_alive(true);
    world.pass(seconds(70));
    assert!(!world.relays.owns(relayed) && world.server.held.is_empty());
    world.relays.request(world.now, at(SOCKET), &[]);
    assert!(world.relays.allocations.is_empty());

    let (mut world, relayed) = World::allocated();
    world.relays.forget(world.now, at(SOCKET));
    assert_eq!(world.relays.poll_event(), Some(RelayEvent::Gone(relayed)));
    assert!(world.relays.allocations.is_empty() && world.relays.by_relayed.is_empty());
    assert_eq!((world.relays.poll_transmit(), world.relays.poll_timeout()), (None, None));

    let mut world = World::new();
    let many: Vec<RelayServer> = (1..=9)
        .map(|host| RelayServer { address: SocketAddr::from(([203, 0, 113, host], 1)), ..server_of("") })
        .collect();
    world.relays.request(world.now, at(SOCKET), &many);
    assert_eq!(world.relays.allocations.len(), 4);
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?} {:?}", server_of(CREDENTIAL), World::allocated().0.relays);
    assert!(!shown.contains(CREDENTIAL), "{shown}");
}

#[test]
fn other_credentials_serve_the_allocation_that_is_held() {
    let (mut world, relayed) = World::allocated();
    world.server.credential = "rotated";
    world.request("rotated");
    world.pass(minutes(20));
    assert_eq!((world.relayed(), world.relays.poll_event()), (Some(relayed), None));
}
