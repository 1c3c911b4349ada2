//! A few words of SCTP packets that are read and rewritten beside the stack.

use bytes::{Bytes, BytesMut};

/// The common header (RFC 9260 section 3.1), in bytes.
const HEADER: usize = 12;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const ABORT: u8 = 6;
const RE_CONFIG: u8 = 130;

/// Chunks of a well-formed packet: the offset and kind of each.
fn chunks(packet: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let header = packet.get(at..at + 4)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let here = at;
        // A length of less than its own header would never end.
        at += length.max(4).next_multiple_of(4);
        Some((here, header[0]))
    })
}

/// Whether a packet wishes for an association. Such a chunk stands alone (RFC 9260 section 6.10).
pub(crate) fn is_init(packet: &[u8]) -> bool {
    packet.get(HEADER) == Some(&INIT)
}

/// Whether a packet answers such a wish.
pub(crate) fn is_init_ack(packet: &[u8]) -> bool {
    packet.get(HEADER) == Some(&INIT_ACK)
}

/// The receive window that a packet announces, if it begins with a SACK.
pub(crate) fn window(packet: &[u8]) -> Option<u32> {
    (packet.get(HEADER) == Some(&SACK)).then_some(())?;
    Some(u32::from_be_bytes(packet.get(HEADER + 8..HEADER + 12)?.try_into().ok()?))
}

/// The packet, which begins with a SACK, with another receive window.
pub(crate) fn with_window(packet: &[u8], window: u32) -> BytesMut {
    let mut packet = BytesMut::from(packet);
    packet[HEADER + 8..HEADER + 12].copy_from_slice(&window.to_be_bytes());
    sum(&mut packet);
    packet
}

fn sum(packet: &mut [u8]) {
    packet[8..HEADER].fill(0);
    let sum = crc32c::crc32c(packet);
    packet[8..HEADER].copy_from_slice(&sum.to_le_bytes());
}

/// The packet in two, if it ends a stream or the association: what stands before that chunk, and the rest.
pub(crate) fn split_before_end(packet: &Bytes) -> Option<(Option<Bytes>, Bytes)> {
    let (at, _) = chunks(packet).find(|(_, kind)| matches!(*kind, ABORT | RE_CONFIG))?;
    if at == HEADER {
        return Some((None, packet.clone()));
    }
    let mut before = BytesMut::from(&packet[..at]);
    sum(&mut before);
    let mut rest = BytesMut::with_capacity(HEADER + packet.len() - at);
    rest.extend_from_slice(&packet[..HEADER]);
    rest.extend_from_slice(&packet[at..]);
    sum(&mut rest);
    Some((Some(before.freeze()), rest.freeze()))
}
