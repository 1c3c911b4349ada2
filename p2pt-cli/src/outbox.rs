//! Sending to many peers without waiting for any: each peer has a queue of its own and a task that empties it.
//!
//! What is for one peer leaves in order. A peer that takes nothing fills its own queue and no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use p2pt::{Frame, Message, MessageId, Payload, Peer, PeerId, PendingResponse, RequestError, SendError, TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Bytes that may wait for one peer: as much as the largest message, which may also be larger and wait alone.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Sends that may wait for one peer.
const MAX_QUEUED: usize = 4096;

/// Results that nobody has taken yet; beyond it, the peers they are about wait.
const MAX_OUTCOMES: usize = 64;

/// What every send is counted as besides its payload.
const OVERHEAD_BYTES: usize = 128;

/// Something to send.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    Message { payload: Arc<Payload>, respond_to: Option<MessageId> },
    Frame(Frame),
}

impl Job {
    pub(crate) fn message(payload: impl Into<Payload>) -> Self {
        Self::Message { payload: Arc::new(payload.into()), respond_to: None }
    }

    pub(crate) fn response(id: MessageId, payload: impl Into<Payload>) -> Self {
        Self::Message { payload: Arc::new(payload.into()), respond_to: Some(id) }
    }

    fn weight(&self) -> usize {
        OVERHEAD_BYTES
            + match self {
                Self::Message { payload, .. } => payload.as_str().len(),
                Self::Frame(frame) => frame.len(),
            }
    }
}

/// What became of a job, where there is something to say.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was not sent, or its response did not come.
    Failed { peer: PeerId, tag: Option<String>, error: RequestError },
    /// The response to a message with a tag.
    Response { tag: String, message: Message },
}

/// A queue is full: its peer takes less than it is sent.
#[derive(Debug, thiserror::Error)]
#[error("too much waits to be sent to peer {0} already")]
pub(crate) struct Full(PeerId);

/// The queues of all peers.
#[derive(Debug)]
pub(crate) struct Outboxes {
    outboxes: HashMap<PeerId, Outbox>,
    tasks: JoinSet<()>,
    outcomes: mpsc::Sender<Outcome>,
    request_timeout: Duration,
}

#[derive(Debug)]
struct Outbox {
    peer: Peer,
    jobs: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Queued {
    job: Job,
    tag: Option<String>,
    /// Given back when the job is done.
    _room: OwnedSemaphorePermit,
}

impl Outboxes {
    /// Queues, and what comes out of them; that ends when the queues have been [finished](Self::finish).
    pub(crate) fn new(request_timeout: Duration) -> (Self, mpsc::Receiver<Outcome>) {
        let (sender, outcomes) = mpsc::channel(MAX_OUTCOMES);
        let outboxes = HashMap::new();
        (Self { outboxes, tasks: JoinSet::new(), outcomes: sender, request_timeout }, outcomes)
    }

    /// Queues something for a peer. With a tag, a message's response is awaited.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn push(&mut self, peer: &Peer, job: Job, tag: Option<String>) -> Result<(), Full> {
        if self.outboxes.get(&peer.id()).is_none_or(|outbox| outbox.peer != *peer) {
            self.open(peer);
        }
        let outbox = &self.outboxes[&peer.id()];
        let bytes = u32::try_from(job.weight().min(MAX_QUEUED_BYTES)).unwrap_or(u32::MAX);
        let room = outbox.room.clone().try_acquire_many_owned(bytes).map_err(|_| Full(peer.id()))?;
        outbox.jobs.try_send(Queued { job, tag, _room: room }).map_err(|_| Full(peer.id()))
    }

    /// Sends a message if nothing is queued for the peer and its link takes it at once.
    ///
    /// # Errors
    /// [`TrySendError`].
    pub(crate) fn try_send(&self, peer: &Peer, payload: Payload) -> Result<(), TrySendError> {
        match self.outboxes.get(&peer.id()) {
            // It must not overtake what waits.
            Some(outbox) if outbox.peer == *peer && outbox.room.available_permits() < MAX_QUEUED_BYTES => {
                Err(TrySendError::Full(payload))
            }
            _ => peer.try_send(payload),
        }
    }

    /// Disconnects from a peer as soon as what is queued for it has been sent, for which it has `flush_deadline`. What is
    /// pushed until then is refused.
    pub(crate) fn disconnect(&mut self, peer: &Peer, flush_deadline: Duration) {
        let queue = self.outboxes.get(&peer.id()).filter(|outbox| outbox.peer == *peer);
        let (peer, room) = (peer.clone(), queue.map(|outbox| outbox.room.clone()));
        self.tasks.spawn(async move {
            let flush = async {
                match &room {
                    Some(room) => room.acquire_many(MAX_QUEUED_BYTES as u32).await.ok(),
                    None => None,
                }
            };
            let _room = timeout(flush_deadline, flush).await;
            peer.disconnect().await;
        });
    }

    fn open(&mut self, peer: &Peer) {
        // Before there is one more, those of peers that have gone are closed.
        self.outboxes.retain(|_, outbox| outbox.peer.is_connected());
        while self.tasks.try_join_next().is_some() {}
        let (jobs, queue) = mpsc::channel(MAX_QUEUED);
        self.tasks.spawn(work(peer.clone(), queue, self.outcomes.clone(), self.request_timeout));
        let room = Arc::new(Semaphore::new(MAX_QUEUED_BYTES));
        self.outboxes.insert(peer.id(), Outbox { peer: peer.clone(), jobs, room });
    }

    /// Waits until everything queued has been sent or has failed.
    pub(crate) async fn flush(&self) {
        for outbox in self.outboxes.values() {
            // Everything is back when nothing is queued. It is never closed, so this cannot fail.
            let _ = outbox.room.acquire_many(MAX_QUEUED_BYTES as u32).await;
        }
    }

    /// Takes nothing more, and waits until every job has its outcome.
    pub(crate) async fn finish(mut self) {
        self.outboxes.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Empties one peer's queue until it is closed.
async fn work(
    peer: Peer,
    mut queue: mpsc::Receiver<Queued>,
    outcomes: mpsc::Sender<Outcome>,
    request_timeout: Duration,
) {
    let mut waiting = JoinSet::new();
    loop {
        let queued = tokio::select! {
            queued = queue.recv() => queued,
            Some(_) = waiting.join_next() => continue,
        };
        let Some(Queued { job, tag, _room }) = queued else { break };
        let failed = match tag {
            None => tell(&peer, job).await.err().map(|error| (None, error.into())),
            Some(tag) => match ask(&peer, job, request_timeout).await {
                Ok(Some(response)) => {
                    waiting.spawn(wait(peer.id(), tag, response, outcomes.clone()));
                    None
                }
                Ok(None) => None,
                Err(error) => Some((Some(tag), error)),
            },
        };
        if let Some((tag, error)) = failed {
            report(&outcomes, Outcome::Failed { peer: peer.id(), tag, error }).await;
        }
    }
    while waiting.join_next().await.is_some() {}
}

async fn tell(peer: &Peer, job: Job) -> Result<(), SendError> {
    match job {
        Job::Message { payload, respond_to: None } => peer.send(Arc::unwrap_or_clone(payload)).await,
        Job::Message { payload, respond_to: Some(id) } => peer.respond_to(id, Arc::unwrap_or_clone(payload)).await,
        Job::Frame(frame) => peer.send_frame(frame).await,
    }
}

/// As [`tell`], and registers for the response, which a frame does not have.
async fn ask(peer: &Peer, job: Job, deadline: Duration) -> Result<Option<PendingResponse>, RequestError> {
    let request = match job {
        Job::Message { payload, respond_to: None } => peer.request(Arc::unwrap_or_clone(payload)),
        Job::Message { payload, respond_to: Some(id) } => {
            peer.request_in_response_to(id, Arc::unwrap_or_clone(payload))
        }
        Job::Frame(_) => return Ok(tell(peer, job).await.map(|()| None)?),
    };
    request.timeout(deadline).send().await.map(Some)
}

async fn wait(peer: PeerId, tag: String, response: PendingResponse, outcomes: mpsc::Sender<Outcome>) {
    let outcome = match response.message().await {
        Ok(message) => Outcome::Response { tag, message },
        Err(error) => Outcome::Failed { peer, tag: Some(tag), error },
    };
    report(&outcomes, outcome).await;
}

async fn report(outcomes: &mpsc::Sender<Outcome>, outcome: Outcome) {
    // Fails only when the program no longer listens because it ends.
    let _ = outcomes.send(outcome).await;
}
