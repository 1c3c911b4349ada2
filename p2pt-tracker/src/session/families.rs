//! Going from one address family to the other.
//!
//! Trackers such as aquatic keep members that connect over IPv4 and over IPv6 apart, so that two peers that could reach
//! each other never meet. There is one socket per tracker all the same. A peer that is alone at a tracker closes it and
//! looks over the other family, after a time drawn at random, so that two peers that are both alone do not change places
//! for ever. The peer that goes first finds the other: two that start together over different families meet after 15 to
//! 30 s, 20 s on average, unless they go within the same second, which happens in about one of fifteen cases and is
//! followed by a second time of 30 to 60 s. A peer with one family only is found within
//! [`dwell_max`](crate::ClientConfig) and what connecting takes.
//!
//! A peer with company does not change its family. So peers that have company over one family do not meet others over
//! the other one; nor do the members of a swarm without company whose socket also serves a swarm with company.

use std::time::Duration;

use web_time::Instant;

use rand::rngs::SmallRng;

use super::socket::SocketState;
use super::{Output, Session};
use crate::backoff::Backoff;
use crate::{ClientConfig, Family, SocketEnd};

/// The other family is given no more time than this to connect: where it does not work at all, it often fails by
/// silence.
const OTHER_FAMILY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a swarm has other members, as far as the present socket knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Company {
    /// The tracker counts no other member, and no offer or answer has come from one.
    Alone,
    Unknown,
    Present,
}

#[derive(Debug)]
pub(super) struct Families {
    dwell: Backoff,
    /// When to change the family, unless another member appears.
    leave_at: Option<Instant>,
    next: Next,
    /// The other family did not work; it is not tried again before the present one has failed too.
    stranded: bool,
}

/// Which family the next socket is to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Whichever connects.
    Any,
    Other(Family),
    /// The one before, since the other one failed.
    Back(Family),
}

impl Families {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let dwell = Backoff::new(config.dwell_min, config.dwell_max);
        Self { dwell, leave_at: None, next: Next::Any, stranded: false }
    }

    /// The family of the next attempt to connect, and how long that may take.
    pub(super) fn next(&self, config: &ClientConfig) -> (Option<Family>, Duration) {
        match self.next {
            Next::Any => (None, config.connect_timeout),
            Next::Other(family) => (Some(family), config.connect_timeout.min(OTHER_FAMILY_TIMEOUT)),
            Next::Back(family) => (Some(family), config.connect_timeout),
        }
    }

    pub(super) fn connected(&mut self) {
        self.next = Next::Any;
        self.leave_at = None;
    }

    /// An attempt failed. Returns whether that was only the other family, so that the one before comes next.
    pub(super) fn turn_back(&mut self) -> bool {
        let Next::Other(family) = self.next else {
            self.lost();
            return false;
        };
        self.next = Next::Back(family.other());
        self.stranded = true;
        true
    }

    /// The socket was lost: the network may be another one now.
    pub(super) fn lost(&mut self) {
        (self.next, self.leave_at, self.stranded) = (Next::Any, None, false);
    }

    fn consider(&mut self, now: Instant, company: Company, rng: &mut SmallRng) {
        match company {
            Company::Alone => {
                self.leave_at.get_or_insert_with(|| now + self.dwell.next(rng));
            }
            Company::Unknown => self.leave_at = None,
            Company::Present => {
                self.leave_at = None;
                self.dwell.reset();
            }
        }
    }
}

impl Session {
    /// Goes to the other family, if it is time.
    pub(super) fn change_family(&mut self) {
        let SocketState::Open(open) = &self.socket else { return };
        let (id, Some(other)) = (open.id, open.route.other()) else { return };
        // The swarm with most company decides: going would take it from that.
        let company = self.swarms.values().map(|swarm| swarm.company()).max().unwrap_or(Company::Unknown);
        self.families.consider(self.now, company, &mut self.rng);
        if self.leave_family_at().is_some_and(|at| at <= self.now) {
            self.families.next = Next::Other(other);
            self.families.leave_at = None;
            self.counters.families_changed += 1;
            let (deadline, end) = (self.now + self.config.stop_timeout, SocketEnd::OtherFamily);
            self.socket = SocketState::Closing { id, deadline, end };
            self.outputs.push_back(Output::Close(id));
        }
    }

    /// When to go, if nothing stands against it that ends with an input.
    pub(super) fn leave_family_at(&self) -> Option<Instant> {
        let SocketState::Open(open) = &self.socket else { return None };
        let waiting = self.scrapes.is_busy() || !self.swarms.values().all(|swarm| swarm.state().announced);
        if open.is_writing() || waiting || self.families.stranded || self.stop_by.is_some() {
            return None;
        }
        self.families.leave_at
    }
}
