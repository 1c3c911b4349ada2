//! What goes wrong at trackers.

use std::time::Duration;

use p2pt_proto::{InfoHash, OddField, OfferId, PeerId};
use thiserror::Error;

use crate::ConnectError;

/// Something that went wrong at a tracker, and that the client copes with.
///
/// A client reports each kind, which is a variant of this, at most once a minute, and says how many it left out
/// ([`TrackerEvent::Warning`](crate::TrackerEvent)).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrackerWarning {
    /// An attempt to connect failed; there will be another.
    #[error("cannot connect: {error}; next attempt in {retry_in:.1?}")]
    ConnectFailed {
        /// Why.
        error: ConnectError,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// An open socket was lost; there will be another.
    #[error("connection lost: {end}; next attempt in {retry_in:.1?}")]
    Disconnected {
        /// How.
        end: SocketEnd,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// The tracker does not reply to announces, though the socket is open. They are repeated; this warning is not,
    /// until there was a reply. Some trackers ignore a peer id that they still know from a lost connection, for up to
    /// 210 s.
    #[error("no reply to announces for {info_hash} in {waited:.1?}")]
    Timeout {
        /// For which swarm.
        info_hash: InfoHash,
        /// Since the first announce without a reply.
        waited: Duration,
    },
    /// The tracker takes more than five seconds to reply. Not repeated until a reply came sooner.
    #[error("a reply for {info_hash} took {took:.1?}")]
    Slow {
        /// For which swarm.
        info_hash: InfoHash,
        /// How long this reply took.
        took: Duration,
    },
    /// The tracker wants to be asked at an interval that makes no sense, under five seconds or over a day.
    #[error("an announce interval of {named:?} is absurd; {used:?} is used")]
    AbsurdInterval {
        /// The interval that the tracker named.
        named: Duration,
        /// What is used in its place.
        used: Duration,
    },
    /// Frames arrive for swarms that were not joined, more than a few late ones after leaving; they are ignored.
    #[error("frames arrive for swarms that were not joined, such as {info_hash}")]
    ForeignSwarm {
        /// One of these swarms.
        info_hash: InfoHash,
    },
    /// Answers arrive to offers that were never made, have ended, or are ours; more than a few late ones. They are
    /// ignored.
    #[error("answers arrive for {info_hash} that no offer awaits")]
    StrayAnswers {
        /// In which swarm.
        info_hash: InfoHash,
    },
    /// Another node seems to take part in a swarm under this node's peer id. Trackers give one of the two what is meant for
    /// the other, and peers that are connected to one reject the other, so at least one of them is not met; each node
    /// needs an id of its own. Reported at most once a minute.
    ///
    /// A node that has one tracker under two URLs, such as those of its `ws` and of its `wss` port, sees the same: the
    /// tracker takes it for two. It is met all the same, over one of them; the other URL is to be removed. And a tracker,
    /// or a stranger by way of a tracker that passes on every answer, can make it seem so.
    ///
    /// Not every tracker lets it be seen: at bittorrent-tracker, wt-tracker and openwebtorrent-tracker two nodes with one id see
    /// nothing of it as long as no third peer answers their offers.
    #[error(
        "this node's peer id seems to be in use in {info_hash} by another node, or by this one under another URL of the same tracker: {sign}"
    )]
    PeerIdInUse {
        /// In which swarm.
        info_hash: InfoHash,
        /// By what that was seen.
        sign: PeerIdSign,
    },
    /// More offers of other peers arrive than may ([`ClientConfig::max_incoming_offers_per_minute`](crate::ClientConfig)
    /// or too large ones); the rest of this minute's are ignored.
    #[error("too many or too large offers arrive for {info_hash}; some are ignored")]
    OfferFlood {
        /// In which swarm.
        info_hash: InfoHash,
    },
    /// The tracker sent a frame that is not understood; it was ignored.
    #[error("frame not understood: {reason}")]
    BadFrame {
        /// What is wrong with it, shortened to 256 characters.
        reason: String,
    },
    /// Optional fields of a frame do not hold what they should. The frame was used all the same, with what JavaScript would
    /// make of them; the tracker's operator may want to know.
    #[error("odd fields in a frame: {}", listed(.fields))]
    OddFields {
        /// Which ones, the first eight.
        fields: Vec<OddField>,
    },
    /// The tracker refused something.
    #[error("the tracker reports a failure: {reason}")]
    Failure {
        /// The tracker's words, shortened to 256 characters.
        reason: String,
        /// What it is about, if the tracker says.
        info_hash: Option<InfoHash>,
    },
    /// The tracker warns of something.
    #[error("the tracker warns: {message}")]
    Message {
        /// The tracker's words, shortened to 256 characters.
        message: String,
        /// What it is about.
        info_hash: InfoHash,
    },
    /// An answer could not be sent: there is no socket, too many answers wait, it is too large, or its swarm was left.
    #[error("an answer to {to} was not sent")]
    AnswerDropped {
        /// In which swarm.
        info_hash: InfoHash,
        /// The peer that it was for.
        to: PeerId,
        /// To which offer.
        offer_id: OfferId,
    },
    /// The tracker did not answer a scrape in time, or too many scrapes were waiting already.
    #[error("a scrape was not answered")]
    ScrapeFailed {
        /// What was asked; empty for everything.
        info_hashes: Vec<InfoHash>,
    },
}

fn listed(fields: &[OddField]) -> String {
    fields.iter().map(OddField::to_string).collect::<Vec<_>>().join("; ")
}

/// By what it was seen that another node has this node's peer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PeerIdSign {
    /// An offer came under the id that is not of this node. Offers of this node that a tracker hands back are none.
    #[error("an offer came under it that this node did not make")]
    Offer,
    /// An answer came to an offer that this node never made.
    #[error("an offer was answered that this node did not make")]
    Answer,
    /// The tracker replies to scrapes and not to announces, as aquatic does while another socket holds the id.
    #[error("the tracker replies to scrapes but not to announces")]
    Silence,
    /// The tracker says so, as this library's does: another socket holds the id, and lives.
    #[error("the tracker refuses it as in use")]
    Refusal,
}

/// How an open socket ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SocketEnd {
    /// The tracker closed it in order.
    #[error("closed by the tracker{}", .reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Closed {
        /// The close code, if the tracker gave one.
        code: Option<u16>,
        /// The tracker's words, if it gave any.
        reason: Option<String>,
    },
    /// The connection broke, or ended without a word.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The tracker sent a message of more than 1 MiB.
    #[error("the tracker sent too large a message")]
    Oversized,
    /// The tracker sent what is not WebSocket.
    #[error("not WebSocket: {0}")]
    Protocol(String),
    /// The tracker took nothing for too long ([`ClientConfig::write_timeout`](crate::ClientConfig)).
    #[error("the tracker does not read")]
    DoesNotRead,
    /// A ping led to no sign of life in time ([`ClientConfig::ping_timeout`](crate::ClientConfig)).
    #[error("the tracker does not answer pings")]
    DoesNotAnswer,
    /// Nothing has been received since something was asked for, for as long as a ping may take to be sent and answered
    /// ([`ClientConfig::ping_interval`](crate::ClientConfig) and `ping_timeout`). This is how a browser, which sends no pings,
    /// notices that a socket is dead.
    #[error("the tracker is silent")]
    Silent,
    /// More arrived than was read in time, and it could not be made to wait: 4 MiB, in a browser.
    #[error("more than 4 MiB received and not read")]
    Unread,
    /// We closed it, for there was nothing to do.
    #[error("closed, having nothing to do")]
    Idle,
    /// We closed it, to look for members over the other address family.
    #[error("closed, to look for members over the other address family")]
    OtherFamily,
    /// We closed it, for the client was stopped.
    #[error("stopped")]
    Stopped,
}
