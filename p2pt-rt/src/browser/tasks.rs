//! Tasks of the event loop.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::future::{self, abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

/// Whether tasks can be spawned here: in a browser always.
#[must_use]
pub fn is_running() -> bool {
    true
}

/// Runs `future` in the event loop, beginning when what runs now has ended.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let (future, abort) = abortable(future);
    let (done, result) = oneshot::channel();
    wasm_bindgen_futures::spawn_local(async move {
        if let Ok(output) = future.await {
            // The handle may have been dropped.
            let _ = done.send(output);
        }
    });
    JoinHandle { result, abort: AbortHandle(abort) }
}

/// Ends a task.
#[derive(Debug, Clone)]
pub struct AbortHandle(future::AbortHandle);

impl AbortHandle {
    /// Has the task's future dropped when the event loop comes to it, unless it has ended.
    pub fn abort(&self) {
        self.0.abort();
    }
}

/// A task. Dropping the handle lets it run on.
#[derive(Debug)]
pub struct JoinHandle<T> {
    result: oneshot::Receiver<T>,
    abort: AbortHandle,
}

impl<T> JoinHandle<T> {
    /// Has the task's future dropped when the event loop comes to it, unless it has ended.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// What ends the task, to be kept elsewhere.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(cx).map_err(|_| JoinError(()))
    }
}

/// The task was aborted. One that panics ends the whole program here.
#[derive(Debug)]
pub struct JoinError(());

impl JoinError {
    /// False: a panic leaves nothing that could ask.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        false
    }

    /// True.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        true
    }

    /// As there is no panic, the words of this error.
    #[must_use]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        Box::new(self.to_string())
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was aborted")
    }
}

impl std::error::Error for JoinError {}

/// Tasks that are aborted when the set is dropped.
#[derive(Debug)]
pub struct JoinSet<T> {
    tasks: FuturesUnordered<Owned<T>>,
}

/// A task that is aborted when the handle is dropped.
#[derive(Debug)]
struct Owned<T>(JoinHandle<T>);

impl<T> Future for Owned<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: 'static> JoinSet<T> {
    /// A set without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self { tasks: FuturesUnordered::new() }
    }

    /// Spawns a task in the set.
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) -> AbortHandle {
        let task = spawn(future);
        let abort = task.abort_handle();
        self.tasks.push(Owned(task));
        abort
    }

    /// How many tasks have not been joined.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether all tasks have been joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What the next task to end came to; `None` if the set is empty. Nothing is lost if the future is dropped.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.tasks.next().await
    }

    /// Aborts all tasks.
    pub fn abort_all(&mut self) {
        self.tasks.iter().for_each(|task| task.0.abort());
    }

    /// Aborts all tasks, and waits until they are gone.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}
