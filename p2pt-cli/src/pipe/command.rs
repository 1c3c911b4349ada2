//! Commands: what comes in, one JSON object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt::trust::PublicKey;
use p2pt::{Frame, IdParseError, InfoHash, Json, MessageId, Payload, PeerId, Urgency};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::args::Secret;

/// The largest code that a varint of the wire holds, 2^62 - 1 (RFC 9000, section 16).
const MAX_CODE: u64 = (1 << 62) - 1;

/// One line of input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    Send(SendMessage),
    Respond(Respond),
    SendFrame(SendFrame),
    Join(NewIdentifier),
    Leave(InSwarm),
    SetIdentifier(NewIdentifier),
    Swarms(True),
    AddTracker(String),
    RemoveTracker(String),
    Trackers(InSwarm),
    RequestMorePeers(InSwarm),
    Peers(InSwarm),
    Stats(OnePeer),
    Disconnect(Farewell),
    Cancel(TakeBack),
    OpenStream(OpenStream),
    WriteStream(WriteStream),
    FinishStream(FinishStream),
    ResetStream(EndStream),
    StopStream(EndStream),
    #[serde(deserialize_with = "hex")]
    Ban(PeerId),
    #[serde(deserialize_with = "hex")]
    Unban(PeerId),
    Banned(True),
    Trust(AskedTrust),
    Pin(PinKey),
    Unpin(String),
    Pins(True),
    Stop(True),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    pub(super) peer: To,
    #[serde(default, deserialize_with = "payload")]
    message: Option<Payload>,
    bytes: Option<Base64>,
    pub(super) tag: Option<String>,
    pub(super) confirm: Option<Confirm>,
    #[serde(default, deserialize_with = "urgency")]
    pub(super) urgency: Option<Urgency>,
    #[serde(default)]
    pub(super) progress: bool,
    #[serde(default = "wait")]
    pub(super) wait: bool,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Respond {
    #[serde(deserialize_with = "hex")]
    pub(super) peer: PeerId,
    #[serde(deserialize_with = "message_id")]
    pub(super) id: MessageId,
    #[serde(default, deserialize_with = "payload")]
    message: Option<Payload>,
    bytes: Option<Base64>,
    pub(super) tag: Option<String>,
    pub(super) confirm: Option<Confirm>,
    #[serde(default)]
    pub(super) progress: bool,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendFrame {
    pub(super) peer: To,
    text: Option<String>,
    base64: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) confirm: Option<FrameConfirm>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

/// What ends a message with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Confirm {
    /// That a channel has taken it.
    Accepted,
    /// That the other side has it.
    Acknowledged,
    /// The response to it.
    Response,
}

/// What ends a frame with a tag; it has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FrameConfirm {
    /// That a channel has taken it.
    Accepted,
}

/// The swarm that a command is about: `true` is the first one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InSwarm {
    pub(super) swarm: Option<InfoHash>,
}

/// A peer of a swarm: an id alone is a peer of the first one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OnePeer {
    pub(super) peer: PeerId,
    pub(super) swarm: Option<InfoHash>,
}

/// A peer to part from, and the code and the words for it: an id alone is a peer of the first swarm.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) peer: PeerId,
    pub(super) code: u64,
    pub(super) text: String,
    pub(super) swarm: Option<InfoHash>,
}

/// The tag of what is to be taken back: text alone is one of the first swarm.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TakeBack {
    pub(super) of: String,
    pub(super) swarm: Option<InfoHash>,
}

/// A stream to open.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenStream {
    #[serde(deserialize_with = "hex")]
    pub(super) peer: PeerId,
    /// Text as it is, everything else as JSON.
    #[serde(default, deserialize_with = "payload")]
    pub(super) metadata: Option<Payload>,
    #[serde(default, deserialize_with = "urgency")]
    pub(super) urgency: Option<Urgency>,
    pub(super) tag: Option<String>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

/// Bytes for a stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteStream {
    pub(super) stream: u64,
    text: Option<String>,
    base64: Option<Base64>,
    pub(super) tag: Option<String>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

/// The end of what is written to a stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FinishStream {
    pub(super) stream: u64,
    pub(super) tag: Option<String>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

/// The end of one half of a stream, before its time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndStream {
    pub(super) stream: u64,
    #[serde(default, deserialize_with = "code")]
    pub(super) code: u64,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

/// What a swarm is to be called from now on: text alone is meant for the first one.
#[derive(Debug)]
pub(super) struct NewIdentifier {
    /// Or a link to a room.
    pub(super) identifier: String,
    pub(super) secret: Option<Secret>,
    pub(super) hidden_name: bool,
    pub(super) swarm: Option<InfoHash>,
}

/// A peer, and whether it is the one that is pinned under a name: an id alone is a peer of the first swarm.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AskedTrust {
    pub(super) peer: PeerId,
    pub(super) name: Option<String>,
    pub(super) swarm: Option<InfoHash>,
}

/// A key to pin under a name: that of a connected peer, or one that is known otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinKey {
    pub(super) name: String,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) peer: Option<PeerId>,
    #[serde(default, deserialize_with = "some_key")]
    pub(super) public_key: Option<PublicKey>,
    #[serde(default, deserialize_with = "some_hex")]
    pub(super) swarm: Option<InfoHash>,
}

/// What a message does unless it says otherwise.
fn wait() -> bool {
    true
}

/// The receivers of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Everyone,
    Peer(PeerId),
}

/// `true`, the only thing a command without arguments takes.
#[derive(Debug)]
pub(super) struct True;

/// A line that is no command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// The tag it carries all the same.
    pub(super) tag: Option<String>,
    pub(super) error: String,
}

impl Command {
    /// Reads a line; `None` for one with nothing on it.
    pub(super) fn parse(line: &[u8]) -> Result<Option<Self>, BadLine> {
        let bad = |error: String| BadLine { tag: None, error };
        let text = std::str::from_utf8(line).map_err(|error| bad(format!("the line is not UTF-8: {error}")))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| BadLine { tag: tag(text), error: format!("not a command: {error}") })
    }
}

impl Command {
    /// What its answer bears.
    pub(super) fn tag(&self) -> Option<&str> {
        match self {
            Self::Send(send) => send.tag.as_deref(),
            Self::Respond(respond) => respond.tag.as_deref(),
            Self::SendFrame(send) => send.tag.as_deref(),
            Self::OpenStream(open) => open.tag.as_deref(),
            Self::WriteStream(write) => write.tag.as_deref(),
            Self::FinishStream(finish) => finish.tag.as_deref(),
            _ => None,
        }
    }
}

impl SendMessage {
    /// What to send.
    pub(super) fn content(&mut self) -> Result<Payload, String> {
        content(self.message.take(), self.bytes.take())
    }
}

impl Respond {
    /// What to respond.
    pub(super) fn content(&mut self) -> Result<Payload, String> {
        content(self.message.take(), self.bytes.take())
    }
}

fn content(message: Option<Payload>, bytes: Option<Base64>) -> Result<Payload, String> {
    match (message, bytes) {
        (Some(message), None) => Ok(message),
        (None, Some(Base64(bytes))) => Ok(bytes.into()),
        _ => Err("what is sent is either a `message` or `bytes`".to_owned()),
    }
}

impl WriteStream {
    /// The bytes to write.
    pub(super) fn content(&mut self) -> Result<Vec<u8>, String> {
        match (self.text.take(), self.base64.take()) {
            (Some(text), None) => Ok(text.into_bytes()),
            (None, Some(Base64(bytes))) => Ok(bytes),
            _ => Err("what is written is either `text` or `base64`".to_owned()),
        }
    }
}

impl SendFrame {
    /// The frame to send.
    pub(super) fn frame(&mut self) -> Result<Frame, String> {
        match (self.text.take(), self.base64.take()) {
            (Some(text), None) => Ok(Frame::text(text)),
            (None, Some(base64)) => {
                STANDARD.decode(base64).map(Frame::binary).map_err(|error| format!("not base64: {error}"))
            }
            _ => Err("a frame is either `text` or `base64`".to_owned()),
        }
    }
}

/// The tag of a line that is JSON but no command.
fn tag(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Arguments {
        Tagged { tag: String },
        Other(IgnoredAny),
    }
    let line: BTreeMap<String, Arguments> = serde_json::from_str(line).ok()?;
    line.into_values().find_map(|arguments| match arguments {
        Arguments::Tagged { tag } => Some(tag),
        Arguments::Other(_) => None,
    })
}

impl<'de> Deserialize<'de> for To {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "*" { Ok(Self::Everyone) } else { parse_hex(&text).map(Self::Peer) }
    }
}

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match bool::deserialize(deserializer)? {
            true => Ok(Self),
            false => Err(D::Error::invalid_value(Unexpected::Bool(false), &"true")),
        }
    }
}

impl<'de> Deserialize<'de> for InSwarm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "hex")]
            swarm: InfoHash,
        }
        short_or_full(deserializer, |True| Self { swarm: None }, |full: Full| Self { swarm: Some(full.swarm) })
    }
}

impl<'de> Deserialize<'de> for OnePeer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "hex")]
            peer: PeerId,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        let short = |Hex(peer)| Self { peer, swarm: None };
        short_or_full(deserializer, short, |full: Full| Self { peer: full.peer, swarm: full.swarm })
    }
}

impl<'de> Deserialize<'de> for Farewell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "hex")]
            peer: PeerId,
            #[serde(default, deserialize_with = "code")]
            code: u64,
            text: Option<String>,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        let short = |Hex(peer)| Self { peer, code: 0, text: String::new(), swarm: None };
        short_or_full(deserializer, short, |Full { peer, code, text, swarm }| Self {
            peer,
            code,
            text: text.unwrap_or_default(),
            swarm,
        })
    }
}

impl<'de> Deserialize<'de> for TakeBack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            of: String,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        short_or_full(deserializer, |of| Self { of, swarm: None }, |Full { of, swarm }| Self { of, swarm })
    }
}

impl<'de> Deserialize<'de> for NewIdentifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            identifier: String,
            secret: Option<String>,
            #[serde(default)]
            hidden_name: bool,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        let short = |identifier| Self { identifier, secret: None, hidden_name: false, swarm: None };
        short_or_full(deserializer, short, |full: Full| {
            let Full { identifier, secret, hidden_name, swarm } = full;
            Self { identifier, secret: secret.map(|text| Secret(text.into())), hidden_name, swarm }
        })
    }
}

impl<'de> Deserialize<'de> for AskedTrust {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            #[serde(deserialize_with = "hex")]
            peer: PeerId,
            name: Option<String>,
            #[serde(default, deserialize_with = "some_hex")]
            swarm: Option<InfoHash>,
        }
        let short = |Hex(peer)| Self { peer, name: None, swarm: None };
        short_or_full(deserializer, short, |Full { peer, name, swarm }| Self { peer, name, swarm })
    }
}

/// Reads an object with all there is to say, or the one thing that must be said.
fn short_or_full<'de, D: Deserializer<'de>, S: DeserializeOwned, F: DeserializeOwned, T>(
    deserializer: D,
    from_short: impl FnOnce(S) -> T,
    from_full: impl FnOnce(F) -> T,
) -> Result<T, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    let read = if raw.starts_with('{') {
        serde_json::from_str(raw).map(from_full)
    } else {
        serde_json::from_str(raw).map(from_short)
    };
    read.map_err(D::Error::custom)
}

/// An id in hexadecimal digits.
struct Hex<T>(T);

impl<'de, T: FromStr<Err = IdParseError>> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_hex(&String::deserialize(deserializer)?).map(Self)
    }
}

fn hex<'de, D: Deserializer<'de>, T: FromStr<Err = IdParseError>>(deserializer: D) -> Result<T, D::Error> {
    Hex::deserialize(deserializer).map(|Hex(id)| id)
}

fn some_hex<'de, D: Deserializer<'de>, T: FromStr<Err = IdParseError>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Hex(id)| id))
}

/// Bytes, in base64.
#[derive(Debug)]
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(&*text).map(Self).map_err(|error| D::Error::custom(format_args!("not base64: {error}")))
    }
}

fn urgency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Urgency>, D::Error> {
    let of = |number| Urgency::new(number).ok_or_else(|| D::Error::custom("an urgency is 0 to 7"));
    Option::<u8>::deserialize(deserializer)?.map(of).transpose()
}

/// A code of the application's, which the wire has room for.
fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let code = Option::<u64>::deserialize(deserializer)?.unwrap_or_default();
    if code > MAX_CODE { Err(D::Error::custom(format_args!("a code is {MAX_CODE} at most"))) } else { Ok(code) }
}

/// A public key. What is none may be a secret one, and is not repeated.
fn some_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PublicKey>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

fn parse_hex<E: serde::de::Error, T: FromStr<Err = IdParseError>>(text: &str) -> Result<T, E> {
    text.parse().map_err(|error| E::custom(format_args!("{text:?} is no id: {error}")))
}

fn message_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MessageId, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    raw.get().parse().map_err(|error| D::Error::custom(format_args!("message id: {error}")))
}

/// A JSON string is sent as text, everything else as the JSON it is. Lone surrogates become U+FFFD.
fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Payload>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    let json = Json::from_text(raw.get()).map_err(D::Error::custom)?;
    let is_text = raw.get().starts_with('"');
    if is_text {
        json.parse().map(|text| Some(Payload::Text(text))).map_err(D::Error::custom)
    } else {
        Ok(Some(json.into()))
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
