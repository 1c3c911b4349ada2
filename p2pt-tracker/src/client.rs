//! The task that drives a `Session` over real sockets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{InfoHash, Offer, OfferId, PeerId};
use p2pt_rt::{JoinHandle, now};
use tokio::sync::{Notify, mpsc};
use tracing::Instrument as _;

use crate::socket_driver::SocketDriver;
use crate::{AnnounceUrl, ClientConfig, Connector, Input, Session, TrackerEvent, TrackerState};

/// What stopping may take beyond the session's own deadline, for the last events to be delivered.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A handle to the client of one tracker.
///
/// Its methods only note what is wanted and wake the client's task; none but [`stop`](Self::stop) waits for anything.
/// Dropping the handle ends the task at once and drops the socket without `stopped` or a close frame. Trackers notice
/// that too.
#[derive(Debug)]
#[must_use = "dropping the handle ends the client"]
pub struct TrackerClient {
    shared: Arc<Shared>,
    stop_timeout: Duration,
    /// The context of what the session logs, here as in the task.
    span: tracing::Span,
    /// Locked while [`TrackerClient::stop`] waits for the end of the task.
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    session: Mutex<Session>,
    /// Wakes the task after something was fed to the session.
    wake: Notify,
}

impl Shared {
    /// A panic elsewhere leaves the session as it was between two inputs at worst, so poisoning is no reason to fail.
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn input(&self, input: Input) {
        self.session().handle_input(now(), input);
    }
}

impl TrackerClient {
    /// Starts a task that serves the tracker at `url`. It connects as soon as a swarm is joined or a scrape is asked
    /// for. Events come through `events`, each with `key`, by which the owner of several clients distinguishes them, also
    /// two that serve the same tracker one after the other. While `events` is full, the client stops reading from the
    /// tracker, and once its receiver is dropped, the client stops.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<K: Clone + Send + Sync + 'static>(
        url: AnnounceUrl,
        peer_id: PeerId,
        config: ClientConfig,
        connector: Arc<dyn Connector>,
        key: K,
        events: mpsc::Sender<(K, TrackerEvent)>,
    ) -> Self {
        let config = config.limited();
        let stop_timeout = config.stop_timeout;
        let session = Session::new(url.clone(), peer_id, config, now());
        let shared = Arc::new(Shared { session: Mutex::new(session), wake: Notify::new() });
        let span = tracing::error_span!("tracker", %url);
        let driver = Driver { shared: shared.clone(), url, connector, key, events };
        let task = tokio::sync::Mutex::new(Some(p2pt_rt::spawn(driver.run().instrument(span.clone()))));
        Self { shared, stop_timeout, span, task }
    }

    /// Joins a swarm: announces to it until it is left. [`TrackerEvent::OffersWanted`] follows at once.
    pub fn join(&self, info_hash: InfoHash) {
        self.feed(Input::Join(info_hash));
    }

    /// Leaves a swarm: all its offers end, and nothing but `stopped` is sent for it any more.
    pub fn leave(&self, info_hash: InfoHash) {
        self.feed(Input::Leave(info_hash));
    }

    /// How many more peers would be welcome in a swarm that was joined, which sets how many offers an announce
    /// carries: at most 10; none for 0. The default is 5.
    pub fn set_wanted(&self, info_hash: InfoHash, offers: usize) {
        self.feed(Input::SetWanted { info_hash, offers });
    }

    /// Tries to connect now rather than when the wait after a failure is over: there is reason to believe that the network
    /// works again. Without effect if the last attempt began less than 10 s ago, or the tracker has asked for a longer
    /// wait.
    pub fn retry(&self) {
        self.feed(Input::Retry);
    }

    /// Announces again, as soon as offers are there and the last announce is some seconds old
    /// ([`ClientConfig::request_spacing`]).
    pub fn announce(&self, info_hash: InfoHash) {
        self.feed(Input::Announce(info_hash));
    }

    /// Hands in offers, the reply to [`TrackerEvent::OffersWanted`]; it may be fewer than wanted, or none. Each of
    /// them ends in exactly one [`TrackerEvent::Answer`] or [`TrackerEvent::OfferEnded`].
    pub fn offers(&self, info_hash: InfoHash, offers: Vec<Offer>) {
        self.feed(Input::Offers { info_hash, offers });
    }

    /// Takes offers back, which end as [`OfferEnd::Withdrawn`](crate::OfferEnd). Until the socket is open, no others are
    /// asked for in their place; then [`TrackerEvent::OffersWanted`] follows, also where none were taken back.
    pub fn withdraw_offers(&self, info_hash: InfoHash, offers: Vec<OfferId>) {
        self.feed(Input::WithdrawOffers { info_hash, offers });
    }

    /// Answers the offer of a peer ([`TrackerEvent::Offer`]).
    pub fn answer(&self, info_hash: InfoHash, to: PeerId, offer_id: OfferId, sdp: String) {
        self.feed(Input::Answer { info_hash, to, offer_id, sdp });
    }

    /// Asks how many members swarms have, whether joined or not; no info hashes at all ask for every swarm, which
    /// some trackers refuse. [`TrackerEvent::Scraped`] or [`TrackerEvent::ScrapeFailed`] follow, one or the other for each
    /// 64 info hashes. Requests are sent one after the other; more than 64 that wait fail at once.
    pub fn scrape(&self, info_hashes: Vec<InfoHash>) {
        self.feed(Input::Scrape(info_hashes));
    }

    /// A snapshot of the client's state.
    pub fn state(&self) -> TrackerState {
        self.shared.session().state(now())
    }

    /// Stops: sends `stopped` for every swarm and closes the socket, within [`ClientConfig::stop_timeout`]. All
    /// offers end. When this returns, there are no more events. Keep reading events meanwhile, or the last ones may
    /// be lost. Stopping twice is no error. If this is cancelled, the client goes on stopping until it is dropped.
    pub async fn stop(&self) {
        self.feed(Input::Stop);
        // The handle is left where `drop` finds it until the task has ended.
        let mut slot = self.task.lock().await;
        let Some(task) = slot.as_mut() else { return };
        if p2pt_rt::timeout(self.stop_timeout + STOP_GRACE, &mut *task).await.is_err() {
            task.abort();
            // Ends in an error by intention; awaited so that nothing of it is left when this returns.
            let _ = task.await;
        }
        *slot = None;
    }

    fn feed(&self, input: Input) {
        self.span.in_scope(|| self.shared.input(input));
        self.shared.wake.notify_one();
    }
}

impl Drop for TrackerClient {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

struct Driver<K> {
    shared: Arc<Shared>,
    url: AnnounceUrl,
    connector: Arc<dyn Connector>,
    key: K,
    events: mpsc::Sender<(K, TrackerEvent)>,
}

impl<K: Clone + Send + Sync + 'static> Driver<K> {
    async fn run(self) {
        let mut socket = SocketDriver::default();
        let mut receiver_dropped = false;
        loop {
            let pending = self.drain(&mut socket, receiver_dropped);
            if pending.done {
                return;
            }
            // In this order, so that the same inputs lead to the same outcome; the tracker, which may flood, comes last.
            tokio::select! {
                biased;
                () = self.events.closed(), if !receiver_dropped => {
                    receiver_dropped = true;
                    self.shared.input(Input::Stop);
                }
                () = self.shared.wake.notified() => {}
                () = sleep_until(pending.timeout) => {
                    if !pending.reading {
                        // Silence proves nothing while the socket is not read.
                        socket.report_alive(|input| self.shared.input(input));
                    }
                    self.shared.input(Input::Timeout);
                }
                // The room is used here: given back, it would go to the next client that waits, and from that to another,
                // with none of them delivering anything.
                Ok(room) = self.events.reserve(), if pending.events => {
                    if let Some(event) = self.shared.session().poll_event() {
                        room.send((self.key.clone(), event));
                    }
                }
                input = socket.next(pending.reading) => self.shared.input(input),
            }
        }
    }

    /// Carries out what the session wants, delivers the events there is room for, and returns what to wait for next.
    fn drain(&self, socket: &mut SocketDriver, receiver_dropped: bool) -> Pending {
        let mut session = self.shared.session();
        while let Some(output) = session.poll_output() {
            socket.carry_out(output, &self.connector, &self.url);
        }
        if receiver_dropped {
            while session.poll_event().is_some() {}
        }
        while session.has_events()
            && let Ok(room) = self.events.try_reserve()
            && let Some(event) = session.poll_event()
        {
            room.send((self.key.clone(), event));
        }
        Pending {
            timeout: session.poll_timeout(),
            events: session.has_events(),
            reading: session.wants_frames(),
            done: session.is_stopped() && !session.has_events(),
        }
    }
}

/// What the driver waits for.
struct Pending {
    timeout: Option<Instant>,
    events: bool,
    reading: bool,
    done: bool,
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => p2pt_rt::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
