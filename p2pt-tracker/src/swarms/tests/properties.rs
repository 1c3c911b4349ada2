//! Any sequence of inputs, beside a model that knows only who is where.

use std::collections::{BTreeMap, HashMap};

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::swarms::shares::Held;

#[derive(Debug, Clone)]
enum Op {
    Open(u64),
    Close(u64),
    Alive(u64),
    /// Nothing is read of it for so many seconds.
    Pause(u64, u64),
    Announce {
        conn: u64,
        announce: Announce,
    },
    Answer {
        conn: u64,
        answer: AnswerRequest,
    },
    Scrape {
        conn: u64,
        info_hashes: Vec<InfoHash>,
    },
    Bytes {
        conn: u64,
        bytes: Vec<u8>,
    },
    Advance(u64),
}

fn any_announce() -> impl Strategy<Value = Announce> {
    let event = option::weighted(
        0.3,
        prop_oneof![Just(AnnounceEvent::Started), Just(AnnounceEvent::Stopped), Just(AnnounceEvent::Completed)],
    );
    let offers = option::weighted(0.7, vec(0..8u8, 0..6));
    (0..2u8, 0..4u8, event, option::of(0..2u64), option::weighted(0.2, 0..4u32), offers).prop_map(
        |(swarm, from, event, left, numwant, offers)| {
            let offers =
                offers.map(|ids| ids.into_iter().map(|id| Offer::new(offer_id(id), format!("offer {id}"))).collect());
            let mut announce = Announce::new(hash(swarm), peer(from));
            (announce.event, announce.left, announce.numwant, announce.offers) = (event, left, numwant, offers);
            announce
        },
    )
}

fn any_answer() -> impl Strategy<Value = AnswerRequest> {
    (0..2u8, 0..4u8, 0..4u8, 0..8u8).prop_map(|(swarm, from, to, offer)| {
        AnswerRequest::new(hash(swarm), peer(from), peer(to), offer_id(offer), String::new())
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    let conn = || 0..5u64;
    let fragment =
        prop_oneof![any_announce().prop_map(ClientMessage::Announce), any_answer().prop_map(ClientMessage::Answer)]
            .prop_map(|message| message.encode().into_bytes());
    let mangled = (fragment, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![
        3 => conn().prop_map(Op::Open),
        1 => conn().prop_map(Op::Close),
        1 => conn().prop_map(Op::Alive),
        2 => (conn(), 0..9u64).prop_map(|(conn, seconds)| Op::Pause(conn, seconds)),
        12 => (conn(), any_announce()).prop_map(|(conn, announce)| Op::Announce { conn, announce }),
        6 => (conn(), any_answer()).prop_map(|(conn, answer)| Op::Answer { conn, answer }),
        1 => (conn(), vec((0..4u8).prop_map(hash), 0..4)).prop_map(|(conn, info_hashes)| Op::Scrape { conn, info_hashes }),
        1 => (conn(), vec(any::<u8>(), 0..40)).prop_map(|(conn, bytes)| Op::Bytes { conn, bytes }),
        1 => (conn(), mangled).prop_map(|(conn, bytes)| Op::Bytes { conn, bytes }),
        4 => (0..7u64).prop_map(Op::Advance),
        1 => (50..150u64).prop_map(Op::Advance),
    ]
}

/// Which peer is where, by rules simpler than the real ones: nothing has a limit here.
#[derive(Default)]
struct Model {
    open: BTreeMap<ConnectionId, Option<Instant>>,
    /// Until when nothing was last read.
    paused: BTreeMap<ConnectionId, Instant>,
    members: BTreeMap<Membership, (ConnectionId, bool, Instant)>,
    claims: BTreeMap<Membership, (ConnectionId, Announce)>,
    /// To whom an offer of a member may have gone, when, and whether it was answered.
    forwarded: BTreeMap<(Membership, OfferId), (BTreeSet<Membership>, Instant, bool)>,
}

impl Model {
    fn announce(&mut self, now: Instant, conn: ConnectionId, announce: &Announce) {
        let membership = (announce.info_hash, announce.peer_id);
        let holder = self.members.get(&membership).copied();
        if announce.event == Some(AnnounceEvent::Stopped) {
            if self.claims.get(&membership).is_some_and(|(claimant, _)| *claimant == conn) {
                self.claims.remove(&membership);
            }
            if holder.is_some_and(|(holder, ..)| holder == conn) {
                self.leave(now, membership);
            }
            return;
        }
        if let Some((holder, ..)) = holder.filter(|(holder, ..)| *holder != conn) {
            if self.claims.get(&membership).is_none_or(|(claimant, _)| *claimant == conn) {
                self.claims.insert(membership, (conn, announce.clone()));
                let asked = self.paused.get(&holder).map_or(now, |until| now.max(*until));
                self.open.entry(holder).and_modify(|probe| *probe = probe.or(Some(asked + Duration::from_secs(5))));
            }
            return;
        }
        let seeder = match (announce.event, announce.left) {
            (Some(AnnounceEvent::Completed), _) | (_, Some(0)) => true,
            (_, Some(_)) => false,
            (_, None) => holder.is_some_and(|(_, seeder, _)| seeder),
        };
        self.members.insert(membership, (conn, seeder, now + Duration::from_secs(300)));
    }

    fn leave(&mut self, now: Instant, membership: Membership) {
        self.members.remove(&membership);
        self.forwarded.retain(|(offerer, _), _| *offerer != membership);
        if let Some((conn, announce)) = self.claims.remove(&membership) {
            self.announce(now, conn, &announce);
        }
    }

    fn close(&mut self, now: Instant, conn: ConnectionId) {
        self.open.remove(&conn);
        self.paused.remove(&conn);
        self.claims.retain(|_, (claimant, _)| *claimant != conn);
        let held: Vec<Membership> = self
            .members
            .iter()
            .filter(|(_, (holder, ..))| *holder == conn)
            .map(|(membership, _)| *membership)
            .collect();
        held.into_iter().for_each(|membership| self.leave(now, membership));
    }

    fn alive(&mut self, conn: ConnectionId) {
        if let Some(probe) = self.open.get_mut(&conn) {
            *probe = None;
            self.claims.retain(|claimed, _| self.members.get(claimed).is_none_or(|(holder, ..)| *holder != conn));
        }
    }

    fn pass_time(&mut self, now: Instant) {
        loop {
            let expired = self.members.iter().map(|(membership, (.., at))| (*at, *membership)).min();
            let probed = self.open.iter().filter_map(|(conn, at)| Some(((*at)?, *conn))).min();
            match (expired.filter(|(at, _)| *at <= now), probed.filter(|(at, _)| *at <= now)) {
                (Some((at, membership)), probed) if probed.is_none_or(|(probe, _)| at <= probe) => {
                    self.leave(now, membership);
                }
                (_, Some((_, conn))) => self.close(now, conn),
                (_, None) => return,
            }
        }
    }

    fn apply(&mut self, now: Instant, op: &Op) {
        self.pass_time(now);
        let received = match op {
            Op::Open(conn) => {
                self.open.insert(ConnectionId(*conn), None);
                None
            }
            Op::Close(conn) => {
                self.close(now, ConnectionId(*conn));
                None
            }
            Op::Alive(conn) => Some((conn, None)),
            Op::Pause(conn, seconds) => {
                let (conn, until) = (ConnectionId(*conn), now + Duration::from_secs(*seconds));
                if let Some(probe) = self.open.get_mut(&conn) {
                    self.paused.insert(conn, until);
                    *probe = probe.map(|at| at.max(until + Duration::from_secs(5)));
                }
                None
            }
            Op::Announce { conn, announce } => Some((conn, Some(announce.clone()))),
            Op::Answer { conn, .. } | Op::Scrape { conn, .. } => Some((conn, None)),
            Op::Bytes { conn, bytes } => match ClientMessage::decode(bytes) {
                Ok(ClientMessage::Announce(announce)) => Some((conn, Some(announce))),
                _ => Some((conn, None)),
            },
            Op::Advance(_) => None,
        };
        if let Some((&conn, announce)) = received
            && self.open.contains_key(&ConnectionId(conn))
        {
            if let Some(announce) = announce {
                self.announce(now, ConnectionId(conn), &announce);
            }
            self.alive(ConnectionId(conn));
        }
    }

    /// Checks what is forwarded, and follows who puts off its expiry by an answer.
    fn check_output(&mut self, now: Instant, output: &SwarmsOutput) {
        let SwarmsOutput::Send { conn, text } = output else { return };
        assert!(self.open.contains_key(conn), "{conn:?} is closed and gets {text}");
        match TrackerMessage::decode(text).expect("the tracker's messages decode") {
            TrackerMessage::Offer(offer) => {
                let from = (offer.info_hash, offer.peer_id);
                assert!(self.members.contains_key(&from), "the offerer is a member");
                // The receiver is not named, so it is one of those that share the connection.
                let receivers: BTreeSet<Membership> = self
                    .members
                    .iter()
                    .filter(|(member, (holder, ..))| {
                        member.0 == offer.info_hash && member.1 != offer.peer_id && holder == conn
                    })
                    .map(|(member, _)| *member)
                    .collect();
                assert!(!receivers.is_empty(), "the receiver is another member of the swarm");
                let before = self.forwarded.insert((from, offer.offer_id), (receivers, now, false));
                let again = before.is_some_and(|(_, at, _)| now < at + Duration::from_secs(120));
                assert!(!again, "an offer is forwarded twice");
            }
            TrackerMessage::Answer(answer) => {
                let answerer = (answer.info_hash, answer.peer_id);
                let to = self.members.iter().find_map(|(offerer, (holder, ..))| {
                    let (receivers, at, answered) = self.forwarded.get_mut(&(*offerer, answer.offer_id))?;
                    let awaited = holder == conn
                        && receivers.contains(&answerer)
                        && now < *at + Duration::from_secs(120)
                        && !*answered;
                    awaited.then(|| *answered = true)
                });
                assert!(to.is_some(), "the answer is not awaited");
                if let Some((.., expires)) = self.members.get_mut(&answerer) {
                    *expires = now + Duration::from_secs(300);
                }
            }
            _ => {}
        }
    }
}

/// What the swarms hold, in the model's words.
fn members(swarms: &Swarms) -> BTreeMap<Membership, (ConnectionId, bool, Instant)> {
    let mut members = BTreeMap::new();
    for (conn, connection) in &swarms.connections {
        for membership in connection.memberships.iter() {
            let member = swarms.swarms[&membership.0].get(membership.1).expect("a connection's memberships exist");
            assert_eq!(member.conn, *conn);
            members.insert(membership, (*conn, member.seeder, member.expires));
        }
    }
    assert_eq!(members.len(), swarms.swarms.values().map(Swarm::len).sum::<usize>(), "each member has a connection");
    assert!(swarms.swarms.values().all(|swarm| swarm.len() > 0), "an empty swarm is gone");
    members
}

/// What each address has, counted anew.
fn held(swarms: &Swarms) -> HashMap<Origin, Held> {
    let mut swarms_of: BTreeSet<(InfoHash, String)> = BTreeSet::new();
    let mut held: HashMap<Origin, Held> = HashMap::new();
    for connection in swarms.connections.values() {
        for (info_hash, _) in connection.memberships.iter() {
            let of = held.entry(connection.origin).or_default();
            of.peers += 1;
            of.swarms += usize::from(swarms_of.insert((info_hash, format!("{:?}", connection.origin))));
        }
    }
    held
}

fn perform(harness: &mut Harness, op: &Op) -> Vec<SwarmsOutput> {
    let conn = |conn: &u64| ConnectionId(*conn);
    // Some share an address, some have none that is known.
    let address = |conn: &u64| (!conn.is_multiple_of(3)).then(|| IpAddr::from([192, 0, 2, (conn % 3) as u8]));
    let received =
        |harness: &mut Harness, on: &u64, frame: &[u8]| harness.input(SwarmsInput::Received { conn: conn(on), frame });
    match op {
        Op::Open(on) => harness.input(SwarmsInput::Opened { conn: conn(on), address: address(on) }),
        Op::Close(on) => harness.input(SwarmsInput::Closed { conn: conn(on) }),
        Op::Alive(on) => harness.input(SwarmsInput::Alive { conn: conn(on) }),
        Op::Pause(on, seconds) => {
            let until = harness.now + Duration::from_secs(*seconds);
            harness.input(SwarmsInput::Paused { conn: conn(on), until })
        }
        Op::Announce { conn, announce } => {
            received(harness, conn, ClientMessage::Announce(announce.clone()).encode().as_bytes())
        }
        Op::Answer { conn, answer } => {
            received(harness, conn, ClientMessage::Answer(answer.clone()).encode().as_bytes())
        }
        Op::Scrape { conn, info_hashes } => {
            let scrape = ScrapeRequest::new(info_hashes.clone());
            received(harness, conn, ClientMessage::Scrape(scrape).encode().as_bytes())
        }
        Op::Bytes { conn, bytes } => received(harness, conn, bytes),
        Op::Advance(_) => harness.input(SwarmsInput::Timeout),
    }
}

/// Performs what can happen: an open connection is not opened again, and time does not jump over a timeout. Each
/// input has its own instant, so that timers of different inputs never run in one step.
fn run(harness: &mut Harness, ops: &[Op], mut check: impl FnMut(&mut Harness, &Op, Vec<SwarmsOutput>)) {
    for op in ops {
        let until = harness.now + Duration::from_millis(1);
        let until = match op {
            Op::Open(conn) if harness.swarms.connections.contains_key(&ConnectionId(*conn)) => continue,
            Op::Advance(seconds) => until + Duration::from_secs(*seconds),
            _ => until,
        };
        while let Some(at) = harness.swarms.poll_timeout().filter(|at| *at <= until) {
            harness.now = at;
            let outputs = harness.input(SwarmsInput::Timeout);
            check(harness, &Op::Advance(0), outputs);
        }
        harness.now = until;
        let outputs = perform(harness, op);
        check(harness, op, outputs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn swarms_do_as_the_model(ops in vec(any_op(), 0..120)) {
        // No limit but those on peer ids and bad frames could be met, and these are not modelled.
        let config = SwarmsConfig { max_peer_ids_per_swarm: 9, max_bad_frames: u32::MAX, ..SwarmsConfig::default() };
        let mut harness = Harness::new(config, []);
        let mut model = Model::default();
        run(&mut harness, &ops, |harness, op, outputs| {
            model.apply(harness.now, op);
            for output in &outputs {
                model.check_output(harness.now, output);
            }
            let held = members(&harness.swarms);
            assert_eq!(held, model.members);
            let claims: Vec<Membership> = harness.swarms.claims.keys().copied().collect();
            assert_eq!(claims, model.claims.keys().copied().collect::<Vec<_>>());
            let stats = harness.swarms.stats();
            assert_eq!(stats.connections, model.open.len());
            assert_eq!(stats.peers, held.len());
            assert_eq!(stats.seeders, held.values().filter(|(_, seeder, _)| *seeder).count());
            let next = held.values().map(|(.., at)| *at).chain(model.open.values().filter_map(|probe| *probe)).min();
            assert_eq!(harness.swarms.poll_timeout(), next);
            assert_eq!(harness.swarms.shares.iter().collect::<HashMap<_, _>>(), self::held(&harness.swarms));
        });
        for conn in 0..5 {
            harness.input(SwarmsInput::Closed { conn: ConnectionId(conn) });
        }
        let Swarms { swarms, connections, claims, timers, .. } = &harness.swarms;
        prop_assert!(swarms.is_empty() && connections.is_empty() && claims.is_empty() && timers.is_empty());
    }

    /// What is refused is what would be beyond a share, and what is not refused is within.
    #[test]
    fn shares_hold(ops in vec(any_op(), 0..120), max_swarms in 2..5usize, max_peers in 2..9usize) {
        let config = SwarmsConfig {
            max_swarms,
            max_peers,
            max_memberships_per_connection: 1,
            max_pending_claims: 2,
            address_share: 2,
            ..SwarmsConfig::default()
        };
        let mut harness = Harness::new(config, []);
        run(&mut harness, &ops, |harness, _, outputs| {
            let held = held(&harness.swarms);
            for (origin, held) in &held {
                assert!(held.swarms <= max_swarms / 2 && held.peers <= max_peers / 2, "{origin:?} has {held:?}");
                let claims = harness.swarms.claims.values().filter(|claim| claim.origin == *origin).count();
                assert!(claims <= 1, "{origin:?} has {claims} claims");
            }
            for output in outputs {
                let SwarmsOutput::Send { conn, text } = output else { continue };
                let TrackerMessage::Failure(failure) = TrackerMessage::decode(&text).expect("it decodes") else { continue };
                if failure.reason.contains("which is its share") {
                    let held = held[&harness.swarms.connections[&conn].origin];
                    assert!(held.swarms == max_swarms / 2 || held.peers == max_peers / 2, "{held:?}: {}", failure.reason);
                }
            }
        });
    }

    #[test]
    fn limits_hold(ops in vec(any_op(), 0..120)) {
        let config = SwarmsConfig {
            max_connections: 3,
            max_swarms: 1,
            max_peers_per_swarm: 3,
            max_memberships_per_connection: 2,
            max_peer_ids_per_swarm: 1,
            max_offers_per_announce: 2,
            max_open_offers_per_peer: 3,
            max_scraped_swarms: 2,
            max_pending_claims: 1,
            max_bad_frames: 2,
            ..SwarmsConfig::default()
        };
        let mut harness = Harness::new(config, []);
        // Offers of a peer that were forwarded within their lifetime, as long as it remains a member.
        let mut open: Vec<(Membership, ConnectionId, Instant)> = Vec::new();
        run(&mut harness, &ops, |harness, op, outputs| {
            let held = members(&harness.swarms);
            assert!(harness.swarms.connections.len() <= 3);
            assert!(harness.swarms.swarms.len() <= 1);
            assert!(held.len() <= 3);
            assert!(harness.swarms.claims.len() <= 1);
            assert!(harness.swarms.connections.values().all(|connection| connection.memberships.len() <= 1));
            let lives = |from: &Membership, conn| held.get(from).is_some_and(|(holder, ..)| *holder == conn);
            open.retain(|(from, conn, at)| lives(from, *conn) && harness.now < *at + Duration::from_secs(120));
            let mut forwards = 0;
            for output in outputs {
                let SwarmsOutput::Send { text, .. } = output else { continue };
                match TrackerMessage::decode(&text).expect("the tracker's messages decode") {
                    TrackerMessage::Offer(offer) => {
                        forwards += 1;
                        let from = (offer.info_hash, offer.peer_id);
                        open.push((from, held[&from].0, harness.now));
                    }
                    TrackerMessage::Scrape(reply) => assert!(reply.files.len() <= 2),
                    _ => {}
                }
            }
            // A step may admit one claim besides the announce itself.
            assert!(forwards <= 4, "{forwards} offers forwarded by {op:?}");
            for membership in held.keys() {
                assert!(open.iter().filter(|(from, ..)| from == membership).count() <= 3);
            }
        });
    }
}
