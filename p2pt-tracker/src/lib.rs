//! Client and embeddable server for WebTorrent WebSocket trackers.
//!
//! Trackers introduce peers to each other: members of a swarm announce themselves under its info hash, with WebRTC
//! offers that the tracker hands to other members, whose answers it relays back. This crate holds both sides. The
//! client is [`Session`], a state machine without sockets or clocks that decides when to connect, announce, repeat and
//! give up, and [`TrackerClient`], the tokio task that runs it over WebSockets (`ws://` and `wss://`). Behind the
//! feature `server` there is a tracker to embed, and behind `server-tls` TLS for its ports.
//!
//! Both at work: a tracker, and two members of a swarm that it introduces. Bob waits for offers; Alice makes one, for a member
//! that the tracker picks.
//!
//! ```
//! # #[cfg(not(all(feature = "client", feature = "server")))]
//! # fn main() {}
//! # #[cfg(all(feature = "client", feature = "server"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use p2pt_proto::{InfoHash, Offer, OfferId, PeerId};
//! use p2pt_tracker::{ClientConfig, ServerConfig, TrackerClient, TrackerEvent, TrackerServer, WebSocketConnector};
//! use tokio::sync::mpsc;
//!
//! let tracker = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await?;
//! // A client for each member; in one program only here. Its name comes back with each of its events.
//! let (events_tx, mut events) = mpsc::channel(64);
//! let member = |name: &'static str, id: u8| {
//!     // In a program `PeerId::random()` (feature `rand` of p2pt-proto) for each run: two clients of
//!     // one id take each other's place.
//!     let (id, connector) = (PeerId::from([id; 20]), Arc::new(WebSocketConnector::new()));
//!     TrackerClient::start(tracker.url(), id, ClientConfig::default(), connector, name, events_tx.clone())
//! };
//! let (alice, bob) = (member("Alice", 1), member("Bob", 2));
//! let swarm = InfoHash::of("my-app");
//! bob.join(swarm);
//!
//! let answer = loop {
//!     let (name, event) = events.recv().await.ok_or("the clients live")?;
//!     match event {
//!         // A real one, of a WebRTC stack: it reaches real peers, which try to connect.
//!         TrackerEvent::OffersWanted { info_hash, .. } if name == "Alice" => {
//!             alice.offers(info_hash, vec![Offer::new(OfferId::from([9; 20]), "the offer")]);
//!         }
//!         // No offer is a good answer, too.
//!         TrackerEvent::OffersWanted { info_hash, .. } => bob.offers(info_hash, Vec::new()),
//!         // Bob is a member. A tracker hands an offer to the members that there are, so Alice comes
//!         // second here.
//!         TrackerEvent::Announced { .. } if name == "Bob" => alice.join(swarm),
//!         TrackerEvent::Offer { info_hash, from, offer_id, sdp, .. } => {
//!             assert_eq!((name, &*sdp), ("Bob", "the offer"));
//!             bob.answer(info_hash, from, offer_id, "the answer".into());
//!         }
//!         TrackerEvent::Answer { sdp, .. } => break sdp,
//!         // What is wrong with the tracker, in words; the client goes on by itself.
//!         TrackerEvent::Warning { warning, .. } => eprintln!("{name}: {warning}"),
//!         _ => {}
//!     }
//! };
//! assert_eq!(answer, "the answer");
//!
//! alice.stop().await; // says `stopped`
//! bob.stop().await;
//! println!("{}", tracker.stats().to_json());
//! tracker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Trackers never list members: they count them ([`TrackerClient::scrape`]), and introduce them so. Making the offers and
//! opening the connections is what the crate `p2pt` does; its guide has a page on tools that talk to trackers alone.
//!
//! The server has limits for everything (`ServerConfig`), several ports, TLS, the PROXY protocol and metrics:
//! `TrackerServer::start` takes a `TrackerListener` for each port, and `TrackerService` serves what a program has accepted
//! itself. The README says more of it.
//!
//! The session alone, without a network: its outputs are what a driver would do.
//!
//! ```
//! use p2pt_proto::{InfoHash, PeerId};
//! use p2pt_tracker::{AnnounceUrl, ClientConfig, Input, Output, Session, TrackerEvent};
//!
//! # #[allow(clippy::disallowed_methods)]
//! let now = std::time::Instant::now();
//! let url = AnnounceUrl::parse("wss://tracker.example/announce")?;
//! let mut session = Session::new(url, PeerId::from([7; 20]), ClientConfig::default(), now);
//! session.handle_input(now, Input::Join(InfoHash::of("my-app")));
//! assert!(matches!(session.poll_output(), Some(Output::Connect { .. })));
//! assert!(matches!(session.poll_event(), Some(TrackerEvent::OffersWanted { count: 5, .. })));
//! # Ok::<(), p2pt_tracker::AnnounceUrlError>(())
//! ```
//!
//! # What it does not do
//!
//! It makes no connections between peers: offers and answers are strings here, made and used by its user. It verifies
//! nothing that other peers send: peer ids are claims, and SDP may be anything. A client serves one tracker; which peers
//! were met through several is for its user to find out.
//!
//! # What it has learned from real trackers
//!
//! - Every announce has a `numwant`, without which some trackers forward nothing, and is shorter than 15 KiB, since
//!   aquatic drops the connection at 16 KiB. An absent field is left out, never `null`.
//! - The interval is believed between 10 s and 120 s, and only in replies. Without a reply, an announce is repeated
//!   every 30 s: after a connection was lost, aquatic ignores the next one under the same peer id for up to 210 s.
//! - An offer that may have been forwarded is not announced again. Those that cannot have been, since the reply says
//!   that the swarm had too few members, are, as long as they are fresh.
//! - After a lost connection offers remain answerable, since trackers find peers by their id.
//! - After a connection that broke, rather than being closed, the first announce on the next one is empty and followed by
//!   `stopped`: bittorrent-tracker goes on sending to the dead socket otherwise, for as long as its peer announces.
//!   aquatic takes no notice of that; it is asked every 30 s until it has forgotten the dead socket. A fresh peer id would be
//!   quicker there by up to four minutes, but to peers and to all other trackers it would be another peer.
//!
//! # What to expect when a tracker misbehaves
//!
//! Every trouble is a [`TrackerWarning`]. Each kind is reported at once, then at most once a minute with a count of those
//! left out, and the last one is kept in [`TrackerState::last_error`]. A tracker that is down is tried again after 1 s, then
//! after longer and longer times up to a minute, or when its `Retry-After` says, at most ten minutes later; one that opens no
//! socket within 30 s is down. A socket that is lost is reported at once; one that has gone silent is noticed within 50 s,
//! by a ping. Optional fields of a frame that are odd are read as JavaScript reads them. Trackers that do not reply, reply
//! late, name absurd intervals, send frames for other swarms, answers to nothing, floods of offers, too much at once or
//! nonsense are put up with: none of it is passed on beyond the limits of [`ClientConfig`], and offers wait to be answered
//! all the same.
//!
//! Some trackers keep peers that connect over IPv4 and over IPv6 apart. Where both can be used and none of our swarms has
//! another member, the socket is closed and another opened over the other family, for the first time after 15 to 30 s and
//! then after more and more, at last 2 to 4 minutes. Two peers that start over different families meet after 20 s on
//! average, and nearly always within 31 s; a peer that has only one family is found within 4 minutes by one that is alone.
//! No peer leaves a family in which it has company, so that a group over one family never meets a group over the other
//! one by this tracker. No families are tried through a proxy.
//!
//! # What it costs to be there
//!
//! A client whose swarm needs no more peers makes 30 announces an hour without offers and 120 pings: with the replies 11 kB of
//! messages, 13 kB with the headers of WebSocket, besides TLS and TCP. One that goes on looking for unknown peers in a large
//! swarm makes up to 150 offers an hour, 190 kB of messages with SDPs of a kilobyte. One that is alone at a tracker with
//! two families opens 20 sockets an hour in place of one.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
#[cfg(feature = "client")]
mod client;
mod config;
#[cfg(feature = "client")]
mod connector;
mod error;
mod event;
mod family;
#[cfg(any(test, feature = "fuzzing"))]
pub mod model;
#[cfg(all(feature = "client", not(target_family = "wasm")))]
mod native;
mod offer_pool;
mod session;
mod setters;
#[cfg(feature = "client")]
mod socket_driver;
mod state;
mod tally;
#[cfg(all(feature = "client", any(test, target_family = "wasm")))]
mod unread;
mod url;
mod warning;
#[cfg(all(feature = "client", target_family = "wasm"))]
mod web;

#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod swarms;

#[cfg(feature = "client")]
pub use client::TrackerClient;
pub use config::ClientConfig;
#[cfg(feature = "client")]
pub use connector::Connector;
pub use error::{ConnectError, HttpRefusal, ProxyError, RedirectReason};
pub use event::{OfferEnd, TrackerEvent};
pub use family::{Family, Route};
#[cfg(all(feature = "client", not(target_family = "wasm")))]
pub use native::{CertificateError, HeaderError, ProxyUrl, ProxyUrlError, Socket, WebSocketConnector};
pub use p2pt_proto::{FieldProblem, OddField, Oddity, ScrapeStats};
#[cfg(feature = "server")]
pub use server::{
    ForwardedHeader, Network, NetworkError, RefusalStats, ServerConfig, ServerStats, StaticFiles, TrackerListener,
    TrackerServer, TrackerService, raise_descriptor_limit,
};
#[cfg(feature = "server-tls")]
pub use server::{ServerTls, ServerTlsError};
pub use session::{Frame, Input, Output, Session, SocketId};
pub use state::{LastError, SwarmState, TrackerCounters, TrackerState, TrackerStatus};
#[cfg(feature = "server")]
pub use swarms::{CloseReason, ConnectionId, Swarms, SwarmsConfig, SwarmsInput, SwarmsOutput, SwarmsStats};
pub use url::{AnnounceUrl, AnnounceUrlError};
pub use warning::{PeerIdSign, SocketEnd, TrackerWarning};
#[cfg(all(feature = "client", target_family = "wasm"))]
pub use web::{Socket, WebSocketConnector};
