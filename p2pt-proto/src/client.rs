//! The frames that peers send to a tracker.

use serde::de::SeqAccess;
use serde::ser::{Serialize, Serializer};

use crate::error::{DecodeError, DecodeErrorKind, Fault, FieldProblem, shortened};
use crate::id::{InfoHash, OfferId, PeerId};
use crate::wire::{self, Action, BinaryString, Description, Field, FromField, RawDescription, SdpType, object_field};

/// A frame from a peer to a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientMessage {
    /// The peer is in a swarm or leaves it, and may bring offers.
    Announce(Announce),
    /// The peer answers an offer that the tracker forwarded to it.
    Answer(AnswerRequest),
    /// The peer asks how many members swarms have.
    Scrape(ScrapeRequest),
}

impl ClientMessage {
    /// The frame: one JSON object, to be sent as a text message.
    pub fn encode(&self) -> String {
        match self {
            Self::Announce(announce) => {
                let sdps = announce.offers.iter().flatten().map(|offer| offer.sdp.as_str());
                wire::print_with(&AnnounceFrame::from(announce), sdps)
            }
            Self::Answer(answer) => wire::print_with(&AnswerFrame::from(answer), [answer.sdp.as_str()]),
            Self::Scrape(scrape) => wire::print(&ScrapeFrame::from(scrape)),
        }
    }

    /// Reads a frame.
    ///
    /// An announce with an `answer` is an [`Answer`](Self::Answer); what else it carries is ignored.
    ///
    /// # Errors
    ///
    /// If the frame is not one JSON object, its action is not known, or a field that its action needs is missing or
    /// unusable.
    pub fn decode(frame: impl AsRef<[u8]>) -> Result<Self, DecodeError> {
        let mut raw: RawRequest = wire::parse(frame.as_ref())?;
        let info_hash = match &raw.info_hash {
            Field::Valid(Hashes::One(hash)) => Some(*hash),
            _ => None,
        };
        let failed = |kind, action| DecodeError::new(kind).with_context(action, info_hash);
        let action = std::mem::take(&mut raw.action).required("action").map_err(|fault| failed(fault.into(), None))?;
        match &action {
            Action::Announce => raw.announce().map_err(DecodeErrorKind::from),
            Action::Scrape => raw.scrape().map_err(DecodeErrorKind::from),
            Action::Other(name) => Err(DecodeErrorKind::UnknownAction { found: shortened(name) }),
        }
        .map_err(|kind| failed(kind, Some(action)))
    }
}

/// Announces that a peer is in a swarm, or leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The announcing peer. Trackers expect one per socket.
    pub peer_id: PeerId,
    /// What happened. Leave it out of periodic announces: two of four trackers close the socket on `update`.
    pub event: Option<AnnounceEvent>,
    /// How many peers are wanted. Two of four trackers forward no offers without it.
    pub numwant: Option<u32>,
    /// Bytes uploaded; no known tracker reads it.
    pub uploaded: Option<u64>,
    /// Bytes downloaded; no known tracker reads it.
    pub downloaded: Option<u64>,
    /// Bytes still wanted. With 0 the peer counts as complete, otherwise as incomplete.
    pub left: Option<u64>,
    /// The `tracker id` of an earlier reply, echoed.
    pub tracker_id: Option<String>,
    /// Offers, each to be forwarded to at most one other member of the swarm.
    ///
    /// Trackers forward at most 10 to 82 of them and drop the rest; one of them accepts no frame above 16 KiB.
    pub offers: Option<Vec<Offer>>,
}

impl Announce {
    /// An announce with nothing but the ids.
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self {
            info_hash,
            peer_id,
            event: None,
            numwant: None,
            uploaded: None,
            downloaded: None,
            left: None,
            tracker_id: None,
            offers: None,
        }
    }

    /// Sets what happened.
    #[must_use]
    pub fn event(self, event: AnnounceEvent) -> Self {
        Self { event: Some(event), ..self }
    }

    /// Sets how many peers are wanted.
    #[must_use]
    pub fn numwant(self, numwant: u32) -> Self {
        Self { numwant: Some(numwant), ..self }
    }

    /// Sets the bytes uploaded.
    #[must_use]
    pub fn uploaded(self, uploaded: u64) -> Self {
        Self { uploaded: Some(uploaded), ..self }
    }

    /// Sets the bytes downloaded.
    #[must_use]
    pub fn downloaded(self, downloaded: u64) -> Self {
        Self { downloaded: Some(downloaded), ..self }
    }

    /// Sets the bytes still wanted.
    #[must_use]
    pub fn left(self, left: u64) -> Self {
        Self { left: Some(left), ..self }
    }

    /// Echoes the `tracker id` of an earlier reply.
    #[must_use]
    pub fn tracker_id(self, tracker_id: impl Into<String>) -> Self {
        Self { tracker_id: Some(tracker_id.into()), ..self }
    }

    /// Sets the offers. An announce with an empty list differs on the wire from one without a list.
    #[must_use]
    pub fn offers(self, offers: impl IntoIterator<Item = Offer>) -> Self {
        Self { offers: Some(offers.into_iter().collect()), ..self }
    }
}

/// What an announce reports.
///
/// An empty `event` decodes as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnnounceEvent {
    /// The peer joins the swarm.
    Started,
    /// The peer leaves the swarm. Some trackers do not reply to it.
    Stopped,
    /// The peer has become complete.
    Completed,
    /// A periodic announce. Better left out, see [`Announce::event`].
    Update,
    /// The peer remains a member, but wants no peers. Not every tracker knows this event.
    Paused,
}

impl AnnounceEvent {
    /// The event as it travels in a frame.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Update => "update",
            Self::Paused => "paused",
        }
    }
}

/// An offer that a peer brings to the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// Comes back with the answer.
    pub offer_id: OfferId,
    /// The session description; trackers do not read it.
    pub sdp: String,
}

impl Offer {
    /// An offer with all it has.
    pub fn new(offer_id: OfferId, sdp: impl Into<String>) -> Self {
        Self { offer_id, sdp: sdp.into() }
    }
}

/// Answers an offer that the tracker forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnswerRequest {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The answering peer.
    pub peer_id: PeerId,
    /// The peer that made the offer.
    pub to_peer_id: PeerId,
    /// The offer.
    pub offer_id: OfferId,
    /// The session description; trackers do not read it.
    pub sdp: String,
}

impl AnswerRequest {
    /// The answer of `peer_id` to the offer that `to_peer_id` made under `offer_id`.
    pub fn new(
        info_hash: InfoHash,
        peer_id: PeerId,
        to_peer_id: PeerId,
        offer_id: OfferId,
        sdp: impl Into<String>,
    ) -> Self {
        Self { info_hash, peer_id, to_peer_id, offer_id, sdp: sdp.into() }
    }
}

/// Asks how many members swarms have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrapeRequest {
    /// The swarms; empty asks for all, which some trackers refuse.
    ///
    /// On the wire none is left out, one is a string and several are an array. An array of one decodes too; an empty
    /// array is an error, since trackers do not take it for all.
    pub info_hashes: Vec<InfoHash>,
}

impl ScrapeRequest {
    /// A scrape of these swarms, or of all swarms if there are none.
    pub fn new(info_hashes: impl IntoIterator<Item = InfoHash>) -> Self {
        Self { info_hashes: info_hashes.into_iter().collect() }
    }
}

/// A request as received, each field for itself.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct RawRequest {
    action: Field<Action>,
    info_hash: Field<Hashes>,
    peer_id: Field<PeerId>,
    event: Field<Event>,
    numwant: Field<u32>,
    uploaded: Field<u64>,
    downloaded: Field<u64>,
    left: Field<u64>,
    trackerid: Field<String>,
    offers: Field<Offers>,
    to_peer_id: Field<PeerId>,
    offer_id: Field<OfferId>,
    answer: Field<RawDescription>,
}
object_field!(RawRequest);

impl RawRequest {
    fn announce(self) -> Result<ClientMessage, Fault> {
        let info_hash = self.info_hash.required("info_hash")?.one().map_err(|fault| fault.inside("info_hash"))?;
        let peer_id = self.peer_id.required("peer_id")?;
        if self.answer.is_given() {
            return Ok(ClientMessage::Answer(AnswerRequest {
                info_hash,
                peer_id,
                to_peer_id: self.to_peer_id.required("to_peer_id")?,
                offer_id: self.offer_id.required("offer_id")?,
                sdp: self.answer.sdp(SdpType::Answer)?,
            }));
        }
        Ok(ClientMessage::Announce(Announce {
            info_hash,
            peer_id,
            event: self.event.optional("event")?.and_then(|Event(event)| event),
            numwant: self.numwant.optional("numwant")?,
            uploaded: self.uploaded.optional("uploaded")?,
            downloaded: self.downloaded.optional("downloaded")?,
            left: self.left.optional("left")?,
            tracker_id: self.trackerid.optional("trackerid")?,
            offers: self.offers.optional("offers")?.map(|Offers(offers)| offers),
        }))
    }

    fn scrape(self) -> Result<ClientMessage, Fault> {
        let info_hashes = match self.info_hash.optional("info_hash")? {
            None => Vec::new(),
            Some(Hashes::One(hash)) => vec![hash],
            Some(Hashes::Many(hashes)) => hashes,
        };
        Ok(ClientMessage::Scrape(ScrapeRequest { info_hashes }))
    }
}

/// The `info_hash` of a request: a scrape may have several.
#[derive(Debug)]
enum Hashes {
    One(InfoHash),
    Many(Vec<InfoHash>),
}

impl Hashes {
    fn one(self) -> Result<InfoHash, Fault> {
        match self {
            Self::One(hash) => Ok(hash),
            Self::Many(_) => Err(Fault::new(FieldProblem::Type { expected: InfoHash::EXPECTED, found: "an array" })),
        }
    }
}

impl FromField for Hashes {
    const EXPECTED: &'static str = "an info hash or an array of them";

    fn from_text(text: &str) -> Result<Self, Fault> {
        InfoHash::from_text(text).map(Self::One)
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Result<Self, Fault>, A::Error> {
        let hashes = wire::collect(list, Ok::<InfoHash, Fault>)?;
        Ok(hashes.and_then(|hashes| match hashes.len() {
            0 => Err(Fault::new(FieldProblem::Empty)),
            _ => Ok(Self::Many(hashes)),
        }))
    }
}

#[derive(Debug)]
struct Event(Option<AnnounceEvent>);

impl FromField for Event {
    const EXPECTED: &'static str = "an announce event";

    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self(Some(match text {
            "" => return Ok(Self(None)),
            "started" => AnnounceEvent::Started,
            "stopped" => AnnounceEvent::Stopped,
            "completed" => AnnounceEvent::Completed,
            "update" => AnnounceEvent::Update,
            "paused" => AnnounceEvent::Paused,
            other => return Err(Fault::unexpected(Self::EXPECTED, other)),
        })))
    }
}

#[derive(Debug)]
struct Offers(Vec<Offer>);

impl FromField for Offers {
    const EXPECTED: &'static str = "an array";

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Result<Self, Fault>, A::Error> {
        let offers = wire::collect(list, |raw: RawOffer| {
            Ok(Offer { sdp: raw.offer.sdp(SdpType::Offer)?, offer_id: raw.offer_id.required("offer_id")? })
        })?;
        Ok(offers.map(Self))
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct RawOffer {
    offer: Field<RawDescription>,
    offer_id: Field<OfferId>,
}
object_field!(RawOffer);

#[derive(serde::Serialize)]
struct AnnounceFrame<'a> {
    action: &'static str,
    info_hash: BinaryString<InfoHash>,
    peer_id: BinaryString<PeerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numwant: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uploaded: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downloaded: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trackerid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offers: Option<OfferFrames<'a>>,
}

impl<'a> From<&'a Announce> for AnnounceFrame<'a> {
    fn from(announce: &'a Announce) -> Self {
        Self {
            action: Action::ANNOUNCE,
            info_hash: BinaryString(announce.info_hash),
            peer_id: BinaryString(announce.peer_id),
            event: announce.event.map(AnnounceEvent::as_str),
            numwant: announce.numwant,
            uploaded: announce.uploaded,
            downloaded: announce.downloaded,
            left: announce.left,
            trackerid: announce.tracker_id.as_deref(),
            offers: announce.offers.as_deref().map(OfferFrames),
        }
    }
}

struct OfferFrames<'a>(&'a [Offer]);

impl Serialize for OfferFrames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|offer| OfferFrame {
            offer: Description::new(SdpType::Offer, &offer.sdp),
            offer_id: BinaryString(offer.offer_id),
        }))
    }
}

#[derive(serde::Serialize)]
struct OfferFrame<'a> {
    offer: Description<'a>,
    offer_id: BinaryString<OfferId>,
}

#[derive(serde::Serialize)]
struct AnswerFrame<'a> {
    action: &'static str,
    info_hash: BinaryString<InfoHash>,
    peer_id: BinaryString<PeerId>,
    to_peer_id: BinaryString<PeerId>,
    offer_id: BinaryString<OfferId>,
    answer: Description<'a>,
}

impl<'a> From<&'a AnswerRequest> for AnswerFrame<'a> {
    fn from(answer: &'a AnswerRequest) -> Self {
        Self {
            action: Action::ANNOUNCE,
            info_hash: BinaryString(answer.info_hash),
            peer_id: BinaryString(answer.peer_id),
            to_peer_id: BinaryString(answer.to_peer_id),
            offer_id: BinaryString(answer.offer_id),
            answer: Description::new(SdpType::Answer, &answer.sdp),
        }
    }
}

#[derive(serde::Serialize)]
struct ScrapeFrame {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash: Option<ScrapedHashes>,
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum ScrapedHashes {
    One(BinaryString<InfoHash>),
    Many(Vec<BinaryString<InfoHash>>),
}

impl From<&ScrapeRequest> for ScrapeFrame {
    fn from(scrape: &ScrapeRequest) -> Self {
        let info_hash = match *scrape.info_hashes {
            [] => None,
            [hash] => Some(ScrapedHashes::One(BinaryString(hash))),
            ref hashes => Some(ScrapedHashes::Many(hashes.iter().copied().map(BinaryString).collect())),
        };
        Self { action: Action::SCRAPE, info_hash }
    }
}
