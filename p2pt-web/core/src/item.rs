//! Events in plain values.

use p2pt::{Event, Frame, TrackerWarning};
use serde::Serialize;

use crate::fault::closed_code;
use crate::peers::Members;
use crate::trust::{Known, Rejected, TrustSaid};
use crate::{Fault, Received, Returned, Stream};

/// Something that has happened in a swarm.
#[derive(Debug)]
pub enum Item {
    /// A message of a peer that is not the response to a request of this node.
    Message {
        /// The peer's number.
        peer: u32,
        /// The message.
        message: Received,
    },
    /// A frame that is no part of a message.
    Data {
        /// The peer's number.
        peer: u32,
        /// The frame.
        frame: Frame,
    },
    /// A peer has opened a stream.
    Stream {
        /// The peer's number.
        peer: u32,
        /// The stream, which is reset when it is dropped.
        stream: Stream,
    },
    /// A peer has gone that had not acknowledged all messages: what [`Other`](Self::Other) says of every peer that goes, and
    /// those messages.
    Closed {
        /// The line of JSON.
        line: String,
        /// The messages.
        returned: Returned,
    },
    /// Anything else, as a line of JSON with a `type`. `p2pt-web/src/events.ts` has the types.
    Other(String),
}

/// Events that were there at the same time, in order; none after the last one.
pub type Batch = Vec<Item>;

/// What is said of other events.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Said {
    PeerConnected {
        peer: u32,
        id: String,
        #[serde(flatten)]
        known: Box<Known>,
    },
    TrustChanged {
        peer: u32,
        was: TrustSaid,
        now: TrustSaid,
    },
    PeerClosed {
        peer: u32,
        code: &'static str,
        reason: String,
        unacknowledged_bytes: u64,
        unsent_messages: u64,
        unsent_bytes: u64,
        left: Option<Left>,
    },
    SendFailed {
        peer: u32,
        id: Option<String>,
        code: &'static str,
        message: String,
        missed: u64,
    },
    InvalidFrame {
        peer: u32,
        message: String,
    },
    TrackerConnected {
        tracker: String,
        connected: usize,
        total: usize,
    },
    TrackerWarning {
        tracker: String,
        code: &'static str,
        message: String,
        missed: u64,
    },
    ConnectionFailed {
        peer_id: String,
        tracker: String,
        message: String,
        advice: Option<&'static str>,
        missed: u64,
    },
    ConnectionRejected {
        peer_id: String,
        tracker: String,
        #[serde(flatten)]
        rejected: Rejected,
        message: String,
        missed: u64,
    },
    OfferFailed {
        message: String,
        advice: Option<&'static str>,
    },
    ServerWarning {
        message: String,
        advice: &'static str,
    },
    Other {
        message: String,
    },
}

/// With what a peer has left.
#[derive(Serialize)]
struct Left {
    code: u64,
    text: String,
}

/// An event as JavaScript gets it. A peer that has closed has no number from then on.
pub(crate) fn item(event: Event, peers: &Members) -> Item {
    let mut returned = None;
    let said = match event {
        Event::Message(message) => {
            let peer = peers.number(message.peer());
            return Item::Message { peer, message: Received::new(message) };
        }
        Event::Data(data) => return Item::Data { peer: peers.number(&data.peer), frame: data.frame },
        Event::PeerConnected(peer) => Said::PeerConnected {
            id: peer.id().to_string(),
            known: Box::new(Known::of(&peer)),
            peer: peers.number(&peer),
        },
        Event::TrustChanged(changed) => {
            Said::TrustChanged { peer: peers.number(&changed.peer), was: changed.was.into(), now: changed.now.into() }
        }
        Event::Stream(stream) => {
            return Item::Stream { peer: peers.number(stream.peer()), stream: Stream::new(stream) };
        }
        Event::PeerClosed(closed) => {
            returned = Returned::new(closed.returned);
            Said::PeerClosed {
                peer: peers.forget(&closed.peer),
                code: closed_code(&closed.reason),
                reason: closed.reason.to_string(),
                unacknowledged_bytes: closed.unacknowledged_bytes,
                unsent_messages: closed.unsent_messages,
                unsent_bytes: closed.unsent_bytes,
                left: closed.left.map(|(code, text)| Left { code, text }),
            }
        }
        Event::SendFailed(failed) => {
            let fault = Fault::from(failed.error);
            Said::SendFailed {
                peer: peers.number(&failed.peer),
                id: failed.id.map(|id| id.to_string()),
                code: fault.code(),
                message: fault.message().to_owned(),
                missed: failed.missed,
            }
        }
        Event::InvalidFrame(invalid) => {
            Said::InvalidFrame { peer: peers.number(&invalid.peer), message: invalid.error.to_string() }
        }
        Event::TrackerConnected(event) => Said::TrackerConnected {
            tracker: event.tracker.to_string(),
            connected: event.connected,
            total: event.total,
        },
        Event::TrackerWarning { tracker, warning, missed } => Said::TrackerWarning {
            tracker: tracker.to_string(),
            code: warning_code(&warning),
            message: warning.to_string(),
            missed,
        },
        Event::ConnectionFailed(failed) => Said::ConnectionFailed {
            peer_id: failed.peer_id.to_string(),
            tracker: failed.tracker.to_string(),
            message: failed.error.to_string(),
            advice: failed.advice(),
            missed: failed.missed,
        },
        Event::ConnectionRejected(rejected) => Said::ConnectionRejected {
            peer_id: rejected.peer_id.to_string(),
            tracker: rejected.tracker.to_string(),
            rejected: rejected.reason.into(),
            message: rejected.reason.to_string(),
            missed: rejected.missed,
        },
        Event::OfferFailed(error) => Said::OfferFailed { message: error.to_string(), advice: error.advice() },
        Event::ServerWarning(warning) => Said::ServerWarning { advice: warning.advice(), message: warning.to_string() },
        other => Said::Other { message: other.to_string() },
    };
    // Numbers and texts can always be written.
    let line = serde_json::to_string(&said).unwrap_or_default();
    match returned {
        Some(returned) => Item::Closed { line, returned },
        None => Item::Other(line),
    }
}

/// Those kinds of warnings that a program may treat apart; `other` for the rest.
fn warning_code(warning: &TrackerWarning) -> &'static str {
    match warning {
        TrackerWarning::ConnectFailed { .. } => "connect_failed",
        TrackerWarning::Disconnected { .. } => "disconnected",
        TrackerWarning::Timeout { .. } => "timeout",
        TrackerWarning::PeerIdInUse { .. } => "peer_id_in_use",
        _ => "other",
    }
}
