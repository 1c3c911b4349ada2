//! What an application hears from its swarm.

use std::fmt;
use std::sync::Arc;

use p2pt_messaging::MessageId;
use p2pt_proto::PeerId;
use p2pt_tracker::{AnnounceUrl, TrackerWarning};
use p2pt_transport::{ChannelClosed, Frame, Role, TransportError};

use crate::{Message, Peer, ReceiveError, SendError};

/// Something happened in a swarm.
///
/// For each peer: `PeerConnected`, then its messages in order, then `PeerClosed`; never otherwise, never twice.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A peer can be talked to.
    PeerConnected(Peer),
    /// The last channel to a peer is gone, and everything it sent has been delivered.
    PeerClosed(PeerClosed),
    /// A complete message that is not the response to a request of ours.
    Message(Message),
    /// A frame that is not p2pt's: what the other side sent with [`Peer::send_frame`] or JavaScript's `peer.send`.
    Data(Data),
    /// Something that was [queued](Peer::queue) for a peer was not sent, though the peer is there.
    SendFailed(SendFailed),
    /// A frame looked like p2pt's but was refused; what it belonged to is lost.
    InvalidFrame(InvalidFrame),
    /// A tracker is reached, and has answered an announce on its present connection for the first time.
    TrackerConnected(TrackerConnected),
    /// A tracker gives trouble. Discovery goes on, there and elsewhere.
    TrackerWarning {
        /// Which one.
        tracker: AnnounceUrl,
        /// What is wrong.
        warning: TrackerWarning,
    },
    /// An attempt to connect to a peer, of which no more is known than what a tracker said, has failed.
    ConnectionFailed(ConnectionFailed),
    /// This side has not let a peer in that a tracker introduced. The peer learns nothing: it has no answer to its
    /// offer, or nothing that comes of its answer.
    ConnectionRejected(ConnectionRejected),
    /// The transport could make no offer, so strangers cannot be invited; it is asked again at the next announce.
    OfferFailed(Arc<TransportError>),
}

/// A peer has gone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerClosed {
    /// Which one.
    pub peer: Peer,
    /// How its last channel ended.
    pub reason: ChannelClosed,
    /// Bytes of frames handed to that channel that the other side never acknowledged: what may have been lost.
    pub unacknowledged_bytes: u64,
    /// How many of the messages and frames [queued](Peer::queue) for it no channel had taken whole.
    pub unsent_messages: u64,
    /// How many bytes these were.
    pub unsent_bytes: u64,
}

/// Something queued for a peer was not sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SendFailed {
    /// For which one it was.
    pub peer: Peer,
    /// The message's id; `None` for a frame.
    pub id: Option<MessageId>,
    /// Why it was not sent.
    pub error: SendError,
    /// How many `SendFailed` of this peer just after this one were dropped, because 32 were not read.
    pub missed: u64,
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
pub struct InvalidFrame {
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

/// An attempt to connect has failed. While these and [`ConnectionRejected`] are unread, the latest 32 for each tracker
/// are kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionFailed {
    /// With whom, as the tracker says.
    pub peer_id: PeerId,
    /// By which tracker the offer or the answer came.
    pub tracker: AnnounceUrl,
    /// Whether the offer was this side's.
    pub role: Role,
    /// Why it failed.
    pub error: Arc<TransportError>,
    /// How many `ConnectionFailed` and `ConnectionRejected` of this tracker just before this one were dropped, because
    /// nobody read them.
    pub missed: u64,
}

/// A peer was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionRejected {
    /// Which one, as the tracker says.
    pub peer_id: PeerId,
    /// By which tracker its offer or its answer came.
    pub tracker: AnnounceUrl,
    /// Whether the offer was this side's.
    pub role: Role,
    /// Why it was refused.
    pub reason: RejectReason,
    /// As in [`ConnectionFailed::missed`].
    pub missed: u64,
}

/// Why this side did not let a peer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// The swarm has as many peers as it may.
    Full,
    /// The peer has its channels already. Nothing to worry about: trackers draw recipients of offers at random.
    Duplicate,
    /// As many attempts as may be are under way, or as many as this tracker may cause.
    Busy,
    /// The application's filter said no.
    Filtered,
    /// The peer is banned.
    Banned,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "there are as many peers as may be",
            Self::Duplicate => "it is connected already",
            Self::Busy => "too many attempts to connect are under way",
            Self::Filtered => "the filter says no",
            Self::Banned => "it is banned",
        })
    }
}
