//! Several rooms on one node: `cargo run -p p2pt --example rooms -- ROOM… [--tracker URL]`.
//!
//! One node joins any number of swarms; they share its peer id, its sockets to trackers and its transport. Each has peers
//! and events of its own.

use p2pt::{Event, Events, P2pt};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rooms: Vec<String> = std::env::args().skip(1).collect();
    let tracker = match rooms.iter().position(|argument| argument == "--tracker") {
        Some(at) if at + 1 < rooms.len() => rooms.drain(at..at + 2).nth(1),
        _ => None,
    };
    if rooms.is_empty() {
        return Err("usage: rooms ROOM… [--tracker URL]".into());
    }

    let node = P2pt::builder().tracker(tracker.unwrap_or("wss://tracker.openwebtorrent.com".into())).start().await?;
    let mut swarms = Vec::new();
    let mut tasks = JoinSet::new();
    for room in rooms {
        let (swarm, events) = node.join(&*room).await?;
        swarms.push(swarm);
        tasks.spawn(watch(room, events));
    }
    tokio::signal::ctrl_c().await?;
    // One room can be left while the others go on...
    if let Some(first) = swarms.first() {
        first.leave().await?;
    }
    // ...and shutting down the node leaves them all. Their streams of events end.
    node.shutdown().await;
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn watch(room: String, mut events: Events) {
    while let Some(event) = events.next().await {
        if let Event::PeerConnected(peer) = &event
            && let Err(error) = peer.queue(format!("welcome to {room}"))
        {
            eprintln!("[{room}] {error}");
        }
        match event {
            Event::Message(message) => println!("[{room}] {} says {:?}", message.peer().id(), message.text()),
            event => println!("[{room}] {event}"),
        }
    }
    println!("[{room}] left");
}
