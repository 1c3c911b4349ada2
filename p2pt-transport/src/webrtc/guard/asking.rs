//! Asking the other side to acknowledge at once (RFC 7053), which `rtc-sctp` 0.21.1 does as a receiver and never asks for.

use bytes::BytesMut;

use super::{
    chunks::{CHUNK_HEADER, COMMON_HEADER, DATA, be16},
    sack::write_checksum,
};

/// The I bit of a DATA chunk: its acknowledgement shall not be delayed.
const IMMEDIATELY: u8 = 0x08;

/// Whether a packet that `rtc-sctp` has written carries DATA, which it writes into packets of their own.
pub(crate) fn carries_data(packet: &[u8]) -> bool {
    packet.get(COMMON_HEADER) == Some(&DATA)
}

/// `packet` with the I bit in each of its DATA chunks.
pub(crate) fn asking_for_acknowledgement(packet: &[u8]) -> BytesMut {
    let mut asking = BytesMut::from(packet);
    for at in data_chunks(packet) {
        asking[at + 1] |= IMMEDIATELY;
    }
    write_checksum(&mut asking);
    asking
}

/// Whether a packet has DATA with the I bit.
pub(crate) fn asks_for_acknowledgement(packet: &[u8]) -> bool {
    data_chunks(packet).any(|at| packet[at + 1] & IMMEDIATELY != 0)
}

/// Where the DATA chunks of a packet begin.
fn data_chunks(packet: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = COMMON_HEADER;
    let chunks = std::iter::from_fn(move || {
        let length = be16(packet, next + 2)?;
        let at = next;
        next += usize::from(length).max(CHUNK_HEADER).next_multiple_of(4);
        Some(at)
    });
    chunks.filter(|at| packet[*at] == DATA)
}

#[cfg(test)]
mod tests {
    use super::super::harness::*;
    use super::*;

    #[test]
    fn each_chunk_of_data_asks_and_the_packet_stays_good() {
        let mut victim = Victim::new(false);
        let (first, second) = (victim.next(STREAM, 0, 5), victim.next(STREAM, 1, 700));
        let packet = victim.packet(&[&first, &second]);
        assert!(carries_data(&packet));
        let asking = asking_for_acknowledgement(&packet).freeze();
        let flags = [COMMON_HEADER + 1, COMMON_HEADER + first.len().next_multiple_of(4) + 1].map(|at| asking[at]);
        assert_eq!(flags, [3 | IMMEDIATELY; 2]);
        assert!(asks_for_acknowledgement(&asking) && !asks_for_acknowledgement(&packet));
        // The stack drops what has a wrong checksum.
        assert!(victim.stack.receive(victim.now, &asking).is_ok());
        victim.stack.read(STREAM);
        assert_eq!(victim.stack.received.iter().map(bytes::Bytes::len).collect::<Vec<_>>(), [5, 700]);
    }
}
