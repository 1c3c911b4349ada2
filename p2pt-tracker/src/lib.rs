//! Client and embeddable server for WebTorrent WebSocket trackers.

mod backoff;
#[cfg(feature = "client")]
mod client;
mod config;
#[cfg(feature = "client")]
mod error;
mod event;
#[cfg(feature = "client")]
mod link;
mod offer_pool;
mod session;
#[cfg(feature = "client")]
mod socket;
mod state;
mod url;

#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod swarms;

#[cfg(feature = "client")]
pub use client::TrackerClient;
pub use config::ClientConfig;
#[cfg(feature = "client")]
pub use error::{CertificateError, ConnectError};
pub use event::{OfferEnd, TrackerEvent, TrackerWarning};
#[cfg(feature = "server")]
pub use server::{ServerConfig, ServerStats, TrackerServer, TrackerService};
pub use session::{Frame, Input, Output, Session, SocketId};
#[cfg(feature = "client")]
pub use socket::{Connector, Socket, WebSocketConnector};
pub use state::{SwarmState, TrackerCounters, TrackerState, TrackerStatus};
#[cfg(feature = "server")]
pub use swarms::{CloseReason, ConnectionId, Swarms, SwarmsConfig, SwarmsInput, SwarmsOutput, SwarmsStats};
pub use url::{AnnounceUrl, AnnounceUrlError};
