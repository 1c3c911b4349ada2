//! What a session says of trouble, and what it counts.

use std::mem::discriminant;
use std::time::Duration;

use p2pt_proto::{AnnounceReply, Failure, ForwardedOffer, InfoHash, TrackerMessage};

use super::Input;
use super::test_support::*;
use crate::{ClientConfig, SocketEnd, TrackerCounters, TrackerEvent, TrackerWarning};

impl Harness {
    fn warnings(&mut self) -> Vec<TrackerWarning> {
        let warning = |event| if let TrackerEvent::Warning { warning, .. } = event { Some(warning) } else { None };
        self.events().into_iter().filter_map(warning).collect()
    }

    /// The warnings of this kind, by how many each of them says were left out.
    fn missed(&mut self, kind: &TrackerWarning) -> Vec<u64> {
        let missed = |event| match event {
            TrackerEvent::Warning { warning, missed } if discriminant(&warning) == discriminant(kind) => Some(missed),
            _ => None,
        };
        self.events().into_iter().filter_map(missed).collect()
    }

    fn counters(&self) -> TrackerCounters {
        self.session.state(self.now).counters
    }
}

#[test]
fn a_lost_socket_is_reported_at_once() {
    let mut harness = Harness::announced();
    harness.disconnected();
    let warnings = harness.warnings();
    let [TrackerWarning::Disconnected { end: SocketEnd::Closed { .. }, retry_in }] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!((secs(1)..=secs(2)).contains(retry_in), "{retry_in:?}");
    harness.advance(millis(500));
    let error = harness.session.state(harness.now).last_error.unwrap();
    assert_eq!((&error.warning, error.age), (&warnings[0], millis(500)));
    // What we close ourselves is no loss.
    let mut harness = Harness::announced();
    harness.input(Input::Leave(SWARM()));
    harness.advance(secs(10));
    harness.disconnected();
    assert_eq!((harness.warnings(), harness.counters().sockets_lost), (vec![], 0));
    let mut harness = Harness::announced();
    harness.input(Input::Stop);
    harness.disconnected();
    assert_eq!((harness.warnings(), harness.counters().sockets_lost), (vec![], 0));
}

#[test]
fn silence_is_told_once_until_there_was_a_reply() {
    let mut harness = Harness::announced();
    harness.advance(millis(29_999));
    assert_eq!(harness.warnings(), []);
    harness.advance(millis(1));
    assert_eq!(harness.warnings(), [TrackerWarning::Timeout { info_hash: SWARM(), waited: secs(30) }]);
    harness.advance(secs(300));
    assert_eq!(harness.warnings(), []);
    harness.receive(reply(SWARM(), 120, 9));
    let warnings = harness.warnings();
    assert!(matches!(warnings[..], [TrackerWarning::Slow { took, .. }] if took == secs(330)), "{warnings:?}");
    harness.advance(secs(149));
    assert_eq!(harness.warnings(), []);
    harness.advance(secs(1));
    assert_eq!(harness.warnings(), [TrackerWarning::Timeout { info_hash: SWARM(), waited: secs(30) }]);
}

#[test]
fn whoever_refuses_is_not_silent() {
    let mut harness = Harness::announced();
    for _ in 0..3 {
        harness.receive(TrackerMessage::Failure(Failure::new("no")));
        harness.advance(secs(30));
    }
    let warnings = harness.warnings();
    assert!(warnings.iter().all(|warning| matches!(warning, TrackerWarning::Failure { .. })), "{warnings:?}");
}

#[test]
fn a_slow_tracker_is_told_of_once_until_it_is_quick_again() {
    let mut harness = Harness::announced();
    let mut reported = Vec::new();
    for delay in [8, 8, 1, 8, 5] {
        harness.advance(secs(delay));
        harness.receive(reply(SWARM(), 20, 9));
        assert_eq!(harness.session.state(harness.now).swarms[&SWARM()].reply_time, Some(secs(delay)));
        reported.push(harness.warnings());
        // Up to the next announce.
        harness.advance(secs(20 - delay));
    }
    let slow = vec![TrackerWarning::Slow { info_hash: SWARM(), took: secs(8) }];
    assert_eq!(reported, [slow.clone(), vec![], vec![], slow, vec![]]);
}

#[test]
fn absurd_intervals_are_told_of_once_a_minute_and_others_not() {
    for (named, absurd) in
        [(0, true), (4, true), (5, false), (20, false), (1800, false), (86_400, false), (86_401, true)]
    {
        let mut harness = Harness::announced();
        harness.receive(reply(SWARM(), named, 9));
        harness.receive(reply(SWARM(), named, 9));
        let used = secs(named.clamp(10, 120));
        let expected = TrackerWarning::AbsurdInterval { named: secs(named), used };
        assert_eq!(harness.warnings(), if absurd { vec![expected] } else { vec![] }, "{named}");
    }
}

#[test]
fn a_few_late_frames_are_no_news_and_many_are() {
    let foreign = |n: u32| forwarded_offer(InfoHash::of(&n.to_string()), PEER(), n);
    let stray = |n: u32| forwarded_answer(SWARM(), PEER(), 1000 + n);
    let warning_of_foreign = TrackerWarning::ForeignSwarm { info_hash: InfoHash::of("8") };
    let warning_of_stray = TrackerWarning::StrayAnswers { info_hash: SWARM() };
    type Frame<'a> = &'a dyn Fn(u32) -> TrackerMessage;
    for (frame, reported) in [(&foreign as Frame, warning_of_foreign), (&stray as Frame, warning_of_stray)] {
        let mut harness = Harness::announced();
        harness.receive(reply(SWARM(), 120, 9));
        for n in 0..8 {
            harness.receive(frame(n));
        }
        assert_eq!(harness.warnings(), []);
        for n in 8..100 {
            harness.receive(frame(n));
        }
        assert_eq!(harness.warnings(), [reported]);
        assert_eq!(harness.counters().frames_ignored, 100);
    }
}

#[test]
fn nonsense_is_told_of_once_a_minute() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    for _ in 0..3 {
        for _ in 0..100 {
            harness.receive_text("{");
        }
        assert!(matches!(harness.warnings()[..], [TrackerWarning::BadFrame { .. }]));
        harness.advance(secs(60));
    }
}

#[test]
fn of_each_kind_one_a_minute_is_reported_with_how_many_were_left_out() {
    let (info_hash, text) = (SWARM(), String::new);
    let frame = |message: TrackerMessage| move |harness: &mut Harness, _| harness.receive(message.clone());
    let text_frame = |text: &'static str| move |harness: &mut Harness, _| harness.receive_text(text);
    let failure = |harness: &mut Harness, n: u32| {
        harness.receive(TrackerMessage::Failure(Failure::new(format!("reason {n}"))));
    };
    let late = frame(forwarded_answer(info_hash, PEER(), 1000));
    let large = ForwardedOffer::new(info_hash, PEER(), offer_id(9), "x".repeat(100_000));
    let warned = AnnounceReply::new(info_hash).warning("slow down").interval(secs(120));
    type Cause<'a> = &'a dyn Fn(&mut Harness, u32);
    // Each with how many of them pass as late frames.
    for (cause, kind, late) in [
        (&failure as Cause, TrackerWarning::Failure { reason: text(), info_hash: None }, 0),
        (&frame(TrackerMessage::Announced(warned)), TrackerWarning::Message { message: text(), info_hash }, 0),
        (&text_frame("{"), TrackerWarning::BadFrame { reason: text() }, 0),
        (&text_frame("\u{feff}{}"), TrackerWarning::OddFields { fields: vec![] }, 0),
        (&frame(reply(info_hash, 0, 9)), TrackerWarning::AbsurdInterval { named: secs(0), used: secs(10) }, 0),
        (&frame(TrackerMessage::Offer(large)), TrackerWarning::OfferFlood { info_hash }, 0),
        (&frame(forwarded_offer(OTHER_SWARM(), PEER(), 1)), TrackerWarning::ForeignSwarm { info_hash }, 8),
        (&late, TrackerWarning::StrayAnswers { info_hash }, 8),
    ] {
        let mut harness = Harness::announced();
        harness.receive(reply(SWARM(), 120, 9));
        (0..1137).for_each(|n| cause(&mut harness, n));
        harness.advance(millis(59_999));
        cause(&mut harness, 1137);
        assert_eq!(harness.missed(&kind), [0], "{kind}");
        harness.advance(millis(1));
        (0..=late).for_each(|n| cause(&mut harness, 1138 + n));
        assert_eq!(harness.missed(&kind), [1137 - late as u64], "{kind}");
        assert!(harness.counters().warnings >= 1139 - late as u64, "{kind}");
    }
}

#[test]
fn the_latest_of_those_left_out_is_kept() {
    let mut harness = Harness::announced();
    for n in 0..3 {
        harness.receive(TrackerMessage::Failure(Failure::new(format!("reason {n}"))));
    }
    let reason = |n: u32| TrackerWarning::Failure { reason: format!("reason {n}"), info_hash: None };
    assert_eq!(harness.warnings(), [reason(0)]);
    assert_eq!(harness.session.state(harness.now).last_error.unwrap().warning, reason(2));
    // Another kind is news all the same.
    harness.receive_text("{");
    assert!(matches!(harness.warnings()[..], [TrackerWarning::BadFrame { .. }]));
}

#[test]
fn a_tracker_that_closes_each_socket_is_told_of_once_a_minute() {
    let mut harness = Harness::new(ClientConfig { backoff_max: secs(2), ..ClientConfig::default() });
    harness.input(Input::Join(SWARM()));
    let mut lost = 0;
    for _ in 0..100 {
        harness.connected();
        harness.disconnected();
        lost += 1;
        harness.advance(secs(2));
    }
    let end = SocketEnd::Closed { code: None, reason: None };
    let missed = harness.missed(&TrackerWarning::Disconnected { end, retry_in: secs(0) });
    assert!((2..=4).contains(&missed.len()), "{missed:?} of {lost} in 200 s");
    assert!(missed[1..].iter().all(|missed| (29..=32).contains(missed)), "{missed:?}");
}

#[test]
fn each_refused_attempt_is_an_event_and_few_are_warned_of() {
    let mut harness = Harness::new(ClientConfig { backoff_max: secs(2), ..ClientConfig::default() });
    harness.input(Input::Join(SWARM()));
    let mut events = Vec::new();
    for _ in 0..30 {
        harness.refused();
        events.extend(harness.events());
        harness.advance(secs(2));
    }
    let attempts = events.iter().filter(|event| matches!(event, TrackerEvent::ConnectFailed { .. })).count();
    let warnings = events.iter().filter(|event| matches!(event, TrackerEvent::Warning { .. })).count();
    assert_eq!((attempts, warnings), (30, 1));
}

#[test]
fn odd_fields_are_named_and_the_frame_is_used() {
    let mut harness = Harness::announced();
    let info_hash = SWARM().to_wire();
    let frame = serde_json::json!({
        "action": "announce", "info_hash": info_hash, "interval": "60", "complete": -1, "incomplete": "4", "tracker id": 7,
    });
    harness.receive_text(&frame.to_string());
    let events = harness.events();
    let [
        TrackerEvent::Warning { warning: warning @ TrackerWarning::OddFields { fields }, missed: 0 },
        TrackerEvent::Announced { complete: None, incomplete: Some(4), interval, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*interval, secs(60));
    assert_eq!(
        fields.iter().map(|odd| &*odd.field).collect::<Vec<_>>(),
        ["interval", "tracker id", "complete", "incomplete"]
    );
    assert!(
        warning
            .to_string()
            .starts_with("odd fields in a frame: interval: expected a number of seconds, found a string")
    );
    assert_eq!(harness.counters().frames_ignored, 0);
}

#[test]
fn counts_what_became_of_offers() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    harness.receive(forwarded_answer(SWARM(), PEER(), 2));
    harness.input(Input::Offers { info_hash: SWARM(), offers: offers([6]) });
    harness.advance(Duration::from_secs(100));
    let counters = harness.counters();
    assert_eq!((counters.offers_made, counters.offers_sent, counters.answers_received), (6, 5, 1));
    assert_eq!(counters.offers_unanswered, 4, "one was answered, one never announced");
    assert!(counters.frames_sent >= counters.announces_sent && counters.frames_received >= counters.answers_received);
}

#[test]
fn counts_connections_and_warnings() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.refused();
    harness.advance(secs(2));
    harness.connected();
    harness.disconnected();
    let counters = harness.counters();
    assert_eq!((counters.connects, counters.connects_failed, counters.sockets_lost), (1, 1, 1));
    assert_eq!(counters.warnings, harness.warnings().len() as u64);
}
