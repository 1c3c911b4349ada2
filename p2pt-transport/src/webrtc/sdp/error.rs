//! What is wrong with a description.

use std::fmt;

use super::lines::Line;

/// How much of a line an error shows, in characters: enough to find it by, and short in a log.
const SHOWN_CHARS: usize = 48;

/// Why a description cannot be used, and which of its lines says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SdpError {
    problem: Problem,
    /// The number of the line, counted from 1, and its start, of printable characters only.
    line: Option<(usize, String)>,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("longer than 64 KiB")]
    TooLong,
    #[error("it does not begin with v=0")]
    NoVersion,
    #[error("more than {} m= lines", super::MAX_SECTIONS)]
    TooManySections,
    #[error("no data channel is offered: no m=application line over DTLS and SCTP says webrtc-datachannel")]
    NoDataChannel,
    #[error("the data channel is rejected, by port 0")]
    Rejected,
    #[error("an answer could not repeat this line")]
    Unrepeatable,
    #[error("no a={0} in the data channel's section or before the first")]
    Missing(&'static str),
    #[error("an {name} has {min} to 256 letters, digits, + and /")]
    Credential { name: &'static str, min: usize },
    #[error("no fingerprint by sha-256, sha-384 or sha-512, and no other is trusted")]
    UntrustedHash,
    #[error("a fingerprint by {hash} has {bytes} bytes of two hexadecimal digits, with colons between them")]
    Fingerprint { hash: &'static str, bytes: usize },
}

impl Problem {
    /// The error that this is the problem at `line`.
    pub(super) fn at(self, line: Line<'_>) -> SdpError {
        // A password is not for logs, not even a wrong one.
        let shown = if line.name() == "ice-pwd" { "a=ice-pwd:…" } else { line.text };
        let mut start: String = shown.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
        if shown.chars().nth(SHOWN_CHARS).is_some() {
            start.push('…');
        }
        SdpError { problem: self, line: Some((line.number, start)) }
    }
}

impl From<Problem> for SdpError {
    fn from(problem: Problem) -> Self {
        Self { problem, line: None }
    }
}

impl SdpError {
    /// The number of the line, counted from 1, where there is one to blame.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn line(&self) -> Option<usize> {
        self.line.as_ref().map(|(number, _)| *number)
    }
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((number, start)) = &self.line {
            write!(f, "line {number}, \"{start}\": ")?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for SdpError {}
