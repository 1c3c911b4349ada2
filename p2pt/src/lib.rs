//! Peers that share an identifier find each other and talk, with no server of their own.
//!
//! They meet under `info_hash = SHA-1(identifier)` on public WebTorrent trackers, which relay WebRTC offers and
//! answers; from then on they exchange text and JSON messages of any size, and raw binary frames, over data channels,
//! directly. The wire format is that of the JavaScript library p2pt 1.6, so a Rust program, a Node program and a
//! browser tab meet in the same swarm.
//!
//! ```toml
//! [dependencies]
//! p2pt = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! ```no_run
#![doc = include_str!("../examples/hello.rs")]
//! ```
//!
//! # Messages of your own types
//!
//! Text, numbers and JSON are sent as they are; whatever `serde` can write and read, by the methods whose names end in
//! `_json`. What goes wrong with either is one [`TypedError`].
//!
//! ```no_run
//! use p2pt::{Message, Peer, TypedError};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Question {
//!     city: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Answer {
//!     degrees: f64,
//! }
//!
//! // In a task of its own, so that the event loop goes on:
//! async fn ask(peer: Peer) -> Result<f64, TypedError> {
//!     let question = Question { city: "Ghent".into() };
//!     let answer = peer.request_json::<Answer>(&question).await?;
//!     Ok(answer.degrees)
//! }
//!
//! // In the event loop, for each `Event::Message`:
//! fn answer(message: &Message) -> Result<(), TypedError> {
//!     let question: Question = message.json()?;
//!     message.queue_response_json(&Answer { degrees: question.city.len() as f64 })
//! }
//! ```
//!
//! # What to expect
//!
//! - **Events.** For each peer: connected, its messages in order, closed. Read them promptly: unread messages are
//!   bounded per peer, and a peer whose inbox is full waits. Never await a response inside the event loop; spawn a
//!   task. One that is awaited there all the same stalls no other peer, and ends with [`RequestError::InboxFull`] or
//!   [`RequestError::Timeout`].
//! - **Delivery** is at most once, and in order, which only the failure of one of several channels can disturb. `Ok`
//!   from a send means that a channel accepted the whole message, not that it arrived: the wire format has no
//!   acknowledgements. A message whose channel fails half-way starts again on the peer's next channel. [`PeerClosed`]
//!   says how many bytes were never acknowledged.
//! - **Addresses.** Peers connect directly and so see each other's network addresses, and trackers see yours. With
//!   [`IcePolicy::RelayOnly`](transport::webrtc::IcePolicy) and a TURN server, peers see the server's address instead.
//! - **Trackers that misbehave.** Each has its own state, and none harms another: one that is down, slow, or makes up
//!   offers and answers costs the others no time and no places. [`Event::TrackerWarning`] says what is wrong.
//! - **Connections that fail.** [`Event::ConnectionFailed`] says why for every attempt with a peer that a tracker
//!   named, [`Event::ConnectionRejected`] which peers this side turned away. Offers without an answer are counted in
//!   [`Node::tracker_stats`].
//! - **Meeting all peers.** Trackers hand offers to members drawn at random. Forty nodes at one tracker have all met
//!   within a minute or two; ten within ten seconds; a few meet at once.
//! - **Identity.** A peer id is drawn for each run and proves nothing; a tracker could impersonate a peer.
//! - **Staying in charge.** [`Builder::admit`] asks the application about each peer before a connection is made;
//!   [`Peer::disconnect`] and [`Node::ban`] end one. [`Swarm::broadcast`] has no peer wait for a slow one, but returns
//!   when the slowest has the message; [`Peer::queue`] and [`Peer::try_send`] never wait.
//!
//! What this crate does not do: it relays nothing for others, stores nothing, and does not order messages between
//! different senders.
//!
//! # Tests of your own
//!
//! The module `testing` (feature `testing`) runs any number of nodes and trackers in one process, under virtual time and
//! from a seed: an hour of peers that come, go and fail takes seconds, and is the same each time.
//!
#![doc = include_str!("../OPERATING.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accounts;
mod admission;
mod builder;
mod channel;
mod connections;
mod counters;
mod engine;
mod error;
mod event;
mod inbox;
mod message;
mod messages;
mod node;
mod peer;
mod pending_send;
mod queue;
mod reading;
mod request;
mod responses;
mod sdp;
mod send_queue;
mod settings;
mod swarm;
#[cfg(feature = "testing")]
pub mod testing;
mod typed;

pub use admission::PeerRequest;
pub use builder::{Builder, P2pt};
pub use counters::NodeMetrics;
pub use error::{
    NodeError, QueueError, ReceiveError, RequestError, SendError, StartError, TryNextError, TrySendError, TypedError,
};
pub use event::{
    ConnectionFailed, ConnectionRejected, Data, Event, InvalidFrame, PeerClosed, RejectReason, SendFailed,
    TrackerConnected,
};
pub use message::Message;
pub use messages::Messages;
pub use node::{Node, TrackerStats};
pub use peer::Peer;
pub use pending_send::PendingSend;
pub use request::{PendingResponse, Request};
pub use responses::Responses;
pub use swarm::{Events, Swarm, SwarmKey};
pub use typed::{TypedRequest, TypedResponse};

pub use p2pt_messaging::{
    BudgetTooSmall, DecodeError, EncodeError, FrameError, IntoPayload, InvalidMessage, Json, JsonError, Limits,
    MessageId, MessageIdError, Payload,
};
pub use p2pt_proto::{IdParseError, InfoHash, OfferId, PeerId};
pub use p2pt_tracker::{AnnounceUrl, AnnounceUrlError, PeerIdSign, TrackerState, TrackerWarning};
pub use p2pt_transport::{
    ChannelClosed, ChannelStats, Frame, Role, SendFrameError, ServerProblem, ServerWarning, Transport, TransportError,
};

/// What [`Builder::connector`], [`Builder::client_config`] and the state of trackers are made of, and the tracker to embed
/// (feature `server`).
///
/// The client itself, for programs that talk to trackers without a node, is in the crate `p2pt-tracker`.
pub mod tracker {
    pub use p2pt_tracker::{
        AnnounceUrl, AnnounceUrlError, CertificateError, ClientConfig, ConnectError, Connector, Family, FieldProblem,
        HeaderError, HttpRefusal, LastError, OddField, Oddity, PeerIdSign, ProxyError, ProxyUrl, ProxyUrlError,
        RedirectReason, Route, Socket, SocketEnd, SwarmState, TrackerCounters, TrackerState, TrackerStatus,
        TrackerWarning, WebSocketConnector,
    };
    #[cfg(feature = "server")]
    pub use p2pt_tracker::{
        ForwardedHeader, Network, NetworkError, RefusalStats, ServerConfig, ServerStats, SwarmsConfig, SwarmsStats,
        TrackerListener, TrackerServer, TrackerService, raise_descriptor_limit,
    };
    #[cfg(feature = "server-tls")]
    pub use p2pt_tracker::{ServerTls, ServerTlsError};
}

/// What [`Builder::transport`] takes, and what a transport of one's own is made of.
///
/// The crate `p2pt-transport` has a conformance suite for it, and a network emulator for tests.
pub mod transport {
    pub use p2pt_transport::{
        AddCandidateError, Channel, ChannelClosed, ChannelInfo, ChannelStats, Fingerprint, Frame, FrameReceiver,
        FrameSender, MaybeSend, MaybeSync, PendingAnswer, PendingOffer, RemoteCandidates, Role, SendFrameError,
        Transport, TransportError, TrySendAllError, TrySendFrameError,
    };

    #[cfg(feature = "memory")]
    pub use p2pt_transport::memory;

    /// The WebRTC transport and its configuration, for [`Builder::webrtc`](crate::Builder::webrtc) (feature `webrtc`).
    #[cfg(feature = "webrtc")]
    pub mod webrtc {
        pub use p2pt_transport::webrtc::{
            DEFAULT_STUN_SERVERS, DatagramSocket, Destinations, IcePolicy, IceServer, MAX_FRAME_BYTES, Network,
            Received, Resolving, StunAnswer, WebRtc, WebRtcConfig, ask_stun_server,
        };
    }
}

/// The clock of the drivers: tokio's, so that paused time reaches the state machines.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod cost_tests;
