//! Requests to STUN and TURN servers: sent again until they are answered, a bounded number of times.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc_stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, MESSAGE_HEADER_SIZE, Message, TransactionId, is_stun_message,
};

use super::{candidate::may_reach, datagram::Datagram};

/// How long the first request waits for its response; each further one waits twice as long (RFC 8489 section 6.2.1).
///
/// That section recommends 500 ms, browsers take 250 ms. An offer waits 300 ms for its servers by default, so one lost
/// datagram to a near server costs it nothing.
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(250);

/// How many times a request is sent, instead of the 7 times of RFC 8489: at 0, 250, 750 and 1,750 ms. The server is
/// given up after 3.75 s, which no offer waits for and which outlasts the round trip of a satellite.
const MAX_TRANSMISSIONS: u32 = 4;

/// For how long a server that did not answer is left alone after its first failure; each further one doubles it.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);

/// The longest time a server is left alone: a host that was offline has its addresses back within a minute, and a dead
/// server gets four small datagrams a minute.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// How long a server is left alone after so many failures in a row.
pub(crate) fn backoff(failures: u32) -> Duration {
    // Capped before it is shifted: 5 s doubled four times is past the maximum.
    (FIRST_BACKOFF * (1 << failures.saturating_sub(1).min(4))).min(MAX_BACKOFF)
}

/// Whether a request from `socket` can arrive at `server`, which the application has named: a socket bound to a
/// loopback or link-local address reaches nothing else, and is not waited for.
pub(crate) fn may_ask(socket: SocketAddr, server: SocketAddr) -> bool {
    let confined = match socket.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    socket.is_ipv4() == server.is_ipv4() && is_usable(server) && (!confined || may_reach(socket, server))
}

/// Whether datagrams can be sent to an address that a server has reported: not when it is unspecified, multicast, broadcast
/// or reserved, or its port is 0.
pub(crate) fn is_usable(address: SocketAddr) -> bool {
    may_reach(address, address)
}

/// One request to a server.
#[derive(Debug)]
pub(crate) struct Transaction {
    request: Message,
    socket: SocketAddr,
    server: SocketAddr,
    transmissions: u32,
    due: Instant,
}

/// What the time makes of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet.
    Wait,
    /// The request is sent again.
    Transmit(Datagram),
    /// The server does not answer.
    GivenUp,
}

impl Transaction {
    /// Begins a transaction with `request`, which must be complete, and returns it with the first datagram.
    pub(crate) fn start(now: Instant, request: Message, socket: SocketAddr, server: SocketAddr) -> (Self, Datagram) {
        let transaction = Self { request, socket, server, transmissions: 1, due: now + RETRANSMISSION_TIMEOUT };
        let datagram = transaction.datagram();
        (transaction, datagram)
    }

    fn datagram(&self) -> Datagram {
        Datagram { local: self.socket, remote: self.server, data: BytesMut::from(&self.request.raw[..]) }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Sends the request again when that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Step {
        if now < self.due {
            return Step::Wait;
        }
        if self.transmissions >= MAX_TRANSMISSIONS {
            return Step::GivenUp;
        }
        // Counted from now, not from the time it was due: after a suspend the timer must lie in the future.
        self.due = now + RETRANSMISSION_TIMEOUT * (1 << self.transmissions);
        self.transmissions += 1;
        Step::Transmit(self.datagram())
    }

    /// The response to this request, if `data` is that. The caller has compared the addresses.
    pub(crate) fn response(&self, data: &[u8]) -> Option<Message> {
        if !is_stun_message(data) || transaction_id(data) != Some(self.request.transaction_id) {
            return None;
        }
        let mut response = Message::new();
        response.unmarshal_binary(data).ok()?;
        let class = response.typ.class;
        let is_response = class == CLASS_SUCCESS_RESPONSE || class == CLASS_ERROR_RESPONSE;
        (is_response && response.typ.method == self.request.typ.method).then_some(response)
    }
}

/// The transaction id of a STUN message.
fn transaction_id(data: &[u8]) -> Option<TransactionId> {
    Some(TransactionId(data.get(8..MESSAGE_HEADER_SIZE)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, METHOD_ALLOCATE, MessageType};

    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    fn message(typ: MessageType, id: TransactionId) -> Message {
        let mut message = Message::new();
        message.typ = typ;
        message.transaction_id = id;
        message.write_header();
        message
    }

    fn start(now: Instant) -> (Transaction, Datagram) {
        let request = message(BINDING_REQUEST, TransactionId::new());
        Transaction::start(now, request, at("10.0.0.1:1"), at("203.0.113.1:3478"))
    }

    #[test]
    fn a_request_is_sent_four_times_within_four_seconds() {
        let start_time = tokio::time::Instant::now().into_std();
        let (mut transaction, first) = start(start_time);
        let mut times = vec![Duration::ZERO];
        let given_up = loop {
            let now = transaction.due();
            assert_eq!(transaction.handle_timeout(now - Duration::from_millis(1)), Step::Wait);
            match transaction.handle_timeout(now) {
                Step::Transmit(datagram) => {
                    assert_eq!(datagram, first);
                    times.push(now - start_time);
                }
                Step::GivenUp => break now - start_time,
                Step::Wait => panic!("it was due"),
            }
        };
        assert_eq!(times.iter().map(Duration::as_millis).collect::<Vec<_>>(), [0, 250, 750, 1_750]);
        assert_eq!(given_up, Duration::from_millis(3_750));
    }

    #[test]
    fn only_a_response_with_the_id_and_method_of_the_request_is_one() {
        let (transaction, _) = start(tokio::time::Instant::now().into_std());
        let id = transaction.request.transaction_id;
        let is_response = |message: Message| transaction.response(&message.raw).is_some();
        assert!(is_response(message(BINDING_SUCCESS, id)) && is_response(message(BINDING_ERROR, id)));
        assert!(!is_response(message(BINDING_SUCCESS, TransactionId::new())));
        assert!(!is_response(message(BINDING_REQUEST, id)));
        assert!(!is_response(message(MessageType::new(METHOD_ALLOCATE, CLASS_SUCCESS_RESPONSE), id)));
        let whole = message(BINDING_SUCCESS, id).raw;
        for length in 0..whole.len() {
            assert!(transaction.response(&whole[..length]).is_none(), "{length}");
        }
        let mut cut = whole;
        cut[3] = 4;
        assert!(transaction.response(&cut).is_none(), "an attribute is announced that does not come");
    }

    #[test]
    fn a_failing_server_is_asked_less_and_less_often() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|failures| backoff(failures).as_secs()).into();
        assert_eq!(seconds, [5, 5, 10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn servers_that_a_socket_cannot_reach_are_not_asked() {
        for (socket, server, may) in [
            ("10.0.0.1:1", "203.0.113.1:3478", true),
            ("10.0.0.1:1", "127.0.0.1:3478", true),
            ("127.0.0.1:1", "127.0.0.1:3478", true),
            ("127.0.0.1:1", "203.0.113.1:3478", false),
            ("169.254.0.1:1", "203.0.113.1:3478", false),
            ("10.0.0.1:1", "[2001:db8::1]:3478", false),
            ("10.0.0.1:1", "224.0.0.1:3478", false),
            ("10.0.0.1:1", "203.0.113.1:0", false),
            ("[2001:db8::7]:1", "[2001:db8::1]:3478", true),
            ("[fe80::7]:1", "[2001:db8::1]:3478", false),
            ("0.0.0.0:1", "203.0.113.1:3478", true),
        ] {
            assert_eq!(may_ask(at(socket), at(server)), may, "{socket} {server}");
        }
    }
}
