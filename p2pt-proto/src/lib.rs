//! The WebTorrent WebSocket tracker protocol as data.
//!
//! Peers that share a swarm announce themselves to a tracker and reach each other through it: the tracker relays
//! WebRTC offers and answers and nothing else. This crate holds the frames of both directions, [`ClientMessage`]
//! from peer to tracker and [`TrackerMessage`] from tracker to peer. Each has `encode` and `decode`, so that clients,
//! servers and tools can share it.
//!
//! ```
//! use p2pt_proto::{Announce, AnnounceReply, ClientMessage, InfoHash, Offer, OfferId, PeerId, TrackerMessage};
//! use std::time::Duration;
//!
//! // A peer announces itself, with one offer for a member that the tracker picks.
//! let swarm = InfoHash::of("my-app");
//! let offer = Offer::new(OfferId::from([1; 20]), "v=0\r\n");
//! let announce = Announce::new(swarm, PeerId::from([7; 20])).numwant(1).offers([offer]);
//! let frame = ClientMessage::Announce(announce).encode();
//!
//! // The tracker reads the frame and replies.
//! let ClientMessage::Announce(announce) = ClientMessage::decode(&frame)? else { unreachable!() };
//! assert_eq!(announce.offers.map(|offers| offers.len()), Some(1));
//! let reply = AnnounceReply::new(announce.info_hash).interval(Duration::from_secs(120));
//! let frame = TrackerMessage::Announced(reply).encode();
//!
//! // The peer reads the reply.
//! match TrackerMessage::decode(&frame)? {
//!     TrackerMessage::Announced(reply) => assert_eq!(reply.interval, Some(Duration::from_secs(120))),
//!     other => println!("not for us: {other:?}"),
//! }
//!
//! // Whatever arrives is data or an error that names the field.
//! let error = ClientMessage::decode(r#"{"action":"announce","info_hash":"too short"}"#).unwrap_err();
//! assert_eq!(error.field(), Some("info_hash"));
//! # Ok::<(), p2pt_proto::DecodeError>(())
//! ```
//!
//! # How strict it is
//!
//! There is no specification, only four servers and a few clients. What they really send decodes; what none of them
//! sends and could do harm does not:
//!
//! - Encoding omits what is absent and never writes `null`, which some trackers punish with a closed socket. Decoding
//!   takes `null` for absent in every optional field: JavaScript writes `NaN` as `null` (the `left` of a torrent of
//!   unknown size). The one exception is [`TrackerMessage::decode`] on `offer` and `answer`, see there.
//! - An id is exactly 20 code points, none above U+00FF. Nothing is truncated or wrapped.
//! - Keys outside the protocol are ignored. In what a peer sends to a tracker, and in the ids and descriptions of what a
//!   tracker sends, a key given twice is an error.
//! - Counts are whole and not negative; one beyond its type's range is taken for the largest value. Intervals may be
//!   anything that is not negative; a huge one is [`Duration::MAX`](std::time::Duration::MAX). Clamping them to what is
//!   sensible is the caller's job.
//! - Optional fields of what a tracker sends cost nothing but themselves when they are odd, as in JavaScript. A number in a
//!   text is that number, a negative interval is zero, the fraction of a count is dropped; a number or `true` in place of a
//!   text is that as a text. What makes no sense so, a negative count or a list, counts as absent. Of a key given twice the
//!   last one counts, and a byte order mark is passed over. [`TrackerMessage::decode_noting`] says which fields were odd.
//! - An `sdp` is any string, as trackers relay it unread; it need not be SDP. A string with a lone surrogate escape
//!   (`"\ud800"`) is not text, can be repaired to nothing useful, and makes its frame an error.
//!
//! No input panics, and what decoding allocates is proportional to the input: limit the size of a frame where it is
//! received.
//!
//! # What it does not do
//!
//! It knows no socket, clock or state: when to announce, which offer an answer belongs to and what a frame is
//! worth are decided by its users (`p2pt-tracker` is one). It does not read SDP. HTTP and UDP trackers speak other
//! protocols.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod client;
mod error;
mod id;
mod lenient;
mod tracker;
mod wire;

pub use client::{Announce, AnnounceEvent, AnswerRequest, ClientMessage, Offer, ScrapeRequest};
pub use error::{DecodeError, DecodeErrorKind, FieldProblem, IdParseError, IdWireError, JsonError};
pub use id::{InfoHash, OfferId, PeerId};
pub use lenient::{OddField, Oddity};
pub use tracker::{AnnounceReply, Failure, ForwardedAnswer, ForwardedOffer, ScrapeReply, ScrapeStats, TrackerMessage};
