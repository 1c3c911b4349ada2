//! The frames that wait to be written to one connection.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::swarms::CloseReason;

/// A queue bounded in messages and bytes, between those that send to a connection and the task that writes to its socket.
#[derive(Debug)]
pub(super) struct SendQueue {
    queue: Mutex<Queue>,
    changed: Notify,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<String>,
    bytes: usize,
    ping: bool,
    close: Option<CloseReason>,
    overflowed: bool,
}

/// What the writer has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send(String),
    Ping,
    Close(CloseReason),
    /// More was queued than the bounds allow: drop the connection.
    Overflowed,
}

impl SendQueue {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), changed: Notify::new(), max_messages, max_bytes }
    }

    /// Queues a message. False if that is one too many: then all is thrown away, and nothing more is taken.
    pub(super) fn push(&self, text: String) -> bool {
        let mut queue = self.lock();
        let bytes = queue.bytes.saturating_add(text.len());
        if queue.overflowed || queue.messages.len() >= self.max_messages || bytes > self.max_bytes {
            *queue = Queue { overflowed: true, ..Queue::default() };
        } else {
            queue.messages.push_back(text);
            queue.bytes = bytes;
        }
        self.changed.notify_one();
        !queue.overflowed
    }

    pub(super) fn ping(&self) {
        self.lock().ping = true;
        self.changed.notify_one();
    }

    /// Asks for a close frame after what is queued.
    pub(super) fn close(&self, reason: CloseReason) {
        self.lock().close = Some(reason);
        self.changed.notify_one();
    }

    pub(super) fn pop(&self) -> Option<Next> {
        let mut queue = self.lock();
        if queue.overflowed {
            return Some(Next::Overflowed);
        }
        if std::mem::take(&mut queue.ping) {
            return Some(Next::Ping);
        }
        if let Some(text) = queue.messages.pop_front() {
            queue.bytes -= text.len();
            if queue.messages.is_empty() {
                // A burst must not be paid for by the rest of an idle connection's life.
                queue.messages = VecDeque::new();
            }
            return Some(Next::Send(text));
        }
        queue.close.map(Next::Close)
    }

    /// Waits until there may be something to [`pop`](Self::pop). Only one task may wait.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until the bounds are overstepped.
    pub(super) async fn overflowed(&self) {
        while !self.lock().overflowed {
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_makes_room() {
        let send_queue = SendQueue::new(2, 10);
        for _ in 0..10 {
            assert!(send_queue.push("12345".into()));
            assert!(send_queue.push("67890".into()));
            assert_eq!(send_queue.pop(), Some(Next::Send("12345".into())));
            assert_eq!(send_queue.pop(), Some(Next::Send("67890".into())));
            assert_eq!(send_queue.pop(), None);
        }
    }

    #[test]
    fn one_too_many_ends_it() {
        for too_many in [vec!["1"; 3], vec!["123456"; 2], vec!["12345678901"]] {
            let send_queue = SendQueue::new(2, 10);
            let taken = too_many.iter().filter(|text| send_queue.push((**text).into())).count();
            assert_eq!(taken, too_many.len() - 1);
            assert_eq!(send_queue.pop(), Some(Next::Overflowed));
            assert!(!send_queue.push(String::new()), "and for good");
        }
    }

    #[test]
    fn a_ping_overtakes_and_a_close_waits() {
        let send_queue = SendQueue::new(2, 10);
        send_queue.close(CloseReason::BadFrames);
        assert!(send_queue.push("why".into()));
        send_queue.ping();
        assert_eq!(send_queue.pop(), Some(Next::Ping));
        assert_eq!(send_queue.pop(), Some(Next::Send("why".into())));
        assert_eq!(send_queue.pop(), Some(Next::Close(CloseReason::BadFrames)));
    }
}
