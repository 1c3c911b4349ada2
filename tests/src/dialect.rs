//! An in-process tracker that behaves as each of the four known servers does, as far as a client can tell, and one
//! that lies. What differs between them is data: the switches of a [`Dialect`].
//!
//! It is stricter than any of them where that shows a client's mistake: a field that is `null` is bad input to all.

mod lie;
mod swarms;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub use lie::Lie;
pub use swarms::Log;
use swarms::{Connection, Swarms, Verdict};

/// aquatic's write limit; the others have theirs elsewhere, and none waits forever.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// How a tracker behaves.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// The server that behaves so.
    pub name: &'static str,
    /// Offers forwarded for one announce; the rest vanish.
    pub max_offers: usize,
    /// No more offers are forwarded than `numwant` says, and none without it.
    pub needs_numwant: bool,
    /// A longer WebSocket frame ends the connection without a word.
    pub max_frame_bytes: usize,
    /// A longer message does.
    pub max_message_bytes: usize,
    /// The interval it replies with.
    pub interval: Duration,
    /// What `event` may be, where it is given.
    pub events: &'static [&'static str],
    /// `stopped` is replied to.
    pub replies_to_stopped: bool,
    /// An answer is replied to as an announce is.
    pub replies_to_answers: bool,
    /// What follows bad input.
    pub bad_input: BadInput,
    /// What follows an announce under a peer id that another connection holds.
    pub same_id: SameId,
    /// A second peer id on one connection is bad input.
    pub one_id: bool,
    /// What follows an answer to nobody.
    pub stray_answer: StrayAnswer,
    /// Answers are taken only to offers that were forwarded, this long at most.
    pub answer_within: Option<Duration>,
    /// When peers that do not announce are forgotten.
    pub expiry: Option<Expiry>,
    /// A connection that got no reply for this long is closed.
    pub idle_close: Option<Duration>,
    /// Messages that wait to be written to one connection; more are dropped.
    pub queue: usize,
    /// Members that connected over IPv4 and IPv6 are kept apart.
    pub splits_families: bool,
    /// It does worse than that.
    pub lie: Option<Lie>,
}

/// What follows bad input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadInput {
    /// A failure without action and info hash; the connection stays.
    Failure,
    /// The connection is dropped without a close frame.
    Close,
}

/// What follows an announce under a peer id that another connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameId {
    /// It is replied to, but offers and answers go to the other connection, and with that the member goes.
    HolderStays,
    /// Nothing.
    Ignored,
    /// The other connection loses all its memberships to it.
    Evicts,
}

/// What follows an answer to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayAnswer {
    /// Nothing.
    Dropped,
    /// A failure.
    Failure,
    /// The answerer's connection is dropped.
    Close,
}

/// When peers that do not announce are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// How old the last announce may be.
    pub after: Duration,
    /// How often that is looked at.
    pub swept_every: Duration,
}

/// Which kind of address a client connects from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

const SECOND: Duration = Duration::from_secs(1);

impl Dialect {
    /// bittorrent-tracker 11, the npm package.
    pub fn bittorrent_tracker() -> Self {
        Self {
            name: "bittorrent-tracker",
            max_offers: 82,
            needs_numwant: false,
            max_frame_bytes: 100 << 20,
            max_message_bytes: 100 << 20,
            interval: 120 * SECOND,
            events: &["", "started", "stopped", "completed", "update", "paused"],
            replies_to_stopped: true,
            replies_to_answers: false,
            bad_input: BadInput::Failure,
            same_id: SameId::HolderStays,
            one_id: false,
            stray_answer: StrayAnswer::Dropped,
            answer_within: None,
            expiry: Some(Expiry { after: 1200 * SECOND, swept_every: 60 * SECOND }),
            idle_close: None,
            queue: 10_000,
            splits_families: false,
            lie: None,
        }
    }

    /// aquatic_ws.
    pub fn aquatic() -> Self {
        Self {
            name: "aquatic_ws",
            max_offers: 10,
            needs_numwant: false,
            max_frame_bytes: 16 << 10,
            max_message_bytes: 64 << 10,
            interval: 120 * SECOND,
            events: &["started", "stopped", "completed"],
            replies_to_stopped: true,
            replies_to_answers: true,
            bad_input: BadInput::Failure,
            same_id: SameId::Ignored,
            one_id: true,
            stray_answer: StrayAnswer::Failure,
            answer_within: Some(120 * SECOND),
            expiry: Some(Expiry { after: 180 * SECOND, swept_every: 30 * SECOND }),
            idle_close: Some(180 * SECOND),
            queue: 16,
            splits_families: true,
            lie: None,
        }
    }

    /// wt-tracker, with the interval of its code, not of its sample configuration.
    pub fn wt_tracker() -> Self {
        Self {
            name: "wt-tracker",
            max_offers: 20,
            needs_numwant: true,
            max_frame_bytes: 64 << 10,
            max_message_bytes: 64 << 10,
            interval: 20 * SECOND,
            events: &["started", "stopped", "completed"],
            replies_to_stopped: false,
            replies_to_answers: false,
            bad_input: BadInput::Close,
            same_id: SameId::Evicts,
            one_id: false,
            stray_answer: StrayAnswer::Close,
            answer_within: None,
            expiry: Some(Expiry { after: 40 * SECOND, swept_every: 20 * SECOND }),
            idle_close: None,
            queue: 10_000,
            splits_families: false,
            lie: None,
        }
    }

    /// openwebtorrent-tracker, the server behind tracker.openwebtorrent.com.
    pub fn open_web_torrent() -> Self {
        Self {
            name: "openwebtorrent-tracker",
            interval: 120 * SECOND,
            events: &["", "started", "stopped", "completed"],
            one_id: true,
            expiry: None,
            ..Self::wt_tracker()
        }
    }

    /// All four.
    pub fn all() -> [Self; 4] {
        [Self::bittorrent_tracker(), Self::aquatic(), Self::wt_tracker(), Self::open_web_torrent()]
    }

    /// The same, but it lies.
    #[must_use]
    pub fn lying(mut self, lie: Lie) -> Self {
        self.lie = Some(lie);
        self
    }
}

/// A tracker that behaves as its [`Dialect`] says. Clones are the same tracker.
#[derive(Debug, Clone)]
pub struct DialectTracker {
    dialect: Arc<Dialect>,
    swarms: Arc<Mutex<Swarms>>,
}

impl DialectTracker {
    /// A tracker without swarms; the seed decides who gets which offer.
    pub fn new(dialect: Dialect, seed: u64) -> Self {
        let dialect = Arc::new(dialect);
        let swarms = Swarms::new(dialect.clone(), seed, Instant::now());
        Self { dialect, swarms: Arc::new(Mutex::new(swarms)) }
    }

    /// What has happened.
    pub fn log(&self) -> Log {
        self.with(|swarms| swarms.log())
    }

    /// How many members all swarms have together.
    pub fn members(&self) -> usize {
        self.with(|swarms| swarms.members())
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
        if self.dialect.lie == Some(Lie::NoHandshake) {
            let _held = stream;
            return std::future::pending().await;
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .max_frame_size(Some(self.dialect.max_frame_bytes))
            .max_message_size(Some(self.dialect.max_message_bytes));
        let Ok(socket) = accept_async_with_config(stream, Some(config)).await else { return };
        if self.dialect.lie == Some(Lie::Deafness) {
            let _held = socket;
            return std::future::pending().await;
        }
        let (outbox, mut queued) = mpsc::channel(self.dialect.queue);
        let connection = self.with(|swarms| swarms.open(outbox, family));
        let _member = Membership { tracker: &self, connection };
        let (mut sink, mut source) = socket.split();
        let reading = async {
            while let Some(Ok(message)) = source.next().await {
                if !(message.is_text() || message.is_binary()) {
                    continue;
                }
                if self.dialect.lie == Some(Lie::Slowness) {
                    sleep(Lie::SLOWNESS).await;
                }
                let now = Instant::now();
                if self.with(|swarms| swarms.received(now, connection, &message.into_data())) == Verdict::Close {
                    return;
                }
            }
        };
        let writing = async {
            let idle = self.dialect.idle_close;
            let mut replied = Instant::now();
            loop {
                let closes = async {
                    match idle {
                        Some(after) => sleep_until(replied + after).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    Some(out) = queued.recv() => {
                        if !matches!(timeout(WRITE_DEADLINE, sink.send(Message::text(out.text))).await, Ok(Ok(()))) {
                            return;
                        }
                        if out.is_reply {
                            replied = Instant::now();
                        }
                    }
                    () = closes => return,
                }
            }
        };
        // Whichever ends first, the stream is dropped without a close frame: what clients meet most.
        tokio::select! {
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
    tracker: &'a DialectTracker,
    connection: Connection,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.tracker.with(|swarms| swarms.closed(self.connection));
    }
}
