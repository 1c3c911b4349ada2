//! Server-reflexive addresses, reported by scripted STUN servers under virtual time.

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

/// The mappings, and servers that say at once what they are configured to say, or nothing.
struct Harness {
    mappings: Mappings,
    start: Instant,
    now: Instant,
    says: BTreeMap<SocketAddr, SocketAddr>,
    /// Requests that do not reach their server, the next ones first.
    lose: usize,
    /// When requests were sent, in milliseconds since the start, and where to.
    sent: Vec<(u128, SocketAddr)>,
}

impl Harness {
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
    let mut harness = Harness::new(&[(ONE, "198.51.100.7:6000"), (TWO, "198.51.100.7:6000")]);
    assert!(harness.is_settled() && harness.mapped().is_empty());
    harness.request(&[ONE, TWO]);
    assert!(harness.is_settled());
    assert_eq!(harness.mapped(), ["198.51.100.7:6000"]);
    for _ in 0..100 {
        harness.request(&[ONE, TWO]);
    }
    assert_eq!(harness.sent.len(), 2);
    harness.says.insert(at(TWO), at("198.51.100.8:6000"));
    harness.pass(seconds(30));
    harness.request(&[ONE, TWO]);
    assert_eq!(harness.mapped(), ["198.51.100.7:6000", "198.51.100.8:6000"], "a NAT with bindings for each server");
}

#[test]
fn a_lost_request_is_sent_again() {
    let mut harness = Harness::new(&[(ONE, "198.51.100.7:6000")]);
    harness.lose = 1;
    harness.request(&[ONE]);
    assert!(!harness.is_settled());
    harness.pass(Duration::from_millis(250));
    assert!(harness.is_settled());
    assert_eq!(harness.mapped(), ["198.51.100.7:6000"]);
}

#[test]
fn a_silent_server_is_waited_for_once_and_asked_less_and_less_often() {
    let mut harness = Harness::new(&[]);
    harness.request(&[ONE]);
    harness.pass(Duration::from_millis(3_749));
    assert!(!harness.is_settled());
    harness.pass(Duration::from_millis(1));
    assert!(harness.is_settled());
    assert_eq!(harness.sent.len(), 4);
    let mut times = Vec::new();
    for _ in 0..600 {
        harness.sent.clear();
        harness.request(&[ONE]);
        assert!(harness.is_settled(), "offers do not wait for a server that was given up");
        if !harness.sent.is_empty() {
            times.push(harness.sent[0].0 / 1_000);
        }
        harness.pass(seconds(1));
    }
    let gaps: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] <= 15 && gaps.last().is_some_and(|gap| (60..=66).contains(gap)), "{gaps:?}");
    assert!(gaps.is_sorted(), "{gaps:?}");

    harness.says.insert(at(ONE), at("198.51.100.7:6000"));
    harness.keep_alive(true);
    harness.pass(seconds(65));
    assert_eq!(harness.mapped(), ["198.51.100.7:6000"], "while offers wait, no offer is needed to ask again");
}

#[test]
fn only_the_server_answers_and_only_our_request() {
    let mut harness = Harness::new(&[]);
    harness.mappings.request(harness.now, at(SOCKET), &[at(ONE), at(TWO)]);
    let requests: Vec<Datagram> = std::iter::from_fn(|| harness.mappings.poll_transmit()).collect();
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
        assert!(!harness.mappings.handle_datagram(harness.now, &datagram), "{datagram:?}");
    }
    assert!(harness.mapped().is_empty());
    assert!(harness.mappings.handle_datagram(harness.now, &right));
    assert!(!harness.mappings.handle_datagram(harness.now, &right), "the request has its response");
    assert_eq!(harness.mapped(), ["198.51.100.7:6000"]);
}

#[test]
fn a_server_that_tells_no_usable_address_is_a_failing_one() {
    for nonsense in ["0.0.0.0:7", "198.51.100.7:0", "224.0.0.1:7", "255.255.255.255:7", "[2001:db8::1]:7"] {
        let mut harness = Harness::new(&[(ONE, nonsense)]);
        harness.request(&[ONE]);
        assert!(harness.is_settled() && harness.mapped().is_empty(), "{nonsense}");
        harness.request(&[ONE]);
        assert_eq!(harness.sent.len(), 1, "{nonsense}");
    }
    let mut harness = Harness::new(&[]);
    harness.mappings.request(harness.now, at(SOCKET), &[at(ONE)]);
    let request = harness.mappings.poll_transmit().expect("a request");
    let mut refusal = response(&request, at("198.51.100.7:6000"));
    refusal.data[..2].copy_from_slice(&BINDING_ERROR.value().to_be_bytes());
    assert!(harness.mappings.handle_datagram(harness.now, &refusal));
    assert!(harness.is_settled() && harness.mapped().is_empty());
}

#[test]
fn an_address_of_the_socket_itself_is_none() {
    let mut harness = Harness::new(&[(ONE, SOCKET)]);
    harness.request(&[ONE]);
    assert!(harness.is_settled() && harness.mapped().is_empty());
    harness.keep_alive(true);
    harness.pass(seconds(60));
    assert_eq!(harness.sent.len(), 4);
}

#[test]
fn addresses_are_refreshed_while_offers_wait_and_replaced_when_they_change() {
    let mut harness = Harness::new(&[(ONE, "198.51.100.7:6000")]);
    harness.keep_alive(true);
    harness.request(&[ONE]);
    harness.pass(seconds(100));
    let times: Vec<u128> = harness.sent.iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [0, 20_000, 40_000, 60_000, 80_000, 100_000]);

    harness.says.insert(at(ONE), at("198.51.100.9:7000"));
    harness.lose = 1;
    harness.pass(Duration::from_millis(20_249));
    assert_eq!(harness.mapped(), ["198.51.100.7:6000"], "the last known address while it is being refreshed");
    assert!(harness.is_settled());
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.mapped(), ["198.51.100.9:7000"]);

    harness.says.clear();
    harness.pass(seconds(24));
    assert!(harness.mapped().is_empty(), "an address that its server no longer confirms is not offered");
}

#[test]
fn nothing_is_sent_when_nothing_waits() {
    let mut harness = Harness::new(&[(ONE, "198.51.100.7:6000"), (TWO, "198.51.100.7:6000")]);
    harness.request(&[ONE, TWO]);
    harness.keep_alive(true);
    harness.pass(seconds(50));
    harness.keep_alive(false);
    let sent = harness.sent.len();
    harness.pass(seconds(3_600));
    assert_eq!(harness.sent.len(), sent);
    assert_eq!(harness.mappings.poll_timeout(), None);
    assert!(harness.mapped().is_empty(), "the NAT may have given the address to another by now");
    harness.says.clear();
    harness.request(&[ONE, TWO]);
    assert!(!harness.is_settled(), "and the next offer waits for it as the first did");
    harness.mappings.keep_alive(harness.now, at("192.168.1.9:1"), false);
    harness.pass(seconds(3_600));
    assert_eq!((harness.sent.len(), harness.mappings.poll_timeout()), (sent + 8, None));
}

#[test]
fn an_address_too_old_is_not_offered_although_no_timer_fired() {
    let mut harness = Harness::new(&[(ONE, "198.51.100.7:6000")]);
    harness.request(&[ONE]);
    harness.now += seconds(3_600);
    harness.says.clear();
    harness.request(&[ONE]);
    assert!(harness.mapped().is_empty() && !harness.is_settled());
}

#[test]
fn sockets_and_servers_that_are_gone_are_forgotten() {
    let mut harness = Harness::new(&[(ONE, "198.51.100.7:6000"), (TWO, "198.51.100.8:6000")]);
    harness.request(&[ONE, TWO]);
    harness.request(&[TWO]);
    assert_eq!(harness.mapped(), ["198.51.100.8:6000"]);
    harness.mappings.forget(at(SOCKET));
    assert!(harness.mapped().is_empty() && harness.is_settled());
    assert_eq!(harness.mappings.poll_timeout(), None);
    harness.mappings.request(harness.now, at(SOCKET), &[at(ONE)]);
    harness.mappings.forget(at(SOCKET));
    assert_eq!(harness.mappings.poll_transmit(), None);
}

#[test]
fn servers_of_the_other_family_and_too_many_of_them_are_not_asked() {
    let mut harness = Harness::new(&[]);
    let many: Vec<String> = (1..=100).map(|host| format!("203.0.113.{host}:3478")).collect();
    let mut servers = vec!["[2001:db8::1]:3478"];
    servers.extend(many.iter().map(String::as_str));
    harness.request(&servers);
    assert_eq!(harness.sent.len(), 8);
    assert!(harness.sent.iter().all(|(_, server)| server.is_ipv4()));
}

proptest! {
    #[test]
    fn no_response_of_a_server_panics_or_is_offered_unless_it_is_an_address(
        data in proptest::collection::vec(any::<u8>(), 0..100),
        success in any::<bool>(),
    ) {
        let mut harness = Harness::new(&[]);
        harness.mappings.request(harness.now, at(SOCKET), &[at(ONE)]);
        let request = harness.mappings.poll_transmit().expect("a request");
        let mut datagram = response(&request, at("198.51.100.7:6000"));
        datagram.data.truncate(20);
        let typ = if success { BINDING_SUCCESS } else { BINDING_ERROR };
        datagram.data[..2].copy_from_slice(&typ.value().to_be_bytes());
        datagram.data[2..4].copy_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        datagram.data.extend_from_slice(&data);
        harness.mappings.handle_datagram(harness.now, &datagram);
        prop_assert!(success || harness.mapped().is_empty());
    }
}
