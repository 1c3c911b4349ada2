//! PIPE.md and the code say the same.

use std::collections::BTreeSet;

use p2pt::{AnnounceUrl, Frame, InfoHash, Payload, PeerId, Role};
use serde_json::Value as Json;

use super::command::Command;
use super::event::{Event, GivenBack, LeftWith, Limits};
use super::known::{Counters, KnownConnection, KnownPeer, KnownSwarm, KnownTracker};
use super::who::{KnownCode, KnownPin, KnownTrust, Who};
use super::{FRAME_BYTES, MAX_CONFIRMATIONS, MAX_LINE_BYTES, PROTOCOL, SEND_QUEUE_BYTES};

const PAGE: &str = include_str!("../../PIPE.md");

/// The lines of the page's examples, commands and events.
fn examples() -> (Vec<&'static str>, Vec<Json>) {
    let blocks = PAGE.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap());
    let (events, commands) = blocks.flat_map(str::lines).partition::<Vec<_>, _>(|line| line.contains("{\"event\":"));
    (commands, events.into_iter().map(|line| serde_json::from_str(line).expect(line)).collect())
}

#[test]
fn every_command_has_an_example_and_every_example_is_a_command() {
    let (commands, _) = examples();
    let mut shown = BTreeSet::new();
    for line in commands {
        assert!(matches!(Command::parse(line.as_bytes()), Ok(Some(_))), "{line}");
        let command: serde_json::Map<String, Json> = serde_json::from_str(line).unwrap();
        shown.extend(command.into_iter().map(|(name, _)| name));
    }
    // What is no command is told the names of all.
    let complaint = Command::parse(br#"{"?":1}"#).unwrap_err().error;
    let known = complaint.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert_eq!(shown, known, "{complaint}");
    for name in known {
        assert!(PAGE.contains(&format!("`{name}`")), "{name} is not explained");
    }
}

/// An event of each kind, in each of its shapes, with the swarm it is about; the names and types of what is in them is
/// what counts.
fn events() -> Vec<Json> {
    let (peer, was) = (PeerId::from([0x5d; 20]), InfoHash::from([0xa9; 20]));
    let tracker: AnnounceUrl = "wss://tracker.example".parse().unwrap();
    let text = || "…".to_owned();
    let (object, number) = (Payload::from(p2pt::Json::from_text(r#"{"what is":"6 * 7"}"#).unwrap()), Payload::from(42));
    let (said, bytes) = (Payload::from("hello"), Payload::from(vec![0, 255, 0, 128]));
    let frames = [Frame::text("raw text"), Frame::binary(&b"\x00\xff\x00\x80"[..])];
    let counters = || Counters {
        connects: 1,
        connects_failed: 0,
        sockets_lost: 0,
        families_changed: 0,
        announces_sent: 4,
        offers_made: 5,
        offers_sent: 5,
        offers_unanswered: 3,
        answers_sent: 0,
        offers_received: 0,
        answers_received: 2,
        frames_ignored: 0,
        warnings: 0,
    };
    let well = KnownTracker {
        tracker: text(),
        status: "connected",
        retry_in: None,
        family: Some(text()),
        announced: true,
        members: Some(3),
        error: None,
        error_age: None,
        counters: counters(),
    };
    let ill = KnownTracker {
        retry_in: Some(1.5),
        family: None,
        members: None,
        error: Some(text()),
        error_age: Some(0.5),
        tracker: text(),
        counters: counters(),
        ..well
    };
    let channel = KnownConnection {
        local_candidate: Some(text()),
        remote_candidate: Some(text()),
        round_trip: Some(0.012),
        bytes_sent: 1200,
        bytes_received: 800,
    };
    let limits = || Limits {
        line_bytes: MAX_LINE_BYTES,
        message_bytes: p2pt::Limits::default().max_message_bytes,
        frame_bytes: FRAME_BYTES,
        send_queue_bytes: SEND_QUEUE_BYTES,
        receive_memory_bytes: 256 << 20,
        send_memory_bytes: 256 << 20,
        confirmations: MAX_CONFIRMATIONS,
        peers: 100,
    };
    let key = p2pt::trust::NodeKey::from_bytes(&[1; 32]).public_key();
    let first_use = || KnownTrust::FirstUse { through: 1 };
    let vouched = || KnownTrust::Vouched { through: 2, of: 3 };
    let pinned = || KnownTrust::Pinned { name: text() };
    let changed = |now| KnownTrust::Changed { name: text(), was: text(), now };
    let signed = |trust| Who {
        public_key: Some(text()),
        trust,
        safety_code: Some(KnownCode { words: ["…"; 3], emoji: ['…'; 5] }),
    };
    let unsigned = |trust| Who { public_key: None, trust, safety_code: None };
    let (id, role) = (7_423_550_154_500_396.into(), || Role::Offerer.into());
    let of_the_pipe = [
        Event::Ready {
            peer_id: peer,
            public_key: Some(key),
            info_hash: was,
            version: "0.1.0",
            protocol: PROTOCOL,
            limits: limits(),
        },
        Event::Ready {
            peer_id: peer,
            public_key: None,
            info_hash: was,
            version: "0.1.0",
            protocol: PROTOCOL,
            limits: limits(),
        },
        Event::Pinned { name: "ann", public_key: key },
        Event::Unpinned { name: "ann", public_key: key },
        Event::Pins { pins: vec![KnownPin { name: text(), public_key: text() }] },
        Event::Error { tag: None, peer: None, code: None, error: text() },
        Event::Swarms { swarms: vec![KnownSwarm { swarm: text(), identifier: Some(text()), peers: 2 }] },
        Event::Banned { peers: vec![text()] },
        Event::Stopped {},
    ];
    let of_swarms = [
        Event::Joined { identifier: "another-app" },
        Event::IdentifierSet { identifier: "yet-another-app", was },
        Event::Left {},
        Event::Error { tag: Some(text()), peer: Some(peer), code: None, error: text() },
        Event::Error { tag: Some(text()), peer: Some(peer), code: Some("no_acknowledgements"), error: text() },
        Event::TrackerConnected { tracker: &tracker, connected: 1, total: 2 },
        Event::TrackerWarning { tracker: &tracker, error: text(), missed: 0 },
        Event::ConnectionFailed {
            peer, tracker: &tracker, role: role(), error: text(), advice: Some("…"), missed: 0
        },
        Event::ConnectionFailed { peer, tracker: &tracker, role: role(), error: text(), advice: None, missed: 0 },
        Event::ServerWarning { server: "stun:a.example", error: text(), advice: "…" },
        Event::ConnectionRejected {
            peer,
            tracker: &tracker,
            role: role(),
            reason: text(),
            code: "banned",
            forgery: false,
            missed: 0,
        },
        Event::PeerConnected { peer, who: signed(first_use()) },
        Event::PeerConnected { peer, who: unsigned(KnownTrust::Unsigned) },
        Event::TrustChanged { peer, was: first_use(), now: vouched() },
        Event::TrustChanged { peer, was: vouched(), now: pinned() },
        Event::Trust { peer, who: signed(pinned()) },
        Event::Trust { peer, who: signed(changed(Some(text()))) },
        Event::Trust { peer, who: unsigned(changed(None)) },
        Event::PeerClosed {
            peer,
            reason: text(),
            unacknowledged_bytes: 0,
            unsent_messages: 0,
            unsent_bytes: 0,
            left: None,
            returned: Vec::new(),
        },
        Event::PeerClosed {
            peer,
            reason: text(),
            unacknowledged_bytes: 0,
            unsent_messages: 2,
            unsent_bytes: 9,
            left: Some(LeftWith { code: 7, text: "good night" }),
            returned: vec![
                GivenBack { id: &id, content: (&said).into() },
                GivenBack { id: &id, content: (&bytes).into() },
            ],
        },
        Event::Message { peer, id: &id, content: (&object).into() },
        Event::Response { peer, id: &id, tag: "q1", content: (&number).into() },
        Event::Message { peer, id: &id, content: (&bytes).into() },
        Event::Response { peer, id: &id, tag: "q1", content: (&bytes).into() },
        Event::Accepted { peer, tag: "s1" },
        Event::Acknowledged { peer, tag: "s2" },
        Event::Progress { peer, tag: "s2", sent: 1, acknowledged: 0, total: 2 },
        Event::Stream { peer, stream: 1, metadata: b"log"[..].into(), urgency: 3 },
        Event::Stream { peer, stream: 2, metadata: b"\xff"[..].into(), urgency: 3 },
        Event::StreamOpened { peer, stream: 3, tag: Some("o1") },
        Event::StreamOpened { peer, stream: 3, tag: None },
        Event::StreamData { peer, stream: 1, base64: b"bytes" },
        Event::StreamEnd { peer, stream: 1 },
        Event::StreamReset { peer, stream: 1, code: 7 },
        Event::StreamStopped { peer, stream: 1, code: 7 },
        Event::StreamFailed { peer, stream: 1, error: text() },
        Event::StreamWritten { peer, stream: 1, tag: "w1" },
        Event::StreamAcknowledged { peer, stream: 1, tag: "e1" },
        Event::Data { peer, frame: (&frames[0]).into() },
        Event::Data { peer, frame: (&frames[1]).into() },
        Event::Peers { peers: vec![KnownPeer { peer: text(), connections: 1, who: signed(vouched()) }] },
        Event::Stats { peer, connections: vec![channel] },
        Event::Trackers { connected: 1, total: 2, trackers: vec![well] },
        Event::Trackers { connected: 0, total: 1, trackers: vec![ill] },
    ];
    let of_the_pipe = of_the_pipe.iter().map(|event| event.to_line(None));
    let lines = of_the_pipe.chain(of_swarms.iter().map(|event| event.to_line(Some(was))));
    lines.map(|line| serde_json::from_slice(&line.unwrap()).unwrap()).collect()
}

/// The names and types of what is in a value, and the values of nothing but `event`, `protocol` and `limits`.
fn shape(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let of = |(name, value): (&String, &Json)| {
                let kept = matches!(name.as_str(), "event" | "protocol" | "limits");
                (name.clone(), if kept { value.clone() } else { shape(value) })
            };
            fields.iter().map(of).collect()
        }
        Json::Array(items) => items.iter().map(shape).collect(),
        Json::Null => "null".into(),
        Json::Bool(_) => "boolean".into(),
        Json::Number(number) if number.is_f64() => "fraction".into(),
        Json::Number(_) => "number".into(),
        Json::String(_) => "string".into(),
    }
}

fn names(value: &Json, found: &mut BTreeSet<String>) {
    match value {
        Json::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            // What is in a message is not ours.
            if name != "message" {
                names(value, found);
            }
        }),
        Json::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

#[test]
fn every_event_has_an_example_with_the_fields_that_are_written() {
    let (_, shown) = examples();
    let shapes = |events: &[Json]| events.iter().map(|event| shape(event).to_string()).collect::<BTreeSet<_>>();
    let written = events();
    let (shown, known) = (shapes(&shown), shapes(&written));
    assert_eq!(shown.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "examples that are never written");
    assert_eq!(known.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "events without an example");
    let mut fields = BTreeSet::new();
    written.iter().for_each(|event| names(event, &mut fields));
    for name in fields {
        assert!(PAGE.contains(&format!("`{name}`")) || name == "event", "{name} is not explained");
    }
}

/// A new event fails to compile here: it belongs into [`events`] and onto the page.
#[test]
fn no_event_is_forgotten() {
    let named = |event: &Event<'_>| match event {
        Event::Ready { .. } => "ready",
        Event::Joined { .. } => "joined",
        Event::IdentifierSet { .. } => "identifier_set",
        Event::Left {} => "left",
        Event::TrackerConnected { .. } => "tracker_connected",
        Event::TrackerWarning { .. } => "tracker_warning",
        Event::ConnectionFailed { .. } => "connection_failed",
        Event::ServerWarning { .. } => "server_warning",
        Event::ConnectionRejected { .. } => "connection_rejected",
        Event::PeerConnected { .. } => "peer_connected",
        Event::PeerClosed { .. } => "peer_closed",
        Event::Message { .. } => "message",
        Event::Response { .. } => "response",
        Event::Accepted { .. } => "accepted",
        Event::Acknowledged { .. } => "acknowledged",
        Event::Progress { .. } => "progress",
        Event::Stream { .. } => "stream",
        Event::StreamOpened { .. } => "stream_opened",
        Event::StreamData { .. } => "stream_data",
        Event::StreamEnd { .. } => "stream_end",
        Event::StreamReset { .. } => "stream_reset",
        Event::StreamStopped { .. } => "stream_stopped",
        Event::StreamFailed { .. } => "stream_failed",
        Event::StreamWritten { .. } => "stream_written",
        Event::StreamAcknowledged { .. } => "stream_acknowledged",
        Event::Data { .. } => "data",
        Event::Error { .. } => "error",
        Event::Swarms { .. } => "swarms",
        Event::Peers { .. } => "peers",
        Event::Stats { .. } => "stats",
        Event::Trackers { .. } => "trackers",
        Event::Banned { .. } => "banned",
        Event::TrustChanged { .. } => "trust_changed",
        Event::Trust { .. } => "trust",
        Event::Pinned { .. } => "pinned",
        Event::Unpinned { .. } => "unpinned",
        Event::Pins { .. } => "pins",
        Event::Stopped {} => "stopped",
    };
    assert_eq!(named(&Event::Stopped {}), "stopped");
    let kinds: BTreeSet<String> = events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.len(), 38, "each of the kinds above: {kinds:?}");
}
