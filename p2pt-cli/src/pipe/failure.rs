//! Why something that was commanded for a peer came to nothing: in words, and as a code on which a program can act.

use p2pt::{QueueError, RequestError, SendError, StreamError, TrySendError};

/// A failure, as an `error` event has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// One of the codes of PIPE.md; `None` where there is nothing to tell apart.
    pub(super) code: Option<&'static str>,
    pub(super) error: String,
}

impl Failure {
    pub(super) fn new(code: &'static str, error: impl ToString) -> Self {
        Self { code: Some(code), error: error.to_string() }
    }
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self { code: None, error }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::new(send_code(&error), error)
    }
}

fn send_code(error: &SendError) -> &'static str {
    match error {
        SendError::PeerGone(_) => "peer_gone",
        SendError::Timeout(_) => "timeout",
        SendError::TooLarge { .. } => "too_large",
        SendError::Refused => "refused",
        SendError::NoAcknowledgements => "no_acknowledgements",
        SendError::Cancelled => "cancelled",
        SendError::ForeignId => "foreign_id",
        SendError::NoBytes => "no_bytes",
        SendError::LooksLikeMessage => "looks_like_message",
        SendError::Budget(_) | SendError::Frame(_) => "frame",
        _ => "other",
    }
}

impl<T> From<QueueError<T>> for Failure
where
    QueueError<T>: ToString,
{
    fn from(error: QueueError<T>) -> Self {
        let code = match &error {
            QueueError::Full(_) => "queue_full",
            QueueError::NodeFull(_) => "memory_full",
            QueueError::TooLarge { .. } => "too_large",
            QueueError::LooksLikeMessage(_) => "looks_like_message",
            _ => "other",
        };
        Self::new(code, error)
    }
}

impl From<TrySendError> for Failure {
    fn from(error: TrySendError) -> Self {
        let code = match &error {
            TrySendError::Full(_) => "queue_full",
            TrySendError::NeverFits(_) => "too_large",
            TrySendError::Refused(error) => send_code(error),
            _ => "other",
        };
        Self::new(code, error)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let code = match &error {
            RequestError::Send(error) => send_code(error),
            RequestError::Timeout { .. } => "timeout",
            RequestError::PeerGone(_) => "peer_gone",
            RequestError::QueueFull => "queue_full",
            RequestError::NodeFull => "memory_full",
            _ => "other",
        };
        Self::new(code, error)
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        let code = match &error {
            StreamError::NoStreams => "no_streams",
            StreamError::Metadata { .. } => "too_large",
            StreamError::Reset(_) => "reset",
            StreamError::Stopped(_) => "stopped",
            StreamError::Ended => "ended",
            StreamError::PeerGone(_) => "peer_gone",
            _ => "other",
        };
        Self::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_code_of_its_cause() {
        let full = QueueError::Full(p2pt::Payload::from("x"));
        for (failure, code) in [
            (Failure::from(SendError::NoAcknowledgements), "no_acknowledgements"),
            (SendError::NoBytes.into(), "no_bytes"),
            (TrySendError::Refused(SendError::NoBytes).into(), "no_bytes"),
            (RequestError::Send(SendError::Refused).into(), "refused"),
            (full.into(), "queue_full"),
            (StreamError::NoStreams.into(), "no_streams"),
            (StreamError::Stopped(7).into(), "stopped"),
        ] {
            assert_eq!(failure.code, Some(code));
            assert!(!failure.error.is_empty());
        }
        assert_eq!(Failure::from("why".to_owned()).code, None);
    }
}
