//! SCTP chunks as `rtc-sctp` 0.21.1 reads them.
//!
//! That stack moves on by the length of what it understood of a chunk (`packet.rs`, `PartialDecode::finish`), not by the
//! length the chunk declares: a COOKIE-ACK that declares 64 bytes hides up to 60 bytes of chunks in it. So every reader
//! here accepts only chunks of which both lengths are equal; of others nothing reaches the stack.

/// The header common to all SCTP packets, in bytes (RFC 9260 §3).
pub(super) const COMMON_HEADER: usize = 12;

/// A chunk's header, in bytes; the shortest chunk.
pub(super) const CHUNK_HEADER: usize = 4;

/// A DATA chunk before its payload, in bytes (RFC 9260 §3.3.1).
pub(super) const DATA_FIXED: usize = 16;

/// A SACK chunk before its gap blocks, in bytes (RFC 9260 §3.3.4).
pub(super) const SACK_FIXED: usize = 16;

/// An INIT or INIT-ACK chunk before its parameters, in bytes (RFC 9260 §3.3.2).
pub(super) const INIT_FIXED: usize = 20;

/// An Outgoing SSN Reset Request before its stream numbers, in bytes (RFC 6525 §4.1).
const RESET_FIXED: usize = 16;

/// Any Re-configuration Response this stack can read, in bytes (RFC 6525 §4.4, without the optional TSNs, of which the
/// stack takes the length for 0).
const RESET_RESPONSE: usize = 12;

pub(super) const DATA: u8 = 0;
pub(super) const INIT: u8 = 1;
pub(super) const INIT_ACK: u8 = 2;
pub(super) const SACK: u8 = 3;
pub(super) const HEARTBEAT: u8 = 4;
pub(super) const ABORT: u8 = 6;
pub(super) const SHUTDOWN: u8 = 7;
pub(super) const SHUTDOWN_ACK: u8 = 8;
pub(super) const COOKIE_ECHO: u8 = 10;
pub(super) const COOKIE_ACK: u8 = 11;
pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
pub(super) const RE_CONFIG: u8 = 130;
pub(super) const FORWARD_TSN: u8 = 192;
pub(super) const I_FORWARD_TSN: u8 = 194;

const PARAM_HEARTBEAT: u16 = 1;
const PARAM_RESET_REQUEST: u16 = 13;
const PARAM_RESET_RESPONSE: u16 = 16;
const PARAM_HMAC_ALGORITHMS: u16 = 0x8004;
const PARAM_FORWARD_TSN: u16 = 0xC000;

/// A Re-configuration Response with this result is followed by another (RFC 6525 §4.4: in progress).
const IN_PROGRESS: u32 = 6;

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What an INIT or INIT-ACK says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Init {
    pub(super) tag: u32,
    pub(super) initial_tsn: u32,
    /// Whether the stack can begin an association with it: neither its tag nor its numbers of streams are 0, and its
    /// window is at least 1,500 bytes (RFC 9260 §3.3.2).
    pub(super) usable: bool,
}

/// Reads an INIT or INIT-ACK chunk.
pub(super) fn init(chunk: &[u8]) -> Option<Init> {
    if chunk.len() < INIT_FIXED || chunk[1] != 0 {
        return None;
    }
    let mut at = INIT_FIXED;
    while at < chunk.len() {
        let (kind, length) = parameter(chunk, at)?;
        let fits = match kind {
            // The stack looks at no parameter in the last four bytes, and takes them for another chunk.
            _ if chunk.len() - at <= 4 => false,
            PARAM_FORWARD_TSN => length == 4,
            PARAM_HMAC_ALGORITHMS => length % 2 == 0,
            PARAM_RESET_RESPONSE => length == RESET_RESPONSE,
            _ => true,
        };
        if !fits {
            return None;
        }
        at += length.next_multiple_of(4);
    }
    let (tag, window) = (be32(chunk, 4)?, be32(chunk, 8)?);
    let (outbound, inbound) = (be16(chunk, 12)?, be16(chunk, 14)?);
    Some(Init {
        tag,
        initial_tsn: be32(chunk, 16)?,
        usable: tag != 0 && outbound != 0 && inbound != 0 && window >= 1500,
    })
}

/// Whether a HEARTBEAT chunk holds one Heartbeat Info parameter and nothing else.
pub(super) fn is_heartbeat(chunk: &[u8]) -> bool {
    parameter(chunk, CHUNK_HEADER).is_some_and(|(kind, length)| {
        kind == PARAM_HEARTBEAT && (CHUNK_HEADER + length).next_multiple_of(4) == chunk.len().next_multiple_of(4)
    })
}

/// Whether the error causes of an ABORT chunk lie within it.
///
/// The stack panics on a cause that declares more bytes than there are (`chunk/mod.rs`, `ErrorCause::unmarshal` slices
/// without a look at the length).
pub(super) fn is_abort(chunk: &[u8]) -> bool {
    let mut at = CHUNK_HEADER;
    while at + 4 <= chunk.len() {
        let Some((_, length)) = parameter(chunk, at) else { return false };
        at += length;
    }
    at.next_multiple_of(4) == chunk.len().next_multiple_of(4)
}

/// One parameter of a RE-CONFIG chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// A request to reset `streams` streams.
    Request { sequence: u32, streams: usize },
    /// The answer to a request; `done` unless another answer follows.
    Response { sequence: u32, done: bool },
}

/// Reads a RE-CONFIG chunk: one or two parameters that the stack understands.
pub(super) fn re_config(chunk: &[u8]) -> Option<[Option<Reset>; 2]> {
    let (first, length) = reset(chunk, CHUNK_HEADER)?;
    let at = CHUNK_HEADER + length.next_multiple_of(4);
    if at >= chunk.len() {
        return Some([Some(first), None]);
    }
    let (second, length) = reset(chunk, at)?;
    ((at + length).next_multiple_of(4) == chunk.len().next_multiple_of(4)).then_some([Some(first), Some(second)])
}

fn reset(chunk: &[u8], at: usize) -> Option<(Reset, usize)> {
    let (kind, length) = parameter(chunk, at)?;
    let reset = match kind {
        PARAM_RESET_REQUEST if length >= RESET_FIXED && length.is_multiple_of(2) => {
            Reset::Request { sequence: be32(chunk, at + 4)?, streams: (length - RESET_FIXED) / 2 }
        }
        PARAM_RESET_RESPONSE if length == RESET_RESPONSE => {
            Reset::Response { sequence: be32(chunk, at + 4)?, done: be32(chunk, at + 8)? != IN_PROGRESS }
        }
        _ => return None,
    };
    Some((reset, length))
}

/// The type and the length of the parameter (or error cause) at `at`, which lies within `chunk`.
fn parameter(chunk: &[u8], at: usize) -> Option<(u16, usize)> {
    let (kind, length) = (be16(chunk, at)?, usize::from(be16(chunk, at + 2)?));
    (length >= 4 && at + length <= chunk.len()).then_some((kind, length))
}

/// How many TSNs the gap blocks of a SACK acknowledge, counting those that several blocks name as often; `None` if the
/// chunk is longer or shorter than its numbers of blocks and duplicates say.
pub(super) fn gap_tsns(chunk: &[u8]) -> Option<u64> {
    let (blocks, duplicates) = (usize::from(be16(chunk, 12)?), usize::from(be16(chunk, 14)?));
    if chunk.len() != SACK_FIXED + 4 * (blocks + duplicates) {
        return None;
    }
    let blocks = chunk[SACK_FIXED..].chunks_exact(4).take(blocks);
    Some(
        blocks
            .map(|block| {
                let (start, end) = (u16::from_be_bytes([block[0], block[1]]), u16::from_be_bytes([block[2], block[3]]));
                if start <= end { u64::from(end - start) + 1 } else { 0 }
            })
            .sum(),
    )
}
