//! What the log says of one socket's life, at the client and at the server.
//!
//! One test in a process of its own: other tests that log at the same time without a subscriber would decide for some
//! events that they are of no interest.

mod support;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use p2pt_proto::{Announce, ClientMessage, ForwardedAnswer, ForwardedOffer, Offer, TrackerMessage};
use p2pt_tracker::{ServerConfig, TrackerEvent, TrackerService, TrackerWarning};
use support::{Setup, offer_id, peer, reply, swarm};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic before").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Takes what was logged.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().expect("no panic before"))).expect("text")
    }

    /// Takes what was logged, and looks for these texts one after the other.
    fn expect(&self, expected: &[&str]) {
        let log = self.take();
        let mut rest = log.as_str();
        for event in expected {
            let at = rest.find(event).unwrap_or_else(|| panic!("no {event:?} in\n{rest}\nof\n{log}"));
            rest = &rest[at + event.len()..];
        }
        for description in ["offer 1", "their offer", "our answer", "their answer"] {
            assert!(!log.contains(description), "{description:?} in\n{log}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_socket_and_of_its_offers_is_logged_and_no_description_is() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("p2pt_tracker=trace"))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    client().await;
    log.expect(&[
        "DEBUG tracker{url=ws://",
        ": connecting",
        ": connected",
        "announce sent swarm=",
        "offers=5",
        "TRACE tracker{url=ws://",
        "frame sent kind=\"text\" bytes=",
        "frame received bytes=",
        "announce replied to swarm=",
        "offer received swarm=",
        "answer sent swarm=",
        "answer received swarm=",
        "disconnected reason=",
        "offer expired swarm=",
    ]);
    second_node().await;
    let said = log.take();
    assert_eq!(said.matches(" WARN ").count(), 1, "once a minute: {said}");
    assert!(said.contains("this node's peer id is in use elsewhere swarm="), "{said}");
    server().await;
    log.expect(&[
        "DEBUG socket{address=192.0.2.1}: p2pt_tracker::server::connection: socket opened connection=1",
        "socket{address=192.0.2.1}: p2pt_tracker::swarms: announce connection=1 swarm=",
        "offers=1",
        "socket{address=192.0.2.1}: p2pt_tracker::swarms: request refused connection=1 reason=",
        "socket closed connection=1 reason=\"closed by the client\"",
    ]);
    let proxies = vec!["192.0.2.1".parse().expect("an address")];
    let service = TrackerService::new(ServerConfig::default().trusted_proxies(proxies));
    proxied(&service).await;
    let complaints = |log: &str| {
        log.matches("WARN socket{address=192.0.2.1}: p2pt_tracker::server::refusals: a proxy's word").count()
    };
    let first = log.take();
    assert_eq!(complaints(&first), 1, "one complaint in a minute: {first}");
    tokio::time::advance(Duration::from_secs(61)).await;
    proxied(&service).await;
    assert_eq!(complaints(&log.take()), 1);
    refused(&service).await;
    log.expect(&[
        "DEBUG socket{address=192.0.2.1 client=198.51.100.7}: p2pt_tracker::server::refusals: socket or request refused",
    ]);
}

/// Another node takes part under our peer id.
async fn second_node() {
    let mut harness = Setup::default().start();
    let mut tracker = harness.announced().await;
    tracker.send(reply(2)).await;
    harness.event_where(|event| matches!(event, TrackerEvent::Announced { .. })).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    for number in 100..103 {
        let offer = ForwardedOffer::new(swarm(), peer(1), offer_id(number), "their offer");
        tracker.send(TrackerMessage::Offer(offer)).await;
    }
    let is_ours = |event: &TrackerEvent| {
        matches!(event, TrackerEvent::Warning { warning: TrackerWarning::PeerIdInUse { .. }, .. })
    };
    harness.event_where(is_ours).await;
}

async fn client() {
    let mut harness = Setup::default().start();
    let mut tracker = harness.announced().await;
    tracker.send(reply(2)).await;
    tracker.send(TrackerMessage::Offer(ForwardedOffer::new(swarm(), peer(2), offer_id(9), "their offer"))).await;
    harness.event_where(|event| matches!(event, TrackerEvent::Offer { .. })).await;
    harness.client.answer(swarm(), peer(2), offer_id(9), "our answer".into());
    assert!(matches!(tracker.next().await, Some(ClientMessage::Answer(_))));
    tracker.send(TrackerMessage::Answer(ForwardedAnswer::new(swarm(), peer(2), offer_id(1), "their answer"))).await;
    harness.event_where(|event| matches!(event, TrackerEvent::Answer { .. })).await;
    drop(tracker);
    harness.event_where(|event| matches!(event, TrackerEvent::Disconnected { .. })).await;
    harness.event_where(|event| matches!(event, TrackerEvent::OfferEnded { .. })).await;
}

async fn server() {
    let service = TrackerService::new(ServerConfig::default());
    let (near, far) = duplex(64 * 1024);
    let served = tokio::spawn(service.serve_from([192, 0, 2, 1].into(), far));
    let (mut socket, _) = client_async("ws://tracker.test/", near).await.expect("a handshake");
    let announce = Announce::new(swarm(), peer(1)).offers([Offer::new(offer_id(1), "offer 1")]);
    for frame in [ClientMessage::Announce(announce).encode(), "nonsense".to_owned()] {
        socket.send(Message::text(frame)).await.expect("an open socket");
        socket.next().await.expect("a reply").expect("a frame");
    }
    socket.close(None).await.expect("an open socket");
    while let Some(Ok(_)) = socket.next().await {}
    tokio::time::timeout(Duration::from_secs(60), served).await.expect("an end in time").expect("no panic");
}

/// Three requests of a proxy that does not say who its client is.
async fn proxied(service: &TrackerService) {
    for _ in 0..3 {
        let (mut near, far) = duplex(1024);
        let served = tokio::spawn(service.serve_from([192, 0, 2, 1].into(), far));
        near.write_all(b"GET / HTTP/1.1\r\nX-Forwarded-For: me\r\n\r\n").await.expect("the tracker reads");
        let mut response = String::new();
        near.read_to_string(&mut response).await.expect("a response");
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        drop(near);
        served.await.expect("no panic");
    }
}

/// A request of a client behind a proxy, for a page that there is not.
async fn refused(service: &TrackerService) {
    let (mut near, far) = duplex(1024);
    let served = tokio::spawn(service.serve_from([192, 0, 2, 1].into(), far));
    near.write_all(b"GET /nothing HTTP/1.1\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n").await.expect("the tracker reads");
    let mut response = String::new();
    near.read_to_string(&mut response).await.expect("a response");
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    drop(near);
    served.await.expect("no panic");
}
