//! Cutting packets before what ends a stream or the association, so that what they acknowledge is noted first.

use bytes::{Bytes, BytesMut};

use super::{
    chunks::{ABORT, CHUNK_HEADER, COMMON_HEADER, RE_CONFIG, be16},
    sack::write_checksum,
};

/// The packet in two, if it has a chunk that ends a stream or the association: what stands before that chunk, if
/// anything, and the rest.
pub(crate) fn split_before_end(packet: &Bytes) -> Option<(Option<Bytes>, Bytes)> {
    let mut at = COMMON_HEADER;
    while !matches!(packet.get(at)?, &(ABORT | RE_CONFIG)) {
        // A length of less than the header's would never end.
        at += usize::from(be16(packet, at + 2)?).max(CHUNK_HEADER).next_multiple_of(4);
    }
    if at == COMMON_HEADER {
        return Some((None, packet.clone()));
    }
    let mut before = BytesMut::from(&packet[..at]);
    write_checksum(&mut before);
    let mut rest = BytesMut::with_capacity(COMMON_HEADER + packet.len() - at);
    rest.extend_from_slice(&packet[..COMMON_HEADER]);
    rest.extend_from_slice(&packet[at..]);
    write_checksum(&mut rest);
    Some((Some(before.freeze()), rest.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of chunks of a kind and a number of bytes each.
    fn packet(chunks: &[(u8, u16)]) -> Bytes {
        let mut packet = BytesMut::zeroed(COMMON_HEADER);
        for (kind, length) in chunks {
            packet.extend_from_slice(&[*kind, 0]);
            packet.extend_from_slice(&length.to_be_bytes());
            packet.resize(packet.len() + usize::from(length - 4).next_multiple_of(4), *kind);
        }
        write_checksum(&mut packet);
        packet.freeze()
    }

    #[test]
    fn what_ends_a_channel_comes_after_what_stands_before_it() {
        assert_eq!(split_before_end(&packet(&[(3, 16), (0, 23)])), None);
        let ends = packet(&[(ABORT, 8)]);
        assert_eq!(split_before_end(&ends), Some((None, ends.clone())));
        let both = packet(&[(3, 16), (0, 23), (RE_CONFIG, 20), (0, 17)]);
        let parts = (Some(packet(&[(3, 16), (0, 23)])), packet(&[(RE_CONFIG, 20), (0, 17)]));
        assert_eq!(split_before_end(&both), Some(parts));
    }

    #[test]
    fn lengths_that_lead_nowhere_end_the_search() {
        let mut bytes = packet(&[(3, 16), (0, 16)]).to_vec();
        bytes[COMMON_HEADER + 2..COMMON_HEADER + 4].copy_from_slice(&[0, 0]);
        assert_eq!(split_before_end(&Bytes::from(bytes)), None);
        assert_eq!(split_before_end(&Bytes::from_static(&[0; 3])), None);
    }
}
