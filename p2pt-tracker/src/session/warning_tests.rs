//! What a session says of trouble, and what it counts.

use std::time::Duration;

use p2pt_proto::{Failure, InfoHash, TrackerMessage};

use super::Input;
use super::test_support::*;
use crate::{ClientConfig, SocketEnd, TrackerCounters, TrackerEvent, TrackerWarning};

impl Bench {
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
    let mut bench = Bench::announced();
    bench.disconnected();
    let warnings = bench.warnings();
    let [TrackerWarning::Disconnected { end: SocketEnd::Closed { .. }, retry_in }] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!((secs(1)..=secs(2)).contains(retry_in), "{retry_in:?}");
    bench.advance(millis(500));
    let error = bench.session.state(bench.now).last_error.unwrap();
    assert_eq!((&error.warning, error.age), (&warnings[0], millis(500)));
    // What we close ourselves is no loss.
    let mut bench = Bench::announced();
    bench.input(Input::Leave(SWARM()));
    bench.advance(secs(10));
    bench.disconnected();
    assert_eq!((bench.warnings(), bench.counters().sockets_lost), (vec![], 0));
    let mut bench = Bench::announced();
    bench.input(Input::Stop);
    bench.disconnected();
    assert_eq!((bench.warnings(), bench.counters().sockets_lost), (vec![], 0));
}

#[test]
fn silence_is_told_once_until_there_was_a_reply() {
    let mut bench = Bench::announced();
    bench.advance(millis(29_999));
    assert_eq!(bench.warnings(), []);
    bench.advance(millis(1));
    assert_eq!(bench.warnings(), [TrackerWarning::Timeout { info_hash: SWARM(), waited: secs(30) }]);
    bench.advance(secs(300));
    assert_eq!(bench.warnings(), []);
    bench.receive(reply(SWARM(), 120, 9));
    let warnings = bench.warnings();
    assert!(matches!(warnings[..], [TrackerWarning::Slow { took, .. }] if took == secs(330)), "{warnings:?}");
    bench.advance(secs(149));
    assert_eq!(bench.warnings(), []);
    bench.advance(secs(1));
    assert_eq!(bench.warnings(), [TrackerWarning::Timeout { info_hash: SWARM(), waited: secs(30) }]);
}

#[test]
fn whoever_refuses_is_not_silent() {
    let mut bench = Bench::announced();
    for _ in 0..3 {
        bench.receive(TrackerMessage::Failure(Failure { reason: "no".into(), action: None, info_hash: None }));
        bench.advance(secs(30));
    }
    let warnings = bench.warnings();
    assert!(warnings.iter().all(|warning| matches!(warning, TrackerWarning::Failure { .. })), "{warnings:?}");
}

#[test]
fn a_slow_tracker_is_told_of_once_until_it_is_quick_again() {
    let mut bench = Bench::announced();
    let mut told = Vec::new();
    for delay in [8, 8, 1, 8, 5] {
        bench.advance(secs(delay));
        bench.receive(reply(SWARM(), 20, 9));
        assert_eq!(bench.session.state(bench.now).swarms[&SWARM()].reply_time, Some(secs(delay)));
        told.push(bench.warnings());
        // Up to the next announce.
        bench.advance(secs(20 - delay));
    }
    let slow = vec![TrackerWarning::Slow { info_hash: SWARM(), took: secs(8) }];
    assert_eq!(told, [slow.clone(), vec![], vec![], slow, vec![]]);
}

#[test]
fn absurd_intervals_are_told_of_once_a_minute_and_others_not() {
    for (said, absurd) in
        [(0, true), (4, true), (5, false), (20, false), (1800, false), (86_400, false), (86_401, true)]
    {
        let mut bench = Bench::announced();
        bench.receive(reply(SWARM(), said, 9));
        bench.receive(reply(SWARM(), said, 9));
        let used = secs(said.clamp(10, 120));
        let expected = TrackerWarning::AbsurdInterval { said: secs(said), used };
        assert_eq!(bench.warnings(), if absurd { vec![expected] } else { vec![] }, "{said}");
    }
}

#[test]
fn a_few_late_frames_are_no_news_and_many_are() {
    let foreign = |n: u32| forwarded_offer(InfoHash::of(&n.to_string()), PEER(), n);
    let stray = |n: u32| forwarded_answer(SWARM(), PEER(), 1000 + n);
    let told_of_foreign = TrackerWarning::ForeignSwarm { info_hash: InfoHash::of("8") };
    let told_of_stray = TrackerWarning::StrayAnswers { info_hash: SWARM() };
    type Frame<'a> = &'a dyn Fn(u32) -> TrackerMessage;
    for (frame, told) in [(&foreign as Frame, told_of_foreign), (&stray as Frame, told_of_stray)] {
        let mut bench = Bench::announced();
        bench.receive(reply(SWARM(), 120, 9));
        for n in 0..8 {
            bench.receive(frame(n));
        }
        assert_eq!(bench.warnings(), []);
        for n in 8..100 {
            bench.receive(frame(n));
        }
        assert_eq!(bench.warnings(), [told]);
        assert_eq!(bench.counters().frames_ignored, 100);
    }
}

#[test]
fn nonsense_is_told_of_once_a_minute() {
    let mut bench = Bench::announced();
    bench.receive(reply(SWARM(), 120, 9));
    for _ in 0..3 {
        for _ in 0..100 {
            bench.receive_text("{");
        }
        assert!(matches!(bench.warnings()[..], [TrackerWarning::BadFrame { .. }]));
        bench.advance(secs(60));
    }
}

#[test]
fn counts_what_became_of_offers() {
    let mut bench = Bench::announced();
    bench.receive(reply(SWARM(), 120, 9));
    bench.receive(forwarded_answer(SWARM(), PEER(), 2));
    bench.input(Input::Offers { info_hash: SWARM(), offers: offers([6]) });
    bench.advance(Duration::from_secs(100));
    let counters = bench.counters();
    assert_eq!((counters.offers_made, counters.offers_sent, counters.answers_received), (6, 5, 1));
    assert_eq!(counters.offers_unanswered, 4, "one was answered, one never announced");
    assert!(counters.frames_sent >= counters.announces_sent && counters.frames_received >= counters.answers_received);
}

#[test]
fn counts_connections_and_warnings() {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.refused();
    bench.advance(secs(2));
    bench.connected();
    bench.disconnected();
    let counters = bench.counters();
    assert_eq!((counters.connects, counters.connects_failed, counters.sockets_lost), (1, 1, 1));
    assert_eq!(counters.warnings, bench.warnings().len() as u64);
}
