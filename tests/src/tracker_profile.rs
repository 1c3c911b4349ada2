//! An in-process tracker that behaves as each of the four known servers does, as far as a client can tell, and that can
//! misbehave. What differs between them is data: the switches of a [`TrackerProfile`].
//!
//! It is stricter than any of them where that shows a client's mistake: a field that is `null` is bad input to all.

mod log;
mod misbehaviour;
mod server;
mod swarms;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use log::Log;
pub use misbehaviour::Misbehaviour;
pub use p2pt_tracker::Family;
pub use server::ProfiledTracker;

/// How a tracker behaves.
#[derive(Debug, Clone)]
pub struct TrackerProfile {
    /// The server that behaves so.
    pub name: &'static str,
    /// Offers forwarded for one announce; the rest vanish.
    pub max_offers: usize,
    /// No more offers are forwarded than `numwant` says, and none without it.
    pub needs_numwant: bool,
    /// A longer WebSocket frame ends the connection without a word.
    pub max_frame_bytes: usize,
    /// A longer message does.
    pub max_message_bytes: usize,
    /// The interval it replies with.
    pub interval: Duration,
    /// What `event` may be, where it is given.
    pub events: &'static [&'static str],
    /// `stopped` is replied to.
    pub replies_to_stopped: bool,
    /// An answer is replied to as an announce is.
    pub replies_to_answers: bool,
    /// What follows bad input.
    pub bad_input: BadInput,
    /// What follows an announce under a peer id that another connection holds.
    pub same_id: SameId,
    /// Which peer ids one connection may use.
    pub ids: Ids,
    /// Offers are forwarded with whatever else their makers put in.
    pub verbatim_offers: bool,
    /// How an answer is forwarded.
    pub answers: Answers,
    /// What follows an answer whose offer is not known.
    pub stray_answer: StrayAnswer,
    /// Answers are taken only to offers that were forwarded, this long at most.
    pub answer_within: Option<Duration>,
    /// When peers that do not announce are forgotten.
    pub expiry: Option<Expiry>,
    /// A swarm has no more members; for another one, the one that announced least lately goes.
    pub max_members: usize,
    /// When a connection is closed for being idle.
    pub idle: Idle,
    /// What a scrape leads to.
    pub scrape: Scrape,
    /// Messages that wait to be written to one connection; more are dropped.
    pub queue: usize,
    /// Members that connected over IPv4 and IPv6 are kept apart.
    pub splits_families: bool,
    /// What it does that no known server does.
    pub misbehaviour: Option<Misbehaviour>,
}

/// What follows bad input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadInput {
    /// A failure, with action and info hash if these could be read; the connection stays.
    NamedFailure,
    /// A failure without action and info hash; the connection stays.
    Failure,
    /// The connection is dropped without a close frame.
    Close,
}

/// What follows an announce under a peer id that another connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameId {
    /// It is replied to, but offers and answers go to the other connection, and with that the member goes.
    HolderStays,
    /// Nothing.
    Ignored,
    /// The other connection loses all its memberships to it.
    Evicts,
}

/// Which peer ids one connection may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Any.
    Any,
    /// Any, but only the first one goes with the connection; the others stay until they expire.
    FirstGoes,
    /// One for each info hash. Another one ends the connection.
    OnePerSwarm,
    /// One. Another one ends the connection.
    One,
}

/// How an answer is forwarded, and to which member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// With nothing but its fields, to a member of that swarm.
    Rebuilt,
    /// As it came, to the member with that peer id in any swarm.
    Whole,
    /// As it came, to the member with that peer id in any swarm, but under the peer id of the connection.
    WholeButId,
}

/// When a connection is closed for being idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Never.
    Never,
    /// When it got no reply for this long.
    Unanswered(Duration),
    /// When nothing, not even a ping, came from it for this long.
    Unheard(Duration),
}

/// What a scrape leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrape {
    /// One without info hashes is for all; otherwise it is refused.
    pub of_all: bool,
    /// Info hashes without members are replied to with zeros; otherwise they are left out.
    pub of_unknown: bool,
    /// More info hashes are left out. With none at all, there is no reply if there is a limit.
    pub max: Option<usize>,
    /// The reply says how often one may ask.
    pub flags: bool,
}

/// What follows an answer whose offer is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayAnswer {
    /// Nothing.
    Dropped,
    /// A failure.
    Failure,
    /// The answerer's connection is dropped.
    Close,
}

/// When peers that do not announce are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// How old the last announce may be.
    pub after: Duration,
    /// How often that is looked at.
    pub swept_every: Duration,
}

const SECOND: Duration = Duration::from_secs(1);

impl TrackerProfile {
    /// bittorrent-tracker 11, the npm package.
    pub fn bittorrent_tracker() -> Self {
        Self {
            name: "bittorrent-tracker",
            max_offers: 82,
            needs_numwant: false,
            max_frame_bytes: 100 << 20,
            max_message_bytes: 100 << 20,
            interval: 120 * SECOND,
            events: &["", "started", "stopped", "completed", "update", "paused"],
            replies_to_stopped: true,
            replies_to_answers: false,
            bad_input: BadInput::NamedFailure,
            same_id: SameId::HolderStays,
            ids: Ids::FirstGoes,
            verbatim_offers: true,
            answers: Answers::Rebuilt,
            stray_answer: StrayAnswer::Dropped,
            answer_within: None,
            expiry: Some(Expiry { after: 1200 * SECOND, swept_every: 60 * SECOND }),
            max_members: 1000,
            idle: Idle::Never,
            scrape: Scrape { of_all: true, of_unknown: true, max: None, flags: true },
            queue: 10_000,
            splits_families: false,
            misbehaviour: None,
        }
    }

    /// aquatic_ws.
    pub fn aquatic() -> Self {
        Self {
            name: "aquatic_ws",
            max_offers: 10,
            needs_numwant: false,
            max_frame_bytes: 16 << 10,
            max_message_bytes: 64 << 10,
            interval: 120 * SECOND,
            events: &["started", "stopped", "completed"],
            replies_to_stopped: true,
            replies_to_answers: true,
            bad_input: BadInput::Failure,
            same_id: SameId::Ignored,
            ids: Ids::OnePerSwarm,
            verbatim_offers: false,
            answers: Answers::Rebuilt,
            stray_answer: StrayAnswer::Failure,
            answer_within: Some(120 * SECOND),
            expiry: Some(Expiry { after: 180 * SECOND, swept_every: 30 * SECOND }),
            max_members: usize::MAX,
            idle: Idle::Unanswered(180 * SECOND),
            scrape: Scrape { of_all: false, of_unknown: false, max: Some(255), flags: false },
            queue: 16,
            splits_families: true,
            misbehaviour: None,
        }
    }

    /// wt-tracker, with the interval of its code, not of its sample configuration.
    pub fn wt_tracker() -> Self {
        Self {
            name: "wt-tracker",
            max_offers: 20,
            needs_numwant: true,
            max_frame_bytes: 64 << 10,
            max_message_bytes: 64 << 10,
            interval: 20 * SECOND,
            events: &["started", "stopped", "completed"],
            replies_to_stopped: false,
            replies_to_answers: false,
            bad_input: BadInput::Close,
            same_id: SameId::Evicts,
            ids: Ids::Any,
            verbatim_offers: false,
            answers: Answers::Whole,
            stray_answer: StrayAnswer::Close,
            answer_within: None,
            expiry: Some(Expiry { after: 40 * SECOND, swept_every: 20 * SECOND }),
            max_members: usize::MAX,
            idle: Idle::Unheard(240 * SECOND),
            scrape: Scrape { of_all: true, of_unknown: true, max: None, flags: false },
            queue: 10_000,
            splits_families: false,
            misbehaviour: None,
        }
    }

    /// openwebtorrent-tracker, the server behind tracker.openwebtorrent.com.
    pub fn open_web_torrent() -> Self {
        Self {
            name: "openwebtorrent-tracker",
            interval: 120 * SECOND,
            events: &["", "started", "stopped", "completed"],
            ids: Ids::One,
            answers: Answers::WholeButId,
            expiry: None,
            ..Self::wt_tracker()
        }
    }

    /// All four.
    pub fn all() -> [Self; 4] {
        [Self::bittorrent_tracker(), Self::aquatic(), Self::wt_tracker(), Self::open_web_torrent()]
    }

    /// This profile with a misbehaviour.
    #[must_use]
    pub fn misbehaving(mut self, misbehaviour: Misbehaviour) -> Self {
        self.misbehaviour = Some(misbehaviour);
        self
    }
}
