//! Two endpoints with an open connection between them, and unauthenticated senders that send them anything from any address.

use std::{fmt, net::SocketAddr, time::Duration};

use super::super::{
    datagram::Datagram,
    endpoint::Key,
    sim::{Sim, crypto, socket},
    stun::{Class, Credentials, IceRole, Unverified, Writer},
};
use crate::Frame;

/// The address that a datagram seems to come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The other endpoint's.
    Peer,
    /// The endpoint's own.
    Own,
    /// Another one.
    Unknown(u8),
}

/// What an unauthenticated sender sends.
#[derive(Debug)]
pub enum Kind<'a> {
    /// Anything.
    Bytes(&'a [u8]),
    /// A connectivity check that is right in everything but its key, and, if so, the name.
    Check {
        /// Its name is that of the connection.
        named: bool,
        /// It claims to control.
        controls: bool,
        /// It nominates.
        nominates: bool,
        /// What stands behind it.
        tail: &'a [u8],
    },
    /// A response, with the number of a connection and nothing else that is right.
    Response {
        /// The connection, or not.
        key: u8,
        /// The rest of the transaction.
        number: u64,
        /// A role conflict, not a success.
        conflicts: bool,
    },
    /// A DTLS record of this type and epoch.
    Record {
        /// The content type.
        content: u8,
        /// The epoch.
        epoch: u8,
        /// Its sequence number.
        sequence: u32,
        /// Its payload.
        payload: &'a [u8],
    },
    /// What one of the two has sent before, counted from the latest.
    Again(u8),
}

/// The endpoints. No key of theirs is known to those who send.
pub struct UnknownSenders {
    sim: Sim,
    keys: [Key; 2],
    sent: [usize; 2],
    replayed: usize,
}

impl fmt::Debug for UnknownSenders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownSenders").field("keys", &self.keys).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// The most datagrams of each side that can be sent again.
const REMEMBERED: usize = 64;

impl Default for UnknownSenders {
    fn default() -> Self {
        let mut sim = Sim::new(2);
        for node in &mut sim.nodes {
            node.log = Some(Vec::new());
        }
        let (a, b) = sim.open(0, 1);
        Self { sim, keys: [a, b], sent: [0; 2], replayed: 0 }
    }
}

impl UnknownSenders {
    fn address(node: usize) -> SocketAddr {
        if node == 0 { socket(0, 0) } else { socket(1, 4) }
    }

    /// A datagram arrives.
    ///
    /// # Panics
    /// When it changes anything.
    pub fn send(&mut self, to: bool, source: Source, kind: &Kind<'_>) {
        let node = usize::from(to);
        let remote = match source {
            Source::Peer => Self::address(1 - node),
            Source::Own => Self::address(node),
            Source::Unknown(number) => SocketAddr::from(([203, 0, 113, number], 9)),
        };
        let data = self.data(node, kind);
        let before = self.sim.strays.len();
        self.sim.arrive(node, remote, Self::address(node), &data);
        assert!(self.sim.strays.len() - before <= 2, "one datagram is answered with {:?}", &self.sim.strays[before..]);
        self.check();
    }

    fn data(&mut self, node: usize, kind: &Kind<'_>) -> Vec<u8> {
        let local = self.sim.nodes[node].endpoint.peer(self.keys[node]).map(|peer| peer.credentials().clone());
        let remote = self.sim.nodes[1 - node].endpoint.peer(self.keys[1 - node]).map(|peer| peer.credentials().clone());
        let (Some(local), Some(remote)) = (local, remote) else { panic!("the connection is gone") };
        let wrong = |credentials: &Credentials| Credentials { pwd: "w".repeat(24), ..credentials.clone() };
        let writer = Writer::new(crypto());
        match kind {
            Kind::Bytes(bytes) => bytes.to_vec(),
            Kind::Check { named, controls, nominates, tail } => {
                let mut to = wrong(&local);
                if !named {
                    to.ufrag = "none".to_owned();
                }
                let role = if *controls { IceRole::Controlling(u64::MAX) } else { IceRole::Controlled(0) };
                let mut data = writer.request([1; 12], &remote.ufrag, &to, (role, 1, *nominates)).to_vec();
                data.extend_from_slice(tail);
                data
            }
            Kind::Response { key, number, conflicts } => {
                let mut transaction = [0; 12];
                transaction[3] = *key;
                transaction[4..].copy_from_slice(&number.to_be_bytes());
                let by = wrong(&remote);
                let response = if *conflicts {
                    writer.role_conflict(transaction, &by)
                } else {
                    writer.success(transaction, &by, Self::address(node))
                };
                response.to_vec()
            }
            Kind::Record { content, epoch, sequence, payload } => {
                let payload = &payload[..payload.len().min(1400)];
                let mut data = vec![20 + content % 44, 254, 253, 0, *epoch, 0, 0];
                data.extend_from_slice(&sequence.to_be_bytes());
                data.extend_from_slice(&(payload.len() as u16).to_be_bytes());
                data.extend_from_slice(payload);
                data
            }
            Kind::Again(back) => {
                self.replayed += 1;
                let log = |node: usize| self.sim.nodes[node].log.iter().flatten().rev();
                let from = usize::from(*back) % 2;
                let found = log(from).nth(usize::from(*back) / 2 % REMEMBERED);
                found.map(|(_, datagram)| datagram.data.to_vec()).unwrap_or_default()
            }
        }
    }

    /// One of the two sends a frame.
    pub fn talk(&mut self, from: bool) {
        let node = usize::from(from);
        let frame = Frame::text(self.sent[node].to_string());
        self.sent[node] += 1;
        self.sim.send(node, self.keys[node], frame);
        self.sim.touch(node, self.keys[node]);
        self.check();
    }

    /// Time passes, up to a minute.
    pub fn pass(&mut self, time: Duration) {
        self.sim.run(time.min(Duration::from_secs(60)));
        self.check();
    }

    fn check(&mut self) {
        for node in 0..2 {
            assert_eq!(self.sim.nodes[node].endpoint.len(), 1);
            assert!(self.sim.nodes[node].is_open(self.keys[node]), "{:?}", self.sim.nodes[node].events);
            let log = self.sim.nodes[node].log.as_mut().expect("it is kept");
            let excess = log.len().saturating_sub(REMEMBERED * 2);
            log.drain(..excess);
        }
        // An authentic check that is sent again from elsewhere is answered, and its source is checked, up to a bound.
        // Whatever else: nothing goes to unknown addresses.
        let (mut requests, mut responses) = (0, 0);
        for (_, Datagram { data, .. }) in &self.sim.strays {
            match Unverified::parse(data).map(|message| message.class()) {
                Some(Class::Request) => requests += 1,
                Some(Class::Response) => responses += 1,
                _ => panic!("data goes to an unknown address"),
            }
        }
        assert!(responses <= self.replayed, "{responses} responses to {} checks", self.replayed);
        assert!(requests <= 7 * self.replayed && requests <= 2 * 32 * 28, "{requests} to {}", self.replayed);
    }

    /// The connection is as good as ever.
    ///
    /// # Panics
    /// When it is not.
    pub fn finish(mut self) {
        self.talk(false);
        self.talk(true);
        self.pass(Duration::from_secs(2));
        for node in 0..2 {
            let received = self.sim.nodes[node].received(self.keys[node]);
            let expected = (0..self.sent[1 - node]).map(|number| Frame::text(number.to_string()));
            assert!(received.iter().cloned().eq(expected), "{received:?}");
        }
    }
}
