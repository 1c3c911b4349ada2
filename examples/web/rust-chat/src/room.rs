//! A room: what is said in it, and the swarm behind it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use p2pt::tracker::TrackerStatus;
use p2pt::{Event, Events, Message, Peer, PeerId, Swarm, TrackerState, TransportError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::members::{Members, colour, short};
use crate::page::{self, Row, Speaker};

/// How often the swarm is drawn anew when nothing happens in it: round trips change.
const REDRAW: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typing {
    #[serde(rename = "typing")]
    _is_typing: bool,
}

/// A room that this page is in.
pub(crate) struct Room(Rc<Inner>);

struct Inner {
    swarm: Swarm,
    own_name: String,
    members: RefCell<Members>,
    /// An event has come, by which the swarm may be another.
    changed: Notify,
    /// The page shows another room by now, or none.
    is_left: Cell<bool>,
}

impl Room {
    /// Shows the room from now on.
    pub(crate) fn enter(swarm: Swarm, events: Events, own_name: String) -> Self {
        page::clear("log");
        let inner = Rc::new(Inner {
            swarm,
            own_name,
            members: RefCell::default(),
            changed: Notify::new(),
            is_left: Cell::new(false),
        });
        drop(p2pt_rt::spawn(inner.clone().watch()));
        drop(p2pt_rt::spawn(inner.clone().listen(events)));
        Self(inner)
    }

    /// Says a line to all who are here.
    pub(crate) fn say(&self, line: &str) {
        let Self(inner) = self;
        if line.is_empty() {
            return;
        }
        page::said(&Speaker { name: &inner.own_name, id: inner.swarm.peer_id(), class: "own" }, line);
        if inner.swarm.peers().is_empty() {
            page::note("No other peer is here yet, so this line was read by none.");
        }
        for (peer, error) in inner.swarm.queue_all(line) {
            page::warn(&format!("Not sent to {}: {error}", inner.shown(peer.id())));
        }
    }

    /// Leaves: peers and trackers are told.
    pub(crate) async fn leave(self) {
        self.0.is_left.set(true);
        self.0.swarm.shutdown().await;
    }
}

impl Inner {
    fn shown(&self, id: PeerId) -> String {
        self.members.borrow().shown(id, &self.own_name)
    }

    /// Shows what is said and who comes and goes, until the node has stopped.
    async fn listen(self: Rc<Self>, mut events: Events) {
        while let Some(event) = events.next().await {
            if !self.is_left.get() {
                self.show(event);
                self.changed.notify_one();
            }
        }
    }

    fn show(&self, event: Event) {
        match event {
            Event::PeerConnected(peer) => {
                page::note(&format!("{} is here", short(peer.id())));
                if let Err(error) = peer.queue_json(&Name { name: self.own_name.clone() }) {
                    page::warn(&format!("Not sent to {}: {error}", short(peer.id())));
                }
            }
            Event::Message(message) => self.hear(&message),
            Event::PeerClosed(closed) => {
                page::note(&format!("{} has left ({})", self.shown(closed.peer.id()), closed.reason));
                self.members.borrow_mut().forget(closed.peer.id());
            }
            Event::TrackerConnected(connected) => page::note(&format!("{} is reached", connected.tracker)),
            Event::TrackerWarning { tracker, warning, .. } => page::warn(&format!("{tracker}: {warning}")),
            Event::ConnectionFailed(failed) => {
                page::warn(&format!("No connection to {}: {}", short(failed.peer_id), explained(&failed.error)));
            }
            Event::OfferFailed(error) => page::warn(&format!("No peer can be invited: {}", explained(&error))),
            // This room turns no peer away.
            Event::ConnectionRejected(_) => {}
            other => page::warn(&other.to_string()),
        }
    }

    fn hear(&self, message: &Message) {
        let id = message.peer().id();
        let before = self.shown(id);
        match name_in(message) {
            Some(name) => {
                if self.members.borrow_mut().rename(id, &name) {
                    page::note(&format!("{before} is {}", self.shown(id)));
                }
            }
            // Another page says that a line is being written.
            None if is_typing(message) => {}
            None => {
                // Bytes are no line of this chat.
                if let Some(line) = message.payload().as_str() {
                    page::said(&Speaker { name: &before, id, class: &colour(id) }, line);
                }
            }
        }
    }

    /// Draws the swarm again and again.
    async fn watch(self: Rc<Self>) {
        while !self.is_left.get() {
            let peers = self.swarm.peers();
            let mut rows = Vec::with_capacity(peers.len());
            for peer in &peers {
                rows.push(self.peer_row(peer).await);
            }
            if self.is_left.get() {
                return;
            }
            page::set_text("count", &counted(peers.len(), "peer"));
            page::show("alone", peers.is_empty());
            page::list("peers", &rows);
            let trackers = self.swarm.node().tracker_stats().trackers;
            page::list("trackers", &trackers.iter().map(|state| self.tracker_row(state)).collect::<Vec<_>>());
            // Either is a reason to draw.
            let _ = p2pt_rt::timeout(REDRAW, self.changed.notified()).await;
        }
    }

    async fn peer_row(&self, peer: &Peer) -> Row {
        let mut details = vec![short(peer.id())];
        if let Some(stats) = peer.stats().await {
            let ends = [stats.local_candidate.as_deref(), stats.remote_candidate.as_deref()];
            let is_relayed = ends.contains(&Some("relay"));
            details.push(if is_relayed { "through a relay" } else { "direct" }.to_owned());
            details.extend(stats.round_trip.map(|time| format!("{} ms", time.as_millis().max(1))));
        }
        let name = self.members.borrow().name(peer.id()).unwrap_or("no name yet").to_owned();
        Row { state: "up", title: name, class: colour(peer.id()), details: details.join(" · ") }
    }

    fn tracker_row(&self, tracker: &TrackerState) -> Row {
        let state = match tracker.status {
            TrackerStatus::Connected => "up",
            TrackerStatus::WaitingToReconnect { .. } => "down",
            _ => "between",
        };
        let swarm = tracker.swarms.get(&self.swarm.info_hash());
        let mut details = vec![tracker.status.to_string()];
        let members = swarm.and_then(|swarm| swarm.members());
        details.extend(members.map(|members| counted(members as usize, "member")));
        details.extend(
            swarm.and_then(|swarm| swarm.reply_time).map(|time| format!("replies in {} ms", time.as_millis().max(1))),
        );
        Row { state, title: tracker.url.to_string(), class: String::new(), details: details.join(" · ") }
    }
}

/// Why something failed, and what to do about it.
fn explained(error: &TransportError) -> String {
    match error.advice() {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn is_typing(message: &Message) -> bool {
    message.payload().as_json().is_some_and(|json| json.parse::<Typing>().is_ok())
}

fn name_in(message: &Message) -> Option<String> {
    let Name { name } = message.payload().as_json()?.parse().ok()?;
    Some(name)
}
