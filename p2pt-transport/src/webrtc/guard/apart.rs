//! Cutting large packets into their chunks, so that none of them keeps the others in memory.

use bytes::{Bytes, BytesMut};

use super::{
    chunks::{CHUNK_HEADER, COMMON_HEADER, be16},
    sack::write_checksum,
};

/// Packets of more bytes are cut. Those of WebRTC stacks are smaller; a DTLS record may have 16 KiB.
const LARGEST_SHARED: usize = 1_500;

/// The chunks of a packet, which the guard lets pass, each in a packet of its own; `None` if it may stay as it is.
///
/// What `rtc-sctp` keeps of a packet is a part of its buffer: a message of one byte that waits for another would keep all
/// that came beside it, where the window counts one byte.
pub(crate) fn apart(packet: &Bytes) -> Option<Vec<Bytes>> {
    if packet.len() <= LARGEST_SHARED {
        return None;
    }
    let mut parts = Vec::new();
    let mut at = COMMON_HEADER;
    while at < packet.len() {
        let length = usize::from(be16(packet, at + 2)?).max(CHUNK_HEADER).next_multiple_of(4);
        let chunk = packet.get(at..at + length)?;
        let mut part = BytesMut::with_capacity(COMMON_HEADER + length);
        part.extend_from_slice(&packet[..COMMON_HEADER]);
        part.extend_from_slice(chunk);
        write_checksum(&mut part);
        parts.push(part.freeze());
        at += length;
    }
    (parts.len() > 1).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::super::harness::*;
    use super::*;

    #[test]
    fn a_byte_that_waits_keeps_nothing_else() {
        for is_cut in [false, true] {
            let mut victim = Victim::new(true);
            let old = data(victim.tsn - 1, STREAM, 0, WHOLE, 15_000);
            let tiny = victim.next(STREAM, 1, 1);
            let whole = victim.packet(&[&tiny, &old]);
            let packets = if is_cut { apart(&whole).unwrap() } else { vec![whole.clone()] };
            assert_eq!(packets.len(), 1 + usize::from(is_cut));
            for packet in packets {
                assert!(victim.stack.receive(victim.now, &packet).is_ok());
            }
            assert_eq!(whole.is_unique(), is_cut, "a part of it is kept");
            let first = victim.next(STREAM, 0, 7);
            let _ = victim.give(&[&first]).unwrap();
            victim.stack.read(STREAM);
            assert_eq!(victim.stack.received.iter().map(Bytes::len).collect::<Vec<_>>(), [7, 1]);
        }
    }

    #[test]
    fn small_packets_and_single_chunks_stay_whole() {
        let mut victim = Victim::new(false);
        let (large, small) = (victim.next(STREAM, 0, 10_000), victim.next(STREAM, 1, 700));
        assert_eq!(apart(&victim.packet(&[&large])), None);
        assert_eq!(apart(&victim.packet(&[&small, &small])), None);
        assert_eq!(apart(&Bytes::from_static(&[0; 2_000])).map(|parts| parts.len()), Some(497));
        assert_eq!(apart(&Bytes::from_static(&[0; 1_999])), None);
    }
}
