//! A scripted TURN server: a function from datagrams to datagrams, which keeps to RFC 8656 unless it is configured not to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_stun::{
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM, ATTR_USERNAME,
        ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
    },
    error_code::{ErrorCode, ErrorCodeAttribute},
    integrity::MessageIntegrity,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_BINDING,
        METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, MessageType,
        Method, Setter, TransactionId,
    },
    textattrs::TextAttribute,
    xoraddr::XorMappedAddress,
};

use super::message::{address, is_channel_data, read_channel_data};
use crate::webrtc::datagram::Datagram;

pub(super) const USERNAME: &str = "someone";
pub(super) const CREDENTIAL: &str = "secret";
const REALM: &str = "p2pt.test";

/// What the server holds for one client.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) relayed: SocketAddr,
    pub(super) expires: Instant,
    /// Until when.
    pub(super) permissions: BTreeMap<IpAddr, Instant>,
    pub(super) channels: BTreeMap<u16, (SocketAddr, Instant)>,
}

pub(super) struct FakeServer {
    crypto: Arc<dyn RTCCryptoProvider>,
    pub(super) address: SocketAddr,
    pub(super) relay: IpAddr,
    next_port: u16,
    pub(super) held: BTreeMap<SocketAddr, Held>,
    pub(super) nonce: u64,
    pub(super) lifetime: Duration,
    /// For how long an allocation that was given back is in the way of the next, as with coturn.
    pub(super) lingers: Duration,
    gone: BTreeMap<SocketAddr, Instant>,
    /// Hosts that are refused with 403.
    pub(super) forbidden: BTreeSet<IpAddr>,
    /// Whether channels are refused with 400.
    pub(super) no_channels: bool,
    /// The user's password.
    pub(super) credential: &'static str,
    /// The code with which allocations are refused.
    pub(super) refuse: Option<u16>,
    /// Whether responses are signed with another key.
    pub(super) knows_secret: bool,
    /// The next allocations' addresses, instead of those it would choose.
    pub(super) tells: Vec<SocketAddr>,
    /// Requests by method.
    pub(super) requests: BTreeMap<&'static str, usize>,
    /// What it sent on to peers: when it could, from where, to where.
    pub(super) to_peers: Vec<Datagram>,
    /// What it did not, because a permission or channel was not there.
    pub(super) dropped: usize,
}

impl FakeServer {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            crypto: rtc_crypto::default_provider().expect("a provider"),
            address,
            relay: IpAddr::from([198, 51, 100, 1]),
            next_port: 50_000,
            held: BTreeMap::new(),
            nonce: 1,
            lifetime: Duration::from_secs(600),
            lingers: Duration::ZERO,
            gone: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            no_channels: false,
            credential: CREDENTIAL,
            refuse: None,
            knows_secret: true,
            tells: Vec::new(),
            requests: BTreeMap::new(),
            to_peers: Vec::new(),
            dropped: 0,
        }
    }

    fn key(&self, credential: &str) -> Vec<u8> {
        let [username, realm, credential] = [USERNAME, REALM, credential].map(str::to_owned);
        MessageIntegrity::long_term_integrity_key(username, realm, credential, self.crypto.crypto()).expect("MD5")
    }

    /// Takes a client's datagram.
    pub(super) fn handle(&mut self, now: Instant, datagram: Datagram) -> Option<Datagram> {
        assert_eq!(datagram.remote, self.address);
        self.held.retain(|_, held| held.expires > now);
        let client = datagram.local;
        if is_channel_data(&datagram.data) {
            let (number, data) = read_channel_data(datagram.data).expect("well-formed");
            let bound = self.held.get(&client).and_then(|held| held.channels.get(&number));
            let peer = bound.filter(|(_, until)| *until > now).map(|(peer, _)| *peer);
            self.forward(now, client, peer, data);
            return None;
        }
        let mut message = Message::new();
        message.unmarshal_binary(&datagram.data).expect("a STUN message");
        if message.typ.class == CLASS_INDICATION {
            if message.typ.method == METHOD_SEND {
                let peer = address(&message, ATTR_XOR_PEER_ADDRESS);
                let data = message.get(ATTR_DATA).expect("data");
                self.forward(now, client, peer, BytesMut::from(&data[..]));
            } else {
                assert_eq!(message.typ.method, METHOD_BINDING);
                *self.requests.entry("keep alive").or_default() += 1;
            }
            return None;
        }
        assert_eq!(message.typ.class, CLASS_REQUEST);
        let response = self.respond(now, client, &mut message);
        Some(Datagram { data: BytesMut::from(&response.raw[..]), ..datagram })
    }

    fn forward(&mut self, now: Instant, client: SocketAddr, peer: Option<SocketAddr>, data: BytesMut) {
        let permitted = self
            .held
            .get(&client)
            .zip(peer)
            .filter(|(held, peer)| held.permissions.get(&peer.ip()).is_some_and(|until| *until > now));
        match permitted {
            Some((held, remote)) => self.to_peers.push(Datagram { local: held.relayed, remote, data }),
            None => self.dropped += 1,
        }
    }

    fn respond(&mut self, now: Instant, client: SocketAddr, request: &mut Message) -> Message {
        let method = request.typ.method;
        let name = match method {
            METHOD_ALLOCATE => "allocate",
            METHOD_REFRESH => "refresh",
            METHOD_CREATE_PERMISSION => "permission",
            METHOD_CHANNEL_BIND => "channel",
            other => panic!("{other}"),
        };
        *self.requests.entry(name).or_default() += 1;
        let key = self.key(self.credential);
        let nonce = self.nonce.to_string().into_bytes();
        let text = |attribute| request.get(attribute).unwrap_or_default();
        let lingers = self.gone.get(&client).is_some_and(|gone| now < *gone + self.lingers);
        if method == METHOD_ALLOCATE && (lingers || self.held.contains_key(&client)) {
            // Sent to unauthenticated clients, too, as coturn does.
            return self.error(request, method, 437);
        }
        if !request.contains(ATTR_MESSAGE_INTEGRITY) {
            return self.error(request, method, 401);
        }
        if text(ATTR_NONCE) != nonce {
            return self.error(request, method, 438);
        }
        let known = text(ATTR_USERNAME) == USERNAME.as_bytes() && text(ATTR_REALM) == REALM.as_bytes();
        if !known || MessageIntegrity::check(request, &key, self.crypto.crypto()).is_err() {
            return self.error(request, method, 401);
        }
        match self.perform(now, client, request) {
            Ok(attributes) => self.success(request, method, &attributes),
            Err(code) => self.error(request, method, code),
        }
    }

    fn perform(&mut self, now: Instant, client: SocketAddr, request: &Message) -> Result<Vec<Attribute>, u16> {
        let peer = address(request, ATTR_XOR_PEER_ADDRESS);
        let lifetime = Attribute::Lifetime(self.lifetime);
        if request.typ.method == METHOD_ALLOCATE {
            if let Some(code) = self.refuse {
                return Err(code);
            }
            self.next_port += 1;
            let relayed = self.tells.pop().unwrap_or(SocketAddr::new(self.relay, self.next_port));
            let (permissions, channels) = Default::default();
            self.held.insert(client, Held { relayed, expires: now + self.lifetime, permissions, channels });
            return Ok(vec![Attribute::Relayed(relayed), Attribute::Mapped(client), lifetime]);
        }
        let held = self.held.get_mut(&client).ok_or(437_u16)?;
        match request.typ.method {
            METHOD_REFRESH if request.get(ATTR_LIFETIME).is_ok_and(|lifetime| lifetime == [0; 4]) => {
                self.held.remove(&client);
                self.gone.insert(client, now);
                Ok(vec![Attribute::Lifetime(Duration::ZERO)])
            }
            METHOD_REFRESH => {
                held.expires = now + self.lifetime;
                Ok(vec![lifetime])
            }
            method => {
                let peer = peer.ok_or(400_u16)?;
                if self.forbidden.contains(&peer.ip()) {
                    return Err(403);
                }
                if method == METHOD_CHANNEL_BIND {
                    // Five minutes longer than it lives, neither number nor peer may be bound to another.
                    held.channels.retain(|_, (_, until)| *until + Duration::from_secs(300) > now);
                    let number = request.get(ATTR_CHANNEL_NUMBER).map_err(|_| 400_u16)?;
                    let number = u16::from_be_bytes([number[0], number[1]]);
                    let taken = held.channels.iter().any(|(n, (p, _))| (*n == number) != (*p == peer));
                    if !(0x4000..=0x4fff).contains(&number) || taken || self.no_channels {
                        return Err(400);
                    }
                    held.channels.insert(number, (peer, now + Duration::from_secs(600)));
                }
                held.permissions.insert(peer.ip(), now + Duration::from_secs(300));
                Ok(Vec::new())
            }
        }
    }

    fn success(&self, request: &Message, method: Method, attributes: &[Attribute]) -> Message {
        let mut response = blank(MessageType::new(method, CLASS_SUCCESS_RESPONSE), request.transaction_id);
        for attribute in attributes {
            attribute.add_to(&mut response);
        }
        let key = self.key(if self.knows_secret { self.credential } else { "another" });
        MessageIntegrity::new_raw_integrity_with_provider(key, self.crypto.crypto())
            .add_to(&mut response)
            .expect("room");
        response
    }

    fn error(&self, request: &Message, method: Method, code: u16) -> Message {
        let mut response = blank(MessageType::new(method, CLASS_ERROR_RESPONSE), request.transaction_id);
        ErrorCodeAttribute { code: ErrorCode(code), reason: Vec::new() }.add_to(&mut response).expect("room");
        for (attribute, text) in [(ATTR_REALM, REALM.to_owned()), (ATTR_NONCE, self.nonce.to_string())] {
            TextAttribute::new(attribute, text).add_to(&mut response).expect("room");
        }
        response
    }

    /// A peer's datagram to the relayed address of `client`, as the server hands it on.
    pub(super) fn relay(
        &mut self,
        now: Instant,
        client: SocketAddr,
        peer: SocketAddr,
        data: &[u8],
    ) -> Option<Datagram> {
        let held = self.held.get(&client)?;
        held.permissions.get(&peer.ip()).filter(|until| **until > now)?;
        let channel = held.channels.iter().find(|(_, (to, until))| *to == peer && *until > now);
        let data = match channel {
            Some((number, _)) => super::message::channel_data(*number, data)?,
            None => data_indication(Some(peer), Some(data)),
        };
        Some(Datagram { local: client, remote: self.address, data })
    }
}

/// A Data indication, with or without what belongs into it.
pub(super) fn data_indication(peer: Option<SocketAddr>, data: Option<&[u8]>) -> BytesMut {
    let mut message = blank(MessageType::new(METHOD_DATA, CLASS_INDICATION), TransactionId::new());
    if let Some(peer) = peer {
        let peer = XorMappedAddress { ip: peer.ip(), port: peer.port() };
        peer.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS).expect("room");
    }
    if let Some(data) = data {
        message.add(ATTR_DATA, data);
    }
    BytesMut::from(&message.raw[..])
}

fn blank(typ: MessageType, id: TransactionId) -> Message {
    let mut message = Message::new();
    message.typ = typ;
    message.transaction_id = id;
    message.write_header();
    message
}

enum Attribute {
    Relayed(SocketAddr),
    Mapped(SocketAddr),
    Lifetime(Duration),
}

impl Attribute {
    fn add_to(&self, message: &mut Message) {
        let added = match self {
            Self::Relayed(address) => {
                XorMappedAddress { ip: address.ip(), port: address.port() }.add_to_as(message, ATTR_XOR_RELAYED_ADDRESS)
            }
            Self::Mapped(address) => XorMappedAddress { ip: address.ip(), port: address.port() }.add_to(message),
            Self::Lifetime(time) => {
                let seconds = u32::try_from(time.as_secs()).expect("a u32");
                message.add(ATTR_LIFETIME, &seconds.to_be_bytes());
                Ok(())
            }
        };
        added.expect("room");
    }
}
