//! What tests and fuzz targets look at, and do in place of the other side.

use std::time::Instant;

use bytes::BytesMut;

use super::Session;
use crate::webrtc::guard;

impl Session {
    /// The receive window last announced.
    pub(crate) fn reported_window(&self) -> u32 {
        self.reported_window
    }

    /// The header of the packets it sends, and the last TSN it has received, once it has acknowledged one.
    pub(crate) fn acknowledged(&self) -> Option<([u8; 12], u32)> {
        let last = self.last_sack.as_ref()?;
        let header = last.get(..12)?.try_into().ok()?;
        Some((header, u32::from_be_bytes(last.get(16..20)?.try_into().ok()?)))
    }

    /// Sends a packet past the SCTP stack: its chunks behind the header that the other side expects.
    pub(crate) fn forge(&mut self, now: Instant, header: [u8; 12], chunks: &[u8]) {
        let mut packet = BytesMut::from(&header[..]);
        packet.extend_from_slice(chunks);
        self.send_packet(now, guard::with_checksum(packet).freeze(), u32::MAX);
    }

    /// Bytes of what it holds outside the stacks: rescued frames, and records and events that wait.
    pub(crate) fn held(&self) -> usize {
        self.rescued_bytes
            + self.records.iter().map(BytesMut::len).sum::<usize>()
            + self.events.len() * size_of::<super::SessionEvent>()
    }
}
