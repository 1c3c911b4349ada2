//! The SDP this network speaks: real enough for what reads SDP, with the token where WebRTC has its ICE name.

use std::{fmt, str::FromStr};

use crate::{Fingerprint, TransportError};

const SESSION: &str = "p2pt-memory";

/// What stands for one offer or one answer on its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Token(pub(super) u64);

/// Which of the two descriptions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
}

impl Kind {
    fn setup(self) -> &'static str {
        match self {
            Self::Offer => "actpass",
            Self::Answer => "active",
        }
    }
}

/// An offer or an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Description {
    pub(super) kind: Kind,
    pub(super) token: Token,
    pub(super) fingerprint: Fingerprint,
    pub(super) max_frame_bytes: usize,
}

impl Description {
    /// Reads a description of one kind.
    pub(super) fn read(sdp: &str, kind: Kind) -> Result<Self, TransportError> {
        let invalid = |why: &str| TransportError::InvalidSdp(why.to_owned());
        let mut lines = sdp.lines().map(str::trim);
        if lines.next() != Some("v=0") {
            return Err(invalid("it does not begin with v=0"));
        }
        if !lines.any(|line| line.strip_prefix("s=") == Some(SESSION)) {
            return Err(invalid("it is not of a memory network"));
        }
        if attribute(sdp, "setup") != Some(kind.setup()) {
            return Err(invalid("an offer where an answer is due, or an answer where an offer is"));
        }
        let token = attribute(sdp, "ice-ufrag").filter(|token| token.len() == 16);
        let token = token.and_then(|token| u64::from_str_radix(token, 16).ok());
        Ok(Self {
            kind,
            token: Token(token.ok_or_else(|| invalid("no usable a=ice-ufrag line"))?),
            fingerprint: Fingerprint::from_sdp(sdp).ok_or_else(|| invalid("no usable a=fingerprint line"))?,
            max_frame_bytes: attribute(sdp, "max-message-size")
                .and_then(|size| usize::from_str(size).ok())
                .ok_or_else(|| invalid("no usable a=max-message-size line"))?,
        })
    }
}

/// The value of the first `a=name:value` line.
fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.trim().strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, token, fingerprint, max_frame_bytes } = self;
        write!(f, "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns={SESSION}\r\nt=0 0\r\na=group:BUNDLE 0\r\n", token.0)?;
        write!(f, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n")?;
        write!(f, "a=setup:{}\r\na=ice-ufrag:{:016x}\r\n", kind.setup(), token.0)?;
        write!(f, "a=fingerprint:sha-256 {fingerprint}\r\na=sctp-port:5000\r\n")?;
        write!(f, "a=max-message-size:{max_frame_bytes}\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n")
    }
}
