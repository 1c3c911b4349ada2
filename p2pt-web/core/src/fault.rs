//! Errors as JavaScript sees them.

use std::fmt;

use p2pt::{ChannelClosed, NodeError, QueueError, RequestError, SendError, StartError};

/// All codes of [`Fault`]s. `p2pt-web/src/errors.ts` has the same list, with what a program can do about each; a test
/// holds the two together.
pub const CODES: [&str; 26] = [
    "aborted",
    "already_joined",
    "already_pinned",
    "frame_rejected",
    "inbox_full",
    "invalid_announce_url",
    "invalid_id",
    "invalid_json",
    "invalid_key",
    "invalid_option",
    "invalid_secret",
    "looks_like_message",
    "no_key",
    "node_full",
    "not_connected",
    "other",
    "peer_gone",
    "queue_full",
    "replaced",
    "request_timeout",
    "send_timeout",
    "start_failed",
    "stopped",
    "too_large",
    "too_many_requests",
    "unsupported",
];

/// An error: a stable code, and what happened in words.
///
/// Displayed, it is both with a colon between them, and so it crosses into JavaScript, where a class takes it apart again:
/// the text of an error is the only part of it that every binding can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    code: &'static str,
    message: String,
}

impl Fault {
    /// An error with one of the [`CODES`].
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not listed");
        Self { code, message: message.into() }
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

    pub(crate) fn invalid_id(what: &str, error: &dyn fmt::Display) -> Self {
        Self::new("invalid_id", format!("{what}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
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
