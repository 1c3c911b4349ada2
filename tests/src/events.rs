//! What tests wait for among a node's events.

use std::time::Duration;

use p2pt::{Event, Events, Message, Peer, PeerClosed};
use tokio::time::timeout;

/// The next event that is about a connected peer or its messages, within this time; events about trackers and failed
/// attempts are passed over.
///
/// # Panics
/// If there is none in time, or the events have ended.
pub async fn next_of_peers(events: &mut Events, within: Duration) -> Event {
    let next = async {
        loop {
            match events.next().await.expect("the events go on") {
                Event::TrackerConnected(_) | Event::TrackerWarning { .. } => {}
                Event::ConnectionFailed(_) | Event::ConnectionRejected(_) | Event::TrustChanged(_) => {}
                event => return event,
            }
        }
    };
    timeout(within, next).await.expect("an event in time")
}

/// The peer that [`next_of_peers`] reports as connected.
///
/// # Panics
/// If it reports something else.
pub async fn connected(events: &mut Events, within: Duration) -> Peer {
    match next_of_peers(events, within).await {
        Event::PeerConnected(peer) => peer,
        other => panic!("not a connection: {other:?}"),
    }
}

/// The message that [`next_of_peers`] reports.
///
/// # Panics
/// If it reports something else.
pub async fn message(events: &mut Events, within: Duration) -> Message {
    match next_of_peers(events, within).await {
        Event::Message(message) => message,
        other => panic!("not a message: {other:?}"),
    }
}

/// The end of a peer that [`next_of_peers`] reports.
///
/// # Panics
/// If it reports something else.
pub async fn closed(events: &mut Events, within: Duration) -> PeerClosed {
    match next_of_peers(events, within).await {
        Event::PeerClosed(closed) => closed,
        other => panic!("not a close: {other:?}"),
    }
}
