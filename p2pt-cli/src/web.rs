//! `p2pt web`: pages for the browsers of the local network, with a tracker on the same port, and this program among their
//! peers.

mod files;
mod links;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, StaticFiles, TrackerListener, TrackerServer};
use p2pt::trust::MemoryStore;
use p2pt::{AnnounceUrl, P2pt, WebRtcConfig};
use serde_json::json;

use crate::Failure;
use crate::args::{WebArgs, quoted};
use crate::chat::{Acquaintance, Conversation, Dialect, draw_room, hold};
use crate::signals::StopSignals;
use crate::terminal::Terminal;
use files::Files;
use links::Links;

/// What the pages may do, which is also what they say themselves in HTML; and that no other page shows them in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How long the last lines may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: WebArgs) -> Result<(), Failure> {
    let signals = StopSignals::with_hangup()?;
    let files = match args.pages {
        Some(folder) => tokio::task::spawn_blocking(move || files::in_folder(&folder)).await??,
        None => files::embedded()?,
    };
    let room = args.identifier.unwrap_or_else(draw_room);
    let listeners = TrackerListener::bind_all(&[args.listen])?;
    let server = TrackerServer::start(listeners, ServerConfig::default().files(served(files, &room)))?;
    let links = Links::new(server.local_addr(), &room);
    let mut terminal = Terminal::stdout();
    // Programs that start it wait for the first line and take the port from it.
    terminal.line(format_args!("listening on http://{}", server.local_addr()))?;
    for line in links.lines() {
        terminal.line(line)?;
    }

    let tracker: AnnounceUrl = server.url();
    // On a local network, no STUN server has anything to tell.
    let webrtc = WebRtcConfig::default().ice_servers([]);
    let builder = P2pt::builder().tracker(tracker.to_string()).webrtc(webrtc).flush_timeout(FLUSH_TIMEOUT);
    let pins = Arc::new(MemoryStore::new());
    let builder = builder.trust_store(pins.clone());
    let (swarm, events) = builder.join(&room).await?;
    let conversation = Conversation {
        swarm,
        events,
        about: vec![format!(
            "From a terminal, others join with: p2pt chat {} --tracker {}",
            quoted(&room),
            links.announce_url()
        )],
        room,
        dialect: Dialect::Plain,
        name: Some(args.name),
        trackers: vec![tracker],
        acquaintance: Acquaintance::new(pins, false, false),
        // As a service it has no input, and serves on.
        is_over_with_input: false,
    };
    let held = hold(conversation, signals).await;
    server.shutdown().await;
    held
}

/// The files as they are served: with a `config.json` by which the pages meet here, in this room.
fn served(files: Files, room: &str) -> StaticFiles {
    let config = json!({ "trackers": ["/"], "room": room, "iceServers": [] }).to_string();
    let config = ("/config.json".to_owned(), Cow::Owned(config.into_bytes()));
    let none = StaticFiles::new().content_security_policy(POLICY);
    files.into_iter().chain([config]).fold(none, |all, (path, contents)| all.file(path, contents))
}
