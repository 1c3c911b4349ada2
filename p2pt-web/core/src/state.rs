//! The state of a node's parts, as JSON.

use std::time::Duration;

use p2pt::tracker::{TrackerState, TrackerStatus};
use p2pt::{ChannelStats, Node};
use serde::Serialize;
use serde_json::{Map, Value};

/// A time as JavaScript has it.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trackers {
    connected: usize,
    total: usize,
    trackers: Vec<Tracker>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tracker {
    url: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    swarms: Vec<TrackerSwarm>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrackerSwarm {
    info_hash: String,
    announced: bool,
    members: Option<u32>,
    offers: usize,
    reply_time: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    local_candidate: Option<String>,
    remote_candidate: Option<String>,
    round_trip: Option<f64>,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The trackers of a node.
pub(crate) fn trackers(node: &Node) -> String {
    let stats = node.tracker_stats();
    let trackers = stats.trackers.into_iter().map(tracker).collect();
    text(&Trackers { connected: stats.connected, total: stats.total, trackers })
}

fn tracker(state: TrackerState) -> Tracker {
    let (status, retry_in) = match state.status {
        TrackerStatus::Connecting => ("connecting", None),
        TrackerStatus::Connected => ("connected", None),
        TrackerStatus::WaitingToReconnect { retry_in } => ("waiting", Some(millis(retry_in))),
        TrackerStatus::Closing => ("closing", None),
        TrackerStatus::Stopped => ("stopped", None),
        _ => ("idle", None),
    };
    let swarms = state.swarms.iter().map(|(info_hash, swarm)| TrackerSwarm {
        info_hash: info_hash.to_string(),
        announced: swarm.announced,
        members: swarm.members(),
        offers: swarm.offers,
        reply_time: swarm.reply_time.map(millis),
    });
    Tracker {
        url: state.url.to_string(),
        status,
        retry_in,
        last_error: state.last_error.map(|error| error.warning.to_string()),
        swarms: swarms.collect(),
    }
}

/// The connections to a peer, the one that messages take first.
pub(crate) fn connections(stats: Vec<ChannelStats>) -> String {
    let connection = |stats: ChannelStats| Connection {
        local_candidate: stats.local_candidate,
        remote_candidate: stats.remote_candidate,
        round_trip: stats.round_trip.map(millis),
        bytes_sent: stats.bytes_sent,
        bytes_received: stats.bytes_received,
    };
    text(&stats.into_iter().map(connection).collect::<Vec<_>>())
}

/// What a node has counted, by the names of `NodeMetrics` as JavaScript writes them.
pub(crate) fn metrics(node: &Node) -> String {
    let counted = serde_json::to_value(node.metrics()).unwrap_or_default();
    let renamed = counted.as_object().into_iter().flatten().map(|(name, value)| (camel_case(name), value.clone()));
    text(&renamed.collect::<Map<String, Value>>())
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        name + &letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}

/// Numbers, texts and lists of them, which can always be written.
pub(crate) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_javascript_does() {
        assert_eq!(camel_case("peers"), "peers");
        assert_eq!(camel_case("tracker_frames_sent"), "trackerFramesSent");
    }
}
