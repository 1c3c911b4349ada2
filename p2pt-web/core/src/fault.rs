//! Errors as JavaScript sees them.

use std::{fmt, io};

use p2pt::{ChannelClosed, NodeError, QueueError, RequestError, SendError, StartError, StreamError};

/// All codes of [`Fault`]s. `p2pt-web/src/errors.ts` has the same list, with what a program can do about each; a test
/// holds the two together.
pub const CODES: [&str; 36] = [
    "aborted",
    "already_joined",
    "already_pinned",
    "cancelled",
    "foreign_id",
    "frame_rejected",
    "inbox_full",
    "invalid_announce_url",
    "invalid_id",
    "invalid_json",
    "invalid_key",
    "invalid_option",
    "invalid_secret",
    "looks_like_message",
    "metadata_too_large",
    "no_acknowledgements",
    "no_bytes",
    "no_key",
    "no_streams",
    "node_full",
    "not_connected",
    "other",
    "peer_gone",
    "queue_full",
    "refused",
    "replaced",
    "request_timeout",
    "send_timeout",
    "start_failed",
    "stopped",
    "stream_ended",
    "stream_reset",
    "stream_stopped",
    "too_large",
    "too_many_requests",
    "unsupported",
];

/// An error: a stable code, and what happened in words.
///
/// Displayed, it is both with a colon between them, and so it crosses into JavaScript, where a class takes it apart again:
/// the text of an error is the only part of it that every binding can carry. The number that the other side gave to the end
/// of a stream stands in parentheses behind the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    code: &'static str,
    stream_code: Option<u64>,
    message: String,
}

impl Fault {
    /// An error with one of the [`CODES`].
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not listed");
        Self { code, stream_code: None, message: message.into() }
    }

    /// The code, by which programs tell errors apart.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence, which may change.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn peer_gone() -> Self {
        Self::new("peer_gone", "the peer is gone")
    }

    pub(crate) fn stream_ended() -> Self {
        Self::from(StreamError::Ended)
    }

    pub(crate) fn invalid_id(what: &str, error: &dyn fmt::Display) -> Self {
        Self::new("invalid_id", format!("{what}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stream_code {
            Some(code) => write!(f, "{}({code}): {}", self.code, self.message),
            None => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

impl std::error::Error for Fault {}

/// How a channel ended, as a code: `local`, `remote`, `timeout`, `overflow`, `shut_down` or `failed`.
pub(crate) fn closed_code(reason: &ChannelClosed) -> &'static str {
    match reason {
        ChannelClosed::Local => "local",
        ChannelClosed::Remote => "remote",
        ChannelClosed::Timeout(_) => "timeout",
        ChannelClosed::Overflow { .. } => "overflow",
        ChannelClosed::ShutDown => "shut_down",
        _ => "failed",
    }
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        let code = match &error {
            SendError::PeerGone(_) => "peer_gone",
            SendError::Timeout(_) => "send_timeout",
            SendError::TooLarge { .. } => "too_large",
            SendError::Budget(_) | SendError::Frame(_) => "frame_rejected",
            SendError::LooksLikeMessage => "looks_like_message",
            SendError::Refused => "refused",
            SendError::NoAcknowledgements => "no_acknowledgements",
            SendError::NoBytes => "no_bytes",
            SendError::Cancelled => "cancelled",
            SendError::ForeignId => "foreign_id",
            _ => "other",
        };
        Self::new(code, error.to_string())
    }
}

impl<T> From<QueueError<T>> for Fault {
    fn from(error: QueueError<T>) -> Self {
        // In the words of JavaScript, where nothing waits but by awaiting, and options have other names.
        match error {
            QueueError::Full(_) => Self::new(
                "queue_full",
                "as much waits to be sent to the peer as may: await what `send` returns, or raise `sendQueueBytes`",
            ),
            QueueError::NodeFull(_) => Self::new(
                "node_full",
                "as much waits to be sent to all peers as may: await what `send` returns, or raise `sendMemory`",
            ),
            QueueError::TooLarge { bytes, max } => Self::too_large(bytes, max),
            QueueError::LooksLikeMessage(_) => Self::new(
                "looks_like_message",
                "a text frame of a `^` and a JSON object may be taken for a part of a message: send a message, or bytes",
            ),
            _ => Self::new("other", "it was not queued"),
        }
    }
}

impl Fault {
    fn too_large(bytes: usize, max: usize) -> Self {
        Self::new("too_large", format!("{bytes} bytes are more than a message may have, {max} (`maxMessageBytes`)"))
    }
}

impl From<StreamError> for Fault {
    fn from(error: StreamError) -> Self {
        let (code, stream_code) = match error {
            StreamError::NoStreams => ("no_streams", None),
            StreamError::Metadata { .. } => ("metadata_too_large", None),
            StreamError::Reset(code) => ("stream_reset", Some(code)),
            StreamError::Stopped(code) => ("stream_stopped", Some(code)),
            StreamError::Ended => ("stream_ended", None),
            StreamError::PeerGone(_) => ("peer_gone", None),
            _ => ("other", None),
        };
        Self { stream_code, ..Self::new(code, error.to_string()) }
    }
}

impl From<io::Error> for Fault {
    /// Of what a stream fails with as a writer.
    fn from(error: io::Error) -> Self {
        match error.downcast::<StreamError>() {
            Ok(error) => error.into(),
            Err(error) => Self::new("other", error.to_string()),
        }
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        let code = match error {
            RequestError::Send(error) => return error.into(),
            RequestError::Timeout { .. } => "request_timeout",
            RequestError::InboxFull => "inbox_full",
            RequestError::PeerGone(_) => "peer_gone",
            RequestError::Replaced => "replaced",
            RequestError::QueueFull => return QueueError::Full(()).into(),
            RequestError::NodeFull => return QueueError::NodeFull(()).into(),
            RequestError::TooMany(_) => "too_many_requests",
            _ => "other",
        };
        Self::new(code, error.to_string())
    }
}

impl From<NodeError> for Fault {
    fn from(error: NodeError) -> Self {
        let code = match error {
            NodeError::Stopped => "stopped",
            NodeError::AnnounceUrl { .. } => "invalid_announce_url",
            NodeError::AlreadyJoined => "already_joined",
            NodeError::NoKey => "no_key",
            _ => "other",
        };
        Self::new(code, error.to_string())
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::AnnounceUrl { .. } => "invalid_announce_url",
            StartError::Memory { .. } | StartError::PeerIdWithKey => "invalid_option",
            StartError::Stopped => "stopped",
            _ => "start_failed",
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of TypeScript, between the marks.
    fn codes_in_typescript() -> Vec<String> {
        let source = include_str!("../../src/errors.ts");
        let list = source.split("// codes").nth(1).expect("errors.ts marks its list");
        list.lines().filter_map(|line| line.trim().strip_prefix("| '")?.strip_suffix('\'')).map(str::to_owned).collect()
    }

    #[test]
    fn typescript_has_the_same_codes() {
        assert!(CODES.is_sorted());
        assert_eq!(codes_in_typescript(), CODES);
    }

    #[test]
    fn what_crosses_begins_with_the_code() {
        let fault = Fault::from(SendError::TooLarge { bytes: 2, max: 1 });
        assert_eq!(fault.code(), "too_large");
        assert_eq!(fault.to_string(), format!("too_large: {}", fault.message()));
    }
}
