//! Server-reflexive addresses, told by scripted STUN servers under virtual time.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use proptest::prelude::*;
use rtc_stun::{
    message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter},
    xoraddr::XorMappedAddress,
};

use super::{datagram::Datagram, gather::Mappings};

const SOCKET: &str = "192.168.1.2:5000";
const ONE: &str = "203.0.113.1:3478";
const TWO: &str = "203.0.113.2:3478";

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The response of a STUN server that sees the request come from `mapped`.
fn response(request: &Datagram, mapped: SocketAddr) -> Datagram {
    let mut message = Message::new();
    message.unmarshal_binary(&request.data).expect("a STUN message");
    assert_eq!(message.typ, BINDING_REQUEST);
    let mut response = Message::new();
    response.typ = BINDING_SUCCESS;
    response.transaction_id = message.transaction_id;
    response.write_header();
    XorMappedAddress { ip: mapped.ip(), port: mapped.port() }.add_to(&mut response).expect("room");
    Datagram { local: request.local, remote: request.remote, data: BytesMut::from(&response.raw[..]) }
}

/// The mappings, and servers that say at once what they have been told to say, or nothing.
struct World {
    mappings: Mappings,
    start: Instant,
    now: Instant,
    says: BTreeMap<SocketAddr, SocketAddr>,
    /// Requests that do not reach their server, the next ones first.
    lose: usize,
    /// When requests were sent, in milliseconds since the start, and where to.
    sent: Vec<(u128, SocketAddr)>,
}

impl World {
    fn new(says: &[(&str, &str)]) -> Self {
        let start = tokio::time::Instant::now().into_std();
        let says = says.iter().map(|(server, mapped)| (at(server), at(mapped))).collect();
        Self { mappings: Mappings::new(), start, now: start, says, lose: 0, sent: Vec::new() }
    }

    fn deliver(&mut self) {
        while let Some(request) = self.mappings.poll_transmit() {
            self.sent.push(((self.now - self.start).as_millis(), request.remote));
            if self.lose > 0 {
                self.lose -= 1;
            } else if let Some(mapped) = self.says.get(&request.remote) {
                assert!(self.mappings.handle_datagram(self.now, &response(&request, *mapped)));
            }
        }
    }

    fn request(&mut self, servers: &[&str]) {
        let servers: Vec<SocketAddr> = servers.iter().map(|server| at(server)).collect();
        self.mappings.request(self.now, at(SOCKET), &servers);
        self.deliver();
    }

    fn keep_alive(&mut self, wanted: bool) {
        self.mappings.keep_alive(self.now, at(SOCKET), wanted);
        self.deliver();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.mappings.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.mappings.handle_timeout(self.now);
            let next = self.mappings.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a timer that fired is set again in the past");
            self.deliver();
        }
        self.now = end;
    }

    fn mapped(&self) -> Vec<String> {
        self.mappings.mapped(at(SOCKET)).iter().map(ToString::to_string).collect()
    }

    fn is_settled(&self) -> bool {
        self.mappings.is_settled(at(SOCKET))
    }
}

#[test]
fn an_address_is_asked_for_once_for_all() {
    let mut world = World::new(&[(ONE, "198.51.100.7:6000"), (TWO, "198.51.100.7:6000")]);
    assert!(world.is_settled() && world.mapped().is_empty());
    world.request(&[ONE, TWO]);
    assert!(world.is_settled());
    assert_eq!(world.mapped(), ["198.51.100.7:6000"]);
    for _ in 0..100 {
        world.request(&[ONE, TWO]);
    }
    assert_eq!(world.sent.len(), 2);
    world.says.insert(at(TWO), at("198.51.100.8:6000"));
    world.pass(seconds(30));
    world.request(&[ONE, TWO]);
    assert_eq!(world.mapped(), ["198.51.100.7:6000", "198.51.100.8:6000"], "a NAT with bindings for each server");
}

#[test]
fn a_lost_request_is_sent_again() {
    let mut world = World::new(&[(ONE, "198.51.100.7:6000")]);
    world.lose = 1;
    world.request(&[ONE]);
    assert!(!world.is_settled());
    world.pass(Duration::from_millis(250));
    assert!(world.is_settled());
    assert_eq!(world.mapped(), ["198.51.100.7:6000"]);
}

#[test]
fn a_silent_server_is_waited_for_once_and_asked_less_and_less_often() {
    let mut world = World::new(&[]);
    world.request(&[ONE]);
    world.pass(Duration::from_millis(3_749));
    assert!(!world.is_settled());
    world.pass(Duration::from_millis(1));
    assert!(world.is_settled());
    assert_eq!(world.sent.len(), 4);
    let mut times = Vec::new();
    for _ in 0..600 {
        world.sent.clear();
        world.request(&[ONE]);
        assert!(world.is_settled(), "offers do not wait for a server that was given up");
        if !world.sent.is_empty() {
            times.push(world.sent[0].0 / 1_000);
        }
        world.pass(seconds(1));
    }
    let gaps: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] <= 15 && gaps.last().is_some_and(|gap| (60..=66).contains(gap)), "{gaps:?}");
    assert!(gaps.is_sorted(), "{gaps:?}");

    world.says.insert(at(ONE), at("198.51.100.7:6000"));
    world.keep_alive(true);
    world.pass(seconds(65));
    assert_eq!(world.mapped(), ["198.51.100.7:6000"], "while offers wait, no offer is needed to ask again");
}

#[test]
fn only_the_server_answers_and_only_our_request() {
    let mut world = World::new(&[]);
    world.mappings.request(world.now, at(SOCKET), &[at(ONE), at(TWO)]);
    let requests: Vec<Datagram> = std::iter::from_fn(|| world.mappings.poll_transmit()).collect();
    assert_ne!(requests[0].data, requests[1].data, "each request has an id of its own");
    let mapped = at("198.51.100.7:6000");
    let right = response(&requests[0], mapped);
    let mut spoofed = vec![
        Datagram { remote: at(TWO), ..right.clone() },
        Datagram { remote: at("203.0.113.1:3479"), ..right.clone() },
        Datagram { local: at("192.168.1.2:5001"), ..right.clone() },
        Datagram { data: requests[0].data.clone(), ..right.clone() },
        Datagram { data: BytesMut::new(), ..right.clone() },
    ];
    let mut wrong_id = right.clone();
    wrong_id.data[19] ^= 1;
    spoofed.push(wrong_id);
    for datagram in spoofed {
        assert!(!world.mappings.handle_datagram(world.now, &datagram), "{datagram:?}");
    }
    assert!(world.mapped().is_empty());
    assert!(world.mappings.handle_datagram(world.now, &right));
    assert!(!world.mappings.handle_datagram(world.now, &right), "the request has its response");
    assert_eq!(world.mapped(), ["198.51.100.7:6000"]);
}

#[test]
fn a_server_that_tells_no_usable_address_is_a_failing_one() {
    for nonsense in ["0.0.0.0:7", "198.51.100.7:0", "224.0.0.1:7", "255.255.255.255:7", "[2001:db8::1]:7"] {
        let mut world = World::new(&[(ONE, nonsense)]);
        world.request(&[ONE]);
        assert!(world.is_settled() && world.mapped().is_empty(), "{nonsense}");
        world.request(&[ONE]);
        assert_eq!(world.sent.len(), 1, "{nonsense}");
    }
    let mut world = World::new(&[]);
    world.mappings.request(world.now, at(SOCKET), &[at(ONE)]);
    let request = world.mappings.poll_transmit().expect("a request");
    let mut refusal = response(&request, at("198.51.100.7:6000"));
    refusal.data[..2].copy_from_slice(&BINDING_ERROR.value().to_be_bytes());
    assert!(world.mappings.handle_datagram(world.now, &refusal));
    assert!(world.is_settled() && world.mapped().is_empty());
}

#[test]
fn an_address_of_the_socket_itself_is_none() {
    let mut world = World::new(&[(ONE, SOCKET)]);
    world.request(&[ONE]);
    assert!(world.is_settled() && world.mapped().is_empty());
    world.keep_alive(true);
    world.pass(seconds(60));
    assert_eq!(world.sent.len(), 4);
}

#[test]
fn addresses_are_refreshed_while_offers_wait_and_replaced_when_they_change() {
    let mut world = World::new(&[(ONE, "198.51.100.7:6000")]);
    world.keep_alive(true);
    world.request(&[ONE]);
    world.pass(seconds(100));
    let times: Vec<u128> = world.sent.iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [0, 20_000, 40_000, 60_000, 80_000, 100_000]);

    world.says.insert(at(ONE), at("198.51.100.9:7000"));
    world.lose = 1;
    world.pass(Duration::from_millis(20_249));
    assert_eq!(world.mapped(), ["198.51.100.7:6000"], "the last known address while it is being refreshed");
    assert!(world.is_settled());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.mapped(), ["198.51.100.9:7000"]);

    world.says.clear();
    world.pass(seconds(24));
    assert!(world.mapped().is_empty(), "an address that its server no longer confirms is not offered");
}

#[test]
fn nothing_is_sent_when_nothing_waits() {
    let mut world = World::new(&[(ONE, "198.51.100.7:6000"), (TWO, "198.51.100.7:6000")]);
    world.request(&[ONE, TWO]);
    world.keep_alive(true);
    world.pass(seconds(50));
    world.keep_alive(false);
    let sent = world.sent.len();
    world.pass(seconds(3_600));
    assert_eq!(world.sent.len(), sent);
    assert_eq!(world.mappings.poll_timeout(), None);
    assert!(world.mapped().is_empty(), "the NAT may have given the address to another by now");
    world.says.clear();
    world.request(&[ONE, TWO]);
    assert!(!world.is_settled(), "and the next offer waits for it as the first did");
    world.mappings.keep_alive(world.now, at("192.168.1.9:1"), false);
    world.pass(seconds(3_600));
    assert_eq!((world.sent.len(), world.mappings.poll_timeout()), (sent + 8, None));
}

#[test]
fn an_address_too_old_is_not_offered_although_no_timer_fired() {
    let mut world = World::new(&[(ONE, "198.51.100.7:6000")]);
    world.request(&[ONE]);
    world.now += seconds(3_600);
    world.says.clear();
    world.request(&[ONE]);
    assert!(world.mapped().is_empty() && !world.is_settled());
}

#[test]
fn sockets_and_servers_that_are_gone_are_forgotten() {
    let mut world = World::new(&[(ONE, "198.51.100.7:6000"), (TWO, "198.51.100.8:6000")]);
    world.request(&[ONE, TWO]);
    world.request(&[TWO]);
    assert_eq!(world.mapped(), ["198.51.100.8:6000"]);
    world.mappings.forget(at(SOCKET));
    assert!(world.mapped().is_empty() && world.is_settled());
    assert_eq!(world.mappings.poll_timeout(), None);
    world.mappings.request(world.now, at(SOCKET), &[at(ONE)]);
    world.mappings.forget(at(SOCKET));
    assert_eq!(world.mappings.poll_transmit(), None);
}

#[test]
fn servers_of_the_other_family_and_too_many_of_them_are_not_asked() {
    let mut world = World::new(&[]);
    let many: Vec<String> = (1..=100).map(|host| format!("203.0.113.{host}:3478")).collect();
    let mut servers = vec!["[2001:db8::1]:3478"];
    servers.extend(many.iter().map(String::as_str));
    world.request(&servers);
    assert_eq!(world.sent.len(), 8);
    assert!(world.sent.iter().all(|(_, server)| server.is_ipv4()));
}

proptest! {
    #[test]
    fn no_response_of_a_server_panics_or_is_offered_unless_it_is_an_address(
        data in proptest::collection::vec(any::<u8>(), 0..100),
        success in any::<bool>(),
    ) {
        let mut world = World::new(&[]);
        world.mappings.request(world.now, at(SOCKET), &[at(ONE)]);
        let request = world.mappings.poll_transmit().expect("a request");
        let mut datagram = response(&request, at("198.51.100.7:6000"));
        datagram.data.truncate(20);
        let typ = if success { BINDING_SUCCESS } else { BINDING_ERROR };
        datagram.data[..2].copy_from_slice(&typ.value().to_be_bytes());
        datagram.data[2..4].copy_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        datagram.data.extend_from_slice(&data);
        world.mappings.handle_datagram(world.now, &datagram);
        prop_assert!(success || world.mapped().is_empty());
    }
}
