//! A chat in a page: whoever opens the same room, in another page or with `p2pt chat`, is talked to directly. Beside the
//! conversation the page shows the swarm as it is: peers with their round trips, trackers with their states.
//!
//! A line is a text message, and a name is said once to each peer that comes, as the JSON `{"name": …}`: the format of
//! `p2pt chat`.
#![cfg(target_family = "wasm")]

mod page;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use p2pt::{Event, Events, Message, P2pt, PeerId, Swarm};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

/// How often the swarm is drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
/// A peer names itself, and must not fill the page by that.
const MAX_NAME_CHARS: usize = 30;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[wasm_bindgen(start)]
fn main() {
    console_error_panic_hook::set_once();
    page::prefill();
    page::on_submit("join", || {
        drop(p2pt_rt::spawn(async {
            if let Err(error) = join().await {
                page::set_text("problem", &error.to_string());
            }
        }));
    });
}

async fn join() -> Result<(), p2pt::StartError> {
    let (room, name) = (page::value("identifier"), page::value("name"));
    let (swarm, events) = P2pt::builder().tracker(page::value("tracker")).join(room.as_str()).await?;
    page::set_text("problem", "");
    page::show("join", false);
    page::show("room", true);
    page::set_text("me", &format!("{name} ({})", swarm.peer_id()));

    let names = Rc::<RefCell<BTreeMap<PeerId, String>>>::default();
    let speaker = swarm.clone();
    page::on_submit("say", move || {
        let line = page::take_value("line");
        for peer in speaker.peers() {
            if let Err(error) = peer.queue(line.as_str()) {
                page::news(&format!("not sent to {}: {error}", peer.id()));
            }
        }
        page::said("you", &line);
    });
    drop(p2pt_rt::spawn(watch(swarm, names.clone())));
    drop(p2pt_rt::spawn(listen(events, name, names)));
    page::focus("line");
    Ok(())
}

/// Shows what is said and who comes and goes, until the node has stopped.
async fn listen(mut events: Events, own_name: String, names: Rc<RefCell<BTreeMap<PeerId, String>>>) {
    let called = |id: PeerId| names.borrow().get(&id).cloned().unwrap_or_else(|| short(id));
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => {
                page::news(&format!("{} is here", short(peer.id())));
                if let Err(error) = peer.queue_json(&Name { name: own_name.clone() }) {
                    page::news(&error.to_string());
                }
            }
            Event::Message(message) => match name_in(&message) {
                Some(name) => drop(names.borrow_mut().insert(message.peer().id(), name)),
                None => page::said(&called(message.peer().id()), message.payload().as_str()),
            },
            Event::PeerClosed(closed) => {
                page::news(&format!("{} has left ({})", called(closed.peer.id()), closed.reason));
                names.borrow_mut().remove(&closed.peer.id());
            }
            other => page::news(&other.to_string()),
        }
    }
}

fn name_in(message: &Message) -> Option<String> {
    let Name { name } = message.payload().as_json()?.parse().ok()?;
    Some(name.chars().take(MAX_NAME_CHARS).collect())
}

/// Draws the swarm again and again.
async fn watch(swarm: Swarm, names: Rc<RefCell<BTreeMap<PeerId, String>>>) {
    loop {
        let peers = swarm.peers();
        let mut lines = Vec::with_capacity(peers.len());
        for peer in &peers {
            let name = names.borrow().get(&peer.id()).cloned().unwrap_or_default();
            let stats = peer.connection_stats().await;
            let time = stats.iter().find_map(|stats| stats.round_trip);
            let time = time.map_or_else(String::new, |time| format!(", {} ms", time.as_millis()));
            lines.push(format!("{name} {}{time}", short(peer.id())));
        }
        page::set_text("count", &peers.len().to_string());
        page::list("peers", &lines);
        let trackers = swarm.node().tracker_stats().trackers;
        let members =
            |state: &p2pt::TrackerState| state.swarms.get(&swarm.info_hash()).and_then(|swarm| swarm.members());
        let shown = trackers.iter().map(|state| {
            let members = members(state).map_or_else(String::new, |members| format!(", {members} in the room"));
            format!("{}: {}{members}", state.url, state.status)
        });
        page::list("trackers", &shown.collect::<Vec<_>>());
        p2pt_rt::sleep(REDRAW).await;
    }
}

fn short(id: PeerId) -> String {
    id.to_string().chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect()
}
