//! The way of results into JavaScript, one for each environment of Node (the main thread, and each worker thread).
//!
//! A call that has to wait is given a number by JavaScript, which keeps the promise; here its result is put into a list, and
//! JavaScript is woken to take what has gathered there. So the list holds one result at most for each call that JavaScript
//! waits for, and events wait in the node's own bounded inboxes until JavaScript asks for the next ones.
//!
//! What is called for each message is no task of the runtime: its future is polled by JavaScript's own thread, at once and
//! when it was woken, which saves a way through another thread for each message sent and for each batch received.

use std::collections::HashMap;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake as Woken, Waker};

use bytes::Bytes;
use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use p2pt_web_core::{Batch, Fault, Node, Received, Stream, Swarm};
use tokio::runtime::{Builder, Runtime};

/// Wakes JavaScript. One call at a time is under way, and it keeps no process alive: that is left to JavaScript.
pub(crate) type Wake = ThreadsafeFunction<(), (), (), Status, false, true, 1>;

/// What has become of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    Said(bool),
    Text(String),
    MaybeText(Option<String>),
    Message(Option<Received>),
    Events(Batch),
    /// A node, and its number among those of the bridge.
    Node(u64, Node),
    Swarm(Swarm),
    Stream(Stream),
    Bytes(Option<Bytes>),
    Failed(Fault),
}

impl<T: Into<Outcome>> From<Result<T, Fault>> for Outcome {
    fn from(result: Result<T, Fault>) -> Self {
        result.map_or_else(Self::Failed, Into::into)
    }
}

macro_rules! outcome_from {
    ($($content:ty => $outcome:expr),* $(,)?) => {
        $(impl From<$content> for Outcome {
            fn from(content: $content) -> Self {
                $outcome(content)
            }
        })*
    };
}

outcome_from!(
    () => |()| Self::Done,
    bool => Self::Said,
    String => Self::Text,
    Option<String> => Self::MaybeText,
    Received => |received| Self::Message(Some(received)),
    Option<Received> => Self::Message,
    Batch => Self::Events,
    (u64, Node) => |(number, node)| Self::Node(number, node),
    Swarm => Self::Swarm,
    Stream => Self::Stream,
    Option<Bytes> => Self::Bytes,
);

#[derive(Default)]
struct State {
    /// What JavaScript has not taken yet, by the numbers of calls: `None` for one that is to be polled.
    outcomes: Vec<(u32, Option<Outcome>)>,
    /// What JavaScript's thread polls.
    polled: HashMap<u32, Polled>,
    /// How many nodes were started.
    started: u64,
    /// The nodes that run, by number.
    nodes: HashMap<u64, Node>,
    /// The environment is gone: nothing takes results any more.
    ended: bool,
}

/// A call that JavaScript's thread polls.
struct Polled {
    future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    call: Arc<Call>,
}

/// What wakes such a call.
struct Call {
    bridge: Arc<Bridge>,
    number: u32,
    /// It is in the list already.
    is_woken: AtomicBool,
}

impl Woken for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The waking code may hold locks of the node, so nothing but the list is touched here.
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.bridge.push(self.number, None);
        }
    }
}

/// One for each environment.
pub(crate) struct Bridge {
    state: Mutex<State>,
    wake: Wake,
}

/// The runtime of all nodes of the process: worker threads of Node share it, so that what a node costs does not grow with
/// their number.
///
/// It has one thread. JavaScript's own is the narrower one, and with two threads each packet wakes the other one to look
/// whether something is left for it: on two cores a round trip took a tenth longer, and nothing was faster.
pub(crate) fn runtime() -> Result<&'static Runtime, Fault> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("p2pt").enable_all().build();
        runtime.map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|error| Fault::new("start_failed", format!("no threads for it: {error}")))
}

impl Bridge {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { state: Mutex::default(), wake }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has become of calls since this was asked last. Called by JavaScript's thread.
    pub(crate) fn take(&self) -> Vec<(u32, Outcome)> {
        let outcomes = mem::take(&mut self.state().outcomes);
        let taken = outcomes
            .into_iter()
            .filter_map(|(call, outcome)| outcome.or_else(|| self.poll_again(call)).map(|outcome| (call, outcome)));
        taken.collect()
    }

    pub(crate) fn put(&self, call: u32, outcome: Outcome) {
        self.push(call, Some(outcome));
    }

    fn push(&self, call: u32, outcome: Option<Outcome>) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        state.outcomes.push((call, outcome));
        let is_first = state.outcomes.len() == 1;
        drop(state);
        if is_first {
            // It fails when the environment is about to end.
            self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Waits for something on JavaScript's thread, which calls this.
    pub(crate) fn poll<T: Into<Outcome>>(
        self: &Arc<Self>,
        number: u32,
        waiting: impl Future<Output = T> + Send + 'static,
    ) {
        let call = Arc::new(Call { bridge: self.clone(), number, is_woken: AtomicBool::new(false) });
        let polled = Polled { future: Box::pin(async move { waiting.await.into() }), call };
        if let Some(outcome) = self.poll_once(polled) {
            self.put(number, outcome);
        }
    }

    fn poll_again(&self, call: u32) -> Option<Outcome> {
        let polled = self.state().polled.remove(&call)?;
        self.poll_once(polled)
    }

    fn poll_once(&self, mut polled: Polled) -> Option<Outcome> {
        // Timers of the runtime are set where it is entered.
        let entered = match runtime() {
            Ok(runtime) => runtime.enter(),
            Err(fault) => return Some(Outcome::Failed(fault)),
        };
        polled.call.is_woken.store(false, Ordering::Release);
        let waker = Waker::from(polled.call.clone());
        let poll = polled.future.as_mut().poll(&mut Context::from_waker(&waker));
        drop(entered);
        match poll {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => {
                // If it was woken meanwhile, this thread comes back to it after this.
                self.state().polled.insert(polled.call.number, polled);
                None
            }
        }
    }

    /// Waits for something in a task of the runtime, and puts what has become of it.
    pub(crate) fn spawn<T: Into<Outcome>>(
        self: &Arc<Self>,
        call: u32,
        waiting: impl Future<Output = T> + Send + 'static,
    ) {
        match runtime() {
            Ok(runtime) => {
                let bridge = self.clone();
                runtime.spawn(async move { bridge.put(call, waiting.await.into()) });
            }
            Err(fault) => self.put(call, Outcome::Failed(fault)),
        }
    }

    /// Starts a node, which ends with the environment at the latest.
    pub(crate) fn start(self: &Arc<Self>, call: u32, options: String) {
        let bridge = self.clone();
        self.spawn(call, async move {
            let node = Node::start(&options).await?;
            match bridge.register(&node) {
                Some(number) => Ok((number, node)),
                None => {
                    node.shutdown().await;
                    Err(Fault::new("stopped", "the thread has ended"))
                }
            }
        });
    }

    /// The number of a node from now on, unless the environment is gone.
    fn register(&self, node: &Node) -> Option<u64> {
        let mut state = self.state();
        if state.ended {
            return None;
        }
        state.started += 1;
        let number = state.started;
        state.nodes.insert(number, node.clone());
        Some(number)
    }

    /// Ends a node.
    pub(crate) fn shut_down(self: &Arc<Self>, call: u32, number: u64, node: Node) {
        let bridge = self.clone();
        self.spawn(call, async move {
            node.shutdown().await;
            bridge.state().nodes.remove(&number);
        });
    }

    /// The environment is about to end: its nodes say goodbye while the process goes on.
    pub(crate) fn end(&self) {
        let ended = mem::replace(&mut *self.state(), State { ended: true, ..State::default() });
        let Ok(runtime) = runtime() else { return };
        for node in ended.nodes.into_values() {
            runtime.spawn(async move { node.shutdown().await });
        }
    }
}
