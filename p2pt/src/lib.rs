//! Peers that share an identifier find each other and talk, with no server of their own.
//!
//! They meet at public WebTorrent trackers, which pass on WebRTC offers and answers, and from then on exchange text, JSON and
//! bytes over data channels, directly. The wire format is that of the JavaScript library p2pt 1.6: a Rust program, a Node
//! program and a browser tab meet in the same swarm. Nodes of this library have keys: a tracker cannot read along between those
//! that know each other's, nor take a node's place ([`guide::trust`]).
//!
//! ```toml
//! [dependencies]
//! p2pt = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! serde = { version = "1", features = ["derive"] }    # for messages of your own types
//!
//! [dev-dependencies]
//! p2pt = { version = "0.1", features = ["testing"] }    # for tests in memory
//! ```
//!
//! # The least there is
//!
//! ```no_run
#![doc = include_str!("../examples/start.rs")]
//! ```
//!
//! Run it twice, anywhere, and the two say hello. Words: a *node* is what the builder starts; it is in a *swarm* for each
//! identifier that it has joined; the other members are its *peers*; and a *tracker* introduces them.
//!
//! # Messages of your own types
//!
//! Text, numbers and JSON are sent as they are; whatever `serde` can write and read, by the methods whose names end in
//! `_json`. Here two nodes talk in a `World`, in memory, which is how an application is tested, too: what `main` has below is
//! then in a `#[tokio::test]`.
//!
//! ```
//! use p2pt::{Event, Events, Message, Peer, TypedError};
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
//! // With a deadline, 30 s unless set.
//! async fn ask(peer: &Peer, city: &str) -> Result<f64, TypedError> {
//!     let answer: Answer = peer.request_json(&Question { city: city.into() }).await?;
//!     Ok(answer.degrees)
//! }
//!
//! fn answer(message: &Message) -> Result<(), TypedError> {
//!     let question: Question = message.json()?;
//!     message.queue_response_json(&Answer { degrees: question.city.len() as f64 })
//! }
//!
//! async fn serve(mut events: Events) {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             Event::Message(message) => match answer(&message) {
//!                 Ok(()) => {}
//!                 Err(error) => eprintln!("{} gets no answer: {error}", message.peer().id()),
//!             },
//!             event => println!("{event}"),
//!         }
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let world = p2pt::testing::World::new(7);
//!     // In a program: `P2pt::builder().tracker("wss://…").join("weather").await?`.
//!     let (alice, alice_events) = world.join("weather").await;
//!     let (_bob, bob_events) = world.join("weather").await;
//!     tokio::spawn(serve(alice_events));
//!     tokio::spawn(serve(bob_events));
//!     let bob = alice.wait_for_peer().await?;
//!     assert_eq!(ask(&bob, "Ghent").await?, 5.0);
//!     Ok(())
//! }
//! ```
//!
//! # Guide
//!
//! | page | teaches |
//! |---|---|
//! | [`guide::messages`] | text, JSON, types of one's own, bytes; which way to send, and how to read |
//! | [`guide::requests`] | questions and answers with deadlines, of one peer or of all |
//! | [`guide::promises`] | what holds and what does not: delivery, order, addresses, keys |
//! | [`guide::swarms`] | several swarms on one node, and moving between them |
//! | [`guide::admission`] | who may connect: filters, keys, handshakes, bans |
//! | [`guide::trust`] | who a peer is, and who may listen: keys, pins, policies, rooms with a secret, codes, agreement |
//! | [`guide::relay`] | STUN, TURN, and hiding one's address |
//! | [`guide::testing`] | tests in memory, under virtual time: an hour of peers that fail takes seconds |
//! | [`guide::embedded_tracker`] | a tracker inside a program |
//! | [`guide::tracker_tools`] | programs that talk to trackers alone |
//! | [`guide::own_transport`] | another transport than WebRTC, or one around it |
//! | [`guide::browser`] | the same program in a page, as WebAssembly |
//! | [`guide::limits`] | every limit, its default, what sets it, and what is seen when it is reached |
//! | [`guide::failures`] | what can fail, what is seen of it, what follows by itself, what helps |
//! | [`guide::operating`] | for the person who runs nodes: cost, ports, buffers, systemd, logs, metrics |
//! | [`guide::javascript`] | each call of the JavaScript library, and what it is called here |
//!
//! The types to begin with are [`Builder`], [`Swarm`], [`Events`] with [`Event`], and [`Peer`]; each method has an example. The
//! [examples](https://docs.rs/crate/p2pt/latest/source/examples/) are programs of a page each.
//!
//! # Features
//!
//! | feature | brings |
//! |---|---|
//! | `webrtc` (on by default) | the WebRTC transport, in a browser the browser's |
//! | `testing` | worlds of nodes and trackers under virtual time, for `[dev-dependencies]` |
//! | `server`, `server-tls` | the tracker to embed; TLS at its ports |
//! | `memory` | the transport in memory by itself |
//! | `metrics` | what a node counts, for the recorder of the crate `metrics` |
//! | `serde` | `Serialize` and `Deserialize` of ids and public keys, `Serialize` of [`NodeMetrics`] |
//! | `store` | pins in a JSON file (`trust::JsonFileStore`); not in a browser |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accounts;
mod admission;
mod builder;
mod candidates;
mod channel;
mod connections;
mod counters;
mod engine;
mod error;
mod event;
pub mod guide;
mod handshake;
mod inbox;
mod message;
mod messages;
mod mux;
mod node;
mod outgoing;
mod peer;
mod pending_send;
#[cfg(feature = "webrtc")]
mod platform;
mod queue;
mod reading;
mod request;
mod responses;
mod send_queue;
mod settings;
mod stream;
mod swarm;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trust;
mod typed;

pub use admission::PeerRequest;
pub use builder::{Builder, P2pt};
pub use counters::NodeMetrics;
pub use error::{
    NodeError, PinError, QueueError, ReceiveError, RequestError, SendError, StartError, TryNextError, TrySendError,
    TypedError,
};
pub use event::{
    ConnectionFailed, ConnectionRejected, Data, Event, InvalidFrame, PeerClosed, RejectReason, Returned, SendFailed,
    TrackerConnected, TrustChanged,
};
pub use handshake::{Accepted, Candidate, HandshakeError};
pub use message::Message;
pub use messages::Messages;
pub use node::{Node, TrackerStats};
pub use outgoing::OutgoingMessage;
pub use peer::Peer;
pub use pending_send::{PendingSend, SendProgress};
pub use request::{PendingResponse, Request};
pub use responses::Responses;
pub use stream::{PeerStream, StreamError, StreamReader, StreamWriter};
pub use swarm::{Events, Swarm, SwarmKey};
pub use typed::{TypedRequest, TypedResponse};

pub use p2pt_messaging::wire::Urgency;
pub use p2pt_messaging::{
    BudgetTooSmall, DecodeError, EncodeError, FrameError, IntoPayload, InvalidMessage, Json, JsonError, Limits,
    MessageId, MessageIdError, Payload,
};
pub use p2pt_proto::{IdParseError, InfoHash, OfferId, PeerId};
pub use p2pt_tracker::{AnnounceUrl, AnnounceUrlError, PeerIdSign, TrackerState, TrackerWarning};
pub use p2pt_transport::{
    ChannelClosed, ChannelStats, Frame, IcePolicy, IceServer, Role, SendFrameError, ServerProblem, ServerWarning,
    Transport, TransportError,
};
#[cfg(feature = "webrtc")]
pub use platform::WebRtcConfig;

use p2pt_rt::now;

/// What [`Builder::connector`], [`Builder::client_config`] and the state of trackers are made of, and the tracker to embed
/// (feature `server`).
///
/// The client itself, for programs that talk to trackers without a node, is in the crate `p2pt-tracker`.
pub mod tracker {
    pub use p2pt_tracker::{
        AnnounceUrl, AnnounceUrlError, ClientConfig, ConnectError, Connector, Family, FieldProblem, HttpRefusal,
        LastError, OddField, Oddity, PeerIdSign, ProxyError, RedirectReason, Route, Socket, SocketEnd, SwarmState,
        TrackerCounters, TrackerState, TrackerStatus, TrackerWarning, WebSocketConnector,
    };
    #[cfg(not(target_family = "wasm"))]
    pub use p2pt_tracker::{CertificateError, HeaderError, ProxyUrl, ProxyUrlError};
    #[cfg(feature = "server")]
    pub use p2pt_tracker::{
        ForwardedHeader, Network, NetworkError, RefusalStats, ServerConfig, ServerStats, StaticFiles, SwarmsConfig,
        SwarmsStats, TrackerListener, TrackerServer, TrackerService, raise_descriptor_limit,
    };
    #[cfg(feature = "server-tls")]
    pub use p2pt_tracker::{ServerTls, ServerTlsError};
}

/// What [`Builder::transport`] takes, and what a transport of one's own is made of.
///
/// The crate `p2pt-transport` has a conformance suite for it, and a network emulator for tests.
pub mod transport {
    pub use p2pt_transport::{
        AddCandidateError, Capabilities, Channel, ChannelClosed, ChannelInfo, ChannelStats, DEFAULT_STUN_SERVERS,
        Fingerprint, Frame, FrameReceiver, FrameSender, PendingAnswer, PendingOffer, RemoteCandidates, Role,
        SendFrameError, Transport, TransportError, TrySendAllError, TrySendFrameError,
    };

    #[cfg(feature = "memory")]
    pub use p2pt_transport::memory;

    /// The WebRTC transport of native platforms, and what only that one has (feature `webrtc`). Code that is to run in
    /// browsers too takes [`WebRtcConfig`](crate::WebRtcConfig), which is that of the platform.
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    pub mod webrtc {
        pub use p2pt_transport::webrtc::{
            DatagramSocket, Destinations, MAX_FRAME_BYTES, Network, Received, Resolving, StunAnswer, WebRtc,
            WebRtcConfig, ask_stun_server,
        };
    }

    /// The WebRTC transport of browsers (feature `webrtc`).
    #[cfg(all(feature = "webrtc", target_family = "wasm"))]
    pub use p2pt_transport::web;
}

#[cfg(test)]
mod cost_tests;
