//! The tracker's state machine: which peers are in which swarm, which member gets which offer, which answers are awaited.

mod config;
mod memberships;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
mod recipients;
mod refusal;
mod shares;
mod stats;
mod swarm;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Instant,
};

use p2pt_proto::{
    Announce, AnnounceEvent, AnnounceReply, AnswerRequest, ClientMessage, DecodeError, Failure, ForwardedAnswer,
    ForwardedOffer, InfoHash, PeerId, ScrapeReply, ScrapeRequest, ScrapeStats, TrackerMessage,
};
use rand::{SeedableRng, rngs::StdRng};

pub(crate) use self::recipients::owner;
pub use self::{config::SwarmsConfig, stats::SwarmsStats};
use self::{
    memberships::{Membership, Memberships},
    recipients::Origin,
    refusal::Refusal,
    shares::Shares,
    swarm::{Member, Swarm},
};

/// A connection to the tracker. The driver chooses the number and never uses it again after the connection has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens to the tracker. Inputs for a connection that is not open are ignored.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum SwarmsInput<'a> {
    /// A connection has opened.
    Opened {
        /// A number not used before.
        conn: ConnectionId,
        /// The address it comes from; `None` if that is not known. Offers are handed out by address first.
        address: Option<IpAddr>,
    },
    /// A whole text or binary message came in.
    Received {
        /// Where it came from.
        conn: ConnectionId,
        /// JSON, unless the client is hostile or broken.
        frame: &'a [u8],
    },
    /// Something else came in, such as a pong: the connection lives.
    Alive {
        /// The connection that lives.
        conn: ConnectionId,
    },
    /// Nothing more is read from the connection until then, because it has caused as much as it may. Its silence means
    /// nothing for so long.
    Paused {
        /// The connection that has to wait.
        conn: ConnectionId,
        /// When it is read again.
        until: Instant,
    },
    /// The connection has closed or is about to.
    Closed {
        /// The connection that is gone.
        conn: ConnectionId,
    },
    /// The time that [`Swarms::poll_timeout`] named has come.
    Timeout,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwarmsOutput {
    /// Send a text message.
    Send {
        /// Where to.
        conn: ConnectionId,
        /// One JSON object.
        text: String,
    },
    /// Make the connection show that it lives, by a WebSocket ping; anything received afterwards will do.
    Ping {
        /// The connection in doubt.
        conn: ConnectionId,
    },
    /// Close the connection, after what was sent before. It is forgotten already.
    Close {
        /// The connection to close.
        conn: ConnectionId,
        /// Why, for the close frame.
        reason: CloseReason,
    },
}

/// Why the tracker closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`SwarmsConfig::max_connections`] are open.
    #[error("this tracker has too many connections")]
    Full,
    /// [`SwarmsConfig::max_bad_frames`] came in a row.
    #[error("too many bad frames in a row")]
    BadFrames,
    /// It did not answer a ping while another connection announced its peer id.
    #[error("no answer to a ping while another connection announced the same peer_id")]
    Unresponsive,
}

#[derive(Debug)]
struct Connection {
    origin: Origin,
    memberships: Memberships,
    bad_frames: u32,
    /// By when it must show a sign of life.
    probe: Option<Instant>,
    /// Until when it can show none, because nothing is read from it.
    paused_until: Option<Instant>,
}

impl Connection {
    fn new(origin: Origin) -> Self {
        Self { origin, memberships: Memberships::default(), bad_frames: 0, probe: None, paused_until: None }
    }
}

/// An announce that waits for the holder of its peer id to prove alive or dead.
#[derive(Debug)]
struct Claim {
    conn: ConnectionId,
    origin: Origin,
    announce: Announce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Expire(Membership),
    Probe(ConnectionId),
}

/// All swarms of a tracker: their members, which member gets which offer, and which answers are awaited.
///
/// It owns no socket, task or clock. A driver feeds it [`SwarmsInput`]s together with the time, after each of them
/// takes [`SwarmsOutput`]s until there are none, and then sleeps until [`poll_timeout`](Self::poll_timeout) or the
/// next input. [`TrackerService`](crate::TrackerService) is such a driver.
///
/// # What it does with messages
///
/// - An announce joins the swarm or renews the membership, and is replied to with the swarm's counts. Its offers go to random
///   other members, drawn by address and socket first, one each, as many as [`numwant`](Announce::numwant) says if it says anything. The surplus
///   vanishes, as does an offer id that was forwarded before.
/// - `stopped` is replied to too and ends the membership, as does closing the connection, and silence for
///   [`peer_expiry`](SwarmsConfig::peer_expiry).
/// - An answer goes to the offerer if it answers an offer that was forwarded to this peer id, for the first time and
///   within [`offer_lifetime`](SwarmsConfig::offer_lifetime). It gets no reply.
/// - A scrape is replied to with the counts of the swarms it names, zeros for unknown ones, or of all swarms.
/// - Whatever is refused gets a failure that says why, with the action and the info hash of the request, and the
///   connection remains open. Only [frame after frame that cannot be decoded](SwarmsConfig::max_bad_frames) closes it.
///
/// # A peer id that is already taken
///
/// Within a swarm a peer id belongs to the connection that announced it first, as long as that connection lives. When
/// another connection announces the same id, its announce waits while the holder is [pinged](SwarmsOutput::Ping). If
/// the holder closes, or shows no sign of life for [`claim_timeout`](SwarmsConfig::claim_timeout) while it is [read
/// from](SwarmsInput::Paused), it is evicted and
/// the announce goes on as if it had just arrived: a peer that reconnects after an unclean drop is back within
/// seconds, with its offers. If the holder answers, the newcomer is refused: peer ids are seen by the whole swarm, so
/// to know one must not be enough to take its owner's offers away. So a client that connects twice with one peer id,
/// as JavaScript does for two URLs of the same tracker, is a member over the first connection only.
///
/// One connection may be several peers, in different swarms or in the same.
#[derive(Debug)]
pub struct Swarms {
    config: SwarmsConfig,
    rng: StdRng,
    swarms: BTreeMap<InfoHash, Swarm>,
    connections: BTreeMap<ConnectionId, Connection>,
    claims: BTreeMap<Membership, Claim>,
    shares: Shares,
    timers: BTreeSet<(Instant, Timer)>,
    outputs: VecDeque<SwarmsOutput>,
    stats: SwarmsStats,
}

impl Swarms {
    /// No connections and no swarms. `seed` decides which members get which offers.
    pub fn new(config: SwarmsConfig, seed: u64) -> Self {
        Self {
            config,
            rng: StdRng::seed_from_u64(seed),
            swarms: BTreeMap::new(),
            connections: BTreeMap::new(),
            claims: BTreeMap::new(),
            shares: Shares::default(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            stats: SwarmsStats::default(),
        }
    }

    /// Takes in what happened. `now` must not go backwards.
    pub fn handle_input(&mut self, now: Instant, input: SwarmsInput<'_>) {
        self.run_timers(now);
        match input {
            SwarmsInput::Opened { conn, address } => self.opened(conn, address),
            SwarmsInput::Received { conn, frame } => {
                self.received(now, conn, frame);
                // After it: a `stopped` admits the connection that claims the peer id.
                self.alive(conn);
            }
            SwarmsInput::Alive { conn } => self.alive(conn),
            SwarmsInput::Paused { conn, until } => self.paused(conn, until),
            SwarmsInput::Closed { conn } => self.forget(now, conn),
            SwarmsInput::Timeout => {}
        }
    }

    /// What to do next, if anything. To be called until `None` after each input.
    #[must_use = "what is polled and not carried out is lost"]
    pub fn poll_output(&mut self) -> Option<SwarmsOutput> {
        self.outputs.pop_front()
    }

    /// When [`SwarmsInput::Timeout`] is due, unless another input comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether the next [`SwarmsInput::Opened`] would be refused.
    pub fn is_full(&self) -> bool {
        self.connections.len() >= self.config.max_connections
    }

    /// Counts of now and since the beginning.
    pub fn stats(&self) -> SwarmsStats {
        SwarmsStats { connections: self.connections.len(), swarms: self.swarms.len(), ..self.stats.clone() }
    }

    fn opened(&mut self, conn: ConnectionId, address: Option<IpAddr>) {
        if self.is_full() {
            self.outputs.push_back(SwarmsOutput::Close { conn, reason: CloseReason::Full });
        } else {
            self.connections.insert(conn, Connection::new(Origin::new(conn, address)));
        }
    }

    fn received(&mut self, now: Instant, conn: ConnectionId, frame: &[u8]) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let message = match ClientMessage::decode(frame) {
            Ok(message) => message,
            Err(error) => return self.bad_frame(now, conn, &error),
        };
        connection.bad_frames = 0;
        match message {
            ClientMessage::Announce(announce) => self.announced(now, conn, announce),
            ClientMessage::Answer(answer) => {
                let info_hash = answer.info_hash;
                if let Err(refusal) = self.answer(now, conn, answer) {
                    self.fail(conn, refusal.to_string(), Some("announce".into()), Some(info_hash));
                }
            }
            ClientMessage::Scrape(scrape) => {
                if let Err(refusal) = self.scrape(conn, &scrape) {
                    self.fail(conn, refusal.to_string(), Some("scrape".into()), None);
                }
            }
            _ => self.fail(conn, Refusal::Unsupported.to_string(), None, None),
        }
    }

    fn bad_frame(&mut self, now: Instant, conn: ConnectionId, error: &DecodeError) {
        self.fail(conn, error.to_string(), error.action().map(Into::into), error.info_hash());
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.bad_frames += 1;
        if connection.bad_frames >= self.config.max_bad_frames {
            self.outputs.push_back(SwarmsOutput::Close { conn, reason: CloseReason::BadFrames });
            self.forget(now, conn);
        }
    }

    fn announced(&mut self, now: Instant, conn: ConnectionId, announce: Announce) {
        let info_hash = announce.info_hash;
        if let Err(refusal) = self.announce(now, conn, announce) {
            self.stats.refused_by_share += u64::from(refusal.is_share());
            self.fail(conn, refusal.to_string(), Some("announce".into()), Some(info_hash));
        }
    }

    fn announce(&mut self, now: Instant, conn: ConnectionId, announce: Announce) -> Result<(), Refusal> {
        let (info_hash, peer_id) = (announce.info_hash, announce.peer_id);
        let holder = self.holder(info_hash, peer_id);
        if announce.event == Some(AnnounceEvent::Stopped) {
            self.stats.announces += 1;
            self.stop(now, conn, (info_hash, peer_id), holder);
            return Ok(());
        }
        match holder {
            Some(holder) if holder != conn => return self.claim(now, holder, conn, announce),
            Some(_) => self.refresh(now, info_hash, peer_id),
            None => self.join(now, conn, info_hash, peer_id)?,
        }
        self.stats.announces += 1;
        let offers = announce.offers.as_ref().map_or(0, Vec::len);
        tracing::debug!(connection = conn.0, swarm = %info_hash, peer = %peer_id, offers, "announce");
        self.note_progress(&announce);
        self.reply(conn, info_hash);
        self.forward_offers(now, announce);
        Ok(())
    }

    fn holder(&self, info_hash: InfoHash, peer_id: PeerId) -> Option<ConnectionId> {
        Some(self.swarms.get(&info_hash)?.get(peer_id)?.conn)
    }

    fn join(&mut self, now: Instant, conn: ConnectionId, info_hash: InfoHash, peer_id: PeerId) -> Result<(), Refusal> {
        let config = &self.config;
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(()) };
        if connection.memberships.len() >= config.max_memberships_per_connection {
            return Err(Refusal::TooManyMemberships(config.max_memberships_per_connection));
        }
        if connection.memberships.in_swarm(info_hash) >= config.max_peer_ids_per_swarm {
            return Err(Refusal::TooManyPeerIds(config.max_peer_ids_per_swarm));
        }
        let swarm = self.swarms.get(&info_hash);
        self.shares.check(config, connection.origin, swarm)?;
        if self.stats.peers >= config.max_peers {
            return Err(Refusal::TooManyPeers(config.max_peers));
        }
        match swarm {
            Some(swarm) if swarm.len() >= config.max_peers_per_swarm => {
                return Err(Refusal::SwarmFull(config.max_peers_per_swarm));
            }
            None if self.swarms.len() >= config.max_swarms => return Err(Refusal::TooManySwarms(config.max_swarms)),
            _ => {}
        }
        let expires = now + config.expiry();
        let swarm = self.swarms.entry(info_hash).or_default();
        swarm.insert(Member::new(peer_id, conn, connection.origin, expires));
        self.shares.joined(connection.origin, swarm);
        connection.memberships.insert((info_hash, peer_id));
        self.timers.insert((expires, Timer::Expire((info_hash, peer_id))));
        self.stats.peers += 1;
        Ok(())
    }

    /// Puts off a member's expiry.
    fn refresh(&mut self, now: Instant, info_hash: InfoHash, peer_id: PeerId) {
        let Some(member) = self.swarms.get_mut(&info_hash).and_then(|swarm| swarm.get_mut(peer_id)) else { return };
        let timer = Timer::Expire((info_hash, peer_id));
        self.timers.remove(&(member.expires, timer));
        member.expires = now + self.config.expiry();
        self.timers.insert((member.expires, timer));
    }

    /// `left: 0` and `completed` make a seeder; an announce that says neither changes nothing.
    fn note_progress(&mut self, announce: &Announce) {
        let Some(swarm) = self.swarms.get_mut(&announce.info_hash) else { return };
        let before = swarm.seeders();
        if announce.event == Some(AnnounceEvent::Completed) || announce.left == Some(0) {
            swarm.set_seeder(announce.peer_id, true);
        } else if announce.left.is_some() {
            swarm.set_seeder(announce.peer_id, false);
        }
        self.stats.seeders = self.stats.seeders - before + swarm.seeders();
    }

    fn forward_offers(&mut self, now: Instant, announce: Announce) {
        let Announce { info_hash, peer_id, numwant, offers, .. } = announce;
        let (Some(swarm), Some(offers)) = (self.swarms.get_mut(&info_hash), offers) else { return };
        let wanted = numwant.map_or(usize::MAX, |numwant| usize::try_from(numwant).unwrap_or(usize::MAX));
        for (conn, offer) in swarm.forward(now, &self.config, &mut self.rng, peer_id, offers, wanted) {
            self.stats.offers_forwarded += 1;
            let offer = ForwardedOffer::new(info_hash, peer_id, offer.offer_id, offer.sdp);
            self.outputs.push_back(SwarmsOutput::Send { conn, text: TrackerMessage::Offer(offer).encode() });
        }
    }

    /// Removes the membership if it belongs to `conn`, and replies in any case.
    fn stop(&mut self, now: Instant, conn: ConnectionId, membership: Membership, holder: Option<ConnectionId>) {
        if self.claims.get(&membership).is_some_and(|claim| claim.conn == conn) {
            self.claims.remove(&membership);
        }
        if holder == Some(conn) {
            self.remove(membership);
        }
        self.reply(conn, membership.0);
        self.admit_claim(now, membership);
    }

    fn answer(&mut self, now: Instant, conn: ConnectionId, answer: AnswerRequest) -> Result<(), Refusal> {
        let (info_hash, peer_id) = (answer.info_hash, answer.peer_id);
        let swarm = self.swarms.get_mut(&info_hash).ok_or(Refusal::NotAMember(peer_id))?;
        let to = swarm.accept_answer(now, conn, &answer, self.config.offer_lifetime)?;
        self.refresh(now, info_hash, peer_id);
        self.stats.answers_forwarded += 1;
        let answer = ForwardedAnswer::new(info_hash, peer_id, answer.offer_id, answer.sdp);
        self.outputs.push_back(SwarmsOutput::Send { conn: to, text: TrackerMessage::Answer(answer).encode() });
        Ok(())
    }

    fn scrape(&mut self, conn: ConnectionId, scrape: &ScrapeRequest) -> Result<(), Refusal> {
        let (named, limit) = (scrape.info_hashes.len(), self.config.max_scraped_swarms);
        if named > limit {
            return Err(Refusal::ScrapeTooLarge { named, limit });
        }
        let known: Vec<InfoHash>;
        let info_hashes = if named == 0 {
            known = self.swarms.keys().take(limit).copied().collect();
            &known
        } else {
            &scrape.info_hashes
        };
        let files = info_hashes.iter().map(|&hash| (hash, self.scrape_stats(hash)));
        let reply = ScrapeReply::new(files).min_request_interval(self.config.scrape_interval);
        self.stats.scrapes += 1;
        self.outputs.push_back(SwarmsOutput::Send { conn, text: TrackerMessage::Scrape(reply).encode() });
        Ok(())
    }

    fn scrape_stats(&self, info_hash: InfoHash) -> ScrapeStats {
        let (complete, incomplete) = self.counts(info_hash);
        // As bittorrent-tracker: the members that are complete now count as those that have completed.
        ScrapeStats::new(complete, incomplete, complete)
    }

    fn counts(&self, info_hash: InfoHash) -> (u32, u32) {
        let (seeders, peers) = self.swarms.get(&info_hash).map_or((0, 0), |swarm| (swarm.seeders(), swarm.len()));
        (u32::try_from(seeders).unwrap_or(u32::MAX), u32::try_from(peers - seeders).unwrap_or(u32::MAX))
    }

    fn reply(&mut self, conn: ConnectionId, info_hash: InfoHash) {
        let (complete, incomplete) = self.counts(info_hash);
        let reply =
            AnnounceReply::new(info_hash).interval(self.config.interval).complete(complete).incomplete(incomplete);
        self.outputs.push_back(SwarmsOutput::Send { conn, text: TrackerMessage::Announced(reply).encode() });
    }

    fn fail(&mut self, conn: ConnectionId, reason: String, action: Option<String>, info_hash: Option<InfoHash>) {
        self.stats.failures += 1;
        tracing::debug!(connection = conn.0, %reason, "request refused");
        let mut failure = Failure::new(reason);
        (failure.action, failure.info_hash) = (action, info_hash);
        self.outputs.push_back(SwarmsOutput::Send { conn, text: TrackerMessage::Failure(failure).encode() });
    }

    /// Lets the announce wait while the holder of its peer id is asked for a sign of life.
    fn claim(
        &mut self,
        now: Instant,
        holder: ConnectionId,
        conn: ConnectionId,
        announce: Announce,
    ) -> Result<(), Refusal> {
        let membership = (announce.info_hash, announce.peer_id);
        let Some(origin) = self.connections.get(&conn).map(|connection| connection.origin) else { return Ok(()) };
        let taken = match self.claims.get(&membership) {
            Some(claim) => claim.conn != conn,
            None => {
                let own = self.claims.values().filter(|claim| claim.origin == origin).count();
                self.claims.len() >= self.config.max_pending_claims || own >= self.config.claims_of_an_address()
            }
        };
        if taken {
            return Err(Refusal::PeerIdInUse(announce.peer_id));
        }
        self.claims.insert(membership, Claim { conn, origin, announce });
        if let Some(connection) = self.connections.get_mut(&holder).filter(|connection| connection.probe.is_none()) {
            // A pong that is not read is no silence: else a crowd at a holder's address could take its peer ids from it.
            let asked = connection.paused_until.map_or(now, |until| until.max(now));
            let deadline = asked + self.config.claim_timeout;
            connection.probe = Some(deadline);
            self.timers.insert((deadline, Timer::Probe(holder)));
            self.outputs.push_back(SwarmsOutput::Ping { conn: holder });
        }
        Ok(())
    }

    /// A sign of life can come only later.
    fn paused(&mut self, conn: ConnectionId, until: Instant) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.paused_until = Some(until);
        // It was asked for one just before.
        if let Some(deadline) = &mut connection.probe {
            self.timers.remove(&(*deadline, Timer::Probe(conn)));
            *deadline = (*deadline).max(until + self.config.claim_timeout);
            self.timers.insert((*deadline, Timer::Probe(conn)));
        }
    }

    /// A sign of life: connections that claim a peer id of this one are refused.
    fn alive(&mut self, conn: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let Some(deadline) = connection.probe.take() else { return };
        self.timers.remove(&(deadline, Timer::Probe(conn)));
        let lost: Vec<Membership> =
            self.claims.keys().filter(|claimed| connection.memberships.contains(claimed)).copied().collect();
        for membership in lost {
            if let Some(claim) = self.claims.remove(&membership) {
                let refusal = Refusal::PeerIdInUse(membership.1);
                self.fail(claim.conn, refusal.to_string(), Some("announce".into()), Some(membership.0));
            }
        }
    }

    /// Lets the announce go on that waited for this membership to end.
    fn admit_claim(&mut self, now: Instant, membership: Membership) {
        if self.holder(membership.0, membership.1).is_some() {
            return;
        }
        if let Some(claim) = self.claims.remove(&membership) {
            self.announced(now, claim.conn, claim.announce);
        }
    }

    /// Takes a member out of its swarm and its connection.
    fn remove(&mut self, membership: Membership) {
        let (info_hash, peer_id) = membership;
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return };
        let Some(member) = swarm.remove(peer_id) else { return };
        self.shares.left(member.origin, swarm);
        self.stats.peers -= 1;
        self.stats.seeders -= usize::from(member.seeder);
        self.timers.remove(&(member.expires, Timer::Expire(membership)));
        if let Some(connection) = self.connections.get_mut(&member.conn) {
            connection.memberships.remove(&membership);
        }
        if swarm.len() == 0 {
            self.swarms.remove(&info_hash);
        }
    }

    /// Forgets a connection with all its memberships and claims.
    fn forget(&mut self, now: Instant, conn: ConnectionId) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        if let Some(deadline) = connection.probe {
            self.timers.remove(&(deadline, Timer::Probe(conn)));
        }
        self.claims.retain(|_, claim| claim.conn != conn);
        for membership in connection.memberships.iter() {
            self.remove(membership);
        }
        for membership in connection.memberships.iter() {
            self.admit_claim(now, membership);
        }
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(&(at, timer)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Expire(membership) => {
                    self.stats.peers_expired += 1;
                    self.remove(membership);
                    self.admit_claim(now, membership);
                }
                Timer::Probe(conn) => {
                    self.stats.connections_evicted += 1;
                    self.outputs.push_back(SwarmsOutput::Close { conn, reason: CloseReason::Unresponsive });
                    self.forget(now, conn);
                }
            }
        }
    }
}
