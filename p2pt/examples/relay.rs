//! Through a TURN server: `cargo run -p p2pt --example relay -- turn:turn.example:3478 USER PASSWORD [--relay-only] [TRACKER]`.
//!
//! Peers behind address translation that no hole can be punched through reach each other through a relay. With
//! `--relay-only` nothing else is tried, so that peers see the relay's address and never this machine's.

use p2pt::{Event, P2pt};
use p2pt::{IcePolicy, IceServer, WebRtcConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let relay_only = arguments.iter().position(|argument| argument == "--relay-only").map(|at| arguments.remove(at));
    let [url, user, password, rest @ ..] = &arguments[..] else {
        return Err("usage: relay TURN_URL USER PASSWORD [--relay-only] [TRACKER]".into());
    };
    let tracker = rest.first().map_or("wss://tracker.openwebtorrent.com", String::as_str);

    // A TURN server is a STUN server too.
    let mut webrtc = WebRtcConfig::default().ice_servers([IceServer::turn(url, user, password)]);
    if relay_only.is_some() {
        webrtc = webrtc.ice_policy(IcePolicy::RelayOnly);
    }
    let (_swarm, mut events) = P2pt::builder().webrtc(webrtc).tracker(tracker).join("relayed").await?;
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => {
                if let Some(stats) = peer.stats().await {
                    println!("{} is connected: {stats:?}", peer.id());
                }
                peer.queue("hello through the relay")?;
            }
            Event::Message(message) => println!("{}: {:?}", message.peer().id(), message.text()),
            // Says what kinds of candidates both sides had, and so whether the TURN server was reached.
            Event::ConnectionFailed(failed) => println!("{failed}"),
            // Where only relays are allowed and the server does not answer, no offer can be made.
            Event::OfferFailed(error) => println!("no offer: {error}"),
            event => println!("{event}"),
        }
    }
    Ok(())
}
