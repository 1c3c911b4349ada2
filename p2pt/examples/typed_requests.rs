//! Requests and responses of the program's own types: `cargo run -p p2pt --example typed_requests [TRACKER]`, twice.
//!
//! Each node asks every peer how warm it is in Ghent, and answers what it is asked.

use std::time::Duration;

use p2pt::{Event, Events, Message, P2pt, Peer, TypedError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    city: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    degrees: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = std::env::args().nth(1).unwrap_or("wss://tracker.openwebtorrent.com".into());
    let (_swarm, events) = P2pt::builder()
        .tracker(tracker)
        // For all requests that set none of their own; 30 s unless set.
        .request_timeout(Duration::from_secs(10))
        .join("weather")
        .await?;
    run(events).await;
    Ok(())
}

async fn run(mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            // In a task of its own: what awaits a response inside this loop holds up the loop that brings it.
            Event::PeerConnected(peer) => drop(tokio::spawn(ask(peer))),
            Event::Message(message) => {
                if let Err(error) = answer(&message) {
                    eprintln!("{} gets no answer: {error}", message.peer().id());
                }
            }
            event => eprintln!("{event}"),
        }
    }
}

async fn ask(peer: Peer) {
    let question = Question { city: "Ghent".into() };
    match peer.request_json::<Answer>(&question).timeout(Duration::from_secs(5)).await {
        Ok(answer) => println!("{} says {} °C", peer.id(), answer.degrees),
        // One type for all that can go wrong; what to do depends on which it is.
        Err(TypedError::Decode(error)) => eprintln!("{} answers something else: {error}", peer.id()),
        Err(error) => eprintln!("{} did not answer: {error}", peer.id()),
    }
}

fn answer(message: &Message) -> Result<(), TypedError> {
    let question: Question = message.json()?;
    message.queue_response_json(&Answer { degrees: question.city.len() as f64 })
}
