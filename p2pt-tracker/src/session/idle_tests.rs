//! What a session costs that has nothing to do, and for how long it waits for answers.

use super::Input;
use super::test_support::*;
use crate::{ClientConfig, OfferEnd, SocketEnd, TrackerEvent};

/// What an hour at a tracker that replies costs, with a swarm of this many others.
#[derive(Debug, Default, PartialEq)]
struct Cost {
    announces: usize,
    offers: usize,
    pings: usize,
    /// Payload of WebSocket messages, both ways.
    bytes: usize,
}

fn hour(wanted: usize, sdp_bytes: usize) -> Cost {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.input(Input::SetWanted { info_hash: SWARM(), offers: wanted });
    harness.connected();
    let (mut cost, mut next) = (Cost::default(), 0);
    // The 31st announce is the next hour's.
    let end = harness.now + secs(3599);
    while harness.now < end {
        let until = harness.session.poll_timeout().unwrap().min(end);
        harness.advance(until - harness.now);
        for act in harness.acts() {
            match act {
                Act::Ping => cost.pings += 1,
                Act::Event(TrackerEvent::OffersWanted { info_hash, count }) => {
                    let mut offers = offers(next..next + count as u32);
                    offers.iter_mut().for_each(|offer| offer.sdp = "x".repeat(sdp_bytes));
                    next += count as u32;
                    harness.input(Input::Offers { info_hash, offers });
                }
                Act::Sent(message) => {
                    let reply = reply(SWARM(), 120, 100);
                    cost.announces += 1;
                    cost.offers += announce(&message).map_or(0, |announce| numbers(announce).len());
                    cost.bytes += message.encode().len() + reply.encode().len();
                    harness.receive(reply);
                }
                _ => {}
            }
        }
    }
    cost
}

/// The numbers of the crate's documentation.
#[test]
fn an_idle_hour_costs_what_the_documentation_says() {
    let idle = hour(0, 0);
    println!("idle: {idle:?}");
    assert_eq!((idle.announces, idle.offers), (30, 0));
    assert!((119..=120).contains(&idle.pings), "{idle:?}");
    assert!((10_000..=12_000).contains(&idle.bytes), "{idle:?}");
    // An offer with ten candidates has about a kilobyte.
    let looking = hour(5, 1000);
    println!("looking: {looking:?}");
    // The first announce does not wait for offers for ever here; they get one of their own.
    assert_eq!((looking.announces, looking.offers), (31, 150));
    assert!((180_000..=190_000).contains(&looking.bytes), "{looking:?}");
}

#[test]
fn answers_are_awaited_exactly_as_long_as_offers_live_across_sockets_too() {
    for (after, answered) in [(millis(99_999), true), (secs(100), false)] {
        for reconnects in [false, true] {
            let mut harness = Harness::announced();
            let announced = harness.now;
            if reconnects {
                harness.disconnected_by(SocketEnd::Broken("test".into()));
                harness.advance(secs(2));
                harness.connected();
            }
            harness.advance(announced + after - harness.now);
            harness.events();
            harness.receive(forwarded_answer(SWARM(), PEER(), 3));
            let events = harness.events();
            let got = events.iter().any(|event| matches!(event, TrackerEvent::Answer { .. }));
            assert_eq!(got, answered, "after {after:?}, reconnects: {reconnects}");
        }
    }
    // Nor do they end before, whatever happens to the socket.
    let mut harness = Harness::announced();
    for _ in 0..20 {
        harness.disconnected();
        harness.advance(secs(4));
        if harness.socket.is_some() {
            harness.connected();
        } else {
            break;
        }
    }
    let start = harness.now;
    assert!(!harness.events().iter().any(|event| matches!(event, TrackerEvent::OfferEnded { .. })));
    harness.advance(secs(100));
    let ended = |event| matches!(event, TrackerEvent::OfferEnded { end: OfferEnd::Expired, .. });
    assert_eq!(
        harness.events().into_iter().filter(|event| ended(event.clone())).count(),
        5,
        "{:?}",
        harness.now - start
    );
}

#[test]
fn surplus_is_announced_again_on_socket_after_socket_as_long_as_it_is_fresh() {
    let mut harness = Harness::announced();
    let start = harness.now;
    harness.receive(reply(SWARM(), 120, 1));
    let mut last = 0;
    while harness.now < start + secs(200) {
        harness.disconnected();
        harness.advance(secs(10));
        while harness.socket.is_none() {
            harness.advance(secs(1));
        }
        harness.connected();
        harness.advance(secs(2));
        let announces = harness.announces();
        if announces.iter().any(|(_, offers)| *offers == [1, 2, 3, 4, 5]) {
            last = (harness.now - start).as_secs();
        }
        harness.receive(reply(SWARM(), 120, 1));
    }
    assert!((14..=75).contains(&last), "announced again until second {last}, with 30 s to live at least");
}
