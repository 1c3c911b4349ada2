//! The frames that a tracker sends to peers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::MapAccess;
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use crate::error::{DecodeError, DecodeErrorKind, Fault};
use crate::id::{InfoHash, OfferId, PeerId};
use crate::lenient::{Lenient, OddField, OddFields, Oddity, Reason, lenient_object};
use crate::wire::{self, Action, BinaryString, Description, Field, FromField, RawDescription, SdpType, Seconds};

/// What some programs put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A frame from a tracker to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerMessage {
    /// The reply to an announce, and from some trackers to an answer.
    Announced(AnnounceReply),
    /// Another member's offer.
    Offer(ForwardedOffer),
    /// Another member's answer to an offer of this peer.
    Answer(ForwardedAnswer),
    /// The reply to a scrape.
    Scrape(ScrapeReply),
    /// The tracker refuses something.
    Failure(Failure),
    /// An object that is none of the above, to be ignored or logged. It takes far more memory than its frame did, a
    /// hundred times in the worst case, so do not collect these.
    Unknown(Value),
}

impl TrackerMessage {
    /// The frame: one JSON object, to be sent as a text message.
    pub fn encode(&self) -> String {
        match self {
            Self::Announced(reply) => wire::print(&AnnounceReplyFrame::from(reply)),
            Self::Offer(ForwardedOffer { info_hash, peer_id, offer_id, sdp }) => {
                let frame = SignalFrame::new(*info_hash, *peer_id, *offer_id, SdpType::Offer, sdp);
                wire::print_with(&frame, [sdp.as_str()])
            }
            Self::Answer(ForwardedAnswer { info_hash, peer_id, offer_id, sdp }) => {
                let frame = SignalFrame::new(*info_hash, *peer_id, *offer_id, SdpType::Answer, sdp);
                wire::print_with(&frame, [sdp.as_str()])
            }
            Self::Scrape(reply) => wire::print(&ScrapeReplyFrame::from(reply)),
            Self::Failure(failure) => wire::print(&FailureFrame::from(failure)),
            Self::Unknown(value) => wire::print(value),
        }
    }

    /// Reads a frame.
    ///
    /// Some trackers relay a whole answer as the answering peer wrote it, with whatever that peer put beside the
    /// answer: an interval, a failure. So a frame in which the key `answer` or `offer` occurs, with any value, even
    /// `null`, is an [`Answer`](Self::Answer), an [`Offer`](Self::Offer) or an error, never anything else, and what
    /// else it carries is ignored. With both keys it is an answer. (No tracker can vouch for its `peer_id` either.)
    ///
    /// Of the other frames those with a `failure reason` are a [`Failure`](Self::Failure), whatever their action.
    ///
    /// Optional fields are read as leniently as JavaScript reads them, see [the crate](crate#how-strict-it-is);
    /// [`decode_noting`](Self::decode_noting) says which were odd.
    ///
    /// # Errors
    ///
    /// If the frame is not one JSON object, or a field that its kind of frame needs is missing or unusable.
    pub fn decode(frame: impl AsRef<[u8]>) -> Result<Self, DecodeError> {
        Self::decode_noting(frame).map(|(message, _)| message)
    }

    /// Reads a frame as [`decode`](Self::decode) does, and notes which of the optional fields that were read are odd, at
    /// most eight. A tracker with odd fields works all the same; its operator may want to know.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_noting(frame: impl AsRef<[u8]>) -> Result<(Self, Vec<OddField>), DecodeError> {
        let mut odd = OddFields::default();
        let frame = match frame.as_ref().strip_prefix(BYTE_ORDER_MARK) {
            Some(frame) => {
                odd.push("", Oddity::ByteOrderMark);
                frame
            }
            None => frame.as_ref(),
        };
        let mut raw: RawReply = wire::parse(frame)?;
        let info_hash = match raw.info_hash {
            Field::Valid(info_hash) => Some(info_hash),
            _ => None,
        };
        let action = std::mem::take(&mut raw.action).valid();
        match raw.into_message(action.as_ref(), &mut odd) {
            Ok(Some(message)) => Ok((message, odd.into_vec())),
            Ok(None) => serde_json::from_slice(frame)
                .map(|value| (Self::Unknown(value), odd.into_vec()))
                .map_err(|error| DecodeError::new(DecodeErrorKind::json(error))),
            Err(fault) => Err(DecodeError::new(fault).with_context(action, info_hash)),
        }
    }
}

/// The reply to an announce.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnounceReply {
    /// The swarm.
    pub info_hash: InfoHash,
    /// How long to wait until the next announce, as the tracker says: anything from zero to [`Duration::MAX`], so
    /// clamp it. The four known trackers say 20 s to 120 s. A fraction of a second travels as a binary floating-point
    /// number and may lose its last digits.
    pub interval: Option<Duration>,
    /// The shortest time between announces that the tracker tolerates, of the same range as `interval`.
    pub min_interval: Option<Duration>,
    /// To be echoed in later announces.
    pub tracker_id: Option<String>,
    /// Members that have everything.
    pub complete: Option<u32>,
    /// The other members. All members are counted here where none of them announces what is left.
    pub incomplete: Option<u32>,
    /// A text for people.
    pub warning: Option<String>,
}

impl AnnounceReply {
    /// A reply with nothing but the swarm.
    pub fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            interval: None,
            min_interval: None,
            tracker_id: None,
            complete: None,
            incomplete: None,
            warning: None,
        }
    }

    /// Sets how long to wait until the next announce.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval: Some(interval), ..self }
    }

    /// Sets the shortest time between announces.
    #[must_use]
    pub fn min_interval(self, min_interval: Duration) -> Self {
        Self { min_interval: Some(min_interval), ..self }
    }

    /// Sets the id to be echoed in later announces.
    #[must_use]
    pub fn tracker_id(self, tracker_id: impl Into<String>) -> Self {
        Self { tracker_id: Some(tracker_id.into()), ..self }
    }

    /// Sets how many members have everything.
    #[must_use]
    pub fn complete(self, complete: u32) -> Self {
        Self { complete: Some(complete), ..self }
    }

    /// Sets how many members do not have everything.
    #[must_use]
    pub fn incomplete(self, incomplete: u32) -> Self {
        Self { incomplete: Some(incomplete), ..self }
    }

    /// Sets the text for people.
    #[must_use]
    pub fn warning(self, warning: impl Into<String>) -> Self {
        Self { warning: Some(warning.into()), ..self }
    }
}

/// An offer on its way to a member of the swarm that the tracker picked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardedOffer {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer that made the offer, as it calls itself.
    pub peer_id: PeerId,
    /// The offer's id, to be copied into the answer.
    pub offer_id: OfferId,
    /// The session description; any text.
    pub sdp: String,
}

impl ForwardedOffer {
    /// The offer that `peer_id` made under `offer_id`.
    pub fn new(info_hash: InfoHash, peer_id: PeerId, offer_id: OfferId, sdp: impl Into<String>) -> Self {
        Self { info_hash, peer_id, offer_id, sdp: sdp.into() }
    }
}

/// An answer on its way to the peer that made the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardedAnswer {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer that answers, as it calls itself.
    pub peer_id: PeerId,
    /// The offer that is answered.
    pub offer_id: OfferId,
    /// The session description; any text.
    pub sdp: String,
}

impl ForwardedAnswer {
    /// The answer of `peer_id` to the offer `offer_id`.
    pub fn new(info_hash: InfoHash, peer_id: PeerId, offer_id: OfferId, sdp: impl Into<String>) -> Self {
        Self { info_hash, peer_id, offer_id, sdp: sdp.into() }
    }
}

/// The reply to a scrape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScrapeReply {
    /// The swarms asked for. Some trackers leave out those they do not know, others give zeros.
    pub files: BTreeMap<InfoHash, ScrapeStats>,
    /// The shortest time between scrapes that the tracker tolerates; anything, like an announce interval.
    pub min_request_interval: Option<Duration>,
}

impl ScrapeReply {
    /// A reply about these swarms.
    pub fn new(files: impl IntoIterator<Item = (InfoHash, ScrapeStats)>) -> Self {
        Self { files: files.into_iter().collect(), min_request_interval: None }
    }

    /// Sets the shortest time between scrapes.
    #[must_use]
    pub fn min_request_interval(self, min_request_interval: Duration) -> Self {
        Self { min_request_interval: Some(min_request_interval), ..self }
    }
}

/// How many members a swarm has: `complete` and `incomplete` together. Nodes of p2pt count as incomplete, since they have
/// no file to complete. What the tracker does not say is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScrapeStats {
    /// Members that have everything.
    pub complete: u32,
    /// The other members.
    pub incomplete: u32,
    /// How often the swarm's content has been completed; trackers report `complete` or zero.
    pub downloaded: u32,
}

impl ScrapeStats {
    /// Counts of one swarm.
    pub fn new(complete: u32, incomplete: u32, downloaded: u32) -> Self {
        Self { complete, incomplete, downloaded }
    }
}

/// The tracker refuses something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// A text for people.
    pub reason: String,
    /// The action of the refused frame, if the tracker says it.
    pub action: Option<String>,
    /// The swarm of the refused frame, if the tracker says it.
    pub info_hash: Option<InfoHash>,
}

impl Failure {
    /// A failure that says nothing but its reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), action: None, info_hash: None }
    }

    /// Sets the action of the refused frame.
    #[must_use]
    pub fn action(self, action: impl Into<String>) -> Self {
        Self { action: Some(action.into()), ..self }
    }

    /// Sets the swarm of the refused frame.
    #[must_use]
    pub fn info_hash(self, info_hash: InfoHash) -> Self {
        Self { info_hash: Some(info_hash), ..self }
    }
}

lenient_object! {
    /// A frame as received. What decides for whom a signal is and what it says must not be ambiguous.
    struct RawReply {
        last action: Action = "action",
        once info_hash: InfoHash = "info_hash",
        once peer_id: PeerId = "peer_id",
        once offer_id: OfferId = "offer_id",
        once offer: RawDescription = "offer",
        once answer: RawDescription = "answer",
        last interval: Lenient<Seconds> = "interval",
        last min_interval: Lenient<Seconds> = "min interval",
        last tracker_id: Lenient<String> = "tracker id",
        last complete: Lenient<u32> = "complete",
        last incomplete: Lenient<u32> = "incomplete",
        last warning: Lenient<String> = "warning message",
        last failure: Lenient<Reason> = "failure reason",
        last files: Files = "files",
        last flags: RawFlags = "flags",
    }
}

impl RawReply {
    /// The message, or none if it is not a known one.
    fn into_message(mut self, action: Option<&Action>, odd: &mut OddFields) -> Result<Option<TrackerMessage>, Fault> {
        if self.answer.is_present() {
            return Ok(Some(TrackerMessage::Answer(ForwardedAnswer {
                info_hash: self.info_hash.required("info_hash")?,
                peer_id: self.peer_id.required("peer_id")?,
                offer_id: self.offer_id.required("offer_id")?,
                sdp: self.answer.sdp(SdpType::Answer)?,
            })));
        }
        if self.offer.is_present() {
            return Ok(Some(TrackerMessage::Offer(ForwardedOffer {
                info_hash: self.info_hash.required("info_hash")?,
                peer_id: self.peer_id.required("peer_id")?,
                offer_id: self.offer_id.required("offer_id")?,
                sdp: self.offer.sdp(SdpType::Offer)?,
            })));
        }
        odd.append(std::mem::take(&mut self.odd));
        if let Some(Reason(reason)) = odd.convert("failure reason", std::mem::take(&mut self.failure)) {
            let action = action.map(|action| action.name().to_owned());
            return Ok(Some(TrackerMessage::Failure(Failure { reason, action, info_hash: self.info_hash.valid() })));
        }
        match action {
            Some(Action::Announce) => self.announced(odd).map(TrackerMessage::Announced).map(Some),
            Some(Action::Scrape) => self.scraped(odd).map(TrackerMessage::Scrape).map(Some),
            Some(Action::Other(_)) | None => Ok(None),
        }
    }

    fn announced(self, odd: &mut OddFields) -> Result<AnnounceReply, Fault> {
        Ok(AnnounceReply {
            info_hash: self.info_hash.required("info_hash")?,
            interval: odd.convert("interval", self.interval).map(|Seconds(interval)| interval),
            min_interval: odd.convert("min interval", self.min_interval).map(|Seconds(interval)| interval),
            tracker_id: odd.convert("tracker id", self.tracker_id),
            complete: odd.convert("complete", self.complete),
            incomplete: odd.convert("incomplete", self.incomplete),
            warning: odd.convert("warning message", self.warning),
        })
    }

    fn scraped(self, odd: &mut OddFields) -> Result<ScrapeReply, Fault> {
        let files = self.files.required("files")?;
        odd.append(files.odd);
        let min_request_interval = odd.tolerate("flags", self.flags).and_then(|mut flags| {
            let interval = flags.odd.convert("min_request_interval", flags.min_request_interval);
            odd.extend_inside("flags", flags.odd);
            interval
        });
        Ok(ScrapeReply {
            files: files.stats,
            min_request_interval: min_request_interval.map(|Seconds(interval)| interval),
        })
    }
}

#[derive(Debug)]
struct Files {
    stats: BTreeMap<InfoHash, ScrapeStats>,
    odd: OddFields,
}

impl FromField for Files {
    const EXPECTED: &'static str = "an object";

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Result<Self, Fault>, A::Error> {
        let (mut files, mut index) = (Self { stats: BTreeMap::new(), odd: OddFields::default() }, 0);
        while let Some((key, stats)) = object.next_entry::<Field<InfoHash>, Field<RawStats>>()? {
            if let Err(fault) = files.insert(index, key, stats) {
                wire::skip_object(&mut object)?;
                return Ok(Err(fault.inside(format_args!("[{index}]"))));
            }
            index += 1;
        }
        Ok(Ok(files))
    }
}

impl Files {
    /// Adds an entry; one that holds no numbers is passed over.
    fn insert(&mut self, index: usize, key: Field<InfoHash>, stats: Field<RawStats>) -> Result<(), Fault> {
        let info_hash = key.value()?;
        let mut stats = match stats.value() {
            Ok(stats) => stats,
            Err(fault) => {
                self.odd.push(format!("files[{index}]"), Oddity::PassedOver(fault.into_parts().1));
                return Ok(());
            }
        };
        let mut count = |name, field| stats.odd.convert(name, field).unwrap_or(0);
        let read = ScrapeStats {
            complete: count("complete", stats.complete),
            incomplete: count("incomplete", stats.incomplete),
            downloaded: count("downloaded", stats.downloaded),
        };
        self.odd.extend_inside(format_args!("files[{index}]"), stats.odd);
        if self.stats.insert(info_hash, read).is_some() {
            self.odd.push(format!("files[{index}]"), Oddity::Repeated);
        }
        Ok(())
    }
}

lenient_object! {
    struct RawStats {
        last complete: Lenient<u32> = "complete",
        last incomplete: Lenient<u32> = "incomplete",
        last downloaded: Lenient<u32> = "downloaded",
    }
}

lenient_object! {
    struct RawFlags {
        last min_request_interval: Lenient<Seconds> = "min_request_interval",
    }
}

#[derive(serde::Serialize)]
struct AnnounceReplyFrame<'a> {
    action: &'static str,
    info_hash: BinaryString<InfoHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Seconds>,
    #[serde(rename = "min interval", skip_serializing_if = "Option::is_none")]
    min_interval: Option<Seconds>,
    #[serde(rename = "tracker id", skip_serializing_if = "Option::is_none")]
    tracker_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<u32>,
    #[serde(rename = "warning message", skip_serializing_if = "Option::is_none")]
    warning: Option<&'a str>,
}

impl<'a> From<&'a AnnounceReply> for AnnounceReplyFrame<'a> {
    fn from(reply: &'a AnnounceReply) -> Self {
        Self {
            action: Action::ANNOUNCE,
            info_hash: BinaryString(reply.info_hash),
            interval: reply.interval.map(Seconds),
            min_interval: reply.min_interval.map(Seconds),
            tracker_id: reply.tracker_id.as_deref(),
            complete: reply.complete,
            incomplete: reply.incomplete,
            warning: reply.warning.as_deref(),
        }
    }
}

#[derive(serde::Serialize)]
struct SignalFrame<'a> {
    action: &'static str,
    info_hash: BinaryString<InfoHash>,
    peer_id: BinaryString<PeerId>,
    offer_id: BinaryString<OfferId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<Description<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Description<'a>>,
}

impl<'a> SignalFrame<'a> {
    fn new(info_hash: InfoHash, peer_id: PeerId, offer_id: OfferId, sdp_type: SdpType, sdp: &'a str) -> Self {
        let of_type = |wanted| (sdp_type == wanted).then(|| Description::new(sdp_type, sdp));
        Self {
            action: Action::ANNOUNCE,
            info_hash: BinaryString(info_hash),
            peer_id: BinaryString(peer_id),
            offer_id: BinaryString(offer_id),
            offer: of_type(SdpType::Offer),
            answer: of_type(SdpType::Answer),
        }
    }
}

#[derive(serde::Serialize)]
struct ScrapeReplyFrame<'a> {
    action: &'static str,
    files: FileFrames<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<FlagsFrame>,
}

impl<'a> From<&'a ScrapeReply> for ScrapeReplyFrame<'a> {
    fn from(reply: &'a ScrapeReply) -> Self {
        Self {
            action: Action::SCRAPE,
            files: FileFrames(&reply.files),
            flags: reply.min_request_interval.map(|interval| FlagsFrame { min_request_interval: Seconds(interval) }),
        }
    }
}

struct FileFrames<'a>(&'a BTreeMap<InfoHash, ScrapeStats>);

impl Serialize for FileFrames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(info_hash, stats)| {
            let ScrapeStats { complete, incomplete, downloaded } = *stats;
            (BinaryString(*info_hash), StatsFrame { complete, incomplete, downloaded })
        }))
    }
}

#[derive(serde::Serialize)]
struct StatsFrame {
    complete: u32,
    incomplete: u32,
    downloaded: u32,
}

#[derive(serde::Serialize)]
struct FlagsFrame {
    min_request_interval: Seconds,
}

#[derive(serde::Serialize)]
struct FailureFrame<'a> {
    #[serde(rename = "failure reason")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash: Option<BinaryString<InfoHash>>,
}

impl<'a> From<&'a Failure> for FailureFrame<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            reason: &failure.reason,
            action: failure.action.as_deref(),
            info_hash: failure.info_hash.map(BinaryString),
        }
    }
}
