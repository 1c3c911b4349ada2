//! What nodes send each other, and what they make of what comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use p2pt::{Event, Events, Message, Peer, PendingSend, Swarm, Urgency};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::ledger::{Class, Outcome, Shape};
use super::{Breakable, Faults, Run, streams};
use crate::sim::SimNode;

/// The code with which nodes leave.
pub(super) const LEFT: u64 = 77;

/// A node of a run.
#[derive(Debug)]
pub(super) struct Member<N: Breakable> {
    pub(super) number: usize,
    pub(super) swarm: Swarm,
    pub(super) node: N::Node,
    pub(super) reader: JoinHandle<()>,
}

/// One node's view of another.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) run: Arc<Run>,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) peer: Peer,
}

impl<N: Breakable> Member<N> {
    pub(super) fn start(run: Arc<Run>, number: usize, node: SimNode<N>) -> Self {
        run.numbers().insert(node.p2pt.peer_id(), number);
        let reader = tokio::spawn(read(run, number, node.events));
        Self { number, swarm: node.p2pt, node: node.node, reader }
    }
}

/// Reads the events of a node, with pauses, and sends to each peer while it is there.
async fn read(run: Arc<Run>, me: usize, mut events: Events) {
    let mut rng = run.rng(1000 + me as u64);
    let mut senders = BTreeMap::new();
    while let Some(event) = events.next().await {
        let number = |peer: &Peer| run.number(&peer.id());
        match event {
            Event::PeerConnected(peer) => {
                run.ledger.note(format!("at node {me}: peer {} connected", number(&peer)));
                let way = Way { run: run.clone(), from: me, to: number(&peer), peer };
                let sender = tokio::spawn(send(way.clone(), run.rng(rng.random())));
                if let Some(_earlier) = senders.insert(way.to, sender) {
                    run.ledger.violation(format!("node {me}: peer {} connected twice", way.to));
                }
            }
            Event::PeerClosed(closed) => {
                let to = number(&closed.peer);
                if let Some(sender) = senders.remove(&to) {
                    sender.abort();
                } else {
                    run.ledger.violation(format!("node {me}: peer {to} closed that was not connected"));
                }
                if !run.is_closing.load(Ordering::Relaxed) {
                    run.ledger.peer_closed((me, to), &closed);
                }
                for returned in closed.returned.iter() {
                    run.ledger.returned((me, to), &returned.payload);
                }
            }
            Event::Message(message) => {
                let from = number(message.peer());
                let request = run.ledger.delivered((from, me), message.payload());
                if let Some(request) = request.filter(|number| run.ledger.is_request(*number)) {
                    let way = Way { run: run.clone(), from: me, to: from, peer: message.peer().clone() };
                    tokio::spawn(respond(way, message, request, run.rng(rng.random())));
                }
            }
            Event::Stream(stream) => streams::accepted(&run, stream),
            Event::SendFailed(failed) => run.ledger.failed(1 + usize::try_from(failed.missed).unwrap_or(usize::MAX)),
            Event::InvalidFrame(invalid) => run.ledger.violation(format!("node {me}: {:?}", invalid.error)),
            _ => {}
        }
        if rng.random_ratio(1, 60) && !run.is_over() {
            sleep(Duration::from_millis(rng.random_range(1..3000))).await;
        }
    }
}

/// Sends to a peer until it closes, or this node is dead.
async fn send(way: Way, mut rng: StdRng) {
    while !way.run.ledger.is_dead(way.from) && way.run.take_one() {
        let kind = rng.random_range(0..100);
        let parts = (shape(&mut rng), urgency(&mut rng));
        match kind {
            0..50 => queue(&way, Class::Message, parts, None, &mut rng).await,
            50..60 => {
                // The sender is aborted with its peer: a task of its own sees the end.
                let way = way.clone();
                let sent = tokio::spawn(async move {
                    let number = way.begins(Class::Message, parts);
                    let message = way.peer.message(parts.0.payload(number)).urgency(parts.1);
                    way.run.ledger.ends_with(number, message.send().await, Outcome::Taken);
                });
                let _ = sent.await;
            }
            60..70 => drop(tokio::spawn(acknowledged(way.clone(), parts, None))),
            70..73 => {
                let patience = Duration::from_millis(rng.random_range(0..40));
                drop(tokio::spawn(acknowledged(way.clone(), parts, Some(patience))));
            }
            73..90 => drop(tokio::spawn(request(way.clone(), parts.0))),
            90..97 => {
                let number = way.begins(Class::Message, (parts.0, Urgency::DEFAULT));
                let outcome = match way.peer.try_send(parts.0.payload(number)) {
                    Ok(()) => Outcome::Taken,
                    Err(_) => Outcome::NotQueued,
                };
                way.run.ledger.ends(number, outcome);
            }
            _ => streams::open(&way, &mut rng),
        }
        // Between faults that are far apart there are long pauses, so that there is something to send all the time.
        let longest = if way.run.plan.faults == Faults::Apart && rng.random_ratio(1, 20) { 60_000 } else { 100 };
        let pause = if rng.random_ratio(1, 4) { 0 } else { rng.random_range(0..longest) };
        sleep(Duration::from_millis(pause)).await;
    }
}

impl Way {
    fn begins(&self, class: Class, (shape, urgency): (Shape, Urgency)) -> usize {
        self.run.ledger.begins((self.from, self.to), class, shape, urgency)
    }
}

/// Queues a message or a response, which is taken back now and then.
async fn queue(way: &Way, class: Class, (shape, urgency): (Shape, Urgency), to: Option<&Message>, rng: &mut StdRng) {
    let number = way.begins(class, (shape, urgency));
    let payload = shape.payload(number);
    let message = to.map_or_else(|| way.peer.message(payload.clone()), |request| request.response(payload.clone()));
    match message.urgency(urgency).queue() {
        Ok(pending) => {
            let at_once = rng.random_ratio(1, 3);
            let after = Duration::from_millis(if at_once { 0 } else { rng.random_range(0..60) });
            let cancelled_after = rng.random_ratio(1, 8).then_some(after);
            let way = way.clone();
            drop(tokio::spawn(confirmed(way, number, pending, cancelled_after)));
        }
        Err(_) => {
            way.run.ledger.ends(number, Outcome::NotQueued);
            sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn confirmed(way: Way, number: usize, pending: PendingSend, cancelled_after: Option<Duration>) {
    if let Some(after) = cancelled_after {
        if after > Duration::ZERO {
            sleep(after).await;
        }
        if pending.cancel().is_some() {
            way.run.ledger.ends(number, Outcome::Cancelled);
            return;
        }
    }
    let result = pending.acknowledged().await;
    way.run.ledger.ends_with(number, result, Outcome::Acknowledged);
}

/// Sends a message and waits until the other side has it, or for so long.
async fn acknowledged(way: Way, (shape, urgency): (Shape, Urgency), patience: Option<Duration>) {
    let number = way.begins(Class::Message, (shape, urgency));
    let sent = way.peer.message(shape.payload(number)).urgency(urgency).acknowledged();
    match patience {
        None => way.run.ledger.ends_with(number, sent.await, Outcome::Acknowledged),
        Some(patience) => match timeout(patience, sent).await {
            Ok(result) => way.run.ledger.ends_with(number, result, Outcome::Acknowledged),
            Err(_) => way.run.ledger.ends(number, Outcome::Dropped),
        },
    }
}

async fn request(way: Way, shape: Shape) {
    // What is empty cannot be answered by its number.
    let shape = if let Shape::Text(0) | Shape::Bytes(0) = shape { Shape::Text(1) } else { shape };
    let number = way.begins(Class::Request, (shape, Urgency::DEFAULT));
    match way.peer.request(shape.payload(number)).await {
        Ok(response) => {
            way.run.ledger.ends(number, Outcome::Answered);
            let answer = way.run.ledger.delivered((way.to, way.from), response.payload());
            if answer.is_some_and(|answer| !way.run.ledger.is_response(answer, number)) {
                way.run.ledger.violation(format!("request {number} was answered by {answer:?}"));
            }
        }
        Err(error) => way.run.ledger.request_fails(number, &error),
    }
}

async fn respond(way: Way, message: Message, request: usize, mut rng: StdRng) {
    sleep(Duration::from_millis(rng.random_range(0..100))).await;
    let (mut shape, urgency) = (shape(&mut rng), urgency(&mut rng));
    if let Shape::Text(0) | Shape::Bytes(0) = shape {
        shape = Shape::Bytes(1);
    }
    let class = Class::Response(request);
    let number = way.begins(class, (shape, urgency));
    let response = message.response(shape.payload(number)).urgency(urgency);
    if rng.random() {
        way.run.ledger.ends_with(number, response.send().await, Outcome::Taken);
    } else {
        way.run.ledger.ends_with(number, response.acknowledged().await, Outcome::Acknowledged);
    }
}

fn shape(rng: &mut StdRng) -> Shape {
    let bytes = match rng.random_range(0..1000) {
        0..20 => 0,
        20..650 => rng.random_range(1..200),
        650..900 => rng.random_range(200..4000),
        900..975 => rng.random_range(4000..70_000),
        975..998 => rng.random_range(70_000..300_000),
        _ => rng.random_range(1_000_000..6_000_000),
    };
    [Shape::Text, Shape::Json, Shape::Bytes][rng.random_range(0..3)](bytes)
}

fn urgency(rng: &mut StdRng) -> Urgency {
    match rng.random_range(0..10) {
        number @ 0..8 => Urgency::new(number).expect("a number up to 7"),
        _ => Urgency::DEFAULT,
    }
}
