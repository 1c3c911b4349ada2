//! Keys, rooms, codes, and how far a peer is known, in plain values.

use p2pt::trust::{Code, NodeKey, Passphrase, PublicKey, RoomLink, RoomSecret, SafetyCode, Side, StoreError, Trust};
use p2pt::{InfoHash, Peer, PinError, RejectReason, SwarmKey};
use serde::Serialize;

use crate::{Fault, state};

/// A new key of a node as text, which is to be kept secret.
pub fn generate_key() -> String {
    NodeKey::random().reveal().as_str().to_owned()
}

/// The public key of a key as text.
///
/// # Errors
/// `invalid_key`.
pub fn public_key_of(key: &str) -> Result<String, Fault> {
    Ok(node_key(key)?.public_key().to_string())
}

/// A link to a new room of this name.
pub fn new_room_link(identifier: &str) -> String {
    RoomLink::draw(identifier, &mut rand::rng()).reveal().as_str().to_owned()
}

/// A passphrase of five random words.
pub fn new_passphrase() -> String {
    Passphrase::draw(&mut rand::rng()).reveal().to_owned()
}

/// A code of four random words.
pub fn new_code() -> String {
    Code::draw(&mut rand::rng()).reveal().as_str().to_owned()
}

pub(crate) fn node_key(text: &str) -> Result<NodeKey, Fault> {
    NodeKey::from_text(text).map_err(|error| Fault::new("invalid_key", format!("key: {error}")))
}

pub(crate) fn public_key(text: &str) -> Result<PublicKey, Fault> {
    text.parse().map_err(|error| Fault::new("invalid_key", format!("public key: {error}")))
}

/// The key of a swarm, as the two texts of the bindings say it:
///
/// | `kind` | `key` | `secret` |
/// |---|---|---|
/// | `identifier` | an identifier | |
/// | `infoHash` | 40 hexadecimal digits | |
/// | `sealed`, `hidden` | the link to a room | |
/// | `sealed`, `hidden` | the room's identifier | its passphrase |
/// | `shows`, `types` | a code | |
pub(crate) async fn swarm_key(key: String, kind: &str, secret: Option<String>) -> Result<SwarmKey, Fault> {
    let unreadable = |error: &dyn std::fmt::Display| Fault::new("invalid_secret", error.to_string());
    match kind {
        "identifier" => Ok(key.into()),
        "infoHash" => {
            let info_hash: InfoHash =
                key.parse().map_err(|error| Fault::invalid_id(&format!("info hash {key:?}"), &error))?;
            Ok(info_hash.into())
        }
        "sealed" | "hidden" => {
            let secret = match secret {
                None => RoomLink::parse(&key).map_err(|error| unreadable(&error))?.secret(),
                Some(passphrase) => {
                    let passphrase = Passphrase::new(&passphrase).map_err(|error| unreadable(&error))?;
                    stretch(key, passphrase).await?
                }
            };
            Ok(if kind == "hidden" { SwarmKey::hidden(&secret) } else { secret.into() })
        }
        "shows" | "types" => {
            let code = Code::parse(&key).map_err(|error| unreadable(&error))?;
            Ok(SwarmKey::code(code, if kind == "shows" { Side::Shows } else { Side::Types }))
        }
        _ => Err(Fault::new("unsupported", format!("{kind:?} is no way to name a swarm"))),
    }
}

/// Stretches a passphrase on a thread of the runtime for what blocks, so that nothing waits for it.
#[cfg(not(target_family = "wasm"))]
async fn stretch(identifier: String, passphrase: Passphrase) -> Result<RoomSecret, Fault> {
    let stretched = tokio::task::spawn_blocking(move || RoomSecret::from_passphrase(&identifier, &passphrase)).await;
    match stretched {
        Ok(Ok(secret)) => Ok(secret),
        Ok(Err(error)) => Err(Fault::new("other", error.to_string())),
        // The runtime ends.
        Err(_) => Err(Fault::new("stopped", "the process ends")),
    }
}

/// Stretches a passphrase. A page has one thread, which this holds for as long as it takes; what the page was about to show
/// is shown first.
#[cfg(target_family = "wasm")]
async fn stretch(identifier: String, passphrase: Passphrase) -> Result<RoomSecret, Fault> {
    p2pt_rt::sleep(std::time::Duration::ZERO).await;
    RoomSecret::from_passphrase(&identifier, &passphrase).map_err(|error| Fault::new("other", error.to_string()))
}

/// How far a peer is known.
#[derive(Serialize)]
#[serde(tag = "level", rename_all = "snake_case")]
pub(crate) enum TrustSaid {
    Changed { name: String, was: String, now: Option<String> },
    Unsigned,
    FirstUse { through: usize },
    Vouched { through: usize, of: usize },
    Pinned { name: String },
}

impl From<Trust> for TrustSaid {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Changed { name, was, now } => {
                Self::Changed { name, was: was.to_string(), now: now.map(|key| key.to_string()) }
            }
            Trust::FirstUse { through } => Self::FirstUse { through },
            Trust::Vouched { through, of } => Self::Vouched { through, of },
            Trust::Pinned { name } => Self::Pinned { name },
            _ => Self::Unsigned,
        }
    }
}

/// What two people compare.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SafetyCodeSaid {
    words: [&'static str; 3],
    emoji: [String; 5],
    emoji_names: [&'static str; 5],
}

impl From<SafetyCode> for SafetyCodeSaid {
    fn from(code: SafetyCode) -> Self {
        let emoji = code.emoji();
        Self {
            words: code.words(),
            emoji: emoji.map(|emoji| emoji.symbol.into()),
            emoji_names: emoji.map(|emoji| emoji.name),
        }
    }
}

/// What is known of who a peer is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Known {
    public_key: Option<String>,
    trust: TrustSaid,
    safety_code: Option<SafetyCodeSaid>,
}

impl Known {
    pub(crate) fn of(peer: &Peer) -> Self {
        Self {
            public_key: peer.public_key().map(|key| key.to_string()),
            trust: peer.trust().into(),
            safety_code: peer.safety_code().map(Into::into),
        }
    }
}

/// What is known of who a peer is, as JSON.
pub(crate) fn known(peer: &Peer) -> String {
    state::text(&Known::of(peer))
}

/// How far a peer is known as the one that is pinned under a name, as JSON.
pub(crate) fn trust_as(peer: &Peer, name: &str) -> String {
    state::text(&TrustSaid::from(peer.trust_as(name)))
}

/// Why a peer was not let in, as a code, with the numbers that belong to it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rejected {
    code: &'static str,
    is_forgery: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<usize>,
}

impl From<RejectReason> for Rejected {
    fn from(reason: RejectReason) -> Self {
        let plain = |code| Self { code, is_forgery: reason.is_forgery(), left: None, seen: None, wanted: None };
        match reason {
            RejectReason::Full => plain("full"),
            RejectReason::Duplicate => plain("duplicate"),
            RejectReason::Busy => plain("busy"),
            RejectReason::Filtered => plain("filtered"),
            RejectReason::Banned => plain("banned"),
            RejectReason::NotTheSamePeer => plain("not_the_same_peer"),
            RejectReason::Unsigned => plain("unsigned"),
            RejectReason::BadSignature => plain("bad_signature"),
            RejectReason::Replayed => plain("replayed"),
            RejectReason::WrongKey => plain("wrong_key"),
            RejectReason::WrongRoom => plain("wrong_room"),
            RejectReason::NotConfirmed => plain("not_confirmed"),
            RejectReason::WrongCode { left } => Self { left: Some(left), ..plain("wrong_code") },
            RejectReason::CodeVoid => plain("code_void"),
            RejectReason::Refused => plain("refused"),
            RejectReason::NotVouched { seen, wanted } => {
                Self { seen: Some(seen), wanted: Some(wanted), ..plain("not_vouched") }
            }
            _ => plain("other"),
        }
    }
}

impl From<PinError> for Fault {
    fn from(error: PinError) -> Self {
        let code = match &error {
            PinError::Stopped => "stopped",
            PinError::Store(StoreError::Taken { .. } | StoreError::Known { .. }) => "already_pinned",
            PinError::Store(StoreError::Name) => "invalid_option",
            _ => "other",
        };
        Self::new(code, error.to_string())
    }
}
