//! Everything the network knows, behind one lock: nodes, offers, answers, connections and faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tokio::{sync::Notify, time::Instant};

use super::{
    Break, Conditions, MemoryConfig, NodeId,
    connection::{Connection, Path, Side},
    network::Step,
    sdp::{Description, Kind, Token},
};
use crate::{ChannelClosed, Fingerprint, TransportError};

/// Identifies a connection; never used again.
pub(super) type ConnectionId = u64;

#[derive(Debug)]
struct Node {
    rng: Xoshiro256PlusPlus,
    fingerprint: Fingerprint,
    /// Nodes hear only those in the same partition.
    partition: u32,
    frozen: bool,
    killed: bool,
    shut_down: bool,
}

#[derive(Debug)]
struct Offer {
    node: NodeId,
    wake: Arc<Notify>,
    made: Instant,
    label: String,
    seed: u64,
    /// Whether ICE will fail, decided when the answer is applied.
    refused: Option<bool>,
}

#[derive(Debug)]
struct Answer {
    node: NodeId,
    wake: Arc<Notify>,
    offer: Token,
    /// The certificate the answerer expects, as it stood in the offer that it received.
    expects: Fingerprint,
    connection: Option<ConnectionId>,
}

/// What became of an attempt to connect.
#[derive(Debug)]
pub(super) enum Attempt {
    Connected(ConnectionId),
    Failed(TransportError),
    /// Nothing answers there; that may change.
    NoPath,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: MemoryConfig,
    rng: Xoshiro256PlusPlus,
    next_token: u32,
    next_connection: ConnectionId,
    nodes: Vec<Node>,
    offers: BTreeMap<Token, Offer>,
    answers: BTreeMap<Token, Answer>,
    connections: BTreeMap<ConnectionId, Connection>,
    conditions: Conditions,
    conditions_between: BTreeMap<(NodeId, NodeId), Conditions>,
    /// What is added to the latency from one node to another.
    slow: BTreeMap<(NodeId, NodeId), Duration>,
    refuse: f64,
    refuse_between: BTreeSet<(NodeId, NodeId)>,
    /// From whom nothing arrives, and at whom.
    cut: BTreeSet<(NodeId, NodeId)>,
    breaks: BTreeMap<(NodeId, NodeId), Break>,
    partitions: u32,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl State {
    pub(super) fn new(seed: u64, config: MemoryConfig) -> Self {
        Self {
            conditions: config.conditions,
            config,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            next_token: 0,
            next_connection: 0,
            nodes: Vec::new(),
            offers: BTreeMap::new(),
            answers: BTreeMap::new(),
            connections: BTreeMap::new(),
            conditions_between: BTreeMap::new(),
            slow: BTreeMap::new(),
            refuse: 0.0,
            refuse_between: BTreeSet::new(),
            cut: BTreeSet::new(),
            breaks: BTreeMap::new(),
            partitions: 0,
        }
    }

    pub(super) fn add_node(&mut self) -> NodeId {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.rng.next_u64());
        let fingerprint = Fingerprint(rng.random());
        let (partition, frozen, killed, shut_down) = (0, false, false, false);
        self.nodes.push(Node { rng, fingerprint, partition, frozen, killed, shut_down });
        NodeId(self.nodes.len() - 1)
    }

    pub(super) fn is_down(&self, node: NodeId) -> bool {
        let node = &self.nodes[node.0];
        node.shut_down || node.killed
    }

    fn describe(&mut self, node: NodeId, kind: Kind) -> Result<Description, TransportError> {
        if self.is_down(node) {
            return Err(TransportError::ShutDown);
        }
        self.next_token += 1;
        let node = &mut self.nodes[node.0];
        let token = Token(u64::from(self.next_token) << 32 | u64::from(node.rng.next_u32()));
        Ok(Description { kind, token, fingerprint: node.fingerprint, max_frame_bytes: self.config.max_frame_bytes })
    }

    pub(super) fn offer(
        &mut self,
        node: NodeId,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Result<Description, TransportError> {
        let description = self.describe(node, Kind::Offer)?;
        let rng = &mut self.nodes[node.0].rng;
        let label = rng.random::<[u8; 20]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let seed = rng.next_u64();
        self.offers.insert(description.token, Offer { node, wake, made: now, label, seed, refused: None });
        Ok(description)
    }

    pub(super) fn answer(
        &mut self,
        node: NodeId,
        wake: Arc<Notify>,
        offer: &Description,
    ) -> Result<Description, TransportError> {
        let description = self.describe(node, Kind::Answer)?;
        let answer = Answer { node, wake, offer: offer.token, expects: offer.fingerprint, connection: None };
        self.answers.insert(description.token, answer);
        Ok(description)
    }

    /// Tries to connect an offer to the answer it was given.
    pub(super) fn connect(&mut self, offer: Token, answered: &Description, now: Instant) -> Attempt {
        let Some(own) = self.offers.get_mut(&offer) else { return Attempt::Failed(TransportError::ShutDown) };
        if now > own.made + self.config.offer_lifetime {
            let after = self.config.offer_lifetime;
            return Attempt::Failed(TransportError::Timeout { step: "waiting for the answer", after });
        }
        let refused = *own.refused.get_or_insert_with(|| self.rng.random_bool(self.refuse));
        let Some(other) = self.answers.get(&answered.token) else { return Attempt::NoPath };
        let (a, b) = (own.node, other.node);
        let taken = other.connection.is_some() || other.offer != offer;
        if refused || taken || self.refuse_between.contains(&pair(a, b)) {
            return Attempt::NoPath;
        }
        let paths = self.paths(a, b);
        if !paths.iter().all(|path| path.up) {
            return Attempt::NoPath;
        }
        let [a_shows, b_shows] = [a, b].map(|node| self.nodes[node.0].fingerprint);
        if other.expects != a_shows || answered.fingerprint != b_shows {
            return Attempt::Failed(TransportError::SessionFailed);
        }
        self.next_connection += 1;
        let (Some(own), Some(other)) = (self.offers.remove(&offer), self.answers.get_mut(&answered.token)) else {
            return Attempt::NoPath;
        };
        other.connection = Some(self.next_connection);
        other.wake.notify_waiters();
        let ends = [(a, own.wake), (b, other.wake.clone())];
        self.connections
            .insert(self.next_connection, Connection::new(&self.config, paths, own.label, own.seed, ends, now));
        Attempt::Connected(self.next_connection)
    }

    /// The connection its offerer has made, handed over once; an error when it cannot be made any more.
    pub(super) fn take_connection(&mut self, answer: Token) -> Result<Option<ConnectionId>, TransportError> {
        let record = self.answers.get(&answer).ok_or(TransportError::ShutDown)?;
        let connection = record.connection;
        if connection.is_some() {
            self.answers.remove(&answer);
        }
        Ok(connection)
    }

    pub(super) fn drop_offer(&mut self, offer: Token) {
        self.offers.remove(&offer);
    }

    /// Withdraws an answer; an offerer that has connected receives a close notice.
    pub(super) fn drop_answer(&mut self, answer: Token, now: Instant) {
        if let Some(connection) = self.answers.remove(&answer).and_then(|answer| answer.connection) {
            self.detach(connection, Side::ANSWERER, now);
        }
    }

    /// A connection to which a handle exists, brought up to date.
    pub(super) fn connection(&mut self, connection: ConnectionId, now: Instant) -> &mut Connection {
        let connection = self
            .connections
            .get_mut(&connection)
            .expect("a connection is kept until the handles of both its sides are dropped");
        connection.advance(now);
        connection
    }

    pub(super) fn detach(&mut self, id: ConnectionId, side: Side, now: Instant) {
        let connection = self.connection(id, now);
        connection.detach(side, now);
        if connection.is_abandoned() {
            self.connections.remove(&id);
        }
    }

    /// Whether the next frame between two nodes is the one that breaks its connection.
    pub(super) fn count_down(&mut self, from: NodeId, to: NodeId, bytes: usize) -> bool {
        let Some(fault) = self.breaks.get_mut(&(from, to)) else { return false };
        let left = match fault {
            Break::AfterFrames(frames) => frames.checked_sub(1).map(Break::AfterFrames),
            Break::AfterBytes(left) => left.checked_sub(bytes as u64).map(Break::AfterBytes),
        };
        match left {
            Some(left) => *fault = left,
            None => drop(self.breaks.remove(&(from, to))),
        }
        left.is_none()
    }

    /// Begins to close everything a node has.
    pub(super) fn shut_down(&mut self, node: NodeId, now: Instant) -> Vec<(ConnectionId, Side, Arc<Notify>)> {
        self.nodes[node.0].shut_down = true;
        self.drop_pending(node);
        let mut ends = Vec::new();
        for (id, connection) in &mut self.connections {
            let sides: Vec<_> = connection.sides_of(node).collect();
            for side in sides {
                connection.advance(now);
                connection.close(side, ChannelClosed::ShutDown, now);
                ends.push((*id, side, connection.wake_of(side)));
            }
        }
        ends
    }

    /// Done once a side has ended; the side of a connection that is gone has.
    pub(super) fn ending(&mut self, id: ConnectionId, side: Side, now: Instant) -> Step<()> {
        let Some(connection) = self.connections.get_mut(&id) else { return Step::Done(()) };
        connection.advance(now);
        if connection.ended(side).is_some() { Step::Done(()) } else { Step::Wait(connection.next_event()) }
    }

    fn drop_pending(&mut self, node: NodeId) {
        self.offers.retain(|_, offer| {
            offer.wake.notify_waiters();
            offer.node != node
        });
        // An answer whose offerer has connected owns that connection's end until it is opened or dropped.
        self.answers.retain(|_, answer| {
            answer.wake.notify_waiters();
            answer.node != node || answer.connection.is_some()
        });
    }

    pub(super) fn kill(&mut self, node: NodeId, now: Instant) {
        self.nodes[node.0].killed = true;
        self.drop_pending(node);
        self.refresh_paths(now);
        for connection in self.connections.values_mut() {
            let sides: Vec<_> = connection.sides_of(node).collect();
            for side in sides {
                connection.kill(side, now);
            }
        }
    }

    pub(super) fn set_frozen(&mut self, node: NodeId, frozen: bool, now: Instant) {
        self.nodes[node.0].frozen = frozen;
        self.refresh_paths(now);
    }

    pub(super) fn set_cut(&mut self, from: NodeId, to: NodeId, cut: bool, now: Instant) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
        self.refresh_paths(now);
    }

    pub(super) fn set_slow(&mut self, from: NodeId, to: NodeId, delay: Duration, now: Instant) {
        self.slow.insert((from, to), delay);
        self.refresh_paths(now);
    }

    pub(super) fn partition(&mut self, nodes: &[NodeId], now: Instant) {
        self.partitions += 1;
        for node in nodes {
            self.nodes[node.0].partition = self.partitions;
        }
        self.refresh_paths(now);
    }

    pub(super) fn heal(&mut self, now: Instant) {
        self.cut.clear();
        for node in &mut self.nodes {
            node.partition = 0;
        }
        self.refresh_paths(now);
    }

    pub(super) fn set_conditions(&mut self, conditions: Conditions, now: Instant) {
        self.conditions = conditions;
        self.refresh_paths(now);
    }

    pub(super) fn set_conditions_between(&mut self, a: NodeId, b: NodeId, conditions: Conditions, now: Instant) {
        self.conditions_between.insert(pair(a, b), conditions);
        self.refresh_paths(now);
    }

    pub(super) fn set_refuse(&mut self, probability: f64) {
        self.refuse = probability;
    }

    pub(super) fn set_refuse_between(&mut self, a: NodeId, b: NodeId, refuse: bool) {
        if refuse {
            self.refuse_between.insert(pair(a, b));
        } else {
            self.refuse_between.remove(&pair(a, b));
        }
    }

    pub(super) fn set_break(&mut self, from: NodeId, to: NodeId, fault: Break) {
        self.breaks.insert((from, to), fault);
    }

    /// Ends of connections that are open now, all nodes' or one's.
    pub(super) fn open_ends(&mut self, node: Option<NodeId>, now: Instant) -> usize {
        self.connections
            .values_mut()
            .map(|connection| {
                connection.advance(now);
                Side::BOTH
                    .into_iter()
                    .filter(|side| node.is_none_or(|node| connection.node(*side) == node) && connection.is_up(*side))
                    .count()
            })
            .sum()
    }

    /// Offers and answers that wait.
    pub(super) fn pending(&self) -> usize {
        self.offers.len() + self.answers.len()
    }

    /// The ways from a to b and from b to a.
    fn paths(&self, a: NodeId, b: NodeId) -> [Path; 2] {
        let stopped = [a, b].iter().any(|node| self.nodes[node.0].frozen || self.nodes[node.0].killed);
        let apart = self.nodes[a.0].partition != self.nodes[b.0].partition;
        let conditions = self.conditions_between.get(&pair(a, b)).copied().unwrap_or(self.conditions);
        [(a, b), (b, a)].map(|direction| {
            let slow = self.slow.get(&direction).copied().unwrap_or_default();
            let conditions = Conditions { latency: conditions.latency + slow, ..conditions };
            Path { up: !stopped && !apart && !self.cut.contains(&direction), conditions }
        })
    }

    fn refresh_paths(&mut self, now: Instant) {
        let mut connections = std::mem::take(&mut self.connections);
        for connection in connections.values_mut() {
            let [a, b] = [Side::OFFERER, Side::ANSWERER].map(|side| connection.node(side));
            connection.advance(now);
            connection.set_paths(self.paths(a, b), [a, b].map(|node| self.nodes[node.0].frozen), now);
        }
        self.connections = connections;
        for offer in self.offers.values() {
            offer.wake.notify_waiters();
        }
    }
}
