//! Which members each swarm has, and what a frame leads to, by the switches of a profile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Answers, BadInput, Family, Idle, Ids, Log, Misbehaviour, SameId, StrayAnswer, TrackerProfile};

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

#[derive(Debug)]
struct Socket {
    outbox: mpsc::Sender<Out>,
    family: Family,
    /// The first peer id announced.
    id: Option<String>,
    /// The peer id announced for each info hash.
    ids: BTreeMap<String, String>,
    /// Since when it has been idle, in the sense of the profile.
    idle_since: Instant,
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
    profile: Arc<TrackerProfile>,
    pub(super) rng: StdRng,
    next: Connection,
    sockets: BTreeMap<Connection, Socket>,
    swarms: BTreeMap<SwarmKey, Swarm>,
    /// Offers forwarded, by offerer, member and offer id, where that matters for answers.
    forwarded: BTreeMap<(String, String, String), Instant>,
    /// Every offer that ever went to a member.
    given: BTreeSet<String>,
    next_sweep: Instant,
    /// How long it takes over each message.
    pub(super) pace: Duration,
    log: Log,
}

impl Swarms {
    pub(super) fn new(profile: Arc<TrackerProfile>, seed: u64, now: Instant) -> Self {
        let pace =
            if profile.misbehaviour == Some(Misbehaviour::Slowness) { Misbehaviour::SLOWNESS } else { Duration::ZERO };
        Self {
            profile,
            rng: StdRng::seed_from_u64(seed),
            next: 0,
            sockets: BTreeMap::new(),
            swarms: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            given: BTreeSet::new(),
            next_sweep: now,
            pace,
            log: Log::default(),
        }
    }

    pub(super) fn log(&self) -> Log {
        self.log
    }

    pub(super) fn members(&self) -> usize {
        self.swarms.values().map(BTreeMap::len).sum()
    }

    pub(super) fn open(&mut self, now: Instant, outbox: mpsc::Sender<Out>, family: Family) -> Connection {
        self.next += 1;
        self.log.connections += 1;
        let family = if self.profile.splits_families { family } else { Family::V4 };
        let socket = Socket { outbox, family, id: None, ids: BTreeMap::new(), idle_since: now };
        self.sockets.insert(self.next, socket);
        self.next
    }

    pub(super) fn closed(&mut self, connection: Connection) {
        let Some(socket) = self.sockets.remove(&connection) else { return };
        let goes = |id: &String| self.profile.ids != Ids::FirstGoes || socket.id.as_ref() == Some(id);
        for swarm in self.swarms.values_mut() {
            swarm.retain(|id, member| member.connection != connection || !goes(id));
        }
        self.swarms.retain(|_, swarm| !swarm.is_empty());
    }

    /// Something has come in.
    pub(super) fn heard(&mut self, now: Instant, connection: Connection) {
        if let (Idle::Unheard(_), Some(socket)) = (self.profile.idle, self.sockets.get_mut(&connection)) {
            socket.idle_since = now;
        }
    }

    /// A reply has gone out.
    pub(super) fn replied(&mut self, now: Instant, connection: Connection) {
        if let (Idle::Unanswered(_), Some(socket)) = (self.profile.idle, self.sockets.get_mut(&connection)) {
            socket.idle_since = now;
        }
    }

    /// When the connection is closed if it goes on like this.
    pub(super) fn idle_at(&self, connection: Connection) -> Option<Instant> {
        let since = self.sockets.get(&connection)?.idle_since;
        match self.profile.idle {
            Idle::Never => None,
            Idle::Unanswered(after) | Idle::Unheard(after) => Some(since + after),
        }
    }

    pub(super) fn received(&mut self, now: Instant, connection: Connection, frame: &[u8]) -> Verdict {
        self.sweep(now);
        self.log.longest = self.log.longest.max(frame.len());
        match self.profile.misbehaviour {
            Some(Misbehaviour::Silence) => return Verdict::Stay,
            Some(Misbehaviour::HangUp) => return Verdict::Close,
            _ => {}
        }
        let Ok(Value::Object(frame)) = serde_json::from_slice(frame) else { return self.bad_input(connection, None) };
        let taken = match frame.get("action").and_then(Value::as_str) {
            _ if frame.values().any(Value::is_null) => None,
            Some("announce") if frame.contains_key("answer") => self.answer(now, connection, &frame),
            Some("announce") => self.announce(now, connection, &frame),
            Some("scrape") => self.scrape(connection, &frame),
            _ => None,
        };
        taken.unwrap_or_else(|| self.bad_input(connection, Some(&frame)))
    }

    fn bad_input(&mut self, connection: Connection, frame: Option<&Map<String, Value>>) -> Verdict {
        self.log.bad_inputs += 1;
        let mut failure = json!({"failure reason": "Invalid request"});
        match self.profile.bad_input {
            BadInput::Close => return Verdict::Close,
            BadInput::Failure => {}
            BadInput::NamedFailure => {
                let action = frame.and_then(|frame| frame.get("action")?.as_str());
                let info_hash = frame.and_then(|frame| id(frame, "info_hash"));
                if let (Some(action @ ("announce" | "scrape")), Some(info_hash)) = (action, info_hash) {
                    (failure["action"], failure["info_hash"]) = (json!(action), json!(info_hash));
                }
            }
        }
        self.send(connection, failure);
        Verdict::Stay
    }

    /// `None` is bad input, as below.
    fn announce(&mut self, now: Instant, connection: Connection, frame: &Map<String, Value>) -> Option<Verdict> {
        let (info_hash, peer_id) = (id(frame, "info_hash")?, id(frame, "peer_id")?);
        let event = match frame.get("event") {
            None => None,
            Some(event) => Some(event.as_str().filter(|event| self.profile.events.contains(event))?),
        };
        let numwant = match frame.get("numwant") {
            None => 0,
            Some(numwant) => usize::try_from(numwant.as_u64()?).ok()?,
        };
        let offers = match frame.get("offers") {
            None => Vec::new(),
            Some(offers) => offers.as_array()?.iter().map(offer).collect::<Option<Vec<_>>>()?,
        };
        if frame.get("left").is_some_and(|left| !left.is_u64()) {
            return None;
        }
        let socket = self.sockets.get_mut(&connection)?;
        let first = socket.id.get_or_insert_with(|| peer_id.clone());
        self.log.second_ids += u64::from(*first != peer_id);
        let first = match self.profile.ids {
            Ids::Any | Ids::FirstGoes => &peer_id,
            Ids::One => first,
            Ids::OnePerSwarm => socket.ids.entry(info_hash.clone()).or_insert_with(|| peer_id.clone()),
        };
        if *first != peer_id {
            return Some(Verdict::Close);
        }
        let key = (socket.family, info_hash);
        self.log.announces += 1;
        self.log.most_offers = self.log.most_offers.max(offers.len());
        if event == Some("stopped") {
            self.stop(connection, &key, &peer_id);
            return Some(Verdict::Stay);
        }
        let seeder = frame.get("left").and_then(Value::as_u64) == Some(0);
        if self.profile.misbehaviour == Some(Misbehaviour::Refusal) {
            let reason = "Info hash not allowed";
            self.send(connection, json!({"action": "announce", "info_hash": key.1, "failure reason": reason}));
            return Some(Verdict::Stay);
        }
        if !self.enter(now, connection, &key, &peer_id, seeder) {
            return Some(Verdict::Stay);
        }
        self.log.offers += offers.len() as u64;
        self.reply(connection, &key);
        self.misbehave(connection, &key.1, &peer_id, &offers);
        let limit = if self.profile.needs_numwant { numwant } else { usize::MAX };
        self.forward(now, &key, &peer_id, offers, limit);
        Some(Verdict::Stay)
    }

    /// Makes it a member or keeps it one; false if the announce goes no further.
    fn enter(&mut self, now: Instant, connection: Connection, key: &SwarmKey, peer_id: &str, seeder: bool) -> bool {
        let holder = self.swarms.get(key).and_then(|swarm| swarm.get(peer_id)).map(|member| member.connection);
        let elsewhere = holder.is_some_and(|holder| holder != connection);
        match self.profile.same_id {
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
        if swarm.len() > self.profile.max_members {
            let oldest = swarm.iter().min_by_key(|(_, member)| member.seen).map(|(id, _)| id.clone());
            self.log.expired += u64::from(oldest.and_then(|id| swarm.remove(&id)).is_some());
        }
        true
    }

    fn stop(&mut self, connection: Connection, key: &SwarmKey, peer_id: &str) {
        self.log.stopped += 1;
        // bittorrent-tracker does not look at whose socket it is.
        let any = self.profile.same_id == SameId::HolderStays;
        if let Some(swarm) = self.swarms.get_mut(key)
            && swarm.get(peer_id).is_some_and(|member| any || member.connection == connection)
        {
            swarm.remove(peer_id);
        }
        if self.profile.replies_to_stopped {
            self.reply(connection, key);
        }
    }

    fn reply(&mut self, connection: Connection, key: &SwarmKey) {
        let (complete, incomplete) = self.counts(key);
        let mut reply = json!({
            "action": "announce",
            "info_hash": key.1,
            "interval": self.profile.interval.as_secs(),
            "complete": complete,
            "incomplete": incomplete,
        });
        if let Some(misbehaviour) = self.profile.misbehaviour {
            misbehaviour.twist(&mut self.rng, &mut reply);
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
        let count = limit.min(self.profile.max_offers);
        for ((to, connection), (offer_id, offer)) in others.into_iter().zip(offers).take(count) {
            self.log.offers_forwarded += 1;
            self.log.offers_repeated += u64::from(!self.given.insert(offer_id.clone()));
            let offer =
                if self.profile.verbatim_offers { offer } else { json!({"type": "offer", "sdp": offer["sdp"]}) };
            if self.profile.answer_within.is_some() {
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
        let finds_anywhere = self.profile.answers != Answers::Rebuilt;
        if !finds_anywhere {
            // To these two, an answer is an announce too.
            self.enter(now, connection, &key, &peer_id, false);
        }
        let known = match self.profile.answer_within {
            None => true,
            Some(within) => {
                let forwarded = self.forwarded.remove(&(to.clone(), peer_id, offer_id));
                forwarded.is_some_and(|at| now <= at + within)
            }
        };
        let mut among = self.swarms.iter().filter(|(swarm, _)| finds_anywhere || **swarm == key);
        let offerer = among.find_map(|(_, swarm)| swarm.get(&to)).map(|member| member.connection);
        match offerer.filter(|_| known) {
            Some(offerer) => {
                self.log.answers_forwarded += 1;
                let answer = self.forwarded_answer(connection, frame);
                self.send(offerer, answer);
            }
            None => {
                self.log.stray_answers += 1;
                match self.profile.stray_answer {
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
        if self.profile.replies_to_answers {
            self.reply(connection, &key);
        }
        Some(Verdict::Stay)
    }

    fn forwarded_answer(&self, connection: Connection, frame: &Map<String, Value>) -> Value {
        let mut answer = frame.clone();
        answer.remove("to_peer_id");
        match self.profile.answers {
            Answers::Rebuilt => {
                answer.retain(|field, _| ["action", "info_hash", "peer_id", "offer_id", "answer"].contains(&&**field));
            }
            Answers::Whole => {}
            Answers::WholeButId => {
                if let Some(own) = self.sockets.get(&connection).and_then(|socket| socket.id.clone()) {
                    answer.insert("peer_id".to_owned(), json!(own));
                }
            }
        }
        Value::Object(answer)
    }

    fn scrape(&mut self, connection: Connection, frame: &Map<String, Value>) -> Option<Verdict> {
        self.log.scrapes += 1;
        let family = self.sockets.get(&connection)?.family;
        let scrape = self.profile.scrape;
        let mut wanted: Vec<String> = match frame.get("info_hash") {
            None if !scrape.of_all => {
                let reason = "Full scrapes are not allowed";
                self.send(connection, json!({"action": "scrape", "failure reason": reason}));
                return Some(Verdict::Stay);
            }
            None => self.swarms.keys().map(|(_, hash)| hash.clone()).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) if many.is_empty() && scrape.max.is_some() => return Some(Verdict::Stay),
            Some(Value::Array(many)) => {
                many.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?
            }
            Some(_) => return None,
        };
        wanted.truncate(scrape.max.unwrap_or(usize::MAX));
        wanted.retain(|hash| scrape.of_unknown || self.swarms.contains_key(&(family, hash.clone())));
        let files: Map<String, Value> = wanted
            .into_iter()
            .map(|hash| {
                let (complete, incomplete) = self.counts(&(family, hash.clone()));
                let downloaded = if scrape.of_unknown { complete } else { 0 };
                (hash, json!({"complete": complete, "incomplete": incomplete, "downloaded": downloaded}))
            })
            .collect();
        let mut reply = json!({"action": "scrape", "files": files});
        if scrape.flags {
            reply["flags"] = json!({"min_request_interval": 600});
        }
        self.queue(connection, Out { text: reply.to_string(), is_reply: true });
        Some(Verdict::Stay)
    }

    fn misbehave(&mut self, connection: Connection, info_hash: &str, peer_id: &str, offers: &[(String, Value)]) {
        let Some(misbehaviour) = self.profile.misbehaviour else { return };
        for text in misbehaviour.extra(&mut self.rng, info_hash, peer_id, offers) {
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
        let Some(expiry) = self.profile.expiry else { return };
        while self.next_sweep <= now {
            let at = self.next_sweep;
            for swarm in self.swarms.values_mut() {
                let before = swarm.len();
                swarm.retain(|_, member| at.saturating_duration_since(member.seen) <= expiry.after);
                self.log.expired += (before - swarm.len()) as u64;
            }
            if let Some(within) = self.profile.answer_within {
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

/// An id that no member has.
pub(super) fn random_id(rng: &mut StdRng) -> String {
    rng.random::<[u8; 20]>().iter().map(|byte| char::from(*byte)).collect()
}
