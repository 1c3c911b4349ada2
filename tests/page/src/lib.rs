//! A peer of this library in a page, which speaks the JSON Lines protocol of `p2pt pipe`, so that tests drive all peers
//! alike: the counterpart of `tests/js/core.mjs`. Its bundle is made by `tests/js/setup.sh`.
#![cfg(target_family = "wasm")]

mod line;

use std::rc::Rc;

use js_sys::{Date, Function};
use p2pt::{Event, Events, IcePolicy, Node, P2pt, PeerId, Request, Swarm, WebRtcConfig};
use p2pt_rt::spawn;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use wasm_bindgen::prelude::*;

use line::{Command, Line, Message, To};

/// Commands that may wait.
const MAX_COMMANDS: usize = 1024;

/// How the peer is started.
#[derive(Debug, Deserialize)]
struct Options {
    identifier: String,
    trackers: Vec<String>,
}

/// Where lines go.
#[derive(Clone)]
struct Output(Rc<Function>);

impl Output {
    fn emit(&self, line: Line) {
        let text = Line { at: Date::now(), ..line }.to_text();
        // A page that is being closed takes none.
        let _ = self.0.call1(&JsValue::NULL, &text.into());
    }

    fn complain(&self, tag: Option<String>, error: impl ToString) {
        self.emit(Line { tag, error: Some(error.to_string()), ..Line::new("error") });
    }
}

/// A peer that was started.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Peer {
    commands: mpsc::Sender<String>,
}

#[wasm_bindgen]
impl Peer {
    /// Takes a command: one line of JSON.
    pub fn command(&self, line: String) -> Result<(), JsError> {
        match self.commands.try_send(line) {
            // After `stop` there is no reader.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(JsError::new("more commands than are carried out")),
        }
    }
}

/// Starts a peer. `emit` takes each event as a line; `stopped` is called once, after the last.
#[wasm_bindgen]
pub async fn start(options: String, emit: Function, stopped: Function) -> Result<Peer, JsError> {
    console_error_panic_hook::set_once();
    let options: Options = serde_json::from_str(&options)?;
    let webrtc = WebRtcConfig::default().without_ice_servers().ice_policy(IcePolicy::All);
    let builder = P2pt::builder().trackers(options.trackers).webrtc(webrtc).send_queue_bytes(64 << 20);
    let (swarm, events) = builder.join(options.identifier.as_str()).await?;
    let output = Output(Rc::new(emit));
    output.emit(Line {
        peer_id: Some(swarm.peer_id().to_string()),
        info_hash: Some(swarm.info_hash().to_string()),
        ..Line::new("ready")
    });
    let (commands, lines) = mpsc::channel(MAX_COMMANDS);
    let page = Page { node: swarm.node(), swarm, output: output.clone(), others: Vec::new() };
    let reporting = spawn(report(output.clone(), events));
    drop(spawn(async move {
        page.run(lines).await;
        let _ = reporting.await;
        output.emit(Line::new("stopped"));
        let _ = stopped.call0(&JsValue::NULL);
    }));
    Ok(Peer { commands })
}

struct Page {
    node: Node,
    swarm: Swarm,
    output: Output,
    /// Swarms joined after the first, which are joined and left and no more.
    others: Vec<(String, Swarm)>,
}

impl Page {
    async fn run(mut self, mut lines: mpsc::Receiver<String>) {
        while let Some(line) = lines.recv().await {
            match serde_json::from_str(&line) {
                Ok(Command::Stop(_)) => break,
                Ok(command) => self.carry_out(command).await,
                Err(error) => self.output.complain(None, error),
            }
        }
        self.node.shutdown().await;
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Send(Message { peer, message, tag, .. }) => {
                for peer in self.peers(peer) {
                    match &tag {
                        Some(tag) => self.ask(peer.request(message.payload()), tag.clone()),
                        None => {
                            peer.queue(message.payload()).unwrap_or_else(|error| self.output.complain(None, error));
                        }
                    }
                }
            }
            Command::Respond(Message { peer, id, message, tag }) => {
                let Some(id) = id.and_then(|id| id.get().parse::<p2pt::MessageId>().ok()) else {
                    return self.output.complain(tag, "no message id");
                };
                for peer in self.peers(peer) {
                    match &tag {
                        Some(tag) => self.ask(peer.request_in_response_to(id.clone(), message.payload()), tag.clone()),
                        None => peer
                            .queue_response_to(id.clone(), message.payload())
                            .unwrap_or_else(|error| self.output.complain(None, error)),
                    }
                }
            }
            Command::SendFrame(frame) => {
                for peer in self.peers(frame.peer) {
                    match frame.frame() {
                        Ok(frame) => {
                            peer.queue_frame(frame).unwrap_or_else(|error| self.output.complain(None, error));
                        }
                        Err(error) => self.output.complain(None, error),
                    }
                }
            }
            Command::Join(identifier) => match self.node.join(identifier.as_str()).await {
                Ok((swarm, mut events)) => {
                    self.output.emit(Line { identifier: Some(identifier.clone()), ..Line::new("joined") });
                    self.others.push((identifier, swarm));
                    drop(spawn(async move { while events.next().await.is_some() {} }));
                }
                Err(error) => self.output.complain(None, error),
            },
            Command::Leave(identifier) => match self.others.iter().position(|(name, _)| *name == identifier) {
                Some(place) => {
                    let left = self.others.remove(place).1.leave().await;
                    match left {
                        Ok(()) => self.output.emit(Line { identifier: Some(identifier), ..Line::new("left") }),
                        Err(error) => self.output.complain(None, error),
                    }
                }
                None => self.output.complain(None, "no such swarm"),
            },
            Command::AddTracker(url) => {
                self.node.add_tracker(&url).await.map(drop).unwrap_or_else(|error| self.output.complain(None, error));
            }
            Command::RemoveTracker(url) => {
                self.node
                    .remove_tracker(&url)
                    .await
                    .map(drop)
                    .unwrap_or_else(|error| self.output.complain(None, error));
            }
            Command::RequestMorePeers(_) => {
                self.swarm.request_more_peers().await.unwrap_or_else(|error| self.output.complain(None, error));
            }
            Command::Peers(_) => {
                let peers = self.swarm.peers().iter().map(|peer| peer.id().to_string()).collect();
                self.output.emit(Line { peers: Some(peers), ..Line::new("peers") });
            }
            Command::Held(_) => {
                let held = p2pt::transport::web::held();
                self.output.emit(Line { held: Some([held.connections, held.listeners]), ..Line::new("held") });
            }
            Command::Stop(_) => {}
        }
    }

    fn peers(&self, to: To) -> Vec<p2pt::Peer> {
        match to {
            To::Everyone => self.swarm.peers(),
            To::Peer(id) => {
                let peer = self.swarm.peer(&id);
                if peer.is_none() {
                    self.output.complain(None, format!("no peer {id}"));
                }
                peer.into_iter().collect()
            }
        }
    }

    fn ask(&self, request: Request, tag: String) {
        let output = self.output.clone();
        match request.queue() {
            Ok(response) => drop(spawn(async move {
                match response.await {
                    Ok(message) => output.emit(Line { tag: Some(tag), ..Line::message("response", &message) }),
                    Err(error) => output.complain(Some(tag), error),
                }
            })),
            Err(error) => output.complain(Some(tag), error),
        }
    }
}

/// Writes what peers and trackers say, until there is no more to come.
async fn report(output: Output, mut events: Events) {
    let about = |event, peer: PeerId| Line { peer: Some(peer.to_string()), ..Line::new(event) };
    while let Some(event) = events.next().await {
        output.emit(match &event {
            Event::PeerConnected(peer) => about("peer_connected", peer.id()),
            Event::PeerClosed(closed) => {
                Line { reason: Some(closed.reason.to_string()), ..about("peer_closed", closed.peer.id()) }
            }
            Event::Message(message) => Line::message("message", message),
            Event::Data(data) => Line::data(data),
            Event::TrackerConnected(tracker) => {
                Line { tracker: Some(tracker.tracker.to_string()), ..Line::new("tracker_connected") }
            }
            Event::TrackerWarning { tracker, warning, .. } => Line {
                tracker: Some(tracker.to_string()),
                error: Some(warning.to_string()),
                ..Line::new("tracker_warning")
            },
            Event::ConnectionFailed(failed) => {
                Line { error: Some(failed.error.to_string()), ..about("connection_failed", failed.peer_id) }
            }
            other => Line { error: Some(other.to_string()), ..Line::new("other") },
        });
    }
}
