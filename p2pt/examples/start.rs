//! The least there is: meets, says hello, and prints what others say.

use p2pt::{Event, P2pt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = std::env::args().nth(1).unwrap_or("wss://tracker.openwebtorrent.com".into());
    let (_swarm, mut events) = P2pt::builder().tracker(tracker).join("my-app").await?;
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => peer.queue("hello")?, // never waits
            Event::Message(message) => println!("{}: {:?}", message.peer().id(), message.text()),
            event => eprintln!("{event}"), // peers that left or are here already, trackers that give trouble
        }
    }
    Ok(())
}
