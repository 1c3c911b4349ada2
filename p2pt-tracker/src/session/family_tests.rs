//! Going from one address family to the other.

use std::time::Duration;

use p2pt_proto::TrackerMessage;

use super::Input;
use super::test_support::*;
use crate::{ClientConfig, Family, Route, SocketEnd, TrackerEvent};

const BOTH: fn() -> Route = || Route::new(Family::V6, true);

/// A session that has announced over IPv6, with IPv4 to go to; `members` is what the tracker says.
fn announced(route: Route, members: u32) -> Harness {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.connected_by(route);
    harness.input(Input::Offers { info_hash: SWARM(), offers: vec![] });
    harness.receive(reply(SWARM(), 120, members));
    harness.acts();
    harness
}

/// Lets time pass at a tracker that replies to each announce, until the socket is closed, for at most an hour.
fn until_close(harness: &mut Harness, members: u32) -> Option<Duration> {
    let start = harness.now;
    while harness.now < start + secs(3600) {
        let next = harness.session.poll_timeout().expect("something is due");
        harness.advance(next.saturating_duration_since(harness.now));
        let acts = harness.acts();
        if acts.contains(&Act::Close) {
            return Some(harness.now - start);
        }
        if acts.iter().any(|act| matches!(act, Act::Sent(_))) {
            harness.receive(reply(SWARM(), 120, members));
        }
    }
    None
}

#[test]
fn whoever_is_alone_goes_to_the_other_family_and_back_after_longer_and_longer_times() {
    let mut harness = announced(BOTH(), 1);
    let mut family = Family::V6;
    for base in [15, 30, 60, 120, 120] {
        let dwelt = until_close(&mut harness, 1).expect("it goes");
        assert!((secs(base)..=secs(2 * base + 1)).contains(&dwelt), "{dwelt:?} for {base}");
        harness.disconnected();
        let acts = harness.acts();
        assert!(acts.contains(&Act::Event(TrackerEvent::Disconnected { end: SocketEnd::OtherFamily })), "{acts:?}");
        assert!(acts.contains(&Act::Connect), "at once");
        family = family.other();
        assert_eq!(harness.family, Some(family));
        harness.connected_by(Route::new(family, true));
        harness.advance(secs(2));
        harness.receive(reply(SWARM(), 120, 1));
        assert_eq!(harness.session.state(harness.now).family, Some(family));
    }
    let state = harness.session.state(harness.now);
    assert_eq!((state.counters.families_changed, state.counters.sockets_lost, state.last_error), (5, 0, None));
}

#[test]
fn nobody_goes_who_has_no_other_way_or_is_not_alone() {
    for (route, members) in [
        (Route::default(), 1),
        (Route::new(Family::V4, false), 1),
        (Route::new(Family::V6, false), 1),
        (BOTH(), 2),
        (BOTH(), u32::MAX),
    ] {
        let mut harness = announced(route, members);
        assert_eq!(until_close(&mut harness, members), None, "{route:?}, {members}");
    }
    // A tracker that does not count.
    let mut harness = announced(BOTH(), 1);
    harness.receive(TrackerMessage::Announced(p2pt_proto::AnnounceReply::new(SWARM())));
    harness.advance(secs(100));
    assert!(!harness.acts().contains(&Act::Close));
}

#[test]
fn whoever_meets_somebody_stays() {
    for meeting in [forwarded_offer(SWARM(), PEER(), 50), forwarded_answer(SWARM(), PEER(), 1)] {
        let mut harness = announced(BOTH(), 1);
        harness.input(Input::Announce(SWARM()));
        harness.input(Input::Offers { info_hash: SWARM(), offers: offers([1]) });
        harness.advance(secs(5));
        harness.receive(reply(SWARM(), 120, 1));
        harness.receive(meeting);
        harness.acts();
        assert_eq!(until_close(&mut harness, 2), None);
        // Until they have gone, and then the first time is short again.
        harness.receive(reply(SWARM(), 120, 1));
        let dwelt = until_close(&mut harness, 1).expect("it goes");
        assert!((secs(15)..=secs(31)).contains(&dwelt), "{dwelt:?}");
    }
}

#[test]
fn company_in_one_swarm_keeps_all() {
    let mut harness = announced(BOTH(), 1);
    harness.input(Input::Join(OTHER_SWARM()));
    harness.input(Input::Offers { info_hash: OTHER_SWARM(), offers: vec![] });
    harness.receive(reply(OTHER_SWARM(), 120, 2));
    harness.advance(secs(110));
    assert!(!harness.acts().contains(&Act::Close));
    harness.input(Input::Leave(OTHER_SWARM()));
    harness.acts();
    assert!(until_close(&mut harness, 1).is_some_and(|dwelt| dwelt <= secs(31)));
}

#[test]
fn goes_back_at_once_if_the_other_family_does_not_work_and_tries_it_no_more() {
    for silent in [false, true] {
        let mut harness = announced(BOTH(), 1);
        until_close(&mut harness, 1).expect("it goes");
        harness.disconnected();
        assert_eq!(harness.family, Some(Family::V4));
        harness.acts();
        if silent {
            harness.advance(secs(10));
            assert_eq!(harness.acts(), [Act::Abort, Act::Connect]);
        } else {
            harness.refused();
            assert_eq!(harness.acts(), [Act::Connect], "no warning, no waiting");
        }
        assert_eq!(harness.family, Some(Family::V6));
        harness.connected_by(BOTH());
        harness.advance(secs(2));
        harness.receive(reply(SWARM(), 120, 1));
        harness.acts();
        assert_eq!(until_close(&mut harness, 1), None);
        // Another network may have both.
        harness.disconnected();
        harness.advance(secs(60));
        assert_eq!(harness.family, None);
        harness.connected_by(BOTH());
        harness.advance(secs(2));
        harness.receive(reply(SWARM(), 120, 1));
        harness.acts();
        assert!(until_close(&mut harness, 1).is_some());
    }
}

#[test]
fn when_neither_works_any_more_it_is_a_lost_tracker() {
    let mut harness = announced(BOTH(), 1);
    until_close(&mut harness, 1).expect("it goes");
    harness.disconnected();
    harness.refused();
    harness.acts();
    harness.refused();
    let events = harness.events();
    assert!(matches!(events[0], TrackerEvent::ConnectFailed { .. }), "{events:?}");
    harness.advance(secs(2));
    assert_eq!((harness.acts(), harness.family), (vec![Act::Connect], None));
}
