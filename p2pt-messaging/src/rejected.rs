//! The messages being rejected.

use std::{collections::VecDeque, time::Duration};

use crate::{Instant, MessageId};

/// How many rejected messages are remembered; the chunks of one forgotten count as a new message, which remains
/// incomplete and times out.
const REMEMBERED: usize = 64;

/// Remembers, in bounded space, which messages' further chunks are to be rejected.
#[derive(Debug, Default)]
pub(crate) struct Rejected {
    /// With the time of their latest chunk; the front was rejected first.
    entries: VecDeque<(MessageId, Instant)>,
}

impl Rejected {
    pub(crate) fn remember(&mut self, id: MessageId, now: Instant) {
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back((id, now));
    }

    /// Whether chunks of the message are being rejected, and have been with pauses of less than `idle`. The `last` one
    /// ends it, as the id may then be used again.
    pub(crate) fn take_chunk(&mut self, id: &MessageId, last: bool, now: Instant, idle: Duration) -> bool {
        let Some(at) = self.entries.iter().position(|(rejected, _)| rejected == id) else { return false };
        let expired = now.saturating_duration_since(self.entries[at].1) >= idle;
        if last || expired {
            self.entries.remove(at);
        } else {
            self.entries[at].1 = now;
        }
        !expired
    }

    pub(crate) fn forget(&mut self, id: &MessageId) {
        self.entries.retain(|(rejected, _)| rejected != id);
    }

    /// Does not count a pause.
    pub(crate) fn delay(&mut self, pause: Duration) {
        for (_, latest) in &mut self.entries {
            *latest += pause;
        }
    }
}
