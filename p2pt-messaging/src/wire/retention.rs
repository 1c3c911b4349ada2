//! Packets that were sent and are not acknowledged yet.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{SessionError, packet::Part};

/// What a packet counts beyond its bytes, and what each part that is noted of it counts: about the memory that it takes.
const PACKET_CHARGE: usize = 128;
const PART_CHARGE: usize = 64;

/// The sequenced part of a packet.
#[derive(Debug)]
struct Retained {
    packet: Bytes,
    parts: usize,
}

/// The packets of one direction that may have to be sent again, as they are.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// The number of the first of them.
    first: u64,
    packets: VecDeque<Retained>,
    /// What is in them, in order.
    parts: VecDeque<Part>,
    charge: usize,
}

impl Retention {
    /// The number of the next new packet.
    pub(super) fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// The packet with this number or, if that is acknowledged, the first one that is not; with its number.
    pub(super) fn from(&self, number: u64) -> Option<(u64, &Bytes)> {
        let number = number.max(self.first);
        let index = usize::try_from(number - self.first).ok()?;
        self.packets.get(index).map(|retained| (number, &retained.packet))
    }

    /// Retains the next packet, and takes the parts that are in it.
    pub(super) fn retain(&mut self, packet: Bytes, parts: &mut Vec<Part>) {
        self.charge += Self::charge_of(&packet, parts.len());
        self.packets.push_back(Retained { packet, parts: parts.len() });
        self.parts.extend(parts.drain(..));
    }

    /// Lets go of the packets before `next`, with each of their parts.
    pub(super) fn acknowledge(&mut self, next: u64, mut each: impl FnMut(Part)) -> Result<(), SessionError> {
        if next > self.next() {
            return Err(SessionError::Acknowledged { next, sent: self.next() });
        }
        while self.first < next
            && let Some(Retained { packet, parts }) = self.packets.pop_front()
        {
            self.first += 1;
            self.charge -= Self::charge_of(&packet, parts);
            self.parts.drain(..parts).for_each(&mut each);
        }
        Ok(())
    }

    /// How much memory the packets take, about, in bytes.
    pub(super) fn charge(&self) -> usize {
        self.charge
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    fn charge_of(packet: &Bytes, parts: usize) -> usize {
        packet.len() + PACKET_CHARGE + parts * PART_CHARGE
    }
}
