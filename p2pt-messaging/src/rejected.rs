//! The messages being rejected.

use std::{collections::VecDeque, hash::BuildHasher, hash::RandomState, time::Duration};

use crate::{Instant, MessageId};

/// How many rejected messages are remembered; the chunks of one forgotten count as a new message, which remains
/// incomplete and times out.
const REMEMBERED: usize = 64;

/// Remembers, in bounded space, which messages' further chunks are to be rejected.
///
/// Ids are kept as hashes under a random key, so that what a peer can make this hold does not depend on how long its ids
/// are: 1.5 KB at most.
#[derive(Debug, Default)]
pub(crate) struct Rejected {
    /// With the time of their latest chunk; the front was rejected first.
    entries: VecDeque<(u64, Instant)>,
    hashes: RandomState,
}

impl Rejected {
    pub(crate) fn remember(&mut self, id: &MessageId, now: Instant) {
        self.forget(id);
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back((self.hashes.hash_one(id), now));
    }

    /// Whether chunks of the message are being rejected, and have been with pauses of less than `idle`. The `last` one
    /// ends it, as the id may then be used again.
    pub(crate) fn take_chunk(&mut self, id: &MessageId, last: bool, now: Instant, idle: Duration) -> bool {
        let Some(at) = self.position(id) else { return false };
        let expired = now.saturating_duration_since(self.entries[at].1) >= idle;
        if last || expired {
            self.entries.remove(at);
        } else {
            self.entries[at].1 = now;
        }
        !expired
    }

    pub(crate) fn forget(&mut self, id: &MessageId) {
        if let Some(at) = self.position(id) {
            self.entries.remove(at);
        }
    }

    fn position(&self, id: &MessageId) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let hash = self.hashes.hash_one(id);
        self.entries.iter().position(|(rejected, _)| *rejected == hash)
    }

    /// Does not count a pause.
    pub(crate) fn delay(&mut self, pause: Duration) {
        for (_, latest) in &mut self.entries {
            *latest += pause;
        }
    }
}
