//! Says hello to everyone under one identifier, and answers.

use p2pt::{Event, Events, P2pt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = std::env::args().nth(1).unwrap_or("wss://tracker.openwebtorrent.com".into());
    let (_swarm, events) = P2pt::builder().tracker(tracker).join("my-app").await?;
    greet(events).await;
    Ok(())
}

/// Goes on until the node is shut down, whatever peers and trackers do.
pub async fn greet(mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => {
                // Never await a response inside the event loop: it is this loop that keeps messages flowing.
                tokio::spawn(async move {
                    match peer.request("hello").await {
                        Ok(reply) => println!("{} answers {:?}", peer.id(), reply.text()),
                        Err(error) => eprintln!("{} did not answer: {error}", peer.id()),
                    }
                });
            }
            // Never waits, and fails only for want of room; that the peer is gone is an event.
            Event::Message(message) => {
                if let Err(error) = message.queue_response("nice to meet you") {
                    eprintln!("{} hears nothing more: {error}", message.peer().id());
                }
            }
            // Peers that left, what was not sent, trackers that give trouble: there is nothing to do about them.
            event => eprintln!("{event}"),
        }
    }
}
