//! Which acknowledgements wait for a message of this side, to leave in its datagram (RFC 9260 section 6.2). Sans-I/O.
//!
//! The SCTP stack acknowledges every other packet at once, in a datagram of its own: where two sides answer each other, one
//! more for each message and its answer, each of which wakes the other side.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::guard;

/// How long an acknowledgement waits at most. Applications that answer have done so by then, on a busy machine too; the
/// stack itself lets others wait for 200 ms.
const LONGEST: Duration = Duration::from_millis(5);

/// Packets of more bytes are of a transfer, whose sender waits for acknowledgements.
const SMALL_BYTES: usize = 500;

/// The acknowledgement that waits, and what decides whether one does.
#[derive(Debug, Default)]
pub(super) struct HeldAck {
    held: Option<(Bytes, Instant)>,
    /// This side has sent since it last acknowledged: it answers.
    answers: bool,
    /// What was received since is not to wait for its acknowledgement.
    is_urgent: bool,
}

impl HeldAck {
    /// The other side's packet was received.
    pub(super) fn received(&mut self, packet: &[u8]) {
        self.is_urgent |= packet.len() > SMALL_BYTES || guard::asks_for_acknowledgement(packet);
    }

    /// The next acknowledgement does not wait.
    pub(super) fn urge(&mut self) {
        self.is_urgent = true;
    }

    /// Whether an acknowledgement waits from now on. One that does not replaces one that does.
    pub(super) fn holds(&mut self, now: Instant, sack: &Bytes) -> bool {
        let answers = std::mem::take(&mut self.answers);
        let is_urgent = std::mem::take(&mut self.is_urgent) || guard::has_gaps(sack);
        // A second one would let four packets wait, which a new sender's window may be.
        let holds = answers && !is_urgent && self.held.is_none();
        self.held = holds.then(|| (sack.clone(), now + LONGEST));
        holds
    }

    /// This side sends data, with which goes what waits.
    pub(super) fn take_for_data(&mut self) -> Option<Bytes> {
        self.answers = true;
        self.take()
    }

    /// What waits, and does so no longer.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.held.take().map(|(sack, _)| sack)
    }

    /// What has waited for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Bytes> {
        self.poll_timeout().filter(|at| *at <= now).and_then(|_| self.take())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.held.as_ref().map(|(_, at)| *at)
    }
}
