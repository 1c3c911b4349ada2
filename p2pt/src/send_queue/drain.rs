//! What is queued, handed over by the tasks of channels to a peer that speaks p2pt/1.

use std::pin::pin;

use tracing::debug;

use super::{Awaited, Content, HandedOver, Item, SendQueue};
use crate::channel::PeerChannel;
use crate::queue::{EventQueue, lock};
use crate::{Peer, SendError, SendFailed};

/// The item in flight, which goes back to the front of the queue if it is dropped.
pub(super) struct InFlight<'a> {
    pub(super) queue: &'a SendQueue,
    pub(super) item: Option<Item>,
}

impl InFlight<'_> {
    pub(super) fn done(mut self) -> Option<Item> {
        let item = self.item.take()?;
        let mut state = lock(&self.queue.state);
        state.in_flight = None;
        self.queue.gone(&mut state, &item);
        self.queue.note(state);
        Some(item)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            let mut state = lock(&self.queue.state);
            let cancelled = state.in_flight.take().is_some_and(|flight| flight.cancelled);
            if cancelled {
                self.queue.gone(&mut state, &item);
            } else if !state.closed {
                state.waiting[usize::from(item.content.urgency().get())] += 1;
                state.items.push_front(item);
            }
            self.queue.note(state);
        }
    }
}

/// Hands over what is queued for a peer, until this channel of it closes.
pub(crate) async fn drain(channel: &PeerChannel, peer: &Peer, events: &EventQueue) {
    let queue = &peer.shared().send_queue;
    loop {
        let mut changed = pin!(queue.changed());
        changed.as_mut().enable();
        if channel.is_closed() {
            return;
        }
        let Some(item) = queue.take() else {
            changed.await;
            continue;
        };
        let handed_over = match item.item.as_ref().map(|item| &item.content) {
            Some(Content::Message(id, message)) => peer.shared().hand_over(id, &message.payload).await,
            Some(Content::Frame(frame)) => peer.shared().hand_over_frame(frame).await,
            None => return,
        };
        // No channel is open. The next one takes it, unless it is reported first that the peer is gone.
        if let Err(SendError::PeerGone(_)) = handed_over {
            return;
        }
        let Some(Item { content, awaited, .. }) = item.done() else { return };
        let id = match content {
            Content::Message(id, _) => Some(id),
            Content::Frame(_) => None,
        };
        match (handed_over, awaited, id) {
            // A send that was given up meanwhile is told nothing.
            (handed_over, Some(Awaited::Send(send)), _) => drop(send.send(handed_over)),
            (Ok(channel), Some(Awaited::Response(asked)), Some(id)) => {
                debug!(parent: peer.span(), request = %id, channel = channel.0, "the queued request is sent");
                let _ = asked.handed_over.set(HandedOver { at: crate::now(), channel });
            }
            // An application that no longer waits for it hears of failures alone.
            (Ok(_), Some(Awaited::Acceptance(confirm)), _) => confirm.taken(),
            (Ok(_), ..) => {}
            (Err(error), Some(Awaited::Response(asked)), Some(id)) => {
                peer.shared().waiters.fail(crate::now(), id, asked.number, error);
            }
            (Err(error), awaited, id) => {
                let unheard = match awaited {
                    Some(Awaited::Acceptance(confirm)) => confirm.fail(error),
                    _ => Some(error),
                };
                if let Some(error) = unheard {
                    events.send_failed(peer, SendFailed { peer: peer.clone(), id, error, missed: 0 });
                }
            }
        }
    }
}
