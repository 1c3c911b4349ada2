//! What is known of peers, data channels and trackers, as the events that are asked for say it. Times are in seconds.

use std::time::Duration;

use p2pt::tracker::{TrackerCounters, TrackerState, TrackerStatus};
use p2pt::{ChannelStats, InfoHash, Peer, Swarm};
use serde::Serialize;

use super::who::Who;

/// A swarm that the pipe is in.
#[derive(Debug, Serialize)]
pub(super) struct KnownSwarm {
    pub(super) swarm: String,
    pub(super) identifier: Option<String>,
    pub(super) peers: usize,
}

impl From<&Swarm> for KnownSwarm {
    fn from(swarm: &Swarm) -> Self {
        let (key, peers) = (swarm.key(), swarm.peers().len());
        Self { swarm: key.info_hash().to_string(), identifier: key.identifier().map(str::to_owned), peers }
    }
}

/// A connected peer.
#[derive(Debug, Serialize)]
pub(super) struct KnownPeer {
    pub(super) peer: String,
    pub(super) connections: usize,
    #[serde(flatten)]
    pub(super) who: Who,
}

impl From<Peer> for KnownPeer {
    fn from(peer: Peer) -> Self {
        Self { peer: peer.id().to_string(), connections: peer.connection_count(), who: (&peer).into() }
    }
}

/// An open data channel to a peer.
#[derive(Debug, Serialize)]
pub(super) struct KnownConnection {
    pub(super) local_candidate: Option<String>,
    pub(super) remote_candidate: Option<String>,
    pub(super) round_trip: Option<f64>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

impl From<ChannelStats> for KnownConnection {
    fn from(stats: ChannelStats) -> Self {
        Self {
            local_candidate: stats.local_candidate,
            remote_candidate: stats.remote_candidate,
            round_trip: stats.round_trip.map(|time| time.as_secs_f64()),
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
        }
    }
}

/// A tracker as one swarm sees it.
#[derive(Debug, Serialize)]
pub(super) struct KnownTracker {
    pub(super) tracker: String,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_in: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) family: Option<String>,
    pub(super) announced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_age: Option<f64>,
    pub(super) counters: Counters,
}

impl KnownTracker {
    pub(super) fn new(state: &TrackerState, info_hash: &InfoHash) -> Self {
        let (status, retry_in) = match state.status {
            TrackerStatus::Idle => ("idle", None),
            TrackerStatus::Connecting => ("connecting", None),
            TrackerStatus::Connected => ("connected", None),
            TrackerStatus::WaitingToReconnect { retry_in } => ("waiting", Some(retry_in)),
            TrackerStatus::Closing => ("closing", None),
            TrackerStatus::Stopped => ("stopped", None),
            _ => ("other", None),
        };
        let swarm = state.swarms.get(info_hash);
        Self {
            tracker: state.url.to_string(),
            status,
            retry_in: retry_in.as_ref().map(Duration::as_secs_f64),
            family: state.family.map(|family| family.to_string()),
            announced: swarm.is_some_and(|swarm| swarm.announced),
            members: swarm.and_then(|swarm| swarm.members()),
            error: state.last_error.as_ref().map(|last| last.warning.to_string()),
            error_age: state.last_error.as_ref().map(|last| last.age.as_secs_f64()),
            counters: state.counters.into(),
        }
    }
}

/// What has happened at a tracker since it was added.
#[derive(Debug, Serialize)]
pub(super) struct Counters {
    pub(super) connects: u64,
    pub(super) connects_failed: u64,
    pub(super) sockets_lost: u64,
    pub(super) families_changed: u64,
    pub(super) announces_sent: u64,
    pub(super) offers_made: u64,
    pub(super) offers_sent: u64,
    pub(super) offers_unanswered: u64,
    pub(super) answers_sent: u64,
    pub(super) offers_received: u64,
    pub(super) answers_received: u64,
    pub(super) frames_ignored: u64,
    pub(super) warnings: u64,
}

impl From<TrackerCounters> for Counters {
    fn from(counters: TrackerCounters) -> Self {
        Self {
            connects: counters.connects,
            connects_failed: counters.connects_failed,
            sockets_lost: counters.sockets_lost,
            families_changed: counters.families_changed,
            announces_sent: counters.announces_sent,
            offers_made: counters.offers_made,
            offers_sent: counters.offers_sent,
            offers_unanswered: counters.offers_unanswered,
            answers_sent: counters.answers_sent,
            offers_received: counters.offers_received,
            answers_received: counters.answers_received,
            frames_ignored: counters.frames_ignored,
            warnings: counters.warnings,
        }
    }
}
