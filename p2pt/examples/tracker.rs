//! A tracker inside a program: `cargo run -p p2pt --features server --example tracker [ADDRESS]`.
//!
//! Two nodes of this program meet at it, so that it shows something; nodes of other machines can use it as well. A page
//! served by `https` needs `wss`: the example `tracker_tls` has TLS of its own, and docs/tracker.md shows web servers before it.

use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::{Event, P2pt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".into());
    let tracker = TrackerServer::bind(address, ServerConfig::default()).await?;
    println!("announce at {}", tracker.url());

    let (alice, mut events) = P2pt::builder().tracker(tracker.url().to_string()).join("room").await?;
    let (bob, _bob_events) = P2pt::builder().tracker(tracker.url().to_string()).join("room").await?;
    loop {
        match events.next().await {
            Some(Event::PeerConnected(peer)) => break println!("{} has met {}", alice.peer_id(), peer.id()),
            Some(event) => println!("{event}"),
            None => break,
        }
    }
    println!("{}", tracker.stats().to_json());

    alice.shutdown().await;
    bob.shutdown().await;
    tracker.shutdown().await;
    Ok(())
}
