//! Rewriting the acknowledgements (SACK) that `rtc-sctp` sends.
//!
//! `rtc-sctp` 0.21.1 writes every SACK into a packet of its own (`Association::marshal_control_chunk`), so a packet that
//! does not begin with a SACK holds none. Both that stack and browsers drop a packet whose checksum is wrong or zero, so
//! it is made anew.

use bytes::BytesMut;

use super::chunks::{COMMON_HEADER, SACK, SACK_FIXED, be16, be32};

/// Gap blocks a SACK keeps. With the headers these are 1,052 bytes: a SACK then fits in a datagram on every path that
/// carries the stack's DATA packets of 1,191 bytes.
const KEPT_BLOCKS: usize = 256;

/// The largest packet that the stack writes, in bytes.
const LARGEST_PACKET: usize = 1_191;

/// Where the advertised window of a SACK stands in a packet that begins with it.
const WINDOW_AT: usize = COMMON_HEADER + 8;

/// The receiver window, in bytes, that `packet` advertises; `None` if its first chunk is no SACK.
pub(crate) fn sack_window(packet: &[u8]) -> Option<u32> {
    is_sack(packet).then(|| be32(packet, WINDOW_AT)).flatten()
}

/// `packet`, which begins with a SACK, with an advertised receiver window of `window` bytes.
///
/// A packet that begins with another chunk is returned as it is.
pub(crate) fn with_window(packet: &[u8], window: u32) -> BytesMut {
    let mut packet = BytesMut::from(packet);
    if is_sack(&packet) {
        packet[WINDOW_AT..WINDOW_AT + 4].copy_from_slice(&window.to_be_bytes());
        write_checksum(&mut packet);
    }
    packet
}

/// The SACK in `packet` with fewer gap blocks, if it has more than fit in a datagram; `None` if it may be sent as it is.
///
/// `rtc-sctp` lists every gap, however many a peer has made. Blocks are a hint that may be left out (RFC 9260 §6.2.1):
/// the first ones, next to the cumulative acknowledgement, stay. Blocks that are out of order go too, which the stack
/// writes when TSNs pass 2³² behind a lost packet, and for which a peer would end the association.
pub(crate) fn fitted(packet: &[u8]) -> Option<BytesMut> {
    if !is_sack(packet) {
        return None;
    }
    let blocks = usize::from(be16(packet, COMMON_HEADER + 12)?);
    let first = COMMON_HEADER + SACK_FIXED;
    let mut kept = 0;
    let mut after = 0;
    while kept < blocks.min(KEPT_BLOCKS) {
        let at = first + 4 * kept;
        let (start, end) = (be16(packet, at)?, be16(packet, at + 2)?);
        if start <= after || end < start {
            break;
        }
        (after, kept) = (end, kept + 1);
    }
    if kept == blocks {
        return None;
    }
    let end = first + 4 * kept;
    let mut fitted = BytesMut::from(packet.get(..end)?);
    // Both numbers are bounded by KEPT_BLOCKS. Duplicates, which `rtc-sctp` never lists, would follow the blocks.
    fitted[COMMON_HEADER + 2..COMMON_HEADER + 4].copy_from_slice(&((SACK_FIXED + 4 * kept) as u16).to_be_bytes());
    fitted[COMMON_HEADER + 12..COMMON_HEADER + 14].copy_from_slice(&(kept as u16).to_be_bytes());
    fitted[COMMON_HEADER + 14..COMMON_HEADER + 16].fill(0);
    write_checksum(&mut fitted);
    Some(fitted)
}

/// Whether a packet that begins with a SACK says that something is missing.
pub(crate) fn has_gaps(packet: &[u8]) -> bool {
    be16(packet, COMMON_HEADER + 12) != Some(0)
}

/// The packet `data` with the SACK of another packet before its own chunks, if that fits on every path that carries the
/// stack's packets.
pub(crate) fn bundled(sack: &[u8], data: &[u8]) -> Option<BytesMut> {
    let (sack, chunks) = (sack.get(COMMON_HEADER..)?, data.get(COMMON_HEADER..)?);
    if data.len() + sack.len() > LARGEST_PACKET {
        return None;
    }
    let mut bundled = BytesMut::with_capacity(data.len() + sack.len());
    bundled.extend_from_slice(&data[..COMMON_HEADER]);
    bundled.extend_from_slice(sack);
    bundled.extend_from_slice(chunks);
    write_checksum(&mut bundled);
    Some(bundled)
}

fn is_sack(packet: &[u8]) -> bool {
    packet.len() >= COMMON_HEADER + SACK_FIXED && packet[COMMON_HEADER] == SACK
}

/// Writes the CRC32c of an SCTP packet, whose header is complete, into it (RFC 9260 §6.8: little-endian).
/// The packet with the right checksum.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn with_checksum(mut packet: BytesMut) -> BytesMut {
    write_checksum(&mut packet);
    packet
}

pub(super) fn write_checksum(packet: &mut [u8]) {
    packet[8..COMMON_HEADER].fill(0);
    let checksum = crc32c::crc32c(packet);
    packet[8..COMMON_HEADER].copy_from_slice(&checksum.to_le_bytes());
}
