//! Choosing one's peers: `cargo run -p p2pt --example admission [TRACKER]`.
//!
//! A filter decides about each peer before anything is sent to it; a peer that misbehaves later is banned. A peer id is
//! another one in each run: admission by id keeps strangers out that mean no harm. `Policy` admits peers by their keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use p2pt::{Event, P2pt, PeerId};

/// Messages that a peer may send.
const ENOUGH: u32 = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = std::env::args().nth(1).unwrap_or("wss://tracker.openwebtorrent.com".into());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let (swarm, mut events) = P2pt::builder()
        .tracker(tracker)
        // At most so many at a time; the others are told `Full` in their `ConnectionRejected`... on this side only.
        .max_peers(20)
        // Runs inside the node for each peer that a tracker names: it must return at once.
        .admit(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            // WebTorrent clients begin their ids with `-WW`: they seek files, not us.
            !request.peer_id.as_bytes().starts_with(b"-WW")
        })
        .join("my-app")
        .await?;

    let mut heard: HashMap<PeerId, u32> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => {
                println!("{} is in; {} were considered", peer.id(), asked.load(Ordering::Relaxed))
            }
            Event::ConnectionRejected(rejected) => println!("{rejected}"),
            Event::Message(message) => {
                let id = message.peer().id();
                let count = heard.entry(id).or_default();
                *count += 1;
                if *count > ENOUGH {
                    // Closes its connections in every swarm of the node, and answers none of its offers from now on.
                    swarm.node().ban(id).await?;
                    println!("{id} is banned");
                }
            }
            Event::PeerClosed(closed) => drop(heard.remove(&closed.peer.id())),
            _ => {}
        }
    }
    Ok(())
}
