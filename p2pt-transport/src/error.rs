//! What can go wrong, one enum per operation.

use std::{io, net::SocketAddr, time::Duration};

use crate::Frame;

/// Why a connection could not be prepared or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The transport has been shut down.
    #[error("the transport is shut down")]
    ShutDown,
    /// The other side's SDP cannot be used; the text says why.
    #[error("unusable SDP: {0}")]
    InvalidSdp(String),
    /// A step took longer than its deadline.
    #[error("{step} did not finish within {after:?}")]
    Timeout {
        /// What was waited for, for people: `"opening the channel"`.
        step: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// There is no address to be reached at: no usable interface, or, where only relays may be used, no TURN server
    /// that answers and takes the credentials.
    #[error("no address to be reached at")]
    NoCandidate,
    /// No UDP socket could be bound; this is the first that could not. A port is in use, or too high for the seven after
    /// it, or the address is not this machine's.
    #[error("cannot bind UDP {address}: {source}")]
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No candidate pair worked.
    #[error("ICE found no path (local candidates: {local}, remote candidates: {remote})")]
    IceFailed {
        /// The candidate types this side offered, e.g. `"host srflx"`.
        local: String,
        /// The candidate types the other side offered.
        remote: String,
    },
    /// The encrypted session could not be set up on the path that was found: the other side has another certificate than
    /// it announced, or went during the handshake.
    #[error("the encrypted session could not be set up")]
    SessionFailed,
    /// The other side closed or went between the encrypted session and the channel.
    #[error("closed before the channel opened")]
    ClosedEarly,
    /// As many connections exist as the backend is configured to hold, or, where an offer is answered, as there can be
    /// between the two nodes; where an offer is asked for, as many offers wait.
    #[error("already {max} connections, or offers of them")]
    TooManyConnections {
        /// The limit that is reached, which may be that on offers.
        max: usize,
    },
    /// The backend failed in a way of its own.
    #[error("transport backend: {0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a late candidate of the other side was not taken. The connection goes on as if it had not been named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddCandidateError {
    /// The backend takes candidates in descriptions only: wait with the description until it is complete.
    #[error("the transport takes candidates in descriptions only")]
    Unsupported,
    /// It is no candidate; the text says why. Better skipped: others may be good.
    #[error("not a candidate: {0}")]
    Invalid(String),
    /// The backend takes no more for this connection.
    #[error("already {max} late candidates")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The connection has been closed, or has failed.
    #[error("the connection is closed")]
    Closed,
}

/// Why a frame was not accepted for sending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendFrameError {
    /// The channel is closed or closing.
    #[error("the channel is closed")]
    Closed,
    /// The frame is larger than the other side accepts.
    #[error("a frame of {bytes} bytes is larger than the {max} the other side accepts")]
    TooLarge {
        /// The frame's size in bytes.
        bytes: usize,
        /// The largest size in bytes.
        max: usize,
    },
    /// A text frame that is not UTF-8.
    #[error("a text frame must be UTF-8")]
    NotUtf8,
}

/// Why a frame was not accepted at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendFrameError {
    /// The send buffer is full; the frame comes back.
    #[error("the send buffer is full")]
    Full(Frame),
    /// It can never be sent.
    #[error(transparent)]
    Refused(#[from] SendFrameError),
}

/// Why several frames were not accepted at once. None of them was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendAllError {
    /// The send buffer has no room for all of them now.
    #[error("the send buffer is full")]
    Full,
    /// The send buffer has no room for all of them, not even when it is empty.
    #[error("so many frames never fit into the send buffer at once")]
    NeverFits,
    /// One of them can never be sent.
    #[error(transparent)]
    Refused(#[from] SendFrameError),
}
