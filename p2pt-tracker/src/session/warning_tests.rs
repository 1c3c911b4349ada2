//! What a session says of trouble, and what it counts.

use std::time::Duration;

use p2pt_proto::{Failure, InfoHash, TrackerMessage};

use super::Input;
use super::test_support::*;
use crate::{ClientConfig, SocketEnd, TrackerCounters, TrackerEvent, TrackerWarning};

impl Harness {
    fn warnings(&mut self) -> Vec<TrackerWarning> {
        let warning = |event| if let TrackerEvent::Warning(warning) = event { Some(warning) } else { None };
        self.events().into_iter().filter_map(warning).collect()
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
