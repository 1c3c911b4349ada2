//! What becomes of something that was queued to be confirmed.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::{Peer, SendError};

/// What a queued item says when a channel has taken it, or none will.
pub(crate) type Confirm = oneshot::Sender<Result<(), SendError>>;

/// The acceptance of a message or frame that was [queued to be confirmed](Peer::queue_confirmed): a future.
///
/// It is ready when a channel has accepted all of it, in order, which is what `Ok` from [`Peer::send`] means, or when it
/// is certain that none will: then it says why, and there is no [`SendFailed`](crate::Event::SendFailed). Dropping it
/// takes nothing back; what goes wrong after that is an event again.
#[must_use = "it says whether a channel took what was queued"]
pub struct PendingSend {
    peer: Peer,
    result: oneshot::Receiver<Result<(), SendError>>,
}

impl PendingSend {
    pub(crate) fn new(peer: Peer) -> (Confirm, Self) {
        let (confirm, result) = oneshot::channel();
        (confirm, Self { peer, result })
    }

    /// For which peer it was queued.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Future for PendingSend {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // The queue drops what is left in it when it is reported that the peer is gone.
        Pin::new(&mut this.result)
            .poll(cx)
            .map(|result| result.unwrap_or_else(|_| Err(SendError::PeerGone(this.peer.shared().ended()))))
    }
}

impl fmt::Debug for PendingSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSend").field("peer", &self.peer).finish_non_exhaustive()
    }
}
