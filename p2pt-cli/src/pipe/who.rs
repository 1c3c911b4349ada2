//! Who peers are and why others are turned away, as events say it.

use p2pt::trust::{Pin, SafetyCode, Trust};
use p2pt::{Peer, RejectReason};
use serde::Serialize;

/// Who a peer is.
#[derive(Debug, Serialize)]
pub(super) struct Who {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<String>,
    pub(super) trust: KnownTrust,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) safety_code: Option<KnownCode>,
}

impl Who {
    /// Who a peer is beside the one that is pinned under a name.
    pub(super) fn named(peer: &Peer, name: &str) -> Self {
        Self { trust: peer.trust_as(name).into(), ..peer.into() }
    }
}

impl From<&Peer> for Who {
    fn from(peer: &Peer) -> Self {
        Self {
            public_key: peer.public_key().map(|key| key.to_string()),
            trust: peer.trust().into(),
            safety_code: peer.safety_code().map(Into::into),
        }
    }
}

/// How far a peer is known.
#[derive(Debug, Serialize)]
#[serde(tag = "level", rename_all = "snake_case")]
pub(super) enum KnownTrust {
    Changed {
        name: String,
        was: String,
        now: Option<String>,
    },
    Unsigned,
    FirstUse {
        through: usize,
    },
    Vouched {
        through: usize,
        of: usize,
    },
    Pinned {
        name: String,
    },
    /// One of a library that is newer than this program.
    Other,
}

impl From<Trust> for KnownTrust {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Changed { name, was, now } => {
                Self::Changed { name, was: was.to_string(), now: now.map(|key| key.to_string()) }
            }
            Trust::Unsigned => Self::Unsigned,
            Trust::FirstUse { through } => Self::FirstUse { through },
            Trust::Vouched { through, of } => Self::Vouched { through, of },
            Trust::Pinned { name } => Self::Pinned { name },
            _ => Self::Other,
        }
    }
}

/// A safety code: the same twice, for the telephone and for two screens.
#[derive(Debug, Serialize)]
pub(super) struct KnownCode {
    pub(super) words: [&'static str; 3],
    pub(super) emoji: [char; 5],
}

impl From<SafetyCode> for KnownCode {
    fn from(code: SafetyCode) -> Self {
        Self { words: code.words(), emoji: code.emoji().map(|emoji| emoji.symbol) }
    }
}

/// A key that is pinned.
#[derive(Debug, Serialize)]
pub(super) struct KnownPin {
    pub(super) name: String,
    pub(super) public_key: String,
}

impl From<Pin> for KnownPin {
    fn from(pin: Pin) -> Self {
        Self { name: pin.name, public_key: pin.key.to_string() }
    }
}

/// A reason as programs read it.
pub(super) fn code(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Full => "full",
        RejectReason::Duplicate => "duplicate",
        RejectReason::Busy => "busy",
        RejectReason::Filtered => "filtered",
        RejectReason::Banned => "banned",
        RejectReason::NotTheSamePeer => "not_the_same_peer",
        RejectReason::Unsigned => "unsigned",
        RejectReason::BadSignature => "bad_signature",
        RejectReason::Replayed => "replayed",
        RejectReason::WrongKey => "wrong_key",
        RejectReason::WrongRoom => "wrong_room",
        RejectReason::NotConfirmed => "not_confirmed",
        RejectReason::NotVouched { .. } => "not_vouched",
        RejectReason::WrongCode { .. } => "wrong_code",
        RejectReason::CodeVoid => "code_void",
        RejectReason::Refused => "refused",
        _ => "other",
    }
}
