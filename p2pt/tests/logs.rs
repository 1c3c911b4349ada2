//! What the log says of a node's life and of requests without a response, and what it never says.
#![cfg(all(feature = "memory", feature = "server"))]

mod common;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{DEADLINE, Member, Place};
use p2pt::transport::memory::MemoryNetwork;
use p2pt::{Event, P2pt, RequestError, Transport, TransportError};
use p2pt_transport::memory::MemoryTransport;
use p2pt_transport::{PendingAnswer, PendingOffer};
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;

/// All that is logged on this thread while it lives.
struct Log {
    text: Text,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics while it writes").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn record() -> Self {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines so far that contain all of these.
    fn lines(&self, parts: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.text.0.lock().expect("as above").clone()).expect("UTF-8");
        text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned).collect()
    }

    /// The only line that contains all of these.
    fn line(&self, parts: &[&str]) -> String {
        let mut lines = self.lines(parts);
        assert_eq!(lines.len(), 1, "{parts:?}: {lines:#?}");
        lines.remove(0)
    }
}

/// A transport that remembers the descriptions it makes.
#[derive(Debug)]
struct Remembering {
    inner: Arc<MemoryTransport>,
    descriptions: Arc<Mutex<Vec<String>>>,
}

impl Remembering {
    fn remember(&self, sdp: &str) {
        self.descriptions.lock().expect("as above").push(sdp.to_owned());
    }
}

#[async_trait]
impl Transport for Remembering {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        self.inner.offer().await.inspect(|offer| self.remember(offer.sdp()))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        self.inner.answer(offer_sdp).await.inspect(|answer| self.remember(answer.sdp()))
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

/// The span of the node with this id.
fn node(id: u8) -> String {
    format!("node{{id={}}}", format!("{id:02x}").repeat(20))
}

fn peer(id: u8) -> String {
    format!("peer{{id={}}}", format!("{id:02x}").repeat(20))
}

/// What one node does with a peer that answers: a message, a request, a frame.
async fn talk(one: &mut Member, two: &mut Member) {
    one.peer.queue("a secret message").expect("room");
    let answering = async {
        while let Some(event) = two.events.next().await {
            if let Event::Message(message) = event
                && message.text() == Some("a secret question")
            {
                return message.respond("a secret answer").await.expect("sent");
            }
        }
    };
    let request = one.peer.request("a secret question");
    let (response, ()) = tokio::join!(request, answering);
    assert_eq!(response.expect("answered").text(), Some("a secret answer"));
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_life_is_in_order_and_holds_no_message_and_no_description() {
    let log = Log::record();
    let (place, descriptions) = (Place::new(), Arc::new(Mutex::new(Vec::new())));
    let [one, two] = [1, 2].map(|id| {
        let transport = Remembering { inner: place.transport(), descriptions: descriptions.clone() };
        place.builder(id, Arc::new(transport)).join("room")
    });
    let (one, two) = (one.await.expect("a node starts"), two.await.expect("a node starts"));
    let met = async { tokio::join!(Member::met(one), Member::met(two)) };
    let (mut one, mut two) = timeout(DEADLINE, met).await.expect("they meet");
    timeout(DEADLINE, talk(&mut one, &mut two)).await.expect("they talk");
    two.swarm.leave().await.expect("it was in the swarm");
    let closed = async { while !matches!(one.events.next().await, Some(Event::PeerClosed(_)) | None) {} };
    timeout(DEADLINE, closed).await.expect("the other has left");
    one.swarm.shutdown().await;

    let life = log.lines(&[&node(1)]);
    let mut rest = life.iter();
    for due in [
        "the node starts",
        "a tracker is added",
        "joins the swarm",
        "an announce takes offers",
        "an offer is made, and waits",
        "there is a socket to the tracker",
        "an announce is answered",
        "an attempt begins",
        "an attempt to connect has opened a channel",
        "a channel has opened",
        "the peer is connected",
        "message out",
        "frame out",
        "a request is sent",
        "frame in",
        "message in",
        "a request is answered",
        "the channel has closed",
        "the connection to the peer is over",
        "the peer is closed",
        "shuts down: flushes what is queued",
        "shuts down: leaves trackers and closes channels",
        "shuts down: ends the transport",
        "the node has stopped",
    ] {
        assert!(rest.any(|line| line.contains(due)), "{due:?} is missing, or at another place: {life:#?}");
    }
    log.line(&[&node(2), "leaves the swarm"]);
    log.line(&[&node(2), "has left the swarm"]);

    // A line tells by itself what it is about, at any level.
    let swarm = format!("swarm{{info_hash={}}}", p2pt::InfoHash::of("room"));
    let context = [node(1), swarm, peer(2)].join(":");
    log.line(&[&context, "a request is answered"]);
    assert!(log.lines(&["frame out"]).iter().all(|line| line.contains(":channel{id=")), "a frame has its channel");
    assert!(!log.lines(&[&context, ":channel{id=", "frame in"]).is_empty());

    let descriptions = descriptions.lock().expect("as above");
    let said: Vec<&str> = descriptions.iter().flat_map(|sdp| sdp.lines()).filter(|line| line.len() > 4).collect();
    assert!(said.len() >= 2, "an offer and its answer at least");
    for secret in said.into_iter().chain(["secret", "a=p2pt:1"]) {
        assert_eq!(log.lines(&[secret]), [""; 0], "{secret:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_sent_and_not_answered_says_so() {
    let log = Log::record();
    let (one, _two) = Place::new().pair().await;
    let error = one.peer.request("?").timeout(Duration::from_secs(5)).await.expect_err("no one answers");
    let RequestError::Timeout { sent: true, channel: Some(channel), sending, round_trip, .. } = &error else {
        panic!("{error:?}");
    };
    let text = error.to_string();
    assert!(text.contains(&format!("sent over channel {channel} after {sending:?}")), "{text}");
    assert!(round_trip.is_some() && text.contains("round-trip time"), "{text}");
    let line = log.line(&[&node(1), &peer(2), "a request has timed out", "after=5s", "sent=true"]);
    assert!(line.contains(&format!("channel={channel} ")) && line.contains("inbox_full=false"), "{line}");
    assert!(line.contains("round_trip=Some(") && line.contains("queued_bytes=0"), "{line}");
    log.line(&[&node(1), "a request is sent", &format!("channel={channel}")]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_queued_too_long_says_so() {
    let log = Log::record();
    let (one, _two) = Place::new().pair().await;
    // More than the inbox of the other, which is not read, and the channel hold.
    let large = || "x".repeat(1 << 20);
    for _ in 0..6 {
        one.peer.queue(large()).expect("room");
    }
    let request = one.peer.request("?").timeout(Duration::from_secs(5)).queue().expect("room");
    let error = request.await.expect_err("it is not sent");
    let RequestError::Timeout { sent: false, channel: None, sending, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*sending, Duration::from_secs(5));
    assert!(error.to_string().contains("still waited to be sent"), "{error}");
    let line = log.line(&[&node(1), &peer(2), "a request has timed out", "sent=false", "sending=5s"]);
    assert!(!line.contains("queued_bytes=0"), "{line}");
    assert!(!log.lines(&[&node(2), "the inbox is full"]).is_empty(), "the other side's log says why");
    while one.peer.queue(large()).is_ok() {}
    assert!(!log.lines(&[&node(1), &peer(2), "the send queue is full"]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_response_a_full_inbox_holds_back_says_so() {
    let log = Log::record();
    let (one, mut two) = Place::new().pair().await;
    let flooding = async {
        for _ in 0..4 {
            two.peer.send("x".repeat(1 << 19)).await.expect("sent");
        }
        while let Some(event) = two.events.next().await {
            if let Event::Message(question) = event {
                question.respond("!").await.expect("sent");
            }
        }
    };
    let asking = async {
        tokio::select! {
            () = flooding => panic!("the node lives"),
            answered = one.peer.request("?") => answered,
        }
    };
    let error = timeout(DEADLINE, asking).await.expect("in time").expect_err("it is held back");
    assert_eq!(error, RequestError::InboxFull);
    assert!(error.to_string().contains("not read"), "{error}");
    log.line(&["WARN", &node(1), &peer(2), "a request has failed", "held back", "sent=true"]);
    assert!(!log.lines(&[&node(1), &peer(2), "the inbox is full"]).is_empty());
    drop(one.events);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_without_a_tracker_has_the_log_warn_of_it() {
    let log = Log::record();
    let (_one, _two) = Place::new().pair().await;
    assert!(log.lines(&["no tracker"]).is_empty(), "these have one");
    let lonely = P2pt::builder().transport(MemoryNetwork::new(1).transport());
    let (_swarm, _events) = lonely.join("room").await.expect("it starts all the same");
    log.line(&["WARN", "the node has no tracker"]);
}
