//! A game loop without async: `cargo run -p p2pt --example game_loop [TRACKER] [FRAMES]`, twice.
//!
//! The runtime lives in threads of its own. Each frame takes the events that are there, never waits, and queues what it has
//! to say: this is how the library fits into an engine that owns the main thread.

// The lint is this repository's, whose clocks can be paused; a game reads the real one.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use p2pt::{Event, P2pt, TryNextError};
use serde::{Deserialize, Serialize};

/// One sixtieth of a second.
const FRAME: Duration = Duration::from_micros(16_667);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Position {
    x: f32,
    y: f32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let tracker = arguments.next().unwrap_or("wss://tracker.openwebtorrent.com".into());
    let frames: u32 = arguments.next().map_or(Ok(u32::MAX), |frames| frames.parse())?;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (swarm, mut events) = runtime.block_on(P2pt::builder().tracker(tracker).join("my-game"))?;

    let mut others: Vec<(p2pt::Peer, Option<Position>)> = Vec::new();
    for frame in 0..frames {
        let began = Instant::now();
        // At most so many a frame, so that a peer that sends much costs no frame.
        for _ in 0..100 {
            match events.try_next() {
                Ok(Event::PeerConnected(peer)) => {
                    println!("{} joins", peer.id());
                    others.push((peer, None));
                }
                Ok(Event::PeerClosed(closed)) => {
                    println!("{} leaves", closed.peer.id());
                    others.retain(|(peer, _)| *peer != closed.peer);
                }
                Ok(Event::Message(message)) => {
                    let from = others.iter_mut().find(|(peer, _)| peer == message.peer());
                    if let (Some((peer, place)), Ok(position)) = (from, message.json::<Position>()) {
                        if place.is_none() {
                            println!("{} is at {position:?}", peer.id());
                        }
                        *place = Some(position);
                    }
                }
                Ok(event) => eprintln!("{event}"),
                Err(TryNextError::Empty) => break,
                Err(TryNextError::Ended) => return Ok(()),
            }
        }
        let angle = frame as f32 / 60.0;
        let position = Position { x: angle.cos(), y: angle.sin() };
        // Twenty positions a second are enough; a peer that is slow misses some of them, and not the game.
        if frame % 3 == 0 {
            for (peer, _) in &others {
                let _ = peer.try_send(p2pt::Payload::json(&position)?);
            }
        }
        std::thread::sleep(FRAME.saturating_sub(began.elapsed()));
    }
    runtime.block_on(swarm.shutdown());
    Ok(())
}
