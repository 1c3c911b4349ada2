//! What a transport decides, behind one lock: connections, what their channels hold, and what is learned from servers.
//! Sans-I/O: datagrams and frames come and go as values.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    WebRtcConfig,
    candidate::{Candidate, CandidateKind},
    channel::{ChannelState, NEAR_WINDOW, Opening},
    contain::{DEFECT, contained},
    datagram::Datagram,
    endpoint::{Endpoint, Key},
    gather::Mappings,
    ice::Base,
    outgoing::Outgoing,
    peer::{self, Peer, PeerEvent},
    reachability::{Service, SharedReachability},
    relay::{RelayEvent, Relayed, Relays},
    servers::Servers,
    transaction::may_ask,
};
use crate::{ChannelClosed, ChannelStats};

/// What a path holds, in bytes for each second of its round trip, but for the first millisecond, in which a busy machine is
/// as likely: more than peers take that do not say what their sockets hold.
const PATH_WINDOW_RATE: f64 = 30e6;

/// How often that is looked at.
const WINDOW_AGE: Duration = Duration::from_secs(1);

/// The part of a channel that is served here.
struct Served {
    channel: Arc<ChannelState>,
    /// A sender lacked room when it was last served.
    is_backpressured: bool,
    /// When it was last looked how much may be on its way.
    window_at: Option<Instant>,
}

/// Everything a transport decides.
pub(super) struct Core {
    pub(super) endpoint: Endpoint,
    channels: HashMap<Key, Served>,
    mappings: Mappings,
    relays: Relays,
    reachability: Arc<SharedReachability>,
    /// The addresses of all servers that were ever asked. Datagrams from other addresses go to connections.
    servers: HashSet<SocketAddr>,
    /// Something was learned from a server, or it was given up.
    pub(super) learned: Arc<Notify>,
    pub(super) outgoing: Outgoing,
    /// What a connection has just written; empty between turns.
    written: VecDeque<Datagram>,
    /// Connections that may have something to send, whose socket takes nothing more now.
    pub(super) blocked: Vec<Key>,
    silence: Duration,
    /// When the driver looks again without being woken.
    pub(super) driver_wakes_at: Option<Instant>,
}

/// Where a connection can be reached.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) bases: Vec<Base>,
    pub(super) candidates: Vec<Candidate>,
}

impl Core {
    pub(super) fn new(
        endpoint: Endpoint,
        relays: Relays,
        reachability: Arc<SharedReachability>,
        config: &WebRtcConfig,
    ) -> Self {
        Self {
            endpoint,
            channels: HashMap::new(),
            mappings: Mappings::new(),
            relays,
            reachability,
            servers: HashSet::new(),
            learned: Arc::default(),
            outgoing: Outgoing::default(),
            written: VecDeque::new(),
            blocked: Vec::new(),
            silence: config.idle_timeout,
            driver_wakes_at: None,
        }
    }

    /// Asks servers where sockets can be reached, unless that is known.
    pub(super) fn ask(&mut self, now: Instant, sockets: &[SocketAddr], servers: &Servers) {
        self.servers.extend(&servers.stun);
        self.servers.extend(servers.turn.iter().map(|server| server.address));
        for socket in sockets {
            self.mappings.request(now, *socket, &servers.stun);
            self.relays.request(now, *socket, &servers.turn);
        }
        self.reachability.note(|reachability| {
            let turn = servers.turn.iter().map(|server| (Service::Turn, server.address));
            let asked = servers.stun.iter().map(|address| (Service::Stun, *address)).chain(turn);
            for (service, address) in
                asked.filter(|(_, address)| sockets.iter().any(|socket| may_ask(*socket, *address)))
            {
                reachability.asked(service, address);
            }
        });
        self.keep_alive(now, sockets, true);
    }

    /// Sockets are gone, and no connection used them.
    pub(super) fn forget_sockets(&mut self, now: Instant, sockets: &[SocketAddr]) {
        for socket in sockets {
            self.mappings.forget(*socket);
            self.relays.forget(now, *socket);
        }
    }

    fn keep_alive(&mut self, now: Instant, sockets: &[SocketAddr], wanted: bool) {
        for socket in sockets {
            self.mappings.keep_alive(now, *socket, wanted);
            self.relays.keep_alive(now, *socket, wanted);
        }
    }

    /// Whether nothing more is to be learned of where these sockets can be reached.
    pub(super) fn is_settled(&self, sockets: &[SocketAddr]) -> bool {
        sockets.iter().all(|socket| self.mappings.is_settled(*socket) && self.relays.is_settled(*socket))
    }

    /// Whether servers were asked about these sockets and nothing more is to be learned from them now.
    pub(super) fn is_known(&self, sockets: &[SocketAddr]) -> bool {
        sockets.iter().all(|socket| self.mappings.was_asked(*socket)) && self.is_settled(sockets)
    }

    /// Where a connection from these sockets can be reached, as far as it is known.
    pub(super) fn gathered(&self, sockets: &[SocketAddr], relay_only: bool) -> Gathered {
        let mut gathered = Gathered::default();
        let mut reflexive = Vec::new();
        for (rank, socket) in (0..).zip(sockets) {
            let relays = self.relays.relayed(*socket);
            if !relay_only {
                gathered.add_base(*socket, CandidateKind::Host, rank);
                let mapped = self.mappings.mapped(*socket).into_iter();
                reflexive.extend(mapped.chain(relays.iter().filter_map(|relay| relay.mapped)).map(|at| (at, rank)));
            }
            for relay in relays {
                gathered.add_base(relay.relayed, CandidateKind::Relay, rank);
            }
        }
        for (address, rank) in reflexive {
            let known = gathered.candidates.iter().any(|candidate| candidate.address == address);
            if !known {
                let kind = CandidateKind::ServerReflexive;
                gathered.candidates.push(Candidate { address, kind, priority: kind.priority(rank) });
            }
        }
        gathered.candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
        gathered
    }

    /// Serves a connection's channel from now on.
    pub(super) fn attach(&mut self, key: Key, channel: Arc<ChannelState>) {
        self.channels.insert(key, Served { channel, is_backpressured: false, window_at: None });
        self.endpoint.list(key);
    }

    pub(super) fn channels(&self) -> impl Iterator<Item = &Arc<ChannelState>> {
        self.channels.values().map(|served| &served.channel)
    }

    /// How many offers wait for their answer, but for those that are given up and not yet gone.
    pub(super) fn waiting(&self) -> usize {
        let waits =
            |served: &&Served| !served.channel.is_close_requested() && self.endpoint.is_waiting(served.channel.key);
        self.channels.values().filter(waits).count()
    }

    /// Takes a turn with the connection of a channel, while there is one.
    pub(super) fn with_peer<R>(&mut self, channel: &Arc<ChannelState>, turn: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        self.channels.get(&channel.key).filter(|served| Arc::ptr_eq(&served.channel, channel))?;
        let result = self.endpoint.attempt(channel.key, |endpoint| endpoint.peer(channel.key).map(turn));
        self.end_broken();
        result?
    }

    /// Reports the end of connections whose turn has panicked, before another one can have their key.
    fn end_broken(&mut self) {
        while let Some((key, stage)) = self.endpoint.poll_broken() {
            self.remove(key, stage, &peer::End::Defect);
        }
    }

    /// Takes a received datagram.
    pub(super) fn receive(&mut self, now: Instant, datagram: Datagram) {
        if !self.servers.contains(&datagram.remote) {
            self.endpoint.receive(datagram);
            return;
        }
        if self.mappings.handle_datagram(now, &datagram) {
            self.has_learned();
            return;
        }
        match self.relays.handle_datagram(now, datagram) {
            Relayed::Consumed => self.has_learned(),
            Relayed::Peer(datagram) | Relayed::NotOurs(datagram) => self.endpoint.receive(datagram),
        }
    }

    /// Does what is due at servers.
    fn servers_turn(&mut self, now: Instant) {
        if self.server_timeout().is_some_and(|at| at <= now) {
            // Whether offers wait is looked at whenever something would be done for them.
            let idle: Vec<SocketAddr> =
                self.mappings.sockets().filter(|socket| !self.endpoint.is_waiting_on(*socket)).collect();
            self.keep_alive(now, &idle, false);
            self.mappings.handle_timeout(now);
            self.relays.handle_timeout(now);
            self.has_learned();
        }
        while let Some(RelayEvent::Gone(address)) = self.relays.poll_event() {
            tracing::debug!(%address, "relayed address gone");
            self.endpoint.remove_base(address);
        }
    }

    /// Something was learned from a server, or one was given up.
    fn has_learned(&mut self) {
        let mut outcome = || {
            let stun = self.mappings.poll_outcome().map(|(server, outcome)| (Service::Stun, server, outcome));
            stun.or_else(|| self.relays.poll_outcome().map(|(server, outcome)| (Service::Turn, server, outcome)))
        };
        while let Some((service, server, outcome)) = outcome() {
            self.reachability.note(|reachability| reachability.ended(service, server, outcome));
        }
        self.learned.notify_waiters();
    }

    fn server_timeout(&self) -> Option<Instant> {
        [self.mappings.poll_timeout(), self.relays.poll_timeout()].into_iter().flatten().min()
    }

    /// Queues what a connection has written, what goes through relays as what goes to them, and what is for servers.
    fn queue_written(&mut self, now: Instant) {
        while let Some(datagram) = self.written.pop_front() {
            if !self.servers.is_empty() && self.relays.owns(datagram.local) {
                self.relays.send(now, datagram);
            } else {
                self.outgoing.push(datagram);
            }
        }
        while let Some(datagram) = self.mappings.poll_transmit().or_else(|| self.relays.poll_transmit()) {
            self.outgoing.push(datagram);
        }
    }

    /// Whether the socket that a connection sends from takes nothing more now. One that is over only has its closing packets to
    /// send, which do not wait.
    fn is_blocked(&mut self, key: Key) -> bool {
        let peer = self.endpoint.peer(key).filter(|peer| !peer.is_done());
        let Some(local) = peer.and_then(|peer| peer.sends_from()) else { return false };
        let socket = self.relays.socket(local).unwrap_or(local);
        self.outgoing.is_full(socket)
    }

    /// Lists the connections again that had to wait and need not now. Whether there are any.
    pub(super) fn go_on(&mut self) -> bool {
        for key in std::mem::take(&mut self.blocked) {
            if self.is_blocked(key) {
                self.blocked.push(key);
            } else {
                self.endpoint.list(key);
            }
        }
        self.endpoint.listed() > 0
    }

    /// Gives allocations back, at shutdown.
    pub(super) fn release_relays(&mut self, now: Instant) {
        self.relays.release(now);
    }

    /// Whether nothing is left to do.
    pub(super) fn is_idle(&self) -> bool {
        self.endpoint.len() == 0 && self.outgoing.is_empty() && self.relays.is_released()
    }

    /// A half of a channel has something to do.
    pub(super) fn touched(&mut self, key: Key) {
        if let Some(served) = self.channels.get(&key) {
            served.channel.is_listed.store(false, Ordering::Release);
            self.endpoint.list(key);
        }
    }

    /// Does what is due, for at most `most` received datagrams. Whether something is left to do.
    pub(super) fn turn(&mut self, now: Instant, most: usize) -> bool {
        self.servers_turn(now);
        let mut more = self.endpoint.process(now, most);
        self.endpoint.handle_timeout(now);
        self.end_broken();
        for _ in 0..self.endpoint.listed() {
            let Some(key) = self.endpoint.poll_listed() else { break };
            self.turn_of(now, key);
        }
        self.queue_written(now);
        more |= self.endpoint.listed() > 0;
        more |= self.endpoint.next_timeout().is_some_and(|at| at <= now);
        more
    }

    /// One connection's turn.
    fn turn_of(&mut self, now: Instant, key: Key) {
        if contained(|| self.serve(now, key)).is_none() {
            self.endpoint.break_off(key);
        }
        if self.is_blocked(key) {
            if !self.blocked.contains(&key) {
                self.blocked.push(key);
            }
            self.endpoint.attempt(key, |endpoint| endpoint.set_timer(now, key));
            self.end_broken();
            return;
        }
        let stays = self.endpoint.transmit(now, key, &mut self.written);
        self.queue_written(now);
        self.end_broken();
        if !stays {
            self.remove(key, peer::Stage::Waiting, &peer::End::Local);
        }
    }

    /// The turn of a channel that was just given frames, without the driver. What it writes is [outgoing](Self::outgoing).
    pub(super) fn turn_without_driver(&mut self, now: Instant, channel: &Arc<ChannelState>) {
        let is_served = self.channels.get(&channel.key).is_some_and(|served| Arc::ptr_eq(&served.channel, channel));
        if is_served {
            self.turn_of(now, channel.key);
        }
    }

    /// Whether the driver has something to do now, or earlier than it would look by itself.
    pub(super) fn needs_driver(&self) -> bool {
        let is_early = |next| self.driver_wakes_at.is_none_or(|at| next < at);
        !self.outgoing.is_empty() || self.endpoint.listed() > 0 || self.next_timeout().is_some_and(is_early)
    }

    /// When there is something to do again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.endpoint.next_timeout(), self.server_timeout()].into_iter().flatten().min()
    }

    /// Moves events, received and accepted frames of a connection.
    fn serve(&mut self, now: Instant, key: Key) {
        let Some(served) = self.channels.get_mut(&key) else { return };
        let Some(peer) = self.endpoint.peer(key) else { return };
        let channel = &*served.channel;
        if channel.is_close_requested() {
            peer.set_unsent(now, channel.send_buffer.unsent_bytes());
            peer.close(now);
        }
        let is_silent = report(now, peer, channel, self.silence);
        if is_silent && let Some(sockets) = self.endpoint.sockets(key) {
            sockets.iter().for_each(|socket| self.mappings.doubt(now, *socket));
        }
        let Some(peer) = self.endpoint.peer(key).filter(|peer| peer.is_open()) else { return };
        if peer.is_done() {
            let _ = channel.last_stats.set(stats(peer));
        }
        while !channel.close_reason.is_set() && !channel.receive_buffer.is_full() {
            let Some(frame) = peer.receive(now) else { break };
            tracing::trace!(connection = key, ?frame, "frame received");
            channel.receive_buffer.push(frame);
        }
        if channel.receive_buffer.is_flooded() {
            peer.fail(now, "a flood of tiny frames is not read".to_owned());
            report(now, peer, channel, self.silence);
        }
        if channel.send_buffer.is_backpressured() || channel.close_reason.is_set() {
            channel.send_buffer.settle(peer.outstanding());
            if !channel.window_is_known.load(Ordering::Relaxed)
                && served.window_at.is_none_or(|at| now >= at + WINDOW_AGE)
            {
                served.window_at = Some(now);
                channel.send_buffer.set_window(NEAR_WINDOW + path_window(peer.round_trip()));
            }
        }
        let is_backpressured = channel.send_buffer.is_refusing();
        if std::mem::replace(&mut served.is_backpressured, is_backpressured) != is_backpressured {
            if is_backpressured {
                tracing::debug!(connection = key, "send buffer full");
            } else {
                tracing::debug!(connection = key, "send buffer has room again");
            }
        }
        while let Some(frame) = channel.send_buffer.take() {
            tracing::trace!(connection = key, ?frame, "frame sent");
            if let Err(frame) = peer.send(now, frame) {
                channel.send_buffer.put_back(frame);
                break;
            }
        }
        peer.set_unsent(now, channel.send_buffer.unsent_bytes());
    }

    /// Ends everything at once: there is no driver any more.
    pub(super) fn abandon(&mut self, end: &peer::End) {
        for key in self.channels.keys().copied().collect::<Vec<_>>() {
            contained(|| self.endpoint.remove(key));
            self.remove(key, peer::Stage::Waiting, end);
        }
        self.outgoing.clear();
        self.written.clear();
        self.blocked.clear();
    }

    /// Begins as a transport that has just been made, after a panic that no connection accounts for.
    pub(super) fn begin_anew(&mut self) {
        self.abandon(&peer::End::Defect);
        self.endpoint.begin_anew();
        self.mappings = Mappings::new();
        self.relays = self.relays.anew();
        self.servers.clear();
        self.learned.notify_waiters();
    }

    /// Reports the end of a connection that is gone to its halves, or to its opening, unless they know of another end.
    fn remove(&mut self, key: Key, stage: peer::Stage, end: &peer::End) {
        let Some(served) = self.channels.remove(&key) else { return };
        served.channel.end_with(match end {
            peer::End::Failed(why) => ChannelClosed::Failed(why.clone()),
            peer::End::Defect => ChannelClosed::Failed(DEFECT.to_owned()),
            _ => served.channel.local_reason(),
        });
        served.channel.opening.send_if_modified(|opening| {
            let was_pending = *opening == Opening::Pending;
            if was_pending {
                *opening = Opening::Failed(stage, end.clone());
            }
            was_pending
        });
        served.channel.finished.cancel();
    }
}

impl Gathered {
    fn add_base(&mut self, address: SocketAddr, kind: CandidateKind, rank: u16) {
        let priority = kind.priority(rank);
        self.bases.push(Base { address, kind, priority });
        self.candidates.push(Candidate { address, kind, priority });
    }
}

/// What the path holds beyond [`NEAR_WINDOW`], in bytes.
fn path_window(round_trip: Option<Duration>) -> usize {
    let beyond = round_trip.unwrap_or_default().saturating_sub(Duration::from_millis(1));
    (beyond.as_secs_f64() * PATH_WINDOW_RATE) as usize
}

/// Reports to the halves, or to the opening, what has happened to a connection. Whether it ended by the idle timeout.
fn report(now: Instant, peer: &mut Peer, channel: &ChannelState, silence: Duration) -> bool {
    let mut is_silent = false;
    while let Some(event) = peer.poll_event() {
        match event {
            PeerEvent::Open { label } => {
                channel.opening.send_replace(Opening::Open(label));
            }
            PeerEvent::Ended { stage: peer::Stage::Open, end } => {
                is_silent |= end == peer::End::IdleTimeout;
                let reason = match end {
                    peer::End::Local => {
                        // What it had accepted is still sent.
                        channel.end_with(channel.local_reason());
                        continue;
                    }
                    peer::End::Remote => ChannelClosed::Remote,
                    peer::End::IdleTimeout | peer::End::TimedOut => ChannelClosed::Timeout(silence),
                    peer::End::Failed(why) => ChannelClosed::Failed(why),
                    peer::End::Defect => ChannelClosed::Failed(DEFECT.to_owned()),
                };
                while let Some(frame) = peer.receive(now) {
                    channel.receive_buffer.push(frame);
                }
                channel.send_buffer.settle(peer.outstanding());
                channel.end_with(reason);
            }
            PeerEvent::Ended { stage, end } => {
                channel.opening.send_replace(Opening::Failed(stage, end));
            }
        }
    }
    is_silent
}

/// The numbers of a connection.
pub(super) fn stats(peer: &Peer) -> ChannelStats {
    let mut stats = ChannelStats { round_trip: peer.round_trip(), ..ChannelStats::default() };
    if let Some((local, remote)) = peer.selected_kinds() {
        stats.local_candidate = Some(local.name().to_owned());
        stats.remote_candidate = Some(remote.name().to_owned());
    }
    let named = |(local, remote): (CandidateKind, CandidateKind)| (local.name().to_owned(), remote.name().to_owned());
    stats.working_pairs = peer.working_kinds().into_iter().map(named).collect();
    stats
}
