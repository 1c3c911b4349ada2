//! How a close goes: what was accepted is sent and acknowledged, the other side is given time to read or to close too, and then
//! the association ends.

use std::time::{Duration, Instant};

use super::{End, Peer, PeerEvent, Stage};

/// How many times the close timeout a flush may take as long as it makes progress.
pub(crate) const FLUSH_FACTOR: u32 = 10;

/// How long a peer that does not understand a channel's reset is given to read before the association ends.
const LINGER: Duration = Duration::from_millis(100);

/// How far a close has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// What was accepted is sent and acknowledged.
    Flushing {
        /// Without progress it is given up then.
        deadline: Instant,
        /// Even with progress it is given up then.
        last: Instant,
        /// What was left when it last made progress.
        left: u64,
    },
    /// All is acknowledged, and the other side reads.
    Lingering {
        until: Instant,
    },
    /// The channel is reset, and the other side is given time to close too.
    Resetting {
        until: Instant,
    },
    Done,
}

impl Peer {
    /// Begins a graceful close. A connection that is not open ends at once.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.closing != Closing::No {
            return;
        }
        if self.stage != Stage::Open {
            self.end(now, End::Local);
            return;
        }
        tracing::debug!(connection = self.ice.key(), "closing gracefully");
        self.events.push_back(PeerEvent::Ended { stage: self.stage, end: End::Local });
        let timeout = self.config.close_timeout;
        self.closing =
            Closing::Flushing { deadline: now + timeout, last: now + timeout * FLUSH_FACTOR, left: u64::MAX };
        if let Some(session) = &mut self.session {
            session.begin_flush(now);
        }
        self.flush(now);
    }

    /// Ends at once, because of what the other side does.
    pub(crate) fn fail(&mut self, now: Instant, why: String) {
        if self.closing != Closing::Done {
            self.end(now, End::Failed(why));
        }
    }

    /// Says how many bytes of accepted frames have not come here yet, which a close waits for.
    pub(crate) fn set_unsent(&mut self, now: Instant, bytes: u64) {
        self.unsent = bytes;
        self.flush(now);
    }

    pub(super) fn flush(&mut self, now: Instant) {
        let Closing::Flushing { deadline, last, left } = self.closing else { return };
        let outstanding = self.outstanding();
        let now_left = self.unsent + outstanding as u64;
        let timeout = self.config.close_timeout;
        if now_left > 0 && now < deadline {
            if now_left < left {
                self.closing = Closing::Flushing { deadline: (now + timeout).min(last), last, left: now_left };
            }
            return;
        }
        if self.closes_by_reset {
            if let Some(session) = &mut self.session {
                session.reset_channel(now);
            }
            self.closing = Closing::Resetting { until: now + timeout };
        } else {
            self.closing = Closing::Lingering { until: now + LINGER };
        }
    }

    /// Whether all that was to be sent is acknowledged, or given up, and only the other side's part of the close is waited for.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.closing, Closing::Lingering { .. } | Closing::Resetting { .. })
    }
}
