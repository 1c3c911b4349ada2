//! Waits that JavaScript can end: what an `AbortSignal` does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::Fault;

/// The waits that can be cancelled, by the numbers that JavaScript has drawn for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancels(Arc<Mutex<HashMap<u32, oneshot::Sender<()>>>>);

/// Takes a number back when its wait is over, however that came.
struct Registered<'a>(&'a Cancels, u32);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.take(self.1);
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

    /// Waits for something until it is there or is cancelled. Without a ticket (`None`) it cannot be cancelled.
    pub(crate) async fn wait<T>(
        &self,
        ticket: Option<u32>,
        wait: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let Some(ticket) = ticket else { return wait.await };
        let (sender, cancelled) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, sender);
        let _registered = Registered(self, ticket);
        tokio::select! {
            biased;
            // The sender goes with a ticket that is used twice, which ends the earlier wait.
            _ = cancelled => Err(Fault::new("aborted", "the wait was aborted")),
            result = wait => result,
        }
    }
}
