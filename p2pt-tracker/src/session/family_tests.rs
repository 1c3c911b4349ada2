//! Going from one address family to the other.

use std::time::Duration;

use p2pt_proto::TrackerMessage;

use super::Input;
use super::test_support::*;
use crate::{ClientConfig, Family, Route, SocketEnd, TrackerEvent};

const BOTH: fn() -> Route = || Route::new(Family::V6, true);

/// A session that has announced over IPv6, with IPv4 to go to; `members` is what the tracker says.
fn announced(route: Route, members: u32) -> Bench {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.connected_by(route);
    bench.input(Input::Offers { info_hash: SWARM(), offers: vec![] });
    bench.receive(reply(SWARM(), 120, members));
    bench.acts();
    bench
}

/// Lets time pass at a tracker that replies to each announce, until the socket is closed, for at most an hour.
fn until_close(bench: &mut Bench, members: u32) -> Option<Duration> {
    let start = bench.now;
    while bench.now < start + secs(3600) {
        let next = bench.session.poll_timeout().expect("something is due");
        bench.advance(next.saturating_duration_since(bench.now));
        let acts = bench.acts();
        if acts.contains(&Act::Close) {
            return Some(bench.now - start);
        }
        if acts.iter().any(|act| matches!(act, Act::Sent(_))) {
            bench.receive(reply(SWARM(), 120, members));
        }
    }
    None
}

#[test]
fn whoever_is_alone_goes_to_the_other_family_and_back_after_longer_and_longer_times() {
    let mut bench = announced(BOTH(), 1);
    let mut family = Family::V6;
    for base in [15, 30, 60, 120, 120] {
        let dwelt = until_close(&mut bench, 1).expect("it goes");
        assert!((secs(base)..=secs(2 * base + 1)).contains(&dwelt), "{dwelt:?} for {base}");
        bench.disconnected();
        let acts = bench.acts();
        assert!(acts.contains(&Act::Event(TrackerEvent::Disconnected { end: SocketEnd::OtherFamily })), "{acts:?}");
        assert!(acts.contains(&Act::Connect), "at once");
        family = family.other();
        assert_eq!(bench.family, Some(family));
        bench.connected_by(Route::new(family, true));
        bench.advance(secs(2));
        bench.receive(reply(SWARM(), 120, 1));
        assert_eq!(bench.session.state(bench.now).family, Some(family));
    }
    let state = bench.session.state(bench.now);
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
        let mut bench = announced(route, members);
        assert_eq!(until_close(&mut bench, members), None, "{route:?}, {members}");
    }
    // A tracker that does not count.
    let mut bench = announced(BOTH(), 1);
    bench.receive(TrackerMessage::Announced(p2pt_proto::AnnounceReply::new(SWARM())));
    bench.advance(secs(100));
    assert!(!bench.acts().contains(&Act::Close));
}

#[test]
fn whoever_meets_somebody_stays() {
    for meeting in [forwarded_offer(SWARM(), PEER(), 50), forwarded_answer(SWARM(), PEER(), 1)] {
        let mut bench = announced(BOTH(), 1);
        bench.input(Input::Announce(SWARM()));
        bench.input(Input::Offers { info_hash: SWARM(), offers: offers([1]) });
        bench.advance(secs(5));
        bench.receive(reply(SWARM(), 120, 1));
        bench.receive(meeting);
        bench.acts();
        assert_eq!(until_close(&mut bench, 2), None);
        // Until they have gone, and then the first time is short again.
        bench.receive(reply(SWARM(), 120, 1));
        let dwelt = until_close(&mut bench, 1).expect("it goes");
        assert!((secs(15)..=secs(31)).contains(&dwelt), "{dwelt:?}");
    }
}

#[test]
fn company_in_one_swarm_keeps_all() {
    let mut bench = announced(BOTH(), 1);
    bench.input(Input::Join(OTHER_SWARM()));
    bench.input(Input::Offers { info_hash: OTHER_SWARM(), offers: vec![] });
    bench.receive(reply(OTHER_SWARM(), 120, 2));
    bench.advance(secs(110));
    assert!(!bench.acts().contains(&Act::Close));
    bench.input(Input::Leave(OTHER_SWARM()));
    bench.acts();
    assert!(until_close(&mut bench, 1).is_some_and(|dwelt| dwelt <= secs(31)));
}

#[test]
fn goes_back_at_once_if_the_other_family_does_not_work_and_tries_it_no_more() {
    for silent in [false, true] {
        let mut bench = announced(BOTH(), 1);
        until_close(&mut bench, 1).expect("it goes");
        bench.disconnected();
        assert_eq!(bench.family, Some(Family::V4));
        bench.acts();
        if silent {
            bench.advance(secs(10));
            assert_eq!(bench.acts(), [Act::Abort, Act::Connect]);
        } else {
            bench.refused();
            assert_eq!(bench.acts(), [Act::Connect], "no warning, no waiting");
        }
        assert_eq!(bench.family, Some(Family::V6));
        bench.connected_by(BOTH());
        bench.advance(secs(2));
        bench.receive(reply(SWARM(), 120, 1));
        bench.acts();
        assert_eq!(until_close(&mut bench, 1), None);
        // Another network may have both.
        bench.disconnected();
        bench.advance(secs(60));
        assert_eq!(bench.family, None);
        bench.connected_by(BOTH());
        bench.advance(secs(2));
        bench.receive(reply(SWARM(), 120, 1));
        bench.acts();
        assert!(until_close(&mut bench, 1).is_some());
    }
}

#[test]
fn when_neither_works_any_more_it_is_a_lost_tracker() {
    let mut bench = announced(BOTH(), 1);
    until_close(&mut bench, 1).expect("it goes");
    bench.disconnected();
    bench.refused();
    bench.acts();
    bench.refused();
    let events = bench.events();
    assert!(matches!(events[..], [TrackerEvent::Warning(crate::TrackerWarning::ConnectFailed { .. })]), "{events:?}");
    bench.advance(secs(2));
    assert_eq!((bench.acts(), bench.family), (vec![Act::Connect], None));
}
