//! The life of the one socket: connecting, keeping alive, losing, closing.

use std::collections::BTreeMap;
use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{Announce, AnnounceEvent, ClientMessage, InfoHash};

use super::{Frame, MAX_EVENTS, Output, Session, SocketId, encoded_answer};
use crate::{ClientConfig, ConnectError, Route, SocketEnd, TrackerEvent, TrackerWarning};

/// A reply may be this late and still be to what was sent then.
const REPLY_DELAY: Duration = Duration::from_secs(30);

/// A tracker may ask for so long a wait before the next attempt and not for more (`Retry-After`). Those who limit rates
/// count in windows of seconds to ten minutes, and a wrong or ill-meant number must not cost a tracker for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The shortest time between two attempts to connect where the second is made because another tracker was reached.
const RETRY_SPACING: Duration = Duration::from_secs(10);

/// What is noticed so late was noticed by a side that did not run: a page that was frozen, a process that was stopped, a
/// machine that slept. What has come meanwhile has yet to be read, for which there is as much time again.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum SocketState {
    /// No socket, nothing to do.
    Idle,
    Connecting {
        id: SocketId,
        deadline: Instant,
    },
    Open(OpenSocket),
    /// The closing handshake is under way.
    Closing {
        id: SocketId,
        deadline: Instant,
        /// Why we close.
        end: SocketEnd,
    },
    /// No socket until the back-off is over.
    Waiting {
        until: Instant,
    },
    Stopped,
}

#[derive(Debug)]
pub(super) struct OpenSocket {
    pub(super) id: SocketId,
    pub(super) route: Route,
    opened: Instant,
    /// `None` if no pings can be sent.
    next_ping: Option<Instant>,
    /// A ping was sent and nothing has been received since.
    pong_deadline: Option<Instant>,
    /// When what trackers reply to was sent, if nothing has been received since.
    asked: Option<Instant>,
    /// A frame is being written.
    write_deadline: Option<Instant>,
    /// Since when there has been nothing to do.
    idle_since: Option<Instant>,
    /// Until when a reply may be to something else than the last announce: an answer, `stopped`, an earlier announce.
    stray_replies_until: BTreeMap<InfoHash, Instant>,
}

impl OpenSocket {
    pub(super) fn is_writing(&self) -> bool {
        self.write_deadline.is_some()
    }

    /// When the socket counts as dead if nothing is received: not before one with pings would, so that on such a socket pings
    /// alone decide.
    fn silent_at(&self, config: &ClientConfig) -> Option<Instant> {
        self.asked.map(|asked| asked + config.ping_interval + config.ping_timeout)
    }

    /// Notes that a reply other than that to the next announce may come.
    pub(super) fn expect_stray_reply(&mut self, now: Instant, info_hash: InfoHash) {
        self.stray_replies_until.retain(|_, until| *until > now);
        self.stray_replies_until.insert(info_hash, now + REPLY_DELAY);
    }

    /// Whether a reply can only be to the announce of that time.
    pub(super) fn is_reply_certain(&self, info_hash: InfoHash, announced: Instant) -> bool {
        self.stray_replies_until.get(&info_hash).is_none_or(|until| *until <= announced)
    }
}

impl OpenSocket {
    /// Puts off what would end the socket before this time.
    fn spare_until(&mut self, until: Instant, config: &ClientConfig) {
        for deadline in [&mut self.pong_deadline, &mut self.write_deadline].into_iter().flatten() {
            *deadline = until.max(*deadline);
        }
        if let Some(silent_at) = self.silent_at(config).filter(|silent_at| *silent_at < until) {
            self.asked = self.asked.map(|asked| asked + (until - silent_at));
        }
    }
}

impl SocketState {
    pub(super) fn open(&mut self) -> Option<&mut OpenSocket> {
        match self {
            Self::Open(open) => Some(open),
            _ => None,
        }
    }
}

impl Session {
    fn connect(&mut self) {
        self.sockets += 1;
        let id = SocketId(self.sockets);
        let (family, timeout) = self.families.next(&self.config);
        self.socket = SocketState::Connecting { id, deadline: self.now + timeout };
        self.attempted = Some(self.now);
        tracing::debug!(family = family.map(tracing::field::display), "connecting");
        self.outputs.push_back(Output::Connect { socket: id, family });
        if !self.unreachable {
            for info_hash in self.swarms.keys().copied().collect::<Vec<_>>() {
                self.ask_before_connected(info_hash);
            }
        }
    }

    pub(super) fn on_connected(&mut self, socket: SocketId, route: Route) {
        if !matches!(self.socket, SocketState::Connecting { id, .. } if id == socket) {
            return;
        }
        self.unreachable = false;
        self.families.connected();
        self.counters.connects += 1;
        self.socket = SocketState::Open(OpenSocket {
            id: socket,
            route,
            opened: self.now,
            next_ping: Some(self.now + self.config.ping_interval).filter(|_| !route.no_pings),
            pong_deadline: None,
            asked: None,
            write_deadline: None,
            idle_since: None,
            stray_replies_until: BTreeMap::new(),
        });
        tracing::debug!(family = route.family.map(tracing::field::display), "connected");
        self.events.push_back(TrackerEvent::Connected);
        for info_hash in self.swarms.keys().copied().collect::<Vec<_>>() {
            self.plan_first_announce(info_hash);
        }
    }

    /// Nothing was read for a while, so that the tracker's silence proves nothing yet.
    pub(super) fn after_a_pause(&mut self) {
        let until = self.now + PAUSE;
        match &mut self.socket {
            SocketState::Connecting { deadline, .. } => *deadline = until.max(*deadline),
            SocketState::Open(open) => open.spare_until(until, &self.config),
            _ => {}
        }
    }

    pub(super) fn on_alive(&mut self, socket: SocketId) {
        if let SocketState::Open(open) = &mut self.socket
            && open.id == socket
        {
            open.pong_deadline = None;
            open.asked = None;
        }
    }

    pub(super) fn on_sent(&mut self, socket: SocketId) {
        if let SocketState::Open(open) = &mut self.socket
            && open.id == socket
        {
            open.write_deadline = None;
        }
    }

    pub(super) fn on_connect_failed(&mut self, socket: SocketId, error: ConnectError) {
        if matches!(self.socket, SocketState::Connecting { id, .. } if id == socket) {
            self.connect_failed(error);
        }
    }

    pub(super) fn on_disconnected(&mut self, socket: SocketId, end: SocketEnd) {
        match &self.socket {
            SocketState::Open(open) if open.id == socket => self.lose_socket(end),
            SocketState::Closing { id, .. } if *id == socket => self.close_finished(),
            _ => {}
        }
    }

    /// Does what is due to the socket at this time.
    pub(super) fn tick_socket(&mut self) {
        let now = self.now;
        match &mut self.socket {
            SocketState::Connecting { id, deadline } if *deadline <= now => {
                let abort = Output::Abort(*id);
                self.outputs.push_back(abort);
                self.connect_failed(ConnectError::Timeout(self.families.next(&self.config).1));
            }
            SocketState::Open(open) => {
                let dead = if open.write_deadline.is_some_and(|deadline| deadline <= now) {
                    Some(SocketEnd::DoesNotRead)
                } else if open.pong_deadline.is_some_and(|deadline| deadline <= now) {
                    Some(SocketEnd::DoesNotAnswer)
                } else if open.silent_at(&self.config).is_some_and(|deadline| deadline <= now) {
                    Some(SocketEnd::Silent)
                } else if self.stop_by.is_some_and(|deadline| deadline <= now) {
                    Some(SocketEnd::Stopped)
                } else {
                    None
                };
                if let Some(end) = dead {
                    let abort = Output::Abort(open.id);
                    self.outputs.push_back(abort);
                    self.lose_socket(end);
                } else {
                    self.close_if_done();
                    self.change_family();
                }
            }
            SocketState::Closing { id, deadline, .. } if *deadline <= now => {
                let abort = Output::Abort(*id);
                self.outputs.push_back(abort);
                self.close_finished();
            }
            SocketState::Waiting { until } if *until <= now => {
                if self.events.len() >= MAX_EVENTS {
                    // Events are not taken; without this, those of failing attempts would pile up.
                    *until = now + self.config.backoff_max;
                } else {
                    self.socket = SocketState::Idle;
                }
            }
            _ => {}
        }
        if matches!(self.socket, SocketState::Idle) && self.has_work() {
            self.connect();
        }
    }

    fn close_if_done(&mut self) {
        let has_work = self.has_work();
        let SocketState::Open(open) = &mut self.socket else { return };
        if has_work {
            open.idle_since = None;
            return;
        }
        let idle_since = *open.idle_since.get_or_insert(self.now);
        let done = self.stop_by.is_some() || idle_since + self.config.idle_timeout <= self.now;
        if done && !open.is_writing() {
            let id = open.id;
            let deadline = self.stop_by.unwrap_or(self.now + self.config.stop_timeout);
            let end = if self.stop_by.is_some() { SocketEnd::Stopped } else { SocketEnd::Idle };
            self.socket = SocketState::Closing { id, deadline, end };
            self.outputs.push_back(Output::Close(id));
        }
    }

    fn has_work(&self) -> bool {
        !self.swarms.is_empty() || !self.departures.is_empty() || self.scrapes.is_busy()
    }

    /// Brings the socket to its end after `stop`; a socket that is open sends `stopped` first.
    pub(super) fn stop_socket(&mut self) {
        match self.socket {
            SocketState::Connecting { id, .. } => {
                self.outputs.push_back(Output::Abort(id));
                self.socket = SocketState::Stopped;
            }
            SocketState::Idle | SocketState::Waiting { .. } => self.socket = SocketState::Stopped,
            SocketState::Open(_) | SocketState::Closing { .. } | SocketState::Stopped => {}
        }
    }

    fn connect_failed(&mut self, error: ConnectError) {
        self.counters.connects_failed += 1;
        if self.families.turn_back() {
            tracing::debug!(%error, "the other address family does not work");
            self.socket = SocketState::Idle;
            return;
        }
        self.unreachable = true;
        let retry_in = self.wait_to_reconnect(error.retry_after());
        let retry_in = self.shorten_wait(retry_in, &error);
        self.events.push_back(TrackerEvent::ConnectFailed { retry_in });
        self.warn(TrackerWarning::ConnectFailed { error, retry_in });
    }

    /// An attempt that met nothing but silence cost the tracker nothing, so that the time it took is a part of the wait.
    fn shorten_wait(&mut self, retry_in: Duration, error: &ConnectError) -> Duration {
        let (ConnectError::Timeout(took), SocketState::Waiting { until }) = (error, &mut self.socket) else {
            return retry_in;
        };
        let left = retry_in.saturating_sub(*took).max(self.config.backoff_min);
        *until = self.now + left;
        left
    }

    /// The network works again, or so it seems.
    pub(super) fn retry(&mut self) {
        let is_old = self.attempted.is_some_and(|at| self.now >= at + RETRY_SPACING);
        // A longer wait than the longest of this side is one that the tracker has asked for.
        let longest = self.now + self.config.backoff_max;
        if let SocketState::Waiting { until } = &mut self.socket
            && is_old
            && *until <= longest
        {
            tracing::debug!("reconnecting at once, since another tracker is reached");
            *until = self.now;
        }
    }

    fn lose_socket(&mut self, end: SocketEnd) {
        if let SocketState::Open(open) = &self.socket
            && open.opened + self.config.stable_after <= self.now
        {
            self.backoff.reset();
        }
        self.families.lost();
        let retry_in = self.wait_to_reconnect(None);
        self.socket_is_gone(end.clone());
        if self.stop_by.is_none() {
            self.counters.sockets_lost += 1;
            self.warn(TrackerWarning::Disconnected { end, retry_in });
        }
    }

    fn close_finished(&mut self) {
        let next = if self.stop_by.is_some() { SocketState::Stopped } else { SocketState::Idle };
        if let SocketState::Closing { end, .. } = std::mem::replace(&mut self.socket, next) {
            self.socket_is_gone(if self.stop_by.is_some() { SocketEnd::Stopped } else { end });
        }
    }

    fn socket_is_gone(&mut self, end: SocketEnd) {
        let broken =
            !matches!(end, SocketEnd::Closed { .. } | SocketEnd::Idle | SocketEnd::OtherFamily | SocketEnd::Stopped);
        self.departures.clear();
        if broken {
            self.own_id.socket_broke(self.now);
        }
        for answer in std::mem::take(&mut self.answers) {
            self.warn_answer_dropped(&answer);
        }
        for swarm in self.swarms.values_mut() {
            swarm.on_disconnected(self.now, broken);
        }
        if let Some(info_hashes) = self.scrapes.fail_sent() {
            self.scrape_failed(info_hashes);
        }
        tracing::debug!(reason = %end, "disconnected");
        self.events.push_back(TrackerEvent::Disconnected { end });
    }

    /// Waits as long as the back-off says, or longer if the tracker has asked for that.
    fn wait_to_reconnect(&mut self, asked: Option<Duration>) -> Duration {
        if self.stop_by.is_some() {
            self.socket = SocketState::Stopped;
            return Duration::ZERO;
        }
        let asked = asked.unwrap_or_default().min(MAX_RETRY_AFTER);
        let delay = self.backoff.next(&mut self.rng).max(asked);
        self.socket = SocketState::Waiting { until: self.now + delay };
        tracing::debug!(after = ?delay, "reconnecting");
        delay
    }

    /// The next frame to be written, if the socket is open and the last one is on its way.
    pub(super) fn next_frame(&mut self) -> Option<Output> {
        let now = self.now;
        let open = self.socket.open().filter(|open| !open.is_writing())?;
        let socket = open.id;
        let frame = if open.next_ping.is_some_and(|at| at <= now) {
            open.next_ping = Some(now + self.config.ping_interval);
            open.pong_deadline.get_or_insert(now + self.config.ping_timeout);
            tracing::trace!(kind = "ping", bytes = 0, "frame sent");
            Frame::Ping
        } else {
            let text = self.next_text()?;
            tracing::trace!(kind = "text", bytes = text.len(), "frame sent");
            self.counters.frames_sent += 1;
            Frame::Text(text)
        };
        if let Some(open) = self.socket.open() {
            open.write_deadline = Some(now + self.config.write_timeout);
        }
        Some(Output::Send { socket, frame })
    }

    fn next_text(&mut self) -> Option<String> {
        let open = self.socket.open()?;
        if let Some(info_hash) = self.departures.pop_front() {
            open.expect_stray_reply(self.now, info_hash);
            let mut announce = Announce::new(info_hash, self.peer_id);
            announce.event = Some(AnnounceEvent::Stopped);
            tracing::debug!(swarm = %info_hash, event = "stopped", offers = 0, "announce sent");
            return Some(ClientMessage::Announce(announce).encode());
        }
        if let Some(answer) = self.answers.pop_front() {
            // Aquatic replies to an answer as to an announce.
            open.expect_stray_reply(self.now, answer.info_hash);
            self.counters.answers_sent += 1;
            let (swarm, peer, offer) = (answer.info_hash, answer.to_peer_id, answer.offer_id);
            tracing::debug!(%swarm, %peer, %offer, "answer sent");
            return Some(encoded_answer(&answer));
        }
        if let Some(announce) = self.next_announce() {
            // Every tracker replies to one.
            let now = self.now;
            if let Some(open) = self.socket.open() {
                open.asked.get_or_insert(now);
            }
            return Some(announce);
        }
        self.scrapes.next_frame()
    }

    /// When something is due to the socket.
    pub(super) fn socket_timeout(&self) -> Option<Instant> {
        match &self.socket {
            SocketState::Connecting { deadline, .. } | SocketState::Closing { deadline, .. } => Some(*deadline),
            SocketState::Waiting { until } => Some(*until),
            SocketState::Open(open) => {
                // What has to wait until the present frame is written needs no time of its own.
                let idle = open.idle_since.map(|since| since + self.config.idle_timeout);
                let when_written = if open.is_writing() { None } else { idle.into_iter().chain(open.next_ping).min() };
                let deadlines = [open.pong_deadline, open.silent_at(&self.config), open.write_deadline, self.stop_by];
                deadlines.into_iter().chain([when_written, self.leave_family_at()]).flatten().min()
            }
            SocketState::Idle | SocketState::Stopped => None,
        }
    }
}
