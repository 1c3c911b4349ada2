//! The line of a host or a NAT: how long datagrams take on it, and which of them are lost.

use std::time::Duration;

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};
use tokio::time::Instant;

use super::{config::Path, counters::DropReason};

/// A direction on a line, as its host or NAT sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) path: Path,
    /// Until when the datagrams that were accepted keep each direction busy.
    busy: [Option<Instant>; 2],
}

impl Line {
    pub(super) fn new(path: Path) -> Self {
        Self { path, busy: [None; 2] }
    }

    /// What chance makes of a packet of this many bytes: how long it travels once it has left the queue.
    pub(super) fn draw(&self, bytes: usize, rng: &mut Xoshiro256PlusPlus) -> Result<Duration, DropReason> {
        if bytes > self.path.mtu {
            return Err(DropReason::TooLarge);
        }
        // Perfect lines draw nothing, so that one more of them changes nothing for other datagrams.
        if self.path.loss > 0.0 && rng.random::<f64>() < self.path.loss {
            return Err(DropReason::Lost);
        }
        let jitter = if self.path.jitter.is_zero() { 0.0 } else { rng.random::<f64>() };
        Ok(self.path.delay + self.path.jitter.mul_f64(jitter))
    }

    /// Whether datagrams wait for one another in this direction.
    pub(super) fn has_queue(&self, direction: Direction) -> bool {
        self.bytes_per_second(direction).is_some()
    }

    /// When a packet of this many bytes that comes to the queue at `at` has left it.
    pub(super) fn queue(&mut self, direction: Direction, at: Instant, bytes: usize) -> Result<Instant, DropReason> {
        let Some(bytes_per_second) = self.bytes_per_second(direction) else { return Ok(at) };
        let busy = &mut self.busy[direction as usize];
        let start = busy.map_or(at, |busy| busy.max(at));
        if bytes_per_second == 0 || start - at > self.path.queue {
            return Err(DropReason::QueueFull);
        }
        let transmission = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / bytes_per_second);
        *busy = Some(start + transmission);
        Ok(start + transmission)
    }

    fn bytes_per_second(&self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::Up => self.path.upload,
            Direction::Down => self.path.download,
        }
    }
}
