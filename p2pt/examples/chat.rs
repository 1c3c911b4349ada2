//! A chat with names, in a terminal: `cargo run -p p2pt --example chat -- ROOM NAME [TRACKER]`.
//!
//! What is said travels as JSON of a type of the program's own. A peer says who it is once, when it connects; the names are
//! kept by peer id, and what a peer says never reaches the terminal unprinted.

use std::collections::HashMap;

use p2pt::{Event, P2pt, PeerId, Swarm};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Name { name: String },
    Say { text: String },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(room), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: chat ROOM NAME [TRACKER]".into());
    };
    let tracker = arguments.next().unwrap_or("wss://tracker.openwebtorrent.com".into());
    let (swarm, mut events) = P2pt::builder().tracker(tracker).join(format!("chat-{room}")).await?;

    let mut names = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(text) => say(&swarm, &Line::Say { text })?,
                None => break,
            },
            event = events.next() => match event {
                Some(event) => show(event, &name, &mut names),
                None => break,
            },
            pressed = tokio::signal::ctrl_c() => break pressed?,
        }
    }
    // Tells peers and trackers, and lets what is queued leave.
    swarm.shutdown().await;
    Ok(())
}

/// Queues a line for every peer, without waiting for any.
fn say(swarm: &Swarm, line: &Line) -> Result<(), p2pt::TypedError> {
    for peer in swarm.peers() {
        peer.queue_json(line)?;
    }
    Ok(())
}

fn show(event: Event, own_name: &str, names: &mut HashMap<PeerId, String>) {
    match event {
        Event::PeerConnected(peer) => {
            if let Err(error) = peer.queue_json(&Line::Name { name: own_name.to_owned() }) {
                eprintln!("{}: {error}", peer.id());
            }
        }
        Event::Message(message) => {
            let id = message.peer().id();
            match message.json() {
                Ok(Line::Name { name }) => {
                    let name = printable(&name, 30);
                    println!("* {name} is here");
                    names.insert(id, name);
                }
                Ok(Line::Say { text }) => {
                    let name = names.get(&id).map_or("?", String::as_str);
                    println!("{name}: {}", printable(&text, 2000));
                }
                Err(error) => eprintln!("{id} speaks another language: {error}"),
            }
        }
        Event::PeerClosed(closed) => {
            if let Some(name) = names.remove(&closed.peer.id()) {
                println!("* {name} has left ({})", closed.reason);
            }
        }
        // Trackers that give trouble, peers that could not be reached.
        event => eprintln!("{event}"),
    }
}

/// The text without control characters, by which a peer could write to the terminal what it likes, and not too long.
fn printable(text: &str, max_chars: usize) -> String {
    text.chars().filter(|char| !char.is_control()).take(max_chars).collect()
}
