//! Sends that are to be confirmed: what a channel has taken is said once, in the order of the commands for its peer.

use std::collections::HashMap;
use std::sync::Arc;

use p2pt::{Peer, PendingSend, SendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::check;
use super::event::Event;
use super::failure::Failure;
use super::output::{EmitError, SwarmOutput};

/// Sends to one peer that may wait for their confirmation; as many as there may be requests.
pub(super) const MAX_CONFIRMATIONS: usize = 4096;

/// A send to be confirmed, and the tag by which.
#[derive(Debug)]
struct Confirmation {
    tag: String,
    /// `None` for what a channel has taken already.
    send: Option<PendingSend>,
    /// One of [`MAX_CONFIRMATIONS`], until it is said.
    _place: OwnedSemaphorePermit,
}

/// The way to the task that says what becomes of sends to a peer.
#[derive(Debug, Clone)]
struct Sayer {
    confirmations: mpsc::Sender<Confirmation>,
    places: Arc<Semaphore>,
}

/// The confirmations of one swarm: a task for each peer says them.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    peers: HashMap<Peer, Sayer>,
    tasks: JoinSet<Result<(), EmitError>>,
}

impl Confirmations {
    /// Sends something, and has what becomes of it said under this tag.
    ///
    /// # Errors
    /// What `send` fails with; that too many wait already, and nothing was sent.
    pub(super) fn confirm(
        &mut self,
        peer: &Peer,
        tag: String,
        output: &SwarmOutput,
        send: impl FnOnce() -> Result<Option<PendingSend>, Failure>,
    ) -> Result<(), Failure> {
        let full = || Failure::new("queue_full", format!("{MAX_CONFIRMATIONS} sends wait to be confirmed already"));
        let mut sayer = self.sayer(peer, output);
        if sayer.confirmations.is_closed() {
            // Its task has ended with the peer, and all that is sent to that fails at once: in a task of its own.
            self.peers.remove(peer);
            sayer = self.sayer(peer, output);
        }
        let _place = sayer.places.try_acquire_owned().map_err(|_| full())?;
        let slot = sayer.confirmations.try_reserve().map_err(|_| full())?;
        slot.send(Confirmation { tag, send: send()?, _place });
        Ok(())
    }

    fn sayer(&mut self, peer: &Peer, output: &SwarmOutput) -> Sayer {
        let start = || {
            let (confirmations, to_say) = mpsc::channel(MAX_CONFIRMATIONS);
            self.tasks.spawn(say(output.clone(), peer.clone(), to_say));
            Sayer { confirmations, places: Arc::new(Semaphore::new(MAX_CONFIRMATIONS)) }
        };
        self.peers.entry(peer.clone()).or_insert_with(start).clone()
    }

    /// Forgets the peers that have gone.
    ///
    /// # Errors
    /// What a task has come to.
    pub(super) fn tidy(&mut self) -> Result<(), EmitError> {
        while let Some(said) = self.tasks.try_join_next() {
            check(said)?;
            self.peers.retain(|_, sayer| !sayer.confirmations.is_closed());
        }
        Ok(())
    }

    /// Waits until everything is said; the peers must be gone.
    pub(super) async fn finish(mut self) -> Result<(), EmitError> {
        self.peers.clear();
        while let Some(said) = self.tasks.join_next().await {
            check(said)?;
        }
        Ok(())
    }
}

/// Says what becomes of what is sent to a peer, one after the other, until the end of the peer is reported.
async fn say(
    output: SwarmOutput,
    peer: Peer,
    mut confirmations: mpsc::Receiver<Confirmation>,
) -> Result<(), EmitError> {
    loop {
        let next = tokio::select! {
            biased;
            next = confirmations.recv() => next,
            _ = peer.closed() => break,
        };
        match next {
            Some(confirmation) => confirmation.say(&output, &peer).await?,
            None => return Ok(()),
        }
    }
    confirmations.close();
    while let Some(confirmation) = confirmations.recv().await {
        confirmation.say(&output, &peer).await?;
    }
    Ok(())
}

impl Confirmation {
    async fn say(self, output: &SwarmOutput, peer: &Peer) -> Result<(), EmitError> {
        let taken: Result<(), SendError> = match self.send {
            Some(send) => send.await,
            None => Ok(()),
        };
        match taken {
            Ok(()) => output.emit(&Event::Accepted { peer: peer.id(), tag: &self.tag }).await,
            Err(error) => output.emit(&Event::failed(peer.id(), Some(self.tag), error.into())).await,
        }
    }
}
