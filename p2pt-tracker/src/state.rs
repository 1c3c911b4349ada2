//! Snapshots of a tracker client.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use p2pt_proto::InfoHash;

use crate::{AnnounceUrl, Family, TrackerWarning};

/// A snapshot of one tracker client.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrackerState {
    /// The tracker.
    pub url: AnnounceUrl,
    /// The state of its socket.
    pub status: TrackerStatus,
    /// The swarms joined there.
    pub swarms: BTreeMap<InfoHash, SwarmState>,
    /// The address family of the open socket, if it is known.
    pub family: Option<Family>,
    /// What went wrong last; it is kept until something else does.
    pub last_error: Option<LastError>,
    /// What has happened since the start.
    pub counters: TrackerCounters,
}

/// What went wrong last at a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastError {
    /// What it was.
    pub warning: TrackerWarning,
    /// How long ago.
    pub age: Duration,
}

/// The state of the socket to a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerStatus {
    /// There is nothing to do: no swarm, no scrape.
    Idle,
    /// A connection is being made.
    Connecting,
    /// The socket is open.
    Connected,
    /// The last connection failed or was lost.
    WaitingToReconnect {
        /// Time until the next attempt.
        retry_in: Duration,
    },
    /// Closing, for good or until there is something to do.
    Closing,
    /// Stopped for good.
    Stopped,
}

impl fmt::Display for TrackerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::WaitingToReconnect { retry_in } => write!(f, "not reached, tried again in {} s", retry_in.as_secs()),
            Self::Closing => f.write_str("closing"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// What is known about one swarm at one tracker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwarmState {
    /// Whether the tracker has confirmed, on the present socket, that we are a member.
    pub announced: bool,
    /// Members that have announced `left: 0`, as last reported.
    pub complete: Option<u32>,
    /// All other members, as last reported.
    pub incomplete: Option<u32>,
    /// Offers alive: waiting to be announced or to be answered.
    pub offers: usize,
    /// How long the tracker took for its last reply.
    pub reply_time: Option<Duration>,
}

impl SwarmState {
    /// All members, as last reported, usually with ourselves among them; `None` if the tracker does not say.
    pub fn members(&self) -> Option<u32> {
        Some(self.complete?.saturating_add(self.incomplete?))
    }
}

/// What has happened at one tracker since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerCounters {
    /// Sockets opened.
    pub connects: u64,
    /// Attempts to open one that failed.
    pub connects_failed: u64,
    /// Open sockets lost, that is, not closed by us.
    pub sockets_lost: u64,
    /// Sockets closed to look for members over the other address family.
    pub families_changed: u64,
    /// Announces sent, `stopped` not counted.
    pub announces_sent: u64,
    /// Offers handed in, and taken.
    pub offers_made: u64,
    /// Our offers announced; one that was announced twice counts twice.
    pub offers_sent: u64,
    /// Our offers that were announced and got no answer as long as they lived.
    pub offers_unanswered: u64,
    /// Our answers sent.
    pub answers_sent: u64,
    /// Offers of other peers passed on.
    pub offers_received: u64,
    /// Answers to our offers passed on.
    pub answers_received: u64,
    /// Frames handed to the socket.
    pub frames_sent: u64,
    /// Frames received, whatever is in them.
    pub frames_received: u64,
    /// Frames received that were of no use: not understood, for other swarms, from ourselves, too many, too late.
    pub frames_ignored: u64,
    /// Warnings, also those that came while events were not read.
    pub warnings: u64,
}
