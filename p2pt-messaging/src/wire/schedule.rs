//! Whose turn it is.

use std::collections::VecDeque;

use super::{StreamKey, Urgency};

/// Who has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The messages of an urgency, one after the other.
    Messages,
    /// A stream.
    Stream(StreamKey),
}

/// How a turn has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// There is nothing more to send, or it has to wait for the other side.
    Over,
    /// There is more, and no room in the packet.
    Full,
}

/// The turns of each urgency, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    turns: [VecDeque<Turn>; Urgency::COUNT],
    /// The urgencies in which messages have a turn.
    messages: u8,
}

impl Schedule {
    /// Messages of this urgency can be sent, maybe.
    pub(super) fn messages(&mut self, urgency: Urgency) {
        if self.messages & urgency.bit() == 0 {
            self.messages |= urgency.bit();
            self.turns[urgency.index()].push_back(Turn::Messages);
        }
    }

    /// A stream has something to send. It has one turn at a time, of which the stream keeps account.
    pub(super) fn stream(&mut self, urgency: Urgency, key: StreamKey) {
        self.turns[urgency.index()].push_back(Turn::Stream(key));
    }

    /// Takes the next turn of an urgency.
    pub(super) fn next(&mut self, urgency: Urgency) -> Option<Turn> {
        let turn = self.turns[urgency.index()].pop_front()?;
        if turn == Turn::Messages {
            self.messages &= !urgency.bit();
        }
        Some(turn)
    }

    /// Whether any stream has a turn.
    pub(super) fn has_streams(&self) -> bool {
        self.turns.iter().map(VecDeque::len).sum::<usize>() > self.messages.count_ones() as usize
    }
}
