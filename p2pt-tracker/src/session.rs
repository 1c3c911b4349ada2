//! The client of one tracker as a state machine without input and output of its own.

mod announce;
mod families;
#[cfg(test)]
mod family_tests;
#[cfg(test)]
mod idle_tests;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
mod own_id;
#[cfg(test)]
mod own_id_tests;
mod receive;
mod scrape;
mod socket;
#[cfg(test)]
mod socket_tests;
mod swarm;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod warning_tests;
mod warnings;

use std::collections::{BTreeMap, VecDeque};
use web_time::Instant;

use p2pt_proto::{AnswerRequest, ClientMessage, InfoHash, Offer, OfferId, PeerId};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::backoff::Backoff;
use crate::{
    AnnounceUrl, ClientConfig, ConnectError, Family, LastError, OfferEnd, Route, SocketEnd, TrackerCounters,
    TrackerEvent, TrackerState, TrackerStatus, TrackerWarning,
};
use families::Families;
use own_id::OwnId;
use receive::Suspicions;
#[cfg(feature = "client")]
pub(crate) use receive::shorten;
use scrape::Scrapes;
use socket::{PAUSE, SocketState};
use swarm::Swarm;
use warnings::Warnings;

/// No message to a tracker is longer: aquatic closes the socket at a WebSocket frame of 16 KiB, without an error.
const MAX_FRAME_BYTES: usize = 15 * 1024;
/// The most offers in one announce: as many as aquatic forwards, others forward more.
const MAX_OFFERS_PER_ANNOUNCE: usize = 10;
/// How many offers an announce carries until [`Input::SetWanted`] says otherwise: as many as those of JavaScript peers.
const FIRST_OFFERS: usize = 5;
/// Answers waiting to be written. More only gather if the tracker does not read.
const MAX_QUEUED_ANSWERS: usize = 64;
/// With this many events undelivered, the session asks for no more frames from the tracker.
const BUSY_EVENTS: usize = 64;
/// With this many events undelivered, warnings are dropped and no new socket is opened.
const MAX_EVENTS: usize = 256;

/// One socket or attempt at one; each has another id, so that what arrives late from an old socket is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u64);

/// Something that happened or is wanted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// Join a swarm.
    Join(InfoHash),
    /// Leave a swarm.
    Leave(InfoHash),
    /// How many more peers would be welcome in a swarm.
    SetWanted {
        /// Which swarm.
        info_hash: InfoHash,
        /// How many offers its announces should carry.
        offers: usize,
    },
    /// Announce again soon.
    Announce(InfoHash),
    /// The reply to [`TrackerEvent::OffersWanted`].
    Offers {
        /// Which swarm.
        info_hash: InfoHash,
        /// May be fewer than wanted.
        offers: Vec<Offer>,
    },
    /// Take offers back, because there is better use for what they hold.
    WithdrawOffers {
        /// Which swarm.
        info_hash: InfoHash,
        /// Which offers. Those that have ended are passed over.
        offers: Vec<OfferId>,
    },
    /// Answer another peer's offer.
    Answer {
        /// Which swarm.
        info_hash: InfoHash,
        /// The peer that offered.
        to: PeerId,
        /// Which offer.
        offer_id: OfferId,
        /// The answer.
        sdp: String,
    },
    /// Ask how many members these swarms have; no info hash means all swarms.
    Scrape(Vec<InfoHash>),
    /// Try to connect now rather than when the wait after a failure is over: there is reason to believe that the network
    /// works again. Ignored if the last attempt began less than 10 s ago, or the tracker has asked for a longer wait.
    Retry,
    /// Leave everything and close.
    Stop,
    /// The socket is open, the WebSocket handshake done.
    Connected {
        /// Which socket.
        socket: SocketId,
        /// How it reaches the tracker.
        route: Route,
    },
    /// The socket could not be opened.
    ConnectFailed {
        /// Which socket.
        socket: SocketId,
        /// Why.
        error: ConnectError,
    },
    /// A text or binary message arrived.
    Received {
        /// On which socket.
        socket: SocketId,
        /// The message.
        frame: Vec<u8>,
    },
    /// Another sign of life arrived, such as a pong.
    Alive(SocketId),
    /// What [`Output::Send`] or [`Output::Close`] asked for has been handed to the network.
    Sent(SocketId),
    /// A socket that was open is gone.
    Disconnected {
        /// Which socket.
        socket: SocketId,
        /// How; of no interest if that was asked for.
        end: SocketEnd,
    },
    /// The time of [`Session::poll_timeout`] has come.
    Timeout,
}

/// Something to be done with the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Open a socket; report [`Input::Connected`] or [`Input::ConnectFailed`]. There is no other one at this time.
    Connect {
        /// What to call it.
        socket: SocketId,
        /// The only address family to use, or whichever works.
        family: Option<Family>,
    },
    /// Write a frame; report [`Input::Sent`]. Until then, there is no other to be written.
    Send {
        /// On which socket.
        socket: SocketId,
        /// What to write.
        frame: Frame,
    },
    /// Begin the closing handshake; report [`Input::Disconnected`] when it is over.
    Close(SocketId),
    /// Drop the socket, or the attempt at one, at once; nothing needs to be reported.
    Abort(SocketId),
}

/// A frame to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// A text message.
    Text(String),
    /// A ping without content.
    Ping,
}

/// The client of one tracker, sans-I/O: every decision, no socket, no task, no clock.
///
/// Feed it with [`handle_input`](Self::handle_input). After each input, carry out everything
/// [`poll_output`](Self::poll_output) gives, deliver what [`poll_event`](Self::poll_event) gives, and feed
/// [`Input::Timeout`] at the time [`poll_timeout`](Self::poll_timeout) says, if nothing else happens before. Events
/// may be left where they are for a while; then also leave incoming frames unread while
/// [`wants_frames`](Self::wants_frames) says so.
///
/// Offers that were announced live on when the socket is lost: the trackers find peers by their id, so that an
/// answer may well arrive on the next socket. They are not announced there again.
///
/// No announce carries the event `started`, as with JavaScript peers; no tracker needs it.
#[derive(Debug)]
pub struct Session {
    url: AnnounceUrl,
    peer_id: PeerId,
    config: ClientConfig,
    rng: SmallRng,
    now: Instant,
    socket: SocketState,
    sockets: u64,
    backoff: Backoff,
    families: Families,
    /// The last attempt to connect failed, so offers are not asked for before the next one succeeds.
    unreachable: bool,
    /// The last attempt to connect began then.
    attempted: Option<Instant>,
    stop_by: Option<Instant>,
    swarms: BTreeMap<InfoHash, Swarm>,
    /// Swarms to which `stopped` is yet to be sent.
    departures: VecDeque<InfoHash>,
    answers: VecDeque<AnswerRequest>,
    scrapes: Scrapes,
    outputs: VecDeque<Output>,
    events: VecDeque<TrackerEvent>,
    suspicions: Suspicions,
    warnings: Warnings,
    own_id: OwnId,
    counters: TrackerCounters,
    last_error: Option<(Instant, TrackerWarning)>,
}

impl Session {
    /// A session that does nothing until a swarm is joined or a scrape is asked for.
    pub fn new(url: AnnounceUrl, peer_id: PeerId, config: ClientConfig, now: Instant) -> Self {
        let config = config.limited();
        Self {
            url,
            peer_id,
            rng: config.seed.map_or_else(rand::make_rng, SmallRng::seed_from_u64),
            now,
            socket: SocketState::Idle,
            sockets: 0,
            backoff: Backoff::new(config.backoff_min, config.backoff_max),
            families: Families::new(&config),
            unreachable: false,
            attempted: None,
            stop_by: None,
            swarms: BTreeMap::new(),
            departures: VecDeque::new(),
            answers: VecDeque::new(),
            scrapes: Scrapes::new(config.scrape_timeout),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            suspicions: Suspicions::new(now),
            warnings: Warnings::default(),
            own_id: OwnId::default(),
            counters: TrackerCounters::default(),
            last_error: None,
            config,
        }
    }

    /// Takes an input, and does what is due at `now`. A `now` before an earlier one counts as that.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let due = self.poll_timeout();
        self.now = self.now.max(now);
        if due.is_some_and(|due| due + PAUSE <= self.now) {
            self.after_a_pause();
        }
        match input {
            Input::Join(info_hash) => self.join(info_hash),
            Input::Leave(info_hash) => self.leave(info_hash),
            Input::SetWanted { info_hash, offers } => self.set_wanted(info_hash, offers),
            Input::Announce(info_hash) => self.request_announce(info_hash),
            Input::Offers { info_hash, offers } => self.take_offers(info_hash, offers),
            Input::WithdrawOffers { info_hash, offers } => self.withdraw_offers(info_hash, offers),
            Input::Answer { info_hash, to, offer_id, sdp } => self.queue_answer(info_hash, to, offer_id, sdp),
            Input::Scrape(info_hashes) => self.request_scrape(info_hashes),
            Input::Retry => self.retry(),
            Input::Stop => self.stop(),
            Input::Connected { socket, route } => self.on_connected(socket, route),
            Input::ConnectFailed { socket, error } => self.on_connect_failed(socket, error),
            Input::Received { socket, frame } => self.on_received(socket, &frame),
            Input::Alive(socket) => self.on_alive(socket),
            Input::Sent(socket) => self.on_sent(socket),
            Input::Disconnected { socket, end } => self.on_disconnected(socket, end),
            Input::Timeout => {}
        }
        self.tick();
    }

    /// The next thing to be done, if there is any.
    #[must_use = "what is polled and not carried out is lost"]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.next_frame())
    }

    /// The next event, if there is any.
    #[must_use = "what is polled and not delivered is lost"]
    pub fn poll_event(&mut self) -> Option<TrackerEvent> {
        self.events.pop_front()
    }

    /// When to feed [`Input::Timeout`]. Valid once [`poll_output`](Self::poll_output) has given everything.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let swarms = self.swarms.values().filter_map(|swarm| swarm.pool.next_expiry());
        let announces = self.next_announce_or_ask();
        let times = [self.socket_timeout(), self.scrapes.next_deadline(), announces];
        swarms.chain(times.into_iter().flatten()).min()
    }

    /// Whether events wait to be polled.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether frames from the tracker should be read now, or rather left where they are, since the events that
    /// earlier ones caused have not been polled.
    pub fn wants_frames(&self) -> bool {
        self.events.len() < BUSY_EVENTS
    }

    /// Whether the session was stopped and has no socket any more.
    pub fn is_stopped(&self) -> bool {
        matches!(self.socket, SocketState::Stopped)
    }

    /// A snapshot.
    pub fn state(&self, now: Instant) -> TrackerState {
        let status = match &self.socket {
            SocketState::Idle => TrackerStatus::Idle,
            SocketState::Connecting { .. } => TrackerStatus::Connecting,
            SocketState::Open(_) if self.stop_by.is_some() => TrackerStatus::Closing,
            SocketState::Open(_) => TrackerStatus::Connected,
            SocketState::Closing { .. } => TrackerStatus::Closing,
            SocketState::Waiting { until } => {
                TrackerStatus::WaitingToReconnect { retry_in: until.saturating_duration_since(now) }
            }
            SocketState::Stopped => TrackerStatus::Stopped,
        };
        let mut swarms = BTreeMap::new();
        swarms.extend(self.swarms.iter().map(|(info_hash, swarm)| (*info_hash, swarm.state())));
        TrackerState {
            url: self.url.clone(),
            status,
            family: if let SocketState::Open(open) = &self.socket { open.route.family } else { None },
            swarms,
            last_error: self
                .last_error
                .as_ref()
                .map(|(at, warning)| LastError { warning: warning.clone(), age: now.saturating_duration_since(*at) }),
            counters: self.counters,
        }
    }

    fn join(&mut self, info_hash: InfoHash) {
        if self.stop_by.is_some() || self.swarms.contains_key(&info_hash) {
            return;
        }
        self.swarms.insert(info_hash, Swarm::new(self.now, &self.config));
        self.ask_for_offers(info_hash);
    }

    fn leave(&mut self, info_hash: InfoHash) {
        let Some(swarm) = self.swarms.remove(&info_hash) else { return };
        if swarm.is_known_to_tracker() {
            self.departures.push_back(info_hash);
        }
        self.answers.retain(|answer| answer.info_hash != info_hash);
        self.retract_offers_wanted(info_hash);
        for offer_id in swarm.pool.into_ids() {
            self.end_offer(info_hash, offer_id, OfferEnd::Withdrawn);
        }
    }

    fn stop(&mut self) {
        if self.stop_by.is_some() {
            return;
        }
        self.stop_by = Some(self.now + self.config.stop_timeout);
        for info_hash in self.swarms.keys().copied().collect::<Vec<_>>() {
            self.leave(info_hash);
        }
        self.scrapes.clear();
        self.stop_socket();
    }

    fn queue_answer(&mut self, info_hash: InfoHash, to_peer_id: PeerId, offer_id: OfferId, sdp: String) {
        let answer = AnswerRequest::new(info_hash, self.peer_id, to_peer_id, offer_id, sdp);
        let wanted = self.swarms.contains_key(&info_hash)
            && matches!(self.socket, SocketState::Open(_))
            && self.answers.len() < MAX_QUEUED_ANSWERS;
        // Escapes only ever add to the length, so that long answers are refused without encoding them twice.
        if wanted && answer.sdp.len() < MAX_FRAME_BYTES && encoded_answer(&answer).len() <= MAX_FRAME_BYTES {
            self.answers.push_back(answer);
        } else {
            self.warn_answer_dropped(&answer);
        }
    }

    fn warn_answer_dropped(&mut self, answer: &AnswerRequest) {
        let AnswerRequest { info_hash, to_peer_id: to, offer_id, .. } = *answer;
        self.warn(TrackerWarning::AnswerDropped { info_hash, to, offer_id });
    }

    fn request_scrape(&mut self, info_hashes: Vec<InfoHash>) {
        if self.stop_by.is_some() {
            return;
        }
        for info_hashes in self.scrapes.request(self.now, info_hashes) {
            self.scrape_failed(info_hashes);
        }
    }

    fn end_offer(&mut self, info_hash: InfoHash, offer_id: OfferId, end: OfferEnd) {
        self.events.push_back(TrackerEvent::OfferEnded { info_hash, offer_id, end });
    }

    fn scrape_failed(&mut self, info_hashes: Vec<InfoHash>) {
        self.events.push_back(TrackerEvent::ScrapeFailed { info_hashes: info_hashes.clone() });
        self.warn(TrackerWarning::ScrapeFailed { info_hashes });
    }

    fn warn(&mut self, warning: TrackerWarning) {
        self.counters.warnings += 1;
        self.last_error = Some((self.now, warning.clone()));
        if self.events.len() >= MAX_EVENTS {
            self.warnings.leave_out(&warning);
        } else if let Some(missed) = self.warnings.admit(self.now, &warning) {
            tracing::debug!(%warning, missed, "trouble");
            self.events.push_back(TrackerEvent::Warning { warning, missed });
        }
    }
}

fn encoded_answer(answer: &AnswerRequest) -> String {
    ClientMessage::Answer(answer.clone()).encode()
}
