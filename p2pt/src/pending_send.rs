//! What becomes of something that was queued to be confirmed.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use p2pt_messaging::{IntoPayload, MessageId};
use p2pt_transport::Frame;
use tokio::sync::oneshot;

use crate::peer::{given_back, looks_like_message};
use crate::send_queue::{Awaited, Outgoing};
use crate::{Peer, QueueError, SendError};

/// What a queued item says when a channel has taken it, or none will.
pub(crate) type Confirm = oneshot::Sender<Result<(), SendError>>;

/// What is larger goes by the queue in any case: cutting it into frames is work, which is done again for what had no room.
const AT_ONCE: usize = 16 << 10;

/// The acceptance of a message or frame that was [queued to be confirmed](Peer::queue_confirmed): a future.
///
/// It is ready when a channel has accepted all of it, in order, which is what `Ok` from [`Peer::send`] means, or when it
/// is certain that none will: then it says why, and there is no [`SendFailed`](crate::Event::SendFailed). Dropping it
/// takes nothing back; what goes wrong after that is an event again.
#[must_use = "it says whether a channel took what was queued"]
pub struct PendingSend {
    peer: Peer,
    /// Nothing comes of what a channel has taken at once.
    result: Option<oneshot::Receiver<Result<(), SendError>>>,
}

impl PendingSend {
    pub(crate) fn new(peer: Peer) -> (Confirm, Self) {
        let (confirm, result) = oneshot::channel();
        (confirm, Self { peer, result: Some(result) })
    }

    fn taken(peer: Peer) -> Self {
        Self { peer, result: None }
    }

    /// Whether a channel has taken all of it before it was queued at all: nothing was ahead of it, and there was room. A
    /// program that keeps the futures of what is under way need not keep this one, which is ready with `Ok`.
    pub fn is_taken_at_once(&self) -> bool {
        self.result.is_none()
    }

    /// For which peer it was queued.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Peer {
    /// [Queues](Self::queue) a message, and says when a channel has taken it: for a program that keeps pace with the
    /// peer, or reports what has left, without a task that waits in [`send`](Self::send). Its place among what is
    /// queued is that of every other message; those of one peer are confirmed in the order in which they were queued. Where
    /// nothing is ahead of a small one (16 KiB) and the channel has room for all of it, it is handed over at once.
    ///
    /// ```no_run
    /// # async fn example(peer: p2pt::Peer, lines: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut under_way = std::collections::VecDeque::new();
    /// for line in lines {
    ///     under_way.push_back(peer.queue_confirmed(line)?);
    ///     // No more than sixteen wait for the peer.
    ///     if under_way.len() > 16
    ///         && let Some(oldest) = under_way.pop_front()
    ///     {
    ///         oldest.await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`QueueError`], for the reasons for which [`queue`](Self::queue) fails.
    pub fn queue_confirmed(&self, payload: impl IntoPayload) -> Result<PendingSend, QueueError> {
        self.queue_response_confirmed(self.shared().new_id(), payload)
    }

    /// Queues a response to a message of which only the id is at hand, as [`queue_response_to`](Self::queue_response_to)
    /// does, and says when a channel has taken it.
    ///
    /// # Errors
    /// [`QueueError`]: the response is too large, or there is no room for it, and it comes back.
    pub fn queue_response_confirmed(
        &self,
        id: MessageId,
        payload: impl IntoPayload,
    ) -> Result<PendingSend, QueueError> {
        let payload = payload.into_payload();
        // What goes wrong here goes wrong again in the queue, which says so.
        if payload.as_str().len() <= AT_ONCE
            && self.shared().too_large(&payload).is_none()
            && self.shared().hand_over_now(&id, &payload).is_ok()
        {
            return Ok(PendingSend::taken(self.clone()));
        }
        let (confirm, pending) = PendingSend::new(self.clone());
        self.enqueue_message(id, Outgoing::alone(payload), Some(Awaited::Acceptance(confirm)))
            .map_err(|error| error.map(given_back))?;
        Ok(pending)
    }

    /// Queues one frame as it is, as [`queue_frame`](Self::queue_frame) does, and says when a channel has taken it.
    ///
    /// # Errors
    /// The errors of [`queue_frame`](Self::queue_frame). A frame that is too large for the channel is an error of the
    /// [`PendingSend`].
    pub fn queue_frame_confirmed(&self, frame: Frame) -> Result<PendingSend, QueueError<Frame>> {
        if frame.len() <= AT_ONCE && !looks_like_message(&frame) && self.shared().hand_over_frame_now(&frame).is_ok() {
            return Ok(PendingSend::taken(self.clone()));
        }
        let (confirm, pending) = PendingSend::new(self.clone());
        self.enqueue_frame(frame, Some(Awaited::Acceptance(confirm)))?;
        Ok(pending)
    }
}

impl Future for PendingSend {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(result) = this.result.as_mut() else { return Poll::Ready(Ok(())) };
        // The queue drops what is left in it when it is reported that the peer is gone.
        Pin::new(result)
            .poll(cx)
            .map(|result| result.unwrap_or_else(|_| Err(SendError::PeerGone(this.peer.shared().ended()))))
    }
}

impl fmt::Debug for PendingSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSend").field("peer", &self.peer).finish_non_exhaustive()
    }
}
