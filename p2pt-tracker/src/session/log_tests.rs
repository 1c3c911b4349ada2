//! What the log says of one socket's life.

use std::io;
use std::sync::{Arc, Mutex};

use super::test_support::*;
use super::{Input, SocketEnd};
use crate::ClientConfig;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_change_of_a_socket_and_of_its_offers_is_logged_and_no_description_is() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut harness = Harness::new(ClientConfig::default());
        harness.input(Input::Join(SWARM()));
        harness.connected();
        harness.input(Input::Offers { info_hash: SWARM(), offers: offers(1..=5) });
        harness.receive(reply(SWARM(), 120, 9));
        harness.receive(forwarded_offer(SWARM(), PEER(), 50));
        harness.input(Input::Answer {
            info_hash: SWARM(),
            to: PEER(),
            offer_id: offer_id(50),
            sdp: "our answer".into(),
        });
        harness.receive(forwarded_answer(SWARM(), PEER(), 1));
        harness.disconnected_by(SocketEnd::Broken("lost".into()));
        harness.advance(secs(100));
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let mut rest = log.as_str();
    for event in [
        "DEBUG p2pt_tracker::session::socket: connecting",
        "DEBUG p2pt_tracker::session::socket: connected",
        "announce sent",
        "frame sent",
        "announce replied to",
        "offer received",
        "answer sent",
        "answer received",
        "reconnecting after=",
        "disconnected reason=the connection broke: lost",
        "offer expired",
    ] {
        let at = rest.find(event).unwrap_or_else(|| panic!("no {event:?} in\n{rest}\nof\n{log}"));
        rest = &rest[at + event.len()..];
    }
    assert!(log.contains("offers=5"), "{log}");
    for description in ["offer 1", "their offer", "our answer", "their answer"] {
        assert!(!log.contains(description), "{description:?} in\n{log}");
    }
}
