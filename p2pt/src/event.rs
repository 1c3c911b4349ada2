//! What an application hears from its swarm.

use std::sync::Arc;

use p2pt_tracker::{AnnounceUrl, TrackerWarning};
use p2pt_transport::{ChannelClosed, Frame, TransportError};

use crate::{Message, Peer, ReceiveError};

/// Something happened in a swarm.
///
/// For each peer: `PeerConnected`, then its messages in order, then `PeerClosed`; never otherwise, never twice.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A peer can be talked to.
    PeerConnected(Peer),
    /// The last link to a peer is gone, and everything it sent has been delivered.
    PeerClosed(PeerClosed),
    /// A complete message that is not the response to a request of ours.
    Message(Message),
    /// A frame that is not p2pt's: what the other side sent with [`Peer::send_frame`] or JavaScript's `peer.send`.
    Data(Data),
    /// A frame looked like p2pt's but was refused; what it belonged to is lost.
    Refused(Refused),
    /// A tracker is reached, and has answered an announce on its present connection for the first time.
    TrackerConnected(TrackerConnected),
    /// A tracker gives trouble. Discovery goes on, there and elsewhere.
    TrackerWarning {
        /// Which one.
        tracker: AnnounceUrl,
        /// What is wrong.
        warning: TrackerWarning,
    },
    /// The transport could make no offer, so strangers cannot be invited; it is asked again at the next announce.
    OfferFailed(Arc<TransportError>),
}

/// A peer has gone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerClosed {
    /// Which one.
    pub peer: Peer,
    /// How its last link ended.
    pub reason: ChannelClosed,
    /// Bytes of frames handed to that link that the other side never acknowledged: what may have been lost.
    pub unacknowledged_bytes: u64,
}

/// A frame that is not p2pt's.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Data {
    /// Who sent it.
    pub peer: Peer,
    /// The frame, as it came.
    pub frame: Frame,
}

/// A frame, or the message it belonged to, was refused.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refused {
    /// Who sent it.
    pub peer: Peer,
    /// Why it was refused.
    pub error: ReceiveError,
}

/// A tracker is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerConnected {
    /// Which one.
    pub tracker: AnnounceUrl,
    /// How many of the node's trackers are reached now.
    pub connected: usize,
    /// How many it has.
    pub total: usize,
}
