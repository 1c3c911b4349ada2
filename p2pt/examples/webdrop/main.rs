//! Files to and from the WebDrop web app: `cargo run -p p2pt --example webdrop -- ROOM FOLDER [FILE…] [--tracker URL]… [--stun URL]`.
//!
//! WebDrop is a page, made with the JavaScript p2pt, in which devices hand each other files. Its members meet under `webdrop`
//! and the room's name, and tell each other in JSON messages what they share. Each file travels over a WebRTC connection of
//! its own, whose description and candidates pass as raw text frames between the two peers: so this program makes
//! connections with the library's transport, besides those that the swarm makes. What others share is written into FOLDER;
//! FILEs are shared with everyone.

mod signals;
mod transfer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p2pt::transport::webrtc::WebRtc;
use p2pt::{Event, P2pt, Peer, PeerId, Transport};
use p2pt::{IceServer, WebRtcConfig};
use serde::{Deserialize, Serialize};
use signals::Signals;
use tokio::task::JoinSet;
use transfer::TransferError;

/// The trackers of the page.
const TRACKERS: [&str; 3] =
    ["wss://tracker.openwebtorrent.com", "wss://tracker.webtorrent.dev", "wss://tracker.btorrent.xyz"];

/// Transfers under way at the same time, in all. A further one is not begun.
const MAX_TRANSFERS: usize = 16;

/// What the page's members send each other; fields that this program has no use for are left out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Said {
    Init {
        name: String,
        color: String,
        shares_count: usize,
        msgs_count: usize,
    },
    GetShares,
    NewShare {
        #[serde(rename = "shareID")]
        share_id: String,
        name: String,
        size: u64,
        #[serde(default)]
        paused: bool,
    },
    StartSending {
        #[serde(rename = "shareID")]
        share_id: String,
    },
    #[serde(other)]
    Other,
}

/// A file that this device shares.
#[derive(Debug, Clone)]
struct Share {
    name: String,
    size: u64,
    path: PathBuf,
}

struct Device {
    files: Arc<WebRtc>,
    folder: PathBuf,
    shares: HashMap<String, Share>,
    signals: Arc<Signals>,
    transfers: JoinSet<Result<String, TransferError>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let webrtc = match arguments.stun {
        Some(url) => WebRtcConfig::default().ice_servers([IceServer::stun(url)]),
        None => WebRtcConfig::default(),
    };
    let mut device = Device {
        files: Arc::new(WebRtc::new(webrtc.clone())?),
        folder: arguments.folder,
        shares: shares(&arguments.files)?,
        signals: Arc::default(),
        transfers: JoinSet::new(),
    };
    let builder = P2pt::builder().webrtc(webrtc).trackers(arguments.trackers);
    let (swarm, mut events) = builder.join(format!("webdrop{}", arguments.room)).await?;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => device.handle(event),
                None => break,
            },
            Some(done) = device.transfers.join_next() => match done? {
                Ok(what) => println!("{what}"),
                Err(error) => println!("failed: {error}"),
            },
            pressed = tokio::signal::ctrl_c() => break pressed?,
        }
    }
    device.transfers.shutdown().await;
    device.files.shutdown().await;
    swarm.shutdown().await;
    Ok(())
}

impl Device {
    fn handle(&mut self, event: Event) {
        match event {
            Event::PeerConnected(peer) => {
                println!("{} is here", peer.id());
                let name = "a terminal".to_owned();
                let color = "#b7410e".to_owned();
                say(&peer, &Said::Init { name, color, shares_count: self.shares.len(), msgs_count: 0 });
            }
            Event::Message(message) => match message.json::<Said>() {
                Ok(said) => self.obey(message.peer(), said),
                Err(error) => println!("{} speaks another language: {error}", message.peer().id()),
            },
            // What simple-peer says about the connection for one file.
            Event::Data(data) => self.signals.route(data.peer.id(), data.frame.bytes()),
            Event::PeerClosed(closed) => println!("{} has left: {}", closed.peer.id(), closed.reason),
            event => println!("{event}"),
        }
    }

    fn obey(&mut self, peer: &Peer, said: Said) {
        match said {
            Said::Init { name, shares_count, .. } => {
                println!("{} is called {:?}", peer.id(), name);
                if shares_count > 0 {
                    say(peer, &Said::GetShares);
                }
                // The page asks those that share more than itself; the others tell it.
                if shares_count >= self.shares.len() {
                    self.announce(peer);
                }
            }
            Said::GetShares => self.announce(peer),
            Said::NewShare { share_id, name, .. } if !self.shares.contains_key(&share_id) => {
                println!("{} shares {name:?}", peer.id());
                if let Some(signals) = self.begin(peer.id(), &share_id) {
                    say(peer, &Said::StartSending { share_id });
                    let (files, folder) = (Arc::clone(&self.files), self.folder.clone());
                    self.transfers.spawn(transfer::receive(files, peer.clone(), folder, signals));
                }
            }
            Said::StartSending { share_id } => {
                if let Some(share) = self.shares.get(&share_id).cloned()
                    && let Some(signals) = self.begin(peer.id(), &share_id)
                {
                    self.transfers.spawn(transfer::send(Arc::clone(&self.files), peer.clone(), share, signals));
                }
            }
            Said::NewShare { .. } | Said::Other => {}
        }
    }

    fn announce(&self, peer: &Peer) {
        for (id, share) in &self.shares {
            let Share { name, size, .. } = share.clone();
            say(peer, &Said::NewShare { share_id: id.clone(), name, size, paused: false });
        }
    }

    fn begin(&self, peer: PeerId, share_id: &str) -> Option<signals::Inbox> {
        if self.transfers.len() >= MAX_TRANSFERS {
            println!("{peer} has to wait: {MAX_TRANSFERS} transfers are under way");
            return None;
        }
        self.signals.open(peer, share_id)
    }
}

fn say(peer: &Peer, said: &Said) {
    if let Err(error) = peer.queue_json(said) {
        println!("{} does not hear this: {error}", peer.id());
    }
}

/// The files to share, by an id for each.
fn shares(files: &[PathBuf]) -> std::io::Result<HashMap<String, Share>> {
    let mut shares = HashMap::new();
    for path in files {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let size = std::fs::metadata(path)?.len();
        // The page takes the SHA-1 of name and size; any string that is its own does.
        let id = p2pt::InfoHash::of(&format!("{name}{size}")).to_string();
        shares.insert(id, Share { name, size, path: path.clone() });
    }
    Ok(shares)
}

struct Arguments {
    room: String,
    folder: PathBuf,
    files: Vec<PathBuf>,
    trackers: Vec<String>,
    stun: Option<String>,
}

impl Arguments {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        const USAGE: &str = "usage: webdrop ROOM FOLDER [FILE…] [--tracker URL]… [--stun URL]";
        let mut plain = Vec::new();
        let mut trackers = Vec::new();
        let mut stun = None;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--tracker" => trackers.push(arguments.next().ok_or(USAGE)?),
                "--stun" => stun = Some(arguments.next().ok_or(USAGE)?),
                _ => plain.push(argument),
            }
        }
        let [room, folder, files @ ..] = &plain[..] else { return Err(USAGE) };
        if !Path::new(folder).is_dir() {
            return Err("FOLDER is no folder");
        }
        if trackers.is_empty() {
            trackers = TRACKERS.map(String::from).to_vec();
        }
        let files = files.iter().map(PathBuf::from).collect();
        Ok(Self { room: room.clone(), folder: folder.into(), files, trackers, stun })
    }
}
