//! Waits that JavaScript can end: what an `AbortSignal` does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::Fault;

/// The waits that can be cancelled, by the numbers that JavaScript has drawn for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancels(Arc<Mutex<HashMap<u32, oneshot::Sender<()>>>>);

/// A wait that can be cancelled from the moment at which this is made: JavaScript may do so before the wait is first polled.
#[derive(Debug)]
pub(crate) struct Cancellable {
    /// `None` for a wait that cannot be cancelled.
    registered: Option<(Registered, oneshot::Receiver<()>)>,
}

/// Takes a number back when its wait is over, however that came.
#[derive(Debug)]
struct Registered {
    cancels: Cancels,
    ticket: u32,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.cancels.take(self.ticket);
    }
}

impl Cancels {
    fn take(&self, ticket: u32) -> Option<oneshot::Sender<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket)
    }

    /// Ends a wait. Does nothing if it is over.
    pub(crate) fn cancel(&self, ticket: u32) {
        if let Some(sender) = self.take(ticket) {
            // A wait that is over at this moment has dropped its receiver.
            let _ = sender.send(());
        }
    }

    /// Registers a wait, which can be cancelled by its ticket, or not without one.
    pub(crate) fn register(&self, ticket: Option<u32>) -> Cancellable {
        let registered = ticket.map(|ticket| {
            let (sender, cancelled) = oneshot::channel();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, sender);
            (Registered { cancels: self.clone(), ticket }, cancelled)
        });
        Cancellable { registered }
    }
}

impl Cancellable {
    /// Waits for something until it is there or is cancelled.
    pub(crate) async fn wait<T>(self, wait: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let Some((_registered, cancelled)) = self.registered else { return wait.await };
        tokio::select! {
            biased;
            // Its sender is dropped with a ticket that is used twice, which ends the earlier wait.
            _ = cancelled => Err(Fault::new("aborted", "the wait was aborted")),
            result = wait => result,
        }
    }
}
