//! Says hello to everyone under one identifier, and answers.

use p2pt::{Event, P2pt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = std::env::args().nth(1).unwrap_or("wss://tracker.openwebtorrent.com".into());
    let (_swarm, mut events) = P2pt::builder().tracker(tracker).join("my-app").await?;

    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => {
                // Never await a response inside the event loop: it is this loop that keeps messages flowing.
                tokio::spawn(async move {
                    let reply = peer.request("hello").await?;
                    println!("{} answers {:?}", peer.id(), reply.text());
                    Ok::<_, p2pt::RequestError>(())
                });
            }
            Event::Message(message) => message.respond("nice to meet you").await?,
            _ => {}
        }
    }
    Ok(())
}
