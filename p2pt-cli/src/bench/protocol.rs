//! What the two sides of a bench say to each other; see "The bench protocol" in the program's README.

use p2pt::{DecodeError, IdParseError, Payload, PeerId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the protocol. Partners of another one are not measured.
pub(super) const VERSION: u32 = 1;

/// The text that a partner answers in echo mode.
pub(super) const ECHO: &str = "ok";

/// Bytes of a message of the small-message test.
pub(super) const SMALL_BYTES: usize = 100;

/// Bytes of a raw frame: what every peer takes, JavaScript's too.
pub(super) const FRAME_BYTES: usize = 65_536;

/// Digits of the time with which a small message begins.
const STAMP_DIGITS: usize = 16;

/// What follows them.
const PADDING: &[u8; SMALL_BYTES - STAMP_DIGITS] = &[b'x'; SMALL_BYTES - STAMP_DIGITS];

/// The largest text a partner is asked to send, in bytes: the library's limit.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// The most messages or frames a partner is asked to send.
const MAX_SOURCE: u64 = 100_000_000;

/// The most nodes a partner is asked to start.
const MAX_NODES: usize = 100;

/// What the measurer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "bench", rename_all = "lowercase")]
pub(super) enum Request {
    /// Who are you? Answered by a [`Hello`].
    Hello,
    /// What time is it? Answered by a [`Time`].
    Clock,
    /// Answer every text from now on.
    Echo,
    /// Count from now on.
    Sink,
    /// What was counted? Answered by a [`Count`].
    Report,
    /// Send.
    Source(Source),
    /// Start nodes that meet another; for children of the measurer only.
    Peers(Peers),
}

impl Request {
    /// The request in a message, if it is one.
    pub(super) fn parse(payload: &Payload) -> Option<Result<Self, String>> {
        let object: Map<String, Value> = payload.as_json()?.parse().ok()?;
        // What has no such key is none of ours.
        object.contains_key("bench").then_some(())?;
        Some(
            Self::deserialize(Value::Object(object)).map_err(|error| format!("there is no such request here: {error}")),
        )
    }

    pub(super) fn payload(&self) -> Payload {
        to_payload(self)
    }
}

/// What a partner is to send, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frames: Option<u64>,
    bytes: usize,
}

/// What a partner is to send, of `bytes` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    Messages { count: u64, bytes: usize },
    Frames { count: u64, bytes: usize },
}

impl From<Load> for Source {
    fn from(load: Load) -> Self {
        match load {
            Load::Messages { count, bytes } => Self { messages: Some(count), frames: None, bytes },
            Load::Frames { count, bytes } => Self { messages: None, frames: Some(count), bytes },
        }
    }
}

impl TryFrom<Source> for Load {
    type Error = String;

    fn try_from(source: Source) -> Result<Self, String> {
        let bytes = source.bytes;
        let (load, count, max_bytes) = match (source.messages, source.frames) {
            (Some(count), None) => (Self::Messages { count, bytes }, count, MAX_TEXT_BYTES),
            (None, Some(count)) => (Self::Frames { count, bytes }, count, FRAME_BYTES),
            _ => return Err("either messages or frames can be asked for".to_owned()),
        };
        if count > MAX_SOURCE || bytes > max_bytes {
            return Err(format!("at most {MAX_SOURCE} of at most {max_bytes} bytes are sent"));
        }
        Ok(load)
    }
}

/// Nodes to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peers {
    pub(super) count: usize,
    pub(super) identifier: String,
    /// The id of the peer that they are to meet.
    pub(super) hub: String,
}

/// Nodes to start, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) count: usize,
    pub(super) identifier: String,
    pub(super) hub: PeerId,
}

impl TryFrom<Peers> for Visit {
    type Error = String;

    fn try_from(Peers { count, identifier, hub }: Peers) -> Result<Self, String> {
        if count > MAX_NODES {
            return Err(format!("at most {MAX_NODES} nodes are started"));
        }
        let hub = hub.parse().map_err(|error: IdParseError| format!("the hub: {error}"))?;
        Ok(Self { count, identifier, hub })
    }
}

/// Who a partner is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) bench: String,
    pub(super) version: u32,
    pub(super) name: String,
}

impl Hello {
    pub(super) fn ours() -> Self {
        let name = concat!("p2pt ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { bench: "hello".to_owned(), version: VERSION, name }
    }
}

/// What a partner's clock says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Time {
    pub(super) clock_us: f64,
}

/// It is done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) ready: bool,
}

/// What has arrived since the request to count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Count {
    /// Text messages.
    pub(super) messages: u64,
    /// Raw frames.
    pub(super) frames: u64,
    /// Bytes of both.
    pub(super) bytes: u64,
    /// From the first to the last arrival.
    pub(super) span_us: f64,
    /// Processor time of the whole process, if the partner knows.
    pub(super) cpu_us: Option<f64>,
    /// The partner's clock at the arrival of stamped messages minus their stamps: median, 99th percentile, maximum.
    pub(super) delays_us: Option<[f64; 3]>,
}

/// The message after the last that a partner was asked to send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) bench: String,
    pub(super) cpu_us: Option<f64>,
}

impl Done {
    const NAME: &str = "done";

    pub(super) fn new(cpu_us: Option<f64>) -> Self {
        Self { bench: Self::NAME.to_owned(), cpu_us }
    }

    /// Whether a message is this.
    pub(super) fn is(payload: &Payload) -> bool {
        payload.parse::<Self>().is_ok_and(|done| done.bench == Self::NAME)
    }
}

/// A request was not carried out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
}

/// Why a response is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadAnswer {
    #[error("the partner refuses: {0}")]
    Refused(String),
    #[error("the partner's answer makes no sense: {0}")]
    Senseless(DecodeError),
}

/// Reads a response.
pub(super) fn answer<T: DeserializeOwned>(payload: &Payload) -> Result<T, BadAnswer> {
    payload.parse().map_err(|error| match payload.parse() {
        Ok(Refusal { error }) => BadAnswer::Refused(error),
        Err(_) => BadAnswer::Senseless(error),
    })
}

pub(super) fn to_payload(value: &impl Serialize) -> Payload {
    Payload::json(value).expect("numbers, text and names of fields can be written as JSON")
}

/// A small message that was sent at this time of the sender's clock, in microseconds.
pub(super) fn stamped(clock_us: u64) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(SMALL_BYTES);
    write!(text, "{clock_us:0STAMP_DIGITS$}").expect("a string takes all");
    text.push_str(std::str::from_utf8(PADDING).expect("ASCII"));
    text
}

/// When a message was sent, if it says so.
pub(super) fn stamp(text: &str) -> Option<f64> {
    let digits = text.as_bytes().get(..STAMP_DIGITS)?;
    let mut clock_us = 0_u64;
    for digit in digits {
        // Sixteen digits fit.
        clock_us = clock_us * 10 + u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(clock_us as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_read_as_they_are_written() {
        let peers = Peers { count: 20, identifier: "hub".to_owned(), hub: "ab".repeat(20) };
        for (request, text) in [
            (Request::Hello, json!({"bench": "hello"})),
            (Request::Clock, json!({"bench": "clock"})),
            (Request::Echo, json!({"bench": "echo"})),
            (Request::Sink, json!({"bench": "sink"})),
            (Request::Report, json!({"bench": "report"})),
            (
                Request::Source(Load::Messages { count: 3, bytes: 100 }.into()),
                json!({"bench": "source", "messages": 3, "bytes": 100}),
            ),
            (
                Request::Source(Load::Frames { count: 3, bytes: 65_536 }.into()),
                json!({"bench": "source", "frames": 3, "bytes": 65_536}),
            ),
            (
                Request::Peers(peers),
                json!({"bench": "peers", "count": 20, "identifier": "hub", "hub": "ab".repeat(20)}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&request).unwrap(), text);
            assert_eq!(Request::parse(&text.into()), Some(Ok(request)));
        }
    }

    #[test]
    fn what_is_no_request_is_told_from_one_that_is_not_known() {
        for other in [json!("hello"), json!(null), json!({"hello": "bench"}), json!([1])] {
            assert_eq!(Request::parse(&other.into()), None);
        }
        assert_eq!(Request::parse(&"ping123".into()), None);
        for unknown in [json!({"bench": "dance"}), json!({"bench": "source"}), json!({"bench": 7})] {
            let error = Request::parse(&unknown.into()).unwrap().unwrap_err();
            assert!(error.contains("no such request"), "{error}");
        }
        // What a later version adds to a request is no matter.
        let more = json!({"bench": "hello", "since": 2});
        assert_eq!(Request::parse(&more.into()), Some(Ok(Request::Hello)));
    }

    #[test]
    fn a_source_sends_one_kind_and_not_without_end() {
        for load in [Load::Messages { count: 2, bytes: 1_000_000 }, Load::Frames { count: 2, bytes: FRAME_BYTES }] {
            assert_eq!(Source::from(load).try_into(), Ok(load));
        }
        for load in [
            Load::Messages { count: MAX_SOURCE + 1, bytes: 1 },
            Load::Messages { count: 1, bytes: MAX_TEXT_BYTES + 1 },
            Load::Frames { count: 1, bytes: FRAME_BYTES + 1 },
        ] {
            assert!(Load::try_from(Source::from(load)).unwrap_err().contains("at most"), "{load:?}");
        }
        for (messages, frames) in [(None, None), (Some(1), Some(1))] {
            assert!(Load::try_from(Source { messages, frames, bytes: 1 }).unwrap_err().contains("either"));
        }
    }

    #[test]
    fn nodes_are_few_and_meet_somebody_who_may_exist() {
        let peers = |count, hub: &str| Peers { count, identifier: "hub".to_owned(), hub: hub.to_owned() };
        let hub = PeerId::from([0xab; 20]);
        let visit = Visit { count: MAX_NODES, identifier: "hub".to_owned(), hub };
        assert_eq!(Visit::try_from(peers(MAX_NODES, &hub.to_string())), Ok(visit));
        assert!(Visit::try_from(peers(MAX_NODES + 1, &hub.to_string())).unwrap_err().contains("at most"));
        assert!(Visit::try_from(peers(1, "nobody")).unwrap_err().starts_with("the hub: "));
    }

    #[test]
    fn answers_of_any_partner_are_read() {
        let hello: Hello = answer(&json!({"bench": "hello", "version": 1, "name": "chromium"}).into()).unwrap();
        assert_eq!((hello.version, hello.name.as_str()), (1, "chromium"));
        let count = json!({"messages": 2, "frames": 0, "bytes": 200, "span_us": 12, "cpu_us": null, "delays_us": null});
        let count: Count = answer(&count.into()).unwrap();
        assert_eq!((count.messages, count.span_us, count.cpu_us), (2, 12.0, None));
        let ours: Hello = answer(&to_payload(&Hello::ours())).unwrap();
        assert_eq!(ours.version, VERSION);
    }

    #[test]
    fn answers_that_say_no_or_nothing_are_told_apart() {
        let refused = answer::<Ready>(&json!({"error": "too many"}).into()).unwrap_err();
        assert_eq!(refused.to_string(), "the partner refuses: too many");
        for senseless in [Payload::from("ok"), json!({"ready": "yes"}).into(), json!(null).into()] {
            let error = answer::<Ready>(&senseless).unwrap_err();
            assert!(matches!(error, BadAnswer::Senseless(_)), "{error}");
        }
    }

    #[test]
    fn the_end_of_a_source_is_known() {
        assert!(Done::is(&to_payload(&Done::new(Some(1.5)))));
        assert!(Done::is(&json!({"bench": "done", "cpu_us": null}).into()));
        for other in [json!({"bench": "hello"}).into(), json!(1).into(), Payload::from("done")] {
            assert!(!Done::is(&other), "{other:?}");
        }
    }

    #[test]
    fn small_messages_carry_the_time() {
        let text = stamped(1_234_567);
        assert_eq!(text.len(), SMALL_BYTES);
        assert!(text.starts_with("0000000001234567x"), "{text}");
        assert_eq!(stamp(&text), Some(1_234_567.0));
        for other in ["", "ping123", "000000000123456", "00000000012345é7x", "000000000123456/xx"] {
            assert_eq!(stamp(other), None, "{other}");
        }
    }
}
