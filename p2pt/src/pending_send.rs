//! What becomes of something that was queued to be confirmed.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use p2pt_messaging::wire::MessageKey;
use p2pt_messaging::{IntoPayload, MessageId, Payload};
use p2pt_transport::Frame;

use crate::peer::{given_back, looks_like_message};
use crate::queue::lock;
use crate::send_queue::{Awaited, Outgoing};
use crate::{Peer, QueueError, SendError};

/// What is larger goes by the queue in any case: cutting it into frames is work, which is done again for what had no room.
const AT_ONCE: usize = 16 << 10;

/// How far something has come that was queued to be confirmed.
#[derive(Debug)]
enum Stage {
    Queued,
    Taken,
    Acknowledged,
    /// Nothing will come of it, since the peer is gone.
    Gone,
    Failed(SendError),
}

#[derive(Debug)]
struct Ticket {
    stage: Stage,
    /// What it is called in the session, once it is there.
    key: Option<MessageKey>,
    waker: Option<Waker>,
}

/// The end of a [`PendingSend`] that says what became of it.
#[derive(Debug)]
pub(crate) struct Confirm {
    ticket: Arc<Mutex<Ticket>>,
    /// A send waits for it, and keeps it in the place of the queue.
    is_waited_for: bool,
}

impl Confirm {
    fn set(&self, stage: Stage) {
        let mut ticket = lock(&self.ticket);
        ticket.stage = stage;
        let waker = ticket.waker.take();
        drop(ticket);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        self.is_waited_for
    }

    /// It is in the session with the peer.
    pub(crate) fn is_in_session(&self, key: MessageKey) {
        lock(&self.ticket).key = Some(key);
    }

    /// A channel has taken all of it.
    pub(crate) fn taken(&self) {
        self.set(Stage::Taken);
    }

    /// The other side has it.
    pub(crate) fn acknowledged(self) {
        self.set(Stage::Acknowledged);
    }

    /// Nothing comes of it, for this reason; which comes back if the application does not wait for it any more.
    pub(crate) fn fail(self, error: SendError) -> Option<SendError> {
        if Arc::strong_count(&self.ticket) == 1 {
            return Some(error);
        }
        self.set(Stage::Failed(error));
        None
    }
}

/// The queue drops what is left in it when it is reported that the peer is gone.
impl Drop for Confirm {
    fn drop(&mut self) {
        if matches!(lock(&self.ticket).stage, Stage::Queued) {
            self.set(Stage::Gone);
        }
    }
}

/// What becomes of a message or frame that was [queued to be confirmed](Peer::queue_confirmed): a future.
///
/// It is ready when a channel has accepted all of it, in order, which is what `Ok` from [`Peer::send`] means, or when it
/// is certain that none will: then it says why, and there is no [`SendFailed`](crate::Event::SendFailed).
/// [`acknowledged`](Self::acknowledged) waits until the other side has it. Dropping it takes nothing back, and
/// [`cancel`](Self::cancel) does; what goes wrong after that is an event again.
#[must_use = "it says whether a channel took what was queued"]
pub struct PendingSend {
    peer: Peer,
    /// Nothing comes of what a channel has taken at once.
    ticket: Option<Arc<Mutex<Ticket>>>,
}

/// How far a message has come to a peer that speaks p2pt/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendProgress {
    /// Bytes of it that a channel has.
    pub sent: usize,
    /// Bytes of it that the other side has.
    pub acknowledged: usize,
    /// All its bytes.
    pub total: usize,
}

impl PendingSend {
    pub(crate) fn new(peer: Peer) -> (Confirm, Self) {
        let ticket = Arc::new(Mutex::new(Ticket { stage: Stage::Queued, key: None, waker: None }));
        (Confirm { ticket: ticket.clone(), is_waited_for: false }, Self { peer, ticket: Some(ticket) })
    }

    /// For a send that waits.
    pub(crate) fn waited_for(peer: Peer) -> (Confirm, Self) {
        let (mut confirm, pending) = Self::new(peer);
        confirm.is_waited_for = true;
        (confirm, pending)
    }

    fn taken(peer: Peer) -> Self {
        Self { peer, ticket: None }
    }

    /// Whether a channel has taken all of it before it was queued at all: nothing was ahead of it, and there was room. A
    /// program that keeps the futures of what is under way need not keep this one, which is ready with `Ok`. Never for a
    /// peer that speaks p2pt/2, which acknowledges.
    pub fn is_taken_at_once(&self) -> bool {
        self.ticket.is_none()
    }

    /// For which peer it was queued.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Waits until the other side has it: until it is in the other node's inbox, or about to be, with nothing lost before
    /// it.
    ///
    /// # Errors
    /// The errors of the future itself; [`SendError::PeerGone`] where it is not known whether the other side has it;
    /// [`SendError::Refused`]; [`SendError::NoAcknowledgements`] for a peer of p2pt/1.
    pub async fn acknowledged(self) -> Result<(), SendError> {
        self.wait_acknowledged().await
    }

    pub(crate) async fn wait_acknowledged(&self) -> Result<(), SendError> {
        if self.peer.shared().mux().is_none() {
            return Err(SendError::NoAcknowledgements);
        }
        poll_fn(|cx| self.poll_stage(cx, true)).await
    }

    /// Waits until a channel has all of it.
    pub(crate) async fn wait_taken(&self) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_stage(cx, false)).await
    }

    /// How far it has come; `None` where that is not known: for a peer of p2pt/1, before it leaves the queue, and once it is
    /// acknowledged or has failed.
    pub fn progress(&self) -> Option<SendProgress> {
        let progress = self.peer.shared().mux()?.progress(self.key()?)?;
        let p2pt_messaging::wire::Progress { sent, acknowledged, total } = progress;
        Some(SendProgress { sent, acknowledged, total })
    }

    /// Takes the message back, unless all of it was sent. The other side drops what it has of it, and this future says
    /// [`SendError::Cancelled`]. `None` where it is too late, and for a peer of p2pt/1 once a channel takes it.
    pub fn cancel(&self) -> Option<Payload> {
        self.take_back()
    }

    pub(crate) fn take_back(&self) -> Option<Payload> {
        let shared = self.peer.shared();
        let back = match (self.key(), &self.ticket) {
            (Some(key), _) => shared.mux()?.cancel(&shared.send_queue, key),
            (None, Some(ticket)) => shared.send_queue.take_back(|confirm| Arc::ptr_eq(&confirm.ticket, ticket)),
            (None, None) => None,
        };
        if back.is_some()
            && let Some(ticket) = &self.ticket
        {
            let mut ticket = lock(ticket);
            ticket.stage = Stage::Failed(SendError::Cancelled);
            ticket.waker.take().into_iter().for_each(Waker::wake);
        }
        back
    }

    fn key(&self) -> Option<MessageKey> {
        lock(self.ticket.as_ref()?).key
    }

    fn poll_stage(&self, cx: &mut Context<'_>, acknowledged: bool) -> Poll<Result<(), SendError>> {
        let Some(ticket) = &self.ticket else { return Poll::Ready(Ok(())) };
        let mut ticket = lock(ticket);
        match &ticket.stage {
            Stage::Acknowledged => Poll::Ready(Ok(())),
            Stage::Taken if !acknowledged => Poll::Ready(Ok(())),
            Stage::Gone => Poll::Ready(Err(SendError::PeerGone(self.peer.shared().ended()))),
            Stage::Failed(error) => Poll::Ready(Err(error.clone())),
            Stage::Queued | Stage::Taken => {
                ticket.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Peer {
    /// [Queues](Self::queue) a message, and says when a channel has taken it, and when the other side has it: for a program
    /// that keeps pace with the peer, or reports what has left, without a task that waits in [`send`](Self::send). Its place
    /// among what is queued is that of every other message; those of one peer are confirmed in the order in which they were
    /// queued. Where nothing is ahead of a small one (16 KiB) and the channel has room for all of it, it is handed over at
    /// once.
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
        self.confirmed(self.shared().new_id(), Outgoing::alone(payload.into_payload()))
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
        self.confirmed(id, Outgoing::response(payload.into_payload()))
    }

    pub(crate) fn confirmed(&self, id: MessageId, message: Arc<Outgoing>) -> Result<PendingSend, QueueError> {
        // What goes wrong here goes wrong again in the queue, which says so.
        if self.shared().mux().is_none()
            && message.payload.len() <= AT_ONCE
            && self.shared().too_large(&message.payload).is_none()
            && self.shared().hand_over_now(&id, &message).is_ok()
        {
            return Ok(PendingSend::taken(self.clone()));
        }
        let (confirm, pending) = PendingSend::new(self.clone());
        self.enqueue_message(id, message, Some(Awaited::Acceptance(confirm))).map_err(|error| error.map(given_back))?;
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_stage(cx, false)
    }
}

impl fmt::Debug for PendingSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSend").field("peer", &self.peer).finish_non_exhaustive()
    }
}
