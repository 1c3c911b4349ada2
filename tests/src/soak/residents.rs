//! The nodes that stay, all in this process and on a runtime of their own, whose tasks can be counted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use p2pt::{Event, Events, Json, P2pt, Swarm};
use p2pt_transport::webrtc::WebRtcConfig;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// What has been reported to one resident.
#[derive(Debug, Default)]
struct Log {
    /// The peers that closed, and when.
    closed: Vec<(String, Instant)>,
    /// The senders of roll calls, each with the round.
    heard: BTreeSet<(String, u64)>,
    /// Messages in all.
    messages: u64,
}

#[derive(Debug)]
struct Resident {
    p2pt: Swarm,
    log: Arc<Mutex<Log>>,
}

/// Nodes that stay in one swarm while others come and go.
#[derive(Debug)]
pub struct Residents {
    runtime: Runtime,
    nodes: Vec<Resident>,
}

impl Residents {
    /// So many nodes, at no tracker yet. Must be made and dropped outside a runtime.
    pub fn start(count: usize, identifier: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let node = || async {
            let builder = P2pt::builder().webrtc(WebRtcConfig::default().without_ice_servers());
            let (p2pt, events) = builder.join(identifier).await.expect("a node starts");
            let log = Arc::default();
            tokio::spawn(listen(events, Arc::clone(&log)));
            Resident { p2pt, log }
        };
        let nodes = (0..count).map(|_| runtime.block_on(node())).collect();
        Self { runtime, nodes }
    }

    /// The runtime they live on.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// Their ids in hex.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().map(|node| node.p2pt.peer_id().to_string())
    }

    /// The ids of each, and of those it is connected with.
    pub fn sees(&self) -> impl Iterator<Item = (String, BTreeSet<String>)> {
        self.nodes.iter().map(|node| {
            let peers = node.p2pt.peers().iter().map(|peer| peer.id().to_string()).collect();
            (node.p2pt.peer_id().to_string(), peers)
        })
    }

    /// The ids of each, and of the senders whose roll calls of this round have arrived.
    pub fn heard(&self, round: u64) -> impl Iterator<Item = (String, BTreeSet<String>)> {
        self.nodes.iter().map(move |node| {
            let heard = lock(&node.log)
                .heard
                .iter()
                .filter(|(_, heard)| *heard == round)
                .map(|(from, _)| from.clone())
                .collect();
            (node.p2pt.peer_id().to_string(), heard)
        })
    }

    /// All residents join or leave the trackers.
    pub async fn at_trackers(&self, urls: &[String], join: bool) {
        for node in &self.nodes {
            for url in urls {
                if join {
                    node.p2pt.node().add_tracker(url).await.expect("it runs");
                } else {
                    assert!(node.p2pt.node().remove_tracker(url).await.expect("it runs"), "{url} was unknown");
                }
            }
        }
    }

    /// Each resident sends a roll call to all its peers.
    pub fn call(&self, round: u64) {
        for node in &self.nodes {
            let swarm = node.p2pt.clone();
            self.runtime.spawn(async move {
                for (peer, sent) in swarm.broadcast(json_of(&json!({"round": round}))).await {
                    if let Err(error) = sent {
                        println!("    a resident could not call {}: {error}", peer.id());
                    }
                }
            });
        }
    }

    /// Each resident that is connected with the process of this id sends it a request, and does not wait for the response.
    pub fn ask(&self, id: &str) {
        for peer in self.nodes.iter().filter_map(|node| node.p2pt.peer(&id.parse().expect("an id"))) {
            self.runtime.spawn(async move {
                // It may be killed meanwhile. That every request ends shows in the number of tasks.
                let _ = peer.request(json_of(&json!({"ask": "x".repeat(30_000)}))).await;
            });
        }
    }

    /// The ids of those that saw this peer close after `after`, and when they did first.
    pub fn closed(&self, id: &str, after: Instant) -> impl Iterator<Item = (String, Instant)> {
        self.nodes.iter().filter_map(move |node| {
            let log = lock(&node.log);
            let (_, at) = log.closed.iter().find(|(closed, at)| closed == id && *at >= after)?;
            Some((node.p2pt.peer_id().to_string(), *at))
        })
    }

    /// How often a peer closed, and how many messages came, at all of them.
    pub fn counts(&self) -> (usize, u64) {
        self.nodes.iter().fold((0, 0), |(closed, messages), node| {
            let log = lock(&node.log);
            (closed + log.closed.len(), messages + log.messages)
        })
    }

    /// Forgets what was reported to them, so that the memory they take is their own.
    pub fn forget(&self) {
        for node in &self.nodes {
            *lock(&node.log) = Log::default();
        }
    }

    /// Ends them.
    pub async fn shutdown(&self) {
        for node in &self.nodes {
            node.p2pt.node().shutdown().await;
        }
    }
}

async fn listen(mut events: Events, log: Arc<Mutex<Log>>) {
    while let Some(event) = events.next().await {
        match event {
            Event::PeerClosed(closed) => lock(&log).closed.push((closed.peer.id().to_string(), Instant::now())),
            Event::Message(message) => {
                lock(&log).messages += 1;
                let Ok(content) = message.json::<Value>() else { continue };
                if let Some(round) = content["round"].as_u64() {
                    lock(&log).heard.insert((message.peer().id().to_string(), round));
                } else if content.get("ask").is_some() {
                    // The asker may be gone already.
                    let _ = message.respond(json_of(&json!({"received": true}))).await;
                }
            }
            _ => {}
        }
    }
}

fn json_of(value: &Value) -> Json {
    Json::from_text(value.to_string()).expect("it is JSON")
}

fn lock(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
