//! The smallest page that uses what most applications use of `p2pt`: it joins a swarm, tells its events, asks each peer
//! that comes and answers what it is asked, and leaves. `tests/wasm/size` tells what that weighs.
#![cfg(target_family = "wasm")]

#[cfg(feature = "logs")]
mod logs;

use js_sys::Function;
use p2pt::{Event, P2pt, Peer, RequestError, Swarm};
use wasm_bindgen::prelude::*;

/// A stay in a swarm.
#[derive(Debug)]
#[wasm_bindgen]
pub struct Room(Swarm);

/// Joins the swarm of this identifier at this tracker, and tells `say` of each event until the swarm is left.
#[wasm_bindgen]
pub async fn join(tracker: String, identifier: String, say: Function) -> Result<Room, JsError> {
    #[cfg(feature = "panic-hook")]
    console_error_panic_hook::set_once();
    #[cfg(feature = "logs")]
    logs::start();
    let (swarm, mut events) = P2pt::builder().tracker(tracker).join(identifier.as_str()).await?;
    drop(p2pt_rt::spawn(async move {
        while let Some(event) = events.next().await {
            tell(&say, &event.to_string());
            match event {
                Event::PeerConnected(peer) => drop(p2pt_rt::spawn(ask(peer, say.clone()))),
                Event::Message(message) => drop(message.queue_response("hello")),
                _ => {}
            }
        }
    }));
    Ok(Room(swarm))
}

#[wasm_bindgen]
impl Room {
    /// Sends a text to all peers.
    pub fn say(&self, text: String) -> usize {
        self.0.queue_all(text).len()
    }

    /// Leaves: peers and trackers are told.
    pub async fn leave(self) {
        self.0.shutdown().await;
    }
}

async fn ask(peer: Peer, say: Function) {
    match answer(&peer).await {
        Ok(text) => tell(&say, &text),
        Err(error) => tell(&say, &error.to_string()),
    }
}

/// What an application of types of its own sends.
#[cfg(feature = "json")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Answer {
    name: String,
    age: u32,
    height: f64,
}

async fn answer(peer: &Peer) -> Result<String, RequestError> {
    let response = peer.request("who are you?").send().await?.await?;
    #[cfg(feature = "json")]
    if let Ok(answer) = response.json::<Answer>() {
        drop(peer.queue_json(&answer));
        return Ok(answer.name);
    }
    Ok(response.text().unwrap_or_default().to_owned())
}

fn tell(say: &Function, what: &str) {
    drop(say.call1(&JsValue::NULL, &what.into()));
}
