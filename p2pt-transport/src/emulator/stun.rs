//! A STUN server that tells where a request came from (RFC 8489), and nothing else.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut as _, Bytes, BytesMut};

/// The port of STUN.
pub(super) const PORT: u16 = 3478;

const HEADER_BYTES: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const MAGIC_COOKIE: u32 = 0x2112_A442;

/// The response to a binding request from `source`; `None` to everything else.
pub(super) fn respond(request: &[u8], source: SocketAddr) -> Option<Bytes> {
    let (header, attributes) = request.split_at_checked(HEADER_BYTES)?;
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let length = u16::from_be_bytes([header[2], header[3]]);
    // The cookie and the transaction id are what an address is hidden with.
    let mask = &header[4..];
    let cookie = MAGIC_COOKIE.to_be_bytes();
    if kind != BINDING_REQUEST || usize::from(length) != attributes.len() || !mask.starts_with(&cookie) {
        return None;
    }
    let (family, ip) = match source.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let value_bytes = 4 + ip.len() as u16;
    let mut response = BytesMut::with_capacity(HEADER_BYTES + 4 + usize::from(value_bytes));
    response.put_u16(BINDING_SUCCESS);
    response.put_u16(4 + value_bytes);
    response.put_slice(mask);
    response.put_u16(XOR_MAPPED_ADDRESS);
    response.put_u16(value_bytes);
    response.put_u16(family);
    response.put_u16(source.port() ^ u16::from_be_bytes([cookie[0], cookie[1]]));
    response.extend(ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    Some(response.freeze())
}
