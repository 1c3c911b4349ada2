//! Greets every peer of a swarm, and prints what peers say, each in a task of its own.

use p2pt::{Event, Events, Messages, P2pt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (swarm, events) = P2pt::builder().tracker("wss://tracker.openwebtorrent.com").join("my-app").await?;
    tokio::select! {
        () = listen(events) => {}
        pressed = tokio::signal::ctrl_c() => pressed?,
    }
    // Tells peers and trackers, and lets what is queued leave.
    swarm.shutdown().await;
    Ok(())
}

/// Goes on until the node is shut down, whatever peers and trackers do.
pub async fn listen(mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            // From here on this peer's messages come there, and no longer among the events.
            Event::PeerConnected(peer) => drop(tokio::spawn(converse(peer.messages()))),
            // Peers that left, what was not sent, trackers that give trouble: there is nothing to do about them.
            event => eprintln!("{event}"),
        }
    }
}

async fn converse(mut messages: Messages) {
    let peer = messages.peer().clone();
    if let Err(error) = peer.send("hello").await {
        eprintln!("{} was not greeted: {error}", peer.id());
    }
    while let Some(message) = messages.next().await {
        println!("{}: {:?}", peer.id(), message.payload());
    }
    println!("{} has gone: {}", peer.id(), peer.closed().await.reason);
}
