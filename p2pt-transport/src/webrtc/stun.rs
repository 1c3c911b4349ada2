//! The few STUN messages that connectivity checks are made of (RFC 8489, RFC 8445 section 7).
//!
//! Messages are written with `rtc-stun`. They are read here, without an allocation, since it may come from unauthenticated senders:
//! nothing that stands behind the integrity attribute is believed, as RFC 8489 section 14.5 demands.

use std::{net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use rtc_crypto::{HmacAlgorithm, RTCCryptoProvider};
use rtc_stun::{
    attributes::{
        ATTR_ERROR_CODE, ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
    },
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{
        BINDING_REQUEST, BINDING_SUCCESS, CLASS_ERROR_RESPONSE, METHOD_BINDING, Message, MessageType, Setter,
        TransactionId,
    },
    textattrs::TextAttribute,
    xoraddr::XorMappedAddress,
};

/// The size of a message without attributes, in bytes.
const HEADER_BYTES: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const CONTROLLED: u16 = 0x8029;
const CONTROLLING: u16 = 0x802A;

/// The error of two agents that both control, or neither (RFC 8445 section 7.3.1.1).
const ROLE_CONFLICT: u16 = 487;

/// Identifies a request and the response to it.
pub(crate) type Transaction = [u8; 12];

/// What authenticates the checks of one side.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The user name fragment, by which requests find their connection.
    pub(crate) ufrag: String,
    /// The key of the integrity of what is sent *to* this side.
    pub(crate) pwd: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Who decides which pair is used, with the number that settles a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IceRole {
    /// This agent decides.
    Controlling(u64),
    /// The other one does.
    Controlled(u64),
}

/// The class of a message whose header is well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A binding request.
    Request,
    /// The response to one: success or error.
    Response,
    /// Anything else, which connectivity checks have no use for.
    Other,
}

/// A message whose header is well-formed and whose integrity has not been checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unverified<'a> {
    bytes: &'a [u8],
}

/// A request that has the right integrity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) transaction: Transaction,
    /// The priority of a peer-reflexive candidate learned from it.
    pub(crate) priority: u32,
    pub(crate) role: Option<IceRole>,
    pub(crate) use_candidate: bool,
}

/// A response that has the right integrity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Response {
    Success,
    RoleConflict,
    /// Another error: the request is as good as lost.
    Error,
}

/// Attributes up to and with the integrity one, each with the offset of its header.
struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (usize, u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let header = self.bytes.get(at..at + 4)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = self.bytes.get(at + 4..at + 4 + length)?;
        self.at = if kind == MESSAGE_INTEGRITY { self.bytes.len() } else { at + 4 + length.next_multiple_of(4) };
        Some((at, kind, value))
    }
}

impl<'a> Unverified<'a> {
    /// `None` if this is no STUN message, or is cut short.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let header = datagram.get(..HEADER_BYTES)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let bytes = datagram.get(..HEADER_BYTES + length)?;
        (header[0] < 4 && header[4..8] == COOKIE && length % 4 == 0).then_some(Self { bytes })
    }

    pub(crate) fn class(&self) -> Class {
        match [self.bytes[0], self.bytes[1]] {
            [0, 1] => Class::Request,
            [1, 1] | [1, 0x11] => Class::Response,
            _ => Class::Other,
        }
    }

    pub(crate) fn transaction(&self) -> Transaction {
        let mut transaction = Transaction::default();
        transaction.copy_from_slice(&self.bytes[8..HEADER_BYTES]);
        transaction
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes { bytes: self.bytes, at: HEADER_BYTES }
    }

    /// For whom a request is: the first half of its user name.
    pub(crate) fn recipient(&self) -> Option<&'a str> {
        let (_, _, username) = self.attributes().find(|(_, kind, _)| *kind == USERNAME)?;
        std::str::from_utf8(username).ok()?.split_once(':').map(|(recipient, _)| recipient)
    }

    /// Whether all that is read from it was written by a holder of `key`.
    fn is_authentic(&self, key: &str, crypto: &dyn RTCCryptoProvider) -> bool {
        let Some((at, _, tag)) = self.attributes().find(|(_, kind, _)| *kind == MESSAGE_INTEGRITY) else {
            return false;
        };
        // The length that was signed ends with the integrity attribute, whatever follows it.
        let Ok(length) = u16::try_from(at + 4 + tag.len() - HEADER_BYTES) else { return false };
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&self.bytes[..HEADER_BYTES]);
        header[2..4].copy_from_slice(&length.to_be_bytes());
        let signed = [&header[..], &self.bytes[HEADER_BYTES..at]];
        crypto
            .crypto()
            .new_hmac(HmacAlgorithm::Sha1, key.as_bytes())
            .and_then(|mut mac| mac.verify(&signed, tag))
            .is_ok()
    }

    /// The request in it, if it is one from `remote` to `local`.
    pub(crate) fn request(
        &self,
        local: &Credentials,
        remote_ufrag: &str,
        crypto: &dyn RTCCryptoProvider,
    ) -> Option<Request> {
        let mut request = Request { transaction: self.transaction(), priority: 0, role: None, use_candidate: false };
        let mut is_ours = false;
        for (_, kind, value) in self.attributes() {
            match kind {
                USERNAME => {
                    let halves = std::str::from_utf8(value).ok().and_then(|name| name.split_once(':'));
                    is_ours = halves == Some((local.ufrag.as_str(), remote_ufrag));
                }
                PRIORITY => request.priority = u32::from_be_bytes(value.try_into().ok()?),
                USE_CANDIDATE => request.use_candidate = true,
                CONTROLLING => request.role = Some(IceRole::Controlling(u64::from_be_bytes(value.try_into().ok()?))),
                CONTROLLED => request.role = Some(IceRole::Controlled(u64::from_be_bytes(value.try_into().ok()?))),
                _ => {}
            }
        }
        (self.class() == Class::Request && is_ours && self.is_authentic(&local.pwd, crypto)).then_some(request)
    }

    /// The response in it, if it is one to a request that was made with `remote`'s credentials.
    pub(crate) fn response(&self, remote: &Credentials, crypto: &dyn RTCCryptoProvider) -> Option<Response> {
        if self.class() != Class::Response || !self.is_authentic(&remote.pwd, crypto) {
            return None;
        }
        if self.bytes[1] == 1 {
            return Some(Response::Success);
        }
        let error = self.attributes().find(|(_, kind, _)| *kind == ERROR_CODE);
        let code = error.and_then(|(_, _, value)| Some(u16::from(value.get(2)? & 7) * 100 + u16::from(*value.get(3)?)));
        Some(if code == Some(ROLE_CONFLICT) { Response::RoleConflict } else { Response::Error })
    }
}

/// An attribute of raw bytes.
struct Raw<'a>(rtc_stun::attributes::AttrType, &'a [u8]);

impl Setter for Raw<'_> {
    fn add_to(&self, message: &mut Message) -> rtc_shared::error::Result<()> {
        message.add(self.0, self.1);
        Ok(())
    }
}

/// Writes messages.
#[derive(Clone)]
pub(crate) struct Writer {
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl Writer {
    pub(crate) fn new(crypto: Arc<dyn RTCCryptoProvider>) -> Self {
        Self { crypto }
    }

    fn write(
        &self,
        kind: MessageType,
        transaction: Transaction,
        key: &str,
        body: Vec<Box<dyn Setter + '_>>,
    ) -> BytesMut {
        let mut setters: Vec<Box<dyn Setter + '_>> = vec![Box::new(kind), Box::new(TransactionId(transaction))];
        setters.extend(body);
        setters.push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
            key.to_owned(),
            self.crypto.crypto(),
        )));
        setters.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        // It fails for values that are too long, of which there are none: credentials are bounded when they are read.
        if let Err(error) = message.build(&setters) {
            tracing::error!(%error, "a STUN message could not be written");
        }
        BytesMut::from(&message.raw[..])
    }

    /// A connectivity check.
    pub(crate) fn request(
        &self,
        transaction: Transaction,
        local_ufrag: &str,
        remote: &Credentials,
        (role, priority, use_candidate): (IceRole, u32, bool),
    ) -> BytesMut {
        let username = TextAttribute::new(ATTR_USERNAME, format!("{}:{local_ufrag}", remote.ufrag));
        let (role, number) = match role {
            IceRole::Controlling(number) => (ATTR_ICE_CONTROLLING, number.to_be_bytes()),
            IceRole::Controlled(number) => (ATTR_ICE_CONTROLLED, number.to_be_bytes()),
        };
        let priority = priority.to_be_bytes();
        let mut body: Vec<Box<dyn Setter + '_>> =
            vec![Box::new(username), Box::new(Raw(role, &number)), Box::new(Raw(ATTR_PRIORITY, &priority))];
        if use_candidate {
            body.push(Box::new(Raw(ATTR_USE_CANDIDATE, &[])));
        }
        self.write(BINDING_REQUEST, transaction, &remote.pwd, body)
    }

    /// The response to a request that came from `source`.
    pub(crate) fn success(&self, transaction: Transaction, local: &Credentials, source: SocketAddr) -> BytesMut {
        let mapped = XorMappedAddress { ip: source.ip(), port: source.port() };
        self.write(BINDING_SUCCESS, transaction, &local.pwd, vec![Box::new(mapped)])
    }

    /// The response to a request whose author has the same role and shall change it.
    pub(crate) fn role_conflict(&self, transaction: Transaction, local: &Credentials) -> BytesMut {
        let code = [0, 0, (ROLE_CONFLICT / 100) as u8, (ROLE_CONFLICT % 100) as u8];
        let kind = MessageType::new(METHOD_BINDING, CLASS_ERROR_RESPONSE);
        self.write(kind, transaction, &local.pwd, vec![Box::new(Raw(ATTR_ERROR_CODE, &code))])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crypto() -> Arc<dyn RTCCryptoProvider> {
        rtc_crypto::default_provider().expect("a provider is built in")
    }

    fn side(name: &str) -> Credentials {
        Credentials { ufrag: name.to_owned(), pwd: name.repeat(8) }
    }

    const ID: Transaction = *b"twelve bytes";

    fn check(use_candidate: bool) -> BytesMut {
        Writer::new(crypto()).request(ID, "ours", &side("theirs"), (IceRole::Controlling(7), 99, use_candidate))
    }

    #[test]
    fn what_is_written_is_read() {
        for use_candidate in [false, true] {
            let bytes = check(use_candidate);
            let message = Unverified::parse(&bytes).expect("well-formed");
            assert_eq!((message.class(), message.recipient()), (Class::Request, Some("theirs")));
            let request = message.request(&side("theirs"), "ours", &*crypto());
            let role = Some(IceRole::Controlling(7));
            assert_eq!(request, Some(Request { transaction: ID, priority: 99, role, use_candidate }));
            assert_eq!(message.request(&side("theirs"), "others", &*crypto()), None);
            assert_eq!(message.request(&side("others"), "ours", &*crypto()), None);
        }
        let writer = Writer::new(crypto());
        let at = SocketAddr::from(([192, 0, 2, 1], 9));
        for (bytes, response) in [
            (writer.success(ID, &side("theirs"), at), Response::Success),
            (writer.role_conflict(ID, &side("theirs")), Response::RoleConflict),
        ] {
            let message = Unverified::parse(&bytes).expect("well-formed");
            assert_eq!((message.class(), message.transaction()), (Class::Response, ID));
            assert_eq!(message.response(&side("theirs"), &*crypto()), Some(response));
            assert_eq!(message.response(&side("ours"), &*crypto()), None);
        }
    }

    /// An attacker who sees a check on its way must not be able to make a nomination of it.
    #[test]
    fn what_stands_behind_the_integrity_is_not_believed() {
        let mut bytes = check(false);
        bytes.extend_from_slice(&[0, 0x25, 0, 0]);
        let length = u16::from_be_bytes([bytes[2], bytes[3]]) + 4;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let message = Unverified::parse(&bytes).expect("well-formed");
        let request = message.request(&side("theirs"), "ours", &*crypto()).expect("its own part is authentic");
        assert!(!request.use_candidate);
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_noticed(at in 0usize..2000) {
            let mut bytes = check(true);
            // All but the fingerprint at the end, which the integrity does not cover.
            let at = at % ((bytes.len() - 8) * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            let read = Unverified::parse(&bytes).and_then(|m| m.request(&side("theirs"), "ours", &*crypto()));
            // The length may take in more or less of what is not signed.
            prop_assert!(read.is_none() || at / 8 == 3, "{at}");
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..200), valid in any::<bool>()) {
            if valid && bytes.len() >= HEADER_BYTES {
                bytes[0] &= 1;
                bytes[4..8].copy_from_slice(&COOKIE);
                let length = ((bytes.len() - HEADER_BYTES) & !3) as u16;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
            }
            if let Some(message) = Unverified::parse(&bytes) {
                let _ = (message.class(), message.transaction(), message.recipient());
                prop_assert_eq!(message.request(&side("theirs"), "ours", &*crypto()), None);
                prop_assert_eq!(message.response(&side("theirs"), &*crypto()), None);
            }
        }
    }
}
