//! A tracker and its many clients, as a sequence of what they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use arbitrary::Arbitrary;
use p2pt_proto::{
    Announce, AnnounceEvent, AnswerRequest, ClientMessage, InfoHash, Offer, OfferId, PeerId, ScrapeRequest,
    TrackerMessage,
};

use super::{ConnectionId, Swarms, SwarmsConfig, SwarmsInput, SwarmsOutput};
use crate::model;

/// A failure frame says why, and repeats little of what it refuses.
const MAX_FAILURE_BYTES: usize = 2048;

#[derive(Debug, Arbitrary)]
struct Input {
    tight: bool,
    seed: u64,
    ops: Vec<Op>,
}

#[derive(Debug, Arbitrary)]
enum Op {
    Open(u8),
    Close(u8),
    Alive(u8),
    Announce {
        conn: u8,
        peer: Peer,
        event: Option<Event>,
        left: Option<bool>,
        numwant: Option<u8>,
        offers: Vec<u8>,
    },
    Answer {
        conn: u8,
        from: Peer,
        to: u8,
        offer: u8,
    },
    /// The connection that was given an offer answers it, in the name of this peer id.
    AnswerOne {
        offer: u8,
        from: u8,
    },
    /// The frame before comes again.
    Again,
    Scrape {
        conn: u8,
        swarms: u8,
    },
    Bytes {
        conn: u8,
        bytes: Vec<u8>,
    },
    /// Time passes, with each timeout when it is due.
    Wait(u8),
    /// Time passes unnoticed, as on a machine that sleeps.
    Sleep(u16),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Peer {
    swarm: u8,
    id: u8,
}

impl Peer {
    fn swarm(self) -> InfoHash {
        InfoHash::from([self.swarm % 3; 20])
    }

    fn id(self) -> PeerId {
        peer(self.id)
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Event {
    Started,
    Stopped,
    Completed,
}

fn peer(id: u8) -> PeerId {
    PeerId::from([id % 6; 20])
}

/// An offer that was forwarded and not yet answered.
#[derive(Debug)]
struct Forwarded {
    info_hash: InfoHash,
    offerer: PeerId,
    offer_id: OfferId,
    to: ConnectionId,
    at: Instant,
}

struct Harness {
    config: SwarmsConfig,
    swarms: Swarms,
    now: Instant,
    open: BTreeSet<ConnectionId>,
    opened: BTreeSet<ConnectionId>,
    forwarded: Vec<Forwarded>,
    /// The connections that have ever announced a peer id.
    announced: BTreeMap<(InfoHash, PeerId), BTreeSet<ConnectionId>>,
    latest: Option<(ConnectionId, Vec<u8>)>,
}

impl Harness {
    fn new(tight: bool, seed: u64) -> Self {
        let mut config = SwarmsConfig::default();
        if tight {
            config = config
                .max_connections(4)
                .max_swarms(2)
                .max_peers(5)
                .max_peers_per_swarm(3)
                .address_share(2)
                .max_memberships_per_connection(3)
                .max_peer_ids_per_swarm(2)
                .max_offers_per_announce(2)
                .max_open_offers_per_peer(3)
                .max_scraped_swarms(2)
                .max_pending_claims(1)
                .max_bad_frames(2);
        }
        let swarms = Swarms::new(config.clone(), seed);
        Self {
            config,
            swarms,
            now: model::base(),
            open: BTreeSet::new(),
            opened: BTreeSet::new(),
            forwarded: Vec::new(),
            announced: BTreeMap::new(),
            latest: None,
        }
    }

    fn input(&mut self, input: SwarmsInput<'_>) {
        let sender = match input {
            SwarmsInput::Received { conn, .. } => Some(conn),
            _ => None,
        };
        self.swarms.handle_input(self.now, input);
        let mut outputs = 0;
        let mut forwards = 0;
        while let Some(output) = self.swarms.poll_output() {
            outputs += 1;
            match output {
                SwarmsOutput::Send { conn, text } => {
                    assert!(self.open.contains(&conn), "{conn:?} is not open and gets {text}");
                    let message = TrackerMessage::decode(&text).expect("a tracker's messages decode");
                    forwards += usize::from(matches!(message, TrackerMessage::Offer(_)));
                    self.check(conn, sender, text.len(), message);
                }
                SwarmsOutput::Ping { conn } => assert!(self.open.contains(&conn), "{conn:?} is not open and pinged"),
                SwarmsOutput::Close { conn, .. } => {
                    let was_open = self.open.remove(&conn);
                    let is_new = matches!(input, SwarmsInput::Opened { conn: new, .. } if new == conn);
                    assert!(was_open || is_new, "{conn:?} is closed twice");
                }
            }
        }
        // What one frame brings about: its own replies and offers, and those of at most one waiting announce for each
        // membership that ends with it.
        let most = self.config.max_offers_per_announce * (1 + self.config.max_pending_claims.min(18));
        assert!(forwards <= most, "{forwards} offers at once");
        assert!(outputs <= 24 + 2 * most, "{outputs} outputs at once");
        let stats = self.swarms.stats();
        assert_eq!(stats.connections, self.open.len());
        assert!(stats.connections <= self.config.max_connections);
        assert!(stats.swarms <= self.config.max_swarms);
        assert!(stats.peers <= self.config.max_peers_per_swarm * stats.swarms);
        assert!(stats.peers <= self.config.max_memberships_per_connection * stats.connections);
        assert!(stats.peers <= self.config.max_peer_ids_per_swarm * stats.connections * stats.swarms);
        assert!(stats.peers <= self.config.max_peers);
        assert!(stats.seeders <= stats.peers && stats.swarms <= stats.peers);
        let mut peers = 0;
        for (origin, held) in self.swarms.shares.iter() {
            assert!(0 < held.swarms && held.swarms <= held.peers, "{origin:?} has {held:?}");
            assert!(held.swarms <= self.config.swarms_of_an_address(), "{origin:?} has {held:?}");
            assert!(held.peers <= self.config.peers_of_an_address(), "{origin:?} has {held:?}");
            peers += held.peers;
        }
        assert_eq!(peers, stats.peers, "each member counts for its address");
    }

    fn check(&mut self, conn: ConnectionId, sender: Option<ConnectionId>, bytes: usize, message: TrackerMessage) {
        match message {
            TrackerMessage::Offer(offer) => {
                let (info_hash, offerer, offer_id) = (offer.info_hash, offer.peer_id, offer.offer_id);
                self.forwarded.push(Forwarded { info_hash, offerer, offer_id, to: conn, at: self.now });
            }
            TrackerMessage::Answer(answer) => {
                let lifetime = self.config.offer_lifetime;
                // A peer id may have passed to another connection since, whose answers count too.
                let answerers = self.announced.get(&(answer.info_hash, answer.peer_id));
                let is_answerer = |conn| answerers.is_some_and(|conns| conns.contains(&conn));
                let awaited = |offer: &Forwarded| {
                    (offer.info_hash, offer.offer_id) == (answer.info_hash, answer.offer_id)
                        && is_answerer(offer.to)
                        && self.now < offer.at + lifetime
                };
                assert!(sender.is_some_and(is_answerer), "the answer comes from its peer id");
                assert!(self.forwarded.iter().any(awaited), "the answer is to an offer that this peer id was given");
                // Several peers may have chosen the same offer id.
                let offered = |offer: &Forwarded| {
                    let offerer = self.announced.get(&(offer.info_hash, offer.offerer));
                    offerer.is_some_and(|conns| conns.contains(&conn))
                };
                let answered = self.forwarded.iter().position(|offer| awaited(offer) && offered(offer));
                self.forwarded.remove(answered.expect("the answer goes to the offerer"));
            }
            TrackerMessage::Failure(_) => assert!(bytes <= MAX_FAILURE_BYTES, "a failure of {bytes} bytes"),
            TrackerMessage::Scrape(reply) => assert!(reply.files.len() <= self.config.max_scraped_swarms),
            TrackerMessage::Announced(reply) => {
                let members = reply.complete.zip(reply.incomplete).map(|(complete, incomplete)| complete + incomplete);
                assert!(members.is_some_and(|members| members as usize <= self.config.max_peers_per_swarm));
            }
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, conn: ConnectionId, message: ClientMessage) {
        self.receive(conn, message.encode().into());
    }

    fn receive(&mut self, conn: ConnectionId, frame: Vec<u8>) {
        self.input(SwarmsInput::Received { conn, frame: &frame });
        self.latest = Some((conn, frame));
    }

    fn wait(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.swarms.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(SwarmsInput::Timeout);
            assert!(self.swarms.poll_timeout().is_none_or(|next| next > self.now), "a timeout leads nowhere");
        }
        self.now = end;
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Open(conn) => {
                let conn = connection(conn);
                // A driver never uses a number again.
                if self.opened.insert(conn) {
                    if !self.swarms.is_full() {
                        self.open.insert(conn);
                    }
                    // Some share an address, some have none that is known.
                    let address = (!conn.0.is_multiple_of(3)).then(|| IpAddr::from([192, 0, 2, (conn.0 % 3) as u8]));
                    self.input(SwarmsInput::Opened { conn, address });
                }
            }
            Op::Close(conn) => {
                self.open.remove(&connection(conn));
                self.input(SwarmsInput::Closed { conn: connection(conn) });
            }
            Op::Alive(conn) => self.input(SwarmsInput::Alive { conn: connection(conn) }),
            Op::Announce { conn, peer, event, left, numwant, offers } => {
                self.announced.entry((peer.swarm(), peer.id())).or_default().insert(connection(conn));
                let mut announce = Announce::new(peer.swarm(), peer.id());
                announce.event = event.map(|event| match event {
                    Event::Started => AnnounceEvent::Started,
                    Event::Stopped => AnnounceEvent::Stopped,
                    Event::Completed => AnnounceEvent::Completed,
                });
                announce.left = left.map(u64::from);
                announce.numwant = numwant.map(u32::from);
                let offer = |id: &u8| Offer::new(OfferId::from([*id; 20]), "offer");
                announce.offers = (!offers.is_empty()).then(|| offers.iter().map(offer).collect());
                self.send(connection(conn), ClientMessage::Announce(announce));
            }
            Op::Answer { conn, from, to, offer } => {
                let (info_hash, offer_id) = (from.swarm(), OfferId::from([offer; 20]));
                let (peer_id, to_peer_id, sdp) = (from.id(), peer(to), "answer");
                let answer = AnswerRequest::new(info_hash, peer_id, to_peer_id, offer_id, sdp);
                self.send(connection(conn), ClientMessage::Answer(answer));
            }
            Op::AnswerOne { offer, from } => {
                let Some(offer) = self.forwarded.get(usize::from(offer) % self.forwarded.len().max(1)) else { return };
                let Forwarded { info_hash, offerer: to_peer_id, offer_id, to, .. } = *offer;
                let answer = AnswerRequest::new(info_hash, peer(from), to_peer_id, offer_id, "answer");
                self.send(to, ClientMessage::Answer(answer));
            }
            Op::Again => {
                if let Some((conn, frame)) = self.latest.clone() {
                    self.receive(conn, frame);
                }
            }
            Op::Scrape { conn, swarms } => {
                let info_hashes = (0..swarms % 5).map(|swarm| InfoHash::from([swarm; 20]));
                self.send(connection(conn), ClientMessage::Scrape(ScrapeRequest::new(info_hashes)));
            }
            Op::Bytes { conn, bytes } => {
                self.receive(connection(conn), bytes);
            }
            Op::Wait(seconds) => self.wait(Duration::from_secs(seconds.into())),
            Op::Sleep(seconds) => {
                self.now += Duration::from_secs(seconds.into());
                self.input(SwarmsInput::Timeout);
            }
        }
    }
}

fn connection(number: u8) -> ConnectionId {
    ConnectionId((number % 12).into())
}

/// A connection gets nothing after its end, answers go only where they are awaited, limits hold, and nothing is left over.
///
/// # Panics
/// When a promise is broken.
pub fn swarms(data: &[u8]) {
    if let Some(input) = model::read(data) {
        run(input);
    }
}

fn run(Input { tight, seed, ops }: Input) {
    let mut harness = Harness::new(tight, seed);
    for op in ops {
        harness.apply(op);
    }
    for conn in std::mem::take(&mut harness.open) {
        harness.swarms.handle_input(harness.now, SwarmsInput::Closed { conn });
    }
    let stats = harness.swarms.stats();
    assert_eq!((stats.connections, stats.swarms, stats.peers, stats.seeders), (0, 0, 0, 0));
    assert_eq!(harness.swarms.shares.iter().count(), 0, "an address without members is left over");
    assert_eq!(harness.swarms.poll_timeout(), None, "a timer is left over");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few connections, peers and offers, so that what belongs to one is often tried by another.
    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let peer = || (0..2u8, 0..3u8).prop_map(|(swarm, id)| Peer { swarm, id });
        let announce = (0..4u8, peer(), prop::collection::vec(0..4u8, 0..4)).prop_map(|(conn, peer, offers)| {
            Op::Announce { conn, peer, event: None, left: None, numwant: None, offers }
        });
        let answer =
            (0..4u8, peer(), 0..3u8, 0..4u8).prop_map(|(conn, from, to, offer)| Op::Answer { conn, from, to, offer });
        let op = prop_oneof![
            4 => model::any_value::<Op>(),
            2 => (0..4u8).prop_map(Op::Open),
            4 => announce,
            4 => answer,
        ];
        prop::collection::vec(op, 1..150)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn promises_are_kept(tight: bool, seed: u64, ops in ops()) {
            run(Input { tight, seed, ops });
        }
    }
}
