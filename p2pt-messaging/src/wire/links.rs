//! The channels of a session: which one carries what is new, what each has been sent, and which of them live.

use std::time::Duration;

use bytes::Bytes;

use super::{LinkId, retention::Retention};
use crate::Instant;

/// A channel.
#[derive(Debug)]
struct Link {
    id: LinkId,
    /// What is new goes over another one.
    is_leaving: bool,
    /// Packets before this number were sent on it, or do not have to be.
    cursor: u64,
    heard: Instant,
    life: Life,
    /// A PING is to go out.
    ping_due: bool,
    /// The number of the latest PING that was not answered yet.
    pong_due: Option<u64>,
}

/// What is known of whether a channel lives.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Something came not long ago.
    Heard,
    /// A sign of life was asked for.
    Asked(Instant),
    /// It was said to be dead.
    Dead,
}

impl Link {
    fn timeout(&self, times: &Times) -> Option<Instant> {
        match self.life {
            Life::Heard => Some(self.heard + times.ping_after),
            Life::Asked(asked) => Some(asked + times.dead_after),
            Life::Dead => None,
        }
    }
}

#[derive(Debug)]
struct Times {
    ping_after: Duration,
    dead_after: Duration,
}

/// The channels, in the order in which they opened.
#[derive(Debug)]
pub(super) struct Links {
    links: Vec<Link>,
    times: Times,
    pings: u64,
}

impl Links {
    pub(super) fn new(ping_after: Duration, dead_after: Duration) -> Self {
        Self { links: Vec::new(), times: Times { ping_after, dead_after }, pings: 0 }
    }

    pub(super) fn opened(&mut self, now: Instant, id: LinkId) {
        if self.position(id).is_none() {
            let life = Life::Heard;
            self.links.push(Link {
                id,
                is_leaving: false,
                cursor: 0,
                heard: now,
                life,
                ping_due: false,
                pong_due: None,
            });
        }
    }

    pub(super) fn closed(&mut self, id: LinkId) {
        self.links.retain(|link| link.id != id);
    }

    pub(super) fn leaving(&mut self, id: LinkId) {
        self.links.iter_mut().filter(|link| link.id == id).for_each(|link| link.is_leaving = true);
    }

    /// The channel that carries what is sequenced, and acknowledgements.
    pub(super) fn carrier(&self) -> Option<LinkId> {
        self.links.iter().find(|link| !link.is_leaving).map(|link| link.id)
    }

    pub(super) fn has(&self, id: LinkId) -> bool {
        self.position(id).is_some()
    }

    /// Something came on a channel.
    pub(super) fn heard(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.get(id) {
            link.heard = now;
            link.life = Life::Heard;
            link.ping_due = false;
        }
    }

    /// A channel is asked for a sign of life.
    pub(super) fn asked(&mut self, id: LinkId, number: u64) {
        if let Some(link) = self.get(id) {
            link.pong_due = Some(number);
        }
    }

    /// The next packet that is to be sent again on this channel, and none twice.
    pub(super) fn again(&mut self, id: LinkId, retention: &Retention) -> Option<Bytes> {
        let link = self.get(id)?;
        let (number, packet) = retention.from(link.cursor)?;
        link.cursor = number + 1;
        Some(packet.clone())
    }

    /// All packets before this one were sent on this channel.
    pub(super) fn sent(&mut self, id: LinkId, next: u64) {
        if let Some(link) = self.get(id) {
            link.cursor = next;
        }
    }

    /// The number of the PING that is to go out on a channel.
    pub(super) fn take_ping(&mut self, id: LinkId) -> Option<u64> {
        let link = self.get(id).filter(|link| link.ping_due)?;
        link.ping_due = false;
        self.pings += 1;
        Some(self.pings)
    }

    /// The number of the PONG that is to go out on a channel.
    pub(super) fn take_pong(&mut self, id: LinkId) -> Option<u64> {
        self.get(id)?.pong_due.take()
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.links.iter().filter_map(|link| link.timeout(&self.times)).min()
    }

    /// Asks silent channels for a sign of life, and names those that have not given one.
    pub(super) fn handle_timeout(&mut self, now: Instant, mut dead: impl FnMut(LinkId)) {
        for link in &mut self.links {
            if link.timeout(&self.times).is_none_or(|timeout| timeout > now) {
                continue;
            }
            match link.life {
                Life::Heard => {
                    link.life = Life::Asked(now);
                    link.ping_due = true;
                }
                Life::Asked(_) => {
                    link.life = Life::Dead;
                    dead(link.id);
                }
                Life::Dead => {}
            }
        }
    }

    fn position(&self, id: LinkId) -> Option<usize> {
        self.links.iter().position(|link| link.id == id)
    }

    fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
