//! One connection: ICE, and the session that runs on the path it finds; when an opening has failed, when a peer
//! counts as dead, and how a close goes. Sans-I/O: the time is an argument, datagrams come and go as values.

mod closing;

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use self::closing::Closing;
pub(crate) use self::closing::FLUSH_FACTOR;
use super::{
    candidate::{Candidate, CandidateKind},
    datagram::Datagram,
    ice::{Base, IceAgent, IceConfig, IceEvent, Path},
    session::{CertificateHash, DtlsRole, Opening, Session, SessionConfig, SessionEvent},
    stun::{Class, Credentials, Unverified},
};
use crate::Frame;

/// Checks that overtake the answer, one for each address they come from. A browser has some ten addresses.
const MAX_EARLY_CHECKS: usize = 12;

/// The size of a check is some 120 bytes; a larger datagram is not kept.
const MAX_EARLY_CHECK_BYTES: usize = 548;

/// Handshake records that overtake the proof that their sender is the other side: one flight.
const MAX_EARLY_RECORDS: usize = 4;

/// What all connections of a transport share.
#[derive(Clone)]
pub(crate) struct PeerConfig {
    pub(crate) ice: IceConfig,
    pub(crate) session: SessionConfig,
    /// How long an offer waits for its answer.
    pub(crate) answer_timeout: Duration,
    /// How long an opening may take, from the moment both descriptions are known.
    pub(crate) connect_timeout: Duration,
    /// How long setting up the encrypted session may take.
    pub(crate) session_timeout: Duration,
    /// How long a graceful close waits without progress.
    pub(crate) close_timeout: Duration,
}

/// What the other side's description says of it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) credentials: Credentials,
    pub(crate) certificate: CertificateHash,
    pub(crate) candidates: Vec<Candidate>,
    /// The role of this side in the handshake.
    pub(crate) dtls_role: DtlsRole,
    /// It answers checks and makes none, so that this side decides.
    pub(crate) is_lite: bool,
    /// It is of this library, whose connections share their sockets.
    pub(crate) shares_sockets: bool,
    /// The other side understands a reset of the channel as its end.
    pub(crate) closes_by_reset: bool,
}

/// How far an opening has come, which names what it fails of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The other side's description is not known.
    Waiting,
    /// A path is looked for.
    Checking,
    /// There is one, and the encrypted session is set up.
    Handshaking,
    /// There is one, and the channel is not open.
    Secure,
    Open,
}

/// Why a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// This side has closed it.
    Local,
    /// The other side has.
    Remote,
    /// Nothing authentic was received for the idle timeout.
    IdleTimeout,
    /// It did not open in time.
    TimedOut,
    /// It cannot go on; the text says why.
    Failed(String),
    /// This side has a defect and has lost the connection.
    Defect,
}

/// What has happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerEvent {
    /// The channel is open.
    Open {
        /// Its label.
        label: String,
    },
    /// It is over, or, if `Local`, has begun to close.
    Ended {
        /// How far it had come.
        stage: Stage,
        /// Why.
        end: End,
    },
}

/// A connection.
pub(crate) struct Peer {
    ice: IceAgent,
    session: Option<Session>,
    opening: Opening,
    config: std::sync::Arc<PeerConfig>,
    stage: Stage,
    /// When the present stage began.
    stage_began: Instant,
    /// When both descriptions were known, or this one was made.
    began: Instant,
    /// When something authentic was last received.
    last_received: Option<Instant>,
    closes_by_reset: bool,
    closing: Closing,
    /// Accepted frames that have not come here yet, in bytes.
    unsent: u64,
    /// The early packet buffer: checks that came before the other side's description.
    early_checks: Vec<Datagram>,
    /// The early packet buffer: handshake records that came before their path was proven.
    early_records: Vec<(Path, BytesMut)>,
    /// Paths at which the other side has proven that it is there, not yet taken.
    validated: Vec<Path>,
    events: VecDeque<PeerEvent>,
    /// The turn in which it panics.
    #[cfg(test)]
    pub(crate) panics_in: Option<Turn>,
}

/// What a connection does, for tests of what happens when that panics.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It begins, with the other side's description.
    Remote,
    Check,
    Record,
    Timeout,
    Transmit,
    /// A received frame is taken out.
    Receive,
    /// It is asked what is on its way.
    Outstanding,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("stage", &self.stage)
            .field("closing", &self.closing)
            .field("ice", &self.ice)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// A connection of number `key` over `bases`, which this side offers if it opens the channel.
    pub(crate) fn new(
        now: Instant,
        config: std::sync::Arc<PeerConfig>,
        key: u32,
        opening: Opening,
        bases: Vec<Base>,
    ) -> Self {
        let offers = opening != Opening::Adopt;
        Self {
            ice: IceAgent::new(&config.ice, key, offers, bases),
            session: None,
            opening,
            config,
            stage: Stage::Waiting,
            stage_began: now,
            began: now,
            last_received: None,
            closes_by_reset: false,
            closing: Closing::No,
            unsent: 0,
            early_checks: Vec::new(),
            early_records: Vec::new(),
            validated: Vec::new(),
            events: VecDeque::new(),
            #[cfg(test)]
            panics_in: None,
        }
    }

    #[cfg(test)]
    fn enter_turn(&self, turn: Turn) {
        assert!(self.panics_in != Some(turn), "as a test wants it");
    }

    /// How far it has come.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// When both descriptions were known, or this side's was made.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// The paths at which the other side has newly proven that it is there.
    pub(crate) fn take_validated(&mut self) -> Vec<Path> {
        std::mem::take(&mut self.validated)
    }

    /// What checks to this side are authenticated with.
    pub(crate) fn credentials(&self) -> &Credentials {
        self.ice.credentials()
    }

    /// Takes the other side's description, after which it is looked for.
    ///
    /// # Errors
    /// When no session can be made.
    pub(crate) fn set_remote(&mut self, now: Instant, remote: Remote) -> Result<(), String> {
        #[cfg(test)]
        self.enter_turn(Turn::Remote);
        let opening = self.opening.clone();
        let (key, config) = (self.ice.key(), &self.config.session);
        let session = Session::new(config, key, remote.dtls_role, opening, remote.certificate);
        self.session = Some(session.map_err(|error| error.to_string())?);
        self.closes_by_reset = remote.closes_by_reset;
        self.began = now;
        self.enter(now, Stage::Checking);
        self.ice.start(now, remote.credentials, &remote.candidates, remote.is_lite);
        for early in std::mem::take(&mut self.early_checks) {
            self.handle_check(now, early);
        }
        Ok(())
    }

    /// Takes a candidate of the other side that came late.
    pub(crate) fn add_candidate(&mut self, now: Instant, candidate: Candidate) {
        self.ice.add_remote(now, candidate);
    }

    fn enter(&mut self, now: Instant, stage: Stage) {
        let connection = self.ice.key();
        match stage {
            Stage::Waiting => {}
            Stage::Checking => tracing::debug!(connection, "looking for a path"),
            Stage::Handshaking => tracing::debug!(connection, "path found, DTLS handshake begins"),
            Stage::Secure => tracing::debug!(connection, "DTLS handshake complete"),
            Stage::Open => tracing::debug!(connection, "channel open"),
        }
        self.stage = stage;
        self.stage_began = now;
    }

    /// Takes a STUN message.
    pub(crate) fn handle_check(&mut self, now: Instant, datagram: Datagram) {
        #[cfg(test)]
        self.enter_turn(Turn::Check);
        if self.stage == Stage::Waiting {
            self.keep_early_check(datagram);
            return;
        }
        let Some(message) = Unverified::parse(&datagram.data) else { return };
        let path = Path { local: datagram.local, remote: datagram.remote };
        let is_request = message.class() == Class::Request;
        if self.ice.handle_message(now, path, message) {
            self.last_received = Some(now);
            // It is authenticated with what this side's description says.
            if let Some(session) = self.session.as_mut().filter(|_| is_request) {
                session.is_known(now);
            }
        }
        self.ice_events(now);
    }

    fn keep_early_check(&mut self, datagram: Datagram) {
        // A response cannot be one to this side, which has asked nothing.
        let is_request = Unverified::parse(&datagram.data).is_some_and(|message| message.class() == Class::Request);
        if !is_request || datagram.data.len() > MAX_EARLY_CHECK_BYTES {
            return;
        }
        self.early_checks.retain(|early| early.remote != datagram.remote || early.local != datagram.local);
        if self.early_checks.len() < MAX_EARLY_CHECKS {
            self.early_checks.push(datagram);
        }
    }

    /// Keeps a record from where a check has come but no answer yet, until there is one: the other side may take another
    /// path for the first that works.
    pub(crate) fn keep_early_record(&mut self, datagram: Datagram) {
        if matches!(self.stage, Stage::Checking | Stage::Handshaking) && self.early_records.len() < MAX_EARLY_RECORDS {
            let early = (Path { local: datagram.local, remote: datagram.remote }, datagram.data);
            // A client sends copies of its first flight until that is answered.
            if !self.early_records.contains(&early) {
                self.early_records.push(early);
            }
        }
    }

    /// Takes a DTLS datagram from where the other side is known to be.
    pub(crate) fn handle_record(&mut self, now: Instant, data: BytesMut) {
        #[cfg(test)]
        self.enter_turn(Turn::Record);
        let Some(session) = &mut self.session else { return };
        if self.closing != Closing::Done && session.handle_datagram(now, data) {
            self.last_received = Some(now);
        }
        self.session_events(now);
    }

    fn ice_events(&mut self, now: Instant) {
        while let Some(event) = self.ice.poll_event() {
            let IceEvent::Validated(path) = event else { continue };
            self.validated.push(path);
            if self.stage == Stage::Checking {
                self.enter(now, Stage::Handshaking);
                if let Some(session) = &mut self.session {
                    session.begin(now, self.ice.round_trip().unwrap_or_default());
                }
            }
            let (due, early): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.early_records).into_iter().partition(|(from, _)| *from == path);
            self.early_records = early;
            for (_, record) in due {
                self.handle_record(now, record);
            }
        }
    }

    fn session_events(&mut self, now: Instant) {
        while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
            match event {
                SessionEvent::Secure => self.enter(now, Stage::Secure),
                SessionEvent::Open { label } => {
                    self.enter(now, Stage::Open);
                    // Of a handshake that is complete; a datagram can have 64 KB.
                    self.early_records = Vec::new();
                    self.events.push_back(PeerEvent::Open { label });
                }
                SessionEvent::ClosedByPeer => self.end(now, End::Remote),
                SessionEvent::Failed(why) => self.end(now, End::Failed(why)),
            }
        }
    }

    /// Ends at once: nothing more is sent but the packets that close the session.
    fn end(&mut self, now: Instant, end: End) {
        if self.closing == Closing::No {
            let stage = self.reached();
            tracing::debug!(connection = self.ice.key(), ?stage, reason = ?end, "connection ended");
            self.events.push_back(PeerEvent::Ended { stage, end });
        } else if self.closing != Closing::Done {
            tracing::debug!(connection = self.ice.key(), reason = ?end, "close complete");
        }
        self.closing = Closing::Done;
        if let Some(session) = &mut self.session
            && self.ice.best_path().is_some()
        {
            session.end(now);
        }
    }

    /// How far it has come, for the reason of its end: a path that only one side takes for one is none.
    fn reached(&self) -> Stage {
        if self.stage == Stage::Handshaking && !self.ice.has_selected() { Stage::Checking } else { self.stage }
    }

    /// Whether nothing is left to do but to send what [`poll_transmit`](Self::poll_transmit) has.
    pub(crate) fn is_done(&self) -> bool {
        self.closing == Closing::Done
    }

    /// Ends at once.
    pub(crate) fn end_now(&mut self, now: Instant) {
        if self.closing != Closing::Done {
            self.end(now, End::Local);
        }
    }

    /// Whether it is an offer without an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// Whether frames go through it.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// The next frame received. Those that came before the end are still there after it.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Frame> {
        #[cfg(test)]
        self.enter_turn(Turn::Receive);
        self.session.as_mut()?.receive(now)
    }

    /// Takes a frame to send, or gives it back.
    pub(crate) fn send(&mut self, now: Instant, frame: Frame) -> Result<(), Frame> {
        match &mut self.session {
            Some(session) => session.send(now, frame),
            None => Err(frame),
        }
    }

    /// Bytes of frames sent that are not acknowledged.
    pub(crate) fn outstanding(&mut self) -> usize {
        #[cfg(test)]
        self.enter_turn(Turn::Outstanding);
        self.session.as_mut().map_or(0, Session::outstanding)
    }

    /// Announces no larger receive window than this share of the socket's buffer.
    pub(crate) fn set_share(&mut self, bytes: u32) {
        if let Some(session) = &mut self.session {
            session.set_share(bytes);
        }
    }

    /// The encrypted session, for tests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("both descriptions are known")
    }

    /// How many checks and records are kept until they may be read.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (usize, usize) {
        (self.early_checks.len(), self.early_records.len())
    }

    /// The local address that frames leave from, once there is a path.
    pub(crate) fn sends_from(&self) -> Option<std::net::SocketAddr> {
        self.ice.best_path().map(|path| path.local)
    }

    /// The last measured round trip of a check.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.ice.round_trip()
    }

    /// The kinds of the candidates of the path in use.
    pub(crate) fn selected_kinds(&self) -> Option<(CandidateKind, CandidateKind)> {
        self.ice.selected_kinds()
    }

    /// The kinds of the candidates of each pair that works, local and remote.
    pub(crate) fn working_kinds(&self) -> BTreeSet<(CandidateKind, CandidateKind)> {
        self.ice.working_kinds()
    }

    /// A local address is gone.
    pub(crate) fn remove_base(&mut self, address: std::net::SocketAddr) {
        self.ice.remove_base(address);
    }

    /// When the next check that the other side has not asked for is due; the endpoint says when it is made, by
    /// [`check`](Self::check).
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.ice.next_check().filter(|_| self.closing == Closing::No)
    }

    /// Makes a check that is due.
    pub(crate) fn check(&mut self, now: Instant) {
        self.ice.check(now);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        #[cfg(test)]
        self.enter_turn(Turn::Timeout);
        if self.closing == Closing::Done {
            return;
        }
        self.ice.handle_timeout(now);
        self.ice_events(now);
        if let Some(session) = &mut self.session {
            session.handle_timeout(now);
        }
        self.session_events(now);
        self.flush(now);
        match self.closing {
            Closing::No => {
                if let Some((at, end)) = self.deadline()
                    && at <= now
                {
                    self.end(now, end);
                }
            }
            Closing::Lingering { until } | Closing::Resetting { until } if until <= now => {
                self.end(now, End::Local);
            }
            _ => {}
        }
    }

    /// When, and why, the connection ends if nothing is received until then.
    fn deadline(&self) -> Option<(Instant, End)> {
        let config = &self.config;
        let silence = self.last_received.map(|at| (at + config.ice.silence, End::IdleTimeout));
        let stage = match self.stage {
            Stage::Waiting => Some(self.began + config.answer_timeout),
            Stage::Checking => Some(self.began + config.ice.path_timeout),
            Stage::Handshaking => {
                Some((self.stage_began + config.session_timeout).min(self.began + config.connect_timeout))
            }
            Stage::Secure => Some(self.began + config.connect_timeout),
            Stage::Open => None,
        };
        let stage = stage.map(|at| (at, End::TimedOut));
        let silence = silence.filter(|_| !matches!(self.stage, Stage::Waiting | Stage::Checking));
        // The other side is given as long to complete its shutdown as it is given for its part of a close.
        let shutdown = self.session.as_ref().and_then(Session::shutdown_began);
        let shutdown = shutdown.map(|began| (began + config.close_timeout, End::Remote));
        [stage, silence, shutdown].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let closing = match self.closing {
            Closing::No => self.deadline().map(|(at, _)| at),
            Closing::Flushing { deadline: at, .. } => Some(at),
            Closing::Lingering { until } | Closing::Resetting { until } => Some(until),
            Closing::Done => return None,
        };
        let session = self.session.as_ref().and_then(Session::poll_timeout);
        [closing, session, self.ice.poll_timeout()].into_iter().flatten().min()
    }

    /// The time for which a process stood still does not count as silence.
    pub(crate) fn forgive(&mut self, pause: Duration) {
        self.last_received = self.last_received.map(|at| at + pause);
    }

    /// The next datagram to send.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
        #[cfg(test)]
        self.enter_turn(Turn::Transmit);
        if let Some(datagram) = self.ice.poll_transmit() {
            return Some(datagram);
        }
        let path = self.ice.best_path()?;
        let data = self.session.as_mut()?.poll_transmit(now)?;
        Some(Datagram { local: path.local, remote: path.remote, data })
    }

    pub(crate) fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }
}
