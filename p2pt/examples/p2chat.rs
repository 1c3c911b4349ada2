//! A terminal for the P2Chat web app: `cargo run -p p2pt --example p2chat -- ROOM NAME [TRACKER…]`.
//!
//! P2Chat is a chat in a page, made with the JavaScript p2pt: its members meet under `p2chat` and the room's name, and send
//! each other JSON *as text*, `{"username": …, "message": …}`. Nothing about this program shows the page that it is no page.

use p2pt::{Event, P2pt, Swarm};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};

/// The trackers of the page.
const TRACKERS: [&str; 3] =
    ["wss://tracker.openwebtorrent.com", "wss://tracker.btorrent.xyz", "wss://tracker.webtorrent.dev"];

#[derive(Debug, Serialize, Deserialize)]
struct Said {
    username: String,
    message: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [room, username, trackers @ ..] = &arguments[..] else {
        return Err("usage: p2chat ROOM NAME [TRACKER…]".into());
    };
    let trackers: Vec<String> =
        if trackers.is_empty() { TRACKERS.map(String::from).to_vec() } else { trackers.to_vec() };
    let (swarm, mut events) = P2pt::builder().trackers(trackers).join(format!("p2chat{room}")).await?;

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                // The page sends no blank line either.
                Some(line) if line.trim().is_empty() => {}
                Some(message) => say(&swarm, Said { username: username.clone(), message })?,
                None => break,
            },
            event = events.next() => match event {
                Some(Event::Message(message)) => match message.text().map(serde_json::from_str::<Said>) {
                    Some(Ok(said)) => println!("{}: {}", printable(&said.username), printable(&said.message)),
                    _ => eprintln!("{} speaks another language", message.peer().id()),
                },
                Some(Event::PeerConnected(_) | Event::PeerClosed(_)) => {
                    match swarm.peers().len() {
                        1 => println!("* 1 member besides you"),
                        members => println!("* {members} members besides you"),
                    }
                }
                Some(event) => eprintln!("{event}"),
                None => break,
            },
            pressed = tokio::signal::ctrl_c() => break pressed?,
        }
    }
    swarm.shutdown().await;
    Ok(())
}

/// JSON, sent as text: the page parses it itself.
fn say(swarm: &Swarm, said: Said) -> serde_json::Result<()> {
    for (peer, error) in swarm.queue_all(serde_json::to_string(&said)?) {
        eprintln!("{} does not hear this: {error}", peer.id());
    }
    Ok(())
}

/// The text without control characters, by which a peer could write to the terminal what it likes.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}
