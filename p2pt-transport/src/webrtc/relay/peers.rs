//! The peers of an allocation: which of them the server lets through, and which have a channel.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::message::Purpose;

/// How long a permission lives at the server (RFC 8656 section 9), which is also as long as data passes through a
/// channel, because a channel's permission goes before its binding does.
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// From which age a permission or channel in use is refreshed. With rounds 10 s apart, a request that takes 4 s and one
/// that is not answered at all, this is still a minute before it lapses.
const REFRESH_AGE: Duration = Duration::from_secs(220);

/// For how long a channel's number belongs to its peer after it was bound: 10 minutes for the binding and 5 in which
/// neither may be bound to another (RFC 8656 section 12).
const NUMBER_LIFETIME: Duration = Duration::from_secs(900);

/// The numbers that RFC 8656 section 12 allows.
const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;

/// How many hosts may be permitted, and how many peers counted, at a time. The default 256 connections with a host and
/// a server-reflexive candidate on the other side; the least recently used gives way.
const MAX_PEERS: usize = 512;

/// From how many datagrams on a peer gets a channel: one that does not answer is checked at most 7 times.
const BUSY: u32 = 8;

/// How many datagrams wait for one permission, and for all of an allocation: connectivity checks, which are repeated.
const MAX_WAITING: usize = 4;
const MAX_WAITING_IN_ALL: usize = 64;

/// What the server thinks of a peer's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// It was not asked, or long ago.
    Unknown,
    /// It has been asked.
    Asked,
    /// Datagrams pass.
    Granted,
    /// It does not let them pass.
    Refused,
}

#[derive(Debug)]
struct Host {
    permission: Permission,
    /// Since when it has been so at the server.
    since: Instant,
    used: Instant,
    waiting: Vec<(SocketAddr, BytesMut)>,
}

#[derive(Debug)]
struct Peer {
    sent: u32,
    used: Instant,
    channel: Channel,
    /// The number of its channel. It stays the peer's when the channel lapses, or the server does not answer and may
    /// have bound it nevertheless.
    number: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
enum Channel {
    None,
    /// The server does not bind it.
    Refused,
    Asked,
    /// Bound, or refreshed, at this time.
    Bound(Instant),
}

/// The peers of an allocation.
#[derive(Debug, Default)]
pub(super) struct Peers {
    hosts: HashMap<IpAddr, Host>,
    peers: HashMap<SocketAddr, Peer>,
    numbers: HashMap<u16, SocketAddr>,
    /// How many channels have been numbered.
    numbered: u16,
}

impl Peers {
    /// The channel by which data for `peer` passes now.
    pub(super) fn channel(&mut self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let known = self.peers.get_mut(&peer)?;
        let Channel::Bound(since) = known.channel else { return None };
        known.used = now;
        known.number.filter(|_| now < since + PERMISSION_LIFETIME)
    }

    /// The peer of a channel.
    pub(super) fn peer_of(&self, number: u16) -> Option<SocketAddr> {
        self.numbers.get(&number).copied()
    }

    /// Whether data for a host passes now.
    pub(super) fn permission(&mut self, now: Instant, host: IpAddr) -> Permission {
        let Some(host) = self.hosts.get_mut(&host) else { return Permission::Unknown };
        host.used = now;
        match host.permission {
            Permission::Granted | Permission::Refused if now >= host.since + PERMISSION_LIFETIME => Permission::Unknown,
            permission => permission,
        }
    }

    /// Notes that a permission is asked for. False when there are too many.
    pub(super) fn ask(&mut self, now: Instant, host: IpAddr) -> bool {
        if self.hosts.len() >= MAX_PEERS && !self.hosts.contains_key(&host) {
            let oldest = self.hosts.iter().filter(|(_, host)| host.permission != Permission::Asked);
            let Some(oldest) = oldest.min_by_key(|(_, host)| host.used).map(|(ip, _)| *ip) else { return false };
            self.hosts.remove(&oldest);
        }
        let asked = Host { permission: Permission::Asked, since: now, used: now, waiting: Vec::new() };
        self.hosts.insert(host, asked);
        true
    }

    /// Keeps a datagram until its permission is there, if there is room.
    pub(super) fn wait(&mut self, peer: SocketAddr, data: BytesMut) {
        let waiting: usize = self.hosts.values().map(|host| host.waiting.len()).sum();
        if let Some(host) = self.hosts.get_mut(&peer.ip())
            && host.waiting.len() < MAX_WAITING
            && waiting < MAX_WAITING_IN_ALL
        {
            host.waiting.push((peer, data));
        }
    }

    /// The server grants a permission. Returns what has waited for it.
    pub(super) fn granted(&mut self, now: Instant, host: IpAddr) -> Vec<(SocketAddr, BytesMut)> {
        let Some(host) = self.hosts.get_mut(&host) else { return Vec::new() };
        host.permission = Permission::Granted;
        host.since = now;
        std::mem::take(&mut host.waiting)
    }

    /// The server refuses a permission.
    pub(super) fn refused(&mut self, now: Instant, host: IpAddr) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.permission = Permission::Refused;
            host.since = now;
            host.waiting.clear();
        }
    }

    /// The server did not answer: a permission that it granted before lasts as long as it does.
    pub(super) fn unanswered(&mut self, host: IpAddr) {
        if self.hosts.get(&host).is_some_and(|host| host.permission == Permission::Asked) {
            self.hosts.remove(&host);
        }
    }

    /// Counts a datagram to a peer without a channel. When that makes it a busy one, the number of the channel to ask
    /// for.
    pub(super) fn count(&mut self, now: Instant, peer: SocketAddr) -> Option<u16> {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            let oldest = self.peers.iter().filter(|(_, known)| known.number.is_none());
            let oldest = oldest.min_by_key(|(_, known)| known.used).map(|(address, _)| *address)?;
            self.peers.remove(&oldest);
        }
        let new = Peer { sent: 0, used: now, channel: Channel::None, number: None };
        let known = self.peers.entry(peer).or_insert(new);
        known.used = now;
        known.sent = known.sent.saturating_add(1);
        match known.channel {
            Channel::None if known.sent >= BUSY => {}
            // One that has lapsed, since it was not used, is bound anew.
            Channel::Bound(since) if now >= since + PERMISSION_LIFETIME => {}
            _ => return None,
        }
        let number = known.number.or_else(|| self.next_number())?;
        self.numbers.insert(number, peer);
        let known = self.peers.get_mut(&peer)?;
        known.number = Some(number);
        known.channel = Channel::Asked;
        Some(number)
    }

    /// A number that no peer has. There are eight times as many as peers.
    fn next_number(&mut self) -> Option<u16> {
        let (first, count) = (*CHANNEL_NUMBERS.start(), CHANNEL_NUMBERS.len() as u16);
        for _ in 0..=MAX_PEERS {
            let number = first + self.numbered % count;
            self.numbered = (self.numbered + 1) % count;
            if !self.numbers.contains_key(&number) {
                return Some(number);
            }
        }
        None
    }

    /// The server bound a peer's channel, or refreshed it, and with it the permission of its host.
    pub(super) fn bound(&mut self, now: Instant, peer: SocketAddr) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.channel = Channel::Bound(now);
            if let Some(host) = self.hosts.get_mut(&peer.ip()).filter(|host| host.permission == Permission::Granted) {
                host.since = now;
            }
        }
    }

    /// The server did not bind a peer's channel. When it `refused` to, it is not asked again.
    pub(super) fn not_bound(&mut self, peer: SocketAddr, refused: bool) {
        if let Some(known) = self.peers.get_mut(&peer) {
            match known.channel {
                _ if refused => known.channel = Channel::Refused,
                Channel::Asked => known.channel = Channel::None,
                // Not refreshed, but it lasts as long as it does.
                Channel::Bound(_) | Channel::None | Channel::Refused => {}
            }
            known.sent = 0;
        }
    }

    /// Forgets what is no longer used, and says what is to be refreshed: permissions and channels that were used since
    /// they were granted.
    pub(super) fn maintain(&mut self, now: Instant) -> Vec<Purpose> {
        let age = |since: Instant| now.saturating_duration_since(since);
        self.hosts.retain(|_, host| host.permission == Permission::Asked || age(host.since) < PERMISSION_LIFETIME);
        self.peers.retain(|_, peer| match peer.channel {
            Channel::Asked => true,
            _ if peer.number.is_none() => age(peer.used) < PERMISSION_LIFETIME,
            Channel::Bound(since) => age(since) < NUMBER_LIFETIME,
            Channel::None | Channel::Refused => age(peer.used) < NUMBER_LIFETIME,
        });
        let peers = &self.peers;
        self.numbers.retain(|_, peer| peers.contains_key(peer));
        let channels = self.peers.iter().filter_map(|(address, peer)| match peer.channel {
            Channel::Bound(since) if age(since) >= REFRESH_AGE && peer.used > since => {
                Some(Purpose::Bind(*address, peer.number?))
            }
            _ => None,
        });
        let permissions = self.hosts.iter().filter_map(|(ip, host)| {
            let used = host.permission == Permission::Granted && host.used > host.since;
            (used && age(host.since) >= REFRESH_AGE).then_some(Purpose::Permit(SocketAddr::new(*ip, 0)))
        });
        channels.chain(permissions).collect()
    }

    /// How many hosts, peers and waiting datagrams are kept.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let waiting = self.hosts.values().map(|host| host.waiting.len()).sum();
        (self.hosts.len(), self.peers.len(), waiting)
    }
}
