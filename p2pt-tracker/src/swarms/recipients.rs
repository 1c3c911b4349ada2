//! Who is drawn to get an offer: an address first, then a socket of it, then a member on that.
//!
//! Peer ids cost nothing and sockets little, while addresses are scarce. Drawn by member alone, the recipients of offers
//! would nearly all be those that a single host makes up.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use p2pt_proto::PeerId;
use rand::{Rng, seq::index};

use super::ConnectionId;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// This address. One that stands for a whole network is that network's first.
    Address(IpAddr),
    /// It is not known, so that the connection stands for itself.
    Unknown(ConnectionId),
}

impl Origin {
    pub(super) fn new(conn: ConnectionId, address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unknown(conn), |address| Self::Address(owner(address)))
    }
}

/// What stands for the customer that has this address. With IPv6 that is at least the 2^64 addresses of a /64.
pub(crate) fn owner(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[derive(Debug)]
struct Host {
    origin: Origin,
    sockets: Vec<Socket>,
    members: usize,
}

#[derive(Debug)]
struct Socket {
    conn: ConnectionId,
    members: Vec<PeerId>,
}

/// The members of a swarm by address and socket.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    hosts: Vec<Host>,
    positions: HashMap<Origin, usize>,
}

impl Recipients {
    pub(super) fn insert(&mut self, origin: Origin, conn: ConnectionId, peer_id: PeerId) {
        if self.hosts.is_empty() {
            // Most swarms have a single member, and room for four would be made otherwise.
            self.hosts.reserve_exact(1);
        }
        let position = *self.positions.entry(origin).or_insert_with(|| {
            self.hosts.push(Host { origin, sockets: Vec::with_capacity(1), members: 0 });
            self.hosts.len() - 1
        });
        let host = &mut self.hosts[position];
        host.members += 1;
        match host.sockets.iter_mut().find(|socket| socket.conn == conn) {
            Some(socket) => socket.members.push(peer_id),
            None => host.sockets.push(Socket { conn, members: vec![peer_id] }),
        }
    }

    pub(super) fn remove(&mut self, origin: Origin, conn: ConnectionId, peer_id: PeerId) {
        let Some(&position) = self.positions.get(&origin) else { return };
        let host = &mut self.hosts[position];
        let Some(at) = host.sockets.iter().position(|socket| socket.conn == conn) else { return };
        let members = &mut host.sockets[at].members;
        let Some(member) = members.iter().position(|member| *member == peer_id) else { return };
        members.swap_remove(member);
        host.members -= 1;
        if members.is_empty() {
            host.sockets.swap_remove(at);
        }
        if host.sockets.is_empty() {
            self.hosts.swap_remove(position);
            self.positions.remove(&origin);
            if let Some(moved) = self.hosts.get(position) {
                self.positions.insert(moved.origin, position);
            }
        }
    }

    pub(super) fn members_of(&self, origin: Origin) -> usize {
        self.positions.get(&origin).map_or(0, |&position| self.hosts[position].members)
    }

    /// Draws up to `count` members other than `except`, in random order of their addresses. None is drawn twice, and no
    /// address or socket gives another member before each of the others has given as many or all it has.
    pub(super) fn draw(&self, rng: &mut impl Rng, except: PeerId, count: usize) -> Vec<PeerId> {
        // One more than needed, as one may have nothing to give but the exception.
        let hosts: Vec<&Host> = sample(rng, &self.hosts, count.saturating_add(1)).collect();
        let holds = |host: &Host| host.sockets.iter().any(|socket| socket.members.contains(&except));
        let mut drawn = Vec::with_capacity(count);
        let room =
            hosts.iter().map(|host| if host.members <= count && holds(host) { host.members - 1 } else { host.members });
        for (host, share) in hosts.iter().zip(shares(count, room)) {
            let first = drawn.len();
            let sockets: Vec<&Socket> = sample(rng, &host.sockets, share.saturating_add(1)).collect();
            let left = |socket: &&Socket| socket.members.len() - usize::from(socket.members.contains(&except));
            for (socket, share) in sockets.iter().zip(shares(share, sockets.iter().map(left))) {
                let others = sample(rng, &socket.members, share.saturating_add(1)).filter(|member| **member != except);
                drawn.extend(others.take(share));
            }
            debug_assert!(drawn.len() - first <= share);
        }
        drawn
    }
}

/// Up to `count` of these, in random order.
fn sample<'a, T, R: Rng>(rng: &mut R, from: &'a [T], count: usize) -> impl Iterator<Item = &'a T> + use<'a, T, R> {
    index::sample(rng, from.len(), count.min(from.len())).into_iter().map(|index| &from[index])
}

/// Divides `count` among those that have so much room: one to each, then another one to each, and so on.
fn shares(count: usize, room: impl Iterator<Item = usize>) -> Vec<usize> {
    let room: Vec<usize> = room.collect();
    let mut shares = vec![0; room.len()];
    let mut left = count.min(room.iter().sum());
    while left > 0 {
        for (share, room) in shares.iter_mut().zip(&room) {
            let takes = usize::from(*share < *room && left > 0);
            *share += takes;
            left -= takes;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    fn peer(n: u16) -> PeerId {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        PeerId::from(id)
    }

    fn address(n: u8) -> Origin {
        Origin::Address([192, 0, 2, n].into())
    }

    /// The number of members on each socket of each address.
    fn recipients(hosts: &[&[u16]]) -> Recipients {
        let (mut recipients, mut conn, mut id) = (Recipients::default(), 0, 0);
        for (host, sockets) in (0..).zip(hosts) {
            for members in *sockets {
                for _ in 0..*members {
                    recipients.insert(address(host), ConnectionId(conn), peer(id));
                    id += 1;
                }
                conn += 1;
            }
        }
        recipients
    }

    #[test]
    fn everyone_else_is_drawn_once_if_there_are_enough_draws() {
        let mut rng = StdRng::seed_from_u64(1);
        for hosts in [&[&[1][..], &[1], &[1]][..], &[&[4, 4, 1]], &[&[1, 1, 1], &[3]], &[&[9], &[1, 1]]] {
            let recipients = recipients(hosts);
            let all: u16 = hosts.iter().copied().flatten().sum();
            for except in 0..all {
                let drawn = recipients.draw(&mut rng, peer(except), 20);
                let others: BTreeSet<PeerId> = (0..all).filter(|n| *n != except).map(peer).collect();
                assert_eq!((drawn.len(), drawn.into_iter().collect()), (others.len(), others), "{hosts:?}");
                for count in 0..usize::from(all) {
                    assert_eq!(recipients.draw(&mut rng, peer(except), count).len(), count, "{count} of {hosts:?}");
                }
            }
        }
    }

    #[test]
    fn members_made_up_at_few_addresses_keep_no_other_from_being_drawn() {
        let mut rng = StdRng::seed_from_u64(1);
        // Two honest peers, and 80 members on 20 sockets of one host, or of the first one's address.
        let apart = recipients(&[&[1], &[1], &[4; 20]]);
        let together = recipients(&[&[[1, 1].as_slice(), &[4; 20]].concat()]);
        let draws = |recipients: &Recipients, rng: &mut StdRng| {
            (0..1000).filter(|_| recipients.draw(rng, peer(0), 5).contains(&peer(1))).count()
        };
        assert_eq!(draws(&apart, &mut rng), 1000);
        // 5 of 21 sockets; by member alone it would be 5 of 81.
        let drawn = draws(&together, &mut rng);
        assert!((190..290).contains(&drawn), "{drawn} of 1000");
    }

    #[test]
    fn what_is_removed_is_drawn_no_more_and_leaves_nothing() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut recipients = recipients(&[&[2, 1], &[1]]);
        recipients.remove(address(0), ConnectionId(0), peer(0));
        let drawn: BTreeSet<PeerId> = recipients.draw(&mut rng, peer(9), 9).into_iter().collect();
        assert_eq!(drawn, [1, 2, 3].map(peer).into());
        for (host, conn, id) in [(0, 1, 2), (1, 2, 3), (0, 0, 1), (0, 0, 1)] {
            recipients.remove(address(host), ConnectionId(conn), peer(id));
        }
        assert!(recipients.hosts.is_empty() && recipients.positions.is_empty());
    }
}
