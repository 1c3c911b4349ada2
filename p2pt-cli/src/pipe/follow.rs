//! Sends that are followed on their way: until the other side has them, with their progress, and to be taken back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use p2pt::{Peer, PendingSend, SendError, SendProgress, StreamError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::check;
use super::confirm::MAX_CONFIRMATIONS;
use super::event::Event;
use super::failure::Failure;
use super::output::{EmitError, SwarmOutput};

/// How often progress is said at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// More than the metadata of a stream may have, which is 16 KiB.
static TOO_LONG: [u8; 64 << 10] = [0; 64 << 10];

/// What is to be said of a send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// It ends when the other side has it, and otherwise when a channel has taken it.
    pub(super) acknowledged: bool,
    pub(super) progress: bool,
}

/// The followed sends of one swarm: a task for each.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// What takes those back that bear a tag.
    cancels: HashMap<String, Vec<Arc<Notify>>>,
    /// How many there are for each peer.
    counts: HashMap<Peer, usize>,
    tasks: JoinSet<Result<(Peer, String), EmitError>>,
}

impl Followed {
    /// Sends something, and has said under this tag what becomes of it.
    ///
    /// # Errors
    /// What `send` fails with; that too many are followed already, or that the peer acknowledges nothing, and nothing was
    /// sent.
    pub(super) fn follow(
        &mut self,
        peer: &Peer,
        tag: &str,
        wish: Wish,
        output: &SwarmOutput,
        send: impl FnOnce() -> Result<PendingSend, Failure>,
    ) -> Result<(), Failure> {
        if self.counts.get(peer).is_some_and(|count| *count >= MAX_CONFIRMATIONS) {
            return Err(Failure::new("queue_full", format!("{MAX_CONFIRMATIONS} sends are followed already")));
        }
        if wish.acknowledged && !acknowledges(peer) {
            return Err(SendError::NoAcknowledgements.into());
        }
        let (pending, cancel) = (send()?, Arc::new(Notify::new()));
        self.cancels.entry(tag.to_owned()).or_default().push(cancel.clone());
        *self.counts.entry(peer.clone()).or_default() += 1;
        let (peer, tag, output) = (peer.clone(), tag.to_owned(), output.clone());
        self.tasks.spawn(async move {
            say(&output, &peer, &tag, wish, pending, cancel).await?;
            Ok((peer, tag))
        });
        Ok(())
    }

    /// Takes back what bears this tag and was not sent whole; false if nothing that is followed bears it.
    pub(super) fn cancel(&self, tag: &str) -> bool {
        let mut is_found = false;
        // One whose task has ended has the last `Arc` here.
        for cancel in self.cancels.get(tag).into_iter().flatten().filter(|cancel| Arc::strong_count(cancel) > 1) {
            cancel.notify_one();
            is_found = true;
        }
        is_found
    }

    /// Forgets what has ended.
    ///
    /// # Errors
    /// What a task has come to.
    pub(super) fn tidy(&mut self) -> Result<(), EmitError> {
        while let Some(said) = self.tasks.try_join_next() {
            let (peer, tag) = check(said)?;
            if let Some(cancels) = self.cancels.get_mut(&tag) {
                cancels.retain(|cancel| Arc::strong_count(cancel) > 1);
                if cancels.is_empty() {
                    self.cancels.remove(&tag);
                }
            }
            if let Some(count) = self.counts.get_mut(&peer) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&peer);
                }
            }
        }
        Ok(())
    }

    /// Waits until everything is said; the peers must be gone.
    pub(super) async fn finish(mut self) -> Result<(), EmitError> {
        while let Some(said) = self.tasks.join_next().await {
            check(said)?;
        }
        Ok(())
    }
}

/// Whether the peer speaks p2pt/2. No stream opens: this metadata is too long for a session, and without a session that is
/// not even looked at.
fn acknowledges(peer: &Peer) -> bool {
    let opened = peer.open_stream(&TOO_LONG[..]).now_or_never();
    !matches!(opened, Some(Err(StreamError::NoStreams)))
}

/// Says what becomes of a send.
async fn say(
    output: &SwarmOutput,
    peer: &Peer,
    tag: &str,
    wish: Wish,
    mut pending: PendingSend,
    cancel: Arc<Notify>,
) -> Result<(), EmitError> {
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    let taken = loop {
        tokio::select! {
            biased;
            taken = &mut pending => break taken,
            // Where it is too late the send ends as it would have.
            () = cancel.notified() => drop(pending.cancel()),
            _ = ticks.tick(), if wish.progress => tell(output, peer, tag, pending.progress(), &mut told).await?,
        }
    };
    let ended = match taken {
        Ok(()) if wish.acknowledged => {
            while wish.progress
                && let Some(progress) = pending.progress()
            {
                tell(output, peer, tag, Some(progress), &mut told).await?;
                ticks.tick().await;
            }
            pending.acknowledged().await
        }
        taken => taken,
    };
    match ended {
        Ok(()) if wish.acknowledged => output.emit(&Event::Acknowledged { peer: peer.id(), tag }).await,
        Ok(()) => output.emit(&Event::Accepted { peer: peer.id(), tag }).await,
        Err(error) => output.emit(&Event::failed(peer.id(), Some(tag.to_owned()), error.into())).await,
    }
}

/// Says how far a send has come, if that is known and new.
async fn tell(
    output: &SwarmOutput,
    peer: &Peer,
    tag: &str,
    progress: Option<SendProgress>,
    told: &mut Option<SendProgress>,
) -> Result<(), EmitError> {
    if progress == *told {
        return Ok(());
    }
    let Some(SendProgress { sent, acknowledged, total, .. }) = progress else { return Ok(()) };
    *told = progress;
    output.emit(&Event::Progress { peer: peer.id(), tag, sent, acknowledged, total }).await
}
