//! Who is in which swarm, and what a frame leads to, by the switches of a dialect.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{BadInput, Dialect, Family, Lie, SameId, StrayAnswer};

/// One socket.
pub(super) type Connection = u64;

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) text: String,
    /// The reply to an announce or a scrape.
    pub(super) is_reply: bool,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Stay,
    Close,
}

/// What has happened at a tracker since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Log {
    /// Sockets opened.
    pub connections: u64,
    /// Announces taken, `stopped` among them.
    pub announces: u64,
    /// `stopped` among them.
    pub stopped: u64,
    /// Offers that came with them.
    pub offers: u64,
    /// Offers that went to a member.
    pub offers_forwarded: u64,
    /// Answers that went to the offerer.
    pub answers_forwarded: u64,
    /// Answers to nobody.
    pub stray_answers: u64,
    /// Frames that no client may send.
    pub bad_inputs: u64,
    /// Announces ignored because another connection holds the peer id.
    pub ignored: u64,
    /// Members forgotten for not announcing.
    pub expired: u64,
    /// Messages dropped because too many waited.
    pub dropped: u64,
    /// The longest message received, in bytes.
    pub longest: usize,
}

#[derive(Debug)]
struct Socket {
    outbox: mpsc::Sender<Out>,
    family: Family,
    /// The first peer id announced.
    id: Option<String>,
}

#[derive(Debug)]
struct Member {
    connection: Connection,
    seen: Instant,
    seeder: bool,
}

type SwarmKey = (Family, String);
type Swarm = BTreeMap<String, Member>;

#[derive(Debug)]
pub(super) struct Swarms {
    dialect: Arc<Dialect>,
    pub(super) rng: StdRng,
    next: Connection,
    sockets: BTreeMap<Connection, Socket>,
    swarms: BTreeMap<SwarmKey, Swarm>,
    /// Offers forwarded, by offerer, member and offer id, where that matters for answers.
    forwarded: BTreeMap<(String, String, String), Instant>,
    next_sweep: Instant,
    log: Log,
}

impl Swarms {
    pub(super) fn new(dialect: Arc<Dialect>, seed: u64, now: Instant) -> Self {
        Self {
            dialect,
            rng: StdRng::seed_from_u64(seed),
            next: 0,
            sockets: BTreeMap::new(),
            swarms: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            next_sweep: now,
            log: Log::default(),
        }
    }

    pub(super) fn log(&self) -> Log {
        self.log
    }

    pub(super) fn members(&self) -> usize {
        self.swarms.values().map(BTreeMap::len).sum()
    }

    pub(super) fn open(&mut self, outbox: mpsc::Sender<Out>, family: Family) -> Connection {
        self.next += 1;
        self.log.connections += 1;
        let family = if self.dialect.splits_families { family } else { Family::V4 };
        self.sockets.insert(self.next, Socket { outbox, family, id: None });
        self.next
    }

    pub(super) fn closed(&mut self, connection: Connection) {
        self.sockets.remove(&connection);
        for swarm in self.swarms.values_mut() {
            swarm.retain(|_, member| member.connection != connection);
        }
        self.swarms.retain(|_, swarm| !swarm.is_empty());
    }

    pub(super) fn received(&mut self, now: Instant, connection: Connection, frame: &[u8]) -> Verdict {
        self.sweep(now);
        self.log.longest = self.log.longest.max(frame.len());
        match self.dialect.lie {
            Some(Lie::Silence) => return Verdict::Stay,
            Some(Lie::HangUp) => return Verdict::Close,
            _ => {}
        }
        let Ok(Value::Object(frame)) = serde_json::from_slice(frame) else { return self.bad_input(connection) };
        let taken = match frame.get("action").and_then(Value::as_str) {
            _ if frame.values().any(Value::is_null) => None,
            Some("announce") if frame.contains_key("answer") => self.answer(now, connection, &frame),
            Some("announce") => self.announce(now, connection, &frame),
            Some("scrape") => self.scrape(connection, &frame),
            _ => None,
        };
        taken.unwrap_or_else(|| self.bad_input(connection))
    }

    fn bad_input(&mut self, connection: Connection) -> Verdict {
        self.log.bad_inputs += 1;
        match self.dialect.bad_input {
            BadInput::Failure => {
                self.send(connection, json!({"failure reason": "Invalid request"}));
                Verdict::Stay
            }
            BadInput::Close => Verdict::Close,
        }
    }

    /// `None` is bad input, as below.
    fn announce(&mut self, now: Instant, connection: Connection, frame: &Map<String, Value>) -> Option<Verdict> {
        let (info_hash, peer_id) = (id(frame, "info_hash")?, id(frame, "peer_id")?);
        let event = match frame.get("event") {
            None => None,
            Some(event) => Some(event.as_str().filter(|event| self.dialect.events.contains(event))?),
        };
        let numwant = match frame.get("numwant") {
            None => 0,
            Some(numwant) => usize::try_from(numwant.as_u64()?).ok()?,
        };
        let offers = match frame.get("offers") {
            None => Vec::new(),
            Some(offers) => offers.as_array()?.iter().map(offer).collect::<Option<Vec<_>>>()?,
        };
        let socket = self.sockets.get_mut(&connection)?;
        let first = socket.id.get_or_insert_with(|| peer_id.clone());
        if self.dialect.one_id && *first != peer_id {
            return None;
        }
        let key = (socket.family, info_hash);
        self.log.announces += 1;
        if event == Some("stopped") {
            self.stop(connection, &key, &peer_id);
            return Some(Verdict::Stay);
        }
        let seeder = frame.get("left").and_then(Value::as_u64) == Some(0);
        if !self.enter(now, connection, &key, &peer_id, seeder) {
            return Some(Verdict::Stay);
        }
        self.log.offers += offers.len() as u64;
        self.reply(connection, &key);
        self.lie(connection, &key.1, &peer_id, &offers);
        let limit = if self.dialect.needs_numwant { numwant } else { usize::MAX };
        self.forward(now, &key, &peer_id, offers, limit);
        Some(Verdict::Stay)
    }

    /// Makes it a member or keeps it one; false if the announce goes no further.
    fn enter(&mut self, now: Instant, connection: Connection, key: &SwarmKey, peer_id: &str, seeder: bool) -> bool {
        let holder = self.swarms.get(key).and_then(|swarm| swarm.get(peer_id)).map(|member| member.connection);
        let elsewhere = holder.is_some_and(|holder| holder != connection);
        match self.dialect.same_id {
            SameId::Ignored if elsewhere => {
                self.log.ignored += 1;
                return false;
            }
            SameId::Evicts if elsewhere => {
                for swarm in self.swarms.values_mut() {
                    swarm.remove(peer_id);
                }
            }
            _ => {}
        }
        let swarm = self.swarms.entry(key.clone()).or_default();
        let member = swarm.entry(peer_id.to_owned()).or_insert(Member { connection, seen: now, seeder });
        (member.seen, member.seeder) = (now, seeder);
        true
    }

    fn stop(&mut self, connection: Connection, key: &SwarmKey, peer_id: &str) {
        self.log.stopped += 1;
        if let Some(swarm) = self.swarms.get_mut(key)
            && swarm.get(peer_id).is_some_and(|member| member.connection == connection)
        {
            swarm.remove(peer_id);
        }
        if self.dialect.replies_to_stopped {
            self.reply(connection, key);
        }
    }

    fn reply(&mut self, connection: Connection, key: &SwarmKey) {
        let (complete, incomplete) = self.counts(key);
        let mut reply = json!({
            "action": "announce",
            "info_hash": key.1,
            "interval": self.dialect.interval.as_secs(),
            "complete": complete,
            "incomplete": incomplete,
        });
        if let Some(lie) = self.dialect.lie {
            lie.twist(&mut self.rng, &mut reply);
        }
        self.queue(connection, Out { text: reply.to_string(), is_reply: true });
    }

    fn counts(&self, key: &SwarmKey) -> (usize, usize) {
        let Some(swarm) = self.swarms.get(key) else { return (0, 0) };
        let complete = swarm.values().filter(|member| member.seeder).count();
        (complete, swarm.len() - complete)
    }

    fn forward(&mut self, now: Instant, key: &SwarmKey, peer_id: &str, offers: Vec<(String, Value)>, limit: usize) {
        let Some(swarm) = self.swarms.get(key) else { return };
        let others = swarm.iter().filter(|(id, _)| *id != peer_id);
        let mut others: Vec<_> = others.map(|(id, member)| (id.clone(), member.connection)).collect();
        others.shuffle(&mut self.rng);
        let count = limit.min(self.dialect.max_offers);
        for ((to, connection), (offer_id, offer)) in others.into_iter().zip(offers).take(count) {
            self.log.offers_forwarded += 1;
            if self.dialect.answer_within.is_some() {
                self.forwarded.insert((peer_id.to_owned(), to, offer_id.clone()), now);
            }
            let offer = json!({
                "action": "announce", "info_hash": key.1, "peer_id": peer_id, "offer_id": offer_id, "offer": offer,
            });
            self.send(connection, offer);
        }
    }

    fn answer(&mut self, now: Instant, connection: Connection, frame: &Map<String, Value>) -> Option<Verdict> {
        let [info_hash, peer_id, to, offer_id] =
            ["info_hash", "peer_id", "to_peer_id", "offer_id"].map(|f| id(frame, f));
        let (info_hash, peer_id, to, offer_id) = (info_hash?, peer_id?, to?, offer_id?);
        description(frame.get("answer")?, "answer")?;
        let key = (self.sockets.get(&connection)?.family, info_hash);
        if self.dialect.stray_answer != StrayAnswer::Close {
            // To these two, an answer is an announce too.
            self.enter(now, connection, &key, &peer_id, false);
        }
        let known = match self.dialect.answer_within {
            None => true,
            Some(within) => {
                let forwarded = self.forwarded.remove(&(to.clone(), peer_id, offer_id));
                forwarded.is_some_and(|at| now <= at + within)
            }
        };
        let offerer = self.swarms.get(&key).and_then(|swarm| swarm.get(&to)).map(|member| member.connection);
        match offerer.filter(|_| known) {
            Some(offerer) => {
                self.log.answers_forwarded += 1;
                let mut answer = frame.clone();
                answer.remove("to_peer_id");
                self.send(offerer, Value::Object(answer));
            }
            None => {
                self.log.stray_answers += 1;
                match self.dialect.stray_answer {
                    StrayAnswer::Close => return Some(Verdict::Close),
                    StrayAnswer::Failure if !known => {
                        let reason = "Could not find the offer corresponding to your answer. It may have expired.";
                        let failure = json!({"action": "announce", "info_hash": key.1, "failure reason": reason});
                        self.send(connection, failure);
                    }
                    _ => {}
                }
            }
        }
        if self.dialect.replies_to_answers {
            self.reply(connection, &key);
        }
        Some(Verdict::Stay)
    }

    fn scrape(&mut self, connection: Connection, frame: &Map<String, Value>) -> Option<Verdict> {
        let family = self.sockets.get(&connection)?.family;
        let wanted: Vec<String> = match frame.get("info_hash")? {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            _ => return None,
        };
        let files: Map<String, Value> = wanted
            .into_iter()
            .map(|hash| {
                let (complete, incomplete) = self.counts(&(family, hash.clone()));
                (hash, json!({"complete": complete, "incomplete": incomplete, "downloaded": complete}))
            })
            .collect();
        let text = json!({"action": "scrape", "files": files}).to_string();
        self.queue(connection, Out { text, is_reply: true });
        Some(Verdict::Stay)
    }

    fn lie(&mut self, connection: Connection, info_hash: &str, peer_id: &str, offers: &[(String, Value)]) {
        let Some(lie) = self.dialect.lie else { return };
        for text in lie.extra(&mut self.rng, info_hash, peer_id, offers) {
            self.queue(connection, Out { text, is_reply: false });
        }
    }

    fn send(&mut self, connection: Connection, frame: Value) {
        self.queue(connection, Out { text: frame.to_string(), is_reply: false });
    }

    fn queue(&mut self, connection: Connection, out: Out) {
        let Some(socket) = self.sockets.get(&connection) else { return };
        if socket.outbox.try_send(out).is_err() {
            self.log.dropped += 1;
        }
    }

    /// Forgets what is too old, at the times at which the server would have looked.
    fn sweep(&mut self, now: Instant) {
        let Some(expiry) = self.dialect.expiry else { return };
        while self.next_sweep <= now {
            let at = self.next_sweep;
            for swarm in self.swarms.values_mut() {
                let before = swarm.len();
                swarm.retain(|_, member| at.saturating_duration_since(member.seen) <= expiry.after);
                self.log.expired += (before - swarm.len()) as u64;
            }
            if let Some(within) = self.dialect.answer_within {
                self.forwarded.retain(|_, forwarded| at.saturating_duration_since(*forwarded) <= within);
            }
            self.next_sweep += expiry.swept_every;
        }
        self.swarms.retain(|_, swarm| !swarm.is_empty());
    }
}

/// 20 bytes as a string, each byte a character.
fn id(frame: &Map<String, Value>, field: &str) -> Option<String> {
    let text = frame.get(field)?.as_str()?;
    let is_id = text.chars().count() == 20 && text.chars().all(|c| u32::from(c) < 256);
    is_id.then(|| text.to_owned())
}

fn offer(entry: &Value) -> Option<(String, Value)> {
    let offer = entry.get("offer")?;
    description(offer, "offer")?;
    Some((id(entry.as_object()?, "offer_id")?, offer.clone()))
}

fn description(value: &Value, kind: &str) -> Option<()> {
    let is_kind = value.get("type")?.as_str()? == kind && value.get("sdp")?.is_string();
    is_kind.then_some(())
}

/// An id nobody has.
pub(super) fn random_id(rng: &mut StdRng) -> String {
    rng.random::<[u8; 20]>().iter().map(|byte| char::from(*byte)).collect()
}
