//! Counting what arrives.

use p2pt_rt::{Instant, now};

use super::protocol::{self, Count};
use super::statistics::Samples;
use super::usage;

/// Delays kept: 4 MB of them.
const MAX_DELAYS: usize = 1 << 19;

/// The clock of one side, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Self(now())
    }

    pub(super) fn now_us(&self) -> f64 {
        microseconds(self.0)
    }
}

/// How long that is ago, in microseconds.
pub(super) fn microseconds(since: Instant) -> f64 {
    now().duration_since(since).as_secs_f64() * 1e6
}

/// What has arrived since it was made.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// The first and the last arrival.
    arrivals: Option<(f64, f64)>,
    delays: Samples,
    /// The processor time of this process when it was made.
    cpu_us: Option<f64>,
}

impl Tally {
    pub(super) fn new(cpu_us: Option<f64>) -> Self {
        Self { messages: 0, frames: 0, bytes: 0, arrivals: None, delays: Samples::new(MAX_DELAYS), cpu_us }
    }

    /// A text message has arrived.
    pub(super) fn message(&mut self, now_us: f64, text: &str) {
        self.messages += 1;
        self.arrival(now_us, text.len());
        if let Some(sent_us) = protocol::stamp(text) {
            self.delays.push(now_us - sent_us);
        }
    }

    /// A raw frame has arrived.
    pub(super) fn frame(&mut self, now_us: f64, bytes: usize) {
        self.frames += 1;
        self.arrival(now_us, bytes);
    }

    fn arrival(&mut self, now_us: f64, bytes: usize) {
        self.bytes += bytes as u64;
        let first = self.arrivals.map_or(now_us, |(first, _)| first);
        self.arrivals = Some((first, now_us));
    }

    /// What has arrived; `cpu_us` is the processor time of this process now.
    pub(super) fn count(&self, cpu_us: Option<f64>) -> Count {
        Count {
            messages: self.messages,
            frames: self.frames,
            bytes: self.bytes,
            span_us: self.arrivals.map_or(0.0, |(first, last)| last - first),
            cpu_us: usage::since(self.cpu_us, cpu_us),
            delays_us: self.delays.spread(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_arrives_is_counted() {
        let mut tally = Tally::new(Some(1_000.0));
        tally.message(50.0, "hello");
        tally.frame(70.0, 1_000);
        tally.message(90.0, "");
        let count = tally.count(Some(4_000.0));
        assert_eq!((count.messages, count.frames, count.bytes), (2, 1, 1_005));
        assert_eq!((count.span_us, count.cpu_us, count.delays_us), (40.0, Some(3_000.0), None));
    }

    #[test]
    fn delays_are_the_differences_of_two_clocks() {
        let mut tally = Tally::new(None);
        for (now_us, sent_us) in [(100.0, 1_000), (110.0, 1_005), (130.0, 1_010)] {
            tally.message(now_us, &protocol::stamped(sent_us));
        }
        assert_eq!(tally.count(None).delays_us, Some([-895.0, -880.0, -880.0]));
    }

    #[test]
    fn nothing_takes_no_time() {
        let count = Tally::new(None).count(Some(7.0));
        assert_eq!((count.messages, count.span_us, count.cpu_us), (0, 0.0, None));
    }
}
