//! The messages of one peer, for a task of its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::{Message, Peer};

/// The messages of one peer, taken out of the event stream by [`Peer::messages`]; ends with the connection.
#[derive(Debug)]
#[must_use = "dropping it gives the messages back to the event stream"]
pub struct Messages {
    peer: Peer,
    number: u64,
}

impl Messages {
    /// Takes the messages of a peer out of the event stream.
    pub(crate) fn start(peer: &Peer) -> Self {
        Self { number: peer.shared().inbox.start_taking(), peer: peer.clone() }
    }

    /// The next message, or `None` after the last one. Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Whose messages these are.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let next = self.peer.shared().inbox.poll_taken(&self.peer, self.number, cx);
        next.map(|body| body.map(|body| Message::new(self.peer.clone(), body)))
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.peer.shared().inbox.stop_taking(&self.peer, self.number);
    }
}
