//! The connections of a tracker that behaves as a profile says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::swarms::{Connection, Swarms, Verdict};
use super::{Family, Log, Misbehaviour, TrackerProfile};

/// aquatic's write limit; the others have theirs elsewhere, and none waits forever.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// A tracker that behaves as its [`TrackerProfile`] says. Clones are the same tracker.
#[derive(Debug, Clone)]
pub struct ProfiledTracker {
    profile: Arc<TrackerProfile>,
    swarms: Arc<Mutex<Swarms>>,
}

impl ProfiledTracker {
    /// A tracker without swarms; the seed decides who gets which offer.
    pub fn new(profile: TrackerProfile, seed: u64) -> Self {
        let profile = Arc::new(profile);
        let swarms = Swarms::new(profile.clone(), seed, Instant::now());
        Self { profile, swarms: Arc::new(Mutex::new(swarms)) }
    }

    /// How it behaves.
    pub fn profile(&self) -> &TrackerProfile {
        &self.profile
    }

    /// What has happened.
    pub fn log(&self) -> Log {
        self.with(|swarms| swarms.log())
    }

    /// How many members all swarms have together.
    pub fn members(&self) -> usize {
        self.with(|swarms| swarms.members())
    }

    /// Makes it take so long over each message from now on; not at all at first, unless that is its [`Misbehaviour`].
    pub fn set_pace(&self, pace: Duration) {
        self.with(|swarms| swarms.pace = pace);
    }

    /// Serves one byte stream to its end.
    pub fn serve<S>(&self, stream: S, family: Family) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.clone().run(stream, family)
    }

    async fn run<S>(self, stream: S, family: Family)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.profile.misbehaviour == Some(Misbehaviour::NoHandshake) {
            let _held = stream;
            return std::future::pending().await;
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .max_frame_size(Some(self.profile.max_frame_bytes))
            .max_message_size(Some(self.profile.max_message_bytes));
        let Ok(socket) = accept_async_with_config(stream, Some(config)).await else { return };
        if self.profile.misbehaviour == Some(Misbehaviour::Deafness) {
            let _held = socket;
            return std::future::pending().await;
        }
        let (outbox, mut queued) = mpsc::channel(self.profile.queue);
        let connection = self.with(|swarms| swarms.open(Instant::now(), outbox, family));
        let _member = Membership { tracker: &self, connection };
        let (mut sink, mut source) = socket.split();
        let reading = async {
            while let Some(Ok(message)) = source.next().await {
                self.with(|swarms| swarms.heard(Instant::now(), connection));
                if !(message.is_text() || message.is_binary()) {
                    continue;
                }
                sleep(self.with(|swarms| swarms.pace)).await;
                let now = Instant::now();
                if self.with(|swarms| swarms.received(now, connection, &message.into_data())) == Verdict::Close {
                    return;
                }
            }
        };
        let writing = async {
            loop {
                let idle_at = self.with(|swarms| swarms.idle_at(connection));
                let closes = async {
                    match idle_at {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    Some(out) = queued.recv() => {
                        if !matches!(timeout(WRITE_DEADLINE, sink.send(Message::text(out.text))).await, Ok(Ok(()))) {
                            return;
                        }
                        if out.is_reply {
                            self.with(|swarms| swarms.replied(Instant::now(), connection));
                        }
                    }
                    () = closes => {
                        if self.with(|swarms| swarms.idle_at(connection)).is_some_and(|at| at <= Instant::now()) {
                            return;
                        }
                    }
                }
            }
        };
        // Whichever ends first, the stream is dropped without a close frame: what clients meet most.
        tokio::select! {
            biased;
            () = reading => {}
            () = writing => {}
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Swarms) -> T) -> T {
        look(&mut self.swarms.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Closing the socket ends its memberships, however its task ends.
struct Membership<'a> {
    tracker: &'a ProfiledTracker,
    connection: Connection,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.tracker.with(|swarms| swarms.closed(self.connection));
    }
}
