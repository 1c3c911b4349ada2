//! What is written to TURN servers and read from them (RFC 8656), over the message codec of `rtc-stun`.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, BytesMut};
use rtc_crypto::RTCCrypto;
use rtc_stun::{
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME,
        ATTR_XOR_PEER_ADDRESS, AttrType,
    },
    error_code::ErrorCodeAttribute,
    integrity::MessageIntegrity,
    message::{
        CLASS_INDICATION, CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND,
        METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method, Setter,
        TransactionId,
    },
    textattrs::TextAttribute,
    xoraddr::XorMappedAddress,
};

use super::RelayServer;

/// UDP, as REQUESTED-TRANSPORT names it, and three reserved bytes (RFC 8656 section 18.7).
const UDP: [u8; 4] = [17, 0, 0, 0];

/// The bytes before the data of a ChannelData message.
const CHANNEL_HEADER_BYTES: usize = 4;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To have a relayed address.
    Allocate,
    /// To keep it.
    Refresh,
    /// To give it back.
    Release,
    /// To exchange datagrams with a peer's host; the port counts for nothing.
    Permit(SocketAddr),
    /// To exchange them in the short form of a channel with this number.
    Bind(SocketAddr, u16),
}

impl Purpose {
    fn method(self) -> Method {
        match self {
            Self::Allocate => METHOD_ALLOCATE,
            Self::Refresh | Self::Release => METHOD_REFRESH,
            Self::Permit(_) => METHOD_CREATE_PERMISSION,
            Self::Bind(..) => METHOD_CHANNEL_BIND,
        }
    }
}

/// What a server's challenge contained, and the key that answers it.
#[derive(Clone)]
pub(super) struct Authentication {
    username: String,
    realm: String,
    nonce: String,
    key: Vec<u8>,
}

impl Authentication {
    /// Answers the challenge in `response`, if it is one.
    pub(super) fn answer(response: &Message, server: &RelayServer, crypto: &dyn RTCCrypto) -> Option<Self> {
        let realm = text(response, ATTR_REALM)?;
        let nonce = text(response, ATTR_NONCE)?;
        let (username, password) = (server.username.clone(), server.credential.clone());
        let key = MessageIntegrity::long_term_integrity_key(username.clone(), realm.clone(), password, crypto).ok()?;
        Some(Self { username, realm, nonce, key })
    }

    /// Takes the new nonce of `response`, if it has one.
    pub(super) fn renew(&mut self, response: &Message) -> bool {
        text(response, ATTR_NONCE).map(|nonce| self.nonce = nonce).is_some()
    }

    /// Whether `response` comes from a server that knows the credential.
    pub(super) fn verify(&self, response: &mut Message, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(response, &self.key, crypto).is_ok()
    }
}

fn text(message: &Message, attribute: AttrType) -> Option<String> {
    Some(TextAttribute::get_from_as(message, attribute).ok()?.text)
}

fn message(method: Method, request: bool) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, if request { CLASS_REQUEST } else { CLASS_INDICATION });
    message.transaction_id = TransactionId::new();
    message.write_header();
    message
}

fn add_peer(message: &mut Message, peer: SocketAddr) -> Option<()> {
    XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(message, ATTR_XOR_PEER_ADDRESS).ok()
}

/// A request; none when the credential or what the server sent is longer than STUN allows.
pub(super) fn request(purpose: Purpose, auth: Option<&Authentication>, crypto: &dyn RTCCrypto) -> Option<Message> {
    let mut message = message(purpose.method(), true);
    match purpose {
        Purpose::Allocate => message.add(ATTR_REQUESTED_TRANSPORT, &UDP),
        Purpose::Refresh => {}
        Purpose::Release => message.add(ATTR_LIFETIME, &0_u32.to_be_bytes()),
        Purpose::Permit(peer) => add_peer(&mut message, peer)?,
        Purpose::Bind(peer, number) => {
            message.add(ATTR_CHANNEL_NUMBER, &(u32::from(number) << 16).to_be_bytes());
            add_peer(&mut message, peer)?;
        }
    }
    if let Some(auth) = auth {
        for (attribute, text) in [(ATTR_USERNAME, &auth.username), (ATTR_REALM, &auth.realm), (ATTR_NONCE, &auth.nonce)]
        {
            TextAttribute::new(attribute, text.clone()).add_to(&mut message).ok()?;
        }
        MessageIntegrity::new_raw_integrity_with_provider(auth.key.clone(), crypto).add_to(&mut message).ok()?;
    }
    Some(message)
}

/// A datagram that keeps a NAT's binding alive; no server answers it.
pub(super) fn keep_alive() -> BytesMut {
    BytesMut::from(&message(METHOD_BINDING, false).raw[..])
}

/// `data` for a peer without a channel: 36 bytes more, 48 for IPv6, and up to 3 of padding.
pub(super) fn send_indication(peer: SocketAddr, data: &[u8]) -> Option<BytesMut> {
    let mut message = message(METHOD_SEND, false);
    add_peer(&mut message, peer)?;
    message.add(ATTR_DATA, data);
    Some(BytesMut::from(&message.raw[..]))
}

/// `data` for the peer of a channel: 4 bytes more. Over UDP it needs no padding (RFC 8656 section 12.5).
pub(super) fn channel_data(number: u16, data: &[u8]) -> Option<BytesMut> {
    let mut message = BytesMut::with_capacity(CHANNEL_HEADER_BYTES + data.len());
    message.put_u16(number);
    message.put_u16(u16::try_from(data.len()).ok()?);
    message.put_slice(data);
    Some(message)
}

/// Whether this is a ChannelData message, by its first byte (RFC 8656 section 12).
pub(super) fn is_channel_data(data: &[u8]) -> bool {
    data.first().is_some_and(|first| (0x40..=0x4f).contains(first))
}

/// The number and the data of a ChannelData message.
pub(super) fn read_channel_data(mut data: BytesMut) -> Option<(u16, BytesMut)> {
    if data.len() <= CHANNEL_HEADER_BYTES {
        return None;
    }
    let (number, length) = (data.get_u16(), usize::from(data.get_u16()));
    (0 < length && length <= data.len()).then(|| (number, data.split_to(length)))
}

/// Whether this is the type of a Data indication.
pub(super) fn is_data_indication(data: &[u8]) -> bool {
    data.starts_with(&MessageType::new(METHOD_DATA, CLASS_INDICATION).value().to_be_bytes())
}

/// The peer and the data of a Data indication.
pub(super) fn read_data_indication(data: &[u8]) -> Option<(SocketAddr, BytesMut)> {
    let mut message = Message::new();
    message.unmarshal_binary(data).ok()?;
    let peer = address(&message, ATTR_XOR_PEER_ADDRESS)?;
    let data = message.get(ATTR_DATA).ok().filter(|data| !data.is_empty())?;
    Some((peer, BytesMut::from(&data[..])))
}

/// An address that a server reported.
pub(super) fn address(message: &Message, attribute: AttrType) -> Option<SocketAddr> {
    let mut address = XorMappedAddress::default();
    address.get_from_as(message, attribute).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}

/// The lifetime that a server reported, in seconds.
pub(super) fn lifetime_seconds(message: &Message) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(ATTR_LIFETIME).ok()?.try_into().ok()?))
}

/// The code of an error response; 500 when it says none.
pub(super) fn error_code(message: &Message) -> u16 {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(message).map_or(500, |()| error.code.0)
}
