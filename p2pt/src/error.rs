//! What can go wrong, one enum per operation. Trouble with trackers is an [`Event`](crate::Event) instead, since
//! discovery goes on.

use std::fmt;
use std::time::Duration;

use p2pt_messaging::{
    BudgetTooSmall, DecodeError, EncodeError, Expired, FrameError, InvalidMessage, MessageId, Payload,
};
use p2pt_tracker::AnnounceUrlError;
use p2pt_transport::{ChannelClosed, TransportError};
use p2pt_trust::StoreError;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An announce URL cannot be used.
    #[error("announce URL {url:?}: {error}")]
    AnnounceUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        error: AnnounceUrlError,
    },
    /// The default transport could not be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// No transport was given, and the feature `webrtc` is off.
    #[error("no transport was given, and the feature `webrtc` is off")]
    NoTransport,
    /// There is no tokio runtime here: a node is started within one, as `#[tokio::main]` and `Runtime::block_on`
    /// provide.
    #[error("there is no tokio runtime here: start the node within one (`#[tokio::main]`, `Runtime::block_on`)")]
    NoRuntime,
    /// A peer id was given, and a key, a policy, agreement of trackers or a code as well: the id of a node that signs follows
    /// from its key, and to a node without one nothing can be proven.
    #[error("a peer id was given, and what takes a key as well: the id of a node with a key follows from the key")]
    PeerIdWithKey,
    /// What all peers together may make the node hold is too little for the largest message.
    #[error(
        "{setting} is {bytes} bytes, and a message of the largest size takes {least} (`Limits::max_message_bytes`)"
    )]
    Memory {
        /// The builder's method that sets it: `receive_memory` or `send_memory`.
        setting: &'static str,
        /// What was set, in bytes.
        bytes: usize,
        /// The least that can be set with these limits, in bytes.
        least: usize,
    },
    /// The node stopped while it started: its runtime is shutting down.
    #[error("the node stopped while it started")]
    Stopped,
}

/// Why a key was not pinned or unpinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The node has no store for pins: [`Builder::trust_store`](crate::Builder::trust_store).
    #[error("the node has no store for pins (`Builder::trust_store`)")]
    NoStore,
    /// The store has refused it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node has been shut down. The store has the change all the same.
    #[error("the node is shut down; the pin is stored")]
    Stopped,
}

/// Why a change to the node was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The node has been shut down, or the swarm left.
    #[error("the node is shut down or the swarm was left")]
    Stopped,
    /// The swarm is that of a [code](crate::SwarmKey::code), and the node has a peer id of the application's and so no key by
    /// which the other side could know it.
    #[error("a node with a peer id of its own has no key, which a code takes")]
    NoKey,
    /// An announce URL cannot be used.
    #[error("announce URL {url:?}: {error}")]
    AnnounceUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        error: AnnounceUrlError,
    },
    /// This node is in that swarm already.
    #[error("this node is in the swarm already")]
    AlreadyJoined,
}

/// Why a message or frame was not accepted by a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection to the peer any more.
    #[error("the peer is gone: {0}")]
    PeerGone(ChannelClosed),
    /// The other side accepted nothing for this long.
    #[error("the peer has accepted nothing for {0:?}")]
    Timeout(Duration),
    /// The message is larger than this side would accept itself, which is
    /// [`Limits::max_message_bytes`](crate::Limits::max_message_bytes).
    #[error("a message of {bytes} bytes is larger than the limit of {max} (`Limits::max_message_bytes`)")]
    TooLarge {
        /// The message's size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The other side had no room for the message: all peers of that node together make it hold as much as they may, and this
    /// node most. It was not delivered.
    #[error("the peer has no room for the message")]
    Refused,
    /// The peer speaks p2pt/1, which has no acknowledgements: a JavaScript peer, or one without a key.
    #[error("the peer speaks p2pt/1, which has no acknowledgements")]
    NoAcknowledgements,
    /// The message was [taken back](crate::PendingSend::cancel).
    #[error("the message was taken back")]
    Cancelled,
    /// The id of the message to which this one responds is none that the peer has given: it is no integer below 2^62.
    #[error("the id is none that the peer has given")]
    ForeignId,
    /// The other side takes only frames too small for the message format.
    #[error(transparent)]
    Budget(BudgetTooSmall),
    /// The message is bytes, and the peer speaks p2pt/1, which has no such messages: a JavaScript peer, or one without a
    /// key. [`Peer::send_frame`](crate::Peer::send_frame) sends such a peer bytes outside the message format.
    #[error("the peer speaks p2pt/1, which has no messages of bytes")]
    NoBytes,
    /// The channel refused the frame itself.
    #[error(transparent)]
    Frame(p2pt_transport::SendFrameError),
    /// The text frame is a `^` and a JSON object, so the other side may take it for a part of a message: send it as a
    /// message or as a binary frame.
    #[error("a text frame of a `^` and a JSON object may be taken for a part of a message: send a message, or binary")]
    LooksLikeMessage,
}

/// Why a message was not sent at once. Nothing of it was sent.
///
/// Its `Debug` does not print the message.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The channel has no room for all of it now, since the other side takes less than it is sent; or something that was
    /// queued is still ahead of it, which it must not overtake. The message comes back.
    #[error("the channel has no room for it now, or something queued is still ahead of it")]
    Full(Payload),
    /// The message is larger than the channel's whole send buffer, so sending it takes waiting. It comes back.
    #[error("the message is larger than the channel's send buffer")]
    NeverFits(Payload),
    /// [`Peer::send`](crate::Peer::send) would refuse it too.
    #[error(transparent)]
    Refused(#[from] SendError),
}

/// Why something was not queued for a peer.
///
/// Its `Debug` does not print what was to be queued.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError<T = Payload> {
    /// As much waits for the peer as may: it takes less than it is sent. What was to be queued comes back, and
    /// [`Peer::send`](crate::Peer::send) ([`send_frame`](crate::Peer::send_frame) for a frame) waits its turn with it
    /// behind what is queued.
    #[error("the peer's send queue is full: wait with `Peer::send`, or raise `Builder::send_queue_bytes`")]
    Full(T),
    /// As much waits for all peers of the node together as may, and for this one more than its share. What was to be
    /// queued comes back; [`Peer::send`](crate::Peer::send) waits its turn with it, and keeps it meanwhile.
    #[error("the send queues of all peers are full: wait with `Peer::send`, or raise `Builder::send_memory`")]
    NodeFull(T),
    /// The message is larger than this side would accept itself, which is
    /// [`Limits::max_message_bytes`](crate::Limits::max_message_bytes).
    #[error("a message of {bytes} bytes is larger than the limit of {max} (`Limits::max_message_bytes`)")]
    TooLarge {
        /// The message's size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The text frame is a `^` and a JSON object, so the other side may take it for a part of a message. It comes back:
    /// send it as a message or as a binary frame. Only [`Peer::queue_frame`](crate::Peer::queue_frame) has this error.
    #[error("a text frame of a `^` and a JSON object may be taken for a part of a message: send a message, or binary")]
    LooksLikeMessage(T),
}

impl fmt::Debug for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(payload) => write!(f, "Full({} bytes)", payload.len()),
            Self::NeverFits(payload) => write!(f, "NeverFits({} bytes)", payload.len()),
            Self::Refused(error) => f.debug_tuple("Refused").field(error).finish(),
        }
    }
}

impl<T> fmt::Debug for QueueError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.debug_tuple("Full").finish_non_exhaustive(),
            Self::NodeFull(_) => f.debug_tuple("NodeFull").finish_non_exhaustive(),
            Self::LooksLikeMessage(_) => f.debug_tuple("LooksLikeMessage").finish_non_exhaustive(),
            Self::TooLarge { bytes, max } => {
                f.debug_struct("TooLarge").field("bytes", bytes).field("max", max).finish()
            }
        }
    }
}

impl<T> QueueError<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> QueueError<U> {
        match self {
            Self::Full(back) => QueueError::Full(change(back)),
            Self::NodeFull(back) => QueueError::NodeFull(change(back)),
            Self::LooksLikeMessage(back) => QueueError::LooksLikeMessage(change(back)),
            Self::TooLarge { bytes, max } => QueueError::TooLarge { bytes, max },
        }
    }
}

/// Why [`Events::try_next`](crate::Events::try_next) has no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TryNextError {
    /// There is none now; there may be one later.
    #[error("there is no event now")]
    Empty,
    /// The swarm was left or the node shut down, and every event has been taken.
    #[error("there will be no event any more")]
    Ended,
}

/// Why something a peer sent was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A frame, or the message it belongs to, breaks the format or a limit.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message was dropped because its other chunks did not come.
    #[error("message {id} stayed incomplete after {chunks} chunks")]
    Incomplete {
        /// The message's id.
        id: MessageId,
        /// How many of its chunks had come.
        chunks: usize,
    },
    /// An incomplete message was given up: all peers together make the node hold as much of what they send as they may,
    /// and this peer most. The peer is not told, as the wire has no way to: to it, the message was sent.
    #[error(
        "message {id} was given up with {bytes} bytes of it held: all peers hold as much as they may, {limit} bytes \
         (`Builder::receive_memory`), and this one most"
    )]
    NodeFull {
        /// The message's id.
        id: MessageId,
        /// Bytes of memory that the message had taken.
        bytes: usize,
        /// Bytes that all peers together may make the node hold.
        limit: usize,
    },
}

impl ReceiveError {
    /// Bytes that it keeps on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Frame(FrameError::InvalidMessage { id, reason: InvalidMessage::NotJson(text) }) => {
                id.heap_bytes() + text.len()
            }
            Self::Frame(FrameError::InvalidMessage { id, .. })
            | Self::Incomplete { id, .. }
            | Self::NodeFull { id, .. } => id.heap_bytes(),
            Self::Frame(_) => 0,
        }
    }
}

impl From<Expired> for ReceiveError {
    fn from(expired: Expired) -> Self {
        Self::Incomplete { id: expired.id, chunks: expired.chunks }
    }
}

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No response came in time.
    #[error("no response within {after:?}: {}{}", sent_text(*.channel, *.sending), round_trip_text(*.round_trip))]
    Timeout {
        /// The request's deadline.
        after: Duration,
        /// How long the request was queued or being sent.
        sending: Duration,
        /// Whether a channel had taken all of it by then.
        sent: bool,
        /// The number of that channel, by which the log names it.
        channel: Option<u64>,
        /// The round-trip time of the channel that messages take, if one is open and knows it.
        round_trip: Option<Duration>,
    },
    /// The response is held back by the peer's full inbox: nothing has been taken from the node's events for a second.
    /// A loop that awaits a response instead of reading events causes this; spawn a task, or take the peer's messages
    /// by [`Peer::messages`](crate::Peer::messages).
    ///
    /// Or it is held back by responses to other requests to the peer that have come and that nothing awaits, and none of
    /// them has been taken for a second: await or drop each [`PendingResponse`](crate::PendingResponse).
    #[error("the response is held back by messages or responses of the peer that are not read")]
    InboxFull,
    /// The peer went before it responded.
    #[error("the peer went before it responded: {0}")]
    PeerGone(ChannelClosed),
    /// A later request with the same id took this one's place: two awaited responses to one message.
    #[error("a later request with the same id took this one's place")]
    Replaced,
    /// As much is queued for the peer as may be, so the request was not. [`Request::send`](crate::Request::send), or
    /// awaiting the request, waits its turn behind what is queued.
    #[error(
        "the peer's send queue is full: await the request or its `Request::send`, which wait, or raise \
         `Builder::send_queue_bytes`"
    )]
    QueueFull,
    /// As much is queued for all peers of the node together as may be, and for this one more than its share, so the
    /// request was not. [`Request::send`](crate::Request::send), or awaiting the request, waits its turn.
    #[error(
        "the send queues of all peers are full: await the request or its `Request::send`, which wait, or raise \
         `Builder::send_memory`"
    )]
    NodeFull,
    /// As many requests to this peer as allowed wait for their responses.
    #[error("{0} requests to this peer are waiting already")]
    TooMany(usize),
}

/// Why a message of an application's own type was not sent, or no response of such a type came: the error of all that
/// turns values into JSON and back.
///
/// `Encode` is a mistake of this side, `Decode` says that the peer sent something else than was expected, and the
/// others are what the same operation without JSON fails with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError {
    /// The value cannot be written as JSON. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The message was not queued.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What the peer sent is not of the type that was to be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

fn sent_text(channel: Option<u64>, sending: Duration) -> String {
    if let Some(channel) = channel {
        format!("the request was sent over channel {channel} after {sending:?}")
    } else {
        "the request still waited to be sent".to_owned()
    }
}

fn round_trip_text(round_trip: Option<Duration>) -> String {
    round_trip.map_or_else(String::new, |time| format!(" (the round-trip time is {time:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_carries_a_message_does_not_print_it() {
        let payload = || Payload::from("secret");
        let queue = QueueError::Full(payload());
        let full = TrySendError::Full(payload());
        let printed = [
            format!("{queue:?} {queue}"),
            format!("{full:?} {full}"),
            format!("{:?}", TrySendError::NeverFits(payload())),
            format!("{:?}", TypedError::from(queue)),
        ];
        assert!(printed.iter().all(|text| !text.contains("secret")), "{printed:?}");
        assert_eq!(format!("{full:?}"), "Full(6 bytes)");
    }

    /// Who prints an error and its sources, as most programs do, reads each of them once.
    #[test]
    fn no_error_says_what_its_source_says_again() {
        let not_sendable = std::collections::BTreeMap::from([((1, 2), 3)]);
        let url = || "http://a.test".to_owned();
        let unusable = || url().parse::<p2pt_tracker::AnnounceUrl>().expect_err("no announce URL");
        let too_long = FrameError::IdTooLong { limit: 1 };
        let errors: [Box<dyn std::error::Error>; 7] = [
            Box::new(TypedError::from(Payload::from("secret").parse::<u8>().expect_err("no number"))),
            Box::new(TypedError::from(Payload::json(&not_sendable).expect_err("no JSON"))),
            Box::new(TypedError::from(RequestError::from(SendError::PeerGone(ChannelClosed::Local)))),
            Box::new(p2pt_messaging::Json::from_text("{").expect_err("no JSON")),
            Box::new(ReceiveError::from(too_long)),
            Box::new(StartError::AnnounceUrl { url: url(), error: unusable() }),
            Box::new(NodeError::AnnounceUrl { url: url(), error: unusable() }),
        ];
        for error in errors {
            let mut outer: &dyn std::error::Error = &*error;
            while let Some(source) = outer.source() {
                assert!(!outer.to_string().contains(&source.to_string()), "{outer} / {source}");
                outer = source;
            }
        }
    }

    #[test]
    fn an_error_names_what_helps() {
        let cases = [
            (QueueError::Full(()).to_string(), &["`Peer::send`", "`Builder::send_queue_bytes`"][..]),
            (QueueError::<()>::TooLarge { bytes: 2, max: 1 }.to_string(), &["2 bytes", "`Limits::max_message_bytes`"]),
            (SendError::TooLarge { bytes: 2, max: 1 }.to_string(), &["2 bytes", "`Limits::max_message_bytes`"]),
            (RequestError::QueueFull.to_string(), &["`Request::send`", "`Builder::send_queue_bytes`"]),
            (TrySendError::Full("".into()).to_string(), &["no room", "ahead of it"]),
        ];
        for (text, names) in cases {
            assert!(names.iter().all(|name| text.contains(name)), "{text}");
        }
    }
}
