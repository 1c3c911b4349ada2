//! A chat in a page: all who open the same room, in another page or with `p2pt chat`, are talked to directly. Beside the
//! conversation the page shows the swarm as it is: peers with their round trips, trackers with their states.
//!
//! A line is a text message, and a name is said once to each peer that comes, as the JSON `{"name": …}`: the format of
//! `p2pt chat`.
#![cfg(target_family = "wasm")]

mod members;
mod page;
mod room;

use std::cell::RefCell;
use std::rc::Rc;

use p2pt::P2pt;
use wasm_bindgen::prelude::*;

use crate::members::{one_line, short};
use crate::room::Room;

/// The room that this page is in, if it is in one.
type Current = Rc<RefCell<Option<Room>>>;

#[wasm_bindgen(start)]
fn main() {
    console_error_panic_hook::set_once();
    let current = Current::default();
    page::prefill();
    page::on("join", "submit", {
        let current = current.clone();
        move || {
            page::set_busy("enter", true);
            let current = current.clone();
            drop(p2pt_rt::spawn(async move {
                let problem = join(&current).await.err().map_or_else(String::new, |error| error.to_string());
                page::set_text("problem", &problem);
                page::set_busy("enter", false);
            }));
        }
    });
    page::on("say", "submit", {
        let current = current.clone();
        move || {
            if let Some(room) = &*current.borrow() {
                room.say(&page::take_value("line"));
            }
        }
    });
    page::on("leave", "click", move || {
        if let Some(room) = current.take() {
            page::show("room", false);
            page::show("welcome", true);
            page::focus("identifier");
            drop(p2pt_rt::spawn(async move { room.leave().await }));
        }
    });
    page::set_busy("enter", false);
}

async fn join(current: &Current) -> Result<(), p2pt::StartError> {
    let (identifier, tracker) = (page::value("identifier"), page::value("tracker"));
    let (swarm, events) = P2pt::builder().tracker(tracker.as_str()).join(identifier.as_str()).await?;
    let name = Some(one_line(&page::value("name"))).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| short(swarm.peer_id()));
    page::set_address(&[("identifier", &identifier), ("tracker", &tracker)]);
    page::set_text("title", &identifier);
    page::set_text("own-name", &name);
    page::set_text("own-id", &swarm.peer_id().to_string());
    page::show("welcome", false);
    page::show("room", true);
    page::focus("line");
    *current.borrow_mut() = Some(Room::enter(swarm, events, name));
    Ok(())
}
